# docs/guides/concurrency.md: a handler that blocks the thread, and who says so.

import logging
import threading

import trio

from trio_agents import (
    EVENT_LOGGER_NAME,
    AgentId,
    MessageContext,
    RoutedAgent,
    open_runtime,
    rpc,
)
from trio_agents.logging import EventLoopBlockedEvent, EventLoopReleasedEvent

reported = threading.Event()


# [handler]
class PrintBlockages(logging.Handler):
    """Prints who blocks the event loop, and that it is over."""

    def emit(self, record: logging.LogRecord) -> None:
        event = record.msg
        if isinstance(event, EventLoopBlockedEvent):
            where = event.stack[0].rpartition(" in ")[2]
            print(f"{event.agent_id} blocks the event loop with a {event.message_type} in {where}")
            reported.set()
        elif isinstance(event, EventLoopReleasedEvent):
            print(f"{event.agent_id} has given it back")


logging.getLogger(EVENT_LOGGER_NAME).addHandler(PrintBlockages())
# [/handler]


# [agent]
class Miner(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("computes for long")

    @rpc
    async def mine(self, message: int, ctx: MessageContext) -> int:
        reported.wait()  # as time.sleep(), or a library that does not know of event loops
        return message


async def main() -> None:
    async with open_runtime(blocked_after=0.5) as runtime:
        await Miner.register(runtime, "miner", Miner)
        await runtime.send_message(7, AgentId("miner", "x"))


# [/agent]

if __name__ == "__main__":
    trio.run(main)

# Prints:
# miner/x blocks the event loop with a int in Miner.mine
# miner/x has given it back
