"""A row of the long run: something that is tried very often, and must never fail.

A row's work is a function that does one unit after the other until its `Watch` says that time or
goal has been reached. What the units met on the way is counted by name, so that the report can tell
a fault that was never reached from one that was survived.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

import attrs

__all__ = ["MAX_VIOLATIONS", "Report", "Row", "Watch"]

MAX_VIOLATIONS: Final = 20  # that a row keeps the texts of; all are counted


@attrs.define
class Report:
    """What a row has done so far. Reports of one row from several processes can be added."""

    units: int = 0
    seconds: float = 0.0
    reached: Counter[str] = attrs.Factory(Counter[str])
    figures: dict[str, float] = attrs.Factory(dict[str, float])
    violated: int = 0
    violations: list[str] = attrs.Factory(list[str])

    def add(self, other: Report) -> None:
        """Take in what another process has done for the same row."""
        self.units += other.units
        self.seconds += other.seconds
        self.reached += other.reached
        for name, value in other.figures.items():
            self.figures[name] = max(value, self.figures.get(name, value))
        self.violated += other.violated
        self.violations = (self.violations + other.violations)[:MAX_VIOLATIONS]


class Watch:
    """What the work of a row is given: it asks whether to go on, and says what it has done.

    Args:
        goal: After so many units the work is done.
        seconds: And after so much time.
        first_seed: Seeds of this process begin here,
        stride: and go on in steps of this, so that several processes never try the same one.
        on_progress: Called with the report after each unit; what it raises ends the work.
        wording: Gives a violation its last form, from its text and the seed that it came of.
    """

    def __init__(
        self,
        *,
        goal: int,
        seconds: float,
        first_seed: int = 0,
        stride: int = 1,
        on_progress: Callable[[Report], None] | None = None,
        wording: Callable[[str, int | None], str] = lambda text, seed: text,
    ) -> None:
        self.goal = goal
        self.report = Report()
        self._began = time.monotonic()
        self._seconds = seconds
        self._seed = first_seed - stride
        self._stride = stride
        self._last_seed: int | None = None
        self._on_progress = on_progress
        self._wording = wording

    def goes_on(self) -> bool:
        """Whether there is time for another unit, and need of one."""
        self.report.seconds = time.monotonic() - self._began
        return self.report.units < self.goal and self.report.seconds < self._seconds

    def next_seed(self) -> int:
        """Give a seed that was not used before."""
        self._seed += self._stride
        self._last_seed = self._seed
        return self._seed

    def done(self, units: int = 1) -> None:
        """Count units that have been tried, whatever came of them."""
        self.report.units += units
        if self._on_progress is not None:
            self._on_progress(self.report)

    def met(self, name: str, times: int = 1) -> None:
        """Count something that must be reached now and then: a kind of fault, an outcome."""
        self.report.reached[name] += times

    def figure(self, name: str, value: float) -> None:
        """Note a measurement; of several the largest is kept. The unit belongs in the name."""
        self.report.figures[name] = max(value, self.report.figures.get(name, value))

    def violation(self, text: str, *, seed: int | Literal["last"] | None = "last") -> None:
        """Note that a promise did not hold: what was promised, what came, and how to repeat it.

        Args:
            text: What is said of it.
            seed: What it came of: the seed that was given last, another one, or None if many tries
                together have shown it.
        """
        self.report.violated += 1
        if len(self.report.violations) < MAX_VIOLATIONS:
            of = self._last_seed if seed == "last" else seed
            self.report.violations.append(self._wording(text, of))


@attrs.frozen
class Row:
    """Something that is tried very often.

    Attributes:
        name: One word or a few with hyphens, for the command line.
        title: What is tried, for the report.
        family: The heading it stands under in the report: "In process", "Disk", "Bytes and load".
        goal: How many units make a night.
        unit: What is counted, in the plural: "schedules", "kills".
        promise: What must hold each time, in a few words.
        work: Does units until the watch says stop. What it raises is a violation.
        weight: Its share of the night's time, beside the others'.
        quick_goal: How many units every change has to pass (``--quick``).
        expects: Names that `Watch.met` must have counted 100 times in a full night.
        missing: Says why it cannot run here, or gives None.
        alone: Whether it measures, and nothing else may run beside it.
        minutes_of_seed: In how many minutes all is tried that a seed stands for; 0 where it depends
            on more than a seed what is tried.
    """

    name: str
    title: str
    family: str
    goal: int
    unit: str
    promise: str
    work: Callable[[Watch], None]
    weight: float = 1.0
    quick_goal: int = 1
    expects: tuple[str, ...] = ()
    missing: Callable[[], str | None] = lambda: None
    alone: bool = False
    minutes_of_seed: float = 0.0

    def command(self, seed: int) -> str | None:
        """Give the command that tries a seed again, and others after it if there is time left."""
        if not self.minutes_of_seed:
            return None
        return (
            f"python -m trio_agents.testing.nightly --only {self.name} --seed {seed} "
            f"--minutes {self.minutes_of_seed:g} --processes 1"
        )

    def quick(self) -> Row:
        """Give the same row with its quick goal; it need not meet everything if that is small."""
        expects = self.expects if self.quick_goal > 100 else ()
        return attrs.evolve(self, goal=self.quick_goal, expects=expects)
