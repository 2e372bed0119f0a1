"""Ten times more messages than can be handled: bounds hold, memory does not grow, and it passes.

Time is counted in turns of the event loop, so a run means the same on any machine. A handler takes
one turn and there is one at a time; ten producers each offer a message in every turn. A thousand
turns are called a second.
"""

from __future__ import annotations

import gc
import itertools
from typing import Any, ClassVar, Final, Literal, get_args

import anyio
import attrs

from ..._agents._base_agent import BaseAgent
from ..._sansio._contexts import MessageContext
from ..._sansio._errors import Overloaded
from ..._sansio._identifiers import AgentId, TopicId
from ..._sansio._options import Overflow
from ..._sansio._subscriptions import TypeSubscription
from .._schedule import LOOPS, LoopName
from ._load_measure import (
    checkpoint,
    new_runtime,
    percentile,
    resident_bytes,
    run_on,
    scaled,
)
from ._row import Watch

__all__ = ["Overload", "try_overload"]

Bound = Literal["max_pending", "mailbox_size"]

TURNS: Final = 1000  # that are called a second
PRODUCERS: Final = 10
BOUND: Final = 500  # messages
BODY: Final = 16 * 1024  # bytes of a message
NOISE: Final = 4 * 1024 * 1024  # bytes that a process may grow by, whatever it does
RECOVERY: Final = 5 * TURNS  # until latency is what it was
PROBES: Final = 100
SECONDS: Final = 60


class Body:
    """A message of some size that counts how many of its kind are alive."""

    alive: ClassVar[int] = 0

    def __init__(self) -> None:
        self.content = bytes(BODY)
        Body.alive += 1

    def __del__(self) -> None:
        Body.alive -= 1


class Slow(BaseAgent):
    """Takes one turn of the event loop for a message."""

    def __init__(self) -> None:
        super().__init__("takes one turn of the event loop for a message")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> None:
        """Wait a turn."""
        await checkpoint()


