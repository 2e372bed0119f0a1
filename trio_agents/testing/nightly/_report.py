"""The report of a long run, as a page of the documentation."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from ..._version import __version__
from ._row import Report, Row
from ._runner import Night

__all__ = ["commit_of", "render"]

TOOLS = ("trio", "anyio", "hypothesis")


def render(
    night: Night,
    *,
    hours: float,
    seed: int,
    at_least: int,
    commit: str = "",
    day: date | None = None,
) -> str:
    """Give the figures of a night as Markdown, for a reader who has not seen the tests.

    Args:
        night: What was reached.
        hours: How long it took.
        seed: Where the seeds began.
        at_least: How often everything is met in a night that must be.
        commit: What was checked out, if that is known.
        day: When it was; today.
    """
    parts = [_head(night, hours=hours, seed=seed, commit=commit, day=day or date.today())]
    for family, rows in groupby(night.rows, key=lambda row: row.family):
        parts.append(_table(family, list(rows), night))
    parts.append(_figures(night))
    parts.append(_met(night, at_least))
    parts.append(_violations(night))
    return "\n\n".join(part for part in parts if part) + "\n"


def commit_of(file: Path = Path(__file__)) -> str:
    """Name the commit that a file of ours was checked out with, or give "".

    ``-dirty`` behind it says that something was changed since then.
    """
    describe = ["describe", "--always", "--dirty", "--exclude=*"]
    # An environment with an installed copy may lie in a checkout of something else.
    try:
        _git(file, "ls-files", "--error-unmatch", file.name)
        return _git(file, *describe)
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(file: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=file.parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _head(night: Night, *, hours: float, seed: int, commit: str, day: date) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in TOOLS)
    of_commit = f" at commit {commit}" if commit else ""
    interrupted = "" if night.ended_by is None else f", ended early by {night.ended_by.name}"
    return f"""\
| | |
|---|---|
| when | {day.isoformat()}, for {_time(hours)} in {night.lanes} processes, \
seeds from {seed}{interrupted} |
| what | trio_agents {__version__}{of_commit}, {versions} |
| where | CPython {platform.python_version()}, {platform.system()} {platform.release()}, \
{platform.machine()}, {_cpu()} |
| violations | {night.violated} |"""


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    if hours >= 1 / 60:
        return f"{60 * hours:.1f} minutes"
    return f"{3600 * hours:.0f} seconds"


def _cpu() -> str:
    count = f"{os.cpu_count()} processors"
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{count}, {line.partition(':')[2].strip()}"
    return count


def _table(family: str, rows: list[Row], night: Night) -> str:
    lines = [
        f"### {family}",
        "",
        "| what was tried | what must hold | reached | of a night | violations | at 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.name in night.missing:
            lines.append(
                f"| {row.title} | {row.promise} | not run: {night.missing[row.name]} | | | |"
            )
            continue
        report = night.reports.get(row.name, Report())
        share = min(1.0, report.units / row.goal)
        # Up to three tries bound a chance by 1, which every chance is bounded by.
        bound = "-" if report.violated or report.units <= 3 else f"< {3 / report.units:.1g}"
        lines.append(
            f"| {row.title} | {row.promise} | {report.units:,} {row.unit} | {share:.0%} "
            f"| {report.violated} | {bound} |"
        )
    return "\n".join(lines)


def _figures(night: Night) -> str:
    lines = [
        f"| {row.title} | {name} | {value:,.4g} |"
        for row in night.rows
        for name, value in sorted(night.reports.get(row.name, Report()).figures.items())
    ]
    if not lines:
        return ""
    return "\n".join(["### Measured on the way", "", "| in | what | |", "|---|---|---|", *lines])


def _met(night: Night, at_least: int) -> str:
    lines: list[str] = []
    for row in night.rows:
        reached = night.reports.get(row.name, Report()).reached
        if row.expects and row.name not in night.missing:
            rarest = min(row.expects, key=lambda name: reached[name])
            lines.append(
                f"| {row.title} | {len(row.expects)} | {rarest}: {reached[rarest]:,} times "
                f"| {night.wanted(row, at_least):,} |"
            )
    if not lines:
        return ""
    rule = (
        "In a night each kind has to be met "
        f"{at_least} times, or half as often as an even share where a night has few tries. Of "
        "that a run needs as much as it has of a night, or it has failed."
        if at_least > 1
        else "A run in which a kind was not met has failed."
    )
    return "\n".join(
        [
            "### What had to be met",
            "",
            f"A fault that never happened was not survived. {rule}",
            "",
            "| in | kinds | the rarest | had to be met |",
            "|---|---|---|---|",
            *lines,
        ]
    )


def _violations(night: Night) -> str:
    texts = [
        f"#### {row.title}\n\n```text\n{text}\n```"
        for row in night.rows
        for text in night.reports.get(row.name, Report()).violations
    ]
    return "\n\n".join(["### Violations", *texts]) if texts else ""
