"""Single tools of an MCP server, as tool objects: for agents that take tools and no workbench.

Three classes, because a configuration names a class and AutoGen has three. They differ in the kind
of their parameters alone.

Arguments are checked by the server, which knows its own rules; the model class that `args_type`
gives carries the server's schema and takes any arguments.
"""

from __future__ import annotations

import copy
from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from ..._components._component import Component, ComponentBase
from ..._components._config_data import ComponentConfig
from ..._components._providers import provider_of
from ..._components._tool_schema import ToolSchema
from ..._sansio._cancellation import CancellationToken
from ...tools._workbench import TextResultContent
from ._mcp_errors import McpError
from ._mcp_params import (
    McpServerParams,
    SseServerParams,
    StdioServerParams,
    StreamableHttpServerParams,
    check_command,
    check_params,
)
from ._mcp_results import contents_of, parameters_of, schema_of
from ._mcp_session import McpSession

if TYPE_CHECKING:
    import mcp_types

__all__ = [
    "SseMcpToolAdapter",
    "StdioMcpToolAdapter",
    "StreamableHttpMcpToolAdapter",
    "mcp_server_tools",
]

ParamsT = TypeVar("ParamsT", bound=StdioServerParams | SseServerParams | StreamableHttpServerParams)


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="allow")
    server_schema: ClassVar[dict[str, Any]]

    # Not by pydantic's own hooks: it would look for the server's definitions among its own.
    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return copy.deepcopy(cls.server_schema)


class _OneCall(McpSession):
    _again: ClassVar[str] = "the next call starts another one"


class _Tool(ABC, ComponentBase[BaseModel], Generic[ParamsT]):
    component_type = "tool"

    def __init__(
        self, server_params: ParamsT, tool: mcp_types.Tool, session: McpSession | None = None
    ) -> None:
        self._params = server_params
        self._tool = tool
        self._session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def name(self) -> str:
        """What the model calls it: what the server calls it."""
        return self._tool.name

    @property
    def description(self) -> str:
        """What the server says that it is for."""
        return self._tool.description or ""

    @property
    def schema(self) -> ToolSchema:
        """What the model is told of it: what the server says."""
        return schema_of(self._tool)

    def args_type(self) -> type[BaseModel]:
        """Return a model with the server's schema, which takes any arguments."""
        namespace = {"__module__": __name__, "server_schema": dict(parameters_of(self._tool))}
        return type(self._tool.name, (_Arguments,), namespace)

    def return_type(self) -> type[Any]:
        """Return `list`: the parts that the server answers with."""
        return list

    def state_type(self) -> type[BaseModel] | None:
        """Return None: what state there is, the server keeps."""
        return None

    def return_value_as_string(self, value: Any) -> str:
        """Return the parts of a result as text, a line each; pictures by their kind and size."""
        import mcp_types

        return "\n".join(
            part.content
            if isinstance(part, TextResultContent)
            else f"[image, {part.content.image.width} x {part.content.image.height}]"
            for part in contents_of(mcp_types.CallToolResult(content=value))
        )

    async def run_json(
        self,
        args: Mapping[str, Any],
        cancellation_token: CancellationToken,
        call_id: str | None = None,
    ) -> list[mcp_types.ContentBlock]:
        """Have the server run the tool, and return the parts that it answers with.

        Without a session of its own or a shared one, a server is started or connected to for this
        one call. Cancelled, by a scope or the token, it is cancelled on the server too.

        Raises:
            McpError: the tool failed: the error says what the server says.
            McpTimeoutError: there was no answer in time.
            McpConnectionError: there is no server.
            MessageCancelled: the token was cancelled.
        """
        if self._session is not None:
            return await self._run(self._session, args, cancellation_token)
        async with _OneCall(self._params) as session:
            return await self._run(session, args, cancellation_token)

    async def _run(
        self, session: McpSession, args: Mapping[str, Any], token: CancellationToken
    ) -> list[mcp_types.ContentBlock]:
        result = await session.call_tool(self.name, args, cancellation_token=token)
        if result.is_error:
            raise McpError(self.return_value_as_string(result.content))
        return list(result.content)

    async def save_state_json(self) -> Mapping[str, Any]:
        """Return nothing, see `state_type`."""
        return {}

    async def load_state_json(self, state: Mapping[str, Any]) -> None:
        """Do nothing, see `state_type`."""

    def _dumped_tool(self) -> dict[str, Any]:
        return self._tool.model_dump(by_alias=True, exclude_none=True, mode="json")

    @classmethod
    def _loaded(cls, params: ParamsT, tool: dict[str, Any]) -> Self:
        import mcp_types

        check_command(provider_of(cls), params)
        return cls(params, mcp_types.Tool.model_validate(tool))


