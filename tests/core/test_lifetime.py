"""The block, and start, stop and process_next inside it: when messages are handled and when not."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import Any

import anyio
import pytest
import trio

from trio_agents import (
    AgentId,
    BaseAgent,
    CancellationToken,
    DefaultInterventionHandler,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    message_handler,
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
        self.closed = 0

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)

    async def close(self) -> None:
        self.closed += 1


async def new_runtime(**options: Any) -> SingleThreadedAgentRuntime:
    """Give a runtime with actors, who hear the news; its block has not been entered."""
    runtime = SingleThreadedAgentRuntime(**options)
    await Actor.register(runtime, "actor", Actor)
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    return runtime


class Handler:
    """A message whose handler notes how far it comes, and waits for `go` in between."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0
        self.cancelled = 0
        self.go = loop.Event()

    async def __call__(self, agent: Actor, ctx: MessageContext) -> str:
        self.began += 1
        try:
            await self.go.wait()
        except loop.Cancelled:
            self.cancelled += 1
            raise
        self.ended += 1
        return "done"


class Outcome:
    """Sends a message from a task of its own, and keeps what comes of it."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.scope = loop.CancelScope()

    async def send(
        self, runtime: SingleThreadedAgentRuntime, message: Any, recipient: AgentId = A
    ) -> None:
        with self.scope:
            try:
                self.value = await runtime.send_message(message, recipient)
            except (Exception, loop.MessageCancelled) as exc:
                self.error = exc


async def tell(agent: Actor, ctx: MessageContext) -> str:
    return f"I am {agent.id}"


def check_ledger(runtime: SingleThreadedAgentRuntime) -> None:
    counts = runtime.statistics()
    outcomes = (
        counts.handled + counts.failed + counts.dropped + counts.cancelled + counts.undeliverable
    )
    assert counts.accepted == outcomes + counts.pending
    assert counts.pending == 0
    assert counts.running == 0
    assert counts.mailboxes == {}


# --- the block


# ST-12, GAP-15
@pytest.mark.only_on("trio", "on asyncio start() needs no block")
async def test_start_outside_of_the_block_says_what_to_do() -> None:
    runtime = await new_runtime()
    with pytest.raises(RuntimeError, match="async with SingleThreadedAgentRuntime"):
        runtime.start()


# ST-12, GAP-15
@pytest.mark.only_on("trio", "on asyncio start() needs no block")
async def test_start_after_the_block_is_refused() -> None:
    runtime = await new_runtime()
    async with runtime:
        runtime.start()
    with pytest.raises(RuntimeError, match="needs the runtime's block"):
        runtime.start()


# ST-12, GAP-15
async def test_a_second_start_is_refused_and_changes_nothing() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        with pytest.raises(RuntimeError, match="started already"):
            runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"


async def test_the_block_cannot_be_entered_twice_at_once() -> None:
    async with await new_runtime() as runtime:
        with pytest.raises(RuntimeError, match="entered already"):
            async with runtime:
                pass
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"


async def test_the_block_cannot_be_entered_while_it_is_being_left() -> None:
    runtime = await new_runtime()
    handler = Handler()
    leaving, left = loop.Event(), loop.Event()
    async with loop.open_nursery() as nursery:

        async def block() -> None:
            async with runtime:
                runtime.start()
                nursery.start_soon(runtime.send_message, handler, A)
                await wait_all_tasks_blocked()
                leaving.set()
            left.set()

        nursery.start_soon(block)
        await leaving.wait()
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="entered already"):
            async with runtime:
                pass
        handler.go.set()
        await left.wait()
    async with runtime:
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"


# ST-13
async def test_the_block_can_be_entered_again_with_the_same_agents() -> None:
    runtime = await new_runtime()
    agents = []
    for _ in range(3):
        async with runtime:
            runtime.start()
            assert await runtime.send_message(tell, A) == "I am actor/a"
            agents.append(await runtime.try_get_underlying_agent_instance(A, Actor))
    assert agents[0] is agents[1] is agents[2]
    assert agents[0].closed == 3


def test_one_runtime_serves_several_event_loops_one_after_the_other() -> None:
    runtime = SingleThreadedAgentRuntime()  # needs none to be made

    async def register() -> None:
        await Actor.register(runtime, "actor", Actor)

    async def use() -> str:
        async with runtime:
            runtime.start()
            answer: str = await runtime.send_message(tell, A)
            await runtime.stop()
            return answer

    loop.run(register)
    assert [loop.run(use), loop.run(use)] == ["I am actor/a"] * 2


# CONF-17
async def test_leaving_the_block_lets_running_handlers_finish() -> None:
    handler, outcome = Handler(), Outcome()
    async with loop.open_nursery() as nursery:
        async with await new_runtime() as runtime:
            runtime.start()
            nursery.start_soon(outcome.send, runtime, handler)
            await wait_all_tasks_blocked()
            nursery.start_soon(release_when_blocked, handler)
        assert (handler.ended, handler.cancelled) == (1, 0)
    assert outcome.value == "done"
    check_ledger(runtime)


async def release_when_blocked(handler: Handler) -> None:
    await wait_all_tasks_blocked()
    handler.go.set()


# GAP-13
async def test_leaving_the_block_fails_what_is_queued() -> None:
    outcome = Outcome()
    async with loop.open_nursery() as nursery:
        async with await new_runtime() as runtime:
            nursery.start_soon(outcome.send, runtime, tell)
            await runtime.publish_message(tell, NEWS)
            await wait_all_tasks_blocked()
    assert isinstance(outcome.error, UndeliverableException)
    assert "block was left" in str(outcome.error)
    assert [letter.topic for letter in runtime.statistics().dead_letters] == [None, NEWS] or [
        letter.topic for letter in runtime.statistics().dead_letters
    ] == [NEWS, None]
    check_ledger(runtime)


# ST-14
async def test_leaving_the_block_closes_every_agent() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        agents = [await runtime.try_get_underlying_agent_instance(id, Actor) for id in (A, B)]
        assert [agent.closed for agent in agents] == [0, 0]
    assert [agent.closed for agent in agents] == [1, 1]


@pytest.mark.parametrize(
    "error", [ValueError("v"), KeyboardInterrupt(), StopIteration(1), StopAsyncIteration()]
)
async def test_an_exception_leaves_the_block_as_itself(error: BaseException) -> None:
    runtime = await new_runtime()
    with pytest.raises(type(error)) as caught:
        async with runtime:
            runtime.start()
            await runtime.send_message(tell, A)
            raise error
    assert caught.value is error


async def test_a_group_leaves_the_block_as_itself() -> None:
    group = ExceptionGroup("of the application", [ValueError()])
    runtime = await new_runtime()
    with pytest.raises(ExceptionGroup) as caught:
        async with runtime:
            raise group
    assert caught.value is group


async def test_an_exception_cancels_what_runs_and_fails_what_is_queued() -> None:
    running, before, after = Handler(), Outcome(), Outcome()
    runtime = await new_runtime()
    async with loop.open_nursery() as nursery:
        with pytest.raises(ValueError, match=r"^v$"):
            async with runtime:
                runtime.start()
                nursery.start_soon(before.send, runtime, running)
                await wait_all_tasks_blocked()
                await runtime.publish_message(tell, NEWS)
                nursery.start_soon(after.send, runtime, tell)
                raise ValueError("v")
        assert running.cancelled == 1
        await wait_all_tasks_blocked()
        after.scope.cancel()  # it was sent after the block, and waits for the next
    assert isinstance(before.error, loop.MessageCancelled)
    assert isinstance(runtime.statistics().dead_letters[0].reason, str)
    check_ledger(runtime)


# GAP-13
async def test_no_handler_begins_after_an_exception_has_left_the_block() -> None:
    begun: list[int] = []

    def message(number: int) -> Act:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            begun.append(number)

        return act

    runtime = await new_runtime()
    with pytest.raises(ValueError, match=r"^v$"):
        async with runtime:
            runtime.start()
            await runtime.send_message(tell, A)
            for number in range(100):
                await runtime.publish_message(message(number), NEWS)
            raise ValueError("v")
    assert begun == []
    assert runtime.statistics().undeliverable == 100
    check_ledger(runtime)


async def test_an_exception_closes_every_agent_after_its_handlers_have_ended() -> None:
    order: list[str] = []

    class Careful(Actor):
        async def close(self) -> None:
            order.append("closed")

    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            with loop.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            order.append("unwound")

    runtime = SingleThreadedAgentRuntime()
    await Careful.register(runtime, "actor", Careful)
    async with loop.open_nursery() as nursery:
        with pytest.raises(ValueError, match=r"^v$"):
            async with runtime:
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, act)
                await wait_all_tasks_blocked()
                raise ValueError("v")
    assert order == ["unwound", "closed"]


async def test_a_cancellation_from_outside_cancels_what_runs_and_closes_every_agent() -> None:
    handler = Handler()
    runtime = await new_runtime()
    with loop.CancelScope() as scope:
        async with runtime:
            runtime.start()
            first = await runtime.try_get_underlying_agent_instance(B, Actor)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(runtime.send_message, handler, A)
                await wait_all_tasks_blocked()
                scope.cancel()
    assert scope.cancelled_caught
    assert handler.cancelled == 1
    last = await runtime.try_get_underlying_agent_instance(A, Actor)
    assert (first.closed, last.closed) == (1, 1)
    check_ledger(runtime)


async def test_a_cancellation_asks_every_agent_to_close_even_those_that_wait_in_it() -> None:
    asked: list[str] = []

    class Slow(Actor):
        async def close(self) -> None:
            asked.append(self.id.key)
            await loop.sleep(1)

    runtime = SingleThreadedAgentRuntime()
    await Slow.register(runtime, "actor", Slow)
    with loop.CancelScope() as scope:
        async with runtime:
            for key in "abc":
                await runtime.get("actor", key, lazy=False)
            scope.cancel()
            await loop.sleep_forever()
    assert scope.cancelled_caught
    assert asked == ["a", "b", "c"]


async def test_cancelled_while_the_block_drains_it_cancels_what_runs() -> None:
    handler = Handler()
    runtime = await new_runtime()
    async with loop.open_nursery() as nursery:
        with loop.CancelScope() as scope:
            async with runtime:
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, handler)
                await wait_all_tasks_blocked()
                nursery.start_soon(cancel_when_blocked, scope)
        assert scope.cancelled_caught
        assert handler.cancelled == 1
    check_ledger(runtime)


async def cancel_when_blocked(scope: loop.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


# CX-11
async def test_an_exception_cancels_the_tokens_of_what_runs(autojump_clock: MockClock) -> None:
    """Work in a thread knows tokens only: without this the block would never end."""
    told: list[bool] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        ctx.cancellation_token.add_callback(lambda: told.append(True))
        await loop.sleep_forever()

    runtime = await new_runtime()
    async with loop.open_nursery() as nursery:
        with pytest.raises(ValueError, match=r"^v$"):
            async with runtime:
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, act)
                await wait_all_tasks_blocked()
                raise ValueError("v")
    assert told == [True]


async def test_what_cleanup_sends_while_the_block_unwinds_is_refused() -> None:
    outcome = Outcome()

    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            with loop.CancelScope(shield=True):
                await outcome.send(runtime, tell, B)

    runtime = await new_runtime()
    async with loop.open_nursery() as nursery:
        with pytest.raises(ValueError, match=r"^v$"):
            async with runtime:
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, act)
                await wait_all_tasks_blocked()
                raise ValueError("v")
    assert isinstance(outcome.error, UndeliverableException)
    check_ledger(runtime)


# ST-14
async def test_what_an_agent_sends_while_it_is_closed_is_refused() -> None:
    outcome = Outcome()

    class Chatty(Actor):
        async def close(self) -> None:
            await outcome.send(runtime, tell, B)

    runtime = SingleThreadedAgentRuntime()
    await Chatty.register(runtime, "chatty", Chatty)
    await Actor.register(runtime, "actor", Actor)
    async with runtime:
        runtime.start()
        await runtime.send_message(tell, AgentId("chatty", "a"))
    assert isinstance(outcome.error, UndeliverableException)
    check_ledger(runtime)


# ST-14
async def test_what_an_agent_sends_while_close_closes_it_is_refused() -> None:
    outcomes: list[Outcome] = []

    class Chatty(Actor):
        async def close(self) -> None:
            outcomes.append(Outcome())
            await outcomes[-1].send(runtime, tell, B)

    async with SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Chatty)
        runtime.start()
        await runtime.send_message(tell, A)
        await runtime.close()
        late = await runtime.get("actor", "late", lazy=False)
        await runtime.deactivate(late)
        assert len(outcomes) == 2
        assert all(isinstance(outcome.error, UndeliverableException) for outcome in outcomes)


async def test_start_is_refused_while_the_block_unwinds() -> None:
    refused: list[RuntimeError] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            try:
                runtime.start()
            except RuntimeError as exc:
                refused.append(exc)

    runtime = await new_runtime()
    async with loop.open_nursery() as nursery:
        with pytest.raises(ValueError, match=r"^v$"):
            async with runtime:
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, act)
                await wait_all_tasks_blocked()
                raise ValueError("v")
    assert len(refused) == 1
    async with runtime:
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"


# ST-14
async def test_one_failing_close_spares_no_other_and_leaves_the_block_in_a_group() -> None:
    class Broken(Actor):
        async def close(self) -> None:
            await super().close()
            raise ValueError(f"cannot close {self.id.key}")

    runtime = SingleThreadedAgentRuntime()
    await Broken.register(runtime, "actor", Broken)
    with pytest.raises(ExceptionGroup) as caught:
        async with runtime:
            agents = [await runtime.try_get_underlying_agent_instance(i, Broken) for i in (A, B)]
    assert [str(error) for error in caught.value.exceptions] == ["cannot close a", "cannot close b"]
    assert [agent.closed for agent in agents] == [1, 1]
    assert "actor/a" in caught.value.exceptions[0].__notes__[0]


async def test_a_close_that_raises_what_is_no_exception_spares_no_other() -> None:
    class Exiting(Actor):
        async def close(self) -> None:
            await super().close()
            raise SystemExit(3)

    runtime = SingleThreadedAgentRuntime()
    await Exiting.register(runtime, "actor", Exiting)
    with pytest.raises(SystemExit):
        async with runtime:
            agents = [await runtime.try_get_underlying_agent_instance(i, Exiting) for i in (A, B)]
    assert [agent.closed for agent in agents] == [1, 1]


async def test_the_body_s_exception_wins_over_a_failing_close_which_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Actor):
        async def close(self) -> None:
            raise ValueError("cannot close")

    runtime = SingleThreadedAgentRuntime()
    await Broken.register(runtime, "actor", Broken)
    with pytest.raises(KeyError):
        async with runtime:
            await runtime.get(A, lazy=False)
            raise KeyError("of the body")
    assert any("close() of agent actor/a" in record.exc_text for record in caplog.records)  # type: ignore[operator]


# ST-06, CONF-16
async def test_kept_failures_and_failing_closes_leave_the_block_together() -> None:
    class Broken(Actor):
        async def close(self) -> None:
            raise ValueError("cannot close")

    async def act(agent: Actor, ctx: MessageContext) -> None:
        raise KeyError("unhandled")

    runtime = SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False)
    await Broken.register(runtime, "actor", Broken)
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    with pytest.raises(ExceptionGroup) as caught:
        async with runtime:
            runtime.start()
            await runtime.publish_message(act, NEWS)
            await wait_all_tasks_blocked()
    assert caught.value.subgroup(KeyError) is not None
    assert caught.value.subgroup(ValueError) is not None


# CONF-16
async def test_ctrl_c_in_a_publication_s_handler_leaves_the_block_bare() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        raise KeyboardInterrupt

    other = Handler()
    runtime = await new_runtime()
    async with loop.open_nursery() as nursery:
        with pytest.raises(KeyboardInterrupt):
            async with runtime:
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, other, B)
                await wait_all_tasks_blocked()
                await runtime.publish_message(act, NEWS)
                await loop.sleep_forever()
    assert other.cancelled == 1
    check_ledger(runtime)


async def test_nothing_begins_after_a_handler_has_ended_the_block() -> None:
    begun: list[int] = []

    async def interrupt(agent: Actor, ctx: MessageContext) -> None:
        raise SystemExit(3)

    async def act(agent: Actor, ctx: MessageContext) -> None:
        begun.append(1)

    runtime = await new_runtime()
    with pytest.raises(SystemExit):
        async with runtime:
            runtime.start()
            await runtime.publish_message(interrupt, NEWS)
            for _ in range(10):
                await runtime.publish_message(act, NEWS)
            await loop.sleep_forever()
    assert begun == []
    check_ledger(runtime)


# --- start


# ST-23, GAP-14
async def test_what_was_submitted_before_start_is_handled_in_order_after_it() -> None:
    order: list[int] = []

    def message(number: int) -> Act:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            order.append(number)

        return act

    runtime = await new_runtime()
    async with loop.open_nursery() as nursery:
        for number in range(0, 20, 2):
            await runtime.publish_message(message(number), NEWS)
            nursery.start_soon(runtime.send_message, message(number + 1), A)
            await wait_all_tasks_blocked()
        async with runtime:
            await wait_all_tasks_blocked()
            assert order == []
            runtime.start()
            await wait_all_tasks_blocked()
    assert order == list(range(20))


# GAP-14
async def test_a_send_before_start_waits_for_it_and_can_be_cancelled() -> None:
    kept, given_up = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        nursery.start_soon(kept.send, runtime, tell)
        nursery.start_soon(given_up.send, runtime, tell)
        await wait_all_tasks_blocked()
        assert runtime.unprocessed_messages_count == 2
        given_up.scope.cancel()
        await wait_all_tasks_blocked()
        assert runtime.unprocessed_messages_count == 1
        runtime.start()
        await runtime.stop_when_idle()
    assert kept.value == "I am actor/a"
    assert given_up.scope.cancelled_caught
    assert runtime.statistics().handled == 1
    check_ledger(runtime)


async def test_start_returns_before_anything_is_handled() -> None:
    handler = Handler()
    async with await new_runtime() as runtime:
        await runtime.publish_message(handler, NEWS)
        runtime.start()
        assert handler.began == 0
        handler.go.set()
        await runtime.stop_when_idle()
    assert handler.ended == 1


# ST-13, RT-19
async def test_start_after_stop_goes_on_with_the_same_agents_and_subscriptions() -> None:
    seen: list[Actor] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        seen.append(agent)

    async with await new_runtime() as runtime:
        for _ in range(3):
            runtime.start()
            await runtime.publish_message(act, NEWS)
            await runtime.stop_when_idle()
    assert len(seen) == 3
    assert len(set(map(id, seen))) == 1


# ST-13
async def test_what_is_published_after_a_stop_is_handled_after_the_next_start() -> None:
    handler = Handler()
    handler.go.set()
    async with await new_runtime() as runtime:
        runtime.start()
        await runtime.stop()
        await runtime.publish_message(handler, NEWS)
        await wait_all_tasks_blocked()
        assert handler.began == 0
        runtime.start()
        await runtime.stop_when_idle()
        assert handler.ended == 1


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def look(agent: Actor, ctx: MessageContext) -> str:
    return variable.get()


# CX-06
async def test_handlers_see_the_context_variables_of_the_start_call() -> None:
    async with await new_runtime() as runtime:
        variable.set("at start")
        runtime.start()
        variable.set("at send")
        assert await runtime.send_message(look, A) == "at start"


async def test_each_start_brings_its_own_context_variables() -> None:
    handler = Handler()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        for value in ("first", "second", "third"):
            variable.set(value)
            runtime.start()
            nursery.start_soon(
                runtime.send_message, handler, A
            )  # so that there are several workers
            await wait_all_tasks_blocked()
            assert await runtime.send_message(look, B) == value
            handler.go.set()
            await runtime.stop_when_idle()
            handler.go = loop.Event()
            assert handler.cancelled == 0


async def test_a_worker_on_its_way_at_start_does_not_keep_the_earlier_context_variables() -> None:
    """One worker begins the first recipient's handler, and has sent for another one before."""
    values: list[str] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        values.append(variable.get())
        if len(values) == 1:
            variable.set("at start")
            runtime.start()

    variable.set("in the block")
    async with await new_runtime() as runtime:
        await Actor.register(runtime, "second", Actor)
        await runtime.add_subscription(TypeSubscription("news", "second"))
        await runtime.publish_message(act, NEWS)
        await runtime.process_next()
        await runtime.stop_when_idle()
    assert values == ["in the block", "at start"]


