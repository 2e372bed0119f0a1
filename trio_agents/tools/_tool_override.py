"""`ToolOverride`: what a workbench tells of a tool in place of what the tool says of itself."""

from __future__ import annotations

from pydantic import BaseModel

__all__ = ["ToolOverride"]


class ToolOverride(BaseModel):
    """Another name or description for a tool, for the models that are told of it.

    Attributes:
        name: What models call it; None for its own name.
        description: What models are told of it; None for its own description.
    """

    name: str | None = None
    description: str | None = None
