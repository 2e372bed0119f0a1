# docs/guides/testing.md: one test under many schedules. docs/guides/races.md says more.

# [test]
from dataclasses import dataclass

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

STOCK = AgentId("stock", "default")
BANK = AgentId("bank", "default")


@dataclass(frozen=True)
class Reserve:
    item: str


@dataclass(frozen=True)
class Ship:
    item: str


class Stock(RoutedAgent):
    """Ships what was reserved."""

    def __init__(self) -> None:
        super().__init__("ships")
        self.reserved = set[str]()

    @rpc
    async def reserve(self, message: Reserve, ctx: MessageContext) -> None:
        self.reserved.add(message.item)

    @rpc
    async def ship(self, message: Ship, ctx: MessageContext) -> None:
        self.reserved.remove(message.item)


class Desk(RoutedAgent):
    """Sells."""

    def __init__(self) -> None:
        super().__init__("sells")

    @rpc
    async def sell(self, item: str, ctx: MessageContext) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.send_message, Reserve(item), STOCK)
            nursery.start_soon(self.send_message, f"pay {item}", BANK)
        await self.send_message(Ship(item), STOCK)


@pytest.fixture
async def bank(runtime: SingleThreadedAgentRuntime) -> Probe:
    await Stock.register(runtime, "stock", Stock)
    await Desk.register(runtime, "desk", Desk)
    return await Probe.register(runtime, "bank")


@pytest.mark.simulate(seeds=50)
async def test_what_is_sold_is_shipped(runtime: SingleThreadedAgentRuntime, bank: Probe) -> None:
    await runtime.send_message("lamp", AgentId("desk", "x"))
    assert await bank.expect(str) == "pay lamp"
    stock = await runtime.try_get_underlying_agent_instance(STOCK, type=Stock)
    assert stock.reserved == set()


# [/test]
if __name__ == "__main__":
    import subprocess
    import sys

    # An installed trio_agents brings its plugin with it, a checkout does not.
    plugin = ["-p", "no:trio_agents", "-p", "trio_agents.testing.pytest_plugin"]
    options = ["-q", "-p", "no:cacheprovider"]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *plugin, *options, __file__]))
