"""One agent fails on every message: the others answer as fast, and their books are clean.

Two runs side by side that differ in one thing. In both, agents are asked while a neighbour gets as
many messages of its own; in one of them that neighbour fails on each, requests and publications.

The failures of publications are logged, and to format a traceback takes a log handler longer than a
message takes the runtime. That is time of the same thread, but the program's: it is measured in a
third run and shown as a figure, and not held against the runtime.
"""

from __future__ import annotations

import io
import logging
import statistics
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import anyio
import attrs

from ..._agents._base_agent import BaseAgent
from ..._sansio._contexts import MessageContext
from ..._sansio._identifiers import AgentId, TopicId
from ..._sansio._log_names import ROOT_LOGGER_NAME
from ..._sansio._subscriptions import TypeSubscription
from .._schedule import LoopName
from ._load_measure import checkpoint, loop_of, new_runtime, percentile, run_on
from ._row import Watch

__all__ = ["Neighbours", "own_log", "try_isolation"]

ASKERS: Final = 8
REQUESTS: Final = 250  # of each asker in a round
ENOUGH: Final = 20  # rounds, before their times are judged
SLOWER: Final = 2.0


class Failed(Exception):
    """What the neighbour raises."""


class Healthy(BaseAgent):
    """Answers after a turn of the event loop."""

    def __init__(self) -> None:
        super().__init__("answers after a turn of the event loop")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> int:
        """Answer."""
        await checkpoint()
        return int(message)


class Neighbour(BaseAgent):
    """Handles a message as it says: it fails, or does not."""

    def __init__(self) -> None:
        super().__init__("fails, or does not")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> None:
        """Fail, if the message says so."""
        await checkpoint()
        if message:
            raise Failed(message)


@contextmanager
def own_log(handler: logging.Handler) -> Generator[None, None, None]:
    """Have the library's log go to *handler*, and nowhere else."""
    logger = logging.getLogger(ROOT_LOGGER_NAME)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


@attrs.define
class Neighbours:
    """One run with a neighbour that fails, or does not.

    Attributes:
        loop: The event loop that it runs on.
        fails: Whether the neighbour does.
        seconds: How long each request to the others has taken.
    """

    loop: LoopName
    fails: bool
    seconds: list[float] = attrs.Factory(list[float])
    violations: list[str] = attrs.Factory(list[str])

    async def run(self) -> None:
        """Ask, and note what did not hold."""
        runtime = new_runtime(self.loop)
        async with runtime:
            runtime.start()
            await runtime.register_factory("healthy", Healthy)
            await runtime.register_factory("neighbour", Neighbour)
            await runtime.add_subscription(TypeSubscription("neighbour", "neighbour"))
            async with anyio.create_task_group() as askers:
                for number in range(ASKERS):
                    askers.start_soon(self._ask, runtime, AgentId("healthy", f"{number}"))
                    askers.start_soon(self._ask_neighbour, runtime)
            await runtime.stop_when_idle()
        books = runtime.statistics()
        asked = ASKERS * REQUESTS
        failed = asked if self.fails else 0
        if (books.accepted, books.handled, books.failed) != (
            2 * asked,
            2 * asked - failed,
            failed,
        ):
            self.violations.append(
                f"{asked} requests were to be answered and {failed} to fail: {books}"
            )

    async def _ask(self, runtime: Any, id: AgentId) -> None:
        for number in range(REQUESTS):
            began = time.perf_counter()
            answer = await runtime.send_message(number, id)
            self.seconds.append(time.perf_counter() - began)
            if answer != number:
                self.violations.append(f"{id} was asked {number}, and answered {answer!r}")

    async def _ask_neighbour(self, runtime: Any) -> None:
        id, topic = AgentId("neighbour", "default"), TopicId("neighbour", "default")
        for number in range(1, REQUESTS + 1):
            message = number if self.fails else 0
            if number % 2:
                await runtime.publish_message(message, topic)
                await checkpoint()
                continue
            try:
                await runtime.send_message(message, id)
            except Failed as error:
                if error.args != (number,):
                    self.violations.append(f"request {number} was told of the failure {error!r}")
            else:
                if self.fails:
                    self.violations.append(f"request {number} was to fail")


def try_isolation(watch: Watch) -> None:
    """Run with a healthy neighbour and with one that fails, by turns."""
    ratios: list[float] = []
    formatted: list[float] = []
    while watch.goes_on():
        seed = watch.next_seed()
        loop = loop_of(seed)
        quiet = Neighbours(loop, fails=False)
        failing = Neighbours(loop, fails=True)
        logged = Neighbours(loop, fails=True)
        runs = [quiet, failing, logged]
        for run in runs if seed // 2 % 2 else reversed(runs):
            is_formatted = run is logged
            handler = (
                logging.StreamHandler(io.StringIO()) if is_formatted else logging.NullHandler()
            )
            with own_log(handler):
                run_on(loop, run.run)
            for violation in run.violations:
                watch.violation(
                    f"a neighbour that {'fails' if run.fails else 'does not fail'}, on {loop} "
                    f"(seed {seed} of its row): {violation}"
                )
        usual = percentile(quiet.seconds, 99)
        ratios.append(percentile(failing.seconds, 99) / usual)
        formatted.append(percentile(logged.seconds, 99) / usual)
        watch.met(f"{loop}-round")
        watch.done()
    if ratios:
        ratio = statistics.median(ratios)
        what = "p99 beside a failing agent, times that beside a healthy one"
        watch.figure(what, ratio)
        watch.figure(f"{what}, its failures formatted", statistics.median(formatted))
        if len(ratios) >= ENOUGH and ratio > SLOWER:
            watch.violation(
                f"p99 is {ratio:.1f} times as long beside an agent that fails on every message",
                seed=None,
            )
