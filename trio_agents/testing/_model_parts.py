"""What there is in the model of the runtime: messages, agents, and who waits for them."""

from __future__ import annotations

import math

import attrs

from .._sansio._identifiers import AgentId, TopicId
from ._acts import Kind, Message

__all__ = ["Agent", "Envelope", "Scope", "Visit", "Wish"]


@attrs.define(eq=False)
class Scope:
    """What may cancel a wait: somebody, or a time. A handler's are inside of its message's."""

    name: str = ""  # of the call it is around, if it is one
    inside: Envelope | None = None
    told: int = 0  # how often that one was cancelled before, on asyncio
    deadline: float = math.inf
    cancelled: bool = False


@attrs.define(eq=False)
class Envelope:
    """A message on its way to one agent, or a publication that is to become several of those."""

    message: Message
    scope: Scope  # that it was submitted in
    is_request: bool
    to: AgentId | None = None
    topic: TopicId | None = None
    sender: AgentId | None = None
    token: str | None = None

    deliveries: list[Envelope] = attrs.Factory(list["Envelope"])  # of a publication, if known
    refused: bool = False  # a publication whose publisher would wait for room for ever
    rivals: list[Envelope] = attrs.Factory(list["Envelope"])  # requests refused unless it is

    submitted: str | None = None  # what came of its submission
    linked: int = 0  # its place among those that a token would cancel
    stream: list[Envelope] = attrs.Factory(list["Envelope"])  # whose turns come one after the other
    at_work: bool = False  # with an intervention handler, a factory or its handler
    held: bool = False  # it had to wait since its turn, and lets others pass
    held_since: int = 0  # which rest was the last before
    lost: bool = False  # it is one of a publication, and its agent type was unknown
    begun: bool = False
    outlives: bool = False  # it was at work when the runtime was stopped, and may go on
    pressed: bool = False  # a stop's deadline has passed
    ended: bool = False  # an error has ended the block
    told: int = 0  # how often it was cancelled, on asyncio
    asks: Envelope | None = None  # the request that its handler waits for
    tells: Envelope | None = None  # the publication for which its handler waits for room
    result: str | None = None  # what its sender gets

    def __str__(self) -> str:
        return self.message.name if self.to is None else f"{self.message.name}@{self.to}"


@attrs.define(eq=False)
class Visit:
    """Somebody who needs an agent, and has no message for it."""

    scope: Scope
    is_loaded: bool = False  # it gives the agent a state, in place of one that was kept
    result: str | None = None  # what the factory raised


@attrs.define(eq=False)
class Wish:
    """Somebody who wants an agent to be let go of. It stands in line like a message."""

    at_work: bool = False
    granted: bool = False  # its turn has come
    refused: bool = False  # the runtime was stopped before its turn, or an error ends the block


@attrs.define(eq=False)
class Agent:
    """What there is of an agent, if only a message that waits for it."""

    id: AgentId
    kind: Kind
    alive: bool = False
    tries: int = 0  # calls of the factory
    maker: Envelope | Visit | None = None
    visits: list[Visit] = attrs.Factory(list["Visit"])
    line: list[Envelope | Wish] = attrs.Factory(
        list["Envelope | Wish"]
    )  # that wait for it, in order of their turns
    mailbox: list[Envelope] = attrs.Factory(list["Envelope"])  # all to it that have not begun
    running: list[Envelope] = attrs.Factory(list["Envelope"])
    closing: bool = False
    used: bool = False  # since it was last closed
    notes: list[str] = attrs.Factory(list[str])  # its state: the messages that it has begun
    quiet_since: float = 0.0  # it has handled nothing
    free_since: float = 0.0  # nothing was on its way to it either
