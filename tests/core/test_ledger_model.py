"""Random programs against a model: what must hold of every run, however it is scheduled.

A program is data: the limits of a runtime, and steps from outside. What handlers and intervention
handlers do is written in the messages. Here hypothesis makes them, which prefers small ones; the
rows of the long run make large ones, and run both the same way.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trio_agents import AgentId
from trio_agents._core import _workers
from trio_agents.testing import replay, simulate
from trio_agents.testing.nightly._programs import (
    AGENTS,
    TOPICS,
    TYPES,
    Act,
    Job,
    Program,
    Step,
    dense_program,
)
from trio_agents.testing.nightly._world import scenario_of

agents = st.sampled_from(AGENTS)
topics = st.sampled_from(TOPICS)
seconds = st.sampled_from([0, 0.5, 1, 3])
pairs = st.tuples(st.sampled_from(["p", "q"]), st.sampled_from(list(TYPES)))


def acts(jobs: st.SearchStrategy[Job]) -> st.SearchStrategy[Act]:
    return st.builds(
        Act,
        kind=st.sampled_from(
            ["wait", "wait", "insist", "raise", "send", "send", "publish", "send twice", "mark"]
        ),
        seconds=seconds,
        job=jobs,
        agent=agents,
        other=agents,
        topic=topics,
        patience=st.sampled_from([None, None, 0, 0.5, 2]),
    )


def jobs_of(inner: st.SearchStrategy[Job]) -> st.SearchStrategy[Job]:
    return st.builds(
        Job,
        acts=st.lists(acts(inner), min_size=1, max_size=3).map(tuple),
        careful=st.booleans(),
        on_way=st.sampled_from(["pass", "pass", "pass", "drop", "raise", "wait", "wait", "ask"]),
        ask=agents,
        reply=st.sampled_from(["pass", "pass", "pass", "drop", "raise", "wait"]),
    )


jobs = st.recursive(st.just(Job()), jobs_of, max_leaves=8)
steps = st.builds(
    Step,
    kind=st.sampled_from(
        [
            *["send"] * 6,
            *["publish"] * 5,
            *["cancel"] * 2,
            "cancel token",
            "sleep",
            "sleep",
            "yield",
            "subscribe",
            "unsubscribe",
            "deactivate",
            "stop",
            "stop when idle",
            "start",
            "save",
            "load",
        ]
    ),
    job=jobs,
    agent=agents,
    topic=topics,
    token=st.sampled_from([None, None, 0, 1]),
    number=st.integers(0, 30),
    times=st.sampled_from([1, 2, 5]),
    seconds=seconds,
)
programs = st.builds(
    Program,
    steps=st.lists(steps, min_size=8, max_size=30),
    subscriptions=st.lists(pairs, min_size=2, max_size=8, unique=True),
    max_pending=st.sampled_from([None, None, 1, 3]),
    overflow=st.sampled_from(["wait", "wait", "raise"]),
    intervene=st.booleans(),
    started=st.sampled_from([True, True, False]),
    ignore=st.booleans(),
    leave=st.sampled_from(["drain", "drain", "drain", "stop", "error", "cancel"]),
)


# ST-02, ST-24, ST-25, ST-26, RT-10, RT-15
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(programs, st.integers(0, 1000))
def test_every_program_keeps_the_promises(on_loop: Any, program: Program, seed: int) -> None:
    simulate(scenario_of(program), seed=seed, loop=on_loop)


# ST-02, ST-26, RT-10, RT-15
@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, 80, 20)])
def test_dense_programs_keep_the_promises_with_workers_that_are_soon_tired(
    on_loop: Any, seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_workers, "MAX_STREAK", 2)
    monkeypatch.setattr(_workers, "MAX_RESTING", 2)
    for seed in seeds:
        simulate(scenario_of(dense_program(seed)), seed=seed, loop=on_loop)


# An activation was left behind where a message was settled while its sender still waited at the
# door of a full runtime: shrunk programs, with their schedules.
# ST-02, RT-10
@pytest.mark.parametrize(
    ("program", "trace"),
    [
        (
            Program(
                steps=[
                    Step("send", Job(on_way="drop"), AgentId("two", "x"), times=2),
                    Step("sleep", seconds=0.5),
                ],
                subscriptions=[],
                max_pending=1,
                intervene=True,
            ),
            "trio:0:",
        ),
        (
            Program(
                steps=[
                    Step("send", Job(), AgentId("curious", "y"), times=5),
                    Step("sleep", seconds=0),
                ],
                subscriptions=[],
                max_pending=1,
                leave="error",
            ),
            "trio:3:2=1,3=1",
        ),
    ],
    ids=["dropped", "left by an error"],
)
def test_programs_that_once_broke_a_promise_keep_it(program: Program, trace: str) -> None:
    replay(scenario_of(program), trace)
