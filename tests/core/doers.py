"""Agents for tests: a message is a function, and the agent that gets it does what it says.

So a test says in one place what is sent and what its handler does with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

import trio._core._run as scheduler

from trio_agents import BaseAgent, MessageContext
from trio_agents._core._envelope import Outcome

from . import loop
from .loop import MockClock, SingleThreadedAgentRuntime, wait_all_tasks_blocked

Act = Callable[["Doer", MessageContext], Any]


class Doer(BaseAgent):
    """Calls each message with itself and the message's context, and returns what that returns."""

    def __init__(self) -> None:
        super().__init__("does what it is told")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        result = message(self, ctx)
        return await result if inspect.isawaitable(result) else result

    async def save_state(self) -> Mapping[str, Any]:
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        pass


async def make_slowly() -> Doer:
    await loop.sleep(1)
    return Doer()


def nothing(agent: Doer, ctx: MessageContext) -> None:
    pass


def note(log: list[Any], entry: Any, then: Act = nothing) -> Act:
    """A message that notes *entry* when its handler begins, and then does *then*."""

    def act(agent: Doer, ctx: MessageContext) -> Any:
        log.append(entry)
        return then(agent, ctx)

    return act


def wait(seconds: float) -> Act:
    return lambda agent, ctx: loop.sleep(seconds)  # the agent awaits it


def wait_for(event: loop.Event) -> Act:
    return lambda agent, ctx: event.wait()


async def wait_a_little(turns: int) -> None:
    for _ in range(turns):
        await loop.checkpoint()


async def drain(runtime: SingleThreadedAgentRuntime) -> None:
    """Let all tasks submit what they are about to, then wait until all that is done."""
    await wait_all_tasks_blocked()
    await runtime.stop_when_idle()


def check_idle(runtime: SingleThreadedAgentRuntime) -> None:
    """Nothing is under way: no message, and no trace of one in the agents' books."""
    check_ledger(runtime)
    statistics = runtime.statistics()
    assert statistics.pending == statistics.running == statistics.waiting == 0
    assert statistics.mailboxes == {}
    for activation in runtime._activations.values():
        assert (activation.running, activation.queued) == (0, 0), activation.id
        assert not activation.runners
        assert not activation._held
        assert activation.starter is activation.closing is None
        assert activation.line() == ()
        assert not activation._inside


def check_ledger(runtime: SingleThreadedAgentRuntime) -> None:
    """Every accepted message has one outcome, or none yet."""
    statistics = runtime.statistics()
    outcomes = sum(getattr(statistics, outcome.value) for outcome in Outcome)
    assert statistics.accepted == outcomes + statistics.pending
    assert statistics.pending >= 0


@contextmanager
def scheduling(seed: int) -> Iterator[None]:
    """Have trio choose the order of its tasks by *seed*."""
    before = scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING = Random(seed), True
    try:
        yield
    finally:
        scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before


def under_seeds(main: Callable[[], Awaitable[None]], *, seeds: int = 20) -> None:
    """Run *main* under so many orders of trio's tasks, each the same every time."""

    async def run() -> None:
        with loop.fail_after(100_000):  # or the clock would jump for ever
            await main()

    for seed in range(seeds):
        with scheduling(seed):
            try:
                loop.run(run, clock=MockClock(autojump_threshold=0))
            except BaseException as exc:
                exc.add_note(f"scheduler seed {seed}")
                raise
