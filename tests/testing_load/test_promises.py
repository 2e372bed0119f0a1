"""What the runtime keeps under load, and did not keep once."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from trio_agents._sansio._cancellation import CancellationToken
from trio_agents._sansio._identifiers import AgentId
from trio_agents.testing._schedule import LOOPS, LoopName
from trio_agents.testing._scripted import ignores_cancellation, sleeps
from trio_agents.testing._simulation import Simulation, run_scenario
from trio_agents.testing.nightly._load_cancel import Waiting
from trio_agents.testing.nightly._load_measure import (
    checkpoint,
    missing_proc,
    new_runtime,
    run_on,
)
from trio_agents.testing.nightly._load_overload import Overload
from trio_agents.testing.nightly._scripted_trial import ask, open_tasks, register


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_message_leaves_nothing_to_the_garbage_collector(loop: LoopName) -> None:
    found: Counter[str] = Counter()

    async def main() -> None:
        runtime = new_runtime(loop)
        async with runtime:
            runtime.start()
            await runtime.register_factory("waiting", Waiting)

            async def send(token: CancellationToken) -> None:
                with suppress(runtime._loop.MessageCancelled):
                    await runtime.send_message(
                        7, AgentId("waiting", "default"), cancellation_token=token
                    )

            async def cancel_some() -> None:
                async with anyio.create_task_group() as tasks:
                    token = CancellationToken()
                    for _ in range(100):
                        tasks.start_soon(send, token)
                    while runtime.statistics().running < 100:
                        await checkpoint()
                    token.cancel()
                await checkpoint()

            await cancel_some()
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                await cancel_some()
                gc.collect()
                found.update(type(thing).__qualname__ for thing in gc.garbage)
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()

    run_on(loop, main)
    assert all(count < 100 for count in found.values()), f"were in cycles: {found}"


@pytest.mark.skipif(missing_proc() is not None, reason=str(missing_proc()))
@pytest.mark.parametrize("loop", LOOPS)
def test_publishers_that_wait_for_a_mailbox_keep_no_messages_alive(loop: LoopName) -> None:
    overload = Overload(loop, "mailbox_size", "wait", turns=1_500)
    run_on(loop, overload.run)
    assert overload.violations == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_names_the_handlers_that_ignore_its_deadline(
    loop: LoopName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "autogen_core")
    said: list[str] = []

    async def scenario(sim: Simulation) -> None:
        async with sim.open_runtime() as runtime:
            (agent,) = await register(runtime, "stubborn")
            async with open_tasks() as tasks:
                act: Any = ignores_cancellation(sleeps(10))
                ask(sim, tasks, partial(runtime.send_message, act, agent))
                await sim.wait_all_tasks_blocked()
                tasks.start_soon(partial(runtime.stop, deadline=sim.current_time() + 1))
                await anyio.sleep(2.5)
                said.extend(record.getMessage() for record in caplog.records)

    run = run_scenario(scenario, seed=0, loop=loop)
    assert run.error is None
    assert any("stubborn/default" in text for text in said)
