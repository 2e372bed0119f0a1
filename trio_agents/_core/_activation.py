"""An activation: the live agent behind an id, and its mailbox.

Most agents never use their mailbox: a worker that takes a message for an agent which is there, has
no limit and is not being closed runs the handler at once (`Activation.open`). In all other cases
the message keeps its place in the mailbox, a memory channel, and `advance` lets out what may go, in
order. There are four reasons to wait, and all are decided here:

- the agent is being made, or closed;
- the first message in line is still with the intervention handlers;
- as many handlers run as ``max_concurrency`` allows.

A message from the call chain that such a handler waits for never waits behind it: that is what
makes A asks B asks A work at a limit of one. Nor does what an intervention handler sends wait
behind the message that it looks at. Both overtake, and keep their order only among their like.

A bounded mailbox (``mailbox_size``) is about submitters, not about the order: the first so many of
the messages that have not begun are inside, the others stand in line before it, and whoever
published them waits until they are inside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from ._envelope import (
    RUNNING,
    SETTLED,
    Delivery,
    Envelope,
    Errand,
    Farewell,
)
from ._loop import close_channel

if TYPE_CHECKING:
    from .._sansio._abc import Agent
    from .._sansio._identifiers import AgentId
    from ._loop import EventLoop, ReceiveChannel, SendChannel
    from ._registration import Registration
    from ._workers import Workers

__all__ = ["Activation"]


class Activation:
    """One agent of a runtime. It exists from the first message on; the agent is made by that."""

    __slots__ = (
        "_farewells",
        "_held",
        "_inside",
        "_line",
        "_loop",
        "_mailbox",
        "_turn",
        "_urgent",
        "_waiting",
        "_workers",
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
        "visitors",
    )

    def __init__(
        self,
        id: AgentId,
        registration: Registration,
        loop: EventLoop,
        workers: Workers,
    ) -> None:
        self.id = id
        self.registration = registration
        self.limit = registration.max_concurrency
        self.agent: Agent | None = None
        # Invariant: open <=> a message may be handled at once by whoever takes it.
        self.open = False
        self.running = 0  # handlers that run, and messages that `advance` let out
        # Who holds the places of a limited agent: the wait-for graph starts from here.
        self.runners: dict[Envelope, None] | None = None if self.limit is None else {}
        self.queued = 0  # messages that have not begun, wherever they are
        self.visitors = 0  # senders that wait for the runtime to have room
        self.starter: Envelope | None = None  # the agent is being made on behalf of this
        self.closing: Envelope | None = None  # the agent is to be closed when nothing runs
        self.head: Envelope | None = None  # the first in the mailbox, taken out to look at it
        self.idle_since = 0.0
        self._loop = loop
        self._workers = workers
        self._mailbox: tuple[SendChannel, ReceiveChannel] | None = None
        self._waiting = 0
        self._turn = 0
        self._urgent: deque[Envelope] | None = None  # those that overtake
        self._held: dict[Envelope, None] | None = None  # those with the intervention handlers
        self._farewells: list[Farewell] | None = None  # and the wishes to close, in the mailbox
        # Those that have a place in the mailbox, if it has a bound, and those in line before it.
        self._inside: dict[Envelope, None] | None = None
        if registration.mailbox_size is not None:
            self._inside = {}
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
            and not self.visitors
        )

    @property
    def is_awaited(self) -> bool:
        """Whether anything waits that handlers of this agent could hold up."""
        return not self.is_empty or bool(self._line) or bool(self._farewells)

    # --- the mailbox

    def may_take(self, envelope: Envelope) -> bool:
        """Whether a worker that took *envelope* from the run queue may go on with it now."""
        if self.starter is not None:
            return False
        if self.is_empty and self._has_room:
            return True
        return self.is_inside(envelope) or (self._has_room and self.is_reentrant(envelope))

    def is_reentrant(self, envelope: Envelope) -> bool:
        """Whether a handler of this agent, or a message on its way to it, waits for *envelope*."""
        if isinstance(envelope, Delivery):  # a publisher waits for room, but not for the handler
            return False
        return any(caller.is_for(self) for caller in envelope.ancestors())

    def is_inside(self, envelope: Envelope) -> bool:
        """Whether a handler of this agent waits for *envelope*: it needs no place of its own."""
        return self.is_reentrant(envelope) and any(
            caller.activation is self and caller.stage is RUNNING for caller in envelope.ancestors()
        )

    @property
    def _has_room(self) -> bool:
        return self.closing is None and (self.limit is None or self.running < self.limit)

    def obstacles(self, envelope: Envelope) -> Iterator[tuple[Collection[Envelope], int]]:
        """Give what *envelope* waits for here: groups, and to less than what each has to shrink."""
        if self.starter is not None:
            yield (self.starter,), 1
        if envelope.held:
            yield (_looked_at(envelope),), 1
        is_errand = isinstance(envelope, Errand)
        is_let_out = envelope.cleared or envelope is self.starter
        if is_let_out or (self.is_inside(envelope) and not is_errand):
            return
        ahead: list[Envelope] = []
        if not (is_errand or self.is_reentrant(envelope)):
            waiting = (*(self._held or ()), *(self._farewells or ()))
            ahead = [e for e in waiting if e.turn < envelope.turn and e.stage is not SETTLED]
        if self.closing is not None and self.closing is not envelope:
            ahead.append(self.closing)
        for other in ahead:
            yield (_looked_at(other),), 1
        if any(isinstance(other, Farewell) for other in (*ahead, envelope)):
            yield from (((running,), 1) for running in self._workers.handling(self))
        elif is_errand:
            return
        elif self.runners and self.limit is not None and self.running >= self.limit:
            yield self.runners, self.limit  # reentrant ones run beside the limit, but count

    def hold(self, envelope: Envelope) -> None:
        """Keep a message that is with the intervention handlers."""
        envelope.held = True
        if self._held is None:
            self._held = {}
        self._held[envelope] = None
        self.defer(envelope)

    def release(self, envelope: Envelope) -> None:
        """They are done with it: what it still waits for is said by `advance`."""
        envelope.held = False
        assert self._held is not None
        del self._held[envelope]
        self._held = self._held or None

    def defer(self, envelope: Envelope) -> None:
        """Keep a message until it may go. It holds its place among the agent's messages."""
        self.open = False
        self._turn += 1
        envelope.turn = self._turn
        if self.is_reentrant(envelope):
            if self._urgent is None:
                self._urgent = deque()
            self._urgent.append(envelope)
            return
        if isinstance(envelope, Farewell):
            queued = [f for f in self._farewells or () if f.stage is not SETTLED]
            self._farewells = [*queued, envelope]
        if self.is_empty:
            self.head = envelope  # most wait alone, and need no channel
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
            self._let_out_urgent(self._urgent)
        while self.closing is None and not self._is_starting():
            first = self._peek()
            if first is None:
                self.open = self.agent is not None and self.limit is None and not self._urgent
                if self._mailbox is not None:  # a million quiet agents need no million channels
                    close_channel(self._mailbox)
                    self._mailbox = None
                return
            if first.held or (self.limit is not None and self.running >= self.limit):
                return
            if self._urgent and self._urgent[0].turn < first.turn:
                return
            self.head = None
            if isinstance(first, Farewell):
                assert self._farewells is not None
                self._farewells.remove(first)
                self.closing = first
                break
            self._let_out(first)
        if self.closing is not None and not self.running and not self.closing.cleared:
            self.closing.cleared = True
            self._workers.push(self.closing)

    def drain(self) -> list[Envelope]:
        """Take out all that wait here, except what is with the intervention handlers."""
        return self._drain(lambda envelope: envelope.held)

    def drain_messages(self) -> list[Envelope]:
        """The same, but leave the wishes to close: it is nothing to them if there is no agent."""
        return self._drain(lambda envelope: envelope.held or isinstance(envelope, Farewell))

    def _drain(self, stays: Callable[[Envelope], bool]) -> list[Envelope]:
        waiting = [envelope for envelope in self._urgent or () if envelope.stage is not SETTLED]
        self._urgent = self._farewells = None
        while (envelope := self._peek()) is not None:
            self.head = None
            waiting.append(envelope)
        for envelope in sorted(filter(stays, waiting), key=lambda envelope: envelope.turn):
            self.defer(envelope)
        return [envelope for envelope in waiting if not stays(envelope)]

    def keeps_any(self) -> bool:
        """Whether anything waits here that nobody has taken back meanwhile."""
        urgent = any(envelope.stage is not SETTLED for envelope in self._urgent or ())
        return urgent or self._peek() is not None

    def is_settled(self) -> bool:
        """Whether the agent is neither being made nor to be closed."""
        return self.starter is None and self.closing is None

    def _is_starting(self) -> bool:
        return self.starter is not None

    def _peek(self) -> Envelope | None:
        head = self.head
        while head is None or head.stage is SETTLED:
            if not self._waiting:
                self.head = None
                return None
            assert self._mailbox is not None
            self._waiting -= 1
            head = self._mailbox[1].receive_nowait()
        self.head = head
        return head

    def _let_out_urgent(self, urgent: deque[Envelope]) -> None:
        stay = deque[Envelope]()
        parents = set[Envelope | None]()  # what one handler sends keeps its order
        for envelope in urgent:
            if envelope.stage is SETTLED:
                continue
            if (
                self.starter is not None
                or envelope.held
                or envelope.parent in parents
                or not (self._has_room or self.is_inside(envelope))
            ):
                stay.append(envelope)
                parents.add(envelope.parent)
            else:
                self._let_out(envelope)
        self._urgent = stay or None

    def _let_out(self, envelope: Envelope) -> None:
        if self.agent is None:
            self.starter = envelope
        envelope.cleared = True
        self.occupy(envelope)
        self._workers.push(envelope)

    def close_after(self, farewell: Farewell) -> None:
        """Close the agent when what was submitted before has been handled."""
        if self.starter is None and self.is_empty:
            self.open = False
            self.closing = farewell
            self.advance()
        else:
            self.defer(farewell)

    def close_at_once(self, farewell: Farewell) -> None:
        """Let no message be handled while the agent is closed by the task that asks for it."""
        self.open = False
        self.closing = farewell
        farewell.cleared = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing that was taken up has to wait here, and nobody closes the agent."""
        return self.closing is None and self.head is None and not self._waiting and not self._urgent

    def occupy(self, envelope: Envelope) -> None:
        """Count *envelope* among those that run."""
        self.running += 1
        if self.runners is not None:
            self.runners[envelope] = None

    def closed(self) -> None:
        """The agent has been closed: the next message has another one made."""
        self.agent = None
        self.closing = None
        self.advance()

    def stay(self, farewell: Farewell) -> None:
        """Do not wait for *farewell* any more; if it was not fulfilled the agent goes on."""
        if self.closing is farewell:
            self.closing = None
            self.advance()

    def vacate(self, envelope: Envelope) -> None:
        """Count it no more, and let out who waited for its place."""
        if self.starter is envelope:
            self.starter = None
        self.running -= 1
        if self.runners is not None:
            self.runners.pop(envelope, None)
        if not self.open:
            self.advance()

    # --- the bound

    @property
    def is_full(self) -> bool:
        """Whether one more message would have to stand in line."""
        size = self.registration.mailbox_size
        return size is not None and len(self._inside or ()) >= size

    def enter(self, envelope: Envelope) -> None:
        """Count a message in. In a bounded mailbox it gets a place, or stands in line for one."""
        self.queued += 1
        if self._inside is None:
            return
        if not self.is_full:
            self._inside[envelope] = None
            return
        if self._line is None:
            self._line = deque()
        self._line.append(envelope)
        envelope.has_no_room = True
        if isinstance(envelope, Delivery):
            envelope.publication.outside += 1

    def leave(self, envelope: Envelope) -> None:
        """Count a message out that has begun or will never begin; the line moves up."""
        self.queued -= 1
        if self._inside is None:
            return
        if envelope.has_no_room:
            assert self._line is not None
            self._line.remove(envelope)
            _admit(envelope)
            return
        del self._inside[envelope]
        if self._line:
            first = self._line.popleft()
            self._inside[first] = None
            _admit(first)

    def line(self) -> tuple[Envelope, ...]:
        """Give the messages that stand in line before the mailbox."""
        return tuple(self._line or ())

    def before(self, envelope: Envelope) -> tuple[list[Envelope], int]:
        """Give those that came before one in line, and to less than what they have to shrink."""
        inside = self._inside or {}
        if not self.is_held_up():
            return [], len(inside)
        line = self.line()
        return [*inside, *line[: line.index(envelope)]], len(inside)

    def is_held_up(self) -> bool:
        """Whether any obstacle waits for something. Mostly none does, and mailboxes are large."""
        obstacles: list[Envelope | None] = [self.starter, self.closing, *(self.runners or ())]
        obstacles += [_looked_at(envelope) for envelope in self._held or ()]
        if self.closing is not None or self._farewells:
            obstacles += self._workers.handling(self)
        return any(obstacle is not None and obstacle.blocked for obstacle in obstacles)


def _looked_at(envelope: Envelope) -> Envelope:
    # What the intervention handlers are shown.
    return envelope.publication if isinstance(envelope, Delivery) else envelope


def _admit(envelope: Envelope) -> None:
    # It has got a place in the mailbox, or will not need one any more.
    envelope.has_no_room = False
    if isinstance(envelope, Delivery):
        publication = envelope.publication
        publication.outside -= 1
        if publication.outside:
            return
        if publication.reply is not None:
            publication.reply.set()
        if publication.stage is SETTLED:
            publication.deliveries = None  # they refer to it
