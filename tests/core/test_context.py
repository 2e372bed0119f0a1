"""What a handler can know of its message, and what the runtime forgets of it afterwards."""

from __future__ import annotations

import contextvars
import gc
import logging
import uuid
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from trio_agents import (
    ROOT_LOGGER_NAME,
    AgentId,
    BaseAgent,
    CancellationToken,
    DefaultInterventionHandler,
    DefaultTopicId,
    DropMessage,
    MessageContext,
    MessageHandlerContext,
    TopicId,
    TypeSubscription,
)
from trio_agents._core._envelope import Request
from trio_agents.exceptions import Overloaded, UndeliverableException

from . import loop
from .loop import SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

A = AgentId("actor", "a")
B = AgentId("actor", "b")
NEWS = TopicId("news", "a")


class Actor(BaseAgent):
    """Does what the message says: messages are functions, or carry one."""

    def __init__(self) -> None:
        super().__init__("an actor")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return await message(self, ctx)


async def register(runtime: SingleThreadedAgentRuntime, *types: str) -> None:
    for type in types or ("actor",):
        await Actor.register(runtime, type, Actor)
        await runtime.add_subscription(TypeSubscription("news", type))


async def give_context(agent: Actor, ctx: MessageContext) -> MessageContext:
    return ctx


async def give_id(agent: Actor, ctx: MessageContext) -> str:
    return ctx.message_id


# --- the fields


# CX-07, CX-08, CX-09, CX-10
async def test_the_context_of_a_request_from_outside() -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        ctx = await runtime.send_message(give_context, A)
        assert isinstance(ctx, MessageContext)
        assert (ctx.sender, ctx.topic_id, ctx.is_rpc) == (None, None, True)


# CX-08, ST-28
async def test_the_context_names_the_agent_that_sent() -> None:
    async def ask(agent: Actor, ctx: MessageContext) -> Any:
        return await agent.send_message(give_context, B)

    async with open_runtime() as runtime:
        await register(runtime)
        assert (await runtime.send_message(ask, A)).sender == A
        assert (await runtime.send_message(give_context, A, sender=B)).sender == B


# CX-09, CX-10
async def test_the_context_of_a_publication_names_its_topic() -> None:
    seen: list[MessageContext] = []

    async def keep(agent: Actor, ctx: MessageContext) -> None:
        seen.append(ctx)

    async with open_runtime() as runtime:
        await register(runtime)
        await runtime.publish_message(keep, NEWS)
        await runtime.stop_when_idle()
    (ctx,) = seen
    assert (ctx.sender, ctx.topic_id, ctx.is_rpc) == (None, NEWS, False)


# CX-12
async def test_a_given_message_id_is_the_one_that_handlers_see() -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        assert await runtime.send_message(give_id, A, message_id="mine") == "mine"


# CX-12
async def test_a_message_id_is_made_when_it_is_read_and_then_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def make() -> uuid.UUID:
        made.append(uuid.UUID(int=len(made)))
        return made[-1]

    async def read_twice(agent: Actor, ctx: MessageContext) -> tuple[str, str]:
        return ctx.message_id, ctx.message_id

    async with open_runtime() as runtime:
        await register(runtime)
        monkeypatch.setattr(uuid, "uuid4", make)
        await runtime.send_message(give_context, A)
        assert made == []
        one, two = await runtime.send_message(read_twice, A)
        assert one == two == str(made[0])
        assert len(made) == 1


# CX-12
async def test_different_messages_have_different_ids() -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        ids = {await runtime.send_message(give_id, A) for _ in range(20)}
        assert len(ids) == 20
        assert all(uuid.UUID(id).version == 4 for id in ids)


# CX-12
async def test_all_recipients_and_intervention_handlers_see_one_id() -> None:
    seen: list[str] = []

    class Reader(DefaultInterventionHandler):
        async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
            seen.append(message_context.message_id)
            return message

    async def keep(agent: Actor, ctx: MessageContext) -> None:
        seen.append(ctx.message_id)

    for interveners in ([], [Reader()]):
        seen.clear()
        async with open_runtime(intervention_handlers=interveners) as runtime:
            await register(runtime, "one", "two", "three")
            await runtime.publish_message(keep, NEWS)
        assert len(seen) == 3 + len(interveners)
        assert len(set(seen)) == 1


