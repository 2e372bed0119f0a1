"""The arguments of the Ollama client's constructor, and its configuration: AutoGen's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Required

from pydantic import BaseModel, Field

# typing's own is refused by pydantic before Python 3.12.
from typing_extensions import TypedDict

from ...models._model_info import ModelCapabilities, ModelInfo
from ._config import ClientConfig, Headers
from ._tokens import TokenCounter

__all__ = ["BaseOllamaClientConfigurationConfigModel", "OllamaClientConfiguration"]


class OllamaClientConfiguration(TypedDict, total=False):
    """What an `OllamaChatCompletionClient` is made of.

    Attributes:
        model: The model's name, with a tag or without.
        host: Where the server is; None for ``OLLAMA_HOST``, or this machine.
        response_format: What answers look like: a pydantic model, a JSON schema, or ``"json"``.
        follow_redirects: Whether redirects are followed; they are if nothing is said.
        timeout: Seconds that each wait may take; None for any time, as models are loaded first.
        headers: Headers of each request.
        options: Options of the model, such as ``temperature`` and ``num_ctx``.
        think: Whether the model thinks before it answers, or how hard.
        keep_alive: How long the server keeps the model in memory after a request.
        http_options: Further arguments of ``httpx.AsyncClient``. They cannot be dumped. The number
            of connections has no limit here; with a limit, requests that are cancelled while they
            wait for a connection use up httpx's pool.
        token_counter: Counts tokens; None for `estimate_tokens`. It cannot be dumped.
    """

    model: Required[str]
    host: str | None
    response_format: type[BaseModel] | dict[str, Any] | str | None
    follow_redirects: bool
    timeout: float | None
    headers: Mapping[str, str] | None
    model_capabilities: ModelCapabilities | None
    model_info: ModelInfo | None
    token_limit: int | None
    options: Mapping[str, Any] | None
    think: bool | str | None
    keep_alive: float | str | None
    http_options: Mapping[str, Any] | None
    token_counter: TokenCounter | None


class BaseOllamaClientConfigurationConfigModel(ClientConfig):
    """The configuration of an `OllamaChatCompletionClient`."""

    host: str | None = None
    response_format: dict[str, Any] | str | None = None
    follow_redirects: bool = True
    timeout: float | None = Field(default=None, gt=0)
    headers: Headers | None = None
    options: dict[str, Any] | None = None
    think: bool | str | None = None
    keep_alive: float | str | None = None
