# docs/guides/mcp.md: a server whose tool asks the user.

from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

server = MCPServer("registry", log_level="ERROR")


class Owner(BaseModel):
    name: str


def owner() -> Elicit[Owner]:
    return Elicit("Who is the owner?", Owner)


@server.tool()
def register_boat(owner: Annotated[Owner, Resolve(owner)]) -> str:
    """Registers a boat."""
    return f"Registered for {owner.name}"


if __name__ == "__main__":
    server.run("stdio")
