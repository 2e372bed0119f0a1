"""Writes down what found each planted fault: into the table of docs/reliability.md.

``python tests/trial/table.py`` searches for all of them, two at a time, and makes each finding as
plain as it can be. ``python tests/trial/table.py NAME`` searches for one, by the beginning of its
name, and prints the finding whole, the program included.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from bugs import BUGS, Bug

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
PAGE: Final = ROOT / "docs" / "reliability.md"
MARKS: Final = re.compile("(<!-- planted: begin -->\n).*(<!-- planted: end -->)", re.DOTALL)

WIDTH: Final = 100  # of a schedule, in characters
SEEDS: Final = 1000
SECONDS: Final = 60
AT_ONCE: Final = 2


class Finding(NamedTuple):
    """What a search came to."""

    bug: Bug
    seeds: int
    seconds: float
    text: str


def search(bug: Bug) -> Finding:
    """Plant a fault into a copy of the package, and search it."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "trio_agents"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "trio_agents", copy, ignore=ignored)
        bug.plant(copy)
        command = [sys.executable, str(HERE / "find.py"), bug.row, str(SEEDS), str(SECONDS)]

        def run(form: str) -> dict[str, Any]:
            done = subprocess.run(
                [*command, form],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": directory},
                capture_output=True,
                text=True,
                check=True,
            )
            result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return result

        first = run("as found")  # its seconds are those of the search alone
        found = run("shrunk")["found"] or first["found"]
        if found is None:
            raise SystemExit(f"{bug.name}: {first['seeds']} seeds found nothing")
        return Finding(bug, first["seeds"], first["seconds"], found)


def row_of(finding: Finding) -> str:
    """Write the row of the table."""
    text = finding.text
    seed = re.search(r"seed[ =](\d+)", text)
    schedule = re.search(r'replay\(scenario, "([^"]*)"\)', text)
    is_plain = "fails under the plain schedule" in text
    decisions = re.search(r"It needs (\d+ decisions?)", text)
    how = "the plain one" if is_plain else decisions[1] if decisions else "-"
    cells = [
        finding.bug.name,
        finding.bug.row,
        seed[1] if seed else "-",
        f"`{shorten(schedule[1])}`" if schedule else "-",
        how,
        str(finding.seeds),
        f"{finding.seconds:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def shorten(schedule: str) -> str:
    """Cut a schedule that nobody reads off at a decision."""
    if len(schedule) <= WIDTH:
        return schedule
    return f"{schedule[: schedule.rindex(',', 0, WIDTH)]},..."


def main(name: str = "") -> None:
    if name:
        for bug in BUGS:
            if bug.name.startswith(name):
                print(search(bug).text)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows: list[str] = []
        for finding in pool.map(search, BUGS):
            rows.append(row_of(finding))
            print(rows[-1], flush=True)
    head = "| fault | row | seed | schedule | which is | seeds tried | seconds |"
    table = "\n".join([head, "|---|---|---|---|---|---|---|", *rows])
    text = (
        f"Each was found within {SEEDS} seeds and {SECONDS} seconds. The schedule is the plainest\n"
        f"that was found; seconds are those of the search, before anything was made plainer.\n"
        f"`python tests/trial/table.py NAME` repeats one, and prints its program, and its\n"
        f"schedule whole where it is cut off here.\n\n"
    )
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKS.sub(lambda m: m[1] + text + table + "\n" + m[2], page), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
