"""What agents know besides the conversation. For both event loops."""

from __future__ import annotations

from .._sansio._facade import claim_names
from ._list_memory import ListMemory as ListMemory
from ._memory import (
    Memory as Memory,
    MemoryContent as MemoryContent,
    MemoryMimeType as MemoryMimeType,
    MemoryQueryResult as MemoryQueryResult,
    UpdateContextResult as UpdateContextResult,
)

__all__ = [
    "ListMemory",
    "Memory",
    "MemoryContent",
    "MemoryMimeType",
    "MemoryQueryResult",
    "UpdateContextResult",
]

claim_names(__name__, globals())
