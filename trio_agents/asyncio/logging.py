"""The structured events of the runtime: the names of `trio_agents.logging`."""

from __future__ import annotations

from ..logging import (
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
