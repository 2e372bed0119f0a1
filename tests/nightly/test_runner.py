"""The long run itself: lanes, what they tell, and what becomes of a row that breaks."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest

from trio_agents.testing.nightly._lane import decode, run_lane
from trio_agents.testing.nightly._report import render
from trio_agents.testing.nightly._row import MAX_VIOLATIONS, Report, Row, Watch
from trio_agents.testing.nightly._runner import Night, run_rows


def row(name: str = "a-row", **changes: Any) -> Row:
    def work(watch: Watch) -> None:
        while watch.goes_on():
            watch.next_seed()
            watch.met("kind")
            watch.done()

    options: dict[str, Any] = {
        "title": "what is tried",
        "family": "In process",
        "goal": 10,
        "unit": "tries",
        "promise": "nothing breaks",
        "work": work,
        **changes,
    }
    return Row(name=name, **options)


# --- a watch


def test_a_watch_ends_at_its_goal() -> None:
    watch = Watch(goal=3, seconds=60)
    row().work(watch)
    assert watch.report.units == 3
    assert watch.report.reached == {"kind": 3}


def test_a_watch_ends_when_its_time_is_over() -> None:
    watch = Watch(goal=3, seconds=0)
    assert not watch.goes_on()


def test_lanes_have_seeds_of_their_own() -> None:
    lanes = [Watch(goal=9, seconds=60, first_seed=index, stride=2) for index in range(2)]
    seeds = [[watch.next_seed() for _ in range(3)] for watch in lanes]
    assert seeds == [[0, 2, 4], [1, 3, 5]]


def test_of_a_measurement_the_largest_is_kept() -> None:
    watch = Watch(goal=1, seconds=1)
    for value in (2, 7, 3):
        watch.figure("p99, ms", value)
    assert watch.report.figures == {"p99, ms": 7}


def test_all_violations_are_counted_and_the_first_are_kept() -> None:
    watch = Watch(goal=1, seconds=1)
    for number in range(MAX_VIOLATIONS + 5):
        watch.violation(str(number))
    assert watch.report.violated == MAX_VIOLATIONS + 5
    assert watch.report.violations == [str(number) for number in range(MAX_VIOLATIONS)]


def test_reports_of_several_processes_add_up() -> None:
    report = Report(units=1, reached=Counter(a=1), figures={"x": 1.0}, violations=["one"])
    report.add(Report(units=2, reached=Counter(a=1, b=2), figures={"x": 3.0}, violated=1))
    assert report.units == 3
    assert report.reached == {"a": 2, "b": 2}
    assert report.figures == {"x": 3.0}
    assert report.violated == 1


# --- a lane


def told(rows: list[Row], **options: Any) -> list[tuple[str, Report, bool]]:
    out = io.StringIO()
    run_lane(rows, **{"index": 0, "lanes": 1, "seconds": 60, "seed": 0, **options}, out=out)
    return [decode(line) for line in out.getvalue().splitlines()]


def test_a_lane_tells_of_each_row_when_it_begins_and_when_it_is_over() -> None:
    lines = told([row("one"), row("two")])
    assert {(name, is_over) for name, _, is_over in lines} == {
        ("one", False),
        ("one", True),
        ("two", False),
        ("two", True),
    }
    assert lines[-1][1].units == 10


def test_a_goal_is_shared_by_the_lanes() -> None:
    assert told([row(goal=9)], lanes=2)[-1][1].units == 5


def test_work_that_raises_is_a_violation_and_the_next_row_goes_on() -> None:
    def work(watch: Watch) -> None:
        raise ZeroDivisionError

    lines = told([row("breaks", work=work), row("goes on")])
    (broken,) = (report for name, report, is_over in lines if name == "breaks" and is_over)
    assert broken.violated == 1
    assert "ZeroDivisionError" in broken.violations[0]
    assert lines[-1][1].units == 10


# --- the runner, with real processes


@pytest.fixture
def lane_of_my_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the processes of the runner know other rows."""

    def use(source: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            "import trio_agents.testing.nightly._rows as rows\n"
            "from trio_agents.testing.nightly._row import Row\n"
            + textwrap.dedent(source)
            + "\nrows.ROWS = ROWS\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")

    return use


ROW = """
def row(name, work):
    return Row(name=name, title="", family="", goal=8, unit="", promise="", work=work)

def works(watch):
    while watch.goes_on():
        watch.met(f"seed {watch.next_seed()}")
        watch.done()
"""


def test_rows_run_in_several_processes_on_seeds_of_their_own(lane_of_my_rows: Any) -> None:
    lane_of_my_rows(ROW + "ROWS = (row('works', works),)")
    night = run_rows([row("works", goal=8)], seconds=60, lanes=2, seed=100)
    assert night.reports["works"].units == 8
    assert set(night.reports["works"].reached) == {f"seed {number}" for number in range(100, 108)}
    assert night.violated == 0


