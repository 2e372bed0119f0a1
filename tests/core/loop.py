"""One vocabulary for tests of the runtime on both event loops, in trio's words.

A test says ``loop.sleep(1)`` or ``loop.Event()``, and runs once on trio and once on asyncio, where
anyio answers and a loop of ours keeps the time: see `conftest.py`. What is different on purpose is
marked ``only_on(...)`` with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import inspect
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import anyio
import pytest
import trio
import trio.testing

import trio_agents.asyncio
import trio_agents.asyncio.exceptions
import trio_agents.exceptions

__all__ = [
    "LOOPS",
    "MockClock",
    "Name",
    "Sequencer",
    "SingleThreadedAgentRuntime",
    "call_after_each_step",
    "checkpoint",
    "count_tasks",
    "is_trio",
    "on",
    "open_nursery",
    "open_runtime",
    "raises_failures",
    "run",
    "run_sync_in_thread",
    "sleep_forever",
    "wait_all_tasks_blocked",
]

Name = Literal["trio", "asyncio"]
LOOPS: Final[tuple[Name, ...]] = ("trio", "asyncio")

PATIENCE: Final = 20  # seconds, before a test is said to hang: another thread may be at work

_current: Name = "trio"

# Names that are something else on each loop, for `loop.Event` and the like.
_NAMES: Final[dict[str, dict[Name, Any]]] = {
    "CancelScope": {"trio": trio.CancelScope, "asyncio": anyio.CancelScope},
    "Cancelled": {"trio": trio.Cancelled, "asyncio": asyncio.CancelledError},
    "Event": {"trio": trio.Event, "asyncio": anyio.Event},
    "MessageCancelled": {
        "trio": trio_agents.exceptions.MessageCancelled,
        "asyncio": trio_agents.asyncio.exceptions.MessageCancelled,
    },
    "Runtime": {
        "trio": trio_agents.SingleThreadedAgentRuntime,
        "asyncio": trio_agents.asyncio.SingleThreadedAgentRuntime,
    },
    "current_time": {"trio": trio.current_time, "asyncio": anyio.current_time},
    "fail_after": {"trio": trio.fail_after, "asyncio": anyio.fail_after},
    "move_on_after": {"trio": trio.move_on_after, "asyncio": anyio.move_on_after},
    "sleep": {"trio": trio.sleep, "asyncio": asyncio.sleep},
}


def __getattr__(name: str) -> Any:
    try:
        return _NAMES[name][_current]
    except KeyError:
        raise AttributeError(name) from None


@contextlib.contextmanager
def on(name: Name) -> Iterator[None]:
    """Let these words mean those of one loop."""
    global _current
    before, _current = _current, name
    try:
        yield
    finally:
        _current = before


def is_trio() -> bool:
    """Whether this test runs on trio."""
    return _current == "trio"


# --- the runtime


def SingleThreadedAgentRuntime(**options: Any) -> Any:
    """Make a runtime for the loop of this test."""
    package: Any = trio_agents if is_trio() else trio_agents.asyncio
    return package.SingleThreadedAgentRuntime(**options)


def open_runtime(**options: Any) -> Any:
    """Open a runtime on the loop of this test."""
    package: Any = trio_agents if is_trio() else trio_agents.asyncio
    return package.open_runtime(**options)


@dataclass
class Failures:
    """What `raises_failures` has caught."""

    value: Any = None


@contextlib.contextmanager
def raises_failures() -> Iterator[Failures]:
    """Expect the failures of publications: on trio a group, on asyncio the first, and the group."""
    caught = Failures()
    with pytest.raises(BaseException) as info:  # noqa: PT011  # looked at below
        yield caught
    group = info.value if is_trio() else info.value.__cause__
    assert isinstance(group, BaseExceptionGroup), repr(info.value)
    assert is_trio() or group.exceptions[0] is info.value
    caught.value = group


# --- the loop


class MockClock:
    """A clock that jumps when everybody waits; see `run`."""

    def __init__(self, *, autojump_threshold: float = 0) -> None:
        assert autojump_threshold == 0


def run(main: Callable[..., Awaitable[Any]], *args: Any, clock: MockClock | None = None) -> Any:
    """Run *main* on the loop of this test, in a run of its own."""
    if is_trio():
        mock = None if clock is None else trio.testing.MockClock(autojump_threshold=0)
        return trio.run(main, *args, clock=mock)  # type: ignore[arg-type]

    async def call() -> Any:
        return await main(*args)

    with asyncio.Runner(loop_factory=lambda: TestLoop(virtual=clock is not None)) as runner:
        return runner.run(call())


class TestLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, with trio's two helps for tests: a clock that jumps, and news of rest."""

    def __init__(self, *, virtual: bool) -> None:
        self._now = 0.0 if virtual else None
        self.resting: list[asyncio.Future[None]] = []
        self.lookers: list[Callable[[], None]] = []
        self._idling = 0  # how many of anyio's looks were all that the last turn had to do
        super().__init__()

    def time(self) -> float:
        return super().time() if self._now is None else self._now

    def _run_once(self) -> None:
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)._scheduled = False
        if self._is_idle() and not self._has_news():
            waiting = [future for future in self.resting if not future.done()]
            if waiting:
                self.resting.clear()
                for future in waiting:
                    future.set_result(None)
            elif self._now is not None and timers:
                self._now = max(self._now, timers[0]._when)
            elif not timers and not self._ready and not self._has_news(PATIENCE):
                raise RuntimeError("this test hangs: all its tasks wait, and no timer is set")
        super()._run_once()  # type: ignore[misc]
        for look in self.lookers:
            look()

    def _has_news(self, timeout: float = 0) -> bool:
        """Whether another thread, or a file, has something for the loop."""
        events = self._selector.select(timeout)  # type: ignore[attr-defined]
        self._process_events(events)  # type: ignore[attr-defined]
        return len(self._ready) > self._idling  # type: ignore[attr-defined]

    def _is_idle(self) -> bool:
        """Whether no task can go on before time does.

        Where anyio has cancelled something that goes on all the same, it looks at it in every turn
        of the loop. When it has found nothing new in one, the next will be the same.
        """
        ready: Any = self._ready  # type: ignore[attr-defined]
        only_looks = all(
            getattr(handle._callback, "__name__", "") == "_deliver_cancellation" for handle in ready
        )
        before, self._idling = self._idling, len(ready) if only_looks else 0
        return not ready or 0 < before == self._idling


