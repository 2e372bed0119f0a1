# docs/guides/telemetry.md: log events and the span tree.

import logging
from dataclasses import dataclass

import trio

from trio_agents import EVENT_LOGGER_NAME, AgentId, MessageContext, RoutedAgent, open_runtime, rpc
from trio_agents.logging import MessageEvent


@dataclass(frozen=True)
class Question:
    text: str


class Clerk(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("asks the expert")

    @rpc
    async def ask(self, message: Question, ctx: MessageContext) -> str:
        return str(await self.send_message(message, AgentId("expert", self.id.key)))


class Expert(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("knows")

    @rpc
    async def answer(self, message: Question, ctx: MessageContext) -> str:
        return "42"


# [handler]
class PrintMessages(logging.Handler):
    """Prints who sends what to whom."""

    def emit(self, record: logging.LogRecord) -> None:
        event = record.msg
        if isinstance(event, MessageEvent):
            print(event.kind.name, event.delivery_stage.name, event.receiver, event.payload)


events = logging.getLogger(EVENT_LOGGER_NAME)
events.addHandler(PrintMessages())
events.setLevel(logging.INFO)
# [/handler]


async def main() -> None:
    async with open_runtime() as runtime:
        await Clerk.register(runtime, "clerk", Clerk)
        await Expert.register(runtime, "expert", Expert)
        await runtime.send_message(Question("why?"), AgentId("clerk", "x"))


trio.run(main)

# Prints:
# DIRECT SEND clerk/x <Question>
# DIRECT DELIVER clerk/x <Question>
# DIRECT SEND expert/x <Question>
# DIRECT DELIVER expert/x <Question>
# RESPOND SEND clerk/x <str>
# RESPOND DELIVER clerk/x <str>
# RESPOND SEND None <str>
# RESPOND DELIVER None <str>
