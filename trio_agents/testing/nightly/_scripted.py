"""The rows about programs that do one thing wrong: each must come to the end that was promised."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from .._schedule import LOOPS
from ._row import Row
from ._scripted_agents import CIRCLES, DEEP, FACTORIES, INTERVENTIONS
from ._scripted_ends import CALLBACKS, GARBAGE, STOPS, TIMEOUTS
from ._scripted_handlers import (
    BLOCKING,
    CANARIES,
    CANARY_MESSAGES,
    HANGING,
    IGNORING,
    RAISING,
)
from ._scripted_trial import Case, try_cases

__all__ = ["ROWS"]


def _row(
    name: str,
    title: str,
    cases: Mapping[str, Case],
    *,
    goal: int,
    promise: str,
    unit: str = "programs",
    rounds: int = 1,
    monitored: bool = True,
    units: int = 1,
    weight: float = 1.0,
) -> Row:
    """Make a row of cases. In the tests each is run on each event loop, *rounds* times."""
    return Row(
        name=name,
        title=title,
        family="In process",
        goal=goal,
        unit=unit,
        promise=promise,
        work=partial(try_cases, cases, name, monitored=monitored, units=units),
        minutes_of_seed=0.1,
        weight=weight,
        quick_goal=units * rounds * len(LOOPS) * len(cases),
        expects=tuple(cases),
    )


ROWS: Final = (
    _row(
        "handler-raises",
        "A handler or a reply's intervention raises something unusual",
        RAISING,
        goal=10_000,
        promise="the sender gets the very object; a publication's failure goes where it should",
    ),
    _row(
        "handler-hangs",
        "A handler waits for ever",
        HANGING,
        goal=10_000,
        promise="token, scope, deadline and stop free its sender at that moment",
        rounds=13,
    ),
    _row(
        "handler-ignores-cancel",
        "A handler ignores that it was cancelled",
        IGNORING,
        goal=1_000,
        promise="its sender and stop wait for it, the log names it, others go on",
        rounds=17,
    ),
    _row(
        "handler-blocks",
        "A handler keeps the thread to itself",
        BLOCKING,
        goal=100,
        promise="a watchdog says who it is within 1 s; afterwards everybody is served",
        rounds=3,
    ),
    _row(
        "worker-reuse",
        "Context variables, exceptions and cancellations beside one message after the other",
        CANARIES,
        goal=100_000,
        unit="messages",
        units=CANARY_MESSAGES,
        promise="nothing of one message is seen by the next, or lives on",
        rounds=2,
    ),
    _row(
        "factory-faults",
        "A factory fails, hangs, needs its own agent, gives none, or is cancelled",
        FACTORIES,
        goal=10_000,
        promise="one agent for an id or none; all that wait are told; the next send works",
        rounds=100,
    ),
    _row(
        "circles",
        "Agents that ask themselves and each other, one message at a time",
        CIRCLES,
        goal=10_000,
        promise="answered, or DeadlockError in no time",
        rounds=13,
    ),
    _row(
        "deep",
        "Sends five thousand deep, and a ring of a thousand agents",
        DEEP,
        goal=10,
        promise="answered; one of a closed ring is refused, and the others are answered",
        monitored=False,
    ),
    _row(
        "interventions",
        "Intervention handlers that drop, raise, hang, change the type, return None",
        INTERVENTIONS,
        goal=10_000,
        promise="run in order, each sees the former's result, the sender is told",
        rounds=6,
    ),
    _row(
        "token-callbacks",
        "Callbacks of tokens that use their token again, or raise",
        CALLBACKS,
        goal=10_000,
        promise="all are called, what they raise surfaces, no message goes on",
        rounds=4,
    ),
    _row(
        "stops",
        "A stop while empty, full, starting, stopping, saving, inside a handler, twice",
        STOPS,
        goal=10_000,
        promise="it ends, every sender is told, and the runtime can be started again",
        rounds=4,
    ),
    _row(
        "timeouts",
        "Timeouts that are due at the same time, or were before",
        TIMEOUTS,
        goal=10_000,
        promise="none early, none late",
        rounds=4,
    ),
    _row(
        "garbage",
        "Generators left open, garbage collected at a step by lot",
        GARBAGE,
        goal=2_000,
        promise="no warning, nothing that was never awaited",
        rounds=4,
    ),
)
