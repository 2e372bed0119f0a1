"""What one process of the long run does: row after row, telling how far it is."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, TextIO

import attrs

from ._row import Report, Row, Watch

__all__ = ["Told", "decode", "run_lane"]

PERIOD: Final = 1.0  # seconds between two lines about the same row
# Characters of a violation that are kept. The steps and decisions of a program that could not be
# made smaller are a megabyte or two, which nobody reads, and a lane would tell them each second.
HEAD: Final = 6_000
TAIL: Final = 2_000
# What programs under test are to be told of that are ended wherever they are, as most of the row
# `model` are. No row looks for it with the filters of the process: those that look for warnings
# record them all, whatever the filters are.
EXPECTED_WARNING: Final = r"<\w+ .* was started and never stopped, and its event loop has ended"

# A row's name, what has been done for it in this process, and whether that is all.
Told = tuple[str, Report, bool]


def run_lane(
    rows: Iterable[Row], *, index: int, lanes: int, seconds: float, seed: int, out: TextIO
) -> None:
    """Run every row for its share of the time, and write a line for each bit of progress.

    Args:
        rows: What to run. What a row leaves of its time is shared by those after it.
        index: Which lane this is,
        lanes: of how many. Each does its part of a row's goal, with seeds of its own.
        seconds: For all rows together.
        seed: Where the seeds of all lanes begin.
        out: Where the lines go.
    """
    left = list(rows)
    end = time.monotonic() + seconds
    while left:
        row = left.pop(0)
        share = row.weight / (row.weight + sum(other.weight for other in left))
        teller = _Teller(row.name, out)
        watch = Watch(
            goal=-(-row.goal // lanes),
            seconds=max(0.0, end - time.monotonic()) * share,
            first_seed=seed + index,
            stride=lanes,
            on_progress=teller.progress,
            wording=partial(_worded, row),
        )
        teller.tell(watch.report, is_over=False)
        try:
            row.work(watch)
        except Exception:  # what the row's own checks did not expect: a violation like others
            watch.violation("the work itself failed:\n" + traceback.format_exc(limit=-8))
        watch.goes_on()  # for the time
        teller.tell(watch.report, is_over=True)


def _worded(row: Row, text: str, seed: int | None) -> str:
    """Cut what is said of a violation to what can be read, and add how it is tried again."""
    if len(text) > HEAD + TAIL:
        left_out = len(text) - HEAD - TAIL
        text = f"{text[:HEAD]}\n[... {left_out:,} characters left out ...]\n{text[-TAIL:]}"
    command = None if seed is None else row.command(seed)
    return text if command is None else f"{text.rstrip()}\nTo try seed {seed} again: {command}"


class _Teller:
    def __init__(self, name: str, out: TextIO) -> None:
        self._name = name
        self._out = out
        self._next = 0.0
        self._violations = 0  # that have been told

    def progress(self, report: Report) -> None:
        now = time.monotonic()
        if now >= self._next or len(report.violations) > self._violations:
            self._next = now + PERIOD
            self.tell(report, is_over=False)

    def tell(self, report: Report, *, is_over: bool) -> None:
        self._violations = len(report.violations)
        line = {
            "row": self._name,
            "over": is_over,
            "units": report.units,
            "seconds": report.seconds,
            "reached": dict(report.reached),
            "figures": report.figures,
            "violated": report.violated,
            "violations": report.violations,
        }
        try:
            print(json.dumps(line), file=self._out, flush=True)
        except BrokenPipeError:  # the runner was killed
            # At once: an exception would be a finding of the row, and nobody is left to be told.
            os._exit(1)


def decode(line: str) -> Told:
    """Read a line that a lane has written.

    Raises:
        ValueError: it is something else.
    """
    told: dict[str, Any] = json.loads(line)
    report = Report(
        units=told["units"],
        seconds=told["seconds"],
        reached=Counter(told["reached"]),
        figures=told["figures"],
        violated=told["violated"],
        violations=told["violations"],
    )
    return told["row"], report, told["over"]


def main(arguments: list[str]) -> None:
    """Run a lane as the runner asks: index, lanes, seconds, seed, and rows with their goals."""
    from ._rows import ROWS

    index, lanes, seconds, seed, *wanted = arguments
    goals = {name: int(goal) for name, _, goal in (word.partition("=") for word in wanted)}
    out = sys.stdout
    sys.stdout = sys.stderr  # what rows print is not for the runner
    # Nor are the failures that they mean to have, for anybody, nor that nobody logs them.
    logging.lastResort = logging.NullHandler()
    warnings.filterwarnings("ignore", EXPECTED_WARNING, RuntimeWarning)
    rows = {row.name: row for row in ROWS}
    chosen = [attrs.evolve(rows[name], goal=goal) for name, goal in goals.items()]
    run_lane(
        chosen, index=int(index), lanes=int(lanes), seconds=float(seconds), seed=int(seed), out=out
    )


if __name__ == "__main__":
    main(sys.argv[1:])