# --- stop


# GAP-15
@pytest.mark.parametrize("how", ["stop", "stop_when_idle", "stop_when"])
async def test_stop_is_refused_when_not_started(how: str) -> None:
    async with await new_runtime() as runtime:

        def stop() -> Awaitable[None]:
            if how == "stop_when":
                return runtime.stop_when(lambda: True)
            stopping: Awaitable[None] = getattr(runtime, how)()
            return stopping

        with pytest.raises(RuntimeError, match=rf"{how}\(\).*call start\(\) first"):
            await stop()
        runtime.start()
        await stop()
        with pytest.raises(RuntimeError, match=rf"{how}\(\).*call start\(\) first"):
            await stop()


# ST-15
@pytest.mark.parametrize("how", ["stop", "stop_when_idle", "stop_when", "close", "save_state"])
async def test_stop_from_inside_a_handler_is_refused_and_not_hung(how: str) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        if how == "stop_when":
            await runtime.stop_when(lambda: True)
        else:
            await getattr(runtime, how)()

    async with await new_runtime() as runtime:
        runtime.start()
        with pytest.raises(RuntimeError, match=rf"{how}\(\).*actor/a"):
            await runtime.send_message(act, A)
        assert await runtime.send_message(tell, A) == "I am actor/a"


async def test_stop_from_inside_a_factory_is_refused() -> None:
    async def factory() -> Actor:
        await runtime.stop()
        return Actor()

    async with SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", factory)
        runtime.start()
        with pytest.raises(RuntimeError, match=r"stop\(\)"):
            await runtime.send_message(tell, A)
        with pytest.raises(RuntimeError, match=r"stop\(\)"):
            await runtime.get(A, lazy=False)


