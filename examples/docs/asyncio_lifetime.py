# docs/guides/asyncio.md: a life without a block.

import asyncio
import textwrap
import warnings
from dataclasses import dataclass

from trio_agents.asyncio import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    event,
    rpc,
    type_subscription,
)


@dataclass(frozen=True)
class Add:
    amount: int


@dataclass(frozen=True)
class Wait:
    began: asyncio.Event


@type_subscription("waiting")
class Counter(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("adds up")
        self.total = 0

    @rpc
    async def add(self, message: Add, ctx: MessageContext) -> int:
        self.total += message.amount
        return self.total

    @event
    async def wait(self, message: Wait, ctx: MessageContext) -> None:
        message.began.set()
        try:
            await asyncio.get_running_loop().create_future()  # for ever
        finally:
            await asyncio.sleep(0.01)
            print("counter: tidied up")

    async def close(self) -> None:
        print("counter: closed")


COUNTER = AgentId("counter", "x")


# [no-block]
async def no_block() -> None:
    runtime = SingleThreadedAgentRuntime()
    await Counter.register(runtime, "counter", Counter)
    runtime.start()
    print(await runtime.send_message(Add(1), COUNTER))
    await runtime.stop_when_idle()
    print(runtime, len(asyncio.all_tasks()), "task")


# [/no-block]
# [runs]
def several_runs() -> None:
    runtime = SingleThreadedAgentRuntime()

    async def prepare() -> None:
        await Counter.register(runtime, "counter", Counter)

    async def work() -> None:
        runtime.start()
        print(await runtime.send_message(Add(1), COUNTER))
        await runtime.stop_when_idle()

    asyncio.run(prepare())
    asyncio.run(work())
    asyncio.run(work())
    asyncio.run(runtime.close())


# [/runs]
# [forgotten]
async def forget() -> None:
    runtime = SingleThreadedAgentRuntime()
    await Counter.register(runtime, "counter", Counter)
    runtime.start()
    began = asyncio.Event()
    await runtime.publish_message(Wait(began), TopicId("waiting", "x"))
    await began.wait()


def forgotten() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        asyncio.run(forget())
    print(textwrap.fill(str(caught[0].message), 76))


# [/forgotten]
asyncio.run(no_block())
several_runs()
forgotten()

# Prints:
# 1
# <SingleThreadedAgentRuntime stopped, 1 agents, 0 pending> 1 task
# 1
# 2
# counter: closed
# counter: tidied up
# <SingleThreadedAgentRuntime started, 1 agents, 1 pending> was started and
# never stopped, and its event loop has ended. Unfinished messages: 1, of the
# agents: counter/x. Call stop() or stop_when_idle(), or use `async with`
