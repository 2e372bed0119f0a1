"""What all model clients do alike: check a request, count what it cost, and log it.

A client calls these from its `create` and `create_stream`; they know nothing of a provider. The
order is: `check_request`, then what the provider's API needs (`tool_schemas`,
`joined_system_messages`), the request inside a `token_scope` or its pieces through `under_token`,
then `UsageCounter.count` and `log_call` or `log_stream_end`.

Bodies of prompts and answers are logged as those of messages are: at level INFO an event names
their kinds, at DEBUG it holds them, and pictures are never written out.

Left out: spans. The SDKs have instrumentations of their own, which make them with what only they
know; ours would be there twice.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from .._components._check_tool import check_tool
from .._components._tool import Tool
from .._components._tool_schema import ToolSchema
from .._loops._token_scope import token_scope
from .._sansio._cancellation import CancellationToken
from .._sansio._events import LLMCallEvent, LLMStreamEndEvent, LLMStreamStartEvent
from .._sansio._log_names import EVENT_LOGGER_NAME
from ._client import ToolChoice
from ._messages import (
    CreateResult,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    UserMessage,
    check_message,
)
from ._model_info import ModelInfo

__all__ = [
    "UsageCounter",
    "check_request",
    "joined_system_messages",
    "log_call",
    "log_stream_end",
    "log_stream_start",
    "tool_schemas",
    "under_token",
]

T = TypeVar("T")

_events: Final = logging.getLogger(EVENT_LOGGER_NAME)


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def check_request(
    model_info: ModelInfo,
    messages: Sequence[LLMMessage],
    *,
    tools: Sequence[Tool | ToolSchema] = (),
    tool_choice: ToolChoice = "auto",
    json_output: bool | type[BaseModel] | None = None,
) -> None:
    """Check, before anything is sent, that the model can do what it is asked.

    Raises:
        ValueError: by *model_info* it cannot; or *tool_choice* asks for a tool that is not there.
        TypeError: a message is none of the four kinds, a tool neither a `Tool` nor a schema, or
            *json_output* neither a bool nor a pydantic model.
    """
    for message in messages:
        check_message(message)
    if not model_info["vision"] and any(_has_picture(message) for message in messages):
        raise _cannot("vision", "a message holds a picture")
    if tools and not model_info["function_calling"]:
        raise _cannot("function_calling", f"{len(tools)} tools are given")
    names = [schema["name"] for schema in tool_schemas(tools)]
    if isinstance(tool_choice, str):
        if tool_choice not in ("auto", "required", "none"):
            raise ValueError(
                f"tool_choice is 'auto', 'required', 'none' or a tool, not {tool_choice!r}"
            )
        if tool_choice == "required" and not tools:
            raise ValueError("tool_choice is 'required', but no tools are given")
    else:
        check_tool(tool_choice, "tool_choice")
        if tool_choice.name not in names:
            raise ValueError(
                f"tool_choice is the tool {tool_choice.name!r}, but the tools are {names}: "
                f"give it too"
            )
    if not (json_output is None or isinstance(json_output, bool) or _is_model(json_output)):
        raise TypeError(
            f"json_output has to be True, False, None or a class of pydantic's models, not "
            f"{json_output!r}"
        )
    if isinstance(json_output, type):
        # What is older than the field has json_output alone; see validate_model_info.
        if not model_info.get("structured_output", model_info["json_output"]):
            raise _cannot("structured_output", f"json_output is {json_output.__name__}")
    elif json_output and not model_info["json_output"]:
        raise _cannot("json_output", "json_output is True")


def _has_picture(message: LLMMessage) -> bool:
    return (
        isinstance(message, UserMessage)
        and not isinstance(message.content, str)
        and any(not isinstance(part, str) for part in message.content)
    )


def _cannot(ability: str, what: str) -> ValueError:
    return ValueError(
        f"{what}, but model_info[{ability!r}] is False: the model cannot do that, or its "
        f"model_info has to say that it can"
    )


def tool_schemas(tools: Sequence[Tool | ToolSchema]) -> list[ToolSchema]:
    """Return what the model is told of *tools*, in their order.

    Raises:
        ValueError: two tools have one name, so that a call could mean either.
        TypeError: one is neither a tool nor a schema.
    """
    schemas = [_schema(tool) for tool in tools]
    names: set[str] = set()
    for schema in schemas:
        if schema["name"] in names:
            raise ValueError(f"two tools are called {schema['name']!r}")
        names.add(schema["name"])
    return schemas


def _schema(tool: Tool | ToolSchema) -> ToolSchema:
    if not isinstance(tool, Mapping):
        check_tool(tool, "tools")
        return tool.schema
    if "name" not in tool:
        raise TypeError(
            f"tools: a ToolSchema has a name, and this one only {', '.join(map(str, tool))}: it is "
            f"{{'name': ..., 'description': ..., 'parameters': {{...}}}}"
        )
    return tool


def joined_system_messages(
    model_info: ModelInfo, messages: Sequence[LLMMessage]
) -> list[LLMMessage]:
    """Return *messages* with all system messages in one, where the first of them stood.

    Most models know only one. Where ``multiple_system_messages`` is True, as they are. Nothing is
    refused: a memory adds system messages in the middle of a conversation.
    """
    texts = [message.content for message in messages if isinstance(message, SystemMessage)]
    if model_info.get("multiple_system_messages") or len(texts) < 2:
        return list(messages)
    joined: list[LLMMessage] = []
    for message in messages:
        if not isinstance(message, SystemMessage):
            joined.append(message)
        elif texts:
            joined.append(SystemMessage(content="\n".join(texts)))
            texts = []
    return joined


async def under_token(
    stream: AsyncGenerator[T, None], token: CancellationToken | None, what: str
) -> AsyncGenerator[T, None]:
    """Give what *stream* gives, and let *token* cancel the waiting for each piece.

    A scope that is open around a ``yield`` would cancel the code that reads the stream, so there is
    one around each wait. *stream* is closed when this ends, however it ends.

    Raises:
        MessageCancelled: the token was cancelled.
    """
    has_begun = False
    try:
        while True:
            with token_scope(token, what, has_begun=has_begun):
                has_begun = True
                try:
                    piece = await anext(stream)
                except StopAsyncIteration:
                    return
            yield piece
    finally:
        await stream.aclose()


class UsageCounter:
    """What the requests of one client have cost."""

    def __init__(self) -> None:
        self._total = RequestUsage(prompt_tokens=0, completion_tokens=0)
        self._actual = RequestUsage(prompt_tokens=0, completion_tokens=0)

    def count(self, usage: RequestUsage, *, cached: bool = False) -> None:
        """Add the cost of a request; if *cached*, the provider did not charge for it."""
        self._total = _sum(self._total, usage)
        if not cached:
            self._actual = _sum(self._actual, usage)

    def total(self) -> RequestUsage:
        """Return the cost of all requests."""
        return replace(self._total)

    def actual(self) -> RequestUsage:
        """Return the cost of the requests that were charged for."""
        return replace(self._actual)


def _sum(one: RequestUsage, other: RequestUsage) -> RequestUsage:
    return RequestUsage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )


def log_call(messages: Sequence[LLMMessage], result: CreateResult, **more: Any) -> None:
    """Log an `LLMCallEvent`, if anybody listens.

    Args:
        messages: what was asked, as it came to the client.
        result: the answer.
        more: further entries of the event, such as ``model``; never bodies or secrets.
    """
    if _events.isEnabledFor(logging.INFO):
        _events.info(
            LLMCallEvent(
                messages=_logged_messages(messages),
                response=_logged_result(result),
                prompt_tokens=result.usage.prompt_tokens,
                completion_tokens=result.usage.completion_tokens,
                **more,
            )
        )


def log_stream_start(messages: Sequence[LLMMessage], **more: Any) -> None:
    """Log an `LLMStreamStartEvent`, if anybody listens: before the request is made."""
    if _events.isEnabledFor(logging.INFO):
        _events.info(LLMStreamStartEvent(messages=_logged_messages(messages), **more))


def log_stream_end(result: CreateResult, **more: Any) -> None:
    """Log an `LLMStreamEndEvent`, if anybody listens: before *result*, the last piece, is given."""
    if _events.isEnabledFor(logging.INFO):
        _events.info(
            LLMStreamEndEvent(
                response=_logged_result(result),
                prompt_tokens=result.usage.prompt_tokens,
                completion_tokens=result.usage.completion_tokens,
                **more,
            )
        )


def _logged_messages(messages: Sequence[LLMMessage]) -> list[dict[str, Any]]:
    if not _events.isEnabledFor(logging.DEBUG):
        return [{"type": message.type} for message in messages]
    return [_body(message) for message in messages]


def _body(message: LLMMessage) -> dict[str, Any]:
    if isinstance(message, UserMessage) and not isinstance(message.content, str):
        parts = [part if isinstance(part, str) else repr(part) for part in message.content]
        return {"content": parts, **message.model_dump(mode="json", exclude={"content"})}
    return message.model_dump(mode="json")


def _logged_result(result: CreateResult) -> dict[str, Any]:
    bodies = None if _events.isEnabledFor(logging.DEBUG) else {"content", "thought", "logprobs"}
    return result.model_dump(mode="json", exclude=bodies)
