"""Cancelled at any moment, whatever talks to a process or a server leaves nothing and goes on.

Each operation is cancelled after more and more of the time that it takes, by a scope and by its
token in turn. After each, the same object has to do the same to its end; after all, there are no
more processes, files or tasks than before.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import psutil
import pytest

from trio_agents import CancellationToken, InMemoryStore
from trio_agents.code_executor import CodeBlock
from trio_agents.ext.code_executors.jupyter import JupyterCodeExecutor
from trio_agents.ext.code_executors.local import LocalCommandLineCodeExecutor
from trio_agents.ext.models.cache import ChatCompletionCache
from trio_agents.ext.tools.code_execution import PythonCodeExecutionTool
from trio_agents.ext.tools.http import HttpTool
from trio_agents.models import UserMessage
from trio_agents.tools import FunctionTool, StaticWorkbench

Do = Callable[[CancellationToken], Awaitable[object]]
Opened = AbstractAsyncContextManager[Do]

TIMES: Final = int(os.environ.get("TRIO_AGENTS_CANCELLED_TIMES", "6"))
SERVER: Final = Path(__file__).parent.parent / "mcp" / "tiny_server.py"

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it counts what is in /proc"),
    # Left to the collector by the SDKs; what they read from is closed.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]


class Slowly(BaseHTTPRequestHandler):
    """Answers in pieces, each after a moment."""

    protocol_version = "HTTP/1.1"
    moment = threading.Event()  # never set: a wait that takes its time

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = (
            b'{"id":"1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,'
            b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],'
            b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
        )
        try:
            self.moment.wait(0.01)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            for index in range(0, len(body), 100):
                self.moment.wait(0.01)
                self.wfile.write(body[index : index + 100])
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Slowly) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@asynccontextmanager
async def http(port: int) -> AsyncIterator[Do]:
    tool = HttpTool("t", "127.0.0.1", port, {"type": "object", "properties": {}}, timeout=50)
    yield lambda token: tool.run_json({}, token)


@asynccontextmanager
async def model(port: int) -> AsyncIterator[Do]:
    pytest.importorskip("openai")
    from trio_agents.ext.models.openai import OpenAIChatCompletionClient

    client = OpenAIChatCompletionClient(
        model="gpt-4o", api_key="x", base_url=f"http://127.0.0.1:{port}/v1"
    )

    async def ask(token: CancellationToken) -> None:
        # A cache of its own each time: nothing is kept, the client is the same.
        cache = ChatCompletionCache(client, InMemoryStore())
        await cache.create([UserMessage(content="x", source="u")], cancellation_token=token)

    yield ask
    await client.close()


@asynccontextmanager
async def local(port: int) -> AsyncIterator[Do]:
    async with LocalCommandLineCodeExecutor(sandbox=None) as executor:
        workbench = StaticWorkbench([PythonCodeExecutionTool(executor)])
        code = {"code": "import subprocess as s; s.run(['sleep', '0.05']); print(1)"}

        async def run(token: CancellationToken) -> None:
            result = await workbench.call_tool("CodeExecutor", code, token)
            assert result.to_text().strip() == "1"

        yield run


@asynccontextmanager
async def local_from_nothing(port: int) -> AsyncIterator[Do]:
    async def run(token: CancellationToken) -> None:
        async with LocalCommandLineCodeExecutor(sandbox=None) as executor:
            await executor.execute_code_blocks([CodeBlock("sleep 0.05", "sh")], token)

    yield run


@asynccontextmanager
async def jupyter(port: int) -> AsyncIterator[Do]:
    pytest.importorskip("jupyter_client")
    async with JupyterCodeExecutor(sandbox=None, kill_grace=20) as executor:

        async def run(token: CancellationToken) -> None:
            # It takes a while, so that moments of a cancellation fall into it.
            block = CodeBlock("import time; time.sleep(0.05); print(1)", "python")
            result = await executor.execute_code_blocks([block], token)
            assert result.output.strip() == "1"

        yield run


def mcp_params() -> Any:
    mcp = pytest.importorskip("trio_agents.ext.tools.mcp")
    return mcp.StdioServerParams(
        command=sys.executable, args=["-S", "-E", str(SERVER)], read_timeout_seconds=50
    )


@asynccontextmanager
async def mcp_call(port: int) -> AsyncIterator[Do]:
    from trio_agents.ext.tools.mcp import McpWorkbench

    async with McpWorkbench(mcp_params()) as workbench:

        async def run(token: CancellationToken) -> None:
            await workbench.list_tools()
            result = await workbench.call_tool("echo", {"text": "x"}, token)
            assert not result.is_error

        yield run


@asynccontextmanager
async def mcp_from_nothing(port: int) -> AsyncIterator[Do]:
    from trio_agents.ext.tools.mcp import McpSession

    session = McpSession(mcp_params())

    async def run(token: CancellationToken) -> None:
        async with session:
            await session.call_tool("echo", {"text": "x"}, cancellation_token=token)

    yield run


@asynccontextmanager
async def mcp_restart(port: int) -> AsyncIterator[Do]:
    from trio_agents.ext.tools.mcp import McpSession

    session = McpSession(mcp_params())

    async def run(token: CancellationToken) -> None:
        try:
            await session.start()
            await session.restart()
            await session.ping()
        finally:
            await session.stop()

    yield run


@asynccontextmanager
async def functions(port: int) -> AsyncIterator[Do]:
    async def slow(x: int) -> int:
        await anyio.sleep(0.01)  # moments of a cancellation fall into it
        return x

    tool = FunctionTool(slow, "x")
    yield lambda token: tool.run_json({"x": 1}, token)


OPERATIONS: Final[list[Callable[[int], Opened]]] = [
    http, model, local, local_from_nothing, jupyter, mcp_call, mcp_from_nothing, mcp_restart,
    functions,
]  # fmt: skip


def children() -> set[int]:
    """Return the processes that this one has started and not yet seen the end of."""
    return {each.pid for each in psutil.Process().children()}


def files() -> list[str]:
    found: list[str] = []
    for each in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{each}"))
        except OSError:
            continue  # the directory itself
    return sorted(found)


def tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0  # trio's belong to nurseries, and those to blocks


async def given_up(do: Do, seconds: float, by_token: bool, cancelled: type[BaseException]) -> bool:
    """Tell whether *do* was cancelled after *seconds*."""
    token = CancellationToken()
    if not by_token:
        with anyio.move_on_after(seconds) as scope:
            await do(token)
        return scope.cancelled_caught

    async def cancel() -> None:
        await anyio.sleep(seconds)
        token.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        try:
            await do(token)
        except cancelled:
            return True
        group.cancel_scope.cancel()
    return False


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
async def test_cancelled_at_any_moment_nothing_is_left_and_it_goes_on(
    operation: Callable[[int], Opened], port: int, MessageCancelled: type[BaseException]
) -> None:
    async with operation(port) as do:
        await do(CancellationToken())  # what is made once, such as worker threads
        begun = anyio.current_time()
        await do(CancellationToken())
        takes = anyio.current_time() - begun
        gc.collect()
        before = children(), files(), tasks()
        for index in range(TIMES):
            seconds = takes * index / TIMES
            await given_up(do, seconds, index % 2 == 1, MessageCancelled)
            assert children() <= before[0], f"after {seconds:.4f} of {takes:.4f} s"
            if index % 3 == 2:
                await do(CancellationToken())
        await do(CancellationToken())
        await anyio.lowlevel.checkpoint()
        gc.collect()
        assert children() <= before[0]
        assert len(files()) <= len(before[1]), (before[1], files())
        assert tasks() <= before[2]
