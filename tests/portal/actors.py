"""Agents for tests of portals: a message is an async function, and its handler runs it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from trio_agents import AgentId, AgentRuntime, BaseAgent, MessageContext, TopicId, TypeSubscription

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

A = AgentId("actor", "a")
B = AgentId("actor", "b")
NEWS = TopicId("news", "a")
# A test that hangs fails after so many seconds.
PATIENCE = 20

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Actor(BaseAgent):
    """Does what the message says: messages are functions."""

    def __init__(self) -> None:
        super().__init__("an actor")
        self.state: Mapping[str, Any] = {}

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)

    async def save_state(self) -> Mapping[str, Any]:
        return self.state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.state = state


async def settle_in(runtime: AgentRuntime, **options: Any) -> None:
    """Register actors, who hear the news."""
    await Actor.register(runtime, "actor", Actor, **options)
    await runtime.add_subscription(TypeSubscription("news", "actor"))


async def tell(agent: Actor, ctx: MessageContext) -> str:
    return f"I am {agent.id}"


class Handler:
    """A message whose handler notes how far it comes, and waits until `finish` in between.

    Cancelled, it waits once more, until `unwind`, if `stubborn`.
    """

    def __init__(self, *, stubborn: bool = False) -> None:
        self.began = threading.Event()
        self.was_cancelled = threading.Event()
        self.unwound = False
        self.stubborn = stubborn
        self._finish = trio.Event()
        self._unwind = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None

    async def __call__(self, agent: Actor, ctx: MessageContext) -> str:
        self._token = trio.lowlevel.current_trio_token()
        self.began.set()
        try:
            await self._finish.wait()
        except trio.Cancelled:
            self.was_cancelled.set()
            if self.stubborn:
                with trio.CancelScope(shield=True):
                    await self._unwind.wait()
            raise
        finally:
            self.unwound = True
        return "done"

    def finish(self) -> None:
        """Let it return. From any thread."""
        assert self._token is not None
        self._token.run_sync_soon(self._finish.set)

    def unwind(self) -> None:
        """Let a stubborn one end its cleanup. From any thread."""
        assert self._token is not None
        self._token.run_sync_soon(self._unwind.set)


def portal_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("trio_agents portal")]
