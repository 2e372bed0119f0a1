"""The spans that a runtime makes: their tree is the tree of calls, and silence makes none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from trio_agents import (
    AgentId,
    CancellationToken,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    message_handler,
    trace_tool_span,
)
from trio_agents.exceptions import MessageDroppedException, Overloaded, UndeliverableException

from . import loop
from .loop import MockClock, SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

A, B = AgentId("a", "k"), AgentId("b", "k")
NEWS = TopicId("news", "k")

Tree: TypeAlias = dict[str, "Tree"]


class Spans:
    """An SDK whose finished spans are kept in a list."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def finished(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.finished() if span.name == name]
        return span

    def tree(self) -> Tree:
        """Give the finished spans as a tree of names, in the order in which they began."""
        by_id: dict[int | None, Tree] = {None: {}}
        spans = sorted(self.finished(), key=lambda span: span.start_time or 0)
        for span in spans:
            assert span.context is not None
            parent = by_id[span.parent.span_id if span.parent else None]
            name = span.name.removeprefix("autogen ")
            while name in parent:
                name += " again"
            by_id[span.context.span_id] = parent[name] = {}
        return by_id[None]


Act = Callable[["Actor", MessageContext], Awaitable[Any]]


@dataclass
class Do:
    """A message that says what its handler does."""

    act: Act


