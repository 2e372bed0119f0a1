"""A row about the `AgentRuntime` protocol: each promise, under many schedules, on both loops."""

from __future__ import annotations

from typing import Final

from .._conformance import RUNTIME_CHECKS
from .._conformance_check import Check
from .._schedule import LOOPS, LoopName
from .._simulation import Run, Simulation, run_scenario
from ._row import Row, Watch

__all__ = ["ROWS", "try_check"]


def try_check(check: Check, *, seed: int, loop: LoopName) -> Run[None]:
    """Try one promise in a simulation, whose monitor looks at the runtime meanwhile."""

    async def scenario(sim: Simulation) -> None:
        await check(sim.open_runtime)

    return run_scenario(scenario, seed=seed, loop=loop)


def try_checks(watch: Watch) -> None:
    """Try one after the other, each time under another schedule."""
    while watch.goes_on():
        seed = watch.next_seed()
        check = RUNTIME_CHECKS[seed % len(RUNTIME_CHECKS)]
        loop = LOOPS[seed // len(RUNTIME_CHECKS) % len(LOOPS)]
        run = try_check(check, seed=seed, loop=loop)
        if run.error is None:
            watch.met(check.name)
        else:
            watch.violation(
                f"{check.promise} On {loop}: {run.error!r}. To repeat it: "
                f"try_check({check.name}, seed={seed}, loop={loop!r})"
            )
        watch.done()


ROWS: Final = (
    Row(
        name="conformance",
        title="every promise of the AgentRuntime protocol",
        family="In process",
        goal=200_000,
        unit="checks",
        promise="it is kept, whatever the schedule",
        work=try_checks,
        minutes_of_seed=0.1,
        quick_goal=4 * len(RUNTIME_CHECKS),
        expects=tuple(check.name for check in RUNTIME_CHECKS),
    ),
)
