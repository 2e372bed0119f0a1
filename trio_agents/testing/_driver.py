"""Drives a real runtime through the same words as the model, and writes down what is seen.

Its agents do what messages tell them to, its intervention handlers and factories likewise. All of
them say what they see in the moment in which they see it.
"""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any, Final, cast

import trio

from .._agents._base_agent import BaseAgent
from .._sansio._cancellation import CancellationToken
from .._sansio._contexts import AgentInstantiationContext, MessageContext
from .._sansio._identifiers import AgentId, TopicId
from .._sansio._intervention import DefaultInterventionHandler, DropMessage
from .._sansio._subscriptions import TypePrefixSubscription, TypeSubscription
from ._acts import (
    CANCELLED,
    Act,
    Ask,
    Fail,
    Kind,
    Message,
    Rules,
    Seen,
    Sleep,
    Tell,
    Wait,
    Way,
    part_of_a_second,
    text_of,
)
from ._held_runs import HeldRun, hold

__all__ = ["Driver"]

COUNTS: Final = (
    "accepted",
    "handled",
    "failed",
    "dropped",
    "cancelled",
    "undeliverable",
    "pending",
    "running",
    "waiting",
    "agents",
)

Program = Callable[[], Awaitable[Any]]

# The call that needs an agent or its state, if it is one and not a message.
_caller: ContextVar[str] = ContextVar("caller", default="")


class Oops(Exception):
    """What handlers and others raise when they are told to."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Bang(BaseException):
    """The same, and no `Exception`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _TimedOut(Exception):
    pass


