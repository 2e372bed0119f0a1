"""Checks of what every runtime does with many messages: none is lost, doubled or mixed up.

A runtime that loses each tenth request, or gives one sender the reply of another, does well in a
check that sends five. So these send hundreds to one runtime, each with an answer of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import anyio
import anyio.lowlevel

from .._sansio._abc import AgentRuntime
from .._sansio._identifiers import AgentId, TopicId
from .._sansio._subscriptions import TypeSubscription
from ._conformance_check import (
    A,
    Check,
    Note,
    OpenRuntime,
    Player,
    check,
    note_texts,
    require,
    settle_in,
)
from ._scripted import Act, Call, ScriptedFactory

__all__ = ["MANY_CHECKS"]

NEWS: Final = TopicId("news", "a")
MANY: Final = 200  # enough for what goes wrong once in a hundred, and some milliseconds of work
IDS: Final = tuple(AgentId(type, key) for type in ("clerk", "scribe") for key in ("a", "b"))


class Clerks:
    """Agents that note what they handle. Each request has its own answer: a reply, or an error.

    The first to begin is not the first to end, so that replies come in another order.
    """

    def __init__(self) -> None:
        self.handled: list[tuple[AgentId | None, str]] = []

    async def settle_in(self, runtime: AgentRuntime) -> None:
        """Register them."""
        for type in dict.fromkeys(id.type for id in IDS):
            await settle_in(runtime, Act("answers", self._answer), type=type)

    async def _answer(self, call: Call) -> Note:
        text = call.message.text
        self.handled.append((call.id, text))
        number = int(text)
        for _ in range(number % 4):
            await anyio.lowlevel.checkpoint()
        if _fails(number):
            raise KeyError(f"{call.id} cannot do {text}.")
        return Note(f"{call.id} has done {text}.")


def _fails(number: int) -> bool:
    return number % 5 == 3


async def _ask(runtime: AgentRuntime, number: int) -> None:
    """Send one request of many, and fail the check unless its own answer comes."""
    id = IDS[number % len(IDS)]
    try:
        reply = await runtime.send_message(Note(str(number)), id)
    except KeyError as exc:
        own, came = f"{id} cannot do {number}." in str(exc), f"the error {exc!r}"
        own = own and _fails(number)
    else:
        own, came = reply == Note(f"{id} has done {number}."), f"the reply {reply!r}"
        own = own and not _fails(number)
    require(own, f"request {number} of {MANY}, to {id}, got {came}, which is not its own")


def _check_handled(clerks: Clerks) -> None:
    expected = [f"{number} at {IDS[number % len(IDS)]}" for number in range(MANY)]
    handled = [f"{text} at {id}" for id, text in clerks.handled]
    _require_each_once(expected, handled, "requests")


def _require_each_once(expected: list[str], came: list[str], what: str) -> None:
    wanted, got = Counter(expected), Counter(came)
    lost, surplus = list((wanted - got).elements()), list((got - wanted).elements())
    require(not lost, f"of {len(expected)} {what} {len(lost)} got lost: {_first(lost)}")
    require(not surplus, f"of {len(expected)} {what} {len(surplus)} came again: {_first(surplus)}")


def _first(texts: list[str]) -> str:
    return ", ".join(texts[:3] + ["..."] * (len(texts) > 3))


@check()
async def each_of_many_requests_gets_its_own_answer(open_runtime: OpenRuntime) -> None:
    """Of hundreds of requests, one after the other, each is handled once and answered."""
    clerks = Clerks()
    async with open_runtime() as runtime:
        await clerks.settle_in(runtime)
        for number in range(MANY):
            await _ask(runtime, number)
    _check_handled(clerks)  # only now: what comes twice may come late


@check()
async def requests_at_the_same_time_get_their_own_answers(open_runtime: OpenRuntime) -> None:
    """Of hundreds of requests at the same time, each is handled once; no answers are swapped."""
    clerks = Clerks()
    async with open_runtime() as runtime:
        await clerks.settle_in(runtime)
        async with anyio.create_task_group() as tasks:
            for number in range(MANY):
                tasks.start_soon(_ask, runtime, number)
    _check_handled(clerks)


@check()
async def messages_begin_in_the_order_of_submission(open_runtime: OpenRuntime) -> None:
    """An agent begins requests and publications in the order in which tasks submitted them."""
    submitted: list[str] = []
    begun: list[str] = []

    async def note(call: Call) -> None:
        begun.append(call.message.text)
        for _ in range(len(begun) % 4):
            await anyio.lowlevel.checkpoint()

    async with open_runtime() as runtime:
        await settle_in(runtime, Act("notes", note))
        await runtime.add_subscription(TypeSubscription("news", A.type))

        async def submit(name: str) -> None:
            # The tasks of a nursery begin in any order: theirs is the one in which they come here.
            submitted.append(f"request {name}")
            await runtime.send_message(Note(submitted[-1]), A)
            submitted.append(f"publication {name}")
            await runtime.publish_message(Note(submitted[-1]), NEWS)

        async with anyio.create_task_group() as tasks:
            for number in range(MANY // 2):
                tasks.start_soon(submit, str(number))
        submitted.append("fence")  # when it is answered, all publications have had their turn
        await runtime.send_message(Note("fence"), A)
    _require_each_once(submitted, begun, "messages")
    for before, now, came in zip(["nothing", *submitted], submitted, begun, strict=False):
        require(now == came, f"after {before} was submitted {now}, and {came} began")


@check()
async def each_of_many_publications_is_heard_once(open_runtime: OpenRuntime) -> None:
    """Of hundreds of publications by several publishers, each subscriber hears each once."""
    publishers = [f"publisher {number}" for number in range(4)]
    heard: dict[str, list[str]] = {"one": [], "two": [], "three": []}
    told = {name: [f"{name}: {i}" for i in range(MANY // 4)] for name in publishers}
    async with open_runtime() as runtime:
        for type, log in heard.items():
            await settle_in(runtime, note_texts(log), type=type)
            await runtime.add_subscription(TypeSubscription("news", type))

        async def publish(name: str) -> None:
            for text in told[name]:
                await runtime.publish_message(Note(text), NEWS)

        async with anyio.create_task_group() as tasks:
            for name in publishers:
                tasks.start_soon(publish, name)
        for type in heard:
            await runtime.send_message(Note("fence"), AgentId(type, "a"))
    for type, log in heard.items():
        expected = [text for texts in told.values() for text in texts]
        _require_each_once([*expected, "fence"], log, f"publications to {type}")
        for name, texts in told.items():
            own = [text for text in log if text.startswith(f"{name}:")]
            require(own == texts, f"{type} heard what {name} told in this order: {own}")


# What somebody may fold, strip, quote, split, look up as a path, or cut off.
KEYS: Final = (
    *("", " ", "a", "A", "a ", " a", "aa", "a a", "a+a", "a%20a", "a%2Fa", "a%2fa", "a/a", "a//a"),
    *("/a", "a/", ".", "..", "../a", "./a", "a\\a", "a:a", "a.a", "a-a", "a_a", "a,a", "a=a"),
    *("*", "a*", "?", "#a", "~", "$a", "{a}", "{}", "%s", "'", '"', "<a>", "None", "null", "true"),
    *("0", "00", "1", "01", "1.0", "-1", "1e0", "default", "Default"),
    *("k" * 300 + last for last in "ab"),
)


@check()
async def keys_are_told_apart_by_each_character(open_runtime: OpenRuntime) -> None:
    """Requests to keys that are alike, and publications of such sources, reach different agents."""
    heard: list[str] = []

    def answer(call: Call) -> Note:
        key = None if call.id is None else call.id.key
        heard.append(f"{call.message.text} at {key!r}")
        return Note(f"I am {key!r}")

    async with open_runtime() as runtime:
        factory = ScriptedFactory(make=lambda: Player(Act("says who it is", answer)))
        await Player.register(runtime, A.type, factory)
        await runtime.add_subscription(TypeSubscription("news", A.type))
        for key in KEYS:
            await runtime.publish_message(Note(f"to {key!r}"), TopicId("news", key))
        for key in KEYS:
            reply = await runtime.send_message(Note(f"to {key!r}"), AgentId(A.type, key))
            require(reply == Note(f"I am {key!r}"), f"from the agent of key {key!r} came {reply!r}")
        require(
            factory.calls == len(KEYS), f"{factory.calls} agents were made for {len(KEYS)} keys"
        )
    expected = [f"to {key!r} at {key!r}" for key in KEYS]
    _require_each_once([*expected, *expected], heard, "messages")


MANY_CHECKS: Final[tuple[Check, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Check)
)
