"""What an MCP server answers, in the terms of our tools.

Pictures stay pictures. Everything else becomes text that a model can read: resources that are text
as that text, links as their address, and of what is neither text nor picture its kind and size,
because its base64 would only fill a model's context.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from ..._components._image import Image
from ..._components._tool_schema import ParametersSchema, ToolSchema
from ...tools._workbench import ImageResultContent, TextResultContent

if TYPE_CHECKING:
    import mcp_types

__all__ = ["contents_of", "parameters_of", "schema_of"]


def contents_of(result: mcp_types.CallToolResult) -> list[TextResultContent | ImageResultContent]:
    """Return the parts of a result; its structured content only if that is all there is."""
    parts = [_content(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts.append(
            TextResultContent(content=json.dumps(result.structured_content, ensure_ascii=False))
        )
    return parts


def _content(block: mcp_types.ContentBlock) -> TextResultContent | ImageResultContent:
    if block.type == "text":
        return TextResultContent(content=block.text)
    if block.type == "image":
        return _picture(block.data, block.mime_type)
    if block.type == "audio":
        return _summary(block.data, block.mime_type)
    if block.type == "resource_link":
        kind = f" ({block.mime_type})" if block.mime_type else ""
        return TextResultContent(content=f"{block.name}: {block.uri}{kind}")
    resource = block.resource
    text: str | None = getattr(resource, "text", None)
    if text is not None:
        return TextResultContent(content=text)
    blob: str = getattr(resource, "blob", "")
    kind = resource.mime_type or "application/octet-stream"
    if kind.startswith("image/"):
        return _picture(blob, kind)
    return _summary(blob, f"{resource.uri}, {kind}")


def _picture(data: str, kind: str) -> TextResultContent | ImageResultContent:
    try:
        return ImageResultContent(content=Image.from_base64(data))
    except ValueError:  # drawings (SVG), and what is no picture
        return _summary(data, kind)


def _summary(data: str, kind: str) -> TextResultContent:
    return TextResultContent(content=f"[{kind}, {len(data) * 3 // 4} bytes]")


def parameters_of(tool: mcp_types.Tool) -> ParametersSchema:
    """Return the schema of a tool's arguments, all of it: its parts may refer to definitions."""
    schema: dict[str, Any] = {"type": "object", "properties": {}, **tool.input_schema}
    return cast("ParametersSchema", schema)


def schema_of(tool: mcp_types.Tool) -> ToolSchema:
    """Return what models are told of a tool."""
    return ToolSchema(
        name=tool.name, description=tool.description or "", parameters=parameters_of(tool)
    )
