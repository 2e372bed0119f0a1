"""`start_detached`: a task that is nobody's child, on the loop that runs.

Some things are started by one task and stopped by another, as workbenches are, and have to be
entered and left by one and the same: what holds cancel scopes open, say. They need a task of their
own that no block of the program owns. Nothing outlives the run for it: the run is its
parent. On trio it is a system task, which trio cancels and waits for when the main task has ended;
on asyncio a task, to which ``asyncio.run`` does the same.

It starts from a clean context: what happens in it belongs to no request that was under way when it
was started. anyio has no such task, so this speaks to the two loops themselves.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final

import sniffio
import trio

__all__ = ["start_detached"]

_tasks: Final[set[asyncio.Task[None]]] = set()  # asyncio itself holds its tasks weakly


def start_detached(async_fn: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Run *async_fn* until it ends, or the run does.

    It must not raise errors: there is nobody to raise to, and on trio that ends the program. A
    `KeyboardInterrupt` that has hit it goes where interrupts go: to the main task.

    Args:
        async_fn: what the task runs.
        name: what it is called, for task lists and debuggers.
    """
    if sniffio.current_async_library() == "trio":
        trio.lowlevel.spawn_system_task(_pass_interrupts_on, async_fn, name=name)
    else:
        loop = asyncio.get_running_loop()
        task = loop.create_task(async_fn(), name=name, context=Context())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def _pass_interrupts_on(async_fn: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await async_fn()
    except* KeyboardInterrupt:
        # The children of a system task can be hit by one. Here we are in the system task itself,
        # which cannot, so trio gives this one to the main task.
        signal.raise_signal(signal.SIGINT)
