"""An activation: the live agent behind an id, and its mailbox.

Most agents never use their mailbox: a worker that takes a message for an agent which is there, has
no limit and is not being closed runs the handler at once (`Activation.open`). In all other cases
the message keeps its place in the mailbox, a memory channel, and `advance` lets out what may go, in
order. There are four reasons to wait, and all are decided here:

- the agent is being made, or closed;
- the first message in line is still with the intervention handlers;
- as many handlers run as ``max_concurrency`` allows.

A message from the call chain that such a handler waits for never waits behind it: that is what makes
A asks B asks A work at a limit of one.

A bounded mailbox (``mailbox_size``) is about submitters, not about the order: the first so many of
the messages that have not begun are inside, the others stand in line before it, and whoever
published them waits until they are inside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._envelope import Delivery, Envelope, Farewell, Stage

if TYPE_CHECKING:
    from .._sansio._abc import Agent
    from .._sansio._identifiers import AgentId
    from ._loop import EventLoop, ReceiveChannel, SendChannel
    from ._registration import Registration

__all__ = ["Activation"]


class Activation:
    """One agent of a runtime. It exists from the first message on; the agent is made by that."""

    __slots__ = (
        "_inside",
        "_line",
        "_loop",
        "_mailbox",
        "_push",
        "_urgent",
        "_waiting",
        "agent",
        "closing",
        "head",
        "id",
        "idle_since",
        "limit",
        "open",
        "queued",
        "registration",
        "runners",
        "running",
        "starter",
    )

    def __init__(
        self,
        id: AgentId,
        registration: Registration,
        loop: EventLoop,
        push: Callable[[Envelope], None],
    ) -> None:
        self.id = id
        self.registration = registration
        self.limit = registration.max_concurrency
        self.agent: Agent | None = None
        # Invariant: open <=> a message may be handled at once by whoever takes it.
        self.open = False
        self.running = 0  # handlers that run, and messages that `advance` let out
        # Who holds the places of a limited agent: the wait-for graph starts from here.
        self.runners: set[Envelope] | None = None if self.limit is None else set()
        self.queued = 0  # messages that have not begun, wherever they are
        self.starter: Envelope | None = None  # the agent is being made on behalf of this
        self.closing: Envelope | None = None  # the agent is to be closed when nothing runs
        self.head: Envelope | None = None  # the first in the mailbox, taken out to look at it
        self.idle_since = 0.0
        self._loop = loop
        self._push = push
        self._mailbox: tuple[SendChannel, ReceiveChannel] | None = None
        self._waiting = 0
        self._urgent: deque[Envelope] | None = None
        self._inside = 0
        self._line: deque[Envelope] | None = None

    @property
    def unused(self) -> bool:
        """Whether there is no agent, and nothing on its way to one."""
        return (
            self.agent is None
            and self.starter is None
            and self.closing is None
            and not self.running
            and not self.queued
        )

    # --- the mailbox

    def may_take(self, envelope: Envelope) -> bool:
        """Whether a worker that took *envelope* from the run queue may go on with it now."""
        if self.starter is not None:
            return False
        if self._is_empty and (self.limit is None or self.running < self.limit):
            return True
        return self.is_reentrant(envelope)

    def is_reentrant(self, envelope: Envelope) -> bool:
        """Whether a handler of this agent, or a message on its way to it, waits for *envelope*."""
        return any(caller.activation is self for caller in envelope.ancestors())

    def defer(self, envelope: Envelope) -> None:
        """Keep a message until it may go. It holds its place among the agent's messages."""
        self.open = False
        if self.is_reentrant(envelope):  # only the making of the agent can hold such a one up
            if self._urgent is None:
                self._urgent = deque()
            self._urgent.append(envelope)
            return
        if self._mailbox is None:
            self._mailbox = self._loop.open_memory_channel()
        self._mailbox[0].send_nowait(envelope)
        self._waiting += 1

    def advance(self) -> None:
        """Let out what may go, and open up again when nothing waits."""
        if self.starter is not None:
            return
        if self._urgent:
            held = deque[Envelope]()
            while self._urgent and (self.agent is not None or self.starter is None):
                envelope = self._urgent.popleft()
                if envelope.held:
                    held.append(envelope)
                elif envelope.stage is not Stage.SETTLED:
                    self._let_out(envelope)
            self._urgent.extendleft(reversed(held))
        while self.closing is None and not self._is_starting():
            first = self._peek()
            if first is None:
                self.open = self.agent is not None and self.limit is None and not self._urgent
                self._mailbox = None  # a million quiet agents need no million channels
                return
            if first.held or (self.limit is not None and self.running >= self.limit):
                return
            self.head = None
            if isinstance(first, Farewell):
                self.closing = first
                break
            self._let_out(first)
        if self.closing is not None and not self.running and not self.closing.cleared:
            self.closing.cleared = True
            self._push(self.closing)

    def drain(self) -> list[Envelope]:
        """Take out all that wait here, except what is with the intervention handlers."""
        drained = list(self._urgent or ())
        self._urgent = None
        held: list[Envelope] = []
        while (envelope := self._peek()) is not None:
            self.head = None
            (held if envelope.held else drained).append(envelope)
        for envelope in held:
            self.defer(envelope)
        return drained

    def _is_starting(self) -> bool:
        return self.starter is not None

    def _peek(self) -> Envelope | None:
        head = self.head
        while head is None or head.stage is Stage.SETTLED:
            if not self._waiting:
                self.head = None
                return None
            assert self._mailbox is not None
            self._waiting -= 1
            head = self._mailbox[1].receive_nowait()
        self.head = head
        return head

    def _let_out(self, envelope: Envelope) -> None:
        if self.agent is None:
            self.starter = envelope
        envelope.cleared = True
        self.occupy(envelope)
        self._push(envelope)

    def close_after(self, farewell: Farewell) -> None:
        """Close the agent when what was submitted before has been handled."""
        if self.starter is None and self._is_empty:
            self.open = False
            self.closing = farewell
            self.advance()
        else:
            self.defer(farewell)

    @property
    def _is_empty(self) -> bool:
        return self.closing is None and self.head is None and not self._waiting

    def occupy(self, envelope: Envelope) -> None:
        """Count *envelope* among those that run."""
        self.running += 1
        if self.runners is not None:
            self.runners.add(envelope)

    def closed(self) -> None:
        """The agent has been closed: the next message has another one made."""
        self.agent = None
        self.closing = None
        self.advance()

    def vacate(self, envelope: Envelope) -> None:
        """Count it no more, and let out who waited for its place."""
        self.running -= 1
        if self.runners is not None:
            self.runners.discard(envelope)
        if not self.open:
            self.advance()

    # --- the bound

    @property
    def is_full(self) -> bool:
        """Whether one more message would have to stand in line."""
        size = self.registration.mailbox_size
        return size is not None and self._inside >= size

    def enter(self, envelope: Envelope) -> None:
        """Count a message in. In a bounded mailbox it gets a place, or stands in line for one."""
        self.queued += 1
        if self.registration.mailbox_size is None:
            return
        if not self.is_full:
            self._inside += 1
            envelope.place = True
            return
        if self._line is None:
            self._line = deque()
        self._line.append(envelope)
        if isinstance(envelope, Delivery):
            envelope.publication.outside += 1

    def leave(self, envelope: Envelope) -> None:
        """Count a message out that has begun or will never begin; the line moves up."""
        self.queued -= 1
        if self.registration.mailbox_size is None:
            return
        if not envelope.place:
            assert self._line is not None
            self._line.remove(envelope)
            _admit(envelope)
            return
        envelope.place = False
        if self._line:
            first = self._line.popleft()
            first.place = True
            _admit(first)
        else:
            self._inside -= 1

    def waiting_for_places(self) -> int:
        """How many messages stand in line before the mailbox."""
        return len(self._line) if self._line else 0


def _admit(envelope: Envelope) -> None:
    # It has got a place in the mailbox, or will not need one any more.
    if isinstance(envelope, Delivery):
        publication = envelope.publication
        publication.outside -= 1
        if not publication.outside and publication.reply is not None:
            publication.reply.set()
