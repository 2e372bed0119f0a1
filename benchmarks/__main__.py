# The one command. Rounds on the outside, then scenarios, then systems: what the machine does in a
# bad minute falls on one round of every scenario instead of all rounds of one.
#
# Tables go to stdout, everything else to stderr. Ctrl-C kills the workers, shows what there is and
# writes nothing. A partial or a quick run writes nothing either: the page is one run or none.

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Final

from ._imports import STATEMENTS, measure_import
from ._report import Line, page, terminal_table, write_page
from ._sample import WARM_UP, Sample
from ._scenarios import BY_NAME, SCENARIOS, SYSTEMS, Scenario
from ._worker import ROOT, Worker, WorkerFailed

PAGE_PATH: Final = ROOT / "docs" / "benchmarks.md"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Run:
    """The workers of one run and what they have measured so far."""

    def __init__(self, systems: Sequence[str], scenarios: Iterable[Scenario], *, quick: bool):
        self.systems = systems
        self.lines = [Line(scenario) for scenario in scenarios]
        self.complete = True  # no system and no scenario has failed
        self._quick = quick
        self._workers: dict[str, Worker] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def start_workers(self) -> None:
        for system in self.systems:
            self._start_worker(system)

    def _start_worker(self, system: str) -> None:
        try:
            self._workers[system] = self._stack.enter_context(Worker(system))
        except WorkerFailed as exc:
            self.complete = False
            tell(f"{system} does not start: {exc}\n{exc.trace}")
            for line in self.lines:
                line.failed.add(system)

    def round(self, number: int, rounds: int) -> None:
        order = self.systems if number % 2 else self.systems[::-1]
        for line in self.lines:
            if line.scenario.rounds is not None and number > line.scenario.rounds:
                continue
            for system in order:
                line.rounds.setdefault(system, []).append(self._sample(line, system))
            shown = "  ".join(
                f"{system} {line.scenario.unit.show(sample.each)}"
                for system in self.systems
                if (sample := line.rounds[system][-1]) is not None
            )
            unit = line.scenario.unit.suffix
            tell(f"[{number}/{rounds}] {line.scenario.name} ({unit}): {shown or 'nothing'}")

    def _sample(self, line: Line, system: str) -> Sample | None:
        # A scenario that failed once in a system is not tried there again: it may have hung.
        scenario = line.scenario
        worker = self._workers.get(system)
        if worker is None or system in line.failed:
            return None
        if scenario.in_parent and system not in STATEMENTS[scenario.name]:
            return None
        if not scenario.in_parent and scenario.name not in worker.scenarios:
            return None
        count = scenario.count_for(system, quick=self._quick)
        try:
            if scenario.in_parent:
                return measure_import(STATEMENTS[scenario.name][system])
            if scenario.fresh:
                with Worker(system) as fresh:
                    return fresh.run(scenario.name, count)
            return worker.run(scenario.name, count)
        except WorkerFailed as exc:
            self.complete = False
            line.failed.add(system)
            tell(f"{scenario.name} failed in {system}: {exc}\n{exc.trace}")
            if not worker.is_alive():
                del self._workers[system]
                self._start_worker(system)
            return None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure trio_agents next to AutoGen Core, Pykka and plain trio.",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds (default 7, quick 3)")
    parser.add_argument("--quick", action="store_true", help="small counts; writes no page")
    parser.add_argument(
        "--scenario",
        nargs="+",
        metavar="NAME",
        choices=BY_NAME,
        help=f"only these of {', '.join(BY_NAME)}",
    )
    parser.add_argument("--no-write", action="store_true", help="do not write docs/benchmarks.md")
    parser.add_argument(
        "--peers",
        default=",".join(SYSTEMS),
        metavar="NAMES",
        help=f"the systems to run, with commas between (default {','.join(SYSTEMS)})",
    )
    options = parser.parse_args(arguments)
    options.peers = options.peers.split(",")
    for system in options.peers:
        if system not in SYSTEMS:
            parser.error(f"{system!r} is none of {', '.join(SYSTEMS)}")
    if options.rounds is None:
        options.rounds = 3 if options.quick else 7
    if options.rounds < 1:
        parser.error("at least one round")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    systems = [system for system in SYSTEMS if system in options.peers]
    wanted = options.scenario or list(BY_NAME)
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    if options.quick:
        tell("quick: counts are smaller than the titles say, and the numbers only a hint")
    started = monotonic()
    interrupted = False
    with Run(systems, scenarios, quick=options.quick) as run:
        try:
            run.start_workers()
            for number in range(1, options.rounds + 1):
                run.round(number, options.rounds)
        except KeyboardInterrupt:
            interrupted = True
    tell(f"{'interrupted' if interrupted else 'done'} after {monotonic() - started:.0f} s\n")
    print(terminal_table(run.lines, systems))
    if interrupted:
        return 130
    if options.quick or len(scenarios) < len(SCENARIOS) or len(systems) < len(SYSTEMS):
        tell("\nnot written: only a full run with all systems makes a page")
    elif not run.complete:
        tell("\nnot written: something failed, see above")
    elif not options.no_write:
        text = page(run.lines, systems, rounds=options.rounds, warm_up=WARM_UP)
        write_page(PAGE_PATH, text)
        tell(f"\nwrote {PAGE_PATH.relative_to(ROOT)}")
    return 0 if run.complete else 1


if __name__ == "__main__":
    sys.exit(main())
