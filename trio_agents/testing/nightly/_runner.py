"""Runs the rows in several processes, and adds up what they tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from ._lane import decode
from ._row import Report, Row

__all__ = ["Night", "run_rows"]

# A lane that has told nothing for so long, in seconds, hangs. Its row has failed.
PATIENCE: Final = 300.0


@attrs.define
class Night:
    """What a long run has reached so far."""

    rows: Sequence[Row]
    lanes: int
    reports: dict[str, Report] = attrs.Factory(dict[str, Report])
    missing: dict[str, str] = attrs.Factory(dict[str, str])  # rows that cannot run here, and why
    by_lane: dict[tuple[str, int, bool], Report] = attrs.Factory(
        dict[tuple[str, int, bool], Report]
    )
    ended_by: signal.Signals | None = None  # before its time

    def take(self, name: str, lane: int, report: Report, *, alone: bool) -> None:
        """Note what a lane has told of a row."""
        self.by_lane[name, lane, alone] = report
        whole = Report()
        for (row, _, _), part in self.by_lane.items():
            if row == name:
                whole.add(part)
        self.reports[name] = whole

    @property
    def violated(self) -> int:
        """How many violations there were."""
        return sum(report.violated for report in self.reports.values())

    def wanted(self, row: Row, at_least: int) -> int:
        """How often each kind of a row had to be met, if it is so often in a night.

        A night of few tries has each kind half as often as an even share. Of that a row has had as
        much as of its night; once is the least.
        """
        share = min(1.0, self.reports.get(row.name, Report()).units / row.goal)
        return max(1, int(min(at_least, row.goal / len(row.expects) / 2) * share))

    def too_rare(self, at_least: int) -> dict[str, list[str]]:
        """Name what a row must have met more often, *at_least* so often in a night."""
        rare: dict[str, list[str]] = {}
        for row in self.rows:
            if row.name in self.missing or not row.expects:
                continue
            reached = self.reports.get(row.name, Report()).reached
            wanted = self.wanted(row, at_least)
            names = [name for name in row.expects if reached[name] < wanted]
            if names:
                rare[row.name] = names
        return rare


def run_rows(
    rows: Sequence[Row],
    *,
    seconds: float,
    lanes: int,
    seed: int,
    on_change: Callable[[Night, str], None] = lambda night, name: None,
    on_violation: Callable[[str, str], None] = lambda name, text: None,
    end_at: Sequence[signal.Signals] = (),
) -> Night:
    """Run rows in several processes.

    First one process does those that measure, then all lanes do every row that may have company,
    the one with the greatest weight last.

    Args:
        rows: What to run.
        seconds: How long, in all. A row that reaches its goal sooner leaves its time to those after
            it, so the run ends early only if the last one reaches its goal.
        lanes: How many processes.
        seed: Where the seeds begin.
        on_change: Called with the night so far, and the name of the row that has got on.
        on_violation: Called with the name of a row and the text of a violation, when it was told.
        end_at: Signals that end the night early. It notes which one did.

    Returns:
        What was reached.
    """
    night = Night(rows, lanes)
    for row in rows:
        if reason := row.missing():
            night.missing[row.name] = reason
    # What a killed process had no time to remove is in here.
    with tempfile.TemporaryDirectory(prefix="nightly-", ignore_cleanup_errors=True) as directory:
        environment = {**os.environ, "TMPDIR": directory}
        runner = _Runner(night, seed, environment, on_change, on_violation)
        trio.run(runner.run_until, end_at, seconds)
    return night


@attrs.frozen
class _Runner:
    """What all lanes of a night have in common."""

    night: Night
    seed: int
    environment: Mapping[str, str]
    on_change: Callable[[Night, str], None]
    on_violation: Callable[[str, str], None]

    async def run_until(self, end_at: Sequence[signal.Signals], seconds: float) -> None:
        """Run both batches, unless one of the signals comes before they are through."""
        if not end_at:
            await self._run_batches(seconds)
            return
        with trio.open_signal_receiver(*end_at) as signals:
            async with trio.open_nursery() as nursery:
                batches = trio.CancelScope()
                nursery.start_soon(self._listen, signals, batches)
                with batches:
                    await self._run_batches(seconds)
                nursery.cancel_scope.cancel()

    async def _listen(self, signals: AsyncIterator[int], batches: trio.CancelScope) -> None:
        # Goes on when one has come: a second Ctrl-C must not hinder what the first one has begun.
        async for number in signals:
            self.night.ended_by = self.night.ended_by or signal.Signals(number)
            batches.cancel()

    async def _run_batches(self, seconds: float) -> None:
        end = trio.current_time() + seconds
        able = [row for row in self.night.rows if row.name not in self.night.missing]
        measuring = [row for row in able if row.alone]
        others = [row for row in able if not row.alone]
        if measuring:
            share = sum(row.weight for row in measuring) / sum(row.weight for row in able)
            await self._run_batch(measuring, seconds * share, lanes=1)
        if others:
            # What a row leaves of its time is for those behind it: the last is one that can use it.
            others.sort(key=lambda row: row.weight)
            await self._run_batch(others, end - trio.current_time(), lanes=self.night.lanes)

    async def _run_batch(self, rows: Sequence[Row], seconds: float, *, lanes: int) -> None:
        async with trio.open_nursery() as nursery:
            for index in range(lanes):
                nursery.start_soon(self._run_lane, rows, seconds, index, lanes)

    async def _run_lane(self, rows: Sequence[Row], seconds: float, index: int, lanes: int) -> None:
        """Start the process of a lane, and another one for the rest if a row has killed it."""
        left = list(rows)
        alone = rows[0].alone
        end = trio.current_time() + seconds
        while left:
            arguments = [index, lanes, max(1.0, end - trio.current_time()), self.seed]
            names = [f"{row.name}={row.goal}" for row in left]
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", f"{__package__}._lane", *map(str, arguments), *names],
                stdout=subprocess.PIPE,
                env=self.environment,
                # A Ctrl-C at the terminal is for the runner: it ends all that a lane has started.
                process_group=0,
            )
            assert process.stdout is not None
            current = left[0].name
            end_of_row = "its process ended with"
            is_through = False
            try:
                lines = _Lines(process.stdout)
                while (line := await lines.next()) is not None:
                    current, report, is_over = decode(line)
                    self._take(current, index, report, alone=alone)
                    if is_over:
                        left = [row for row in left if row.name != current]
                is_through = True
            except trio.TooSlowError:
                end_of_row = f"it told nothing for {PATIENCE:g} seconds and was killed:"
            finally:
                if left or not is_through:
                    _kill_group(process)
                with trio.CancelScope(shield=True):  # the process must not outlive us
                    await process.wait()
            if left:
                before = self.night.by_lane.get((current, index, alone), Report())
                report = attrs.evolve(
                    before,
                    violated=before.violated + 1,
                    violations=[*before.violations, f"{end_of_row} {process.returncode}"],
                )
                self._take(current, index, report, alone=alone)
                left = [row for row in left if row.name != current]

    def _take(self, name: str, lane: int, report: Report, *, alone: bool) -> None:
        before = self.night.by_lane.get((name, lane, alone), Report())
        self.night.take(name, lane, report, alone=alone)
        for text in report.violations[len(before.violations) :]:
            self.on_violation(name, text)
        self.on_change(self.night, name)


def _kill_group(process: trio.Process) -> None:
    """Kill a lane, and what it has started."""
    # Nobody has waited for it yet, so nobody else can have its number.
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class _Lines:
    """The lines of a stream, each within its time."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> str | None:
        """Give the next line, or None at the end.

        Raises:
            trio.TooSlowError: it did not come.
        """
        with trio.fail_after(PATIENCE):
            while (end := self._buffer.find(b"\n")) < 0:
                data = await self._stream.receive_some()
                if not data:
                    return None
                self._buffer += data
        line = self._buffer[:end].decode()
        del self._buffer[: end + 1]
        return line
