"""One run of a scenario: its schedule, its clock, what happens to it, and what it did."""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
import uuid
import warnings
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Hashable,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Generic, TypedDict, TypeVar, Unpack

import anyio
import attrs
import trio

from .._core._runtime import RuntimeOptions, running
from .._loops import _asyncio_runtime, _trio_runtime
from .._sansio._notes import add_note
from ._faults import Fault, Injection, cannot_wait, check_fault, name_of
from ._misuse import (
    check_options,
    check_scenario,
    check_seed,
    check_step,
    check_strategy,
    misuse_of_result,
)
from ._monitor import InvariantViolation, Monitor
from ._pilot import SimulatedRun, Unstoppable
from ._schedule import LoopName, Scheduler, Strategy, Trace, check_loop, strategy_for
from ._simulated_asyncio import AsyncioRun
from ._simulated_trio import LooseTrioRun, SeededYields, TrioRun, missing_hooks
from ._waits import IN_A_THREAD

__all__ = [
    "Run",
    "RunOptions",
    "Scenario",
    "Simulation",
    "Stuck",
    "TooLong",
    "run_scenario",
    "simulate",
]

T = TypeVar("T")

Scenario = Callable[["Simulation"], Awaitable[T]]
"""An async function that is run in a simulation, and called with it. It fails by raising."""

# After a scenario was told to end it may go on for so many steps; then its run is given up.
STEPS_TO_END: Final = 10_000


class Stuck(InvariantViolation):
    """Everybody waited, for something that nobody was left to do. The message says who, and where.

    A thread or a socket does not count: wait for none in a simulation, or set *patience*. A
    `FunctionTool` of a function that is not async runs it in a thread, and ``save_state_file``
    writes in one.
    """


class TooLong(InvariantViolation):
    """A scenario took more steps than it may: it polls, or goes round in a circle."""


class RunOptions(TypedDict, total=False):
    """How scenarios are run.

    Attributes:
        monitored: Whether a `Monitor` looks at the runtimes that ``sim.open_runtime`` opens; yes,
            if it is left out. Without it a run is faster.
        max_steps: After so many steps of tasks the run fails with `TooLong`; 100,000.
        patience: Real seconds to wait for a thread or a file when nothing else can go on; none.
    """

    monitored: bool
    max_steps: int
    patience: float


