"""The ledger: what became of every message, and therefore what "idle" means.

Every accepted message is pending until it gets its outcome, once, through `settle`. Nothing else
changes these numbers, so no early return can lose a count, and "idle" is nothing but ``pending ==
0``. A publication counts as one message until it is routed, then as one for each recipient.

Whoever waits for something to become true of the runtime leaves a `Watch`. It is looked at after
each change, so nobody polls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._sansio._facade import claim
from ._envelope import (
    CANCELLED,
    DROPPED,
    FAILED,
    HANDLED,
    Envelope,
    Outcome,
    Publication,
)

if TYPE_CHECKING:
    from .._sansio._identifiers import AgentId, TopicId
    from ._loop import Event

__all__ = ["DeadLetter", "Ledger", "RuntimeStatistics"]

MAX_DEAD_LETTERS: Final = 1000


@attrs.frozen
class DeadLetter:
    """A message that reached nobody, and why.

    Attributes:
        message: The message itself. It is left out of the repr.
        recipient: The agent it was for; None for a publication that found no recipient.
        topic: Where it was published; None for a direct message.
        sender: The agent that sent it, if one did.
        reason: Why it was not delivered, as a sentence.
    """

    message: Any = attrs.field(repr=False)
    recipient: AgentId | None
    topic: TopicId | None
    sender: AgentId | None
    reason: str


@attrs.frozen
class RuntimeStatistics:
    """What a runtime has done and what it has to do, at one moment.

    At every moment
    ``accepted == handled + failed + dropped + cancelled + undeliverable + pending``.

    Attributes:
        accepted: Messages taken in. A publication counts once, and once for each recipient as soon
            as its recipients are worked out.
        handled: Messages whose handler returned.
        failed: Messages whose handler, factory or intervention raised.
        dropped: Messages that an intervention handler dropped.
        cancelled: Messages that were cancelled before or during their handling.
        undeliverable: Messages that reached nobody: see `dead_letters`.
        pending: Messages that have no outcome yet.
        running: Those of the pending ones that are being worked on.
        waiting: Submitters that wait at a bound (``max_pending``); their messages are not accepted.
        agents: Agents that are alive.
        mailboxes: How many messages wait for each agent, for agents that any wait for.
        dead_letters: The latest undeliverable messages, at most 1000 of them.
    """

    accepted: int
    handled: int
    failed: int
    dropped: int
    cancelled: int
    undeliverable: int
    pending: int
    running: int
    waiting: int
    agents: int
    mailboxes: Mapping[AgentId, int]
    dead_letters: tuple[DeadLetter, ...] = attrs.field(repr=lambda letters: f"<{len(letters)}>")


class Ledger:
    """Counts messages in and out."""

    def __init__(self, event: Callable[[], Event]) -> None:
        self.accepted = 0
        self.pending = 0
        self.running = 0
        self.handled = 0
        self.failed = 0
        self.dropped = 0
        self.cancelled = 0
        self.undeliverable = 0
        self.dead_letters: deque[DeadLetter] = deque(maxlen=MAX_DEAD_LETTERS)
        self.watches: list[tuple[Callable[[], bool], Event]] = []
        self._event = event

    def accept(self) -> None:
        """Take one message in."""
        self.accepted += 1
        self.pending += 1

    def route(self, recipients: int) -> None:
        """Turn a publication, which counted as one, into *recipients* messages."""
        self.accepted += recipients - 1
        self.pending += recipients - 1

    def settle(self, outcome: Outcome) -> None:
        """Take one message out. The caller has made sure that it was not out already."""
        self.pending -= 1
        if outcome is HANDLED:
            self.handled += 1
        elif outcome is FAILED:
            self.failed += 1
        elif outcome is CANCELLED:
            self.cancelled += 1
        elif outcome is DROPPED:
            self.dropped += 1
        else:
            self.undeliverable += 1
        if self.watches:
            self.look()

    def bury(self, envelope: Envelope, reason: str) -> None:
        """Keep an undeliverable message where the application can look at it."""
        self.dead_letters.append(
            DeadLetter(
                message=envelope.message,
                recipient=None if isinstance(envelope, Publication) else envelope.recipient,
                topic=envelope.topic,
                sender=envelope.sender,
                reason=reason,
            )
        )

    def look(self) -> None:
        """Wake those whose condition has become true."""
        for condition, event in self.watches:
            if not event.is_set() and condition():
                event.set()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* is true when this task runs, not merely once in between."""
        while not condition():
            with self.watch(condition) as event:
                await event.wait()

    @contextmanager
    def watch(self, condition: Callable[[], bool]) -> Generator[Event, None, None]:
        """Give an event that is set when *condition* becomes true; it must not raise."""
        event = self._event()
        entry = (condition, event)
        self.watches.append(entry)
        try:
            yield event
        finally:
            self.watches.remove(entry)


claim("trio_agents", DeadLetter)
claim("trio_agents", RuntimeStatistics)
