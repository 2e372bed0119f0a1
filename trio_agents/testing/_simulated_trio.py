"""A trio run whose scheduler and clock are ours.

trio shuffles each batch of tasks that can run. It does so with a module's random generator, after
having sorted the batch, if it was asked to be deterministic; its own tests and hypothesis do that.
In place of the generator we put one whose `shuffle` leaves the one task in the batch that is to run
now, and keeps the others. The names are private, so `missing_hooks` looks whether they are there.
"""

from __future__ import annotations

import importlib
import math
import random
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
import trio.testing

from .._sansio._contexts import MessageContext
from .._sansio._identifiers import AgentId
from .._sansio._intervention import DefaultInterventionHandler
from ._pilot import Pilot, Unstoppable, given_up
from ._waits import describe_task, name_task

__all__ = ["LooseTrioRun", "SeededYields", "TrioRun", "missing_hooks"]

scheduling: Final[Any] = importlib.import_module("trio._core._run")
_lock: Final = threading.Lock()
# The run that is simulated in each thread; other runs are left as they are.
_runs: Final[dict[int, TrioRun]] = {}
_before: list[Any] = []  # what stood in trio's module before the first of them


def missing_hooks() -> list[str]:
    """Name what this version of trio lacks of the names that a simulated run needs."""
    needed = ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING", "GLOBAL_RUN_CONTEXT")
    missing = [f"trio._core._run.{name}" for name in needed if not hasattr(scheduling, name)]
    fields = {field.name for field in getattr(trio.lowlevel.Task, "__attrs_attrs__", ())}
    return missing + ([] if "_counter" in fields else ["trio.lowlevel.Task._counter"])


class TrioRun(trio.abc.Clock):
    """One run of trio, led by a `Pilot`. It is the run's clock too, which jumps."""

    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot
        self._now = 0.0
        self._first: int | None = None
        self._idle = 0  # how often in a row nothing could go on
        self._scope = trio.CancelScope()
        self._runner: object = None
        self._left: list[str] = []

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run *main*.

        Raises:
            BaseException: what *main* raised, or `Unstoppable`.
        """

        async def call() -> None:
            self._runner = scheduling.GLOBAL_RUN_CONTEXT.runner
            before = _system_tasks()
            with self._scope:
                await main()
                self._left = await _left_since(before)

        with self._in_charge():
            try:
                trio.run(call, clock=self)
            except trio.TrioInternalError as exc:
                if isinstance(exc.__cause__, Unstoppable):
                    given_up.append(self._runner)
                    raise exc.__cause__ from None
                raise

    def cancel(self) -> None:
        """Cancel what runs."""
        self._scope.cancel()

    @contextmanager
    def _in_charge(self) -> Generator[None, None, None]:
        here = threading.get_ident()
        with _lock:
            if not _runs:
                before = (scheduling._r, scheduling._ALLOW_DETERMINISTIC_SCHEDULING)
                _before.append(before)
                scheduling._r = _Lots(before[0])
                scheduling._ALLOW_DETERMINISTIC_SCHEDULING = True
            _runs[here] = self
        try:
            yield
        finally:
            with _lock:
                del _runs[here]
                if not _runs:
                    values = _before.pop()
                    scheduling._r, scheduling._ALLOW_DETERMINISTIC_SCHEDULING = values

    def choose(self, batch: list[Any]) -> None:
        """Leave the one task in *batch* that is to run now; it holds those that have come up."""
        pilot = self._pilot
        for task in batch:
            if self._first is None:
                self._first = task._counter
            pilot.scheduler.add(task._counter - self._first, task)
        batch.clear()
        if pilot.scheduler:
            self._idle = 0
            pilot.before_step()
            batch.append(pilot.scheduler.take())

    # --- the clock

    def start_clock(self) -> None:
        """Nothing to do."""

    def current_time(self) -> float:
        """The time of this run, in seconds from its beginning."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called when trio knows of nobody who could go on: jump, unless somebody else can."""
        if self._pilot.scheduler:
            return 0
        if scheduling.GLOBAL_RUN_CONTEXT.runner.waiting_for_idle:
            return math.inf  # `wait_all_tasks_blocked` comes before the time does
        self._idle += 1
        if self._idle == 1:
            return self._pilot.patience  # trio looks first whether a thread or a file has news
        if deadline < math.inf:
            self._now = max(self._now, deadline)
        else:
            self._pilot.stuck()
        return 0

    def jump(self, seconds: float) -> None:
        """Put the clock forward."""
        self._now += seconds

    async def wait_all_tasks_blocked(self) -> None:
        """Wait until nothing else can go on before time does."""
        await trio.testing.wait_all_tasks_blocked()

    def name_step(self, step: trio.lowlevel.Task) -> str:
        """Say which task it is, and where it is."""
        return name_task(step.name, step.coro)

    def describe_tasks(self) -> list[str]:
        """Say of each task of the program where it waits."""
        root = scheduling.GLOBAL_RUN_CONTEXT.runner.main_task
        return [] if root is None else list(_describe_below(root))

    def left_over(self) -> list[str]:
        """Name the system tasks that the scenario has left running. All others end before it."""
        return self._left


