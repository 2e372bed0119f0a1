"""An MCP server made with the SDK: `python full_server.py stdio`, or `python full_server.py http`.

Importing the SDK takes seconds. So there is one process for all that is served over HTTP: it forks,
for each way of that, one server for all tests and some for tests that let them die, and prints
which listens where. Requests must carry the header that the tests send, so that it is seen that it
is sent.
"""

from __future__ import annotations

import base64
import io
import os
import signal
import socket
import sys
from typing import Annotated, Any

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    CreateMessageResult,
    EmbeddedResource,
    ImageContent,
    ListRootsResult,
    ResourceLink,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from PIL import Image
from pydantic import BaseModel

server = MCPServer("full", instructions="Ask me.", version="1.2", log_level="CRITICAL")
cancelled: list[str] = []


class Name(BaseModel):
    name: str


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@server.tool()
def add(a: int, b: int = 2) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Fails."""
    return str([][1])


@server.tool()
async def steps(ctx: Context, count: int) -> str:
    """Tells of its progress."""
    for done in range(1, count + 1):
        await ctx.report_progress(done, count, f"step {done}")
    return "done"


@server.tool()
async def wait(ctx: Context) -> str:
    """Waits until it is cancelled."""
    await ctx.report_progress(0, None, "waiting")
    try:
        await anyio.sleep_forever()
    finally:
        cancelled.append("wait")


@server.tool()
def what_was_cancelled() -> list[str]:
    """Says which calls were cancelled."""
    return cancelled


@server.tool()
def everything() -> CallToolResult:
    """Answers with a part of each kind."""
    blob = base64.b64encode(b"12345").decode()
    return CallToolResult(
        content=[
            TextContent(text="text"),
            ImageContent(data=picture(), mime_type="image/png"),
            ImageContent(data=base64.b64encode(b"<svg/>").decode(), mime_type="image/svg+xml"),
            AudioContent(data=blob, mime_type="audio/wav"),
            ResourceLink(name="page", uri="http://x/page", mime_type="text/html"),
            EmbeddedResource(resource=TextResourceContents(uri="test://text", text="inner")),
            EmbeddedResource(resource=BlobResourceContents(uri="test://blob", blob=blob)),
            EmbeddedResource(
                resource=BlobResourceContents(
                    uri="test://picture", blob=picture(), mime_type="image/png"
                )
            ),
        ]
    )


@server.tool()
def only_structured() -> CallToolResult:
    """Answers without parts."""
    return CallToolResult(content=[], structured_content={"a": [1]})


def ask() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


@server.tool()
def greet(name: Annotated[Name, Resolve(ask)]) -> str:
    """Asks the user for a name."""
    return f"Hello, {name.name}"


def think() -> Sample:
    message = SamplingMessage(role="user", content=TextContent(text="What is 6 times 7?"))
    return Sample([message], max_tokens=10, system_prompt="Be brief.")


@server.tool()
def guess(thought: Annotated[CreateMessageResult, Resolve(think)]) -> str:
    """Asks the client's model."""
    return f"{thought.content.text} by {thought.model}"  # type: ignore[union-attr]


@server.tool()
def where(roots: Annotated[ListRootsResult, Resolve(ListRoots)]) -> str:
    """Asks for the client's directories."""
    return " ".join(str(root.uri) for root in roots.roots)


@server.tool()
async def greet_meanwhile(ctx: Context) -> str:
    """Asks the user for a name, while the call is under way."""
    answer = await ctx.elicit("Who are you?", Name)
    return f"{answer.action} {answer.data.name if answer.action == 'accept' else ''}"


@server.tool()
async def guess_meanwhile(ctx: Context) -> str:
    """Asks the client's model, while the call is under way."""
    message = SamplingMessage(role="user", content=TextContent(text="What is 6 times 7?"))
    answer = await ctx.session.create_message([message], max_tokens=10)
    assert isinstance(answer.content, TextContent)
    return answer.content.text


@server.tool()
async def change(ctx: Context) -> str:
    """Tells that the tools have changed."""
    await ctx.session.send_tool_list_changed()
    return "changed"


@server.tool()
def big(size: int) -> str:
    """Answers with a long text."""
    return "x" * size


@server.tool()
def die() -> str:
    """Ends the server."""
    print("last words", file=sys.stderr, flush=True)
    os._exit(3)


@server.resource("test://greeting")
def greeting() -> str:
    """A resource."""
    return "hello"


@server.resource("test://greeting/{name}")
def greeting_of(name: str) -> str:
    """A template."""
    return f"hello {name}"


@server.prompt()
def review(code: str) -> str:
    """A prompt."""
    return f"Review this: {code}"


def guarded(app: Any) -> Any:
    async def guard(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (b"x-key", b"sesame") not in scope["headers"]:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return guard


def serve_in_a_fork(kind: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    if os.fork() == 0:
        app = server.sse_app() if kind == "sse" else server.streamable_http_app()
        config = uvicorn.Config(guarded(app), log_level="error", lifespan="on", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
        os._exit(0)
    print(kind, listener.getsockname()[1], flush=True)
    listener.close()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        for _ in range(3):
            serve_in_a_fork("sse")
            serve_in_a_fork("streamable-http")
        print(flush=True)
        sys.stdin.read()
        os.killpg(0, signal.SIGKILL)