# CX-12
async def test_an_intervention_handler_and_the_handler_of_a_request_see_one_id() -> None:
    seen: list[str] = []

    class Reader(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            seen.append(message_context.message_id)
            return message

    async with open_runtime(intervention_handlers=[Reader()]) as runtime:
        await register(runtime)
        assert [await runtime.send_message(give_id, A)] == seen


# CX-12
async def test_the_id_can_be_read_after_the_message_was_handled() -> None:
    seen: list[MessageContext] = []

    async def keep(agent: Actor, ctx: MessageContext) -> None:
        seen.append(ctx)

    async with open_runtime() as runtime:
        await register(runtime, "one", "two")
        await runtime.publish_message(keep, NEWS)
        await runtime.stop_when_idle()
    one, two = seen
    assert one.message_id == two.message_id


# CX-11
async def test_the_token_in_the_context_is_the_sender_s_own() -> None:
    token = CancellationToken()
    seen: list[CancellationToken] = []

    async def keep(agent: Actor, ctx: MessageContext) -> None:
        seen.append(ctx.cancellation_token)

    async with open_runtime() as runtime:
        await register(runtime, "one", "two")
        await runtime.send_message(keep, AgentId("one", "a"), cancellation_token=token)
        await runtime.publish_message(keep, NEWS, cancellation_token=token)
    assert seen == [token] * 3


# CX-11
async def test_a_message_without_a_token_has_one_of_its_own() -> None:
    async def give(agent: Actor, ctx: MessageContext) -> CancellationToken:
        assert ctx.cancellation_token is ctx.cancellation_token
        return ctx.cancellation_token

    async with open_runtime() as runtime:
        await register(runtime)
        one = await runtime.send_message(give, A)
        two = await runtime.send_message(give, A)
        assert isinstance(one, CancellationToken)
        assert one is not two
        assert not one.is_cancelled()


# CX-11
async def test_the_own_token_is_cancelled_with_the_message() -> None:
    told: list[str] = []

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        ctx.cancellation_token.add_callback(lambda: told.append("token"))
        try:
            await loop.sleep_forever()
        finally:
            told.append("unwound")

    async with open_runtime() as runtime:
        await register(runtime)
        with loop.CancelScope() as scope:
            async with loop.open_nursery() as nursery:
                nursery.start_soon(runtime.send_message, wait, A)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert told == ["token", "unwound"]


# CX-11
async def test_the_own_token_is_cancelled_through_any_depth_of_sends() -> None:
    told: list[AgentId] = []

    def wait(depth: int) -> Act:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            ctx.cancellation_token.add_callback(lambda: told.append(agent.id))
            if not depth:
                await loop.sleep_forever()
            await agent.send_message(wait(depth - 1), AgentId("actor", str(depth)))

        return act

    async with open_runtime() as runtime:
        await register(runtime)
        with loop.CancelScope() as scope:
            async with loop.open_nursery() as nursery:
                nursery.start_soon(runtime.send_message, wait(3), AgentId("actor", "top"))
                await wait_all_tasks_blocked()
                scope.cancel()
        assert sorted(id.key for id in told) == ["1", "2", "3", "top"]


# CX-11
async def test_the_sender_s_token_is_not_cancelled_by_the_sender_s_scope() -> None:
    token = CancellationToken()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await loop.sleep_forever()

    async with open_runtime() as runtime:
        await register(runtime)
        with loop.CancelScope() as scope:
            async with loop.open_nursery() as nursery:

                async def send() -> None:
                    await runtime.send_message(wait, A, cancellation_token=token)

                nursery.start_soon(send)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert not token.is_cancelled()


# CX-11
async def test_the_sender_s_token_cancels_the_handler() -> None:
    token = CancellationToken()
    unwound: list[bool] = []

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            unwound.append(True)

    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await register(runtime)

        async def cancel() -> None:
            await wait_all_tasks_blocked()
            token.cancel()

        nursery.start_soon(cancel)
        with pytest.raises(loop.MessageCancelled):
            await runtime.send_message(wait, A, cancellation_token=token)
        assert unwound == [True]


# --- the agent whose handler runs


# CX-06
async def test_the_handler_context_names_the_agent_whose_handler_runs() -> None:
    async def look(agent: Actor, ctx: MessageContext) -> list[AgentId]:
        ids = [MessageHandlerContext.agent_id()]
        if agent.id == A:
            ids += await agent.send_message(look, B)
            ids.append(MessageHandlerContext.agent_id())
        return ids

    async with open_runtime() as runtime:
        await register(runtime)
        assert await runtime.send_message(look, A) == [A, B, A]
        with pytest.raises(RuntimeError):
            MessageHandlerContext.agent_id()


# CX-06
async def test_handlers_that_run_at_the_same_time_see_their_own_agents() -> None:
    seen: list[bool] = []

    async def look(agent: Actor, ctx: MessageContext) -> None:
        for _ in range(3):
            seen.append(MessageHandlerContext.agent_id() == agent.id)
            await wait_all_tasks_blocked()

    async with open_runtime() as runtime:
        await register(runtime)
        for number in range(5):
            await runtime.publish_message(look, TopicId("news", str(number)))
    assert seen == [True] * 15


# CX-06
async def test_a_task_that_a_handler_starts_keeps_the_handler_s_context() -> None:
    seen: list[AgentId] = []

    async def look() -> None:
        await loop.checkpoint()
        seen.append(MessageHandlerContext.agent_id())

    async def start(agent: Actor, ctx: MessageContext) -> None:
        async with loop.open_nursery() as nursery:
            nursery.start_soon(look)

    async with open_runtime() as runtime:
        await register(runtime)
        await runtime.send_message(start, A)
        await runtime.send_message(start, B)
    assert seen == [A, B]


# CX-06, SUB-17
async def test_a_default_topic_in_a_handler_has_the_agent_s_key_as_its_source() -> None:
    async def give(agent: Actor, ctx: MessageContext) -> TopicId:
        return DefaultTopicId()

    async with open_runtime() as runtime:
        await register(runtime)
        assert await runtime.send_message(give, B) == TopicId("default", "b")
        assert DefaultTopicId() == TopicId("default", "default")


# --- context variables

canary: contextvars.ContextVar[str] = contextvars.ContextVar("canary", default="none")


async def set_canary(agent: Actor, ctx: MessageContext) -> None:
    assert canary.get() == "none"
    canary.set("sung")


async def look_for_canary(agent: Actor, ctx: MessageContext) -> str:
    return canary.get()


# CX-06
@pytest.mark.parametrize("number", [1, 3, 200])
async def test_what_one_handler_sets_the_next_does_not_see(number: int) -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        for _ in range(number):
            await runtime.publish_message(set_canary, NEWS)
            await runtime.send_message(set_canary, A)
            assert await runtime.send_message(look_for_canary, A) == "none"
        assert runtime.statistics().failed == 0


async def test_what_a_failing_or_cancelled_handler_sets_the_next_does_not_see() -> None:
    async def fail(agent: Actor, ctx: MessageContext) -> None:
        canary.set("sung")
        raise ZeroDivisionError

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        canary.set("sung")
        await loop.sleep_forever()

    async with open_runtime() as runtime:
        await register(runtime)
        with pytest.raises(ZeroDivisionError):
            await runtime.send_message(fail, A)
        assert await runtime.send_message(look_for_canary, A) == "none"
        with loop.move_on_after(0):
            await runtime.send_message(wait, A)
        assert await runtime.send_message(look_for_canary, A) == "none"


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_factory_sets_later_messages_do_not_see(fails: bool) -> None:
    def factory() -> Actor:
        canary.set("sung")
        if fails:
            raise ZeroDivisionError
        return Actor()

    async def nothing(agent: Actor, ctx: MessageContext) -> None:
        pass

    async with open_runtime() as runtime:
        await register(runtime)
        await runtime.register_factory("setter", factory)
        await runtime.get(A, lazy=False)
        for number in range(5):
            try:
                await runtime.send_message(nothing, AgentId("setter", str(number)))
            except ZeroDivisionError:
                assert fails
            assert await runtime.send_message(look_for_canary, A) == "none"


async def test_what_an_intervention_handler_sets_later_messages_do_not_see() -> None:
    class Setter(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            if message is set_canary:
                canary.set("sung")
                return DropMessage
            return message

    async with open_runtime(intervention_handlers=[Setter()]) as runtime:
        await register(runtime)
        with pytest.raises(Exception, match="dropped"):
            await runtime.send_message(set_canary, A)
        assert await runtime.send_message(look_for_canary, A) == "none"


async def test_what_the_closing_of_an_agent_sets_later_messages_do_not_see() -> None:
    class Setter(Actor):
        async def close(self) -> None:
            canary.set("sung")

    async with open_runtime() as runtime:
        await register(runtime)
        await runtime.register_factory("setter", Setter)
        await runtime.get("setter", lazy=False)
        await runtime.deactivate(AgentId("setter", "default"))
        assert await runtime.send_message(look_for_canary, A) == "none"


async def test_what_the_sender_has_set_the_handler_does_not_see() -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        canary.set("sung")
        assert await runtime.send_message(look_for_canary, A) == "none"


# --- what is forgotten


class Thing:
    """Something that can be watched as it goes."""


class Message:
    """A message that carries what is to be done, and can be watched as it goes."""

    def __init__(self, act: Act) -> None:
        self.act = act

    async def __call__(self, agent: Actor, ctx: MessageContext) -> Any:
        return await self.act(agent, ctx)


def is_gone(reference: weakref.ref[Any]) -> bool:
    gc.collect()
    return reference() is None


async def test_a_handled_message_is_not_kept_alive() -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        message = Message(give_id)
        reference = weakref.ref(message)
        await runtime.send_message(message, A)
        del message
        assert is_gone(reference)


async def test_a_handler_that_goes_on_keeps_no_requests_that_had_to_wait_in_line() -> None:
    alive: list[int] = []

    async def give_way(agent: Actor, ctx: MessageContext) -> None:
        await loop.checkpoint()

    async def ask_often(agent: Actor, ctx: MessageContext) -> None:
        for _ in range(10):
            async with loop.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(agent.send_message, give_way, AgentId("serial", "x"))
        gc.collect()
        alive.append(sum(type(thing) is Request for thing in gc.get_objects()))

    async with open_runtime() as runtime:
        await register(runtime)
        await Actor.register(runtime, "serial", Actor, max_concurrency=1)
        await runtime.send_message(ask_often, A)
    assert alive[0] < 10  # of thirty


async def test_a_reply_is_not_kept_alive() -> None:
    async def give(agent: Actor, ctx: MessageContext) -> Thing:
        return Thing()

    async with open_runtime() as runtime:
        await register(runtime)
        reference = weakref.ref(await runtime.send_message(give, A))
        await wait_all_tasks_blocked()
        assert is_gone(reference)


async def test_a_context_is_not_kept_alive() -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        ctx = await runtime.send_message(give_context, A)
        reference = weakref.ref(ctx.cancellation_token)
        del ctx
        await wait_all_tasks_blocked()
        assert is_gone(reference)


async def test_an_exception_is_not_kept_alive() -> None:
    class Failure(Exception):
        pass

    async def fail(agent: Actor, ctx: MessageContext) -> None:
        raise Failure

    async with open_runtime() as runtime:
        await register(runtime)
        try:
            await runtime.send_message(fail, A)
        except Failure as exc:
            reference = weakref.ref(exc)
        await wait_all_tasks_blocked()
        assert is_gone(reference)


async def test_a_token_is_free_as_soon_as_its_message_is_handled() -> None:
    async with open_runtime() as runtime:
        await register(runtime, "one")
        gc.collect()
        gc.disable()  # a cycle would keep it until the next collection
        try:
            references = []
            for _ in range(5):
                token = CancellationToken()
                references.append(weakref.ref(token))
                await runtime.send_message(give_id, AgentId("one", "a"), cancellation_token=token)
                del token
            await wait_all_tasks_blocked()
            assert [reference() for reference in references] == [None] * 5
        finally:
            gc.enable()


async def test_a_failed_publication_is_not_kept_alive_once_it_was_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, ROOT_LOGGER_NAME)  # or the log would keep it

    class Failure(Exception):
        pass

    async def fail(agent: Actor, ctx: MessageContext) -> None:
        raise Failure

    runtime = SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False)
    async with runtime:
        await register(runtime, "one", "two")
        runtime.start()
        message = Message(fail)
        references = [weakref.ref(message)]
        await runtime.publish_message(message, NEWS)
        del message
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        references += [weakref.ref(exc) for exc in caught.value.exceptions]
        caught.value = None
        assert len(references) == 3
        await wait_all_tasks_blocked()
        assert all(map(is_gone, references))


