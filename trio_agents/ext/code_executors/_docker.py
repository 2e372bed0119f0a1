"""`DockerCommandLineCodeExecutor`: one container, in which each block is a file and a process.

The working directory is on both sides: files are written here and run there. Docker has no request
to end a process that was started in a running container, and closing the connection does not end
it either. So each process says its number first; it leads a session of its own, and to be cancelled
means that a second one sends that session SIGKILL. Should that not be enough, the container is
started again, which ends all that is in it.
"""

from __future__ import annotations

import atexit
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Self, final

import anyio
from pydantic import Field, SecretStr

from ..._components._component import Component
from ..._components._config_data import ComponentConfig
from ..._components._policy import check_code_is_allowed
from ..._loops._token_scope import token_scope
from ..._sansio._cancellation import CancellationToken
from ..._sansio._errors import ComponentError
from ...code_executor import CodeBlock, CodeExecutor
from ._code_files import CodeFiles, language_of
from ._docker_engine import DockerError, Engine, EngineAddress, Frames
from ._functions_module import (
    FUNCTION_PROMPT_TEMPLATE,
    INSTALLING,
    AnyFunction,
    FunctionsModule,
)
from ._host import DEFAULT_KILL_GRACE, SETTINGS, check_bounds, need_posix
from ._output import DEFAULT_MAX_OUTPUT, Output
from ._result import CommandLineCodeResult, Finished, run_blocks
from ._scratch import Scratch

__all__ = ["DockerCommandLineCodeExecutor", "DockerCommandLineCodeExecutorConfig"]

_PROVIDER: Final = "trio_agents.ext.code_executors.docker.DockerCommandLineCodeExecutor"
_WORKSPACE: Final = "/workspace"
_PROGRAMS: Final = {"python": "python", "bash": "bash", "sh": "sh", "powershell": "pwsh"}


class DockerCommandLineCodeExecutorConfig(ComponentConfig):
    """The configuration of a `DockerCommandLineCodeExecutor`; AutoGen's ends with the comment."""

    image: str = "python:3-slim"
    container_name: str | None = None
    timeout: int | float = 60
    work_dir: str | None = None
    bind_dir: str | None = None
    auto_remove: bool = True
    stop_container: bool = True
    functions_module: str = "functions"
    extra_volumes: dict[str, dict[str, str]] = Field(default_factory=dict[str, dict[str, str]])
    extra_hosts: dict[str, str] = Field(default_factory=dict[str, str])
    init_command: str | None = None
    delete_tmp_files: bool = False
    # Ours alone:
    device_requests: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    env: dict[str, SecretStr] = Field(default_factory=dict[str, SecretStr])
    network_mode: str | None = None
    memory: int | None = None
    pids_limit: int | None = None
    kill_grace: float = DEFAULT_KILL_GRACE
    max_output: int = DEFAULT_MAX_OUTPUT


