"""What comes of running a block of code as a file, on the host or in a container."""

from __future__ import annotations

from dataclasses import dataclass

from ...code_executor import CodeResult

__all__ = ["CommandLineCodeResult"]


@dataclass
class CommandLineCodeResult(CodeResult):
    """What came of running code that was saved to files.

    Attributes:
        code_file: The file of the first block; None if there was none. Where files are cleaned up
            it is the path that it had.
    """

    code_file: str | None
