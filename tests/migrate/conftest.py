from __future__ import annotations

import pytest

from trio_agents._migrate._target import Target

MODULES = {
    "": ["AgentId", "RoutedAgent", "SingleThreadedAgentRuntime", "__version__"],
    "exceptions": ["CantHandleException"],
    "models": ["UserMessage"],
    "tools.deep": ["T"],
    "tools": [],
}


class FakeTarget:
    """A package of ours that always has the same modules and names."""

    def has_module(self, module: str, /) -> bool:
        return module in MODULES

    def has_name(self, module: str, name: str, /) -> bool:
        inner = f"{module}.{name}" if module else name
        return name in MODULES.get(module, []) or inner in MODULES


@pytest.fixture(scope="session")
def target() -> Target:
    return FakeTarget()
