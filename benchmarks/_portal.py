# trio_agents on trio in a thread of its own, for callers on asyncio: what crosses the border is the
# send, and its reply.

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from trio_agents.portal import AwaitableRuntime, open_portal

from ._on_asyncio import run_on_asyncio
from ._ours import WORKER, Worker
from ._sample import WARM_UP, WORK, Sample, check_replies, stopwatch


@asynccontextmanager
async def running() -> AsyncIterator[AwaitableRuntime]:
    async with open_portal() as runtime:
        await Worker.register(runtime, "worker", Worker)
        for _ in range(WARM_UP):
            await runtime.send_message(WORK, WORKER)
        yield runtime


async def sequential(count: int) -> Sample:
    async with running() as runtime:
        with stopwatch() as watch:
            replies: list[object] = [await runtime.send_message(WORK, WORKER) for _ in range(count)]
        check_replies(replies, count)
    return Sample(watch.seconds, count)


async def in_flight(count: int) -> Sample:
    async with running() as runtime:
        with stopwatch() as watch:
            replies: list[object] = await asyncio.gather(
                *(runtime.send_message(WORK, WORKER) for _ in range(count))
            )
        check_replies(replies, count)
    return Sample(watch.seconds, count)


SCENARIOS: Final[Mapping[str, Callable[[int], Sample]]] = {
    "sequential": run_on_asyncio(sequential),
    "in_flight": run_on_asyncio(in_flight),
}
