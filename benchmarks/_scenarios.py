# What is measured, how much of it per round, and what we want of the result.
#
# A scenario here is a name and a promise; the code behind the name is in the file of each system.
# A system that has no such feature leaves the name out, and the table shows a dash.
#
# The goals are ratios taken inside one run, because absolute times say more about the machine than
# about the code. `Goal.aim` is what we want against AutoGen Core, `Goal.done` the least we accept.
# `floor` binds wherever the floor does the same work; how many spans a request deserves is a
# matter of taste, so tracing has no such line.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

OURS: Final = "ours"
ASYNCIO: Final = "asyncio"
INTEROP: Final = "interop"
PORTAL: Final = "portal"
AUTOGEN: Final = "autogen"
PYKKA: Final = "pykka"
FLOOR: Final = "floor"

SYSTEMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        OURS: "trio_agents",
        ASYNCIO: "trio_agents.asyncio",
        INTEROP: "AutoGenRuntime",
        PORTAL: "portal",
        AUTOGEN: "AutoGen Core",
        PYKKA: "Pykka",
        FLOOR: "trio floor",
    }
)


@dataclass(frozen=True, slots=True)
class Goal:
    """How many times as fast as AutoGen Core a system is to be."""

    done: float  # the least we accept
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """How a measured number (seconds or bytes) is shown."""

    suffix: str
    scale: float
    digits: int

    def show(self, value: float) -> str:
        return f"{value * self.scale:,.{self.digits}f}"


MICROSECONDS: Final = Unit("us", 1e6, 1)
MILLISECONDS: Final = Unit("ms", 1e3, 1)
BYTES: Final = Unit("B", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One line of the table."""

    name: str
    title: str
    per: str  # what one unit of the count is
    what: str
    count: int
    quick: int  # the count of a --quick run
    unit: Unit = MICROSECONDS
    counts: Mapping[str, int] = field(default_factory=dict)  # other counts, by system
    goals: Mapping[str, Goal] = field(default_factory=dict)  # by system
    floor: float | None = None  # at most so many times the trio floor
    limit: float | None = None  # at most this value of ours, in seconds or bytes
    rounds: int | None = None  # at most so many, where a round is slow and hardly varies
    fresh: bool = False  # each round in a new process
    in_parent: bool = False  # measured from outside: _imports.py

    def count_for(self, system: str, *, quick: bool) -> int:
        count = self.quick if quick else self.count
        return min(self.counts.get(system, count), count)


SCENARIOS: Final = (
    Scenario(
        name="sequential",
        title="sequential requests",
        per="request",
        what="one caller sends to one agent and waits for each reply before the next request",
        count=5_000,
        quick=500,
        goals={OURS: Goal(8, 10), ASYNCIO: Goal(8, 12), INTEROP: Goal(3)},
        floor=1.6,
    ),
    Scenario(
        name="in_flight",
        title="10,000 requests in flight",
        per="request",
        what="10,000 callers, each with one request to the same agent, all at once; starting the "
        "callers is counted",
        count=10_000,
        quick=1_000,
        goals={OURS: Goal(6, 10), ASYNCIO: Goal(8, 12), INTEROP: Goal(3), PORTAL: Goal(1)},
        floor=1.6,
    ),
    Scenario(
        name="chain",
        title="chain of ten nested requests",
        per="request",
        what="ten agents, each of which asks the next one before it replies",
        count=5_000,
        quick=500,
        goals={OURS: Goal(8, 10), ASYNCIO: Goal(8, 12), INTEROP: Goal(3)},
        floor=1.6,
    ),
    Scenario(
        name="new_key",
        title="first message to a new key",
        per="request",
        what="each request goes to an agent that does not exist yet",
        count=2_000,
        quick=300,
        counts={PYKKA: 500},
        goals={OURS: Goal(5, 6), ASYNCIO: Goal(4, 6)},
        floor=1.6,
    ),
    Scenario(
        name="publish",
        title="publish to 100 subscribers",
        per="delivery",
        what="publications to a topic with 100 live subscribers, from the first publish until all "
        "are delivered and the runtime is idle",
        count=10_000,
        quick=1_000,
        goals={OURS: Goal(6, 8), ASYNCIO: Goal(6, 8), INTEROP: Goal(3)},
        floor=1.6,
    ),
    Scenario(
        name="token",
        title="request with a token",
        per="request",
        what="sequential, with a new CancellationToken for every request; the floor opens a cancel "
        "scope instead",
        count=5_000,
        quick=500,
        floor=1.6,
    ),
    Scenario(
        name="intervention",
        title="request with an intervention handler",
        per="request",
        what="sequential, with one handler that returns every message and every response as it is; "
        "the floor awaits two such functions",
        count=5_000,
        quick=500,
        floor=1.6,
    ),
    Scenario(
        name="tracing",
        title="request with tracing on",
        per="request",
        what="sequential, with the OpenTelemetry SDK's TracerProvider and no exporter; the floor "
        "makes two spans per request, one on each side, so its ratio is only a hint",
        count=2_000,
        quick=300,
    ),
    Scenario(
        name="memory",
        title="100,000 live agents",
        per="agent",
        what="growth of the resident set for each agent that has answered one request and waits "
        "for the next, its id included, minus what objects of its class alone take; Pykka with "
        "1,000 agents, as each has a thread",
        count=100_000,
        quick=5_000,
        counts={PYKKA: 1_000},
        unit=BYTES,
        limit=2_500,
        rounds=3,
        fresh=True,
    ),
    Scenario(
        name="import",
        title="import",
        per="import",
        what="a new interpreter that imports the runtime minus one that imports nothing; the floor "
        "imports trio",
        count=1,
        quick=1,
        unit=MILLISECONDS,
        limit=0.150,
        in_parent=True,
    ),
    Scenario(
        name="import-models",
        title="import of what is said to models",
        per="import",
        what="the same with the types of messages to models, and without a runtime where that can "
        "be had; the floor imports pydantic's `BaseModel`",
        count=1,
        quick=1,
        unit=MILLISECONDS,
        limit=0.250,
        in_parent=True,
    ),
)

BY_NAME: Final[Mapping[str, Scenario]] = MappingProxyType(
    {scenario.name: scenario for scenario in SCENARIOS}
)
