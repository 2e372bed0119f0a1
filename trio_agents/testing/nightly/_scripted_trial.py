"""Running small programs with one planned fault each: what they share.

A case is a scenario that knows what must come of its fault, and raises `Broken` if something else
does. It is run under a schedule that a seed decides, on a clock that jumps, and with a monitor on
its runtime, so what is true of every program is checked beside. Garbage is collected at a step by
lot: that must never make a difference.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
import warnings
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, cast

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from ..._sansio._identifiers import AgentId
from ..._sansio._log_names import ROOT_LOGGER_NAME
from .._faults import collect_garbage, inject
from .._schedule import LOOPS, LoopName
from .._scripted import ScriptedAgent
from .._simulation import Simulation, run_scenario
from ._row import Watch

__all__ = [
    "Broken",
    "Case",
    "Log",
    "Sent",
    "all_wait",
    "ask",
    "captured_log",
    "cases_in_turn",
    "expect",
    "leaves",
    "named",
    "open_tasks",
    "parts",
    "register",
    "try_cases",
]

GARBAGE_BEFORE: Final = 200  # the step before which garbage is collected, at most

Case = Callable[[Simulation], Awaitable[None]]


class Broken(AssertionError):
    """A promise that a case knows of has not been kept."""


def expect(kept: object, *said: object) -> None:
    """Raise `Broken` with what was *said*, unless something was *kept*."""
    if not kept:
        raise Broken(" ".join(map(str, said)))


def named(*cases: Case) -> dict[str, Case]:
    """Give cases by the names of their functions."""
    return {getattr(case, "__name__", str(case)).replace("_", "-"): case for case in cases}


def cases_in_turn(cases: Iterable[str], seed: int) -> tuple[str, LoopName]:
    """Give the name and the event loop that belong to a seed."""
    names = list(cases)
    return names[seed // len(LOOPS) % len(names)], LOOPS[seed % len(LOOPS)]


def try_cases(
    cases: Mapping[str, Case], row: str, watch: Watch, *, monitored: bool = True, units: int = 1
) -> None:
    """Run each of *cases* in turn, on each event loop, under the schedule of one seed each.

    Args:
        cases: The cases, by name.
        row: The name of the row, for the text of a violation.
        watch: Says how long it goes on.
        monitored: Whether a monitor looks at the runtime after each step.
        units: How many units a case is worth.
    """
    # Warnings are looked for in what a run has recorded. Outside of runs they are others' affair.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
        while watch.goes_on():
            _try_case(cases, row, watch, monitored=monitored)
            watch.done(units)


def _try_case(cases: Mapping[str, Case], row: str, watch: Watch, *, monitored: bool) -> None:
    seed = watch.next_seed()
    name, loop = cases_in_turn(cases, seed)
    run = run_scenario(
        cases[name],
        seed=seed,
        loop=loop,
        faults=[inject(collect_garbage, at=1 + seed * 7919 % GARBAGE_BEFORE)],
        monitored=monitored,
        max_steps=1_000_000,
    )
    where = f"{row}, {name} on {loop} (its row, with Watch(goal=1, seconds=600, first_seed={seed}))"
    if run.error is not None:
        watch.violation(f"{where}: {_told(run.error)}")
    for warning in run.warnings:
        watch.violation(f"{where}: warned: {warning}")
    watch.met(name)


def _told(error: BaseException) -> str:
    """Say of each exception what it is, and where it comes from."""
    lines: list[str] = []
    for leaf in leaves(error):
        *_, (frame, line) = [(None, 0), *traceback.walk_tb(leaf.__traceback__)]
        if isinstance(leaf, Broken) and leaf.__traceback__ is not None:
            *_, (frame, line), _ = [(None, 0), *traceback.walk_tb(leaf.__traceback__)]
        where = "" if frame is None else f" ({frame.f_code.co_name}, line {line})"
        lines.append("".join(traceback.format_exception_only(leaf)).strip() + where)
    return "; ".join(lines)


# --- what scenarios do


async def register(
    runtime: Any, *types: str, make: Callable[[], Any] = ScriptedAgent, **options: Any
) -> tuple[AgentId, ...]:
    """Register agents that do what their messages say; give an id of each type."""
    for type in types:
        await ScriptedAgent.register(runtime, type, make, **options)
    return tuple(AgentId(type, "default") for type in types)


@asynccontextmanager
async def open_tasks() -> AsyncGenerator[TaskGroup, None]:
    """Open a task group that swallows nothing, which type checkers believe of this one only."""
    async with anyio.create_task_group() as tasks:
        yield tasks


async def all_wait(sim: Simulation) -> None:
    """Wait until nobody else can go on before the clock jumps."""
    await sim.wait_all_tasks_blocked()
    await anyio.lowlevel.checkpoint()


class Sent:
    """What came of a message: an answer or an error, and when."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self.answer: Any = None
        self.error: BaseException | None = None
        self.time: float | None = None

    async def wait(self, send: Callable[[], Awaitable[Any]]) -> None:
        """Send it, and note what comes of that. A cancellation of ours goes on its way as well."""
        try:
            self.answer = await send()
        except BaseException as exc:  # it is what is looked at
            self.error = exc
            if isinstance(exc, anyio.get_cancelled_exc_class()) and self._is_cancelled():
                raise
        finally:
            self.time = self._sim.current_time()

    def _is_cancelled(self) -> bool:
        # On asyncio anybody may raise a CancelledError, and a cancelled message does.
        task = asyncio.current_task() if self._sim.loop == "asyncio" else None
        return task is None or task.cancelling() > 0

    @property
    def is_over(self) -> bool:
        """Whether anything has come of it."""
        return self.time is not None

    @property
    def error_name(self) -> str:
        """The name of the error's class; empty if there was none."""
        return "" if self.error is None else type(self.error).__name__


def ask(sim: Simulation, tasks: TaskGroup, send: Callable[[], Awaitable[Any]]) -> Sent:
    """Send a message in a task of its own."""
    sent = Sent(sim)
    tasks.start_soon(sent.wait, send)
    return sent


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Give the exceptions in a group, those of groups in it included; or the exception itself."""
    for part in parts(error):
        if part is error:
            yield error
        else:
            yield from leaves(part)


def parts(error: BaseException) -> Sequence[BaseException]:
    """Give the exceptions in a group, groups among them; or the exception itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return cast("BaseExceptionGroup[BaseException]", error).exceptions


class Log(logging.Handler):
    """Keeps what was logged of errors, and formats it as a program's own handler would.

    Attributes:
        errors: The exceptions.
        warnings: What was logged as a warning, if only that.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException] = []
        self.warnings: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self.format(record)
        if record.levelno < logging.ERROR:
            self.warnings.append(record)
            return
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])


@contextmanager
def captured_log() -> Generator[Log, None, None]:
    """Have the library's errors logged here, and nowhere else."""
    logger = logging.getLogger(ROOT_LOGGER_NAME)
    log = Log()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(log)
    try:
        yield log
    finally:
        logger.removeHandler(log)
        logger.propagate = propagates
