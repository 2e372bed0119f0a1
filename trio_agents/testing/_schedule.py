"""Who runs next: schedules, and the strategies that make them.

A scheduler is asked again and again which of the tasks that can go on does so for one step. Those
that can are given in the order in which they have waited, the longest first, and a *decision* is
the place of the one that was chosen. Nothing is decided where only one can go on. A schedule is the
list of its decisions. The plain one takes the first each time; it is written down as what differs
from that, so a schedule that was made as plain as it can be and still fails says where it matters.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, TypeAlias, cast, get_args

import attrs

from ._misuse import check_seed

__all__ = [
    "LOOPS",
    "LoopName",
    "Plain",
    "Priorities",
    "Replayed",
    "Scheduler",
    "Shuffle",
    "SingleSteps",
    "Strategy",
    "Trace",
    "check_loop",
    "strategy_for",
]

LoopName: TypeAlias = Literal["trio", "asyncio"]
LOOPS: Final[tuple[LoopName, ...]] = get_args(LoopName)


def check_loop(loop: object) -> None:
    """See that there is such an event loop.

    Raises:
        ValueError: there is none.
    """
    if loop not in LOOPS:
        raise ValueError(f"the event loop is 'trio' or 'asyncio', not {loop!r}")


class Strategy(Protocol):
    """Makes decisions. One object makes those of one run."""

    def choose(self, ready: Sequence[int]) -> int:
        """Choose who goes on.

        Args:
            ready: The numbers of the tasks that can, two or more, the one that has waited longest
                first. A task has the same number in the whole run, and in each run of the same
                schedule.

        Returns:
            A place in *ready*.
        """
        ...


class Plain:
    """The task that has waited longest goes on."""

    def choose(self, ready: Sequence[int]) -> int:
        """Choose the first."""
        return 0


class Shuffle:
    """All that can go on do so once, in an order by lot; then all that can by then. As trio does.

    Args:
        seed: Of the lots.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._round: list[int] = []

    def choose(self, ready: Sequence[int]) -> int:
        """Choose the next of this round."""
        places = {number: place for place, number in enumerate(ready)}
        while True:
            while self._round:
                place = places.get(self._round.pop())
                if place is not None:
                    return place
            self._round = list(ready)
            self._random.shuffle(self._round)


