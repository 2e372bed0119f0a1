# Servers that others have made, as their users run them. Those of npm: `npm ci` in ../servers/mcp.

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import mcp_types
import pytest

from trio_agents.ext.tools.mcp import (
    McpConnectionError,
    McpHost,
    McpProgress,
    McpWorkbench,
    StdioServerParams,
)
from trio_agents.tools import ImageResultContent

CHROMIUM: Final = Path("/usr/bin/chromium")
EXAMPLE: Final = Path(__file__).parents[3] / "examples" / "docs" / "mcp_browser.py"


async def accept(params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
    return mcp_types.ElicitResult(action="accept", content={"name": "Bob"})


async def sample(params: mcp_types.CreateMessageRequestParams) -> mcp_types.CreateMessageResult:
    content = mcp_types.TextContent(text="forty-two")
    return mcp_types.CreateMessageResult(role="assistant", content=content, model="m")


HOST: Final = McpHost(elicitation=accept, sampling=sample, roots=["file:///work"])


# WB-09
async def test_the_server_of_the_python_sdk(full: StdioServerParams) -> None:
    async with McpWorkbench(full, host=HOST) as workbench:
        assert (await workbench.call_tool("add", {"a": 1})).to_text() == "3"
        assert (await workbench.call_tool("fail")).is_error
        assert (await workbench.call_tool("greet")).to_text() == "Hello, Bob"
        assert (await workbench.call_tool("guess")).to_text() == "forty-two by m"
        items = [item async for item in workbench.call_tool_stream("steps", {"count": 2})]
        assert items[:2] == [McpProgress(1, 2, "step 1"), McpProgress(2, 2, "step 2")]
        with pytest.raises(McpConnectionError, match="last words"):
            await workbench.call_tool("die")


# WB-09
async def test_the_official_server_of_npm(node_server: Callable[[str], str]) -> None:
    params = StdioServerParams(
        command=node_server("mcp-server-everything"), args=["stdio"], read_timeout_seconds=60
    )
    seen: list[object] = []

    async def note(progress: McpProgress) -> None:
        seen.append(progress.progress)

    async with McpWorkbench(params, host=HOST) as workbench:
        assert len(await workbench.list_tools()) > 10
        assert (await workbench.call_tool("echo", {"message": "hi"})).to_text() == "Echo: hi"
        assert (await workbench.call_tool("nothing")).is_error
        sampled = await workbench.call_tool("trigger-sampling-request", {"prompt": "x"})
        assert "forty-two" in sampled.to_text()
        elicited = await workbench.call_tool("trigger-elicitation-request")
        assert "Name: Bob" in elicited.to_text()
        assert "file:///work" in (await workbench.call_tool("get-roots-list")).to_text()
        arguments = {"duration": 0.1, "steps": 2}
        await workbench.call_tool("trigger-long-running-operation", arguments, progress=note)
        assert seen == [1, 2]
        resources = (await workbench.list_resources()).resources
        assert (await workbench.read_resource(str(resources[0].uri))).contents
        assert (await workbench.list_prompts()).prompts
        prompt = await workbench.get_prompt("args-prompt", {"city": "Paris"})
        assert "Paris" in prompt.messages[0].content.text  # type: ignore[union-attr]


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = (
            b"<title>Cellar</title><button onclick=\"this.textContent='the key is sesame'\">Open"
            b"</button>"
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a page."""
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


# WB-11
async def test_a_browser(node_server: Callable[[str], str], page: str, tmp_path: Path) -> None:
    program = node_server("playwright-mcp")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed: apt-get install chromium")
    params = StdioServerParams(
        command=program,
        args=[
            *("--executable-path", str(CHROMIUM), "--headless", "--no-sandbox", "--isolated"),
            *("--output-dir", str(tmp_path)),
        ],
        read_timeout_seconds=60,
    )
    async with McpWorkbench(params) as workbench:
        assert "browser_navigate" in {tool["name"] for tool in await workbench.list_tools()}
        opened = await workbench.call_tool("browser_navigate", {"url": page})
        assert "Cellar" in opened.to_text(), opened.to_text()
        snapshot = (await workbench.call_tool("browser_snapshot")).to_text()
        ref = snapshot.partition('button "Open" [ref=')[2].partition("]")[0]
        clicked = await workbench.call_tool("browser_click", {"element": "Open", "target": ref})
        assert not clicked.is_error, clicked.to_text()
        after = await workbench.call_tool("browser_snapshot")
        assert "the key is sesame" in after.to_text()
        photo = await workbench.call_tool("browser_take_screenshot")
        assert any(isinstance(part, ImageResultContent) for part in photo.result)


# WB-08 WB-11
def test_the_example_that_browses_runs_where_its_programs_are(
    node_server: Callable[[str], str], tmp_path: Path
) -> None:
    program = Path(node_server("playwright-mcp"))
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed: apt-get install chromium")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("At 3 Quay Street.\n")
