"""The cases of scripted faults find what they are there for."""

from __future__ import annotations

import asyncio
import gc
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from trio_agents._core import _pipeline, _waits
from trio_agents._core._activation import Activation
from trio_agents._core._envelope import FAILED
from trio_agents._core._gate import Gate
from trio_agents._core._interception import Interceptors
from trio_agents._core._pipeline import Pipeline
from trio_agents._core._residents import Residents
from trio_agents._core._runtime import Runtime
from trio_agents._core._supervision import Supervisor
from trio_agents._core._watchdog import Watchdog
from trio_agents._loops._asyncio import AsyncioLoop
from trio_agents._loops._trio import TrioLoop
from trio_agents._sansio._cancellation import CancellationToken
from trio_agents.testing._simulation import Simulation
from trio_agents.testing.nightly._row import Watch
from trio_agents.testing.nightly._scripted import ROWS
from trio_agents.testing.nightly._scripted_handlers import is_raised
from trio_agents.testing.nightly._scripted_trial import (
    Broken,
    Case,
    captured_log,
    expect,
    leaves,
    try_cases,
)

WORK = {row.name: row.work for row in ROWS}
SETTLE = Pipeline.settle
Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def leave_no_garbage() -> Iterator[None]:
    """A runtime with a planted fault may leave streams open, and nobody else is to hear of that."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


class Search(Watch):
    """Ends the work of a row as soon as a violation says what is searched."""

    def __init__(self, said: str, *, goal: int) -> None:
        super().__init__(goal=goal, seconds=60)
        self.said = re.compile(said)
        self.texts: list[str] = []

    def violation(self, text: str) -> None:
        self.texts.append(text)
        if self.said.search(text):
            self.goal = 0


def plant(where: Any, name: str, value: Any) -> Plant:
    return lambda patch: patch.setattr(where, name, value)


# --- faults of a runtime


def another_error(pipeline: Any, envelope: Any, outcome: Any, **names: Any) -> None:
    if outcome is FAILED and type(envelope).__name__ == "Request":
        names["error"] = RuntimeError("something went wrong")
    SETTLE(pipeline, envelope, outcome, **names)


def never_again(patch: pytest.MonkeyPatch) -> None:
    """Have failures of publications go to nobody."""
    patch.setattr(Supervisor, "report", lambda supervisor, error, envelope: None)


def leak_context(patch: pytest.MonkeyPatch) -> None:
    """Have workers go on whatever a handler has left behind."""
    for loop in (TrioLoop, AsyncioLoop):
        patch.setattr(loop, "is_unchanged", staticmethod(lambda before: True))


def keep_messages(patch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def settle(pipeline: Any, envelope: Any, outcome: Any, **names: Any) -> None:
        kept.append(names.get("error"))
        SETTLE(pipeline, envelope, outcome, **names)

    patch.setattr(Pipeline, "settle", settle)


def wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Have no circle of waits found."""
    for module in (_pipeline, _waits):
        patch.setattr(module, "begin_waiting", lambda envelope, activation: None)


def ask_backwards(patch: pytest.MonkeyPatch) -> None:
    before = Interceptors.__init__
    patch.setattr(
        Interceptors, "__init__", lambda self, handlers: before(self, list(handlers)[::-1])
    )


def forget_what_was_changed(patch: pytest.MonkeyPatch) -> None:
    judge = Pipeline._judge

    def keep(pipeline: Any, envelope: Any, message: Any, held: Any, **names: Any) -> bool:
        before = envelope.message
        goes_on = judge(pipeline, envelope, message, held, **names)
        if goes_on:
            envelope.message = before
        return goes_on

    patch.setattr(Pipeline, "_judge", keep)


def stop_at_the_first(token: CancellationToken) -> None:
    if not token._cancelled:
        token._cancelled = True
        links, token._links = token._links or {}, None
        for callback, _ in links.values():
            callback()


def swallow(token: CancellationToken) -> None:
    with suppress(BaseException):
        CANCEL(token)


CANCEL = CancellationToken.cancel


async def ignore_the_deadline(runtime: Any, deadline: float) -> None:
    await STOP(runtime, float("inf"))


STOP = Runtime._stop


async def never_await(function: Callable[..., Any], *args: Any) -> Any:
    asyncio.sleep(0)  # type: ignore[unused-coroutine]
    return await CALL_USER(function, *args)


CALL_USER = _pipeline.call_user


def take_back_late(patch: pytest.MonkeyPatch) -> None:
    """Have a message go on, although its sender has been told that it was cancelled."""
    patch.setattr(Pipeline, "press", lambda pipeline, envelope, reason: None)


