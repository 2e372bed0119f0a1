"""The long run itself: lanes, what they tell, and what becomes of a row that breaks."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest

from trio_agents import __version__
from trio_agents.testing.nightly._lane import HEAD, TAIL, decode, run_lane
from trio_agents.testing.nightly._report import commit_of, render
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


def test_a_violation_is_of_the_last_seed_if_nothing_else_is_said() -> None:
    watch = Watch(goal=1, seconds=1, first_seed=7, wording=lambda text, seed: f"{text}: {seed}")
    watch.violation("before the first")
    watch.next_seed()
    watch.violation("one")
    watch.violation("of another", seed=3)
    watch.violation("of all", seed=None)
    assert watch.report.violations == [
        "before the first: None",
        "one: 7",
        "of another: 3",
        "of all: None",
    ]


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


def breaks(text: str) -> Callable[[Watch], None]:
    def work(watch: Watch) -> None:
        while watch.goes_on():
            watch.next_seed()
            watch.violation(text)
            watch.done()

    return work


def test_a_violation_of_a_row_of_seeds_ends_with_the_command_that_tries_it_again() -> None:
    rows = [row("breaks", work=breaks("it broke\n"), goal=1, minutes_of_seed=0.1)]
    assert told(rows, seed=9142)[-1][1].violations == [
        "it broke\nTo try seed 9142 again: python -m trio_agents.testing.nightly --only breaks "
        "--seed 9142 --minutes 0.1 --processes 1"
    ]


def test_no_command_is_told_where_a_seed_does_not_say_what_is_tried() -> None:
    rows = [row("breaks", work=breaks("it broke"), goal=1)]
    assert told(rows)[-1][1].violations == ["it broke"]


def test_the_command_tries_the_very_seed(lane_of_my_rows: Any) -> None:
    lane_of_my_rows(ROW + "ROWS = (row('works', works),)")
    night = run_rows([row("works", goal=1)], seconds=60, lanes=1, seed=9142)
    assert set(night.reports["works"].reached) == {"seed 9142"}


def test_a_long_text_is_cut_and_its_beginning_and_end_and_the_command_are_kept() -> None:
    text = "first" + "x" * 1_800_000 + "last"
    rows = [row("breaks", work=breaks(text), goal=1, minutes_of_seed=0.1)]
    (kept,) = told(rows)[-1][1].violations
    assert len(kept) < HEAD + TAIL + 300
    assert kept.startswith("firstxxx")
    assert f"[... {len(text) - HEAD - TAIL:,} characters left out ...]" in kept
    assert "xxxlast\nTo try seed 0 again: python -m" in kept


def test_violations_are_told_at_once() -> None:
    rows = [row("breaks", work=breaks("it broke"), goal=3)]
    assert [report.violated for _, report, _ in told(rows)] == [0, 1, 2, 3, 3]


def test_a_lane_says_nothing_of_what_its_programs_are_warned_of_on_purpose(
    lane_of_my_rows: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    lane_of_my_rows(
        ROW
        + """
def leaves(watch):
    import asyncio, logging
    from trio_agents.asyncio import SingleThreadedAgentRuntime

    async def main():
        SingleThreadedAgentRuntime().start()
        await asyncio.sleep(0)

    asyncio.run(main())
    logging.getLogger("under.test").error("it failed, as was meant")

def forgets(watch):
    async def nothing():
        pass

    nothing()

