"""Tools and workbenches, sets of tools: what models can ask for. For both event loops."""

from __future__ import annotations

from .._components._tool import StreamTool as StreamTool, Tool as Tool
from .._components._tool_schema import (
    ParametersSchema as ParametersSchema,
    ToolSchema as ToolSchema,
)
from .._sansio._facade import claim_names
from ._base_tool import BaseTool as BaseTool, BaseToolWithState as BaseToolWithState
from ._function_tool import FunctionTool as FunctionTool
from ._static_workbench import (
    StaticStreamWorkbench as StaticStreamWorkbench,
    StaticWorkbench as StaticWorkbench,
    ToolOverride as ToolOverride,
)
from ._stream_tool import BaseStreamTool as BaseStreamTool
from ._workbench import (
    ImageResultContent as ImageResultContent,
    ResultContent as ResultContent,
    StreamWorkbench as StreamWorkbench,
    TextResultContent as TextResultContent,
    ToolResult as ToolResult,
    Workbench as Workbench,
)

__all__ = [
    "BaseStreamTool",
    "BaseTool",
    "BaseToolWithState",
    "FunctionTool",
    "ImageResultContent",
    "ParametersSchema",
    "ResultContent",
    "StaticStreamWorkbench",
    "StaticWorkbench",
    "StreamTool",
    "StreamWorkbench",
    "TextResultContent",
    "Tool",
    "ToolOverride",
    "ToolResult",
    "ToolSchema",
    "Workbench",
]

claim_names(__name__, globals())
