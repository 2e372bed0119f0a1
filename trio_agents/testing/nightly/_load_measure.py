"""What rows under load measure: memory, open files, live objects, and the time of many things."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Unpack

import anyio
import anyio.lowlevel
import trio

from ..._core._runtime import RuntimeOptions
from ..._loops import _asyncio_runtime, _trio_runtime
from .._schedule import LOOPS, LoopName

__all__ = [
    "checkpoint",
    "count_files",
    "live_objects",
    "loop_of",
    "missing_proc",
    "new_runtime",
    "percentile",
    "resident_bytes",
    "run_on",
    "scaled",
    "wait_for_ever",
]

_STATM: Final = Path("/proc/self/statm")
_FILES: Final = Path("/proc/self/fd")

checkpoint = anyio.lowlevel.checkpoint


async def wait_for_ever() -> None:
    """Wait until cancelled.

    Not `anyio.sleep_forever`: on asyncio that sets a timer, and the loop keeps a cancelled timer,
    with all that its context variables name, until it next cleans up.
    """
    await anyio.Event().wait()


def missing_proc() -> str | None:
    """Say why memory cannot be measured here, or give None."""
    return None if _STATM.exists() else "it reads the size of the process from /proc"


def resident_bytes() -> int:
    """Give how much memory this process has, in bytes."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def count_files() -> int:
    """Count the open files of this process."""
    return len(os.listdir(_FILES))


def live_objects() -> Counter[str]:
    """Count what is alive of the library's classes, those of the test kit aside."""
    gc.collect()
    gc.collect()  # what a finalizer let go of
    found: Counter[str] = Counter()
    objects: list[object] = gc.get_objects()
    for item in objects:
        cls = type(item)
        module: object = getattr(cls, "__module__", None)
        if (
            isinstance(module, str)
            and module.startswith("trio_agents.")
            and not module.startswith("trio_agents.testing")
        ):
            found[cls.__qualname__] += 1
    return found


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the value that *percent* of *values* do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def run_on(loop: LoopName, main: Callable[[], Awaitable[None]]) -> None:
    """Run *main* on an event loop as programs have it, with its real clock."""
    if loop == "trio":
        trio.run(main)
        return

    async def call() -> None:
        await main()

    asyncio.run(call())


def loop_of(seed: int) -> LoopName:
    """Give the event loops in turn."""
    return LOOPS[seed % len(LOOPS)]


def new_runtime(loop: LoopName, **options: Unpack[RuntimeOptions]) -> Any:
    """Make a runtime for an event loop."""
    if loop == "trio":
        return _trio_runtime.SingleThreadedAgentRuntime(**options)
    return _asyncio_runtime.SingleThreadedAgentRuntime(**options)


def scaled(goal: int, parts: int, most: int) -> int:
    """Share a row's goal among its *parts*; at most *most* for each, at least one."""
    return max(1, min(most, goal // parts))
