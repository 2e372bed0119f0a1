"""The rows under load find what they are there for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest

from trio_agents._core._envelope import CANCELLED, FAILED, HANDLED
from trio_agents._core._ledger import Ledger
from trio_agents._core._pipeline import Pipeline
from trio_agents._core._room import Door
from trio_agents._loops._asyncio import AsyncioReply
from trio_agents._sansio._cancellation import CancellationToken
from trio_agents._sansio._options import Overflow
from trio_agents.testing._schedule import LoopName
from trio_agents.testing.nightly import (
    _load_aftermath,
    _load_cancel,
    _load_isolation,
    _load_overload,
    _load_soak,
)
from trio_agents.testing.nightly._load_aftermath import Aftermath, try_aftermath
from trio_agents.testing.nightly._load_cancel import (
    Chain,
    Latency,
    Passes,
    Storm,
    latency,
    try_latency,
    try_mass,
)
from trio_agents.testing.nightly._load_isolation import Neighbours, try_isolation
from trio_agents.testing.nightly._load_measure import (
    LOOPS,
    checkpoint,
    live_objects,
    missing_proc,
    new_runtime,
    percentile,
    run_on,
    scaled,
)
from trio_agents.testing.nightly._load_overload import Bound, Overload
from trio_agents.testing.nightly._load_soak import Slice, Soak
from trio_agents.testing.nightly._row import Watch

SETTLE = Pipeline.settle

needs_proc = pytest.mark.skipif(missing_proc() is not None, reason=str(missing_proc()))


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> LoopName:
    name: LoopName = request.param
    return name


def overloaded(loop: LoopName, bound: Bound, overflow: Overflow) -> Overload:
    overload = Overload(loop, bound, overflow, turns=1_500)
    run_on(loop, overload.run)
    return overload


# --- overload


@needs_proc
@pytest.mark.parametrize(
    ("bound", "overflow"),
    [("max_pending", "wait"), ("max_pending", "raise"), ("mailbox_size", "raise")],
)
def test_a_bound_holds_under_ten_times_the_load(
    loop: LoopName, bound: Bound, overflow: Overflow
) -> None:
    overload = overloaded(loop, bound, overflow)
    assert overload.violations == []
    assert overload.most >= _load_overload.BOUND
    assert (overload.refused > 0) == (overflow == "raise")


@needs_proc
def test_a_bound_that_does_not_hold_is_found(
    loop: LoopName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Door, "is_open", property(lambda door: True))
    found = overloaded(loop, "max_pending", "raise").violations
    assert any("messages are in, where 501 may be" in text for text in found), found
    assert any("messages were alive" in text for text in found), found


@needs_proc
def test_messages_that_are_kept_are_found(loop: LoopName, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def settle(pipeline: Pipeline, envelope: Any, *args: Any, **names: Any) -> None:
        kept.append(envelope.message)
        SETTLE(pipeline, envelope, *args, **names)

    monkeypatch.setattr(Pipeline, "settle", settle)
    found = overloaded(loop, "max_pending", "raise").violations
    assert any("messages were alive, where 511 can be in use" in text for text in found), found


@needs_proc
def test_a_process_that_grows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter(range(0, 10**12, 10**7))
    monkeypatch.setattr(_load_overload, "resident_bytes", lambda: next(sizes))
    found = overloaded("trio", "max_pending", "wait").violations
    assert any("the process has grown by" in text for text in found), found


@needs_proc
def test_a_latency_that_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_load_overload, "RECOVERY", 10)
    found = overloaded("trio", "max_pending", "wait").violations
    assert any("p99 was not back" in text for text in found), found


@needs_proc
def test_a_message_that_is_lost_is_found(loop: LoopName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "accept", miscount(Ledger.accept))
    found = overloaded(loop, "mailbox_size", "raise").violations
    assert any("were offered and" in text for text in found), found


def miscount(accept: Any) -> Any:
    calls: list[None] = []

    def miscounting(ledger: Ledger) -> None:
        accept(ledger)
        calls.append(None)
        if len(calls) == 100:
            ledger.accepted += 1

    return miscounting


# --- isolation


def test_a_neighbour_that_fails_leaves_the_others_books_clean(loop: LoopName) -> None:
    neighbours = Neighbours(loop, fails=True)
    run_on(loop, neighbours.run)
    assert neighbours.violations == []
    assert len(neighbours.seconds) == _load_isolation.ASKERS * _load_isolation.REQUESTS


def test_a_failure_in_the_wrong_books_is_found(
    loop: LoopName, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Ledger.settle

    def forgive(ledger: Ledger, outcome: Any) -> None:
        settle(ledger, HANDLED if outcome is FAILED else outcome)

    monkeypatch.setattr(Ledger, "settle", forgive)
    neighbours = Neighbours(loop, fails=True)
    run_on(loop, neighbours.run)
    assert "requests were to be answered and 2000 to fail" in neighbours.violations[0]


def test_an_agent_that_makes_others_slow_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(neighbours: Neighbours) -> None:
        neighbours.seconds += [0.003 if neighbours.fails else 0.001] * 100

    monkeypatch.setattr(Neighbours, "run", run)
    watch = Watch(goal=_load_isolation.ENOUGH, seconds=60)
    try_isolation(watch)
    assert watch.report.violations == [
        "p99 is 3.0 times as long beside an agent that fails on every message"
    ]


# --- long runs


@needs_proc
def test_envelopes_that_are_kept_are_found(loop: LoopName, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def settle(pipeline: Pipeline, envelope: Any, *args: Any, **names: Any) -> None:
        SETTLE(pipeline, envelope, *args, **names)
        if len(kept) < 5:
            kept.append(envelope)

    monkeypatch.setattr(Pipeline, "settle", settle)
    soak = Soak(loop, Watch(goal=1, seconds=60))
    soak.try_all()
    assert any("nothing is under way, and there are {'" in text for text in soak.violations)
    assert any("objects were left" in text for text in soak.violations)


@needs_proc
def test_a_soak_goes_on_for_a_number_of_seconds(loop: LoopName) -> None:
    soak = Soak(loop, Watch(goal=1, seconds=60))
    soak.try_all()
    assert soak.violations == []
    assert soak.watch.report.units == int(soak._slices[-1].ended) >= 1


@needs_proc
def test_agents_that_stay_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_load_soak, "IDLE_TIMEOUT", 1e9)
    monkeypatch.setattr(_load_soak.anyio, "sleep", no_longer_than(0.05))
    soak = Soak("trio", Watch(goal=1, seconds=60))
    soak.try_all()
    assert any("agents were to stay" in text for text in soak.violations), soak.violations


def no_longer_than(most: float) -> Any:
    sleep = anyio.sleep
    return lambda seconds: sleep(min(seconds, most))


@needs_proc
def test_a_file_that_stays_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter((7, 8, 8))
    monkeypatch.setattr(_load_soak, "count_files", lambda: next(counts))
    soak = Soak("trio", Watch(goal=1, seconds=60))
    soak.try_all()
    assert "7 files were open, and now 8" in soak.violations


MB = 1_000_000


def judged(slices: list[Slice]) -> list[str]:
    soak = Soak("trio", Watch(goal=1, seconds=60))
    soak._slices = slices
    soak._judge()
    return soak.violations


def slices(
    *,
    seconds: float = 6,
    size: Callable[[int], int] = lambda n: 50 * MB,
    p99: Callable[[int], float] = lambda n: 0.001,
    machine: Callable[[int], float] = lambda n: 0.001,
) -> list[Slice]:
    return [Slice(seconds * n, size(n), p99(n), machine(n)) for n in range(1, 101)]


def test_a_run_that_stays_as_it_was_is_judged_well() -> None:
    assert judged(slices()) == []


def test_growth_in_the_warm_up_does_not_count() -> None:
    assert judged(slices(size=lambda n: (40 + min(n, 10)) * MB)) == []


def test_growth_after_the_warm_up_is_found() -> None:
    (found,) = judged(slices(size=lambda n: 50 * MB + 7_000 * n))
    assert found.startswith("the process has grown by 623000 bytes")


def test_growth_in_a_short_run_is_found_when_it_is_large() -> None:
    assert judged(slices(seconds=0.1, size=lambda n: 50 * MB + 7_000 * n)) == []
    assert judged(slices(seconds=0.1, size=lambda n: 50 * MB + 70_000 * n)) != []


def test_a_long_run_that_becomes_slow_is_found() -> None:
    def slow(n: int) -> float:
        return 0.001 + 0.00001 * n

    assert "p99 was" in judged(slices(p99=slow))[0]
    assert judged(slices(p99=slow, seconds=0.1)) == []


def test_a_machine_that_becomes_slow_is_no_fault_of_the_runtime() -> None:
    def slow(n: int) -> float:
        return 0.001 + 0.00001 * n

    assert judged(slices(p99=slow, machine=slow)) == []


def test_objects_of_the_library_are_counted_and_no_others() -> None:
    before = live_objects()
    token = CancellationToken()
    watch = Watch(goal=1, seconds=1)
    after = live_objects()
    assert after - before in (
        {"CancellationToken": 1},
        {},
    )  # slots without references are untracked
    token.add_callback(print)
    assert live_objects()["Watch"] == 0
    assert watch.goal == 1


# --- cancellations


def test_a_waiting_handler_unwinds_within_two_passes(loop: LoopName) -> None:
    assert measured(loop, "token", 1).handler_passes <= _load_cancel.PASSES
    assert measured(loop, "scope", 1).handler_passes <= _load_cancel.PASSES
    assert measured(loop, "deadline", 5).handler_passes <= _load_cancel.PASSES


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_each_send_in_between_takes_two_passes_more(loop: LoopName, depth: int) -> None:
    assert measured(loop, "scope", depth).sender_passes <= 2 * depth


def measured(loop: LoopName, how: str, depth: int) -> Latency:
    found: list[Latency] = []

    async def main() -> None:
        passes = Passes()
        runtime = new_runtime(loop)
        async with runtime:
            runtime.start()
            await runtime.register_factory("chain", lambda: Chain(passes))
            with passes.counted(loop):
                found.append(await latency(loop, runtime, passes, how, depth))

    run_on(loop, main)
    return found[0]


def test_passes_are_counted(loop: LoopName) -> None:
    counts: list[int] = []

    async def main() -> None:
        passes = Passes()
        with passes.counted(loop):
            for _ in range(10):
                counts.append(passes.count)
                await checkpoint()

    run_on(loop, main)
    assert [after - before for before, after in pairwise(counts[1:])] == [1] * 8


def test_a_handler_that_takes_its_time_to_unwind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(chain: Chain, message: Any, ctx: Any) -> None:
        _, entered, found = message
        entered.set()
        try:
            await anyio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await checkpoint()
            found.handler_passes = chain._passes.count

    monkeypatch.setattr(Chain, "on_message_impl", handle)
    monkeypatch.setattr(_load_cancel, "DEPTHS", (1,))
    watch = Watch(goal=4, seconds=60)
    try_latency(watch)
    assert "passes to unwind" in watch.report.violations[0]


def test_slow_cancellations_are_found_when_there_are_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_load_cancel, "ENOUGH", 1)
    monkeypatch.setattr(_load_cancel, "IDLE_P99", 0.0)
    watch = Watch(goal=4, seconds=60)
    try_latency(watch)
    assert "a handler unwinds idle in" in watch.report.violations[0]


def storm(loop: LoopName, how: str, **options: Any) -> Storm:
    found = Storm(loop, how, 300, turns=options.pop("turns", 5), seed=1, **options)
    run_on(loop, found.run)
    return found


@pytest.mark.parametrize("how", _load_cancel.WAYS)
@pytest.mark.parametrize("turns", [0, 1, 4])
def test_all_messages_of_a_storm_have_an_outcome(loop: LoopName, how: str, turns: int) -> None:
    assert storm(loop, how, turns=turns).violations == []


def test_a_storm_finds_some_answered_and_some_not(loop: LoopName) -> None:
    found = storm(loop, "token", turns=60)
    assert found.answered
    assert found.cancelled
    assert found.answered + found.cancelled == 300


def test_callbacks_that_a_token_keeps_are_found(
    loop: LoopName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CancellationToken, "unlink", lambda token, handle: None)
    assert "the token keeps 300 callbacks" in storm(loop, "scope").violations


def test_an_outcome_that_is_not_counted_is_found(
    loop: LoopName, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Ledger.settle

    def forget(ledger: Ledger, outcome: Any) -> None:
        settle(ledger, outcome)
        if outcome is CANCELLED:
            ledger.cancelled -= 1

    monkeypatch.setattr(Ledger, "settle", forget)
    assert any(
        "not every message has an outcome" in text for text in storm(loop, "token").violations
    )


def test_an_answer_that_no_sender_got_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Ledger.settle

    def confuse(ledger: Ledger, outcome: Any) -> None:
        settle(ledger, HANDLED if outcome is CANCELLED else outcome)

    monkeypatch.setattr(Ledger, "settle", confuse)
    assert any("were answered and" in text for text in storm("trio", "token").violations)


def test_mass_cancellations_that_are_slow_beside_plain_tasks_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_load_cancel, "IN_FLIGHT", 100)
    monkeypatch.setattr(_load_cancel, "SLOWER", 0)
    watch = Watch(goal=1, seconds=60)
    try_mass(watch)
    assert "100 by token on trio took" in watch.report.violations[0]


@pytest.mark.parametrize("way", _load_aftermath.WAYS)
@pytest.mark.parametrize("handler", _load_aftermath.HANDLERS)
def test_who_was_cancelled_waits_for_a_handler_that_takes_its_time(
    way: str, handler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_load_aftermath, "AFTER", 0)
    monkeypatch.setattr(_load_aftermath, "WINDOW", 0.001)
    aftermath = Aftermath(way, handler, 2)
    run_on("asyncio", aftermath.run)
    assert aftermath.violations == []


def test_a_wait_that_keeps_a_processor_busy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def in_reach_of_scopes(reply: AsyncioReply) -> None:
        rest = reply._what_is_left()
        if rest is not None:
            await rest

    monkeypatch.setattr(AsyncioReply, "outlast", in_reach_of_scopes)
    monkeypatch.setattr(_load_aftermath, "WAYS", ("scope",))
    watch = Watch(goal=1, seconds=60)
    try_aftermath(watch)
    assert "1 cancelled by scope, cleans-up-shielded" in watch.report.violations[0]
    assert "of a processor were in use after that" in watch.report.violations[0]


def test_who_does_not_wait_for_a_cancelled_handler_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def at_once(reply: AsyncioReply) -> None: ...

    monkeypatch.setattr(AsyncioReply, "outlast", at_once)
    rest = Aftermath("scope", "refuses", 2)
    run_on("asyncio", rest.run)
    assert rest.violations == ["2 of 2 did not wait for their handlers"]


# --- measuring


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3, 1, 2], 0) == 1
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([3, 1, 2], 99) == 3
    assert percentile([7], 99) == 7


@pytest.mark.parametrize(("goal", "each"), [(1, 1), (8, 1), (80, 10), (8_000, 60)])
def test_a_goal_is_shared_among_the_parts_of_a_row(goal: int, each: int) -> None:
    assert scaled(goal, 8, 60) == each
