"""`AnthropicChatCompletionClient`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self, Unpack, cast

from pydantic import BaseModel

from ..._components._component import Component
from ..._components._extras import import_extra
from ..._components._tool_schema import ToolSchema
from ...models._client import ToolChoice
from ...models._messages import CreateResult, LLMMessage
from ._anthropic_answers import Assembly, Block, from_message
from ._anthropic_config import (
    CREATE_ARGUMENTS,
    AnthropicClientConfiguration,
    AnthropicClientConfigurationConfigModel,
)
from ._anthropic_messages import (
    called_tools,
    system_text,
    to_messages,
    to_tool_choice,
    to_tools,
)
from ._anthropic_models import MODELS
from ._base import SdkClient
from ._beside_calls import BesideCalls
from ._config import as_options, given, plain_headers, taken_apart
from ._sdk import accepted_arguments, check_arguments, in_terms_of

__all__ = ["AnthropicChatCompletionClient"]

_OURS: Final = ("messages", "stream", "system")
# Arguments of the API that newer SDKs do not have, as newer models refuse them.
_SAMPLING: Final = frozenset({"temperature", "top_p", "top_k"})
_OBJECTS: Final = ("http_client", "token_counter")
_JSON: Final = "Answer with one JSON object and nothing around it."


class AnthropicChatCompletionClient(SdkClient, Component[AnthropicClientConfigurationConfigModel]):
    """Asks models of Anthropic. Extra ``anthropic``.

    ::

        client = AnthropicChatCompletionClient(model="claude-sonnet-4-5")  # ANTHROPIC_API_KEY
        result = await client.create([UserMessage(content="What is trio?", source="user")])
        await client.close()

    The API has no JSON mode: ``json_output=True`` asks for JSON in the system message. A pydantic
    model is sent as a schema, if the model has ``structured_output``. Where a model thinks
    (*thinking*), the client keeps its signed thoughts until the results of the tools are sent.

    One client belongs to one event loop: its connections do.
    """

    component_config_schema = AnthropicClientConfigurationConfigModel
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.models.anthropic.AnthropicChatCompletionClient"
    )
    _own_names: Mapping[str, str] = MappingProxyType({"stop": "stop_sequences"})

    def __init__(self, **options: Unpack[AnthropicClientConfiguration]) -> None:
        """Make the SDK's client. Nothing is sent.

        Args:
            **options: `AnthropicClientConfiguration` says what they are.

        Raises:
            ImportError: the SDK is not installed.
            TypeError: an argument is missing, unknown or of another type.
            ValueError: the model is not known by name, and *model_info* does not tell.
        """
        config, objects, output_type = taken_apart(
            AnthropicClientConfigurationConfigModel,
            type(self).__name__,
            options,
            _OBJECTS,
            response_format,
        )
        connection = {
            "api_key": config.api_key.get_secret_value() if config.api_key else None,
            "base_url": config.base_url,
            "timeout": config.timeout,
            "max_retries": config.max_retries,
            "default_headers": plain_headers(config.default_headers),
            "http_client": objects.get("http_client"),
        }
        self._sdk = import_extra("anthropic", "anthropic", purpose="its client").AsyncAnthropic(
            **{name: value for name, value in connection.items() if value is not None}
        )
        super().__init__(
            model=config.model,
            model_info=MODELS.info(config.model, config.model_info, config.model_capabilities),
            token_limit=config.token_limit or MODELS.token_limit(config.model),
            token_counter=objects.get("token_counter"),
            output_type=output_type,
            undumped={name: objects[name] for name in objects if name != "token_counter"},
        )
        self._config = config
        self._by_sdk = accepted_arguments(self._sdk.messages.create, _OURS)
        self._create_arguments = given(config, CREATE_ARGUMENTS)
        if config.temperature == 1:
            # AutoGen writes it into each configuration. It is what models do by themselves.
            del self._create_arguments["temperature"]
        self._beside = BesideCalls[list[Block]](lambda call: call.id)

    def _request(
        self,
        messages: Sequence[LLMMessage],
        tools: Sequence[ToolSchema],
        tool_choice: ToolChoice,
        json_output: bool | type[BaseModel] | None,
        extra: Mapping[str, Any],
    ) -> dict[str, Any]:
        check_arguments(
            extra,
            self._by_sdk | _SAMPLING | {"response_format"},
            "extra_body takes what the SDK does not know",
        )
        request: dict[str, Any] = {"model": self._model, **self._create_arguments}
        wanted: Any = {} if json_output is False else self._config.response_format or {}
        if json_output:
            wanted = response_format(json_output)
        wanted = extra.get("response_format", wanted)
        if wanted.get("type") == "json_schema":
            schema = wanted["json_schema"]["schema"]
            # Beside the schema stand other things in it, such as the effort.
            extra = {
                **extra,
                "output_config": {
                    "format": {"type": "json_schema", "schema": schema},
                    **(extra.get("output_config") or {}),
                },
            }
        system = system_text(messages, _JSON if wanted.get("type") == "json_object" else "")
        if system:
            request["system"] = system
        request |= self._tools(messages, tools, tool_choice)
        request |= {name: extra[name] for name in extra if name != "response_format"}
        dropped = {name: request.pop(name) for name in _SAMPLING - self._by_sdk if name in request}
        if dropped:
            request["extra_body"] = {**dropped, **(request.get("extra_body") or {})}
        request["messages"] = to_messages(messages, self._beside.of)
        return request

    def _tools(
        self, messages: Sequence[LLMMessage], tools: Sequence[ToolSchema], choice: ToolChoice
    ) -> dict[str, Any]:
        offered = [*(self._config.tools or ()), *to_tools(tools)]
        if not offered:
            called = called_tools(messages)
            return {"tools": called, "tool_choice": {"type": "none"}} if called else {}
        usual = self._config.tool_choice
        if choice != "auto" or usual is None:
            return {"tools": offered, "tool_choice": to_tool_choice(choice)}
        return {
            "tools": offered,
            "tool_choice": {"type": usual} if isinstance(usual, str) else usual,
        }

    @property
    def server(self) -> str:
        """The address of the server, whoever has said it: it may be the environment."""
        return str(self._sdk.base_url)

    async def _answer(self, request: dict[str, Any]) -> CreateResult:
        with in_terms_of("anthropic"):
            message = await self._sdk.messages.create(stream=False, **request)
        return self._beside.keep(from_message(message, _offered(request)))

    async def _pieces(self, request: dict[str, Any]) -> AsyncGenerator[str | CreateResult, None]:
        assembly = Assembly(_offered(request))
        # under_token closes this generator, however it ends, and so the block.
        with in_terms_of("anthropic"):
            async with await self._sdk.messages.create(stream=True, **request) as stream:
                assembly.kind = stream.response.headers.get("content-type")
                async for event in stream:
                    for text in assembly.add(event):
                        yield text  # noqa: ASYNC119
        yield self._beside.keep(assembly.answer())

    async def _close(self) -> None:
        # One that was handed in is its owner's to close.
        if "http_client" not in self._undumped:
            await self._sdk.close()

    def _to_config(self) -> AnthropicClientConfigurationConfigModel:
        self._check_dumpable()
        return self._config

    @classmethod
    def _from_config(cls, config: AnthropicClientConfigurationConfigModel) -> Self:
        return cls(**cast(Any, as_options(config)))


def _offered(request: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(tool["name"] for tool in request.get("tools") or () if "name" in tool)


def response_format(json_output: bool | type[BaseModel]) -> dict[str, Any]:
    """Return a description of the wanted output; the schema is one that the API takes."""
    if not isinstance(json_output, type):
        return {"type": "json_object"}
    schema = import_extra("anthropic", "anthropic", purpose="its client").transform_schema(
        json_output
    )
    return {
        "type": "json_schema",
        "json_schema": {"name": json_output.__name__, "schema": schema},
    }
