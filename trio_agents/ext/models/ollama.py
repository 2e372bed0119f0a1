"""A client for Ollama. Extra ``ollama``.

Importing this imports no SDK; making a client does.
"""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._ollama_client import OllamaChatCompletionClient as OllamaChatCompletionClient
from ._ollama_config import (
    BaseOllamaClientConfigurationConfigModel as BaseOllamaClientConfigurationConfigModel,
    OllamaClientConfiguration as OllamaClientConfiguration,
)

__all__ = [
    "BaseOllamaClientConfigurationConfigModel",
    "OllamaChatCompletionClient",
    "OllamaClientConfiguration",
]

claim_names(__name__, globals())
