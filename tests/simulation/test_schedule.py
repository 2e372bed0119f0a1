"""Schedules: how decisions are made, written down and read."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from trio_agents.testing import Priorities, Shuffle, SingleSteps, Trace
from trio_agents.testing._schedule import Plain, Replayed, Scheduler, strategy_for

choices = st.dictionaries(st.integers(0, 10_000), st.integers(1, 50), max_size=20)


@given(st.sampled_from(["trio", "asyncio"]), st.integers(0, 2**40), choices)
def test_a_trace_is_read_back_as_it_was_written(loop: str, seed: int, choices: dict) -> None:
    trace = Trace(loop, seed, choices)
    assert Trace.parse(str(trace)) == trace


@pytest.mark.parametrize(
    "text", ["", "trio", "trio:1", "curio:1:", "trio:x:", "trio:1:3", "trio:1:3=1,", "trio:1:a=1"]
)
def test_what_is_no_trace_is_refused_with_an_example_of_one(text: str) -> None:
    with pytest.raises(ValueError, match="trio:42:3=1,7=2"):
        Trace.parse(text)


def drawn(scheduler: Scheduler, tasks: int, steps: int) -> list[int]:
    """Give the tasks in the order in which they go on; each can again after its step."""
    for task in range(tasks):
        scheduler.add(task, task)
    order = []
    for _ in range(steps):
        task = scheduler.take()
        order.append(task)
        scheduler.add(task, task)
    return order


def test_the_plain_schedule_takes_whoever_has_waited_longest() -> None:
    scheduler = Scheduler(Plain())
    assert drawn(scheduler, 3, 7) == [0, 1, 2, 0, 1, 2, 0]
    assert scheduler.choices == {}


def test_a_shuffle_lets_everybody_go_on_once_in_each_round() -> None:
    order = drawn(Scheduler(Shuffle(1)), 5, 50)
    rounds = [order[start : start + 5] for start in range(0, 50, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 5


def test_single_steps_are_drawn_with_the_same_chance_each_time() -> None:
    counts = Counter(drawn(Scheduler(SingleSteps(1)), 4, 4000))
    assert all(900 < count < 1100 for count in counts.values())


def test_the_highest_priority_goes_on_until_it_falls_and_later_all_have_a_chance() -> None:
    order = drawn(Scheduler(Priorities(5, depth=2, length=100)), 4, 600)
    changes = [step for step in range(1, 200) if order[step] != order[step - 1]]
    assert len(changes) <= 1
    assert set(order[200:]) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(6))
def test_a_schedule_that_was_written_down_is_the_same_again(seed: int) -> None:
    scheduler = Scheduler(strategy_for(seed))
    order = drawn(scheduler, 6, 100)
    assert drawn(Scheduler(Replayed(scheduler.choices)), 6, 100) == order


def test_a_place_that_does_not_exist_any_more_is_the_last_one() -> None:
    assert drawn(Scheduler(Replayed({0: 9})), 3, 1) == [2]


def test_where_only_one_can_go_on_nothing_is_decided() -> None:
    scheduler = Scheduler(SingleSteps(0))
    drawn(scheduler, 1, 10)
    assert scheduler.choices == {}
    assert scheduler.steps == 10
