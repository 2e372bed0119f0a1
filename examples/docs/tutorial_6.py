# Step 6 of docs/tutorial.md: state that is saved and restored.

# [imports]
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    message_handler,
    open_runtime,
    rpc,
)

# [/imports]


@dataclass(frozen=True)
class Order:
    item: str
    quantity: int


@dataclass(frozen=True)
class Receipt:
    text: str


# [basket]
@dataclass(frozen=True)
class CheckOut:
    pass


class Basket(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("what one customer is about to buy")
        self.orders: list[Order] = []

    @message_handler
    async def put(self, order: Order, ctx: MessageContext) -> None:
        self.orders.append(order)

    @rpc
    async def check_out(self, message: CheckOut, ctx: MessageContext) -> Receipt:
        return Receipt(", ".join(f"{order.quantity} x {order.item}" for order in self.orders))

    async def save_state(self) -> Mapping[str, Any]:
        return {"orders": [[order.item, order.quantity] for order in self.orders]}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.orders = [Order(item, quantity) for item, quantity in state["orders"]]


# [/basket]
# [main]
async def in_the_morning() -> str:
    async with open_runtime() as runtime:
        await Basket.register(runtime, "basket", Basket)
        await runtime.send_message(Order("tea", 2), AgentId("basket", "ann"))
        await runtime.send_message(Order("milk", 1), AgentId("basket", "ann"))
        await runtime.send_message(Order("cups", 6), AgentId("basket", "bob"))
        return json.dumps(await runtime.save_state())


async def in_the_evening(saved: str) -> None:
    async with open_runtime() as runtime:
        await Basket.register(runtime, "basket", Basket)
        await runtime.load_state(json.loads(saved))
        receipt = await runtime.send_message(CheckOut(), AgentId("basket", "ann"))
        print(receipt.text)


saved = trio.run(in_the_morning)
print(saved)
trio.run(in_the_evening, saved)
# [/main]

# Prints:
# {"basket/ann": {"orders": [["tea", 2], ["milk", 1]]}, "basket/bob": {"orders": [["cups", 6]]}}
# 2 x tea, 1 x milk
