# docs/guides/asyncio.md: failures of publications.

import asyncio
import logging
from dataclasses import dataclass

from trio_agents.asyncio import (
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    event,
    type_subscription,
)


@dataclass(frozen=True)
class Parse:
    text: str


@type_subscription("numbers")
class Parser(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("parses numbers")

    @event
    async def parse(self, message: Parse, ctx: MessageContext) -> None:
        int(message.text)


# [failures]
async def main() -> None:
    runtime = SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False)
    await Parser.register(runtime, "parser", Parser)
    runtime.start()
    for source, text in (("a", "seven"), ("b", "7"), ("c", "eight")):
        await runtime.publish_message(Parse(text), TopicId("numbers", source))
    try:
        await runtime.stop_when_idle()
    except ValueError as exc:
        print("caught:", exc)
        print("of:", exc.__cause__)


# [/failures]
logging.disable(logging.CRITICAL)  # each failure is logged, too
asyncio.run(main())

# Prints:
# caught: invalid literal for int() with base 10: 'seven'
# of: unhandled exceptions in message handlers (2 sub-exceptions)
