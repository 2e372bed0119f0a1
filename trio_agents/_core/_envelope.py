"""Envelopes: a message with everything the runtime knows about it, from submission to outcome.

There are three kinds. A `Request` has one recipient and a sender that waits. A `Publication` has a
topic; when its turn comes it is turned into `Delivery` envelopes, one for each recipient. A request
and a delivery are what agents handle, and each ends in exactly one `Outcome`.

An envelope is also the `Frame` of its handler: it stands in the context variable while the handler
runs, so what the handler sends finds its `parent`. The chain of parents is the call chain.
"""

from __future__ import annotations

import enum
import math
import uuid
from typing import TYPE_CHECKING, Any, Final

from .._sansio._contexts import MessageContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._sansio._cancellation import CancellationToken
    from .._sansio._identifiers import AgentId, TopicId
    from ._activation import Activation
    from ._loop import CancelScope, Reply
    from ._observation import Observation

__all__ = [
    "Delivery",
    "Envelope",
    "Errand",
    "Farewell",
    "Look",
    "Outcome",
    "Publication",
    "Request",
    "Stage",
]


class Outcome(enum.Enum):
    """How a message ended. Every accepted message ends in exactly one of these."""

    HANDLED = "handled"
    FAILED = "failed"
    DROPPED = "dropped"
    CANCELLED = "cancelled"
    UNDELIVERABLE = "undeliverable"


class Stage(enum.IntEnum):
    """Where an envelope is."""

    QUEUED = 0  # nobody has taken it up: it can be taken back at once
    TAKEN = 1  # a worker has it, its handler has not begun: intervention handlers, the factory
    RUNNING = 2
    SETTLED = 3


# Looking a member up on its enum costs more than all else that is done with it: these are for that.
QUEUED: Final = Stage.QUEUED
TAKEN: Final = Stage.TAKEN
RUNNING: Final = Stage.RUNNING
SETTLED: Final = Stage.SETTLED
HANDLED: Final = Outcome.HANDLED
FAILED: Final = Outcome.FAILED
DROPPED: Final = Outcome.DROPPED
CANCELLED: Final = Outcome.CANCELLED
UNDELIVERABLE: Final = Outcome.UNDELIVERABLE


class Envelope:
    """What requests, publications and deliveries have in common."""

    # Defaults of what few envelopes have stand on the class: an envelope is made for every message,
    # and each attribute set in the constructor costs every one of them. (Envelopes are kept in
    # dicts and not in sets, whose order would change from run to run.)
    activation: Activation | None = None
    blocked: dict[Envelope, None] | None = None  # requests below this one that wait at a full agent
    cleared: bool = False  # its agent's mailbox has let it out: it holds a place among the running
    context: MessageContext | None = None
    deliveries: list[Delivery] | None = None  # of a publication: its recipients, once worked out
    cancel_reason: str | None = None
    has_no_room: bool = False  # it stands in line before a mailbox that is full
    held: bool = False  # its interception is not over: it keeps its place in the mailbox
    intercepted: bool = False  # and is not to be, any more
    link: int = 0  # the handle of the token's link
    noted_by: tuple[Envelope, ...] = ()  # those that have it among their `blocked`
    observation: Observation | None = None
    recipient: AgentId | None = None
    scope: CancelScope | None = None  # of the worker that has it
    stage: Stage = QUEUED
    token: CancellationToken | None = None
    topic: TopicId | None = None
    turn: float = math.inf  # its place among the messages that wait for its agent
    _message_id: str | None = None

    def __init__(self, message: Any, sender: AgentId | None, parent: Envelope | None) -> None:
        self.message = message
        self.sender = sender
        self.parent = parent

    @property
    def message_id(self) -> str:
        """The sender's id for the message, or one made now: it is only made for a reader."""
        if self._message_id is None:
            self._message_id = str(uuid.uuid4())
        return self._message_id

    def new_context(self) -> MessageContext:
        """Give a context to show to the application with the message."""
        return MessageContext(
            self.sender,
            self.topic,
            self.topic is None,
            self.token,
            self._message_id,
            origin=self,
        )

    @property
    def handler_id(self) -> AgentId | None:
        """Whose handler runs where this envelope is the current frame."""
        return self.recipient if self.stage >= RUNNING else None

    @property
    def caller(self) -> Envelope | None:
        """The envelope whose handler waits for this one, if one does."""
        return None

    def is_for(self, activation: Activation) -> bool:
        """Whether it is on its way to this agent, or handled by it."""
        return self.activation is activation

    def ancestors(self) -> Iterator[Envelope]:
        """The envelopes whose handlers wait for this one, from the nearest outwards."""
        caller = self.caller
        while caller is not None and caller.stage is not SETTLED:
            yield caller
            caller = caller.caller

    def __repr__(self) -> str:
        where = self.recipient if self.topic is None else f"{self.topic} -> {self.recipient}"
        return f"<{type(self).__name__} {type(self.message).__name__} to {where}>"


