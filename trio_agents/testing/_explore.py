"""Many schedules of one scenario, and the plainest one in which it fails."""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, Final, TypeVar, Unpack, cast

import attrs

from .._sansio._notes import add_note
from ._command import repetition
from ._faults import Fault, Injection, check_fault, inject, name_of
from ._misuse import check_options, check_scenario, check_seed, check_strategy
from ._schedule import LoopName, Plain, Replayed, Strategy, Trace, strategy_for
from ._simulation import NO_VICTIM, Run, RunOptions, Scenario, describe_missed, run_scenario

__all__ = [
    "Exploration",
    "ScenarioFailed",
    "explore",
    "explore_fault",
    "failure",
    "leaves",
    "replay",
    "seeds_of",
]

T = TypeVar("T")

# Shrinking ends when it has run the scenario so often, or for so long; mostly it is done before.
MAX_SHRINKING: Final = 1000
SECONDS_TO_SHRINK: Final = 10.0


@attrs.frozen
class Exploration:
    """What was explored without a failure.

    Attributes:
        runs: How often the scenario was run.
        schedules: How many of these runs had a schedule that no other had.
        steps: How many steps their tasks took, all together.
        seconds: How long it took, in real time.
    """

    runs: int
    schedules: int
    steps: int
    seconds: float


class ScenarioFailed(AssertionError):
    """A scenario has failed. Its cause is what was raised; its message says how to repeat it.

    Attributes:
        run: The run with the plainest schedule that fails like the first failure. It is *first*
            itself if that never failed again.
        first: The run that failed first. Its seed is ``first.trace.seed``.
        faults: What was injected in both.
    """

    def __init__(
        self, message: str, *, run: Run[Any], first: Run[Any], faults: Sequence[Injection] = ()
    ) -> None:
        super().__init__(message)
        self.run = run
        self.first = first
        self.faults = tuple(faults)


def explore(
    scenario: Scenario[Any],
    *,
    seeds: int | Iterable[int] = 100,
    loop: LoopName = "trio",
    strategy: Callable[[int], Strategy] = strategy_for,
    command: Callable[[Trace], str] | None = None,
    **options: Unpack[RunOptions],
) -> Exploration:
    """Run a scenario under many schedules, one after the other, until one fails.

    Args:
        scenario: An async function that is called with the `Simulation`. It fails by raising.
        seeds: The seeds to try, or how many, from zero.
        loop: ``"trio"``, or ``"asyncio"`` for programs of the asyncio facade.
        strategy: Gives the strategy of a seed.
        command: Gives the command that repeats a run, for the message; None for
            ``python -m trio_agents.testing replay``, which works in the current directory. A
            scenario that no other process could import is repeated by a call of `replay`.
        options: See `RunOptions`.

    Raises:
        ScenarioFailed: a run has failed. Its schedule was shrunk: the fewest decisions that make
            the scenario fail with the same type of exception, and in a group the same types.
        ValueError: there are no *seeds*, so nothing would be tried, or one is less than 0; or there
            is no such *loop*; or a fault that the scenario injects has happened in none of the
            runs, or there was never a victim to be cancelled; or a strategy has chosen nobody.
        TypeError: an argument is of the wrong type; or the scenario is not async.
        RuntimeError: an event loop runs in this thread already.
    """
    check_scenario(scenario)
    check_options(options, RunOptions.__annotations__, "explore")
    if not callable(strategy):
        raise TypeError(
            "each run has a strategy of its own, made from its seed: give a class like Shuffle, or "
            f"a function of the seed, not {strategy!r}"
        )
    began = time.monotonic()
    schedules = set[str]()
    steps = runs = without_victim = 0
    without_fault: list[str] = []
    for seed in seeds_of(seeds):
        check_seed(seed)
        decides = strategy(seed)
        check_strategy(decides)
        run = run_scenario(scenario, seed=seed, loop=loop, strategy=decides, **options)
        if run.error is not None:
            raise failure(scenario, run, command=command, **options) from run.error
        runs += 1
        without_fault += [describe_missed(one, run) for one in run.missed_faults[:1]]
        without_victim += run.missed_victim
        steps += run.steps
        schedules.add(run.trace.schedule)
    if not runs:
        raise ValueError(_NO_SEEDS)
    if len(without_fault) == runs:
        raise ValueError(f"{without_fault[0]}; in no other run it happened either")
    if without_victim == runs:
        raise ValueError(NO_VICTIM)
    return Exploration(runs, len(schedules), steps, time.monotonic() - began)


_NO_SEEDS: Final = (
    "no seed was given, and nothing would be tried: seeds=100 tries those from 0 to 99"
)


