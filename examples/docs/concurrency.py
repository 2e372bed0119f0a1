# docs/guides/concurrency.md: what runs when.

from dataclasses import dataclass

import trio
from trio.testing import wait_all_tasks_blocked

from trio_agents import AgentId, MessageContext, RoutedAgent, open_runtime, rpc
from trio_agents.exceptions import DeadlockError, Overloaded


# [unlimited]
@dataclass(frozen=True)
class Work:
    name: str
    seconds: float


class Worker(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("works")

    @rpc
    async def work(self, message: Work, ctx: MessageContext) -> None:
        print(f"{message.name} begins")
        await trio.sleep(message.seconds)
        print(f"{message.name} ends")


async def two_at_once(limit: int | None) -> None:
    async with open_runtime() as runtime:
        await Worker.register(runtime, "worker", Worker, max_concurrency=limit)
        async with trio.open_nursery() as nursery:
            for message in (Work("first", 0.2), Work("second", 0.1)):
                nursery.start_soon(runtime.send_message, message, AgentId("worker", "x"))
                await wait_all_tasks_blocked()


# [/unlimited]
# [circle]
@dataclass(frozen=True)
class Relay:
    """Ask these agents, one after the other, each from inside the one before."""

    route: tuple[str, ...]


class Link(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("passes a message on")

    @rpc
    async def relay(self, message: Relay, ctx: MessageContext) -> str:
        await trio.sleep(0.1)
        if not message.route:
            return str(self.id)
        key, *rest = message.route
        answer = await self.send_message(Relay(tuple(rest)), AgentId("link", key))
        return f"{self.id} <- {answer}"


async def circle() -> None:
    async with open_runtime() as runtime:
        await Link.register(runtime, "link", Link, max_concurrency=1)
        a, b = AgentId("link", "a"), AgentId("link", "b")
        print(await runtime.send_message(Relay(("b", "a")), a))

        async def ask(first: AgentId, then: str) -> None:
            try:
                print(await runtime.send_message(Relay((then,)), first))
            except DeadlockError as exc:
                print(str(exc).partition(". ")[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, a, "b")
            await trio.sleep(0.05)
            nursery.start_soon(ask, b, "a")


# [/circle]
# [bounds]
async def bounds() -> None:
    async with open_runtime(max_pending=2, overflow="raise") as runtime:
        await Worker.register(runtime, "worker", Worker)
        async with trio.open_nursery() as nursery:
            for message in (Work("first", 0.1), Work("second", 0.2)):
                nursery.start_soon(runtime.send_message, message, AgentId("worker", "x"))
                await wait_all_tasks_blocked()
            try:
                await runtime.send_message(Work("third", 0.1), AgentId("worker", "x"))
            except Overloaded as exc:
                print(str(exc).partition(":")[0])


# [/bounds]
trio.run(two_at_once, None)
trio.run(two_at_once, 1)
trio.run(circle)
trio.run(bounds)

# Prints:
# first begins
# second begins
# second ends
# first ends
# first begins
# first ends
# second begins
# second ends
# link/a <- link/b <- link/a
# these agents would wait for each other for ever: link/a -> link/b -> link/a
# link/a <- link/b
# first begins
# second begins
# 2 messages are pending, as many as max_pending allows
# first ends
# second ends
