"""Agents written for AutoGen Core on our runtime: only the runtime's line changes."""

import asyncio
from dataclasses import dataclass

from autogen_core import AgentId, MessageContext, RoutedAgent, rpc
from autogen_core.exceptions import UndeliverableException

from trio_agents.interop.autogen import AutoGenRuntime


@dataclass
class Question:
    text: str


@dataclass
class Answer:
    text: str


class Clerk(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("answers questions")

    @rpc
    async def answer(self, message: Question, ctx: MessageContext) -> Answer:
        return Answer(f"{self.id}: {message.text}? Yes.")


# [core]
async def main() -> None:
    runtime = AutoGenRuntime()  # was: SingleThreadedAgentRuntime()
    await Clerk.register(runtime, "clerk", Clerk)
    runtime.start()
    answer = await runtime.send_message(Question("Tea"), AgentId("clerk", "7"))
    print(answer.text)
    try:
        await runtime.send_message(Question("Tea"), AgentId("waiter", "7"))
    except UndeliverableException as exc:
        print(exc)
    await runtime.stop_when_idle()


# [/core]
asyncio.run(main())

# Prints:
# clerk/7: Tea? Yes.
# no factory for waiter/7: register agent type 'waiter' first (registered: clerk)
