"""A short run of each row of the long run. What every change has to pass is more: ``--quick``."""

from __future__ import annotations

from typing import Any

import pytest

from trio_agents.testing._schedule import LOOPS
from trio_agents.testing._simulation import run_scenario
from trio_agents.testing.nightly import _schedules
from trio_agents.testing.nightly._programs import Program
from trio_agents.testing.nightly._row import Row, Watch
from trio_agents.testing.nightly._rows import ROWS
from trio_agents.testing.nightly._schedules import FIRST, PROGRAMS
from trio_agents.testing.nightly._world import FAULTS, scenario_of

PATIENCE = 1  # seconds; where a goal is not reached in them, less was tried


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_promise_is_broken(row: Row) -> None:
    if reason := row.missing():
        pytest.skip(reason)
    watch = Watch(goal=-(-row.quick_goal // 50), seconds=PATIENCE)
    row.work(watch)
    assert watch.report.violations == []
    assert watch.report.units >= 1


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("lane", range(2))
def test_a_quick_run_has_each_fault_at_each_step_of_the_first_programs(
    lane: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = (row for row in ROWS if row.name == "faults-at-each-step")
    tried: set[tuple[str, str, str, int]] = set()

    def note(watch: Watch, program: Program, **how: Any) -> None:
        tried.add((how["name"], how["loop"], how["fault"], how["at"]))

    monkeypatch.setattr(_schedules, "try_program", note)
    row.work(Watch(goal=row.quick_goal // 2, seconds=60, first_seed=lane, stride=2))
    for seed in range(lane, len(FIRST), 2):
        name = FIRST[seed]
        for loop in LOOPS:
            steps = run_scenario(scenario_of(PROGRAMS[name]), seed=seed, loop=loop).steps
            places = {(name, loop, fault, at + 1) for fault in FAULTS for at in range(steps)}
            assert places <= tried
