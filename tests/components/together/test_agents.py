"""Agents that hand components' values to each other, and keep them in their states."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import attrs
import pytest
from pydantic import BaseModel

import trio_agents
import trio_agents.asyncio
from trio_agents import (
    JSON_DATA_CONTENT_TYPE,
    AgentId,
    AgentRuntime,
    CancellationToken,
    FunctionCall,
    Image,
    MessageContext,
    RoutedAgent,
    SerializationRegistry,
    message_handler,
    try_get_known_serializers_for_type,
)
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.memory import ListMemory, MemoryContent, MemoryMimeType
from trio_agents.model_context import BufferedChatCompletionContext
from trio_agents.models import (
    AssistantMessage,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from trio_agents.tool_agent import ToolAgent, tool_agent_caller_loop
from trio_agents.tools import ImageResultContent, TextResultContent, ToolResult

pillow: Any = pytest.importorskip("PIL.Image")

OpenRuntime = Callable[..., AbstractAsyncContextManager[AgentRuntime]]

PICTURE = Image.from_pil(pillow.new("RGB", (2, 1), "red"))
CALL = FunctionCall(id="1", name="f", arguments='{"x": 1}')
MESSAGES: list[LLMMessage] = [
    SystemMessage(content="be brief"),
    UserMessage(content="text", source="user"),
    UserMessage(content=["look", PICTURE], source="user"),
    AssistantMessage(content="text", thought="hm", source="a"),
    AssistantMessage(content=[CALL], source="a"),
    FunctionExecutionResultMessage(
        content=[FunctionExecutionResult(content="r", name="f", call_id="1", is_error=False)]
    ),
]
USAGE = RequestUsage(prompt_tokens=1, completion_tokens=2)
ANSWERS = [
    CreateResult(finish_reason="stop", content="text", usage=USAGE, cached=False, thought="hm"),
    CreateResult(finish_reason="function_calls", content=[CALL], usage=USAGE, cached=True),
]
RESULT = ToolResult(
    name="f",
    result=[TextResultContent(content="x"), ImageResultContent(content=PICTURE)],
    is_error=True,
)


class AsPydantic(BaseModel):
    messages: list[LLMMessage]
    answers: list[CreateResult]
    result: ToolResult | None = None
    last: LLMMessage | None = None
    picture: Image | None = None
    calls: list[FunctionCall] = []


@dataclass
class AsDataclass:
    messages: list[LLMMessage]
    answers: list[CreateResult]
    result: ToolResult | None = None
    last: LLMMessage | None = None
    picture: Image | None = None
    calls: list[FunctionCall] = field(default_factory=list[FunctionCall])


@attrs.frozen
class AsAttrs:
    messages: list[LLMMessage]
    answers: list[CreateResult]
    result: ToolResult | None = None
    last: LLMMessage | None = None
    picture: Image | None = None
    calls: list[FunctionCall] = attrs.field(factory=list[FunctionCall])


KINDS = [AsPydantic, AsDataclass, AsAttrs]


def everything(kind: Any) -> Any:
    return kind(
        messages=MESSAGES, answers=ANSWERS, result=RESULT, last=MESSAGES[2], picture=PICTURE,
        calls=[CALL],
    )  # fmt: skip


def written(message: object, registry: SerializationRegistry) -> bytes:
    return registry.serialize(
        message, type_name=registry.type_name(message), data_content_type=JSON_DATA_CONTENT_TYPE
    )


def there_and_back(message: Any) -> Any:
    registry = SerializationRegistry()
    registry.add_serializer(try_get_known_serializers_for_type(type(message)))
    payload = written(message, registry)
    json.loads(payload)
    again = registry.deserialize(
        payload,
        type_name=registry.type_name(message),
        data_content_type=JSON_DATA_CONTENT_TYPE,
    )
    assert written(again, registry) == payload
    return again


# MC-06 MC-17 WB-07 IMG-05
@pytest.mark.parametrize("kind", KINDS)
def test_values_of_components_are_fields_of_any_message_and_keep_their_kinds(kind: Any) -> None:
    message = everything(kind)
    again = there_and_back(message)
    assert type(again) is kind
    assert [type(each) for each in again.messages] == [type(each) for each in MESSAGES]
    assert [each for each in again.messages if each is not again.messages[2]] == [
        each for each in MESSAGES if each is not MESSAGES[2]
    ]
    assert again.answers == ANSWERS
    assert again.calls == [CALL]
    assert type(again.last) is UserMessage
    for picture in (again.picture, again.messages[2].content[1], again.result.result[1].content):
        assert picture.image.tobytes() == PICTURE.image.tobytes()
    assert again.result.result[0] == RESULT.result[0]


@pytest.mark.parametrize("value", [*MESSAGES, *ANSWERS, RESULT, CALL], ids=repr)
def test_values_of_components_are_messages_themselves(value: Any) -> None:
    assert type(there_and_back(value)) is type(value)


@pytest.fixture
def open_runtime(backend: str) -> OpenRuntime:
    return trio_agents.open_runtime if backend == "trio" else trio_agents.asyncio.open_runtime


class Echo(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("echo")

    @message_handler
    async def pydantic(self, message: AsPydantic, ctx: MessageContext) -> AsPydantic:
        return message

    @message_handler
    async def data(self, message: AsDataclass, ctx: MessageContext) -> AsDataclass:
        return message

    @message_handler
    async def attrs(self, message: AsAttrs, ctx: MessageContext) -> AsAttrs:
        return message


@pytest.mark.parametrize("kind", KINDS)
async def test_they_travel_between_agents(kind: Any, open_runtime: OpenRuntime) -> None:
    async with open_runtime() as runtime:
        await Echo.register(runtime, "echo", Echo)
        message = everything(kind)
        assert await runtime.send_message(message, AgentId("echo", "x")) is message


class Remembering(RoutedAgent):
    """Has a memory, a context and a client, and keeps all that it knows in its state."""

    def __init__(self) -> None:
        super().__init__("remembers")
        self.memory = ListMemory("facts")
        self.context = BufferedChatCompletionContext(buffer_size=3)
        self.client = ReplayChatCompletionClient(["one", "two", "three"])

    @message_handler
    async def handle(self, message: AsPydantic, ctx: MessageContext) -> AsPydantic:
        for each in message.messages:
            await self.context.add_message(each)
            if isinstance(each, UserMessage):
                await self.memory.add(
                    MemoryContent(content=str(each.content), mime_type=MemoryMimeType.TEXT)
                )
        await self.memory.update_context(self.context)
        asked = await self.context.get_messages()
        answer = await self.client.create(asked, cancellation_token=ctx.cancellation_token)
        assert isinstance(answer.content, str)
        await self.context.add_message(AssistantMessage(content=answer.content, source="me"))
        return AsPydantic(messages=asked, answers=[answer])

    async def save_state(self) -> Mapping[str, Any]:
        return {
            "context": await self.context.save_state(),
            "memory": self.memory.dump_component().model_dump(mode="json"),
        }

    async def load_state(self, state: Mapping[str, Any]) -> None:
        await self.context.load_state(state["context"])
        self.memory = ListMemory.load_component(state["memory"])


async def test_the_state_of_memory_and_context_goes_through_a_runtimes_text(
    open_runtime: OpenRuntime,
) -> None:
    question = AsPydantic(messages=MESSAGES[:3], answers=[])
    more = AsPydantic(messages=[UserMessage(content="more", source="user")], answers=[])
    agent = AgentId("remembers", "x")
    async with open_runtime() as runtime:
        await Remembering.register(runtime, "remembers", Remembering)
        await runtime.send_message(question, agent)
        text = json.dumps(await runtime.save_state())
        expected = await runtime.send_message(more, agent)
    async with open_runtime() as runtime:
        await Remembering.register(runtime, "remembers", Remembering)
        await runtime.load_state(json.loads(text))
        found = await runtime.send_message(more, agent)
    assert [each.model_dump(mode="json") for each in found.messages] == [
        each.model_dump(mode="json") for each in expected.messages
    ]


# Tools of an MCP server, run by an agent

SERVER = Path(__file__).parent.parent / "mcp" / "tiny_server.py"


async def test_a_tool_agent_runs_the_tools_of_an_mcp_server(open_runtime: OpenRuntime) -> None:
    mcp = pytest.importorskip("trio_agents.ext.tools.mcp")
    pytest.importorskip("mcp")
    params = mcp.StdioServerParams(
        command=sys.executable, args=["-S", "-E", str(SERVER)], read_timeout_seconds=30
    )
    async with mcp.create_mcp_server_session(params) as session:
        tools = await mcp.mcp_server_tools(params, session=session)
        call = FunctionCall(id="1", name="echo", arguments='{"text": "hi"}')
        client = ReplayChatCompletionClient(
            [
                CreateResult(
                    finish_reason="function_calls", content=[call], usage=USAGE, cached=False
                ),
                "done",
            ]
        )
        async with open_runtime() as runtime:
            await ToolAgent.register(runtime, "tools", lambda: ToolAgent("Runs tools.", tools))
            said = await tool_agent_caller_loop(
                runtime, AgentId("tools", "x"), client, [MESSAGES[1]], tools,
                cancellation_token=CancellationToken(),
            )  # fmt: skip
            results = said[1]
            assert isinstance(results, FunctionExecutionResultMessage)
            assert "hi" in results.content[0].content
            assert results.content[0].is_error is False
