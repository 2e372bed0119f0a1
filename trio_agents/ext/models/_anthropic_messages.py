"""From a conversation to the values that Anthropic's API takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..._components._image import Image
from ..._components._tool_schema import ToolSchema
from ..._sansio._function_call import FunctionCall
from ...models._client import ToolChoice
from ...models._messages import (
    AssistantMessage,
    FunctionExecutionResultMessage,
    LLMMessage,
    SystemMessage,
    UserMessage,
)
from ._calls import arguments_of, called

__all__ = ["called_tools", "system_text", "to_messages", "to_tool_choice", "to_tools"]

# Names of tools: the API refuses any other.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
# The API refuses an error that says nothing.
_FAILED: Final = "The tool has failed, and does not say why."

Message = dict[str, Any]
Block = dict[str, Any]
Remembered = Callable[[Sequence[FunctionCall]], Sequence[Block] | None]


def system_text(messages: Sequence[LLMMessage], more: str = "") -> str:
    """Return what the system messages say, which stands beside the conversation, and *more*."""
    texts = [message.content for message in messages if isinstance(message, SystemMessage)]
    return "\n".join(filter(None, [*texts, more]))


def to_messages(messages: Sequence[LLMMessage], remembered: Remembered) -> list[Message]:
    """Return *messages*, those of the system aside, as the API takes them.

    It refuses empty texts, and white space at the end of what it is to go on with.

    Args:
        messages: the conversation.
        remembered: gives the blocks of the answer that these calls are of, if they are wanted.
    """
    all_blocks = ((message, _blocks(message, remembered)) for message in messages)
    found: list[Message] = [
        {
            "role": "assistant" if isinstance(message, AssistantMessage) else "user",
            "content": blocks,
        }
        for message, blocks in all_blocks
        if blocks
    ]
    if found and found[-1]["role"] == "assistant" and "text" in found[-1]["content"][-1]:
        last = found[-1]["content"][-1]
        last["text"] = last["text"].rstrip()
    return found


def _blocks(message: LLMMessage, remembered: Remembered) -> list[Block]:
    match message:
        case SystemMessage():
            return []
        case UserMessage():
            return _user(message)
        case AssistantMessage():
            return _assistant(message, remembered)
        case FunctionExecutionResultMessage():
            return _results(message)


def _texts(*texts: str | None) -> list[Block]:
    return [{"type": "text", "text": text} for text in texts if text and text.strip()]


def _user(message: UserMessage) -> list[Block]:
    if isinstance(message.content, str):
        return _texts(message.content)
    blocks: list[Block] = []
    for part in message.content:
        blocks.extend([_picture(part)] if isinstance(part, Image) else _texts(part))
    return blocks


def _picture(picture: Image) -> Block:
    source = {"type": "base64", "media_type": "image/png", "data": picture.to_base64()}
    return {"type": "image", "source": source}


def _assistant(message: AssistantMessage, remembered: Remembered) -> list[Block]:
    if isinstance(message.content, str):
        return _texts(message.content)
    uses = [
        {
            "type": "tool_use",
            "id": call.id,
            "name": called(call, _NAME),
            "input": arguments_of(call),
        }
        for call in message.content
    ]
    answer = remembered(message.content)
    if answer is None:
        return [*_texts(message.thought), *uses]
    blocks: list[Block] = []
    for block in answer:
        if block["type"] != "tool_use":
            blocks.append(block)
        # Calls are sent as they stand in the conversation, in which some may have been left out.
        elif (use := next((use for use in uses if use["id"] == block["id"]), None)) is not None:
            blocks.append(use)
            uses.remove(use)
    return [*blocks, *uses]


def _results(message: FunctionExecutionResultMessage) -> list[Block]:
    return [
        {
            "type": "tool_result",
            "tool_use_id": result.call_id,
            "content": _FAILED
            if result.is_error and not result.content.strip()
            else result.content,
            **({"is_error": True} if result.is_error else {}),
        }
        for result in message.content
    ]


def to_tools(tools: Sequence[ToolSchema]) -> list[dict[str, Any]]:
    """Return *tools* as the API takes them.

    Raises:
        ValueError: a tool's name cannot be one.
    """
    found: list[dict[str, Any]] = []
    for tool in tools:
        if not _NAME.fullmatch(tool["name"]):
            raise ValueError(
                f"a tool's name has up to 128 letters, digits, '_' and '-', not {tool['name']!r}: "
                f"call the tool otherwise"
            )
        schema = dict(tool.get("parameters", {"type": "object", "properties": {}}))
        entry: dict[str, Any] = {"name": tool["name"], "input_schema": schema}
        if description := tool.get("description"):
            entry["description"] = description
        if tool.get("strict"):
            entry["strict"] = True
        found.append(entry)
    return found


def called_tools(messages: Sequence[LLMMessage]) -> list[dict[str, Any]]:
    """Return tools for the calls in *messages*: the API refuses calls of tools that it is not told.

    A conversation goes on without tools when a model is to say what it makes of their results.
    """
    names = {
        called(call, _NAME): None  # a dict keeps the order
        for message in messages
        if isinstance(message, AssistantMessage) and not isinstance(message.content, str)
        for call in message.content
    }
    return [{"name": name, "input_schema": {"type": "object"}} for name in names]


def to_tool_choice(choice: ToolChoice) -> dict[str, Any]:
    """Return *choice* as the API takes it."""
    if isinstance(choice, str):
        return {"type": {"auto": "auto", "required": "any", "none": "none"}[choice]}
    return {"type": "tool", "name": choice.name}
