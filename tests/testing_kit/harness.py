"""What the tests of the kit need on the event loop that they happen to run on."""

from __future__ import annotations

from typing import Any

import sniffio

import trio_agents
import trio_agents.asyncio
import trio_agents.asyncio.exceptions
import trio_agents.exceptions


def open_runtime(**options: Any) -> Any:
    """Open a runtime of the facade for this event loop."""
    if sniffio.current_async_library() == "trio":
        return trio_agents.open_runtime(**options)
    return trio_agents.asyncio.open_runtime(**options)


MessageCancelled = (
    trio_agents.exceptions.MessageCancelled,
    trio_agents.asyncio.exceptions.MessageCancelled,
)