class LooseTrioRun:
    """A run of a trio that lacks the names above: its own scheduler, and what it has in public.

    Steps are counted, faults happen, the clock jumps. What a seed decides is the order in which our
    runtime takes messages up: `SeededYields` says for how long each is on its way. The scheduler
    itself goes by no seed, so that a run may differ from another of the same seed.
    """

    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot
        self._clock = trio.testing.MockClock(autojump_threshold=0)
        self._scope = trio.CancelScope()
        self._left: list[str] = []

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run *main*.

        Raises:
            BaseException: what *main* raised.
        """

        async def call() -> None:
            before = _system_tasks()
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch)
                    await main()
                    self._left = await _left_since(before)
                    nursery.cancel_scope.cancel()

        trio.run(call, clock=self._clock, instruments=[_Steps(self._pilot)])

    async def _watch(self) -> None:
        # The clock gets here when nobody waits for an earlier time.
        await trio.sleep_until(1e9)
        self._pilot.stuck()

    def cancel(self) -> None:
        """Cancel what runs."""
        self._scope.cancel()

    def current_time(self) -> float:
        """The time of this run, in seconds from its beginning."""
        return self._clock.current_time()

    def jump(self, seconds: float) -> None:
        """Put the clock forward."""
        self._clock.jump(seconds)

    async def wait_all_tasks_blocked(self) -> None:
        """Wait until nothing else can go on before time does."""
        await trio.testing.wait_all_tasks_blocked()

    def name_step(self, step: object) -> str:
        """There are no decisions of ours to tell."""
        raise NotImplementedError

    def describe_tasks(self) -> list[str]:
        """Say of each task of the program where it waits."""
        root = trio.lowlevel.current_root_task()
        return [] if root is None else list(_describe_below(root))

    def left_over(self) -> list[str]:
        """Name the system tasks that the scenario has left running. All others end before it."""
        return self._left


class _Steps(trio.abc.Instrument):
    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._pilot.before_step()
        self._pilot.scheduler.steps += 1


class SeededYields(DefaultInterventionHandler):
    """Lets messages and replies wait for a few turns on their way, as a generator says."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        return await self._delay(message)

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        return await self._delay(message)

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        return await self._delay(message)

    async def _delay(self, message: Any) -> Any:
        for _ in range(self._random.randrange(4)):
            await trio.lowlevel.checkpoint()
        return message


class _Lots:
    """Stands in for trio's random generator."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def shuffle(self, batch: list[Any]) -> None:
        run = _runs.get(threading.get_ident())
        if run is not None and scheduling.GLOBAL_RUN_CONTEXT.runner.clock is run:
            run.choose(batch)
        else:
            self._generator.shuffle(batch)


def _system_tasks() -> list[trio.lowlevel.Task]:
    """List the tasks that trio itself would end after the main task, and the main task."""
    root = trio.lowlevel.current_root_task()
    nurseries = [] if root is None else root.child_nurseries
    tasks = [task for nursery in nurseries for task in nursery.child_tasks]
    # A set says in which order they come. It may be another in each run.
    return sorted((task for task in tasks if not _closes_generator(task)), key=lambda t: t.name)


async def _left_since(before: list[trio.lowlevel.Task]) -> list[str]:
    """Describe the system tasks that have come since *before*, and that do not end by themselves.

    What is about to end, as the library's own do that somebody has just stopped, takes a few steps
    more. There are no more steps where there is no such task.
    """
    if any(task not in before for task in _system_tasks()):
        await trio.testing.wait_all_tasks_blocked()
    return [describe_task(task.name, task.coro) for task in _system_tasks() if task not in before]


def _closes_generator(task: trio.lowlevel.Task) -> bool:
    # trio's own way to close a generator that was garbage. The run ends when it has ended.
    return getattr(task.coro, "__qualname__", "") == "AsyncGenerators._finalize_one"


def _describe_below(task: trio.lowlevel.Task) -> Iterator[str]:
    yield describe_task(task.name, task.coro)
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _describe_below(child)
