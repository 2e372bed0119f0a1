"""A client for Anthropic. Extra ``anthropic``.

Importing this imports no SDK; making a client does.
"""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._anthropic_client import AnthropicChatCompletionClient as AnthropicChatCompletionClient
from ._anthropic_config import (
    AnthropicClientConfiguration as AnthropicClientConfiguration,
    AnthropicClientConfigurationConfigModel as AnthropicClientConfigurationConfigModel,
    CreateArgumentsConfigModel as CreateArgumentsConfigModel,
    ThinkingConfig as ThinkingConfig,
)

__all__ = [
    "AnthropicChatCompletionClient",
    "AnthropicClientConfiguration",
    "AnthropicClientConfigurationConfigModel",
    "CreateArgumentsConfigModel",
    "ThinkingConfig",
]

claim_names(__name__, globals())
