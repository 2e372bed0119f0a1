from __future__ import annotations

import pytest

from trio_agents.testing import _simulation
from trio_agents.testing._conformance import RUNTIME_CHECKS
from trio_agents.testing.nightly._conformance import ROWS
from trio_agents.testing.nightly._row import Watch

from .test_conformance import is_lazy

(ROW,) = ROWS


def test_every_promise_is_kept_under_other_schedules() -> None:
    watch = Watch(goal=ROW.quick_goal, seconds=60)
    ROW.work(watch)
    assert watch.report.violations == []
    assert watch.report.units == ROW.quick_goal
    assert set(watch.report.reached) == {check.name for check in RUNTIME_CHECKS}


def test_a_promise_that_is_not_kept_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    running = _simulation.running

    def broken(runtime: object) -> object:
        is_lazy(runtime)
        return running(runtime)  # type: ignore[type-var]

    monkeypatch.setattr(_simulation, "running", broken)
    watch = Watch(goal=2 * len(RUNTIME_CHECKS), seconds=60)
    ROW.work(watch)
    assert watch.report.violated == 2
    first = watch.report.violations[0]
    assert "makes the agent" in first or "made now if it is not lazy" in first
    assert "try_check(get_gives_ids_and_makes_agents, seed=" in first
