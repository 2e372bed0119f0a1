"""Ctrl-C, and the garbage collector, before each step of what a runtime does, on both event loops.

The monitor looks at the runtime's books after every step, so here is only what it cannot know: that
one bare `KeyboardInterrupt` comes out, and what the agents saw of it.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from trio_agents import AgentId, BaseAgent, MessageContext, TopicId, TypeSubscription
from trio_agents.testing import Simulation, collect_garbage, explore_fault, press_ctrl_c

NEWS = TopicId("news", "x")
TYPES = ("a", "b", "c")


class Seen:
    """What the agents of one run have begun, and ended."""

    def __init__(self) -> None:
        self.began = Counter[str]()
        self.ended = Counter[str]()
        self.closed = Counter[int]()
        self.agents: list[Slow] = []

    @contextmanager
    def doing(self, what: str) -> Any:
        self.began[what] += 1
        try:
            yield
        finally:
            self.ended[what] += 1

    def check(self) -> None:
        assert self.began == self.ended
        assert set(self.closed) == {id(agent) for agent in self.agents}
        assert set(self.closed.values()) <= {1}


class Slow(BaseAgent):
    """Waits in everything that it is asked for."""

    def __init__(self, seen: Seen) -> None:
        super().__init__("slow")
        self.seen = seen

    async def bind_id_and_runtime(self, id: AgentId, runtime: Any) -> None:
        await super().bind_id_and_runtime(id, runtime)
        self.seen.agents.append(self)

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        with self.seen.doing("handler"):
            await anyio.sleep(message)
            return message

    async def save_state(self) -> Mapping[str, Any]:
        with self.seen.doing("save"):
            await anyio.sleep(1)
            return {"saved": True}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        with self.seen.doing("load"):
            await anyio.sleep(1)

    async def close(self) -> None:
        self.seen.closed[id(self)] += 1
        with self.seen.doing("close"):
            await anyio.sleep(1)


async def fan_out(sim: Simulation, runtime: Any, seen: Seen) -> None:
    for _ in range(2):
        await runtime.publish_message(1, NEWS)
    await runtime.stop_when_idle()


async def factories(sim: Simulation, runtime: Any, seen: Seen) -> None:
    async with anyio.create_task_group() as tasks:
        for key in "xxy":
            tasks.start_soon(runtime.send_message, 1, AgentId("a", key))


async def states(sim: Simulation, runtime: Any, seen: Seen) -> None:
    await runtime.publish_message(1, NEWS)
    state = await runtime.save_state()
    assert len(state) == len(TYPES)
    await runtime.publish_message(0, NEWS)
    await runtime.load_state(state)


async def stop_with_a_deadline(sim: Simulation, runtime: Any, seen: Seen) -> None:
    await runtime.publish_message(10, NEWS)
    await anyio.sleep(3)
    await runtime.stop(deadline=sim.current_time() + 1)
    runtime.start()
    await runtime.publish_message(1, NEWS)


async def closing(sim: Simulation, runtime: Any, seen: Seen) -> None:
    await runtime.publish_message(1, NEWS)
    await runtime.deactivate(AgentId("a", "x"))
    await runtime.stop_when_idle()


Program = Callable[[Simulation, Any, Seen], Awaitable[None]]
PROGRAMS: list[Program] = [fan_out, factories, states, stop_with_a_deadline, closing]


def scenario_of(program: Program, seen: list[Seen]) -> Callable[[Simulation], Awaitable[None]]:
    async def scenario(sim: Simulation) -> None:
        mine = Seen()
        seen.append(mine)

        async def factory() -> Slow:
            with mine.doing("factory"):
                await anyio.sleep(1)
                return Slow(mine)

        try:
            async with sim.open_runtime() as runtime:
                for type in TYPES:
                    await runtime.register_factory(type, factory)
                    await runtime.add_subscription(TypeSubscription("news", type))
                await program(sim, runtime, mine)
        except BaseExceptionGroup as group:  # of a task group of the program's own
            assert program is factories
            interrupt = group.subgroup(KeyboardInterrupt)
            assert interrupt is not None
            raise KeyboardInterrupt from group

    return scenario


# I16
@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_before_any_step_leaves_bare_and_nothing_half_done(
    on: Any, program: Program
) -> None:
    seen: list[Seen] = []
    explored = explore_fault(
        scenario_of(program, seen), press_ctrl_c, loop=on, expected=(KeyboardInterrupt,)
    )
    assert explored.runs > 20
    assert len(seen) >= explored.runs - 1  # it may come before the scenario has begun
    for one in seen:
        one.check()
    assert seen[0].closed  # without a fault


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("program", PROGRAMS)
def test_garbage_may_be_collected_before_any_step(on: Any, program: Program, frozen: bool) -> None:
    """Also where what there is was taken out of the collector's sight, as servers do that fork."""

    def collect(sim: Simulation) -> None:
        collect_garbage(sim)
        if frozen:
            gc.freeze()

    seen: list[Seen] = []
    explored = explore_fault(scenario_of(program, seen), collect, loop=on)
    assert explored.schedules == 1
    for one in seen:
        one.check()