ROWS = (row('leaves', leaves), row('forgets', forgets))
"""
    )
    run_rows([row("leaves")], seconds=60, lanes=1, seed=0)
    assert capfd.readouterr().err == ""
    run_rows([row("forgets")], seconds=60, lanes=1, seed=0)
    assert "was never awaited" in capfd.readouterr().err


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
def row(name, work, weight=1.0):
    return Row(
        name=name, title="", family="", goal=8, unit="", promise="", work=work, weight=weight
    )

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


def test_rows_that_measure_run_before_all_others_begin(lane_of_my_rows: Any) -> None:
    lane_of_my_rows(ROW + "ROWS = (row('measures', works), row('works', works))")
    seen: list[str] = []
    run_rows(
        [row("measures", alone=True, goal=8), row("works", goal=8)],
        seconds=60,
        lanes=2,
        seed=0,
        on_change=lambda night, name: seen.append(name),
    )
    assert seen == sorted(seen, key=["measures", "works"].index)
    assert set(seen) == {"works", "measures"}


def test_the_row_with_the_greatest_weight_comes_last_and_gets_all_that_is_left(
    lane_of_my_rows: Any,
) -> None:
    # Each says how much time it has, and takes none of it.
    lane_of_my_rows(
        ROW
        + """
def tells(watch):
    watch.figure("seconds", watch._seconds)
    watch.done()

ROWS = (row('heavy', tells, 6), row('light', tells, 2), row('measures', tells))
"""
    )
    seen: list[str] = []
    night = run_rows(
        [row("heavy", weight=6), row("light", weight=2), row("measures", alone=True, weight=2)],
        seconds=1000,
        lanes=1,
        seed=0,
        on_change=lambda night, name: seen.append(name),
    )
    assert list(dict.fromkeys(seen)) == ["measures", "light", "heavy"]
    had = {name: report.figures["seconds"] for name, report in night.reports.items()}
    # A fifth, a quarter of all the rest, and all that is left then, but for what starting takes.
    assert had == {
        "measures": pytest.approx(200, abs=1),
        "light": pytest.approx(250, abs=50),
        "heavy": pytest.approx(1000, abs=200),
    }


def test_violations_are_passed_on_when_a_lane_has_told_them(lane_of_my_rows: Any) -> None:
    lane_of_my_rows(
        ROW
        + """
def breaks(watch):
    while watch.goes_on():
        watch.violation(f"seed {watch.next_seed()} broke")
        watch.done()
    import os
    os._exit(7)

ROWS = (row('breaks', breaks),)
"""
    )
    passed_on: list[tuple[str, str]] = []
    run_rows(
        [row("breaks", goal=4)],
        seconds=60,
        lanes=2,
        seed=0,
        on_violation=lambda name, text: passed_on.append((name, text)),
    )
    broke = [("breaks", f"seed {seed} broke") for seed in range(4)]
    died = [("breaks", "its process ended with 7")] * 2
    assert sorted(passed_on) == sorted(broke + died)


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


@pytest.mark.parametrize(
    ("hours", "time"), [(1, "1.0 hours"), (0.1, "6.0 minutes"), (0.01, "36 seconds")]
)
def test_a_short_run_is_not_told_in_hours(hours: float, time: str) -> None:
    text = render(a_night(), hours=hours, seed=0, at_least=1)
    assert f", for {time} in 2 processes" in text


@pytest.mark.parametrize(
    ("units", "bound"), [(0, "-"), (1, "-"), (3, "-"), (4, "< 0.8"), (300, "< 0.01")]
)
def test_a_bound_that_says_nothing_is_left_out(units: int, bound: str) -> None:
    text = render(a_night(units=units), hours=1, seed=0, at_least=1)
    assert f" | 0 | {bound} |\n" in text


def test_the_report_names_the_commit() -> None:
    text = render(a_night(), hours=1, seed=0, at_least=1, commit="1a2b3c4")
    assert f"| what | trio_agents {__version__} at commit 1a2b3c4, trio " in text
    assert "commit" not in render(a_night(), hours=1, seed=0, at_least=1)


def test_a_commit_is_known_of_files_that_are_in_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        options = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", *options, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    file, other = tmp_path / "file.py", tmp_path / "other.py"
    file.write_text("")
    other.write_text("")
    assert commit_of(file) == ""
    git("init", "-q")
    git("add", "file.py")
    git("commit", "-q", "-m", "first")
    assert commit_of(file) == git("rev-parse", "--short", "HEAD")
    assert commit_of(other) == ""
    file.write_text("changed")
    assert commit_of(file) == git("rev-parse", "--short", "HEAD") + "-dirty"


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


def test_rows_may_be_chosen_one_after_the_other(tmp_path: Path) -> None:
    done = run_command("--list", "--only", "soak-trio", "--only", "deep,circles", cwd=tmp_path)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "circles",
        "deep",
        "soak-trio",
    ]


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


# --- what the command refuses before it begins


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--minutes", "0"], "0.0 is not in the range x>0"),
        (["--minutes", "-1"], "-1.0 is not in the range x>0"),
        (["--minutes", "nan"], "nan is no number of minutes"),
        (["--processes", "0"], "0 is not in the range x>=1"),
        (["--report", "nowhere/page.md"], "there is no directory nowhere"),
        (["--report", "page.md"], "page.md has no lines <!-- figures: begin --> and"),
        (["--report", "bytes.md"], "bytes.md cannot be read: "),
    ],
)
def test_the_command_refuses_what_it_could_not_end_well(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    (tmp_path / "page.md").write_text("# No figures\n")
    (tmp_path / "bytes.md").write_bytes(b"\xff")
    done = run_command(*arguments, "--only", "fault-pairs", cwd=tmp_path)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_a_report_that_was_not_there_is_made(tmp_path: Path) -> None:
    arguments = ["--minutes", "0.01", "--only", "handler-blocks", "--processes", "1"]
    done = run_command(*arguments, "--report", "new.md", cwd=tmp_path)
    begin, end = "<!-- figures: begin -->", "<!-- figures: end -->"
    assert (tmp_path / "new.md").read_text() == f"{begin}\n{done.stdout[:-1]}{end}\n"


# --- the command, ended early


ENDLESS = """
def endless(watch):
    import subprocess, time
    watch.next_seed()
    watch.violation("it broke")
    with subprocess.Popen(["sleep", "600"]):
        watch.done()
        time.sleep(600)

