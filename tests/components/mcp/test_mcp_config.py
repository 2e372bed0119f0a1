# What configurations hold and what they do not, and where a model client comes in.

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Final

import mcp_types
import pytest
from pydantic import BaseModel, SecretStr

from trio_agents import CancellationToken, Component, ComponentPolicy, FunctionCall, Image
from trio_agents.exceptions import ComponentNotAllowed
from trio_agents.ext.tools.mcp import (
    McpHost,
    McpSession,
    McpWorkbench,
    SseMcpToolAdapter,
    SseServerParams,
    StdioMcpToolAdapter,
    StdioServerParams,
    StreamableHttpMcpToolAdapter,
    StreamableHttpServerParams,
    sampling_with,
)
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    ModelInfo,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from trio_agents.tools import Tool, ToolOverride, ToolSchema, Workbench

Tiny = Callable[..., StdioServerParams]
CODE: Final = ComponentPolicy(code=True)

# As AutoGen 0.7.5 dumps them.
STDIO: Final = (
    '{"command": "python", "args": ["x.py"], "env": {"K": "sesame"}, "cwd": "/tmp", '
    '"encoding": "utf-8", "encoding_error_handler": "strict", "type": "StdioServerParams", '
    '"read_timeout_seconds": 5}'
)
SSE: Final = (
    '{"type": "SseServerParams", "url": "http://h/sse", "headers": {"K": "sesame"}, "timeout": 5, '
    '"sse_read_timeout": 300}'
)
HTTP: Final = (
    '{"type": "StreamableHttpServerParams", "url": "http://h/mcp", "headers": {"K": "sesame"}, '
    '"timeout": 30.0, "sse_read_timeout": 300.0, "terminate_on_close": true}'
)
TOOL: Final = (
    '{"name": "add", "description": "d", "inputSchema": {"type": "object", "properties": '
    '{"a": {"type": "integer"}}, "required": ["a"]}}'
)
EXPECTED: Final = {
    STDIO: StdioServerParams(
        command="python", args=["x.py"], env={"K": "sesame"}, cwd="/tmp", read_timeout_seconds=5
    ),
    SSE: SseServerParams(
        url="http://h/sse", headers={"K": "sesame"}, timeout=5, sse_read_timeout=300
    ),
    HTTP: StreamableHttpServerParams(url="http://h/mcp", headers={"K": "sesame"}),
}


def of_autogen(provider: str, kind: str, config: str) -> dict[str, Any]:
    return {
        "provider": f"autogen_ext.tools.mcp.{provider}",
        "component_type": kind,
        "version": 1,
        "component_version": 1,
        "description": None,
        "label": provider,
        "config": json.loads(config),
    }


# WB-09
@pytest.mark.parametrize("params", [STDIO, SSE, HTTP])
def test_a_workbench_that_autogen_has_dumped_is_loaded(params: str) -> None:
    overrides = '{"add": {"name": "plus", "description": "adds"}}'
    dump = of_autogen(
        "McpWorkbench", "workbench", f'{{"server_params": {params}, "tool_overrides": {overrides}}}'
    )
    workbench = Workbench.load_component(dump, policy=CODE)
    assert isinstance(workbench, McpWorkbench)
    assert workbench.server_params == EXPECTED[params]
    assert workbench.dump_component().config["tool_overrides"] == json.loads(overrides)
    again = McpWorkbench.load_component(workbench.dump_component(), policy=CODE)
    assert again.dump_component() == workbench.dump_component()


@pytest.mark.parametrize(
    ("params", "cls"),
    [
        (STDIO, StdioMcpToolAdapter),
        (SSE, SseMcpToolAdapter),
        (HTTP, StreamableHttpMcpToolAdapter),
    ],
)
def test_a_tool_that_autogen_has_dumped_is_loaded(params: str, cls: Any) -> None:
    dump = of_autogen(cls.__name__, "tool", f'{{"server_params": {params}, "tool": {TOOL}}}')
    tool = cls.load_component(dump, policy=CODE)
    assert type(tool) is cls
    assert tool.schema["parameters"] == json.loads(TOOL)["inputSchema"]
    dumped = tool.dump_component()
    assert dumped.provider == f"trio_agents.ext.tools.mcp.{cls.__name__}"
    assert dumped.config["tool"] == json.loads(TOOL)


@pytest.mark.parametrize(("provider", "kind"), [("McpWorkbench", "workbench")])
def test_a_command_line_is_only_loaded_if_code_is_allowed(provider: str, kind: str) -> None:
    dump = of_autogen(provider, kind, f'{{"server_params": {STDIO}}}')
    with pytest.raises(ComponentNotAllowed, match="the command 'python', which would be run"):
        McpWorkbench.load_component(dump)
    tool = of_autogen(
        "StdioMcpToolAdapter", "tool", f'{{"server_params": {STDIO}, "tool": {TOOL}}}'
    )
    with pytest.raises(ComponentNotAllowed, match="the command 'python', which would be run"):
        StdioMcpToolAdapter.load_component(tool)
    McpWorkbench.load_component(of_autogen(provider, kind, f'{{"server_params": {SSE}}}'))


@pytest.mark.parametrize("params", EXPECTED.values(), ids=lambda params: params.type)
def test_no_secret_is_in_a_repr_or_a_dump(params: Any) -> None:
    workbench = McpWorkbench(params)
    dumped = workbench.dump_component()
    assert "sesame" not in f"{params!r} {params} {workbench!r} {workbench.session!r} {dumped!r}"
    assert "sesame" not in dumped.model_dump_json()
    assert "sesame" not in params.model_dump_json()