@pytest.mark.parametrize(
    ("row", "fault", "said"),
    [
        ("handler-raises", plant(Pipeline, "settle", another_error), "the sender got RuntimeError"),
        ("handler-raises", never_again, "was not logged|was to be raised by the stop"),
        ("handler-hangs", take_back_late, "Stuck"),
        ("handler-hangs", plant(Runtime, "_stop", ignore_the_deadline), "Stuck"),
        ("handler-ignores-cancel", plant(Gate, "nothing_runs", lambda gate: True), "stopped at"),
        (
            "handler-ignores-cancel",
            plant(Supervisor, "name_stubborn", lambda *args: None),
            "the log names",
        ),
        ("handler-blocks", plant(time, "sleep", lambda seconds: None), "it did not block"),
        ("handler-blocks", plant(Watchdog, "_report", lambda *args: None), "reported were"),
        ("worker-reuse", leak_context, "the context variable of"),
        ("worker-reuse", keep_messages, "birds are alive"),
        (
            "factory-faults",
            plant(Activation, "drain_messages", lambda activation: []),
            "factory-raises-later",
        ),
        ("factory-faults", wait_for_ever, "Stuck"),
        ("circles", wait_for_ever, "Stuck"),
        ("deep", wait_for_ever, "Stuck"),
        ("interventions", ask_backwards, "Broken"),
        ("interventions", forget_what_was_changed, "Broken"),
        ("token-callbacks", plant(CancellationToken, "cancel", stop_at_the_first), "Stuck"),
        ("token-callbacks", plant(CancellationToken, "cancel", swallow), "CallbackFailed|Broken"),
        ("stops", plant(Gate, "fail_queued", lambda gate, reason: None), "Broken|Stuck|Invariant"),
        ("stops", plant(Gate, "check_outside_handlers", lambda gate, name: None), "Stuck|Broken"),
        ("timeouts", plant(Runtime, "_stop", ignore_the_deadline), "Stuck"),
        (
            "timeouts",
            plant(Residents, "_let_go", lambda residents, activation: False),
            "TooLong|alive",
        ),
        ("garbage", plant(_pipeline, "call_user", never_await), "was never awaited"),
    ],
)
def test_a_fault_of_the_runtime_is_found(
    row: str, fault: Plant, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    search = Search(said, goal=2_000)
    with captured_log():
        WORK[row](search)
    assert search.goal == 0, search.texts[:3]


def test_each_row_is_shown_to_find_something() -> None:
    (mark,) = test_a_fault_of_the_runtime_is_found.pytestmark  # type: ignore[attr-defined]
    assert {row for row, _, _ in mark.args[1]} == {*WORK}


# --- the machinery


def violations_of(case: Case) -> list[str]:
    watch = Watch(goal=1, seconds=60, first_seed=7)
    try_cases({"case": case}, "row", watch)
    return watch.report.violations


def test_a_violation_says_what_failed_and_how_to_repeat_it() -> None:
    async def case(sim: Simulation) -> None:
        expect(1 == 2, "one is", 1)

    (violation,) = violations_of(case)
    assert violation.startswith(
        "row, case on asyncio (its row, with Watch(goal=1, seconds=600, first_seed=7)): "
    )
    assert "Broken: one is 1 (case, line" in violation


def test_a_warning_is_a_violation() -> None:
    async def case(sim: Simulation) -> None:
        warnings.warn("careful", UserWarning, stacklevel=1)

    violations = violations_of(case)
    assert [text.partition(": ")[2] for text in violations] == ["warned: careful"]


def test_a_case_that_waits_for_ever_is_a_violation() -> None:
    async def case(sim: Simulation) -> None:
        await anyio.Event().wait()

    (violation,) = violations_of(case)
    assert "Stuck" in violation


def test_what_is_kept_is_no_violation() -> None:
    async def case(sim: Simulation) -> None:
        expect(1 == 1, "one is", 1)

    assert violations_of(case) == []


def test_another_error_than_the_one_raised_is_not_it() -> None:
    error = StopIteration(1)
    found = RuntimeError("coroutine raised StopIteration")
    assert not is_raised(found, error)
    found.__cause__ = error
    assert is_raised(found, error)
    assert not is_raised(found, ValueError(1))
    assert not is_raised(None, error)


def test_leaves_are_found_in_groups_of_groups() -> None:
    errors = [ValueError(1), KeyError(2), OSError(3)]
    group = ExceptionGroup("", [errors[0], ExceptionGroup("", errors[1:])])
    assert [*leaves(group)] == errors
    assert [*leaves(errors[0])] == errors[:1]


def test_broken_is_an_assertion() -> None:
    with pytest.raises(AssertionError, match=r"^it is 7$"):
        expect(False, "it is", 7)
    assert issubclass(Broken, AssertionError)
