"""What the clients of all providers do alike, around the few things that differ.

A client makes a request out of a conversation (`_request`, plain values), has it answered
(`_answer`, `_pieces`) and is closed (`_close`). Checks, cancellation, counting and log events stand
here, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel

from ..._components._one_loop import OneLoop
from ..._components._tool import Tool
from ..._components._tool_schema import ToolSchema
from ..._loops._token_scope import token_scope
from ..._sansio._cancellation import CancellationToken
from ..._sansio._errors import ComponentError
from ...models._client import ChatCompletionClient, ToolChoice
from ...models._messages import CreateResult, LLMMessage, RequestUsage
from ...models._model_info import ModelCapabilities, ModelInfo
from ...models._requests import (
    UsageCounter,
    check_request,
    joined_system_messages,
    log_call,
    log_stream_end,
    log_stream_start,
    tool_schemas,
    under_token,
)
from ._sdk import noted
from ._tokens import TokenCounter, estimate_tokens

__all__ = ["SdkClient"]


class SdkClient(ChatCompletionClient, ABC):
    """A model client on top of a provider's SDK."""

    #: The provider's name for what `json_output` says, in ``extra_create_args``.
    _format_argument: ClassVar[str] = "response_format"
    #: The provider's names for ``max_tokens`` and ``stop``, in ``extra_create_args``, where it, or
    #: the model, has others. So whoever does not know which client it is can say both.
    _own_names: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        *,
        model: str,
        model_info: ModelInfo,
        token_limit: int | None,
        token_counter: TokenCounter | None,
        output_type: type[BaseModel] | None,
        undumped: Mapping[str, object],
    ) -> None:
        self._model = model
        self._model_info = model_info
        self._token_limit = token_limit
        self._count: TokenCounter = token_counter or estimate_tokens
        # What a call's json_output is, if it says nothing.
        self._output_type = output_type
        # Objects that were given and that no configuration can describe, by argument.
        self._undumped = {
            name: value
            for name, value in {**undumped, "token_counter": token_counter}.items()
            if value is not None
        }
        self._usage = UsageCounter()
        self._one_loop = OneLoop()
        self._what = f"a request of {type(self).__name__} to {model}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._model}>"

    @abstractmethod
    def _request(
        self,
        messages: Sequence[LLMMessage],
        tools: Sequence[ToolSchema],
        tool_choice: ToolChoice,
        json_output: bool | type[BaseModel] | None,
        extra: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the arguments of the SDK for this request."""

    @abstractmethod
    async def _answer(self, request: dict[str, Any]) -> CreateResult:
        """Make the request and return the answer."""

    @abstractmethod
    def _pieces(self, request: dict[str, Any]) -> AsyncGenerator[str | CreateResult, None]:
        """Make the request and give the answer piece by piece, and last as a whole."""

    @property
    @abstractmethod
    def server(self) -> str:
        """The address of the server, whoever has said it: it may be the environment."""

    @abstractmethod
    async def _close(self) -> None:
        """Close the SDK's client."""

    def _check_dumpable(self) -> None:
        if self._undumped:
            raise ComponentError(
                f"{type(self).__name__} was given {', '.join(sorted(self._undumped))}: objects "
                f"that no configuration can describe"
            )

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
        """Make one request and wait for the whole answer.

        Cancelled, by a scope or the token, its connection is closed and the client can be used on.
        The SDK repeats a request that is refused for now, as far as ``max_retries`` goes.

        Args:
            messages: the conversation so far.
            tools: the tools that the model may ask for.
            tool_choice: whether it may, must or must not.
            json_output: True for JSON, a pydantic model for JSON that it validates, False for text.
            extra_create_args: more arguments of the SDK's own method; they win over the others.
                Each client also takes ``max_tokens`` and ``stop``, a list of texts.
            cancellation_token: cancels the request.

        Raises:
            ValueError: the model cannot do what is asked, by its `model_info`; or the API has no
                such argument.
            pydantic.ValidationError: the model was done, and its answer is not what the type in
                *json_output* validates.
            RuntimeError: the client was used on another event loop before, or the server's answer
                is none of a model.
            MessageCancelled: the token was cancelled.
            Exception: what the SDK raises, as it is, with a note.
        """
        self._check_loop()
        json_output, extra = self._wanted(json_output, extra_create_args)
        request = self._checked_request(messages, tools, tool_choice, json_output, extra)
        with token_scope(cancellation_token, self._what), noted(f"in {self._what}"):
            result = await self._answer(request)
        self._usage.count(result.usage)
        log_call(messages, result, model=self._model)
        self._check_answer(result, json_output)
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
        """Make one request and give the answer piece by piece: texts, and last a `CreateResult`.

        What a model thinks comes first, between the texts ``<think>`` and ``</think>``; in the
        result it is the ``thought``. Leaving the loop early leaves the connection to the garbage
        collector; ``async with aclosing(client.create_stream(...)) as stream`` closes it at once.
        Arguments and errors are those of `create`.
        """
        self._check_loop()
        json_output, extra = self._wanted(json_output, extra_create_args)
        request = self._checked_request(messages, tools, tool_choice, json_output, extra)
        log_stream_start(messages, model=self._model)
        pieces = under_token(self._pieces(request), cancellation_token, self._what)
        try:
            async for piece in pieces:
                if isinstance(piece, CreateResult):
                    self._usage.count(piece.usage)
                    log_stream_end(piece, model=self._model)
                    self._check_answer(piece, json_output)
                yield piece
        except Exception as error:
            error.add_note(f"in {self._what}")
            raise
        finally:
            # Closing a connection does not wait, and must happen in a cancelled scope as well.
            await pieces.aclose()

    def _wanted(
        self, json_output: bool | type[BaseModel] | None, extra: Mapping[str, Any]
    ) -> tuple[bool | type[BaseModel] | None, Mapping[str, Any]]:
        """Find the one place that says what the output is to look like."""
        if self._format_argument not in extra:
            return (self._output_type if json_output is None else json_output), extra
        wanted = extra[self._format_argument]
        rest = {name: extra[name] for name in extra if name != self._format_argument}
        if wanted is None:  # no format for this call, whatever is usual
            return (False if json_output is None else json_output), rest
        if json_output is not None:
            raise ValueError(
                f"json_output and extra_create_args[{self._format_argument!r}] both say what the "
                f"output is to look like: pass one of them"
            )
        if isinstance(wanted, type) and issubclass(wanted, BaseModel):
            return wanted, rest
        return None, extra

    def _in_own_names(self, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        named = dict(extra)
        for name in self._own_names.keys() & extra.keys():
            own = self._own_names[name]
            if own in extra:
                raise ValueError(
                    f"{name!r} and {own!r} in extra_create_args are the same: pass one of them"
                )
            named[own] = named.pop(name)
        return named

    def _checked_request(
        self,
        messages: Sequence[LLMMessage],
        tools: Sequence[Tool | ToolSchema],
        tool_choice: ToolChoice,
        json_output: bool | type[BaseModel] | None,
        extra: Mapping[str, Any],
    ) -> dict[str, Any]:
        check_request(
            self._model_info,
            messages,
            tools=tools,
            tool_choice=tool_choice,
            json_output=json_output,
        )
        return self._request(
            joined_system_messages(self._model_info, messages),
            tool_schemas(tools),
            tool_choice,
            json_output,
            self._in_own_names(extra),
        )

    def _check_answer(
        self, result: CreateResult, json_output: bool | type[BaseModel] | None
    ) -> None:
        # An answer that was cut off or refused says so by its finish_reason, and calls are none.
        if (
            isinstance(json_output, type)
            and isinstance(result.content, str)
            and result.finish_reason == "stop"
        ):
            with noted(f"in the answer to {self._what}: it should have been JSON for the type"):
                json_output.model_validate_json(result.content)

    async def close(self) -> None:
        """Release the connections. The client cannot be used afterwards; a second call is fine.

        Raises:
            RuntimeError: it was used on another event loop, and is to be closed there.
        """
        self._check_loop()
        await self._close()

    def _check_loop(self) -> None:
        self._one_loop.check(f"this {type(self).__name__}")

    def actual_usage(self) -> RequestUsage:
        """Return what the requests of this client have cost."""
        return self._usage.actual()

    def total_usage(self) -> RequestUsage:
        """Return what the requests of this client have cost; nothing here answers from a cache."""
        return self._usage.total()

    def count_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return how many tokens this conversation takes, by the client's token counter."""
        return self._count(messages, tool_schemas(tools))

    def remaining_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return how many tokens the model has room for after this conversation.

        Raises:
            ValueError: nobody knows how many tokens this model has room for.
        """
        if self._token_limit is None:
            raise ValueError(
                f"it is not known how many tokens {self._model} has room for: pass token_limit"
            )
        return self._token_limit - self.count_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> ModelCapabilities:
        """What the model can do; older programs ask for this, `model_info` says more."""
        info = self._model_info
        return ModelCapabilities(
            vision=info["vision"],
            function_calling=info["function_calling"],
            json_output=info["json_output"],
        )

    @property
    def model_info(self) -> ModelInfo:
        """What the model can do. The client refuses what its model cannot."""
        return self._model_info
