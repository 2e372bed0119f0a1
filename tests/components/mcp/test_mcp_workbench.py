# The workbench, and single tools, on sessions with a server of the standard library.

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import anyio
import mcp_types
import pytest

from trio_agents import CancellationToken
from trio_agents.exceptions import ComponentError
from trio_agents.ext.tools.mcp import (
    McpConnectionError,
    McpError,
    McpHost,
    McpProgress,
    McpWorkbench,
    StdioMcpToolAdapter,
    StdioServerParams,
    create_mcp_server_session,
    mcp_server_tools,
)
from trio_agents.tools import TextResultContent, Tool, ToolOverride, ToolResult

Tiny = Callable[..., StdioServerParams]


def said(name: str, text: str, *, is_error: bool = False) -> ToolResult:
    return ToolResult(name=name, result=[TextResultContent(content=text)], is_error=is_error)


# WB-01 WB-07 WB-09
async def test_a_workbench_lists_and_runs_the_tools_of_its_server(tiny: Tiny) -> None:
    async with McpWorkbench(tiny()) as workbench:
        tools = await workbench.list_tools()
        assert {
            "name": "echo",
            "description": "Does echo.",
            "parameters": {"type": "object", "properties": {}},
        } in tools
        assert await workbench.call_tool("echo", {"a": 1}) == said("echo", '{"a": 1}')
        assert await workbench.call_tool("echo") == said("echo", "{}")


# WB-06
async def test_a_workbench_is_started_and_stopped_by_hand_in_different_tasks(tiny: Tiny) -> None:
    workbench = McpWorkbench(tiny())
    for step in (workbench.start, workbench.list_tools, workbench.stop, workbench.stop):
        async with anyio.create_task_group() as group:
            group.start_soon(step)
    with pytest.raises(McpConnectionError, match="is not started"):
        await workbench.list_tools()


# WB-03 WB-04 WB-05
async def test_a_tool_that_is_not_there_is_a_result(tiny: Tiny) -> None:
    async with McpWorkbench(tiny()) as workbench:
        result = await workbench.call_tool("nothing")
        assert result == said("nothing", "Unknown tool: nothing", is_error=True)


async def test_a_tool_that_takes_too_long_is_a_result(tiny: Tiny) -> None:
    async with McpWorkbench(tiny(read_timeout_seconds=0.3)) as workbench:
        result = await workbench.call_tool("hold")
        assert result.is_error
        assert "did not answer tools/call within 0.3 seconds" in result.to_text()


async def test_a_dead_server_is_an_exception_until_the_reset(tiny: Tiny) -> None:
    async with McpWorkbench(tiny()) as workbench:
        with pytest.raises(McpConnectionError, match="last words"):
            await workbench.call_tool("die")
        with pytest.raises(McpConnectionError, match=r"is down: .*; reset\(\) of the workbench"):
            async for _ in workbench.call_tool_stream("echo"):
                pytest.fail("it came to something")
        await workbench.reset()
        assert await workbench.call_tool("echo") == said("echo", "{}")


async def test_a_reset_is_another_process(tiny: Tiny) -> None:
    async with McpWorkbench(tiny()) as workbench:
        before = await workbench.call_tool("pid")
        await workbench.reset()
        assert await workbench.call_tool("pid") != before


# WB-03
async def test_a_cancelled_token_cancels_the_call(
    tiny: Tiny, MessageCancelled: type[BaseException]
) -> None:
    token = CancellationToken()

    async def cancel(progress: McpProgress) -> None:
        token.cancel()

    async with McpWorkbench(tiny()) as workbench:
        with pytest.raises(MessageCancelled):
            await workbench.call_tool("hold", None, token, progress=cancel)
        assert await workbench.call_tool("cancelled") == said("cancelled", "1")


async def test_a_streamed_call_gives_progress_and_last_the_result(tiny: Tiny) -> None:
    async with McpWorkbench(tiny()) as workbench:
        items = [item async for item in workbench.call_tool_stream("progress", {"count": 2})]
        assert items == [
            McpProgress(1, 2, "step 1"),
            McpProgress(2, 2, "step 2"),
            said("progress", "done"),
        ]
        failed = [item async for item in workbench.call_tool_stream("nothing")]
        assert failed == [said("nothing", "Unknown tool: nothing", is_error=True)]


async def test_a_streamed_call_that_is_left_early_is_cancelled(tiny: Tiny) -> None:
    async with McpWorkbench(tiny()) as workbench:
        async with aclosing(workbench.call_tool_stream("hold")) as stream:
            await anext(stream)
        assert await workbench.call_tool("cancelled") == said("cancelled", "1")


# WB-02
async def test_overrides_change_what_models_are_told_and_not_what_is_called(tiny: Tiny) -> None:
    overrides = {
        "echo": ToolOverride(name="repeat", description="Says it again."),
        "pid": ToolOverride(description="Who am I?"),
    }
    async with McpWorkbench(tiny(), overrides) as workbench:
        told = {tool["name"]: tool.get("description") for tool in await workbench.list_tools()}
        assert told["repeat"] == "Says it again."
        assert told["pid"] == "Who am I?"
        assert "echo" not in told
        assert await workbench.call_tool("repeat", {"a": 1}) == said("repeat", '{"a": 1}')


