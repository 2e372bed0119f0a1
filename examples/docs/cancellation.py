# docs/guides/cancellation.md: a send is a call.

from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    AgentRuntime,
    CancellationToken,
    MessageContext,
    RoutedAgent,
    open_runtime,
    rpc,
)
from trio_agents.exceptions import MessageCancelled


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
            await trio.sleep(3600)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.1)  # closing a file takes a moment
            print("writer: tidied up")
            raise
        return "done"


# [/agents]
# [scope]
async def by_scope(runtime: AgentRuntime) -> None:
    with trio.move_on_after(0.1):
        await runtime.send_message(Ask("why?"), AgentId("editor", "x"))
    print("sender: goes on")


# [/scope]
# [token]
async def by_token(runtime: AgentRuntime) -> None:
    token = CancellationToken()

    async def ask() -> None:
        editor = AgentId("editor", "x")
        try:
            await runtime.send_message(Ask("why?"), editor, cancellation_token=token)
        except MessageCancelled as exc:
            print(f"sender: {exc}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.1)
        await trio.to_thread.run_sync(token.cancel)  # from a thread, to show that it may


# [/token]
async def main() -> None:
    async with open_runtime() as runtime:
        await Editor.register(runtime, "editor", Editor)
        await Writer.register(runtime, "writer", Writer)
        await by_scope(runtime)
        await by_token(runtime)


trio.run(main)

# Prints:
# writer: tidied up
# editor: tidied up
# sender: goes on
# writer: tidied up
# editor: tidied up
# sender: its CancellationToken was cancelled