def test_a_secret_that_was_masked_is_not_taken_for_one() -> None:
    dump = McpWorkbench(EXPECTED[SSE]).dump_component().model_dump(mode="json")
    params = McpWorkbench.load_component(dump).server_params
    assert isinstance(params, SseServerParams)
    assert not params.headers


def test_a_secret_may_be_given_as_one() -> None:
    params = SseServerParams(url="http://h", headers={"K": SecretStr("sesame")})
    assert params == SseServerParams(url="http://h", headers={"K": "sesame"})


def test_importing_the_module_imports_no_sdk() -> None:
    code = (
        "import sys, trio_agents.ext.tools.mcp as m; m.StdioServerParams(command='x');"
        "print({'mcp', 'mcp_types', 'httpx2', 'httpx', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def test_without_the_sdk_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-agents\[mcp\]'"):
        McpWorkbench(StdioServerParams(command="x"))


# Sampling by a model client


class ScriptedConfig(BaseModel):
    pass


class Scripted(ChatCompletionClient, Component[ScriptedConfig]):
    """Says what it was told to say, and keeps what it was asked."""

    component_config_schema = ScriptedConfig

    def __init__(self, answer: str | list[FunctionCall] = "42") -> None:
        self.answer = answer
        self.asked: list[tuple[list[LLMMessage], dict[str, Any]]] = []

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        extra_create_args: Mapping[str, Any] = {},
        **_: Any,
    ) -> CreateResult:
        self.asked.append((list(messages), dict(extra_create_args)))
        return CreateResult(
            finish_reason="stop", content=self.answer, usage=RequestUsage(1, 1), cached=False
        )

    def create_stream(
        self, messages: Sequence[LLMMessage], **_: Any
    ) -> AsyncGenerator[str | CreateResult, None]:
        raise NotImplementedError

    async def close(self) -> None:
        pass

    def actual_usage(self) -> RequestUsage:
        return RequestUsage(0, 0)

    total_usage = actual_usage

    def count_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        return 0

    remaining_tokens = count_tokens

    @property
    def capabilities(self) -> Any:
        raise NotImplementedError

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(
            vision=True,
            function_calling=False,
            json_output=False,
            structured_output=False,
            family="scripted",
        )

    def _to_config(self) -> ScriptedConfig:
        return ScriptedConfig()

    @classmethod
    def _from_config(cls, config: ScriptedConfig) -> Scripted:
        return cls()


PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


def said(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


async def sampled(client: Scripted, **params: Any) -> Any:
    request = mcp_types.CreateMessageRequestParams.model_validate({"maxTokens": 7, **params})
    return await sampling_with(client)(request)


async def test_a_model_client_goes_on_with_the_servers_conversation() -> None:
    client = Scripted()
    result = await sampled(
        client,
        systemPrompt="Be brief.",
        temperature=0.5,
        stopSequences=["."],
        messages=[
            said("user", words("Look:"), {"type": "image", "data": PIXEL, "mimeType": "image/png"}),
            said("assistant", words("I see."), words("A pixel.")),
            said("user", words("And?")),
        ],
    )
    assert (result.content.text, result.model, result.stop_reason) == ("42", "scripted", "endTurn")
    ((messages, extra),) = client.asked
    assert messages == [
        SystemMessage(content="Be brief."),
        UserMessage(content=["Look:", Image.from_base64(PIXEL)], source="user"),
        AssistantMessage(content="I see.\nA pixel.", source="assistant"),
        UserMessage(content="And?", source="user"),
    ]
    assert extra == {"max_tokens": 7, "temperature": 0.5, "stop": ["."]}


async def test_what_a_model_client_cannot_do_is_refused() -> None:
    tool = {"name": "t", "inputSchema": {"type": "object"}}
    refused = await sampled(Scripted(), messages=[], tools=[tool])
    assert isinstance(refused, mcp_types.ErrorData)
    audio = {"type": "audio", "data": "", "mimeType": "audio/wav"}
    refused = await sampled(Scripted(), messages=[said("user", audio)])
    assert refused.message == "sampling from audio by the user is not offered"
    calls = Scripted([FunctionCall(id="1", name="f", arguments="{}")])
    assert isinstance(await sampled(calls, messages=[]), mcp_types.ErrorData)


async def test_a_workbench_takes_a_model_client_for_sampling(tiny: Tiny) -> None:
    request = {
        "method": "sampling/createMessage",
        "params": {"messages": [said("user", words("6 times 7?"))], "maxTokens": 10},
    }
    async with McpWorkbench(tiny(), model_client=Scripted()) as workbench:
        answer = await workbench.call_tool("ask", request, CancellationToken())
        assert json.loads(answer.to_text())["content"]["text"] == "42"


def test_a_workbench_dumps_its_model_client_and_loads_it() -> None:
    workbench = McpWorkbench(EXPECTED[SSE], {"a": ToolOverride(name="b")}, Scripted())
    dump = workbench.dump_component()
    policy = ComponentPolicy(classes=[Scripted])
    again = McpWorkbench.load_component(dump, policy=policy)
    assert again.dump_component() == dump
    assert again.session.host.sampling is not None


def test_sampling_cannot_be_offered_twice() -> None:
    client = Scripted()
    with pytest.raises(ValueError, match="twice"):
        McpWorkbench(EXPECTED[SSE], None, client, host=McpHost(sampling=sampling_with(client)))


def test_a_session_says_who_the_server_is_without_its_arguments() -> None:
    session = McpSession(StdioServerParams(command="server", args=["--key", "sesame"]))
    assert repr(session) == "<McpSession with the MCP server 'server', not started>"
    url = "https://user:sesame@host:1/mcp?key=sesame"
    assert repr(McpSession(StreamableHttpServerParams(url=url))) == (
        "<McpSession with the MCP server at https://host:1/mcp, not started>"
    )
