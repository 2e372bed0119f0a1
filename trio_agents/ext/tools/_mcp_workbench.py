"""`McpWorkbench`: the tools of an MCP server, as agents use them.

A failing tool is a result, which the model gets to see: it may try again with other arguments. So
is a tool that takes too long, or is not there. A server that is gone is an exception: no model can
do anything about that, and the agent, or who runs it, can.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import attrs
from pydantic import Field

from ..._components._component import Component
from ..._components._component_model import ComponentModel
from ..._components._config_data import ComponentConfig
from ..._components._tool_schema import ToolSchema
from ..._sansio._cancellation import CancellationToken
from ..._sansio._errors import ComponentError
from ...models._client import ChatCompletionClient
from ...tools._static_workbench import ToolOverride
from ...tools._workbench import StreamWorkbench, TextResultContent, ToolResult
from ._mcp_errors import McpConnectionError, McpError
from ._mcp_host import McpHost, sampling_with
from ._mcp_params import McpServerParams, check_command
from ._mcp_progress import McpProgress
from ._mcp_results import contents_of, schema_of
from ._mcp_session import McpSession

if TYPE_CHECKING:
    import mcp_types

__all__ = ["McpWorkbench", "McpWorkbenchConfig"]

_PROVIDER: Final = "trio_agents.ext.tools.mcp.McpWorkbench"


class McpWorkbenchConfig(ComponentConfig):
    """The configuration of an `McpWorkbench`."""

    server_params: McpServerParams
    tool_overrides: dict[str, ToolOverride] = Field(default_factory=dict)
    model_client: ComponentModel | dict[str, Any] | None = None


class _Session(McpSession):
    _again: ClassVar[str] = "reset() of the workbench starts it again"


class McpWorkbench(StreamWorkbench, Component[McpWorkbenchConfig]):
    """The tools of an MCP server.

    ::

        params = StdioServerParams(command="npx", args=["@playwright/mcp"], read_timeout_seconds=60)
        async with McpWorkbench(params) as workbench:
            tools = await workbench.list_tools()
            result = await workbench.call_tool("browser_navigate", {"url": "http://localhost"})

    It may be started, used and stopped by different tasks, also many at the same time. If the
    server dies, calls raise `McpConnectionError`, those under way at once, until `reset`.

    A configuration holds no secrets, see `StdioServerParams.env`, and with a *host* there is none:
    hooks cannot be described. One with a command line is only loaded if the `ComponentPolicy`
    allows code.

    Args:
        server_params: where the server is.
        tool_overrides: other names or descriptions for tools, by the names that the server gives.
            One for a tool that is not there waits for it: a server may change its tools.
        model_client: offers the server to go on with its texts, as `sampling_with` does.
        host: what else the server may ask for, and tell.

    Raises:
        ValueError: two tools would have the same name, or *host* has a hook for sampling besides
            the *model_client*.
        TypeError: *server_params* are no parameters of a server.
        ImportError: the SDK is not installed.
    """

    component_config_schema = McpWorkbenchConfig
    component_provider_override: ClassVar[str | None] = _PROVIDER

    def __init__(
        self,
        server_params: McpServerParams,
        tool_overrides: Mapping[str, ToolOverride] | None = None,
        model_client: ChatCompletionClient | None = None,
        *,
        host: McpHost | None = None,
    ) -> None:
        self._has_host = host is not None
        host = McpHost() if host is None else host
        if model_client is not None:
            if host.sampling is not None:
                raise ValueError("sampling is offered twice: by model_client, and by the host")
            host = attrs.evolve(host, sampling=sampling_with(model_client))
        self._overrides = dict(tool_overrides or {})
        self._own_names = _own_names(self._overrides)
        self._model_client = model_client
        self._session = _Session(server_params, host=host)

    @property
    def server_params(self) -> McpServerParams:
        """Where the server is."""
        return self._session.server_params

    @property
    def session(self) -> McpSession:
        """The session behind the tools, for all that workbenches do not have."""
        return self._session

    @property
    def initialize_result(self) -> mcp_types.InitializeResult | None:
        """What the server has said of itself; None if the workbench is not started."""
        return self._session.initialize_result

    async def list_tools(self) -> list[ToolSchema]:
        """Return the tools as they are now. They may change: ask before each call of a model.

        Raises:
            McpError: the server does not say, died, or is not started.
        """
        tools = await self._session.list_tools()
        return [self._overridden(schema_of(tool)) for tool in tools.tools]

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
        *,
        progress: Callable[[McpProgress], object] | None = None,
    ) -> ToolResult:
        """Run the tool *name*. That it fails, or is not there, is a result with ``is_error``.

        Cancelled, by a scope or the token, it is cancelled on the server too.

        Args:
            name: the tool.
            arguments: its arguments by name; None for none.
            cancellation_token: cancels the call.
            call_id: the model's name for the call, for traces.
            progress: called, and awaited if it is async, in order, for each progress that the
                server tells.

        Raises:
            McpConnectionError: the server died, or is not started.
            MessageCancelled: the token was cancelled.
        """
        try:
            result = await self._session.call_tool(
                self._own_names.get(name, name),
                arguments,
                progress=progress,
                cancellation_token=cancellation_token,
            )
        except McpConnectionError:
            raise
        except McpError as error:
            return _failed(name, error)
        return _result(name, result)

    async def call_tool_stream(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> AsyncGenerator[McpProgress | ToolResult, None]:
        """Run the tool *name*, give each `McpProgress` as it comes, and last its `ToolResult`.

        Left early, the call is cancelled when the generator is closed: use ``aclosing``. Arguments
        and errors are those of `call_tool`.
        """
        stream = self._session.call_tool_stream(
            self._own_names.get(name, name), arguments, cancellation_token=cancellation_token
        )
        try:
            async for item in stream:
                yield item if isinstance(item, McpProgress) else _result(name, item)
        except McpConnectionError:
            raise
        except McpError as error:
            yield _failed(name, error)
        finally:
            await stream.aclose()  # noqa: ASYNC102  # it cancels first, and shields what it awaits

    async def list_resources(self) -> mcp_types.ListResourcesResult:
        """Return what the server offers to read, see `McpSession.list_resources`."""
        return await self._session.list_resources()

    async def list_resource_templates(self) -> mcp_types.ListResourceTemplatesResult:
        """Return patterns of that, see `McpSession.list_resource_templates`."""
        return await self._session.list_resource_templates()

    async def read_resource(self, uri: str) -> mcp_types.ReadResourceResult:
        """Return what is at *uri*, see `McpSession.read_resource`."""
        return await self._session.read_resource(uri)

    async def list_prompts(self) -> mcp_types.ListPromptsResult:
        """Return the prompts that the server has, see `McpSession.list_prompts`."""
        return await self._session.list_prompts()

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None
    ) -> mcp_types.GetPromptResult:
        """Return a prompt with its arguments filled in, see `McpSession.get_prompt`."""
        return await self._session.get_prompt(name, arguments)

    async def start(self) -> None:
        """Connect to the server, see `McpSession.start`. ``async with`` does it too.

        Raises:
            McpError: the server cannot be started or reached, or refuses.
        """
        await self._session.start()

    async def stop(self) -> None:
        """End the session, and the server if it is ours, see `McpSession.stop`."""
        await self._session.stop()

    async def reset(self) -> None:
        """Stop and start: a server of ours begins anew, and so does one that has died.

        Raises:
            McpError: the server cannot be started or reached, or refuses.
        """
        await self._session.restart()

    async def save_state(self) -> Mapping[str, Any]:
        """Return nothing: the state of a server is its own, and the protocol has no word for it."""
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Do nothing, see `save_state`."""

    def _overridden(self, schema: ToolSchema) -> ToolSchema:
        override = self._overrides.get(schema["name"])
        if override is not None:
            if override.name is not None:
                schema["name"] = override.name
            if override.description is not None:
                schema["description"] = override.description
        return schema

    def _to_config(self) -> McpWorkbenchConfig:
        if self._has_host:
            raise ComponentError(
                "McpWorkbench was given host: objects that no configuration can describe"
            )
        client = self._model_client
        return McpWorkbenchConfig(
            server_params=self._session.server_params,
            tool_overrides=self._overrides,
            model_client=None if client is None else client.dump_component(),
        )

    @classmethod
    def _from_config(cls, config: McpWorkbenchConfig) -> Self:
        check_command(_PROVIDER, config.server_params)
        client = config.model_client
        return cls(
            config.server_params,
            config.tool_overrides,
            None if client is None else ChatCompletionClient.load_component(client),
        )


def _own_names(overrides: Mapping[str, ToolOverride]) -> dict[str, str]:
    """Return the names that the server knows by those that models use."""
    names: dict[str, str] = {}
    for own, override in overrides.items():
        if override.name is None or override.name == own:
            continue
        other = names.setdefault(override.name, own)
        if other != own or (
            override.name in overrides and overrides[override.name].name in (None, override.name)
        ):
            taken = other if other != own else override.name
            raise ValueError(
                f"the tools {taken!r} and {own!r} would both be called {override.name!r}"
            )
    return names


def _result(name: str, result: mcp_types.CallToolResult) -> ToolResult:
    return ToolResult(name=name, result=list(contents_of(result)), is_error=result.is_error)


def _failed(name: str, error: McpError) -> ToolResult:
    return ToolResult(name=name, result=[TextResultContent(content=str(error))], is_error=True)