class Simulation:
    """What a scenario is given: one run, seen from inside.

    Attributes:
        seed: The seed of this run.
        loop: The event loop that it runs on.
        random: A generator of this run's own, for what the scenario leaves to chance.
    """

    def __init__(
        self,
        *,
        seed: int,
        loop: LoopName,
        strategy: Strategy,
        faults: Sequence[Injection] = (),
        monitored: bool = True,
        max_steps: int = 100_000,
        patience: float = 0,
        telling: bool = False,
    ) -> None:
        check_loop(loop)
        check_strategy(strategy)
        self.seed = seed
        self.loop: LoopName = loop
        self.random = random.Random(seed)
        self.patience = patience
        self.error: BaseException | None = None  # what ends the run, if not the scenario itself
        self.interrupted = False  # Ctrl-C was one of the faults
        self.history: list[Hashable] = []
        self._monitored = monitored
        self._monitors: list[Monitor] = []
        self._faults: dict[int, list[Fault]] = {}
        self._misuse: BaseException | None = None  # whoever called us is told, whatever became
        for injection in faults:
            if not isinstance(injection, Injection):
                raise TypeError(
                    f"faults are made by inject(fault, at=step), and {name_of(injection)} is not"
                )
            self._faults.setdefault(injection.at, []).append(injection.fault)
        self._max_steps = max_steps
        self._ended_at = 0
        self._victims: list[Any] = []
        self._victims_cancelled = False
        self._hit_victim = False
        self._is_loose = False
        self._run: SimulatedRun = self._new_run()
        self.scheduler = Scheduler(strategy, self._run.name_step if telling else None)

    def _new_run(self) -> SimulatedRun:
        if self.loop == "asyncio":
            return AsyncioRun(self)
        missing = missing_hooks()
        if not missing:
            return TrioRun(self)
        warnings.warn(
            f"trio {trio.__version__} lacks {', '.join(missing)}: a seed decides here only in what "
            "order the runtime takes messages up, and the same seed may give another run",
            RuntimeWarning,
            stacklevel=4,
        )
        self._is_loose = True
        return LooseTrioRun(self)

    # --- for scenarios

    @property
    def step(self) -> int:
        """How many steps tasks have taken in this run."""
        return self.scheduler.steps

    def current_time(self) -> float:
        """The time of this run's clock: seconds from its beginning. It jumps when all wait."""
        return self._run.current_time()

    def note(self, entry: Hashable) -> None:
        """Write something into the history of this run, in which two runs can be compared."""
        self.history.append(entry)

    @asynccontextmanager
    async def open_runtime(
        self, *, started: bool = True, **options: Unpack[RuntimeOptions]
    ) -> AsyncGenerator[Any, None]:
        """Open a runtime on this run's loop, under a `Monitor`. What that finds ends the run.

        Args:
            started: Start it, and on a normal exit finish all work, as ``open_runtime`` does. If
                not, it is only the block of a ``SingleThreadedAgentRuntime``.
            options: The runtime's arguments.
        """
        if self._is_loose:
            handlers = options.get("intervention_handlers") or ()
            options["intervention_handlers"] = [SeededYields(self.random), *handlers]
        runtime: Any
        if self.loop == "trio":
            runtime = _trio_runtime.SingleThreadedAgentRuntime(**options)
        else:
            runtime = _asyncio_runtime.SingleThreadedAgentRuntime(**options)
        with self.watched(runtime):
            async with running(runtime) if started else runtime:
                yield runtime

    @contextmanager
    def watched(self, runtime: Any) -> Generator[None, None, None]:
        """Have a `Monitor` look at a runtime after each step, and after the block of this.

        Put it around the runtime's own block. `open_runtime` does so by itself.
        """
        if not self._monitored:
            yield
            return
        monitor = Monitor(runtime)
        self._monitors.append(monitor)
        try:
            yield
        finally:
            self._monitors.remove(monitor)
            try:
                monitor.close()
            except InvariantViolation as exc:
                self.end(exc)

    @contextmanager
    def victim(self) -> Generator[None, None, None]:
        """Give a cancel scope, for ``with sim.victim():``, that the fault `cancel_victim` cancels.

        Several may be open; what is opened after that fault is cancelled at once.
        """
        scope: Any = trio.CancelScope() if self.loop == "trio" else anyio.CancelScope()
        self._victims.append(scope)
        if self._victims_cancelled:
            self._hit_victim = True
            scope.cancel()
        try:
            with scope:
                yield
        finally:
            self._victims.remove(scope)

    def cancel_victims(self) -> None:
        """Cancel what is in a `victim` scope."""
        self._victims_cancelled = True
        for scope in self._victims:
            self._hit_victim = True
            scope.cancel()

    def inject(self, fault: Fault, *, at: int) -> None:
        """Have something happen before a step that is still to come, see the function `inject`.

        Raises:
            ValueError: that step is over.
            TypeError: *fault* is none, see `inject`, or *at* is no number.
        """
        check_fault(fault)
        check_step(at)
        if at <= self.step:
            raise ValueError(
                f"a fault cannot happen before step {at}: {self.step} steps of this run are over"
            )
        self._faults.setdefault(at, []).append(fault)

    async def wait_all_tasks_blocked(self) -> None:
        """Wait until nothing else can go on before the clock jumps."""
        await self._run.wait_all_tasks_blocked()

    def jump(self, seconds: float) -> None:
        """Put the clock forward. What is due now is so before the next step."""
        self._run.jump(seconds)

    def end(self, error: BaseException) -> None:
        """Cancel the scenario, which fails with *error*, unless it has failed already."""
        if self.error is None:
            self.error = error
            self._ended_at = self.step
            self._run.cancel()

    # --- what the loop asks

    def before_step(self) -> None:
        """Let happen what is to happen before the next step, and look at the runtimes."""
        step = self.scheduler.steps + 1
        if self.error is not None:
            if step > self._ended_at + STEPS_TO_END:
                raise Unstoppable(
                    f"the scenario was to end and ignores its cancellation: {self.error}"
                )
            return
        if self.scheduler.misuse is not None:
            self._misuse = self.scheduler.misuse
            self.end(self._misuse)
            return
        for monitor in self._monitors:
            if not monitor.look():
                found = "; ".join(monitor.violations)
                self.end(InvariantViolation(f"after step {step - 1}: {found}"))
                return
        if step > self._max_steps:
            where = "\n  ".join(self._run.describe_tasks())
            self.end(TooLong(f"the scenario has taken {self._max_steps} steps:\n  {where}"))
            return
        for fault in self._faults.pop(step, ()):
            try:
                result = fault(self)
                if inspect.iscoroutine(result):
                    result.close()
                    raise TypeError(cannot_wait(fault))
            except BaseException as exc:  # the loop must go on; `end` sees to it
                self.end(exc)

    def stuck(self) -> None:
        """End the run: nobody is left who could go on."""
        if self.error is not None:
            raise Unstoppable(f"the scenario was to end and ignores its cancellation: {self.error}")
        tasks = self._run.describe_tasks()
        where = "\n  ".join(tasks)
        books = "".join(f"\n  {monitor.describe()}" for monitor in self._monitors)
        if any(task.endswith(IN_A_THREAD) for task in tasks):
            advice = (
                "A simulation does not wait for threads, which a seed does not decide: replace "
                "what runs in one, or give patience=1, the real seconds to wait for it."
            )
        else:
            advice = (
                "If one of them waits for a thread, a file or a socket: a simulation waits for "
                "these only if it is given patience=, in real seconds."
            )
        self.end(
            Stuck(f"all tasks wait, and nobody is left to wake them:\n  {where}{books}\n{advice}")
        )

    # --- the run

    def run(self, scenario: Scenario[T]) -> Run[T]:
        """Run *scenario*, once, and say how it went; a `KeyboardInterrupt` of yours is raised.

        Raises:
            RuntimeError: an event loop runs in this thread already.
        """
        if trio.lowlevel.in_trio_run() or asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "a simulation is a run of its own, and an event loop runs in this thread already: "
                "call it from code that is not async"
            )
        value: list[T] = []
        raised: BaseException | None = None

        async def main() -> None:
            result = scenario(self)
            self._misuse = misuse_of_result(result, scenario)
            if self._misuse is not None:
                raise self._misuse
            value.append(await result)

        with _own_randomness(self.seed), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                self._run.run(main)
            except BaseException as exc:  # it is the run's result
                if isinstance(exc, KeyboardInterrupt) and not self.interrupted:
                    raise
                raised = exc
        if self._misuse is not None:
            raise self._misuse
        error = self.error
        if error is None:
            error = raised
        elif raised is not None and raised is not error:
            error.__context__ = raised
        if error is None and (left := self._run.left_over()):
            error = InvariantViolation(f"tasks were left: {'; '.join(left)}")
        # Whoever has called us says what becomes of warnings: by their filters some may be errors.
        modules = _modules_by_file() if warned else {}
        for warning in warned:
            file = warning.filename
            # As `warn_explicit` names it by itself. With None for a module it would say nothing.
            module = modules.get(file, file.removesuffix(".py") or "<unknown>")
            try:
                warnings.warn_explicit(
                    warning.message,
                    warning.category,
                    file,
                    warning.lineno,
                    module=module,
                    source=warning.source,
                )
            except Warning as exc:
                error = exc if error is None else error
        trace = Trace(self.loop, self.seed, self.scheduler.choices)
        return Run(
            trace=trace,
            steps=self.step,
            seconds=self.current_time(),
            history=tuple(self.history),
            warnings=tuple(str(warning.message) for warning in warned),
            error=error,
            turns=tuple(self.scheduler.turns),
            missed_victim=self._victims_cancelled and not self._hit_victim,
            missed_faults=tuple(
                Injection(fault, at)
                for at, faults in sorted(self._faults.items())
                for fault in faults
            ),
            values=tuple(value),
        )


