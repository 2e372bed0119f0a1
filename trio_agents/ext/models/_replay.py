"""A model client that gives prepared answers: for tests, examples and offline work.

It takes and refuses requests as a client of a real model would, counts, logs and can be cancelled
like one, so an agent under test takes the paths that it takes in earnest. Answers are used in the
order in which the calls began, whatever a scheduler does between them.

Left out: choosing an answer by what is asked. A test that needs that says it best as a subclass of
`ChatCompletionClient`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, Self, cast

from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled
from pydantic import BaseModel

from ..._components._component import Component
from ..._components._config_data import ComponentConfig
from ..._components._tool import Tool
from ..._components._tool_schema import ToolSchema
from ..._loops._token_scope import token_scope
from ..._sansio._cancellation import CancellationToken
from ...models._client import ChatCompletionClient, ToolChoice
from ...models._messages import (
    AssistantMessage,
    CreateResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    UserMessage,
)
from ...models._model_info import ModelCapabilities, ModelFamily, ModelInfo, validate_model_info
from ...models._requests import (
    UsageCounter,
    check_request,
    log_call,
    log_stream_end,
    log_stream_start,
    under_token,
)

__all__ = ["ReplayChatCompletionClient"]

_ABLE: Final = ModelInfo(
    vision=True,
    function_calling=True,
    json_output=True,
    structured_output=True,
    multiple_system_messages=True,
    family=ModelFamily.UNKNOWN,
)
_ROOM: Final = 10_000  # AutoGen's
_PIECE: Final = re.compile(r"\s*\S+\s*|\s+")


class ReplayChatCompletionClientConfig(ComponentConfig):
    """The configuration of a `ReplayChatCompletionClient`."""

    chat_completions: Sequence[str | CreateResult]
    # Not ModelInfo: older descriptions have no structured_output. The client checks it.
    model_info: dict[str, Any] | None = None


class ReplayChatCompletionClient(ChatCompletionClient, Component[ReplayChatCompletionClientConfig]):
    """A client that answers with *chat_completions*, one after the other. Needs no extra.

    A text is answered as it is; streamed, it comes word by word. A `CreateResult` is answered with
    all that it says. A token is a word; pictures and tools cost none, and there is room for 10,000.

    ::

        client = ReplayChatCompletionClient(["Trio is a library.", "You are welcome."])

    Args:
        chat_completions: the answers.
        model_info: what the model can do: what it cannot is refused. Anything, if this is None.

    Raises:
        ValueError: *model_info* lacks something.
    """

    component_type = "replay_chat_completion_client"  # AutoGen's, so that its dumps load
    component_config_schema = ReplayChatCompletionClientConfig
    component_provider_override = "trio_agents.ext.models.replay.ReplayChatCompletionClient"

    def __init__(
        self,
        chat_completions: Sequence[str | CreateResult],
        model_info: ModelInfo | None = None,
    ) -> None:
        if isinstance(chat_completions, str):
            raise TypeError("chat_completions is a sequence of answers, not one text: [text]")
        if model_info is not None:
            validate_model_info(model_info)
        self.chat_completions: list[str | CreateResult] = list(chat_completions)
        self._model_info = cast(ModelInfo, {**(_ABLE if model_info is None else model_info)})
        self._create_calls: list[dict[str, Any]] = []
        self._create_stream_calls: list[dict[str, Any]] = []
        self._cached = True  # as AutoGen's: a prepared answer costs nothing
        self.reset()

    @property
    def create_calls(self) -> list[dict[str, Any]]:
        """The arguments of each `create` that got an answer, by name, in their order."""
        return self._create_calls

    @property
    def create_stream_calls(self) -> list[dict[str, Any]]:
        """The arguments of each `create_stream` that got an answer, by name, in their order."""
        return self._create_stream_calls

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: ToolChoice = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] = {},
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        """Return the next answer. Cancelled, it stays the next.

        Raises:
            ValueError: no answer is left; or the model cannot do what is asked, by its
                `model_info`.
            MessageCancelled: the token was cancelled.
        """
        check_request(
            self._model_info,
            messages,
            tools=tools,
            tool_choice=tool_choice,
            json_output=json_output,
        )
        with token_scope(cancellation_token, "the request to the model"):
            await checkpoint_if_cancelled()
        result = self._next(messages)
        self._create_calls.append(
            _arguments(
                messages, tools, tool_choice, json_output, extra_create_args, cancellation_token
            )
        )
        # Others run now. Cancelled no more: the answer is used.
        await cancel_shielded_checkpoint()
        self._usage.count(result.usage)
        log_call(messages, result)
        return result

    async def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: ToolChoice = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] = {},
        cancellation_token: CancellationToken | None = None,
    ) -> AsyncGenerator[str | CreateResult, None]:
        """Give the next answer word by word, and last the whole of it.

        The answer is used once the first piece is asked for. One that calls functions has no words.

        Raises:
            ValueError: no answer is left; or the model cannot do what is asked, by its
                `model_info`.
            MessageCancelled: the token was cancelled.
        """
        check_request(
            self._model_info,
            messages,
            tools=tools,
            tool_choice=tool_choice,
            json_output=json_output,
        )
        with token_scope(cancellation_token, "the request to the model"):
            await checkpoint_if_cancelled()
        result = self._next(messages)
        self._create_stream_calls.append(
            _arguments(
                messages, tools, tool_choice, json_output, extra_create_args, cancellation_token
            )
        )
        log_stream_start(messages)
        words = under_token(_pieces(result.content), cancellation_token, "the answer of the model")
        try:
            async for word in words:
                yield word
        finally:
            await words.aclose()
        self._usage.count(result.usage)
        log_stream_end(result)
        yield result

    def _next(self, messages: Sequence[LLMMessage]) -> CreateResult:
        if self._index == len(self.chat_completions):
            raise ValueError(
                f"No more mock responses available: all {self._index} are used. Give more of them, "
                f"or call reset() to begin again"
            )
        completion = self.chat_completions[self._index]
        self._index += 1
        if isinstance(completion, CreateResult):
            # A copy: whoever gets it may change it, and the next reset must not show that.
            return completion.model_copy(deep=True)
        return CreateResult(
            finish_reason="stop",
            content=completion,
            usage=RequestUsage(
                prompt_tokens=self.count_tokens(messages),
                completion_tokens=len(completion.split()),
            ),
            cached=self._cached,
        )

    def reset(self) -> None:
        """Begin with the first answer again, and count from nothing. The record of calls stays."""
        self._index = 0
        self._usage = UsageCounter()

    def set_cached_bool_value(self, value: bool) -> None:
        """Say what ``cached`` is to be in the answers that are given as texts; it is True."""
        self._cached = value

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def actual_usage(self) -> RequestUsage:
        """Return what the requests of this client have cost."""
        return self._usage.actual()

    def total_usage(self) -> RequestUsage:
        """Return what the requests of this client have cost."""
        return self._usage.total()

    def count_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return how many words the messages have."""
        return sum(len(text.split()) for message in messages for text in _texts(message))

    def remaining_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return 10,000, less the words of the messages."""
        return _ROOM - self.count_tokens(messages)

    @property
    def capabilities(self) -> ModelCapabilities:
        """What the model can do; older programs ask for this, `model_info` says more."""
        return self._model_info

    @property
    def model_info(self) -> ModelInfo:
        """What the model can do. The client refuses what its model cannot."""
        return self._model_info

    def _to_config(self) -> ReplayChatCompletionClientConfig:
        return ReplayChatCompletionClientConfig(
            chat_completions=self.chat_completions, model_info={**self._model_info}
        )

    @classmethod
    def _from_config(cls, config: ReplayChatCompletionClientConfig) -> Self:
        return cls(config.chat_completions, cast("ModelInfo | None", config.model_info))


def _arguments(
    messages: Sequence[LLMMessage],
    tools: Sequence[Tool | ToolSchema],
    tool_choice: ToolChoice,
    json_output: bool | type[BaseModel] | None,
    extra_create_args: Mapping[str, Any],
    cancellation_token: CancellationToken | None,
) -> dict[str, Any]:
    # Copies of the sequences: an agent goes on with the list that it has given.
    return {
        "messages": list(messages),
        "tools": list(tools),
        "tool_choice": tool_choice,
        "json_output": json_output,
        "extra_create_args": dict(extra_create_args),
        "cancellation_token": cancellation_token,
    }


async def _pieces(content: object) -> AsyncGenerator[str, None]:
    for piece in _PIECE.findall(content) if isinstance(content, str) else ():
        await checkpoint()
        yield piece


def _texts(message: LLMMessage) -> list[str]:
    if isinstance(message, FunctionExecutionResultMessage):
        return [result.content for result in message.content]
    if isinstance(message.content, str):
        return [message.content]
    if isinstance(message, UserMessage):
        return [part for part in message.content if isinstance(part, str)]
    assert isinstance(message, AssistantMessage)
    return [
        f"{call.name} {call.arguments}" for call in message.content if not isinstance(call, str)
    ]
