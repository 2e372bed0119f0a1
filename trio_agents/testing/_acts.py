"""What a message has its handler do, and what is seen of it.

These are the words that the model of the runtime and the driver of a real one have in common. A
message carries its program, so one that is submitted says all that will come of it. Everything has
a name that follows from who did it, and so has the same name in the model and outside.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import attrs

from .._sansio._identifiers import AgentId, TopicId
from ._schedule import LoopName

__all__ = [
    "CANCELLED",
    "Act",
    "Ask",
    "Body",
    "Fail",
    "Kind",
    "Message",
    "Rules",
    "Seen",
    "Sleep",
    "Tell",
    "Wait",
    "Way",
    "part_of_a_second",
    "text_of",
]


CANCELLED: Final = "cancelled"  # what came of a wait that was


# --- what a runtime is told


@attrs.frozen
class Rules:
    """What a runtime is told when it is made, and the event loop it runs on.

    Attributes:
        loop: The event loop.
        interventions: How many intervention handlers there are.
        ignore: As *ignore_unhandled_exceptions*.
        max_pending: As of the runtime.
        overflow: As of the runtime.
    """

    loop: LoopName = "trio"
    interventions: int = 0
    ignore: bool = True
    max_pending: int | None = None
    overflow: Literal["wait", "raise"] = "wait"


@attrs.frozen
class Kind:
    """How the agents of one type are made, and the limits they live under.

    Attributes:
        slow: Whether the factory waits at a gate.
        fails: Whether it raises: never, the first time for each agent, or always.
        max_concurrency: As at registration.
        idle_timeout: As at registration.
        mailbox_size: As at registration.
        overflow: As at registration.
    """

    slow: bool = False
    fails: Literal["never", "first", "always"] = "never"
    max_concurrency: int | None = None
    idle_timeout: float | None = None
    mailbox_size: int | None = None
    overflow: Literal["wait", "raise"] = "wait"


# --- what a message has others do


@attrs.frozen
class Wait:
    """Wait at a gate of one's own until it is opened."""


@attrs.frozen
class Sleep:
    """Let time pass."""

    seconds: float


@attrs.frozen
class Fail:
    """Raise something: an exception, a group of them, or what is no `Exception`."""

    what: Literal["Oops", "OopsGroup", "Bang"] = "Oops"


@attrs.frozen
class Ask:
    """Send a request and wait for its reply, no longer than one has the patience to."""

    body: Body
    to: AgentId
    patience: float | None = None


@attrs.frozen
class Tell:
    """Publish."""

    body: Body
    topic: TopicId


Act: TypeAlias = Wait | Sleep | Fail | Ask | Tell

# What an intervention handler does with a message or a reply.
Way: TypeAlias = Literal["pass", "change", "drop", "fail", "wait", "wait and drop"]


@attrs.frozen
class Body:
    """What a message has others do.

    Attributes:
        acts: What its handler does, one after the other, before it answers.
        on_way: What each intervention handler does with it; those that are not named pass it on.
        on_reply: What they do with the reply.
        careful: Whether its handler goes on after a request of its own has failed.
        unwinding: What its handler does when it is cancelled.
    """

    acts: tuple[Act, ...] = ()
    on_way: tuple[Way, ...] = ()
    on_reply: tuple[Way, ...] = ()
    careful: bool = False
    unwinding: Literal["at once", "slowly", "fails", "answers"] = "at once"


@attrs.frozen
class Message:
    """A body under way, with a name that no other has. It is its own reply."""

    name: str
    body: Body = Body()


# --- what is seen


class Seen(NamedTuple):
    """Something that an application can see happen: what, whose it was, and what came of it."""

    what: str
    who: str
    outcome: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in self if part)


def text_of(states: Mapping[str, Sequence[str]]) -> str:
    """Say what states of agents there are, each a list of the messages that it has begun."""
    return "; ".join(f"{id}: {','.join(states[id])}" for id in sorted(states))


def part_of_a_second(name: str) -> float:
    """Give everybody who waits for a time another one, so that no two come at the same moment."""
    return zlib.crc32(name.encode()) / 2**32
