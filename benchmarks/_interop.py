# AutoGen Core's own programs, agents and types, on our runtime for them.

from __future__ import annotations

import autogen_core

from trio_agents.interop.autogen import AutoGenRuntime

from ._on_asyncio import programs

# Its agents are AutoGen's: what one of them takes is AutoGen's figure plus ours.
SCENARIOS = {
    name: scenario
    for name, scenario in programs(autogen_core, AutoGenRuntime).items()
    if name != "memory"
}
