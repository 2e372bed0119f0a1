from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
)
from trio.testing import wait_all_tasks_blocked

from trio_agents._sansio._contexts import MessageContext
from trio_agents._sansio._errors import MessageCancelled
from trio_agents._sansio._events import Payload
from trio_agents._sansio._identifiers import AgentId, TopicId
from trio_agents._sansio._tracing import MessageTracer, is_cancellation

ASKER = AgentId("editor", "eu")
WRITER = AgentId("writer", "eu")
NEWS = TopicId("news", "eu")


class Editor: ...


class Writer: ...


class Guard: ...


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Spans:
    """An SDK whose finished spans are kept in a list."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def finished(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def only(self) -> ReadableSpan:
        (span,) = self.finished()
        return span

    def parents(self) -> dict[str, str | None]:
        """Return the name of each finished span's parent by the name of the span."""
        by_id = {span.context.span_id: span.name for span in self.finished() if span.context}
        return {
            span.name: by_id[span.parent.span_id] if span.parent else None
            for span in self.finished()
        }


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def tracer(spans: Spans) -> MessageTracer:
    return chosen(spans)


def chosen(spans: Spans, *, record_bodies: bool = False) -> MessageTracer:
    tracer = MessageTracer.choose(spans.provider, record_bodies=record_bodies)
    assert tracer is not None
    return tracer


def process(
    tracer: MessageTracer, *, parent: Span | None = None, payload: Payload | None = None
) -> Span:
    return tracer.process_span(
        WRITER,
        MessageContext(sender=ASKER, topic_id=None, is_rpc=True, message_id="m-1"),
        parent=parent,
        recipient_class=Writer,
        sender_class=Editor,
        payload=payload,
    )


# choose(): is anybody listening?


def test_a_given_provider_switches_tracing_on(spans: Spans) -> None:
    assert MessageTracer.choose(spans.provider) is not None


