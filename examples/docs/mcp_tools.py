# docs/guides/mcp.md: the tools of a server, called by hand.

import sys
from pathlib import Path

import trio

from trio_agents.ext.tools.mcp import (
    McpConnectionError,
    McpProgress,
    McpWorkbench,
    StdioServerParams,
)
from trio_agents.tools import ToolOverride

# [params]
SERVER = Path(__file__).with_name("mcp_server.py")
PARAMS = StdioServerParams(command=sys.executable, args=[str(SERVER)], read_timeout_seconds=60)
# [/params]


# [main]
async def main() -> None:
    async with McpWorkbench(PARAMS) as workbench:
        print([tool["name"] for tool in await workbench.list_tools()])
        result = await workbench.call_tool("tides", {"day": "Sunday"})
        print(result.to_text())
        # [/main]
        # [errors]
        result = await workbench.call_tool("tides", {"day": "Monday"})
        print(result.is_error, result.to_text())
        # [/errors]
        # [progress]
        async for item in workbench.call_tool_stream("dredge", {"metres": 2}):
            print(item.message if isinstance(item, McpProgress) else item.to_text())
        # [/progress]
        # [overrides]
        overrides = {"tides": ToolOverride(name="high_water", description="When it is high.")}
        async with McpWorkbench(PARAMS, overrides) as renamed:
            print([tool["name"] for tool in await renamed.list_tools()])
        # [/overrides]
        # [resources]
        print([str(resource.uri) for resource in (await workbench.list_resources()).resources])
        read = await workbench.read_resource("harbour://rules")
        print(read.contents[0].model_dump()["text"])
        # [/resources]
    # [stopped]
    try:
        await workbench.call_tool("tides", {"day": "Sunday"})
    except McpConnectionError as error:
        print(type(error).__name__)
    # [/stopped]


trio.run(main)

# Prints:
# ['tides', 'dredge']
# high at 6:00
# True Error executing tool tides: nobody has asked the moon about Monday
# 1 m
# 2 m
# deep enough
# ['high_water', 'dredge']
# ['harbour://rules']
# No swimming at night.
# McpConnectionError
