# docs/guides/testing.md: one test under many schedules. docs/guides/races.md says more.

# [test]
import pytest
import trio

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    rpc,
)
from trio_agents.testing import Probe


class Counter(RoutedAgent):
    """Counts, and looks the number up elsewhere."""

    def __init__(self) -> None:
        super().__init__("counts")
        self.count = 0

    @rpc
    async def add(self, message: int, ctx: MessageContext) -> None:
        before = self.count
        await self.send_message("may I?", AgentId("permit", "default"))
        self.count = before + message  # another message may have come meanwhile


@pytest.fixture
async def counter(runtime: SingleThreadedAgentRuntime) -> AgentId:
    await Probe.register(runtime, "permit")
    await Counter.register(runtime, "counter", Counter, max_concurrency=1)
    return AgentId("counter", "x")


@pytest.mark.simulate(seeds=50)
async def test_no_number_is_lost(runtime: SingleThreadedAgentRuntime, counter: AgentId) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(runtime.send_message, 1, counter)
    agent = await runtime.try_get_underlying_agent_instance(counter, type=Counter)
    assert agent.count == 3


# [/test]
if __name__ == "__main__":
    import subprocess
    import sys

    # An installed trio_agents brings its plugin with it, a checkout does not.
    plugin = ["-p", "no:trio_agents", "-p", "trio_agents.testing.pytest_plugin"]
    options = ["-q", "-p", "no:cacheprovider"]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *plugin, *options, __file__]))
