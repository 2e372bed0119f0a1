# docs/guides/lifetime.md: start, stop, process_next, deactivate, idle_timeout.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    open_runtime,
    rpc,
)
from trio_agents.exceptions import UndeliverableException


@dataclass(frozen=True)
class Add:
    amount: int


class Counter(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("adds up")
        self.total = 0

    @rpc
    async def add(self, message: Add, ctx: MessageContext) -> int:
        await trio.sleep(0.1)
        self.total += message.amount
        return self.total

    async def save_state(self) -> Mapping[str, Any]:
        return {"total": self.total}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.total = state["total"]

    async def close(self) -> None:
        print(f"{self.id} closed")


# [stop]
async def stopping() -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        await Counter.register(runtime, "counter", Counter, max_concurrency=1)
        counter = AgentId("counter", "x")

        async def add(amount: int) -> None:
            try:
                print(f"+{amount} gives {await runtime.send_message(Add(amount), counter)}")
            except UndeliverableException as exc:
                print(f"+{amount} failed: {exc}")

        runtime.start()
        async with trio.open_nursery() as nursery:
            for amount in (1, 2):
                nursery.start_soon(add, amount)
                await wait_all_tasks_blocked()
            await runtime.stop()  # +1 is being handled, +2 is still queued
        print(runtime)
        runtime.start()
        await add(3)
        await runtime.stop_when_idle()


# [/stop]
# [quiet]
async def quiet_agents() -> None:
    async with open_runtime() as runtime:
        await Counter.register(runtime, "counter", Counter, idle_timeout=60)
        counter = AgentId("counter", "x")
        print(await runtime.send_message(Add(5), counter))
        await trio.sleep(120)
        print(runtime.statistics().agents, "agents alive")
        print(await runtime.send_message(Add(5), counter))


# [/quiet]
# [let-go]
async def let_go() -> None:
    async with open_runtime() as runtime:
        await Counter.register(runtime, "counter", Counter)
        counter = AgentId("counter", "x")
        print(await runtime.send_message(Add(5), counter))
        await runtime.deactivate(counter)
        print(await runtime.send_message(Add(5), counter))


# [/let-go]
# [by-hand]
async def by_hand() -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        await Counter.register(runtime, "counter", Counter)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, Add(5), AgentId("counter", "x"))
            await wait_all_tasks_blocked()
            print(runtime.unprocessed_messages_count, "waits")
            await runtime.process_next()
            print(
                runtime.unprocessed_messages_count, "waits,", runtime.statistics().running, "runs"
            )


# [/by-hand]
trio.run(stopping)
trio.run(quiet_agents, clock=MockClock(autojump_threshold=0))  # two minutes in no time
trio.run(let_go)
trio.run(by_hand)

# Prints:
# +2 failed: <Request Add to counter/x>: the runtime was stopped before it was handled
# +1 gives 1
# <SingleThreadedAgentRuntime stopped, 1 agents, 0 pending>
# +3 gives 4
# counter/x closed
# 5
# counter/x closed
# 0 agents alive
# 10
# counter/x closed
# 5
# counter/x closed
# 5
# counter/x closed
# 1 waits
# 0 waits, 1 runs
# counter/x closed
