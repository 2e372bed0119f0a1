"""`ChatCompletionContext`: a conversation with a model, and the view of it that the model is shown.

All messages are kept, and every view is made from all of them: a context that is given more room
shows again what it had left out, and the state is the whole conversation.

The methods are asynchronous because a context of yours may wait, for a database, say. Those of this
package never do, so what one task adds in a row stays together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .._components._component import ComponentBase
from ..models._messages import LLMMessage, check_message

__all__ = ["ChatCompletionContext", "ChatCompletionContextState"]


class ChatCompletionContextState(BaseModel):
    """The state of a `ChatCompletionContext`.

    Attributes:
        messages: The whole conversation.
    """

    messages: list[LLMMessage] = Field(default_factory=list[LLMMessage])


class ChatCompletionContext(ComponentBase[BaseModel], ABC):
    """Keeps a conversation, and gives the part of it that a model is to see.

    A context of your own says in `get_messages` which part that is, out of ``self._messages``.
    System messages that hold for every request are better put before the view than into it.

    Args:
        initial_messages: how the conversation begins. They are a part of the configuration.

    Raises:
        TypeError: one of them is none of the four kinds of message.
    """

    component_type = "chat_completion_context"

    def __init__(self, initial_messages: Sequence[LLMMessage] | None = None) -> None:
        self._messages: list[LLMMessage] = list(initial_messages or ())
        for message in self._messages:
            check_message(message)
        self._initial_messages = None if initial_messages is None else list(initial_messages)

    async def add_message(self, message: LLMMessage) -> None:
        """Add *message* at the end of the conversation.

        Raises:
            TypeError: it is none of the four kinds; nothing was added.
        """
        check_message(message)
        self._messages.append(message)

    @abstractmethod
    async def get_messages(self) -> list[LLMMessage]:
        """Return what the model is to see, as a list of its own."""

    async def clear(self) -> None:
        """Forget the conversation, the initial messages too."""
        self._messages = []

    async def save_state(self) -> Mapping[str, Any]:
        """Return the whole conversation, as JSON."""
        return ChatCompletionContextState(messages=self._messages).model_dump(mode="json")

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a conversation that `save_state` has returned, in place of this one.

        Raises:
            ValidationError: *state* is no such conversation; this one is kept.
        """
        self._messages = _SavedState.model_validate(state).messages


class _SavedState(BaseModel):
    """A state to be loaded: without messages it is that of something else, and no empty one."""

    model_config = ConfigDict(title="ChatCompletionContextState")

    messages: list[LLMMessage]
