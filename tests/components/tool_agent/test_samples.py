"""The agents of the documentation that use tools without a tool agent, on both runtimes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

import trio_agents
import trio_agents.asyncio
from trio_agents import (
    AgentId,
    CancellationToken,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    message_handler,
)
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    UserMessage,
)
from trio_agents.tools import FunctionTool, StaticWorkbench, Tool, Workbench

from .scripted_client import ScriptedClient

Open = Callable[..., AbstractAsyncContextManager[Any]]
AGENT = AgentId("assistant", "default")


@pytest.fixture
def open_runtime(backend: str) -> Open:
    return trio_agents.open_runtime if backend == "trio" else trio_agents.asyncio.open_runtime


@dataclass
class Message:
    content: str


def divide(a: float, b: float) -> float:
    return a / b


def call(id: str, arguments: str, name: str = "divide") -> FunctionCall:
    return FunctionCall(id=id, arguments=arguments, name=name)


def result(id: str, content: str, *, is_error: bool = False) -> FunctionExecutionResult:
    return FunctionExecutionResult(content=content, name="divide", call_id=id, is_error=is_error)


class ToolUseAgent(RoutedAgent):
    """One step: ask the model, run all that it wants, ask it again without tools."""

    def __init__(self, client: ChatCompletionClient, tools: list[Tool]) -> None:
        super().__init__("An agent with tools")
        self._client = client
        self._tools = tools

    @message_handler
    async def handle_user_message(self, message: Message, ctx: MessageContext) -> Message:
        token = ctx.cancellation_token
        session: list[LLMMessage] = [UserMessage(content=message.content, source="user")]
        answer = await self._client.create(session, tools=self._tools, cancellation_token=token)
        if isinstance(answer.content, str):
            return Message(answer.content)
        session.append(AssistantMessage(content=answer.content, source="assistant"))
        results: dict[str, FunctionExecutionResult] = {}

        async def execute(call: FunctionCall) -> None:
            results[call.id] = await self._execute(call, token)

        async with anyio.create_task_group() as group:
            for each in answer.content:
                group.start_soon(execute, each)
        session.append(
            FunctionExecutionResultMessage(content=[results[each.id] for each in answer.content])
        )
        answer = await self._client.create(session, cancellation_token=token)
        assert isinstance(answer.content, str)
        return Message(answer.content)

    async def _execute(
        self, call: FunctionCall, token: CancellationToken
    ) -> FunctionExecutionResult:
        tool = next(tool for tool in self._tools if tool.name == call.name)
        try:
            value = await tool.run_json(json.loads(call.arguments), token)
            content, is_error = tool.return_value_as_string(value), False
        except Exception as error:
            content, is_error = str(error), True
        return FunctionExecutionResult(
            content=content, name=tool.name, call_id=call.id, is_error=is_error
        )


# TL-01 TL-18 TL-19 TL-20 TL-21
async def test_an_agent_runs_the_tools_and_asks_the_model_once_more(open_runtime: Open) -> None:
    calls = [call("x", '{"a": 1, "b": 2}'), call("y", '{"a": 1, "b": 0}'), call("z", "{")]
    client = ScriptedClient(calls, "A half.")
    tools: list[Tool] = [FunctionTool(divide, "Divide.")]
    async with open_runtime() as runtime:
        await ToolUseAgent.register(runtime, "assistant", lambda: ToolUseAgent(client, tools))
        assert await runtime.send_message(Message("1/2?"), AGENT) == Message("A half.")
    question = UserMessage(content="1/2?", source="user")
    json_error = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    assert client.asked == [
        [question],
        [
            question,
            AssistantMessage(content=calls, source="assistant"),
            FunctionExecutionResultMessage(
                content=[
                    result("x", "0.5"),
                    result("y", "float division by zero", is_error=True),
                    result("z", json_error, is_error=True),
                ]
            ),
        ],
    ]
    assert client.tools == [tools, ()]


# TL-20
async def test_an_answer_without_calls_is_the_reply(open_runtime: Open) -> None:
    client = ScriptedClient("No need.")
    async with open_runtime() as runtime:
        await ToolUseAgent.register(runtime, "assistant", lambda: ToolUseAgent(client, []))
        assert await runtime.send_message(Message("Hello."), AGENT) == Message("No need.")


class WorkbenchAgent(RoutedAgent):
    """Asks the model with the tools as they are now, until it answers with text."""

    def __init__(self, client: ChatCompletionClient, workbench: Workbench) -> None:
        super().__init__("An agent with a workbench")
        self._client = client
        self._workbench = workbench
        self._history: list[LLMMessage] = []

    @message_handler
    async def handle_user_message(self, message: Message, ctx: MessageContext) -> Message:
        token = ctx.cancellation_token
        self._history.append(UserMessage(content=message.content, source="user"))
        while True:
            answer = await self._client.create(
                self._history,
                tools=await self._workbench.list_tools(),
                cancellation_token=token,
            )
            self._history.append(AssistantMessage(content=answer.content, source="assistant"))
            if isinstance(answer.content, str):
                return Message(answer.content)
            results: list[FunctionExecutionResult] = []
            for each in answer.content:
                done = await self._workbench.call_tool(
                    each.name, json.loads(each.arguments), token, each.id
                )
                results.append(
                    FunctionExecutionResult(
                        call_id=each.id,
                        content=done.to_text(),
                        is_error=done.is_error,
                        name=done.name,
                    )
                )
            self._history.append(FunctionExecutionResultMessage(content=results))


# WB-08 WB-02 TL-23
async def test_an_agent_with_a_workbench_goes_on_until_the_model_answers(
    open_runtime: Open,
) -> None:
    first, second = [call("x", '{"a": 1, "b": 0}')], [call("y", '{"a": 1, "b": 4}')]
    client = ScriptedClient(first, second, "A quarter.")
    workbench = StaticWorkbench([FunctionTool(divide, "Divide.")])
    async with workbench, open_runtime() as runtime:
        await WorkbenchAgent.register(
            runtime, "assistant", lambda: WorkbenchAgent(client, workbench)
        )
        assert await runtime.send_message(Message("1/4?"), AGENT) == Message("A quarter.")
    assert client.asked[-1][1:] == [
        AssistantMessage(content=first, source="assistant"),
        FunctionExecutionResultMessage(
            content=[result("x", "float division by zero", is_error=True)]
        ),
        AssistantMessage(content=second, source="assistant"),
        FunctionExecutionResultMessage(content=[result("y", "0.25")]),
    ]
    assert client.tools == [await workbench.list_tools()] * 3
