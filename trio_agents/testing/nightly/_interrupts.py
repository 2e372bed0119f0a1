"""Ctrl-C at each line of the runtime's core, and not only between two steps of tasks.

A signal arrives between any two instructions. trio raises `KeyboardInterrupt` right there if the
application's code runs, and else where the main task waits next. asyncio cancels the main task
right there, whatever is going on.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any, Final

from ..._core import _calls
from ..._core._interception import Interceptors
from ..._core._ledger import RuntimeStatistics
from .._explore import leaves
from .._schedule import LOOPS, LoopName
from .._simulation import Run, Scenario, Simulation, run_scenario
from ._programs import Program
from ._row import Row, Watch
from ._schedules import MAX_STEPS, PROGRAMS
from ._world import EXPECTED, Running, listening

__all__ = ["ROWS", "Line", "LineTracer"]

Line = tuple[CodeType, int]

_PACKAGE: Final = Path(__file__).parents[2]
CORE: Final = tuple(str(_PACKAGE / layer) for layer in ("_core", "_loops"))


def _do_nothing() -> None: ...


class LineTracer:
    """Counts the lines of the core that run, or does something at one of them.

    Args:
        line: At which one; none if they are to be counted.
        occurrence: At which of the times that it runs: 1 is the first.
        act: What is done.

    Attributes:
        hits: How often each line has run, or that one.
        acted: Whether it was done.
    """

    def __init__(
        self,
        line: Line | None = None,
        occurrence: int = 0,
        act: Callable[[], object] = _do_nothing,
    ) -> None:
        self.act = act
        self.hits: Counter[Line] = Counter()
        self.acted = False
        self._line = line
        self._occurrence = occurrence

    def __str__(self) -> str:
        if self._line is None:
            return "all lines"
        code, number = self._line
        return f"{code.co_qualname}, line {number}, time {self._occurrence}"

    @contextmanager
    def tracing(self) -> Generator[None, None, None]:
        """Look at all that is called in this thread from here on."""
        before = sys.gettrace()
        sys.settrace(self._on_call)
        try:
            yield
        finally:
            sys.settrace(before)

    def _on_call(self, frame: FrameType, event: str, arg: object) -> Any:
        if self._line is None:
            return self._on_line if frame.f_code.co_filename.startswith(CORE) else None
        return self._on_line if frame.f_code is self._line[0] else None

    def _on_line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            line = (frame.f_code, frame.f_lineno)
            self.hits[line] += 1
            if line == self._line and self.hits[line] == self._occurrence:
                self.acted = True
                self.act()
        return self._on_line


def _traced(program: Program, tracer: LineTracer) -> Scenario[RuntimeStatistics]:
    async def scenario(sim: Simulation) -> RuntimeStatistics:
        running = Running(sim, program)
        tracer.act = partial(running.befall, "Ctrl-C", sim)
        with listening(running.world.logged), tracer.tracing():
            return await running.run()

    return scenario


def _run(
    program: Program, tracer: LineTracer, *, seed: int, loop: LoopName
) -> Run[RuntimeStatistics]:
    return run_scenario(_traced(program, tracer), seed=seed, loop=loop, max_steps=MAX_STEPS)


def _lines(program: Program, *, seed: int, loop: LoopName) -> dict[Line, int]:
    """Give the lines that a program runs, and how often."""
    tracer = LineTracer()
    run = _run(program, tracer, seed=seed, loop=loop)
    if run.error is not None:
        raise run.error
    return {line: times for line, times in tracer.hits.items() if not _is_of_application(line[0])}


def _is_of_application(code: CodeType) -> bool:
    # What calls the application's code is interrupted like that itself: a handler that has returned
    # may have failed then, and a factory too, which the programs' own books do not foresee. Tests
    # of their own say what has to become of that.
    return code.co_filename == _calls.__file__ or code is Interceptors._ask_each.__code__


def _is_one_interrupt(error: BaseException) -> bool:
    # Beside it there may be what a program's own task groups have met at the same time; and all
    # that wait for one agent get the very object that has hit its factory.
    found = tuple(leaves(error))
    interrupts = {id(leaf) for leaf in found if isinstance(leaf, KeyboardInterrupt)}
    return len(interrupts) == 1 and all(
        isinstance(leaf, (KeyboardInterrupt, *EXPECTED)) for leaf in found
    )


def try_lines(watch: Watch) -> None:
    """Press Ctrl-C once at each line that a program runs, at any of the times, on both loops."""
    names = tuple(PROGRAMS)[::-1]  # the large ones run most lines
    while watch.goes_on():
        seed = watch.next_seed()
        random = Random(seed)
        name = names[seed % len(names)]
        program = PROGRAMS[name]
        lines = [_lines(program, seed=seed, loop=loop).items() for loop in LOOPS]
        for both in zip_longest(*lines):  # in turn, so that a short run has both
            for loop, found in zip(LOOPS, both, strict=True):
                if found is not None:
                    if not watch.goes_on():
                        return
                    line, times = found
                    tracer = LineTracer(line, random.randint(1, times))
                    _try_line(watch, name, program, tracer, seed=seed, loop=loop)


def _try_line(
    watch: Watch, name: str, program: Program, tracer: LineTracer, *, seed: int, loop: LoopName
) -> None:
    run = _run(program, tracer, seed=seed, loop=loop)
    if tracer.acted:  # some lines depend on the order in a set
        watch.met(loop)
        if run.error is None or not _is_one_interrupt(run.error):
            watch.violation(
                f"{name}, {run.trace}, Ctrl-C at {tracer}: one KeyboardInterrupt was to leave the "
                f"run, and what did is {run.error!r}"
            )
    watch.done()


ROWS: Final = (
    Row(
        name="ctrl-c-at-each-line",
        title="Ctrl-C at each line of the core, one of the times that it runs",
        family="In process",
        goal=15_000,
        unit="runs",
        promise="every invariant of the monitor; one bare KeyboardInterrupt",
        work=try_lines,
        minutes_of_seed=3,
        weight=3,
        quick_goal=200,
        expects=LOOPS,
    ),
)