@attrs.define
class Overload:
    """One run under ten times the load that one agent can take.

    Attributes:
        loop: The event loop that it runs on.
        bound: What is bounded: ``"max_pending"`` or ``"mailbox_size"``.
        overflow: What producers meet there.
        turns: How long producers go on.
    """

    loop: LoopName
    bound: Bound
    overflow: Overflow
    turns: int
    violations: list[str] = attrs.Factory(list[str])
    turn: int = 0
    offered: int = 0
    refused: int = 0
    most: int = 0  # messages that were in at one time
    alive: int = 0  # bodies that were alive at one time
    growth: int = 0  # of the process at its largest, in bytes
    over: bool = False
    recovered_after: int = 0
    _base: int | None = None

    @property
    def allowed(self) -> int:
        """How many messages may be in at one time.

        Where a mailbox makes publishers wait, the message that each waits with is on the books.
        """
        waiting = PRODUCERS if (self.bound, self.overflow) == ("mailbox_size", "wait") else 0
        return BOUND + waiting + 1  # the one that is being handled

    async def run(self) -> None:
        """Run it, and note what did not hold."""
        gc.collect()
        Body.alive = 0
        max_pending = BOUND if self.bound == "max_pending" else None
        mailbox_size = BOUND if self.bound == "mailbox_size" else None
        runtime = new_runtime(self.loop, max_pending=max_pending, overflow=self.overflow)
        id, topic = AgentId("slow", "default"), TopicId("slow", "default")
        async with runtime:
            runtime.start()
            await runtime.register_factory(
                "slow", Slow, max_concurrency=1, mailbox_size=mailbox_size
            )
            await runtime.add_subscription(TypeSubscription("slow", "slow"))
            async with anyio.create_task_group() as clock:
                clock.start_soon(self._count_turns, runtime)
                before = await self._latencies(runtime, id)
                gc.collect()
                self._base = resident_bytes()
                async with anyio.create_task_group() as producers:
                    until = self.turn + self.turns
                    for _ in range(PRODUCERS):
                        producers.start_soon(self._produce, runtime, topic, until)
                ended = self.turn
                usual = percentile(before, 99)
                while percentile(await self._latencies(runtime, id), 99) > usual:
                    if self.turn - ended > RECOVERY:
                        self.violations.append(
                            f"p99 was not back at {usual:.0f} turns after {self.turn - ended}"
                        )
                        break
                self.recovered_after = self.turn - ended
                self.over = True
            await runtime.stop_when_idle()
        self._check_books(runtime.statistics())

    async def _produce(self, runtime: Any, topic: TopicId, until: int) -> None:
        while self.turn < until:
            self.offered += 1
            try:
                await runtime.publish_message(Body(), topic)
            except Overloaded:
                self.refused += 1
            await checkpoint()

    async def _latencies(self, runtime: Any, id: AgentId) -> list[float]:
        """Send requests one after the other; give how many turns each has taken."""
        taken: list[float] = []
        while len(taken) < PROBES:
            began = self.turn
            try:
                await runtime.send_message(None, id)
            except Overloaded:
                await checkpoint()
                continue
            taken.append(self.turn - began)
        return taken

    async def _count_turns(self, runtime: Any) -> None:
        """Count the turns of the event loop, and look at the books in each."""
        while not self.over:
            self.turn += 1
            inside = runtime._ledger.pending
            self.most = max(self.most, inside)
            self.alive = max(self.alive, Body.alive)
            if inside > self.allowed and len(self.violations) < 3:
                self.violations.append(f"{inside} messages are in, where {self.allowed} may be")
            if self._base is not None and self.turn % 200 == 0:
                self.growth = max(self.growth, resident_bytes() - self._base)
            await checkpoint()

    def _check_books(self, statistics: Any) -> None:
        probes = statistics.accepted - (self.offered - self.refused)
        if statistics.accepted != statistics.handled or statistics.pending or probes < 0:
            self.violations.append(
                f"{self.offered} were offered and {self.refused} refused: {statistics}"
            )
        # And the one that each producer has in its hands.
        bodies_allowed = self.allowed + PRODUCERS
        if self.alive > bodies_allowed:
            self.violations.append(
                f"{self.alive} messages were alive, where {bodies_allowed} can be in use"
            )
        bytes_allowed = bodies_allowed * BODY
        if self.growth > 1.5 * bytes_allowed + NOISE:
            self.violations.append(
                f"the process has grown by {self.growth} bytes, with {bytes_allowed} bytes allowed"
            )


def try_overload(watch: Watch) -> None:
    """Overload one agent, on each event loop, at each bound, with each policy."""
    bounds: tuple[Bound, ...] = get_args(Bound)
    overflows: tuple[Overflow, ...] = get_args(Overflow)
    cases = list(itertools.product(LOOPS, bounds, overflows))
    seconds = scaled(watch.goal, len(cases), SECONDS)
    while watch.goes_on():
        seed = watch.next_seed()
        loop, bound, overflow = cases[seed % len(cases)]
        overload = Overload(loop, bound, overflow, seconds * TURNS)
        run_on(loop, overload.run)
        for violation in overload.violations:
            watch.violation(
                f"overload for {seconds} s on {loop}, {bound} and {overflow!r} "
                f"(seed {seed} of its row): {violation}"
            )
        watch.figure(f"{bound}, {overflow}: most messages in at a time", overload.most)
        watch.figure(f"{bound}, {overflow}: most messages alive", overload.alive)
        watch.figure(f"{bound}, {overflow}: growth, MB", overload.growth / 1e6)
        watch.figure(f"{bound}, {overflow}: turns until p99 is back", overload.recovered_after)
        watch.met(f"{bound}-{overflow}")
        if overload.refused:
            watch.met("refused", overload.refused)
        watch.done(seconds)
