"""AutoGen's token, and the sender's own task: whichever is cancelled, nothing runs on."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from autogen_core import (
    CancellationToken,
    MessageContext,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
)

from trio_agents.interop._autogen_values import token_of
from trio_agents.interop.autogen import AutoGenRuntime

from .doers import A, Actor, B, Waiter, on_asyncio, started, turns

NEWS = TopicId("news", "a")


@on_asyncio
async def test_a_token_cancels_the_handler_once_and_then_the_sender_goes_on() -> None:
    runtime = await started()
    waiter, token = Waiter(), CancellationToken()
    sending = asyncio.create_task(runtime.send_message(waiter, A, cancellation_token=token))
    await waiter.began.wait()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert waiter.log == ["began", "cancelled", "tidied up"]
    await runtime.stop()


@on_asyncio
async def test_a_cancelled_sending_task_cancels_the_handler_first() -> None:
    runtime = await started()
    waiter = Waiter()
    sending = asyncio.create_task(runtime.send_message(waiter, A))
    await waiter.began.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert waiter.log == ["began", "cancelled", "tidied up"]
    await runtime.stop()


@on_asyncio
async def test_a_token_reaches_the_end_of_a_chain() -> None:
    waiter, token = Waiter(), CancellationToken()
    log: list[str] = []

    async def relay(agent: Actor, ctx: MessageContext) -> None:
        try:
            await agent.send_message(waiter, B)  # with a token of its own, as AutoGen has it
        finally:
            log.append("relay ended")
            log.extend(waiter.log)

    runtime = await started()
    sending = asyncio.create_task(runtime.send_message(relay, A, cancellation_token=token))
    await waiter.began.wait()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert log == ["relay ended", "began", "cancelled", "tidied up"]
    await runtime.stop()


@on_asyncio
async def test_one_token_for_a_whole_chain_cancels_each_handler_once() -> None:
    waiter, token = Waiter(), CancellationToken()
    cancellations: list[int] = []

    async def relay(agent: Actor, ctx: MessageContext) -> None:
        try:
            await agent.send_message(waiter, B, cancellation_token=ctx.cancellation_token)
        finally:
            task = asyncio.current_task()
            assert task is not None
            cancellations.append(task.cancelling())

    runtime = await started()
    sending = asyncio.create_task(runtime.send_message(relay, A, cancellation_token=token))
    await waiter.began.wait()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert cancellations == [1]
    assert waiter.log == ["began", "cancelled", "tidied up"]
    await runtime.stop()


@on_asyncio
async def test_a_token_cancels_every_handler_of_a_publication() -> None:
    waiters: list[Waiter] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        waiter = Waiter()
        waiters.append(waiter)
        await waiter(agent, ctx)

    runtime = await started(ignore_unhandled_exceptions=False)
    for kind in ("one", "two"):
        await Actor.register(runtime, kind, Actor)
        await runtime.add_subscription(TypeSubscription("news", kind))
    token = CancellationToken()
    await runtime.publish_message(act, NEWS, cancellation_token=token)
    await turns()
    token.cancel()
    await runtime.stop_when_idle()
    assert [waiter.log for waiter in waiters] == [["began", "cancelled", "tidied up"]] * 2


@on_asyncio
async def test_a_message_whose_token_is_cancelled_is_not_delivered() -> None:
    runtime = await started()
    waiter, token = Waiter(), CancellationToken()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runtime.send_message(waiter, A, cancellation_token=token)
    await runtime.stop_when_idle()
    assert waiter.log == []


@on_asyncio
async def test_a_queued_message_whose_token_is_cancelled_is_not_delivered() -> None:
    runtime = AutoGenRuntime()
    await Actor.register(runtime, "actor", Actor)
    waiter, token = Waiter(), CancellationToken()
    sending = asyncio.create_task(runtime.send_message(waiter, A, cancellation_token=token))
    await turns()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    runtime.start()
    await runtime.stop_when_idle()
    assert waiter.log == []


@on_asyncio
async def test_a_handler_may_survive_its_cancellation_and_answer() -> None:
    # As AgentChat's code executors do.
    began = asyncio.Event()

    async def act(agent: Actor, ctx: MessageContext) -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await turns()
        return "cancelled, and this is what there was"

    runtime = await started()
    token = CancellationToken()
    sending = asyncio.create_task(runtime.send_message(act, A, cancellation_token=token))
    await began.wait()
    token.cancel()
    assert await sending == "cancelled, and this is what there was"
    await runtime.stop()


@on_asyncio
async def test_a_token_may_be_cancelled_in_another_thread() -> None:
    runtime = await started()
    waiter, token = Waiter(), CancellationToken()
    sending = asyncio.create_task(runtime.send_message(waiter, A, cancellation_token=token))
    await waiter.began.wait()
    await asyncio.to_thread(token.cancel)
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert waiter.log == ["began", "cancelled", "tidied up"]
    await runtime.stop()


@on_asyncio
async def test_a_messages_own_token_is_cancelled_with_its_handler() -> None:
    tokens: list[CancellationToken] = []
    waiter = Waiter()

    async def act(agent: Actor, ctx: MessageContext) -> None:
        tokens.append(ctx.cancellation_token)
        await waiter(agent, ctx)

    runtime = await started()
    sending = asyncio.create_task(runtime.send_message(act, A))
    await waiter.began.wait()
    assert not tokens[0].is_cancelled()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert tokens[0].is_cancelled()
    await runtime.stop()


@on_asyncio
async def test_what_a_handler_published_with_its_own_token_is_cancelled_with_it() -> None:
    published, waiter = Waiter(), Waiter()

    async def act(agent: Actor, ctx: MessageContext) -> None:
        await agent.publish_message(published, NEWS, cancellation_token=ctx.cancellation_token)
        await waiter(agent, ctx)

    runtime = await started()
    await Actor.register(runtime, "other", Actor)
    await runtime.add_subscription(TypeSubscription("news", "other"))
    sending = asyncio.create_task(runtime.send_message(act, A))
    await published.began.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await runtime.stop_when_idle()
    assert published.log == ["began", "cancelled", "tidied up"]


# --- what a token keeps


@contextmanager
def no_collection() -> Iterator[None]:
    """Have nothing collected but by reference counting."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@on_asyncio
