from __future__ import annotations

import threading

import anyio
import pytest

import trio_agents.asyncio
from trio_agents import AgentId, CancellationToken, ClosureContext, MessageContext
from trio_agents._loops._token_scope import token_scope

from .conftest import Backend


async def test_a_cancelled_token_ends_the_wait_inside(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()
    unwound = False
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, token.cancel)
        with pytest.raises(MessageCancelled, match="the call was cancelled by its token"):
            with token_scope(token, "the call"):
                try:
                    await anyio.sleep_forever()
                finally:
                    unwound = True
    assert unwound


async def test_a_token_that_is_cancelled_already_begins_nothing(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()
    token.cancel()
    with pytest.raises(MessageCancelled, match="before it began"):
        with token_scope(token, "the call"):
            pytest.fail("it began")


async def test_a_token_that_is_cancelled_inside_by_the_task_itself_ends_its_next_wait(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()
    with pytest.raises(MessageCancelled):
        with token_scope(token, "the call"):
            token.cancel()
            await anyio.sleep_forever()


async def test_a_token_that_is_cancelled_after_the_block_cancels_nothing() -> None:
    token = CancellationToken()
    with token_scope(token, "the call"):
        await anyio.lowlevel.checkpoint()
    token.cancel()
    await anyio.lowlevel.checkpoint()


async def test_a_token_that_is_cancelled_by_another_thread_too_late_cancels_nothing() -> None:
    token = CancellationToken()
    with token_scope(token, "the call"):
        thread = threading.Thread(target=token.cancel)
        thread.start()
        thread.join()
    await anyio.lowlevel.checkpoint()


async def test_a_block_that_keeps_the_cancellation_to_itself_leaves_none_behind() -> None:
    token = CancellationToken()
    with token_scope(token, "the call"):
        token.cancel()
        with pytest.raises(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
    await anyio.lowlevel.checkpoint()


async def test_a_scope_around_the_block_cancels_it_as_ever() -> None:
    token = CancellationToken()
    with anyio.CancelScope() as scope:
        with token_scope(token, "the call"):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_without_a_token_it_is_a_block_like_any_other() -> None:
    with token_scope(None, "the call"):
        await anyio.lowlevel.checkpoint()


async def test_an_error_inside_goes_through() -> None:
    with pytest.raises(KeyError):
        with token_scope(CancellationToken(), "the call"):
            raise KeyError


async def test_a_request_that_begins_after_its_sender_was_cancelled_is_no_error_of_the_sender(
    backend: Backend,
) -> None:
    """A message's token is cancelled with its sender's scope, and may be seen before the scope."""

    async def handle(_: ClosureContext, __: str, ctx: MessageContext) -> None:
        with anyio.CancelScope(shield=True):
            sender.cancel()
            while not ctx.cancellation_token.is_cancelled():
                await anyio.lowlevel.checkpoint()
        with token_scope(ctx.cancellation_token, "the call"):
            await anyio.sleep_forever()

    loop = trio_agents if backend == "trio" else trio_agents.asyncio
    async with loop.open_runtime() as runtime:
        await loop.ClosureAgent.register_closure(runtime, "doer", handle)
        with anyio.CancelScope() as sender:
            await runtime.send_message("go", AgentId("doer", "a"))
        assert sender.cancelled_caught