class SingleSteps:
    """Each step is drawn anew, all with the same chance.

    Args:
        seed: Of the lots.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, ready: Sequence[int]) -> int:
        """Choose by lot."""
        return self._random.randrange(len(ready))


class Priorities:
    """Each task has a priority by lot, and the highest goes on; now and then the highest falls.

    Some faults need one task to wait while others do very much. A fair lot hardly ever does that.
    This is PCT (Burckhardt and others, ASPLOS 2010): a fault that needs *depth* steps in a certain
    order is found with a chance that can be given in advance. A task that polls would starve the
    others, so after twice *length* decisions the choice becomes fair.

    Args:
        seed: Of the lots.
        depth: One more than how often the highest falls behind all others.
        length: About how many decisions the run will take; by lot, between ten and a thousand, if
            None.
    """

    def __init__(self, seed: int, *, depth: int = 3, length: int | None = None) -> None:
        self._random = random.Random(seed)
        if length is None:
            length = round(10 ** self._random.uniform(1, 3))
        self._priorities: dict[int, float] = {}
        self._falls = {self._random.randrange(length) for _ in range(depth - 1)}
        self._fair_from = 2 * length
        self._decisions = 0

    def choose(self, ready: Sequence[int]) -> int:
        """Choose the highest."""
        decision = self._decisions
        self._decisions += 1
        if decision >= self._fair_from:
            return self._random.randrange(len(ready))
        priorities = self._priorities
        for number in ready:
            if number not in priorities:
                priorities[number] = 1 + self._random.random()
        highest = max(ready, key=priorities.__getitem__)
        if decision in self._falls:
            priorities[highest] = -decision  # each falls deeper than those before
            highest = max(ready, key=priorities.__getitem__)
        return ready.index(highest)


class Replayed:
    """Decides as was written down, and plainly where nothing was.

    Args:
        choices: Decisions that are not the first place, by their number in the run. A place that
            does not exist, because the program has changed, is the last one.
    """

    def __init__(self, choices: Mapping[int, int]) -> None:
        self._choices = choices
        self._decisions = 0

    def choose(self, ready: Sequence[int]) -> int:
        """Choose what was written down."""
        decision = self._decisions
        self._decisions += 1
        return min(self._choices.get(decision, 0), len(ready) - 1)


STRATEGIES: Final[Sequence[Callable[[int], Strategy]]] = (Shuffle, SingleSteps, Priorities)


def strategy_for(seed: int) -> Strategy:
    """Give the strategy of a seed: none is best, so they take turns.

    Measured in the search for two known faults: a shuffle found one of them in each run and the
    other in a fifth of them, and with the other strategies it was the reverse.
    """
    return STRATEGIES[seed % len(STRATEGIES)](seed)


def _frozen(choices: Mapping[int, int]) -> Mapping[int, int]:
    return MappingProxyType(dict(choices))


@attrs.frozen
class Trace:
    """A run of a scenario, as far as it must be told to have the same once more.

    ``str(trace)`` is one word, for a command line, and `Trace.parse` reads it.

    Attributes:
        loop: The event loop.
        seed: What `Simulation.random`, message ids and the like come from.
        choices: The decisions that were not plain, by their number.
    """

    loop: LoopName
    seed: int
    choices: Mapping[int, int] = attrs.field(converter=_frozen, hash=False)

    @property
    def schedule(self) -> str:
        """The decisions alone, as text."""
        return ",".join(f"{decision}={place}" for decision, place in self.choices.items())

    def __str__(self) -> str:
        return f"{self.loop}:{self.seed}:{self.schedule}"

    @classmethod
    def parse(cls, text: str) -> Trace:
        """Read what ``str(trace)`` gave.

        Raises:
            ValueError: it is something else, or its seed is less than 0.
        """
        match = re.fullmatch(r"(\w+):(-?\d+):((?:\d+=\d+(?:,(?=\d)|$))*)", text.strip())
        if match is None or match[1] not in LOOPS:
            raise ValueError(
                f"a trace looks like trio:42:3=1,7=2 (loop, seed, decisions), not {text!r}"
            )
        pairs = (pair.split("=") for pair in match[3].split(",") if pair)
        choices = {int(decision): int(place) for decision, place in pairs}
        seed = int(match[2])
        check_seed(seed)
        return cls(cast("LoopName", match[1]), seed, choices)


class Scheduler:
    """Keeps those that can go on, and asks a strategy who does. The loops feed it.

    Args:
        strategy: Decides.
        name: Gives the name of a task's step, to tell each decision that is not plain; None to tell
            nothing.
    """

    def __init__(self, strategy: Strategy, name: Callable[[Any], str] | None = None) -> None:
        self._choose = strategy.choose
        self._name = name
        self._numbers: list[int] = []
        self._waiting: list[Any] = []
        self._decisions = 0
        self.steps = 0
        self.choices: dict[int, int] = {}
        self.turns: list[str] = []
        self.misuse: BaseException | None = None  # the strategy has chosen nobody, or has raised

    def add(self, number: int, step: Any) -> None:
        """Take in a task that can go on; several at once in the order of their numbers."""
        self._numbers.append(number)
        self._waiting.append(step)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self) -> Any:
        """Give the one that goes on now; there must be one."""
        self.steps += 1
        place = 0
        if len(self._numbers) > 1:
            place = self._choose_one()
            if place:
                self.choices[self._decisions] = place
                if self._name is not None:
                    self._tell(self._name, place)
            self._decisions += 1
        del self._numbers[place]
        return self._waiting.pop(place)

    def _choose_one(self) -> int:
        # An event loop asks, which is no place to raise: the simulation sees to that.
        count = len(self._numbers)
        try:
            place: object = self._choose(self._numbers)
        except Exception as exc:
            self.misuse = exc
            return 0
        if isinstance(place, int) and 0 <= place < count:
            return place
        self.misuse = ValueError(
            f"a strategy chooses a place in what it is given, which is 0 to {count - 1} of {count} "
            f"tasks here, and {self._choose!r} has chosen {place!r}"
        )
        return 0

    def _tell(self, name: Callable[[Any], str], place: int) -> None:
        def titled(place: int) -> str:
            return f"task {self._numbers[place]} ({name(self._waiting[place])})"

        self.turns.append(
            f"step {self.steps}: {titled(place)} goes on before {titled(0)}"
            + (f" and {place - 1} more" if place > 1 else "")
        )