class Actor(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("does what it is told")

    @message_handler
    async def on_do(self, message: Do, ctx: MessageContext) -> Any:
        return await message.act(self, ctx)


async def reply(agent: Actor, ctx: MessageContext) -> str:
    return "done"


async def fail(agent: Actor, ctx: MessageContext) -> None:
    raise ValueError("cannot")


async def wait(agent: Actor, ctx: MessageContext) -> None:
    await loop.sleep_forever()


@pytest.fixture
def spans() -> Spans:
    return Spans()


async def add_actors(runtime: SingleThreadedAgentRuntime, **options: Any) -> None:
    for name in ("a", "b"):
        await Actor.register(runtime, name, Actor, **options)
        await runtime.add_subscription(TypeSubscription("news", name))


# TEL-01, TEL-02, TEL-03, ST-05
async def test_a_request_is_a_tree_of_four_spans(spans: Spans) -> None:
    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        await runtime.send_message(Do(reply), B, sender=A)
    assert spans.tree() == {
        "create b.(k)-A": {"send b.(k)-A": {"process b.(k)-A": {}}, "ack a.(k)-A": {}}
    }
    kinds = {span.name.split()[1]: span.kind for span in spans.finished()}
    assert kinds == {
        "create": SpanKind.PRODUCER,
        "send": SpanKind.PRODUCER,
        "process": SpanKind.CONSUMER,
        "ack": SpanKind.CONSUMER,
    }
    process = dict(spans.named("autogen process b.(k)-A").attributes or {})
    assert process["sender_agent_type"] == "a"
    assert process["recipient_agent_type"] == "b"
    assert process["recipient_agent_class"] == "Actor"
    assert all(span.status.status_code is not StatusCode.ERROR for span in spans.finished())


# TEL-02
async def test_nested_requests_and_publications_make_the_tree_of_calls(spans: Spans) -> None:
    async def publish(agent: Actor, ctx: MessageContext) -> None:
        await agent.publish_message(Do(reply), NEWS)

    async def ask(agent: Actor, ctx: MessageContext) -> Any:
        return await agent.send_message(Do(publish), B)

    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        await runtime.send_message(Do(ask), A)
    assert spans.tree() == {
        "create a.(k)-A": {
            "send a.(k)-A": {
                "process a.(k)-A": {
                    "create b.(k)-A": {
                        "send b.(k)-A": {
                            "process b.(k)-A": {
                                # B published, so only A hears it.
                                "create news.(k)-T": {"publish news.(k)-T": {"process a.(k)-A": {}}}
                            }
                        },
                        "ack a.(k)-A": {},
                    }
                }
            },
            "ack": {},
        }
    }


async def test_requests_side_by_side_do_not_mix_their_spans(spans: Spans) -> None:
    async def ask_twice(agent: Actor, ctx: MessageContext) -> None:
        async with loop.open_nursery() as nursery:
            nursery.start_soon(agent.send_message, Do(yielding), AgentId("b", "1"))
            nursery.start_soon(agent.send_message, Do(yielding), AgentId("b", "2"))

    async def yielding(agent: Actor, ctx: MessageContext) -> None:
        for _ in range(3):
            await loop.checkpoint()

    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        await runtime.send_message(Do(ask_twice), A)
    inner = spans.tree()["create a.(k)-A"]["send a.(k)-A"]["process a.(k)-A"]
    assert inner == {
        f"create b.({n})-A": {
            f"send b.({n})-A": {f"process b.({n})-A": {}},
            "ack a.(k)-A": {},
        }
        for n in (1, 2)
    }


async def test_a_publication_has_a_span_for_each_recipient(spans: Spans) -> None:
    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        await runtime.publish_message(Do(reply), NEWS)
    names = sorted(span.name for span in spans.finished())
    assert names == [
        "autogen create news.(k)-T",
        "autogen process a.(k)-A",
        "autogen process b.(k)-A",
        "autogen publish news.(k)-T",
        "autogen publish news.(k)-T",
    ]
    by_id = {span.context.span_id: span for span in spans.finished() if span.context}
    for name in ("a", "b"):
        process = spans.named(f"autogen process {name}.(k)-A")
        assert process.parent is not None
        publish = by_id[process.parent.span_id]
        assert publish.name == "autogen publish news.(k)-T"
        assert publish.parent is not None
        assert by_id[publish.parent.span_id].name == "autogen create news.(k)-T"


async def test_a_publication_that_reaches_nobody_has_one_span(spans: Spans) -> None:
    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await runtime.publish_message(Do(reply), NEWS)
    assert spans.tree() == {"create news.(k)-T": {}}


class Guard(DefaultInterventionHandler):
    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        return DropMessage if message == "drop" else message


class Reader(DefaultInterventionHandler):
    pass


async def test_each_intervention_handler_has_a_span(spans: Spans) -> None:
    async with open_runtime(
        tracer_provider=spans.provider, intervention_handlers=[Guard(), Reader()]
    ) as runtime:
        await add_actors(runtime)
        await runtime.send_message(Do(reply), A)
        with pytest.raises(MessageDroppedException):
            await runtime.send_message("drop", B)
    tree = spans.tree()
    assert list(tree["create a.(k)-A"]) == [
        "intercept Guard",
        "intercept Reader",
        "send a.(k)-A",
        "intercept Guard again",  # these two see the reply
        "intercept Reader again",
        "ack",
    ]
    assert tree["create b.(k)-A"] == {"intercept Guard": {}}
    assert error_of(spans.named("autogen create b.(k)-A")) == "MessageDroppedException"


def error_of(span: ReadableSpan) -> object:
    assert span.status.status_code is StatusCode.ERROR
    return dict(span.attributes or {})["error.type"]


# RT-03
async def test_a_failure_is_recorded_at_the_handler_and_at_the_sender(spans: Spans) -> None:
    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        with pytest.raises(ValueError, match="cannot"):
            await runtime.send_message(Do(fail), A)
    assert spans.tree() == {"create a.(k)-A": {"send a.(k)-A": {"process a.(k)-A": {}}}}
    for operation in ("create", "process"):
        span = spans.named(f"autogen {operation} a.(k)-A")
        assert error_of(span) == "ValueError"
        (recorded,) = span.events
        assert dict(recorded.attributes or {})["exception.message"] == "cannot"
    assert spans.named("autogen send a.(k)-A").status.status_code is not StatusCode.ERROR


async def test_a_failure_of_a_publication_is_recorded_at_the_handler_alone(spans: Spans) -> None:
    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await Actor.register(runtime, "a", Actor)
        await runtime.add_subscription(TypeSubscription("news", "a"))
        await runtime.publish_message(Do(fail), NEWS)
    assert error_of(spans.named("autogen process a.(k)-A")) == "ValueError"
    create = spans.named("autogen create news.(k)-T")
    assert create.status.status_code is not StatusCode.ERROR  # the publisher was not told


async def test_a_cancelled_request_is_marked_as_such(
    spans: Spans, autojump_clock: MockClock
) -> None:
    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        with loop.move_on_after(1):
            await runtime.send_message(Do(wait), A)
    assert spans.tree() == {"create a.(k)-A": {"send a.(k)-A": {"process a.(k)-A": {}}}}
    for operation in ("create", "process"):
        span = spans.named(f"autogen {operation} a.(k)-A")
        assert dict(span.attributes or {})["trio_agents.cancelled"] is True
        assert span.status.description == "cancelled"
        assert span.events == ()  # nothing failed


async def test_a_request_that_is_cancelled_in_the_queue_has_its_span_ended(spans: Spans) -> None:
    token = CancellationToken()
    async with SingleThreadedAgentRuntime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        async with loop.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(loop.MessageCancelled):
                    await runtime.send_message(Do(reply), A, cancellation_token=token)

            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            token.cancel()
    span = spans.named("autogen create a.(k)-A")
    assert dict(span.attributes or {})["trio_agents.cancelled"] is True


async def test_a_message_that_is_not_accepted_has_its_span_ended(spans: Spans) -> None:
    async with SingleThreadedAgentRuntime(
        tracer_provider=spans.provider, max_pending=1, overflow="raise"
    ) as runtime:
        await add_actors(runtime)
        await runtime.publish_message(Do(reply), TopicId("nobody", "k"))
        with pytest.raises(Overloaded):
            await runtime.publish_message(Do(reply), NEWS)
        with pytest.raises(Overloaded):
            await runtime.send_message(Do(reply), A)
    for name in ("autogen create news.(k)-T", "autogen create a.(k)-A"):
        assert error_of(spans.named(name)) == "Overloaded"


async def test_what_the_end_of_the_block_leaves_undelivered_has_its_span_ended(
    spans: Spans,
) -> None:
    async with loop.open_nursery() as nursery:
        async with SingleThreadedAgentRuntime(tracer_provider=spans.provider) as runtime:
            await add_actors(runtime)

            async def send() -> None:
                with pytest.raises(UndeliverableException):
                    await runtime.send_message(Do(reply), A)

            nursery.start_soon(send)
            await runtime.publish_message(Do(reply), NEWS)
            await wait_all_tasks_blocked()
    for name in ("autogen create a.(k)-A", "autogen create news.(k)-T"):
        assert error_of(spans.named(name)) == "UndeliverableException"


# TEL-02, TEL-08
async def test_spans_of_the_application_are_children_of_the_handler_s(spans: Spans) -> None:
    tracer = spans.provider.get_tracer("application")

    async def work(agent: Actor, ctx: MessageContext) -> None:
        with tracer.start_as_current_span("work"):
            with trace_tool_span("hammer", tracer=tracer):
                await agent.send_message(Do(reply), B)

    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        with tracer.start_as_current_span("main"):
            await runtime.send_message(Do(work), A)
    inner = spans.tree()["main"]["create a.(k)-A"]["send a.(k)-A"]["process a.(k)-A"]
    assert list(inner["work"]["execute_tool hammer"]) == ["create b.(k)-A"]


async def test_a_handler_leaves_no_span_behind_for_the_next(spans: Spans) -> None:
    tracer = spans.provider.get_tracer("application")
    found: list[bool] = []

    async def forget(agent: Actor, ctx: MessageContext) -> None:
        trace.use_span(tracer.start_span("forgotten")).__enter__()

    async def look(agent: Actor, ctx: MessageContext) -> None:
        span = trace.get_current_span()
        assert isinstance(span, ReadableSpan)
        found.append(span.name == "autogen process a.(k)-A")

    async with open_runtime(tracer_provider=spans.provider) as runtime:
        await add_actors(runtime)
        for _ in range(3):
            await runtime.send_message(Do(forget), A)
            await runtime.send_message(Do(look), A)
    assert found == [True, True, True]


# TEL-01
async def test_a_provider_that_the_application_made_global_is_used(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenTelemetry lets a process set its provider once.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    async with open_runtime() as runtime:
        await add_actors(runtime)
        await runtime.send_message(Do(reply), A)
    assert "create a.(k)-A" in spans.tree()


class NoSpans:
    """A provider that refuses to be asked for anything."""

    def get_tracer(self, *args: Any, **options: Any) -> Any:
        raise AssertionError("nobody was to ask")


# TEL-05, ST-05
async def test_the_environment_switches_spans_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGEN_DISABLE_RUNTIME_TRACING", "true")
    provider: Any = NoSpans()
    async with open_runtime(tracer_provider=provider) as runtime:
        await add_actors(runtime)
        assert await runtime.send_message(Do(reply), A) == "done"


# TEL-04
async def test_a_no_op_provider_switches_spans_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(agent: Actor, ctx: MessageContext) -> object:
        return trace.get_current_span()

    monkeypatch.setattr(trace.NoOpTracer, "start_span", refuse)
    async with open_runtime(tracer_provider=NoOpTracerProvider()) as runtime:
        await add_actors(runtime)
        assert await runtime.send_message(Do(look), A) is trace.INVALID_SPAN


def refuse(*args: Any, **options: Any) -> None:
    raise AssertionError("no span was to be made")


# TEL-11
async def test_without_a_provider_no_span_is_made() -> None:
    async def look(agent: Actor, ctx: MessageContext) -> object:
        return trace.get_current_span()

    async with open_runtime() as runtime:
        await add_actors(runtime)
        assert await runtime.send_message(Do(look), A) is trace.INVALID_SPAN


# TEL-10
async def test_spans_carry_the_resource_that_the_application_set_up() -> None:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({SERVICE_NAME: "digest"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    async with open_runtime(tracer_provider=provider) as runtime:
        await add_actors(runtime)
        await runtime.send_message(Do(reply), A)
    provider.shutdown()
    spans = exporter.get_finished_spans()
    assert len(spans) == 4
    assert {span.resource.attributes[SERVICE_NAME] for span in spans} == {"digest"}
