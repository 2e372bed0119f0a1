"""One connection to an MCP server, and the task that owns it.

The SDK's client holds cancel scopes open, so the task that enters it has to leave it, and a failure
inside of it cancels that task. Kept on an object and closed by whichever task comes last, it takes
the program down with it. So each connection has an owner: a task that does nothing but enter the
client, wait, and leave it. What breaks in the connection breaks there.

The owner is nobody's child. A task group opened by ``async with`` would do for the block, but then
`start` without a block would need another way, and a workbench that is handed around is entered by
one task and left by another all the same. The run itself ends an owner that was never stopped: its
server is gone when the run is over, and a `ResourceWarning` names it.

Left out: a thread with a loop of its own. Hooks would run there, away from what they are to use.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Final, final

import anyio

from ..._version import __version__
from ._mcp_errors import McpConnectionError, McpError, McpTimeoutError, first_cause
from ._mcp_host import McpHost
from ._mcp_params import McpServerParams, StdioServerParams, place_of
from ._mcp_progress import ProgressTable
from ._mcp_transport import Wire

if TYPE_CHECKING:
    import mcp
    import mcp_types
    from anyio.abc import TaskGroup

__all__ = ["Life", "allowance", "answer_of", "last_words"]

# What the SDK says for answers of HTTP that hold no message.
_STAND_INS: Final = ("Server returned an error response", "Not Found", "Session terminated")


@final
class Life:
    """One connection, and the task that owns it.

    Invariant: `client` and `group` are there from `ready` until the owner begins to leave.
    """

    def __init__(self, params: McpServerParams, host: McpHost) -> None:
        self._params = params
        self._host = host
        self._over = anyio.Event()
        self._scope = anyio.CancelScope()
        self.progress = ProgressTable()
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
        with anyio.CancelScope(shield=True):
            try:
                await self.wire.wait_spawned()
            finally:
                self._scope.cancel()
            await self.ended.wait()

    async def own(self) -> None:
        """Enter the client, wait for the end, and leave it: what the owner does."""
        try:
            self._scope.deadline = anyio.current_time() + patience(self._params)
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
                read_timeout_seconds=patience(self._params),
                client_info=Implementation(name="trio-agents", version=__version__),
                cache=None,  # list_tools() says how it is now
                mode=self._host.mode(),
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
        place, words = place_of(self._params), last_words(self.wire)
        if self._over.is_set() or self.abandoned:
            return McpConnectionError(f"{place} did not start: {self.wire.lost}{words}")
        self.wire.lose("it did not start in time")
        return McpTimeoutError(f"{place} did not start within {allowance(self._params)}{words}")

    def _told(self, error: BaseException) -> BaseException:
        """Return *error* as those who have asked are told of it."""
        from mcp import MCPError

        if not isinstance(error, Exception):
            return error
        prefix, words = f"{place_of(self._params)} did not start", last_words(self.wire)
        reason = self.wire.lost or _reason(error)
        told: McpError = McpConnectionError(f"{prefix}: {reason}{words}")
        if isinstance(error, MCPError) and self.wire.lost is None:
            reason = answer_of(error, self.wire)
            kind = McpConnectionError if error.message in _STAND_INS else McpError
            told = kind(f"{prefix}: {reason}{words}", code=error.code, data=error.data)
        told.__cause__ = error
        return told


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


def patience(params: McpServerParams) -> float:
    if isinstance(params, StdioServerParams):
        return params.read_timeout_seconds
    return params.sse_read_timeout


def allowance(params: McpServerParams) -> str:
    """Say how long the server may take, and what to change if that is too short."""
    field = "read_timeout_seconds" if isinstance(params, StdioServerParams) else "sse_read_timeout"
    return f"{patience(params):g} seconds ({field} of its parameters)"


def _reason(error: BaseException) -> str:
    """Say what *error* is, without the URL that errors about a status quote, with its secrets."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"it has answered with HTTP {response.status_code}"
    return f"{type(error).__name__}: {error}"


def answer_of(error: mcp.MCPError, wire: Wire) -> str:
    """Return what the server has said, or which status stands behind the SDK's words for one."""
    if error.message in _STAND_INS and wire.refusal is not None:
        return f"{error.message} ({wire.refusal})"
    return error.message


def last_words(wire: Wire) -> str:
    words = str(wire.stderr)
    return f". Its standard error ends with:\n{words}" if words else ""
