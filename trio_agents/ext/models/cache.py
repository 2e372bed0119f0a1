"""A model client that keeps what another one has answered. Needs no extra."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._cache import (
    CHAT_CACHE_VALUE_TYPE as CHAT_CACHE_VALUE_TYPE,
    ChatCompletionCache as ChatCompletionCache,
)

__all__ = ["CHAT_CACHE_VALUE_TYPE", "ChatCompletionCache"]

claim_names(__name__, globals())
