"""`McpSession`: one conversation with an MCP server, which any task may use, start and stop.

`start` and `stop` only talk to the owner of the connection, see `Life`, so they may come from any
tasks. Requests are made by the tasks that want the answers: cancelling one, by a scope or a token,
cancels it on the server, and the session goes on. When the connection breaks, those who wait for
answers get an error.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

import anyio

from ..._components._extras import import_extra
from ..._loops._detached import start_detached
from ..._loops._token_scope import token_scope
from ..._sansio._cancellation import CancellationToken
from ._mcp_errors import McpConnectionError, McpError, McpTimeoutError
from ._mcp_host import McpHost
from ._mcp_life import Life, allowance, answer_of, last_words
from ._mcp_params import McpServerParams, check_params, place_of
from ._mcp_progress import McpProgress
from ._mcp_streamed import Streamed

if TYPE_CHECKING:
    import mcp
    import mcp_types
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

__all__ = ["McpSession", "create_mcp_server_session"]

T = TypeVar("T")

_PAGES: Final = 1000  # of one list: a server that never ends one is broken
_UNWINDING: Final = 1.0  # seconds that a lost request waits to learn why


class McpSession:
    """A conversation with an MCP server. Any task may use it, also many at the same time.

    ::

        async with McpSession(StdioServerParams(command="my-server")) as session:
            result = await session.call_tool("add", {"a": 1, "b": 2})

    Answers are the SDK's own types, those of ``mcp_types``. `McpWorkbench` presents the tools as
    agents and models take them.

    When the server dies, whatever is being asked raises `McpConnectionError` at once, and so does
    all that is asked later, until `restart`.

    Raises:
        TypeError: *server_params* are no parameters of a server.
        ImportError: the SDK is not installed.
    """

    # What starts the server again, for the error that says it is down.
    _again: ClassVar[str] = "restart() starts it again"

    def __init__(self, server_params: McpServerParams, *, host: McpHost | None = None) -> None:
        _need_sdk()
        check_params(server_params)
        self._params = server_params
        self._host = McpHost() if host is None else host
        self._life: Life | None = None

    def __repr__(self) -> str:
        life = self._life
        state = (
            "not started"
            if life is None
            else "starting"
            if not life.ready.is_set()
            else "down"
            if life.is_over
            else "started"
        )
        return f"<McpSession with {place_of(self._params)}, {state}>"

    @property
    def server_params(self) -> McpServerParams:
        """Where the server is."""
        return self._params

    @property
    def host(self) -> McpHost:
        """What the session offers to its server."""
        return self._host

    @property
    def initialize_result(self) -> mcp_types.InitializeResult | None:
        """What the server has said of itself when the session started: its name, what it can do.

        None if the session is not started.
        """
        life = self._life
        return None if life is None or life.is_over else life.initialize_result

    @property
    def stderr(self) -> str:
        """The last lines that a server of ours has written to its standard error."""
        return "" if self._life is None else str(self._life.wire.stderr)

    async def start(self) -> None:
        """Connect, and agree with the server on what both can do. ``async with`` does it too.

        A second call does nothing; after the server has died it connects anew. Cancelled, nothing
        is left of the attempt.

        Raises:
            McpConnectionError: the server cannot be started or reached; the error says what it has
                written to its standard error.
            McpError: it refuses, or does not speak the protocol.
        """
        while True:
            life = self._life
            if life is not None and life.is_ending and not life.ended.is_set():
                await life.ended.wait()
                continue  # another task that has waited too may be starting it
            is_ours = life is None or life.ended.is_set()
            if life is None or life.ended.is_set():
                life = self._life = Life(self._params, self._host)
                start_detached(life.own, f"owner of {self!r}")
            has_waited = False
            try:
                await life.ready.wait()
                has_waited = True
            finally:
                # It may be ready, and this cancelled all the same: in the same turn of the loop.
                if not has_waited and (is_ours or not life.ready.is_set()):
                    life.abandoned = True
                    await life.end_now()  # noqa: ASYNC102  # shielded, and ended by its own scope
            if not life.abandoned:
                break  # else another task has given up what both were waiting for
        if life.failure is not None:
            raise life.failure

    async def stop(self) -> None:
        """End the session, and the server if it is ours. ``async with`` does it too.

        What is still being asked raises `McpConnectionError`. Returns when the process is gone: one
        that does not go by itself within two seconds is killed, with all that it has started. A
        second call, and one before `start`, does nothing. Cancelled, it hurries, and still leaves
        nothing behind.
        """
        life = self._life
        if life is None:
            return
        life.wire.lose("the session was stopped")
        life.disarm()
        try:
            if life.ready.is_set():
                await life.ended.wait()
        finally:
            if not life.ended.is_set():  # it starts, or we are cancelled
                await life.end_now()  # noqa: ASYNC102  # shielded, and ended by its own scope
            if self._life is life:
                self._life = None

    async def restart(self) -> None:
        """Stop, then start: a server of ours begins anew with nothing of its state.

        Raises:
            McpError: as `start` does.
        """
        await self.stop()
        await self.start()

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
        await self.stop()  # noqa: ASYNC102  # sees to its own cancellation

    async def initialize(self) -> mcp_types.InitializeResult:
        """Start the session if it is not started, and return what the server has said of itself.

        Raises:
            McpError: as `start` does.
        """
        await self.start()
        life = self._need("initialize")
        assert life.initialize_result is not None
        return life.initialize_result

    async def ping(self) -> None:
        """Return when the server has answered.

        Raises:
            McpError: it has not.
        """
        life = self._need("ping")
        # The later protocol has no ping of its own. Whoever lists his tools is alive too.
        if life.is_modern:
            await self._ask("ping", lambda client: client.list_tools(cache_mode="bypass"))
        else:
            await self._ask("ping", lambda client: client.session.send_ping())

    async def list_tools(self) -> mcp_types.ListToolsResult:
        """Return the tools as they are now, all pages of them.

        Raises:
            McpError: the server does not say.
        """
        import mcp_types

        pages = await self._pages(
            "tools/list", lambda client, cursor: client.list_tools(cursor=cursor)
        )
        return mcp_types.ListToolsResult(tools=[tool for page in pages for tool in page.tools])

    async def list_resources(self) -> mcp_types.ListResourcesResult:
        """Return what the server offers to read, all pages of it.

        Raises:
            McpError: the server does not say.
        """
        import mcp_types

        pages = await self._pages(
            "resources/list", lambda client, cursor: client.list_resources(cursor=cursor)
        )
        return mcp_types.ListResourcesResult(
            resources=[resource for page in pages for resource in page.resources]
        )

    async def list_resource_templates(self) -> mcp_types.ListResourceTemplatesResult:
        """Return the patterns of what the server offers to read, all pages of them.

        Raises:
            McpError: the server does not say.
        """
        import mcp_types

        pages = await self._pages(
            "resources/templates/list",
            lambda client, cursor: client.list_resource_templates(cursor=cursor),
        )
        return mcp_types.ListResourceTemplatesResult(
            resource_templates=[one for page in pages for one in page.resource_templates]
        )

    async def read_resource(self, uri: str) -> mcp_types.ReadResourceResult:
        """Return what is at *uri*, in as many parts as the server makes of it.

        Raises:
            McpError: there is no such resource.
        """
        return await self._ask("resources/read", lambda client: client.read_resource(uri))

    async def list_prompts(self) -> mcp_types.ListPromptsResult:
        """Return the prompts that the server has, all pages of them.

        Raises:
            McpError: the server does not say.
        """
        import mcp_types

        pages = await self._pages(
            "prompts/list", lambda client, cursor: client.list_prompts(cursor=cursor)
        )
        return mcp_types.ListPromptsResult(
            prompts=[prompt for page in pages for prompt in page.prompts]
        )

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None
    ) -> mcp_types.GetPromptResult:
        """Return the prompt *name* with its arguments filled in.

        Raises:
            McpError: there is no such prompt, or it takes other arguments.
        """
        filled = None if arguments is None else dict(arguments)
        return await self._ask("prompts/get", lambda client: client.get_prompt(name, filled))

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        progress: Callable[[McpProgress], object] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> mcp_types.CallToolResult:
        """Run the tool *name*. That it fails is a result with ``is_error``.

        Cancelled, by a scope or the token, it is cancelled on the server too.

        Args:
            name: the tool.
            arguments: its arguments by name.
            progress: called here, and awaited if it is async, in order, for each progress that the
                server tells; if it raises, the call is cancelled.
            cancellation_token: cancels the call.

        Raises:
            McpError: there is no such tool, or the server breaks the protocol.
            McpTimeoutError: there was no answer within the time that the parameters give.
            McpConnectionError: the server died, or is not started.
            MessageCancelled: the token was cancelled.
        """
        with token_scope(cancellation_token, f"the call of {name}"):
            if progress is None:
                return await self._call(name, arguments, None)
            async with aclosing(self.call_tool_stream(name, arguments)) as stream:
                async for item in stream:
                    if not isinstance(item, McpProgress):
                        return item
                    outcome = progress(item)
                    if isawaitable(outcome):
                        await outcome
        raise AssertionError("a stream ends with a result or an error")

    async def call_tool_stream(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        cancellation_token: CancellationToken | None = None,
    ) -> AsyncGenerator[McpProgress | mcp_types.CallToolResult, None]:
        """Run the tool *name*, give its progress as it comes, and last its result.

        Left early, the call is cancelled when the generator is closed: use ``aclosing``. Otherwise
        as `call_tool`.
        """
        life = self._need("tools/call")
        what = f"the call of {name}"
        send: MemoryObjectSendStream[McpProgress | mcp_types.CallToolResult | Exception]
        receive: MemoryObjectReceiveStream[McpProgress | mcp_types.CallToolResult | Exception]
        send, receive = anyio.create_memory_object_stream(math.inf)

        # The connection itself calls this. That nobody listens any more must not be its end.
        def tell(progress: McpProgress) -> None:
            with suppress(anyio.BrokenResourceError):
                send.send_nowait(progress)

        call = Streamed(lambda: self._call(name, arguments, tell), send)
        with token_scope(cancellation_token, what):
            pass  # cancelled already: do not begin
        assert life.group is not None
        life.group.start_soon(call.run)
        try:
            while True:
                with token_scope(cancellation_token, what, has_begun=True):
                    try:
                        item = await receive.receive()
                    except anyio.EndOfStream:
                        raise await self._explain(life, "tools/call") from None
                if isinstance(item, Exception):
                    raise item
                yield item
                if not isinstance(item, McpProgress):
                    return
        finally:
            try:
                await call.cancel()  # noqa: ASYNC102  # shielded; the SDK's goodbye has a deadline
            finally:
                receive.close()

    async def _call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        on_progress: Callable[[McpProgress], object] | None,
    ) -> mcp_types.CallToolResult:
        life = self._need("tools/call")
        filled = dict(arguments or {})
        if on_progress is None:
            return await self._ask("tools/call", lambda client: client.call_tool(name, filled))
        with life.progress.watched(on_progress) as token:
            return await self._ask(
                "tools/call",
                lambda client: client.call_tool(name, filled, meta={"progress_token": token}),
            )

    async def _pages(
        self, method: str, ask: Callable[[mcp.Client, str | None], Awaitable[Any]]
    ) -> list[Any]:
        pages: list[Any] = []
        cursor: str | None = None
        while len(pages) < _PAGES:
            page = await self._ask(method, partial(_at, ask, cursor))
            pages.append(page)
            cursor = page.next_cursor
            if cursor is None:
                return pages
        raise McpError(f"{place_of(self._params)} goes on after {_PAGES} pages of {method}")

    async def _ask(self, method: str, ask: Callable[[mcp.Client], Awaitable[T]]) -> T:
        from mcp import MCPError
        from pydantic import ValidationError

        life = self._need(method)
        assert life.client is not None
        try:
            return await ask(life.client)
        except MCPError as error:
            raise await self._explain(life, method, error) from error
        except (ValidationError, RuntimeError) as error:
            if life.is_over:
                raise self._down(life, method) from error
            # The SDK's words for an answer of another shape than the protocol or the tool promises.
            reason = type(error).__name__ if isinstance(error, ValidationError) else str(error)
            raise McpError(
                f"{place_of(self._params)} answered {method} with what is no answer: {reason}"
            ) from error

    def _need(self, method: str) -> Life:
        life = self._life
        if life is None or not life.ready.is_set():
            raise McpConnectionError(
                f"{method}: the session with {place_of(self._params)} is not started: use "
                f"`async with`, or await start()"
            )
        if life.is_over:
            raise self._down(life, method)
        return life

    async def _explain(
        self, life: Life, method: str, error: mcp.MCPError | None = None
    ) -> McpError:
        import mcp_types

        lost = error is None
        if error is not None and error.code == mcp_types.CONNECTION_CLOSED:
            # Servers use the number too. These are the words of the SDK's transports.
            lost = error.message == "Connection closed" or error.message.startswith("SSE stream")
        if lost and not life.is_over:
            with anyio.move_on_after(_UNWINDING):
                await life.ended.wait()
        if life.is_over:
            return self._down(life, method)
        if error is None or lost:
            why = "the connection has ended" if error is None else error.message
            return McpConnectionError(f"{place_of(self._params)} lost {method}: {why}")
        if error.code == mcp_types.REQUEST_TIMEOUT:
            return McpTimeoutError(
                f"{place_of(self._params)} did not answer {method} within "
                f"{allowance(self._params)}",
                code=error.code,
            )
        return McpError(answer_of(error, life.wire), code=error.code, data=error.data)

    def _down(self, life: Life, method: str) -> McpConnectionError:
        why = life.wire.lost or "the session has ended"
        error = McpConnectionError(
            f"{method}: {place_of(self._params)} is down: {why}; {self._again}"
            f"{last_words(life.wire)}"
        )
        error.__cause__ = life.failure
        return error


@asynccontextmanager
async def create_mcp_server_session(
    server_params: McpServerParams, *, host: McpHost | None = None
) -> AsyncGenerator[McpSession, None]:
    """Open a session for the length of a block, for several tools to share.

    ::

        async with create_mcp_server_session(params) as session:
            tools = await mcp_server_tools(params, session=session)

    Raises:
        McpError: as `McpSession.start` does.
    """
    async with McpSession(server_params, host=host) as session:
        yield session


def _at(ask: Callable[[mcp.Client, str | None], T], cursor: str | None, client: mcp.Client) -> T:
    return ask(client, cursor)


def _need_sdk() -> None:
    if not hasattr(import_extra("mcp", "mcp", purpose="MCP servers"), "Client"):
        raise ImportError(
            "MCP servers need version 2.3 or later of the MCP SDK: pip install 'trio-agents[mcp]'",
            name="mcp",
        )