async def test_a_long_lived_token_keeps_one_callback_and_no_message() -> None:
    class Message:
        async def __call__(self, agent: Actor, ctx: MessageContext) -> None:
            pass

    runtime = await started()
    token = CancellationToken()
    messages: list[weakref.ref[Message]] = []
    with no_collection():
        for _ in range(100):
            message = Message()
            messages.append(weakref.ref(message))
            await runtime.send_message(message, A, cancellation_token=token)
            del message
        await turns()
        assert [ref() for ref in messages[:-1]] == [None] * 99
    assert len(token._callbacks) == 1
    await runtime.stop()


def test_a_token_is_gone_as_soon_as_nobody_has_it() -> None:
    with no_collection():
        token = CancellationToken()
        alive = weakref.ref(token)
        linked = token_of(token)
        assert linked.original is token
        del linked, token
        assert alive() is None


def test_messages_on_their_way_share_what_a_token_is_linked_to() -> None:
    token = CancellationToken()
    first = token_of(token)
    assert token_of(token) is first


@on_asyncio
async def test_one_token_serves_messages_that_come_and_go() -> None:
    runtime = await started()
    token = CancellationToken()
    first, second, third = Waiter(), Waiter(), Waiter()
    first.go.set()
    assert await runtime.send_message(first, A, cancellation_token=token) == "done"
    options: dict[str, Any] = {"cancellation_token": token}
    tasks = [asyncio.create_task(runtime.send_message(m, A, **options)) for m in (second, third)]
    await third.began.wait()
    token.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert second.log == third.log == ["began", "cancelled", "tidied up"]
    await runtime.stop()


@on_asyncio
async def test_a_token_may_be_cancelled_when_its_messages_have_ended() -> None:
    runtime = await started()
    waiter, token = Waiter(), CancellationToken()
    waiter.go.set()
    assert await runtime.send_message(waiter, A, cancellation_token=token) == "done"
    gc.collect()
    token.cancel()
    assert waiter.log == ["began", "ran on"]
    await runtime.stop()


# --- the same on AutoGen's own runtime


@pytest.mark.parametrize(
    ("make", "log"),
    [
        (AutoGenRuntime, ["began", "cancelled", "tidied up"]),
        (SingleThreadedAgentRuntime, ["began", "ran on"]),
    ],
)
@pytest.mark.parametrize("by", ["token", "task"])
@on_asyncio
async def test_after_a_cancellation_nothing_runs_on_unlike_with_autogens_runtime(
    make: type[Any], log: list[str], by: str
) -> None:
    runtime = make()
    await Actor.register(runtime, "actor", Actor)
    runtime.start()
    waiter, token = Waiter(), CancellationToken()
    sending = asyncio.create_task(runtime.send_message(waiter, A, cancellation_token=token))
    await waiter.began.wait()
    if by == "token":
        token.cancel()
    else:
        sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    waiter.go.set()
    await turns()
    assert waiter.log == log
