"""`McpSession`: one conversation with an MCP server, which any task may use, start and stop.

The SDK's client holds cancel scopes open, so the task that enters it has to leave it, and a failure
inside of it cancels that task. Kept on an object and closed by whichever task comes last, it takes
the program down with it. Here each connection has an owner, a task that does nothing but enter the
client, wait, and leave it. `start` and `stop` only talk to the owner, so they may come from any
tasks, and what breaks in the connection breaks there: those who wait for answers get an error.

The owner is nobody's child. A task group opened by ``async with`` would do for the block, but then
`start` without a block would need another way, and a workbench that is handed around is entered by
one task and left by another all the same. The run itself ends an owner that was never stopped: its
server is gone when the run is over, and a `ResourceWarning` names it.

Requests are made by the tasks that want the answers: cancelling one, by a scope or a token, cancels
it on the server, and the session goes on. Only streamed calls run beside the owner, because a
generator must not yield inside of a task group.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, final

import anyio
import attrs

from ..._loops._detached import start_detached
from ..._loops._token_scope import token_scope
from ..._sansio._cancellation import CancellationToken
from ..._version import __version__
from ._mcp_errors import McpConnectionError, McpError, McpTimeoutError, first_cause
from ._mcp_host import McpHost
from ._mcp_params import McpServerParams, StdioServerParams, place_of
from ._mcp_transport import Wire

if TYPE_CHECKING:
    import mcp
    import mcp_types
    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

__all__ = ["McpProgress", "McpSession", "create_mcp_server_session"]

T = TypeVar("T")

_PAGES: Final = 1000  # of one list: a server that never ends one is broken
_STAND_INS: Final = ("Server returned an error response", "Not Found", "Session terminated")
_UNWINDING: Final = 1.0  # seconds that a lost request waits to learn why


@final
@attrs.frozen
class McpProgress:
    """How far a call has come, as its server says.

    Attributes:
        progress: What is done; it grows from one to the next.
        total: What there is to do, in the same unit; None if the server does not know.
        message: What is being done.
    """

    progress: float
    total: float | None = None
    message: str | None = None


class McpSession:
    """A conversation with an MCP server. Any task may use it, also many at the same time.

    ```python
    async with McpSession(StdioServerParams(command="my-server")) as session:
        result = await session.call_tool("add", {"a": 1, "b": 2})
    ```

    Answers are the SDK's own types, those of ``mcp_types``. `McpWorkbench` presents the tools as
    agents and models take them.

    When the server dies, whatever is being asked raises `McpConnectionError` at once, and so does
    all that is asked later, until `restart`.
    """

    def __init__(self, server_params: McpServerParams, *, host: McpHost | None = None) -> None:
        _need_sdk()
        self._params = server_params
        self._host = McpHost() if host is None else host
        self._life: _Life | None = None

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
            if life is not None and life.is_ending:
                await life.ended.wait()
            if life is None or life.ended.is_set():
                life = self._life = _Life(self._params, self._host)
                start_detached(life.own, f"owner of {self!r}")
            try:
                await life.ready.wait()
            finally:
                if not life.ready.is_set():
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
        progress: Callable[[McpProgress], Awaitable[object]] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> mcp_types.CallToolResult:
        """Run the tool *name*. That it fails is a result with ``is_error``.

        Cancelled, by a scope or the token, it is cancelled on the server too.

        Args:
            name: the tool.
            arguments: its arguments by name.
            progress: called and awaited here, in order, for each progress that the server tells; if
                it raises, the call is cancelled.
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
                    await progress(item)
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
        call = _Streamed(lambda: self._call(name, arguments, send.send_nowait), send)
        with token_scope(cancellation_token, what):
            pass  # cancelled already: do not begin
        assert life.group is not None
        life.group.start_soon(call.run)
        try:
            while True:
                with token_scope(cancellation_token, what):
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
            receive.close()
            await call.cancel()  # noqa: ASYNC102  # shielded; the SDK's goodbye has a deadline

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

    def _need(self, method: str) -> _Life:
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
        self, life: _Life, method: str, error: mcp.MCPError | None = None
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
                f"{_allowance(self._params)}",
                code=error.code,
            )
        return McpError(_answer(error, life.wire), code=error.code, data=error.data)

    def _down(self, life: _Life, method: str) -> McpConnectionError:
        why = life.wire.lost or "the session has ended"
        error = McpConnectionError(
            f"{method}: {place_of(self._params)} is down: {why}; restart() or reset() starts it "
            f"again{_last_words(life.wire)}"
        )
        error.__cause__ = life.failure
        return error


