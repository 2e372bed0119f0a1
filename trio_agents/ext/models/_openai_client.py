"""`OpenAIChatCompletionClient`, and what it shares with the one for Azure."""

from __future__ import annotations

import os
import warnings
from abc import ABC
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, Unpack, cast

from pydantic import BaseModel

from ..._components._component import Component
from ..._components._extras import import_extra
from ..._components._tool import Tool
from ..._components._tool_schema import ToolSchema
from ..._sansio._cancellation import CancellationToken
from ...models._client import ToolChoice
from ...models._messages import CreateResult, LLMMessage
from ...models._model_info import ModelFamily
from ._base import SdkClient
from ._beside_calls import Beside, BesideCalls
from ._calls import as_name
from ._config import as_options, given, plain_headers, taken_apart
from ._known_models import is_same_model
from ._openai_answers import Assembly, from_completion
from ._openai_config import (
    CREATE_ARGUMENTS,
    BaseOpenAIClientConfigurationConfigModel,
    OpenAIClientConfiguration,
    OpenAIClientConfigurationConfigModel,
)
from ._openai_messages import to_messages, to_tool_choice, to_tools
from ._openai_models import MODELS, home_of
from ._sdk import accepted_arguments, check_arguments, in_terms_of

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["BaseOpenAIChatCompletionClient", "OpenAIChatCompletionClient"]

# What the client itself says, and what asks for answers that it would not understand.
_OURS: Final = ("messages", "stream", "functions", "function_call", "n")
# Both say how many tokens an answer may have. Models that think take the second one only.
_MOST: Final = {"max_tokens": "max_completion_tokens"}
_THINKING: Final = (ModelFamily.GPT_5, ModelFamily.O1, ModelFamily.O3, ModelFamily.O4)
# Arguments of the constructors that no configuration can describe.
OBJECTS: Final = ("http_client", "token_counter")


class BaseOpenAIChatCompletionClient(SdkClient, ABC):
    """What talks to a server with OpenAI's chat completions, whoever runs it."""

    def __init__(
        self,
        sdk: AsyncOpenAI,
        config: BaseOpenAIClientConfigurationConfigModel,
        output_type: type[BaseModel] | None,
        objects: Mapping[str, Any],
    ) -> None:
        if config.n not in (None, 1):
            raise ValueError("n must be 1: a CreateResult is one answer")
        super().__init__(
            model=config.model,
            model_info=MODELS.info(config.model, config.model_info, config.model_capabilities),
            token_limit=config.token_limit or MODELS.token_limit(config.model),
            token_counter=objects.get("token_counter"),
            output_type=output_type,
            undumped={name: objects[name] for name in objects if name != "token_counter"},
        )
        self._sdk = sdk
        self._config = config
        self._beside = BesideCalls[Beside](lambda call: (call.id, call.name, call.arguments))
        self._accepted = accepted_arguments(sdk.chat.completions.create, _OURS)
        self._create_arguments = given(config, CREATE_ARGUMENTS - {"n"})
        if self._model_info["family"] in _THINKING:
            self._own_names = _MOST
            for name in _MOST.keys() & self._create_arguments.keys():
                value = self._create_arguments.pop(name)
                self._create_arguments.setdefault(_MOST[name], value)

    # What usage costs while streaming depends on the server: it counts only if it is asked to.
    def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: ToolChoice = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] = {},
        cancellation_token: CancellationToken | None = None,
        include_usage: bool | None = None,
    ) -> AsyncGenerator[str | CreateResult, None]:
        """Make one request and give the answer piece by piece: texts, and last a `CreateResult`.

        As `create`, but for the usage: it is zero unless the server is asked to count, by
        *include_usage* or by ``stream_options={"include_usage": True}``. What a model thinks comes
        first, between the texts ``<think>`` and ``</think>``; in the result it is the ``thought``.
        Leaving the loop early leaves the connection to the garbage collector;
        ``async with aclosing(client.create_stream(...)) as stream`` closes it at once.
        """
        if include_usage is not None:
            options = {"include_usage": include_usage}
            extra_create_args = {**extra_create_args, "stream_options": options}
        return super().create_stream(
            messages,
            tools=tools,
            tool_choice=tool_choice,
            json_output=json_output,
            extra_create_args=extra_create_args,
            cancellation_token=cancellation_token,
        )

    def _request(
        self,
        messages: Sequence[LLMMessage],
        tools: Sequence[ToolSchema],
        tool_choice: ToolChoice,
        json_output: bool | type[BaseModel] | None,
        extra: Mapping[str, Any],
    ) -> dict[str, Any]:
        check_arguments(extra, self._accepted, "extra_body takes what the SDK does not know")
        request: dict[str, Any] = {"model": self._model, **self._create_arguments}
        if json_output is False:
            request.pop("response_format", None)
        elif json_output is not None:
            request["response_format"] = response_format(json_output)
        if tools:
            request["tools"] = to_tools(tools)
            request["tool_choice"] = to_tool_choice(tool_choice)
        else:
            request.pop("parallel_tool_calls", None)  # refused where there are no tools
        for names in _MOST.items():
            if extra.keys() & {*names}:  # the API refuses both
                request = {name: request[name] for name in request if name not in names}
        request |= extra
        request["messages"] = to_messages(
            messages,
            self._model_info["family"],
            self._beside.of,
            add_name_prefixes=bool(self._config.add_name_prefixes),
            include_name=self._config.include_name_in_message is not False,
        )
        return request

    @property
    def server(self) -> str:
        """The address of the server, whoever has said it: it may be the environment."""
        return str(self._sdk.base_url)

    async def _answer(self, request: dict[str, Any]) -> CreateResult:
        request.pop("stream_options", None)  # refused unless it is a stream
        with in_terms_of("openai"):
            completion = await self._sdk.chat.completions.create(stream=False, **request)
        answer = from_completion(completion, self._model_info["family"])
        self._compare(request["model"], completion.model)
        return self._beside.keep(answer)

    async def _pieces(self, request: dict[str, Any]) -> AsyncGenerator[str | CreateResult, None]:
        assembly = Assembly(self._model_info["family"])
        # under_token closes this generator, however it ends, and so the block.
        with in_terms_of("openai"):
            async with await self._sdk.chat.completions.create(stream=True, **request) as stream:
                assembly.kind = stream.response.headers.get("content-type")
                async for chunk in stream:
                    for text in assembly.add(chunk):
                        yield text  # noqa: ASYNC119
        answer = assembly.answer()
        self._compare(request["model"], assembly.model)
        yield self._beside.keep(answer)

    def _compare(self, asked: str, answered: str | None) -> None:
        if answered and not is_same_model(asked, answered):
            warnings.warn(
                f"{asked} was asked, and {answered} has answered: what this client knows of the "
                f"model, such as its model_info, may not hold",
                UserWarning,
                stacklevel=2,
            )

    async def _close(self) -> None:
        # One that was handed in is its owner's to close.
        if "http_client" not in self._undumped:
            await self._sdk.close()


