"""The constructor's arguments of the OpenAI clients, and their configuration.

Both have AutoGen's names. The arguments are typed dictionaries, so that a type checker sees them
through ``**options``; the configurations are pydantic models with the same fields, and a test
compares them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Required, TypeAlias

from pydantic import BaseModel, Field, SecretStr

# typing's own is refused by pydantic before Python 3.12.
from typing_extensions import TypedDict

from ..._components._component_model import ComponentModel
from ...models._model_info import ModelCapabilities, ModelInfo
from ._config import ClientConfig, Headers, ResponseFormat
from ._tokens import TokenCounter

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "CREATE_ARGUMENTS",
    "AzureOpenAIClientConfiguration",
    "AzureOpenAIClientConfigurationConfigModel",
    "BaseOpenAIClientConfiguration",
    "BaseOpenAIClientConfigurationConfigModel",
    "CreateArguments",
    "CreateArgumentsConfigModel",
    "OpenAIClientConfiguration",
    "OpenAIClientConfigurationConfigModel",
    "ResponseFormat",
    "StreamOptions",
    "TokenProvider",
]

#: Gives a token for each request: at once, blocking (it then runs in a thread), or awaitably.
TokenProvider: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]


class StreamOptions(TypedDict, total=False):
    """Options of streams."""

    include_usage: bool


class CreateArguments(TypedDict, total=False):
    """Arguments of each request, see the API's reference."""

    frequency_penalty: float | None
    logit_bias: dict[str, int] | None
    max_tokens: int | None
    max_completion_tokens: int | None
    n: int | None
    presence_penalty: float | None
    response_format: ResponseFormat | type[BaseModel] | None
    seed: int | None
    stop: str | list[str] | None
    temperature: float | None
    top_p: float | None
    user: str | None
    stream_options: StreamOptions | None
    parallel_tool_calls: bool | None
    reasoning_effort: str | None
    verbosity: str | None
    service_tier: str | None
    logprobs: bool | None
    top_logprobs: int | None
    extra_body: dict[str, Any] | None


class BaseOpenAIClientConfiguration(CreateArguments, total=False):
    """What both clients are made of.

    Attributes:
        api_key: The key; None for that in the environment.
        timeout: Seconds that each try may take, and each wait for a piece; None for the SDK's.
        max_retries: How often the SDK tries again; None for its own number, 2.
        add_name_prefixes: Whether a user's message begins with ``<source> said:``.
        include_name_in_message: Whether a user's message has the source as its name. The default
            is yes; some servers refuse it.
        default_headers: Headers of each request.
        http_client: The HTTP client to use, such as one with other limits or a proxy. The caller
            closes it. It cannot be dumped.
        token_counter: Counts tokens; None for `estimate_tokens`. It cannot be dumped.
    """

    model: Required[str]
    api_key: str | SecretStr | None
    timeout: float | None
    max_retries: int | None
    model_capabilities: ModelCapabilities | None
    model_info: ModelInfo | None
    token_limit: int | None
    add_name_prefixes: bool | None
    include_name_in_message: bool | None
    default_headers: Mapping[str, str] | None
    http_client: httpx2.AsyncClient | None
    token_counter: TokenCounter | None


class OpenAIClientConfiguration(BaseOpenAIClientConfiguration, total=False):
    """What an `OpenAIChatCompletionClient` is made of."""

    organization: str | None
    base_url: str | None


class AzureOpenAIClientConfiguration(BaseOpenAIClientConfiguration, total=False):
    """What an `AzureOpenAIChatCompletionClient` is made of."""

    azure_endpoint: Required[str]
    azure_deployment: str | None
    api_version: Required[str]
    azure_ad_token: str | SecretStr | None
    azure_ad_token_provider: TokenProvider | None


class CreateArgumentsConfigModel(BaseModel):
    """Arguments of each request, in a configuration."""

    frequency_penalty: float | None = None
    logit_bias: dict[str, int] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    response_format: ResponseFormat | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    stream_options: StreamOptions | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    extra_body: dict[str, Any] | None = None


#: The fields that go into each request.
CREATE_ARGUMENTS = frozenset(CreateArgumentsConfigModel.model_fields)


class BaseOpenAIClientConfigurationConfigModel(CreateArgumentsConfigModel, ClientConfig):
    """What the configurations of both clients hold."""

    api_key: SecretStr | None = None
    timeout: float | None = Field(default=None, gt=0)
    max_retries: int | None = None
    add_name_prefixes: bool | None = None
    include_name_in_message: bool | None = None
    default_headers: Headers | None = None


class OpenAIClientConfigurationConfigModel(BaseOpenAIClientConfigurationConfigModel):
    """The configuration of an `OpenAIChatCompletionClient`."""

    organization: str | None = None
    base_url: str | None = None


class AzureOpenAIClientConfigurationConfigModel(BaseOpenAIClientConfigurationConfigModel):
    """The configuration of an `AzureOpenAIChatCompletionClient`."""

    azure_endpoint: str
    azure_deployment: str | None = None
    api_version: str
    azure_ad_token: SecretStr | None = None
    azure_ad_token_provider: ComponentModel | None = None
