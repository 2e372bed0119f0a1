"""What goes wrong between a client and an MCP server, as three exceptions.

The SDK raises its failures out of task groups inside of task groups. What reaches the caller here
is one error, with the SDK's own as its cause.
"""

from __future__ import annotations

from typing import Any, cast

__all__ = ["McpConnectionError", "McpError", "McpTimeoutError", "first_cause"]


class McpError(Exception):
    """The server answered with an error, or with what is no answer.

    Attributes:
        code: The error's number in JSON-RPC; None if the server gave none.
        data: What the server has sent along with it.
    """

    def __init__(self, message: str, *, code: int | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class McpConnectionError(McpError, ConnectionError):
    """There is no server to talk to: it did not start, it died, or the session was stopped."""


class McpTimeoutError(McpError, TimeoutError):
    """The server did not answer in time. It was told that nobody waits any more."""


def first_cause(error: BaseException) -> BaseException:
    """Return the first error inside of *error*, however deep, with the others noted."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    leaves = [first_cause(inner) for inner in group.exceptions]
    first, *others = leaves
    for other in others:
        first.add_note(f"and at the same time: {type(other).__name__}: {other}")
    return first