class DockerCommandLineCodeExecutor(CodeExecutor, Component[DockerCommandLineCodeExecutorConfig]):
    """Runs Python and shell code in a container that it creates.

    The image needs ``sh`` and ``python`` and nothing else; it is pulled if it is not there. Each
    block is saved in the working directory, which is ``/workspace`` in the container. The engine is
    the one in ``DOCKER_HOST``, or at ``/var/run/docker.sock``. An application that is in a
    container itself mounts that socket, and then containers are its siblings.

    ::

        async with DockerCommandLineCodeExecutor(work_dir="work", network_mode="none") as executor:
            result = await executor.execute_code_blocks([CodeBlock("print(1)", "python")], token)

    Args:
        image: what the container is made from.
        container_name: its name; None for one that is made up.
        timeout: seconds that a block may take. Then it is killed; what it has printed is in the
            result, whose exit code is 124.
        work_dir: where files are, made if it is not there; None for a temporary directory, which
            `stop` removes.
        bind_dir: the working directory as the *engine's* machine calls it, for an application that
            is in a container; None if it is the same.
        auto_remove: whether the container is removed when it stops.
        stop_container: whether `stop`, or the end of the program, stops the container.
        device_requests: devices such as GPUs, in Docker's own words.
        functions: what code can import from *functions_module*.
        functions_module: the name of that module.
        extra_volumes: more directories of the engine's machine, as in ``{"/data": {"bind": "/data",
            "mode": "ro"}}``.
        extra_hosts: names and their addresses.
        init_command: for the shell, once when the container has started. It has to succeed.
        delete_tmp_files: whether files that have no name of their own are removed at the end.
        env: what code has in its environment besides that of the image.
        network_mode: ``"none"`` for no network; None for Docker's own.
        memory: bytes that all processes together may have; None for no bound.
        pids_limit: how many processes and threads there may be; None for no bound.
        kill_grace: seconds until a killed process has to be gone. Then the container is started
            again.
        max_output: bytes of output that are kept: the first and the last.

    Raises:
        ValueError: an argument is none that can be used; its message says why.
    """

    component_config_schema = DockerCommandLineCodeExecutorConfig
    component_provider_override: ClassVar[str | None] = _PROVIDER

    def __init__(
        self,
        image: str = "python:3-slim",
        container_name: str | None = None,
        *,
        timeout: float = 60,
        work_dir: Path | str | None = None,
        bind_dir: Path | str | None = None,
        auto_remove: bool = True,
        stop_container: bool = True,
        device_requests: Sequence[Mapping[str, Any]] | None = None,
        functions: Sequence[AnyFunction] = (),
        functions_module: str = "functions",
        extra_volumes: Mapping[str, Mapping[str, str]] | None = None,
        extra_hosts: Mapping[str, str] | None = None,
        init_command: str | None = None,
        delete_tmp_files: bool = False,
        env: Mapping[str, str] | None = None,
        network_mode: str | None = None,
        memory: int | None = None,
        pids_limit: int | None = None,
        kill_grace: float = DEFAULT_KILL_GRACE,
        max_output: int = DEFAULT_MAX_OUTPUT,
    ) -> None:
        need_posix()
        check_bounds(timeout, kill_grace, max_output)
        self._functions = FunctionsModule(functions, functions_module)
        self._secret_env = {name: SecretStr(value) for name, value in (env or {}).items()}
        self._config = DockerCommandLineCodeExecutorConfig(
            image=image,
            container_name=container_name,
            timeout=timeout,
            work_dir=None if work_dir is None else str(work_dir),
            bind_dir=None if bind_dir is None else str(bind_dir),
            auto_remove=auto_remove,
            stop_container=stop_container,
            functions_module=functions_module,
            extra_volumes={host: dict(volume) for host, volume in (extra_volumes or {}).items()},
            extra_hosts=dict(extra_hosts or {}),
            init_command=init_command,
            delete_tmp_files=delete_tmp_files,
            device_requests=[dict(request) for request in device_requests or ()],
            env=self._secret_env,
            network_mode=network_mode,
            memory=memory,
            pids_limit=pids_limit,
            kill_grace=kill_grace,
            max_output=max_output,
        )
        for path in (*self._config.extra_volumes, str(bind_dir or work_dir or "")):
            if ":" in path:
                raise ValueError(f"Docker cannot bind a directory with a colon: {path!r}")
        self._scratch = Scratch(work_dir)
        self._running: _Container | None = None
        self._left: _Container | None = None  # that a stop has not succeeded in ending
        self._turn = anyio.Lock()  # start, restart and stop take turns
        self._files: CodeFiles | None = None

    @property
    def timeout(self) -> float:
        """Seconds that a block may take."""
        return self._config.timeout

    @property
    def work_dir(self) -> Path:
        """Where files are, as it was given."""
        return self._scratch.path

    @property
    def bind_dir(self) -> Path:
        """The working directory as the engine's machine calls it."""
        return self.work_dir if self._config.bind_dir is None else Path(self._config.bind_dir)

    def format_functions_for_prompt(self, prompt_template: str = FUNCTION_PROMPT_TEMPLATE) -> str:
        """Return what tells a model about the functions; nothing if there are none.

        Args:
            prompt_template: a text with ``$module_name`` and ``$functions``.
        """
        return self._functions.prompt(prompt_template)

    async def start(self) -> None:
        """Pull the image if it is not there, and start the container. A second call is fine.

        Cancelled or failed, nothing is left. A program that ends without `stop` stops the
        container all the same.

        Raises:
            DockerError: the engine cannot be reached or refuses, or the init command fails.
            ValueError: the functions cannot be imported, or a package not be installed.
            ImportError: httpx2 is not installed.
        """
        async with self._turn:
            if self._running is None:
                await self._end_left()
                self._running = await self._begin()

    async def _begin(self) -> _Container:
        address = EngineAddress()
        engine = await Engine.connect(address)
        made: list[_Container] = []
        try:
            await self._have_image(engine)
            container = await self._create(engine, address, made)
            await container.start()
            await self._prepare(container)
        except BaseException:  # goes on; without it the container would stay
            with anyio.CancelScope(shield=True):
                try:
                    for container in made:
                        await self._open_up(container)
                        await container.remove()
                finally:
                    await engine.aclose()
                    self._scratch.remove()
            raise
        if self._config.stop_container:
            atexit.register(container.end_now)
        return container

    async def _have_image(self, engine: Engine) -> None:
        try:
            await engine.ask("GET", f"/images/{self._config.image}/json")
        except DockerError as error:
            if error.status != 404:
                raise
            await engine.pull(self._config.image)

    async def _create(
        self, engine: Engine, address: EngineAddress, made: list[_Container]
    ) -> _Container:
        """Create the container and put it into *made*, also when cancelled.

        In a task of its own: a request that was cancelled would leave a container that nobody
        knows of, and on asyncio a shield does not keep off the cancellation of the task itself.
        """
        refused: list[DockerError] = []
        answered = anyio.Event()
        name = self._config.container_name or f"trio-agents-{uuid.uuid4().hex}"

        async def create() -> None:
            with anyio.CancelScope(shield=True):
                try:
                    body = self._description()
                    created = await engine.ask("POST", "/containers/create", body, name=name)
                    made.append(_Container(engine, address, created["Id"], self._config))
                except DockerError as error:
                    refused.append(error)
                answered.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create)
            await answered.wait()
        for error in refused:
            raise error
        return made[0]

    def _description(self) -> dict[str, Any]:
        config = self._config
        binds = [f"{self.bind_dir.absolute()}:{_WORKSPACE}:rw"]
        for host, volume in config.extra_volumes.items():
            binds.append(f"{host}:{volume['bind']}:{volume.get('mode', 'rw')}")
        host_config: dict[str, Any] = {
            "AutoRemove": config.auto_remove,
            "Binds": binds,
            "ExtraHosts": [f"{name}:{address}" for name, address in config.extra_hosts.items()],
            "DeviceRequests": config.device_requests,
            "Init": True,  # waits for what the killed leave behind, and lets SIGTERM through
        }
        if config.network_mode is not None:
            host_config["NetworkMode"] = config.network_mode
        if config.memory is not None:
            host_config["Memory"] = config.memory
        if config.pids_limit is not None:
            host_config["PidsLimit"] = config.pids_limit
        return {
            "Image": config.image,
            "Entrypoint": ["/bin/sh", "-c", "exec tail -f /dev/null"],
            "Cmd": [],
            "WorkingDir": _WORKSPACE,
            "Labels": {"trio-agents": "code-executor"},
            "HostConfig": host_config,
        }

    async def _prepare(self, container: _Container) -> None:
        config = self._config
        if config.init_command is not None:
            done = await container.run(["sh", "-c", config.init_command], config.timeout)
            if done.exit_code or done.timed_out:
                raise DockerError(f"the init command has failed: {done.output.strip()}")

        async def install(arguments: Sequence[str]) -> Finished:
            return await container.run(["python", *arguments], INSTALLING)

        async def python(arguments: Sequence[str]) -> Finished:
            return await container.run(["python", *arguments], config.timeout)

        self._files = CodeFiles(self.work_dir)
        await self._functions.offer(self._files, install, python)

    async def stop(self) -> None:
        """Stop the container, as *stop_container* and *auto_remove* say. A second call is fine.

        It waits for a start or restart that is under way. If it fails, the next one, the next start
        or the end of the program tries again.

        Raises:
            DockerError: the engine cannot be reached any more, or refuses.
            OSError: something in the temporary directory cannot be removed.
        """
        # Shielded: giving up is what the caller wants, all the more if cancelled.
        with anyio.CancelScope(shield=True):
            async with self._turn:
                try:
                    if self._running is None:
                        await self._end_left()
                    else:
                        self._left, self._running = self._running, None
                        await self._end(self._left)
                finally:
                    self._scratch.remove()

    async def _end_left(self) -> None:
        if self._left is not None:
            await self._left.reconnect()
            await self._end(self._left)

    async def _end(self, container: _Container) -> None:
        try:
            await self._open_up(container)
            if self._config.stop_container:
                await container.end()
        finally:
            # Shielded: to close is not to wait for the engine.
            with anyio.CancelScope(shield=True):
                await container.engine.aclose()
        self._left = None
        atexit.unregister(container.end_now)

    async def _open_up(self, container: _Container) -> None:
        """Have us remove, too, what the container's root has made in a temporary directory."""
        if self._scratch.has_temporary and os.geteuid() != 0:
            argv = ["chmod", "-R", "a+rwX", _WORKSPACE]
            with suppress(DockerError):  # it may be gone, and is to end in any case
                await container.run(argv, self._config.timeout)

    async def restart(self) -> None:
        """Start the container again: files stay, processes do not.

        Raises:
            RuntimeError: it was not started.
            DockerError: the engine refuses, or the init command fails.
        """
        async with self._turn:
            container = self._started()
            await container.restart()
            await self._prepare(container)

    def _started(self) -> _Container:
        if self._running is None:
            raise RuntimeError(
                "the container is not running: `async with` the executor, or await start()"
            )
        return self._running

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CommandLineCodeResult:
        """Run the blocks one after the other, and stop at the first that fails.

        A block fails with the exit code of its process: 124 if it took too long, 127 if the image
        lacks what runs it. A block that wants to be saved outside of the working directory fails
        with 1. Cancelled, what runs is killed first, and its output is lost.

        Raises:
            ValueError: a block is in a language that is not run here; none was run.
            RuntimeError: it was not started.
            DockerError: the engine cannot be reached, or the container is gone.
            MessageCancelled: the token was cancelled.
        """
        container = self._started()
        blocks = [(block, language_of(block)) for block in code_blocks]

        async def run(block: CodeBlock, name: PurePosixPath) -> Finished:
            program = _PROGRAMS[language_of(block)]
            return await container.run(
                [program, str(PurePosixPath(_WORKSPACE, name))], self._config.timeout
            )

        with token_scope(cancellation_token, "running code"):
            assert self._files is not None  # since it was started
            return await run_blocks(
                [
                    (block, "ps1" if language == "powershell" else block.language.lower())
                    for block, language in blocks
                ],
                run,
                files=self._files,
                directory=self.work_dir,
                clean_up=self._config.delete_tmp_files,
            )

    def _to_config(self) -> DockerCommandLineCodeExecutorConfig:
        if self._functions.functions:
            raise ComponentError(
                "an executor with functions cannot be dumped: they are code of the application"
            )
        return self._config.model_copy(deep=True)

    @classmethod
    def _from_config(cls, config: DockerCommandLineCodeExecutorConfig) -> Self:
        if config.init_command is not None:
            check_code_is_allowed(_PROVIDER, "init_command, a command for the shell")
        if config.extra_volumes or config.bind_dir is not None:
            check_code_is_allowed(_PROVIDER, "directories of the machine to give to code")
        arguments = {name: getattr(config, name) for name in type(config).model_fields}
        arguments["env"] = {name: value.get_secret_value() for name, value in config.env.items()}
        return cls(**arguments)


