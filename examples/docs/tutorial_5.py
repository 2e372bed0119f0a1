# Step 5 of docs/tutorial.md: a session for each topic source.

# [imports]
from dataclasses import dataclass

import trio

from trio_agents import (
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    TopicId,
    event,
    open_runtime,
    type_subscription,
)

# [/imports]


@dataclass(frozen=True)
class Order:
    item: str
    quantity: int


@dataclass(frozen=True)
class Sold:
    order: Order


# [basket]
@dataclass(frozen=True)
class CheckOut:
    pass


@type_subscription("shopping")
class Basket(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("what one customer is about to buy")
        self.orders: list[Order] = []

    @event
    async def put(self, order: Order, ctx: MessageContext) -> None:
        self.orders.append(order)

    @event
    async def check_out(self, message: CheckOut, ctx: MessageContext) -> None:
        for order in self.orders:
            await self.publish_message(Sold(order), DefaultTopicId("sales"))


@type_subscription("sales")
class Book(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("writes down every sale")

    @event
    async def note(self, sold: Sold, ctx: MessageContext) -> None:
        print(f"{self.id}: {sold.order}")


# [/basket]
# [main]
async def main() -> None:
    async with open_runtime() as runtime:
        await Basket.register(runtime, "basket", Basket)
        await Book.register(runtime, "book", Book)
        ann = TopicId("shopping", "ann")
        bob = TopicId("shopping", "bob")
        await runtime.publish_message(Order("tea", 2), ann)
        await runtime.publish_message(Order("cups", 6), bob)
        await runtime.publish_message(Order("milk", 1), ann)
        await runtime.publish_message(CheckOut(), ann)
        await runtime.publish_message(CheckOut(), bob)


trio.run(main)
# [/main]

# Prints:
# book/ann: Order(item='tea', quantity=2)
# book/ann: Order(item='milk', quantity=1)
# book/bob: Order(item='cups', quantity=6)
