"""Rows about schedules: programs in every order, with every fault, at every step, on both loops."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

from ..._core._envelope import Outcome
from ..._core._ledger import RuntimeStatistics
from .._explore import failure, leaves
from .._schedule import LOOPS, LoopName
from .._simulation import Run, run_scenario
from ._programs import KINDS, Program, dense_program, program_with, shrink_program
from ._row import Row, Watch
from ._world import FAULTS, Fault, scenario_of

__all__ = ["PROGRAMS", "ROWS", "digest", "try_program"]

IN_PROCESS: Final = "In process"

# One for each kind of fault, of a hundred steps or so, and five large ones.
PROGRAMS: Final[Mapping[str, Program]] = {
    **{kind: program_with([kind], seed=0) for kind in KINDS},
    **{f"large {seed}": dense_program(seed, steps=60) for seed in (3, 14, 15, 92, 65)},
}
# The largest programs take some ten thousand. One that hangs may go on for ever, where quiet agents
# are looked for by the clock.
MAX_STEPS: Final = 200_000
# Where a fault must have come at each step, if there is time for little: while messages are let in,
# an agent is made, a message and a reply are looked at, states are saved, and a stop is under way.
FIRST: Final = (
    "overload",
    "factory waits",
    "reply is refused",
    "intervention asks",
    "state is saved",
    "stop and start",
)
SECONDS_TO_SHRINK: Final = 8.0
OUTCOMES: Final = tuple(outcome.value for outcome in Outcome)


def try_program(
    watch: Watch,
    program: Program,
    *,
    seed: int,
    loop: LoopName,
    fault: Fault | None = None,
    at: int = 0,
    name: str = "",
) -> Run[RuntimeStatistics]:
    """Run a program once, and note how it went."""
    run = _run(program, seed=seed, loop=loop, fault=fault, at=at)
    if run.error is None:
        statistics = run.value
        for outcome in OUTCOMES:
            if count := getattr(statistics, outcome):
                watch.met(outcome, count)
    elif not (fault == "Ctrl-C" and _is_interrupt(run.error)):
        watch.violation(_describe(program, run, fault=fault, at=at, name=name))
    watch.met(loop)
    return run


def _run(
    program: Program, *, seed: int, loop: LoopName, fault: Fault | None = None, at: int = 0
) -> Run[RuntimeStatistics]:
    scenario = scenario_of(program, fault, at=at)
    return run_scenario(scenario, seed=seed, loop=loop, max_steps=MAX_STEPS)


def _is_interrupt(error: BaseException) -> bool:
    # In the groups of the scenario's own nursery. How it leaves the runtime is the world's check.
    return [type(leaf) for leaf in leaves(error)] == [KeyboardInterrupt]


def _describe(
    program: Program,
    run: Run[RuntimeStatistics],
    *,
    fault: Fault | None,
    at: int,
    name: str,
) -> str:
    """Say what a program that failed needs to fail: the steps, and the decisions."""
    trace = run.trace
    end = time.monotonic() + SECONDS_TO_SHRINK

    def fails(smaller: Program) -> bool:
        if time.monotonic() > end:
            return False
        again = _run(smaller, seed=trace.seed, loop=trace.loop, fault=fault, at=at)
        return type(again.error) is type(run.error)

    small = shrink_program(program, fails) if fault is None else program
    befallen = "" if fault is None else f", {fault} before step {at}"
    again = _run(small, seed=trace.seed, loop=trace.loop, fault=fault, at=at)
    scenario = scenario_of(small, fault, at=at)
    what = failure(scenario, again if again.error is not None else run, max_steps=MAX_STEPS)
    return f"{name or 'a program'}, seed {trace.seed} on {trace.loop}{befallen}: {what}\n{small}"


def run_schedules(watch: Watch) -> None:
    """Each program in turn, under the schedule of each seed, on both loops."""
    names = itertools.cycle(itertools.product(LOOPS, PROGRAMS))
    while watch.goes_on():
        loop, name = next(names)
        run = try_program(watch, PROGRAMS[name], seed=watch.next_seed(), loop=loop, name=name)
        watch.met(name)
        watch.done(run.steps)


def run_random_programs(watch: Watch) -> None:
    """A new program for each seed."""
    while watch.goes_on():
        seed = watch.next_seed()
        for loop in LOOPS:
            try_program(watch, dense_program(seed), seed=seed, loop=loop)
        watch.done()


def run_combinations(size: int, watch: Watch) -> None:
    """Every combination of so many kinds of faults, under one seed after the other."""
    combinations = list(itertools.combinations(KINDS, size))
    while watch.goes_on():
        seed = watch.next_seed()
        kinds = combinations[seed % len(combinations)]
        program = program_with(kinds, seed)
        for loop in LOOPS:
            try_program(watch, program, seed=seed, loop=loop, name=" + ".join(kinds))
        for kind in kinds:
            watch.met(kind)
        watch.done()


def run_pairs(watch: Watch) -> None:
    """Every pair of kinds of faults."""
    run_combinations(2, watch)


def run_triples(watch: Watch) -> None:
    """Every triple of kinds of faults."""
    run_combinations(3, watch)


def run_faults_at_each_step(watch: Watch) -> None:
    """One fault before each step of each program, one run for each."""
    names = list(dict.fromkeys([*FIRST, *PROGRAMS]))
    while True:
        seed = watch.next_seed()
        name = names[seed % len(names)]
        program = PROGRAMS[name]
        for loop, fault in itertools.product(LOOPS, FAULTS):
            steps = _run(program, seed=seed, loop=loop).steps
            for at in range(1, steps + 1):
                if not watch.goes_on():
                    return
                try_program(watch, program, seed=seed, loop=loop, fault=fault, at=at, name=name)
                watch.met(fault)
                watch.met(name)
                watch.done()


# --- the same run again


def digest(seed: int) -> str:
    """Give a digest of all that a run of this seed does, on each loop."""
    found = sha256()
    for loop in LOOPS:
        run = run_scenario(scenario_of(dense_program(seed, steps=20)), seed=seed, loop=loop)
        error = None if run.error is None else type(run.error).__name__
        value = None if run.error is not None else run.value.accepted
        found.update(repr((str(run.trace), run.steps, run.seconds, error, value)).encode())
    return found.hexdigest()


def digests(seeds: Sequence[int], hash_seed: int) -> Iterator[str]:
    """Give the digests of these seeds in a process of its own."""
    code = (
        "import sys\n"
        "from trio_agents.testing.nightly._schedules import digest\n"
        "for seed in sys.argv[1:]: print(digest(int(seed)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, seeds)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    yield from done.stdout.split()


def run_again(watch: Watch) -> None:
    """The same seeds in two further processes, under other hash seeds."""
    while watch.goes_on():
        seeds = [watch.next_seed() for _ in range(min(50, watch.goal))]
        here = [digest(seed) for seed in seeds]
        for hash_seed in (1, 2):
            for seed, mine, other in zip(seeds, here, digests(seeds, hash_seed), strict=True):
                if mine != other:
                    watch.violation(
                        f"seed {seed} gave another run in another process, whose hash seed was "
                        f"{hash_seed}",
                        seed=seed,
                    )
        watch.done(len(seeds))


ROWS: Final = (
    Row(
        name="schedules",
        title=f"{len(PROGRAMS)} programs under every kind of schedule",
        family=IN_PROCESS,
        goal=100_000_000,
        unit="steps of tasks",
        promise="every invariant of the monitor, after each step",
        work=run_schedules,
        weight=12,
        quick_goal=1_000_000,
        expects=(*OUTCOMES, *PROGRAMS),
    ),
    Row(
        name="random-programs",
        title="a new program for each seed, up to forty submissions",
        family=IN_PROCESS,
        goal=100_000,
        unit="programs",
        promise="every invariant of the monitor, after each step",
        work=run_random_programs,
        minutes_of_seed=0.1,
        weight=4,
        quick_goal=150,
        expects=OUTCOMES,
    ),
    Row(
        name="fault-pairs",
        title=f"all pairs of {len(KINDS)} kinds of faults",
        family=IN_PROCESS,
        goal=2760,
        unit="programs",
        promise="every invariant of the monitor, after each step",
        work=run_pairs,
        minutes_of_seed=0.1,
        weight=1,
        quick_goal=276,
        expects=tuple(KINDS),
    ),
    Row(
        name="fault-triples",
        title=f"all triples of {len(KINDS)} kinds of faults",
        family=IN_PROCESS,
        goal=20_240,
        unit="programs",
        promise="every invariant of the monitor, after each step",
        work=run_triples,
        minutes_of_seed=0.1,
        weight=3,
        quick_goal=50,
        expects=tuple(KINDS),
    ),
    Row(
        name="faults-at-each-step",
        title="cancellations, Ctrl-C, garbage collection and clock jumps before each step",
        family=IN_PROCESS,
        goal=60_000,
        unit="runs",
        promise="every invariant of the monitor; one bare KeyboardInterrupt",
        work=run_faults_at_each_step,
        minutes_of_seed=1,
        weight=5,
        quick_goal=3400,
        expects=(*FAULTS, *FIRST),
    ),
    Row(
        name="replay",
        title="the same seed in three processes under three hash seeds",
        family=IN_PROCESS,
        goal=1000,
        unit="seeds",
        promise="the same schedule, the same steps, the same outcome",
        work=run_again,
        minutes_of_seed=0.1,
        weight=1,
        quick_goal=50,
    ),
)
