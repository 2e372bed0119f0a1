# The clock and the scales: how a scenario measures itself, the same way in every system.
#
# The garbage collector. Before the clock starts everything that exists is collected and then
# frozen, so nobody pays for modules and earlier rounds. The collector itself stays on while the
# clock runs: applications run with it, and a runtime that leaves cycles behind should pay for them.
#
# Memory is the growth of the resident set, not tracemalloc's sum: it sees the stacks of threads and
# what the allocator rounds up, it is what the machine has to have, and it does not need the memory
# of the tracer on top. It only means something in a process that has not freed much before, so
# memory scenarios get a fresh process each (see _scenarios.py).

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

WARM_UP: Final = 200
"""Requests before the clock starts."""

SUBSCRIBERS: Final = 100
CHAIN: Final = 10


@dataclass
class Work:
    """The message of every scenario. A dataclass, as users of AutoGen Core write them."""

    content: str


WORK: Final = Work("twelve words of text are about as much as a short message has")


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one scenario: *total* seconds or bytes for *count* of the thing counted."""

    total: float
    count: int

    @property
    def each(self) -> float:
        return self.total / self.count


@dataclass(slots=True)
class Stopwatch:
    seconds: float = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time the block; its warm-up belongs before it, its checks and its tidying after it."""
    watch = Stopwatch()
    gc.collect()
    gc.freeze()
    started = perf_counter()
    try:
        yield watch
    finally:
        watch.seconds = perf_counter() - started
        gc.unfreeze()


@dataclass(slots=True)
class Tally:
    """Counts deliveries, so that a publication nobody received is an error and not a record."""

    count: int = 0

    def check(self, expected: int) -> None:
        if self.count != expected:
            raise RuntimeError(f"{expected} deliveries were due, {self.count} happened")


def check_replies(replies: list[object], expected: int) -> None:
    """As above, for requests: the scenarios' agents all answer with the message they got."""
    good = sum(reply is WORK for reply in replies)
    if good != expected:
        raise RuntimeError(f"{expected} replies were due, {good} came")


def resident_bytes() -> int:
    """The memory of this process that is in RAM, garbage collected first."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if not statm.exists():
        raise RuntimeError("memory is read from /proc/self/statm, which only Linux has")
    # Kernels count the resident set per thread and add the parts up late; smaps_rollup walks the
    # page tables instead, and is right.
    rollup = Path("/proc/self/smaps_rollup")
    if rollup.exists():
        for line in rollup.read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    import resource

    return int(statm.read_text().split()[1]) * resource.getpagesize()
