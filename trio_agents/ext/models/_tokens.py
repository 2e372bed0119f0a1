"""Counting tokens without asking anybody.

The real vocabularies come over the network (tiktoken's, at its first use) or not at all. What a
context or a budget needs is a figure at once, offline, so the default is an estimate that anybody
can do in their head, and whoever needs exact ones passes a counter of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from ..._components._image import Image
from ..._components._tool_schema import ToolSchema
from ...models._messages import (
    AssistantMessage,
    FunctionExecutionResultMessage,
    LLMMessage,
    UserMessage,
)

__all__ = ["TokenCounter", "estimate_tokens"]

#: Counts the tokens of a conversation and of what is told about the tools.
TokenCounter: TypeAlias = Callable[[Sequence[LLMMessage], Sequence[ToolSchema]], int]

_BYTES: Final = 4  # of UTF-8 for one token: about right for English, too few tokens for code
_MESSAGE: Final = 4  # what stands around a message
_PICTURE: Final = 85  # a picture, and in addition
_TILE: Final = 170  # each begun square of 512 pixels; as OpenAI has published it for gpt-4o


def estimate_tokens(messages: Sequence[LLMMessage], tools: Sequence[ToolSchema]) -> int:
    """Estimate how many tokens a conversation takes: one for each four bytes, and some around it.

    Expect it to be wrong by a quarter, and by more for text that is not English.
    """
    total = 0
    for message in messages:
        total += _MESSAGE
        for part in _parts(message):
            total += _picture(part) if isinstance(part, Image) else _text(part)
    return total + sum(_MESSAGE + _text(json.dumps(tool)) for tool in tools)


def _parts(message: LLMMessage) -> list[str | Image]:
    if isinstance(message, FunctionExecutionResultMessage):
        return [result.content for result in message.content]
    parts: list[str | Image] = []
    if isinstance(message, AssistantMessage) and message.thought:
        parts.append(message.thought)
    if isinstance(message.content, str):
        parts.append(message.content)
    elif isinstance(message, UserMessage):
        parts.extend(message.content)
    else:
        parts.extend(call.name + call.arguments for call in message.content)
    return parts


def _text(text: str) -> int:
    return math.ceil(len(text.encode(errors="replace")) / _BYTES)


def _picture(picture: Image) -> int:
    width, height = picture.image.size
    return _PICTURE + _TILE * math.ceil(width / 512) * math.ceil(height / 512)
