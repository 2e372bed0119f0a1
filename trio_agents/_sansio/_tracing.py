"""The spans that a runtime makes of its messages.

Names and attributes are AutoGen Core's, so that its dashboards keep working: a span is called
``autogen <operation> <destination>``, a destination is ``type.(key)-A`` or ``type.(source)-T``.
The *tree* is ours. Each span is a child of what caused it, across tasks and mailboxes, so that the
span tree is the call tree:

    autogen create b.(k)-A            the whole send, to its reply; a publish, until its turn comes
    ├── autogen intercept Guard       one for each intervention handler
    ├── autogen send b.(k)-A          the message is handed to the agent (or "publish", to a topic)
    │   └── autogen process b.(k)-A   its handler runs; is current there (`MessageTracer.use`)
    │       └── autogen create ...    what that handler sends
    └── autogen ack a.(k)-A           the reply reaches the one who asked

AutoGen starts several of these as roots and ties them together with links. We make no links: every
one of them would repeat a parent. The runtime hands a parent over explicitly, with the envelope,
because a queue carries no context and the task at its other end has somebody else's.

Silence is free. Whether anybody listens is decided once, by `MessageTracer.choose`, which returns
None if not; and until somebody does, OpenTelemetry is not even imported (33 ms).

Message bodies stay out of spans unless the application asks for them: traces travel to other
companies more often than logs do.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Final, Protocol, cast

from ._errors import MessageCancelled
from ._events import describe_exception, render_payload
from ._identifiers import TopicId

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span, SpanKind, Tracer

    from ._contexts import MessageContext
    from ._events import Payload
    from ._identifiers import AgentId

__all__ = [
    "DISABLE_VARIABLE",
    "SCOPE_NAME",
    "MessageTracer",
    "TracerSource",
    "end_span",
    "is_cancellation",
]

DISABLE_VARIABLE: Final = "AUTOGEN_DISABLE_RUNTIME_TRACING"
SCOPE_NAME: Final = "trio_agents"  # OpenTelemetry's "instrumentation scope": who made the span

# OpenTelemetry's own setting for "load a provider when one is first needed".
_PROVIDER_VARIABLE: Final = "OTEL_PYTHON_TRACER_PROVIDER"

# Attribute names, each as AutoGen Core 0.7 writes it (checked by running it); the first three are
# from a draft of OpenTelemetry's messaging conventions, error.type from the stable general ones.
_OPERATION: Final = "messaging.operation"
_DESTINATION: Final = "messaging.destination"
_MESSAGE_TYPE: Final = "messaging.message.type"
_SENDER_TYPE: Final = "sender_agent_type"
_SENDER_CLASS: Final = "sender_agent_class"
_RECIPIENT_TYPE: Final = "recipient_agent_type"
_RECIPIENT_CLASS: Final = "recipient_agent_class"
_MESSAGE_CONTEXT: Final = "message_context"
_MESSAGE_BODY: Final = "message"
_ERROR_TYPE: Final = "error.type"
_CANCELLED: Final = "trio_agents.cancelled"  # ours: AutoGen leaves a cancelled span unmarked

# Known by name, because no file here imports an event loop.
_CANCELLATION_CLASSES: Final = frozenset(
    {("trio", "Cancelled"), ("asyncio.exceptions", "CancelledError")}
)


class TracerSource(Protocol):
    """What we need of a tracer provider; OpenTelemetry's own are ones, and so is a wrapper."""

    def get_tracer(self, instrumenting_module_name: str, /) -> Tracer:
        """Return the tracer that makes the spans of the named instrumentation."""
        ...