@pytest.mark.parametrize(
    "overrides",
    [
        {"a": ToolOverride(name="x"), "b": ToolOverride(name="x")},
        {"a": ToolOverride(name="b"), "b": ToolOverride(description="stays")},
    ],
)
def test_two_tools_of_one_name_are_refused(tiny: Tiny, overrides: dict[str, ToolOverride]) -> None:
    with pytest.raises(ValueError, match="would both be called"):
        McpWorkbench(tiny(), overrides)


async def test_tools_may_swap_their_names(tiny: Tiny) -> None:
    overrides = {"echo": ToolOverride(name="pid"), "pid": ToolOverride(name="echo")}
    async with McpWorkbench(tiny(), overrides) as workbench:
        assert await workbench.call_tool("pid", {"a": 1}) == said("pid", '{"a": 1}')


async def test_an_override_for_a_tool_that_is_not_there_waits_for_it(tiny: Tiny) -> None:
    async with McpWorkbench(tiny(), {"later": ToolOverride(name="soon")}) as workbench:
        assert "soon" not in [tool["name"] for tool in await workbench.list_tools()]


@pytest.mark.parametrize("params", ["npx a-server", {"command": "npx"}, StdioServerParams])
async def test_what_is_no_parameters_of_a_server_is_refused(params: Any, backend: str) -> None:
    with pytest.raises(TypeError, match=r"has to be StdioServerParams\(command=\.\.\., args="):
        McpWorkbench(params)
    with pytest.raises(TypeError, match=r"not (builtins|pydantic)\."):
        await mcp_server_tools(params)


async def test_it_has_no_state_of_its_own(tiny: Tiny) -> None:
    workbench = McpWorkbench(tiny())
    await workbench.load_state(await workbench.save_state())
    assert await workbench.save_state() == {}


async def test_it_hands_on_what_the_session_says(tiny: Tiny) -> None:
    workbench = McpWorkbench(tiny(), host=McpHost())
    with pytest.raises(ComponentError, match="was given host: objects that no configuration"):
        workbench.dump_component()
    assert workbench.initialize_result is None
    async with workbench:
        assert workbench.initialize_result is workbench.session.initialize_result is not None
        assert workbench.server_params is workbench.session.server_params


# TL-27
async def test_tools_as_objects_share_a_session(tiny: Tiny) -> None:
    token = CancellationToken()
    params = tiny()
    async with create_mcp_server_session(params) as session:
        tools = {tool.name: tool for tool in await mcp_server_tools(params, session)}
        echo = tools["echo"]
        assert isinstance(echo, StdioMcpToolAdapter)
        assert isinstance(echo, Tool)
        assert echo.description == "Does echo."
        value = await echo.run_json({"a": 1}, token)
        assert value == [mcp_types.TextContent(text='{"a": 1}')]
        assert echo.return_value_as_string(value) == '{"a": 1}'
        pids = [await tools["pid"].run_json({}, token) for _ in range(2)]
        assert pids[0] == pids[1]


# TL-27
async def test_tools_without_a_session_start_a_server_for_each_call(tiny: Tiny) -> None:
    tools = {tool.name: tool for tool in await mcp_server_tools(tiny())}
    token = CancellationToken()
    assert await tools["pid"].run_json({}, token) != await tools["pid"].run_json({}, token)


async def test_a_tool_object_whose_server_dies_says_that_the_next_call_has_another(
    tiny: Tiny,
) -> None:
    tools = {tool.name: tool for tool in await mcp_server_tools(tiny())}
    with pytest.raises(McpConnectionError, match="the next call starts another one"):
        await tools["die"].run_json({}, CancellationToken())


async def test_a_tool_object_that_fails_raises_what_the_server_says(tiny: Tiny) -> None:
    params = tiny()
    async with create_mcp_server_session(params) as session:
        tools = {tool.name: tool for tool in await mcp_server_tools(params, session)}
        failure = {"result": {"content": [{"type": "text", "text": "no way"}], "isError": True}}
        with pytest.raises(McpError, match=r"^no way$"):
            await tools["answers"].run_json(failure, CancellationToken())


async def test_a_tool_object_is_cancelled_by_its_token(
    tiny: Tiny, MessageCancelled: type[BaseException]
) -> None:
    (tool,) = [tool for tool in await mcp_server_tools(tiny()) if tool.name == "hold"]
    token = CancellationToken()

    async def cancel() -> None:
        await anyio.wait_all_tasks_blocked()
        token.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        with pytest.raises(MessageCancelled):
            await tool.run_json({}, token)


async def test_the_schema_of_a_tool_is_the_servers_own(backend: str) -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/Point"}},
        "required": ["at"],
        "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "integer"}}}},
    }
    tool = StdioMcpToolAdapter(
        StdioServerParams(command="x"), mcp_types.Tool(name="move", input_schema=schema)
    )
    assert tool.schema == {"name": "move", "description": "", "parameters": schema}
    arguments = tool.args_type()
    described = arguments.model_json_schema()
    assert {key: described[key] for key in schema} == schema
    assert arguments.model_validate({"at": {"x": 1}}).model_dump() == {"at": {"x": 1}}
    assert (tool.return_type(), tool.state_type()) == (list, None)
    await tool.load_state_json(await tool.save_state_json())
    assert json.dumps(tool.schema)
    assert repr(tool) == "<StdioMcpToolAdapter 'move'>"
