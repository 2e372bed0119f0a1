"""The thread that a portal's trio runtime lives in, and how calls get there and back.

Calls wait in one deque, the *inbox*. Whoever puts one there wakes the trio thread, unless somebody
has done so and it has not come yet: so ten thousand calls of one turn of an asyncio loop cost one
wake-up, and so do the replies on their way back (`Postbox`). anyio's portal wakes the thread once
for each call, and has its caller wait until the task has been started.

In the trio thread *callers* take the calls: tasks that make one call after the other. They follow
the pattern of the runtime's own workers, for the same reason: calls must begin in the order in
which they were made, and trio shuffles tasks that are started together. So there is one queue; who
takes a call begins it in the same step; and who begins one while there are more sends a *scout*
first, another caller, which takes the next if this one has to wait.

A call needs the context variables of its maker: the span that a message belongs to is one of them.
Callers have those that were in force where the portal was opened, which is nearly always the same.
A call that has others gets a task of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from contextvars import Context, ContextVar, copy_context
from types import TracebackType
from typing import Any, Final, cast

import trio
from anyio.from_thread import BlockingPortal

from .._core._calls import close_unawaited
from .._core._pipeline import split_cancelled
from .._sansio._abc import AgentRuntime
from .._sansio._contexts import NO_FRAME, current_frame
from ._calls import AwaitedCall, BlockingCall, Call, Postbox
from ._errors import PortalClosedError

__all__ = ["TrioThread"]

MAX_RESTING: Final = 128
# Calls that never wait do not starve the handlers: after so many in a row it is another's turn.
MAX_STREAK: Final = 64

# The thread whose runtime this code was called by, if it was, also through `trio.to_thread`.
_inside: ContextVar[TrioThread | None] = ContextVar("trio_agents.portal", default=None)


class TrioThread:
    """A thread that runs trio, with one runtime in it, from `start` until `leave`.

    `opened` is settled with the runtime when that can be used, and `ended` when the thread has
    nothing more to do. The caller supplies both, since it has to wait for them in its own way.
    """

    def __init__(self, runtime_factory: Callable[[], Any]) -> None:
        self.portal: BlockingPortal | None = None
        self.runtime: Any = None
        self._runtime_factory = runtime_factory
        self._context = copy_context()  # of whoever opens the portal
        self._own_context = self._adapt(self._context.copy())
        self._thread = threading.Thread(
            target=self._own_context.copy().run,
            args=(self._run,),
            name=f"trio_agents portal {id(self):x}",
            daemon=True,  # a program that ends without leaving the block does end
        )
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._is_cancelled = False
        self._error: BaseException | None = None
        self._opened: Call | None = None
        self._ended: Call | None = None
        self._leaving = trio.Event()
        self._exception: BaseException | None = None  # what the block is left by
        # The inbox. Invariant: something in it and `_is_awake` false => a caller is on its way.
        self._inbox: deque[Call] = deque()
        self._is_awake = False
        self._nursery: trio.Nursery | None = None
        self._scouts = 0  # callers that were woken or started and have not run yet
        self._is_handing_over = False  # a call has been given to a task that has not begun it yet
        self._resting = trio.lowlevel.ParkingLot()
        # Why calls are refused, once they are.
        self._closed = ""
        self._postboxes = threading.local()

    # --- from other threads: the life of the thread

    def start(self, opened: Call, ended: Call) -> None:
        """Start the thread, which makes the runtime and settles *opened*, and in the end *ended*.

        If there is no runtime, *opened* is settled when the thread has ended, with the reason.
        """
        self._opened = opened
        self._ended = ended
        try:
            self._thread.start()
        except BaseException:
            self.cancel()  # should it come to life all the same
            raise

    def leave(self, exception: BaseException | None) -> None:
        """Have the thread end: when all is done, or, with an *exception*, by cancelling it."""
        self._exception = exception
        with suppress(PortalClosedError):  # it is ending already
            self._put(_Notice(self._leave))

    async def _leave(self) -> None:
        self._leaving.set()

    def cancel(self) -> None:
        """Have the thread end at once, by cancelling what runs."""
        self._is_cancelled = True
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel, "the portal was given up")

    def has_begun(self) -> bool:
        """Whether there is a thread that will settle `ended`."""
        return self._thread.ident is not None

    def join(self) -> None:
        """Wait for the thread, which is about to end."""
        self._thread.join()

    def result(
        self, exception: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Say what leaving the block by *exception* has come to, when the thread has ended.

        Returns:
            True if the runtime's own block has swallowed it.

        Raises:
            BaseException: what that block raised instead.
        """
        error, self._error = self._error, None
        if error is None:
            return True if exception is not None else None
        if error is exception:
            error.with_traceback(traceback)  # without its way through the trio thread
            return None
        try:
            raise error
        finally:
            del error, self, exception  # its traceback refers to this frame

    def is_inside(self) -> bool:
        """Whether this is the trio thread."""
        return threading.get_ident() == self._thread.ident

    # --- from other threads: calls

    def call_blocking(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        apart: bool = False,
    ) -> Any:
        """Have the trio thread do something, and wait for the outcome; see `BlockingRuntime`."""
        if self.is_inside():
            raise RuntimeError(
                "this call would block the thread that it waits for: inside of the portal's own "
                "trio thread, in a handler say, use the runtime itself and await it. An agent has "
                "it as self.runtime"
            )
        call = BlockingCall(function, args, kwargs, self._context_of_call(apart=apart))
        try:
            self._put(call)
            call.wait()
        except PortalClosedError:
            raise
        except BaseException as interrupt:  # Ctrl-C, which Python raises in the main thread
            self.cancel_call(call)
            call.wait()  # until the handler has unwound; a second Ctrl-C does not wait for that
            if call.error is None or call.was_cancelled:
                raise
            error, call.error = call.error, None
            raise interrupt from error
        return call.outcome()

    def call_awaited(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        postbox: Postbox,
        apart: bool = False,
    ) -> AwaitedCall:
        """Have the trio thread do something. What is returned is to be waited for at once."""
        call = AwaitedCall(
            function,
            args,
            kwargs,
            self._context_of_call(apart=apart),
            postbox,
            self.cancel_call,
        )
        self._put(call)
        return call

    def cancel_call(self, call: Call) -> None:
        """Cancel a call. It is settled all the same, when it has unwound."""
        assert self._token is not None
        try:
            self._token.run_sync_soon(self._cancel_call, call)
        except trio.RunFinishedError:
            self._refuse_all()
            if not call.settled:  # an interruption kept it out of the inbox
                call.settle(was_cancelled=True)

    def postbox(self) -> Postbox:
        """Give the way back to the asyncio loop that runs here.

        Raises:
            RuntimeError: none does.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "no event loop of asyncio runs here, which is who this form of a portal is for: "
                + (
                    "inside of the portal's own trio thread, in a handler say, use the runtime "
                    "itself. An agent has it as self.runtime"
                    if self.is_inside()
                    else "use a runtime without a portal in trio, and `with open_portal()` in "
                    "synchronous code"
                )
            ) from None
        postbox: Postbox | None = getattr(self._postboxes, "current", None)
        if postbox is None or postbox.loop is not loop:
            postbox = self._postboxes.current = Postbox(loop)
        return postbox

    def _context_of_call(self, *, apart: bool) -> Context | None:
        context = copy_context()
        if not apart:
            try:
                if context == self._context:
                    return None
            except Exception:  # values that cannot be compared, and are not those they were
                pass
        return self._adapt(context)

    def _adapt(self, context: Context) -> Context:
        """Make a copied context fit for the trio thread."""
        if context.get(_inside) is not self:
            # A handler of another runtime is at work there. Its books are kept in another thread.
            if context.get(current_frame, NO_FRAME) is not NO_FRAME:
                context.run(current_frame.set, NO_FRAME)
            context.run(_inside.set, self)
        return context

    def _put(self, call: Call) -> None:
        if self._closed:
            raise PortalClosedError(self._closed)
        self._inbox.append(call)
        # A thread that blocks has one call under way, and saves nothing by relying on another's
        # wake-up. And Ctrl-C, which may hit between these two lines, leaves no call behind that
        # others rely on.
        if isinstance(call, AwaitedCall):
            if self._is_awake:
                return
            self._is_awake = True
        assert self._token is not None
        try:
            self._token.run_sync_soon(self._take)
        except trio.RunFinishedError:
            self._is_awake = False
            self._refuse_all()

    # --- in the trio thread

    def _run(self) -> None:
        assert self._opened is not None
        assert self._ended is not None
        try:
            trio.run(self._main)
        # Handed to whoever opened the portal.
        except BaseException as exc:  # noqa: ASYNC103
            self._error = exc
        self._closed = self._closed or "this portal is closed: it never came to be"
        self._refuse_all()
        if not self._opened.settled:
            self._opened.settle(error=self._error, was_cancelled=self._error is None)
        self._ended.settle()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._is_cancelled:  # before there was a token
            return
        async with BlockingPortal() as self.portal, trio.open_nursery() as self._nursery:
            try:
                await self._live()
            finally:
                self._closed = "this portal is closed: "
                if self._error in (None, self._exception):
                    self._closed += "calls have to be made inside of its block"
                else:
                    self._closed += f"its runtime ended with {self._error!r}"
                self._refuse_all()
                # Cancels all that is around here too, our nursery with it.
                await self.portal.stop(cancel_remaining=True)  # noqa: ASYNC102  # it never waits

    async def _live(self) -> None:
        assert self._opened is not None
        try:
            with self._scope:
                async with enter(self._runtime_factory()) as runtime:
                    check_runtime(runtime)
                    self.runtime = runtime
                    lifecycle = cast("Any", runtime) if hasattr(runtime, "is_started") else None
                    if lifecycle is not None and not lifecycle.is_started():
                        lifecycle.start()
                    self._opened.settle()
                    await self._leaving.wait()
                    if self._exception is not None:
                        raise self._exception
                    if lifecycle is not None and lifecycle.is_started():
                        await lifecycle.stop_when_idle()
        # Handed to whoever opened the portal: around our nursery, which would make it a group.
        except BaseException as exc:  # noqa: ASYNC103
            if isinstance(exc, trio.Cancelled) and exc is not self._exception:
                raise
            self._error = exc

    def _take(self) -> None:
        # First this, then the inbox: what is put there in between wakes us once more.
        self._is_awake = False
        if self._closed:
            self._refuse_all()
        elif self._inbox:
            self._send_scout()

    def _refuse_all(self) -> None:
        """Fail what is in the inbox. To be called from any thread, once it is closed."""
        while self._inbox:
            with suppress(IndexError):  # another thread does the same
                call = self._inbox.popleft()
                if not call.settled:  # cancelled before it began
                    call.settle(error=PortalClosedError(self._closed), was_cancelled=True)

    def _cancel_call(self, call: Call) -> None:
        if call.settled:
            return
        if call.scope is not None:
            call.scope.cancel("its caller was cancelled")
        else:  # still in the inbox, or with a task that has not begun it
            call.settle(was_cancelled=True)

    def _send_scout(self) -> None:
        if self._scouts or self._is_handing_over:
            return
        self._scouts += 1
        if not self._resting.unpark():
            assert self._nursery is not None
            self._own_context.run(self._nursery.start_soon, self._call_on_and_on)

    async def _call_on_and_on(self) -> None:
        inbox = self._inbox
        streak = 0
        self._scouts -= 1
        while True:
            if not inbox or self._is_handing_over or streak >= MAX_STREAK:
                if inbox and streak:  # none was sent for calls that were over before they began
                    self._send_scout()
                if len(self._resting) >= MAX_RESTING:
                    return
                streak = 0
                await self._resting.park()
                self._scouts -= 1
                continue
            streak += 1
            call = inbox.popleft()
            if call.settled:
                continue
            if call.context is not None:
                assert self._nursery is not None
                self._is_handing_over = True
                call.context.run(self._nursery.start_soon, self._call_apart, call)
                continue
            if inbox:
                self._send_scout()
            await self._make(call)
            del call  # at rest it keeps nothing of what it had

    async def _call_apart(self, call: Call) -> None:
        self._is_handing_over = False
        if self._inbox:
            self._send_scout()
        if not call.settled:
            await self._make(call)

    async def _make(self, call: Call) -> None:
        """Make one call and settle it, whatever comes of it."""
        value: Any = None
        error: BaseException | None = None
        cancelled: BaseException | None = None
        scope = call.scope = trio.CancelScope()
        try:
            with scope:
                value = await call.function(*call.args, **call.kwargs)
        # Not ours to judge: whoever waits for the call gets it, whatever it is.
        except BaseException as exc:  # noqa: ASYNC103
            cancelled, error = split_cancelled(exc, trio.Cancelled)
        try:
            if cancelled is not None and error is None:
                error = PortalClosedError("the portal was closed before this call had ended")
                call.settle(error=error, was_cancelled=True)
            else:
                call.settle(value, error, was_cancelled=scope.cancelled_caught and error is None)
            if cancelled is not None:
                raise cancelled
        finally:
            del error, cancelled, value  # a traceback refers to this frame


class _Notice(Call):
    """A call that nobody waits for."""

    __slots__ = ()

    def _notify(self) -> None:
        pass


def enter(given: object) -> AbstractAsyncContextManager[object]:
    """Give the block around what a runtime factory gave.

    Raises:
        TypeError: it cannot be a runtime, nor lead to one.
    """
    if not isinstance(given, type):
        if isinstance(given, AbstractAsyncContextManager):
            return cast("AbstractAsyncContextManager[object]", given)
        if isinstance(given, AgentRuntime):
            return nullcontext(given)
    close_unawaited(given)
    raise TypeError(
        "runtime_factory must give an async context manager of an AgentRuntime, such as "
        "open_runtime() or a function decorated with @asynccontextmanager, "
        f"not {'a class' if isinstance(given, type) else type(given).__name__}"
    )


def check_runtime(given: object) -> None:
    """Look at what the block gave.

    Raises:
        TypeError: it is no runtime.
    """
    if not isinstance(given, AgentRuntime):
        raise TypeError(
            "runtime_factory's context manager must give an AgentRuntime, "
            f"not {type(given).__name__}"
        )