def test_a_row_that_kills_its_process_has_failed_and_the_next_one_runs(
    lane_of_my_rows: Any,
) -> None:
    lane_of_my_rows(
        ROW
        + """
def dies(watch):
    import os
    os._exit(7)

ROWS = (row('dies', dies), row('works', works))
"""
    )
    rows = [row("dies", goal=8), row("works", goal=8)]
    night = run_rows(rows, seconds=60, lanes=1, seed=0)
    assert night.reports["dies"].violations == ["its process ended with 7"]
    assert night.reports["works"].units == 8


def test_a_row_that_cannot_run_here_is_told_and_not_run() -> None:
    night = run_rows([row(missing=lambda: "there is no moon")], seconds=1, lanes=1, seed=0)
    assert night.missing == {"a-row": "there is no moon"}
    assert night.reports == {}


def test_rows_that_measure_run_when_all_others_have_ended(lane_of_my_rows: Any) -> None:
    lane_of_my_rows(ROW + "ROWS = (row('measures', works), row('works', works))")
    seen: list[str] = []
    run_rows(
        [row("measures", alone=True, goal=8), row("works", goal=8)],
        seconds=60,
        lanes=2,
        seed=0,
        on_change=lambda night, name: seen.append(name),
    )
    assert seen == sorted(seen, key=["works", "measures"].index)
    assert set(seen) == {"works", "measures"}


# --- the report


def a_night(**changes: Any) -> Night:
    night = Night([row(expects=("kind",))], 2)
    report = Report(units=5, reached=Counter(kind=3), figures={"p99, ms": 1.5})
    night.reports["a-row"] = attrs.evolve(report, **changes)
    return night


def test_the_report_says_what_was_reached_and_what_that_bounds() -> None:
    text = render(a_night(), hours=1.5, seed=7, at_least=2, day=date(2026, 1, 2))
    assert "| when | 2026-01-02, for 1.5 hours in 2 processes, seeds from 7 |" in text
    assert "| what is tried | nothing breaks | 5 tries | 50% | 0 | < 0.6 |" in text
    assert "| what is tried | p99, ms | 1.5 |" in text
    assert "| what is tried | 1 | kind: 3 times | 1 |" in text
    assert "### Violations" not in text


def test_the_report_shows_violations() -> None:
    text = render(a_night(violated=1, violations=["it broke"]), hours=1, seed=0, at_least=1)
    assert "| violations | 1 |" in text
    assert "it broke" in text


def test_the_report_says_what_was_not_run() -> None:
    night = Night([row()], 1, missing={"a-row": "no moon"})
    assert "not run: no moon" in render(night, hours=1, seed=0, at_least=1)


def test_what_was_met_too_rarely_is_named() -> None:
    # Half of the goal was reached, so half as often is enough.
    night = Night([row(expects=("kind", "other"), goal=100)], 2)
    night.reports["a-row"] = Report(units=50, reached=Counter(kind=3, other=9))
    assert night.too_rare(7) == {}
    assert night.too_rare(8) == {"a-row": ["kind"]}


def test_where_a_night_has_few_tries_half_an_even_share_is_enough() -> None:
    night = Night([row(expects=("kind", "other"), goal=100)], 2)
    night.reports["a-row"] = Report(units=100, reached=Counter(kind=25, other=75))
    assert night.too_rare(1000) == {}
    night.reports["a-row"] = Report(units=100, reached=Counter(kind=24, other=76))
    assert night.too_rare(1000) == {"a-row": ["kind"]}


def test_what_was_never_met_is_too_rare_however_little_was_tried() -> None:
    night = Night([row(expects=("kind",), goal=100)], 2)
    assert night.too_rare(1) == {"a-row": ["kind"]}


# --- the command


def run_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trio_agents.testing.nightly", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_lists_its_rows(tmp_path: Path) -> None:
    done = run_command("--list", cwd=tmp_path)
    assert done.returncode == 0
    assert "fault-triples" in done.stdout


def test_the_command_refuses_a_row_that_it_does_not_know(tmp_path: Path) -> None:
    done = run_command("--only", "nonsense", cwd=tmp_path)
    assert done.returncode == 2
    assert "no row is called nonsense: there are schedules" in done.stderr


def test_the_command_runs_reports_and_puts_the_figures_into_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = "<!-- figures: begin -->", "<!-- figures: end -->"
    page.write_text(f"# Before\n\n{begin}\nstale\n{end}\n\nAfter.\n")
    arguments = ["--minutes", "0.05", "--only", "fault-pairs", "--report", str(page)]
    done = run_command(*arguments, "--processes", "1", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr  # in three seconds not every kind may be met
    text = page.read_text()
    assert text.startswith(f"# Before\n\n{begin}\n|")
    assert text.endswith(f"{end}\n\nAfter.\n")
    assert "stale" not in text
    assert "all pairs of 24 kinds of faults" in text
    assert "violations so far" in done.stderr


def test_a_line_of_a_lane_is_read_as_it_was_written() -> None:
    out = io.StringIO()
    run_lane([row()], index=0, lanes=1, seconds=60, seed=0, out=out)
    last = out.getvalue().splitlines()[-1]
    assert json.loads(last)["units"] == decode(last)[1].units == 10
