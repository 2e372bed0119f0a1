"""The structured events that we and our components log.

An event *is* the log record's message: ``logger.info(event)`` puts the object into ``record.msg``,
handlers test its class and read its fields, and a plain stream handler prints its JSON text. Class
names, constructor arguments and JSON keys are those of ``autogen_core.logging``.

Silence is free: a constructor only stores references. The dictionary behind the JSON is built when
`kwargs` is first read, and a message payload may be a function, called then and not earlier. Hence
a payload shows the message as it was when the record was formatted.

Formatting never raises: an exception out of ``str()`` would surface as a traceback from inside the
logging module, far from its cause. What JSON cannot express is replaced by the name of its type.

Left out: copying what the caller passes in. The lists and dictionaries of an LLM event can be long,
and nearly all handlers look at them at once or never.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from ._identifiers import AgentId, TopicId

__all__ = [
    "AgentConstructionExceptionEvent",
    "DeliveryStage",
    "EventLoopBlockedEvent",
    "EventLoopReleasedEvent",
    "LLMCallEvent",
    "LLMStreamEndEvent",
    "LLMStreamStartEvent",
    "MessageDroppedEvent",
    "MessageEvent",
    "MessageHandlerExceptionEvent",
    "MessageKind",
    "Payload",
    "ToolCallEvent",
    "describe_exception",
    "render_payload",
]

Payload: TypeAlias = str | Callable[[], str]
"""A message as text, or the function that gives it, which is called when somebody looks."""

UNSERIALIZABLE: Final = "Message could not be serialized"  # AutoGen's words for the same case


class MessageKind(Enum):
    """What a message is: sent to one agent, published to a topic, or the reply to a request."""

    DIRECT = 1
    PUBLISH = 2
    RESPOND = 3


class DeliveryStage(Enum):
    """Where a message is on its way: handed to the runtime, or handed to its recipient."""

    SEND = 1
    DELIVER = 2


def render_payload(payload: Payload) -> str:
    """Return the text of *payload*; where its function raises, a fixed sentence instead."""
    if isinstance(payload, str):
        return payload
    try:
        return payload()
    except Exception:  # a message that has no text must not break the log or the delivery
        return UNSERIALIZABLE


def describe_exception(error: BaseException) -> str:
    """Return the text of *error*, or its class name where that text is empty or cannot be made."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


class _Event(ABC):
    """What the events share: a dictionary made on demand, and its JSON."""

    # _kwargs is None until somebody reads `kwargs`. From then on it is what str() shows, so that a
    # handler can redact an entry before the handlers after it format the record.
    __slots__ = ("_extra", "_kwargs")

    def __init__(self, extra: dict[str, Any]) -> None:
        self._extra = extra
        self._kwargs: dict[str, Any] | None = None

    @abstractmethod
    def _fields(self) -> dict[str, Any]:
        """Return the event's own JSON entries, in the order in which they are printed."""

    @property
    def kwargs(self) -> dict[str, Any]:
        """All entries of the JSON text as one dictionary; changes to it show in ``str()``."""
        if self._kwargs is None:
            self._kwargs = {**self._extra, **self._fields()}
        return self._kwargs

    def __str__(self) -> str:
        return _to_json(self.kwargs)


