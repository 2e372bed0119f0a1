"""Every exception the library raises on its own account, one class per situation.

The first four carry the names of AutoGen Core's ``exceptions`` module, so that code which catches
them moves by changing an import. Where a builtin says the same thing (a ``LookupError`` for a name
that is not there, a ``ValueError`` for a value that cannot be), our class derives from it.
"""

from __future__ import annotations

__all__ = [
    "CantHandleException",
    "ComponentError",
    "ComponentNotAllowed",
    "DeadlockError",
    "InvalidIdentifier",
    "MessageCancelled",
    "MessageDecodeError",
    "MessageDroppedException",
    "MessageEncodeError",
    "NotAccessibleError",
    "Overloaded",
    "StateError",
    "UndeliverableException",
    "UnknownAgentType",
]


class CantHandleException(Exception):
    """An agent has no handler for the message, or a subscription cannot map the topic."""


class UndeliverableException(Exception):
    """The message was not handled and never will be: nobody took it before its runtime stopped."""


class MessageDroppedException(Exception):
    """An intervention handler dropped the message, or the reply to it."""


class NotAccessibleError(Exception):
    """The agent exists but its object cannot be handed out, because it lives somewhere else."""


class UnknownAgentType(UndeliverableException, LookupError):
    """The recipient's agent type has no factory and no registered instance."""


class Overloaded(UndeliverableException):
    """A bound was reached (``max_pending`` or ``mailbox_size``) and its policy is to refuse."""


class MessageCancelled(Exception):
    """The message was cancelled: by its `CancellationToken`, or by a stop whose deadline passed.

    It is an ordinary exception, unlike the event loop's own cancellation, which only ever reaches
    those whose own scope was cancelled.
    """


class DeadlockError(RuntimeError):
    """Two call chains would have waited for each other for ever; the message names the path."""


class InvalidIdentifier(ValueError):
    """An agent type, agent key, topic type or topic source breaks the rules for identifiers."""


class MessageEncodeError(ValueError):
    """A message cannot be expressed in its content type."""


class MessageDecodeError(ValueError):
    """Bytes that claim to be a message are not one: malformed, hostile, or of another shape."""


class StateError(ValueError):
    """A saved state cannot be written (not JSON) or cannot be loaded (not ours, unknown types)."""


class ComponentError(ValueError):
    """A component cannot be dumped, or not be made from its description."""


class ComponentNotAllowed(ComponentError):
    """The `ComponentPolicy` does not allow the provider, or the program its configuration carries.

    Nothing was imported and nothing was run.
    """
