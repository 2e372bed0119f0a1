"""From a conversation to the values that OpenAI's API takes.

Plain functions of plain values. What other companies' models behind the same API refuse (Claude an
empty message, Gemini too, Mistral a name) is a rule for their family here, not a branch elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..._components._image import Image
from ..._components._tool_schema import ToolSchema
from ...models._client import ToolChoice
from ...models._messages import (
    AssistantMessage,
    FunctionExecutionResultMessage,
    LLMMessage,
    SystemMessage,
    UserMessage,
)
from ...models._model_info import ModelFamily
from ._beside_calls import Remembered
from ._calls import called

__all__ = ["NAME", "to_messages", "to_tool_choice", "to_tools"]

# Names of users and of functions: the API refuses any other.
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

Message = dict[str, Any]


def to_messages(
    messages: Sequence[LLMMessage],
    family: str = ModelFamily.UNKNOWN,
    remembered: Remembered = lambda _: None,
    *,
    add_name_prefixes: bool = False,
    include_name: bool = True,
) -> list[Message]:
    """Return *messages* as the API takes them.

    Args:
        messages: the conversation.
        family: the model's family, whose rules are kept.
        remembered: gives what stood beside calls, if the server wants it back.
        add_name_prefixes: whether a user's message begins with its source.
        include_name: whether a user's message has its source as a name.

    Raises:
        ValueError: a source that should become a name cannot be one.
    """
    include_name = include_name and not ModelFamily.is_mistral(family)
    found: list[Message] = []
    for message in messages:
        match message:
            case SystemMessage():
                found.append({"role": "system", "content": message.content})
            case UserMessage():
                found.append(_user(message, add_name_prefixes, include_name))
            case AssistantMessage():
                found.extend(_assistant(message, remembered))
            case FunctionExecutionResultMessage():
                found.extend(
                    {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
                    for result in message.content
                )
    for family_is, rule in _RULES:
        if family_is(family):
            return rule(found)
    return found


def _user(message: UserMessage, prefix: bool, include_name: bool) -> Message:
    said = f"{message.source} said:\n" if prefix else ""
    user: Message = {"role": "user"}
    if isinstance(message.content, str):
        user["content"] = said + message.content
    else:
        parts = list(message.content)
        if said and parts and isinstance(parts[0], str):
            parts[0] = said + parts[0]
        elif said:
            parts.insert(0, said)
        user["content"] = [
            part.to_openai_format() if isinstance(part, Image) else {"type": "text", "text": part}
            for part in parts
        ]
    if include_name:
        if not NAME.fullmatch(message.source):
            raise ValueError(
                f"a message's source is sent as a name, and a name has up to 64 letters, digits, "
                f"'_' and '-', not {message.source!r}: call the source otherwise, or make the "
                f"client with include_name_in_message=False"
            )
        user["name"] = message.source
    return user


def _assistant(message: AssistantMessage, remembered: Remembered) -> list[Message]:
    if isinstance(message.content, str):
        return [{"role": "assistant", "content": message.content}]
    if not message.content:  # the API refuses a list of no calls
        return [{"role": "assistant", "content": message.thought}] if message.thought else []
    calls: list[dict[str, Any]] = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": called(call, NAME), "arguments": call.arguments},
        }
        for call in message.content
    ]
    # What was said beside the calls is the thought, see `from_completion`.
    said: Message = {"role": "assistant", "content": message.thought, "tool_calls": calls}
    beside = remembered(message.content)
    if beside is not None:
        for call in calls:
            if call["id"] in beside.extras:
                call["extra_content"] = beside.extras[call["id"]]
        text, reasoning = beside.taken_apart(message.thought)
        if reasoning:
            said |= {"content": text, "reasoning_content": reasoning}
    return [said]


def _for_claude(messages: list[Message]) -> list[Message]:
    # What belongs to calls stays: a call without its result is refused, an empty result is not.
    spared = [
        message if message["role"] == "tool" else {**message, "content": _said(message["content"])}
        for message in messages
    ]
    kept = [
        message
        for message in spared
        if message["content"] or message["role"] == "tool" or "tool_calls" in message
    ]
    if kept and kept[-1]["role"] == "assistant" and isinstance(kept[-1]["content"], str):
        kept[-1] = {**kept[-1], "content": kept[-1]["content"].rstrip()}
    return kept


def _said(content: Any) -> Any:
    """Return *content* without texts that are blank; None if nothing is left."""
    if isinstance(content, str):
        return content if content.strip() else None
    parts = [part for part in content or () if part["type"] != "text" or part["text"].strip()]
    return parts or None


def _for_gemini(messages: list[Message]) -> list[Message]:
    return [
        {**message, "content": " "} if message["content"] in ("", None) else message
        for message in messages
    ]


_Rule = tuple[Callable[[str], bool], Callable[[list[Message]], list[Message]]]
_RULES: Final[tuple[_Rule, ...]] = (
    (ModelFamily.is_claude, _for_claude),
    (ModelFamily.is_gemini, _for_gemini),
)


def to_tools(tools: Sequence[ToolSchema]) -> list[dict[str, Any]]:
    """Return *tools* as the API takes them.

    Raises:
        ValueError: a tool's name cannot be a function's.
    """
    found: list[dict[str, Any]] = []
    for tool in tools:
        if not NAME.fullmatch(tool["name"]):
            raise ValueError(
                f"a tool's name has up to 64 letters, digits, '_' and '-', not {tool['name']!r}"
            )
        function: dict[str, Any] = {"name": tool["name"], "strict": tool.get("strict", False)}
        function["description"] = tool.get("description", "")
        if "parameters" in tool:
            function["parameters"] = tool["parameters"]
        found.append({"type": "function", "function": function})
    return found


def to_tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    """Return *choice* as the API takes it."""
    if isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice.name}}
