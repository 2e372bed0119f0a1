"""What may happen to a simulation between two of its steps."""

from __future__ import annotations

import gc
import inspect
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from ._misuse import check_number, check_step

if TYPE_CHECKING:
    from ._simulation import Simulation

__all__ = [
    "FAULTS",
    "Fault",
    "Injection",
    "Jump",
    "cancel_victim",
    "cannot_wait",
    "check_fault",
    "collect_garbage",
    "inject",
    "jump_clock",
    "name_of",
    "press_ctrl_c",
]

Fault = Callable[["Simulation"], object]
"""Something that happens between two steps of a simulation. It is called with it, between two
steps, and must not wait."""


@attrs.frozen
class Injection:
    """A fault and the step before which it happens. Made by `inject`."""

    fault: Fault
    at: int


def inject(fault: Fault, *, at: int) -> Injection:
    """Have something happen to a scenario, for the *faults* of `simulate`.

    Args:
        fault: Called with the simulation, between two steps of tasks. It must not wait: to do
            something async, set an event that a task of the scenario waits for. Ready-made ones are
            `cancel_victim`, `press_ctrl_c`, `collect_garbage` and `jump_clock`. What it raises ends
            the scenario.
        at: Before which step, counted from 1. `Run.steps` says how many there are.

    Raises:
        ValueError: *at* is less than 1.
        TypeError: *fault* is async, or no function; or it is `jump_clock` itself, which is called
            with the seconds to give a fault; or *at* is no number.
    """
    check_fault(fault)
    check_step(at)
    return Injection(fault, at)


def check_fault(fault: object) -> None:
    """See that this can happen between two steps.

    Raises:
        TypeError: it cannot.
    """
    if fault is jump_clock:
        raise TypeError("jump_clock makes a fault: write jump_clock(seconds)")
    if not callable(fault):
        raise TypeError(
            f"a fault is a function that is called with the simulation, not {fault!r}: give the "
            "function, and do not call it"
        )
    if inspect.iscoroutinefunction(fault) or inspect.iscoroutinefunction(fault.__call__):
        raise TypeError(cannot_wait(fault))


def name_of(fault: object) -> str:
    """Give what a fault is called."""
    return str(getattr(fault, "__name__", repr(fault)))


def cannot_wait(fault: object) -> str:
    """Say why a fault that is async is none."""
    return (
        f"the fault {name_of(fault)} is async, and nobody would await it: a fault happens between "
        "two steps. Have it set an event that a task of the scenario waits for"
    )


# --- ready-made ones


def cancel_victim(sim: Simulation) -> None:
    """Cancel what the scenario has put into ``with sim.victim():``."""
    sim.cancel_victims()


def press_ctrl_c(sim: Simulation) -> None:
    """Send this process the signal of Ctrl-C. Only in the main thread."""
    sim.interrupted = True
    signal.raise_signal(signal.SIGINT)


def collect_garbage(sim: Simulation) -> None:
    """Have the garbage collector look at everything."""
    gc.collect()


def jump_clock(seconds: float) -> Fault:
    """Give a fault that puts the clock forward: ``jump_clock(60)``.

    Raises:
        ValueError: *seconds* is less than 0.
        TypeError: it is no number.
    """
    check_number(seconds, "seconds", 0, "how far the clock jumps")
    return Jump(seconds)


@attrs.frozen
class Jump:
    """What `jump_clock` makes."""

    seconds: float

    def __repr__(self) -> str:
        return f"jump_clock({self.seconds!r})"

    def __call__(self, sim: Simulation) -> None:
        sim.jump(self.seconds)


# Those that need no module where they are named.
FAULTS: Final[Mapping[str, Fault]] = {
    "cancel_victim": cancel_victim,
    "press_ctrl_c": press_ctrl_c,
    "collect_garbage": collect_garbage,
}
