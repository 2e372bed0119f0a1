"""Two intervention handlers: one counts messages, the other writes down who sent what to whom.

An intervention handler sees every message before it goes on. These change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trio_agents import (
    AgentId,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    Subscription,
    TopicId,
)

from ._messages import Document, Finding, Skipped

__all__ = ["Counter", "Counts", "Exchange", "Recorder"]

Seen = Any | type[DropMessage]


@dataclass(slots=True)
class Counts:
    """How many messages there were, and what has become of the documents."""

    sent: int = 0
    published: int = 0
    answered: int = 0
    read: int = 0
    remembered: int = 0
    skipped: int = 0

    @property
    def messages(self) -> int:
        """How many there were of all kinds."""
        return self.sent + self.published + self.answered


class Counter(DefaultInterventionHandler):
    """Counts messages, and tells *listener* of each document that is done with."""

    def __init__(self, listener: Callable[[Finding | Skipped], None]) -> None:
        self.counts = Counts()
        self._listener = listener

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Seen:
        self.counts.sent += 1
        return message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Seen:
        self.counts.published += 1
        if isinstance(message, Finding):
            self.counts.read += 1
            self.counts.remembered += message.remembered
            self._listener(message)
        elif isinstance(message, Skipped):
            self.counts.skipped += 1
            self._listener(message)
        return message

    async def on_response(
        self, message: Any, *, sender: AgentId, recipient: AgentId | None
    ) -> Seen:
        self.counts.answered += 1
        return message


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message: who sent what to whom. None is the application.

    Attributes:
        about: The source of the document it is about; None for one about no single document.
        verb: "publishes", "asks" or "answers".
    """

    about: str | None
    sender: AgentId | None
    recipient: AgentId | TopicId | None
    verb: str
    what: str


class Recorder(DefaultInterventionHandler):
    """Writes down every message.

    A publication names a topic and not who hears it. That is worked out by *subscriptions*, which
    are plain rules.
    """

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self.exchanges: list[Exchange] = []
        self._subscriptions = subscriptions

    def _note(
        self,
        message: Any,
        sender: AgentId | None,
        recipient: AgentId | TopicId | None,
        verb: str,
    ) -> None:
        about = message.source if isinstance(message, (Document, Finding, Skipped)) else None
        what = f"{type(message).__name__} ({message})"
        self.exchanges.append(Exchange(about, sender, recipient, verb, what))

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Seen:
        self._note(message, message_context.sender, recipient, "asks")
        return message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Seen:
        topic = message_context.topic_id
        assert topic is not None
        hearing: list[AgentId | TopicId] = [
            one.map_to_agent(topic) for one in self._subscriptions if one.is_match(topic)
        ]
        for recipient in hearing or [topic]:
            self._note(message, message_context.sender, recipient, "publishes")
        return message

    async def on_response(
        self, message: Any, *, sender: AgentId, recipient: AgentId | None
    ) -> Seen:
        self._note(message, sender, recipient, "answers")
        return message
