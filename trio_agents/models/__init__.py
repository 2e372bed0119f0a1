"""What agents say to models and hear from them, and the interface of model clients.

For both event loops. The clients themselves are in `trio_agents.ext.models`.
"""

from __future__ import annotations

from .._sansio._facade import claim_names
from ._client import ChatCompletionClient as ChatCompletionClient, ToolChoice as ToolChoice
from ._messages import (
    AssistantMessage as AssistantMessage,
    ChatCompletionTokenLogprob as ChatCompletionTokenLogprob,
    CreateResult as CreateResult,
    FinishReasons as FinishReasons,
    FunctionExecutionResult as FunctionExecutionResult,
    FunctionExecutionResultMessage as FunctionExecutionResultMessage,
    LLMMessage as LLMMessage,
    RequestUsage as RequestUsage,
    SystemMessage as SystemMessage,
    TopLogprob as TopLogprob,
    UserMessage as UserMessage,
)
from ._model_info import (
    ModelCapabilities as ModelCapabilities,
    ModelFamily as ModelFamily,
    ModelInfo as ModelInfo,
    validate_model_info as validate_model_info,
)

__all__ = [
    "AssistantMessage",
    "ChatCompletionClient",
    "ChatCompletionTokenLogprob",
    "CreateResult",
    "FinishReasons",
    "FunctionExecutionResult",
    "FunctionExecutionResultMessage",
    "LLMMessage",
    "ModelCapabilities",
    "ModelFamily",
    "ModelInfo",
    "RequestUsage",
    "SystemMessage",
    "ToolChoice",
    "TopLogprob",
    "UserMessage",
    "validate_model_info",
]

claim_names(__name__, globals())
