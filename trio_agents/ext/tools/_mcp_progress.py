"""How far calls have come, as their servers say.

A server tells progress between other messages, under the token that came with the call. The SDK
would start a task for each, and tasks may run in another order; here it is handed on at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import attrs

__all__ = ["McpProgress", "ProgressTable"]


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


class ProgressTable:
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
