# docs/guides/migrate.md: a small warehouse, as a program on asyncio.
#
# before.py is written for AutoGen Core. after.py is what `trio-agents migrate` makes of it.

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# [imports]
from trio_agents.asyncio import (
    AgentId,
    ClosureAgent,
    ClosureContext,
    DefaultInterventionHandler,
    DefaultTopicId,
    DropMessage,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    default_subscription,
    event,
    message_handler,
    rpc,
    type_subscription,
)
from trio_agents.asyncio.exceptions import CantHandleException, MessageDroppedException

# [/imports]


# [messages]
@dataclass
class Order:
    customer: str
    item: str
    quantity: int


@dataclass
class Reserve:
    quantity: int


@dataclass
class Reserved:
    quantity: int
    left: int


@dataclass
class Confirmation:
    text: str


@dataclass
class Sale:
    item: str
    quantity: int


@dataclass
class Restock:
    item: str


@dataclass
class Question:
    text: str


# [/messages]
# [shelf]
class Shelf(RoutedAgent):
    """One for each item: its key says which."""

    def __init__(self) -> None:
        super().__init__("holds an item")
        self.left = 10

    @rpc
    async def reserve(self, message: Reserve, ctx: MessageContext) -> Reserved:
        await asyncio.sleep(0.001)  # a database
        if message.quantity > self.left:
            raise CantHandleException(f"only {self.left} of {self.id.key} left")
        self.left -= message.quantity
        if self.left < 4:
            await self.publish_message(Restock(self.id.key), DefaultTopicId(source="default"))
        return Reserved(message.quantity, self.left)

    async def save_state(self) -> Mapping[str, Any]:
        return {"left": self.left}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.left = state["left"]


# [/shelf]
# [desk]
class Desk(RoutedAgent):
    """One for each customer: asks the shelf of what is ordered, and tells the ledger."""

    def __init__(self) -> None:
        super().__init__("takes orders")
        self.orders = 0

    @rpc
    async def take(self, message: Order, ctx: MessageContext) -> Confirmation:
        shelf = AgentId("shelf", message.item)
        reserved = await self.send_message(Reserve(message.quantity), shelf)
        self.orders += 1
        await self.publish_message(
            Sale(message.item, reserved.quantity), TopicId("sales", self.id.key)
        )
        return Confirmation(f"{message.customer}: {reserved.quantity} x {message.item}")

    async def save_state(self) -> Mapping[str, Any]:
        return {"orders": self.orders}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.orders = state["orders"]


# [/desk]
def asks_for_total(message: Question, ctx: MessageContext) -> bool:
    return message.text == "total"


# [ledger]
@type_subscription("sales")
class Ledger(RoutedAgent):
    """One for each source of sales, which is a customer."""

    def __init__(self) -> None:
        super().__init__("counts what was sold")
        self.sold: dict[str, int] = {}

    @event
    async def on_sale(self, message: Sale, ctx: MessageContext) -> None:
        self.sold[message.item] = self.sold.get(message.item, 0) + message.quantity

    @message_handler(match=asks_for_total)
    async def answer_total(self, message: Question, ctx: MessageContext) -> str:
        return f"{self.id.key} bought {sum(self.sold.values())}"

    @message_handler
    async def answer_what(self, message: Question, ctx: MessageContext) -> str:
        return f"{self.id.key} bought {self.sold.get(message.text, 0)} x {message.text}"

    async def save_state(self) -> Mapping[str, Any]:
        return {"sold": self.sold}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.sold = dict(state["sold"])


# [/ledger]
@default_subscription
class Buyer(RoutedAgent):
    """Hears from the shelves that are nearly empty, and remembers each once."""

    def __init__(self) -> None:
        super().__init__("buys what runs out")
        self.wanted: list[str] = []

    @event
    async def on_restock(self, message: Restock, ctx: MessageContext) -> None:
        if message.item not in self.wanted:
            self.wanted.append(message.item)

    @rpc
    async def on_question(self, message: Question, ctx: MessageContext) -> str:
        return f"to buy: {', '.join(sorted(self.wanted)) or 'nothing'}"

    async def save_state(self) -> Mapping[str, Any]:
        return {"wanted": self.wanted}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.wanted = list(state["wanted"])


# [limit]
class Limit(DefaultInterventionHandler):
    """Lets nobody order more than five of anything."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any | type[DropMessage]:
        if isinstance(message, Order) and message.quantity > 5:
            return DropMessage
        return message


# [/limit]
async def open_warehouse(sales: asyncio.Queue[Sale]) -> SingleThreadedAgentRuntime:
    async def note(agent: ClosureContext, message: Sale, ctx: MessageContext) -> None:
        await sales.put(message)

    runtime = SingleThreadedAgentRuntime(intervention_handlers=[Limit()])
    await Shelf.register(runtime, "shelf", Shelf)
    await Desk.register(runtime, "desk", Desk)
    await Ledger.register(runtime, "ledger", Ledger)
    await Buyer.register(runtime, "buyer", Buyer)
    await ClosureAgent.register_closure(
        runtime, "notes", note, subscriptions=lambda: [TypeSubscription("sales", "notes")]
    )
    return runtime


async def order(runtime: SingleThreadedAgentRuntime, customer: str, item: str, n: int) -> str:
    try:
        done = await runtime.send_message(Order(customer, item, n), AgentId("desk", customer))
    except CantHandleException as exc:
        return f"{customer}: {exc}"
    except MessageDroppedException:
        return f"{customer}: {n} x {item} is more than we sell"
    return str(done.text)


# [main]
async def main() -> None:
    sales: asyncio.Queue[Sale] = asyncio.Queue()
    runtime = await open_warehouse(sales)
    runtime.start()
    async with asyncio.timeout(30):
        orders = [("ann", "tea", 3), ("bob", "tea", 4), ("ann", "ink", 2), ("eve", "ink", 5)]
        for line in await asyncio.gather(*(order(runtime, *each) for each in orders)):
            print(line)
        print(await order(runtime, "eve", "ink", 4))
        for customer in ("ann", "bob"):
            print(await runtime.send_message(Question("total"), AgentId("ledger", customer)))
        await runtime.stop_when_idle()
    saved = json.dumps(await runtime.save_state(), sort_keys=True)
    await runtime.close()
    print(f"{sales.qsize()} sales, {sum(sales.get_nowait().quantity for _ in range(4))} things")

    # The next day: another runtime, with the state of the first.
    runtime = await open_warehouse(sales)
    await runtime.load_state(json.loads(saved))
    runtime.start()
    async with asyncio.timeout(30):
        print(await order(runtime, "bob", "tea", 3))
        print(await order(runtime, "bob", "tea", 1))
        print(await order(runtime, "eve", "pen", 9))
        print(await runtime.send_message(Question("ink"), AgentId("ledger", "ann")))
        print(await runtime.send_message(Question("?"), AgentId("buyer", "default")))
        await runtime.stop()  # AutoGen's stop_when_idle() waits for ever after a dropped message
    await runtime.close()


# [/main]
asyncio.run(main())

# Prints:
# ann: 3 x tea
# bob: 4 x tea
# ann: 2 x ink
# eve: 5 x ink
# eve: only 3 of ink left
# ann bought 5
# bob bought 4
# 4 sales, 14 things
# bob: 3 x tea
# bob: only 0 of tea left
# eve: 9 x pen is more than we sell
# ann bought 2 x ink
# to buy: ink, tea
