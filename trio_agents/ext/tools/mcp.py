"""Tools, resources and prompts of MCP servers. Extra: ``mcp``; importing this imports no SDK."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._mcp_adapters import (
    SseMcpToolAdapter as SseMcpToolAdapter,
    StdioMcpToolAdapter as StdioMcpToolAdapter,
    StreamableHttpMcpToolAdapter as StreamableHttpMcpToolAdapter,
    mcp_server_tools as mcp_server_tools,
)
from ._mcp_errors import (
    McpConnectionError as McpConnectionError,
    McpError as McpError,
    McpTimeoutError as McpTimeoutError,
)
from ._mcp_host import McpHost as McpHost, sampling_with as sampling_with
from ._mcp_params import (
    McpServerParams as McpServerParams,
    SseServerParams as SseServerParams,
    StdioServerParams as StdioServerParams,
    StreamableHttpServerParams as StreamableHttpServerParams,
)
from ._mcp_progress import McpProgress as McpProgress
from ._mcp_session import (
    McpSession as McpSession,
    create_mcp_server_session as create_mcp_server_session,
)
from ._mcp_workbench import McpWorkbench as McpWorkbench

__all__ = [
    "McpConnectionError",
    "McpError",
    "McpHost",
    "McpProgress",
    "McpServerParams",
    "McpSession",
    "McpTimeoutError",
    "McpWorkbench",
    "SseMcpToolAdapter",
    "SseServerParams",
    "StdioMcpToolAdapter",
    "StdioServerParams",
    "StreamableHttpMcpToolAdapter",
    "StreamableHttpServerParams",
    "create_mcp_server_session",
    "mcp_server_tools",
    "sampling_with",
]

claim_names(__name__, globals())
