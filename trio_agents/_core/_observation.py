"""What observers see of a message: log events, developer lines, spans.

Silence is free. Whether anybody listens is asked once for each message, when it is submitted. If
nobody does, its envelope has no `Observation`, and none of the code here runs again for it.

Message bodies are shown at level DEBUG only. At INFO an event's payload is the type's name.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .._sansio._events import (
    DeliveryStage,
    MessageDroppedEvent,
    MessageEvent,
    MessageHandlerExceptionEvent,
    MessageKind,
    render_payload,
)
from .._sansio._log_names import EVENT_LOGGER_NAME, TRACE_LOGGER_NAME
from .._sansio._tracing import MessageTracer, is_cancellation
from ._envelope import (
    CANCELLED,
    DROPPED,
    HANDLED,
    Delivery,
    Envelope,
    Outcome,
    Publication,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

    from .._sansio._abc import Agent
    from .._sansio._contexts import MessageContext
    from .._sansio._identifiers import AgentId, TopicId
    from .._sansio._intervention import InterventionHandler
    from .._sansio._serialization import SerializationRegistry
    from ._witness import Witness

__all__ = ["Observation", "Observer"]

events = logging.getLogger(EVENT_LOGGER_NAME)
lines = logging.getLogger(TRACE_LOGGER_NAME)

NO_REPLY: Final = object()


class Observer:
    """Knows whether anybody listens to one runtime's messages."""

    def __init__(self, serialization: SerializationRegistry) -> None:
        self.serialization = serialization
        self.tracer: MessageTracer | None = None
        self.witness: Witness | None = None

    def choose(self, tracer_provider: TracerProvider | None) -> None:
        """Find out whether there is tracing now."""
        self.tracer = MessageTracer.choose(tracer_provider)

    def is_listening(self) -> bool:
        """Whether a message submitted now is to be observed."""
        return (
            self.tracer is not None
            or self.witness is not None
            or events.isEnabledFor(logging.INFO)
            or lines.isEnabledFor(logging.INFO)
        )

    def submitted(self, envelope: Envelope) -> None:
        """Give a message that is being submitted its observation, if anybody listens."""
        if self.is_listening():
            envelope.observation = Observation(self, envelope)

    def body(self, message: Any) -> str | Callable[[], str]:
        """Give what an event shows of a message."""
        if not events.isEnabledFor(logging.DEBUG):
            return f"<{type(message).__name__}>"
        return lambda: self._serialize(message)

    def _serialize(self, message: Any) -> str:
        registry = self.serialization
        name = registry.type_name(message)
        for content_type in ("application/json", "application/x-protobuf"):
            if registry.is_registered(name, content_type):
                data = registry.serialize(message, type_name=name, data_content_type=content_type)
                return data.decode("utf-8", "backslashreplace")
        return "Message could not be serialized"


