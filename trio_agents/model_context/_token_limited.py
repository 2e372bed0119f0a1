"""`TokenLimitedChatCompletionContext`: the model sees as much as it has room for.

What is left out is left out of the middle: the task at the beginning and the last turns say most.
Of these the end comes first, so that the message that is to be answered goes last of all.

The views of different lengths are nested, so the longest that fits is found by bisection: a client
counts the tokens of a long conversation a few times, not once for each message.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Self, cast

from .._components._component import Component
from .._components._component_model import ComponentModel
from .._components._config_data import ComponentConfig
from .._components._tool_schema import ToolSchema
from ..models._client import ChatCompletionClient
from ..models._messages import LLMMessage
from ._context import ChatCompletionContext
from ._exchanges import exchanges

__all__ = ["TokenLimitedChatCompletionContext"]


class TokenLimitedChatCompletionContextConfig(ComponentConfig):
    """The configuration of a `TokenLimitedChatCompletionContext`."""

    model_client: ComponentModel
    token_limit: int | None = None
    # Not ToolSchema: a tool without parameters may say {"type": "object"} and no more.
    tool_schema: list[dict[str, Any]] | None = None
    initial_messages: list[LLMMessage] | None = None


class TokenLimitedChatCompletionContext(
    ChatCompletionContext, Component[TokenLimitedChatCompletionContextConfig]
):
    """Shows the model the whole conversation, or its beginning and end if that is too long.

    Function calls and their results are shown together or not at all. If not even the last of them
    fits, nothing is shown. What an agent puts before the view, and the answer, take room too:
    choose a limit that leaves some.

    Args:
        model_client: counts the tokens.
        token_limit: how many the view may have; None for what its `remaining_tokens` says.
        tool_schema: the tools that the model will be given with the view: they take room too.
        initial_messages: how the conversation begins. They count like any others.

    Raises:
        ValueError: *token_limit* is less than 1.
    """

    component_config_schema = TokenLimitedChatCompletionContextConfig
    component_provider_override = "trio_agents.model_context.TokenLimitedChatCompletionContext"

    def __init__(
        self,
        model_client: ChatCompletionClient,
        *,
        token_limit: int | None = None,
        tool_schema: Sequence[ToolSchema] | None = None,
        initial_messages: Sequence[LLMMessage] | None = None,
    ) -> None:
        super().__init__(initial_messages)
        if token_limit is not None and token_limit < 1:
            raise ValueError(f"token_limit must be 1 or more, not {token_limit}")
        self._model_client = model_client
        self._token_limit = token_limit
        self._tool_schema = list(tool_schema or ())

    async def get_messages(self) -> list[LLMMessage]:
        """Return the longest view that fits: all, or as much of the beginning as of the end."""
        groups = exchanges(self._messages)
        view = self._view(groups, len(groups))
        if self._fits(view):
            return view
        fitting, too_long, view = 0, len(groups), []
        while too_long - fitting > 1:
            size = (fitting + too_long) // 2
            longer = self._view(groups, size)
            if self._fits(longer):
                fitting, view = size, longer
            else:
                too_long = size
        return view

    def _view(self, groups: list[list[int]], size: int) -> list[LLMMessage]:
        beginning = size // 2
        end = size - beginning
        kept = [*groups[:beginning], *groups[len(groups) - end :]]
        return [self._messages[index] for index in sorted(chain.from_iterable(kept))]

    def _fits(self, view: list[LLMMessage]) -> bool:
        tools = self._tool_schema
        if self._token_limit is None:
            return self._model_client.remaining_tokens(view, tools=tools) >= 0
        return self._model_client.count_tokens(view, tools=tools) <= self._token_limit

    def _to_config(self) -> TokenLimitedChatCompletionContextConfig:
        return TokenLimitedChatCompletionContextConfig(
            model_client=self._model_client.dump_component(),
            token_limit=self._token_limit,
            tool_schema=[{**tool} for tool in self._tool_schema],
            initial_messages=self._initial_messages,
        )

    @classmethod
    def _from_config(cls, config: TokenLimitedChatCompletionContextConfig) -> Self:
        return cls(
            ChatCompletionClient.load_component(config.model_client),
            token_limit=config.token_limit,
            tool_schema=cast("list[ToolSchema] | None", config.tool_schema),
            initial_messages=config.initial_messages,
        )
