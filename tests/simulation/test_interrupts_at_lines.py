"""The row that presses Ctrl-C at each line finds what it is there for."""

from __future__ import annotations

import attrs
import pytest

from trio_agents._core._runtime import Runtime
from trio_agents.testing._schedule import LoopName
from trio_agents.testing.nightly import _interrupts
from trio_agents.testing.nightly._interrupts import LineTracer, try_lines
from trio_agents.testing.nightly._programs import Program, program_with
from trio_agents.testing.nightly._row import Watch
from trio_agents.testing.nightly._schedules import PROGRAMS


def double(number: int) -> int:
    total = 0
    for _ in range(2):
        total += number
    return total


@pytest.fixture
def traced_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_interrupts, "CORE", (__file__,))


@pytest.mark.usefixtures("traced_here")
def test_each_line_is_counted_as_often_as_it_runs() -> None:
    tracer = LineTracer()
    with tracer.tracing():
        double(2)
    first = double.__code__.co_firstlineno
    times = {number - first: times for (_, number), times in tracer.hits.items()}
    assert times == {1: 1, 2: 3, 3: 2, 4: 1}


@pytest.mark.usefixtures("traced_here")
def test_it_acts_once_at_the_time_that_was_asked_for() -> None:
    line = (double.__code__, double.__code__.co_firstlineno + 3)
    done: list[int] = []
    tracer = LineTracer(line, 2, lambda: done.append(tracer.hits[line]))
    with tracer.tracing():
        double(2)
        double(2)
    assert done == [2]
    assert tracer.acted


def only(monkeypatch: pytest.MonkeyPatch, program: Program, function: str) -> None:
    """Have the row try one program, and the lines of one function in it."""
    lines = _interrupts._lines

    def some(program: Program, *, seed: int, loop: LoopName) -> dict[_interrupts.Line, int]:
        found = lines(program, seed=seed, loop=loop)
        return {line: times for line, times in found.items() if line[0].co_qualname == function}

    monkeypatch.setattr(_interrupts, "_lines", some)
    monkeypatch.setattr(_interrupts, "PROGRAMS", {"a program": program})


def test_a_short_run_meets_both_loops_and_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, program_with(["handler raises"], seed=0), "Runtime._own_nursery")
    watch = Watch(goal=60, seconds=60)
    try_lines(watch)
    assert watch.report.violations == []
    assert watch.report.reached["trio"] > 10
    assert watch.report.reached["asyncio"] > 10


def test_an_interrupt_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    program = attrs.evolve(PROGRAMS["large 15"], leave="error")
    only(monkeypatch, program, "Runtime._end")
    monkeypatch.setattr(Runtime, "_choose_error", lambda runtime, errors: errors[0])
    watch = Watch(goal=20, seconds=60)
    try_lines(watch)
    assert "Ctrl-C at Runtime._end, line" in watch.report.violations[0]
    assert "what did is None" in watch.report.violations[0]
