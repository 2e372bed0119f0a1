"""Our own exceptions in AutoGen's terms: each is what both libraries call it.

Only what the core raises by itself is translated. What a handler raises reaches its sender as the
very object.
"""

from __future__ import annotations

from typing import Final, NoReturn

from autogen_core import exceptions as autogen

from .._sansio import _errors as ours

__all__ = ["OURS", "raise_in_autogens_terms"]


class UndeliverableException(autogen.UndeliverableException, ours.UndeliverableException):
    """The message was not handled and never will be: nobody took it before its runtime stopped."""


class UnknownAgentType(UndeliverableException, ours.UnknownAgentType):
    """The recipient's agent type has no factory and no registered instance."""


class Overloaded(UndeliverableException, ours.Overloaded):
    """A bound was reached (``max_pending`` or ``mailbox_size``) and its policy is to refuse."""


class MessageDroppedException(autogen.MessageDroppedException, ours.MessageDroppedException):
    """An intervention handler dropped the message, or the reply to it."""


# The most special first.
_PAIRS: Final[tuple[tuple[type[Exception], type[Exception]], ...]] = (
    (ours.UnknownAgentType, UnknownAgentType),
    (ours.Overloaded, Overloaded),
    (ours.UndeliverableException, UndeliverableException),
    (ours.MessageDroppedException, MessageDroppedException),
)

# What is worth a look whether it has to be translated.
OURS: Final = (ours.UndeliverableException, ours.MessageDroppedException)


def raise_in_autogens_terms(error: Exception) -> NoReturn:
    """Raise *error*, one of `OURS`, as an exception that is AutoGen's too: itself if it is one."""
    if isinstance(error, (autogen.UndeliverableException, autogen.MessageDroppedException)):
        raise error
    both = next(both for known, both in _PAIRS if isinstance(error, known))
    raise both(*error.args) from None
