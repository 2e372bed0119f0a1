"""`StaticWorkbench`: tools that are there from the start, as a workbench.

Its point is one shape for every outcome: whatever a tool returns becomes text and pictures, and
whatever it raises becomes a result that the model can read. Only a cancellation stays one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Final, Self, cast

from pydantic import BaseModel, Field

from .._components._check_tool import check_tool
from .._components._component import Component
from .._components._component_model import ComponentModel
from .._components._config_data import ComponentConfig
from .._components._image import Image
from .._components._tool import StreamTool, Tool
from .._components._tool_schema import ToolSchema
from .._loops import _asyncio
from .._sansio._cancellation import CancellationToken
from .._sansio._errors import ComponentError, MessageCancelled
from ._base_tool import BaseTool
from ._signature import arguments_title
from ._text import text_of_error
from ._workbench import (
    ImageResultContent,
    ResultContent,
    StreamWorkbench,
    TextResultContent,
    ToolResult,
    Workbench,
)

__all__ = ["StaticStreamWorkbench", "StaticWorkbench", "ToolOverride"]

# On asyncio it is a CancelledError, which is no Exception.
_FAILURES: Final = (Exception, _asyncio.MessageCancelled)


class ToolOverride(BaseModel):
    """What models are told instead of a tool's own name and description.

    Attributes:
        name: Another name; None for the tool's own.
        description: Another description; None for the tool's own.
    """

    name: str | None = None
    description: str | None = None


class StaticWorkbenchConfig(ComponentConfig):
    """The configuration of a `StaticWorkbench`.

    Attributes:
        tools: Its tools.
        tool_overrides: What models are told of them, by the tools' own names.
    """

    tools: list[ComponentModel] = Field(default_factory=list[ComponentModel])
    tool_overrides: dict[str, ToolOverride] = Field(default_factory=dict)


class StaticWorkbench(Workbench, Component[StaticWorkbenchConfig]):
    """A workbench of tools that stay the same.

    ::

        tools = [FunctionTool(get_price, "Get the price of a stock.")]
        async with StaticWorkbench(tools) as workbench:
            result = await workbench.call_tool("get_price", {"ticker": "AAPL"})

    It can be used without being started; then `reset` has nothing to go back to.
    """

    component_config_schema = StaticWorkbenchConfig
    component_provider_override: ClassVar[str | None] = "trio_agents.tools.StaticWorkbench"

    def __init__(
        self,
        tools: Sequence[Tool],
        tool_overrides: Mapping[str, ToolOverride] | None = None,
    ) -> None:
        """Make a workbench of *tools*.

        Args:
            tools: the tools.
            tool_overrides: what models are told of them, by the tools' own names.

        Raises:
            ValueError: two tools would have the same name, or an override is for none of them.
            TypeError: one of them is no tool but a function, say.
        """
        self._tools = tuple(tools)
        for tool in self._tools:
            check_tool(tool, "tools")
        self._overrides = dict(tool_overrides or {})
        own = {tool.name for tool in self._tools}
        unknown = sorted(self._overrides.keys() - own)
        if unknown:
            raise ValueError(
                f"tool_overrides names {', '.join(unknown)}, which is none of the tools "
                f"({', '.join(sorted(own)) or 'there are none'})"
            )
        self._by_name: dict[str, Tool] = {}
        for tool in self._tools:
            name = self._name(tool)
            # A tool can be called by its own name too, so nobody else may have that.
            if name in self._by_name or (name != tool.name and name in own):
                raise ValueError(f"two tools are called {name!r}: a tool's name must be its own")
            self._by_name[name] = tool
        for tool in self._tools:
            self._by_name.setdefault(tool.name, tool)
        self._at_start: Mapping[str, Any] | None = None

    def _name(self, tool: Tool) -> str:
        override = self._overrides.get(tool.name)
        return tool.name if override is None or override.name is None else override.name

    async def list_tools(self) -> list[ToolSchema]:
        """Return the tools, as models are told of them."""
        return [self._schema(tool) for tool in self._tools]

    def _schema(self, tool: Tool) -> ToolSchema:
        schema = tool.schema
        override = self._overrides.get(tool.name)
        if override is not None:
            schema["name"] = self._name(tool)
            if override.description is not None:
                schema["description"] = override.description
        return schema

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        """Run the tool *name*. That it fails, or is not there, is a result with ``is_error``.

        A picture that a tool returns, alone or in a list with texts, is one in the result.

        Args:
            name: the tool, by the name that models are told or by its own.
            arguments: its arguments by name; None for none.
            cancellation_token: cancels the call.
            call_id: the model's name for the call, for traces.

        Raises:
            MessageCancelled: the token was cancelled.
        """
        tool = self._by_name.get(name)
        if tool is None:
            return self._unknown(name)
        token = CancellationToken() if cancellation_token is None else cancellation_token
        try:
            value = await tool.run_json(arguments or {}, token, call_id)
            return _result(name, tool, value)
        except _FAILURES as error:
            return _failure(name, tool, error, token)

    def _unknown(self, name: str) -> ToolResult:
        names = ", ".join(map(self._name, self._tools)) or "none"
        return _error(name, f"There is no tool {name!r}. The tools are: {names}.")

    async def start(self) -> None:
        """Remember the state of the tools, for `reset`."""
        self._at_start = await self.save_state()

    async def stop(self) -> None:
        """Do nothing: the tools belong to whoever has made them."""

    async def reset(self) -> None:
        """Put the tools back into the state in which they were at `start`."""
        if self._at_start is not None:
            await self.load_state(self._at_start)

    async def save_state(self) -> Mapping[str, Any]:
        """Return the states of the tools as JSON, by their own names."""
        return {
            "type": "StaticWorkbenchState",
            "tools": {tool.name: await tool.save_state_json() for tool in self._tools},
        }

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `save_state` has returned.

        A tool of which it says nothing stays as it is.

        Raises:
            ValueError: it is no such state.
        """
        states: Any = state.get("tools")
        if not isinstance(states, Mapping):
            raise ValueError("this is no state of a StaticWorkbench: it has no 'tools'")
        states = cast(Mapping[str, Any], states)
        for tool in self._tools:
            if tool.name in states:
                await tool.load_state_json(states[tool.name])

    def _to_config(self) -> StaticWorkbenchConfig:
        return StaticWorkbenchConfig(
            tools=[_described(tool) for tool in self._tools], tool_overrides=self._overrides
        )

    @classmethod
    def _from_config(cls, config: StaticWorkbenchConfig) -> Self:
        tools: list[BaseTool[Any, Any]] = [BaseTool.load_component(tool) for tool in config.tools]
        return cls(tools, config.tool_overrides)


