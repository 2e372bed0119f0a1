"""Cancelling: how soon a handler has unwound, how long ten thousand take, and what they leave.

How soon is counted in passes of the scheduler, which is the same on any machine. Times are figures.
What thousands of cancellations take is held against what the event loop itself needs for as many
plain tasks, measured beside it: two for each message, its sender and its handler's worker.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, Final

import anyio
import attrs
import trio

from ..._agents._base_agent import BaseAgent
from ..._core._envelope import Outcome
from ..._sansio._cancellation import CancellationToken
from ..._sansio._contexts import MessageContext
from ..._sansio._identifiers import AgentId
from .._schedule import LOOPS, LoopName
from ._load_measure import (
    checkpoint,
    loop_of,
    new_runtime,
    percentile,
    run_on,
    scaled,
    wait_for_ever,
)
from ._row import Watch

__all__ = ["PASSES", "Storm", "latency", "try_latency", "try_mass", "try_storms"]

PASSES: Final = 2  # of the scheduler, until a handler at a checkpoint has unwound
DEPTHS: Final = (1, 1, 2, 5)  # sends inside of each other
IN_FLIGHT: Final = 10_000
SLOWER: Final = 4  # times as long as plain tasks, before it is a fault
ENOUGH: Final = 1000  # measurements, before a time is judged
IDLE_P99: Final = 0.001  # seconds
HALF_LOAD_P99: Final = 0.020


class _PassCounter(trio.abc.Instrument):
    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count

    def after_io_wait(self, timeout: float) -> None:
        self._count()


class Passes:
    """Counts how often the event loop has gone round."""

    def __init__(self) -> None:
        self.count = 0

    def _next(self) -> None:
        self.count += 1

    @contextmanager
    def counted(self, loop: LoopName) -> Generator[None, None, None]:
        """Count inside of this block."""
        if loop == "trio":
            counter = _PassCounter(self._next)
            trio.lowlevel.add_instrument(counter)
            try:
                yield
            finally:
                trio.lowlevel.remove_instrument(counter)
            return
        running = asyncio.get_running_loop()
        is_over = False

        def go_round() -> None:
            if not is_over:
                self.count += 1
                running.call_soon(go_round)

        running.call_soon(go_round)
        try:
            yield
        finally:
            is_over = True


@attrs.define
class Latency:
    """When a handler and its outermost sender had unwound, after they were cancelled."""

    handler_passes: int = 0
    sender_passes: int = 0
    handler_seconds: float = 0.0
    sender_seconds: float = 0.0


class Chain(BaseAgent):
    """Sends a message on to the next of its kind; the last one waits for ever."""

    def __init__(self, passes: Passes) -> None:
        super().__init__("sends a message on to the next of its kind")
        self._passes = passes

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> None:
        """Go on, or wait and note when that ends."""
        left, entered, latency = message
        if left:
            id = AgentId("chain", f"{left}")
            await self.send_message((left - 1, entered, latency), id)
            return
        entered.set()
        try:
            await wait_for_ever()
        finally:
            latency.handler_passes = self._passes.count
            latency.handler_seconds = time.perf_counter()


async def latency(loop: LoopName, runtime: Any, passes: Passes, how: str, depth: int) -> Latency:
    """Cancel a message whose handler is *depth* sends away, and see when it has unwound.

    That is done by a ``"token"``, a ``"scope"`` around the sender, or the scope's ``"deadline"``.
    """
    found = Latency()
    entered = anyio.Event()
    token = CancellationToken()
    scope = anyio.CancelScope()

    async def send() -> None:
        with scope, suppress(runtime._loop.MessageCancelled):
            await runtime.send_message(
                (depth - 1, entered, found), AgentId("chain", "first"), cancellation_token=token
            )
        found.sender_passes = passes.count
        found.sender_seconds = time.perf_counter()

    began, passes_before = 0.0, 0
    async with anyio.create_task_group() as senders:
        senders.start_soon(send)
        await entered.wait()
        await checkpoint()
        began, passes_before = time.perf_counter(), passes.count
        if how == "token":
            token.cancel()
        elif how == "scope":
            scope.cancel()
        else:
            scope.deadline = -math.inf
    found.handler_passes -= passes_before
    found.sender_passes -= passes_before
    found.handler_seconds -= began
    found.sender_seconds -= began
    return found


async def _keep_half_busy(runtime: Any) -> None:
    """Use about half of the time for other messages, in short bursts."""
    while True:
        began = time.perf_counter()
        while time.perf_counter() - began < 0.002:
            await runtime.send_message(None, AgentId("quick", "default"))
        await anyio.sleep(time.perf_counter() - began)


class Quick(BaseAgent):
    """Answers at once."""

    def __init__(self) -> None:
        super().__init__("answers at once")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> None:
        """Do nothing."""


def try_latency(watch: Watch) -> None:
    """Cancel single messages, on an idle event loop and on one that is half busy."""
    times: dict[bool, list[float]] = {False: [], True: []}
    each = scaled(watch.goal, 4, 200)
    while watch.goes_on():
        seed = watch.next_seed()
        loop = loop_of(seed)
        busy = seed // 2 % 2 == 1
        found: list[tuple[str, int, Latency]] = []

        async def main(
            seed: int = seed,
            loop: LoopName = loop,
            busy: bool = busy,
            found: list[tuple[str, int, Latency]] = found,
        ) -> None:
            random = Random(seed)
            passes = Passes()
            runtime = new_runtime(loop)
            async with runtime:
                runtime.start()
                await runtime.register_factory("chain", lambda: Chain(passes))
                await runtime.register_factory("quick", Quick)
                async with anyio.create_task_group() as load:
                    if busy:
                        load.start_soon(_keep_half_busy, runtime)
                    with passes.counted(loop):
                        for _ in range(each):
                            how = random.choice(("token", "scope", "deadline"))
                            depth = random.choice(DEPTHS)
                            found.append(
                                (how, depth, await latency(loop, runtime, passes, how, depth))
                            )
                    load.cancel_scope.cancel()
                await runtime.stop_when_idle()

        run_on(loop, main)
        for how, depth, one in found:
            watch.met(how)
            times[busy].append(one.handler_seconds)
            watch.figure(f"{loop}: passes until the handler has unwound", one.handler_passes)
            watch.figure(
                f"{loop}: passes for each send until its sender", one.sender_passes / depth
            )
            if one.handler_passes > PASSES:
                watch.violation(
                    f"seed {seed} of its row, {loop}: a handler {depth} sends away took "
                    f"{one.handler_passes} passes to unwind, by {how}"
                )
        watch.met("busy" if busy else "idle")
        watch.done(each)
    for busy, most in ((False, IDLE_P99), (True, HALF_LOAD_P99)):
        taken = times[busy]
        if not taken:
            continue
        where = "at half load" if busy else "idle"
        p99 = percentile(taken, 99)
        watch.figure(f"{where}: p50, us", percentile(taken, 50) * 1e6)
        watch.figure(f"{where}: p99, us", p99 * 1e6)
        if len(taken) >= ENOUGH and p99 > most:
            watch.violation(f"a handler unwinds {where} in {p99 * 1e3:.2f} ms (p99)", seed=None)


# --- thousands


class Waiting(BaseAgent):
    """Answers some messages at once, and lets the others wait until they are cancelled."""

    def __init__(self) -> None:
        super().__init__("answers some messages, and lets others wait")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> int:
        """Wait for ever, or for a turn, or not at all."""
        if message > 2:
            await wait_for_ever()
        if message == 2:
            await checkpoint()
        return 7


WAYS: Final = ("token", "scope", "nursery", "deadline")


@attrs.define
class Storm:
    """Very many messages, all of them cancelled at the same time.

    Attributes:
        loop: The event loop that it runs on.
        how: Who cancels: a token, a scope around all senders, their nursery, or a deadline.
        size: How many messages there are.
        turns: How many turns of the event loop they have before; None until all are handled.
        seed: Of the messages, of which most wait for ever, and some are answered.
        all_wait: None of them is answered.
        seconds: How long it took, from the cancellation until all have ended.
        answered: How many senders got an answer,
        cancelled: and how many were cancelled.
    """

    loop: LoopName
    how: str
    size: int
    turns: int | None = None
    seed: int = 0
    all_wait: bool = False
    seconds: float = 0.0
    answered: int = 0
    cancelled: int = 0
    violations: list[str] = attrs.Factory(list[str])

    async def run(self) -> None:
        """Let it happen, and note what did not hold."""
        random = Random(self.seed)
        token = CancellationToken()
        scope = anyio.CancelScope()
        runtime = new_runtime(self.loop)
        ids = [AgentId("waiting", f"{number}") for number in range(10)]
        cancelled_error: tuple[type[BaseException], ...] = (
            runtime._loop.Cancelled,
            runtime._loop.MessageCancelled,
        )

        async def send(kind: int, id: AgentId) -> None:
            try:
                await runtime.send_message(kind, id, cancellation_token=token)
            except cancelled_error as exc:
                self.cancelled += 1
                if not isinstance(exc, runtime._loop.MessageCancelled):
                    raise
            else:
                self.answered += 1

        async with runtime:
            runtime.start()
            await runtime.register_factory("waiting", Waiting)
            began = 0.0
            async with anyio.create_task_group() as outer:
                with scope:
                    async with anyio.create_task_group() as senders:
                        for number in range(self.size):
                            kind = 7 if self.all_wait else random.randrange(8)
                            senders.start_soon(send, kind, ids[number % len(ids)])

                        async def cancel() -> None:
                            nonlocal began
                            await self._wait(runtime)
                            gc.collect()
                            began = time.perf_counter()
                            self._cancel(token, scope, senders.cancel_scope)

                        outer.start_soon(cancel)
            self.seconds = time.perf_counter() - began
            self._check(runtime, token)
            await runtime.stop_when_idle()

    async def _wait(self, runtime: Any) -> None:
        if self.turns is None:
            while runtime.statistics().running < self.size:
                await checkpoint()
            return
        for _ in range(self.turns):
            await checkpoint()

    def _cancel(
        self, token: CancellationToken, scope: anyio.CancelScope, nursery: anyio.CancelScope
    ) -> None:
        if self.how == "token":
            token.cancel()
        elif self.how == "scope":
            scope.cancel()
        elif self.how == "nursery":
            nursery.cancel()
        else:
            scope.deadline = -math.inf

    def _check(self, runtime: Any, token: CancellationToken) -> None:
        statistics = runtime.statistics()
        outcomes = sum(getattr(statistics, outcome.value) for outcome in Outcome)
        ended = self.answered + self.cancelled
        if ended != self.size or statistics.accepted != self.size:
            self.violations.append(f"{ended} of {self.size} senders have ended: {statistics}")
        if statistics.accepted != outcomes or statistics.pending or statistics.running:
            self.violations.append(f"not every message has an outcome: {statistics}")
        # On asyncio a sender that is cancelled while its answer is on the way is cancelled.
        missed = statistics.handled - self.answered
        if missed < 0 or (missed and self.loop == "trio"):
            self.violations.append(
                f"{self.answered} were answered and {self.cancelled} cancelled: {statistics}"
            )
        if token._links:
            self.violations.append(f"the token keeps {len(token._links)} callbacks")
        if statistics.mailboxes:
            self.violations.append(f"something still waits: {statistics.mailboxes}")


async def wait_on_asyncio() -> None:
    """Wait until cancelled, with as little around it as there can be."""
    await asyncio.get_running_loop().create_future()


def floor(loop: LoopName, how: str, messages: int) -> float:
    """Measure how long two plain tasks for each message take that are cancelled in the same way."""
    seconds: list[float] = []

    async def cancel_tasks() -> None:
        tasks = [asyncio.create_task(wait_on_asyncio()) for _ in range(2 * messages)]
        await checkpoint()  # by now all of them wait
        gc.collect()
        began = time.perf_counter()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        seconds.append(time.perf_counter() - began)

    async def cancel_group() -> None:
        group: trio.Nursery | anyio.abc.TaskGroup
        async with trio.open_nursery() if loop == "trio" else anyio.create_task_group() as group:
            for _ in range(2 * messages):
                group.start_soon(trio.sleep_forever if loop == "trio" else wait_on_asyncio)
            await checkpoint()
            await checkpoint()  # asyncio has started all of them by the first, trio by the second
            gc.collect()
            began = time.perf_counter()
            group.cancel_scope.cancel()
        seconds.append(time.perf_counter() - began)

    # A token cancels one handler after the other; trio's tasks are cancelled by scopes alone.
    run_on(loop, cancel_tasks if loop == "asyncio" and how == "token" else cancel_group)
    return seconds[0]


def try_mass(watch: Watch) -> None:
    """Measure how long thousands of messages take that all run and are cancelled at once."""
    cases: list[tuple[int, str, LoopName]] = [
        (size, how, loop)
        for size in (IN_FLIGHT, 5 * IN_FLIGHT)
        for how in WAYS[:3]
        for loop in LOOPS
    ]
    while watch.goes_on():
        seed = watch.next_seed()
        size, how, loop = cases[seed % len(cases)]
        where = f"{size} by {how} on {loop}"
        taken: list[tuple[float, float, float]] = []
        # One that is too slow is measured twice more: the machine may have been busy for a moment.
        while not taken or (len(taken) < 3 and taken[0][0] > SLOWER):
            storm = Storm(loop, how, size, all_wait=True)
            run_on(loop, storm.run)
            plain = floor(loop, how, size)
            taken.append((storm.seconds / max(plain, 0.1), storm.seconds, plain))
            for violation in storm.violations:
                watch.violation(f"{where} (seed {seed} of its row): {violation}")
        ratio, seconds, plain = sorted(taken)[len(taken) // 2]
        watch.figure(f"{where}, s", seconds)
        watch.figure(f"{where}, times as long as plain tasks", ratio)
        watch.figure(f"{2 * size} plain tasks by {how} on {loop}, s", plain)
        if ratio > SLOWER:
            watch.violation(f"{where} took {seconds:.2f} s, plain tasks {plain:.2f} s")
        watch.met(how)
        watch.done()


def try_storms(watch: Watch) -> None:
    """Cancel ten thousand messages wherever they are: queued, running, answered, not yet sent."""
    while watch.goes_on():
        seed = watch.next_seed()
        random = Random(seed)
        loop = loop_of(seed)
        how = WAYS[seed // 2 % len(WAYS)]
        turns = random.choice((0, 0, 1, 1, 2, 3, 5, 8, random.randrange(40)))
        storm = Storm(loop, how, IN_FLIGHT, turns=turns, seed=seed)
        run_on(loop, storm.run)
        for violation in storm.violations:
            watch.violation(
                f"{how} after {turns} turns on {loop} (seed {seed} of its row): {violation}"
            )
        watch.figure(f"{loop}: slowest, s", storm.seconds)
        watch.met(how)
        if storm.answered and storm.cancelled:
            watch.met("answered-and-cancelled")
        watch.done()
