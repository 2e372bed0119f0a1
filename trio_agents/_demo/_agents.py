"""The agents of the digest. This is the module to read for how the runtime is used.

::

    librarian --publishes Document--> reader, one for each document
    reader --publishes Finding or Skipped--> index
    application --sends Compose--> editor --sends GetOverview--> index

A document's topic has the document as its source, and a subscription turns the source into the
key of an agent: so each document has a reader of its own, which the runtime makes when the first
message for it comes. What a reader found is its state. Saved and loaded by the runtime, it is what
a later run need not read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import trio

from trio_agents import (
    AgentId,
    AgentRuntime,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    rpc,
)

from ._analysis import Analysis, analyse_in_steps
from ._digest import compose
from ._messages import Compose, Digest, Document, Finding, GetOverview, Overview, Skipped
from ._notes import Notes, notes_from_state, notes_to_state
from ._reading import Unreadable, read_text

__all__ = ["EDITOR", "LIBRARIAN", "SUBSCRIPTIONS", "Librarian", "Reader", "open_library"]

LIBRARIAN: Final = AgentId("librarian", "default")
INDEX: Final = AgentId("index", "default")
EDITOR: Final = AgentId("editor", "default")
FOUND: Final = TopicId("found", "default")

# Who hears what. A subscription is a plain rule from topics to agents, so these say it to the
# runtime and to whoever wants to know (the trace).
SUBSCRIPTIONS: Final = (
    TypeSubscription("document", "reader"),  # each source its own reader
    TypeSubscription("found", "index"),  # one source, so one index
)

MARKDOWN: Final = (".md", ".markdown", ".mdown", ".mkd", ".mdx")


class StatelessAgent(RoutedAgent):
    """Keeps nothing that a later run would not find again by itself."""

    async def save_state(self) -> Mapping[str, Any]:
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        pass


class Librarian(StatelessAgent):
    """Hands out documents: publishes each to its own topic.

    The application makes it, and calls `hand_out` itself, outside of any handler: there, publishing
    waits while the runtime has ``max_pending`` messages to handle. That is all there is to
    ``--concurrency``. (What a handler publishes is always taken in, or handlers could wait for each
    other's room for ever.)
    """

    def __init__(self) -> None:
        super().__init__("hands out documents")

    async def hand_out(self, documents: Iterable[Document]) -> None:
        """Publish *documents*. Waits while too many are being read."""
        for document in documents:
            await self.publish_message(document, TopicId("document", document.source))

    async def put_aside(self, skipped: Iterable[Skipped]) -> None:
        """Publish what cannot be read, as was seen without opening it."""
        for one in skipped:
            await self.publish_message(one, FOUND)


class Reader(RoutedAgent):
    """Reads one document, the one that its key names, and publishes what is in it."""

    def __init__(self) -> None:
        super().__init__("reads one document")
        self._notes: Notes | None = None
        self._state: Mapping[str, Any] = {}

    @event
    async def on_document(self, message: Document, ctx: MessageContext) -> None:
        """Read the document, unless it is as it was, and publish a `Finding` or a `Skipped`."""
        before = self._notes
        try:
            read = await read_text(message.path, None if before is None else before.fingerprint)
        except Unreadable as exc:
            self._keep(None)
            await self.publish_message(Skipped(message.source, message.name, str(exc)), FOUND)
            return
        if before is not None and read.text is None:
            analysis = before.analysis
        else:
            markdown = message.name.lower().endswith(MARKDOWN)
            analysis = await self._analyse(read.text or "", markdown=markdown)
        self._keep(Notes(read.fingerprint, analysis))
        remembered = before is not None and before.analysis is analysis
        finding = Finding(message.source, message.name, analysis, read.cut, remembered)
        await self.publish_message(finding, FOUND)

    async def _analyse(self, text: str, *, markdown: bool) -> Analysis:
        """Analyse *text*, letting others have their turn, and Ctrl-C, between two steps."""
        steps = analyse_in_steps(text, markdown=markdown)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                analysis: Analysis = end.value
                return analysis
            await trio.lowlevel.checkpoint()

    async def save_state(self) -> Mapping[str, Any]:
        """Give the notes, if the document has been read."""
        if self._notes is not None and not self._state:
            self._state = notes_to_state(self._notes)
        return self._state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over the notes of an earlier run."""
        self._keep(notes_from_state(state) if state else None)

    def _keep(self, notes: Notes | None) -> None:
        self._notes = notes
        self._state = {}  # written when it is asked for, and then once


class Index(StatelessAgent):
    """Joins what the readers found: terms over documents."""

    def __init__(self) -> None:
        super().__init__("joins terms over documents")
        self._findings: dict[str, Finding] = {}
        self._skipped: dict[str, Skipped] = {}
        self._spread: Counter[str] = Counter()

    @event
    async def on_finding(self, message: Finding, ctx: MessageContext) -> None:
        """Enter a document that was read."""
        self._findings[message.source] = message
        self._spread.update(message.analysis.terms.keys())

    @event
    async def on_skipped(self, message: Skipped, ctx: MessageContext) -> None:
        """Enter a document that was not."""
        self._skipped[message.source] = message

    @rpc
    async def on_get_overview(self, message: GetOverview, ctx: MessageContext) -> Overview:
        """Tell all of it, in an order that does not depend on who read how fast."""
        return Overview(
            findings=tuple(self._findings[source] for source in sorted(self._findings)),
            skipped=tuple(self._skipped[source] for source in sorted(self._skipped)),
            spread=self._spread,
        )


class Editor(StatelessAgent):
    """Writes the digest when asked."""

    def __init__(self) -> None:
        super().__init__("writes the digest")

    @rpc
    async def on_compose(self, message: Compose, ctx: MessageContext) -> Digest:
        """Ask the index for what was found, and make a digest of it."""
        overview: Overview = await self.send_message(
            GetOverview(), INDEX, cancellation_token=ctx.cancellation_token
        )
        pieces: list[str] = []
        for piece in compose(overview, message):
            pieces.append(piece)
            await trio.lowlevel.checkpoint()
        return Digest("".join(pieces))


async def open_library(runtime: AgentRuntime) -> Librarian:
    """Register all agents with *runtime*, and give the one that hands out documents."""
    await Reader.register(runtime, "reader", Reader)
    await Index.register(runtime, INDEX.type, Index)
    await Editor.register(runtime, EDITOR.type, Editor)
    for subscription in SUBSCRIPTIONS:
        await runtime.add_subscription(subscription)
    librarian = Librarian()
    await librarian.register_instance(runtime, LIBRARIAN)
    return librarian
