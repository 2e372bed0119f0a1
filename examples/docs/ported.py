# docs/autogen.md: a program of AutoGen Core, ported to trio.

# [program]
from dataclasses import dataclass

import trio

from trio_agents import (
    ClosureAgent,
    ClosureContext,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TypeSubscription,
    default_subscription,
    message_handler,
)


@dataclass
class Text:
    content: str


@dataclass
class Count:
    words: int


@default_subscription
class Counter(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("counts words")

    @message_handler
    async def count(self, message: Text, ctx: MessageContext) -> None:
        await trio.sleep(0.1)
        words = len(message.content.split())
        await self.publish_message(Count(words), DefaultTopicId("counts"))


async def main() -> None:
    put, counts = trio.open_memory_channel[Count](100)

    async def collect(agent: ClosureContext, message: Count, ctx: MessageContext) -> None:
        await put.send(message)

    async with SingleThreadedAgentRuntime() as runtime:
        await Counter.register(runtime, "counter", Counter)
        await ClosureAgent.register_closure(
            runtime,
            "collector",
            collect,
            subscriptions=lambda: [TypeSubscription("counts", "collector")],
        )
        runtime.start()
        await runtime.publish_message(Text("to be or not to be"), DefaultTopicId())
        print((await counts.receive()).words)
        await runtime.stop_when_idle()


trio.run(main)
# [/program]

# Prints:
# 6
