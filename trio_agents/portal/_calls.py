"""A call that crosses the border: what is to be done, what came of it, and how its caller waits.

One thread makes a call and waits for it, the trio thread does it and settles it, once. Whatever
travels between the two is in one of these objects, and each field is written by one side only
before it is read by the other: `settled` last.
"""

from __future__ import annotations

import asyncio
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any

import trio

__all__ = ["AwaitedCall", "BlockingCall", "Call", "Postbox"]


class Call:
    """Something to be done in the trio thread, for a caller elsewhere.

    Attributes:
        function: An async function, called with *args* and *kwargs*.
        context: The context variables to call it with; None for those of the portal.
        scope: Around the call, while it is under way.
        value, error: What it returned or raised.
        was_cancelled: It did not come to its end.
    """

    __slots__ = (
        "args",
        "context",
        "error",
        "function",
        "kwargs",
        "scope",
        "settled",
        "value",
        "was_cancelled",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        context: Context | None = None,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs or {}
        self.context = context
        self.scope: trio.CancelScope | None = None
        self.settled = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.was_cancelled = False

    def settle(
        self, value: Any = None, error: BaseException | None = None, *, was_cancelled: bool = False
    ) -> None:
        """End the wait of the caller."""
        self.value = value
        self.error = error
        self.was_cancelled = was_cancelled
        self.settled = True
        self._notify()

    def outcome(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        error, self.error = self.error, None
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error, self  # its traceback refers to this frame

    def _notify(self) -> None:
        raise NotImplementedError


class BlockingCall(Call):
    """A call whose caller blocks its thread."""

    __slots__ = ("_underway",)

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        context: Context | None = None,
    ) -> None:
        super().__init__(function, args, kwargs, context)
        self._underway = allocate_lock()
        self._underway.acquire()

    def wait(self) -> None:
        """Wait until it is settled."""
        if not self.settled:
            # Whoever comes back after an interruption finds it open again.
            with self._underway:
                pass

    def _notify(self) -> None:
        self._underway.release()


class AwaitedCall(Call):
    """A call that a task of asyncio waits for. To be made in that task."""

    __slots__ = ("_postbox", "future")

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        context: Context | None,
        postbox: Postbox,
        cancel: Callable[[Call], None],
    ) -> None:
        super().__init__(function, args, kwargs, context)
        self._postbox = postbox
        self.future = _Wait(self, cancel, postbox.loop)

    async def wait(self) -> Any:
        """Wait until it is settled, whatever happens to the task, and give its outcome.

        Raises:
            asyncio.CancelledError: the task was cancelled meanwhile, and so was the call; or it
                came to its end all the same, and what it returned is lost.
            BaseException: what the call raised.
        """
        future = self.future
        try:
            await future
        finally:
            if not self.settled:  # the coroutine is closed: nobody will ever wait again
                future.cancel()
        future.close()
        if future.interruption is not None and (self.error is None or self.was_cancelled):
            raise asyncio.CancelledError(*future.interruption)
        return self.outcome()

    def _notify(self) -> None:
        self._postbox.post(self.future)


class _Wait(asyncio.Future[None]):
    """Where a task of asyncio waits for a call.

    A task that is cancelled calls `cancel` here, and asks nothing but whether that has been seen
    to. It has: the call is being cancelled, and its end ends the wait.
    """

    def __init__(
        self, call: Call, cancel: Callable[[Call], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(loop=loop)
        self.interruption: tuple[object, ...] | None = None
        self._call: Call | None = call
        self._cancel = cancel

    def cancel(self, msg: Any | None = None) -> bool:
        if self.interruption is None:
            self.interruption = () if msg is None else (msg,)
            if self._call is not None:
                self._cancel(self._call)
        return True

    def close(self) -> None:
        """Let go of the call, which refers back to this."""
        self._call = None


class Postbox:
    """The way back to one event loop of asyncio: one wake-up for all that has come meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._arrived: deque[asyncio.Future[None]] = deque()
        self._is_announced = False

    def post(self, future: asyncio.Future[None]) -> None:
        """End the wait for *future*. To be called from any thread."""
        self._arrived.append(future)
        if not self._is_announced:
            self._is_announced = True
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # nobody waits in a loop that is closed
                if not self.loop.is_closed():
                    raise

    def _deliver(self) -> None:
        # First this, then the deque: what is posted in between announces itself once more.
        self._is_announced = False
        while self._arrived:
            future = self._arrived.popleft()
            if not future.done():  # else it would hold up those behind it
                future.set_result(None)