class StaticStreamWorkbench(StaticWorkbench, StreamWorkbench):
    """A workbench of tools that stay the same, some of which tell of their progress."""

    component_provider_override: ClassVar[str | None] = "trio_agents.tools.StaticStreamWorkbench"

    async def call_tool_stream(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> AsyncGenerator[Any | ToolResult, None]:
        """Run the tool *name*, give what it has to tell, and last its `ToolResult`.

        Of a tool that does not stream only the result. Arguments and errors are those of
        `call_tool`; leaving the loop early is as in `BaseStreamTool.run_json_stream`.

        Raises:
            MessageCancelled: the token was cancelled.
        """
        tool = self._by_name.get(name)
        if not isinstance(tool, StreamTool):
            yield await self.call_tool(name, arguments, cancellation_token, call_id)
            return
        token = CancellationToken() if cancellation_token is None else cancellation_token
        # One item is held back: the last is the result, and only the end tells which that is.
        held: list[Any] = []
        result: ToolResult | None = None
        stream = tool.run_json_stream(arguments or {}, token, call_id)
        async with aclosing(stream):
            while result is None:
                told = held
                try:
                    held = [await anext(stream)]
                except StopAsyncIteration:
                    told = []
                    try:
                        result = _result(name, tool, held[-1] if held else None)
                    except _FAILURES as error:
                        result = _failure(name, tool, error, token)
                except _FAILURES as error:
                    result = _failure(name, tool, error, token)
                for value in told:
                    yield value  # noqa: ASYNC119  # closed early, this closes the tool's
        yield result


def _result(name: str, tool: Tool, value: Any) -> ToolResult:
    parts: list[ResultContent]
    if isinstance(value, Image) or _has_picture(value):
        parts = [
            ImageResultContent(content=item)
            if isinstance(item, Image)
            else TextResultContent(content=item)
            for item in ([value] if isinstance(value, Image) else value)
        ]
    else:
        parts = [TextResultContent(content=tool.return_value_as_string(value))]
    return ToolResult(name=name, result=parts)


def _has_picture(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and any(isinstance(item, Image) for item in cast(list[Any], value))
        and all(isinstance(item, Image | str) for item in cast(list[Any], value))
    )


def _failure(name: str, tool: Tool, error: BaseException, token: CancellationToken) -> ToolResult:
    """Make a result of what a tool has raised, unless it is that the call was cancelled."""
    if token.is_cancelled() and isinstance(error, MessageCancelled | _asyncio.MessageCancelled):
        raise error
    # The model knows the tool by the name that it has called.
    titles = {arguments_title(tool.name): arguments_title(name)}
    return _error(name, text_of_error(error, titles))


def _error(name: str, text: str) -> ToolResult:
    return ToolResult(name=name, result=[TextResultContent(content=text)], is_error=True)


def _described(tool: Tool) -> ComponentModel:
    if not isinstance(tool, BaseTool):
        raise ComponentError(
            f"the tool {tool.name} cannot be dumped: {type(tool).__name__} is no BaseTool"
        )
    return tool.dump_component()
