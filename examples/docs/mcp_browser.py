# docs/guides/mcp.md: an agent that reads the web, in a browser that Playwright's server drives.
# It runs where `playwright-mcp` (of the npm package @playwright/mcp) and Chromium are found. WB-11

import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import trio
from mcp_agent import Message, WorkbenchAgent, calls

from trio_agents import AgentId, open_runtime
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.ext.tools.mcp import McpWorkbench, StdioServerParams
from trio_agents.model_context import BufferedChatCompletionContext


class Page(BaseHTTPRequestHandler):
    """The web, for this example."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Harbour</title><p>The harbour is at 3 Quay Street.</p>")

    def log_message(self, format: str, *args: object) -> None:
        pass


# [main]
async def browse(playwright: str, chromium: str, url: str) -> None:
    params = StdioServerParams(
        command=playwright,
        args=["--headless", "--isolated", "--no-sandbox", "--executable-path", chromium],
        read_timeout_seconds=60,
    )
    client = ReplayChatCompletionClient(
        [calls("browser_navigate", url=url), calls("browser_snapshot"), "At 3 Quay Street."]
    )
    async with McpWorkbench(params) as workbench, open_runtime() as runtime:
        await WorkbenchAgent.register(
            runtime,
            "browser",
            lambda: WorkbenchAgent(client, BufferedChatCompletionContext(10), workbench),
        )
        question = Message(f"Where is the harbour? Look at {url}")
        answer = await runtime.send_message(question, AgentId("browser", "default"))
        print(answer.content)
    # [/main]


def main() -> None:
    playwright, chromium = shutil.which("playwright-mcp"), shutil.which("chromium")
    if playwright is None or chromium is None:
        print("This needs playwright-mcp (npm install @playwright/mcp) and chromium on the PATH.")
        return
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            trio.run(browse, playwright, chromium, f"http://127.0.0.1:{server.server_port}/")
        finally:
            server.shutdown()
            thread.join()


main()
