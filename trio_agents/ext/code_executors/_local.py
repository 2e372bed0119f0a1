"""`LocalCommandLineCodeExecutor`: each block is a file and a process on this machine."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import ClassVar, Final, Self

import anyio

from ..._components._component import Component
from ..._components._policy import check_code_is_allowed
from ..._loops._token_scope import token_scope
from ..._sansio._cancellation import CancellationToken
from ..._sansio._errors import ComponentError
from ...code_executor import CodeBlock, CodeExecutor
from ._code_files import CodeFiles, Language, language_of
from ._functions_module import (
    FUNCTION_PROMPT_TEMPLATE,
    INSTALLING,
    AnyFunction,
    FunctionsModule,
)
from ._host import DEFAULT_KILL_GRACE, Host, Interpreter, check_bounds
from ._host_config import HostConfig, config_of
from ._limits import ResourceLimits
from ._output import DEFAULT_MAX_OUTPUT
from ._result import CommandLineCodeResult, Finished, run_blocks
from ._sandbox import NOT_DECIDED, NotDecided, Sandbox
from ._scratch import Scratch

__all__ = ["LocalCommandLineCodeExecutor", "LocalCommandLineCodeExecutorConfig"]

_PROVIDER: Final = "trio_agents.ext.code_executors.local.LocalCommandLineCodeExecutor"


class LocalCommandLineCodeExecutorConfig(HostConfig):
    """The configuration of a `LocalCommandLineCodeExecutor`; AutoGen's has the first four."""

    timeout: int | float = 60
    work_dir: str | None = None
    functions_module: str = "functions"
    cleanup_temp_files: bool = True
    virtual_env: str | None = None


