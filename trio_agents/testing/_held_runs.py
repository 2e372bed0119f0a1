"""A run of an event loop that is held: it goes on when it is told to, until nobody can.

Whatever drives a runtime step by step, in code that is not async, needs a run that outlives each of
its calls. trio has that as a guest of another loop; the other loop is a list here. It would wait
for time and for files in a thread, but asks its clock first how long, and our clock says: not at
all. asyncio is a smaller matter, a loop is a class that anybody may write. Both are made from what
trio and asyncio document; nothing of theirs is replaced.

Time stands still until somebody moves it. Left out: files, sockets and other threads. What is
driven in this way uses none.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

import trio

from ._schedule import LoopName, check_loop

__all__ = ["AsyncioHeldRun", "HeldRun", "RunGivenUp", "TrioHeldRun", "hold"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

AsyncFn = Callable[[], Awaitable[None]]

MAX_TURNS: Final = 100_000  # a run that has not come to rest by then never will
MAX_ROUNDS: Final = 20  # of cancelling what is left


# Kept as they are: the garbage collector would have every task of theirs raise something.
_given_up: Final[list[object]] = []


class RunGivenUp(RuntimeError):
    """A run could not be ended, because tasks of it do not end when they are cancelled."""


class HeldRun(Protocol):
    """A run of an event loop, and time that moves when it is told to."""

    now: float

    def spawn(self, fn: AsyncFn) -> Callable[[], None]:
        """Start a task. Gives a function that cancels it, in the way of callers on this loop."""
        ...

    def call_soon(self, callback: Callable[[], object]) -> object:
        """Call a function from the loop, before anything else goes on."""
        ...

    def go_on(self) -> None:
        """Let tasks run until all of them wait.

        Raises:
            BaseException: what a task raised, or what was said about one that nobody waits for.
        """
        ...

    def next_deadline(self) -> float:
        """Give the time that somebody waits for; infinity if nobody does. Ask only at rest."""
        ...

    def close(self) -> None:
        """Cancel what is left, and end the run.

        Raises:
            RunGivenUp: Something does not end.
        """
        ...


class TrioHeldRun(trio.abc.Clock):
    """A run of trio, as the guest of a loop that is nothing but a list."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: deque[Callable[[], object]] = deque()
        self._asked = 0  # how often in a row trio has found nobody who can go on
        self._deadline = math.inf
        self._outcome: Any = None
        self._nursery: Any = None
        self._token: Any = None
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self._due.append,
            done_callback=self._done,
            host_uses_signal_set_wakeup_fd=True,
            clock=self,
        )
        self.go_on()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def _done(self, outcome: Any) -> None:
        self._outcome = outcome

    def spawn(self, fn: AsyncFn) -> Callable[[], None]:
        """Start a task in a cancel scope of its own."""
        scope = trio.CancelScope()

        async def call() -> None:
            with scope:
                await fn()

        self._nursery.start_soon(call)
        return scope.cancel

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call a function from the loop, before anything else goes on."""
        self._token.run_sync_soon(callback)

    def go_on(self) -> None:
        """Let tasks run until all of them wait."""
        self._asked = 0
        for _ in range(MAX_TURNS):
            if self._outcome is not None:
                self._outcome.unwrap()
                raise RuntimeError("this run is over")
            # The first time it may not have seen what came in from outside meanwhile.
            if self._asked >= 2:
                return
            self._turn()
        raise RuntimeError(f"the run has not come to rest within {MAX_TURNS} turns")

    def _turn(self) -> None:
        before = self._asked
        self._due.popleft()()
        if self._asked == before:
            self._asked = 0

    def next_deadline(self) -> float:
        """Give the time that somebody waits for."""
        return self._deadline

    def close(self) -> None:
        """Cancel what is left, and end the run."""
        if self._outcome is None:
            self._nursery.cancel_scope.cancel()
            self._asked = 0
            while self._outcome is None and self._asked < 2:
                self._turn()
        if self._outcome is None:
            # trio would take the next run in this thread for one inside of this one.
            trio._core._run.GLOBAL_RUN_CONTEXT.__dict__.clear()
            _given_up.append(self)
            raise RunGivenUp("tasks go on waiting although they were cancelled")
        self._outcome.unwrap()

    # --- trio's clock

    def start_clock(self) -> None:
        """Nothing to do."""

    def current_time(self) -> float:
        """Give the time."""
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Do not wait. trio asks when nobody can go on."""
        self._asked += 1
        self._deadline = deadline
        return 0


