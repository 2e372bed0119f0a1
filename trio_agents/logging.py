"""The events that arrive on `EVENT_LOGGER_NAME` as ``record.msg``: objects whose ``str()`` is JSON.

The module has the names of ``autogen_core.logging``, so that a log handler which tests
``isinstance(record.msg, LLMCallEvent)`` moves by changing its import.
"""

from __future__ import annotations

from ._sansio._events import (
    AgentConstructionExceptionEvent as AgentConstructionExceptionEvent,
    DeliveryStage as DeliveryStage,
    EventLoopBlockedEvent as EventLoopBlockedEvent,
    EventLoopReleasedEvent as EventLoopReleasedEvent,
    LLMCallEvent as LLMCallEvent,
    LLMStreamEndEvent as LLMStreamEndEvent,
    LLMStreamStartEvent as LLMStreamStartEvent,
    MessageDroppedEvent as MessageDroppedEvent,
    MessageEvent as MessageEvent,
    MessageHandlerExceptionEvent as MessageHandlerExceptionEvent,
    MessageKind as MessageKind,
    ToolCallEvent as ToolCallEvent,
)
from ._sansio._facade import claim_names

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
    "ToolCallEvent",
]

claim_names(__name__, globals())
