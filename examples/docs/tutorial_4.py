# Step 4 of docs/tutorial.md: a publication, topics and subscriptions.

# [imports]
from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    event,
    open_runtime,
    rpc,
    type_subscription,
)

# [/imports]


@dataclass(frozen=True)
class Order:
    item: str
    quantity: int


@dataclass(frozen=True)
class Receipt:
    text: str


# [sold]
@dataclass(frozen=True)
class Sold:
    order: Order


# [/sold]
# [till]
class Till(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("sells things")

    @rpc
    async def sell(self, order: Order, ctx: MessageContext) -> Receipt:
        await self.publish_message(Sold(order), TopicId("sales", "main-street"))
        return Receipt(f"{order.quantity} x {order.item}")


# [/till]
# [listeners]
@type_subscription("sales")
class Stock(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("counts what is left")
        self.left = {"tea": 50, "cups": 12}

    @event
    async def note(self, sold: Sold, ctx: MessageContext) -> None:
        self.left[sold.order.item] -= sold.order.quantity
        print(f"{self.id}: {self.left}")


@type_subscription("sales")
class Book(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("writes down every sale")

    @event
    async def note(self, sold: Sold, ctx: MessageContext) -> None:
        print(f"{self.id}: {sold.order} on {ctx.topic_id}")


# [/listeners]
# [main]
async def main() -> None:
    async with open_runtime() as runtime:
        await Till.register(runtime, "till", Till)
        await Stock.register(runtime, "stock", Stock)
        await Book.register(runtime, "book", Book)
        await runtime.send_message(Order("tea", 2), AgentId("till", "ground-floor"))


trio.run(main)
# [/main]

# Prints:
# stock/main-street: {'tea': 48, 'cups': 12}
# book/main-street: Order(item='tea', quantity=2) on sales/main-street
