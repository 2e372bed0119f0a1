"""How time passes in the model of the runtime: steps, of which some are seen.

Nothing waits here and nothing runs by itself. Whatever takes time, a message on its way or a call
of the application, is a generator that yields a `Step`: when it may go on, and what an application
sees when it does. Steps that nobody sees are taken as soon as they may be. Those that are seen are
taken when they *are* seen, so which of several comes first is said from outside, by the history of
a real runtime. `see` refuses what may not happen, and `due` says what must still happen before
everything can rest. So the model leaves open what the runtime leaves open, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias

import attrs

from ._acts import Seen

__all__ = ["Disagreement", "Late", "Program", "Step", "Steps", "Thread", "shows"]


class Disagreement(AssertionError):
    """Something was seen that may not happen, or was not seen and had to."""


def _nobody_sees(_: str) -> None: ...


def _always() -> bool:
    return True


# [step]
@attrs.define
class Step:
    """Where something waits.

    Attributes:
        when: Gives the outcome of the wait, once it may go on.
        seen: Gives what is then seen of that, if anything is.
        gate: The gate it waits at, if it is one.
        must: Whether it has to happen before everything rests. Otherwise it may.
    """

    when: Callable[[], str | None]
    seen: Callable[[str], Seen | None] = _nobody_sees
    gate: str | None = None
    must: Callable[[], bool] = _always


@attrs.define
class Late:
    """The outcome of a call that is not certain before it returns.

    Attributes:
        when: Gives it, once the call may return.
        then: Called with it when the call has returned.
    """

    when: Callable[[], str | None]
    then: Callable[[str], None]


Program: TypeAlias = Generator[Step, str, str | Late]
# [/step]


class Thread:
    """A program, and where it waits."""

    __slots__ = ("_program", "step")

    def __init__(self, program: Program) -> None:
        self._program = program
        self.step: Step | None = next(program, None)

    def go(self, outcome: str) -> None:
        """Go on until the next wait, or the end."""
        try:
            self.step = self._program.send(outcome)
        except StopIteration:
            self.step = None

    def next_seen(self) -> tuple[str, Seen | None] | None:
        """Give the outcome of the wait and what is seen of it, if it may go on."""
        if self.step is None:
            return None
        outcome = self.step.when()
        return None if outcome is None else (outcome, self.step.seen(outcome))


def shows(seen: Seen) -> Step:
    """Something that can be seen, and may happen at any time."""
    return Step(lambda: "", lambda _: seen)


class Steps:
    """All that is under way."""

    def __init__(self) -> None:
        self.threads: list[Thread] = []
        self.last: Thread | None = None  # that was seen
        self.opened: set[str] = set()  # gates
        self.rests = 0  # how often nobody could go on

    def see(self, seen: Seen) -> None:
        """Take the step that shows itself in this way.

        Raises:
            Disagreement: There is none, and this should not have happened.
        """
        # Whoever was seen last may still be in the same step. Nobody else does anything meanwhile.
        if self.last is not None and self._try(self.last, seen):
            return
        self.settle_down()
        for thread in self.threads:
            if self._try(thread, seen):
                self.last = thread
                return
        allowed = "; ".join(str(seen) for _, seen in self._may_be_seen()) or "nothing"
        raise Disagreement(f"seen: {seen}; what might have been seen: {allowed}")

    def due(self) -> list[Seen]:
        """Give all that must still be seen before everything rests."""
        self.settle_down()
        self.rests += 1
        return [seen for step, seen in self._may_be_seen() if step.must()]

    def settle_down(self) -> None:
        """Take the steps that nobody sees, until none is left."""
        self.last = None
        again = True
        while again:
            again = self.take_silent_steps()
            for thread in self.threads:
                found = thread.next_seen()
                if found is not None and found[1] is None:
                    thread.go(found[0])
                    again = True
        self.threads = [thread for thread in self.threads if thread.step is not None]

    def _try(self, thread: Thread, seen: Seen) -> bool:
        found = thread.next_seen()
        if found is None or found[1] != seen:
            return False
        thread.go(found[0])
        return True

    def _may_be_seen(self) -> Iterator[tuple[Step, Seen]]:
        for thread in self.threads:
            found = thread.next_seen()
            if found is not None and found[1] is not None and thread.step is not None:
                yield thread.step, found[1]

    def waiting_gates(self) -> list[str]:
        """Give the gates that somebody waits at."""
        gates = (thread.step.gate for thread in self.threads if thread.step is not None)
        return [gate for gate in gates if gate is not None and gate not in self.opened]

    def take_silent_steps(self) -> bool:
        """What becomes true by itself, beside the threads; gives whether anything has."""
        return False
