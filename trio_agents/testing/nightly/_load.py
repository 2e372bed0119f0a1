"""The rows under load: overload, one bad agent, cancellations by the thousand, and long runs."""

from __future__ import annotations

from functools import partial
from typing import Final

from ._load_aftermath import HANDLERS as LINGERING, WAYS as CANCELLED_BY, try_aftermath
from ._load_cancel import WAYS, try_latency, try_mass, try_storms
from ._load_isolation import try_isolation
from ._load_measure import missing_proc
from ._load_overload import try_overload
from ._load_soak import soak_on
from ._row import Row

__all__ = ["ROWS"]

FAMILY: Final = "Bytes and load"
SOAK_EXPECTS: Final = ("failed", "cancelled", "closed", "left-to-time", "published")

ROWS: Final = (
    Row(
        name="overload",
        title="Ten times more messages than can be handled, at each bound with each policy",
        family=FAMILY,
        goal=600,
        unit="seconds",
        promise="never more messages than the bound; memory has one too; it passes within 5 s",
        work=try_overload,
        minutes_of_seed=0.1,
        quick_goal=60,
        missing=missing_proc,
        alone=True,
    ),
    Row(
        name="isolation",
        title="One agent that fails on every message, among others",
        family=FAMILY,
        goal=200,
        unit="rounds",
        promise="the others' p99 at most twice as long, their books clean",
        work=try_isolation,
        minutes_of_seed=0.1,
        quick_goal=2,
        expects=("trio-round", "asyncio-round"),
        alone=True,
    ),
    Row(
        name="soak-trio",
        title="Ordinary traffic for a long time, on trio",
        family=FAMILY,
        goal=600,
        unit="seconds",
        promise="memory < 1 %, no object or file left, p99 as in the beginning",
        work=partial(soak_on, "trio"),
        weight=15,
        quick_goal=15,
        expects=SOAK_EXPECTS,
        missing=missing_proc,
        alone=True,
    ),
    Row(
        name="soak-asyncio",
        title="Ordinary traffic for a long time, on asyncio",
        family=FAMILY,
        goal=600,
        unit="seconds",
        promise="memory < 1 %, no object or file left, p99 as in the beginning",
        work=partial(soak_on, "asyncio"),
        weight=15,
        quick_goal=15,
        expects=SOAK_EXPECTS,
        missing=missing_proc,
        alone=True,
    ),
    Row(
        name="cancel-latency",
        title="Single messages cancelled while their handlers wait",
        family=FAMILY,
        goal=10_000,
        unit="messages",
        promise="unwound within 2 passes of the scheduler; p99 1 ms idle, 20 ms at half load",
        work=try_latency,
        minutes_of_seed=0.1,
        quick_goal=400,
        expects=("token", "scope", "deadline"),
        alone=True,
    ),
    Row(
        name="cancel-storms",
        title="Ten thousand messages cancelled at once, wherever they are",
        family=FAMILY,
        goal=1_000,
        unit="storms",
        promise="every message has an outcome, every sender is told, no token keeps anything",
        work=try_storms,
        minutes_of_seed=0.1,
        weight=3,
        quick_goal=10,
        expects=(*WAYS, "answered-and-cancelled"),
        alone=True,
    ),
    Row(
        name="cancel-mass",
        title="Ten and fifty thousand running handlers cancelled at once",
        family=FAMILY,
        goal=12,
        unit="measurements",
        promise="all end; at most four times as long as plain tasks take that are cancelled so",
        work=try_mass,
        minutes_of_seed=0.1,
        quick_goal=1,
        alone=True,
    ),
    Row(
        name="cancel-aftermath",
        title="Waiting on asyncio for cancelled handlers that take their time to end",
        family=FAMILY,
        goal=1_000,
        unit="cancellations",
        promise="100 ms later the process uses less than 1 % of a processor",
        work=try_aftermath,
        minutes_of_seed=0.1,
        quick_goal=80,
        expects=(*(f"by-{way}" for way in CANCELLED_BY), *LINGERING),
        alone=True,
    ),
)