class AsyncioHeldRun(asyncio.AbstractEventLoop):
    """An event loop for asyncio that knows callbacks and timers, and no files."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._failures: list[BaseException] = []
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()  # or they would be garbage

    def spawn(self, fn: AsyncFn) -> Callable[[], None]:
        """Start a task of its own."""

        async def call() -> None:
            await fn()

        task: asyncio.Task[None] = asyncio.Task(call(), loop=self)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._look_at)

        def cancel() -> None:
            task.cancel()

        return cancel

    def _look_at(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._failures.append(exc)

    def go_on(self) -> None:
        """Call callbacks until there are none."""
        asyncio.events._set_running_loop(self)
        idling = 0
        try:
            for _ in range(MAX_TURNS):
                self._expire()
                if not self._ready:
                    break
                # anyio comes back in every turn to what it has cancelled and what goes on all the
                # same. When it found nothing new in one turn, the next will be the same.
                looks = sum(map(_only_looks, self._ready))
                if looks == len(self._ready):
                    if idling == looks:
                        break
                    idling = looks
                else:
                    idling = 0
                for _ in range(len(self._ready)):
                    handle = self._ready.popleft()
                    if not handle.cancelled():
                        handle._run()
            else:
                raise RuntimeError(f"the run has not come to rest within {MAX_TURNS} turns")
        finally:
            asyncio.events._set_running_loop(None)
        if self._failures:
            failures, self._failures = self._failures, []
            raise failures[0]

    def _expire(self) -> None:
        while self._timers and (self._timers[0][2].cancelled() or self._timers[0][0] <= self.now):
            _, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self._ready.append(handle)

    def next_deadline(self) -> float:
        """Give the time that somebody waits for."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf

    def close(self) -> None:
        """Cancel what is left, and end the run."""
        if self._closed:
            return
        try:
            # Time may have to pass: whoever begins in the course of this has not been cancelled.
            for _ in range(MAX_ROUNDS):
                for task in asyncio.all_tasks(self):
                    self.call_soon(task.cancel)
                self.go_on()
                if not asyncio.all_tasks(self):
                    return
                self.now = max(self.now, min(self.next_deadline(), self.now + 1e6))
        finally:
            self._closed = True
            self._ready.clear()
            self._timers.clear()
        left = asyncio.all_tasks(self)
        _given_up.append(left)
        raise RunGivenUp(f"these tasks go on although they were cancelled: {left}")

    # --- what asyncio asks of a loop

    def time(self) -> float:
        """Give the time."""
        return self.now

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call back in this order."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # there is one thread

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back when that time has come."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back after so many seconds."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is found to be cancelled when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Make a task of this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_task_factory(self) -> None:
        """There is none."""

    def get_debug(self) -> bool:
        """No."""
        return False

    def is_running(self) -> bool:
        """Whether it is going on."""
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody waits for; `go_on` raises it."""
        exc = context.get("exception")
        text = context.get("message")
        error = RuntimeError(f"asyncio says: {text}")
        error.__cause__ = exc
        self._failures.append(error)


def _only_looks(handle: asyncio.Handle) -> bool:
    return getattr(getattr(handle, "_callback", None), "__name__", "") == "_deliver_cancellation"


def hold(loop: LoopName) -> HeldRun:
    """Make a held run of an event loop.

    Raises:
        ValueError: there is no such event loop.
    """
    check_loop(loop)
    # Typeshed has all methods of a loop abstract, also those that nobody here calls.
    return TrioHeldRun() if loop == "trio" else AsyncioHeldRun()  # type: ignore[abstract]
