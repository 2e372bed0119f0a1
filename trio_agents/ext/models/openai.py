"""Clients for OpenAI, Azure OpenAI, and every server with OpenAI's API. Extra ``openai``.

Importing this imports no SDK; making a client does.
"""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._azure_openai_client import (
    AzureOpenAIChatCompletionClient as AzureOpenAIChatCompletionClient,
)
from ._openai_client import (
    BaseOpenAIChatCompletionClient as BaseOpenAIChatCompletionClient,
    OpenAIChatCompletionClient as OpenAIChatCompletionClient,
)
from ._openai_config import (
    AzureOpenAIClientConfiguration as AzureOpenAIClientConfiguration,
    AzureOpenAIClientConfigurationConfigModel as AzureOpenAIClientConfigurationConfigModel,
    BaseOpenAIClientConfigurationConfigModel as BaseOpenAIClientConfigurationConfigModel,
    CreateArguments as CreateArguments,
    CreateArgumentsConfigModel as CreateArgumentsConfigModel,
    OpenAIClientConfiguration as OpenAIClientConfiguration,
    OpenAIClientConfigurationConfigModel as OpenAIClientConfigurationConfigModel,
    ResponseFormat as ResponseFormat,
)
from ._tokens import TokenCounter as TokenCounter, estimate_tokens as estimate_tokens

__all__ = [
    "AzureOpenAIChatCompletionClient",
    "AzureOpenAIClientConfiguration",
    "AzureOpenAIClientConfigurationConfigModel",
    "BaseOpenAIChatCompletionClient",
    "BaseOpenAIClientConfigurationConfigModel",
    "CreateArguments",
    "CreateArgumentsConfigModel",
    "OpenAIChatCompletionClient",
    "OpenAIClientConfiguration",
    "OpenAIClientConfigurationConfigModel",
    "ResponseFormat",
    "TokenCounter",
    "estimate_tokens",
]

claim_names(__name__, globals())
