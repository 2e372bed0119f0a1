"""The core's event loop on asyncio, through anyio's task group, memory object stream and scopes.

Two things are asyncio's own way and not anyio's. A handler is cancelled by one ``task.cancel()``:
anyio repeats it at every later wait, which would break cleanup that waits, and handlers that
survive a cancelled wait and answer, both ordinary in asyncio programs. And whoever waits for a
reply waits for a future that is told of a cancellation *when* it comes, as trio's tasks are, so a
message that is still queued then never begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextvars import Context
from types import TracebackType
from typing import Any, ClassVar, Final, cast

import anyio
import sniffio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from .._core._calls import is_same_context
from .._sansio._cancellation import Home, home_finders
from .._sansio._notes import add_note, leaves_of

__all__ = ["AsyncioLoop", "AsyncioReply", "MessageCancelled"]


# How the reason of a cancellation begins that one of anyio's scopes has sent.
BY_SCOPE: Final = "Cancelled via cancel scope "


class MessageCancelled(asyncio.CancelledError):
    """The message was cancelled: by its `CancellationToken`, or by a stop whose deadline passed.

    It is asyncio's own `CancelledError`, because programs that cancel a token expect that.
    """


class Rest(asyncio.Future[None]):
    """What a wait goes on with that has been cancelled, and must not end by that."""

    __slots__ = ()

    def cancel(self, msg: Any = None) -> bool:
        """The waiting task is being cancelled once more: it has been seen to."""
        return True


class AsyncioReply(asyncio.Future[None]):
    """A future for one waiter, see the core's `Reply`.

    A task that is cancelled while it waits calls `cancel` here, and asks nothing but whether that
    has been seen to.
    """

    __slots__ = ("_abandon", "_interruption", "_rest", "interrupted")

    _abandon: Callable[[], bool] | None
    _interruption: tuple[object, ...] | None
    _rest: Rest
    interrupted: bool

    def set(self) -> None:
        """End the wait."""
        self._abandon = None  # it refers to the message, and that to us
        try:
            self.set_result(None)
        except (asyncio.InvalidStateError, RuntimeError):
            # Its task was cancelled; or its loop has been closed, and nobody waits any more.
            if not self.done() and not self.get_loop().is_closed():
                raise
            rest = self._what_is_left()
            if rest is not None:
                rest.set_result(None)

    def wait(self, abandon: Callable[[], bool]) -> Awaitable[None]:
        """Wait for `set`; a cancellation asks *abandon* whether it may be raised at once."""
        self._abandon = abandon
        self._interruption = None
        self.interrupted = False
        return self

    def cancel(self, msg: Any = None) -> bool:
        """The waiting task is being cancelled: say that it need not see to that itself."""
        if self.interrupted:
            return True
        self._interruption = () if msg is None else (msg,)
        if self._abandon is not None and self._abandon():
            # Giving up may have called `set`: then the task raises it by itself, all the same.
            return super().cancel(msg)
        self.interrupted = True
        if not self.done():
            self._rest = Rest()
            self.set_result(None)
        return True

    def _what_is_left(self) -> Rest | None:
        return getattr(self, "_rest", None)

    async def outlast(self) -> None:
        """Wait for `set` after a cancellation.

        Out of the reach of anyio's scopes: one that was cancelled would cancel this task in every
        turn of the loop, with all of a core, for as long as a handler takes to clean up.
        """
        rest = self._what_is_left()
        if rest is not None:
            with anyio.CancelScope(shield=True):
                await rest

    def raise_if_cancelled(self) -> None:
        """Raise the cancellation that came during the wait, if one came."""
        if self._interruption is not None:
            raise asyncio.CancelledError(*self._interruption)

    def leave_cancellation(self) -> None:
        """Have the cancellation that came during the wait come again at the next wait."""
        if self.interrupted:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            task.cancel(*(self._interruption or ()))


class TaskScope:
    """Around the handlers of one worker task: `cancel` cancels that task, once for each call.

    Scopes around it do not reach inside. Every cancellation ends here, whoever asked for it: it was
    meant for the handler, and a task group takes a cancelled child for a reason to cancel the rest.
    """

    def __init__(self) -> None:
        self._shield = anyio.CancelScope(shield=True)
        self._task: asyncio.Task[Any] | None = None
        self.cancel_called = False

    def __enter__(self) -> TaskScope:
        self._task = asyncio.current_task()
        self._shield.__enter__()
        return self

    def cancel(self, reason: str | None = None) -> None:
        """Cancel the handler that runs here."""
        self.cancel_called = True
        assert self._task is not None  # a settled message has let go of its scope
        self._task.cancel(reason)

    @property
    def is_cancelling(self) -> bool:
        """Whether the task was cancelled, by this scope or with all others when a loop ends.

        Not by a deadline of the handler's own: then it goes on after that, if nobody cancels it.
        """
        if self._task is None or not self._task.cancelling():
            return False
        if self.cancel_called:
            return True
        # asyncio does not say who has cancelled a task. Who cancels all, cancels the caller too. A
        # wait for a reply that goes on although it was cancelled is not disturbed by once more.
        caller = asyncio.current_task()
        waits_for: Any = getattr(self._task, "_fut_waiter", None)
        is_waiting_on = isinstance(waits_for, Rest) or (
            isinstance(waits_for, AsyncioReply) and waits_for.interrupted
        )
        return caller is not None and caller.cancelling() > 0 and not is_waiting_on

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._task = None
        self._shield.__exit__(exc_type, exc, traceback)
        if isinstance(exc, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", exc)
            return group.split(asyncio.CancelledError)[1] is None
        return isinstance(exc, asyncio.CancelledError)


class Channel:
    """Both ends of a memory object stream.

    A runtime closes it when nothing is in it. One that was abandoned with its event loop does not;
    it is closed when nobody holds it any more.
    """

    __slots__ = ("__weakref__", "close", "receive_nowait", "send_nowait")

    def __init__(self) -> None:
        send, receive = anyio.create_memory_object_stream[Any](math.inf)
        self.send_nowait = send.send_nowait
        self.receive_nowait = receive.receive_nowait
        # Not `__del__`: in a cycle of garbage the streams' own, which warn, might come before it.
        self.close = weakref.finalize(self, close_both, send, receive)  # it does so once


def close_both(send: MemoryObjectSendStream[Any], receive: MemoryObjectReceiveStream[Any]) -> None:
    """Close both ends of a stream."""
    send.close()
    receive.close()


class Nursery:
    """anyio's task group, whose children end well."""

    def __init__(self) -> None:
        self._group = anyio.create_task_group()
        self._is_starting = False

    @property
    def cancel_scope(self) -> anyio.CancelScope:
        """The scope around everything here."""
        return self._group.cancel_scope

    async def __aenter__(self) -> Nursery:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        # The task group sees to its own scope.
        return await self._group.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102

    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], /, *args: Any) -> None:
        """Run a function as a child task."""
        self._is_starting = True
        # anyio asks which loop runs, and in a callback of the loop, where no task is current (a
        # token that `call_later` cancels), nobody would know.
        before, sniffio.thread_local.name = sniffio.thread_local.name, "asyncio"
        try:
            self._group.start_soon(self._run, async_fn, *args)
        finally:
            sniffio.thread_local.name = before
            self._is_starting = False

    async def _run(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        if self._is_starting:  # an eager task factory: nothing is to begin inside of `start_soon`
            await asyncio.sleep(0)
        await async_fn(*args)
        task = asyncio.current_task()
        assert task is not None
        if task.cancelling():
            # A cancellation that came when its handler waited for nothing any more is delivered
            # here, or the task would end as a cancelled one.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            while task.cancelling():
                task.uncancel()


class AsyncioLoop:
    """What the core asks of an event loop, on asyncio."""

    Cancelled: ClassVar[type[BaseException]] = asyncio.CancelledError
    CancelScope = anyio.CancelScope
    Event = anyio.Event
    HandlerScope = TaskScope
    Ignorable: ClassVar[tuple[type[BaseException], ...]] = (Exception, asyncio.CancelledError)
    MessageCancelled: ClassVar[type[BaseException]] = MessageCancelled
    Reply = AsyncioReply

    here = staticmethod(asyncio._get_running_loop)
    open_nursery = Nursery

    @staticmethod
    def open_memory_channel() -> tuple[Channel, Channel]:
        """Open a memory object stream without a bound."""
        channel = Channel()
        return channel, channel

    @staticmethod
    def check_running() -> None:
        """Refuse to begin outside of asyncio.

        Raises:
            RuntimeError: it says which door to use.
        """
        if asyncio._get_running_loop() is None:
            raise RuntimeError(
                "this runtime runs on asyncio and needs a running event loop: use it in a "
                "coroutine, inside asyncio.run(main()) say. In a trio program import the runtime "
                "from trio_agents"
            )

    @staticmethod
    def current_time() -> float:
        """The time of the loop's clock, in seconds."""
        return asyncio.get_running_loop().time()

    @staticmethod
    async def checkpoint() -> None:
        """Let other tasks run."""
        await asyncio.sleep(0)

    @staticmethod
    def is_cancelled() -> bool:
        """Whether this task has been cancelled."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    @staticmethod
    def is_cancelling(scope: TaskScope) -> bool:
        """Whether somebody has cancelled the task: the end of its loop cancels all tasks."""
        return scope.is_cancelling

    @staticmethod
    def is_unchanged(before: Context) -> bool:
        """Whether the context variables are as *before*, and nobody has cancelled the task."""
        task = asyncio.current_task()
        return is_same_context(before) and task is not None and not task.cancelling()

    @staticmethod
    def join_failures(failures: list[BaseException]) -> BaseException:
        """Give the first failure itself, for programs that catch it; all are in its cause."""
        first = failures[0]
        group = BaseExceptionGroup("unhandled exceptions in message handlers", failures)
        group.__cause__ = first.__cause__
        # Past its class: a frozen dataclass lets nobody set its attributes.
        BaseException.__setattr__(first, "__cause__", group)
        return first

    @staticmethod
    def ends_task(error: BaseException) -> bool:
        """Whether somebody has called this task's `cancel`, as Ctrl-C does, and no scope has.

        Code that awaits another task, which was cancelled, raises the same and means nothing by it.
        """
        if not isinstance(error, asyncio.CancelledError) or isinstance(error, MessageCancelled):
            return False
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            return False
        reason = error.args[0] if error.args else None
        return not (isinstance(reason, str) and reason.startswith(BY_SCOPE))

    @staticmethod
    def explain(error: BaseException) -> None:
        """Say which door to use, to code written for trio."""
        for leaf in filter(is_misplaced, leaves_of(error)):
            add_note(
                leaf,
                "This runtime runs on asyncio, and code that it called awaited something of "
                "trio's. Agents written for trio run in a trio_agents runtime: inside trio, or "
                "behind trio_agents.portal.open_portal() for callers on asyncio.",
            )

    @staticmethod
    def home() -> Home:
        """The thread of the running loop."""
        loop = asyncio.get_running_loop()

        def call_soon(callback: Callable[[], object]) -> None:
            # When that loop is closed there is nothing left to cancel.
            try:
                loop.call_soon_threadsafe(callback)
            except RuntimeError:
                if not loop.is_closed():
                    raise

        return Home(threading.get_ident(), call_soon)


def is_misplaced(error: BaseException) -> bool:
    """Whether *error* is trio's, or asyncio's, about a wait for something of trio's."""
    if type(error) is AttributeError:  # a nursery's
        return str(error) == "'RunContext' object has no attribute 'runner'"
    # Not of a subclass, which may be one of the application's that cannot be printed.
    text = str(error) if type(error) is RuntimeError else ""
    return text == "must be called from async context" or (
        text.startswith("Task got bad yield") and "trio" in text
    )


def _find_home() -> Home | None:
    return None if asyncio._get_running_loop() is None else AsyncioLoop.home()


home_finders.append(_find_home)
