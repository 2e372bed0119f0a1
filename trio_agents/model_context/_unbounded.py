"""`UnboundedChatCompletionContext`: the model sees everything."""

from __future__ import annotations

from typing import Self

from .._components._component import Component
from .._components._config_data import ComponentConfig
from ..models._messages import LLMMessage
from ._context import ChatCompletionContext

__all__ = ["UnboundedChatCompletionContext"]


class UnboundedChatCompletionContextConfig(ComponentConfig):
    """The configuration of an `UnboundedChatCompletionContext`."""

    initial_messages: list[LLMMessage] | None = None


class UnboundedChatCompletionContext(
    ChatCompletionContext, Component[UnboundedChatCompletionContextConfig]
):
    """Shows the model the whole conversation, exactly as it was added.

    Args:
        initial_messages: how the conversation begins.
    """

    component_config_schema = UnboundedChatCompletionContextConfig
    component_provider_override = "trio_agents.model_context.UnboundedChatCompletionContext"

    async def get_messages(self) -> list[LLMMessage]:
        """Return the whole conversation."""
        return list(self._messages)

    def _to_config(self) -> UnboundedChatCompletionContextConfig:
        return UnboundedChatCompletionContextConfig(initial_messages=self._initial_messages)

    @classmethod
    def _from_config(cls, config: UnboundedChatCompletionContextConfig) -> Self:
        return cls(config.initial_messages)