class _Visit:
    """A program that needs agents, and has no message for them."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def __call__(self) -> Awaitable[Any]:
        return self._program()


class Driver:
    """A runtime in a held run, and what has been seen of it."""

    def __init__(self, rules: Rules, make_runtime: Callable[..., Any]) -> None:
        self.rules = rules
        self.run: HeldRun = hold(rules.loop)
        self._is_trio = rules.loop == "trio"
        self.seen: list[Seen] = []
        self.strange: list[BaseException] = []  # since it was last looked at, and not made by us
        self._gates: dict[str, Any] = {}
        self._cancels: dict[str, Callable[[], None]] = {}
        self._tokens: dict[str, CancellationToken] = {}
        self._raised: dict[str, BaseException] = {}
        self._leaving: Any = None
        self._is_over = False
        self._tries: dict[AgentId, int] = {}
        self.runtime = make_runtime(
            intervention_handlers=[Meddler(self, n) for n in range(rules.interventions)],
            ignore_unhandled_exceptions=rules.ignore,
            max_pending=rules.max_pending,
            overflow=rules.overflow,
        )

    def see(self, what: str, who: str, outcome: str = "") -> None:
        """Write something down."""
        self.seen.append(Seen(what, who, outcome))

    def take_seen(self) -> list[Seen]:
        """Give what has been seen since the last time."""
        seen, self.seen = self.seen, []
        return seen

    def statistics(self) -> dict[str, Any]:
        """Give what the runtime's statistics say, and what else it says of itself."""
        found = self.runtime.statistics()
        return {
            **{name: getattr(found, name) for name in COUNTS},
            "mailboxes": {str(id): count for id, count in found.mailboxes.items()},
            "dead letters": sorted(
                (letter.message.name, str(letter.recipient), str(letter.topic), str(letter.sender))
                for letter in found.dead_letters
            ),
            "unprocessed": self.runtime.unprocessed_messages_count,
            "started": self.runtime.is_started(),
        }

    def close(self) -> None:
        """Open all gates, cancel what is left, and end the run."""
        self._is_over = True
        for gate in self._gates.values():
            gate.set()
        with warnings.catch_warnings():
            # A program ends where hypothesis leaves off, and it may have started a runtime last.
            warnings.filterwarnings("ignore", ".* was started and never stopped", RuntimeWarning)
            self.run.close()

    # --- what comes from outside

    def call(self, name: str, program: Program, patience: float = math.inf) -> None:
        """Have a task of the application make a call."""
        is_visit = isinstance(program, _Visit)

        async def task() -> None:
            if is_visit:
                _caller.set(name)
            try:
                outcome = f"-> {_named(await self.within(patience, program))}"
            except self.cancelled as exc:
                if self.is_cancellation(exc):
                    self.see("returns", name, CANCELLED)
                    raise
                outcome = self.outcome_of(exc)
            except BaseException as exc:
                outcome = self.outcome_of(exc)
            self.see("returns", name, outcome)

        self._cancels[name] = self.run.spawn(task)

    def cancel(self, name: str) -> None:
        """Cancel a call."""
        self.run.call_soon(self._cancels[name])

    def cancel_token(self, token: str) -> None:
        """Cancel a token."""
        self.run.call_soon(self.token(token).cancel)

    def open(self, gate: str) -> None:
        """Open a gate."""
        self.run.call_soon(self._gates[gate].set)

    def leave(self, how: str) -> None:
        """Let the body of the block end."""
        self._how = how
        self.run.call_soon(self._leaving.set)

    def token(self, name: str) -> CancellationToken:
        """Give the token of that name."""
        if name not in self._tokens:
            self._tokens[name] = CancellationToken()
        return self._tokens[name]

    # --- the calls

    def send(
        self,
        message: Message,
        to: AgentId,
        *,
        sender: AgentId | None = None,
        token: str | None = None,
    ) -> Program:
        return lambda: self.runtime.send_message(
            message,
            to,
            sender=sender,
            cancellation_token=None if token is None else self.token(token),
        )

    def publish(
        self,
        message: Message,
        topic: TopicId,
        *,
        sender: AgentId | None = None,
        token: str | None = None,
    ) -> Program:
        return lambda: self.runtime.publish_message(
            message,
            topic,
            sender=sender,
            cancellation_token=None if token is None else self.token(token),
        )

    def register(self, type: str, kind: Kind) -> Program:
        async def make() -> Puppet:
            return await self._make(kind)

        def make_now() -> Puppet:
            made = self._make(kind)
            try:
                made.send(None)
            except StopIteration as end:
                puppet: Puppet = end.value
                return puppet
            raise AssertionError("a factory that waits nowhere has waited")

        async def register() -> None:
            await Puppet.register(
                self.runtime,
                type,
                make if kind.slow else make_now,
                max_concurrency=kind.max_concurrency,
                idle_timeout=kind.idle_timeout,
                mailbox_size=kind.mailbox_size,
                overflow=kind.overflow,
            )

        return register

    async def _make(self, kind: Kind) -> Puppet:
        id = AgentInstantiationContext.current_agent_id()
        number = self._tries[id] = self._tries.get(id, 0) + 1
        name = f"{id}#{number}"
        self.see("makes", name, _caller.get())
        if kind.slow:
            try:
                await self.wait_at(name)
            except self.cancelled:
                self.see("made", name, CANCELLED)
                raise
        if kind.fails == "always" or (kind.fails == "first" and number == 1):
            self.see("made", name, f"raised Oops {name}")
            raise self.new("Oops", name)
        self.see("made", name, "-> made")
        return Puppet(self)

    def subscribe(self, id: str, how: str, pattern: str, type: str) -> Program:
        kind = TypePrefixSubscription if how == "prefix" else TypeSubscription
        return lambda: self.runtime.add_subscription(kind(pattern, type, id=id))

    def unsubscribe(self, id: str) -> Program:
        return lambda: self.runtime.remove_subscription(id)

    def get(self, id: AgentId) -> Program:
        return _Visit(lambda: self.runtime.get(id, lazy=False))

    def agent_save_state(self, id: AgentId) -> Program:
        async def save() -> str:
            state = await self.runtime.agent_save_state(id)
            return text_of({str(id): state["notes"]})

        return _Visit(save)

    def agent_load_state(self, id: AgentId, notes: tuple[str, ...]) -> Program:
        return _Visit(lambda: self.runtime.agent_load_state(id, {"notes": list(notes)}))

    def deactivate(self, id: AgentId) -> Program:
        return lambda: self.runtime.deactivate(id)

    def save_state(self) -> Program:
        async def save() -> str:
            states = await self.runtime.save_state()
            return text_of({id: state["notes"] for id, state in states.items()})

        return _Visit(save)

    def load_state(self, states: dict[str, tuple[str, ...]]) -> Program:
        given = {id: {"notes": list(notes)} for id, notes in states.items()}
        return _Visit(lambda: self.runtime.load_state(given))

    def process_next(self) -> Program:
        return lambda: self.runtime.process_next()

    def close_runtime(self) -> Program:
        return lambda: self.runtime.close()

    def start(self) -> Program:
        return self._start

    async def _start(self) -> None:
        self.runtime.start()

    def stop(self, patience: float = math.inf) -> Program:
        return lambda: self.runtime.stop(deadline=self.run.now + patience)

    def stop_when_idle(self) -> Program:
        return lambda: self.runtime.stop_when_idle()

    def run_block(self) -> Program:
        async def block() -> None:
            self._leaving = self.event()
            async with self.runtime:
                await self._leaving.wait()
                if self._how == "error":
                    raise self.new("Oops", "block")

        return block

    # --- what agents do

    async def handle(self, agent: Puppet, message: Message) -> Message:
        name = f"{message.name}@{agent.id}"
        self.see("begins", name)
        agent.notes.append(message.name)
        try:
            answer = await self._act(agent, message, name)
        except BaseException as exc:
            self.see("ends", name, self.outcome_of(exc))
            raise
        self.see("ends", name, f"-> {answer.name}")
        return answer

    async def _act(self, agent: Puppet, message: Message, handling: str) -> Message:
        for number, act in enumerate(message.body.acts):
            name = f"{handling}.{number}"
            if isinstance(act, Fail):
                raise self.new(act.what, name)
            try:
                outcome = await self._do(agent, name, act)
            except BaseException as exc:
                outcome = self.outcome_of(exc)
                self.see("did", name, outcome)
                if outcome == CANCELLED:
                    match message.body.unwinding:
                        case "answers":
                            return message
                        case "fails":
                            raise self.new("Oops", f"{handling}~") from None
                        case "slowly":
                            await self._tidy_up(handling)
                        case "at once":
                            pass
                    raise
                if not message.body.careful:
                    raise
            else:
                self.see("did", name, outcome)
        return message

    async def _tidy_up(self, handling: str) -> None:
        try:
            with trio.CancelScope(shield=True) if self._is_trio else nullcontext():
                await self.wait_at(f"{handling}~")
        except self.cancelled:
            self.see("unwound", handling, CANCELLED)
            raise
        self.see("unwound", handling, "opened")

    async def _do(self, agent: Puppet, name: str, act: Act) -> str:
        match act:
            case Wait():
                await self.wait_at(name)
                return "opened"
            case Sleep(seconds):
                await self.sleep(seconds + part_of_a_second(name))
                return "timeout"
            case Ask(body, to, patience):
                seconds = math.inf if patience is None else patience + part_of_a_second(name)
                try:
                    answer = await self.within(
                        seconds, lambda: agent.send_message(Message(name, body), to)
                    )
                except _TimedOut:
                    return "timeout"
                return f"-> {answer.name}"
            case Tell(body, topic):
                await agent.publish_message(Message(name, body), topic)
                return "-> None"
            case Fail():
                raise AssertionError

    async def look(self, number: int, message: Message, ways: tuple[Way, ...], mark: str) -> Any:
        name = f"{message.name}{mark}{number}"
        way = ways[number] if number < len(ways) else "pass"
        self.see("looks", name)
        if way in ("wait", "wait and drop"):
            try:
                await self.wait_at(name)
            except self.cancelled:
                self.see("looked", name, CANCELLED)
                raise
            self.see("looked", name, "opened")
        if way in ("drop", "wait and drop"):
            return DropMessage
        if way == "fail":
            raise self.new("Oops", name)
        if way == "change":
            return Message(f"{message.name}'", message.body)
        return message

    # --- exceptions

    def new(self, what: str, name: str) -> BaseException:
        """Make an exception that is known again."""
        exc: BaseException
        if what == "Bang":
            exc = Bang(name)
        elif what == "OopsGroup":
            exc = ExceptionGroup(name, [Oops(name)])
        else:
            exc = Oops(name)
        self._raised[f"{what} {name}"] = exc
        return exc

    def outcome_of(self, exc: BaseException) -> str:
        """Say what an exception is."""
        if isinstance(exc, _TimedOut):
            return "timeout"
        return CANCELLED if self.is_cancellation(exc) else f"raised {self._name_of(exc)}"

    def _name_of(self, exc: BaseException) -> str:
        failures = _leaves(exc.__cause__)
        if failures and failures[0] is exc:
            exc.__cause__ = None  # on asyncio the first of them is raised as itself
            return ", ".join(map(self._name_of, failures))
        for name, known in self._raised.items():
            if known is exc:
                return name
        if leaves := _leaves(exc):
            return ", ".join(map(self._name_of, leaves))
        self.strange.append(exc)
        # A subscription that is not there is both, for programs of either kind.
        is_both = isinstance(exc, LookupError) and isinstance(exc, ValueError)
        return "LookupError" if is_both else type(exc).__name__

    # --- the loop's words

    @property
    def cancelled(self) -> type[BaseException]:
        return trio.Cancelled if self._is_trio else asyncio.CancelledError

    def is_cancellation(self, exc: BaseException) -> bool:
        return isinstance(exc, self.cancelled) and type(exc).__name__ != "MessageCancelled"

    def event(self) -> Any:
        return trio.Event() if self._is_trio else asyncio.Event()

    async def wait_at(self, gate: str) -> None:
        if not self._is_over:
            self._gates[gate] = self.event()
            await self._gates[gate].wait()

    async def sleep(self, seconds: float) -> None:
        if self._is_trio:
            await trio.sleep(seconds)
        else:
            await asyncio.sleep(seconds)

    async def within(self, seconds: float, program: Program) -> Any:
        """Give what *program* returns, or `_TimedOut`."""
        if self._is_trio:
            with trio.move_on_after(seconds):
                return await program()
            raise _TimedOut
        if seconds == math.inf:
            return await program()
        try:
            async with asyncio.timeout(seconds):
                return await program()
        except TimeoutError:
            raise _TimedOut from None


