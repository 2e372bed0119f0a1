"""A row of programs that run on AutoGen Core too: the same comes of them, or what is listed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from ._autogen_differences import DIFFERENCES, compare
from ._autogen_programs import program_from
from ._row import Row, Watch

__all__ = ["ROWS", "compare_programs"]


def compare_programs(watch: Watch) -> None:
    """Compare one program after the other."""
    while watch.goes_on():
        seed = watch.next_seed()
        found = compare(program_from(seed))
        for name in found.differences:
            watch.met(name)
        watch.met("calls compared", found.calls)
        if found.is_whole:
            watch.met("whole programs")
        if found.unexplained is not None:
            watch.violation(f"{found.unexplained}. To repeat it: compare(program_from({seed}))")
        watch.done()


def _missing() -> str | None:
    return None if find_spec("autogen_core") else "autogen-core is not installed"


ROWS: Final = (
    Row(
        name="autogen",
        title="sequential programs, on AutoGen Core and on the asyncio door",
        family="In process",
        goal=20_000,
        unit="programs",
        promise="equal outcomes but for the differences that are listed",
        work=compare_programs,
        minutes_of_seed=0.1,
        quick_goal=100,
        expects=(*DIFFERENCES, "whole programs"),
        missing=_missing,
    ),
)
