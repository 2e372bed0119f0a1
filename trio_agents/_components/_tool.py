"""`Tool`: something that a model can ask for.

Here and not among the tools, since models need no more of them than this and the schema.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from .._sansio._cancellation import CancellationToken
from .._sansio._facade import claim_names
from ._tool_schema import ToolSchema

__all__ = ["StreamTool", "Tool"]


@runtime_checkable
class Tool(Protocol):
    """Code that answers the function calls of a model. `BaseTool` is the usual way to one."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    @property
    def description(self) -> str:
        """What it is for, and when to use it."""
        ...

    @property
    def schema(self) -> ToolSchema:
        """What the model is told of it."""
        ...

    def args_type(self) -> type[BaseModel]:
        """Return the pydantic model of its arguments."""
        ...

    def return_type(self) -> type[Any]:
        """Return the type of its results."""
        ...

    def state_type(self) -> type[BaseModel] | None:
        """Return the pydantic model of its state; None if it has none."""
        ...

    def return_value_as_string(self, value: Any) -> str:
        """Return a result as text for the model."""
        ...

    async def run_json(
        self,
        args: Mapping[str, Any],
        cancellation_token: CancellationToken,
        call_id: str | None = None,
    ) -> Any:
        """Check the arguments and run the tool.

        Args:
            args: the arguments by name, as parsed from JSON.
            cancellation_token: cancels the run.
            call_id: the model's name for the call, for traces.
        """
        ...

    async def save_state_json(self) -> Mapping[str, Any]:
        """Return its state as JSON."""
        ...

    async def load_state_json(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `save_state_json` has returned."""
        ...


@runtime_checkable
class StreamTool(Tool, Protocol):
    """A tool that tells of its progress."""

    def run_json_stream(
        self,
        args: Mapping[str, Any],
        cancellation_token: CancellationToken,
        call_id: str | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Check the arguments, run the tool, give what it has to tell, and last its result."""
        ...


claim_names("trio_agents.tools", globals())
