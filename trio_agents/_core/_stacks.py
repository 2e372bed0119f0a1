"""Where code stands: of another thread, and of a coroutine that waits.

Both are for lines that somebody reads who looks for what holds a program up. So what the event loop
and the runtime put around the application's code is left out, unless there is nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

__all__ = ["stack_of_thread", "stack_of_work", "steps_by_hand"]

PACKAGE: Final = Path(__file__).parent.parent
OURS: Final = tuple(str(PACKAGE / layer) for layer in ("_sansio", "_agents", "_core"))

#: The code of generators that take another coroutine's steps by hand: for them the interpreter does
#: not know whom they wait for, and it is their variable ``work``.
steps_by_hand: Final[set[CodeType]] = set()


def stack_of_thread(thread: int, inside: CodeType | None) -> tuple[str, ...]:
    """Say where a thread is now, outermost first; of what *inside* calls only, if it is there."""
    innermost = sys._current_frames().get(thread)
    frames: list[FrameType] = []
    frame = innermost
    while frame is not None and frame.f_code is not inside:
        frames.append(frame)
        frame = frame.f_back
    return _describe(reversed(frames))


def stack_of_work(work: Any) -> tuple[str, ...]:
    """Say where a coroutine waits, outermost first. It must not be running."""
    return _describe(_frames_of_work(work))


def _frames_of_work(work: Any) -> Iterator[FrameType]:
    while work is not None:
        # A coroutine, or a generator that stands for one; what else can be awaited has no frames.
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None)
        if frame is None:
            return
        if frame.f_code in steps_by_hand:
            work = frame.f_locals["work"]
            continue
        yield frame
        work = getattr(work, "cr_await", None) or getattr(work, "gi_yieldfrom", None)


def _describe(frames: Iterable[FrameType]) -> tuple[str, ...]:
    described: list[str] = []
    is_ours = True
    for frame in frames:
        code = frame.f_code
        if is_ours and not code.co_filename.startswith(OURS):
            described.clear()
            is_ours = False
        described.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}")
    return tuple(described)