class Observation:
    """Follows one message through its stages."""

    __slots__ = ("_create", "_kind", "_observer", "_reply", "_witness")

    def __init__(self, observer: Observer, envelope: Envelope) -> None:
        self._observer = observer
        self._witness = observer.witness
        if self._witness is not None:
            self._witness.submitted(envelope)
        self._kind = MessageKind.DIRECT if envelope.topic is None else MessageKind.PUBLISH
        destination = envelope.topic or envelope.recipient
        assert destination is not None
        self._reply: Any = NO_REPLY  # what the handler returned, until that has arrived
        self._create: Span | None = None
        if observer.tracer is not None:
            self._create = observer.tracer.create_span(
                destination, parent=None, message_type=type(envelope.message).__name__
            )
        self._event(envelope.message, envelope.sender, destination, self._kind, DeliveryStage.SEND)
        verb = "Sending" if envelope.topic is None else "Publishing"
        text = f"{verb} message of type %s to %s, sender %s"
        self._line(text, envelope.message, destination, envelope.sender)

    def intercept(self, intervener: InterventionHandler, asked: Awaitable[Any]) -> Awaitable[Any]:
        """Have an intervention handler answer under a span."""
        tracer = self._observer.tracer
        if tracer is None:
            return asked
        return self._under(tracer.intercept_span(intervener, parent=self._create), asked)

    def routed(self, publication: Publication, deliveries: Sequence[Delivery]) -> None:
        """The recipients of a publication have been worked out."""
        if self._witness is not None:
            self._witness.routed(publication, deliveries)
        text = "Message of type %s to %s has %d recipients"
        self._line(text, publication.message, publication.topic, len(deliveries))
        # Its publisher waits for nothing more, and is not told how the handlers fare.
        self._end()

    async def handle(
        self,
        handle: Callable[[Agent, Any, MessageContext], Awaitable[Any]],
        agent: Agent,
        envelope: Envelope,
        context: MessageContext,
    ) -> Any:
        """Run a message handler, under a span that is current in it."""
        if self._witness is not None:
            self._witness.begun(envelope)
        recipient = envelope.recipient
        assert recipient is not None
        message = envelope.message
        self._event(message, envelope.sender, recipient, self._kind, DeliveryStage.DELIVER)
        text = "Handling message of type %s by %s, sender %s"
        self._line(text, message, recipient, envelope.sender)
        tracer = self._observer.tracer
        if tracer is None:
            work = handle(agent, message, context)
        else:
            delivery = tracer.delivery_span(envelope.topic or recipient, parent=self._create)
            span = tracer.process_span(
                recipient,
                context,
                parent=delivery,
                recipient_class=type(agent),
                payload=self._observer.body(message),
            )
            tracer.finish(delivery)
            work = self._under(span, handle(agent, message, context))
        try:
            result = await work
        except BaseException as exc:  # only looked at
            self._note_failure(exc, recipient, message)
            raise
        if envelope.topic is None:
            self._reply = result
            self._event(result, recipient, envelope.sender, MessageKind.RESPOND, DeliveryStage.SEND)
        return result

    def settled(
        self, envelope: Envelope, outcome: Outcome, result: Any, error: BaseException | None
    ) -> None:
        """The message has got its outcome."""
        if self._witness is not None:
            self._witness.settled(envelope, outcome)
        tracer = self._observer.tracer
        recipient = envelope.recipient
        activation = envelope.activation
        if outcome is DROPPED and events.isEnabledFor(logging.INFO):
            if self._reply is NO_REPLY:
                dropped = MessageDroppedEvent(
                    payload=self._observer.body(envelope.message),
                    sender=envelope.sender,
                    receiver=recipient or envelope.topic,
                    kind=self._kind,
                )
            else:
                dropped = MessageDroppedEvent(
                    payload=self._observer.body(self._reply),
                    sender=recipient,
                    receiver=envelope.sender,
                    kind=MessageKind.RESPOND,
                )
            events.info(dropped)
        if isinstance(envelope, Delivery):
            return
        if recipient is not None and outcome is HANDLED:
            self._event(
                result, recipient, envelope.sender, MessageKind.RESPOND, DeliveryStage.DELIVER
            )
            text = "Resolving reply of type %s of %s for %s"
            self._line(text, result, recipient, envelope.sender)
            if tracer is not None:
                tracer.finish(
                    tracer.ack_span(
                        envelope.sender,
                        parent=self._create,
                        responder=recipient,
                        responder_class=type(None if activation is None else activation.agent),
                        payload=self._observer.body(result),
                    )
                )
        self._end(error, cancelled=outcome is CANCELLED)

    def entered(self, envelope: Envelope) -> None:
        """The message has come in where there are bounds, or where messages do not flow."""
        if self._witness is not None:
            self._witness.entered(envelope)

    def refused(self, envelope: Envelope, error: BaseException) -> None:
        """The message has not been accepted: its sender gets *error*."""
        if self._witness is not None:
            self._witness.refused(envelope)
        self._end(error)

    def _end(self, error: BaseException | None = None, *, cancelled: bool = False) -> None:
        """End the span of the whole message. It goes on being the parent of those below it."""
        tracer = self._observer.tracer
        if tracer is not None and self._create is not None:
            tracer.finish(self._create, error, cancelled=cancelled)

    def _note_failure(self, error: BaseException, recipient: AgentId, message: Any) -> None:
        if events.isEnabledFor(logging.INFO) and not is_cancellation(error):
            events.info(
                MessageHandlerExceptionEvent(
                    payload=self._observer.body(message),
                    handling_agent=recipient,
                    exception=error,
                )
            )

    async def _under(self, span: Span, work: Awaitable[Any]) -> Any:
        tracer = self._observer.tracer
        assert tracer is not None
        try:
            with tracer.use(span):
                result = await work
        except BaseException as exc:  # only looked at
            tracer.finish(span, exc)
            raise
        tracer.finish(span)
        return result

    def _event(
        self,
        message: Any,
        sender: AgentId | None,
        receiver: AgentId | TopicId | None,
        kind: MessageKind,
        stage: DeliveryStage,
    ) -> None:
        if events.isEnabledFor(logging.INFO):
            events.info(
                MessageEvent(
                    payload=self._observer.body(message),
                    sender=sender,
                    receiver=receiver,
                    kind=kind,
                    delivery_stage=stage,
                )
            )

    def _line(self, text: str, message: Any, *args: object) -> None:
        """Write a line whose first blank is the type of *message*, and one that shows it."""
        if lines.isEnabledFor(logging.INFO):
            lines.info(text, type(message).__name__, *args)
        if lines.isEnabledFor(logging.DEBUG):
            body = render_payload(lambda: self._observer._serialize(message))
            # In quotes where it could pass for further lines.
            lines.debug("Message body: %s", body if body.isprintable() else repr(body))
