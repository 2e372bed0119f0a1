"""`JupyterCodeExecutor`: blocks are cells of one kernel, which keeps their variables."""

from __future__ import annotations

import base64
import json
import re
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Self, cast, final

import anyio

from ..._components._component import Component
from ..._loops._token_scope import token_scope
from ..._sansio._cancellation import CancellationToken
from ...code_executor import CodeBlock, CodeExecutor, CodeResult
from ._host import DEFAULT_KILL_GRACE, Host, Interpreter, check_bounds
from ._host_config import HostConfig, config_of
from ._jupyter_kernel import Done, Kernel, KernelDied, need_jupyter
from ._limits import ResourceLimits
from ._output import DEFAULT_MAX_OUTPUT, Output
from ._result import TIMED_OUT
from ._sandbox import NOT_DECIDED, NotDecided, Sandbox
from ._scratch import Scratch

__all__ = ["JupyterCodeExecutor", "JupyterCodeExecutorConfig", "JupyterCodeResult"]

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PYTHON: Final = frozenset({"python", "python3", "py"})

# What is saved to a file, by its media type: the ending, and whether it comes in base64.
_FILES: Final = {
    "image/png": ("png", True),
    "image/jpeg": ("jpg", True),
    "image/svg+xml": ("svg", False),
    "application/pdf": ("pdf", True),
    "text/html": ("html", False),
}


@dataclass
class JupyterCodeResult(CodeResult):
    """What came of running cells.

    Attributes:
        output_files: Pictures and pages that they have shown, as files.
    """

    output_files: list[Path] = field(default_factory=list[Path])


class JupyterCodeExecutorConfig(HostConfig):
    """The configuration of a `JupyterCodeExecutor`; AutoGen's has the first three."""

    kernel_name: str = "python3"
    timeout: int | float = 60
    output_dir: str | None = None