def _modules_by_file() -> dict[str, str]:
    """Give the names of the modules by their files: a warning only knows its file."""
    names: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        # Not `getattr` of the file itself: a module may have one of its own, which imports things.
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str):
            names.setdefault(file, name)
    return names


@contextmanager
def _own_randomness(seed: int) -> Generator[None, None, None]:
    """Have ``random`` and ``uuid.uuid4`` give the same in each run of a seed."""
    state = random.getstate()
    before = uuid.uuid4
    ids = random.Random(seed ^ 0x1D5)
    random.seed(seed)
    uuid.uuid4 = lambda: uuid.UUID(int=ids.getrandbits(128), version=4)
    try:
        yield
    finally:
        uuid.uuid4 = before
        random.setstate(state)


@attrs.frozen
class Run(Generic[T]):
    """How a run went.

    Attributes:
        trace: What `replay` needs for the same run.
        steps: How many steps its tasks took.
        seconds: How long it took, by its own clock.
        history: What the scenario has noted.
        warnings: The texts of the warnings that were given during the run. They are given once more
            at its end, where the filters of whoever runs the simulation apply: one that these make
            an error fails the run.
        error: What it has failed with, or None.
        turns: The decisions of its schedule in words, if that was asked for.
        missed_victim: Whether a fault was to cancel the victim, and the scenario was in no
            ``with sim.victim():``, nor entered one later.
        missed_faults: What was to happen before a step that did not come: the run had ended.
        remark: After `replay`, whether its schedule was another one than that of the trace, or a
            fault did not happen, in words. Empty if all was the same.
    """

    trace: Trace
    steps: int
    seconds: float
    history: tuple[Hashable, ...]
    warnings: tuple[str, ...]
    error: BaseException | None
    turns: tuple[str, ...]
    missed_victim: bool = attrs.field(default=False, kw_only=True)
    missed_faults: tuple[Injection, ...] = attrs.field(default=(), kw_only=True)
    remark: str = attrs.field(default="", kw_only=True)
    values: tuple[T, ...] = attrs.field(repr=False)

    @property
    def value(self) -> T:
        """What the scenario returned.

        Raises:
            BaseException: `error`, the very object.
        """
        if self.error is not None:
            raise self.error
        return self.values[0]


