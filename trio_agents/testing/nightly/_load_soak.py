"""Hours of ordinary traffic: what it takes in memory, files and time stays as it was.

Some of the messages fail, some are cancelled, agents come and go. Nothing that belongs to a message
may be left when it has ended, and nothing that belongs to an agent when it was closed.
"""

from __future__ import annotations

import logging
import math
import time
from array import array
from collections import Counter
from random import Random
from typing import Any, Final

import anyio
import attrs

from ..._agents._base_agent import BaseAgent
from ..._sansio._cancellation import CancellationToken
from ..._sansio._contexts import MessageContext
from ..._sansio._identifiers import AgentId, TopicId
from ..._sansio._subscriptions import TypeSubscription
from .._schedule import LoopName
from ._load_isolation import own_log
from ._load_measure import (
    checkpoint,
    count_files,
    live_objects,
    new_runtime,
    percentile,
    resident_bytes,
    run_on,
    wait_for_ever,
)
from ._row import Watch

__all__ = ["Soak", "soak_on"]

CLIENTS: Final = 50
AGENTS: Final = 100
SLICE: Final = 20_000  # messages between two looks at memory and times
WARM_UP: Final = 0.1  # of a run; what it takes in then does not count
LONG: Final = 60.0  # seconds, from which on a run is judged as a long one
GROWTH: Final = 0.01  # of the process, in a long run
MAX_GROWTH: Final = 1_000_000  # bytes, in a long run
SHORT_GROWTH: Final = 4_000_000  # bytes, in a short one
SLOWER: Final = 1.1  # p99 in the last third, times that in the first third after the warm-up
IDLE_TIMEOUT: Final = 0.5  # seconds


class Failed(Exception):
    """What some handlers raise."""


