"""After a cancellation on asyncio: whoever waits for a handler to end does not keep a core busy.

anyio cancels what goes on in a cancelled scope again in each turn of the loop, for as long as that
lasts, which takes a whole core. So none of the runtime's own waits may be in reach of such a scope
while a handler cleans up, cannot be cancelled, or does not want to be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import anyio
import attrs

from ..._agents._base_agent import BaseAgent
from ..._sansio._cancellation import CancellationToken
from ..._sansio._contexts import MessageContext
from ..._sansio._identifiers import AgentId
from ._load_measure import new_runtime, run_on, scaled
from ._row import Watch

__all__ = ["HANDLERS", "WAYS", "Aftermath", "try_aftermath"]

AFTER: Final = 0.1  # seconds after the cancellation, until nothing may be busy any more
WINDOW: Final = 0.1  # seconds that are measured
WINDOWS: Final = 3  # one quiet one is enough: what is busy with a cancellation stays busy
MOST: Final = 0.01  # of a processor
PATIENCE: Final = 10.0  # seconds, for all to end once the handlers may
AT_A_TIME: Final = 10
DEPTH: Final = 3  # sends inside of each other, in a chain


async def _cleans_up_shielded(released: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        with anyio.CancelScope(shield=True):
            await released.wait()


async def _cleans_up_plainly(released: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await released.wait()


async def _refuses(released: asyncio.Event) -> None:
    while not released.is_set():
        with suppress(asyncio.CancelledError):
            await released.wait()


async def _keeps_a_cancelled_scope_open(released: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        with anyio.CancelScope() as scope:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await released.wait()


HANDLERS: Final[dict[str, Callable[[asyncio.Event], Awaitable[None]]]] = {
    "cleans-up-shielded": _cleans_up_shielded,
    "cleans-up-plainly": _cleans_up_plainly,
    "refuses": _refuses,
    "keeps-a-scope-open": _keeps_a_cancelled_scope_open,
}
WAYS: Final = ("token", "task", "timeout", "scope", "group", "chain", "block", "deactivate")


class Lingering(BaseAgent):
    """Does not end when it is cancelled, or waits for the next of its kind."""

    def __init__(self, aftermath: Aftermath) -> None:
        super().__init__("does not end when it is cancelled")
        self._aftermath = aftermath

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> None:
        """Send on so many times as the message says, or wait until released."""
        if message:
            await self.send_message(message - 1, AgentId("lingering", f"{self.id.key}+"))
            return
        self._aftermath.begin()
        await HANDLERS[self._aftermath.handler](self._aftermath.released)


@attrs.define
class Aftermath:
    """Handlers that do not end when they are cancelled, and what it costs to wait for them.

    Attributes:
        way: What is cancelled that waits for the handlers: a ``"token"``, the sender's ``"task"``,
            a ``"timeout"`` of asyncio's around it, a ``"scope"`` or a task ``"group"`` of anyio's,
            a scope around a ``"chain"`` of sends, around the runtime's ``"block"``, or around a
            ``"deactivate"``.
        handler: What the handlers do then, one of `HANDLERS`.
        size: How many of them there are.
        busy: How much of a processor was in use afterwards, in the quietest of some windows.
        violations: What else did not hold.
    """

    way: str
    handler: str
    size: int
    busy: float = 1.0
    violations: list[str] = attrs.Factory(list[str])
    released: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _cancels: list[Callable[[], object]] = attrs.field(
        factory=list[Callable[[], object]], init=False
    )
    _running: int = attrs.field(default=0, init=False)
    _all_run: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def begin(self) -> None:
        """Count a handler that is about to wait."""
        self._running += 1
        if self._running == self.size:
            self._all_run.set()

    async def run(self) -> None:
        """Cancel all of them, measure, and let them end."""
        async with new_runtime("asyncio") as runtime:
            await self._prepare(runtime)
            tasks = [
                asyncio.create_task(self._wait_for_handler(runtime, f"{number}"))
                for number in range(self.size)
            ]
            await self._all_run.wait()
            await anyio.wait_all_tasks_blocked()
            for cancel in self._cancels or [task.cancel for task in tasks]:
                cancel()
            await asyncio.sleep(AFTER)
            for _ in range(WINDOWS):
                began = time.process_time()
                await asyncio.sleep(WINDOW)
                self.busy = min(self.busy, (time.process_time() - began) / WINDOW)
                if self.busy < MOST:
                    break
            ended = sum(task.done() for task in tasks)
            if ended:
                self.violations.append(f"{ended} of {self.size} did not wait for their handlers")
            self.released.set()
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*tasks)
            await runtime.stop_when_idle()

    async def _prepare(self, runtime: Any) -> None:
        runtime.start()
        await runtime.register_factory("lingering", lambda: Lingering(self))

    async def _wait_for_handler(self, runtime: Any, key: str) -> None:
        send = runtime.send_message
        id = AgentId("lingering", key)
        cancelled = (asyncio.CancelledError, TimeoutError, runtime._loop.MessageCancelled)
        with suppress(*cancelled):
            if self.way == "token":
                token = CancellationToken()
                self._cancels.append(token.cancel)
                await send(0, id, cancellation_token=token)
            elif self.way == "task":
                await send(0, id)
            elif self.way == "timeout":
                async with asyncio.timeout(None) as timeout:
                    self._cancels.append(lambda: timeout.reschedule(0))
                    await send(0, id)
            elif self.way == "group":
                async with anyio.create_task_group() as group:
                    self._cancels.append(group.cancel_scope.cancel)
                    group.start_soon(send, 0, id)
            elif self.way == "deactivate":
                sending = asyncio.create_task(send(0, id))
                self._cancels.append(sending.cancel)
                await self._all_run.wait()
                with self._scope():
                    await runtime.deactivate(id)
                await sending
            elif self.way == "block":
                with self._scope():
                    async with new_runtime("asyncio") as inner:
                        await self._prepare(inner)
                        await inner.send_message(0, id)
            else:
                with self._scope():
                    await send(DEPTH - 1 if self.way == "chain" else 0, id)

    def _scope(self) -> anyio.CancelScope:
        scope = anyio.CancelScope()
        self._cancels.append(scope.cancel)
        return scope


def try_aftermath(watch: Watch) -> None:
    """Cancel what waits for handlers that do not end, and see that nothing is busy with it."""
    each = scaled(watch.goal, len(WAYS), AT_A_TIME)
    while watch.goes_on():
        seed = watch.next_seed()
        way = WAYS[seed % len(WAYS)]
        handler = list(HANDLERS)[(seed + seed // len(WAYS)) % len(HANDLERS)]
        aftermath = Aftermath(way, handler, each)
        run_on("asyncio", aftermath.run)
        watch.figure("largest share of a processor, %", aftermath.busy * 100)
        if aftermath.busy >= MOST:
            aftermath.violations.append(
                f"{aftermath.busy:.0%} of a processor were in use after that"
            )
        for violation in aftermath.violations:
            watch.violation(f"{each} cancelled by {way}, {handler}: {violation}")
        watch.met(f"by-{way}", each)
        watch.met(handler, each)
        watch.done(each)
