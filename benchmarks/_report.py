# From rounds to a table: medians, spreads, ratios, and whether the goals are met.
#
# A ratio is the median of the ratios of each round, not the ratio of the medians: both halves of a
# round's ratio ran within moments of each other, so a slow minute of the machine cancels out.
#
# Decided in plain functions from plain values; nothing here measures, and only `write_page` touches
# a file. The page names the kind of machine and the versions but no host and no path.

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Final

from ._sample import Sample
from ._scenarios import ASYNCIO, AUTOGEN, FLOOR, INTEROP, OURS, PORTAL, SYSTEMS, Scenario

DISTRIBUTIONS: Final = ("trio", "anyio", "autogen-core", "pykka", "opentelemetry-sdk")


@dataclass(frozen=True, slots=True)
class Line:
    """All rounds of one scenario, by system; a round that failed is None."""

    scenario: Scenario
    rounds: dict[str, list[Sample | None]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def values(self, system: str) -> list[float]:
        return [sample.each for sample in self.rounds.get(system, ()) if sample is not None]

    def ratios(self, above: str, below: str) -> list[float]:
        pairs = zip(self.rounds.get(above, ()), self.rounds.get(below, ()), strict=False)
        return [a.each / b.each for a, b in pairs if a is not None and b is not None and b.each > 0]

    def cell(self, system: str) -> str:
        """Median and spread of one system, in the scenario's unit."""
        values = self.values(system)
        if not values:
            return "failed" if system in self.failed else "-"
        show = self.scenario.unit.show
        return f"{show(median(values))} ({show(min(values))}..{show(max(values))})"

    def ratio_cell(self, above: str, below: str) -> str:
        ratios = self.ratios(above, below)
        if not ratios:
            return "-"
        return f"{median(ratios):.2f}x ({min(ratios):.2f}..{max(ratios):.2f})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that we want of a scenario, and whether this run shows it."""

    kind: str  # "goal", "done", "floor" or "limit"
    wanted: str
    met: bool | None  # None: not measured in this run

    def __str__(self) -> str:
        return f"{self.wanted} {'-' if self.met is None else 'met' if self.met else 'MISSED'}"


def verdicts(line: Line) -> Iterator[Verdict]:
    scenario = line.scenario
    yield from goal_verdicts(line, OURS)
    if scenario.floor is not None:
        against_floor = line.ratios(OURS, FLOOR)
        met = median(against_floor) <= scenario.floor if against_floor else None
        yield Verdict("floor", f"<= {scenario.floor:g}x", met)
    if scenario.limit is not None:
        values = line.values(OURS)
        met = median(values) <= scenario.limit if values else None
        wanted = f"<= {scenario.unit.show(scenario.limit)} {scenario.unit.suffix}"
        yield Verdict("limit", wanted, met)


def goal_verdicts(line: Line, system: str) -> Iterator[Verdict]:
    """Whether *system* is as much faster than AutoGen Core as it is to be."""
    goal = line.scenario.goals.get(system)
    if goal is None:
        return
    ratios = line.ratios(AUTOGEN, system)
    for kind, least in (("goal", goal.aim), ("done", goal.done)):
        if least is not None:
            met = median(ratios) >= least if ratios else None
            yield Verdict(kind, f">= {least:g}x", met)


def _cell(verdicts: Iterable[Verdict], *kinds: str) -> str:
    return ", ".join(str(verdict) for verdict in verdicts if verdict.kind in kinds) or "-"


def _figures(lines: Sequence[Line], systems: Sequence[str]) -> list[list[str]]:
    rows = [["scenario", "unit", *(SYSTEMS[system] for system in systems)]]
    for line in lines:
        unit = f"{line.scenario.unit.suffix} per {line.scenario.per}"
        rows.append([line.scenario.title, unit, *(line.cell(system) for system in systems)])
    return rows


def _comparisons(lines: Sequence[Line]) -> list[list[str]]:
    rows = [
        [
            "scenario",
            "AutoGen Core / trio_agents",
            "goal",
            "done line",
            "trio_agents / trio floor",
            "limit",
        ]
    ]
    rows.extend(
        [
            line.scenario.title,
            line.ratio_cell(AUTOGEN, OURS),
            _cell(verdicts(line), "goal"),
            _cell(verdicts(line), "done"),
            line.ratio_cell(OURS, FLOOR),
            _cell(verdicts(line), "floor", "limit"),
        ]
        for line in lines
    )
    return rows


def _doors(lines: Sequence[Line]) -> list[list[str]]:
    """The same for callers on asyncio: AutoGen Core against each of their doors."""
    rows = [["scenario", "trio_agents.asyncio", "goal", "done line"]]
    rows[0] += ["AutoGenRuntime", "done line", "portal", "done line"]
    for line in lines:
        row = [line.scenario.title]
        for system in (ASYNCIO, INTEROP, PORTAL):
            row.append(line.ratio_cell(AUTOGEN, system))
            if system == ASYNCIO:
                row.append(_cell(goal_verdicts(line, system), "goal"))
            row.append(_cell(goal_verdicts(line, system), "done"))
        if any(cell != "-" for cell in row[1:]):
            rows.append(row)
    return rows


def _plain(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    padded.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(padded)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    table = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def terminal_table(lines: Sequence[Line], systems: Sequence[str]) -> str:
    """What the command prints: the figures, then the comparisons and the goals."""
    tables = (_figures(lines, systems), _comparisons(lines), _doors(lines))
    return "\n\n".join(map(_plain, tables))


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def versions() -> dict[str, str]:
    ours = _version("trio-agents")
    found = {"trio_agents": "this checkout" if ours == "not installed" else ours}
    found.update((name, _version(name)) for name in DISTRIBUTIONS)
    return found


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict[str, str]:
    """The kind of machine. Its name is nobody's business."""
    facts = {
        "CPU": f"{_cpu_model()}, {_cores()} cores ({platform.machine()})",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    if hasattr(os, "getloadavg"):
        facts["load"] = f"{os.getloadavg()[0]:.1f} when the run ended (its own work is about 1)"
    return facts


PAGE: Final = """\
# Benchmarks

<!-- Written by `python -m benchmarks`. Changes by hand are lost with the next run. -->

What a message costs in trio_agents, measured next to AutoGen Core (the same agents, on asyncio),
Pykka (a thread per actor) and a floor: trio alone in the same shape, a memory channel and a waiting
task per agent, with no runtime around it. To measure it on your own machine, run this from a
checkout:

```text
python -m benchmarks              # some ten minutes; prints the tables and writes this page
python -m benchmarks --quick      # half a minute, for a first look; writes nothing
python -m benchmarks --scenario sequential publish --peers ours,autogen
```

## Figures

Median of {rounds} rounds, then the fastest and the slowest round. A dash: the system has no such
feature.

{figures}

## Comparisons and goals

Ratios are taken within each round; shown are their median and their spread. Absolute times depend
on the machine, ratios much less so.

{comparisons}

### For callers on asyncio

How many times as fast as AutoGen Core each of their doors is: the same program with its imports
replaced (`trio_agents.asyncio`), the same program with AutoGen's own classes (`AutoGenRuntime` of
`trio_agents.interop.autogen`), and callers on asyncio of agents that run on trio in another thread
(`trio_agents.portal`).

{doors}

## What the scenarios do

{scenarios}

## How it is measured

- Every system runs in a process of its own, which lives for the whole run; one works at a time.
- Rounds are interleaved: in each round each scenario runs in every system, one right after the
  other, and every second round in the opposite order.
- Agents are routed agents with one `@message_handler` for a dataclass, which returns the message it
  got. The runtime, its agents and {warm_up} requests of warm-up come before the clock starts.
- Existing objects are collected and frozen before the clock starts; the garbage collector stays on
  while it runs.
- Nobody listens to logs or, except in the tracing scenario, to spans: default installations.
- Replies and deliveries are counted, and a round that loses one fails.
- Memory is the growth of the resident set, in a new process for each of {memory_rounds} rounds.
- Pykka has futures where the others have callers, so its requests in flight start none.

## Where

{facts}

{versions}
"""


def page(lines: Sequence[Line], systems: Sequence[str], *, rounds: int, warm_up: int) -> str:
    """The text of `docs/benchmarks.md`."""
    memory_rounds = max((min(line.scenario.rounds or 0, rounds) for line in lines), default=0)
    scenarios = []
    for line in lines:
        counts = ", ".join(
            f"{line.scenario.count_for(system, quick=False):,} in {SYSTEMS[system]}"
            for system in systems
            if line.values(system) and system in line.scenario.counts
        )
        size = f"{line.scenario.count:,}{f' ({counts})' if counts else ''}"
        entry = f"- **{line.scenario.title}**: {line.scenario.what}."
        if not line.scenario.in_parent:
            entry += f" Per round: {size}."
        scenarios.append(entry)
    return PAGE.format(
        rounds=rounds,
        figures=_markdown(_figures(lines, systems)),
        comparisons=_markdown(_comparisons(lines)),
        doors=_markdown(_doors(lines)),
        scenarios="\n".join(scenarios),
        warm_up=warm_up,
        memory_rounds=memory_rounds,
        facts="\n".join(f"- {name}: {value}" for name, value in machine().items()),
        versions=_markdown([["package", "version"], *map(list, versions().items())]),
    )


def write_page(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
