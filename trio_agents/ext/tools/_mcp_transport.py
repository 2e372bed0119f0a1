"""The wire to an MCP server: the SDK's transports, with an eye on what passes.

The SDK tells nobody when a connection ends while nothing is being asked, does not say which HTTP
status an error came from, and hands progress to tasks of its own, which may run in another order
than it came. All three can be seen at the stream of incoming messages, so that is wrapped here.

A server of ours writes to a pipe as its standard error. Printing that into the terminal of every
program would be too much, and throwing it away too little: when a server does not start, its last
words are what one needs. So the last lines are kept for errors, and a hook may have all of them.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TextIO, cast

import anyio
import anyio.lowlevel

from ._mcp_params import (
    McpServerParams,
    SseServerParams,
    StdioServerParams,
    StreamableHttpServerParams,
    revealed,
)

if TYPE_CHECKING:
    import httpx2
    from mcp.client._transport import ReadStream, TransportStreams
    from mcp.shared.message import SessionMessage

__all__ = ["LastLines", "Wire"]

_LINES: Final = 20
_LINE: Final = 500  # characters of each
_LAST_WORDS: Final = 0.3  # seconds that a server's death waits for what it wrote before


class LastLines:
    """What a process has written last, line by line."""

    def __init__(self, hook: Callable[[str], object] | None) -> None:
        self._hook = hook
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._rest = b""
        self.ended = anyio.Event()

    def __str__(self) -> str:
        return "\n".join(self._lines)

    async def read_from(self, pipe: int) -> None:
        """Read until nobody holds the other end."""
        try:
            while True:
                await anyio.wait_readable(pipe)
                data = os.read(pipe, 65536)
                self._take(data)
                if not data:
                    return
        finally:
            self.ended.set()

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > 65536):
            lines.append(self._rest)
            self._rest = b""
        for raw in lines:
            line = raw.decode("utf-8", "replace").rstrip("\r")
            self._lines.append(line[:_LINE])
            if self._hook is not None:
                self._hook(line)


class Wire:
    """One connection to a server, from its opening to its end.

    Attributes:
        stderr: The last lines of a server of ours.
        lost: Why there is no connection any more; None while there is.
        refusal: The last status with which HTTP has refused a request.
    """

    def __init__(
        self,
        params: McpServerParams,
        on_progress: Callable[[object, dict[str, Any]], None],
        on_lost: Callable[[], None],
        on_stderr: Callable[[str], object] | None,
    ) -> None:
        self._params = params
        self._on_progress = on_progress
        self._on_lost = on_lost
        self.stderr = LastLines(on_stderr)
        self.lost: str | None = None
        self.refusal: str | None = None
        self._spawned: anyio.Event | None = None  # there from when a process is being started

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[TransportStreams, None]:
        """Open the SDK's transport. To be entered and left by the same task."""
        async with self._transport() as (read, write):
            yield _Watched(read, self), write

    # Blocks inside of blocks, and no AsyncExitStack: the SDK's client has one around this, and two
    # of them may hang in CPython's search for the context of a cancellation that passes both
    # (test_a_cancelled_start_leaves_nothing_and_may_be_tried_again).
    def _transport(self) -> AbstractAsyncContextManager[TransportStreams]:
        params = self._params
        if isinstance(params, StdioServerParams):
            return self._process(params)
        self.stderr.ended.set()
        return self._sse(params) if isinstance(params, SseServerParams) else self._http(params)

    @asynccontextmanager
    async def _process(self, params: StdioServerParams) -> AsyncGenerator[TransportStreams, None]:
        from mcp.client.stdio import StdioServerParameters, stdio_client

        parameters = StdioServerParameters(
            command=params.command,
            args=params.args,
            env=revealed(params.env),
            cwd=params.cwd,
            encoding=params.encoding,
            encoding_error_handler=params.encoding_error_handler,
        )
        if sys.platform == "win32":  # its loops cannot wait for a pipe
            self.stderr.ended.set()
            async with stdio_client(parameters) as streams:
                yield streams
            return
        pipe, end = os.pipe()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.stderr.read_from, pipe)
                with _text(end) as errlog:
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    spawned = self._spawned = anyio.Event()
                    try:
                        async with stdio_client(parameters, errlog) as streams:
                            spawned.set()
                            errlog.close()  # the process has a copy of its own
                            yield streams
                    finally:
                        spawned.set()
                # What the process has started may hold the pipe longer than that lives.
                await self._hear_last_words()
                group.cancel_scope.cancel()
        finally:
            os.close(pipe)

    async def wait_spawned(self) -> None:
        """Wait while a process is being started.

        On asyncio one that is cancelled then is killed, and nobody waits for its end.
        """
        if self._spawned is not None:
            await self._spawned.wait()

    async def _hear_last_words(self) -> None:
        with anyio.move_on_after(_LAST_WORDS):
            await self.stderr.ended.wait()

    def _sse(self, params: SseServerParams) -> AbstractAsyncContextManager[TransportStreams]:
        from mcp.client.sse import sse_client

        return sse_client(
            params.url,
            headers=revealed(params.headers),
            timeout=params.timeout,
            sse_read_timeout=params.sse_read_timeout,
            httpx_client_factory=self._http_client,
        )

    @asynccontextmanager
    async def _http(
        self, params: StreamableHttpServerParams
    ) -> AsyncGenerator[TransportStreams, None]:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        timeout = httpx2.Timeout(params.timeout, read=params.sse_read_timeout)
        async with self._http_client(revealed(params.headers), timeout) as client:
            async with streamable_http_client(
                params.url,
                http_client=client,
                terminate_on_close=params.terminate_on_close,
                max_sse_event_size=None,  # a picture of a page is more than the SDK's megabyte
            ) as streams:
                yield streams

    def _http_client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        import httpx2

        return httpx2.AsyncClient(
            headers=headers, timeout=timeout, auth=auth, event_hooks={"response": [self._respond]}
        )

    async def _respond(self, response: httpx2.Response) -> None:
        if response.status_code < 400:
            return
        method = response.request.method
        if method == "POST":  # of streams that are asked for by GET some servers have none
            self.refusal = f"HTTP {response.status_code}"
        if response.status_code == 404 and "mcp-session-id" in response.request.headers:
            self.lose("the server does not know the session any more")
        elif isinstance(self._params, SseServerParams) and method == "POST":
            # The SDK writes nothing after a message that was refused, and tells nobody.
            self.lose(f"it has answered with HTTP {response.status_code}")

    def lose(self, why: str) -> None:
        """Tell that there is no connection any more. The first reason stays."""
        if self.lost is None:
            self.lost = why
            self._on_lost()

    async def end(self) -> None:
        """Tell that the server has closed its side."""
        await self._hear_last_words()
        self.lose("it has closed the connection")

    def see(self, item: SessionMessage | Exception) -> None:
        """Look at an incoming message, in the order of the wire."""
        message = getattr(item, "message", None)
        if getattr(message, "method", None) == "notifications/progress":
            params = cast("dict[str, Any]", getattr(message, "params", None) or {})
            self._on_progress(params.get("progressToken"), params)


def _text(fd: int) -> TextIO:
    return os.fdopen(fd, "w")


class _Watched:
    """The stream of incoming messages, which tells the wire of each and of its end."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], wire: Wire) -> None:
        self._stream = stream
        self._wire = wire

    @property
    def last_context(self) -> Any:
        """The context that the last message was sent from, where the transport knows it."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """Wait for a message."""
        item: SessionMessage | Exception | None = None
        with suppress(anyio.EndOfStream):
            item = await self._stream.receive()
        if item is None:
            await self._wire.end()
            raise anyio.EndOfStream
        self._wire.see(item)
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        return await self._stream.__aexit__(exc_type, exc_val, exc_tb)  # noqa: ASYNC102  # its own