class JupyterCodeExecutor(CodeExecutor, Component[JupyterCodeExecutorConfig]):
    """Runs code in a Jupyter kernel on this machine: what a block defines, the next one has.

    A block that fails, takes too long or is cancelled is interrupted, and the variables stay. Only
    a kernel that does not react is killed. If the kernel has ended, however that came, the next
    block has a new one, without variables.

    Without a sandbox, code can do what the program can; see `LocalCommandLineCodeExecutor`.

    ::

        async with JupyterCodeExecutor(sandbox=Sandbox()) as executor:
            await executor.execute_code_blocks([CodeBlock("x = 1", "python")], token)
            result = await executor.execute_code_blocks([CodeBlock("x + 1", "python")], token)

    Args:
        kernel_name: of an installed kernel.
        timeout: seconds that a block may take. Then it is interrupted; what it has printed is in
            the result, whose exit code is 124.
        output_dir: where the kernel runs, and pictures and pages are saved, made if it is not
            there; None for a temporary directory, which `stop` removes.
        env: what code has in its environment, see `LocalCommandLineCodeExecutor`.
        sandbox: what code can reach; None for all that this program can. Not given, it is None and
            you are warned.
        limits: what each process can use.
        kill_grace: seconds between interrupting and killing, for code that cleans up.
        max_output: bytes of text that are kept of each block: the first and the last.

    Raises:
        ValueError: an argument is none that can be used; its message says why.
        TypeError: *sandbox* is no `Sandbox`, or *limits* are no `ResourceLimits`.
        RuntimeError: the system has no process groups: it is Windows.
    """

    component_config_schema = JupyterCodeExecutorConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.code_executors.jupyter.JupyterCodeExecutor"
    )

    def __init__(
        self,
        kernel_name: str = "python3",
        timeout: float = 60,
        output_dir: Path | str | None = None,
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
        self._kernel_name = kernel_name
        self._timeout = timeout
        self._host = Host(
            interpreter=Interpreter.current(),
            env=dict(env or {}),
            sandbox=sandbox,
            limits=limits,
            kill_grace=kill_grace,
            max_output=max_output,
        )
        self._scratch = Scratch(None if output_dir is None else Path(output_dir).absolute())
        self._kernel: Kernel | None = None
        self._is_started = False
        self._turn = anyio.Lock()  # a kernel runs one cell at a time

    @property
    def output_dir(self) -> Path:
        """Where the kernel runs, and pictures and pages are saved."""
        return self._scratch.path

    async def start(self) -> None:
        """Start the kernel and wait until it answers. A second call is fine.

        Raises:
            ImportError: jupyter_client is not installed.
            ValueError: there is no kernel of that name.
            RuntimeError: the kernel does not come up.
            SandboxUnavailable: there is to be a sandbox, and it does not work here.
        """
        need_jupyter()
        async with self._turn:
            await self._have_kernel()
            self._is_started = True

    async def stop(self) -> None:
        """End the kernel and remove a temporary directory, after what runs. Twice is fine."""
        # Shielded: giving up is what the caller wants, all the more if cancelled.
        with anyio.CancelScope(shield=True):
            async with self._turn:
                self._is_started = False
                await self._close_kernel()
                self._scratch.remove()

    async def restart(self) -> None:
        """Begin with a new kernel, after what runs. Files stay, variables do not.

        Raises:
            RuntimeError: it was not started, or the kernel does not come up.
        """
        self._check_started()
        async with self._turn:
            self._check_started()  # a stop may have come first
            await self._close_kernel()
            await self._have_kernel()

    def _check_started(self) -> None:
        if not self._is_started:
            raise RuntimeError(
                "the kernel is not running: `async with` the executor, or await start()"
            )

    async def _close_kernel(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            await kernel.close(self._host.kill_grace)

    async def _have_kernel(self) -> Kernel:
        if self._kernel is not None and self._kernel.is_alive():
            return self._kernel
        await self._close_kernel()
        await self._host.check_sandbox(self.output_dir)
        kernel = Kernel(self._kernel_name, self._host, self.output_dir)
        try:
            await kernel.wait_ready()
            self._kernel = kernel
        except KernelDied as error:
            raise RuntimeError(f"the kernel {self._kernel_name} did not start: {error}") from error
        finally:
            if self._kernel is None:
                with anyio.CancelScope(shield=True):
                    await kernel.close(0)
        return kernel

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> JupyterCodeResult:
        """Run the blocks as cells, one after the other, and stop at the first that fails.

        A block that raises fails with 1 and the traceback, one that takes too long with 124, and
        one that ends the kernel with 1. Cancelled, what runs is interrupted first, and its output
        is lost. Calls at the same time take turns.

        Raises:
            ValueError: a block is in another language than the kernel's; none was run.
            RuntimeError: it was not started, or a kernel does not come up.
            MessageCancelled: the token was cancelled.
        """
        self._check_started()
        with token_scope(cancellation_token, "running code"):
            async with self._turn:
                self._check_started()  # a stop may have come first
                kernel = await self._have_kernel()
                for block in code_blocks:
                    _check_language(block, kernel.language)
                outputs: list[str] = []
                result = JupyterCodeResult(exit_code=0, output="")
                for block in code_blocks:
                    cell = _Cell(self.output_dir, self._host.max_output, result.output_files)
                    result.exit_code = await self._run(kernel, block.code, cell)
                    outputs.append(cell.text())
                    if result.exit_code:
                        break
                result.output = "\n".join(outputs)
                return result

    async def _run(self, kernel: Kernel, code: str, cell: _Cell) -> int:
        has_ended = False
        try:
            with anyio.move_on_after(self._timeout):
                done = await kernel.execute(code, cell.take)
                has_ended = True
                return cell.end(done)
        except KernelDied:
            cell.note("The kernel has ended, and its variables are gone")
            has_ended = True
            return 1
        finally:
            if not has_ended:
                # Shielded: a cell that nobody waits for any more has to end all the more.
                with anyio.CancelScope(shield=True):
                    await self._interrupt(kernel)
        cell.note("Timeout: the block took too long and was interrupted")
        if self._kernel is None:
            cell.note("It went on, so the kernel was killed: its variables are gone")
        return TIMED_OUT

    async def _interrupt(self, kernel: Kernel) -> None:
        """Stop the cell that runs; the kernel is killed if it does not stop."""
        kept = False
        try:
            kept = await kernel.interrupt(self._host.kill_grace)
        finally:
            if not kept:
                self._kernel = None
                with anyio.CancelScope(shield=True):
                    await kernel.close(0)

    def _to_config(self) -> JupyterCodeExecutorConfig:
        return JupyterCodeExecutorConfig(
            kernel_name=self._kernel_name,
            timeout=self._timeout,
            output_dir=None if self._scratch.given is None else str(self._scratch.given),
            **config_of(self._host),
        )

    @classmethod
    def _from_config(cls, config: JupyterCodeExecutorConfig) -> Self:
        return cls(
            kernel_name=config.kernel_name,
            timeout=config.timeout,
            output_dir=config.output_dir,
            **config.host_arguments(),
        )


def _check_language(block: CodeBlock, language: str) -> None:
    known = _PYTHON if language == "python" else {language}
    if block.language.lower() not in known:
        raise ValueError(
            f"a block of {block.language!r} cannot be run by a kernel for {language}; "
            f"none of the blocks was run"
        )


@final
class _Cell:
    """What a cell publishes, as text and files."""

    def __init__(self, directory: Path, max_output: int, files: list[Path]) -> None:
        self._directory = directory
        self._files = files
        self._output = Output(max_output)
        self._last = ""
        self._failed = False

    def text(self) -> str:
        """Return the text."""
        return self._output.text()

    def note(self, text: str) -> None:
        """Add a text that stands by itself."""
        self._add("note", text)

    def take(self, kind: str, content: Mapping[str, Any]) -> None:
        """Take a message in; those that show nothing are left out."""
        match kind:
            case "stream":
                self._add(content["name"], content["text"])
            case "execute_result" | "display_data":
                self._show(content["data"])
            case "error":
                self._add_error(content)
            case _:
                pass

    def end(self, done: Done) -> int:
        """Take in how it has ended, and return the exit code that stands for it."""
        if not done.saw_all:
            self.note("Some of the output came faster than it was read, and is lost")
        if done.reply["status"] != "ok" and not self._failed:
            self._add_error(done.reply)
        return int(self._failed)

    def _add_error(self, content: Mapping[str, Any]) -> None:
        self._failed = True
        self._add("error", _COLOURS.sub("", "\n".join(content.get("traceback", ()))))

    def _add(self, kind: str, text: str) -> None:
        # Pieces of a stream belong together; all else stands in lines of its own.
        if self._last and not (kind == self._last and kind in ("stdout", "stderr")):
            self._output.add(b"\n")
        self._last = kind
        self._output.add(text.encode(errors="replace"))

    def _show(self, data: Mapping[str, Any]) -> None:
        for media_type, (ending, is_base64) in _FILES.items():
            if media_type in data:
                self._save(str(data[media_type]), ending, is_base64=is_base64)
        if "text/plain" in data:
            self._add("text", str(data["text/plain"]))
        elif "application/json" in data:
            self._add("text", json.dumps(cast("object", data["application/json"])))

    def _save(self, content: str, ending: str, *, is_base64: bool) -> None:
        try:
            data = base64.b64decode(content) if is_base64 else content.encode(errors="replace")
        except ValueError as error:  # it may not even be ASCII
            self._add("text", f"what was shown as {ending} is none: {error}")
            return
        path = self._directory / f"{uuid.uuid4().hex}.{ending}"
        with open(path, "xb") as file:  # its name is new: no link of the code's can stand there
            file.write(data)
        self._files.append(path)
