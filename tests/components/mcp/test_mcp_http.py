# The server of the SDK over SSE and streamable HTTP, in its own process: the same over each.

from __future__ import annotations

from typing import Any

import anyio
import mcp_types
import pytest

from trio_agents import CancellationToken
from trio_agents.ext.tools.mcp import (
    McpConnectionError,
    McpHost,
    McpProgress,
    McpSession,
    McpWorkbench,
    SseMcpToolAdapter,
    SseServerParams,
    StreamableHttpMcpToolAdapter,
    StreamableHttpServerParams,
    create_mcp_server_session,
    mcp_server_tools,
)
from trio_agents.tools import ImageResultContent

Params = SseServerParams | StreamableHttpServerParams


# WB-10
async def test_tools_are_listed_and_called(http_server: Params) -> None:
    async with McpWorkbench(http_server) as workbench:
        assert workbench.initialize_result is not None
        assert workbench.initialize_result.server_info.name == "full"
        assert workbench.initialize_result.instructions == "Ask me."
        (add,) = [tool for tool in await workbench.list_tools() if tool["name"] == "add"]
        assert add.get("description") == "Adds two numbers."
        assert (await workbench.call_tool("add", {"a": 1})).to_text() == "3"


async def test_what_goes_wrong_is_a_result(http_server: Params) -> None:
    async with McpWorkbench(http_server) as workbench:
        for name, arguments in (("add", {"a": "x"}), ("fail", {}), ("nothing", {})):
            result = await workbench.call_tool(name, arguments)
            assert result.is_error
            assert name in result.to_text()


# WB-04 WB-05
async def test_every_kind_of_content_is_a_picture_or_text(http_server: Params) -> None:
    async with McpWorkbench(http_server) as workbench:
        result = await workbench.call_tool("everything")
        structured = await workbench.call_tool("only_structured")
    pictures = [part for part in result.result if isinstance(part, ImageResultContent)]
    assert [part.content.image.size for part in pictures] == [(3, 2), (3, 2)]
    assert result.to_text("PICTURE").splitlines() == [
        "text",
        "PICTURE",
        "[image/svg+xml, 6 bytes]",
        "[audio/wav, 6 bytes]",
        "page: http://x/page (text/html)",
        "inner",
        "[test://blob, application/octet-stream, 6 bytes]",
        "PICTURE",
    ]
    assert structured.to_text() == '{"a": [1]}'