@final
class _Container:
    """A container that was created."""

    def __init__(
        self,
        engine: Engine,
        address: EngineAddress,
        container_id: str,
        config: DockerCommandLineCodeExecutorConfig,
    ) -> None:
        self.engine = engine
        self._address = address
        self._path = f"/containers/{container_id}"
        self._config = config
        self._env = {
            **SETTINGS,
            **{name: value.get_secret_value() for name, value in config.env.items()},
        }

    async def start(self) -> None:
        await self.engine.ask("POST", f"{self._path}/start")

    async def restart(self) -> None:
        await self.engine.ask("POST", f"{self._path}/restart", t="0")

    async def reconnect(self) -> None:
        """Connect to the engine anew, on the loop that runs now."""
        self.engine = await Engine.connect(self._address)

    async def remove(self) -> None:
        """Kill and remove it, whatever state it is in."""
        try:
            await self.engine.ask("DELETE", self._path, force="true", v="true")
        except DockerError as error:
            if error.status not in (404, 409):  # it is gone, or being removed by itself
                raise

    async def end(self) -> None:
        """Stop it, and remove it if that was said. It may be gone."""
        if self._config.auto_remove:
            await self.remove()
            return
        try:
            await self.engine.ask("POST", f"{self._path}/stop", t="1")
        except DockerError as error:
            if error.status != 404:
                raise

    def end_now(self) -> None:
        """Do as `end` does, and wait in this thread: the program ends, and no loop runs."""
        if self._config.auto_remove:
            self._address.request_now("DELETE", f"{self._path}?force=true&v=true")
        else:
            self._address.request_now("POST", f"{self._path}/stop?t=1")

    async def run(self, argv: Sequence[str], seconds: float) -> Finished:
        """Run *argv* in the container, and kill it when it takes too long or is cancelled."""
        process = _Process(self._config.max_output)
        body = {
            "AttachStdout": True,
            "AttachStderr": True,
            "WorkingDir": _WORKSPACE,
            "Env": [f"{name}={value}" for name, value in self._env.items()],
            "Cmd": ["sh", "-c", 'echo $$; exec "$@" 2>&1', "sh", *argv],
        }
        created = await self.engine.ask("POST", f"{self._path}/exec", body)
        path = f"/exec/{created['Id']}"
        timed_out = True
        try:
            async with anyio.create_task_group() as tasks:
                # Reading goes on when this is cancelled, to see the end of what is killed.
                reading = anyio.CancelScope(shield=True)
                tasks.start_soon(self._follow, path, process, reading)
                try:
                    with anyio.move_on_after(seconds):
                        await process.ended.wait()
                        timed_out = False
                finally:
                    # Shielded: a process that nobody waits for any more has to end all the more.
                    with anyio.CancelScope(shield=True):
                        if not process.ended.is_set():
                            await self._kill(process)
                    reading.cancel()
        finally:
            # Also in place of a cancellation: then the process may still run.
            if process.failure is not None:
                raise process.failure
        exit_code = 0
        if not timed_out:
            exit_code = int((await self.engine.ask("GET", f"{path}/json"))["ExitCode"])
        return Finished(exit_code, process.output.text(), timed_out)

    async def _follow(self, path: str, process: _Process, scope: anyio.CancelScope) -> None:
        with scope:
            body = {"Detach": False, "Tty": False}
            try:
                async with self.engine.stream(f"{path}/start", body) as response:
                    frames = Frames(process.take)
                    async for data in response.aiter_raw():
                        frames.add(data)
            except DockerError as error:  # raised where the process is waited for
                process.failure = error
            process.end()

    async def _kill(self, process: _Process) -> None:
        try:
            with anyio.move_on_after(self._config.kill_grace):
                number = await process.wait_for_number()
                if number is not None:
                    body = {"Cmd": ["sh", "-c", f"kill -s KILL -- -{number}"]}
                    killing = await self.engine.ask("POST", f"{self._path}/exec", body)
                    await self.engine.ask("POST", f"/exec/{killing['Id']}/start", {"Detach": True})
                await process.ended.wait()
                return
            await self.restart()
        except DockerError as error:  # raised where the process is waited for
            process.failure = error


@final
class _Process:
    """What is known of a process in the container."""

    def __init__(self, max_output: int) -> None:
        self.output = Output(max_output)
        self.ended = anyio.Event()
        self.failure: DockerError | None = None
        self._number: int | None = None
        self._first_line = b""
        self._has_first_line = anyio.Event()

    def take(self, data: bytes) -> None:
        """Take what it prints: its number in the first line, then output."""
        if not self._has_first_line.is_set():
            line, newline, data = data.partition(b"\n")
            self._first_line += line
            if not newline:
                return
            if self._first_line.isdigit():
                self._number = int(self._first_line)
            else:  # the engine says why nothing could be run
                data = self._first_line + newline + data
            self._has_first_line.set()
        self.output.add(data)

    def end(self) -> None:
        """Nothing more is printed."""
        if not self._has_first_line.is_set():
            self.output.add(self._first_line)
            self._has_first_line.set()
        self.ended.set()

    async def wait_for_number(self) -> int | None:
        """Wait for the number that it has in the container; None if nothing runs there."""
        await self._has_first_line.wait()
        return self._number