# TEL-05
def test_the_environment_switches_tracing_off(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOGEN_DISABLE_RUNTIME_TRACING", "true")
    assert MessageTracer.choose(spans.provider) is None


def test_any_other_value_in_the_environment_leaves_tracing_on(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOGEN_DISABLE_RUNTIME_TRACING", "false")
    assert MessageTracer.choose(spans.provider) is not None


# TEL-04
def test_a_no_op_provider_switches_tracing_off() -> None:
    assert MessageTracer.choose(NoOpTracerProvider()) is None


def test_an_sdk_that_its_own_variable_disables_switches_tracing_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert MessageTracer.choose(TracerProvider()) is None


def test_tracing_is_off_while_no_provider_is_given_and_no_global_one_is_set() -> None:
    assert MessageTracer.choose(None) is None


def test_the_global_provider_is_used_when_none_is_given(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenTelemetry lets a process set its provider once; the tests need it more than once.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    tracer = MessageTracer.choose(None)
    assert tracer is not None
    tracer.finish(tracer.create_span(WRITER, parent=None))
    assert spans.only().name == "autogen create writer.(eu)-A"


def test_the_placeholder_of_the_global_provider_counts_as_off_while_there_is_none() -> None:
    assert MessageTracer.choose(ProxyTracerProvider()) is None


def test_the_placeholder_of_the_global_provider_counts_as_that_once_it_is_set(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    placeholder = trace.get_tracer_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    assert MessageTracer.choose(placeholder) is not None


# TEL-03
def test_anything_with_get_tracer_is_a_provider(spans: Spans) -> None:
    class Wrapper:
        def get_tracer(self, name: str, /) -> Tracer:
            return spans.provider.get_tracer(f"wrapped {name}")

    tracer = MessageTracer.choose(Wrapper())
    assert tracer is not None
    tracer.finish(tracer.create_span(WRITER, parent=None))
    scope = spans.only().instrumentation_scope
    assert scope is not None
    assert scope.name == "wrapped trio_agents"


def test_a_provider_without_get_tracer_is_refused_by_name() -> None:
    wrong: Any = "http://collector"
    with pytest.raises(TypeError, match=r"tracer_provider must be .* not str"):
        MessageTracer.choose(wrong)


def run_python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    return result.stdout.strip()


def test_deciding_for_silence_does_not_import_opentelemetry() -> None:
    code = (
        "import sys\n"
        "from trio_agents._sansio._tracing import MessageTracer\n"
        "assert MessageTracer.choose(None) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert run_python(code) == "[]"


def test_a_provider_that_opentelemetrys_environment_names_counts_as_on() -> None:
    code = (
        "from trio_agents._sansio._tracing import MessageTracer\n"
        "print(MessageTracer.choose(None) is not None)"
    )
    found = run_python(code, OTEL_PYTHON_TRACER_PROVIDER="sdk_tracer_provider")
    assert found == "True"


# The spans: names, kinds and attributes are those that autogen-core 0.7.5 was seen to write.


def test_create_names_the_agent_and_the_message_type(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(tracer.create_span(WRITER, parent=None, message_type="Task"))
    span = spans.only()
    assert span.name == "autogen create writer.(eu)-A"
    assert span.kind is SpanKind.PRODUCER
    assert attributes(span) == {
        "messaging.operation": "create",
        "messaging.destination": "writer.(eu)-A",
        "messaging.message.type": "Task",
    }


def test_create_names_the_topic_of_a_publication(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(tracer.create_span(NEWS, parent=None))
    assert spans.only().name == "autogen create news.(eu)-T"
    assert attributes(spans.only())["messaging.destination"] == "news.(eu)-T"


def test_intercept_names_the_class_of_the_handler(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(tracer.intercept_span(Guard(), parent=None))
    span = spans.only()
    assert span.name == "autogen intercept Guard"
    assert span.kind is SpanKind.CONSUMER
    assert attributes(span) == {
        "messaging.operation": "receive",
        "messaging.destination": "Guard",
    }


def test_the_delivery_to_an_agent_is_called_send(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(tracer.delivery_span(WRITER, parent=None))
    span = spans.only()
    assert span.name == "autogen send writer.(eu)-A"
    assert span.kind is SpanKind.PRODUCER
    assert attributes(span) == {
        "messaging.operation": "publish",
        "messaging.destination": "writer.(eu)-A",
    }


def test_the_delivery_to_a_topic_is_called_publish(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(tracer.delivery_span(NEWS, parent=None))
    span = spans.only()
    assert span.name == "autogen publish news.(eu)-T"
    assert span.kind is SpanKind.PRODUCER
    assert attributes(span) == {
        "messaging.operation": "publish",
        "messaging.destination": "news.(eu)-T",
    }


def test_process_names_both_agents_and_the_context_of_the_message(
    spans: Spans, tracer: MessageTracer
) -> None:
    tracer.finish(process(tracer))
    span = spans.only()
    assert span.name == "autogen process writer.(eu)-A"
    assert span.kind is SpanKind.CONSUMER
    found = attributes(span)
    assert json.loads(found.pop("message_context")) == {
        "sender": "editor/eu",
        "topic_id": "None",
        "is_rpc": True,
        "message_id": "m-1",
    }
    assert found == {
        "messaging.operation": "process",
        "messaging.destination": "writer.(eu)-A",
        "sender_agent_type": "editor",
        "sender_agent_class": "Editor",
        "recipient_agent_type": "writer",
        "recipient_agent_class": "Writer",
    }


def test_process_of_a_message_from_outside_names_no_sender(
    spans: Spans, tracer: MessageTracer
) -> None:
    context = MessageContext(sender=None, topic_id=NEWS, is_rpc=False)
    tracer.finish(tracer.process_span(WRITER, context, parent=None, recipient_class=Writer))
    found = attributes(spans.only())
    assert {key for key in found if key.startswith("sender")} == set()
    assert json.loads(found["message_context"])["topic_id"] == "news/eu"


def test_ack_names_who_answered_whom(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(
        tracer.ack_span(
            ASKER, parent=None, responder=WRITER, responder_class=Writer, asker_class=Editor
        )
    )
    span = spans.only()
    assert span.name == "autogen ack editor.(eu)-A"
    assert span.kind is SpanKind.CONSUMER
    assert attributes(span) == {
        "messaging.operation": "receive",
        "messaging.destination": "editor.(eu)-A",
        "sender_agent_type": "writer",
        "sender_agent_class": "Writer",
        "recipient_agent_type": "editor",
        "recipient_agent_class": "Editor",
    }


def test_ack_to_outside_has_no_destination(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(tracer.ack_span(None, parent=None, responder=WRITER, responder_class=Writer))
    assert spans.only().name == "autogen ack"
    assert attributes(spans.only())["messaging.destination"] == ""


# Message bodies


def test_a_message_body_stays_out_of_the_span_and_is_not_even_made(
    spans: Spans, tracer: MessageTracer
) -> None:
    def payload() -> str:
        raise AssertionError("nobody asked for the body")

    tracer.finish(process(tracer, payload=payload))
    assert "message" not in attributes(spans.only())


def test_a_message_body_is_recorded_when_the_application_asks_for_it(spans: Spans) -> None:
    tracer = chosen(spans, record_bodies=True)
    tracer.finish(process(tracer, payload=lambda: '{"x": 1}'))
    assert attributes(spans.only())["message"] == '{"x": 1}'


def test_the_body_of_a_reply_is_recorded_when_the_application_asks_for_it(spans: Spans) -> None:
    tracer = chosen(spans, record_bodies=True)
    tracer.finish(
        tracer.ack_span(
            None, parent=None, responder=WRITER, responder_class=Writer, payload='{"x": 1}'
        )
    )
    assert attributes(spans.only())["message"] == '{"x": 1}'


def test_a_body_that_cannot_be_made_breaks_nothing(spans: Spans) -> None:
    def payload() -> str:
        raise TypeError("a set is not JSON")

    tracer = chosen(spans, record_bodies=True)
    tracer.finish(process(tracer, payload=payload))
    assert attributes(spans.only())["message"] == "Message could not be serialized"


def test_for_a_span_that_is_not_sampled_no_message_id_or_body_is_made() -> None:
    class Context:
        sender = None
        topic_id = None
        is_rpc = True

        @property
        def message_id(self) -> str:
            raise AssertionError("nobody listens")

    def payload() -> str:
        raise AssertionError("nobody listens")

    tracer = chosen(Spans(sampler=ALWAYS_OFF), record_bodies=True)
    context: Any = Context()
    tracer.finish(
        tracer.process_span(WRITER, context, parent=None, recipient_class=Writer, payload=payload)
    )
    tracer.finish(
        tracer.ack_span(
            None, parent=None, responder=WRITER, responder_class=Writer, payload=payload
        )
    )


# Parents


def test_the_span_tree_is_the_call_tree(spans: Spans, tracer: MessageTracer) -> None:
    create = tracer.create_span(WRITER, parent=None)
    tracer.finish(tracer.intercept_span(Guard(), parent=create))
    send = tracer.delivery_span(WRITER, parent=create)
    tracer.finish(send)
    handling = process(tracer, parent=send)
    with tracer.use(handling):
        published = tracer.create_span(NEWS, parent=None)
        tracer.finish(published)
    tracer.finish(handling)
    tracer.finish(tracer.ack_span(ASKER, parent=create, responder=WRITER, responder_class=Writer))
    tracer.finish(create)

    assert spans.parents() == {
        "autogen create writer.(eu)-A": None,
        "autogen intercept Guard": "autogen create writer.(eu)-A",
        "autogen send writer.(eu)-A": "autogen create writer.(eu)-A",
        "autogen process writer.(eu)-A": "autogen send writer.(eu)-A",
        "autogen create news.(eu)-T": "autogen process writer.(eu)-A",
        "autogen ack editor.(eu)-A": "autogen create writer.(eu)-A",
    }


def test_a_given_parent_goes_before_the_current_span(spans: Spans, tracer: MessageTracer) -> None:
    cause = tracer.create_span(WRITER, parent=None)
    somebody_elses = tracer.create_span(NEWS, parent=None)
    with tracer.use(somebody_elses):
        tracer.finish(tracer.delivery_span(WRITER, parent=cause))
    tracer.finish(somebody_elses)
    tracer.finish(cause)
    assert spans.parents()["autogen send writer.(eu)-A"] == "autogen create writer.(eu)-A"


def test_a_span_of_another_process_can_be_the_parent(spans: Spans, tracer: MessageTracer) -> None:
    remote = SpanContext(
        trace_id=7, span_id=8, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    tracer.finish(tracer.delivery_span(WRITER, parent=NonRecordingSpan(remote)))
    assert spans.only().parent == remote


def test_a_span_is_not_current_until_it_is_used(tracer: MessageTracer) -> None:
    before = trace.get_current_span()
    tracer.create_span(WRITER, parent=None)
    assert trace.get_current_span() is before


# use()


def test_spans_of_user_code_inside_use_are_children_of_the_used_span(
    spans: Spans, tracer: MessageTracer
) -> None:
    handling = process(tracer)
    with tracer.use(handling):
        spans.provider.get_tracer("user").start_span("query").end()
    tracer.finish(handling)
    assert spans.parents()["query"] == "autogen process writer.(eu)-A"


def test_use_restores_the_span_before_it_and_does_not_end_its_own(
    spans: Spans, tracer: MessageTracer
) -> None:
    before = trace.get_current_span()
    with tracer.use(tracer.create_span(WRITER, parent=None)) as span:
        assert trace.get_current_span() is span
    assert trace.get_current_span() is before
    assert spans.finished() == []


def test_use_leaves_recording_an_exception_to_finish(spans: Spans, tracer: MessageTracer) -> None:
    span = tracer.create_span(WRITER, parent=None)
    error = ValueError("bad")
    with pytest.raises(ValueError, match="bad"), tracer.use(span):
        raise error
    tracer.finish(span, error)
    assert [event.name for event in spans.only().events] == ["exception"]


async def test_a_task_started_inside_use_inherits_the_span(
    spans: Spans, tracer: MessageTracer
) -> None:
    async def child() -> None:
        spans.provider.get_tracer("user").start_span("query").end()

    handling = process(tracer)
    with tracer.use(handling):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
    tracer.finish(handling)
    assert spans.parents()["query"] == "autogen process writer.(eu)-A"


async def test_concurrent_handlers_do_not_see_each_others_span(
    spans: Spans, tracer: MessageTracer
) -> None:
    async def handler(recipient: AgentId) -> None:
        span = tracer.delivery_span(recipient, parent=None)
        with tracer.use(span):
            await wait_all_tasks_blocked()
            spans.provider.get_tracer("user").start_span(f"query {recipient.key}").end()
        tracer.finish(span)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(handler, AgentId("w", "1"))
        nursery.start_soon(handler, AgentId("w", "2"))
    assert spans.parents()["query 1"] == "autogen send w.(1)-A"
    assert spans.parents()["query 2"] == "autogen send w.(2)-A"


# finish()


def test_finish_without_an_error_leaves_the_status_unset(
    spans: Spans, tracer: MessageTracer
) -> None:
    tracer.finish(tracer.create_span(WRITER, parent=None))
    assert spans.only().status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(spans.only())


def test_finish_records_an_error(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(tracer.create_span(WRITER, parent=None), ValueError("bad"))
    span = spans.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "ValueError: bad"
    assert attributes(span)["error.type"] == "ValueError"
    (event,) = span.events
    assert (event.attributes or {})["exception.message"] == "bad"


def test_finish_marks_a_span_as_cancelled_when_told_so(spans: Spans, tracer: MessageTracer) -> None:
    tracer.finish(tracer.create_span(WRITER, parent=None), cancelled=True)
    span = spans.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "cancelled"
    assert attributes(span)["trio_agents.cancelled"] is True
    assert attributes(span)["error.type"] == "cancelled"


def test_finish_does_not_record_the_error_of_a_cancelled_span(
    spans: Spans, tracer: MessageTracer
) -> None:
    tracer.finish(tracer.create_span(WRITER, parent=None), TimeoutError("late"), cancelled=True)
    assert spans.only().events == ()
    assert attributes(spans.only())["error.type"] == "TimeoutError"


def test_finish_sees_by_itself_that_an_error_is_a_cancellation(
    spans: Spans, tracer: MessageTracer
) -> None:
    tracer.finish(tracer.create_span(WRITER, parent=None), asyncio.CancelledError())
    assert spans.only().status.description == "cancelled"


def test_finish_ends_the_span_of_an_error_whose_text_cannot_be_made(
    spans: Spans, tracer: MessageTracer
) -> None:
    tracer.finish(tracer.create_span(WRITER, parent=None), Unprintable())
    span = spans.only()
    assert span.status.description == "Unprintable: Unprintable"
    (event,) = span.events
    assert (event.attributes or {})["exception.type"] == "Unprintable"


def test_finish_ends_a_span_that_is_not_sampled() -> None:
    tracer = chosen(Spans(sampler=ALWAYS_OFF))
    tracer.finish(tracer.create_span(WRITER, parent=None), ValueError("bad"))


def test_finish_ends_a_span_even_if_recording_its_outcome_is_interrupted(
    tracer: MessageTracer,
) -> None:
    class Interrupted(NonRecordingSpan):
        ended = False

        def is_recording(self) -> bool:
            raise KeyboardInterrupt

        def end(self, end_time: int | None = None) -> None:
            self.ended = True

    span = Interrupted(trace.INVALID_SPAN_CONTEXT)
    with pytest.raises(KeyboardInterrupt):
        tracer.finish(span)
    assert span.ended


# is_cancellation()


async def test_trios_cancellation_is_one() -> None:
    caught: BaseException | None = None
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            caught = exc
            raise
    assert caught is not None
    assert is_cancellation(caught)


class OwnCancelledError(asyncio.CancelledError): ...


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        OwnCancelledError(),
        MessageCancelled(),
        GeneratorExit(),
        BaseExceptionGroup("", [asyncio.CancelledError(), MessageCancelled()]),
    ],
    ids=repr,
)
def test_what_was_called_off_is_a_cancellation(error: BaseException) -> None:
    assert is_cancellation(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        TimeoutError(),
        KeyboardInterrupt(),
        SystemExit(),
        BaseException(),
        BaseExceptionGroup("", [asyncio.CancelledError(), ValueError()]),
    ],
    ids=repr,
)
def test_what_failed_is_not_a_cancellation(error: BaseException) -> None:
    assert not is_cancellation(error)
