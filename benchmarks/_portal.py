# trio_agents on trio in a thread of its own, for callers on asyncio.

from __future__ import annotations

SCENARIOS = {}
