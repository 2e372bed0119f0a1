"""Each client through its SDK, on a transport that answers with anything: no server."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Final, Optional

import anyio
import anyio.to_thread
import httpx
import httpx2
import pytest
import trio
from pydantic import BaseModel, Field

from trio_agents.ext.models.ollama import OllamaChatCompletionClient
from trio_agents.models import ChatCompletionClient, CreateResult, UserMessage
from trio_agents.tools import FunctionTool, Tool, ToolSchema

from .conftest import PROVIDERS, Provider

ASKED: Final = [UserMessage(content="1+3?", source="bob")]


class Step(BaseModel):
    text: str


def answering(
    provider: Provider,
    body: object,
    *,
    type: str = "application/json",
    sent: list[dict[str, Any]] | None = None,
    **options: Any,
) -> tuple[ChatCompletionClient, Any]:
    """Return a client whose server answers everything with *body*, and what is to be closed."""
    module: Any = httpx if provider.name == "ollama" else httpx2

    def answer(request: Any) -> Any:
        if sent is not None:
            sent.append(json.loads(request.content))
        content = body if isinstance(body, str) else json.dumps(body)
        return module.Response(200, content=content.encode(), headers={"content-type": type})

    transport = module.MockTransport(answer)
    if provider.name == "ollama":
        return provider("http://nowhere", http_options={"transport": transport}, **options), None
    http_client = module.AsyncClient(transport=transport)
    return provider("http://nowhere", http_client=http_client, **options), http_client


async def closed(client: ChatCompletionClient, http_client: Any) -> None:
    await client.close()
    if http_client is not None:
        await http_client.aclose()


async def read(client: ChatCompletionClient, **more: Any) -> CreateResult:
    async with aclosing(client.create_stream(ASKED, **more)) as stream:
        async for piece in stream:
            if isinstance(piece, CreateResult):
                return piece
    raise AssertionError("a stream ends with a result")


PAGE: Final = "<html>Please log in.</html>"
ERRORS: Final = {
    "openai": {"error": {"message": "no credits"}},
    "anthropic": {"type": "error", "error": {"type": "billing", "message": "no credits"}},
    "ollama": {"error": "no credits"},
}


async def test_a_page_in_place_of_an_answer_is_an_error_that_quotes_it(provider: Provider) -> None:
    client, http_client = answering(provider, PAGE, type="text/html")
    with pytest.raises(RuntimeError, match=r"without an answer of a model.*Please log in"):
        await client.create(ASKED)
    await closed(client, http_client)


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_called_json_and_is_none_is_an_error_that_quotes_it(
    provider: Provider, streamed: bool
) -> None:
    of_a_stream = streamed and provider.name != "ollama"
    body = f"event: message_start\ndata: {PAGE}\n\n" if of_a_stream else PAGE
    kind = "text/event-stream" if of_a_stream else "application/json"
    client, http_client = answering(provider, body, type=kind)
    with pytest.raises(RuntimeError, match=r"without an answer of a model.*Please log in"):
        await (read(client) if streamed else client.create(ASKED))
    await closed(client, http_client)


@pytest.mark.parametrize("raised", ["RemoteProtocolError", "ReadTimeout"])
@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_what_breaks_in_the_midst_of_a_stream_is_an_error_of_the_sdk(
    name: str, raised: str
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b": nothing yet\n\n"
        raise getattr(httpx2, raised)("it broke")

    def answer(request: Any) -> Any:
        return httpx2.Response(200, content=broken(), headers={"content-type": "text/event-stream"})

    provider = PROVIDERS[name]
    http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    client = provider("http://nowhere", http_client=http_client)
    kinds = provider.cut if raised == "RemoteProtocolError" else provider.timed_out
    with pytest.raises(provider.error(kinds)):
        await read(client)
    await closed(client, http_client)


async def test_of_a_long_page_the_beginning_is_quoted(provider: Provider) -> None:
    client, http_client = answering(provider, "<html>" + "x" * 10_000, type="text/html")
    with pytest.raises(RuntimeError, match="<html>xxx") as caught:
        await client.create(ASKED)
    assert len(str(caught.value)) < 700
    await closed(client, http_client)


async def test_a_page_in_place_of_a_stream_is_an_error_that_says_so(provider: Provider) -> None:
    client, http_client = answering(provider, PAGE, type="text/html")
    with pytest.raises(RuntimeError, match="the server") as caught:
        await read(client)
    assert ("Please log in" if provider.name == "ollama" else "text/html") in str(caught.value)
    await closed(client, http_client)


@pytest.mark.parametrize("json_output", [None, Step])
async def test_an_error_with_status_200_is_an_error_that_quotes_it(
    provider: Provider, json_output: type[BaseModel] | None
) -> None:
    client, http_client = answering(provider, ERRORS[provider.name])
    with pytest.raises(RuntimeError, match=r"without an answer of a model.*no credits"):
        await client.create(ASKED, json_output=json_output)
    await closed(client, http_client)


async def test_a_stream_of_nothing_is_an_error(provider: Provider) -> None:
    client, http_client = answering(provider, "", type="text/event-stream")
    with pytest.raises(RuntimeError, match="the server"):
        await read(client)
    await closed(client, http_client)


# Ollama


class Point(BaseModel):
    x: Annotated[int, Field(ge=1)]
    y: Optional[str] = None  # noqa: UP045


def draw(point: Point, width: int | None = None, others: list[Point] = []) -> None:  # noqa: B006
    """Draws."""


DRAWN: Final = {
    "model": "m",
    "message": {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "fs.read", "arguments": {}}}],
    },
    "done": True,
    "done_reason": "stop",
}
SCHEMA: Final = ToolSchema(
    name="fs.read",
    parameters={
        "type": "object",
        "properties": {"any": True, "one": {"const": 1}, "deep": {"properties": {"a": {}}}},
        "additionalProperties": False,
    },
)


@pytest.mark.parametrize("streamed", [False, True])
async def test_ollama_is_told_the_whole_schema_of_a_tool(streamed: bool) -> None:
    sent: list[dict[str, Any]] = []
    client, _ = answering(PROVIDERS["ollama"], DRAWN, sent=sent)
    drawing = FunctionTool(draw, description="draws")
    offers: list[list[Tool | ToolSchema]] = [[drawing], [SCHEMA], [drawing, SCHEMA]]
    for tools in offers:
        await (read(client, tools=tools) if streamed else client.create(ASKED, tools=tools))
    given = [json.loads(json.dumps(s["parameters"])) for s in (drawing.schema, SCHEMA)]
    told = [[tool["function"]["parameters"] for tool in body["tools"]] for body in sent]
    assert told == [given[:1], given[1:], given]
    await client.close()


async def test_a_tool_of_ollamas_own_kind_goes_through() -> None:
    ollama = importlib.import_module("ollama")
    own = ollama.Tool(function=ollama.Tool.Function(name="now", description="the time"))
    sent: list[dict[str, Any]] = []
    client, _ = answering(PROVIDERS["ollama"], DRAWN, sent=sent)
    await client.create(ASKED, extra_create_args={"tools": [own]})
    assert sent[0]["tools"][0]["function"] == {"name": "now", "description": "the time"}
    await client.close()


async def test_a_tool_of_any_name_can_be_called_on_ollama() -> None:
    client, _ = answering(PROVIDERS["ollama"], DRAWN)
    assert isinstance(client, OllamaChatCompletionClient)
    for result in (await client.create(ASKED, tools=[SCHEMA]), await read(client, tools=[SCHEMA])):
        assert isinstance(result.content, list)
        assert [call.name for call in result.content] == ["fs.read"]
    await client.close()


def test_on_another_event_loop_a_client_says_so(provider: Provider) -> None:
    client, http_client = answering(provider, "<p>", type="text/html")

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="without an answer of a model"):
            await client.create(ASKED)

    async def ask_elsewhere() -> None:
        for call in (client.create(ASKED), anext(client.create_stream(ASKED)), client.close()):
            with pytest.raises(
                RuntimeError, match=r"this \w+Client was used on another event loop"
            ):
                await call

    async def close() -> None:
        await ask()
        await closed(client, http_client)

    async def all_on_this_loop() -> None:
        await ask()
        await anyio.to_thread.run_sync(anyio.run, ask_elsewhere)
        await anyio.to_thread.run_sync(trio.run, ask_elsewhere)
        await close()

    asyncio.run(all_on_this_loop())