class LLMCallEvent(_Event):
    """A model answered; every model client logs this after a call that was not streamed.

    Args:
        messages: the messages sent to the model, as JSON values.
        response: the model's answer, as a JSON value.
        prompt_tokens: the number of tokens in the prompt.
        completion_tokens: the number of tokens in the answer.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("agent_id", "completion_tokens", "messages", "prompt_tokens", "response")

    def __init__(
        self,
        *,
        messages: list[dict[str, Any]],
        response: dict[str, Any],
        prompt_tokens: int,
        completion_tokens: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs)
        self.messages = messages
        self.response = response
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.agent_id = _handling_agent()

    def _fields(self) -> dict[str, Any]:
        return {
            "type": "LLMCall",
            "messages": self.messages,
            "response": self.response,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "agent_id": _text(self.agent_id),
        }


class LLMStreamStartEvent(_Event):
    """A model was asked for a streamed answer.

    Args:
        messages: the messages sent to the model, as JSON values.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("agent_id", "messages")

    def __init__(self, *, messages: list[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(kwargs)
        self.messages = messages
        self.agent_id = _handling_agent()

    def _fields(self) -> dict[str, Any]:
        return {
            "type": "LLMStreamStart",
            "messages": self.messages,
            "agent_id": _text(self.agent_id),
        }


class LLMStreamEndEvent(_Event):
    """A streamed answer is complete.

    Args:
        response: the whole answer, as a JSON value.
        prompt_tokens: the number of tokens in the prompt.
        completion_tokens: the number of tokens in the answer.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("agent_id", "completion_tokens", "prompt_tokens", "response")

    def __init__(
        self,
        *,
        response: dict[str, Any],
        prompt_tokens: int,
        completion_tokens: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs)
        self.response = response
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.agent_id = _handling_agent()

    def _fields(self) -> dict[str, Any]:
        return {
            "type": "LLMStreamEnd",
            "response": self.response,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "agent_id": _text(self.agent_id),
        }


class ToolCallEvent(_Event):
    """A tool ran.

    Args:
        tool_name: the name of the tool.
        arguments: the arguments of the call, as a JSON value.
        result: the result as text, which is what a model gets to read.
    """

    __slots__ = ("agent_id", "arguments", "result", "tool_name")

    def __init__(self, *, tool_name: str, arguments: dict[str, Any], result: str) -> None:
        super().__init__({})
        self.tool_name = tool_name
        self.arguments = arguments
        self.result = result
        self.agent_id = _handling_agent()

    def _fields(self) -> dict[str, Any]:
        return {
            "type": "ToolCall",
            "tool_name": self.tool_name,
            "arguments": self.arguments,
            "result": self.result,
            "agent_id": _text(self.agent_id),
        }


class _PayloadEvent(_Event):
    """An event that carries a message, whose text is made once and only when somebody reads it."""

    __slots__ = ("_payload",)

    def __init__(self, payload: Payload, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._payload = payload

    @property
    def payload(self) -> str:
        """The message as text; "Message could not be serialized" where it has none."""
        # Stored, also to let go of the message that the function holds.
        self._payload = render_payload(self._payload)
        return self._payload


class MessageEvent(_PayloadEvent):
    """A message reached a stage of its way.

    Args:
        payload: the message as text, or a function that returns it.
        sender: the agent it comes from; None for a message from outside.
        receiver: the agent or topic it goes to, where there is one to name.
        kind: request, publication or reply.
        delivery_stage: where it is.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("delivery_stage", "kind", "receiver", "sender")

    def __init__(
        self,
        *,
        payload: Payload,
        sender: AgentId | None,
        receiver: AgentId | TopicId | None,
        kind: MessageKind,
        delivery_stage: DeliveryStage,
        **kwargs: Any,
    ) -> None:
        super().__init__(payload, kwargs)
        self.sender = sender
        self.receiver = receiver
        self.kind = kind
        self.delivery_stage = delivery_stage

    def _fields(self) -> dict[str, Any]:
        return {
            "payload": self.payload,
            "sender": _text(self.sender),
            "receiver": _text(self.receiver),
            "kind": str(self.kind),
            "delivery_stage": str(self.delivery_stage),
            "type": "Message",
        }


class MessageDroppedEvent(_PayloadEvent):
    """An intervention handler dropped a message.

    Args:
        payload: the message as text, or a function that returns it.
        sender: the agent it comes from; None for a message from outside.
        receiver: the agent or topic it was meant for, where there is one to name.
        kind: request, publication or reply.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("kind", "receiver", "sender")

    def __init__(
        self,
        *,
        payload: Payload,
        sender: AgentId | None,
        receiver: AgentId | TopicId | None,
        kind: MessageKind,
        **kwargs: Any,
    ) -> None:
        super().__init__(payload, kwargs)
        self.sender = sender
        self.receiver = receiver
        self.kind = kind

    def _fields(self) -> dict[str, Any]:
        return {
            "payload": self.payload,
            "sender": _text(self.sender),
            "receiver": _text(self.receiver),
            "kind": str(self.kind),
            "type": "MessageDropped",
        }


class MessageHandlerExceptionEvent(_PayloadEvent):
    """An agent's handler raised.

    Args:
        payload: the message it was handling, as text, or a function that returns it.
        handling_agent: the agent whose handler raised.
        exception: what it raised; the JSON shows its text, or its class name if it has none.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("exception", "handling_agent")

    def __init__(
        self,
        *,
        payload: Payload,
        handling_agent: AgentId,
        exception: BaseException,
        **kwargs: Any,
    ) -> None:
        super().__init__(payload, kwargs)
        self.handling_agent = handling_agent
        self.exception = exception

    def _fields(self) -> dict[str, Any]:
        return {
            "payload": self.payload,
            "handling_agent": _text(self.handling_agent),
            "exception": describe_exception(self.exception),
            "type": "MessageHandlerException",
        }


class AgentConstructionExceptionEvent(_Event):
    """An agent's factory raised.

    Args:
        agent_id: the agent that could not be made.
        exception: what the factory raised; the JSON shows its text, or its class name.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("agent_id", "exception")

    def __init__(self, *, agent_id: AgentId, exception: BaseException, **kwargs: Any) -> None:
        super().__init__(kwargs)
        self.agent_id = agent_id
        self.exception = exception

    def _fields(self) -> dict[str, Any]:
        return {
            "agent_id": _text(self.agent_id),
            "exception": describe_exception(self.exception),
            "type": "AgentConstructionException",
        }


class EventLoopBlockedEvent(_Event):
    """Something has not given the event loop's thread back, and holds everybody up.

    Args:
        agent_id: the agent whose message is being worked on; None for a publication on its way to
            its recipients, and where it is not known, as for a task that a handler has started.
        message_type: the name of the message's class; None where it is not known.
        seconds: how long it has been so, at least.
        stack: where the thread is, as ``"file:line in function"``, outermost first.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("agent_id", "message_type", "seconds", "stack")

    def __init__(
        self,
        *,
        agent_id: AgentId | None,
        message_type: str | None,
        seconds: float,
        stack: Sequence[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs)
        self.agent_id = agent_id
        self.message_type = message_type
        self.seconds = seconds
        self.stack = stack

    def _fields(self) -> dict[str, Any]:
        return {
            "agent_id": _text(self.agent_id),
            "message_type": self.message_type,
            "seconds": self.seconds,
            "stack": list(self.stack),
            "type": "EventLoopBlocked",
        }


class EventLoopReleasedEvent(_Event):
    """What an `EventLoopBlockedEvent` reported is over: the thread was given back.

    Args:
        agent_id: as in that event.
        message_type: as in that event.
        seconds: how long it was blocked.
        kwargs: further entries for the JSON text.
    """

    __slots__ = ("agent_id", "message_type", "seconds")

    def __init__(
        self, *, agent_id: AgentId | None, message_type: str | None, seconds: float, **kwargs: Any
    ) -> None:
        super().__init__(kwargs)
        self.agent_id = agent_id
        self.message_type = message_type
        self.seconds = seconds

    def _fields(self) -> dict[str, Any]:
        return {
            "agent_id": _text(self.agent_id),
            "message_type": self.message_type,
            "seconds": self.seconds,
            "type": "EventLoopReleased",
        }


def _handling_agent() -> AgentId | None:
    # Read when the event is made: it may be formatted in another task, or in another thread.
    from ._contexts import current_handler_id  # here, so that an event class imports no contexts

    return current_handler_id()


def _text(identifier: AgentId | TopicId | None) -> str | None:
    return None if identifier is None else str(identifier)


def _to_json(entries: Mapping[str, Any]) -> str:
    try:
        return json.dumps(entries, default=_type_name)
    except Exception:  # a cycle, a key that is no string: give up that entry, keep the others
        pairs = (f"{_json_key(key)}: {_json_value(value)}" for key, value in entries.items())
        return f"{{{', '.join(pairs)}}}"


def _json_key(key: object) -> str:  # a handler may have put anything into `kwargs`
    return json.dumps(key if isinstance(key, str) else _type_name(key))


def _json_value(value: object) -> str:
    try:
        return json.dumps(value, default=_type_name)
    except Exception:
        return json.dumps(_type_name(value))


def _type_name(value: object) -> str:
    return f"<{type(value).__qualname__}>"
