"""A row of random programs that a runtime and its reference model do side by side."""

from __future__ import annotations

import re
import traceback
from typing import Any, Final, cast

from .._acts import Seen
from .._schedule import LOOPS, LoopName
from ._row import Row, Watch

__all__ = ["ROWS", "compare_with_model", "try_programs"]

PROGRAMS: Final = 10  # of a seed, before the clock is looked at again
RULES: Final = 50  # of a program, at most

# Everything that can be seen of a runtime.
SIGHTS: Final = (
    "begins",
    "did",
    "ends",
    "looks",
    "looked",
    "makes",
    "made",
    "saves",
    "loads",
    "closes",
    "unwound",
    "returns",
    "waits for room",
)


def try_programs(
    seed: int,
    loop: LoopName,
    *,
    programs: int = PROGRAMS,
    watch: Watch,
    repeat: tuple[str, bytes] | None = None,
) -> None:
    """Do the programs of a seed, and count their rules.

    Args:
        seed: It decides the programs, in a process that has imported the same modules: hypothesis
            draws constants out of their code.
        loop: The event loop.
        programs: How many.
        watch: Who counts.
        repeat: A program that was met before, in whatever process, instead: the version of
            hypothesis and what its ``@reproduce_failure`` takes.

    Raises:
        BaseException: The model does not agree, or something that neither of both expected.
    """
    # hypothesis takes half a second to import, and other rows have no use for it.
    import hypothesis
    from hypothesis.stateful import invariant, run_state_machine_as_test

    from ..stateful import RuntimeMachine

    class CountingMachine(RuntimeMachine):
        def note(self, seen: Seen) -> None:
            watch.met(seen.what)

        @invariant()
        def count(self) -> None:
            watch.done()
            if self.model.outside:
                watch.met("waits for room")

    CountingMachine.loop = loop
    settings = hypothesis.settings(
        max_examples=programs,
        stateful_step_count=RULES,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.data_too_large,
            hypothesis.HealthCheck.filter_too_much,
            hypothesis.HealthCheck.large_base_example,
        ],
    )
    drawn = hypothesis.reproduce_failure(*repeat) if repeat else hypothesis.seed(seed)
    machine: Any = drawn(CountingMachine)
    run_state_machine_as_test(machine, settings=settings)


def compare_with_model(watch: Watch) -> None:
    """Do the programs of one seed after the other."""
    while watch.goes_on():
        seed = watch.next_seed()
        loop = LOOPS[seed % len(LOOPS)]
        try:
            try_programs(seed, loop, watch=watch)
        except Exception as error:
            found = re.search(r"@reproduce_failure(\(.*\))", "\n".join(notes_of(error)))
            repeat = f", repeat={found[1]}" if found else ""
            watch.violation(
                f"{traceback.format_exc(limit=-3)} To repeat it: "
                f"try_programs({seed}, {loop!r}, watch=Watch(goal=1, seconds=1){repeat})"
            )
        watch.met(loop)


def notes_of(error: BaseException) -> list[str]:
    """Give what was noted of an error; a program that fails in several ways raises a group."""
    found: list[str] = list(getattr(error, "__notes__", ()))
    if isinstance(error, BaseExceptionGroup):
        for one in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            found += notes_of(one)
    return found


ROWS: Final = (
    Row(
        name="model",
        title="rules: model vs runtime",
        family="In process",
        goal=1_000_000,
        unit="rules",
        promise="the same observable history, and equal books",
        work=compare_with_model,
        minutes_of_seed=0.1,
        weight=6,
        quick_goal=100_000,
        expects=(*LOOPS, *SIGHTS),
    ),
)