class OpenAIChatCompletionClient(
    BaseOpenAIChatCompletionClient, Component[OpenAIClientConfigurationConfigModel]
):
    """Asks models of OpenAI, and of every server that has its chat completions. Extra ``openai``.

    ::

        client = OpenAIChatCompletionClient(model="gpt-4o")  # the key is in OPENAI_API_KEY
        result = await client.create([UserMessage(content="What is trio?", source="user")])
        await client.close()

    Models whose name begins with ``gemini-``, ``claude-`` or ``Llama-`` are asked where they live,
    with the key in ``GEMINI_API_KEY``, ``ANTHROPIC_API_KEY`` or ``LLAMA_API_KEY``. For any other
    server pass *base_url*, and *model_info* where the model is not known by name. What such models
    want back beside their calls (Gemini's signatures, DeepSeek's thoughts), the client keeps until
    the results of the tools are sent.

    One client belongs to one event loop: its connections do.
    """

    component_config_schema = OpenAIClientConfigurationConfigModel
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.models.openai.OpenAIChatCompletionClient"
    )

    def __init__(self, **options: Unpack[OpenAIClientConfiguration]) -> None:
        """Make the SDK's client. Nothing is sent.

        Args:
            **options: `OpenAIClientConfiguration` says what they are.

        Raises:
            ImportError: the SDK is not installed.
            TypeError: an argument is missing, unknown or of another type.
            ValueError: the model is not known by name, and *model_info* does not tell.
            openai.OpenAIError: there is no key.
        """
        config, objects, output_type = taken_apart(
            OpenAIClientConfigurationConfigModel,
            type(self).__name__,
            options,
            OBJECTS,
            response_format,
        )
        home = home_of(config.model)
        key: str | None = config.api_key.get_secret_value() if config.api_key else None
        openai = import_extra("openai", "openai", purpose="its client")
        if home is not None:
            key = key or os.environ.get(home.key_variable)
            # The SDK would take the key for OpenAI, and send it to another company.
            if not key and not config.base_url:
                raise openai.OpenAIError(
                    f"there is no key for {config.model} at {home.base_url}: pass api_key, or set "
                    f"{home.key_variable}"
                )
        sdk = openai.AsyncOpenAI(
            api_key=key,
            base_url=config.base_url or (home.base_url if home else None),
            organization=config.organization,
            **connection(config, objects),
        )
        super().__init__(sdk, config, output_type, objects)

    def _to_config(self) -> OpenAIClientConfigurationConfigModel:
        self._check_dumpable()
        return cast(OpenAIClientConfigurationConfigModel, self._config)

    @classmethod
    def _from_config(cls, config: OpenAIClientConfigurationConfigModel) -> Self:
        return cls(**cast(Any, as_options(config)))


def connection(
    config: BaseOpenAIClientConfigurationConfigModel, objects: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments that the SDK's clients have in common, as far as they are given."""
    found = {
        "max_retries": config.max_retries,
        "timeout": config.timeout,
        "default_headers": plain_headers(config.default_headers),
        "http_client": objects.get("http_client"),
    }
    return {name: value for name, value in found.items() if value is not None}


def response_format(json_output: bool | type[BaseModel]) -> dict[str, Any]:
    """Return what the API is told of the wanted output. The schema is the SDK's own strict one."""
    if not isinstance(json_output, type):
        return {"type": "json_object"}
    openai = import_extra("openai", "openai", purpose="its client")
    schema = openai.pydantic_function_tool(json_output)["function"]["parameters"]
    return {
        "type": "json_schema",
        # The name of a generic class has brackets, which the API refuses.
        "json_schema": {"name": as_name(json_output.__name__), "schema": schema, "strict": True},
    }
