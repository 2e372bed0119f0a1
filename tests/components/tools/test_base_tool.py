from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import date
from typing import Any, Self

import anyio
import autogen_core
import autogen_core.tools
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    ValidationError,
    computed_field,
)

from trio_agents import EVENT_LOGGER_NAME, CancellationToken, Component, ComponentPolicy
from trio_agents.exceptions import StateError
from trio_agents.logging import ToolCallEvent
from trio_agents.tools import BaseStreamTool, BaseTool, BaseToolWithState, StreamTool, Tool

TOKEN = CancellationToken()


class Args(BaseModel):
    query: str = Field(description="The words.")
    limit: int = 5


class Search(BaseTool[Args, list[str]]):
    def __init__(self) -> None:
        super().__init__(Args, list[str], "search", "Search for words.")

    async def run(self, args: Args, cancellation_token: CancellationToken) -> list[str]:
        if args.query == "fail":
            raise LookupError("nothing found")
        if args.query == "wait":
            cancellation_token.cancel()
            await anyio.sleep_forever()
        return [args.query] * args.limit


class TheirArgs(BaseModel):
    query: str = Field(description="The words.")
    limit: int = 5


class TheirSearch(autogen_core.tools.BaseTool[TheirArgs, list[str]]):
    def __init__(self) -> None:
        super().__init__(TheirArgs, list[str], "search", "Search for words.")

    async def run(
        self, args: TheirArgs, cancellation_token: autogen_core.CancellationToken
    ) -> list[str]:
        return []


# TL-02
def test_the_schema_comes_from_the_model_of_the_arguments() -> None:
    tool = Search()
    assert tool.schema == TheirSearch().schema
    assert isinstance(tool, Tool)
    assert not isinstance(tool, StreamTool)
    assert (tool.args_type(), tool.return_type(), tool.state_type()) == (Args, list[str], None)


async def test_arguments_are_checked_before_the_tool_runs() -> None:
    assert await Search().run_json({"query": "a", "limit": 2}, TOKEN) == ["a", "a"]
    with pytest.raises(ValidationError, match="query"):
        await Search().run_json({}, TOKEN)


async def test_a_tool_that_knows_nothing_of_tokens_is_cancelled_by_one(
    MessageCancelled: type[BaseException],
) -> None:
    with pytest.raises(MessageCancelled, match="the tool search was cancelled by its token"):
        await Search().run_json({"query": "wait"}, CancellationToken())


async def test_a_tool_without_state_has_none_to_save() -> None:
    assert await Search().save_state_json() == {}
    await Search().load_state_json({})


class Count(BaseModel):
    count: int = 0


class Nothing(BaseModel): ...


class Counter(BaseToolWithState[Nothing, int, Count]):
    def __init__(self) -> None:
        super().__init__(Nothing, int, Count, "count", "Count.")
        self.state = Count()

    async def run(self, args: Nothing, cancellation_token: CancellationToken) -> int:
        self.state.count += 1
        return self.state.count

    def save_state(self) -> Count:
        return self.state

    def load_state(self, state: Count) -> None:
        self.state = state


async def test_a_tool_with_state_saves_and_loads_it() -> None:
    tool, other = Counter(), Counter()
    await tool.run_json({}, TOKEN)
    state = json.loads(json.dumps(await tool.save_state_json()))
    assert state == {"count": 1}
    await other.load_state_json(state)
    assert await other.run_json({}, TOKEN) == 2
    assert other.state_type() is Count


