"""A fault at each step of a scenario."""

# [head]
from dataclasses import dataclass

import anyio

from trio_agents import AgentId, MessageContext, RoutedAgent, rpc
from trio_agents.testing import Simulation, cancel_victim, explore_fault, inject, simulate

# [/head]


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
        await anyio.sleep(0.1)  # asks a bank, say
        self.left -= message.tickets
        self.sold += message.tickets
        return True


# [fault]
async def one_customer(sim: Simulation) -> None:
    shop = AgentId("shop", "main")
    async with sim.open_runtime() as runtime:
        await Shop.register(runtime, "shop", Shop)
        with sim.victim():
            await runtime.send_message(Order(2), shop)
        agent = await runtime.try_get_underlying_agent_instance(shop, Shop)
        assert agent.left + agent.sold == 3


explored = explore_fault(one_customer, cancel_victim)
print(f"the order was cancelled at {explored.runs - 1} points")
# [/fault]


# [inject]
def customer_leaves(sim: Simulation) -> None:
    sim.note(f"left before step {sim.step + 1}, at {sim.current_time()} s")
    sim.cancel_victims()


run = simulate(one_customer, faults=[inject(customer_leaves, at=5)])
print(*run.history)
# [/inject]
