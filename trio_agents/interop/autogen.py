"""AutoGen's own agents, and AgentChat's teams, on this runtime: nothing in them changes.

`AutoGenRuntime` satisfies ``autogen_core.AgentRuntime`` with the types of ``autogen_core``, and
runs on the core of `trio_agents.asyncio`. It needs the extra ``autogen``.
"""

from __future__ import annotations

try:
    from ._autogen_runtime import AutoGenRuntime as AutoGenRuntime
except ModuleNotFoundError as exc:
    if exc.name is None or exc.name.partition(".")[0] != "autogen_core":
        raise
    raise ModuleNotFoundError(
        "trio_agents.interop.autogen needs AutoGen Core: pip install 'trio-agents[autogen]'",
        name=exc.name,
    ) from exc

__all__ = ["AutoGenRuntime"]

AutoGenRuntime.__module__ = __name__
