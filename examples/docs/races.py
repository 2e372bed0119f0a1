"""A race in an agent, found by exploring schedules, and replayed."""

# [agents]
import sys
from dataclasses import dataclass

import anyio

from trio_agents import AgentId, MessageContext, RoutedAgent, rpc
from trio_agents.testing import ScenarioFailed, Simulation, explore, replay


@dataclass
class Order:
    tickets: int


class Shop(RoutedAgent):
    """Sells tickets, as many as there are."""

    def __init__(self) -> None:
        super().__init__("sells tickets")
        self.left = 3
        self.sold = 0

    @rpc
    async def on_order(self, message: Order, ctx: MessageContext) -> bool:
        if message.tickets > self.left:
            return False
        await self.charge(message)
        self.left -= message.tickets
        self.sold += message.tickets
        return True

    async def charge(self, message: Order) -> None:
        await anyio.sleep(0.1)  # asks a bank, say


# [/agents]


# [scenario]
async def two_customers(sim: Simulation) -> None:
    shop = AgentId("shop", "main")
    async with sim.open_runtime() as runtime:
        await Shop.register(runtime, "shop", Shop)

        async def buy(delay: float) -> None:
            await anyio.sleep(delay)
            bought = await runtime.send_message(Order(2), shop)
            sim.note(f"after {delay} s: {'two tickets' if bought else 'sold out'}")

        async with anyio.create_task_group() as customers:
            customers.start_soon(buy, 0)
            customers.start_soon(buy, 0.1)
        agent = await runtime.try_get_underlying_agent_instance(shop, Shop)
        assert agent.sold <= 3, f"{agent.sold} tickets of 3 were sold"


# [/scenario]


# [explore]
def find() -> str:
    try:
        explore(two_customers, seeds=200)
    except ScenarioFailed as failed:
        print(failed, file=sys.stderr)
        return str(failed.run.trace)
    raise SystemExit("no race was found")


# [/explore]


# [replay]
def repeat(trace: str) -> int:
    failures = 0
    for _ in range(10):
        try:
            replay(two_customers, trace)
        except AssertionError:
            failures += 1
    return failures


# [/replay]


if __name__ == "__main__":
    trace = find()
    print(f"{repeat(trace)} of 10 replays failed")

# Prints:
# 10 of 10 replays failed
