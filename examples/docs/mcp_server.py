# docs/guides/mcp.md: a server, for the other examples to talk to. It speaks over stdin and stdout.

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("harbour", instructions="Ask for the tides.", log_level="ERROR")
HIGH = {"saturday": "5:10", "sunday": "6:00"}


@server.tool()
def tides(day: str) -> str:
    """When the tide is high."""
    if day.lower() not in HIGH:
        raise ToolError(f"nobody has asked the moon about {day}")
    return f"high at {HIGH[day.lower()]}"


@server.tool()
async def dredge(ctx: Context, metres: int) -> str:
    """Deepens the harbour."""
    for done in range(1, metres + 1):
        await ctx.report_progress(done, metres, f"{done} m")
    return "deep enough"


@server.resource("harbour://rules")
def rules() -> str:
    """The rules of the harbour."""
    return "No swimming at night."


if __name__ == "__main__":
    server.run("stdio")
