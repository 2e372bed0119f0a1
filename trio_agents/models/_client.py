"""`ChatCompletionClient`: what an agent knows of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from .._components._component import ComponentBase
from .._components._tool import Tool
from .._components._tool_schema import ToolSchema
from .._sansio._cancellation import CancellationToken
from ._messages import CreateResult, LLMMessage, RequestUsage
from ._model_info import ModelCapabilities, ModelInfo

__all__ = ["ChatCompletionClient", "ToolChoice"]

#: Whether the model may (auto), must (required) or must not (none) call tools, or which it must.
ToolChoice = Tool | Literal["auto", "required", "none"]


class ChatCompletionClient(ComponentBase[BaseModel], ABC):
    """Asks a model to go on with a conversation.

    Agents depend on this class and on no particular client, so any can be put in. One client may be
    used by any number of tasks at the same time.

    ::

        result = await client.create([UserMessage(content="What is trio?", source="user")])
    """

    component_type = "model"

    @abstractmethod
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

        Args:
            messages: the conversation so far.
            tools: the tools that the model may ask for.
            tool_choice: whether it may, must or must not.
            json_output: True for JSON, a pydantic model for JSON that it validates, False for text.
            extra_create_args: more arguments of the model's own API.
            cancellation_token: cancels the request.

        Raises:
            ValueError: the model cannot do what is asked, by its `model_info`.
            MessageCancelled: the token was cancelled.
        """

    @abstractmethod
    def create_stream(
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

        Not awaited itself: ``async for``. Leaving the loop early leaves the connection to the
        garbage collector; ``async with aclosing(client.create_stream(...)) as stream`` closes it
        at once. Otherwise as `create`.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release the connections. The client cannot be used afterwards; a second call is fine."""

    @abstractmethod
    def actual_usage(self) -> RequestUsage:
        """Return what the requests of this client have cost, those answered by a cache aside."""

    @abstractmethod
    def total_usage(self) -> RequestUsage:
        """Return what all requests of this client have cost."""

    @abstractmethod
    def count_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return how many tokens this conversation takes, as far as the client can tell."""

    @abstractmethod
    def remaining_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return how many tokens the model has room for after this conversation."""

    @property
    @abstractmethod
    def capabilities(self) -> ModelCapabilities:
        """What the model can do; older programs ask for this, `model_info` says more."""

    @property
    @abstractmethod
    def model_info(self) -> ModelInfo:
        """What the model can do. The client refuses what its model cannot."""