class Puppet(BaseAgent):
    """An agent that does what messages tell it to."""

    def __init__(self, driver: Driver) -> None:
        super().__init__("does what it is told")
        self._driver = driver
        self.notes: list[str] = []

    async def on_message_impl(self, message: Message, ctx: MessageContext) -> Message:
        return await self._driver.handle(self, message)

    async def save_state(self) -> Mapping[str, Any]:
        self._driver.see("saves", str(self.id), _caller.get())
        return {"notes": list(self.notes)}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self._driver.see("loads", str(self.id), _caller.get())
        self.notes = list(state["notes"])

    async def close(self) -> None:
        self._driver.see("closes", str(self.id))


class Meddler(DefaultInterventionHandler):
    """An intervention handler that does what messages tell it to."""

    def __init__(self, driver: Driver, number: int) -> None:
        self._driver = driver
        self._number = number

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        return await self._driver.look(self._number, message, message.body.on_way, "?")

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        return await self._driver.look(self._number, message, message.body.on_way, "?")

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        return await self._driver.look(self._number, message, message.body.on_reply, "$")


def _named(value: Any) -> str:
    return value.name if isinstance(value, Message) else str(value)


def _leaves(exc: BaseException | None) -> tuple[BaseException, ...]:
    """Give what is in an exception group, if it is one."""
    if not isinstance(exc, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[BaseException]", exc).exceptions
