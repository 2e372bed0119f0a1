"""What these tests share: a way onto asyncio, and agents that do what they are told."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from autogen_core import AgentId, BaseAgent, MessageContext

from trio_agents.interop.autogen import AutoGenRuntime

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

PATIENCE = 30  # seconds; nothing here waits for the clock unless it hangs


def on_asyncio(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in an asyncio event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            await asyncio.wait_for(test(*args, **kwargs), PATIENCE)

        asyncio.run(main())

    return run


async def turns(count: int = 20) -> None:
    """Let everything run that can run without waiting."""
    for _ in range(count):
        await asyncio.sleep(0)


class Actor(BaseAgent):
    """Does what the message says: messages are functions. It has a state, and knows its end."""

    def __init__(self) -> None:
        super().__init__("an actor")
        self.notes: dict[str, Any] = {}
        self.closed = 0

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)

    async def save_state(self) -> Mapping[str, Any]:
        return dict(self.notes)

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.notes = dict(state)

    async def close(self) -> None:
        self.closed += 1


A = AgentId("actor", "a")
B = AgentId("actor", "b")


async def started(**options: Any) -> AutoGenRuntime:
    """Give a runtime that is started and has actors."""
    runtime = AutoGenRuntime(**options)
    await Actor.register(runtime, "actor", Actor)
    runtime.start()
    return runtime


class Waiter:
    """A message whose handler waits until it is let go, or cancelled."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.log: list[str] = []

    async def __call__(self, agent: Actor, ctx: MessageContext) -> str:
        self.log.append("began")
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            await asyncio.sleep(0)  # cleanup that waits
            self.log.append("tidied up")
            raise
        self.log.append("ran on")
        return "done"
