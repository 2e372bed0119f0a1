"""Spans for agents and tools after OpenTelemetry's conventions for generative AI.

They are for components and applications: a tool is run inside `trace_tool_span`, an agent that
answers with a model inside `trace_invoke_agent_span`. Unlike the runtime's own spans
(`MessageTracer`) they are made for every tracer, and ``AUTOGEN_DISABLE_RUNTIME_TRACING`` is not
about them; without a provider OpenTelemetry hands out spans that record nothing.

The attribute names stand here as constants of our own. The package that has them
(``opentelemetry-semantic-conventions``) marks them as deprecated, since the conventions moved to a
repository of theirs; and they are still in incubation, so names may change.

Left out: a variant for streams. A span that is current around a ``yield`` of an async generator
leaks into the code that reads the stream; start such a span with an explicit parent instead.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ._tracing import SCOPE_NAME, end_span

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanKind, Tracer

__all__ = ["trace_create_agent_span", "trace_invoke_agent_span", "trace_tool_span"]

# https://opentelemetry.io/docs/specs/semconv/gen-ai/ - and, checked by running it, what AutoGen
# Core 0.7 sets. It only knows gen_ai.system, which the conventions have since renamed to
# gen_ai.provider.name: we set both, so that dashboards of either age find the spans.
_OPERATION_NAME: Final = "gen_ai.operation.name"
_SYSTEM: Final = "gen_ai.system"
_PROVIDER_NAME: Final = "gen_ai.provider.name"
_AGENT_NAME: Final = "gen_ai.agent.name"
_AGENT_ID: Final = "gen_ai.agent.id"
_AGENT_DESCRIPTION: Final = "gen_ai.agent.description"
_TOOL_NAME: Final = "gen_ai.tool.name"
_TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"

_AUTOGEN: Final = "autogen"  # the value that AutoGen's dashboards select by


@contextmanager
def trace_create_agent_span(
    agent_name: str,
    *,
    tracer: Tracer | None = None,
    parent: Span | None = None,
    agent_id: str | None = None,
    agent_description: str | None = None,
) -> Generator[Span, Any, None]:
    """Trace the creation of an agent: the span ``create_agent <agent_name>`` around a block.

    The span is current inside the block and always ended after it. An exception out of the block
    is recorded with status ERROR and ``error.type``, a cancellation is marked as such; both go on.

    Args:
        agent_name: the agent's name.
        tracer: where the span comes from; None for the global provider.
        parent: its parent; None for the current span.
        agent_id: the agent's identifier.
        agent_description: what the agent is for.
    """
    from opentelemetry.trace import SpanKind

    attributes = {
        _AGENT_NAME: agent_name,
        _AGENT_ID: agent_id,
        _AGENT_DESCRIPTION: agent_description,
    }
    with _span("create_agent", agent_name, SpanKind.CLIENT, tracer, parent, attributes) as span:
        yield span


@contextmanager
def trace_invoke_agent_span(
    agent_name: str,
    *,
    tracer: Tracer | None = None,
    parent: Span | None = None,
    agent_id: str | None = None,
    agent_description: str | None = None,
) -> Generator[Span, Any, None]:
    """Trace an agent at work: the span ``invoke_agent <agent_name>`` around a block.

    The span is current inside the block and always ended after it. An exception out of the block
    is recorded with status ERROR and ``error.type``, a cancellation is marked as such; both go on.

    Args:
        agent_name: the agent's name.
        tracer: where the span comes from; None for the global provider.
        parent: its parent; None for the current span.
        agent_id: the agent's identifier.
        agent_description: what the agent is for.
    """
    from opentelemetry.trace import SpanKind

    attributes = {
        _AGENT_NAME: agent_name,
        _AGENT_ID: agent_id,
        _AGENT_DESCRIPTION: agent_description,
    }
    with _span("invoke_agent", agent_name, SpanKind.CLIENT, tracer, parent, attributes) as span:
        yield span


@contextmanager
def trace_tool_span(
    tool_name: str,
    *,
    tracer: Tracer | None = None,
    parent: Span | None = None,
    tool_description: str | None = None,
    tool_call_id: str | None = None,
) -> Generator[Span, Any, None]:
    """Trace a tool at work: the span ``execute_tool <tool_name>`` around a block.

    The span is current inside the block and always ended after it. An exception out of the block
    is recorded with status ERROR and ``error.type``, a cancellation is marked as such; both go on.

    Args:
        tool_name: the tool's name.
        tracer: where the span comes from; None for the global provider.
        parent: its parent; None for the current span.
        tool_description: what the tool is for.
        tool_call_id: the id that the model gave to this call.
    """
    from opentelemetry.trace import SpanKind

    attributes = {
        _TOOL_NAME: tool_name,
        _TOOL_DESCRIPTION: tool_description,
        _TOOL_CALL_ID: tool_call_id,
    }
    with _span("execute_tool", tool_name, SpanKind.INTERNAL, tracer, parent, attributes) as span:
        yield span


@contextmanager
def _span(
    operation: str,
    name: str,
    kind: SpanKind,
    tracer: Tracer | None,
    parent: Span | None,
    attributes: dict[str, str | None],
) -> Generator[Span, Any, None]:
    from opentelemetry import trace

    if tracer is None:
        tracer = trace.get_tracer(SCOPE_NAME)
    given = {key: value for key, value in attributes.items() if value is not None}
    span = tracer.start_span(
        f"{operation} {name}",
        context=None if parent is None else trace.set_span_in_context(parent),
        kind=kind,
        attributes={
            _OPERATION_NAME: operation,
            _SYSTEM: _AUTOGEN,
            _PROVIDER_NAME: _AUTOGEN,
            **given,
        },
    )
    try:
        # Exceptions are recorded once, by end_span: use_span knows nothing of cancellations.
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield span
    except BaseException as exc:
        end_span(span, exc)
        raise
    else:
        end_span(span)
