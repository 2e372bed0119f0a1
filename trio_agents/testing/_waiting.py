"""Waits that tests need, on both event loops: until somebody says so, and until all tasks wait.

The event loops' own events may only be set in their own thread. Behind a portal a handler runs in
one thread and the test in another, so a `Gate` remembers where each of its waiters is at home.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, cast, final

import anyio
import anyio.lowlevel
import sniffio
import trio.testing

from .._loops import _asyncio as _asyncio, _trio as _trio  # each says where its tasks are at home
from .._sansio._cancellation import Home, _call, current_home
from ._simulated_asyncio import SimulatedLoop

__all__ = ["Gate", "wait_all_tasks_blocked"]


@final
class Gate:
    """Keeps handlers waiting until the test opens it. Works on both event loops, from any thread.

    ::

        gate = Gate()
        model.answer_with(waits_for(gate).then(returns("late")))
        ...
        gate.open()

    Once open it stays open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._waiters: list[tuple[Callable[[], object], Home | None]] = []

    def __repr__(self) -> str:
        state = "open" if self._is_open else f"closed, {len(self._waiters)} waiting"
        return f"<Gate {state}>"

    @property
    def waiting(self) -> int:
        """How many tasks wait here."""
        return len(self._waiters)

    def is_open(self) -> bool:
        """Whether `open` has been called."""
        return self._is_open

    def open(self) -> None:
        """Let all go on who wait, and all who come later. Again changes nothing."""
        with self._lock:
            self._is_open = True
            waiters, self._waiters = self._waiters, []
        for wake, home in waiters:
            _call(wake, home)

    async def wait(self) -> None:
        """Wait until the gate is open. It is a checkpoint if it is open already."""
        event = anyio.Event()
        waiter = (event.set, current_home())
        with self._lock:
            if not self._is_open:
                self._waiters.append(waiter)
        if self._is_open:
            await anyio.lowlevel.checkpoint()
            return
        try:
            await event.wait()
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)


# How many turns of asyncio's loop nobody must have had anything to do. A callback that wakes a task
# is no task: news of another thread takes three turns to get from the socket to a task.
_QUIET_TURNS: Final = 4
_resting: Final[weakref.WeakSet[asyncio.Task[Any]]] = weakref.WeakSet()


async def wait_all_tasks_blocked() -> None:
    """Wait until all other tasks of this event loop wait for something.

    For a time, for a socket, a thread or each other: nothing can go on by itself before the clock
    does. It replaces a sleep that only waits for "done by now". It is trio's function of this name;
    on asyncio it lets turns of the loop go by until all tasks wait, which takes no time.
    """
    if sniffio.current_async_library() == "trio":
        await trio.testing.wait_all_tasks_blocked()
        return
    loop = asyncio.get_running_loop()
    if isinstance(loop, SimulatedLoop):
        future = loop.create_future()
        loop.resting.append(future)
        await future
        return
    me = asyncio.current_task()
    assert me is not None
    _resting.add(me)
    try:
        quiet = 0
        while quiet < _QUIET_TURNS:
            await asyncio.sleep(0)
            others = (task for task in asyncio.all_tasks(loop) if task not in _resting)
            quiet = quiet + 1 if all(_waits(task) for task in others) else 0
    finally:
        _resting.discard(me)


def _waits(task: asyncio.Task[Any]) -> bool:
    # anyio asks the same attribute; asyncio has no public one.
    future = cast("Any", task)._fut_waiter
    return future is not None and not bool(future.done())
