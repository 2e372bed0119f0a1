"""Sequential programs that run on AutoGen Core as they run here: one call after the other.

What handlers and intervention handlers do is written in the messages, in the words of `_acts`. A
program is made from a seed. It takes care not to do too early what leaves AutoGen's runtime out of
use: from there on nothing could be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, Final, Literal, TypeAlias

import attrs

from ..._sansio._identifiers import AgentId, TopicId
from .._acts import Act, Ask, Body, Fail, Message, Tell, Way

__all__ = ["CallName", "Factory", "SequentialCall", "SequentialProgram", "program_from"]

CallName: TypeAlias = Literal[
    "register",
    "subscribe",
    "unsubscribe",
    "start",
    "stop",
    "stop_when_idle",
    "close",
    "process_next",
    "send",
    "publish",
    "get",
    "save_agent",
    "load_agent",
    "save",
    "load",
    "count",
]
Factory: TypeAlias = Literal["works", "fails", "fails once"]

TYPES: Final = ("a", "b", "c", "d")  # the last one is seldom registered
AGENTS: Final = [AgentId(type, key) for type, key in ("ax", "bx", "ax", "cx", "ay", "dx")]
TOPICS: Final = [
    TopicId(type, key)
    for type, key in (("p", "x"), ("p", "x"), ("q", "x"), ("pp", "x"), ("a:", "x"), ("p", "y"))
]
SUBSCRIPTIONS: Final = [f"s{number}" for number in range(6)]


@attrs.frozen
class SequentialCall:
    """One call of a program.

    Attributes:
        name: What is called.
        args: With what.
        sender: As whom, if it submits a message.
        is_cancelled: Whether the message's token was cancelled before.
    """

    name: CallName
    args: tuple[Any, ...] = ()
    sender: AgentId | None = None
    is_cancelled: bool = False


@attrs.frozen
class SequentialProgram:
    """Calls, one after the other, and what the runtime is told when it is made.

    Attributes:
        calls: What is done.
        interventions: How many intervention handlers there are.
        ignore: As *ignore_unhandled_exceptions*.
    """

    calls: tuple[SequentialCall, ...]
    interventions: int = 0
    ignore: bool = True


def program_from(seed: int, *, length: int = 30) -> SequentialProgram:
    """Make the program of a seed."""
    return _Writer(Random(seed), length).write()


class _Writer:
    def __init__(self, random: Random, length: int) -> None:
        self._random = random
        self._length = length
        self._number = 10
        self._is_started = False
        self._must_start = False
        self._has_published = False  # something that waits for a start
        self._interventions = self._one_of([0, 0, 0, 1, 1, 2])
        # What is dropped on its way, and what fails there, is never finished in AutoGen's books.
        self._is_calm = self._random.random() < 0.7

    def write(self) -> SequentialProgram:
        ignore = self._random.random() < 0.85
        calls = tuple(self._calls())
        return SequentialProgram(calls, self._interventions, ignore)

    def _one_of(self, among: Any) -> Any:
        return self._random.choice(among)

    def _calls(self) -> Iterator[SequentialCall]:
        for type in TYPES[:3]:
            yield SequentialCall("register", (type, self._factory()))
        for id in SUBSCRIPTIONS[: self._one_of([1, 2, 3])]:
            yield self._subscribe(id)
        for number in range(self._length):
            yield self._next_call(is_last=number == self._length - 1)

    def _factory(self) -> Factory:
        factory: Factory = self._one_of(["works"] * 12 + ["fails once", "fails"])
        return factory

    def _subscribe(self, id: str) -> SequentialCall:
        # Few that overlap, and few for a type that is not there.
        pattern = self._one_of(["p", "q", "pp"])
        type = self._one_of("abc" if self._random.random() < 0.95 else "d")
        return SequentialCall("subscribe", (id, self._one_of(["type", "prefix"]), pattern, type))

    def _next_call(self, *, is_last: bool) -> SequentialCall:
        if is_last:
            return self._lifetime("stop_when_idle" if self._is_started else "start")
        if self._has_published and self._random.random() < 0.3:
            return self._take_up()
        if self._must_start or (not self._is_started and self._random.random() < 0.35):
            return self._lifetime("start")
        lot = self._random.random()
        if lot < 0.4 and self._is_started:  # before, its sender would wait for ever
            return self._submit("send", self._one_of(AGENTS))
        if lot < 0.6:
            self._has_published = not self._is_started
            return self._submit("publish", self._one_of(TOPICS))
        if lot < 0.65:
            stop: CallName = "stop_when_idle" if self._is_calm else "stop"
            return self._lifetime(self._one_of(["stop", stop, stop, "close"]))
        return self._change()

    def _lifetime(self, name: CallName) -> SequentialCall:
        self._is_started = name == "start"
        self._must_start = self._has_published = False
        return SequentialCall(name)

    def _change(self) -> SequentialCall:
        name: CallName = self._one_of(
            ["register", "subscribe", "unsubscribe", "get", "save_agent", "load_agent"]
            + ["save", "save", "load", "count", "start", "process_next", "process_next"]
            + ([] if self._is_started else ["close"] * 3 + ["process_next"])
        )
        agent = self._one_of(AGENTS)
        match name:
            case "register":
                return SequentialCall(name, (self._one_of(TYPES), self._factory()))
            case "subscribe":
                is_new = self._random.random() < 0.7
                return self._subscribe(
                    self._new_name("s") if is_new else self._one_of(SUBSCRIPTIONS)
                )
            case "unsubscribe":
                return SequentialCall(name, (self._one_of(SUBSCRIPTIONS),))
            case "get" | "save_agent":
                return SequentialCall(name, (agent,))
            case "load_agent":
                return SequentialCall(name, (agent, ("z",)))
            case "load":
                if agent.type == "d" and self._random.random() < 0.5:
                    agent = AGENTS[0]
                return SequentialCall(name, ({str(agent): ("z",), "a/y": ("y", "z")},))
            case "start" | "close":
                return self._lifetime(name)
            case "process_next":
                return SequentialCall("count") if self._is_started else self._take_up()
            case _:
                return SequentialCall(name)

    def _take_up(self) -> SequentialCall:
        # Its handlers may have sent requests, and would wait for ever.
        self._must_start, self._has_published = True, False
        return SequentialCall("process_next")

    def _submit(self, name: CallName, to: AgentId | TopicId) -> SequentialCall:
        message = Message(self._new_name("m"), self._body(0))
        sender = self._one_of(AGENTS) if self._random.random() < 0.02 else None
        return SequentialCall(name, (message, to), sender, self._random.random() < 0.005)

    def _new_name(self, letter: str) -> str:
        self._number += 1
        return f"{letter}{self._number}"

    def _body(self, depth: int) -> Body:
        return Body(
            acts=tuple(self._act(depth) for _ in range(self._one_of([0, 0, 1, 1, 2]))),
            on_way=self._ways(),
            on_reply=self._ways(),
            careful=self._random.random() < 0.5,
        )

    def _act(self, depth: int) -> Act:
        if depth == 3 or self._random.random() < 0.25:
            return Fail()
        if self._random.random() < 0.6:
            return Ask(self._body(depth + 1), self._one_of(AGENTS))
        return Tell(self._body(depth + 1), self._one_of(TOPICS))

    def _ways(self) -> tuple[Way, ...]:
        if self._interventions == 0 or self._random.random() < 0.7:
            return ()
        last = self._interventions - 1
        where = last if self._random.random() < 0.9 else 0
        way: Way = "change" if self._is_calm else self._one_of(["change", "drop", "fail"])
        return (way,) if where == 0 else ("pass", way)
