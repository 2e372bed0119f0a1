"""`token_scope`: a block that a `CancellationToken` cancels, on the loop that runs.

Tools, model clients and executors are given tokens. Around what they wait for stands this block. As
with messages, what is cancelled is cancelled the loop's own way: on trio by a scope, on asyncio by
one ``task.cancel()``, so that cleanup that waits is not cancelled again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator
from contextlib import contextmanager

import sniffio
import trio

from .._sansio._cancellation import CancellationToken, current_home
from .._sansio._errors import MessageCancelled
from . import _asyncio, _trio

__all__ = ["token_scope"]

_LOOPS = (_asyncio, _trio)  # imported for their homes: a token is cancelled from any thread


@contextmanager
def token_scope(
    token: CancellationToken | None, what: str, *, has_begun: bool = False
) -> Generator[None, None, None]:
    """Cancel what waits inside of the block when *token* is cancelled.

    A cancellation from outside, by a scope or a deadline, goes through as ever.

    Args:
        token: None for a block like any other.
        what: what is done inside, for the error.
        has_begun: whether the block goes on with what an earlier one has begun, for the error.

    Raises:
        MessageCancelled: the token was cancelled, before or inside; what waited inside has
            unwound. On asyncio it is that of ``trio_agents.asyncio.exceptions``, a
            `CancelledError`.
    """
    if token is None:
        yield
    elif sniffio.current_async_library() == "trio":
        yield from _on_trio(token, what, has_begun)
    else:
        yield from _on_asyncio(token, what, has_begun)


def _too_late(what: str, has_begun: bool) -> str:
    return f"{what} was cancelled by its token" + ("" if has_begun else " before it began")


def _on_trio(token: CancellationToken, what: str, has_begun: bool) -> Generator[None, None, None]:
    # The token of a message is cancelled with its sender's scope. A handler that learns of it here
    # first, after a wait that was shielded, must not make an error of it: the sender waits for its
    # own cancellation, which comes as soon as the block waits.
    is_cancelled_outside = trio.current_effective_deadline() == -math.inf
    if token.is_cancelled() and not is_cancelled_outside:
        raise MessageCancelled(_too_late(what, has_begun))
    scope = trio.CancelScope()
    handle = token.link(lambda: scope.cancel("its token was cancelled"), current_home())
    try:
        with scope:
            yield
    finally:
        token.unlink(handle)
    if scope.cancelled_caught:
        raise MessageCancelled(f"{what} was cancelled by its token")


def _on_asyncio(
    token: CancellationToken, what: str, has_begun: bool
) -> Generator[None, None, None]:
    if token.is_cancelled():
        raise _asyncio.MessageCancelled(_too_late(what, has_begun))
    task = asyncio.current_task()
    assert task is not None  # sniffio has found asyncio by it
    loop = asyncio.get_running_loop()
    cancelling = task.cancelling()
    called = False
    inside = True

    def cancel() -> None:
        nonlocal called
        if inside:  # it may come late, after the block
            called = True
            task.cancel()

    # A task that cancels its own token goes on until it waits; call_soon finds it there.
    handle = token.link(lambda: loop.call_soon(cancel), current_home())
    try:
        yield
    except asyncio.CancelledError as error:
        # Somebody else may have cancelled the task too: then that is what it must see.
        if called and task.uncancel() <= cancelling:
            raise _asyncio.MessageCancelled(  # noqa: ASYNC104  # it is a CancelledError too
                f"{what} was cancelled by its token"
            ) from error
        raise
    else:
        if called:  # the block has kept the cancellation to itself
            task.uncancel()
    finally:
        inside = False
        token.unlink(handle)
