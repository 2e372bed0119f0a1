"""Promise 1: a send is a call. Whoever cancels the sender cancels the handler, and waits for it."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from trio_agents import (
    AgentId,
    BaseAgent,
    CancellationToken,
    DefaultInterventionHandler,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from trio_agents.exceptions import UndeliverableException

from . import loop
from .loop import (
    MockClock,
    Sequencer,
    SingleThreadedAgentRuntime,
    open_runtime,
    wait_all_tasks_blocked,
)

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

A = AgentId("actor", "a")
B = AgentId("actor", "b")
NEWS = TopicId("news", "a")


class Actor(BaseAgent):
    """Does what the message says: messages are functions."""

    def __init__(self) -> None:
        super().__init__("an actor")

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)


async def add_actors(runtime: SingleThreadedAgentRuntime, **options: Any) -> None:
    await runtime.register_factory("actor", Actor, **options)
    await runtime.add_subscription(TypeSubscription("news", "actor"))


class Handler:
    """A message whose handler waits until it is cancelled, and then cleans up for a while."""

    def __init__(self, cleanup: float = 0) -> None:
        self.began = 0
        self.ended: list[float] = []
        self.cleanup = cleanup

    async def __call__(self, agent: Actor, ctx: MessageContext) -> str:
        self.began += 1
        try:
            await loop.sleep_forever()
        finally:
            with loop.CancelScope(shield=True):
                await loop.sleep(self.cleanup)
            self.ended.append(loop.current_time())
        raise AssertionError("it slept for ever")


async def answer(agent: Actor, ctx: MessageContext) -> str:
    return "answer"


def check_ledger(runtime: SingleThreadedAgentRuntime, **expected: int) -> None:
    """The equation holds, nothing is left, and the outcomes are as *expected*."""
    counts = runtime.statistics()
    outcomes = {
        name: getattr(counts, name)
        for name in ("handled", "failed", "dropped", "cancelled", "undeliverable")
    }
    assert counts.accepted == sum(outcomes.values()) + counts.pending
    assert {name: count for name, count in outcomes.items() if count} == expected
    assert (counts.pending, counts.running, counts.waiting, counts.mailboxes) == (0, 0, 0, {})


# --- the ways to cancel a sender


# CT-07, RT-02
@pytest.mark.parametrize("how", ["scope", "deadline", "nursery", "token"])
async def test_the_sender_resumes_when_the_handler_has_cleaned_up(
    autojump_clock: MockClock, how: str
) -> None:
    handler = Handler(cleanup=5)
    token = CancellationToken()
    scope = loop.CancelScope(deadline=loop.current_time() + 1 if how == "deadline" else math.inf)
    resumed: list[tuple[float, type[BaseException]]] = []

    async with open_runtime() as runtime:
        await add_actors(runtime)
        with scope:
            async with loop.open_nursery() as nursery:

                @nursery.start_soon
                async def send() -> None:
                    try:
                        await runtime.send_message(
                            handler, A, cancellation_token=token if how == "token" else None
                        )
                    except loop.MessageCancelled:
                        resumed.append((loop.current_time(), loop.MessageCancelled))
                    except loop.Cancelled:
                        resumed.append((loop.current_time(), loop.Cancelled))
                        raise

                await loop.sleep(1)
                if how == "token":
                    token.cancel()
                elif how == "scope":
                    scope.cancel()
                else:
                    nursery.cancel_scope.cancel()
        check_ledger(runtime, cancelled=1)
    assert handler.ended == [6.0]
    assert resumed == [(6.0, loop.MessageCancelled if how == "token" else loop.Cancelled)]


# CT-07
@pytest.mark.parametrize("depth", [1, 3, 50])
@pytest.mark.parametrize("how", ["scope", "token"])
async def test_the_innermost_handler_unwinds_first(
    autojump_clock: MockClock, depth: int, how: str
) -> None:
    unwound: list[int] = []
    token = CancellationToken()

    def level(number: int) -> Act:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            try:
                if number == depth:
                    await loop.sleep_forever()
                await agent.send_message(level(number + 1), AgentId("actor", str(number + 1)))
            finally:
                with loop.CancelScope(shield=True):
                    await loop.sleep(1)
                unwound.append(number)

        return act

    async with open_runtime() as runtime:
        await add_actors(runtime)
        with loop.CancelScope() as scope:
            async with loop.open_nursery() as nursery:

                @nursery.start_soon
                async def cancel() -> None:
                    await wait_all_tasks_blocked()
                    (scope if how == "scope" else token).cancel()

                if how == "scope":
                    await runtime.send_message(level(1), AgentId("actor", "1"))
                else:
                    with pytest.raises(loop.MessageCancelled):
                        await runtime.send_message(
                            level(1), AgentId("actor", "1"), cancellation_token=token
                        )
        assert unwound == list(range(depth, 0, -1))
        assert loop.current_time() == depth
        check_ledger(runtime, cancelled=depth)


# CT-07
async def test_a_cancellation_reaches_the_end_of_a_chain_of_a_thousand_sends() -> None:
    """Each cancelled handler cancels its request in turn: that must not take the stack."""
    unwound: list[int] = []

    def level(number: int) -> Act:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            try:
                if number == 1000:
                    await loop.sleep_forever()
                await agent.send_message(level(number + 1), AgentId("actor", str(number + 1)))
            finally:
                unwound.append(number)

        return act

    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, level(1), AgentId("actor", "1"))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert unwound == list(range(1000, 0, -1))
        check_ledger(runtime, cancelled=1000)


# CT-07
async def test_cancelling_one_request_leaves_the_others_in_flight() -> None:
    handlers = [Handler() for _ in range(5)]
    scopes = [loop.CancelScope() for _ in handlers]
    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:

            async def send(handler: Handler, scope: loop.CancelScope) -> None:
                with scope:
                    await runtime.send_message(handler, A)

            for handler, scope in zip(handlers, scopes, strict=True):
                nursery.start_soon(send, handler, scope)
            await wait_all_tasks_blocked()
            scopes[2].cancel()
            await wait_all_tasks_blocked()
            assert [len(handler.ended) for handler in handlers] == [0, 0, 1, 0, 0]
            assert runtime.statistics().pending == 4
            nursery.cancel_scope.cancel()
        check_ledger(runtime, cancelled=5)


# CT-07
async def test_the_handlers_own_inner_scope_is_not_the_sender_s_business() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> str:
        with loop.CancelScope() as scope:
            scope.cancel()
            await loop.sleep_forever()
        return "went on"

    async with open_runtime() as runtime:
        await add_actors(runtime)
        assert await runtime.send_message(act, A) == "went on"
        check_ledger(runtime, handled=1)


# CT-07
async def test_an_agent_serves_the_next_message_after_a_cancelled_one() -> None:
    async with open_runtime() as runtime:
        await add_actors(runtime, max_concurrency=1)
        for _ in range(3):
            with loop.move_on_after(0):
                await runtime.send_message(Handler(), A)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(runtime.send_message, Handler(), A)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert await runtime.send_message(answer, A) == "answer"


# --- cancelled before the handler has begun


async def start_and_cancel(
    runtime: SingleThreadedAgentRuntime, handler: Handler, token: CancellationToken | None
) -> None:
    """Send, and cancel when all are blocked: the sender must resume without another step."""
    with loop.CancelScope() as scope:
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                try:
                    await runtime.send_message(handler, A, cancellation_token=token)
                except loop.MessageCancelled:
                    assert token is not None

            await wait_all_tasks_blocked()
            before = loop.current_time()
            (scope if token is None else token).cancel()
    assert loop.current_time() == before


TOKENS = pytest.mark.parametrize("with_token", [False, True], ids=["scope", "token"])


# CT-02, RT-08
@TOKENS
async def test_cancelled_before_start_the_message_is_never_handled(
    autojump_clock: MockClock, with_token: bool
) -> None:
    handler = Handler()
    async with SingleThreadedAgentRuntime() as runtime:
        await add_actors(runtime)
        await start_and_cancel(runtime, handler, CancellationToken() if with_token else None)
        check_ledger(runtime, cancelled=1)
        runtime.start()
        await runtime.stop_when_idle()
    assert handler.began == 0


# CT-02
@TOKENS
async def test_cancelled_behind_a_limit_the_message_is_never_handled(
    autojump_clock: MockClock, with_token: bool
) -> None:
    first, handler = Handler(), Handler()
    async with open_runtime() as runtime, loop.open_nursery() as nursery:
        await add_actors(runtime, max_concurrency=1)
        nursery.start_soon(runtime.send_message, first, A)
        await wait_all_tasks_blocked()
        await start_and_cancel(runtime, handler, CancellationToken() if with_token else None)
        assert runtime.statistics().cancelled == 1
        assert runtime.statistics().mailboxes == {}
        assert first.ended == []
        nursery.cancel_scope.cancel()
    assert handler.began == 0
    check_ledger(runtime, cancelled=2)


# CT-02
@TOKENS
async def test_cancelled_at_the_runtime_s_bound_the_message_is_never_accepted(
    autojump_clock: MockClock,
    with_token: bool,
) -> None:
    first, handler = Handler(), Handler()
    token = CancellationToken() if with_token else None
    async with open_runtime(max_pending=1) as runtime, loop.open_nursery() as nursery:
        await add_actors(runtime)
        nursery.start_soon(runtime.send_message, first, A)
        await wait_all_tasks_blocked()
        await start_and_cancel(runtime, handler, token)
        assert runtime.statistics().waiting == 0
        assert first.ended == []
        nursery.cancel_scope.cancel()
    assert handler.began == 0
    assert token is None or not token._links
    check_ledger(runtime, cancelled=1)


# CT-02
@TOKENS
async def test_cancelled_in_interception_the_message_is_never_handled(
    autojump_clock: MockClock, with_token: bool
) -> None:
    handler = Handler()

    class Asks(DefaultInterventionHandler):
        cleaned = 0

        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            try:
                await loop.sleep_forever()
            finally:
                self.cleaned += 1

    asks = Asks()
    async with open_runtime(intervention_handlers=[asks]) as runtime:
        await add_actors(runtime)
        await start_and_cancel(runtime, handler, CancellationToken() if with_token else None)
        check_ledger(runtime, cancelled=1)
    assert (asks.cleaned, handler.began) == (1, 0)


# CT-02
async def test_an_intervention_handler_that_keeps_a_cancellation_to_itself_changes_nothing() -> (
    None
):
    handler = Handler()

    class Stubborn(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            with loop.CancelScope(shield=True):
                await went_on.wait()
            return message

        async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
            with loop.CancelScope(shield=True):
                await went_on.wait()
            return message

    went_on = loop.Event()
    token = CancellationToken()
    async with open_runtime(intervention_handlers=[Stubborn()]) as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, handler, A)
            await runtime.publish_message(handler, NEWS, cancellation_token=token)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            token.cancel()
            went_on.set()
        await runtime.stop_when_idle()
        check_ledger(runtime, cancelled=2)
    assert handler.began == 0


# CT-02, RT-10
@TOKENS
async def test_cancelled_in_the_factory_the_message_is_never_handled(
    autojump_clock: MockClock, with_token: bool
) -> None:
    handler = Handler()
    calls = 0

    async def factory() -> Actor:
        nonlocal calls
        calls += 1
        if calls == 1:
            await loop.sleep_forever()
        return Actor()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        await start_and_cancel(runtime, handler, CancellationToken() if with_token else None)
        check_ledger(runtime, cancelled=1)
        assert runtime.statistics().agents == 0
        assert await runtime.send_message(answer, A) == "answer"
    assert (calls, handler.began) == (2, 0)


# CT-02, RT-10
@pytest.mark.only_on("trio", "asyncio's way of cancelling a handler passes shields of anyio's")
async def test_a_factory_that_finishes_all_the_same_has_made_the_agent_for_the_next() -> None:
    handler = Handler()
    go = loop.Event()
    calls = 0

    async def factory() -> Actor:
        nonlocal calls
        calls += 1
        with loop.CancelScope(shield=True):
            await go.wait()
        return Actor()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory, max_concurrency=1)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, handler, A)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            go.set()
        assert await runtime.send_message(answer, A) == "answer"
    assert (calls, handler.began) == (1, 0)
    check_ledger(runtime, cancelled=1, handled=1)


# CT-02, RT-10
async def test_a_cancelled_factory_call_is_repeated_for_those_who_waited_for_it() -> None:
    calls = 0

    async def factory() -> Actor:
        nonlocal calls
        calls += 1
        if calls == 1:
            await loop.sleep_forever()
        return Actor()

    results: list[str] = []
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        async with loop.open_nursery() as nursery:
            scope = loop.CancelScope()

            @nursery.start_soon
            async def first() -> None:
                with scope:
                    await runtime.send_message(answer, A)

            await wait_all_tasks_blocked()

            @nursery.start_soon
            async def second() -> None:
                results.append(await runtime.send_message(answer, A))

            await wait_all_tasks_blocked()
            scope.cancel()
        check_ledger(runtime, cancelled=1, handled=1)
    assert (results, calls) == (["answer"], 2)


# CT-02, RT-10
@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("limit", [None, 1])
async def test_an_agent_survives_a_cancellation_at_each_step_of_its_turn(
    autojump_clock: MockClock, steps: int, limit: int | None
) -> None:
    """Between being let out of the mailbox and being taken up, a message holds a place."""
    variable = contextvars.ContextVar("variable", default=0)

    async def act(agent: Actor, ctx: MessageContext) -> str:
        variable.set(1)  # its worker ends, so the next message waits for another
        await loop.sleep(1)
        return "acted"

    calls = 0

    async def factory() -> Actor:
        nonlocal calls
        calls += 1
        await loop.sleep(1)
        return Actor()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory, max_concurrency=limit)
        first, second = loop.CancelScope(), loop.CancelScope()

        async def send(scope: loop.CancelScope) -> None:
            with scope:
                await runtime.send_message(act, A)

        async with loop.open_nursery() as nursery:
            nursery.start_soon(send, first)
            await wait_all_tasks_blocked()
            nursery.start_soon(send, second)
            await wait_all_tasks_blocked()
            first.cancel()
            for _ in range(steps):
                await loop.checkpoint()
            second.cancel()
        assert await runtime.send_message(act, A) == "acted"
        check_ledger(runtime, cancelled=2, handled=1)


# CT-02
@pytest.mark.parametrize("steps", range(6))
async def test_a_place_that_was_given_to_a_cancelled_message_is_free_again(
    autojump_clock: MockClock, steps: int
) -> None:
    variable = contextvars.ContextVar("variable", default=0)
    sequencer = Sequencer()
    scope = loop.CancelScope()

    async def act(agent: Actor, ctx: MessageContext) -> None:
        variable.set(1)
        async with sequencer(0):
            pass
        await wait_all_tasks_blocked()

    async with open_runtime() as runtime:
        await add_actors(runtime, max_concurrency=1)
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def first() -> None:
                await runtime.send_message(act, A)
                for _ in range(steps):
                    await loop.checkpoint()
                scope.cancel()

            async with sequencer(1):
                with scope:
                    await runtime.send_message(Handler(), A)
        assert await runtime.send_message(answer, A) == "answer"
        check_ledger(runtime, handled=2, cancelled=1)


# --- what the handler makes of it


# CT-07
@pytest.mark.only_on("trio", "asyncio cancels once: there a cancelled sender cannot go on")
async def test_a_handler_that_survives_its_cancellation_answers() -> None:
    """The sender gets the value; its own cancellation comes at its next checkpoint."""

    async def act(agent: Actor, ctx: MessageContext) -> str:
        try:
            await loop.sleep_forever()
        except loop.Cancelled:
            return "survived"
        raise AssertionError

    async with open_runtime() as runtime:
        await add_actors(runtime)
        results: list[str] = []
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                results.append(await runtime.send_message(act, A))
                results.append("went on")
                await loop.checkpoint()
                results.append("never")

            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert results == ["survived", "went on"]
        check_ledger(runtime, handled=1)


# CT-07, EX-07
async def test_a_handler_whose_cleanup_raises_fails_the_sender() -> None:
    error = ValueError("cleanup")

    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            raise error

    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(ExceptionGroup) as caught:
            async with loop.open_nursery() as nursery:
                nursery.start_soon(runtime.send_message, act, A)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert caught.value.exceptions == (error,)
        check_ledger(runtime, failed=1)


# CT-07, EX-07
async def test_of_a_group_with_a_cancellation_the_errors_reach_the_sender() -> None:
    error = ValueError("beside")

    async def act(agent: Actor, ctx: MessageContext) -> None:
        async with loop.open_nursery() as nursery:
            nursery.start_soon(loop.sleep_forever)

            @nursery.start_soon
            async def fail() -> None:
                try:
                    await loop.sleep_forever()
                finally:
                    raise error

    token = CancellationToken()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(ExceptionGroup) as caught:
                    await runtime.send_message(act, A, cancellation_token=token)
                assert caught.value.exceptions == (error,)

            await wait_all_tasks_blocked()
            token.cancel()
        check_ledger(runtime, failed=1)


# CT-07
async def test_a_value_that_an_intervention_handler_was_to_see_is_lost_with_the_wait(
    autojump_clock: MockClock,
) -> None:
    class Slow(DefaultInterventionHandler):
        async def on_response(
            self, message: Any, *, sender: AgentId, recipient: AgentId | None
        ) -> Any:
            await loop.sleep_forever()

    async with open_runtime(intervention_handlers=[Slow()]) as runtime:
        await add_actors(runtime)
        await start_and_cancel(runtime, answer, CancellationToken())  # type: ignore[arg-type]
        check_ledger(runtime, cancelled=1)


# CT-07, I18
async def test_a_cancelled_worker_leaves_no_cancellation_to_the_next_message() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> str:
        try:
            await loop.sleep_forever()
        except loop.Cancelled:
            return "survived"
        raise AssertionError

    async def wait(agent: Actor, ctx: MessageContext) -> str:
        await loop.checkpoint()
        return "waited"

    async with open_runtime() as runtime:
        await add_actors(runtime)
        for _ in range(3):
            token = CancellationToken()
            async with loop.open_nursery() as nursery:
                nursery.start_soon(
                    lambda t=token: runtime.send_message(act, A, cancellation_token=t)
                )
                await wait_all_tasks_blocked()
                token.cancel()
            assert await runtime.send_message(wait, A) == "waited"


# --- tokens


# CT-01, CT-02, RT-08
async def test_a_token_that_was_cancelled_before_the_send_refuses_it() -> None:
    token = CancellationToken()
    token.cancel()
    handler = Handler()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(loop.MessageCancelled, match="before it was sent"):
            await runtime.send_message(handler, A, cancellation_token=token)
        with pytest.raises(loop.MessageCancelled, match="before it was sent"):
            await runtime.publish_message(handler, NEWS, cancellation_token=token)
        check_ledger(runtime, cancelled=2)
    assert handler.began == 0


# CT-02
async def test_a_token_may_be_cancelled_from_another_thread() -> None:
    token = CancellationToken()
    handler = Handler()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(loop.MessageCancelled):
                    await runtime.send_message(handler, A, cancellation_token=token)

            await wait_all_tasks_blocked()
            await loop.run_sync_in_thread(token.cancel)
        check_ledger(runtime, cancelled=1)
    assert len(handler.ended) == 1


# CT-02
async def test_a_cancel_from_another_thread_that_comes_too_late_hits_nothing() -> None:
    token = CancellationToken()
    go = loop.Event()

    async def act(agent: Actor, ctx: MessageContext) -> str:
        await go.wait()
        return "in time"

    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                answer = await runtime.send_message(act, A, cancellation_token=token)
                assert answer == "in time"

            await wait_all_tasks_blocked()
            go.set()
            cancel_callbacks = list((token._links or {}).values())
        for callback, _ in cancel_callbacks:  # as a loop's queue may still hold it
            callback()
        token.cancel()
        check_ledger(runtime, handled=1)


# CT-02, RT-08, RT-11
async def test_a_publication_cancelled_before_its_turn_is_handled_by_nobody() -> None:
    token = CancellationToken()
    handler = Handler()
    async with SingleThreadedAgentRuntime() as runtime:
        await add_actors(runtime)
        await runtime.publish_message(handler, NEWS, cancellation_token=token)
        token.cancel()
        check_ledger(runtime, cancelled=1)
        runtime.start()
        await runtime.stop_when_idle()
    assert handler.began == 0


# CT-02, RT-08
async def test_a_token_cancels_all_handlers_of_a_publication_and_the_publisher_goes_on() -> None:
    token = CancellationToken()
    handler = Handler()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        await runtime.register_factory("other", Actor)
        await runtime.add_subscription(TypeSubscription("news", "other"))
        await runtime.publish_message(handler, NEWS, cancellation_token=token)
        await wait_all_tasks_blocked()
        assert handler.began == 2
        token.cancel()
        await runtime.stop_when_idle()
        check_ledger(runtime, cancelled=2)
    assert len(handler.ended) == 2
    assert not token._links


# CT-02, RT-08
async def test_a_token_stops_the_recipients_of_a_publication_that_have_not_begun() -> None:
    token = CancellationToken()
    began: list[AgentId] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        began.append(agent.id)
        token.cancel()

    async with open_runtime() as runtime:
        await add_actors(runtime)
        await runtime.register_factory("other", Actor)
        await runtime.add_subscription(TypeSubscription("news", "other"))
        await runtime.publish_message(act, NEWS, cancellation_token=token)
        await runtime.stop_when_idle()
        assert began == [A]
        check_ledger(runtime, handled=1, cancelled=1)


# CT-02
@pytest.mark.parametrize("bounds", [{}, {"max_pending": 7}], ids=["unbounded", "bounded"])
async def test_one_token_for_ten_thousand_messages_keeps_nothing(bounds: dict[str, Any]) -> None:
    token = CancellationToken()
    most = 0

    async def act(agent: Actor, ctx: MessageContext) -> None:
        nonlocal most
        assert ctx.cancellation_token is token
        most = max(most, len(token._links or ()))

    async with open_runtime(**bounds) as runtime:
        await add_actors(runtime)
        for _ in range(5000):
            await runtime.send_message(act, A, cancellation_token=token)
            await runtime.publish_message(act, NEWS, cancellation_token=token)
        await runtime.stop_when_idle()
        check_ledger(runtime, handled=10_000)
    assert not token._links
    assert most <= 8


# CT-02
async def test_messages_that_wait_at_the_bound_leave_no_links_in_their_token() -> None:
    token = CancellationToken()
    async with open_runtime(max_pending=2) as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(
                    lambda: runtime.send_message(answer, A, cancellation_token=token)
                )
                nursery.start_soon(
                    lambda: runtime.publish_message(answer, NEWS, cancellation_token=token)
                )
        await runtime.stop_when_idle()
        check_ledger(runtime, handled=20)
    assert not token._links


# CT-02, CT-04
async def test_a_token_cancelled_inside_its_own_callback_cancels_once(
    autojump_clock: MockClock,
) -> None:
    token = CancellationToken()
    called: list[str] = []
    token.add_callback(lambda: (token.cancel(), called.append("first"))[1])
    handler = Handler()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        await start_and_cancel(runtime, handler, token)
        token.add_callback(lambda: called.append("late"))
        check_ledger(runtime, cancelled=1)
    assert called == ["first", "late"]
    assert len(handler.ended) == 1


# CT-02, CT-04
async def test_a_callback_that_raises_spares_no_handler() -> None:
    token = CancellationToken()

    def fail() -> None:
        raise ValueError("callback")

    token.add_callback(fail)
    handler = Handler()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(loop.MessageCancelled):
                    await runtime.send_message(handler, A, cancellation_token=token)

            await wait_all_tasks_blocked()
            with pytest.raises(ValueError, match="callback"):
                token.cancel()
        check_ledger(runtime, cancelled=1)
    assert len(handler.ended) == 1


# CT-03, CT-07
async def test_the_message_s_own_token_is_cancelled_with_its_message() -> None:
    tokens: list[CancellationToken] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        tokens.append(ctx.cancellation_token)
        assert not ctx.cancellation_token.is_cancelled()
        try:
            await loop.sleep_forever()
        finally:
            assert ctx.cancellation_token.is_cancelled()

    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, act, A)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        check_ledger(runtime, cancelled=1)
    assert tokens[0].is_cancelled()


# CT-03
async def test_a_token_first_read_after_the_cancellation_says_cancelled() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            assert ctx.cancellation_token.is_cancelled()

    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, act, A)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        check_ledger(runtime, cancelled=1)


# CT-03
async def test_a_sender_s_own_token_is_not_cancelled_with_one_of_its_messages() -> None:
    """It may accompany any number of messages, and belongs to who made it."""
    token = CancellationToken()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        with loop.move_on_after(0):
            await runtime.send_message(Handler(), A, cancellation_token=token)
    assert not token.is_cancelled()


# CT-05
async def test_link_future_takes_a_cancel_scope_of_the_handler() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> str:
        with ctx.cancellation_token.link_future(loop.CancelScope()) as scope:
            await loop.sleep_forever()
        assert scope.cancelled_caught
        return "answered all the same"

    # The token is not the message's own link here: somebody else's work, which may be survived.
    async def ask(agent: Actor, ctx: MessageContext) -> str:
        inner = CancellationToken()
        context = MessageContext(None, None, True, inner)
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel() -> None:
                await wait_all_tasks_blocked()
                inner.cancel()

            return await act(agent, context)
        raise AssertionError

    async with open_runtime() as runtime:
        await add_actors(runtime)
        assert await runtime.send_message(ask, A) == "answered all the same"


# CT-05, CT-07
async def test_a_linked_scope_and_the_handler_are_cancelled_by_one_token() -> None:
    caught: list[bool] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        with ctx.cancellation_token.link_future(loop.CancelScope()) as scope:
            await loop.sleep_forever()
        caught.append(scope.cancelled_caught)

    token = CancellationToken()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(loop.MessageCancelled):
                    await runtime.send_message(act, A, cancellation_token=token)

            await wait_all_tasks_blocked()
            token.cancel()
        check_ledger(runtime, cancelled=1)
    assert caught == []  # the whole handler is cancelled, which is the outer of the two


# CT-04
@pytest.mark.parametrize("error", [ValueError("callback"), SystemExit("callback")])
async def test_a_callback_of_a_message_s_token_that_raises_is_reported(
    error: BaseException,
) -> None:
    """It runs where the sender is cancelled, and the event loop could make nothing of it."""

    async def act(agent: Actor, ctx: MessageContext) -> None:
        def fail() -> None:
            raise error

        ctx.cancellation_token.add_callback(fail)
        await loop.sleep_forever()

    ends = isinstance(error, SystemExit)
    with pytest.raises(SystemExit) if ends else loop.raises_failures() as caught:
        async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
            await add_actors(runtime)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(runtime.send_message, act, A)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
    leaf = caught.value if ends else caught.value.exceptions[0]
    assert leaf is error
    assert "token of a message to actor/a" in error.__notes__[0]
    check_ledger(runtime, cancelled=1)


# --- many


# CT-02
@pytest.mark.parametrize("how", ["scope", "token"])
@pytest.mark.parametrize("limit", [None, 1], ids=["running", "queued"])
async def test_ten_thousand_in_flight_settle_after_one_cancellation(
    how: str, limit: int | None
) -> None:
    token = CancellationToken()
    handler = Handler()
    freed = 0
    async with open_runtime() as runtime:
        await add_actors(runtime, max_concurrency=limit)
        async with loop.open_nursery() as nursery:

            async def send() -> None:
                nonlocal freed
                try:
                    await runtime.send_message(
                        handler, A, cancellation_token=token if how == "token" else None
                    )
                except (loop.Cancelled, loop.MessageCancelled) as exc:
                    freed += 1
                    if isinstance(exc, loop.Cancelled):
                        raise

            for _ in range(10_000):
                nursery.start_soon(send)
            await wait_all_tasks_blocked()
            assert runtime.statistics().pending == 10_000
            assert handler.began == (10_000 if limit is None else 1)
            (nursery.cancel_scope if how == "scope" else token).cancel()
        assert freed == 10_000
        assert len(handler.ended) == handler.began
        assert not token._links
        check_ledger(runtime, cancelled=10_000)


# --- what hypothesis has found


# RT-11, ST-02
@pytest.mark.parametrize("waits_already", [True, False])
async def test_a_stop_does_not_wait_for_a_handler_that_waits_for_room(waits_already: bool) -> None:
    """Nothing makes room while messages do not flow."""
    go = loop.Event()

    async def publish(agent: Actor, ctx: MessageContext) -> str:
        await go.wait()
        for _ in range(3):
            await agent.publish_message(answer, NEWS)
        return "published"

    async with SingleThreadedAgentRuntime() as runtime, loop.open_nursery() as nursery:
        await runtime.register_factory("actor", Actor)
        await runtime.register_factory("full", Actor, max_concurrency=1, mailbox_size=1)
        await runtime.add_subscription(TypeSubscription("news", "full"))
        runtime.start()
        scope = loop.CancelScope()

        @nursery.start_soon
        async def occupy() -> None:
            with scope:
                await runtime.send_message(Handler(), AgentId("full", "a"))

        results: list[str] = []

        @nursery.start_soon
        async def send() -> None:
            results.append(await runtime.send_message(publish, B))

        await wait_all_tasks_blocked()
        if waits_already:
            go.set()
            await wait_all_tasks_blocked()
        nursery.start_soon(runtime.stop)
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert results == ["published"]
        scope.cancel()
        await wait_all_tasks_blocked()
        assert not runtime.is_started()
        runtime.start()
        await runtime.stop_when_idle()
        assert runtime.statistics().pending == 0


# --- any scenario


times = st.integers(0, 4)
agents = st.sampled_from(["free/a", "free/b", "serial/a", "serial/b", "bounded/a"])
leaf_steps = st.one_of(
    st.tuples(st.just("sleep"), times),
    st.tuples(st.just("shielded"), times),
    st.tuples(st.just("raise")),
    st.tuples(st.just("survive"), times),
    st.tuples(st.just("dirty")),
)
plans = st.recursive(
    st.lists(leaf_steps, max_size=3),
    lambda inner: st.lists(
        st.one_of(
            leaf_steps,
            st.tuples(st.just("send"), agents, inner),
            st.tuples(st.just("publish"), inner),
            st.tuples(st.just("timeout"), times, agents, inner),
        ),
        max_size=3,
    ),
    max_leaves=12,
)
senders = st.lists(
    st.tuples(times, agents, plans, st.none() | times, st.booleans()), min_size=1, max_size=6
)


class EquationHolds:
    """Looks at the ledger after every step of every task."""

    def __init__(self) -> None:
        self.runtime: SingleThreadedAgentRuntime | None = None
        self.broken: list[str] = []

    def look(self) -> None:
        if self.runtime is not None:
            ledger = self.runtime._ledger
            outcomes = (
                ledger.handled + ledger.failed + ledger.dropped + ledger.cancelled
            ) + ledger.undeliverable
            if ledger.accepted != outcomes + ledger.pending or ledger.pending < ledger.running:
                self.broken.append(repr(self.runtime.statistics()))


class Scenario:
    """Runs the plans of several senders, each of which may be cancelled at some time."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0
        self.variable = contextvars.ContextVar[object]("variable", default=None)
        self.instrument = EquationHolds()

    async def handle(self, agent: BaseAgent, plan: list[tuple[Any, ...]]) -> None:
        self.began += 1
        try:
            for step in plan:
                await self.take(agent, *step)
        finally:
            self.ended += 1

    async def take(self, agent: BaseAgent, kind: str, *args: Any) -> None:
        if kind == "sleep":
            await loop.sleep(args[0])
        elif kind == "shielded":
            with loop.CancelScope(shield=True):
                await loop.sleep(args[0])
        elif kind == "raise":
            raise ValueError
        elif kind == "survive":
            with contextlib.suppress(loop.Cancelled):
                await loop.sleep(args[0])
        elif kind == "dirty":
            assert self.variable.get() is None
            self.variable.set(object())
        elif kind == "send":
            await agent.send_message(args[1], AgentId.from_str(args[0]))
        elif kind == "timeout":
            with loop.move_on_after(args[0]):
                await agent.send_message(args[2], AgentId.from_str(args[1]))
        else:
            await agent.publish_message(args[0], TopicId("news", "a"))

    async def send(
        self,
        runtime: SingleThreadedAgentRuntime,
        at: int,
        to: str,
        plan: list[tuple[Any, ...]],
        cancelled_after: int | None,
        with_token: bool,
    ) -> None:
        await loop.sleep(at)
        token = CancellationToken()
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel() -> None:
                await loop.sleep(math.inf if cancelled_after is None else cancelled_after)
                (token if with_token else nursery.cancel_scope).cancel()

            with contextlib.suppress(Exception, loop.MessageCancelled):
                await runtime.send_message(plan, AgentId.from_str(to), cancellation_token=token)
            nursery.cancel_scope.cancel()
        assert not token._links

    async def disturb(
        self, runtime: SingleThreadedAgentRuntime, at: int, what: str, deadline: int | None
    ) -> None:
        """Stop and start the runtime, or let one agent go, in the middle of it."""
        await loop.sleep(at)
        if what == "stop":
            if runtime.is_started():
                then = math.inf if deadline is None else loop.current_time() + deadline
                await runtime.stop(deadline=then)
                await loop.sleep(1)
                runtime.start()
        else:
            with contextlib.suppress(UndeliverableException):
                await runtime.deactivate(AgentId.from_str(what))

    async def run(
        self,
        senders: list[Any],
        max_pending: int | None,
        intervene: bool,
        disturbances: list[Any],
        cancelled_after: int | None,
    ) -> None:
        scenario = self

        class Planner(BaseAgent):
            async def on_message_impl(self, message: Any, ctx: MessageContext) -> None:
                await scenario.handle(self, message)

        class Looks(DefaultInterventionHandler):
            async def on_send(
                self, message: Any, *, message_context: MessageContext, recipient: AgentId
            ) -> Any:
                await loop.sleep(len(message))
                return message

            async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
                await loop.sleep(len(message))
                return message

        async def factory() -> Planner:
            await loop.sleep(1)
            return Planner("carries plans out")

        loop.call_after_each_step(self.instrument.look)
        tasks = loop.count_tasks()
        runtime = SingleThreadedAgentRuntime(
            max_pending=max_pending, intervention_handlers=[Looks()] if intervene else []
        )
        self.instrument.runtime = runtime
        with loop.move_on_after(math.inf if cancelled_after is None else cancelled_after):
            async with runtime:
                await runtime.register_factory("free", factory)
                await runtime.register_factory("serial", factory, max_concurrency=1)
                await runtime.register_factory(
                    "bounded", factory, max_concurrency=1, mailbox_size=1, idle_timeout=3
                )
                for type in ("free", "serial", "bounded"):
                    await runtime.add_subscription(TypeSubscription("news", type))
                runtime.start()
                async with loop.open_nursery() as nursery:
                    for spec in senders:
                        nursery.start_soon(self.send, runtime, *spec)
                    for spec in disturbances:
                        nursery.start_soon(self.disturb, runtime, *spec)
                await runtime.stop_when_idle()
        assert cancelled_after is not None or not runtime.is_started()
        statistics = runtime.statistics()
        assert (statistics.pending, statistics.running, statistics.waiting) == (0, 0, 0)
        assert statistics.mailboxes == {}
        assert self.began == self.ended
        assert loop.count_tasks() == tasks
        assert self.instrument.broken == []


# CT-02, CT-07, RT-02, RT-11
@settings(max_examples=150)
@given(
    senders=senders,
    max_pending=st.none() | st.integers(1, 3),
    intervene=st.booleans(),
    disturbances=st.lists(
        st.tuples(times, st.just("stop") | agents, st.none() | times), max_size=1
    ),
    cancelled_after=st.none() | st.integers(0, 20),
)
def test_whatever_is_cancelled_every_message_has_one_outcome(
    senders: list[Any],
    max_pending: int | None,
    intervene: bool,
    disturbances: list[Any],
    cancelled_after: int | None,
) -> None:
    async def main() -> None:
        # What waits for ever would wait on a clock that jumps: that is a failure, not a hang.
        with loop.fail_after(10_000):
            await Scenario().run(senders, max_pending, intervene, disturbances, cancelled_after)

    loop.run(main, clock=MockClock(autojump_threshold=0))