async def test_a_published_message_is_not_kept_alive() -> None:
    async with open_runtime() as runtime:
        await register(runtime, "one", "two")
        message = Message(give_id)
        reference = weakref.ref(message)
        await runtime.publish_message(message, NEWS)
        del message
        await wait_all_tasks_blocked()
        assert is_gone(reference)


async def test_a_cancelled_message_is_not_kept_alive() -> None:
    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await loop.sleep_forever()

    async with open_runtime() as runtime:
        await register(runtime)
        message = Message(wait)
        reference = weakref.ref(message)
        with loop.move_on_after(0):
            await runtime.send_message(message, A)
        del message
        await wait_all_tasks_blocked()
        assert is_gone(reference)


@pytest.mark.parametrize("how", ["send", "publish"])
@pytest.mark.parametrize("why", ["mailbox", "mailbox after the wait", "runtime"])
async def test_a_message_that_is_refused_is_free_at_once(why: str, how: str) -> None:
    room = loop.Event()
    options: Any = {"runtime": {"max_pending": 3, "overflow": "raise"}}.get(why, {})
    if why == "mailbox after the wait":
        options = {"max_pending": 3}

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await loop.sleep_forever()

    async def make_room(agent: Actor, ctx: MessageContext) -> None:
        await room.wait()

    async def submit() -> None:
        message = Message(give_id)
        reference = weakref.ref(message)
        try:
            if how == "send":
                await runtime.send_message(message, A)
            else:
                await runtime.publish_message(message, NEWS)
        except Overloaded:
            refused.append(reference)
        del message

    refused: list[weakref.ref[Message]] = []
    async with open_runtime(**options) as runtime, loop.open_nursery() as nursery:
        await Actor.register(
            runtime, "actor", Actor, max_concurrency=1, mailbox_size=1, overflow="raise"
        )
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        await Actor.register(runtime, "other", Actor)
        nursery.start_soon(runtime.send_message, wait, A)
        for _ in range(2):
            nursery.start_soon(runtime.send_message, make_room, AgentId("other", "a"))
        await wait_all_tasks_blocked()
        gc.collect()
        gc.disable()  # a cycle would keep it until the next collection
        try:
            for _ in range(2):
                nursery.start_soon(submit)
                await wait_all_tasks_blocked()
            room.set()
            await wait_all_tasks_blocked()
            assert refused
            assert [reference() for reference in refused] == [None] * len(refused)
        finally:
            gc.enable()
            nursery.cancel_scope.cancel()