def seeds_of(seeds: int | Iterable[int]) -> Iterable[int]:
    """Give the seeds to try: those that are given, or so many.

    Raises:
        ValueError: there are none. An iterator is not looked into.
        TypeError: these are no seeds.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ValueError(f"{_NO_SEEDS}, and seeds={seeds} none")
        return range(seeds)
    if not isinstance(seeds, Iterable):
        raise TypeError(f"seeds are integers, or how many there are, not {seeds!r}")
    if isinstance(seeds, Sized) and not len(seeds):
        raise ValueError(_NO_SEEDS)
    return seeds


def explore_fault(
    scenario: Scenario[Any],
    fault: Fault,
    *,
    seed: int = 0,
    every: int = 1,
    loop: LoopName = "trio",
    expected: type[BaseException] | tuple[type[BaseException], ...] = (),
    **options: Unpack[RunOptions],
) -> Exploration:
    """Run a scenario once for each of its steps, with a fault before that step.

    What fails at one point out of hundreds is found for certain, and not by luck.

    Args:
        scenario: An async function that is called with the `Simulation`.
        fault: What happens, see `inject`.
        seed: Decides the schedule, the same in all runs up to the fault.
        every: Leave out the steps between; those of one in *every* are tried.
        loop: ``"trio"``, or ``"asyncio"`` for programs of the asyncio facade.
        expected: What the scenario may raise because of the fault, as it is and not in a group:
            one class or several.
        options: See `RunOptions`.

    Raises:
        ScenarioFailed: a run has failed otherwise; or the scenario fails without any fault.
        ValueError: the fault was to cancel a victim, as `cancel_victim` does, and in none of the
            runs was there any; or *every* is less than 1, or *seed* than 0; or there is no such
            *loop*.
        TypeError: *fault* is none, see `inject`; or another argument is of the wrong type; or the
            scenario is not async.
    """
    check_scenario(scenario)
    check_options(options, RunOptions.__annotations__, "explore_fault")
    check_fault(fault)
    allowed = expected if isinstance(expected, tuple) else (expected,)
    if every < 1:
        raise ValueError(f"one step in every 1, 2, 3... can be tried, not in {every}")
    began = time.monotonic()
    schedules = set[str]()
    steps = runs = missed = 0
    at = 0
    longest = 1
    while at <= longest:  # a run may take more steps than the one before
        faults = [inject(fault, at=at)] if at else []
        run = run_scenario(scenario, seed=seed, loop=loop, faults=faults, **options)
        if run.error is not None and not (at and type(run.error) in allowed):
            raise failure(scenario, run, faults=faults, **options) from run.error
        longest = run.steps if at == 0 else longest
        runs += 1
        missed += run.missed_victim
        steps += run.steps
        schedules.add(run.trace.schedule)
        at = at + every if at else 1
    if missed and missed == runs - 1:  # the first run is without the fault
        raise ValueError(NO_VICTIM)
    return Exploration(runs, len(schedules), steps, time.monotonic() - began)


def replay(
    scenario: Scenario[T],
    trace: Trace | str,
    *,
    faults: Sequence[Injection] = (),
    **options: Unpack[RunOptions],
) -> Run[T]:
    """Run a scenario under the schedule of a trace.

    Args:
        scenario: An async function that is called with the `Simulation`.
        trace: A `Trace`, or its text.
        faults: What was injected then.
        options: See `RunOptions`.

    Returns:
        What was run, and how it went. The schedule may be another one than that of the trace: the
        program has changed since, or it is not the one that the trace is of. Then the run has a
        *remark* that says so, as it has if one of the *faults* did not happen.

    Raises:
        ValueError: *trace* is not the text of a trace, or its seed is less than 0.
        TypeError: an argument is of the wrong type.
        BaseException: what the scenario raised.
    """
    check_scenario(scenario)
    check_options(options, RunOptions.__annotations__, "replay")
    parsed = Trace.parse(trace) if isinstance(trace, str) else trace
    if not isinstance(parsed, Trace):
        raise TypeError(f"a trace is a Trace, or the text of one, not {trace!r}")
    run = _rerun(scenario, parsed, faults=faults, **options)
    missed = [describe_missed(one, run) for one in run.missed_faults]
    missed += [NO_VICTIM] * run.missed_victim
    remark = "; ".join(filter(None, [_remark(parsed, run), *missed]))
    if run.error is not None:
        add_note(run.error, f"in a simulated run, whose trace is {run.trace}")
        if remark:
            add_note(run.error, remark)
        raise run.error
    return attrs.evolve(run, remark=remark)


def _remark(asked: Trace, run: Run[Any]) -> str:
    """Say whether a run took other decisions than it was asked to."""
    missed = [
        f"{decision}={place}"
        for decision, place in asked.choices.items()
        if run.trace.choices.get(decision) != place
    ]
    if not missed:
        return ""
    return (
        f"this is not the schedule of the trace: {', '.join(missed)} did not come up. The program "
        "has changed since, or the trace is of another one: to look for the fault again, explore"
    )


def _rerun(scenario: Scenario[T], trace: Trace, **options: Any) -> Run[T]:
    return run_scenario(
        scenario,
        seed=trace.seed,
        loop=trace.loop,
        strategy=Replayed(trace.choices) if trace.choices else Plain(),
        **options,
    )


# --- failures


def failure(
    scenario: Scenario[Any],
    first: Run[Any],
    *,
    faults: Sequence[Injection] = (),
    command: Callable[[Trace], str] | None = None,
    **options: Any,
) -> ScenarioFailed:
    """Make the exception for a run that has failed."""
    shrinker = _Shrinker(scenario, first, faults=faults, **options)
    run = shrinker.shrink()
    error = run.error
    assert error is not None
    lines = [line for leaf in leaves(error) for line in traceback.format_exception_only(leaf)]
    lines = ["".join(lines).rstrip()]
    count = len(run.trace.choices)
    if not shrinker.fails_again:
        lines.append(
            "It did not fail again under the same schedule: it depends on something that no seed "
            "decides (what is kept from run to run, a sync fixture, a thread, the order of a set)."
        )
    elif count:
        lines.append(
            f"It needs {count} decision{'s' if count > 1 else ''} that the plain schedule does not "
            f"take (of {len(first.trace.choices)} in the run that failed first, seed "
            f"{first.trace.seed}):"
        )
        lines += [f"  {turn}" for turn in run.turns]
    else:
        lines.append("It fails under the plain schedule too.")
    for injection in faults:
        lines.append(f"With the fault {name_of(injection.fault)} before step {injection.at}.")
    if run.history:
        lines.append("What it noted: " + ", ".join(map(str, run.history)))
    again = command(run.trace) if command else repetition(scenario, run.trace, faults, options)
    lines.append(f"To repeat it: {again}")
    return ScenarioFailed("\n".join(lines), run=run, first=first, faults=faults)


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        for inner in group.exceptions:
            yield from leaves(inner)
    else:
        yield error


class _Shrinker:
    """Takes decisions out of a schedule as long as the scenario fails in the same way.

    Attributes:
        fails_again: Whether the schedule that was found failed once more, at the end.
    """

    def __init__(self, scenario: Scenario[Any], failed: Run[Any], **options: Any) -> None:
        self._scenario = scenario
        self.fails_again = False
        self._best = failed
        self._options = options
        self._runs = 0
        self._deadline = time.monotonic() + SECONDS_TO_SHRINK
        self._tried = set[tuple[tuple[int, int], ...]]()

    def shrink(self) -> Run[Any]:
        """Give the plainest run that was found."""
        if not self._fails({}):
            before = None
            while before != self._best.trace.choices and self._may_go_on():
                before = self._best.trace.choices
                self._remove()
                self._search()
                self._lower()
        # Once more, with a word about each decision.
        told = _rerun(self._scenario, self._best.trace, telling=True, **self._options)
        self.fails_again = _kind(told) == _kind(self._best)
        return told if self.fails_again else self._best

    def _may_go_on(self) -> bool:
        return self._runs < MAX_SHRINKING and time.monotonic() < self._deadline

    def _fails(self, choices: dict[int, int]) -> bool:
        """Whether the scenario still fails under these; then they are the best so far."""
        key = tuple(sorted(choices.items()))
        if key in self._tried or not self._may_go_on():
            return False
        self._tried.add(key)
        self._runs += 1
        trace = attrs.evolve(self._best.trace, choices=choices)
        run = _rerun(self._scenario, trace, **self._options)
        if _kind(run) != _kind(self._best):
            return False
        # What was really decided: the run may have ended before the last of these.
        if _weight(run.trace) > _weight(self._best.trace):
            return False
        self._best = run
        return True

    def _remove(self) -> None:
        """Leave out decisions: half of them, a quarter, and so on, the last ones first."""
        size = max(1, len(self._best.trace.choices) // 2)
        while True:
            end = len(self._best.trace.choices)
            while end > 0:
                items = list(self._best.trace.choices.items())
                end = min(end, len(items))
                self._fails(dict(items[: max(0, end - size)] + items[end:]))
                end -= size
            if size == 1:
                return
            size //= 2

    def _search(self) -> None:
        """Look for fewer decisions that are others: one taken out changes what comes after it."""
        last = max(self._best.trace.choices, default=-1)
        places = range(1, max(self._best.trace.choices.values(), default=0) + 1)
        for count in range(1, len(self._best.trace.choices)):
            for decisions in itertools.combinations(range(last + 1), count):
                for chosen in itertools.product(places, repeat=count):
                    if not self._may_go_on():
                        return
                    if self._fails(dict(zip(decisions, chosen, strict=True))):
                        return

    def _lower(self) -> None:
        """Take one that has waited longer, where that does as well."""
        for decision in list(self._best.trace.choices):
            place = self._best.trace.choices.get(decision, 0)
            for lower in range(1, place):
                if self._fails({**self._best.trace.choices, decision: lower}):
                    break


def _kind(run: Run[Any]) -> tuple[type[BaseException], frozenset[type[BaseException]]] | None:
    """Give the type of what a run has failed with, and the types of what is in that group."""
    if run.error is None:
        return None
    return type(run.error), frozenset(type(leaf) for leaf in leaves(run.error))


def _weight(trace: Trace) -> tuple[int, int]:
    return len(trace.choices), sum(trace.choices.values())
