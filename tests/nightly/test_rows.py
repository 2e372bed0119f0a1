"""A short run of each row of the long run. What every change has to pass is more: ``--quick``."""

from __future__ import annotations

import pytest

from trio_agents.testing.nightly._row import Row, Watch
from trio_agents.testing.nightly._rows import ROWS

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
