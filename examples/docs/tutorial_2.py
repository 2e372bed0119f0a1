# Step 2 of docs/tutorial.md: an agent, without a runtime.

# [imports]
from dataclasses import dataclass

import trio

from trio_agents import MessageContext, RoutedAgent, rpc

# [/imports]


@dataclass(frozen=True)
class Order:
    item: str
    quantity: int


@dataclass(frozen=True)
class Receipt:
    text: str


# [agent]
class Till(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("sells things")

    @rpc
    async def sell(self, order: Order, ctx: MessageContext) -> Receipt:
        return Receipt(f"{order.quantity} x {order.item}")


# [/agent]
# [try]
async def main() -> None:
    ctx = MessageContext(sender=None, topic_id=None, is_rpc=True)
    print(await Till().sell(Order("tea", 2), ctx))


trio.run(main)
# [/try]

# Prints:
# Receipt(text='2 x tea')