class StdioMcpToolAdapterConfig(ComponentConfig):
    """The configuration of a `StdioMcpToolAdapter`: the tool is as the protocol describes it."""

    server_params: StdioServerParams
    tool: dict[str, Any]


class StdioMcpToolAdapter(_Tool[StdioServerParams], Component[StdioMcpToolAdapterConfig]):
    """A tool of a server that is a process of ours. `mcp_server_tools` makes these.

    Args:
        server_params: where the server is.
        tool: what the server says of the tool.
        session: what to call it through; None for a process of its own for each call.
    """

    component_config_schema = StdioMcpToolAdapterConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.tools.mcp.StdioMcpToolAdapter"
    )

    def _to_config(self) -> StdioMcpToolAdapterConfig:
        return StdioMcpToolAdapterConfig(server_params=self._params, tool=self._dumped_tool())

    @classmethod
    def _from_config(cls, config: StdioMcpToolAdapterConfig) -> Self:
        return cls._loaded(config.server_params, config.tool)


class SseMcpToolAdapterConfig(ComponentConfig):
    """The configuration of an `SseMcpToolAdapter`: the tool is as the protocol describes it."""

    server_params: SseServerParams
    tool: dict[str, Any]


class SseMcpToolAdapter(_Tool[SseServerParams], Component[SseMcpToolAdapterConfig]):
    """A tool of a server that sends events. `mcp_server_tools` makes these.

    Args:
        server_params: where the server is.
        tool: what the server says of the tool.
        session: what to call it through; None for a connection of its own for each call.
    """

    component_config_schema = SseMcpToolAdapterConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.tools.mcp.SseMcpToolAdapter"
    )

    def _to_config(self) -> SseMcpToolAdapterConfig:
        return SseMcpToolAdapterConfig(server_params=self._params, tool=self._dumped_tool())

    @classmethod
    def _from_config(cls, config: SseMcpToolAdapterConfig) -> Self:
        return cls._loaded(config.server_params, config.tool)


class StreamableHttpMcpToolAdapterConfig(ComponentConfig):
    """The configuration of a `StreamableHttpMcpToolAdapter`: the tool as the protocol has it."""

    server_params: StreamableHttpServerParams
    tool: dict[str, Any]


class StreamableHttpMcpToolAdapter(
    _Tool[StreamableHttpServerParams], Component[StreamableHttpMcpToolAdapterConfig]
):
    """A tool of a server behind streamable HTTP. `mcp_server_tools` makes these.

    Args:
        server_params: where the server is.
        tool: what the server says of the tool.
        session: what to call it through; None for a connection of its own for each call.
    """

    component_config_schema = StreamableHttpMcpToolAdapterConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.tools.mcp.StreamableHttpMcpToolAdapter"
    )

    def _to_config(self) -> StreamableHttpMcpToolAdapterConfig:
        return StreamableHttpMcpToolAdapterConfig(
            server_params=self._params, tool=self._dumped_tool()
        )

    @classmethod
    def _from_config(cls, config: StreamableHttpMcpToolAdapterConfig) -> Self:
        return cls._loaded(config.server_params, config.tool)


async def mcp_server_tools(
    server_params: McpServerParams, session: McpSession | None = None
) -> list[StdioMcpToolAdapter | SseMcpToolAdapter | StreamableHttpMcpToolAdapter]:
    """Return the tools of a server as tool objects.

    Given a *session* that is started, the tools are called through it, for as long as it is.
    Without one, a server is started or connected to for this list, and again for each call: that is
    slow, and nothing is kept from one call to the next.

    Raises:
        McpError: the server cannot be reached, or does not say.
        TypeError: *server_params* are no parameters of a server.
    """
    check_params(server_params)
    if session is None:
        async with McpSession(server_params) as own:
            listed = await own.list_tools()
    else:
        listed = await session.list_tools()
    return [_adapter(server_params, tool, session) for tool in listed.tools]


def _adapter(
    params: McpServerParams, tool: mcp_types.Tool, session: McpSession | None
) -> StdioMcpToolAdapter | SseMcpToolAdapter | StreamableHttpMcpToolAdapter:
    if isinstance(params, StdioServerParams):
        return StdioMcpToolAdapter(params, tool, session)
    if isinstance(params, SseServerParams):
        return SseMcpToolAdapter(params, tool, session)
    return StreamableHttpMcpToolAdapter(params, tool, session)
