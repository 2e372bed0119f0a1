from __future__ import annotations

import threading

import anyio
import pytest

from trio_agents import CancellationToken
from trio_agents._loops._token_scope import token_scope


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
