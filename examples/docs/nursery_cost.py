# docs/design.md: what a task, a nursery and a memory channel cost on trio.
#
#     python examples/docs/nursery_cost.py
#
# Two questions. What does a request cost if its handler gets a task of its own, without a nursery
# or with one? What does an idle agent cost that keeps a parked task, a nursery, a channel?

import gc
import math
import time
import tracemalloc

import trio
import trio.testing
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

REQUESTS = 2_000
AGENTS = 500


class Reply:
    """The cheapest place to wait in that trio offers."""

    async def wait(self) -> None:
        self.task = current_task()
        await wait_task_rescheduled(lambda _: Abort.SUCCEEDED)

    def set(self) -> None:
        reschedule(self.task)


async def handle(reply: Reply) -> None:
    reply.set()


async def handle_in_nursery(reply: Reply) -> None:
    async with trio.open_nursery():
        reply.set()


async def request(with_nursery: bool) -> float:
    """Seconds for a request: start a task, have it reply."""
    handler = handle_in_nursery if with_nursery else handle
    async with trio.open_nursery() as nursery:
        began = time.perf_counter()
        for _ in range(REQUESTS):
            reply = Reply()
            nursery.start_soon(handler, reply)
            await reply.wait()
        return (time.perf_counter() - began) / REQUESTS


async def park(receive: trio.MemoryReceiveChannel[None] | None) -> None:
    if receive is None:
        await trio.sleep_forever()
    else:
        await receive.receive()


async def park_in_nursery(receive: trio.MemoryReceiveChannel[None] | None) -> None:
    async with trio.open_nursery():
        await park(receive)


async def idle(with_nursery: bool, with_channel: bool) -> float:
    """Bytes that an idle agent keeps."""
    agent = park_in_nursery if with_nursery else park
    kept: list[object] = []
    async with trio.open_nursery() as nursery:
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(AGENTS):
            receive = None
            if with_channel:
                send, receive = trio.open_memory_channel[None](math.inf)
                kept.append(send)
            nursery.start_soon(agent, receive)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        nursery.cancel_scope.cancel()
    return (after - before) / AGENTS


for with_nursery in (False, True):
    seconds = min(trio.run(request, with_nursery) for _ in range(5))
    print(f"a task for each request, nursery: {with_nursery}: {seconds * 1e6:.0f} us")
for with_nursery, with_channel in ((False, False), (True, False), (True, True)):
    size = trio.run(idle, with_nursery, with_channel)
    print(f"an idle task, nursery: {with_nursery}, channel: {with_channel}: {size:.0f} bytes")
