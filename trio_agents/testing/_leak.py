"""What `no_leaks` has found: a value."""

from __future__ import annotations

from typing import Literal, final

import attrs

__all__ = ["Leak", "LeakKind"]

LeakKind = Literal[
    "task",
    "thread",
    "file descriptor",
    "child process",
    "temporary file",
    "message",
    "failure",
    "exception",
    "coroutine",
    "resource",
]
"""What was left: the first seven go on or exist, the others are errors that nobody got."""


@final
@attrs.frozen
class Leak:
    """Something that a block has left behind.

    Attributes:
        kind: What it is.
        text: Which one, as far as that can be said.
    """

    kind: LeakKind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"