class Remembered(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    count: int = Field(default=0, alias="n")
    since: date | None = None
    seen: set[int] = set()
    parsed: Json[Any] = None
    token: SecretStr | None = None

    @computed_field
    def double(self) -> int:
        return 2 * self.count


class Remembering(BaseToolWithState[Nothing, int, Remembered]):
    def __init__(self, state: Remembered) -> None:
        super().__init__(Nothing, int, Remembered, "remember", "Remember.")
        self.state = state

    async def run(self, args: Nothing, cancellation_token: CancellationToken) -> int:
        return self.state.count

    def save_state(self) -> Remembered:
        return self.state

    def load_state(self, state: Remembered) -> None:
        self.state = state


async def test_whatever_pydantic_makes_of_it_a_state_comes_back() -> None:
    state = Remembered(n=3, since=date(2026, 1, 31), seen={1, 2}, parsed='{"a": [1]}')
    other = Remembering(Remembered())
    saved = json.loads(json.dumps(await Remembering(state).save_state_json()))
    await other.load_state_json(saved)
    assert other.state == state


async def test_a_state_that_would_not_come_back_is_refused() -> None:
    tool = Remembering(Remembered(token=SecretStr("hunter2")))
    with pytest.raises(StateError, match=r"the tool remember, Remembered\.token: JSON masks"):
        await tool.save_state_json()


async def test_a_state_that_is_none_leaves_the_tool_as_it_was() -> None:
    tool = Counter()
    await tool.run_json({}, TOKEN)
    with pytest.raises(ValidationError):
        await tool.load_state_json({"count": "many"})
    assert tool.save_state() == Count(count=1)


class Download(BaseStreamTool[Args, int, str]):
    """Tells the numbers up to its limit, then its query."""

    def __init__(self) -> None:
        super().__init__(Args, str, "download", "Download.")
        self.closed = 0
        self.spans: list[Any] = []

    async def run(self, args: Args, cancellation_token: CancellationToken) -> str:
        return args.query

    async def run_stream(
        self, args: Args, cancellation_token: CancellationToken
    ) -> AsyncGenerator[int | str, None]:
        try:
            for number in range(args.limit):
                self.spans.append(trace.get_current_span().get_span_context().span_id)
                await anyio.lowlevel.checkpoint()
                yield number
            if args.query == "wait":
                cancellation_token.cancel()
                await anyio.sleep_forever()
            if args.query == "fail":
                raise LookupError("nothing found")
            if args.limit or args.query != "nothing":
                yield args.query
        finally:
            self.closed += 1


async def items(tool: Download, **arguments: Any) -> list[Any]:
    found: list[Any] = []
    async with aclosing(tool.run_json_stream(arguments, CancellationToken())) as stream:
        async for item in stream:
            found.append(item)  # noqa: PERF401
    return found


async def test_a_stream_tool_gives_what_it_has_to_tell_and_last_its_result() -> None:
    tool = Download()
    assert isinstance(tool, StreamTool)
    assert await items(tool, query="end", limit=2) == [0, 1, "end"]
    assert await tool.run_json({"query": "end"}, TOKEN) == "end"


async def test_a_stream_tool_is_cancelled_by_its_token(
    MessageCancelled: type[BaseException],
) -> None:
    tool = Download()
    with pytest.raises(MessageCancelled):
        await items(tool, query="wait", limit=1)
    assert tool.closed == 1


async def test_a_stream_tool_that_was_cancelled_between_two_items_had_begun(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()
    async with aclosing(Download().run_json_stream({"query": "x"}, token)) as stream:
        assert await anext(stream) == 0
        token.cancel()
        with pytest.raises(MessageCancelled, match=r"download was cancelled by its token$"):
            await anext(stream)


async def test_a_stream_that_is_left_early_is_closed() -> None:
    tool = Download()
    async with aclosing(tool.run_json_stream({"query": "x"}, TOKEN)) as stream:
        assert await anext(stream) == 0
    assert tool.closed == 1


async def test_a_stream_that_fails_fails_where_it_is_read() -> None:
    with pytest.raises(LookupError, match="nothing found"):
        await items(Download(), query="fail", limit=1)
    with pytest.raises(ValidationError):
        await items(Download(), limit=1)


async def test_a_stream_without_a_result_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="download has ended without a result"):
        await items(Download(), query="nothing", limit=0)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


# TL-24
async def test_a_run_is_a_span(spans: InMemorySpanExporter) -> None:
    await Search().run_json({"query": "a"}, TOKEN, call_id="call-1")
    [span] = spans.get_finished_spans()
    assert span.name == "execute_tool search"
    assert span.attributes is not None
    assert span.attributes["gen_ai.tool.name"] == "search"
    assert span.attributes["gen_ai.tool.description"] == "Search for words."
    assert span.attributes["gen_ai.tool.call.id"] == "call-1"
    assert span.status.status_code is StatusCode.UNSET


# TL-24
async def test_a_run_that_fails_is_a_span_that_has_failed(spans: InMemorySpanExporter) -> None:
    with pytest.raises(LookupError):
        await Search().run_json({"query": "fail"}, TOKEN)
    with pytest.raises(LookupError):
        await items(Download(), query="fail", limit=1)
    for span in spans.get_finished_spans():
        assert span.status.status_code is StatusCode.ERROR


# TL-24
async def test_the_span_of_a_stream_is_current_in_the_tool_and_not_in_its_reader(
    spans: InMemorySpanExporter,
) -> None:
    tool = Download()
    async with aclosing(tool.run_json_stream({"query": "x", "limit": 2}, TOKEN)) as stream:
        async for _ in stream:
            assert trace.get_current_span() is trace.INVALID_SPAN
    [span] = spans.get_finished_spans()
    assert span.name == "execute_tool download"
    assert span.context is not None
    assert tool.spans == [span.context.span_id] * 2


async def test_a_stream_that_is_left_early_is_no_failure(spans: InMemorySpanExporter) -> None:
    async with aclosing(Download().run_json_stream({"query": "x"}, TOKEN)) as stream:
        await anext(stream)
    [span] = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET


async def test_a_result_is_logged_as_an_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, EVENT_LOGGER_NAME)
    await Search().run_json({"query": "a", "limit": 1}, TOKEN)
    await items(Download(), query="end", limit=1)
    first, second = (record.msg for record in caplog.records if record.name == EVENT_LOGGER_NAME)
    assert isinstance(first, ToolCallEvent)
    assert json.loads(str(first)) == {
        "type": "ToolCall",
        "tool_name": "search",
        "arguments": {"query": "a", "limit": 1},
        "result": '["a"]',
        "agent_id": None,
    }
    assert isinstance(second, ToolCallEvent)
    assert second.result == "end"


class GreeterConfig(BaseModel):
    greeting: str


class Greeter(BaseTool[Nothing, str], Component[GreeterConfig]):
    """Greets."""

    component_config_schema = GreeterConfig

    def __init__(self, greeting: str) -> None:
        super().__init__(Nothing, str, "greet", "Greet.")
        self._greeting = greeting

    async def run(self, args: Nothing, cancellation_token: CancellationToken) -> str:
        return self._greeting

    def _to_config(self) -> GreeterConfig:
        return GreeterConfig(greeting=self._greeting)

    @classmethod
    def _from_config(cls, config: GreeterConfig) -> Self:
        return cls(config.greeting)


async def test_a_tool_of_the_application_is_dumped_and_loaded_without_code() -> None:
    model = Greeter("Hello").dump_component()
    assert model.component_type == "tool"
    assert model.config == {"greeting": "Hello"}
    policy = ComponentPolicy(classes=[Greeter])
    loaded: BaseTool[Any, Any] = BaseTool.load_component(model, policy=policy)
    assert await loaded.run_json({}, TOKEN) == "Hello"