class LocalCommandLineCodeExecutor(CodeExecutor, Component[LocalCommandLineCodeExecutorConfig]):
    """Runs Python and shell code on this machine, in a sandbox if there is to be one.

    Each block is saved in the working directory and run there by a process of its own. Blocks
    share files and nothing else. Whatever a block has started is killed when it ends, takes too
    long or is cancelled.

    Without a sandbox, code can do what the program can: read keys, delete files, use the network.
    Then do not run what a model has written, nor anybody whom you would not give your shell.

    ::

        async with LocalCommandLineCodeExecutor(work_dir="work", sandbox=Sandbox()) as executor:
            result = await executor.execute_code_blocks([CodeBlock("print(1)", "python")], token)

    It works without ``start`` as well: then only a temporary directory stays until the program
    ends.

    Args:
        timeout: seconds that a block may take. Then it is killed; what it has printed is in the
            result, whose exit code is 124.
        work_dir: where files are and code runs, made if it is not there; None for a temporary
            directory, which `stop` removes.
        functions: what code can import from *functions_module*.
        functions_module: the name of that module.
        cleanup_temp_files: whether files that have no name of their own are removed at the end.
        virtual_env_context: of a virtual environment, as ``venv.EnvBuilder.ensure_directories``
            returns it, for all code and installations; None for the interpreter of this program.
        env: what code has in its environment besides ``PATH``, ``HOME`` (the working directory),
            ``LANG`` and settings for pip. Unlike AutoGen's, code does not get this program's
            environment, with the keys in it; ``env=os.environ`` gives it.
        sandbox: what code can reach; None for all that this program can. Not given, it is None and
            you are warned.
        limits: what each process can use.
        kill_grace: seconds between SIGTERM and SIGKILL, for code that cleans up. In a sandbox the
            first of them ends all.
        max_output: bytes of output that are kept: the first and the last.

    Raises:
        ValueError: an argument is none that can be used; its message says why.
        TypeError: *sandbox* is no `Sandbox`, or *limits* are no `ResourceLimits`.
        RuntimeError: the system has no process groups: it is Windows.
    """

    component_config_schema = LocalCommandLineCodeExecutorConfig
    component_provider_override: ClassVar[str | None] = _PROVIDER

    def __init__(
        self,
        timeout: float = 60,
        work_dir: Path | str | None = None,
        functions: Sequence[AnyFunction] = (),
        functions_module: str = "functions",
        cleanup_temp_files: bool = True,
        virtual_env_context: SimpleNamespace | None = None,
        *,
        env: Mapping[str, str] | None = None,
        sandbox: Sandbox | NotDecided | None = NOT_DECIDED,
        limits: ResourceLimits | None = None,
        kill_grace: float = DEFAULT_KILL_GRACE,
        max_output: int = DEFAULT_MAX_OUTPUT,
    ) -> None:
        check_bounds(timeout, kill_grace, max_output)
        if isinstance(sandbox, NotDecided):
            warnings.warn(sandbox.warning(type(self).__name__), UserWarning, stacklevel=2)
            sandbox = None
        self._timeout = timeout
        self._functions = FunctionsModule(functions, functions_module)
        self._clean_up = cleanup_temp_files
        self._environment = virtual_env_context
        if self._functions.packages and sandbox is not None and virtual_env_context is None:
            raise ValueError(
                f"functions need {', '.join(self._functions.packages)}, and in a sandbox this "
                f"program's packages cannot be changed: give a virtual_env_context"
            )
        self._host = Host(
            interpreter=Interpreter.current()
            if virtual_env_context is None
            else Interpreter.of_environment(virtual_env_context),
            env=dict(env or {}),
            sandbox=sandbox,
            limits=limits,
            kill_grace=kill_grace,
            max_output=max_output,
        )
        self._scratch = Scratch(None if work_dir is None else Path(work_dir).absolute())
        self._files: CodeFiles | None = None
        self._setting_up = anyio.Lock()
        self._is_set_up = False

    @property
    def timeout(self) -> float:
        """Seconds that a block may take."""
        return self._timeout

    @property
    def work_dir(self) -> Path:
        """Where files are and code runs."""
        return self._scratch.path

    @property
    def functions(self) -> tuple[AnyFunction, ...]:
        """What code can import from the module of functions."""
        return self._functions.functions

    @property
    def functions_module(self) -> str:
        """The name of the module of functions."""
        return self._functions.name

    @property
    def cleanup_temp_files(self) -> bool:
        """Whether files that have no name of their own are removed at the end."""
        return self._clean_up

    def format_functions_for_prompt(self, prompt_template: str = FUNCTION_PROMPT_TEMPLATE) -> str:
        """Return what tells a model about the functions; nothing if there are none.

        Args:
            prompt_template: a text with ``$module_name`` and ``$functions``.
        """
        return self._functions.prompt(prompt_template)

    async def start(self) -> None:
        """Make sure that the sandbox works, and put the functions in place.

        Raises:
            SandboxUnavailable: there is to be a sandbox, and it does not work here.
            ValueError: the functions cannot be imported, or a package not be installed.
        """
        await self._set_up()

    async def stop(self) -> None:
        """Remove a temporary directory. Processes there are none; a second call is fine."""
        self._is_set_up = False
        self._files = None
        self._scratch.remove()

    async def restart(self) -> None:
        """Put the functions in place anew. No process outlives its block, and files stay."""
        self._is_set_up = False
        await self._set_up()

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CommandLineCodeResult:
        """Run the blocks one after the other, and stop at the first that fails.

        A block fails with the exit code of its process: 124 if it took too long, 128 and the number
        of a signal if that has ended it. A block that wants to be saved outside of the working
        directory fails with 1. Cancelled, what runs is killed first, and its output is lost.

        Raises:
            ValueError: a block is in a language that is not run here, or its program is not
                installed; none was run. Or the functions cannot be imported.
            SandboxUnavailable: there is to be a sandbox, and it does not work here.
            MessageCancelled: the token was cancelled.
        """
        for block in code_blocks:
            self._program_of(language_of(block))
        with token_scope(cancellation_token, "running code"):
            await self._set_up()
            return await run_blocks(
                [(block, _extension(block)) for block in code_blocks],
                self._run,
                files=self._code_files(),
                directory=self.work_dir,
                clean_up=self._clean_up,
            )

    async def _run(self, block: CodeBlock, name: PurePosixPath) -> Finished:
        argv = [*self._program_of(language_of(block)), str(self.work_dir / name)]
        return await self._host.run(argv, cwd=self.work_dir, seconds=self._timeout)

    def _code_files(self) -> CodeFiles:
        if self._files is None:
            self._files = CodeFiles(self.work_dir)
        return self._files

    def _program_of(self, language: Language) -> tuple[str, ...]:
        if language == "python":
            return (self._host.interpreter.executable,)
        names = ("pwsh", "powershell") if language == "powershell" else (language,)
        found = next(filter(None, map(shutil.which, names)), None)
        if found is None:
            raise ValueError(f"{' or '.join(names)} is not installed; none of the blocks was run")
        return (found, "-File") if language == "powershell" else (found,)

    async def _set_up(self) -> None:
        async with self._setting_up:
            if not self._is_set_up:
                await self._host.check_sandbox(self.work_dir)
                files = self._code_files()
                await self._functions.offer(files, self._install, self._python)
                # Not if a stop came meanwhile: it has removed the directory, and what is there.
                self._is_set_up = files is self._files

    async def _python(self, arguments: Sequence[str]) -> Finished:
        argv = [self._host.interpreter.executable, *arguments]
        return await self._host.run(argv, cwd=self.work_dir, seconds=self._timeout)

    async def _install(self, arguments: Sequence[str]) -> Finished:
        box = None
        if self._host.sandbox is not None and self._environment is not None:
            # The application asks for this, not code. Code has not run yet, either.
            writable = (*self._host.sandbox.writable, str(self._environment.env_dir))
            box = Sandbox(network=True, writable=writable)
        argv = [self._host.interpreter.executable, *arguments]
        return await self._host.run(argv, cwd=self.work_dir, seconds=INSTALLING, sandbox=box)

    def _to_config(self) -> LocalCommandLineCodeExecutorConfig:
        if self._functions.functions:
            raise ComponentError(
                "an executor with functions cannot be dumped: they are code of the application"
            )
        environment = self._environment
        return LocalCommandLineCodeExecutorConfig(
            timeout=self._timeout,
            work_dir=None if self._scratch.given is None else str(self._scratch.given),
            functions_module=self._functions.name,
            cleanup_temp_files=self._clean_up,
            virtual_env=None if environment is None else str(environment.env_dir),
            **config_of(self._host),
        )

    @classmethod
    def _from_config(cls, config: LocalCommandLineCodeExecutorConfig) -> Self:
        return cls(
            timeout=config.timeout,
            work_dir=config.work_dir,
            functions_module=config.functions_module,
            cleanup_temp_files=config.cleanup_temp_files,
            virtual_env_context=_context_of(config.virtual_env),
            **config.host_arguments(),
        )


def _context_of(directory: str | None) -> SimpleNamespace | None:
    if directory is None:
        return None
    check_code_is_allowed(_PROVIDER, "virtual_env, an interpreter")
    binaries = Path(directory, "bin")
    return SimpleNamespace(
        env_dir=directory, bin_path=str(binaries), env_exe=str(binaries / "python")
    )


def _extension(block: CodeBlock) -> str:
    language = language_of(block)
    if language == "powershell":
        return "ps1"  # it runs no other files
    return "py" if language == "python" else block.language.lower()
