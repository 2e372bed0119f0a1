"""The arguments of the Anthropic client's constructor, and its configuration: AutoGen's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Required

from pydantic import BaseModel, Field, SecretStr

# typing's own is refused by pydantic before Python 3.12.
from typing_extensions import TypedDict

from ...models._model_info import ModelCapabilities, ModelInfo
from ._config import ClientConfig, Headers, ResponseFormat
from ._tokens import TokenCounter

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "CREATE_ARGUMENTS",
    "AnthropicClientConfiguration",
    "AnthropicClientConfigurationConfigModel",
    "CreateArgumentsConfigModel",
    "ThinkingConfig",
]


class ThinkingConfig(TypedDict, total=False):
    """Whether the model thinks before it answers.

    Attributes:
        type: Newer models take ``adaptive``, and older ones ``enabled`` with a budget.
        budget_tokens: How many tokens it may think.
        display: Whether the thoughts are told.
    """

    type: Required[Literal["enabled", "disabled", "adaptive"]]
    budget_tokens: int | None
    display: Literal["summarized", "omitted"] | None


class AnthropicClientConfiguration(TypedDict, total=False):
    """What an `AnthropicChatCompletionClient` is made of.

    Attributes:
        model: The model's name.
        max_tokens: How long an answer may be, 4096 if nothing is said: the API wants to know.
        temperature: Newer models refuse it. 1.0 is their default, and not sent.
        thinking: Whether and how the model thinks.
        response_format: What answers look like; see the client.
        api_key: The key; None for ``ANTHROPIC_API_KEY``.
        timeout: Seconds that each try may take, and each wait for a piece; None for the SDK's.
        max_retries: How often the SDK tries again; None for its own number, 2.
        default_headers: Headers of each request.
        tools: Tools that the API itself has, for each request, in its own words.
        tool_choice: What a call means that says ``auto``, in the API's words.
        http_client: The HTTP client to use, such as one with other limits or a proxy. The caller
            closes it. It cannot be dumped.
        token_counter: Counts tokens; None for `estimate_tokens`. It cannot be dumped.
    """

    model: Required[str]
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop_sequences: list[str] | None
    response_format: ResponseFormat | type[BaseModel] | None
    metadata: dict[str, str] | None
    thinking: ThinkingConfig | None
    api_key: str | SecretStr | None
    base_url: str | None
    model_capabilities: ModelCapabilities | None
    model_info: ModelInfo | None
    token_limit: int | None
    timeout: float | None
    max_retries: int | None
    default_headers: Mapping[str, str] | None
    tools: list[dict[str, Any]] | None
    tool_choice: Literal["auto", "any", "none"] | dict[str, Any] | None
    http_client: httpx2.AsyncClient | None
    token_counter: TokenCounter | None


class CreateArgumentsConfigModel(BaseModel):
    """Arguments of each request, in a configuration."""

    max_tokens: int | None = 4096
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: dict[str, str] | None = None
    thinking: ThinkingConfig | None = None


#: The fields that go into each request.
CREATE_ARGUMENTS = frozenset(CreateArgumentsConfigModel.model_fields)


class AnthropicClientConfigurationConfigModel(CreateArgumentsConfigModel, ClientConfig):
    """The configuration of an `AnthropicChatCompletionClient`."""

    response_format: ResponseFormat | None = None
    api_key: SecretStr | None = None
    base_url: str | None = None
    timeout: float | None = Field(default=None, gt=0)
    max_retries: int | None = None
    default_headers: Headers | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "any", "none"] | dict[str, Any] | None = None
