"""A held run goes on until nobody can, and says what went wrong in it."""

from __future__ import annotations

import asyncio
import math

import pytest
import trio

from trio_agents.testing._held_runs import RunGivenUp, hold
from trio_agents.testing._schedule import LoopName


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_time_passes_when_it_is_moved(loop: LoopName) -> None:
    done: list[float] = []
    run = hold(loop)

    async def sleep() -> None:
        await (trio.sleep(2) if loop == "trio" else asyncio.sleep(2))  # noqa: ASYNC105
        done.append(run.now)

    run.spawn(sleep)
    run.go_on()
    assert run.next_deadline() == 2.0
    assert done == []
    run.now = 5.0
    run.go_on()
    assert done == [5.0]
    assert run.next_deadline() > 5.0
    run.close()


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_what_a_task_raises_is_raised(loop: LoopName) -> None:
    run = hold(loop)

    async def fail() -> None:
        raise ValueError("oops")

    run.spawn(fail)
    with pytest.raises((ValueError, ExceptionGroup)):
        run.go_on()


def test_a_task_that_ignores_its_cancellation_ends_the_patience_of_a_run() -> None:
    run = hold("asyncio")

    async def ignore() -> None:
        while True:
            try:
                await asyncio.sleep(math.inf)
            except asyncio.CancelledError:
                continue

    run.spawn(ignore)
    run.go_on()
    with pytest.raises(RunGivenUp, match="although they were cancelled"):
        run.close()
    run.close()  # a second time it does nothing


def test_what_nobody_waits_for_is_said() -> None:
    run = hold("asyncio")

    async def complain() -> None:
        context = {"message": "lost", "exception": ValueError("oops")}
        asyncio.get_running_loop().call_exception_handler(context)

    run.spawn(complain)
    with pytest.raises(RuntimeError, match="asyncio says: lost"):
        run.go_on()
    run.close()
