# docs/guides/mcp.md: the tools of a server as objects, which share a session. TL-27

import sys
from pathlib import Path

import trio

from trio_agents import CancellationToken
from trio_agents.ext.tools.mcp import (
    StdioServerParams,
    create_mcp_server_session,
    mcp_server_tools,
)

SERVER = Path(__file__).with_name("mcp_server.py")
PARAMS = StdioServerParams(command=sys.executable, args=[str(SERVER)], read_timeout_seconds=60)


# [main]
async def main() -> None:
    async with create_mcp_server_session(PARAMS) as session:
        tools = await mcp_server_tools(PARAMS, session=session)
        value = await tools[0].run_json({"day": "Sunday"}, CancellationToken())
        print(tools[0].name, tools[0].return_value_as_string(value))
        # [/main]


trio.run(main)

# Prints:
# tides high at 6:00
