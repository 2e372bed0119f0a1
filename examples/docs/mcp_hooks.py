# docs/guides/mcp.md: a server that asks back.

import sys
from pathlib import Path

import trio
from mcp_types import ElicitRequestParams, ElicitResult

from trio_agents.ext.tools.mcp import McpHost, McpWorkbench, StdioServerParams

SERVER = Path(__file__).with_name("mcp_asking_server.py")
PARAMS = StdioServerParams(command=sys.executable, args=[str(SERVER)], read_timeout_seconds=60)


# [host]
async def ask_the_user(params: ElicitRequestParams) -> ElicitResult:
    print(params.message)
    return ElicitResult(action="accept", content={"name": "Ada"})


HOST = McpHost(elicitation=ask_the_user, stderr=print)
# [/host]


async def main() -> None:
    async with McpWorkbench(PARAMS, host=HOST) as workbench:
        result = await workbench.call_tool("register_boat")
        print(result.to_text())


trio.run(main)

# Prints:
# Who is the owner?
# Registered for Ada
