# docs/guides/asyncio.md: what the runtime refuses, and what to do instead.

import asyncio
import textwrap
from dataclasses import dataclass

import trio

from trio_agents.asyncio import AgentId, MessageContext, RoutedAgent, open_runtime, rpc


@dataclass(frozen=True)
class Nap:
    pass


class Cat(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("sleeps")

    @rpc
    async def nap(self, message: Nap, ctx: MessageContext) -> str:
        await asyncio.sleep(0)
        return "purr"


class TrioCat(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("sleeps on trio")

    @rpc
    async def nap(self, message: Nap, ctx: MessageContext) -> str:
        await trio.sleep(0.01)
        return "purr"


# [thread]
async def from_a_thread() -> None:
    async with open_runtime() as runtime:
        await Cat.register(runtime, "cat", Cat)
        loop = asyncio.get_running_loop()

        def ask() -> str:
            sending = runtime.send_message(Nap(), AgentId("cat", "x"))
            return str(asyncio.run_coroutine_threadsafe(sending, loop).result())

        print(await asyncio.to_thread(ask))


# [/thread]
async def trio_code() -> None:
    async with open_runtime() as runtime:
        await TrioCat.register(runtime, "cat", TrioCat)
        try:
            await runtime.send_message(Nap(), AgentId("cat", "x"))
        except RuntimeError as exc:
            print(exc)
            print(textwrap.fill(exc.__notes__[0], 76))


asyncio.run(from_a_thread())
asyncio.run(trio_code())

# Prints:
# purr
# must be called from async context
# This runtime runs on asyncio, and code that it called awaited something of
# trio's. Agents written for trio run in a trio_agents runtime: inside trio,
# or behind trio_agents.portal.open_portal() for callers on asyncio.
