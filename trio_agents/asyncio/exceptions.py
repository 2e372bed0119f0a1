"""The exceptions of the runtime on asyncio: those of `trio_agents.exceptions`, but for one.

`MessageCancelled`, which the sender of a cancelled message gets, is a `CancelledError` here.
"""

from __future__ import annotations

from .._loops._asyncio import MessageCancelled as MessageCancelled
from .._sansio._facade import claim_names
from ..exceptions import (
    CantHandleException as CantHandleException,
    ComponentError as ComponentError,
    ComponentNotAllowed as ComponentNotAllowed,
    DeadlockError as DeadlockError,
    InvalidIdentifier as InvalidIdentifier,
    MessageDecodeError as MessageDecodeError,
    MessageDroppedException as MessageDroppedException,
    MessageEncodeError as MessageEncodeError,
    NotAccessibleError as NotAccessibleError,
    Overloaded as Overloaded,
    StateError as StateError,
    StateFileConflict as StateFileConflict,
    StateFileCorrupt as StateFileCorrupt,
    StateFileTooNew as StateFileTooNew,
    StateFileUnconfirmed as StateFileUnconfirmed,
    UndeliverableException as UndeliverableException,
    UnknownAgentType as UnknownAgentType,
)

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
    "StateFileConflict",
    "StateFileCorrupt",
    "StateFileTooNew",
    "StateFileUnconfirmed",
    "UndeliverableException",
    "UnknownAgentType",
]

claim_names(__name__, globals())