class _Instrument(trio.abc.Instrument):
    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._look()


def call_after_each_step(look: Callable[[], None]) -> None:
    """Call *look* after each step of each task (asyncio: each turn), until the run ends."""
    if is_trio():
        trio.lowlevel.add_instrument(_Instrument(look))
    else:
        running = asyncio.get_running_loop()
        assert isinstance(running, TestLoop)
        running.lookers.append(look)


async def wait_all_tasks_blocked() -> None:
    """Wait until all other tasks wait for something."""
    if is_trio():
        await trio.testing.wait_all_tasks_blocked()
        return
    running = asyncio.get_running_loop()
    assert isinstance(running, TestLoop)
    future = running.create_future()
    running.resting.append(future)
    await future


@contextlib.asynccontextmanager
async def _task_group() -> AsyncGenerator[Any, None]:
    async with anyio.create_task_group() as group:
        yield group


def open_nursery() -> Any:
    """Open a nursery, or a task group."""
    return trio.open_nursery() if is_trio() else _task_group()


async def sleep_forever() -> None:
    """Wait until cancelled."""
    if is_trio():
        await trio.sleep_forever()
    else:
        await asyncio.get_running_loop().create_future()


async def checkpoint() -> None:
    """Let other tasks run."""
    if is_trio():
        await trio.lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)


def count_tasks() -> int:
    """How many tasks there are."""
    if not is_trio():
        return len(asyncio.all_tasks())
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return _count_below(root)


def _count_below(task: trio.lowlevel.Task) -> int:
    return sum(1 + _count_below(t) for nursery in task.child_nurseries for t in nursery.child_tasks)


async def run_sync_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function in another thread."""
    if is_trio():
        return await trio.to_thread.run_sync(function, *args)
    return await asyncio.to_thread(function, *args)


class Sequencer:
    """`trio.testing.Sequencer`, on both loops."""

    def __init__(self) -> None:
        self._may_begin: defaultdict[int, Any] = defaultdict(__getattr__("Event"))

    @contextlib.asynccontextmanager
    async def __call__(self, position: int) -> AsyncGenerator[None, None]:
        if position:
            await self._may_begin[position].wait()
        yield
        self._may_begin[position + 1].set()


def as_test(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a sync test of an async one, which runs it on the loop of this test."""

    @functools.wraps(function)
    def test(**arguments: Any) -> None:
        clock = arguments.get("autojump_clock")
        run(functools.partial(function, **arguments), clock=clock)

    assert inspect.iscoroutinefunction(function)
    return test
