"""What comes of running a block of code as a file, on the host or in a container."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, final

import attrs

from ...code_executor import CodeBlock, CodeResult
from ._code_files import CodeFiles, FileRefused

__all__ = ["TIMED_OUT", "CommandLineCodeResult", "Finished", "run_blocks"]

TIMED_OUT: Final = 124  # as the program `timeout` says it


@dataclass
class CommandLineCodeResult(CodeResult):
    """What came of running code that was saved to files.

    Attributes:
        code_file: The file of the first block; None if there was none. Where files are cleaned up
            it is the path that it had.
    """

    code_file: str | None


@final
@attrs.frozen
class Finished:
    """What came of a command.

    Attributes:
        exit_code: As a shell gives it: 128 and the number of the signal, if one has ended it.
        output: What was printed, errors included, in the order in which it was written.
        timed_out: Whether it was killed because its time was over.
    """

    exit_code: int
    output: str
    timed_out: bool


async def run_blocks(
    blocks: Sequence[tuple[CodeBlock, str]],
    run: Callable[[CodeBlock, PurePosixPath], Awaitable[Finished]],
    *,
    files: CodeFiles,
    directory: Path,
    clean_up: bool,
) -> CommandLineCodeResult:
    """Save and run blocks one after the other, up to the first that fails.

    Args:
        blocks: each with the extension of its file.
        run: runs a block, given its file's path in the directory.
        files: where they are saved.
        directory: the same, as it is called in the result.
        clean_up: whether files without a name of their own are removed again.
    """
    result = CommandLineCodeResult(exit_code=0, output="", code_file=None)
    for block, extension in blocks:
        try:
            with files.saved(block, extension, clean_up=clean_up) as name:
                result.code_file = result.code_file or str(directory / name)
                finished = await run(block, name)
        except FileRefused as error:
            result.exit_code = 1
            result.output += f"{error}\n"
            break
        result.exit_code = TIMED_OUT if finished.timed_out else finished.exit_code
        result.output += finished.output
        if finished.timed_out:
            result.output += "\nTimeout: the block took too long and was killed\n"
        if result.exit_code:
            break
    return result
