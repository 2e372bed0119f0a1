"""What the core asks of an event loop, in trio's words. `_loops` answers for each loop there is.

The core never asks which loop it has. Where two loops differ, the difference is behind one of these
names, and a runtime class is tied to its loop by one attribute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Protocol

from .._sansio._cancellation import Home

__all__ = ["CancelScope", "Event", "EventLoop", "Nursery", "ReceiveChannel", "Reply", "SendChannel"]


class CancelScope(Protocol):
    """A block of code that can be cancelled from outside."""

    @property
    def cancel_called(self) -> bool: ...
    def cancel(self, reason: str | None = None) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, *exc_info: Any) -> bool | None: ...


class Nursery(Protocol):
    """Owns tasks; its block ends when they have."""

    @property
    def cancel_scope(self) -> CancelScope: ...
    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], /, *args: Any) -> None: ...


class Event(Protocol):
    """Something that happens once."""

    def set(self) -> None: ...
    def is_set(self) -> bool: ...
    async def wait(self) -> None: ...


class SendChannel(Protocol):
    """The end of a memory channel that values go into."""

    def send_nowait(self, value: Any, /) -> None: ...
    def close(self) -> None: ...


class ReceiveChannel(Protocol):
    """The end of a memory channel that values come out of."""

    def receive_nowait(self) -> Any: ...
    async def receive(self) -> Any: ...


class Reply(Protocol):
    """A one-shot place where one task waits until another calls `set`."""

    def set(self) -> None:
        """End the wait. To be called once, in the loop's thread; waiting may not have begun."""
        ...

    def wait(self, abandon: Callable[[], bool]) -> Awaitable[Any]:
        """Wait for `set`. What it returns is to be awaited at once.

        When the waiting task is cancelled, *abandon* is called once, and must not wait. True means
        that `set` will not be called and the cancellation may be raised now. False means that
        `set` is still to come: the wait goes on, shielded. What had cancelled the task is then
        delivered by `raise_if_cancelled`.
        """
        ...

    def raise_if_cancelled(self) -> None:
        """Raise the cancellation that came during the wait, if one came."""
        ...


class EventLoop(Protocol):
    """One event loop's answers."""

    # What a cancelled task raises.
    Cancelled: ClassVar[type[BaseException]]
    # What `receive` raises when the sending end is closed and there is nothing left.
    EndOfChannel: ClassVar[type[Exception]]
    # What `receive_nowait` raises when there is nothing to receive.
    WouldBlock: ClassVar[type[Exception]]

    def open_nursery(self) -> AbstractAsyncContextManager[Any]: ...
    def open_memory_channel(self) -> tuple[SendChannel, ReceiveChannel]:
        """Open a channel without a bound: bounds are kept where submitters wait, in `_room`."""
        ...

    def CancelScope(self, *, deadline: float = ..., shield: bool = ...) -> Any: ...
    def Event(self) -> Event: ...
    def Reply(self) -> Reply: ...
    def current_time(self) -> float: ...
    async def sleep_until(self, deadline: float) -> None: ...
    async def checkpoint(self) -> None: ...
    def is_cancelled(self) -> bool:
        """Whether the next checkpoint of this task would raise its cancellation."""
        ...

    def home(self) -> Home:
        """The thread of the running loop, and how other threads reach it."""
        ...