class Request(Envelope):
    """A message to one agent whose sender waits for the reply."""

    result: Any = None
    error: BaseException | None = None
    outcome: Outcome | None = None

    def __init__(
        self,
        message: Any,
        sender: AgentId | None,
        parent: Envelope | None,
        recipient: AgentId,
        reply: Reply,
    ) -> None:
        self.message = message
        self.sender = sender
        self.parent = parent
        self.recipient = recipient
        self.reply = reply

    @property
    def caller(self) -> Envelope | None:
        """The envelope whose handler sent this request and waits for the reply."""
        return self.parent


class Delivery(Envelope):
    """A publication on its way to one of its recipients."""

    intercepted = True  # as the publication

    def __init__(self, publication: Publication, activation: Activation) -> None:
        self.message = publication.message
        self.sender = publication.sender
        self.parent = publication.parent
        self.topic = publication.topic
        self.token = publication.token
        self.observation = publication.observation
        self.publication = publication
        self.activation = activation
        self.recipient = activation.id

    @property
    def message_id(self) -> str:
        """The publication's: all its recipients see the same."""
        return self.publication.message_id

    @property
    def caller(self) -> Envelope | None:
        """The publisher's, but only while it waits for room: it does not wait for the handling."""
        waits = self.has_no_room and self.stage < RUNNING and self.publication.reply is not None
        return self.parent if waits else None


class Publication(Envelope):
    """A message to a topic, before its recipients are worked out."""

    lost: tuple[tuple[AgentId, Exception], ...] = ()  # recipients that cannot be, and why
    outside: int = 0  # deliveries that wait before a full mailbox, and the publisher with them
    reply: Reply | None = None  # where the publisher waits for that
    _waits: dict[Delivery, None] | None = None  # see `waits`
    error: BaseException | None = None

    def __init__(
        self, message: Any, sender: AgentId | None, parent: Envelope | None, topic: TopicId
    ) -> None:
        self.message = message
        self.sender = sender
        self.parent = parent
        self.topic = topic

    @property
    def waits(self) -> dict[Delivery, None]:
        """What its publisher waits for, noted with its callers: few publishers wait."""
        if self._waits is None:
            self._waits = {}
        return self._waits

    def is_for(self, activation: Activation) -> bool:
        """Whether this agent is among its recipients, as far as they are known."""
        return any(delivery.activation is activation for delivery in self.deliveries or ())


class Farewell(Envelope):
    """Not a message: the wish to close an agent, in its place among the agent's messages."""

    error: BaseException | None = None
    intercepted = True

    def __init__(
        self,
        activation: Activation,
        *,
        parent: Envelope | None = None,
        reply: Reply | None = None,
        keep_state: bool = False,
    ) -> None:
        super().__init__(None, None, parent)
        self.activation = activation
        self.recipient = activation.id
        self.reply = reply
        self.keep_state = keep_state

    @property
    def caller(self) -> Envelope | None:
        """The envelope whose handler waits for this."""
        return self.parent

    def give_up(self) -> bool:
        """Take the wish back, if nobody has begun to fulfil it; return whether that was so."""
        if self.stage is not QUEUED or self.cleared:
            return False
        self.stage = SETTLED
        assert self.activation is not None
        self.activation.stay(self)
        return True


class Errand(Envelope):
    """Not a message: what a task outside of handlers does with an agent, such as making it."""

    stage = TAKEN

    def __init__(self, parent: Envelope | None, activation: Activation) -> None:
        super().__init__(None, None, parent)
        self.activation = activation
        self.recipient = activation.id

    @property
    def caller(self) -> Envelope | None:
        """The envelope whose handler waits for this."""
        return self.parent


class Look(Errand):
    """An errand while nothing may be handled: an agent's state is saved, or loaded."""


class Loading(Errand):
    """An errand around another: an agent whose state is to be loaded is had, and may be made."""
