"""What type checkers infer about tools. Checked by mypy and pyright, never run."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, assert_type

from pydantic import BaseModel

from trio_agents import AgentId, AgentRuntime, BaseAgent, CancellationToken
from trio_agents.code_executor import CodeExecutor, FunctionWithRequirements, with_requirements
from trio_agents.ext.tools.code_execution import CodeExecutionResult, PythonCodeExecutionTool
from trio_agents.models import ChatCompletionClient, LLMMessage
from trio_agents.tool_agent import ToolAgent, tool_agent_caller_loop
from trio_agents.tools import (
    BaseStreamTool,
    BaseTool,
    BaseToolWithState,
    FunctionTool,
    StaticStreamWorkbench,
    StaticWorkbench,
    StreamTool,
    Tool,
    ToolResult,
    ToolSchema,
)


class Args(BaseModel):
    query: str


class State(BaseModel):
    count: int


class Search(BaseTool[Args, list[str]]):
    async def run(self, args: Args, cancellation_token: CancellationToken) -> list[str]:
        return [args.query]


class Wrong(BaseTool[Args, list[str]]):
    async def run(self, args: Args, cancellation_token: CancellationToken) -> int:  # type: ignore[override]
        return 1


class Counter(BaseToolWithState[Args, int, State]):
    async def run(self, args: Args, cancellation_token: CancellationToken) -> int:
        return 1

    def save_state(self) -> State:
        return State(count=1)

    def load_state(self, state: State) -> None: ...


class Download(BaseStreamTool[Args, int, str]):
    async def run(self, args: Args, cancellation_token: CancellationToken) -> str:
        return ""

    async def run_stream(
        self, args: Args, cancellation_token: CancellationToken
    ) -> AsyncGenerator[int | str, None]:
        yield 1
        yield ""


async def the_types_of_a_tool_are_those_of_its_arguments_and_its_result(
    token: CancellationToken,
) -> None:
    search = Search(Args, list[str], "search", "")
    assert_type(await search.run(Args(query=""), token), list[str])
    await search.run(State(count=1), token)  # type: ignore[arg-type]
    assert_type(search.schema, ToolSchema)
    counter = Counter(Args, int, State, "count", "")
    assert_type(counter.save_state(), State)
    download = Download(Args, str, "download", "")
    async for item in download.run_stream(Args(query=""), token):
        assert_type(item, int | str)
    tools: list[Tool] = [search, counter, download, FunctionTool(len, "")]
    stream: StreamTool = download
    await StaticWorkbench([*tools, stream]).call_tool("search")


async def a_workbench_takes_tools_of_any_kind(
    functions: list[FunctionTool], search: Search, token: CancellationToken
) -> None:
    workbench = StaticStreamWorkbench([*functions, search])
    assert_type(await workbench.list_tools(), list[ToolSchema])
    assert_type(await workbench.call_tool("search", {"query": ""}, token), ToolResult)
    StaticWorkbench(functions)
    ToolAgent("Runs tools.", functions)
    StaticWorkbench([1])  # type: ignore[list-item]


async def a_function_tool_takes_any_function(token: CancellationToken) -> None:
    async def function(a: int) -> str:
        return str(a)

    tool = FunctionTool(function, "", name="f", strict=True)
    assert_type(await tool.run_json({"a": 1}, token), Any)
    FunctionTool("f", "")  # type: ignore[arg-type]


def given(a: str) -> int:
    return int(a)


def a_function_with_requirements_keeps_its_signature() -> None:
    @with_requirements(python_packages=["rich"])
    def function(a: int, *, b: str = "") -> float:
        return float(a)

    assert_type(function(1, b="x"), float)
    function("1")  # type: ignore[arg-type]
    again = FunctionWithRequirements.from_callable(given)
    assert_type(again("1"), int)


async def the_loop_takes_an_agent_or_a_runtime(
    agent: BaseAgent, runtime: AgentRuntime, client: ChatCompletionClient, tool: FunctionTool
) -> None:
    for caller in (agent, runtime):
        said = await tool_agent_caller_loop(caller, AgentId("t", "k"), client, [], [tool])
        assert_type(said, list[LLMMessage])
    await tool_agent_caller_loop(agent, AgentId("t", "k"), client, [], [tool.schema])


async def the_result_of_code_is_typed(executor: CodeExecutor, token: CancellationToken) -> None:
    tool = PythonCodeExecutionTool(executor)
    assert_type(await tool.run(tool.args_type().model_validate({}), token), CodeExecutionResult)  # type: ignore[arg-type]
