from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from trio_agents._sansio._genai_spans import (
    trace_create_agent_span,
    trace_invoke_agent_span,
    trace_tool_span,
)

TraceSpan: TypeAlias = Callable[..., AbstractContextManager[Span]]

ALL = pytest.mark.parametrize(
    "trace_span", [trace_create_agent_span, trace_invoke_agent_span, trace_tool_span]
)
OF_AGENTS = pytest.mark.parametrize(
    ("trace_span", "operation"),
    [(trace_create_agent_span, "create_agent"), (trace_invoke_agent_span, "invoke_agent")],
)


class ToolFailure(BaseException):
    """Like the exceptions of tool_agent: a failure, though not an Exception."""


class Spans:
    """An SDK whose finished spans are kept in a list."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = self.provider.get_tracer("test")

    def finished(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def only(self) -> ReadableSpan:
        (span,) = self.finished()
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


# TEL-06, TEL-07, TEL-09
@OF_AGENTS
def test_an_agent_span_is_named_and_marked_after_its_operation(
    spans: Spans, trace_span: TraceSpan, operation: str
) -> None:
    with trace_span("writer", tracer=spans.tracer):
        pass
    span = spans.only()
    assert span.name == f"{operation} writer"
    assert span.kind is SpanKind.CLIENT
    assert attributes(span) == {
        "gen_ai.operation.name": operation,
        "gen_ai.system": "autogen",
        "gen_ai.provider.name": "autogen",
        "gen_ai.agent.name": "writer",
    }


# TEL-06, TEL-07
@OF_AGENTS
def test_an_agent_span_says_the_id_and_description_it_is_given(
    spans: Spans, trace_span: TraceSpan, operation: str
) -> None:
    with trace_span(
        "writer", tracer=spans.tracer, agent_id="writer/eu", agent_description="It writes."
    ):
        pass
    assert attributes(spans.only()).items() >= {
        ("gen_ai.operation.name", operation),
        ("gen_ai.agent.id", "writer/eu"),
        ("gen_ai.agent.description", "It writes."),
    }


# TEL-08, TEL-09
def test_a_tool_span_is_named_and_marked_after_the_tool(spans: Spans) -> None:
    with trace_tool_span("add", tracer=spans.tracer):
        pass
    span = spans.only()
    assert span.name == "execute_tool add"
    assert span.kind is SpanKind.INTERNAL
    assert attributes(span) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.system": "autogen",
        "gen_ai.provider.name": "autogen",
        "gen_ai.tool.name": "add",
    }


# TEL-08
def test_a_tool_span_says_the_description_and_call_id_it_is_given(spans: Spans) -> None:
    with trace_tool_span(
        "add", tracer=spans.tracer, tool_description="It adds.", tool_call_id="call-1"
    ):
        pass
    assert attributes(spans.only()).items() >= {
        ("gen_ai.tool.description", "It adds."),
        ("gen_ai.tool.call.id", "call-1"),
    }


@ALL
def test_the_span_is_current_inside_the_block_only(spans: Spans, trace_span: TraceSpan) -> None:
    before = trace.get_current_span()
    with trace_span("x", tracer=spans.tracer) as span:
        assert trace.get_current_span() is span
    assert trace.get_current_span() is before


@ALL
def test_without_a_parent_the_current_span_is_it(spans: Spans, trace_span: TraceSpan) -> None:
    with (
        spans.tracer.start_as_current_span("outer") as outer,
        trace_span("x", tracer=spans.tracer),
    ):
        pass
    parent = spans.finished()[0].parent
    assert parent is not None
    assert parent.span_id == outer.get_span_context().span_id


@ALL
def test_a_given_parent_goes_before_the_current_span(spans: Spans, trace_span: TraceSpan) -> None:
    given = spans.tracer.start_span("given")
    with (
        spans.tracer.start_as_current_span("outer"),
        trace_span("x", tracer=spans.tracer, parent=given),
    ):
        pass
    parent = spans.finished()[0].parent
    assert parent is not None
    assert parent.span_id == given.get_span_context().span_id


@ALL
def test_without_a_tracer_the_global_provider_makes_the_span(
    spans: Spans, trace_span: TraceSpan, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenTelemetry lets a process set its provider once; the tests need it more than once.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    with trace_span("x"):
        pass
    scope = spans.only().instrumentation_scope
    assert scope is not None
    assert scope.name == "trio_agents"


# TEL-11
@ALL
def test_without_any_provider_the_block_runs_and_nothing_is_recorded(trace_span: TraceSpan) -> None:
    with trace_span("x") as span:
        assert not span.is_recording()


@ALL
def test_an_exception_is_recorded_once_and_goes_on(spans: Spans, trace_span: TraceSpan) -> None:
    error = ValueError("bad")
    with (
        pytest.raises(ValueError, match="bad") as caught,
        trace_span("x", tracer=spans.tracer),
    ):
        raise error
    assert caught.value is error
    span = spans.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "ValueError: bad"
    assert attributes(span)["error.type"] == "ValueError"
    assert [event.name for event in span.events] == ["exception"]


def test_a_failure_that_is_no_exception_subclass_is_not_taken_for_a_cancellation(
    spans: Spans,
) -> None:
    with pytest.raises(ToolFailure), trace_tool_span("x", tracer=spans.tracer):
        raise ToolFailure("no such tool")
    assert spans.only().status.description == "ToolFailure: no such tool"
    assert "trio_agents.cancelled" not in attributes(spans.only())


@ALL
async def test_a_span_that_trio_cancels_is_ended_and_marked(
    spans: Spans, trace_span: TraceSpan
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with trace_span("x", tracer=spans.tracer):
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    span = spans.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "cancelled"
    assert attributes(span)["trio_agents.cancelled"] is True
    assert attributes(span)["error.type"] == "Cancelled"
    assert span.events == ()


@ALL
def test_a_span_that_asyncio_cancels_is_ended_and_marked(
    spans: Spans, trace_span: TraceSpan
) -> None:
    with pytest.raises(asyncio.CancelledError), trace_span("x", tracer=spans.tracer):
        raise asyncio.CancelledError
    assert spans.only().status.description == "cancelled"
    assert attributes(spans.only())["error.type"] == "CancelledError"


@ALL
def test_return_out_of_the_block_ends_the_span_as_a_success(
    spans: Spans, trace_span: TraceSpan
) -> None:
    def work() -> str:
        with trace_span("x", tracer=spans.tracer):
            return "done"

    assert work() == "done"
    assert spans.only().status.status_code is StatusCode.UNSET


# TEL-11
def test_importing_the_module_does_not_import_opentelemetry() -> None:
    code = (
        "import sys, trio_agents._sansio._genai_spans\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.stdout.strip() == "[]"
