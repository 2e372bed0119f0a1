"""Limits: `max_concurrency`, `mailbox_size`, `max_pending`, and the deadlocks they may not make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from trio_agents import (
    AgentId,
    CancellationToken,
    DefaultInterventionHandler,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from trio_agents.exceptions import DeadlockError, Overloaded, UndeliverableException

from . import loop
from .doers import (
    Act,
    Doer,
    check_idle,
    check_ledger,
    drain,
    make_slowly,
    note,
    nothing,
    under_seeds,
    wait,
    wait_a_little,
    wait_for,
)
from .loop import SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

A = AgentId("doer", "a")
B = AgentId("doer", "b")
C = AgentId("doer", "c")
TO_A = TopicId("news", "a")
TO_B = TopicId("news", "b")


async def open_doers(
    runtime: SingleThreadedAgentRuntime,
    factory: Callable[[], Doer | Awaitable[Doer]] = Doer,
    *,
    type: str = "doer",
    **options: Any,
) -> None:
    await Doer.register(runtime, type, factory, **options)
    await runtime.add_subscription(TypeSubscription("news", type))


def ask(recipient: AgentId, message: Act = nothing, after: float = 0) -> Act:
    """A message whose handler sends another one, and gives back what comes back."""

    async def act(agent: Doer, ctx: MessageContext) -> Any:
        if after:
            await loop.sleep(after)
        return await agent.send_message(message, recipient)

    return act


def tell(*messages: Act, topic: TopicId, after: float = 0) -> Act:
    """A message whose handler publishes others."""

    async def act(agent: Doer, ctx: MessageContext) -> None:
        await loop.sleep(after)
        for message in messages:
            await agent.publish_message(message, topic)

    return act


class Outcomes:
    """What senders met, by number."""

    def __init__(self, runtime: SingleThreadedAgentRuntime) -> None:
        self._runtime = runtime
        self.results: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}

    async def send(self, number: int, message: Act, recipient: AgentId, **options: Any) -> None:
        try:
            self.results[number] = await self._runtime.send_message(message, recipient, **options)
        except (Exception, loop.MessageCancelled) as exc:
            self.errors[number] = exc

    async def publish(self, number: int, message: Act, topic: TopicId, **options: Any) -> None:
        try:
            self.results[number] = await self._runtime.publish_message(message, topic, **options)
        except (Exception, loop.MessageCancelled) as exc:
            self.errors[number] = exc

    @property
    def deadlocks(self) -> list[str]:
        assert all(isinstance(error, DeadlockError) for error in self.errors.values()), self.errors
        return [str(error) for error in self.errors.values()]


# --- max_concurrency


class Gauge:
    """Counts how many run at a time, by agent."""

    def __init__(self) -> None:
        self.now = Counter[AgentId]()
        self.most = Counter[AgentId]()

    async def __call__(self, agent: Doer, ctx: MessageContext) -> None:
        self.now[agent.id] += 1
        self.most[agent.id] = max(self.most[agent.id], self.now[agent.id])
        try:
            await loop.sleep(1)
        finally:
            self.now[agent.id] -= 1


@pytest.mark.parametrize("max_concurrency", [1, 2, 7])
@pytest.mark.parametrize("factory", [Doer, make_slowly])
def test_a_limit_holds_for_each_agent_and_not_for_all_of_its_type(
    max_concurrency: int, factory: Callable[[], Any]
) -> None:
    async def main() -> None:
        gauge = Gauge()
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, factory, max_concurrency=max_concurrency)
            began = loop.current_time()
            for number in range(14):
                for agent in (A, B):
                    if number % 2:
                        nursery.start_soon(runtime.send_message, gauge, agent)
                    else:
                        await runtime.publish_message(gauge, TopicId("news", agent.key))
            await drain(runtime)
            check_idle(runtime)
            assert loop.current_time() - began <= 14 / max_concurrency + 1
        assert gauge.most == {A: max_concurrency, B: max_concurrency}

    under_seeds(main)


async def test_there_is_no_limit_by_default(autojump_clock: object) -> None:
    gauge = Gauge()
    async with open_runtime() as runtime:
        await open_doers(runtime)
        for _ in range(500):
            await runtime.publish_message(gauge, TO_A)
    assert gauge.most == {A: 500}


@pytest.mark.parametrize("end", ["return", "raise", "cancel"])
def test_a_handler_gives_its_place_back_however_it_ends(end: str) -> None:
    async def main() -> None:
        gauge = Gauge()

        async def act(agent: Doer, ctx: MessageContext) -> None:
            await gauge(agent, ctx)
            if end == "raise":
                raise ZeroDivisionError

        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=2)
            outcomes = Outcomes(runtime)
            for number in range(20):
                token = CancellationToken()
                nursery.start_soon(
                    lambda n=number, t=token: outcomes.send(n, act, A, cancellation_token=t)
                )
                if end == "cancel":
                    await wait_a_little(1)
                    token.cancel()
            await loop.sleep(30)
            check_idle(runtime)
            assert len(outcomes.results) + len(outcomes.errors) == 20
            assert gauge.most[A] <= 2

    under_seeds(main, seeds=10)


# ST-26
async def test_asking_oneself_works_at_a_limit_of_one(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=1)
        innermost: Act = lambda agent, ctx: 42  # noqa: E731
        assert await runtime.send_message(ask(A, ask(A, ask(A, innermost))), A) == 42
        check_idle(runtime)


# ST-26
async def test_a_asks_b_asks_a_works_at_a_limit_of_one(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=1)
        message: Act = lambda agent, ctx: "at last"  # noqa: E731
        for number in range(50):
            message = ask(B if number % 2 else A, message)
        assert await runtime.send_message(message, B) == "at last"
        check_idle(runtime)


# ST-26
async def test_a_reentrant_message_overtakes_those_in_line(autojump_clock: object) -> None:
    log: list[str] = []
    async with open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=1)
        await runtime.publish_message(ask(B, ask(A, note(log, "inner")), after=1), TO_A)
        await runtime.publish_message(note(log, "in line"), TO_A)
    assert log == ["inner", "in line"]


# ST-27
async def test_parallel_branches_of_one_chain_may_both_come_back(autojump_clock: object) -> None:
    async def fan_out(agent: Doer, ctx: MessageContext) -> int:
        answers: list[int] = []

        async def branch(recipient: AgentId) -> None:
            back: Act = lambda agent, ctx: wait(1)(agent, ctx)  # noqa: E731
            await agent.send_message(ask(A, back), recipient)
            answers.append(1)

        async with loop.open_nursery() as nursery:
            for recipient in (B, C, B, C):
                nursery.start_soon(branch, recipient)
        return len(answers)

    async with open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=1)
        assert await runtime.send_message(fan_out, A) == 4
        check_idle(runtime)


def test_parallel_chains_over_the_same_agents_take_turns() -> None:
    async def main() -> None:
        gauge = Gauge()
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=1)
            outcomes = Outcomes(runtime)
            for number in range(10):
                chain = ask(B, ask(C, ask(A, ask(B, gauge))))
                nursery.start_soon(outcomes.send, number, chain, A)
            await drain(runtime)
            check_idle(runtime)
        assert outcomes.errors == {}
        assert gauge.most == {B: 1}

    under_seeds(main, seeds=10)


# --- circles of waits


def circle(size: int) -> list[AgentId]:
    return [AgentId("doer", str(number)) for number in range(size)]


@pytest.mark.parametrize("size", [2, 3, 5, 100])
@pytest.mark.parametrize("intercepted", [False, True])
def test_a_circle_of_waits_is_refused_once_with_its_path(size: int, intercepted: bool) -> None:
    async def main() -> None:
        agents = circle(size)
        handlers = [DefaultInterventionHandler()] if intercepted else []
        async with open_runtime(intervention_handlers=handlers) as runtime:
            await open_doers(runtime, max_concurrency=1)
            outcomes = Outcomes(runtime)
            async with loop.open_nursery() as nursery:
                for number, agent in enumerate(agents):
                    onwards = ask(agents[(number + 1) % size], after=1)
                    nursery.start_soon(outcomes.send, number, onwards, agent)
            (refused,) = outcomes.deadlocks
            path = refused.partition(": ")[2].partition(". ")[0].split(" -> ")
            assert path[0] == path[-1]
            assert sorted(path[1:]) == sorted(str(agent) for agent in agents)
            # All others went on, and the agents are as good as new.
            assert len(outcomes.results) == size - 1
            check_idle(runtime)
            assert await runtime.send_message(ask(agents[1], lambda a, c: 42), agents[0]) == 42

    under_seeds(main, seeds=10 if size < 100 else 2)


async def test_a_circle_of_some_thousand_waits_is_refused(autojump_clock: object) -> None:
    agents = circle(2000)
    async with open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=1)
        outcomes = Outcomes(runtime)
        async with loop.open_nursery() as nursery:
            for number, agent in enumerate(agents):
                onwards = ask(agents[(number + 1) % 2000], after=1)
                nursery.start_soon(outcomes.send, number, onwards, agent)
        assert len(outcomes.deadlocks) == 1
        check_idle(runtime)


def test_a_circle_is_refused_only_when_all_places_of_an_agent_are_stuck() -> None:
    async def main() -> None:
        done = loop.Event()
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=2)
            outcomes = Outcomes(runtime)
            nursery.start_soon(outcomes.send, 0, ask(B, after=1), A)
            nursery.start_soon(outcomes.send, 1, wait_for(done), A)
            nursery.start_soon(outcomes.send, 2, ask(A, after=1), B)
            nursery.start_soon(outcomes.send, 3, ask(A, after=1), B)
            await loop.sleep(2)
            # Both of B wait for A, one of A for B: but the other one of A will make room.
            assert outcomes.errors == {}
            assert outcomes.results == {}
            done.set()
            await drain(runtime)
            assert sorted(outcomes.results) == [0, 1, 2, 3]
            check_idle(runtime)

    under_seeds(main)


def test_a_circle_through_all_places_of_two_agents_is_refused() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await open_doers(runtime, max_concurrency=2)
            outcomes = Outcomes(runtime)
            async with loop.open_nursery() as nursery:
                for number in range(2):
                    nursery.start_soon(outcomes.send, number, ask(B, after=1), A)
                    nursery.start_soon(outcomes.send, number + 2, ask(A, after=1), B)
            assert len(outcomes.deadlocks) == 1
            assert len(outcomes.results) == 3
            check_idle(runtime)

    under_seeds(main)


# A request that was suspected while another one was looked at is not held guilty when that other
# one turns out to come through.
def test_requests_that_wait_for_one_that_comes_through_are_not_refused() -> None:
    async def main() -> None:
        a, b, s, x = (AgentId("doer", name) for name in "abs2")
        done = loop.Event()

        async def both(agent: Doer, ctx: MessageContext) -> None:
            async with loop.open_nursery() as nursery:
                nursery.start_soon(agent.send_message, ask(x, after=3), s)
                nursery.start_soon(agent.send_message, ask(b, after=2), x)

        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await Doer.register(runtime, "doer", Doer, max_concurrency=1)
            await Doer.register(runtime, "pair", Doer, max_concurrency=2)
            x = AgentId("pair", "x")
            outcomes = Outcomes(runtime)
            nursery.start_soon(outcomes.send, 0, wait_for(done), x)
            nursery.start_soon(outcomes.send, 1, both, a)
            nursery.start_soon(outcomes.send, 2, ask(s, after=1), b)
            await loop.sleep(5)
            nursery.start_soon(outcomes.send, 3, ask(a), AgentId("doer", "last"))
            await loop.sleep(1)
            assert outcomes.errors == {}
            done.set()
            await drain(runtime)
            assert sorted(outcomes.results) == [0, 1, 2, 3]

    under_seeds(main)


# What a task sends that outlives its handler, nobody waits for any more.
async def test_a_handler_is_not_held_to_what_a_handler_it_called_left_behind(
    autojump_clock: object,
) -> None:
    async with loop.open_nursery() as outside, open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=1)
        outcomes = Outcomes(runtime)

        async def leave_behind(agent: Doer, ctx: MessageContext) -> None:
            outside.start_soon(outcomes.send, 0, nothing, C)
            await loop.sleep(1)

        async with loop.open_nursery() as nursery:
            nursery.start_soon(outcomes.send, 1, ask(A, after=3), C)
            nursery.start_soon(outcomes.send, 2, ask_then_wait(B, leave_behind, 10), A)
        assert outcomes.deadlocks == []
        check_idle(runtime)


def ask_then_wait(recipient: AgentId, message: Act, seconds: float) -> Act:
    async def act(agent: Doer, ctx: MessageContext) -> None:
        await agent.send_message(message, recipient)
        await loop.sleep(seconds)

    return act


def test_a_cancelled_request_closes_no_circle() -> None:
    async def main() -> None:
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=1)
            outcomes = Outcomes(runtime)

            async def give_up(agent: Doer, ctx: MessageContext) -> None:
                with loop.move_on_after(1):
                    await agent.send_message(nothing, B)
                await loop.sleep(5)

            nursery.start_soon(outcomes.send, 0, give_up, A)
            nursery.start_soon(outcomes.send, 1, ask(A, after=2), B)
            await drain(runtime)
            assert outcomes.errors == {}
            check_idle(runtime)

    under_seeds(main)


def test_a_circle_that_a_cancellation_opens_lets_the_others_through() -> None:
    async def main() -> None:
        token = CancellationToken()
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=1)
            outcomes = Outcomes(runtime)
            nursery.start_soon(lambda: outcomes.send(0, wait(1000), A, cancellation_token=token))
            await wait_all_tasks_blocked()
            for number in range(1, 5):
                nursery.start_soon(outcomes.send, number, ask(A), B)
            await loop.sleep(1)
            token.cancel()
            await drain(runtime)
            assert loop.current_time() < 10
            assert sorted(outcomes.results) == [1, 2, 3, 4]
            assert isinstance(outcomes.errors[0], loop.MessageCancelled)
            check_idle(runtime)

    under_seeds(main)


# Cancelled between being let out of the mailbox and being taken up.
def test_a_place_is_not_lost_with_a_message_that_is_cancelled_on_its_way_out() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await open_doers(runtime, max_concurrency=1)
            first, second = loop.CancelScope(), loop.CancelScope()

            async def send(scope: loop.CancelScope, then: loop.CancelScope | None) -> None:
                with scope:
                    await runtime.send_message(wait(1000), A)
                if then is not None:
                    then.cancel()

            async with loop.open_nursery() as nursery:
                nursery.start_soon(send, first, second)
                await wait_all_tasks_blocked()
                nursery.start_soon(send, second, None)
                await wait_all_tasks_blocked()
                first.cancel()
            check_idle(runtime)
            await runtime.send_message(nothing, A)

    under_seeds(main, seeds=40)


# --- circles through factories


# AG-07
@pytest.mark.parametrize("intercepted", [False, True])
@pytest.mark.parametrize("how", ["send", "get"])
async def test_a_factory_that_needs_its_own_agent_is_refused(
    autojump_clock: object, intercepted: bool, how: str
) -> None:
    handlers = [DefaultInterventionHandler()] if intercepted else []
    async with open_runtime(intervention_handlers=handlers) as runtime:

        async def make() -> Doer:
            if how == "send":
                await runtime.send_message(nothing, A)
            else:
                await runtime.get(A, lazy=False)
            return Doer()

        await open_doers(runtime, make)
        with pytest.raises(DeadlockError, match="the factory of doer/a needs doer/a itself"):
            await runtime.send_message(nothing, A)
        with pytest.raises(DeadlockError, match="the factory of doer/a needs doer/a itself"):
            await runtime.get(A, lazy=False)
        check_idle(runtime)


@pytest.mark.parametrize("how", ["send", "get"])
@pytest.mark.parametrize("max_concurrency", [None, 1])
def test_two_factories_that_need_each_other_s_agents_are_refused(
    how: str, max_concurrency: int | None
) -> None:
    async def main() -> None:
        async with open_runtime() as runtime:

            def factory_that_needs(other: AgentId) -> Callable[[], Awaitable[Doer]]:
                async def make() -> Doer:
                    await loop.sleep(1)
                    if how == "send":
                        await runtime.send_message(nothing, other)
                    else:
                        await runtime.get(other, lazy=False)
                    return Doer()

                return make

            x, y = AgentId("x", "a"), AgentId("y", "a")
            options = {"max_concurrency": max_concurrency}
            await open_doers(runtime, factory_that_needs(y), type="x", **options)
            await open_doers(runtime, factory_that_needs(x), type="y", **options)
            outcomes = Outcomes(runtime)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(outcomes.send, 0, nothing, x)
                nursery.start_soon(outcomes.send, 1, nothing, y)
            assert outcomes.deadlocks
            for path in outcomes.deadlocks if how == "send" else ():
                assert "x/a -> y/a -> x/a" in path or "y/a -> x/a -> y/a" in path
            check_idle(runtime)

    under_seeds(main)


def test_a_circle_through_a_factory_and_a_handler_is_refused() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:

            async def make() -> Doer:
                await loop.sleep(1)
                await runtime.send_message(nothing, A)
                return Doer()

            await open_doers(runtime, max_concurrency=1)
            await open_doers(runtime, make, type="slow")
            outcomes = Outcomes(runtime)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(outcomes.send, 0, nothing, AgentId("slow", "x"))
                nursery.start_soon(outcomes.send, 1, ask(AgentId("slow", "x"), after=0.5), A)
            assert len(outcomes.deadlocks) >= 1
            check_idle(runtime)

    under_seeds(main)


# --- circles through the closing of an agent


def test_a_circle_through_an_agent_that_is_to_be_closed_is_refused() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await open_doers(runtime)
            await open_doers(runtime, type="one", max_concurrency=1)
            one = AgentId("one", "x")
            outcomes = Outcomes(runtime)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(outcomes.send, 0, ask(one, after=1), A)
                nursery.start_soon(outcomes.send, 1, ask(A, after=2), one)
                await loop.sleep(0.5)
                nursery.start_soon(runtime.deactivate, A)
            (refused,) = outcomes.deadlocks
            assert "doer/a -> one/x -> doer/a" in refused
            assert outcomes.results == {0: None}
            check_idle(runtime)

    under_seeds(main)


def test_a_circle_behind_a_wish_to_close_in_line_is_refused() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await open_doers(runtime, max_concurrency=2)
            await open_doers(runtime, type="one", max_concurrency=1)
            one = AgentId("one", "x")
            outcomes = Outcomes(runtime)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(outcomes.send, 0, ask(one, after=3), A)
                nursery.start_soon(outcomes.send, 1, wait(4), A)
                nursery.start_soon(outcomes.send, 2, ask(A, after=2), one)
                await loop.sleep(0.5)
                nursery.start_soon(outcomes.send, 3, nothing, A)  # the agent is to close after it
                await loop.sleep(0.5)
                nursery.start_soon(runtime.deactivate, A)
            assert len(outcomes.deadlocks) == 1
            assert len(outcomes.results) == 3
            check_idle(runtime)

    under_seeds(main)


def test_a_handler_that_would_close_who_waits_for_it_is_refused() -> None:
    async def main(first: float) -> None:
        async with open_runtime() as runtime:
            await open_doers(runtime)
            await open_doers(runtime, type="one", max_concurrency=1)
            one = AgentId("one", "x")
            outcomes = Outcomes(runtime)

            async def close_a(agent: Doer, ctx: MessageContext) -> None:
                await loop.sleep(2)
                await runtime.deactivate(A)

            async with loop.open_nursery() as nursery:
                nursery.start_soon(outcomes.send, 0, close_a, one)
                nursery.start_soon(outcomes.send, 1, ask(one, after=first), A)
            assert len(outcomes.deadlocks) == 1
            check_idle(runtime)

    for first in (1, 3):
        under_seeds(lambda first=first: main(first), seeds=5)


async def test_a_handler_may_close_another_agent_that_is_busy(autojump_clock: object) -> None:
    async def close_a(agent: Doer, ctx: MessageContext) -> str:
        await runtime.deactivate(A)
        return "closed"

    async with open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=1)
        await runtime.publish_message(ask(C, wait(5)), TO_A)
        await wait_all_tasks_blocked()
        assert await runtime.send_message(close_a, B) == "closed"
        assert loop.current_time() == 5
        check_idle(runtime)


async def test_a_factory_may_wait_for_other_agents(autojump_clock: object) -> None:
    async with open_runtime() as runtime:

        async def make() -> Doer:
            assert await runtime.send_message(lambda agent, ctx: 42, A) == 42
            await runtime.get(B, lazy=False)
            return Doer()

        await open_doers(runtime, max_concurrency=1)
        await open_doers(runtime, make, type="slow", max_concurrency=1)
        chain = ask(AgentId("slow", "x"), lambda agent, ctx: "made")
        assert await runtime.send_message(chain, B) == "made"
        check_idle(runtime)


# --- mailbox_size


def test_a_full_mailbox_makes_publishers_wait_in_line() -> None:
    async def main() -> None:
        log: list[int] = []
        published: list[int] = []
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=1, mailbox_size=2)

            async def publish(number: int) -> None:
                await runtime.publish_message(note(log, number, wait(1)), TO_A)
                published.append(number)

            for number in range(8):
                nursery.start_soon(publish, number)
                await wait_all_tasks_blocked()
            # One runs, two are inside, five wait; and each second one of these comes in.
            assert published == [0, 1, 2]
            assert runtime.statistics().mailboxes == {A: 7}
            for more in range(1, 6):
                await loop.sleep(1)
                await wait_all_tasks_blocked()
                assert published == list(range(3 + more))
            await drain(runtime)
            check_idle(runtime)
        assert log == list(range(8))

    under_seeds(main, seeds=5)


async def test_senders_of_requests_keep_their_place_in_a_full_mailbox(
    autojump_clock: object,
) -> None:
    log: list[int] = []
    async with open_runtime() as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime, max_concurrency=1, mailbox_size=1)
        for number in range(10):
            message = note(log, number, wait(1))
            if number % 2:
                nursery.start_soon(runtime.publish_message, message, TO_A)
            else:
                nursery.start_soon(runtime.send_message, message, A)
            await wait_all_tasks_blocked()
        await drain(runtime)
        check_idle(runtime)
    assert log == list(range(10))


def test_a_publisher_that_is_cancelled_in_line_leaves_nothing_behind() -> None:
    async def main() -> None:
        log: list[int] = []
        async with SingleThreadedAgentRuntime() as runtime:
            await open_doers(runtime, max_concurrency=1, mailbox_size=1)
            async with loop.open_nursery() as nursery:
                for number in range(2):
                    await runtime.publish_message(note(log, number, wait(10)), TO_A)
                    if not number:
                        runtime.start()
                        await wait_all_tasks_blocked()
                nursery.start_soon(runtime.publish_message, note(log, 2), TO_A)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await runtime.publish_message(note(log, 3), TO_A)
            await drain(runtime)
            check_idle(runtime)
            assert {0, 1, 3} <= {*log}
            assert runtime.statistics().accepted == 4

    under_seeds(main)


async def test_a_token_takes_back_a_publication_that_waits_for_room(
    autojump_clock: object,
) -> None:
    log: list[int] = []
    async with SingleThreadedAgentRuntime() as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime, mailbox_size=1)
        await runtime.publish_message(note(log, 0), TO_A)
        token = CancellationToken()
        nursery.start_soon(
            lambda: runtime.publish_message(note(log, 1), TO_A, cancellation_token=token)
        )
        await wait_all_tasks_blocked()
        token.cancel()
        await wait_all_tasks_blocked()
        runtime.start()
        await drain(runtime)
        check_idle(runtime)
        assert runtime.statistics().cancelled == 1
    assert log == [0]


@pytest.mark.parametrize("overflow", ["type", "runtime"])
async def test_overflow_raise_refuses_and_names_the_agent(
    autojump_clock: object, overflow: str
) -> None:
    go = loop.Event()
    everywhere: Any = {"overflow": "raise"} if overflow == "runtime" else {}
    here: Any = {"overflow": "raise"} if overflow == "type" else {}
    async with open_runtime(**everywhere) as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime, max_concurrency=1, mailbox_size=1, **here)
        nursery.start_soon(runtime.send_message, wait_for(go), A)
        await wait_all_tasks_blocked()
        await runtime.publish_message(nothing, TO_A)
        await wait_all_tasks_blocked()
        accepted = runtime.statistics().accepted
        with pytest.raises(Overloaded, match=r"mailbox of doer/a is full \(1 messages\)"):
            await runtime.publish_message(nothing, TO_A)
        with pytest.raises(Overloaded, match="doer/a"):
            await runtime.send_message(nothing, A)
        assert runtime.statistics().accepted == accepted
        await runtime.send_message(nothing, B)  # others have room
        go.set()


@pytest.mark.parametrize("what", ["publish", "send"])
async def test_a_mailbox_that_is_full_after_the_wait_for_the_runtime_refuses_too(
    autojump_clock: object, what: str
) -> None:
    go, room = loop.Event(), loop.Event()
    async with open_runtime(max_pending=3) as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime, max_concurrency=1, mailbox_size=1, overflow="raise")
        await open_doers(runtime, type="other")
        outcomes = Outcomes(runtime)
        submit: Any = outcomes.send if what == "send" else outcomes.publish
        nursery.start_soon(runtime.send_message, wait_for(go), A)
        for _ in range(2):
            nursery.start_soon(runtime.send_message, wait_for(room), AgentId("other", "a"))
        await wait_all_tasks_blocked()
        # The mailbox is empty when they come. When there is room, the first of them is in it.
        for number in range(2):
            nursery.start_soon(submit, number, nothing, A if what == "send" else TO_A)
            await wait_all_tasks_blocked()
        assert runtime.statistics().waiting == 2
        room.set()
        await wait_all_tasks_blocked()
        assert [type(error) for error in outcomes.errors.values()] == [Overloaded]
        assert list(outcomes.errors) == [1]
        assert runtime.statistics().waiting == 0
        go.set()
        await drain(runtime)
        check_idle(runtime)
        assert list(outcomes.results) == [0]
        # What was refused was never accepted. The other type hears the publication, too.
        assert runtime.statistics().accepted == 4 + (what == "publish")


async def test_a_publication_that_is_refused_reaches_nobody(autojump_clock: object) -> None:
    go = loop.Event()
    log: list[Any] = []
    async with open_runtime() as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime, type="first")
        await open_doers(runtime, type="tight", max_concurrency=1, mailbox_size=1, overflow="raise")
        await open_doers(runtime, type="last")
        tight = AgentId("tight", "a")
        nursery.start_soon(runtime.send_message, wait_for(go), tight)
        await wait_all_tasks_blocked()
        nursery.start_soon(runtime.send_message, nothing, tight)
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="tight/a"):
            await runtime.publish_message(lambda agent, ctx: log.append(agent.id), TO_A)
        go.set()
        await drain(runtime)
        check_idle(runtime)
    assert log == []


async def test_a_reentrant_request_finds_room_in_a_full_mailbox(autojump_clock: object) -> None:
    async with open_runtime(overflow="raise") as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime, max_concurrency=1, mailbox_size=1)
        outcomes = Outcomes(runtime)
        nursery.start_soon(outcomes.send, 0, ask(B, ask(A, lambda a, c: 42), after=1), A)
        await wait_all_tasks_blocked()
        nursery.start_soon(outcomes.send, 1, nothing, A)
        await wait_all_tasks_blocked()
        await drain(runtime)
        await wait_all_tasks_blocked()  # the senders have their replies
        assert outcomes.results == {0: 42, 1: None}
        check_idle(runtime)


def test_a_publisher_whose_room_was_made_is_not_taken_for_stuck() -> None:
    async def main() -> None:
        answers: list[Any] = []

        async def ask_publisher(agent: Doer, ctx: MessageContext) -> None:
            answers.append(await agent.send_message(lambda a, c: 42, A))

        async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
            await open_doers(runtime, max_concurrency=1, mailbox_size=1)
            await runtime.send_message(tell(wait(5), ask_publisher, nothing, topic=TO_B), A)
            await drain(runtime)
            check_idle(runtime)
        assert answers == [42]

    under_seeds(main, seeds=30)


def test_publishers_that_would_wait_for_each_other_s_room_are_refused() -> None:
    async def main() -> None:
        log: list[AgentId] = []
        heard: Act = lambda agent, ctx: log.append(agent.id)  # noqa: E731
        async with open_runtime() as runtime:
            await open_doers(runtime, max_concurrency=1, mailbox_size=1)
            outcomes = Outcomes(runtime)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(outcomes.send, 0, tell(*[heard] * 3, topic=TO_B, after=1), A)
                nursery.start_soon(outcomes.send, 1, tell(*[heard] * 3, topic=TO_A, after=1), B)
            await drain(runtime)
            (refused,) = outcomes.deadlocks
            assert "doer/a" in refused
            assert "doer/b" in refused
            check_idle(runtime)
            # Of the refused publication nothing was delivered, all before it and the others' was.
            statistics = runtime.statistics()
            assert statistics.handled + statistics.failed + statistics.cancelled == (
                statistics.accepted
            )
            assert 4 <= len(log) <= 5

    under_seeds(main)


async def test_a_publisher_waits_only_for_those_whose_mailbox_is_full(
    autojump_clock: object,
) -> None:
    # `loose` waits for the publisher, who waits for `tight` alone: that is no circle.
    tight, loose, publisher = (AgentId(type, "a") for type in ("tight", "loose", "publisher"))
    async with open_runtime() as runtime:
        await open_doers(runtime, type="tight", max_concurrency=1, mailbox_size=1)
        await open_doers(runtime, type="loose", max_concurrency=1)
        await Doer.register(runtime, "publisher", Doer, max_concurrency=1)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, wait(4), tight)
            await loop.sleep(1)
            nursery.start_soon(runtime.send_message, nothing, tight)
            nursery.start_soon(runtime.send_message, tell(nothing, topic=TO_A, after=1), publisher)
            nursery.start_soon(runtime.send_message, ask(publisher, after=2), loose)
        await drain(runtime)
        check_idle(runtime)


async def test_a_publisher_waits_for_whoever_makes_room_and_not_for_all(
    autojump_clock: object,
) -> None:
    # The last message of a full mailbox is held up by the publisher; the one before it is not.
    held = note([], "held")

    class AskB(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            if message is held:
                await runtime.send_message(nothing, B)
            return message

    async with open_runtime(intervention_handlers=[AskB()]) as runtime:
        await open_doers(runtime, max_concurrency=1, mailbox_size=2)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, wait(5), A)
            nursery.start_soon(runtime.send_message, tell(nothing, topic=TO_A, after=2), B)
            await loop.sleep(1)
            nursery.start_soon(runtime.send_message, nothing, A)
            await loop.sleep(0.5)
            nursery.start_soon(runtime.send_message, held, A)
        await drain(runtime)
        check_idle(runtime)


async def test_a_publisher_waits_for_a_reentrant_message_that_makes_room(
    autojump_clock: object,
) -> None:
    inner = note([], "inner")

    class LookForLong(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            if message is inner:
                await loop.sleep(1)
            return message

    async def send_and_publish(agent: Doer, ctx: MessageContext) -> None:
        async with loop.open_nursery() as nursery:
            nursery.start_soon(agent.send_message, inner, A)
            await loop.sleep(0.5)
            await runtime.publish_message(nothing, TO_A)  # no sender is named

    async with open_runtime(intervention_handlers=[LookForLong()]) as runtime:
        await open_doers(runtime, max_concurrency=1, mailbox_size=1)
        await runtime.send_message(send_and_publish, A)
        await drain(runtime)
        check_idle(runtime)


async def test_a_message_that_was_let_out_does_not_wait_for_the_closing_behind_it(
    autojump_clock: object,
) -> None:
    slow, one = AgentId("slow", "x"), AgentId("one", "x")

    async def publish_at_once(agent: Doer, ctx: MessageContext) -> None:
        await agent.publish_message(nothing, TopicId("news", "x"))

    async with open_runtime() as runtime:
        await Doer.register(runtime, "slow", make_slowly)
        await open_doers(runtime, type="one", max_concurrency=1, mailbox_size=1)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, publish_at_once, slow)  # it is made for this
            await wait_all_tasks_blocked()
            nursery.start_soon(runtime.send_message, ask(slow), one)  # waits for the factory
            await wait_all_tasks_blocked()
            nursery.start_soon(runtime.send_message, nothing, one)  # fills the mailbox
            await wait_all_tasks_blocked()
            nursery.start_soon(runtime.deactivate, slow)
        await drain(runtime)
        check_idle(runtime)


async def test_a_handler_may_look_at_its_own_agent_though_that_is_to_be_closed(
    autojump_clock: object,
) -> None:
    async def look(agent: Doer, ctx: MessageContext) -> Any:
        await loop.sleep(2)
        return await runtime.agent_save_state(A)

    async with open_runtime() as runtime:
        await open_doers(runtime)
        outcomes = Outcomes(runtime)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(outcomes.send, 0, look, A)
            await loop.sleep(1)
            nursery.start_soon(runtime.deactivate, A)
        assert outcomes.results == {0: {}}
        check_idle(runtime)


async def test_a_circle_through_who_needs_an_agent_that_is_to_be_closed_is_refused(
    autojump_clock: object,
) -> None:
    one = AgentId("one", "x")

    async def look(agent: Doer, ctx: MessageContext) -> None:
        await loop.sleep(2)
        await runtime.agent_save_state(A)

    async with open_runtime() as runtime:
        await open_doers(runtime)
        await open_doers(runtime, type="one", max_concurrency=1)
        outcomes = Outcomes(runtime)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(outcomes.send, 0, look, one)
            nursery.start_soon(outcomes.send, 1, ask(one, after=1), A)
            await loop.sleep(0.5)
            nursery.start_soon(runtime.deactivate, A)
        (refused,) = outcomes.deadlocks
        assert "doer/a -> one/x -> doer/a" in refused
        check_idle(runtime)


async def test_a_publisher_is_refused_if_a_recipient_that_is_new_would_keep_it_for_ever(
    autojump_clock: object,
) -> None:
    news = note([], "news")
    late = AgentId("late", "a")

    class Subscribe(DefaultInterventionHandler):
        async def on_publish(self, message: Any, **_: Any) -> Any:
            await runtime.add_subscription(TypeSubscription("news", "late"))
            await loop.sleep(1)
            return message

    async with open_runtime(intervention_handlers=[Subscribe()]) as runtime:
        await open_doers(runtime, max_concurrency=1, mailbox_size=1)
        await Doer.register(runtime, "late", Doer, max_concurrency=1, mailbox_size=1)
        outcomes = Outcomes(runtime)
        with loop.fail_after(100):
            async with loop.open_nursery() as nursery:
                nursery.start_soon(outcomes.send, 0, wait(9), A)
                nursery.start_soon(outcomes.send, 1, ask(B, after=2), late)
                await wait_all_tasks_blocked()
                nursery.start_soon(outcomes.send, 2, nothing, A)
                nursery.start_soon(outcomes.send, 3, nothing, late)
                nursery.start_soon(outcomes.send, 4, tell(news, topic=TO_A, after=3), B)
        (refused,) = outcomes.deadlocks
        assert "late/a -> doer/b" in refused
        await drain(runtime)
        check_idle(runtime)


async def test_what_an_agent_is_made_for_does_not_wait_for_what_is_looked_at_behind_it(
    autojump_clock: object,
) -> None:
    held = note([], "held")
    slow, asker = AgentId("slow", "a"), AgentId("asker", "x")

    class AskAsker(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            if message is held:
                await runtime.send_message(nothing, asker)
            return message

    async with open_runtime(intervention_handlers=[AskAsker()]) as runtime:
        await open_doers(runtime, make_slowly, type="slow", mailbox_size=1)
        await Doer.register(runtime, "asker", Doer, max_concurrency=1)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, nothing, slow)
            await wait_all_tasks_blocked()
            nursery.start_soon(runtime.send_message, tell(nothing, topic=TO_A), asker)
            await wait_all_tasks_blocked()
            nursery.start_soon(runtime.send_message, held, slow)
        await drain(runtime)
        check_idle(runtime)


async def test_an_agent_that_fills_its_own_mailbox_is_refused(autojump_clock: object) -> None:
    log: list[int] = []

    async def publish_to_myself(agent: Doer, ctx: MessageContext) -> None:
        for number in range(3):
            await runtime.publish_message(note(log, number), TO_A)  # no sender is named

    async with open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=1, mailbox_size=2)
        with pytest.raises(DeadlockError, match="doer/a -> doer/a"):
            await runtime.send_message(publish_to_myself, A)
        await drain(runtime)
        check_idle(runtime)
    assert log == [0, 1]


def test_who_waits_for_room_is_refused_when_the_agent_has_to_wait_for_him_to_be_let_go_of() -> None:
    refused: list[BaseException] = []

    async def main() -> None:
        go = loop.Event()

        async def publish_to_myself(agent: Doer, ctx: MessageContext) -> None:
            await go.wait()
            for _ in range(2):
                await runtime.publish_message(nothing, TO_A)

        async def send() -> None:
            try:
                await runtime.send_message(publish_to_myself, A)
            except DeadlockError as exc:
                refused.append(exc)

        async def let_go() -> None:
            await go.wait()
            await runtime.deactivate(A)

        async with open_runtime() as runtime:
            await open_doers(runtime, mailbox_size=1)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(send)
                nursery.start_soon(let_go)
                await wait_all_tasks_blocked()
                go.set()
            await drain(runtime)
            check_idle(runtime)

    under_seeds(main)
    assert refused  # in some orders


def test_who_gives_up_on_room_may_do_so_while_the_agent_begins_to_be_let_go_of() -> None:
    async def main() -> None:
        go, done = loop.Event(), loop.Event()

        async def publish(scope: Any) -> None:
            with scope:
                await runtime.send_message(tell(nothing, nothing, topic=TO_A), B)

        async def give_up(scope: Any) -> None:
            await go.wait()
            await loop.checkpoint()
            scope.cancel()

        async def let_go() -> None:
            await go.wait()
            await runtime.deactivate(A)

        async with open_runtime() as runtime:
            await open_doers(runtime, max_concurrency=1, mailbox_size=1)
            async with loop.open_nursery() as nursery:
                scope = loop.CancelScope()
                nursery.start_soon(runtime.send_message, wait_for(done), A)
                await wait_all_tasks_blocked()
                nursery.start_soon(publish, scope)
                nursery.start_soon(give_up, scope)
                nursery.start_soon(let_go)
                await wait_all_tasks_blocked()
                assert runtime.statistics().mailboxes == {A: 2}
                go.set()
                await wait_all_tasks_blocked()
                done.set()
            await drain(runtime)
            check_idle(runtime)

    under_seeds(main)


async def test_an_intervention_handler_that_fills_the_mailbox_before_its_message_is_refused(
    autojump_clock: object,
) -> None:
    class Publish(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            await runtime.publish_message(nothing, TO_A)
            return message

    async with open_runtime(intervention_handlers=[Publish()]) as runtime:
        await open_doers(runtime, mailbox_size=1)
        with pytest.raises(DeadlockError, match="doer/a -> doer/a"):
            await runtime.send_message(nothing, A)
        await drain(runtime)
        check_idle(runtime)


async def test_a_factory_that_fills_the_mailbox_of_its_agent_is_refused(
    autojump_clock: object,
) -> None:
    async with open_runtime() as runtime:

        async def make() -> Doer:
            await runtime.publish_message(nothing, TO_A)
            return Doer()

        await open_doers(runtime, make, mailbox_size=1)
        with pytest.raises(DeadlockError, match="the factory of doer/a needs doer/a itself"):
            await runtime.send_message(nothing, A)
        check_idle(runtime)


# A publication is no call: the publisher waits for room, not for the handler.
async def test_a_publication_to_oneself_is_not_reentrant(autojump_clock: object) -> None:
    gauge = Gauge()

    async def publish_to_myself(agent: Doer, ctx: MessageContext) -> None:
        for _ in range(5):
            await runtime.publish_message(gauge, TO_A)
        await gauge(agent, ctx)

    async with open_runtime() as runtime:
        await open_doers(runtime, max_concurrency=2, mailbox_size=1)
        await runtime.send_message(publish_to_myself, A)
        await drain(runtime)
        check_idle(runtime)
    assert gauge.most[A] <= 2


def test_a_stop_fails_what_stands_in_line_and_frees_its_publishers() -> None:
    async def main() -> None:
        log: list[int] = []
        go = loop.Event()
        async with SingleThreadedAgentRuntime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=1, mailbox_size=1)
            runtime.start()
            outcomes = Outcomes(runtime)
            for number in range(6):
                act = note(log, number, wait_for(go))
                if number % 2:
                    nursery.start_soon(outcomes.publish, number, act, TO_A)
                else:
                    nursery.start_soon(outcomes.send, number, act, A)
                await wait_all_tasks_blocked()
            nursery.start_soon(runtime.stop)
            await wait_all_tasks_blocked()
            assert sorted(outcomes.results) == [1, 3, 5]
            assert sorted(outcomes.errors) == [2, 4]
            assert all(type(e) is UndeliverableException for e in outcomes.errors.values())
            go.set()
            await wait_all_tasks_blocked()
            check_idle(runtime)
            assert runtime.statistics().undeliverable == 5
            runtime.start()
            await runtime.publish_message(note(log, 6), TO_A)
            await drain(runtime)
        assert log == [0, 6]

    under_seeds(main, seeds=10)


def test_publishers_that_wait_before_the_start_come_in_order() -> None:
    async def main() -> None:
        log: list[int] = []
        async with SingleThreadedAgentRuntime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, make_slowly, mailbox_size=2)
            for number in range(10):
                nursery.start_soon(runtime.publish_message, note(log, number), TO_A)
                await wait_all_tasks_blocked()
            assert runtime.statistics().mailboxes == {A: 10}
            runtime.start()
            await drain(runtime)
            check_idle(runtime)
        assert log == list(range(10))

    under_seeds(main, seeds=10)


def test_all_that_stand_in_line_may_be_cancelled_at_once() -> None:
    async def main() -> None:
        async with open_runtime(max_pending=8) as runtime:
            await open_doers(runtime, max_concurrency=1, mailbox_size=2)
            async with loop.open_nursery() as nursery:
                for number in range(20):
                    if number % 2:
                        nursery.start_soon(runtime.publish_message, wait(1000), TO_A)
                    else:
                        nursery.start_soon(runtime.send_message, wait(1000), A)
                await wait_a_little(5)
                nursery.cancel_scope.cancel()
            token = CancellationToken()
            async with loop.open_nursery() as nursery:
                outcomes = Outcomes(runtime)
                for number in range(20):
                    nursery.start_soon(
                        lambda n=number: outcomes.send(n, wait(1000), B, cancellation_token=token)
                    )
                await wait_a_little(5)
                token.cancel()
            assert {type(e) for e in outcomes.errors.values()} == {loop.MessageCancelled}
            assert loop.current_time() < 10
            check_ledger(runtime)
            await runtime.stop(deadline=loop.current_time() + 1)
            check_idle(runtime)

    under_seeds(main)


# --- max_pending


def test_max_pending_lets_submitters_in_first_come_first_served() -> None:
    async def main() -> None:
        log: list[int] = []
        async with open_runtime(max_pending=3) as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime)
            for number in range(30):
                act = note(log, number, wait(1))
                if number % 2:
                    nursery.start_soon(runtime.publish_message, act, TO_A)
                else:
                    nursery.start_soon(runtime.send_message, act, A)
                await wait_all_tasks_blocked()
            statistics = runtime.statistics()
            assert (statistics.pending, statistics.waiting) == (3, 27)
            await drain(runtime)
            check_idle(runtime)
            assert loop.current_time() == 10
        assert log == list(range(30))

    under_seeds(main, seeds=5)


async def test_nobody_slips_in_between_one_that_leaves_and_the_next_in_line(
    autojump_clock: object,
) -> None:
    log: list[str] = []
    async with open_runtime(max_pending=1) as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime)
        go = loop.Event()
        nursery.start_soon(runtime.send_message, wait_for(go), A)
        await wait_all_tasks_blocked()
        nursery.start_soon(runtime.send_message, note(log, "first in line"), A)
        await wait_all_tasks_blocked()
        go.set()
        for _ in range(5):
            nursery.start_soon(runtime.send_message, note(log, "late"), A)
    assert log == ["first in line"] + ["late"] * 5


async def test_a_publication_that_nobody_can_hear_makes_room_for_the_next_in_line(
    autojump_clock: object,
) -> None:
    # Found by the reference model: it hung.
    async with open_runtime(max_pending=1) as runtime:
        await open_doers(runtime)
        await runtime.add_subscription(TypeSubscription("lost", "unknown"))
        await runtime.publish_message(nothing, TopicId("lost", "x"))
        assert runtime.statistics().pending == 1
        with loop.fail_after(10):
            await runtime.send_message(nothing, A)
        assert runtime.statistics().undeliverable == 1


def test_a_submitter_that_is_cancelled_at_the_door_has_submitted_nothing() -> None:
    async def main() -> None:
        log: list[int] = []
        async with open_runtime(max_pending=1) as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime)
            scopes = [loop.CancelScope() for _ in range(6)]

            async def send(number: int) -> None:
                with scopes[number]:
                    await runtime.send_message(note(log, number, wait(1)), A)

            for number in range(6):
                nursery.start_soon(send, number)
                await wait_all_tasks_blocked()
            scopes[1].cancel()
            scopes[3].cancel()
            await drain(runtime)
            check_idle(runtime)
            assert runtime.statistics().accepted == 4
        assert log == [0, 2, 4, 5]

    under_seeds(main)


def test_a_token_frees_a_sender_at_the_door() -> None:
    async def main() -> None:
        async with open_runtime(max_pending=1) as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime)
            outcomes = Outcomes(runtime)
            nursery.start_soon(outcomes.send, 0, wait(10), A)
            await wait_all_tasks_blocked()
            token = CancellationToken()
            for number, id in enumerate([A, B], 1):
                nursery.start_soon(
                    lambda n=number, id=id: outcomes.send(n, nothing, id, cancellation_token=token)
                )
            await loop.sleep(1)
            token.cancel()
            await wait_all_tasks_blocked()
            assert {n: type(e) for n, e in outcomes.errors.items()} == {
                1: loop.MessageCancelled,
                2: loop.MessageCancelled,
            }
            assert runtime.statistics().waiting == 0
            assert loop.current_time() == 1

    under_seeds(main, seeds=5)


async def test_max_pending_with_raise_refuses_at_once(autojump_clock: object) -> None:
    go = loop.Event()
    async with open_runtime(max_pending=2, overflow="raise") as runtime:
        await open_doers(runtime)
        async with loop.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(runtime.send_message, wait_for(go), A)
            await wait_all_tasks_blocked()
            with pytest.raises(Overloaded, match="2 messages are pending"):
                await runtime.send_message(nothing, A)
            with pytest.raises(Overloaded, match="max_pending"):
                await runtime.publish_message(nothing, TO_A)
            assert runtime.statistics().accepted == 2
            go.set()
        await runtime.send_message(nothing, A)


# ST-26
async def test_what_handlers_submit_comes_in_at_once(autojump_clock: object) -> None:
    log: list[str] = []
    async with open_runtime(max_pending=1, overflow="raise") as runtime:
        await open_doers(runtime)

        async def act(agent: Doer, ctx: MessageContext) -> Any:
            await agent.publish_message(note(log, "published"), TO_B)
            return await agent.send_message(ask(C, lambda a, c: 42), B)

        assert await runtime.send_message(act, A) == 42
        await drain(runtime)
    assert log == ["published"]


@pytest.mark.parametrize("max_pending", [None, 2])
def test_a_sender_in_line_reaches_the_one_agent_of_its_id(max_pending: int | None) -> None:
    async def main() -> None:
        made: list[Doer] = []
        alive: list[Doer] = []

        class Mortal(Doer):
            def __init__(self) -> None:
                super().__init__()
                made.append(self)
                alive.append(self)

            async def close(self) -> None:
                alive.remove(self)

        def see(agent: Doer, ctx: MessageContext) -> None:
            assert alive == [agent]

        async with open_runtime(max_pending=max_pending) as runtime:
            await open_doers(runtime)
            await open_doers(runtime, Mortal, type="mortal")
            mortal = AgentId("mortal", "a")
            await runtime.send_message(see, mortal)
            async with loop.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(runtime.send_message, wait(1), A)
                await wait_all_tasks_blocked()
                for _ in range(4):
                    nursery.start_soon(runtime.send_message, see, mortal)
                await wait_all_tasks_blocked()
                await runtime.deactivate(mortal)
            await runtime.send_message(see, mortal)
            assert len(made) == 2
            check_idle(runtime)

    under_seeds(main, seeds=10)


async def test_a_sender_that_is_refused_or_gives_up_leaves_no_trace_of_its_recipient(
    autojump_clock: object,
) -> None:
    async with open_runtime(max_pending=1) as runtime:
        await open_doers(runtime)
        cancelled = CancellationToken()
        cancelled.cancel()
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, wait(1000), A)
            await wait_all_tasks_blocked()
            for number in range(100):
                unknown = AgentId("doer", str(number))
                with pytest.raises(TypeError):
                    await runtime.send_message(nothing, unknown, sender="me")  # type: ignore[arg-type]
                with pytest.raises(loop.MessageCancelled):
                    await runtime.send_message(nothing, unknown, cancellation_token=cancelled)
                nursery.start_soon(runtime.send_message, nothing, unknown)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert [*runtime._activations] == [A]


def test_senders_at_the_door_are_freed_when_the_block_is_left() -> None:
    async def main() -> None:
        async with loop.open_nursery() as nursery:
            async with SingleThreadedAgentRuntime(max_pending=2) as runtime:
                await open_doers(runtime)
                outcomes = Outcomes(runtime)
                for number in range(10):
                    nursery.start_soon(outcomes.send, number, nothing, A)
                await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            assert sorted(outcomes.errors) == list(range(10))
            assert {type(e) for e in outcomes.errors.values()} == {UndeliverableException}
            check_idle(runtime)

    under_seeds(main, seeds=5)


def test_submitters_at_the_door_before_the_start_come_in_order() -> None:
    async def main() -> None:
        log: list[int] = []
        async with SingleThreadedAgentRuntime(max_pending=2) as runtime:
            await open_doers(runtime)
            async with loop.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(runtime.publish_message, note(log, number), TO_A)
                    await wait_all_tasks_blocked()
                assert (runtime.statistics().pending, runtime.statistics().waiting) == (2, 8)
                runtime.start()
            await drain(runtime)
        assert log == list(range(10))

    under_seeds(main, seeds=5)


# RT-16
@pytest.mark.parametrize("max_pending", [None, 1])
def test_a_subscription_that_raises_fails_its_publication_alone(max_pending: int | None) -> None:
    class Broken:
        id = "broken"

        def is_match(self, topic_id: TopicId) -> bool:
            if topic_id.type == "broken":
                raise ZeroDivisionError
            return False

        def map_to_agent(self, topic_id: TopicId) -> AgentId:
            raise NotImplementedError

    async def main() -> None:
        log: list[int] = []
        runtime = SingleThreadedAgentRuntime(
            max_pending=max_pending, ignore_unhandled_exceptions=False
        )
        with loop.raises_failures() as failures:
            async with runtime:
                await open_doers(runtime, mailbox_size=1)
                await runtime.add_subscription(Broken())
                runtime.start()
                async with loop.open_nursery() as nursery:
                    for number in range(9):
                        topic = TopicId("broken", "x") if number % 3 == 2 else TO_A
                        nursery.start_soon(runtime.publish_message, note(log, number), topic)
                await drain(runtime)
        assert [type(exc) for exc in failures.value.exceptions] == [ZeroDivisionError] * 3
        assert sorted(log) == [0, 1, 3, 4, 6, 7]
        check_idle(runtime)

    under_seeds(main, seeds=5)


# --- bad limits


@pytest.mark.parametrize("limit", ["max_concurrency", "mailbox_size"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), ("3", TypeError), (1.5, TypeError)],
)
async def test_a_limit_that_is_none_is_refused_at_registration(
    limit: str, value: object, error: type[Exception]
) -> None:
    runtime = SingleThreadedAgentRuntime()
    options: Any = {limit: value}
    with pytest.raises(error, match=limit):
        await Doer.register(runtime, "doer", Doer, **options)
    await Doer.register(runtime, "doer", Doer)  # nothing of it has stayed


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), ("3", TypeError), (1.5, TypeError)],
)
def test_a_max_pending_that_is_none_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_pending"):
        SingleThreadedAgentRuntime(max_pending=value)


@pytest.mark.parametrize("value", ["drop", None, 1])
def test_an_unknown_overflow_policy_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="overflow"):
        SingleThreadedAgentRuntime(overflow=value)


async def test_an_unknown_overflow_policy_of_a_type_is_refused() -> None:
    runtime = SingleThreadedAgentRuntime()
    unknown: Any = "drop"
    with pytest.raises(ValueError, match="overflow"):
        await Doer.register(runtime, "doer", Doer, overflow=unknown)
    await Doer.register(runtime, "doer", Doer)


# --- all at once


# Whatever comes together: nothing is lost, nothing hangs, no limit is exceeded.
@pytest.mark.parametrize("max_pending", [None, 5])
@pytest.mark.parametrize("mailbox_size", [None, 1])
@pytest.mark.parametrize("max_concurrency", [1, 3])
def test_a_random_crowd_ends_with_its_books_in_order(
    max_concurrency: int, mailbox_size: int | None, max_pending: int | None
) -> None:
    agents = [AgentId("doer", str(number)) for number in range(4)]

    async def main() -> None:
        random = Random(max_concurrency)
        runtime = SingleThreadedAgentRuntime(max_pending=max_pending)

        def make_message(depth: int) -> Act:
            step = random.choice(["return", "raise", "wait", "ask", "tell", "ask both"])
            inner = [make_message(depth - 1) for _ in range(2)] if depth else [nothing] * 2
            others = random.sample(agents, 2)

            async def act(agent: Doer, ctx: MessageContext) -> None:
                if step == "raise":
                    raise ZeroDivisionError
                if step == "wait":
                    await loop.sleep(1)
                if step == "ask":
                    await agent.send_message(inner[0], others[0])
                if step == "tell":
                    await agent.publish_message(inner[0], TopicId("news", others[0].key))
                if step == "ask both":
                    async with loop.open_nursery() as nursery:
                        for message, other in zip(inner, others, strict=True):
                            nursery.start_soon(agent.send_message, message, other)

            return act

        async with runtime:
            await open_doers(
                runtime,
                make_slowly,
                max_concurrency=max_concurrency,
                mailbox_size=mailbox_size,
            )
            runtime.start()

            async def submit() -> None:
                await loop.sleep(random.randrange(5))
                with loop.move_on_after(random.choice([0.5, 3, 1000])):
                    agent = random.choice(agents)
                    try:
                        if random.random() < 0.5:
                            await runtime.send_message(make_message(4), agent)
                        else:
                            topic = TopicId("news", agent.key)
                            await runtime.publish_message(make_message(4), topic)
                    except (ZeroDivisionError, DeadlockError, BaseExceptionGroup):
                        pass

            with loop.fail_after(500):
                async with loop.open_nursery() as nursery:
                    for _ in range(40):
                        nursery.start_soon(submit)
                await drain(runtime)
            check_idle(runtime)

    under_seeds(main, seeds=10)
