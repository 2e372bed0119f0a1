"""`HeadAndTailChatCompletionContext`: the model sees the first and the last messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .._components._component import Component
from .._components._config_data import ComponentConfig
from ..models._messages import LLMMessage, UserMessage
from ._context import ChatCompletionContext
from ._exchanges import whole

__all__ = ["HeadAndTailChatCompletionContext"]


class HeadAndTailChatCompletionContextConfig(ComponentConfig):
    """The configuration of a `HeadAndTailChatCompletionContext`."""

    head_size: int
    tail_size: int
    initial_messages: list[LLMMessage] | None = None


class HeadAndTailChatCompletionContext(
    ChatCompletionContext, Component[HeadAndTailChatCompletionContextConfig]
):
    """Shows the model the first *head_size* and the last *tail_size* messages.

    Where something is left out between them stands a message that says how much. Function calls
    and their results are shown together or not at all, so a view may be shorter.

    Args:
        head_size: how many of the first messages the model sees at most.
        tail_size: how many of the last messages the model sees at most.
        initial_messages: how the conversation begins. They count like any others.

    Raises:
        ValueError: a size is less than 1.
    """

    component_config_schema = HeadAndTailChatCompletionContextConfig
    component_provider_override = "trio_agents.model_context.HeadAndTailChatCompletionContext"

    def __init__(
        self,
        head_size: int,
        tail_size: int,
        initial_messages: Sequence[LLMMessage] | None = None,
    ) -> None:
        super().__init__(initial_messages)
        for name, size in (("head_size", head_size), ("tail_size", tail_size)):
            if size < 1:
                raise ValueError(f"{name} must be 1 or more, not {size}")
        self._head_size = head_size
        self._tail_size = tail_size

    async def get_messages(self) -> list[LLMMessage]:
        """Return the first and the last messages, and between them how many are left out."""
        size = len(self._messages)
        if size <= self._head_size + self._tail_size:
            return whole(self._messages, range(size))
        # Each for itself: calls at the end of the head would be torn from results in the tail by
        # the message between them.
        head = whole(self._messages, range(self._head_size))
        tail = whole(self._messages, range(size - self._tail_size, size))
        return [*head, _skipped(size - len(head) - len(tail)), *tail]

    def _to_config(self) -> HeadAndTailChatCompletionContextConfig:
        return HeadAndTailChatCompletionContextConfig(
            head_size=self._head_size,
            tail_size=self._tail_size,
            initial_messages=self._initial_messages,
        )

    @classmethod
    def _from_config(cls, config: HeadAndTailChatCompletionContextConfig) -> Self:
        return cls(config.head_size, config.tail_size, config.initial_messages)


def _skipped(count: int) -> UserMessage:
    # AutoGen's words for the same case.
    return UserMessage(content=f"Skipped {count} messages.", source="System")
