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
        interrupted: Whether an interruption came, however late.
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
    digest is of what was read before. Composing it is not given up.

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
        digest = await run.until_interrupted(wait_for_interrupt)
    return Result(digest.markdown, counter.counts, run.interrupted, recorder.exchanges, run.unsaved)


class _Run:
    def __init__(
        self,
        job: Job,
        runtime: SingleThreadedAgentRuntime,
        counts: Counts,
        listener: Listener,
        librarian: Librarian,
    ) -> None:
        self.interrupted = False
        self.unsaved: str | None = None
        self._total = 0
        self._reading = trio.CancelScope()
        self._complete = False  # all documents have been read
        self._loaded = False  # before that, saving would lose what an earlier run has saved
        self._job = job
        self._runtime = runtime
        self._counts = counts
        self._listener = listener
        self._librarian = librarian
        self._state_file = None if job.state_file is None else StateFile(job.state_file)

    async def until_interrupted(
        self, wait_for_interrupt: Callable[[], Awaitable[object]]
    ) -> Digest:
        """Read and compose; only reading ends when *wait_for_interrupt* returns."""
        failure: Exception | None = None
        digest: Digest | None = None
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                await wait_for_interrupt()
                self.interrupted = True
                self._reading.cancel("interrupted")

            nursery.start_soon(listen)
            try:
                await self._read_or_give_up()
                digest = await self._compose()
            except Exception as exc:  # goes around the nursery, which would wrap it in a group
                failure = exc
            nursery.cancel_scope.cancel("the digest is there")
        if failure is not None:
            raise failure
        assert digest is not None
        return digest

    async def _read_or_give_up(self) -> None:
        with self._reading:
            await self._read()
        if self._complete and not self._counts.read:
            raise NothingToDigest(self._nothing())
        if self._runtime.is_started():
            # The deadline has passed: what still runs is cancelled, and has ended on return.
            await self._runtime.stop(deadline=trio.current_time())
        self._runtime.start()
        await self._save()

    async def _compose(self) -> Digest:
        digest: Digest = await self._runtime.send_message(
            Compose(self._job.sentences, not self._complete, self._total), EDITOR
        )
        return digest

    async def _read(self) -> None:
        shelf = await find_documents(self._job.paths, leave_out=self._job.leave_out)
        self._total = len(shelf.documents) + len(shelf.skipped)
        self._listener.begin(self._total, self._job.concurrency, self._counts)
        if self._total and self._state_file is not None:
            await self._load(self._state_file, shelf)
            self._loaded = True
        await self._librarian.put_aside(shelf.skipped)
        saved = 0  # documents read in this run when the state was last saved
        for batch in batches(shelf.documents, saving=self._state_file is not None):
            await self._librarian.hand_out(batch)
            if self._counts.read - self._counts.remembered > saved:
                saved = self._counts.read - self._counts.remembered
                await self._save()
        # When this returns, all that was handed out has been read, and what was found is in the
        # index.
        await self._runtime.stop_when_idle()
        self._complete = True

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

    def _nothing(self) -> str:
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
