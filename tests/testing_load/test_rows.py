"""The short runs of the rows about scripted faults have something of everything."""

from __future__ import annotations

from itertools import product

import pytest

from trio_agents.testing.nightly import _scripted
from trio_agents.testing.nightly._row import Row
from trio_agents.testing.nightly._scripted_handlers import CANARY_MESSAGES
from trio_agents.testing.nightly._scripted_trial import cases_in_turn

UNITS = {"worker-reuse": CANARY_MESSAGES}  # of a case, where that is not one


@pytest.mark.parametrize("row", _scripted.ROWS, ids=[row.name for row in _scripted.ROWS])
def test_a_short_run_has_each_case_on_each_event_loop(row: Row) -> None:
    cases = dict.fromkeys(row.expects)
    seeds = range(row.quick_goal // UNITS.get(row.name, 1))
    tried = {cases_in_turn(cases, seed) for seed in seeds}
    assert tried == set(product(cases, _scripted.LOOPS))