async def test_the_refusal_of_a_request_by_a_stop_is_free_at_once() -> None:
    go = loop.Event()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()

    async with open_runtime() as runtime, loop.open_nursery() as nursery:
        await register(runtime)
        nursery.start_soon(runtime.send_message, wait, A)
        await wait_all_tasks_blocked()
        nursery.start_soon(runtime.stop)
        await wait_all_tasks_blocked()
        gc.collect()
        gc.disable()
        try:
            try:
                await runtime.send_message(wait, A)
            except UndeliverableException as exc:
                reference = weakref.ref(exc)
            assert reference() is None
        finally:
            gc.enable()
            go.set()


async def test_messages_that_workers_at_rest_have_handled_are_not_kept_alive() -> None:
    go = loop.Event()

    async def give(agent: Actor, ctx: MessageContext) -> Thing:
        await go.wait()
        return Thing()

    references: list[weakref.ref[Thing]] = []

    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await register(runtime)

        async def send() -> None:
            references.append(weakref.ref(await runtime.send_message(give, A)))

        for _ in range(20):
            nursery.start_soon(send)
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert len(references) == 20
        assert all(map(is_gone, references))


async def test_a_chain_of_publications_keeps_none_of_its_links() -> None:
    """Events that publish events go on for ever: each has the one before as its parent."""
    references: list[weakref.ref[Message]] = []

    def link() -> Message:
        message = Message(pass_on)
        references.append(weakref.ref(message))
        return message

    async def pass_on(agent: Actor, ctx: MessageContext) -> None:
        if len(references) < 50:
            await agent.publish_message(link(), TopicId("news", "b" if agent.id == A else "a"))
        else:
            gc.collect()
            kept.append(sum(reference() is not None for reference in references))

    kept: list[int] = []
    async with open_runtime() as runtime:
        await register(runtime)
        await runtime.publish_message(link(), NEWS)
    assert len(references) == 50
    assert kept[0] <= 2


async def test_a_token_keeps_nothing_of_the_messages_it_accompanied() -> None:
    token = CancellationToken()
    async with open_runtime() as runtime:
        await register(runtime)
        references = []
        for _ in range(10):
            message = Message(give_context)
            references.append(weakref.ref(message))
            await runtime.send_message(message, A, cancellation_token=token)
            await runtime.publish_message(message, NEWS, cancellation_token=token)
        del message
        await wait_all_tasks_blocked()
        assert all(map(is_gone, references))


async def test_an_agent_that_was_deactivated_is_not_kept_alive() -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        await runtime.send_message(give_id, A)
        reference = weakref.ref(await runtime.try_get_underlying_agent_instance(A))
        await runtime.deactivate(A)
        await wait_all_tasks_blocked()
        assert is_gone(reference)


async def test_a_runtime_whose_block_was_left_is_not_kept_alive() -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        await runtime.send_message(give_id, A)
    reference = weakref.ref(runtime)
    del runtime
    assert is_gone(reference)
