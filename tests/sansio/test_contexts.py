from __future__ import annotations

import contextvars
import dataclasses
import uuid
from typing import Any

import pytest
import trio

from trio_agents._sansio._cancellation import CancellationToken
from trio_agents._sansio._contexts import (
    AgentInstantiationContext,
    MessageContext,
    MessageHandlerContext,
    SubscriptionInstantiationContext,
    current_handler_id,
)
from trio_agents._sansio._identifiers import AgentId, AgentType, TopicId

A = AgentId("a", "x")
B = AgentId("b", "y")
RUNTIME: Any = object()


# CX-07, CX-08, CX-09, CX-10, CX-11, CX-12
def test_a_message_context_holds_what_it_is_given() -> None:
    token = CancellationToken()
    ctx = MessageContext(A, TopicId("t", "s"), False, token, "id")
    assert (ctx.sender, ctx.topic_id, ctx.is_rpc) == (A, TopicId("t", "s"), False)
    assert ctx.cancellation_token is token
    assert ctx.message_id == "id"
    ctx = MessageContext(
        sender=None, topic_id=None, is_rpc=True, cancellation_token=token, message_id="id"
    )
    assert (ctx.sender, ctx.topic_id, ctx.is_rpc) == (None, None, True)


# CX-11, CX-12
def test_token_and_id_are_made_when_they_are_first_read() -> None:
    ctx = MessageContext(None, None, True)
    assert ctx.cancellation_token is ctx.cancellation_token
    assert not ctx.cancellation_token.is_cancelled()
    assert ctx.message_id == ctx.message_id
    assert uuid.UUID(ctx.message_id).version == 4
    other = MessageContext(None, None, True)
    assert other.message_id != ctx.message_id
    assert other.cancellation_token is not ctx.cancellation_token


# CX-07
def test_a_message_context_is_a_dataclass() -> None:
    ctx = MessageContext(A, None, True, None, "id")
    assert [field.name for field in dataclasses.fields(ctx)] == [
        "sender",
        "topic_id",
        "is_rpc",
        "cancellation_token",
        "message_id",
    ]
    replaced = dataclasses.replace(ctx, sender=B)
    assert (replaced.sender, replaced.is_rpc, replaced.message_id) == (B, True, "id")
    assert replaced.cancellation_token is ctx.cancellation_token


def test_a_message_context_shows_no_secrets() -> None:
    assert repr(MessageContext(A, None, True)) == "<MessageContext rpc sender=a/x>"
    shown = repr(MessageContext(None, TopicId("t", "s"), False))
    assert shown == "<MessageContext topic_id=t/s sender=None>"


# CX-01, CX-02, CX-03, CX-04
def test_the_instantiation_context_holds_inside_its_block_even_if_that_raises() -> None:
    assert not AgentInstantiationContext.is_in_factory_call()
    with AgentInstantiationContext.populate_context((RUNTIME, A)):
        assert AgentInstantiationContext.is_in_factory_call()
        assert AgentInstantiationContext.current_runtime() is RUNTIME
        assert AgentInstantiationContext.current_agent_id() is A
        with pytest.raises(KeyError), AgentInstantiationContext.populate_context((RUNTIME, B)):
            raise KeyError(AgentInstantiationContext.current_agent_id())
        assert AgentInstantiationContext.current_agent_id() is A
    assert not AgentInstantiationContext.is_in_factory_call()
    for read in (
        AgentInstantiationContext.current_runtime,
        AgentInstantiationContext.current_agent_id,
    ):
        with pytest.raises(RuntimeError, match="while a runtime makes an agent"):
            read()


# CX-05
def test_the_subscription_context_holds_inside_its_block() -> None:
    with SubscriptionInstantiationContext.populate_context(AgentType("a")):
        assert SubscriptionInstantiationContext.agent_type() == AgentType("a")
    with pytest.raises(RuntimeError, match="while an agent type is registered"):
        SubscriptionInstantiationContext.agent_type()


# CX-06
def test_the_handler_context_holds_inside_its_block() -> None:
    assert current_handler_id() is None
    with MessageHandlerContext.populate_context(A):
        assert MessageHandlerContext.agent_id() is A
        assert current_handler_id() is A
        with MessageHandlerContext.populate_context(B):
            assert MessageHandlerContext.agent_id() is B
        assert MessageHandlerContext.agent_id() is A
    with pytest.raises(RuntimeError, match="while a message handler runs"):
        MessageHandlerContext.agent_id()


# CX-06
async def test_handlers_that_run_at_the_same_time_do_not_see_each_other_s() -> None:
    seen: list[AgentId] = []

    async def handle(id: AgentId) -> None:
        with MessageHandlerContext.populate_context(id):
            await trio.lowlevel.checkpoint()
            assert MessageHandlerContext.agent_id() is id
            async with trio.open_nursery() as nursery:
                nursery.start_soon(started_by_the_handler)

    async def started_by_the_handler() -> None:
        seen.append(MessageHandlerContext.agent_id())

    async with trio.open_nursery() as nursery:
        for id in (A, B):
            nursery.start_soon(handle, id)
    assert sorted(map(str, seen)) == ["a/x", "b/y"]
    assert current_handler_id() is None


# CX-06
async def test_the_handler_context_follows_into_threads() -> None:
    with MessageHandlerContext.populate_context(A):
        assert await trio.to_thread.run_sync(MessageHandlerContext.agent_id) is A
    assert contextvars.Context().run(current_handler_id) is None


# CX-01, CX-05, CX-06
@pytest.mark.parametrize(
    "namespace",
    [AgentInstantiationContext, MessageHandlerContext, SubscriptionInstantiationContext],
)
def test_the_contexts_are_namespaces(namespace: Any) -> None:
    with pytest.raises(TypeError, match="is a namespace"):
        namespace()