@final
class _Life:
    """One connection, and the task that owns it.

    Invariant: `client` and `group` are there from `ready` until the owner begins to leave.
    """

    def __init__(self, params: McpServerParams, host: McpHost) -> None:
        self._params = params
        self._host = host
        self._over = anyio.Event()
        self._scope = anyio.CancelScope()
        self.progress = _ProgressTable()
        self.wire = Wire(params, self.progress.tell, self._over.set, host.stderr)
        self.client: mcp.Client | None = None
        self.group: TaskGroup | None = None
        self.initialize_result: mcp_types.InitializeResult | None = None
        self.is_modern = False
        self.failure: BaseException | None = None
        self.ready = anyio.Event()  # it is connected, or never will be
        self.ended = anyio.Event()
        self.abandoned = False
        self._forgotten: _Forgotten | None = _Forgotten(f"the session with {place_of(params)}")

    @property
    def is_over(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._over.is_set() or self.ended.is_set() or self.failure is not None

    @property
    def is_ending(self) -> bool:
        """Whether the owner is about to leave, or has left."""
        return self.abandoned or self.is_over

    def disarm(self) -> None:
        """Somebody has ended it: no warning."""
        if self._forgotten is not None:
            self._forgotten.what = None
        self._forgotten = None

    async def end_now(self) -> None:
        """End it, and wait for that whatever happens: there may be a process to be killed."""
        self.disarm()
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self.ended.wait()

    async def own(self) -> None:
        """Enter the client, wait for the end, and leave it: what the owner does."""
        try:
            self._scope.deadline = anyio.current_time() + _patience(self._params)
            with self._scope:
                await self._connect()
            if not self.ready.is_set():
                self.failure = self._gave_up()
        # The task has no parent, so an error is for those who ask: start() raises it, calls tell of
        # it. Not only Exception: a group may hold a cancellation beside the error that caused it.
        except BaseException as error:  # noqa: ASYNC103  # cancellations are raised again
            cause = first_cause(error)
            if isinstance(cause, anyio.get_cancelled_exc_class()):
                self.wire.lose("its event loop has ended")
                self._forgotten = None  # its end warns
                raise
            self.failure = cause if self.ready.is_set() else self._told(cause)
            self.wire.lose(_reason(cause))
            if not isinstance(cause, Exception):  # an interrupt
                raise
        finally:
            self.client = self.group = None
            self.ready.set()
            self.ended.set()
            if self.failure is not None or self._over.is_set():
                self.disarm()

    async def _connect(self) -> None:
        from mcp import Client
        from mcp_types import Implementation

        async with anyio.create_task_group() as group:
            client = Client(
                self.wire.open(),
                read_timeout_seconds=_patience(self._params),
                client_info=Implementation(name="trio-agents", version=__version__),
                cache=None,  # list_tools() says how it is now
                **self._host.callbacks(),
            )
            async with client:
                await self._settle(client)
                self._scope.deadline = math.inf
                self.client, self.group = client, group
                self.ready.set()
                await self._over.wait()
                self.client = None
            group.cancel_scope.cancel()

    async def _settle(self, client: mcp.Client) -> None:
        import mcp_types

        found = client.session.initialize_result
        self.is_modern = found is None
        self.initialize_result = found or mcp_types.InitializeResult(
            protocol_version=client.protocol_version,
            capabilities=client.server_capabilities,
            server_info=client.server_info or mcp_types.Implementation(name="", version=""),
            instructions=client.instructions,
        )
        # Later servers are told of the level with each request.
        if self._host.log is not None and not self.is_modern and client.server_capabilities.logging:
            await client.session.send_request(
                mcp_types.SetLevelRequest(
                    params=mcp_types.SetLevelRequestParams(level=self._host.log_level)
                ),
                mcp_types.EmptyResult,
            )

    def _gave_up(self) -> McpError:
        """Say why it did not start, though nothing went wrong."""
        place, words = place_of(self._params), _last_words(self.wire)
        if self._over.is_set() or self.abandoned:
            return McpConnectionError(f"{place} did not start: {self.wire.lost}{words}")
        self.wire.lose("it did not start in time")
        return McpTimeoutError(f"{place} did not start within {_allowance(self._params)}{words}")

    def _told(self, error: BaseException) -> BaseException:
        """Return *error* as those who have asked are told of it."""
        from mcp import MCPError

        if not isinstance(error, Exception):
            return error
        prefix, words = f"{place_of(self._params)} did not start", _last_words(self.wire)
        reason = self.wire.lost or _reason(error)
        told: McpError = McpConnectionError(f"{prefix}: {reason}{words}")
        if isinstance(error, MCPError) and self.wire.lost is None:
            reason = _answer(error, self.wire)
            kind = McpConnectionError if error.message in _STAND_INS else McpError
            told = kind(f"{prefix}: {reason}{words}", code=error.code, data=error.data)
        told.__cause__ = error
        return told


class _Streamed:
    """A call that runs beside the owner and hands what comes of it to a generator."""

    def __init__(
        self,
        call: Callable[[], Awaitable[mcp_types.CallToolResult]],
        send: MemoryObjectSendStream[McpProgress | mcp_types.CallToolResult | Exception],
    ) -> None:
        self._call = call
        self._send = send
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()

    async def run(self) -> None:
        """Make the call. An error is for whoever iterates, and not for the owner."""
        try:
            with self._send, self._scope:
                try:
                    outcome: mcp_types.CallToolResult | Exception = await self._call()
                except Exception as error:
                    outcome = error
                if not self._scope.cancel_called:  # nobody listens any more
                    self._send.send_nowait(outcome)
        finally:
            self._done.set()

    async def cancel(self) -> None:
        """Cancel the call, if it is still under way, and wait for that."""
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._done.wait()


class _ProgressTable:
    """Who wants to know of the progress of which call."""

    def __init__(self) -> None:
        self._count = 0
        self._watchers: dict[object, Callable[[McpProgress], object]] = {}

    def watched(self, watcher: Callable[[McpProgress], object]) -> _Watch:
        """Give a token for a call whose progress *watcher* is told, inside of the block."""
        self._count += 1
        return _Watch(self._watchers, f"trio-agents-{self._count}", watcher)

    def tell(self, token: object, params: Mapping[str, Any]) -> None:
        """Tell whoever it concerns. What is malformed, or comes late, concerns nobody."""
        watcher = self._watchers.get(token) if isinstance(token, str) else None
        progress, total = params.get("progress"), params.get("total")
        if watcher is not None and isinstance(progress, int | float):
            message = params.get("message")
            watcher(
                McpProgress(
                    progress,
                    total if isinstance(total, int | float) else None,
                    message if isinstance(message, str) else None,
                )
            )


@attrs.frozen
class _Watch:
    watchers: dict[object, Callable[[McpProgress], object]]
    token: str
    watcher: Callable[[McpProgress], object]

    def __enter__(self) -> str:
        self.watchers[self.token] = self.watcher
        return self.token

    def __exit__(self, *_: object) -> None:
        del self.watchers[self.token]


class _Forgotten:
    """Warns when it is collected. In a finalizer, a warning made an error hits nobody's task."""

    def __init__(self, what: str) -> None:
        self.what: str | None = what

    def __del__(self) -> None:
        if self.what is not None:
            warnings.warn(
                f"{self.what} was started and never stopped: use `async with`, or await stop()",
                ResourceWarning,
                stacklevel=2,
            )


@asynccontextmanager
async def create_mcp_server_session(
    server_params: McpServerParams, *, host: McpHost | None = None
) -> AsyncGenerator[McpSession, None]:
    """Open a session for the length of a block, for several tools to share.

    ```python
    async with create_mcp_server_session(params) as session:
        tools = await mcp_server_tools(params, session=session)
    ```

    Raises:
        McpError: as `McpSession.start` does.
    """
    async with McpSession(server_params, host=host) as session:
        yield session


def _at(ask: Callable[[mcp.Client, str | None], T], cursor: str | None, client: mcp.Client) -> T:
    return ask(client, cursor)


def _patience(params: McpServerParams) -> float:
    if isinstance(params, StdioServerParams):
        return params.read_timeout_seconds
    return params.sse_read_timeout


def _allowance(params: McpServerParams) -> str:
    """Say how long the server may take, and what to change if that is too short."""
    field = "read_timeout_seconds" if isinstance(params, StdioServerParams) else "sse_read_timeout"
    return f"{_patience(params):g} seconds ({field} of its parameters)"


def _reason(error: BaseException) -> str:
    """Say what *error* is, without the URL that errors about a status quote, with its secrets."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"it has answered with HTTP {response.status_code}"
    return f"{type(error).__name__}: {error}"


def _answer(error: mcp.MCPError, wire: Wire) -> str:
    """Return what the server has said, or which status stands behind the SDK's words for one."""
    if error.message in _STAND_INS and wire.refusal is not None:
        return f"{error.message} ({wire.refusal})"
    return error.message


def _last_words(wire: Wire) -> str:
    words = str(wire.stderr)
    return f". Its standard error ends with:\n{words}" if words else ""


def _need_sdk() -> None:
    try:
        from mcp import Client as Client
    except ImportError as error:
        raise ImportError(
            "MCP servers need version 2.3 or later of the MCP SDK: pip install 'trio-agents[mcp]'",
            name=error.name,
        ) from error
