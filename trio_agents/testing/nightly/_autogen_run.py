"""Runs a sequential program on one of the two libraries, and writes down what comes of each call.

Both have the same names, so there is one driver for both. The event loop is held (`_held_runs`): a
call that has not returned when nobody can go on hangs, and no clock is needed to say so.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

import attrs

from ..._sansio._identifiers import AgentId
from .._acts import Ask, Body, Fail, Message, Tell, Way, text_of
from .._held_runs import AsyncioHeldRun
from ._autogen_programs import Factory, SequentialCall, SequentialProgram

__all__ = ["HANGS", "Answer", "SequentialRun", "silence"]

HANGS: Final = "hangs"


@attrs.frozen
class Answer:
    """What came of a call.

    Attributes:
        outcome: What it returned or raised, or that it hangs.
        seen: What handlers saw meanwhile, in this order.
        events: What intervention handlers did, and that publications or factories failed: it may
            explain what is different later.
    """

    outcome: str
    seen: tuple[str, ...] = ()
    events: frozenset[str] = frozenset()


class SequentialRun:
    """A runtime of one of the two libraries, to be asked one call after the other.

    Args:
        program: What will be run.
        core: ``autogen_core``, or ``trio_agents.asyncio``.
    """

    def __init__(self, program: SequentialProgram, core: ModuleType) -> None:
        self._run = _ForgivingRun()  # type: ignore[abstract]  # as in `hold`
        self._peer = _Peer(core, program)

    def answer(self, call: SequentialCall) -> Answer:
        """Make a call, let everything run until nobody can go on, and say what came of it."""
        peer, outcome = self._peer, HANGS

        async def make_call() -> None:
            nonlocal outcome
            try:
                outcome = f"-> {await peer.call(call)}"
            except BaseException as exc:  # it is the outcome
                outcome = peer.say(exc)

        self._run.spawn(make_call)
        self._run.go_on()
        answer = Answer(outcome, tuple(peer.seen), frozenset(peer.events))
        peer.seen.clear()
        peer.events.clear()
        return answer

    def close(self) -> None:
        """End the run, whatever is left of it."""
        self._run.close()


class _ForgivingRun(AsyncioHeldRun):
    """AutoGen leaves failed tasks behind that nobody asks."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What is lost there is no matter here."""