class MessageTracer:
    """Makes and ends the spans of one runtime.

    ::

        tracer = MessageTracer.choose(tracer_provider)  # None: nobody listens
        span = tracer.create_span(recipient, parent=None)
        try:
            ...
        except BaseException as exc:
            tracer.finish(span, exc)
            raise
        else:
            tracer.finish(span)

    A method that makes a span starts it and returns it; it does not become current. Each span has
    to be finished exactly once. ``parent`` is the span that caused this one (which may have ended,
    and for a message from another process may be a ``NonRecordingSpan`` of the remote context);
    with None it is the caller's current span, if there is one. No method waits.

    Args:
        tracer: where the spans come from.
        record_bodies: whether spans contain the text of messages.
    """

    __slots__ = ("_consumer", "_producer", "_record_bodies", "_tracer")

    def __init__(self, tracer: Tracer, *, record_bodies: bool = False) -> None:
        from opentelemetry.trace import SpanKind

        self._tracer = tracer
        self._record_bodies = record_bodies
        self._producer = SpanKind.PRODUCER
        self._consumer = SpanKind.CONSUMER

    @classmethod
    def choose(
        cls, tracer_provider: TracerSource | None = None, *, record_bodies: bool = False
    ) -> MessageTracer | None:
        """Return the tracer for a runtime that was given *tracer_provider*, or None for silence.

        Tracing is off when the environment says ``AUTOGEN_DISABLE_RUNTIME_TRACING=true``, when the
        provider makes no-op tracers (``NoOpTracerProvider``, or the SDK switched off by
        ``OTEL_SDK_DISABLED``), and when there is no provider: none was given (or the placeholder
        that stands for the global one) and the application has set no global one. The answer is
        for the moment of the call: a global provider that is set later is not noticed.

        Raises:
            TypeError: *tracer_provider* has no ``get_tracer``.
        """
        if os.environ.get(DISABLE_VARIABLE, "").strip().lower() == "true":
            return None
        if tracer_provider is None and not _may_have_global_provider():
            return None
        from opentelemetry import trace

        if tracer_provider is None or isinstance(tracer_provider, trace.ProxyTracerProvider):
            tracer_provider = trace.get_tracer_provider()
            if isinstance(tracer_provider, trace.ProxyTracerProvider):
                return None
        if not hasattr(tracer_provider, "get_tracer"):
            raise TypeError(
                "tracer_provider must be an OpenTelemetry TracerProvider or another object with "
                f"get_tracer(name), not {type(tracer_provider).__name__}"
            )
        tracer = tracer_provider.get_tracer(SCOPE_NAME)
        if isinstance(tracer, trace.NoOpTracer):
            return None
        return cls(tracer, record_bodies=record_bodies)

    def create_span(
        self,
        destination: AgentId | TopicId,
        *,
        parent: Span | None,
        message_type: str | None = None,
    ) -> Span:
        """Start ``create``, the span of a whole send or publish as the sender sees it."""
        where = _destination(destination)
        attributes = {} if message_type is None else {_MESSAGE_TYPE: message_type}
        return self._start("create", "create", where, self._producer, parent, attributes)

    def intercept_span(self, handler: object, *, parent: Span | None) -> Span:
        """Start ``intercept``, during which the intervention handler *handler* decides."""
        name = type(handler).__name__
        return self._start("intercept", "receive", name, self._consumer, parent)

    def delivery_span(self, destination: AgentId | TopicId, *, parent: Span | None) -> Span:
        """Start ``send`` (to an agent) or ``publish`` (to a topic): the message goes out."""
        operation = "publish" if isinstance(destination, TopicId) else "send"
        where = _destination(destination)
        # AutoGen has the one word "publish" in the attribute for both.
        return self._start(operation, "publish", where, self._producer, parent)

    def process_span(
        self,
        recipient: AgentId,
        context: MessageContext,
        *,
        parent: Span | None,
        recipient_class: type,
        sender_class: type | None = None,
        payload: Payload | None = None,
    ) -> Span:
        """Start ``process``, during which *recipient* handles the message.

        *sender_class* is the class of the sending agent where that is known without making one;
        *payload* is only looked at when bodies are recorded.
        """
        attributes = _parties(context.sender, sender_class, recipient, recipient_class)
        where = _destination(recipient)
        span = self._start("process", "process", where, self._consumer, parent, attributes)
        if span.is_recording():
            span.set_attribute(_MESSAGE_CONTEXT, _context_json(context))
            self._set_body(span, payload)
        return span

    def ack_span(
        self,
        asker: AgentId | None,
        *,
        parent: Span | None,
        responder: AgentId,
        responder_class: type,
        asker_class: type | None = None,
        payload: Payload | None = None,
    ) -> Span:
        """Start ``ack``, during which *responder*'s reply reaches *asker* (None: from outside)."""
        attributes = _parties(responder, responder_class, asker, asker_class)
        where = "" if asker is None else _destination(asker)
        span = self._start("ack", "receive", where, self._consumer, parent, attributes)
        if span.is_recording():
            self._set_body(span, payload)
        return span

    def use(self, span: Span) -> AbstractContextManager[Span]:
        """Make *span* the current one inside a ``with`` block, which does not end it.

        Spans that user code starts there, and tasks started there, have it as their parent. Enter
        and leave the block in the same task.
        """
        from opentelemetry.trace import use_span

        # Exceptions are left to finish(), or they would be recorded twice.
        return use_span(span, record_exception=False, set_status_on_exception=False)

    def finish(
        self, span: Span, error: BaseException | None = None, *, cancelled: bool = False
    ) -> None:
        """End *span*, and record how it went.

        Without arguments all went well. An *error* is recorded with status ERROR, but a
        cancellation (of trio, of asyncio, `MessageCancelled`, or anything when *cancelled* is
        true) is only marked: status ERROR "cancelled", attribute ``trio_agents.cancelled``.
        """
        end_span(span, error, cancelled=cancelled)

    def _start(
        self,
        operation: str,
        operation_attribute: str,
        where: str,
        kind: SpanKind,
        parent: Span | None,
        attributes: Mapping[str, str] | None = None,
    ) -> Span:
        from opentelemetry.trace import set_span_in_context

        return self._tracer.start_span(
            f"autogen {operation} {where}".rstrip(),
            context=None if parent is None else set_span_in_context(parent),
            kind=kind,
            attributes={
                **(attributes or {}),
                _OPERATION: operation_attribute,
                _DESTINATION: where,
            },
        )

    def _set_body(self, span: Span, payload: Payload | None) -> None:
        if self._record_bodies and payload is not None:
            span.set_attribute(_MESSAGE_BODY, render_payload(payload))


