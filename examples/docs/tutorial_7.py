# Step 7 of docs/tutorial.md: an intervention handler.

# [imports]
from dataclasses import dataclass
from typing import Any

import trio

from trio_agents import (
    AgentId,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    RoutedAgent,
    open_runtime,
    rpc,
)
from trio_agents.exceptions import MessageDroppedException

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
        return Receipt(f"{order.quantity} x {order.item}")


# [guard]
class Guard(DefaultInterventionHandler):
    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any | type[DropMessage]:
        match message:
            case Order(quantity=quantity) if quantity < 1:
                return DropMessage
            case Order(item=item, quantity=quantity) if quantity > 20:
                return Order(item, 20)
            case _:
                return message


# [/guard]
# [main]
async def main() -> None:
    async with open_runtime(intervention_handlers=[Guard()]) as runtime:
        await Till.register(runtime, "till", Till)
        till = AgentId("till", "ground-floor")
        for quantity in (2, 500, -1):
            try:
                receipt = await runtime.send_message(Order("tea", quantity), till)
            except MessageDroppedException as exc:
                print(f"refused: {exc}")
            else:
                print(receipt.text)
        counts = runtime.statistics()
        print(f"{counts.handled} handled, {counts.dropped} dropped, {counts.pending} pending")


trio.run(main)
# [/main]

# Prints:
# 2 x tea
# 20 x tea
# refused: an intervention handler dropped <Request Order to till/ground-floor> on its way
# 2 handled, 1 dropped, 0 pending