class Worker(BaseAgent):
    """Does what the message says: answers, waits a turn, fails, or cancels itself."""

    def __init__(self) -> None:
        super().__init__("does what the message says")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Do it."""
        match message:
            case CancellationToken() | anyio.CancelScope():
                message.cancel()
                await wait_for_ever()
            case "turn":
                await checkpoint()
            case "ask":
                return await self.send_message(1, AgentId("worker", "0"))
            case "fail":
                raise Failed
            case _:
                pass
        return message

    async def save_state(self) -> dict[str, Any]:
        """Keep nothing."""
        return {}

    async def load_state(self, state: Any) -> None:
        """Take nothing over."""


@attrs.frozen
class Slice:
    """What some thousand messages took.

    Attributes:
        ended: When they had ended, in seconds from the beginning.
        size: How large the process was then, in bytes.
        p99: How long a message took, at most, for 99 of 100; in seconds of this thread, so that
            what other processes were given meanwhile does not count.
        machine: How long the same piece of other work took then, in seconds.
    """

    ended: float
    size: int
    p99: float
    machine: float

    @property
    def relative_p99(self) -> float:
        """The time of a message, measured in that of other work at the same time."""
        return self.p99 / self.machine


def machine_seconds() -> float:
    """Measure how fast the machine is now: a piece of plain Python, the best of five."""
    best = math.inf
    for _ in range(5):
        began = time.thread_time()
        for number in range(10_000):
            str(number)
        best = min(best, time.thread_time() - began)
    return best


@attrs.define
class Soak:
    """One long run.

    Attributes:
        loop: The event loop that it runs on.
        watch: Says how long it goes on.
        violations: What did not hold.
    """

    loop: LoopName
    watch: Watch
    violations: list[str] = attrs.Factory(list[str])
    _done: int = 0  # messages, since the last look
    _messages: int = 0  # until the last look
    _times: array[float] = attrs.Factory(lambda: array("d"))
    _slices: list[Slice] = attrs.Factory(list[Slice])
    _before: Counter[str] = attrs.Factory(Counter[str])
    _goes_on: bool = True
    _seed: int = 0

    def try_all(self) -> None:
        """Run, and judge what was measured."""
        self._seed = self.watch.next_seed()
        files, objects = count_files(), live_objects()
        self._before = objects
        with own_log(logging.NullHandler()):
            run_on(self.loop, self._run)
        if count_files() != files:
            self.violations.append(f"{files} files were open, and now {count_files()}")
        left = live_objects() - objects
        if left:
            self.violations.append(f"objects were left: {dict(left)}")
        self._judge()

    async def _run(self) -> None:
        runtime = new_runtime(self.loop)
        async with runtime:
            runtime.start()
            await runtime.register_factory("worker", Worker)
            await runtime.register_factory("brief", Worker)
            await runtime.register_factory("quiet", Worker, idle_timeout=IDLE_TIMEOUT)
            await runtime.add_subscription(TypeSubscription("news", "worker"))
            began = time.perf_counter()
            async with anyio.create_task_group() as clients:
                for number in range(CLIENTS):
                    clients.start_soon(self._work, runtime, Random(self._seed + number), number)
                clients.start_soon(self._look, began)
            await self._check_rest(runtime)
            await runtime.stop_when_idle()

    async def _look(self, began: float) -> None:
        """Note what a slice of the messages took."""
        while self._goes_on:
            if self._done < SLICE:
                await anyio.sleep(0.01)
                continue
            self._slices.append(
                Slice(
                    time.perf_counter() - began,
                    resident_bytes(),
                    percentile(self._times, 99),
                    machine_seconds(),
                )
            )
            del self._times[:]
            self._messages += self._done
            self._done = 0
            self.watch.done(int(self._slices[-1].ended) - self.watch.report.units)
            self._goes_on = self.watch.goes_on()

    async def _work(self, runtime: Any, random: Random, client: int) -> None:
        cancelled = runtime._loop.MessageCancelled
        count = 0
        while self._goes_on:
            count += 1
            id = AgentId("worker", f"{random.randrange(AGENTS)}")
            began = time.thread_time()
            match random.randrange(200):
                case 0 | 1:
                    try:
                        await runtime.send_message("fail", id)
                        self.violations.append("a message that was to fail was answered")
                    except Failed:
                        self.watch.met("failed")
                case 2:
                    token = CancellationToken()
                    try:
                        await runtime.send_message(token, id, cancellation_token=token)
                        self.violations.append("a message that was to be cancelled was answered")
                    except cancelled:
                        self.watch.met("cancelled")
                case 3:
                    with anyio.CancelScope() as scope:
                        await runtime.send_message(scope, id)
                        self.violations.append("a message that was to be cancelled was answered")
                    self.watch.met("cancelled")
                case 4:
                    brief = AgentId("brief", f"{client}-{count}")
                    await runtime.send_message(1, brief)
                    await runtime.deactivate(brief)
                    self.watch.met("closed")
                case 5:
                    await runtime.send_message(1, AgentId("quiet", f"{client}-{count}"))
                    self.watch.met("left-to-time")
                case 6 | 7:
                    message = "fail" if random.random() < 0.1 else 1
                    await runtime.publish_message(message, TopicId("news", id.key))
                    await checkpoint()
                    self.watch.met("published")
                case 8 | 9 | 10 | 11:
                    await runtime.send_message("ask", id)
                    self._done += 1
                case kind:
                    answer = await runtime.send_message("turn" if kind % 4 == 0 else kind, id)
                    if answer != ("turn" if kind % 4 == 0 else kind):
                        self.violations.append(f"{kind} was answered with {answer!r}")
                    self._times.append(time.thread_time() - began)
            self._done += 1

    async def _check_rest(self, runtime: Any) -> None:
        """When nothing is under way, nothing of a message is left, and of agents those that are."""
        await anyio.sleep(2 * IDLE_TIMEOUT)  # each quiet agent is looked at twice, at most
        statistics = runtime.statistics()
        found = live_objects() - self._before  # not those of other runtimes in this process
        if statistics.agents > AGENTS or found["Activation"] != statistics.agents:
            self.violations.append(
                f"{AGENTS} agents were to stay, and {statistics.agents} are alive, with "
                f"{found['Activation']} activations"
            )
        left = {
            name: found[name]
            for name in ("Request", "Publication", "Delivery", "Farewell", "MessageContext")
            if found[name]
        }
        if left or statistics.pending:
            self.violations.append(f"nothing is under way, and there are {left}: {statistics}")

    def _judge(self) -> None:
        if len(self._slices) < 3:
            return
        seconds = self._slices[-1].ended
        first = self._slices[max(1, int(len(self._slices) * WARM_UP))]
        last = self._slices[-1]
        self.watch.figure("messages", self._messages)
        self.watch.figure("messages a second", len(self._slices) * SLICE / seconds)
        grown = last.size - first.size
        self.watch.figure("growth after the warm-up, bytes", grown)
        self.watch.figure("size, MB", last.size / 1e6)
        most = min(GROWTH * first.size, MAX_GROWTH) if seconds >= LONG else SHORT_GROWTH
        if grown > most:
            self.violations.append(f"the process has grown by {grown} bytes in {seconds:.0f} s")
        slices = self._slices[int(len(self._slices) * WARM_UP) :]
        third = max(1, len(slices) // 3)
        early, late = slices[:third], slices[-third:]
        p99s = [percentile([slice.p99 for slice in part], 50) for part in (early, late)]
        self.watch.figure("p99 of the first third, us", p99s[0] * 1e6)
        self.watch.figure("p99 of the last third, us", p99s[1] * 1e6)
        # A machine that others use too is not the same all the time. What it disturbs least counts.
        ratios = [percentile([slice.relative_p99 for slice in part], 25) for part in (early, late)]
        slower = ratios[1] / ratios[0]
        self.watch.figure("p99 of the last third, times that of the first", slower)
        if seconds >= LONG and slower > SLOWER:
            self.violations.append(
                f"p99 was {p99s[0] * 1e6:.0f} us and is {p99s[1] * 1e6:.0f} us: {slower:.2f} times "
                "as long, beside other work of the machine"
            )


def soak_on(loop: LoopName, watch: Watch) -> None:
    """Go on with ordinary traffic for as long as the watch says."""
    if not watch.goes_on():
        return
    soak = Soak(loop, watch)
    soak.try_all()
    for violation in soak.violations[:20]:
        watch.violation(f"on {loop}: {violation}")
