"""How tests learn what code is doing: pipes by name, and the processes of this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Self

import anyio
import pytest

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock, CodeExecutor

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)


def python(code: str) -> CodeBlock:
    return CodeBlock(code, "python")


def sh(code: str) -> CodeBlock:
    return CodeBlock(code, "sh")


async def outcome(executor: CodeExecutor, *blocks: CodeBlock) -> tuple[int, str]:
    """Run *blocks* and return exit code and output."""
    result = await executor.execute_code_blocks(list(blocks), CancellationToken())
    return result.exit_code, result.output


def files_in(directory: Path) -> list[str]:
    """Return the paths of all files in *directory*."""
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def text_of(path: Path | str) -> str:
    """Return what is in a file."""
    return Path(path).read_text()


class Pipe:
    """A pipe with a name, which code writes to and the test reads."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    async def read(self) -> str:
        """Wait for something to be written and return it; nothing once all writers are gone."""
        await anyio.wait_readable(self._descriptor)
        return os.read(self._descriptor, 65536).decode()

    async def wait_closed(self) -> None:
        """Wait until all who had it open are gone."""
        while await self.read():
            pass


def processes_with(text: str) -> list[str]:
    """Return the command lines of the running processes in which *text* is."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if text in line:
            found.append(line)
    return found
