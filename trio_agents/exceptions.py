"""The exceptions of the runtime. Those that AutoGen Core has too have its names."""

from __future__ import annotations

from ._sansio._errors import (
    CantHandleException as CantHandleException,
    ComponentError as ComponentError,
    ComponentNotAllowed as ComponentNotAllowed,
    DeadlockError as DeadlockError,
    InvalidIdentifier as InvalidIdentifier,
    MessageCancelled as MessageCancelled,
    MessageDecodeError as MessageDecodeError,
    MessageDroppedException as MessageDroppedException,
    MessageEncodeError as MessageEncodeError,
    NotAccessibleError as NotAccessibleError,
    Overloaded as Overloaded,
    StateError as StateError,
    UndeliverableException as UndeliverableException,
    UnknownAgentType as UnknownAgentType,
)
from ._sansio._facade import claim_names
from ._sansio._state_file_values import (
    StateFileConflict as StateFileConflict,
    StateFileCorrupt as StateFileCorrupt,
    StateFileTooNew as StateFileTooNew,
    StateFileUnconfirmed as StateFileUnconfirmed,
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
