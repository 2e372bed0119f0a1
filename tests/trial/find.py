"""Searches for a fault, in whatever package is imported: the first violation ends it.

``python find.py ROW SEEDS SECONDS [shrunk]`` prints how many seeds and seconds it took, and what
was found: as it was found, or made as plain as it can be.
"""

from __future__ import annotations

import json
import sys
import time
import traceback

from trio_agents.testing import _explore
from trio_agents.testing.nightly import _schedules
from trio_agents.testing.nightly._row import Watch
from trio_agents.testing.nightly._rows import ROWS


class FirstViolation(Watch):
    """Stops at the first violation, or after so many seeds."""

    def __init__(self, *, seeds: int, seconds: float) -> None:
        super().__init__(goal=sys.maxsize, seconds=seconds)
        self.seeds = 0
        self._most = seeds

    def goes_on(self) -> bool:
        return super().goes_on() and not self.report.violated and self.seeds <= self._most

    def next_seed(self) -> int:
        self.seeds += 1
        return super().next_seed()


def main(name: str, seeds: str, seconds: str, form: str = "as found") -> None:
    if form != "shrunk":
        _schedules.SECONDS_TO_SHRINK = 0  # type: ignore[misc]
        _explore.MAX_SHRINKING = 0  # type: ignore[misc]
    (row,) = (row for row in ROWS if row.name == name)
    watch = FirstViolation(seeds=int(seeds), seconds=float(seconds))
    began = time.monotonic()
    try:
        row.work(watch)
    except Exception:
        watch.violation(traceback.format_exc(limit=-3))
    found = watch.report.violations[0] if watch.report.violations else None
    result = {"seeds": watch.seeds, "seconds": time.monotonic() - began, "found": found}
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
