"""What a simulated event loop needs of the simulation that it runs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from ._schedule import Scheduler

__all__ = ["Pilot", "SimulatedRun", "Unstoppable", "given_up"]


# The remains of runs that were given up. Their tasks can neither go on nor end, and would complain
# when they are collected: they are kept.
given_up: Final[list[object]] = []


class Unstoppable(RuntimeError):
    """A scenario was to end, and could not be cancelled. Its run was given up."""


class Pilot(Protocol):
    """Leads a run. Nothing here may raise, except `Unstoppable`."""

    scheduler: Scheduler
    patience: float  # real seconds to wait for threads and files when nothing else can go on

    def before_step(self) -> None:
        """Somebody is about to go on for a step."""
        ...

    def stuck(self) -> None:
        """Nobody can go on, and nobody waits for a time: cancel the scenario."""
        ...


class SimulatedRun(Protocol):
    """One run of an event loop, led by a pilot."""

    def run(self, main: Callable[[], Awaitable[None]]) -> None: ...
    def cancel(self) -> None: ...
    def current_time(self) -> float: ...
    def jump(self, seconds: float) -> None: ...
    async def wait_all_tasks_blocked(self) -> None: ...
    def name_step(self, step: Any) -> str: ...
    def describe_tasks(self) -> list[str]: ...
    def left_over(self) -> list[str]: ...
