# docs/guides/asyncio.md: how handlers and senders are cancelled.

import asyncio
from dataclasses import dataclass
from typing import Any

import anyio

from trio_agents.asyncio import (
    AgentId,
    AgentRuntime,
    CancellationToken,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    open_runtime,
    rpc,
)
from trio_agents.asyncio.exceptions import MessageCancelled


# [agents]
@dataclass(frozen=True)
class Ask:
    question: str


class Editor(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("asks a writer")

    @rpc
    async def edit(self, ask: Ask, ctx: MessageContext) -> str:
        try:
            return str(await self.send_message(ask, AgentId("writer", self.id.key)))
        finally:
            print("editor: tidied up")


class Writer(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("writes, slowly")

    @rpc
    async def write(self, ask: Ask, ctx: MessageContext) -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.1)  # closing a file takes a moment,
            await asyncio.sleep(0.1)  # and so does telling somebody
            print("writer: tidied up")
        return "done"


# [/agents]
class Survivor(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("answers with what it has")

    # [survivor]
    @rpc
    async def search(self, ask: Ask, ctx: MessageContext) -> str:
        found = ["a first hit"]
        try:
            await asyncio.sleep(3600)
            found.append("a second one")
        except asyncio.CancelledError:
            print("searcher: that has to do")
        return ", ".join(found)

    # [/survivor]


class Failing(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("raises")

    @rpc
    async def fail(self, ask: Ask, ctx: MessageContext) -> str:
        await asyncio.sleep(0.1)
        raise ValueError(ask.question)


class Shielded(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("shields")

    # [shields]
    @rpc
    async def write(self, ask: Ask, ctx: MessageContext) -> str:
        try:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("handler: cancelled all the same")
            raise
        return "done"

    # [/shields]


EDITOR = AgentId("editor", "x")


# [timeout]
async def by_timeout(runtime: AgentRuntime) -> None:
    try:
        async with asyncio.timeout(0.1):
            await runtime.send_message(Ask("why?"), EDITOR)
    except TimeoutError:
        print("sender: goes on")


# [/timeout]
# [task]
async def by_task(runtime: AgentRuntime) -> None:
    sending = asyncio.create_task(runtime.send_message(Ask("why?"), EDITOR))
    await asyncio.sleep(0.1)
    sending.cancel()
    try:
        await sending
    except asyncio.CancelledError:
        print("sender: its own CancelledError")


# [/task]
# [group]
async def by_group(runtime: AgentRuntime) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(runtime.send_message(Ask("why?"), EDITOR))
            group.create_task(runtime.send_message(Ask("how?"), AgentId("failing", "x")))
    except* ValueError as group_of_errors:
        print("sender:", *group_of_errors.exceptions)


# [/group]
# [token]
async def by_token(runtime: AgentRuntime) -> None:
    token = CancellationToken()
    asyncio.get_running_loop().call_later(0.1, token.cancel)
    try:
        await runtime.send_message(Ask("why?"), EDITOR, cancellation_token=token)
    except asyncio.CancelledError as exc:
        print(f"sender: {type(exc).__name__}: {exc}")


# [/token]
# [survive]
async def surviving(runtime: AgentRuntime) -> None:
    searcher = AgentId("searcher", "x")
    token = CancellationToken()
    asyncio.get_running_loop().call_later(0.1, token.cancel)
    print(await runtime.send_message(Ask("who?"), searcher, cancellation_token=token))
    try:
        async with asyncio.timeout(0.1):
            await runtime.send_message(Ask("who?"), searcher)
    except TimeoutError:
        print("sender: no answer, it has given up")


# [/survive]
# [stop]
async def by_stop() -> None:
    runtime = SingleThreadedAgentRuntime()
    await Writer.register(runtime, "writer", Writer)
    runtime.start()

    async def ask() -> None:
        try:
            await runtime.send_message(Ask("why?"), AgentId("writer", "x"))
        except MessageCancelled as exc:
            print(f"sender: {exc}")

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.1)
    await runtime.stop(deadline=asyncio.get_running_loop().time() + 0.1)
    await asking


# [/stop]
async def by_shield(runtime: AgentRuntime) -> None:
    try:
        async with asyncio.timeout(0.1):
            await runtime.send_message(Ask("why?"), AgentId("shielded", "x"))
    except TimeoutError:
        print("sender: goes on")


async def main() -> None:
    async with open_runtime() as runtime:
        await Editor.register(runtime, "editor", Editor)
        await Writer.register(runtime, "writer", Writer)
        await Survivor.register(runtime, "searcher", Survivor)
        await Failing.register(runtime, "failing", Failing)
        await Shielded.register(runtime, "shielded", Shielded)
        await by_timeout(runtime)
        await by_task(runtime)
        await by_group(runtime)
        await by_token(runtime)
        await surviving(runtime)
        await by_shield(runtime)
    await by_stop()


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its clock jumps to the next timeout when all tasks wait, so that nobody waits for real."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        own: Any = self  # what it uses here is asyncio's private matter
        if not own._ready:
            due = [timer.when() for timer in own._scheduled if not timer.cancelled()]
            self._now = max(self._now, min(due, default=0.0))
        parent: Any = super()
        parent._run_once()


with asyncio.Runner(loop_factory=JumpingLoop) as runner:
    runner.run(main())

# Prints:
# writer: tidied up
# editor: tidied up
# sender: goes on
# writer: tidied up
# editor: tidied up
# sender: its own CancelledError
# writer: tidied up
# editor: tidied up
# sender: how?
# writer: tidied up
# editor: tidied up
# sender: MessageCancelled: its CancellationToken was cancelled
# searcher: that has to do
# a first hit
# searcher: that has to do
# sender: no answer, it has given up
# handler: cancelled all the same
# sender: goes on
# writer: tidied up
# sender: the runtime was stopped and its deadline passed
