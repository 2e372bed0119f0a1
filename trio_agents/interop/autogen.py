"""AutoGen's own agents, and AgentChat's teams, on this runtime: nothing in them changes.

`AutoGenRuntime` satisfies ``autogen_core.AgentRuntime`` with the types of ``autogen_core``, and
runs on the core of `trio_agents.asyncio`. It needs the extra ``autogen``.
"""

from __future__ import annotations

from .._components._extras import from_extra

with from_extra("autogen_core", "autogen", purpose=__name__):
    from ._autogen_runtime import AutoGenRuntime as AutoGenRuntime

__all__ = ["AutoGenRuntime"]

AutoGenRuntime.__module__ = __name__
