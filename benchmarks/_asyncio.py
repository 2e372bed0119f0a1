# trio_agents.asyncio: AutoGen Core's programs with their imports replaced.

from __future__ import annotations

import trio_agents.asyncio

from ._on_asyncio import programs

SCENARIOS = programs(trio_agents.asyncio, trio_agents.asyncio.SingleThreadedAgentRuntime)
