"""Spans for agents and tools after OpenTelemetry's conventions for generative AI.

They are for components and applications: a tool is run inside `trace_tool_span`, an agent that
answers with a model inside `trace_invoke_agent_span`. Unlike the runtime's own spans
(`MessageTracer`) they are made for every tracer, and ``AUTOGEN_DISABLE_RUNTIME_TRACING`` is not
about them; without a provider OpenTelemetry hands out spans that record nothing.

The attribute names stand here as constants of our own. The package that has them
(``opentelemetry-semantic-conventions``) marks them as deprecated, since the conventions moved to a
repository of theirs; and they are still in incubation, so names may change.

A span that is current around a ``yield`` of an async generator leaks into the code that reads the
stream. So a tool that streams has `ToolStreamSpan`, which is current only while the tool runs.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from ._tracing import SCOPE_NAME, end_span

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanKind, Tracer

__all__ = [
    "ToolStreamSpan",
    "trace_create_agent_span",
    "trace_invoke_agent_span",
    "trace_tool_span",
]

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
    span = _start_tool(tool_name, tracer, parent, tool_description, tool_call_id)
    with _current_until_ended(span):
        yield span


class ToolStreamSpan:
    """The span of `trace_tool_span`, for a tool that gives its results one by one."""

    def __init__(
        self,
        tool_name: str,
        *,
        tool_description: str | None = None,
        tool_call_id: str | None = None,
    ) -> None:
        """Start the span. Its parent is the current one."""
        self._span = _start_tool(tool_name, None, None, tool_description, tool_call_id)

    def running(self) -> AbstractContextManager[Span]:
        """Make the span current for a block, in which the tool runs."""
        return _current(self._span)

    def end(self, error: BaseException | None = None) -> None:
        """End it, with the exception that has ended the tool."""
        end_span(self._span, error)


def _start_tool(
    name: str,
    tracer: Tracer | None,
    parent: Span | None,
    description: str | None,
    call_id: str | None,
) -> Span:
    from opentelemetry.trace import SpanKind

    attributes = {_TOOL_NAME: name, _TOOL_DESCRIPTION: description, _TOOL_CALL_ID: call_id}
    return _start("execute_tool", name, SpanKind.INTERNAL, tracer, parent, attributes)


@contextmanager
def _span(
    operation: str,
    name: str,
    kind: SpanKind,
    tracer: Tracer | None,
    parent: Span | None,
    attributes: dict[str, str | None],
) -> Generator[Span, Any, None]:
    span = _start(operation, name, kind, tracer, parent, attributes)
    with _current_until_ended(span):
        yield span


def _start(
    operation: str,
    name: str,
    kind: SpanKind,
    tracer: Tracer | None,
    parent: Span | None,
    attributes: dict[str, str | None],
) -> Span:
    from opentelemetry import trace

    if tracer is None:
        tracer = trace.get_tracer(SCOPE_NAME)
    given = {key: value for key, value in attributes.items() if value is not None}
    return tracer.start_span(
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


def _current(span: Span) -> AbstractContextManager[Span]:
    from opentelemetry import trace

    # Exceptions are recorded once, by end_span: use_span knows nothing of cancellations.
    return trace.use_span(span, record_exception=False, set_status_on_exception=False)


@contextmanager
def _current_until_ended(span: Span) -> Generator[None, Any, None]:
    try:
        with _current(span):
            yield
    except BaseException as exc:
        end_span(span, exc)
        raise
    else:
        end_span(span)
