"""A run of asyncio whose scheduler and clock are ours.

asyncio promises that callbacks are called in the order in which they were asked for, and programs
rely on that. So callbacks keep their order here, and come first. What is chosen is which task goes
on: a task that was woken may have to wait for others, as it does when their wake-ups come from
sockets and timers whose order nobody promised.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, TypeGuard

import anyio

from ._pilot import Pilot, Unstoppable, given_up
from ._waits import describe_task, name_task

__all__ = ["AsyncioRun"]


class AsyncioRun:
    """One run of asyncio, led by a `Pilot`."""

    def __init__(self, pilot: Pilot) -> None:
        self._loop = SimulatedLoop(pilot)
        self._left: list[str] = []
        self._scope: anyio.CancelScope | None = None  # it can only be made while the loop runs
        self._is_cancelled = False

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run *main*.

        Raises:
            BaseException: what *main* raised, or `Unstoppable`.
        """

        async def call() -> None:
            with anyio.CancelScope() as self._scope:
                if self._is_cancelled:
                    self._scope.cancel()
                await main()
            # anyio's own task groups are not waited for by anybody else: what is here was left.
            main_task = asyncio.current_task()
            self._left = [
                _describe(task)
                for task in asyncio.all_tasks()
                if task is not main_task and not task.done() and not _closes_generator(task)
            ]

        runner = asyncio.Runner(loop_factory=lambda: self._loop)
        try:
            runner.run(call())
        except Unstoppable:  # it would not end for the runner either
            self._loop.set_exception_handler(_ignore)
            asyncio.set_event_loop(None)
            tasks = asyncio.all_tasks(self._loop)
            given_up.append((self._loop, tasks))
            for task in tasks:
                _end_threads(task)
            self._loop.close()
            raise
        except BaseException:
            runner.close()
            raise
        runner.close()

    def cancel(self) -> None:
        """Cancel what runs."""
        self._is_cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def current_time(self) -> float:
        """The time of this run, in seconds from its beginning."""
        return self._loop.time()

    def jump(self, seconds: float) -> None:
        """Put the clock forward."""
        self._loop.now += seconds

    async def wait_all_tasks_blocked(self) -> None:
        """Wait until nothing else can go on before time does."""
        future = self._loop.create_future()
        self._loop.resting.append(future)
        await future

    def name_step(self, step: Any) -> str:
        """Say which task it is, and where it is."""
        task = step._callback.__self__
        return name_task(_name(task), task.get_coro())

    def describe_tasks(self) -> list[str]:
        """Say of each task of the program where it waits."""
        number = self._loop.number
        return [_describe(task) for task in sorted(asyncio.all_tasks(self._loop), key=number)]

    def left_over(self) -> list[str]:
        """Name the tasks that the scenario has left running."""
        return self._left


class SimulatedLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, which asks a pilot whose turn it is and keeps a time of its own."""

    # What asyncio's loop has, and its type stubs leave out. (Python 3.11 to 3.14.)
    _process_events: Callable[[Any], None]
    _ready: deque[Any]
    _scheduled: list[Any]
    _selector: Any
    _timer_cancelled_count: int

    def __init__(self, pilot: Pilot) -> None:
        self.now = 0.0
        self.resting: list[asyncio.Future[None]] = []
        self._pilot = pilot
        self._numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._next_number = 0
        self._idle = 0  # how often in a row nobody could go on
        super().__init__()
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        """The time of this run, in seconds from its beginning."""
        return self.now

    def number(self, task: asyncio.Task[Any]) -> int:
        """Give the number of a task: how many were made before it."""
        number = self._numbers.get(task)
        if number is None:  # not made by our factory
            number = self._numbers[task] = self._next_number
            self._next_number += 1
        return number

    def _new_task(self, loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        self.number(task)
        return task

    def _run_once(self) -> None:
        ready = self._ready
        scheduler = self._pilot.scheduler
        callbacks: list[Any] = []
        steps: list[tuple[int, Any]] = []
        while ready:  # a thread or a signal handler may put something in meanwhile
            handle = ready.popleft()
            task = getattr(handle._callback, "__self__", None)
            if _is_task(task) and not handle._cancelled:
                steps.append((self.number(task), handle))
            else:
                callbacks.append(handle)
        # A set of anyio's decides in which order tasks hear of a cancellation. Ours is the same in
        # each run.
        steps.sort(key=lambda step: step[0])
        for number, handle in steps:
            scheduler.add(number, handle)
        ready.extendleft(reversed(callbacks))
        if scheduler:
            self._idle = 0
            self._pilot.before_step()
            ready.append(scheduler.take())
        elif all(_only_looks(handle) for handle in callbacks) and self._rest():
            return  # tasks were woken: it is for the scheduler to say which of them goes on
        if ready or self._is_due():
            super()._run_once()  # type: ignore[misc]

    def _is_due(self) -> bool:
        timers = self._scheduled
        return bool(timers) and timers[0]._when <= self.now

    def _rest(self) -> bool:
        """Nobody can go on. Find out who is next: whoever waited for this, a time, or nobody.

        Returns:
            Whether somebody has waited for this.
        """
        patience = self._pilot.patience if self._idle == 1 else 0
        if self._has_news(patience):
            return False
        waiting = [future for future in self.resting if not future.done()]
        self.resting.clear()
        for future in waiting:
            future.set_result(None)
        if waiting:
            return True
        self._idle += 1
        # Where anyio looks at what goes on although it was cancelled, it may find something first.
        if self._idle == 1:
            return False
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)._scheduled = False
        if timers and timers[0]._when < inf:  # anyio sleeps "for ever" by the clock
            self.now = max(self.now, timers[0]._when)
        else:
            self._pilot.stuck()
        return False

    def _has_news(self, timeout: float) -> bool:
        """Whether another thread, or a file, has something for the loop."""
        before = len(self._ready)
        events = self._selector.select(timeout)
        self._process_events(events)
        return len(self._ready) > before


def _is_task(owner: object) -> TypeGuard[asyncio.Task[Any]]:
    return isinstance(owner, asyncio.Task)


def _closes_generator(task: asyncio.Task[Any]) -> bool:
    # The loop's own way to close a generator that was garbage. The runner sees to it.
    return type(task.get_coro()).__name__ == "async_generator_athrow"


def _end_threads(task: asyncio.Task[Any]) -> None:
    """Have anyio's threads end, which wait for more work until this task, if it is the first, ends.

    Python would wait for them at its exit.
    """
    for callback, _ in task._callbacks or ():
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, threading.Thread):
            callback(task)


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    pass


def _only_looks(handle: Any) -> bool:
    # anyio comes back again and again to what it has cancelled and what goes on all the same.
    return getattr(handle._callback, "__name__", "") == "_deliver_cancellation"


def _name(task: asyncio.Task[Any]) -> str:
    # anyio names tasks after their functions; asyncio numbers them, and the coroutine says more.
    name = task.get_name()
    is_number = re.fullmatch(r"Task-\d+", name)
    return getattr(task.get_coro(), "__qualname__", name) if is_number else name


def _describe(task: asyncio.Task[Any]) -> str:
    return describe_task(_name(task), task.get_coro())
