"""The conversations that agents have with models, and how much of them a model is shown."""

from __future__ import annotations

from .._sansio._facade import claim_names
from ._buffered import BufferedChatCompletionContext as BufferedChatCompletionContext
from ._context import (
    ChatCompletionContext as ChatCompletionContext,
    ChatCompletionContextState as ChatCompletionContextState,
)
from ._head_and_tail import HeadAndTailChatCompletionContext as HeadAndTailChatCompletionContext
from ._token_limited import TokenLimitedChatCompletionContext as TokenLimitedChatCompletionContext
from ._unbounded import UnboundedChatCompletionContext as UnboundedChatCompletionContext

__all__ = [
    "BufferedChatCompletionContext",
    "ChatCompletionContext",
    "ChatCompletionContextState",
    "HeadAndTailChatCompletionContext",
    "TokenLimitedChatCompletionContext",
    "UnboundedChatCompletionContext",
]

claim_names(__name__, globals())
