"""What a model is told of a tool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired

from pydantic import ConfigDict, with_config

# typing's own is refused by pydantic before Python 3.12.
from typing_extensions import TypedDict

from .._sansio._facade import claim_names

__all__ = ["ParametersSchema", "ToolSchema"]


@with_config(ConfigDict(extra="allow"))
class ParametersSchema(TypedDict):
    """The parameters of a tool, as a JSON schema of an object. It may have ``$defs`` too."""

    type: str
    properties: dict[str, Any]
    required: NotRequired[Sequence[str]]
    additionalProperties: NotRequired[bool | dict[str, Any]]


class ToolSchema(TypedDict):
    """A tool as models see it. Model clients take these wherever they take tools."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[ParametersSchema]
    strict: NotRequired[bool]


claim_names("trio_agents.tools", globals())
