"""A short run of each row of the long run: what the nights try thousands of times, tried often."""

from __future__ import annotations

import pytest

from trio_agents.testing.nightly._row import Row, Watch
from trio_agents.testing.nightly._rows import ROWS

PATIENCE = 100  # seconds: what a row takes here is its quick goal, on the slowest machine


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_promise_is_broken(row: Row) -> None:
    if reason := row.missing():
        pytest.skip(reason)
    watch = Watch(goal=row.quick_goal, seconds=PATIENCE)
    row.work(watch)
    assert watch.report.violations == []
    assert watch.report.units >= min(row.quick_goal, row.goal)
    if row.quick_goal > 100:  # otherwise it may not meet everything
        assert [name for name in row.expects if not watch.report.reached[name]] == []


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
