from __future__ import annotations

import gc
from contextvars import ContextVar

import anyio
import anyio.lowlevel

from trio_agents._loops._detached import start_detached

request: ContextVar[str] = ContextVar("request", default="none")


async def test_a_detached_task_runs_beside_whoever_started_it() -> None:
    done = anyio.Event()

    async def work() -> None:
        done.set()

    with anyio.CancelScope() as scope:
        start_detached(work, "worker")
        scope.cancel()
        await anyio.lowlevel.checkpoint()
    await done.wait()


async def test_nobody_has_to_hold_a_detached_task() -> None:
    go, done = anyio.Event(), anyio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    start_detached(work, "worker")
    await anyio.lowlevel.checkpoint()
    gc.collect()
    go.set()
    await done.wait()


async def test_a_detached_task_starts_from_a_clean_context() -> None:
    seen: list[str] = []
    done = anyio.Event()

    async def work() -> None:
        seen.append(request.get())
        done.set()

    request.set("of the caller")
    start_detached(work, "worker")
    await done.wait()
    assert seen == ["none"]


def test_the_run_ends_a_detached_task_and_waits_for_its_cleanup(backend: str) -> None:
    ends: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                ends.append("cleaned up")

    async def main() -> None:
        start_detached(work, "worker")
        await anyio.wait_all_tasks_blocked()

    anyio.run(main, backend=backend)
    assert ends == ["cleaned up"]
