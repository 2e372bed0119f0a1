"""Runs the rows in several processes, and adds up what they tell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
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
) -> Night:
    """Run rows in several processes.

    First all lanes do every row that may have company, then one process does those that measure.

    Args:
        rows: What to run.
        seconds: How long, in all. A row that reaches its goal sooner leaves its time to others.
        lanes: How many processes.
        seed: Where the seeds begin.
        on_change: Called with the night so far, and the name of the row that has got on.

    Returns:
        What was reached.
    """
    night = Night(rows, lanes)
    for row in rows:
        if reason := row.missing():
            night.missing[row.name] = reason
    able = [row for row in rows if row.name not in night.missing]
    weight = sum(row.weight for row in able) or 1.0
    for alone in (False, True):
        batch = [row for row in able if row.alone is alone]
        share = sum(row.weight for row in batch) / weight
        if batch:
            trio.run(
                _run_batch, night, batch, seconds * share, 1 if alone else lanes, seed, on_change
            )
    return night


async def _run_batch(
    night: Night,
    rows: Sequence[Row],
    seconds: float,
    lanes: int,
    seed: int,
    on_change: Callable[[Night, str], None],
) -> None:
    async with trio.open_nursery() as nursery:
        for index in range(lanes):
            nursery.start_soon(_run_lane, night, rows, seconds, index, lanes, seed, on_change)


async def _run_lane(
    night: Night,
    rows: Sequence[Row],
    seconds: float,
    index: int,
    lanes: int,
    seed: int,
    on_change: Callable[[Night, str], None],
) -> None:
    """Start the process of a lane, and another one for the rest if a row has killed it."""
    left = list(rows)
    end = trio.current_time() + seconds
    while left:
        arguments = [index, lanes, max(1.0, end - trio.current_time()), seed]
        names = [f"{row.name}={row.goal}" for row in left]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", f"{__package__}._lane", *map(str, arguments), *names],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        current = left[0].name
        end_of_row = "its process ended with"
        try:
            lines = _Lines(process.stdout)
            while (line := await lines.next()) is not None:
                name, report, is_over = decode(line)
                current = name
                night.take(name, index, report, alone=rows[0].alone)
                on_change(night, name)
                if is_over:
                    left = [row for row in left if row.name != name]
        except trio.TooSlowError:
            end_of_row = f"it told nothing for {PATIENCE:g} seconds and was killed:"
        finally:
            if process.returncode is None:
                with trio.CancelScope(shield=True):  # the process must not outlive us
                    if left or end_of_row.startswith("it told"):
                        process.kill()
                    await process.wait()
        if left:
            report = night.by_lane.get((current, index, rows[0].alone), Report())
            report.violated += 1
            report.violations.append(f"{end_of_row} {process.returncode}")
            night.take(current, index, report, alone=rows[0].alone)
            on_change(night, current)
            left = [row for row in left if row.name != current]


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
