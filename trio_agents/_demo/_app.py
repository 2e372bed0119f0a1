"""The application: it opens a runtime with the agents in it, and sees a digest through.

There are two phases. First documents are read; that can be interrupted, and then what is being read
is cancelled. Then the editor is asked for a digest of what has been found until then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from trio_agents import SingleThreadedAgentRuntime

from ._agents import EDITOR, SUBSCRIPTIONS, Librarian, open_library
from ._messages import Compose, Digest, Document, Finding, Skipped
from ._shelf import Shelf, find_documents
from ._state import StateFile
from ._watching import Counter, Counts, Exchange, Recorder

__all__ = ["Job", "Listener", "NothingToDigest", "Result", "make_digest"]

FIRST_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done.

    Attributes:
        paths: Files and folders; none for the documents that come with the package.
        concurrency: How many documents are read at the same time.
        sentences: How many sentences speak for each document in the digest.
        state_file: Where to go on from, and where to keep what was read; None for neither.
        leave_out: Files that are no documents though they are in the folders: the results.
        record: Whether to write down who sent what to whom.
    """

    paths: tuple[str, ...] = ()
    concurrency: int = 8
    sentences: int = 3
    state_file: str | None = None
    leave_out: tuple[str, ...] = ()
    record: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What has come of it.

    Attributes:
        markdown: The digest.
        counts: Messages and documents.
        interrupted: Whether the digest is of a part of the documents.
        exchanges: All messages, if they were to be recorded.
        unsaved: Why the state could not be saved; None if it was, or was not to be.
    """

    markdown: str
    counts: Counts
    interrupted: bool
    exchanges: Sequence[Exchange]
    unsaved: str | None


class NothingToDigest(Exception):
    """There is no document, or none that could be read. The text says which."""


class Listener(Protocol):
    """What hears how it goes."""

    def begin(self, documents: int, concurrency: int, counts: Counts) -> None:
        """Reading begins. *counts* changes as it goes on."""

    def done_with(self, what: Finding | Skipped) -> None:
        """A document was read or skipped."""


async def make_digest(
    job: Job,
    listener: Listener,
    wait_for_interrupt: Callable[[], Awaitable[object]] = trio.sleep_forever,
) -> Result:
    """Read the documents and compose the digest.

    As soon as *wait_for_interrupt* returns, reading is given up: what runs is cancelled, and the
    digest is of what was read before. Composing it is not interrupted.

    Raises:
        NothingToDigest: no document could be read.
        StateFileError: the state file is not one.
    """
    counter = Counter(listener.done_with)
    recorder = Recorder(SUBSCRIPTIONS)
    async with SingleThreadedAgentRuntime(
        intervention_handlers=[counter, recorder] if job.record else [counter],
        max_pending=job.concurrency,
        ignore_unhandled_exceptions=False,  # our agents' failures are bugs, and to be seen
    ) as runtime:
        run = _Run(job, runtime, counter.counts, listener, await open_library(runtime))
        runtime.start()
        interrupted = await run.read(wait_for_interrupt)
        counts = counter.counts
        if not interrupted and not counts.read:
            raise NothingToDigest(run.nothing())
        compose = Compose(job.sentences, interrupted, documents=run.total)
        digest: Digest = await runtime.send_message(compose, EDITOR)
    return Result(digest.markdown, counts, interrupted, recorder.exchanges, run.unsaved)


class _Run:
    def __init__(
        self,
        job: Job,
        runtime: SingleThreadedAgentRuntime,
        counts: Counts,
        listener: Listener,
        librarian: Librarian,
    ) -> None:
        self.total = 0
        self.unsaved: str | None = None
        self._loaded = False  # before that, saving would lose what an earlier run has saved
        self._job = job
        self._runtime = runtime
        self._counts = counts
        self._listener = listener
        self._librarian = librarian
        self._state_file = None if job.state_file is None else StateFile(job.state_file)

    async def read(self, wait_for_interrupt: Callable[[], Awaitable[object]]) -> bool:
        """Have all documents read; return whether that was interrupted."""
        interrupted = True
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                await wait_for_interrupt()
                nursery.cancel_scope.cancel("interrupted")

            nursery.start_soon(listen)
            try:
                await self._read()
                interrupted = False
            except Exception as exc:  # goes around the nursery, which would wrap it in a group
                failure = exc
            nursery.cancel_scope.cancel("all documents are done with")
        if failure is not None:
            raise failure
        if interrupted and self._runtime.is_started():
            # The deadline has passed, so what runs is cancelled, and has ended when this returns.
            await self._runtime.stop(deadline=trio.current_time())
        if not self._runtime.is_started():
            self._runtime.start()
        if interrupted:
            await self._save()
        return interrupted

    async def _read(self) -> None:
        shelf = await find_documents(self._job.paths, leave_out=self._job.leave_out)
        self.total = len(shelf.documents) + len(shelf.skipped)
        self._listener.begin(self.total, self._job.concurrency, self._counts)
        if self.total and self._state_file is not None:
            await self._load(self._state_file, shelf)
            self._loaded = True
        await self._librarian.put_aside(shelf.skipped)
        for batch in batches(shelf.documents, saving=self._state_file is not None):
            await self._librarian.hand_out(batch)
            await self._save()
        # Everything that was handed out has been read, and what was found is in the index.
        await self._runtime.stop_when_idle()
        await self._save()

    async def _load(self, state_file: StateFile, shelf: Shelf) -> None:
        state = await state_file.load([document.source for document in shelf.documents])
        if state:
            try:
                await self._runtime.load_state(state)
            except Exception as exc:  # a reader could not make sense of its part
                raise state_file.unusable("it is damaged") from exc

    async def _save(self) -> None:
        """Save what the readers know. It is one cut through all of them, between two messages."""
        if self._state_file is None or not self._loaded:
            return
        try:
            await self._state_file.save(await self._runtime.save_state())
        except OSError as exc:  # the digest is worth more than the state
            self.unsaved = exc.strerror or str(exc)
        else:
            self.unsaved = None

    def nothing(self) -> str:
        """Say why there is nothing to make a digest of."""
        if self._counts.skipped:
            return "Nothing to digest: none of the files could be read."
        where = ", ".join(self._job.paths)
        return f"Nothing to digest: there are no files in {where}."


def batches(documents: Sequence[Document], *, saving: bool) -> Iterator[Sequence[Document]]:
    """Part *documents* into those after each of which the state is saved.

    Each save writes everything that was read so far, so they become rarer as that grows: all of
    them together write a few times as much as the last one.
    """
    at = 0
    while at < len(documents):
        size = max(FIRST_BATCH, at // 2) if saving else len(documents)
        yield documents[at : at + size]
        at += size
