"""What goes wrong between a client and an MCP server, as three exceptions.

The SDK raises its failures out of task groups inside of task groups. What reaches the caller here
is one error, with the SDK's own as its cause.
"""

from __future__ import annotations

from typing import Any, cast

import anyio

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
    """Return the first error inside of *error*, however deep, with the others noted.

    Cancellations are the consequence of errors: one is only returned if there is nothing else.
    """
    leaves = _leaves(error)
    errors = [leaf for leaf in leaves if not isinstance(leaf, anyio.get_cancelled_exc_class())]
    first, *others = errors or leaves[:1]
    for other in others:
        first.add_note(f"and at the same time: {type(other).__name__}: {other}")
    return first


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for inner in group.exceptions for leaf in _leaves(inner)]
