"""`wait_all_tasks_blocked` on event loops that are not simulated."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio
import uvloop

from trio_agents.testing._waiting import Gate, wait_all_tasks_blocked

Main = Callable[[], Awaitable[None]]


def on_uvloop(main: Main) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def on_asyncio(main: Main) -> None:
    asyncio.run(main())


LOOPS = pytest.mark.parametrize("run", [trio.run, on_asyncio, on_uvloop])


@LOOPS
def test_it_returns_when_all_others_wait(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        steps: list[int] = []

        async def work() -> None:
            for number in range(50):
                await anyio.lowlevel.checkpoint()
                steps.append(number)
            await anyio.sleep(100)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await wait_all_tasks_blocked()
            assert len(steps) == 50
            tasks.cancel_scope.cancel()

    run(main)


@LOOPS
def test_two_may_wait_for_it(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_all_tasks_blocked)
            await wait_all_tasks_blocked()

    run(main)


@LOOPS
def test_a_chain_of_wake_ups_is_followed_to_its_end(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        gates = [Gate() for _ in range(10)]

        async def pass_on(number: int) -> None:
            await gates[number].wait()
            gates[number + 1].open()

        async with anyio.create_task_group() as tasks:
            for number in range(9):
                tasks.start_soon(pass_on, number)
            await wait_all_tasks_blocked()
            gates[0].open()
            await wait_all_tasks_blocked()
            assert gates[-1].is_open()

    run(main)


def test_it_takes_no_time_on_asyncio() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 100)
            began = time.monotonic()
            for _ in range(20):
                await wait_all_tasks_blocked()
            assert time.monotonic() - began < 1  # anyio's own would take two seconds
            tasks.cancel_scope.cancel()

    asyncio.run(main())


@LOOPS
def test_a_gate_lets_go_on_whom_another_thread_lets(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        gate = Gate()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.wait)
            await wait_all_tasks_blocked()
            thread = threading.Thread(target=gate.open)
            thread.start()
        thread.join()

    run(main)
