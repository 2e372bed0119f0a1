# docs/guides/portal.md: agents that are written in trio, called from asyncio.

import asyncio
from dataclasses import dataclass

import trio

from trio_agents import AgentId, MessageContext, RoutedAgent, rpc
from trio_agents.portal import open_portal


@dataclass(frozen=True)
class Work:
    number: int
    seconds: float = 0


class Worker(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("squares numbers")

    @rpc
    async def work(self, message: Work, ctx: MessageContext) -> int:
        try:
            await trio.sleep(message.seconds)
        except trio.Cancelled:
            print("worker: tidied up")
            raise
        return message.number**2


# [main]
async def main() -> None:
    async with open_portal() as runtime:
        await Worker.register(runtime, "worker", Worker)
        worker = AgentId("worker", "x")

        answers = await asyncio.gather(
            *(runtime.send_message(Work(number), worker) for number in range(10_000))
        )
        print(f"{len(answers)} answers, the last one is {answers[-1]}")

        try:
            async with asyncio.timeout(0.1):
                await runtime.send_message(Work(1, seconds=3600), worker)
        except TimeoutError:
            print("caller: goes on")


# [/main]
asyncio.run(main())

# Prints:
# 10000 answers, the last one is 99980001
# worker: tidied up
# caller: goes on