ROWS = (row("endless", endless),)
"""


def end_command(by: signal.Signals, cwd: Path, *, whole_group: bool) -> tuple[int, str, str]:
    """Have the command run until it has shown a violation, then end it; give what it wrote."""
    arguments = ["--processes", "2", "--report", "page.md"]
    process = subprocess.Popen(
        [sys.executable, "-m", "trio_agents.testing.nightly", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stderr is not None
    shown = ""
    while shown.count("it broke") < 2:
        line = process.stderr.readline()
        assert line, shown
        shown += line
    if whole_group:  # as a terminal does
        os.killpg(process.pid, by)
    else:
        process.send_signal(by)
    # Their end comes when nobody has them open any more, and what a row has started has them too.
    out, err = process.communicate(timeout=60)
    return process.returncode, out, shown + err


@pytest.mark.parametrize(
    ("by", "whole_group", "code", "says"),
    [
        (signal.SIGINT, True, 130, "interrupted"),
        (signal.SIGINT, False, 130, "interrupted"),
        (signal.SIGTERM, False, 143, "ended by SIGTERM"),
    ],
)
def test_a_command_that_is_ended_early_shows_what_it_has_reached(
    lane_of_my_rows: Any,
    tmp_path: Path,
    by: signal.Signals,
    whole_group: bool,
    code: int,
    says: str,
) -> None:
    lane_of_my_rows(ROW + ENDLESS)
    page = "# Before\n\n<!-- figures: begin -->\nwhole\n<!-- figures: end -->\n"
    (tmp_path / "page.md").write_text(page)
    returned, out, err = end_command(by, tmp_path, whole_group=whole_group)
    assert returned == code
    assert err.endswith(
        f"{says}: the figures are those that were reached until then; page.md was not written\n"
        "2 violations\n"
    )
    assert "Traceback" not in err
    assert f", ended early by {by.name} |" in out
    assert "| violations | 2 |" in out
    assert out.count("```text\nit broke\n```") == 2
    assert (tmp_path / "page.md").read_text() == page
