"""What reading bytes may do and cost: nothing else than read, in little time and memory.

Whatever is read is read under an audit hook: that nothing is imported, compiled, opened or run
because bytes say so is checked with each of them, and not by a test of its own.

Time is that of the thread, and the least of three: a machine that was busy elsewhere proves
nothing. Only a long run judges it. What is large may take so many times what `json` takes, measured
beside it: machines differ, and one is not always as fast as it was. Python needs more than twenty
times the bytes of ``[[],[],[]]`` for the lists in it, and to find out how deep they lie takes as
much again, so the bound on memory follows from that and not from the size of what was sent.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final

from ._row import Watch

__all__ = [
    "MAX_SECONDS",
    "Audit",
    "again",
    "check_cost",
    "json_seconds",
    "read_memory",
    "read_seconds",
    "the_audit",
]

MAX_SECONDS: Final = 0.010  # for what fits a frame; what is larger may take its time by the byte
MAX_TIMES_JSON: Final = 4
MAX_BYTES: Final = 96 * 1024
MAX_BYTES_PER_BYTE: Final = 64
LARGE: Final = 64 * 1024  # from here on the overhead of one call says nothing any more


class Audit:
    """Notes what the interpreter is asked to do in this thread while it listens.

    CPython keeps audit hooks for good, so there is one for the process, and it is nearly always
    deaf. What `importlib` looks for in vain causes no event, so modules are looked for here first.
    """

    # What asking for a representation, or a frame, causes by itself.
    HARMLESS: Final = frozenset({"builtins.id", "sys._getframe"})

    def __init__(self) -> None:
        self._thread = 0
        self._heard: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._thread and threading.get_ident() == self._thread and event not in self.HARMLESS:
            self._heard.append(f"{event} {arguments!r:.80}")

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Note that a module is looked for, which `sys.meta_path` asks; leave it to the others."""
        self._hear("import", (fullname,))

    @contextmanager
    def listening(self) -> Generator[list[str], None, None]:
        """Give the list that whatever is heard in the block is put into."""
        heard: list[str] = []
        self._heard = heard
        self._thread = threading.get_ident()
        sys.meta_path.insert(0, self)
        try:
            yield heard
        finally:
            sys.meta_path.remove(self)
            self._thread = 0


_audits: Final[list[Audit]] = []


def the_audit() -> Audit:
    """Give the process's audit, made when it is first needed."""
    if not _audits:
        _audits.append(Audit())
    return _audits[0]


def read_seconds(read: Callable[[bytes], object], payload: bytes) -> float:
    """Measure what a refusal or a message costs this thread; the least of three times."""
    best = math.inf
    for _ in range(3):
        began = time.thread_time()
        with suppress(Exception):  # which one is somebody else's question
            read(payload)
        best = min(best, time.thread_time() - began)
    return best


def json_seconds(size: int) -> float:
    """Measure what `json` takes for lists of so many bytes, the dearest of what it reads."""
    lists = b",".join([b"[]"] * (size // 3 + 1))
    return read_seconds(json.loads, b"[" + lists + b"]")


def read_memory(read: Callable[[bytes], object], payload: bytes) -> int:
    """Measure how many bytes reading needs at its peak, what it returns included."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        with suppress(Exception):  # which one is somebody else's question
            read(payload)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not was_tracing:
            tracemalloc.stop()


def check_cost(
    watch: Watch,
    read: Callable[[bytes], object],
    payload: bytes,
    where: str,
    *,
    timed: bool,
    memory: bool,
) -> None:
    """Hold reading *payload* against the bounds on time and on memory, as far as is wanted."""
    size = len(payload)
    seconds = read_seconds(read, payload)
    watch.figure("slowest payload, ms", seconds * 1000)
    if timed and seconds > MAX_SECONDS:
        by_json = json_seconds(size)
        if seconds > MAX_SECONDS + MAX_TIMES_JSON * by_json:
            watch.violation(
                f"{where}: reading {size} bytes took {seconds * 1000:.1f} ms; json reads as many "
                f"bytes of lists in {by_json * 1000:.1f} ms"
            )
    if memory:
        peak = read_memory(read, payload)
        if size >= LARGE:
            watch.figure("largest peak, times the payload", peak / size)
        if peak > MAX_BYTES + size * MAX_BYTES_PER_BYTE:
            watch.violation(f"{where}: reading {size} bytes needed {peak} bytes")


def again(row: str, seed: int) -> str:
    """Say how a batch is repeated."""
    return f"{row}, seed {seed} (its row, with Watch(goal=1, seconds=600, first_seed={seed}))"
