# Step 3 of docs/tutorial.md: the runtime's block, and a request.

# [imports]
from dataclasses import dataclass

import trio

from trio_agents import AgentId, MessageContext, RoutedAgent, open_runtime, rpc

# [/imports]


@dataclass(frozen=True)
class Order:
    item: str
    quantity: int


@dataclass(frozen=True)
class Receipt:
    text: str


class Till(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("sells things")

    @rpc
    async def sell(self, order: Order, ctx: MessageContext) -> Receipt:
        return Receipt(f"{self.id} sold {order.quantity} x {order.item}")


# [main]
async def main() -> None:
    async with open_runtime() as runtime:
        await Till.register(runtime, "till", Till)
        receipt = await runtime.send_message(Order("tea", 2), AgentId("till", "ground-floor"))
        print(receipt.text)
        receipt = await runtime.send_message(Order("cups", 6), AgentId("till", "first-floor"))
        print(receipt.text)


trio.run(main)
# [/main]

# Prints:
# till/ground-floor sold 2 x tea
# till/first-floor sold 6 x cups
