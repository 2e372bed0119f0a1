"""`Host`: how code runs on this machine, for the executors that run it here.

The environment is not the program's: keys for models and databases live there, and code that a
model has written would read them. What code gets is a path, a home, a language, and what the
application adds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Final, final

import attrs

from ._child import Command, run_to_end
from ._limits import ResourceLimits, check_they_hold, limited
from ._result import Finished
from ._sandbox import Sandbox, SandboxUnavailable, sandbox_arguments

__all__ = ["DEFAULT_KILL_GRACE", "SETTINGS", "Host", "Interpreter", "check_bounds", "need_posix"]

DEFAULT_KILL_GRACE: Final = 1.0

#: What the environment of all code has, here or in a container.
SETTINGS: Final = {
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",  # what was printed before a timeout is then not lost
    # What pip says of each package is of no use to anybody here; its errors still are.
    "PIP_QUIET": "1",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}


def need_posix() -> None:
    """Refuse Windows.

    Raises:
        RuntimeError: this is no POSIX system.
    """
    if os.name != "posix":
        raise RuntimeError(
            "code executors need process groups and descriptors of directories, which this "
            "system does not have: use the Windows Subsystem for Linux"
        )


def check_bounds(timeout: float, kill_grace: float, max_output: int) -> None:
    """Refuse bounds that cannot be.

    Raises:
        ValueError: one of them is none.
    """
    if not timeout > 0:
        raise ValueError(f"timeout has to be more than 0 seconds, not {timeout}")
    if not kill_grace >= 0:
        raise ValueError(f"kill_grace has to be 0 seconds or more, not {kill_grace}")
    if max_output < 2:
        raise ValueError(f"max_output has to be 2 bytes or more, not {max_output}")


def _check_bounding(sandbox: object, limits: object) -> None:
    """Refuse what only looks like a sandbox or like limits, now and not when code is to run.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(sandbox, Sandbox | None):
        raise TypeError(f"sandbox has to be Sandbox() or None, not {_shown(sandbox)}")
    if not isinstance(limits, ResourceLimits | None):
        raise TypeError(f"limits has to be ResourceLimits(...) or None, not {_shown(limits)}")


def _shown(what: object) -> str:
    if isinstance(what, bool):
        return str(what)
    return f"the class {what.__name__}" if isinstance(what, type) else type(what).__name__


@final
@attrs.frozen
class Interpreter:
    """The Python that runs code.

    Attributes:
        executable: Its program.
        directory: Where it and its scripts are: first in the path, so that ``pip`` is its own.
        prefixes: What has to be there for it to run.
    """

    executable: str
    directory: str
    prefixes: tuple[Path, ...]

    @classmethod
    def current(cls) -> Interpreter:
        """Return the interpreter that runs this program."""
        # Without a way like examples/../.venv, which is none where there are no examples. The
        # program itself may be a link: that is how it finds its environment.
        directory = os.path.realpath(os.path.dirname(sys.executable))
        executable = os.path.join(directory, os.path.basename(sys.executable))
        found = (sys.base_prefix, *map(os.path.realpath, (sys.base_prefix, sys.prefix)))
        return cls(executable, directory, tuple(map(Path, dict.fromkeys(found))))

    @classmethod
    def of_environment(cls, context: SimpleNamespace) -> Interpreter:
        """Return that of a virtual environment.

        Args:
            context: what ``venv.EnvBuilder.ensure_directories`` returns.

        Raises:
            ValueError: there is no such environment.
        """
        executable = Path(context.env_exe)
        if not executable.exists():
            raise ValueError(
                f"there is no virtual environment with {executable}: create it first, with "
                f"venv.EnvBuilder(with_pip=True).create(directory)"
            )
        base = executable.resolve().parent.parent
        return cls(str(executable), context.bin_path, (base, Path(context.env_dir)))


@final
@attrs.frozen(kw_only=True)
class Host:
    """Runs commands here.

    Attributes:
        interpreter: The Python whose programs come first.
        env: What the environment has besides the least.
        sandbox: Around all commands; None for none.
        limits: For all processes; None for none.
        kill_grace: Seconds between asking a process to end and killing it.
        max_output: Bytes of output that are kept.
    """

    interpreter: Interpreter
    env: Mapping[str, str] = attrs.field(repr=False)  # there may be secrets among them
    sandbox: Sandbox | None
    limits: ResourceLimits | None
    kill_grace: float
    max_output: int

    def __attrs_post_init__(self) -> None:
        need_posix()
        _check_bounding(self.sandbox, self.limits)
        if self.limits is not None:
            check_they_hold(self.limits)

    def command(
        self,
        argv: Sequence[str],
        cwd: Path,
        *,
        sandbox: Sandbox | None = None,
        env: Mapping[str, str] | None = None,
        writable: Sequence[Path] = (),
    ) -> Command:
        """Return what runs *argv* in *cwd*.

        Args:
            argv: the program and its arguments.
            cwd: the working directory.
            sandbox: instead of that of the host, if it has one.
            env: what the environment has besides.
            writable: what can be changed in a sandbox besides the working directory.
        """
        whole = {
            "PATH": f"{self.interpreter.directory}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(cwd),
            **SETTINGS,
            **self.env,
            **(env or {}),
        }
        bounded = tuple(argv) if self.limits is None else limited(argv, self.limits)
        if self.sandbox is None:
            return Command(argv=bounded, cwd=cwd, env=whole)
        box = sandbox_arguments(
            sandbox or self.sandbox,
            cwd=cwd,
            env=whole,
            read_only=[path for path in self.interpreter.prefixes if path.name],
            writable=writable,
        )
        return Command(argv=bounded, cwd=cwd, env=whole, sandbox=box)

    async def run(
        self, argv: Sequence[str], *, cwd: Path, seconds: float, sandbox: Sandbox | None = None
    ) -> Finished:
        """Run *argv* to its end, as `run_to_end` does."""
        return await run_to_end(
            self.command(argv, cwd, sandbox=sandbox),
            seconds=seconds,
            grace=self.kill_grace,
            max_output=self.max_output,
        )

    async def check_sandbox(self, cwd: Path) -> None:
        """Make sure that the sandbox works, if there is to be one.

        Raises:
            SandboxUnavailable: it does not.
        """
        if self.sandbox is None:
            return
        argv = [self.interpreter.executable, "-I", "-S", "-c", ""]
        tried = await self.run(argv, cwd=cwd, seconds=30)
        if tried.exit_code != 0:
            raise SandboxUnavailable(
                f"bubblewrap does not work here, so nothing is run: {tried.output.strip()}"
            )
