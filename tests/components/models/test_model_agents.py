"""Agents that ask models, on a runtime: the samples of AutoGen's guide."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

import trio_agents
import trio_agents.asyncio
from trio_agents import (
    AgentId,
    AgentRuntime,
    CancellationToken,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    message_handler,
)
from trio_agents.ext.models.cache import ChatCompletionCache
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.memory import ListMemory, MemoryContent, MemoryMimeType
from trio_agents.model_context import BufferedChatCompletionContext, ChatCompletionContext
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from trio_agents.tools import ToolSchema

OpenRuntime = Callable[..., AbstractAsyncContextManager[AgentRuntime]]

SYSTEM = SystemMessage(content="You are brief.")
SUM: ToolSchema = {"name": "sum", "description": "adds numbers"}


@pytest.fixture
def open_runtime(backend: str) -> OpenRuntime:
    return trio_agents.open_runtime if backend == "trio" else trio_agents.asyncio.open_runtime


class Conversation(BaseModel):
    context: list[LLMMessage]


@dataclass
class Message:
    content: str


class Simple(RoutedAgent):
    """Forgets what was said before."""

    def __init__(self, model_client: ChatCompletionClient) -> None:
        super().__init__("simple")
        self._model_client = model_client

    @message_handler
    async def handle(self, message: Message, ctx: MessageContext) -> Message:
        result = await self._model_client.create(
            [SYSTEM, UserMessage(content=message.content, source="user")],
            cancellation_token=ctx.cancellation_token,
        )
        assert isinstance(result.content, str)
        return Message(result.content)


class WithContext(RoutedAgent):
    """Remembers."""

    def __init__(self, model_client: ChatCompletionClient, context: ChatCompletionContext) -> None:
        super().__init__("with context")
        self._model_client = model_client
        self._context = context

    @message_handler
    async def handle(self, message: Message, ctx: MessageContext) -> Message:
        await self._context.add_message(UserMessage(content=message.content, source="user"))
        result = await self._model_client.create(
            [SYSTEM, *await self._context.get_messages()],
            cancellation_token=ctx.cancellation_token,
        )
        assert isinstance(result.content, str)
        await self._context.add_message(
            AssistantMessage(content=result.content, source=self.metadata["type"])
        )
        return Message(result.content)


async def ask(runtime: AgentRuntime, text: str, **options: Any) -> str:
    answer = await runtime.send_message(Message(text), AgentId("agent", "x"), **options)
    assert isinstance(answer, Message)
    return answer.content


# MC-36 MC-38
async def test_a_simple_agent_asks_any_client_and_forgets(open_runtime: OpenRuntime) -> None:
    inner = ReplayChatCompletionClient(["one", "two"])
    clients: list[ChatCompletionClient] = [inner, ChatCompletionCache(inner)]
    for client in clients:
        inner.reset()
        async with open_runtime() as runtime:
            await Simple.register(runtime, "agent", lambda c=client: Simple(c))  # type: ignore[misc]
            assert await ask(runtime, "first") == "one"
            assert await ask(runtime, "second") == "two"
        assert inner.create_calls[-1]["messages"] == [
            SYSTEM,
            UserMessage(content="second", source="user"),
        ]


# MX-05 MX-06
async def test_an_agent_with_a_context_remembers_what_was_said(open_runtime: OpenRuntime) -> None:
    client = ReplayChatCompletionClient(["Tea.", "I said tea.", "I do not remember."])
    async with open_runtime() as runtime:
        await WithContext.register(
            runtime,
            "agent",
            lambda: WithContext(client, BufferedChatCompletionContext(buffer_size=3)),
        )
        await ask(runtime, "What should I drink?")
        assert await ask(runtime, "What did you say?") == "I said tea."
        await ask(runtime, "And before?")
    said = [
        UserMessage(content="What should I drink?", source="user"),
        AssistantMessage(content="Tea.", source="agent"),
        UserMessage(content="What did you say?", source="user"),
        AssistantMessage(content="I said tea.", source="agent"),
        UserMessage(content="And before?", source="user"),
    ]
    assert client.create_calls[1]["messages"] == [SYSTEM, *said[:3]]
    assert client.create_calls[2]["messages"] == [SYSTEM, *said[2:]]


async def test_an_agent_tells_its_model_of_its_memory() -> None:
    client = ReplayChatCompletionClient(["Tea."])
    memory = ListMemory()
    await memory.add(MemoryContent(content="no coffee", mime_type=MemoryMimeType.TEXT))
    context = BufferedChatCompletionContext(buffer_size=5)
    await context.add_message(UserMessage(content="What should I drink?", source="user"))
    await memory.update_context(context)
    await client.create(await context.get_messages())
    assert "1. no coffee" in client.create_calls[0]["messages"][-1].content


CALLS = CreateResult(
    finish_reason="function_calls",
    content=[
        FunctionCall(id="1", name="sum", arguments="[1, 2]"),
        FunctionCall(id="2", name="sum", arguments="[3, 4]"),
    ],
    usage=RequestUsage(1, 1),
    cached=False,
)


# TL-18 TL-19 MC-17
async def test_results_go_back_after_the_calls_that_asked_for_them() -> None:
    client = ReplayChatCompletionClient([CALLS, "3 and 7"])
    messages: list[LLMMessage] = [UserMessage(content="1 + 2, 3 + 4?", source="user")]
    result = await client.create(messages, tools=[SUM])
    assert not isinstance(result.content, str)
    messages.append(AssistantMessage(content=result.content, source="agent"))
    results = [
        FunctionExecutionResult(
            content=str(sum(json.loads(call.arguments))),
            name=call.name,
            call_id=call.id,
            is_error=False,
        )
        for call in result.content
    ]
    messages.append(FunctionExecutionResultMessage(content=results))
    assert (await client.create(messages, tools=[SUM])).content == "3 and 7"
    assert client.create_calls[0]["tools"] == [SUM]
    question, calls, answers = client.create_calls[1]["messages"]
    assert question.content == "1 + 2, 3 + 4?"
    assert calls.content == CALLS.content
    assert [(r.call_id, r.content) for r in answers.content] == [("1", "3"), ("2", "7")]


# MC-06
async def test_a_conversation_can_be_a_message_between_agents(open_runtime: OpenRuntime) -> None:
    class Handover(RoutedAgent):
        @message_handler
        async def on_handover(self, message: Conversation, ctx: MessageContext) -> Conversation:
            return Conversation(
                context=[*message.context, AssistantMessage(content="a", source="x")]
            )

    async with open_runtime() as runtime:
        await Handover.register(runtime, "agent", lambda: Handover("takes over"))
        answer = await runtime.send_message(
            Conversation(context=[UserMessage(content="q", source="user")]), AgentId("agent", "x")
        )
    assert isinstance(answer, Conversation)
    assert [message.type for message in answer.context] == ["UserMessage", "AssistantMessage"]


class Endless(ReplayChatCompletionClient):
    """A model that never answers."""

    component_provider_override = "tests.Endless"
    gone = False

    async def create(self, *arguments: Any, **options: Any) -> CreateResult:
        try:
            await anyio.sleep_forever()
        finally:
            self.gone = True
        raise AssertionError


async def test_who_cancels_the_request_cancels_that_to_the_model(
    open_runtime: OpenRuntime, MessageCancelled: type[BaseException]
) -> None:
    client = Endless([])
    token = CancellationToken()
    async with open_runtime() as runtime:
        await Simple.register(runtime, "agent", lambda: Simple(client))

        async def cancel() -> None:
            await anyio.wait_all_tasks_blocked()
            token.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            with pytest.raises(MessageCancelled):
                await ask(runtime, "x", cancellation_token=token)
        assert client.gone


# MC-37
async def test_a_log_event_names_the_agent_that_asked(
    open_runtime: OpenRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    client = ReplayChatCompletionClient(["one two"])
    with caplog.at_level(logging.INFO, logger="autogen_core.events"):
        async with open_runtime() as runtime:
            await Simple.register(runtime, "agent", lambda: Simple(client))
            await ask(runtime, "x")
    (call,) = [
        event
        for event in (json.loads(record.getMessage()) for record in caplog.records)
        if event["type"] == "LLMCall"
    ]
    assert call["agent_id"] == "agent/x"
    assert (call["prompt_tokens"], call["completion_tokens"]) == (4, 2)
