"""`Workbench`: tools that share state and resources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, Field

from .._components._component import ComponentBase
from .._components._image import Image
from .._components._tool_schema import ToolSchema
from .._sansio._cancellation import CancellationToken

__all__ = [
    "ImageResultContent",
    "ResultContent",
    "StreamWorkbench",
    "TextResultContent",
    "ToolResult",
    "Workbench",
]


class TextResultContent(BaseModel):
    """A part of a tool's result that is text.

    Attributes:
        content: The text.
    """

    type: Literal["TextResultContent"] = "TextResultContent"
    content: str


class ImageResultContent(BaseModel):
    """A part of a tool's result that is a picture.

    Attributes:
        content: The picture.
    """

    type: Literal["ImageResultContent"] = "ImageResultContent"
    content: Image


#: A part of a tool's result, told apart by its ``type``.
ResultContent: TypeAlias = Annotated[
    TextResultContent | ImageResultContent, Field(discriminator="type")
]


class ToolResult(BaseModel):
    """What came of a tool, in the same shape for every tool of every workbench.

    Attributes:
        name: The tool's name.
        result: Its parts.
        is_error: Whether the tool failed; then the parts say why.
    """

    type: Literal["ToolResult"] = "ToolResult"
    name: str
    result: list[ResultContent]
    is_error: bool = False

    def to_text(self, replace_image: str | None = None) -> str:
        """Return the parts as one text, a line each.

        Args:
            replace_image: what stands for a picture; None for its base64.
        """
        return "\n".join(
            part.content
            if isinstance(part, TextResultContent)
            else f"[Image: {part.content.to_base64()}]"
            if replace_image is None
            else replace_image
            for part in self.result
        )


class Workbench(ABC, ComponentBase[BaseModel]):
    """A set of tools that share state and resources, such as a browser or a server.

    ::

        async with McpWorkbench(params) as workbench:
            tools = await workbench.list_tools()
    """

    component_type = "workbench"

    @abstractmethod
    async def list_tools(self) -> list[ToolSchema]:
        """Return the tools as they are now. They may change: ask before each call of a model."""

    @abstractmethod
    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        """Run the tool *name*. That it fails, or is not there, is a result with ``is_error``.

        Args:
            name: the tool.
            arguments: its arguments by name; None for none.
            cancellation_token: cancels the call.
            call_id: the model's name for the call, for traces.

        Raises:
            MessageCancelled: the token was cancelled.
        """

    @abstractmethod
    async def start(self) -> None:
        """Make the tools ready. ``async with`` does it too."""

    @abstractmethod
    async def stop(self) -> None:
        """Release what the tools use. ``async with`` does it too; a second call is fine."""

    @abstractmethod
    async def reset(self) -> None:
        """Put the tools back into the state in which they started."""

    @abstractmethod
    async def save_state(self) -> Mapping[str, Any]:
        """Return the state of the workbench as JSON."""

    @abstractmethod
    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `save_state` has returned."""

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Stop it."""
        await self.stop()  # noqa: ASYNC102  # it shields what it must not leave half done


class StreamWorkbench(Workbench, ABC):
    """A workbench whose tools tell of their progress."""

    @abstractmethod
    def call_tool_stream(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> AsyncGenerator[Any | ToolResult, None]:
        """Run the tool *name*, give what it has to tell, and last its `ToolResult`.

        Arguments and errors are those of `call_tool`.
        """
