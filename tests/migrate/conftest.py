from __future__ import annotations

import pytest

from trio_agents._migrate._target import Target

MODULES = {
    "trio_agents": [],
    "trio_agents.asyncio": ["AgentId", "RoutedAgent", "SingleThreadedAgentRuntime", "__version__"],
    "trio_agents.asyncio.exceptions": ["CantHandleException"],
    "trio_agents.models": ["UserMessage"],
    "trio_agents.tools": [],
    "trio_agents.tools.deep": ["T"],
    "trio_agents.ext": [],
    "trio_agents.ext.models": [],
    "trio_agents.ext.models.openai": ["OpenAIChatCompletionClient"],
}


class FakeTarget:
    """A package of ours that always has the same modules and names."""

    def has_module(self, module: str, /) -> bool:
        return module in MODULES

    def has_name(self, module: str, name: str, /) -> bool:
        return name in MODULES.get(module, []) or f"{module}.{name}" in MODULES


@pytest.fixture(scope="session")
def target() -> Target:
    return FakeTarget()
