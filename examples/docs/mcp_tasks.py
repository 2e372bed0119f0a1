# docs/guides/mcp.md: a workbench that is started, used and stopped by different tasks.

import sys
from pathlib import Path

import trio

from trio_agents.ext.tools.mcp import McpWorkbench, StdioServerParams

SERVER = Path(__file__).with_name("mcp_server.py")
PARAMS = StdioServerParams(command=sys.executable, args=[str(SERVER)], read_timeout_seconds=60)


# [main]
async def ask(workbench: McpWorkbench, day: str) -> None:
    result = await workbench.call_tool("tides", {"day": day})
    print(day, result.to_text())


async def main() -> None:
    workbench = McpWorkbench(PARAMS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workbench.start)
    async with trio.open_nursery() as nursery:
        for day in ("Saturday", "Sunday"):
            nursery.start_soon(ask, workbench, day)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workbench.stop)


trio.run(main)
# [/main]
