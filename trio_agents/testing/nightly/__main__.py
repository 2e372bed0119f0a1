"""``python -m trio_agents.testing.nightly``: the long run, from the command line."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from ._report import commit_of, render
from ._row import Report, Row
from ._rows import ROWS
from ._runner import Night, run_rows

# A page may say more than the figures: what is between these lines is put there by a run.
BEGIN = "<!-- figures: begin -->"
END = "<!-- figures: end -->"
OFTEN = 100  # what every kind of fault has to be met in a night
LINE_PERIOD = 30.0  # seconds between two lines, where the output is no terminal
END_AT = (signal.SIGINT, signal.SIGTERM)


def _no_nan(_context: click.Context, _option: click.Parameter, value: float) -> float:
    if math.isnan(value):  # no range refuses it
        raise click.BadParameter("nan is no number of minutes")
    return value


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    callback=_no_nan,
    help="How long, in all.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="How many.",
)
@click.option("--seed", default=0, show_default=True, help="Where the seeds begin.")
@click.option(
    "--only",
    multiple=True,
    metavar="NAMES",
    help="Names of rows, with commas between. May be given several times.",
)
@click.option("--quick", is_flag=True, help="What every change has to pass, however long it takes.")
@click.option("--list", "is_listing", is_flag=True, help="Show the rows, and run nothing.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the figures into this Markdown file, between its figures marks if it has any.",
)
def main(
    minutes: float,
    processes: int,
    seed: int,
    only: tuple[str, ...],
    quick: bool,
    is_listing: bool,
    report: Path | None,
) -> None:
    """Try every kind of fault as often as the time allows, and report what was reached.

    Ends with 1 if a promise was broken, or if something that had to be met was met too rarely.
    Ctrl-C ends it early, with 130: what was reached until then is shown, and no file is written.
    """
    rows = [row.quick() for row in _chosen(only)] if quick else _chosen(only)
    if is_listing:
        for row in rows:
            click.echo(f"{row.name:24} {row.goal:>13,} {row.unit:20} {row.title}")
        return
    if report is not None:
        _check(report)
    commit = commit_of()  # of the code that is run, whatever is committed meanwhile
    began = time.monotonic()
    try:
        with _Progress(rows) as progress:
            night = run_rows(
                rows,
                seconds=math.inf if quick else 60 * minutes,
                lanes=processes,
                seed=seed,
                on_change=progress.show,
                on_violation=progress.show_violation,
                end_at=END_AT,
            )
    except KeyboardInterrupt:  # before the first row, or behind the last
        click.echo("interrupted: nothing was reached", err=True)
        sys.exit(128 + signal.SIGINT)
    hours = (time.monotonic() - began) / 3600
    at_least = 1 if quick else OFTEN
    text = render(night, hours=hours, seed=seed, at_least=at_least, commit=commit)
    if night.ended_by is not None:
        click.echo(text)
        _tell_end(night.ended_by, night.violated, report)
        sys.exit(128 + night.ended_by)
    if report is not None:
        _write(report, text)
    click.echo(text)
    rare = night.too_rare(at_least)
    for name, missed in rare.items():
        click.echo(f"{name}: met too rarely: {', '.join(missed)}", err=True)
    if night.violated:
        click.echo(f"{night.violated} violations", err=True)
    sys.exit(1 if night.violated or rare else 0)


def _chosen(only: tuple[str, ...]) -> list[Row]:
    names = [name for names in only for name in names.split(",") if name]
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        known = ", ".join(row.name for row in ROWS)
        raise click.UsageError(f"no row is called {', '.join(sorted(unknown))}: there are {known}")
    return [row for row in ROWS if not names or row.name in names]


def _tell_end(by: signal.Signals, violated: int, report: Path | None) -> None:
    what = "interrupted" if by is signal.SIGINT else f"ended by {by.name}"
    # A page that a whole run has written says more than the beginning of another one.
    left = "" if report is None else f"; {report} was not written"
    click.echo(f"{what}: the figures are those that were reached until then{left}", err=True)
    if violated:
        click.echo(f"{violated} violations", err=True)


def _check(file: Path) -> None:
    """Refuse a file that the figures could not be written into when the night is over."""
    if not file.parent.is_dir():
        raise click.UsageError(f"{file} cannot be written: there is no directory {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise click.UsageError(f"{file} cannot be written: that is not permitted")
    _page(file)


def _page(file: Path) -> tuple[str, str]:
    """Give what stands before the figures of a page, and what stands behind them."""
    if not file.exists():
        return "", "\n"
    try:
        page = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise click.UsageError(f"{file} cannot be read: {exc}") from None
    marks = re.compile(f"(.*?){re.escape(BEGIN)}.*{re.escape(END)}(.*)", re.DOTALL)
    found = marks.fullmatch(page)
    if found is None:
        raise click.UsageError(f"{file} has no lines {BEGIN} and {END} to put the figures between")
    return found[1], found[2]


def _write(file: Path, text: str) -> None:
    before, behind = _page(file)
    file.write_text(f"{before}{BEGIN}\n{text}{END}{behind}", encoding="utf-8")


class _Progress:
    """Shows how far the rows are: a table on a terminal, a line now and then elsewhere."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        console = Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=2) if console.is_terminal else None
        self._next = 0.0

    def __enter__(self) -> _Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, night: Night, name: str) -> None:
        if self._live is not None:
            self._live.update(self._table(night))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_PERIOD
            row = next(row for row in self._rows if row.name == name)
            report = night.reports[name]
            click.echo(
                f"{name}: {report.units:,} of {row.goal:,} {row.unit}, "
                f"{night.violated} violations so far",
                err=True,
            )

    def show_violation(self, name: str, text: str) -> None:
        text = f"{name}: violation: {text}"
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text, err=True)

    def _table(self, night: Night) -> Table:
        table = Table("row", "reached", "of a night", "violations")
        for row in self._rows:
            report = night.reports.get(row.name, Report())
            reached = night.missing.get(row.name) or f"{report.units:,} {row.unit}"
            share = f"{min(1.0, report.units / row.goal):.0%}"
            table.add_row(row.name, reached, share, str(report.violated or ""))
        return table


if __name__ == "__main__":
    main(prog_name="python -m trio_agents.testing.nightly")
