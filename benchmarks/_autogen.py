# AutoGen Core, a default installation: nobody listens to its logs and, but for the tracing
# scenario, nobody collects its spans.

from __future__ import annotations

import autogen_core

from ._on_asyncio import programs

SCENARIOS = programs(autogen_core, autogen_core.SingleThreadedAgentRuntime)
