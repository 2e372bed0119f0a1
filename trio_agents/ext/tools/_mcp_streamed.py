"""A call whose progress a generator gives.

A generator must not yield inside of a task group or a cancel scope: whoever iterates may leave it
at any of its yields, in another task even. So the call runs beside the connection's owner, and the
generator only listens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

from ._mcp_progress import McpProgress

if TYPE_CHECKING:
    import mcp_types
    from anyio.streams.memory import MemoryObjectSendStream

__all__ = ["Streamed"]


class Streamed:
    """A call that runs beside the connection's owner and hands what comes of it to a generator."""

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
