"""An agent for both event loops that goes on when its message has been cancelled by a token."""

import asyncio
from dataclasses import dataclass

import anyio
import trio

import trio_agents
import trio_agents.asyncio
import trio_agents.asyncio.exceptions
import trio_agents.exceptions
from trio_agents import AgentId, AgentRuntime, CancellationToken, MessageContext, RoutedAgent, rpc

# [names]
MESSAGE_CANCELLED = (
    trio_agents.exceptions.MessageCancelled,
    trio_agents.asyncio.exceptions.MessageCancelled,
)
# [/names]


@dataclass(frozen=True)
class Visit:
    patience: float


class Visitor(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("rings, and does not wait for ever")

    @rpc
    async def visit(self, message: Visit, ctx: MessageContext) -> str:
        token = CancellationToken()

        async def lose_patience() -> None:
            await anyio.sleep(message.patience)
            token.cancel()

        # [catch]
        answer = "come in"
        async with anyio.create_task_group() as group:
            group.start_soon(lose_patience)
            try:
                await self.send_message(message, AgentId("sleeper", "x"), cancellation_token=token)
            except MESSAGE_CANCELLED:
                answer = "nobody is at home"
            group.cancel_scope.cancel()
        return answer
        # [/catch]


class Sleeper(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("never opens")

    @rpc
    async def open_the_door(self, message: Visit, ctx: MessageContext) -> None:
        await anyio.sleep(3600)


async def visit(runtime: AgentRuntime) -> None:
    await Visitor.register(runtime, "visitor", Visitor)
    await Sleeper.register(runtime, "sleeper", Sleeper)
    print(await runtime.send_message(Visit(patience=0.05), AgentId("visitor", "x")))


async def on_trio() -> None:
    async with trio_agents.open_runtime() as runtime:
        await visit(runtime)


async def on_asyncio() -> None:
    async with trio_agents.asyncio.open_runtime() as runtime:
        await visit(runtime)


trio.run(on_trio)
asyncio.run(on_asyncio())

# Prints:
# nobody is at home
# nobody is at home