def simulate(
    scenario: Scenario[T],
    *,
    seed: int = 0,
    loop: LoopName = "trio",
    strategy: Strategy | None = None,
    faults: Sequence[Injection] = (),
    **options: Unpack[RunOptions],
) -> Run[T]:
    """Run a scenario in a simulation: a run of its own, in which a seed decides who goes on when.

    The clock jumps to the next timeout when all tasks wait, so the run takes no longer than its
    work. The same arguments give the same run, in another process too, if the scenario takes its
    chances from ``sim.random``, `random` or `uuid.uuid4`, its time from its event loop, and uses no
    thread, no file, and no order of a set.

    Args:
        scenario: An async function that is called with the `Simulation`.
        seed: Chooses the strategy, and decides all that is left to chance.
        loop: ``"trio"``, or ``"asyncio"`` for programs of the asyncio facade.
        strategy: Who decides instead of the seed's.
        faults: What is to happen to it, see `inject`.
        options: See `RunOptions`.

    Returns:
        What was run, and how it went.

    Raises:
        BaseException: what the scenario raised, with a note that says how to repeat it; or
            `InvariantViolation`, its subclasses `Stuck` and `TooLong` among them.
        ValueError: there is no such *loop*; or *seed* is less than 0; or a fault has tried nothing:
            the scenario has succeeded before its step, or there was no `victim` to be cancelled, at
            that step or later; or the *strategy* has chosen nobody.
        TypeError: an argument is of the wrong type; or the scenario is not async.
        RuntimeError: an event loop runs in this thread already.
    """
    check_scenario(scenario)
    check_options(options, RunOptions.__annotations__, "simulate")
    run = run_scenario(scenario, seed=seed, loop=loop, strategy=strategy, faults=faults, **options)
    if run.error is not None:
        add_note(run.error, f"in a simulated run, whose trace is {run.trace}")
        raise run.error
    for injection in run.missed_faults:
        raise ValueError(
            f"{describe_missed(injection, run)}: give a step up to {run.steps}, or try all with "
            "explore_fault"
        )
    if run.missed_victim:
        raise ValueError(NO_VICTIM)
    return run


NO_VICTIM: Final = (
    "the fault was to cancel a victim, and the scenario has none at that step or later, so nothing "
    "was tried: put what is to be cancelled into `with sim.victim():`, or give an earlier step"
)


def describe_missed(injection: Injection, run: Run[Any]) -> str:
    """Say that a fault did not happen in a run."""
    return (
        f"the fault {name_of(injection.fault)} was to happen before step {injection.at}, and the "
        f"run ended after step {run.steps}"
    )


def run_scenario(
    scenario: Scenario[T],
    *,
    seed: int,
    loop: LoopName = "trio",
    strategy: Strategy | None = None,
    faults: Sequence[Injection] = (),
    telling: bool = False,
    **options: Unpack[RunOptions],
) -> Run[T]:
    """Do what `simulate` does, and give the run if it has failed, too."""
    check_seed(seed)
    simulation = Simulation(
        seed=seed,
        loop=loop,
        strategy=strategy_for(seed) if strategy is None else strategy,
        faults=faults,
        telling=telling,
        **options,
    )
    return simulation.run(scenario)
