"""`BufferedChatCompletionContext`: the model sees the last messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .._components._component import Component
from .._components._config_data import ComponentConfig
from ..models._messages import LLMMessage
from ._context import ChatCompletionContext
from ._exchanges import whole

__all__ = ["BufferedChatCompletionContext"]


class BufferedChatCompletionContextConfig(ComponentConfig):
    """The configuration of a `BufferedChatCompletionContext`."""

    buffer_size: int
    initial_messages: list[LLMMessage] | None = None


class BufferedChatCompletionContext(
    ChatCompletionContext, Component[BufferedChatCompletionContextConfig]
):
    """Shows the model the last *buffer_size* messages.

    Function calls and their results are shown together or not at all, so a view may be shorter.

    Args:
        buffer_size: how many messages the model sees at most.
        initial_messages: how the conversation begins. They count like any others.

    Raises:
        ValueError: *buffer_size* is less than 1.
    """

    component_config_schema = BufferedChatCompletionContextConfig
    component_provider_override = "trio_agents.model_context.BufferedChatCompletionContext"

    def __init__(
        self, buffer_size: int, initial_messages: Sequence[LLMMessage] | None = None
    ) -> None:
        super().__init__(initial_messages)
        if buffer_size < 1:
            raise ValueError(f"buffer_size must be 1 or more, not {buffer_size}")
        self._buffer_size = buffer_size

    async def get_messages(self) -> list[LLMMessage]:
        """Return the last messages, with no results without calls and no calls without results."""
        last = self._messages[-self._buffer_size :]
        return whole(last, range(len(last)))

    def _to_config(self) -> BufferedChatCompletionContextConfig:
        return BufferedChatCompletionContextConfig(
            buffer_size=self._buffer_size, initial_messages=self._initial_messages
        )

    @classmethod
    def _from_config(cls, config: BufferedChatCompletionContextConfig) -> Self:
        return cls(config.buffer_size, config.initial_messages)
