"""`OllamaChatCompletionClient`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self, Unpack, cast

from pydantic import BaseModel, ValidationError

from ..._components._component import Component
from ..._components._extras import import_extra
from ..._components._tool_schema import ToolSchema
from ...models._client import ToolChoice
from ...models._messages import CreateResult, LLMMessage
from ._base import SdkClient
from ._beside_calls import Beside, BesideCalls
from ._config import as_options, given, plain_headers, taken_apart
from ._ollama_config import BaseOllamaClientConfigurationConfigModel, OllamaClientConfiguration
from ._ollama_messages import Assembly, to_messages, to_tools
from ._ollama_models import MODELS, untagged
from ._ollama_tools import quietly, whole_tools
from ._sdk import accepted_arguments, check_arguments, json_only, no_answer

__all__ = ["OllamaChatCompletionClient"]

_OURS: Final = ("messages", "stream")
_OBJECTS: Final = ("http_options", "token_counter")


class OllamaChatCompletionClient(SdkClient, Component[BaseOllamaClientConfigurationConfigModel]):
    """Asks models that an Ollama server runs. Extra ``ollama``.

    ::

        client = OllamaChatCompletionClient(model="llama3.2")  # on this machine, or OLLAMA_HOST
        result = await client.create([UserMessage(content="What is trio?", source="user")])
        await client.close()

    The API cannot be told that a tool has to be called. With ``tool_choice="required"`` the model
    is offered all tools, with a tool that one, with ``"none"`` none. It does not try again by
    itself, and waits as long as it takes, unless *timeout* says how long. In ``extra_create_args``
    stand arguments of ``ollama.AsyncClient.chat``, and any option of the model.

    One client belongs to one event loop: its connections do.
    """

    component_config_schema = BaseOllamaClientConfigurationConfigModel
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.models.ollama.OllamaChatCompletionClient"
    )
    _format_argument: ClassVar[str] = "format"
    _own_names: Mapping[str, str] = MappingProxyType({"max_tokens": "num_predict"})

    def __init__(self, **options: Unpack[OllamaClientConfiguration]) -> None:
        """Make the SDK's client. Nothing is sent.

        Args:
            **options: `OllamaClientConfiguration` says what they are.

        Raises:
            ImportError: the SDK is not installed.
            TypeError: an argument is missing, unknown or of another type.
            ValueError: the model is not known by name, and *model_info* does not tell.
        """
        config, objects, output_type = taken_apart(
            BaseOllamaClientConfigurationConfigModel,
            type(self).__name__,
            options,
            _OBJECTS,
            _schema,
        )
        ollama, httpx = (
            import_extra("ollama", "ollama", purpose="its client"),
            import_extra("httpx", "ollama", purpose="the client of Ollama"),
        )
        self._sdk = ollama.AsyncClient(
            host=config.host,
            follow_redirects=config.follow_redirects,
            timeout=config.timeout,
            headers=plain_headers(config.headers),
            # httpx 0.28 loses a place in its pool for each request that is cancelled while it waits
            # for one, and a client without places waits for ever. Without a limit none waits.
            **{"limits": httpx.Limits(max_connections=None, max_keepalive_connections=20)}
            | dict(objects.get("http_options", {})),
        )
        # The SDK tells nobody whom it asks; the variable is its own.
        self._server = config.host or os.environ.get("OLLAMA_HOST", "")
        name = untagged(config.model)
        super().__init__(
            model=config.model,
            model_info=MODELS.info(name, config.model_info, config.model_capabilities),
            token_limit=config.token_limit or MODELS.token_limit(name),
            token_counter=objects.get("token_counter"),
            output_type=output_type,
            undumped={name: objects[name] for name in objects if name != "token_counter"},
        )
        self._config = config
        self._beside = BesideCalls[Beside](lambda call: call.id)  # ids are of our own making
        self._options = frozenset(ollama.Options.model_fields)
        self._accepted = accepted_arguments(self._sdk.chat, _OURS) | self._options

    def _request(
        self,
        messages: Sequence[LLMMessage],
        tools: Sequence[ToolSchema],
        tool_choice: ToolChoice,
        json_output: bool | type[BaseModel] | None,
        extra: Mapping[str, Any],
    ) -> dict[str, Any]:
        check_arguments(extra, self._accepted, "options takes what the SDK does not know")
        request: dict[str, Any] = {
            "model": self._model,
            **given(self._config, frozenset({"think", "keep_alive"})),
        }
        if json_output:
            request["format"] = _schema(json_output)
        elif json_output is None and self._config.response_format is not None:
            request["format"] = self._config.response_format
        if tool_choice != "none" and tools:
            wanted = None if isinstance(tool_choice, str) else tool_choice.name
            request["tools"] = to_tools([t for t in tools if wanted in (None, t["name"])])
        request |= {name: extra[name] for name in extra if name not in self._options}
        options: dict[str, Any] = {
            **(self._config.options or {}),
            **(extra.get("options") or {}),
            **{name: extra[name] for name in extra if name in self._options},
        }
        if options:
            request["options"] = options
        request["messages"] = to_messages(messages, self._beside.of)
        return request

    @property
    def server(self) -> str:
        """The address of the server, whoever has said it: it may be the environment."""
        return self._server

    async def _answer(self, request: dict[str, Any]) -> CreateResult:
        assembly = Assembly(self._model_info["family"], _offered(request))
        with _answers_only():
            answer = await self._chat(request, stream=False)
        for _ in assembly.add(answer):
            pass
        return self._beside.keep(assembly.answer())

    async def _pieces(self, request: dict[str, Any]) -> AsyncGenerator[str | CreateResult, None]:
        assembly = Assembly(self._model_info["family"], _offered(request))
        stream: AsyncGenerator[Any, None] = await self._chat(request, stream=True)
        try:
            with _answers_only():
                async for piece in stream:
                    for text in assembly.add(piece):
                        yield text  # noqa: ASYNC119  # under_token closes this
        finally:
            # The SDK's generator holds the connection. Closing that does not wait.
            await stream.aclose()
        yield self._beside.keep(assembly.answer())

    async def _chat(self, request: Mapping[str, Any], *, stream: bool) -> Any:
        arguments: dict[str, Any] = {**request, "stream": stream}
        if arguments.get("tools"):
            arguments["tools"] = whole_tools(arguments["tools"])
        return await quietly(self._sdk.chat(**arguments))

    async def _close(self) -> None:
        await self._sdk.close()

    def _to_config(self) -> BaseOllamaClientConfigurationConfigModel:
        self._check_dumpable()
        return self._config

    @classmethod
    def _from_config(cls, config: BaseOllamaClientConfigurationConfigModel) -> Self:
        return cls(**cast(Any, as_options(config)))


def _offered(request: Mapping[str, Any]) -> frozenset[str]:
    # Those of a caller may be objects of the SDK, or functions.
    tools: Sequence[object] = request.get("tools") or ()
    plain = [cast("dict[str, Any]", tool) for tool in tools if isinstance(tool, dict)]
    return frozenset(tool["function"]["name"] for tool in plain)


@contextmanager
def _answers_only() -> Generator[None]:
    """Make what is not an answer of a model an error that quotes it."""
    try:
        with json_only():
            yield
    except ValidationError as error:
        if error.title != "ChatResponse":
            raise
        raise no_answer(error.errors(include_url=False)[0]["input"]) from None


def _schema(json_output: bool | type[BaseModel]) -> str | dict[str, Any]:
    return json_output.model_json_schema() if isinstance(json_output, type) else "json"
