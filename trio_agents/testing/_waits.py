"""Saying where a task waits, in the program's own lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .._core._envelope import Envelope

__all__ = ["IN_A_THREAD", "describe_task", "name_task"]

IN_A_THREAD: Final = "waits for a thread"
# The functions that hand something to a thread and wait: trio's, anyio's, asyncio's.
TO_THREAD: Final = tuple(
    f"{os.sep}{name}"
    for name in (
        os.path.join("trio", "_threads.py"),
        os.path.join("anyio", "to_thread.py"),
        os.path.join("asyncio", "threads.py"),
    )
)

# What waits inside of these says nothing: the line that has called them does.
OURS: Final = f"{os.sep}trio_agents{os.sep}"
LIBRARIES: Final = tuple(
    f"{os.sep}{name}{os.sep}" for name in ("trio", "anyio", "asyncio", "trio_agents")
)


def describe_task(name: str, coroutine: Any) -> str:
    """Name the functions that a task is in, without those of the event loop and of ours."""
    frames = list(_frames(coroutine))
    titles = [_title(frame) for frame in frames if not _is_library(frame)]
    if not titles:
        titles = [title for frame in frames if (title := _title_of_ours(frame))]
    if any(frame.f_code.co_filename.endswith(TO_THREAD) for frame in frames):
        titles.append(IN_A_THREAD)
    return f"{_shorten(name)}: {' > '.join(titles) or 'about to begin or to end'}"


def name_task(name: str, coroutine: Any) -> str:
    """Name a task by where it is in the program; by its own name, if it is not in it."""
    titles = [_title(frame) for frame in _frames(coroutine) if not _is_library(frame)]
    return titles[-1] if titles else _shorten(name)


def _shorten(name: str) -> str:
    # Without what it was defined in.
    return name.rpartition("<locals>.")[2].rpartition("trio_agents.")[2]


def _title(frame: FrameType) -> str:
    return f"{_shorten(frame.f_code.co_qualname)} line {frame.f_lineno}"


def _title_of_ours(frame: FrameType) -> str:
    """Say what of ours a task is in that has none of the program's lines: whose handler, say."""
    name, values = frame.f_code.co_name, frame.f_locals
    if OURS not in frame.f_code.co_filename:
        return ""
    if name == "carry":
        envelope: Envelope = values["envelope"]
        return f"handler of {envelope.recipient or envelope.topic}"
    if name == "do":  # an act of a script, which says what it is
        return str(values.get("self", ""))
    if name in ("send_message", "publish_message"):
        return f"{name} to {values.get('recipient') or values.get('topic_id')}"
    return ""


def _frames(awaitable: Any) -> Iterator[FrameType]:
    while awaitable is not None:
        for frame, further in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom")):
            if hasattr(awaitable, frame):
                if (found := getattr(awaitable, frame)) is not None:
                    yield found
                awaitable = getattr(awaitable, further)
                break
        else:
            return


def _is_library(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return any(name in file for name in LIBRARIES) or file.endswith("contextlib.py")
