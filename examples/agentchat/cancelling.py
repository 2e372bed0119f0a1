"""A team is cancelled in the middle of a turn: on our runtime, and on AutoGen's own."""

import asyncio
from collections.abc import Sequence

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken, SingleThreadedAgentRuntime

from trio_agents.interop.autogen import AutoGenRuntime


# [writer]
class Writer(BaseChatAgent):
    """Takes its time, and looks at no token."""

    def __init__(self) -> None:
        super().__init__("writer", "writes, slowly")
        self.began = asyncio.Event()
        self.paper = asyncio.Event()

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage,)

    async def on_messages(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> Response:
        self.began.set()
        try:
            await self.paper.wait()
        except asyncio.CancelledError:
            print("writer: tidied up")
            raise
        print("writer: sent a bill for a thousand pages")
        return Response(chat_message=TextMessage(content="Done.", source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        pass


# [/writer]
# [token]
async def cancel(runtime: AutoGenRuntime | SingleThreadedAgentRuntime) -> None:
    runtime.start()
    writer = Writer()
    team = RoundRobinGroupChat([writer], max_turns=1, runtime=runtime)
    token = CancellationToken()
    run = asyncio.create_task(team.run(task="A novel.", cancellation_token=token))
    await writer.began.wait()
    token.cancel()
    try:
        await run
    except asyncio.CancelledError:
        print("team: cancelled")
    writer.paper.set()
    await runtime.stop_when_idle()


# [/token]
# [task]
async def run_for_a_request(writer: Writer) -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        await RoundRobinGroupChat([writer], max_turns=1, runtime=runtime).run(task="A novel.")
        await runtime.stop_when_idle()


async def hang_up() -> None:
    writer = Writer()
    request = asyncio.create_task(run_for_a_request(writer))
    await writer.began.wait()
    request.cancel()
    try:
        await request
    except asyncio.CancelledError:
        print("request: cancelled")


# [/task]
print("--- trio_agents.interop.autogen.AutoGenRuntime")
asyncio.run(cancel(AutoGenRuntime()))
print("--- autogen_core.SingleThreadedAgentRuntime")
asyncio.run(cancel(SingleThreadedAgentRuntime()))
print("--- a task is cancelled, and its runtime with it")
asyncio.run(hang_up())

# Prints:
# --- trio_agents.interop.autogen.AutoGenRuntime
# writer: tidied up
# team: cancelled
# --- autogen_core.SingleThreadedAgentRuntime
# team: cancelled
# writer: sent a bill for a thousand pages
# --- a task is cancelled, and its runtime with it
# writer: tidied up
# request: cancelled
