# docs/guides/asyncio.md: an agent for both loops.

# [both]
import asyncio
from dataclasses import dataclass

import anyio
import trio

import trio_agents
import trio_agents.asyncio
from trio_agents import AgentId, AgentRuntime, MessageContext, RoutedAgent, rpc


@dataclass(frozen=True)
class Ring:
    times: int


class Bell(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("rings")

    @rpc
    async def ring(self, message: Ring, ctx: MessageContext) -> str:
        sounds: list[str] = []

        async def strike() -> None:
            await anyio.sleep(0.01)
            sounds.append("ding")

        async with anyio.create_task_group() as group:
            for _ in range(message.times):
                group.start_soon(strike)
        return " ".join(sounds)


async def ring_twice(runtime: AgentRuntime) -> None:
    await Bell.register(runtime, "bell", Bell)
    print(await runtime.send_message(Ring(2), AgentId("bell", "x")))


async def on_trio() -> None:
    async with trio_agents.open_runtime() as runtime:
        await ring_twice(runtime)


async def on_asyncio() -> None:
    async with trio_agents.asyncio.open_runtime() as runtime:
        await ring_twice(runtime)


trio.run(on_trio)
asyncio.run(on_asyncio())
# [/both]

# Prints:
# ding ding
# ding ding
