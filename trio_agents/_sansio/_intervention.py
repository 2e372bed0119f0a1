"""Intervention handlers: they see every message before it goes on, and may change or drop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

if TYPE_CHECKING:
    from ._contexts import MessageContext
    from ._identifiers import AgentId

__all__ = ["DefaultInterventionHandler", "DropMessage", "InterventionHandler"]


@final
class DropMessage:
    """Return this class from an intervention handler to drop the message.

    The sender of a dropped request or reply gets `MessageDroppedException`; a dropped publication
    reaches nobody.
    """


@runtime_checkable
class InterventionHandler(Protocol):
    """Sees messages and replies on their way; a runtime takes a list of them.

    Each gets what the one before it returned. What it returns goes on in place of the message;
    `DropMessage` drops it; None is a mistake, warned of and taken as "no change". An exception ends
    the message: a request fails with it, a publication's failure goes to the runtime's policy.

    A handler may wait: messages that must stay in order behind this one wait with it, others do
    not. It may send and publish.
    """

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any | type[DropMessage]:
        """See a message on its way to *recipient*."""
        ...

    async def on_publish(
        self, message: Any, *, message_context: MessageContext
    ) -> Any | type[DropMessage]:
        """See a publication, once, before its recipients get it, even if there are none."""
        ...

    async def on_response(
        self, message: Any, *, sender: AgentId, recipient: AgentId | None
    ) -> Any | type[DropMessage]:
        """See the reply of *sender* on its way to *recipient*, None if no agent had asked.

        Only what a handler returned comes here, exceptions do not.
        """
        ...


class DefaultInterventionHandler(InterventionHandler):
    """Changes nothing. Derive from it and override what you need."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any | type[DropMessage]:
        """Return *message* unchanged."""
        return message

    async def on_publish(
        self, message: Any, *, message_context: MessageContext
    ) -> Any | type[DropMessage]:
        """Return *message* unchanged."""
        return message

    async def on_response(
        self, message: Any, *, sender: AgentId, recipient: AgentId | None
    ) -> Any | type[DropMessage]:
        """Return *message* unchanged."""
        return message
