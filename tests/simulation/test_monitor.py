"""What a monitor sees: each check is shown to fail where a runtime does wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

import trio_agents
import trio_agents.asyncio
from trio_agents import AgentId, BaseAgent, MessageContext, TopicId, TypeSubscription
from trio_agents._core import _workers
from trio_agents.portal import open_portal
from trio_agents.testing import InvariantViolation, Monitor, Simulation, simulate

A = AgentId("worker", "a")


class Worker(BaseAgent):
    def __init__(self) -> None:
        super().__init__("waits a second")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        await anyio.sleep(1)
        return message


class Quick(BaseAgent):
    def __init__(self) -> None:
        super().__init__("gives the message back")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return message


async def publish(runtime: Any) -> None:
    """Have one worker begin with a publication, which takes it a while."""
    await runtime.register_factory("worker", Worker)
    await runtime.add_subscription(TypeSubscription("t", "worker"))
    await runtime.publish_message("x", TopicId("t", "a"))


def broken(on: Any, damage: Any, *, messages: int = 2, **options: Any) -> str:
    """Run a scenario in which *damage* is done to the runtime; give what the monitor says."""

    async def scenario(sim: Simulation) -> None:
        async with sim.open_runtime() as runtime:
            await runtime.register_factory("worker", Worker, **options)
            async with anyio.create_task_group() as group:
                for number in range(messages):
                    group.start_soon(runtime.send_message, number, A)
                await sim.wait_all_tasks_blocked()
                damage(runtime)
                await anyio.lowlevel.checkpoint()

    with pytest.raises(InvariantViolation) as caught:
        simulate(scenario, loop=on)
    return str(caught.value)


def test_a_runtime_that_does_right_passes(on: Any) -> None:
    async def scenario(sim: Simulation) -> Any:
        async with sim.open_runtime(max_pending=2) as runtime:
            await runtime.register_factory("worker", Worker, max_concurrency=1)
            await runtime.add_subscription(TypeSubscription("t", "worker"))
            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(runtime.send_message, number, A)
                    group.start_soon(runtime.publish_message, number, TopicId("t", "a"))
        return runtime.statistics()

    assert simulate(scenario, loop=on).value.handled == 10


def test_a_message_that_is_counted_twice_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._ledger.accepted += 1

    assert "3 messages were accepted, but 0 have an outcome and 2 are pending" in broken(on, damage)


def test_a_message_that_is_lost_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._ledger.pending -= 1
        runtime._ledger.handled += 1

    assert "1 messages are pending by the ledger, and 2 have no outcome" in broken(on, damage)


def test_a_handler_that_is_not_counted_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._ledger.running -= 1

    assert "1 messages run by the ledger, and workers have 2" in broken(on, damage)


def test_a_runtime_that_says_idle_too_early_is_seen(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        async with sim.open_runtime() as runtime:
            await publish(runtime)
            await sim.wait_all_tasks_blocked()
            runtime._gate.is_idle = lambda: True
            await runtime.stop_when_idle()

    with pytest.raises(InvariantViolation, match=r"\(\) went on, and 1 messages have no"):
        simulate(scenario, loop=on)


def test_somebody_who_waits_for_idle_and_is_not_woken_is_seen(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        async with sim.open_runtime() as runtime:
            await publish(runtime)
            runtime._ledger.look = lambda: None
            async with anyio.create_task_group() as group:
                group.start_soon(runtime.stop_when_idle)
                await anyio.sleep(2)  # by the simulation's clock, until the worker has ended

    with pytest.raises(InvariantViolation, match="idle, and who waits for that was not woken"):
        simulate(scenario, loop=on)


def test_an_agent_whose_books_are_wrong_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._activations[A].running += 1

    assert "3 handlers of worker/a run by its books, and 2 do" in broken(on, damage)


def test_a_limit_that_is_not_kept_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._activations[A].limit = 1

    text = broken(on, damage, max_concurrency=2)
    assert "2 handlers of worker/a run, and its limit is 1" in text


def test_an_agent_that_is_open_and_not_ready_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._activations[A].open = True

    assert "takes messages at once, and is not ready to" in broken(on, damage, max_concurrency=2)


def test_a_queue_that_nobody_looks_at_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._workers._scouts += 1  # as if one were on its way
        runtime._workers.submit(runtime._workers._first_in_test)
        runtime._workers._scouts -= 1

    def prepare(runtime: Any) -> None:
        (worker, *_) = runtime._workers.at_work
        runtime._workers._first_in_test = worker.envelope
        damage(runtime)

    assert "messages are queued, and no worker is on its way to them" in broken(on, prepare)


def test_a_second_agent_of_an_id_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._pipeline.witness.made(A, Worker)

    assert "a second agent worker/a was made" in broken(on, damage)


def test_a_second_outcome_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        (worker, *_) = runtime._workers.at_work
        witness = runtime._pipeline.witness
        witness.settled(worker.envelope, trio_agents._core._envelope.Outcome.FAILED)
        witness.settled(worker.envelope, trio_agents._core._envelope.Outcome.HANDLED)

    assert "has a second outcome: handled" in broken(on, damage)


def test_an_activation_that_nobody_needs_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        runtime._pipeline.activation(AgentId("worker", "nobody"))

    assert "worker/nobody has no agent and no messages, and was not forgotten" in broken(on, damage)


def test_a_message_that_begins_before_an_earlier_one_is_seen(on: Any) -> None:
    def damage(runtime: Any) -> None:
        mailbox = runtime._activations[A]
        second = mailbox._mailbox[1].receive_nowait()
        mailbox._mailbox[0].send_nowait(mailbox.head)
        mailbox.head = second

    text = broken(on, damage, messages=3, max_concurrency=1)
    assert "which was submitted before it" in text


def test_a_message_that_outlives_the_block_is_seen(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        async with sim.open_runtime() as runtime:
            await runtime.register_factory("worker", Worker)
            await runtime.send_message("x", A)
        runtime._activations[A].running += 1

    async def watched(sim: Simulation) -> None:
        module: Any = trio_agents if sim.loop == "trio" else trio_agents.asyncio
        runtime = module.SingleThreadedAgentRuntime()
        with sim.watched(runtime):
            async with runtime:
                await runtime.register_factory("worker", Worker)
                runtime.start()
                await runtime.send_message("x", A)
            runtime._activations[A].running += 1

    simulate(scenario, loop=on)
    with pytest.raises(InvariantViolation, match="still have a message after the runtime's block"):
        simulate(watched, loop=on)


# --- outside of simulations


async def test_a_block_of_one_s_own_is_looked_at_when_asked_and_at_its_end() -> None:
    async with trio_agents.open_runtime() as runtime:
        monitor = Monitor(runtime)
        await Worker.register(runtime, "worker", Worker)
        monitor.check()
    monitor.close()
    assert monitor.violations == ()


@pytest.mark.parametrize("module", [trio_agents, trio_agents.asyncio], ids=["trio", "asyncio"])
def test_a_monitor_may_be_left_while_the_runtime_s_block_is_open(module: Any) -> None:
    async def main() -> None:
        async with module.open_runtime() as runtime:
            with Monitor(runtime) as monitor:
                await runtime.register_factory("worker", Quick)
                await runtime.send_message("x", A)
            assert monitor.violations == ()
            assert await runtime.send_message("y", A) == "y"  # unwatched

    anyio.run(main, backend="trio" if module is trio_agents else "asyncio")


def test_a_worker_that_outlives_the_block_is_seen_by_a_monitor_around_it() -> None:
    async def main() -> None:
        runtime = trio_agents.SingleThreadedAgentRuntime()
        with Monitor(runtime):
            async with runtime:
                pass
            runtime._workers.at_work[_workers.Worker(trio.CancelScope())] = None

    with pytest.raises(InvariantViolation, match="1 workers have outlived the runtime's block"):
        trio.run(main)


async def test_a_violation_is_raised_at_the_end_of_the_monitor_s_block() -> None:
    with pytest.raises(InvariantViolation, match="were accepted"):
        async with trio_agents.open_runtime() as runtime:
            with Monitor(runtime):
                runtime._ledger.accepted += 1
            raise AssertionError("not reached")


async def test_a_monitor_that_comes_late_takes_what_is_pending_for_given() -> None:
    runtime = trio_agents.SingleThreadedAgentRuntime()
    await runtime.register_factory("worker", Worker)
    await runtime.add_subscription(TypeSubscription("t", "worker"))
    await runtime.publish_message("before", TopicId("t", "a"))
    monitor = Monitor(runtime)
    async with runtime:
        monitor.check()
        await runtime.publish_message("after", TopicId("t", "a"))
        monitor.check()
    monitor.close()


def test_a_runtime_that_is_not_ours_is_looked_at_by_its_statistics() -> None:
    class Foreign:
        def statistics(self) -> Any:
            runtime = trio_agents.SingleThreadedAgentRuntime()
            runtime._ledger.accepted = 1
            return runtime.statistics()

    with pytest.raises(InvariantViolation, match="1 messages were accepted"):
        Monitor(Foreign()).check()


def test_a_runtime_behind_a_portal_is_looked_at_from_a_thread() -> None:
    with open_portal(trio_agents.open_runtime) as runtime:
        with Monitor(runtime) as monitor:
            monitor.check()
        runtime.run_sync(count_twice)
        with pytest.raises(InvariantViolation, match="1 messages were accepted"):
            Monitor(runtime).check()


def test_a_runtime_behind_a_portal_is_looked_at_from_asyncio() -> None:
    async def main() -> None:
        async with open_portal(trio_agents.open_runtime) as runtime:
            with Monitor(runtime) as monitor:
                await runtime.register_factory("worker", Quick)
                assert await runtime.send_message("x", A) == "x"
                monitor.check()
                assert "0 pending" in monitor.describe()
            await runtime.run_sync(count_twice)
            with pytest.raises(InvariantViolation, match="2 messages were accepted"):
                Monitor(runtime).check()

    asyncio.run(main())


def count_twice(runtime: Any) -> None:
    runtime._ledger.accepted += 1


def test_statistics_that_must_be_awaited_are_refused_at_once() -> None:
    class Foreign:
        async def statistics(self) -> Any:
            raise AssertionError("not reached")

    with pytest.raises(TypeError, match="of Foreign must be awaited, which a monitor cannot"):
        Monitor(Foreign())


def test_what_has_no_statistics_cannot_be_watched() -> None:
    with pytest.raises(TypeError, match=r"statistics\(\), not str"):
        Monitor("runtime")