async def test_resources_and_prompts(http_server: Params) -> None:
    async with McpWorkbench(http_server) as workbench:
        assert [str(r.uri) for r in (await workbench.list_resources()).resources] == [
            "test://greeting"
        ]
        templates = (await workbench.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == ["test://greeting/{name}"]
        (part,) = (await workbench.read_resource("test://greeting/bob")).contents
        assert isinstance(part, mcp_types.TextResourceContents)
        assert part.text == "hello bob"
        assert [prompt.name for prompt in (await workbench.list_prompts()).prompts] == ["review"]
        (message,) = (await workbench.get_prompt("review", {"code": "x"})).messages
        assert isinstance(message.content, mcp_types.TextContent)
        assert message.content.text == "Review this: x"


async def test_what_the_server_asks_goes_to_the_hooks(http_server: Params) -> None:
    async def sample(
        params: mcp_types.CreateMessageRequestParams,
    ) -> mcp_types.CreateMessageResult:
        content = mcp_types.TextContent(text=f"42 ({params.system_prompt})")
        return mcp_types.CreateMessageResult(role="assistant", content=content, model="m")

    async def elicit(params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        return mcp_types.ElicitResult(action="accept", content={"name": "Bob"})

    host = McpHost(sampling=sample, elicitation=elicit, roots=["file:///work"])
    async with McpWorkbench(http_server, host=host) as workbench:
        assert (await workbench.call_tool("guess")).to_text() == "42 (Be brief.) by m"
        assert (await workbench.call_tool("greet")).to_text() == "Hello, Bob"
        assert (await workbench.call_tool("where")).to_text() == "file:///work"


async def test_what_the_server_asks_while_a_call_is_under_way_goes_to_the_hooks(
    http_server: Params,
) -> None:
    async def sample(
        params: mcp_types.CreateMessageRequestParams,
    ) -> mcp_types.CreateMessageResult:
        content = mcp_types.TextContent(text="42")
        return mcp_types.CreateMessageResult(role="assistant", content=content, model="m")

    async def elicit(params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        return mcp_types.ElicitResult(action="accept", content={"name": "Bob"})

    heard: list[str] = []
    changed = anyio.Event()

    async def hear(notification: mcp_types.ServerNotification) -> None:
        heard.append(notification.method)
        changed.set()

    host = McpHost(sampling=sample, elicitation=elicit, notification=hear)
    async with McpWorkbench(http_server, host=host) as workbench:
        assert (await workbench.call_tool("guess_meanwhile")).to_text() == "42"
        assert (await workbench.call_tool("greet_meanwhile")).to_text() == "accept Bob"
        assert (await workbench.call_tool("change")).to_text() == "changed"
        await changed.wait()
    assert heard == ["notifications/tools/list_changed"]


@pytest.mark.parametrize("host", [None, McpHost(roots=[])])  # with hooks it comes as an event
async def test_an_answer_may_be_of_many_megabytes(
    http_server: Params, host: McpHost | None
) -> None:
    # By events of one stream the SDK takes no more than a megabyte.
    size = 400_000 if isinstance(http_server, SseServerParams) else 5_000_000
    async with McpWorkbench(http_server, host=host) as workbench:
        result = await workbench.call_tool("big", {"size": size})
    assert len(result.to_text()) == size


async def test_hooks_need_not_be_async(http_server: Params) -> None:
    def elicit(params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        return mcp_types.ElicitResult(action="accept", content={"name": "Bob"})

    heard: list[str] = []
    changed = anyio.Event()

    def hear(notification: mcp_types.ServerNotification) -> None:
        heard.append(notification.method)
        changed.set()

    host = McpHost(elicitation=elicit, notification=hear)
    async with McpWorkbench(http_server, host=host) as workbench:
        assert (await workbench.call_tool("greet")).to_text() == "Hello, Bob"
        await workbench.call_tool("change")
        await changed.wait()
    assert heard == ["notifications/tools/list_changed"]


async def test_a_hook_that_fails_fails_the_tool(http_server: Params) -> None:
    async def fail(params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        raise ValueError("secret")

    async with McpWorkbench(http_server, host=McpHost(elicitation=fail)) as workbench:
        result = await workbench.call_tool("greet")
    assert result.is_error
    assert "elicitation failed: ValueError" in result.to_text()


async def test_progress_comes_in_order(http_server: Params) -> None:
    seen: list[McpProgress] = []

    async def note(progress: McpProgress) -> None:
        seen.append(progress)

    async with McpWorkbench(http_server) as workbench:
        result = await workbench.call_tool("steps", {"count": 20}, progress=note)
    assert result.to_text() == "done"
    assert seen == [McpProgress(n, 20, f"step {n}") for n in range(1, 21)]


async def test_a_cancelled_call_is_cancelled_on_the_server(
    http_server: Params, MessageCancelled: type[BaseException]
) -> None:
    async with McpWorkbench(http_server) as workbench:
        token = CancellationToken()

        async def cancel(progress: McpProgress) -> None:
            token.cancel()

        before = (await workbench.call_tool("what_was_cancelled")).to_text().count("wait")
        with pytest.raises(MessageCancelled):
            await workbench.call_tool("wait", cancellation_token=token, progress=cancel)
        with anyio.fail_after(10):
            while True:
                cancelled = (await workbench.call_tool("what_was_cancelled")).to_text()
                if cancelled.count("wait") > before:
                    break


async def test_many_calls_at_the_same_time(http_server: Params) -> None:
    answers: dict[int, str] = {}

    async def add(number: int) -> None:
        answers[number] = (await workbench.call_tool("add", {"a": number})).to_text()

    async with McpWorkbench(http_server) as workbench:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(add, number)
    assert answers == {number: str(number + 2) for number in range(20)}


# TL-27
async def test_tools_as_objects(http_server: Params) -> None:
    kind: type[Any] = (
        SseMcpToolAdapter
        if isinstance(http_server, SseServerParams)
        else StreamableHttpMcpToolAdapter
    )
    async with create_mcp_server_session(http_server) as session:
        tools = {tool.name: tool for tool in await mcp_server_tools(http_server, session)}
        assert {type(tool) for tool in tools.values()} == {kind}
        value = await tools["everything"].run_json({}, CancellationToken())
        assert "[image, 3 x 2]" in tools["everything"].return_value_as_string(value)
    alone = kind.load_component(tools["add"].dump_component())
    with pytest.raises(McpConnectionError, match="HTTP 401"):  # the secret is not in the dump
        await kind.load_component(tools["add"].dump_component().model_dump(mode="json")).run_json(
            {"a": 1}, CancellationToken()
        )
    assert alone.return_value_as_string(await alone.run_json({"a": 1}, CancellationToken())) == "3"


async def test_a_wrong_key_is_one_clear_error(http_server: Params) -> None:
    params = http_server.model_copy(update={"headers": None})
    with pytest.raises(McpConnectionError, match=r"did not start: .*401") as info:
        await McpSession(params).start()
    assert not isinstance(info.value, BaseExceptionGroup)


@pytest.mark.parametrize("kind", [SseServerParams, StreamableHttpServerParams])
async def test_nobody_there_is_one_clear_error(kind: type[Params]) -> None:
    session = McpSession(kind(url="http://user:sesame@127.0.0.1:9/mcp?key=sesame"))
    with pytest.raises(
        McpConnectionError, match=r"at http://127\.0\.0\.1:9/mcp did not start"
    ) as e:
        await session.start()
    assert "sesame" not in str(e.value)


async def test_a_server_that_dies_fails_what_is_asked(mortal_http_server: Params) -> None:
    async with McpWorkbench(mortal_http_server) as workbench:
        with pytest.raises(McpConnectionError, match="is down"):
            await workbench.call_tool("die")
        with pytest.raises(McpConnectionError, match="is down"):
            await workbench.list_tools()
        with pytest.raises(McpConnectionError, match="did not start"):
            await workbench.reset()