def is_cancellation(error: BaseException) -> bool:
    """Whether *error* says that something was called off, rather than that it failed.

    That holds for the cancellations of trio and asyncio, for groups of nothing else, for
    `MessageCancelled`, and for ``GeneratorExit`` (a generator that nobody reads to its end). It is
    not the same as "no ``Exception``": ``KeyboardInterrupt`` is not one, and neither are the
    errors of ``tool_agent``, which are failures.
    """
    if isinstance(error, BaseExceptionGroup):
        parts = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return all(is_cancellation(part) for part in parts)
    return isinstance(error, GeneratorExit | MessageCancelled) or any(
        (cls.__module__, cls.__qualname__) in _CANCELLATION_CLASSES for cls in type(error).__mro__
    )


def end_span(span: Span, error: BaseException | None = None, *, cancelled: bool = False) -> None:
    """End *span* with the outcome *error*; see `MessageTracer.finish`.

    It is ended even if recording the outcome is interrupted.
    """
    try:
        if span.is_recording() and (cancelled or error is not None):
            _mark_outcome(span, error, cancelled or (error is not None and is_cancellation(error)))
    finally:
        span.end()


def _mark_outcome(span: Span, error: BaseException | None, cancelled: bool) -> None:
    from opentelemetry.trace import Status, StatusCode

    name = "cancelled" if error is None else type(error).__name__
    span.set_attribute(_ERROR_TYPE, name)
    if cancelled or error is None:
        span.set_attribute(_CANCELLED, True)
        span.set_status(Status(StatusCode.ERROR, "cancelled"))
        return
    text = describe_exception(error)
    span.set_status(Status(StatusCode.ERROR, f"{name}: {text}"))
    try:
        span.record_exception(error)
    except Exception:  # its __str__ raises: the trace must not replace the failure by another one
        span.add_event("exception", {"exception.type": name, "exception.message": text})


def _may_have_global_provider() -> bool:
    # Where OpenTelemetry was never imported, nobody has set a provider.
    return "opentelemetry.trace" in sys.modules or _PROVIDER_VARIABLE in os.environ


def _destination(identifier: AgentId | TopicId) -> str:
    if isinstance(identifier, TopicId):
        return f"{identifier.type}.({identifier.source})-T"
    return f"{identifier.type}.({identifier.key})-A"


def _parties(
    sender: AgentId | None,
    sender_class: type | None,
    recipient: AgentId | None,
    recipient_class: type | None,
) -> dict[str, str]:
    attributes: dict[str, str] = {}
    if sender is not None:
        attributes[_SENDER_TYPE] = sender.type
    if sender_class is not None:
        attributes[_SENDER_CLASS] = sender_class.__name__
    if recipient is not None:
        attributes[_RECIPIENT_TYPE] = recipient.type
    if recipient_class is not None:
        attributes[_RECIPIENT_CLASS] = recipient_class.__name__
    return attributes


def _context_json(context: MessageContext) -> str:
    return json.dumps(
        {
            "sender": str(context.sender),  # "None" where there is none, as AutoGen writes it
            "topic_id": str(context.topic_id),
            "is_rpc": context.is_rpc,
            "message_id": context.message_id,
        }
    )