async def test_saving_from_inside_a_factory_is_refused_and_not_hung() -> None:
    async def factory() -> Actor:
        await runtime.save_state()
        return Actor()

    async with SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", factory)
        runtime.start()
        with pytest.raises(RuntimeError, match=r"save_state\(\).*actor/a"):
            await runtime.send_message(tell, A)
        with pytest.raises(RuntimeError, match=r"save_state\(\).*actor/a"):
            await runtime.get(A, lazy=False)


async def test_stop_from_inside_an_intervention_handler_is_refused() -> None:
    class Stopper(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            await runtime.stop()

    async with await new_runtime(intervention_handlers=[Stopper()]) as runtime:
        runtime.start()
        with pytest.raises(RuntimeError, match=r"stop\(\)"):
            await runtime.send_message(tell, A)


async def test_a_task_that_outlives_its_handler_may_stop_the_runtime() -> None:
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        go, stopped = loop.Event(), loop.Event()

        async def later() -> None:
            await go.wait()
            await runtime.stop()
            stopped.set()

        async def act(agent: Actor, ctx: MessageContext) -> None:
            nursery.start_soon(later)

        runtime.start()
        await runtime.send_message(act, A)
        go.set()
        await stopped.wait()
        assert not runtime.is_started()


# ST-15, GAP-13, CONF-17
async def test_stop_lets_the_running_finish_and_fails_the_queued() -> None:
    handler, running, queued = Handler(), Outcome(), Outcome()
    runtime = SingleThreadedAgentRuntime()
    await Actor.register(runtime, "actor", Actor, max_concurrency=1)
    async with loop.open_nursery() as nursery, runtime:
        runtime.start()
        nursery.start_soon(running.send, runtime, handler)
        await wait_all_tasks_blocked()
        nursery.start_soon(queued.send, runtime, tell)
        await wait_all_tasks_blocked()
        nursery.start_soon(release_when_blocked, handler)
        await runtime.stop()
        assert handler.ended == 1
        await wait_all_tasks_blocked()
        assert running.value == "done"
        assert isinstance(queued.error, UndeliverableException)
        assert "stopped" in str(queued.error)
        check_ledger(runtime)
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"


# ST-15, GAP-13
async def test_stop_finds_messages_in_every_place() -> None:
    """In the run queue, in a mailbox, with an intervention handler, behind it, and at a factory."""
    gate, factory_gate = loop.Event(), loop.Event()

    class Slow(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            if recipient.type == "watched":
                await gate.wait()
            return message

    async def factory() -> Actor:
        await factory_gate.wait()
        return Actor()

    runtime = SingleThreadedAgentRuntime(intervention_handlers=[Slow()])
    await Actor.register(runtime, "actor", Actor)
    await Actor.register(runtime, "limited", Actor, max_concurrency=1)
    await Actor.register(runtime, "watched", Actor)
    await runtime.register_factory("made", factory)
    handler = Handler()
    outcomes = {name: Outcome() for name in (
        "limited", "limited behind", "watched", "watched behind", "made", "made behind", "run queue"
    )}  # fmt: skip
    async with loop.open_nursery() as nursery, runtime:
        runtime.start()
        for name, outcome in outcomes.items():
            type = name.split()[0]
            if type == "run":
                break
            message = handler if name == "limited" else tell
            nursery.start_soon(outcome.send, runtime, message, AgentId(type, "x"))
            await wait_all_tasks_blocked()
        seq = Sequencer()

        async def send_last() -> None:
            async with seq(0):
                pass
            await outcomes["run queue"].send(runtime, tell, A)

        async def release() -> None:
            await wait_all_tasks_blocked()
            for event in (gate, factory_gate, handler.go):
                event.set()

        nursery.start_soon(send_last)
        nursery.start_soon(release)
        await runtime.publish_message(tell, TopicId("nobody", "x"))
        await runtime.stop()
        check_ledger(runtime)
        await wait_all_tasks_blocked()
        ends = {
            name: outcome.value or type_name(outcome.error) for name, outcome in outcomes.items()
        }
        if ends["run queue"] is None:  # submitted after the stop: it waits for the next start
            outcomes["run queue"].scope.cancel()
        assert ends | {"run queue": None} == {
            "limited": "done",
            "limited behind": "UndeliverableException",
            "watched": "I am watched/x",
            "watched behind": "I am watched/x",  # it is with the intervention handler as well
            "made": "I am made/x",
            "made behind": "UndeliverableException",
            "run queue": None,
        }
        runtime.start()
        for type in ("actor", "limited", "watched", "made"):
            id = AgentId(type, "x")
            assert await runtime.send_message(tell, id) == f"I am {id}"


def type_name(error: BaseException | None) -> str | None:
    return None if error is None else type(error).__name__


# ST-15
async def test_what_running_handlers_send_during_a_stop_fails_and_what_they_publish_waits() -> None:
    heard = Handler()
    heard.go.set()
    outcome = Outcome()
    go = loop.Event()

    async def act(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()
        await agent.publish_message(heard, TopicId("news", "b"))
        await outcome.send(runtime, tell, B)

    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(runtime.send_message, act, A)
        await wait_all_tasks_blocked()

        async def release() -> None:
            await wait_all_tasks_blocked()
            go.set()

        nursery.start_soon(release)
        await runtime.stop()
        assert isinstance(outcome.error, UndeliverableException)
        assert heard.began == 0
        runtime.start()
        await runtime.stop_when_idle()
        assert heard.ended == 1


async def test_a_stop_deadline_cancels_the_handlers_that_still_run(
    autojump_clock: MockClock,
) -> None:
    handler, outcome = Handler(), Outcome()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(outcome.send, runtime, handler)
        await wait_all_tasks_blocked()
        await runtime.stop(deadline=loop.current_time() + 5)
        assert loop.current_time() == pytest.approx(5)
        assert handler.cancelled == 1
        check_ledger(runtime)
    assert isinstance(outcome.error, loop.MessageCancelled)
    assert "deadline" in str(outcome.error)


async def test_a_stop_deadline_waits_for_the_cleanup_of_what_it_cancelled(
    autojump_clock: MockClock,
) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            with loop.CancelScope(shield=True):
                await loop.sleep(3)

    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(Outcome().send, runtime, act)
        await wait_all_tasks_blocked()
        await runtime.stop(deadline=-math.inf)
        assert loop.current_time() == pytest.approx(3)
        check_ledger(runtime)


async def test_a_stop_deadline_cancels_factories_and_intervention_handlers(
    autojump_clock: MockClock,
) -> None:
    class Slow(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            return await loop.sleep_forever() if recipient.type == "actor" else message

    async def factory() -> Actor:
        await loop.sleep_forever()
        raise AssertionError

    outcomes = Outcome(), Outcome()
    async with loop.open_nursery() as nursery:
        async with await new_runtime(intervention_handlers=[Slow()]) as runtime:
            await runtime.register_factory("made", factory)
            runtime.start()
            nursery.start_soon(outcomes[0].send, runtime, tell, A)
            nursery.start_soon(outcomes[1].send, runtime, tell, AgentId("made", "x"))
            await wait_all_tasks_blocked()
            await runtime.stop(deadline=loop.current_time() + 1)
            check_ledger(runtime)
    assert [type(outcome.error) for outcome in outcomes] == [loop.MessageCancelled] * 2


@pytest.mark.parametrize("how", ["send", "publish"])
async def test_a_stop_deadline_cancels_what_an_intervention_handler_has_passed_on_since(
    how: str, autojump_clock: MockClock
) -> None:
    # Found by the reference model.
    class Slow(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            if message is late:
                await loop.sleep(2)
            return message

        on_publish = on_send

    busy, late, outcome = Handler(), Handler(), Outcome()
    async with loop.open_nursery() as nursery:
        runtime = SingleThreadedAgentRuntime(intervention_handlers=[Slow()])
        await Actor.register(runtime, "actor", Actor, max_concurrency=1)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        async with runtime:
            runtime.start()
            nursery.start_soon(Outcome().send, runtime, busy)
            await wait_all_tasks_blocked()
            if how == "send":
                nursery.start_soon(outcome.send, runtime, late)
            else:
                await runtime.publish_message(late, NEWS)
            await wait_all_tasks_blocked()
            with loop.fail_after(10):
                await runtime.stop(deadline=loop.current_time() + 5)
            assert loop.current_time() == pytest.approx(5)
            check_ledger(runtime)
            assert runtime.statistics().cancelled == 2
    assert (busy.began, late.began) == (1, 0)
    assert how == "publish" or isinstance(outcome.error, loop.MessageCancelled)


@pytest.mark.parametrize("then", ["start", "process_next", "send"])
async def test_a_stop_that_is_cancelled_while_the_block_is_left_does_not_let_anything_begin(
    then: str,
) -> None:
    # Found by the reference model.
    handler, outcome, refused = Handler(), Outcome(), list[RuntimeError]()
    scope = loop.CancelScope()

    async def stop() -> None:
        with scope:
            await runtime.stop()

    async def call() -> None:
        try:
            if then == "start":
                runtime.start()
            elif then == "process_next":
                await runtime.process_next()
            else:
                await outcome.send(runtime, tell, B)
        except RuntimeError as exc:
            refused.append(exc)

    async with loop.open_nursery() as nursery:
        async with await new_runtime() as runtime:
            runtime.start()
            nursery.start_soon(runtime.publish_message, handler, NEWS)
            await wait_all_tasks_blocked()
            nursery.start_soon(stop)
            await wait_all_tasks_blocked()

            async def go_on() -> None:
                await wait_all_tasks_blocked()
                scope.cancel()
                await wait_all_tasks_blocked()
                await call()
                handler.go.set()

            nursery.start_soon(go_on)
        check_ledger(runtime)
    assert handler.ended == 1
    assert isinstance(outcome.error, UndeliverableException) if then == "send" else refused


async def test_a_stop_waits_for_what_was_passed_on_to_an_agent_that_somebody_else_makes() -> None:
    # Found by the reference model.
    pass_on, make = loop.Event(), loop.Event()
    handler, stopped = Handler(), loop.Event()
    handler.go.set()

    class Slow(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            await pass_on.wait()
            return message

    async def factory() -> Actor:
        await make.wait()
        return Actor()

    async def stop() -> None:
        await runtime.stop()
        assert handler.ended == 1
        stopped.set()

    runtime = SingleThreadedAgentRuntime(intervention_handlers=[Slow()])
    await runtime.register_factory("actor", factory)
    async with loop.open_nursery() as nursery, runtime:
        runtime.start()
        nursery.start_soon(Outcome().send, runtime, handler)
        await wait_all_tasks_blocked()
        nursery.start_soon(lambda: runtime.get(A, lazy=False))
        nursery.start_soon(stop)
        await wait_all_tasks_blocked()
        pass_on.set()
        await wait_all_tasks_blocked()
        make.set()
        await stopped.wait()


async def test_a_cancelled_stop_has_stopped_and_its_handlers_go_on() -> None:
    handler, outcome = Handler(), Outcome()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(outcome.send, runtime, handler)
        await wait_all_tasks_blocked()
        with loop.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await runtime.stop()
        assert scope.cancelled_caught
        assert not runtime.is_started()
        assert handler.cancelled == 0
        runtime.start()
        handler.go.set()
        await runtime.stop_when_idle()
        await wait_all_tasks_blocked()
        assert outcome.value == "done"


# ST-16
async def test_stop_when_idle_waits_for_what_handlers_submit() -> None:
    async def chain(agent: Actor, ctx: MessageContext) -> None:
        depth.append(1)
        if len(depth) < 50:
            await agent.publish_message(chain, TopicId("news", "b" if agent.id == A else "a"))

    depth: list[int] = []
    async with await new_runtime() as runtime:
        runtime.start()
        await runtime.publish_message(chain, NEWS)
        await runtime.stop_when_idle()
        assert len(depth) == 50
        check_ledger(runtime)


# ST-16
async def test_a_message_sent_right_after_stop_when_idle_was_started_is_waited_for() -> None:
    """AgentChat's embedded team leans on it."""
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(runtime.stop_when_idle)
        assert await runtime.send_message(tell, A) == "I am actor/a"


# ST-16
async def test_stop_when_idle_may_be_awaited_by_several_tasks() -> None:
    handler = Handler()
    async with await new_runtime() as runtime:
        runtime.start()
        async with loop.open_nursery() as nursery:
            nursery.start_soon(Outcome().send, runtime, handler)
            await wait_all_tasks_blocked()
            nursery.start_soon(runtime.stop_when_idle)
            nursery.start_soon(runtime.stop_when_idle)
            await wait_all_tasks_blocked()
            handler.go.set()
        assert not runtime.is_started()


# ST-17
async def test_stop_when_stops_at_the_message_that_makes_the_condition_true() -> None:
    """Also if it is true for one moment only, in the middle of a burst."""
    count = 0

    async def act(agent: Actor, ctx: MessageContext) -> None:
        nonlocal count
        count += 1

    async with await new_runtime() as runtime:
        runtime.start()
        for _ in range(20):
            await runtime.publish_message(act, NEWS)
        await runtime.stop_when(lambda: count == 7)
        assert not runtime.is_started()
        assert count >= 7
        check_ledger(runtime)


# ST-17
async def test_stop_when_sees_a_change_without_messages_within_a_second(
    autojump_clock: MockClock,
) -> None:
    changed = loop.Event()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()

        async def change() -> None:
            await loop.sleep(10.5)
            changed.set()

        nursery.start_soon(change)
        await runtime.stop_when(changed.is_set)
        assert 10.5 <= loop.current_time() <= 11.5


# ST-17
async def test_a_condition_that_raises_leaves_the_runtime_running() -> None:
    asked = 0

    def condition() -> bool:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise ZeroDivisionError
        return False

    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(runtime.send_message, tell, A)
        with pytest.raises(ZeroDivisionError):
            await runtime.stop_when(condition)
        assert runtime.is_started()
        assert await runtime.send_message(tell, A) == "I am actor/a"
        await runtime.stop()


# ST-17
async def test_stop_when_ends_if_another_task_stops_the_runtime(autojump_clock: MockClock) -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.stop_when, lambda: False)
            await wait_all_tasks_blocked()
            await runtime.stop()


# ST-17
async def test_stop_when_ends_with_the_block(autojump_clock: MockClock) -> None:
    async with loop.open_nursery() as nursery:
        async with await new_runtime() as runtime:
            runtime.start()
            nursery.start_soon(runtime.stop_when, lambda: False)
            await wait_all_tasks_blocked()


# --- close


# ST-14
async def test_close_stops_and_closes_the_agents_once_and_may_be_repeated() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        await runtime.send_message(tell, A)
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        await runtime.close()
        assert not runtime.is_started()
        assert agent.closed == 1
        await runtime.close()
    assert agent.closed == 1


# ST-14
async def test_close_makes_no_agent() -> None:
    made: list[int] = []

    def factory() -> Actor:
        made.append(1)
        return Actor()

    async with SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", factory)
        runtime.start()
        await runtime.close()
    assert made == []


# ST-14
async def test_after_close_the_runtime_may_be_started_again_with_the_same_agents() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        await runtime.close()
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"
        assert await runtime.try_get_underlying_agent_instance(A, Actor) is agent
    assert agent.closed == 2


async def test_an_agent_used_by_hand_after_close_is_closed_again() -> None:
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        await runtime.close()
        assert agent.closed == 1
        nursery.start_soon(runtime.send_message, tell, A)
        await runtime.process_next()
    assert agent.closed == 2


async def test_an_agent_is_closed_again_that_a_process_next_has_used_which_waited_already() -> None:
    # Found by the reference model.
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        other = await runtime.try_get_underlying_agent_instance(B, Actor)
        nursery.start_soon(runtime.process_next)
        await wait_all_tasks_blocked()
        await runtime.close()
        assert await runtime.send_message(tell, A) == "I am actor/a"
    assert (agent.closed, other.closed) == (2, 1)


@pytest.mark.parametrize("when", ["after", "while"])
async def test_deactivate_lets_go_of_an_agent_that_close_has_closed_and_closes_it_no_more(
    when: str,
) -> None:
    # Found by the reference model.
    go = loop.Event()

    class Slow(Actor):
        async def close(self) -> None:
            await super().close()
            await go.wait()

    async with SingleThreadedAgentRuntime() as runtime:
        await Slow.register(runtime, "actor", Slow)
        runtime.start()
        agent = await runtime.try_get_underlying_agent_instance(A, Slow)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.close)
            await wait_all_tasks_blocked()
            if when == "after":
                go.set()
                await wait_all_tasks_blocked()
            nursery.start_soon(runtime.deactivate, A)
            await wait_all_tasks_blocked()
            go.set()
        assert runtime.statistics().agents == 0
    assert agent.closed == 1


async def test_an_agent_that_is_used_after_close_is_closed_by_deactivate() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        await runtime.close()
        runtime.start()
        await runtime.send_message(tell, A)
        await runtime.deactivate(A)
    assert agent.closed == 2


@pytest.mark.parametrize("begun", ["before a stop", "before a stop that was cancelled", "by hand"])
async def test_close_waits_for_handlers_that_run_although_the_runtime_is_not_started(
    begun: str,
) -> None:
    # Found by the reference model: it closed agents while they handled messages.
    handler, sent = Handler(), Outcome()
    scope = loop.CancelScope()

    async def stop() -> None:
        with scope:
            await runtime.stop()

    async def ask(agent: Actor, ctx: MessageContext) -> str:
        await handler(agent, ctx)
        answer: str = await agent.send_message(tell, B)
        return answer

    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        if begun == "by hand":
            nursery.start_soon(sent.send, runtime, ask)
            await runtime.process_next()
        else:
            runtime.start()
            nursery.start_soon(sent.send, runtime, ask)
            await wait_all_tasks_blocked()
            nursery.start_soon(stop)
            await wait_all_tasks_blocked()
            if begun == "before a stop that was cancelled":
                scope.cancel()
                await wait_all_tasks_blocked()
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        nursery.start_soon(runtime.close)
        await wait_all_tasks_blocked()
        assert agent.closed == 0
        late = Outcome()
        nursery.start_soon(late.send, runtime, tell)
        handler.go.set()
        await wait_all_tasks_blocked()
        assert handler.ended == agent.closed == 1
        assert late.value is None
        if begun == "before a stop":
            assert isinstance(sent.error, UndeliverableException)
        else:
            assert sent.value == "I am actor/b"
        runtime.start()
        await runtime.stop_when_idle()


async def test_nothing_is_handled_while_agents_are_closed() -> None:
    go = loop.Event()

    class Slow(Actor):
        async def close(self) -> None:
            await super().close()
            await go.wait()

    outcome = Outcome()
    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await Slow.register(runtime, "actor", Slow)
        runtime.start()
        await runtime.send_message(tell, A)
        nursery.start_soon(runtime.close)
        await wait_all_tasks_blocked()
        runtime.start()
        nursery.start_soon(outcome.send, runtime, tell)
        await wait_all_tasks_blocked()
        assert outcome.value is None
        go.set()
        await wait_all_tasks_blocked()
        assert outcome.value == "I am actor/a"


async def test_an_agent_made_anew_after_close_is_closed_too() -> None:
    async with await new_runtime() as runtime:
        await runtime.get(A, lazy=False)
        await runtime.close()
        await runtime.deactivate(A)
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
    assert agent.closed == 1


# --- process_next


# ST-11
async def test_process_next_takes_up_one_message_and_returns_where_its_handler_waits() -> None:
    first, second = Handler(), Handler()
    async with await new_runtime() as runtime:
        await runtime.publish_message(first, NEWS)
        await runtime.publish_message(second, NEWS)
        assert runtime.unprocessed_messages_count == 2
        await runtime.process_next()
        assert (first.began, first.ended, second.began) == (1, 0, 0)
        assert runtime.unprocessed_messages_count == 1
        await runtime.process_next()
        assert (second.began, second.ended) == (1, 0)
        assert runtime.unprocessed_messages_count == 0
        first.go.set()
        second.go.set()


# ST-11, ST-24
async def test_process_next_begins_the_handlers_of_all_recipients() -> None:
    handler = Handler()
    runtime = await new_runtime()
    for number in range(20):
        await Actor.register(runtime, f"actor{number}", Actor)
        await runtime.add_subscription(TypeSubscription("news", f"actor{number}"))
    async with runtime:
        await runtime.publish_message(handler, NEWS)
        await runtime.process_next()
        assert handler.began == 21
        handler.go.set()


# ST-11
async def test_process_next_waits_while_there_is_nothing() -> None:
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        outcome = Outcome()
        with loop.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await runtime.process_next()
        assert scope.cancelled_caught
        nursery.start_soon(runtime.process_next)
        await wait_all_tasks_blocked()
        await outcome.send(runtime, tell)
        assert outcome.value == "I am actor/a"


# ST-11
async def test_process_next_goes_on_waiting_if_what_came_was_cancelled_before_it_was_taken() -> (
    None
):
    returned = loop.Event()
    handler = Handler()
    handler.go.set()

    async def process_next() -> None:
        await runtime.process_next()
        returned.set()

    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        nursery.start_soon(process_next)
        await wait_all_tasks_blocked()
        token = CancellationToken()
        await runtime.publish_message(handler, NEWS, cancellation_token=token)
        token.cancel()
        await wait_all_tasks_blocked()
        assert not returned.is_set()
        assert handler.began == 0
        await runtime.publish_message(handler, NEWS)
        await returned.wait()
        assert handler.began == 1


# ST-11
@pytest.mark.parametrize("how", ["start", "leave", "fail"])
async def test_process_next_ends_when_messages_will_not_be_taken_up_by_hand_any_more(
    how: str,
) -> None:
    refused: list[str] = []

    async def process_next() -> None:
        with pytest.raises(RuntimeError) as caught:
            await runtime.process_next()
        refused.append(str(caught.value))

    runtime = await new_runtime()
    async with loop.open_nursery() as nursery:
        with pytest.raises(LookupError) if how == "fail" else nullcontext():
            async with runtime:
                for _ in range(2):
                    nursery.start_soon(process_next)
                await wait_all_tasks_blocked()
                if how == "start":
                    runtime.start()
                    await wait_all_tasks_blocked()
                elif how == "fail":
                    raise LookupError
    assert len(refused) == 2
    assert all(("started" if how == "start" else "block") in reason for reason in refused)


# ST-11, ST-16
async def test_process_next_takes_nothing_up_while_states_are_saved() -> None:
    saving, go = loop.Event(), loop.Event()
    order: list[str] = []

    class Slow(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            saving.set()
            await go.wait()
            order.append("saved")
            return {}

    def note(entry: str) -> Any:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            order.append(entry)

        return act

    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await Slow.register(runtime, "actor", Slow)
        await runtime.get(A, lazy=False)
        nursery.start_soon(runtime.process_next)  # waits since before
        await wait_all_tasks_blocked()
        nursery.start_soon(runtime.save_state)
        await saving.wait()
        for entry in ("first", "second"):
            nursery.start_soon(runtime.send_message, note(entry), A)
            await wait_all_tasks_blocked()
        nursery.start_soon(runtime.process_next)
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
    assert order == ["saved", "first", "second"]


# ST-11, ST-27
async def test_nested_requests_are_taken_up_by_hand_too() -> None:
    async def ask(agent: Actor, ctx: MessageContext) -> Any:
        return [await agent.send_message(tell, B), await agent.send_message(tell, A)]

    outcome = Outcome()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        nursery.start_soon(outcome.send, runtime, ask)
        for _ in range(3):
            await runtime.process_next()
        await wait_all_tasks_blocked()
        assert outcome.value == ["I am actor/b", "I am actor/a"]


# ST-11, ST-06
async def test_process_next_raises_what_the_handlers_of_publications_raised() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        raise ValueError(agent.id.key)

    async with await new_runtime(ignore_unhandled_exceptions=False) as runtime:
        await runtime.publish_message(act, NEWS)
        with loop.raises_failures() as caught:
            await runtime.process_next()
        (error,) = caught.value.exceptions
        assert isinstance(error, ValueError)
        await runtime.publish_message(tell, NEWS)
        await runtime.process_next()


# ST-11
@pytest.mark.only_on("trio", "on asyncio it needs no block")
async def test_process_next_is_refused_outside_of_the_block() -> None:
    runtime = await new_runtime()
    with pytest.raises(RuntimeError, match="block"):
        await runtime.process_next()


# ST-11
async def test_process_next_is_refused_where_messages_are_taken_up_anyway() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        with pytest.raises(RuntimeError, match="takes up messages by itself"):
            await runtime.process_next()


# ST-11
async def test_start_takes_over_from_process_next() -> None:
    handler = Handler()
    async with await new_runtime() as runtime:
        await runtime.publish_message(handler, NEWS)
        await runtime.publish_message(handler, NEWS)
        await runtime.process_next()
        assert handler.began == 1
        runtime.start()
        await wait_all_tasks_blocked()
        assert handler.began == 2
        handler.go.set()
        await runtime.stop_when_idle()
        assert handler.ended == 2


# ST-07
async def test_unprocessed_messages_count_does_not_count_what_is_handled() -> None:
    handler = Handler()
    runtime = SingleThreadedAgentRuntime()
    await Actor.register(runtime, "actor", Actor, max_concurrency=1)
    async with loop.open_nursery() as nursery, runtime:
        runtime.start()
        assert runtime.unprocessed_messages_count == 0
        for _ in range(3):
            nursery.start_soon(runtime.send_message, handler, A)
        assert runtime.unprocessed_messages_count == 0
        await wait_all_tasks_blocked()
        assert runtime.unprocessed_messages_count == 2
        handler.go.set()
        await runtime.stop_when_idle()
        assert runtime.unprocessed_messages_count == 0


# --- the short form, and what is left behind


# ST-08
async def test_open_runtime_starts_and_finishes_all_work() -> None:
    class Counter(RoutedAgent):
        count = 0

        @message_handler
        async def on_text(self, message: str, ctx: MessageContext) -> None:
            await loop.checkpoint()
            Counter.count += 1

    async with open_runtime() as runtime:
        assert runtime.is_started()
        await Counter.register(runtime, "counter", lambda: Counter("counts"))
        await runtime.add_subscription(TypeSubscription("news", "counter"))
        for _ in range(10):
            await runtime.publish_message("text", NEWS)
    assert Counter.count == 10
    assert not runtime.is_started()


async def test_open_runtime_leaves_alone_what_was_stopped_inside() -> None:
    async with open_runtime() as runtime:
        await runtime.stop()
    assert not runtime.is_started()


async def test_an_exception_leaves_open_runtime_as_itself() -> None:
    error = StopIteration("s")
    with pytest.raises(StopIteration) as caught:
        async with open_runtime():
            raise error
    assert caught.value is error


@pytest.mark.parametrize("how", ["normally", "by exception", "by cancellation"])
async def test_no_task_outlives_the_block(how: str) -> None:
    runtime = await new_runtime(ignore_unhandled_exceptions=True)
    await Actor.register(runtime, "quiet", Actor, idle_timeout=1)
    handler = Handler()
    before = loop.count_tasks()
    with loop.CancelScope() as scope:
        try:
            async with runtime:
                runtime.start()
                for number in range(50):
                    await runtime.publish_message(handler, TopicId("news", str(number)))
                await runtime.get("quiet", lazy=False)
                await wait_all_tasks_blocked()
                assert loop.count_tasks() > before
                if how == "normally":
                    handler.go.set()
                elif how == "by exception":
                    raise ZeroDivisionError
                else:
                    scope.cancel()
                    await loop.sleep_forever()
        except ZeroDivisionError:
            pass
    assert loop.count_tasks() == before
    assert handler.began == 50
    check_ledger(runtime)


async def test_a_burst_of_handlers_that_never_wait_lets_other_tasks_run() -> None:
    turns = 0
    done = False

    async def act(agent: Actor, ctx: MessageContext) -> None:
        pass

    async def spin() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await loop.checkpoint()

    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        for _ in range(2000):
            await runtime.publish_message(act, NEWS)
        nursery.start_soon(spin)
        await runtime.stop_when_idle()
        done = True
        assert turns > 10


# GAP-14
async def test_a_send_after_the_block_was_left_is_refused(autojump_clock: object) -> None:
    runtime = await new_runtime()
    async with runtime:
        pass
    with pytest.raises(UndeliverableException, match="block was left"):
        await runtime.send_message(tell, A)


async def test_a_send_is_taken_in_again_when_the_block_is_entered_again(
    autojump_clock: object,
) -> None:
    runtime = await new_runtime()
    async with runtime:
        pass
    async with runtime:
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"


# --- memory channels


@pytest.mark.parametrize("way", ["stop", "leave", "exception"])
async def test_every_memory_channel_is_closed_when_nothing_is_in_it(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    channels: list[Any] = []
    runtime = await new_runtime()
    await runtime.register_factory("narrow", Actor, max_concurrency=1)
    handler = Handler()
    open_memory_channel = runtime._loop.open_memory_channel

    def open_and_note() -> Any:
        channel = open_memory_channel()
        channels.append(channel)
        return channel

    monkeypatch.setattr(runtime._loop, "open_memory_channel", open_and_note, raising=False)
    outcomes = [Outcome() for _ in range(8)]
    try:
        async with loop.open_nursery() as nursery, runtime:
            for _ in range(3):
                await runtime.publish_message(tell, NEWS)  # the intake
            runtime.start()
            for outcome in outcomes:  # the run queue, and a mailbox
                nursery.start_soon(outcome.send, runtime, handler, AgentId("narrow", "x"))
            await wait_all_tasks_blocked()
            if way == "exception":
                raise ZeroDivisionError
            if way == "stop":
                nursery.start_soon(runtime.stop)
                await wait_all_tasks_blocked()
            handler.go.set()
    except* ZeroDivisionError:
        pass
    assert len(channels) >= 3
    closed = (trio.ClosedResourceError, anyio.ClosedResourceError)
    for send, receive in channels:
        with pytest.raises(closed):
            send.send_nowait(None)
        with pytest.raises(closed):
            receive.receive_nowait()
