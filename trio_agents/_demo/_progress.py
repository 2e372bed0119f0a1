"""How it goes: a live line on a terminal, plain lines elsewhere. Both on standard error."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, TextIO

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from ._app import Listener
from ._messages import Finding, Skipped, counted
from ._watching import Counts

__all__ = ["open_display", "summary"]

PERIOD: Final = 0.1  # seconds between two looks of the live line
PARTS: Final = 10  # plain lines are written after each of so many parts of the documents


@asynccontextmanager
async def open_display(stream: TextIO) -> AsyncGenerator[Listener, None]:
    """Show on *stream* how it goes, inside the block."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(stream)
        return
    progress = Progress(
        SpinnerColumn(),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("documents, {task.fields[messages]} messages"),
        console=console,
        auto_refresh=False,  # it would be done in a thread; there is a task for it below
        transient=True,
    )
    async with trio.open_nursery() as nursery:
        with progress:
            display = Live(progress)
            nursery.start_soon(display.keep_fresh)
            yield display
            display.refresh()
            nursery.cancel_scope.cancel("the display is closed")


class Lines:
    """Plain lines: what is skipped, and from time to time how many documents are done with."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._counts = Counts()
        self._total = 0

    def begin(self, documents: int, concurrency: int, counts: Counts) -> None:
        """Say how much there is to do."""
        self._total, self._counts = documents, counts
        if documents:
            self._write(f"Reading {counted(documents, 'document')}, {concurrency:,} at a time.")

    def done_with(self, what: Finding | Skipped) -> None:
        """Report what is skipped, and each tenth of the documents."""
        if isinstance(what, Skipped):
            self._write(f"Skipped {what.name}: {what.reason}.")
        done = self._counts.read + self._counts.skipped
        if done * PARTS // self._total > (done - 1) * PARTS // self._total:
            self._write(f"{done:,} of {counted(self._total, 'document')}.")

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class Live:
    """A line that moves. What is skipped is written above it, to stay."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, messages=0)
        self._counts = Counts()

    def begin(self, documents: int, concurrency: int, counts: Counts) -> None:
        """Begin to move."""
        self._counts = counts
        self._progress.update(self._task, total=documents)
        self.refresh()

    def done_with(self, what: Finding | Skipped) -> None:
        """Write down what is skipped; the rest is seen at the next look."""
        if isinstance(what, Skipped):
            self._progress.console.print(f"Skipped {what.name}: {what.reason}.", markup=False)

    def refresh(self) -> None:
        """Show the numbers of now."""
        done = self._counts.read + self._counts.skipped
        self._progress.update(self._task, completed=done, messages=self._counts.messages)
        self._progress.refresh()

    async def keep_fresh(self) -> None:
        """Show them again and again."""
        while True:
            await trio.sleep(PERIOD)
            self.refresh()


def summary(counts: Counts) -> str:
    """Say in one line what was done."""
    remembered = f" ({counts.remembered:,} unchanged)" if counts.remembered else ""
    return (
        f"Read {counted(counts.read, 'document')}{remembered}, skipped {counts.skipped:,}; "
        f"{counted(counts.messages, 'message')}: {counts.published:,} published, "
        f"{counts.sent:,} sent, {counts.answered:,} answered."
    )