@contextmanager
def silence() -> Generator[None, None, None]:
    """Have neither library log failures of publications with their tracebacks, or warn.

    Both warn of what their programs leave behind; here these break off where the two part.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        logging.disable(before)


class _Oops(Exception):
    pass


class _Peer:
    """One of the two libraries, with a runtime of it."""

    def __init__(self, core: ModuleType, program: SequentialProgram) -> None:
        self.core: Any = core
        self.seen: list[str] = []
        self.events: set[str] = set()
        self._made: set[str] = set()  # agent types whose factory was called
        self._puppet = _puppet_of(self)
        meddler = _meddler_of(self)
        self.runtime: Any = core.SingleThreadedAgentRuntime(
            intervention_handlers=[meddler(number) for number in range(program.interventions)],
            ignore_unhandled_exceptions=program.ignore,
        )

    def say(self, exc: BaseException) -> str:
        """Say what an exception is."""
        if isinstance(exc, _Oops):
            return f"raised Oops {exc}"
        if isinstance(exc, asyncio.CancelledError):
            return "cancelled"
        # A subscription that is not there is both here, for programs of either kind.
        is_both = isinstance(exc, LookupError) and isinstance(exc, ValueError)
        return f"raised {'ValueError' if is_both else type(exc).__name__}"

    async def call(self, call: SequentialCall) -> Any:
        """Make a call."""
        runtime, args = self.runtime, call.args
        match call.name:
            case "register":
                await self._register(*args)
            case "subscribe":
                await self._subscribe(*args)
            case "unsubscribe":
                await runtime.remove_subscription(*args)
            case "start":
                runtime.start()
            case "stop" | "stop_when_idle" | "close" | "process_next":
                await getattr(runtime, call.name)()
            case "send":
                message, to = args
                reply = await runtime.send_message(message, self.id(to), **self._options(call))
                return reply.name
            case "publish":
                message, topic = args
                topic = self.core.TopicId(topic.type, topic.source)
                await runtime.publish_message(message, topic, **self._options(call))
            case "get":
                return await runtime.get(self.id(*args), lazy=False)
            case "save_agent":
                return (await runtime.agent_save_state(self.id(*args)))["notes"]
            case "load_agent":
                id, notes = args
                await runtime.agent_load_state(self.id(id), {"notes": list(notes)})
            case "save":
                states = await runtime.save_state()
                return text_of({id: state["notes"] for id, state in states.items()})
            case "load":
                await runtime.load_state({id: {"notes": list(n)} for id, n in args[0].items()})
            case "count":
                return runtime.unprocessed_messages_count
        return None

    def id(self, id: AgentId) -> Any:
        """Give an id of this library's."""
        return self.core.AgentId(id.type, id.key)

    def _options(self, call: SequentialCall) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if call.sender is not None:
            options["sender"] = self.id(call.sender)
        if call.is_cancelled:
            options["cancellation_token"] = self.core.CancellationToken()
            options["cancellation_token"].cancel()
        return options

    async def _register(self, type: str, factory: Factory) -> None:
        def make() -> Any:
            is_first = type not in self._made
            self._made.add(type)
            if factory == "fails" or (factory == "fails once" and is_first):
                self.seen.append(f"the factory of {type} fails")
                self.events.add("a factory failed")
                raise _Oops(f"factory of {type}")
            return self._puppet()

        await self._puppet.register(self.runtime, type, make)

    async def _subscribe(self, id: str, how: str, pattern: str, type: str) -> None:
        core = self.core
        kind = core.TypePrefixSubscription if how == "prefix" else core.TypeSubscription
        await self.runtime.add_subscription(kind(pattern, type, id=id))

    # --- what agents and intervention handlers do

    async def act(self, agent: Any, body: Body, name: str) -> None:
        """Do what a message says."""
        for number, act in enumerate(body.acts):
            inner = f"{name}.{number}"
            match act:
                case Ask(asked, to):
                    try:
                        reply = await agent.send_message(Message(inner, asked), self.id(to))
                    except Exception as exc:
                        self.seen.append(f"{inner} {self.say(exc)}")
                        if not body.careful:
                            raise
                    else:
                        self.seen.append(f"{inner} -> {reply.name}")
                case Tell(told, topic):
                    topic_id = self.core.TopicId(topic.type, topic.source)
                    await agent.publish_message(Message(inner, told), topic_id)
                case Fail():
                    raise _Oops(inner)
                case _:
                    raise AssertionError(f"{act} takes time, and here nobody gives any")

    def look(
        self,
        number: int,
        message: Message,
        ways: tuple[Way, ...],
        mark: str,
        *,
        is_publication: bool = False,
    ) -> Any:
        """Do with a message or a reply on its way what it says."""
        name = f"{message.name}{mark}{number}"
        way = ways[number] if number < len(ways) else "pass"
        if way != "pass":
            self.events.add(f"an intervention handler: {way}")
        if way == "fail" and is_publication:
            self.events.add("a publication failed")
        if way == "drop":
            return self.core.DropMessage
        if way == "fail":
            raise _Oops(name)
        return Message(f"{message.name}'", message.body) if way == "change" else message


def _puppet_of(peer: _Peer) -> Any:
    """Give the class of agents, which has to derive from the library's own."""

    class Puppet(peer.core.BaseAgent):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__("does what it is told")  # pyright: ignore[reportUnknownMemberType]
            self.notes: list[str] = []

        async def on_message_impl(self, message: Message, ctx: Any) -> Message:
            name = f"{message.name}@{self.id}"
            peer.seen.append(name)
            self.notes.append(message.name)
            try:
                await peer.act(self, message.body, name)
            except Exception:
                if not ctx.is_rpc:
                    peer.events.add("a publication failed")
                raise
            return message

        async def save_state(self) -> Mapping[str, Any]:
            return {"notes": sorted(self.notes)}  # of several at once the order is open

        async def load_state(self, state: Mapping[str, Any]) -> None:
            self.notes = list(state["notes"])

        async def close(self) -> None:
            peer.seen.append(f"closes {self.id}")

    return Puppet


def _meddler_of(peer: _Peer) -> Any:
    class Meddler(peer.core.DefaultInterventionHandler):  # type: ignore[misc, name-defined]
        def __init__(self, number: int) -> None:
            self._number = number

        async def on_send(self, message: Any, *, message_context: Any, recipient: Any) -> Any:
            return peer.look(self._number, message, message.body.on_way, "?")

        async def on_publish(self, message: Any, *, message_context: Any) -> Any:
            ways = message.body.on_way
            return peer.look(self._number, message, ways, "?", is_publication=True)

        async def on_response(self, message: Any, *, sender: Any, recipient: Any) -> Any:
            return peer.look(self._number, message, message.body.on_reply, "$")

    return Meddler
