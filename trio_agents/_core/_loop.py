"""What the core asks of an event loop, in trio's words. `_loops` answers for each loop there is.

The core never asks which loop it has. Where two loops differ, the difference is behind one of these
names, and a runtime class is tied to its loop by one attribute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from typing import Any, ClassVar, Protocol

from .._sansio._cancellation import Home

__all__ = [
    "CancelScope",
    "Event",
    "EventLoop",
    "Nursery",
    "ReceiveChannel",
    "Reply",
    "SendChannel",
    "close_channel",
]


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
    def close(self) -> None: ...


def close_channel(channel: tuple[SendChannel, ReceiveChannel]) -> None:
    """Close both ends: what is left to a finalizer may find no room on the stack to run in."""
    for end in channel:
        end.close()


class Reply(Protocol):
    """A one-shot place where one task waits until another calls `set`."""

    # Whether a cancellation came that will not come again by itself: `outlast` it, and raise or
    # leave it.
    interrupted: bool

    def set(self) -> None:
        """End the wait. To be called once, in the loop's thread; waiting may not have begun."""
        ...

    def wait(self, abandon: Callable[[], bool]) -> Awaitable[Any]:
        """Wait for `set`. What it returns is to be awaited at once.

        When the waiting task is cancelled, *abandon* is called once, and must not wait. True means
        that `set` will not be called and the cancellation may be raised now. False means that
        `set` has come or is still to come: the wait goes on, shielded, some of it perhaps in
        `outlast`. What had cancelled the task is then delivered by `raise_if_cancelled`. After
        `set` no cancellation ends the wait.
        """
        ...

    async def outlast(self) -> None:
        """Wait for `set`, shielded, if the wait was `interrupted` and *abandon* was False."""
        ...

    def raise_if_cancelled(self) -> None:
        """Raise the cancellation that came during the wait, if one came."""
        ...

    def leave_cancellation(self) -> None:
        """Have the cancellation that came during the wait come again at the next wait."""
        ...


class EventLoop(Protocol):
    """One event loop's answers."""

    # What a cancelled task raises.
    Cancelled: ClassVar[type[BaseException]]
    # What the sender of a message gets that was cancelled, while it was not itself.
    MessageCancelled: ClassVar[type[BaseException]]
    # What a publication's handler may raise and be ignored; anything else means the program.
    Ignorable: ClassVar[tuple[type[BaseException], ...]]

    def open_nursery(self) -> AbstractAsyncContextManager[Any]: ...
    def open_memory_channel(self) -> tuple[SendChannel, ReceiveChannel]:
        """Open a channel without a bound: bounds are kept where submitters wait, in `_room`."""
        ...

    def CancelScope(self, *, deadline: float = ...) -> Any:
        """Open a scope around a wait of the core's own."""
        ...

    def HandlerScope(self) -> Any:
        """Open a scope around handlers, which are cancelled the way this loop's programs expect.

        Nothing but its own `cancel` cancels what is inside.
        """
        ...

    def Event(self) -> Event: ...
    def Reply(self) -> Reply: ...
    def current_time(self) -> float: ...
    async def checkpoint(self) -> None: ...
    def is_cancelled(self) -> bool:
        """Whether the next checkpoint of this task would raise its cancellation."""
        ...

    def is_cancelling(self, scope: Any) -> bool:
        """Whether the handlers in this `HandlerScope` were cancelled by something else than it."""
        ...

    def is_unchanged(self, before: Context) -> bool:
        """Whether a handler has left this task as it was: fit for another.

        *before* is a copy of its context variables then.
        """
        ...

    def join_failures(self, failures: list[BaseException]) -> BaseException:
        """Make one exception of the failures that no sender waited for; there is at least one."""
        ...

    def ends_task(self, error: BaseException) -> bool:
        """Whether it is the cancellation of the running task, which is lost if it is not raised.

        That of a scope can give way to an error: the scope knows that it was cancelled.
        """
        ...

    def explain(self, error: BaseException) -> None:
        """Add a note to an error that comes of code for another event loop."""
        ...

    def check_running(self) -> None:
        """Refuse to begin where this loop does not run.

        Raises:
            RuntimeError: it says which door to use.
        """
        ...

    def here(self) -> object:
        """What identifies the running event loop, as far as it must be told from others.

        None, or something that no loop gives, where no loop of this kind runs.
        """
        ...

    def home(self) -> Home:
        """The thread of the running loop, and how other threads reach it."""
        ...
