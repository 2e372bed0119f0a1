"""The rules of the runtime, as a plain program: what becomes of a message.

Nothing waits here and nothing runs by itself. Whatever takes time, a message on its way or a call
of the application, is a generator that yields a `Step`: when it may go on, and what an application
sees when it does. Steps that nobody sees are taken as soon as they may be. Those that are seen are
taken when they *are* seen, so which of several comes first is said from outside, by the history of
a real runtime. `see` refuses what may not happen, and `due` says what must still happen before
everything can rest. So the model leaves open what the runtime leaves open, and nothing else.

It was written from the documentation, by somebody who had not read the runtime. Left out is what no
application can see: workers, channels, cancel scopes. Left out, too, are bounded mailboxes.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import attrs

from .._sansio._identifiers import AgentId, TopicId
from ._acts import (
    CANCELLED,
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
)

__all__ = [
    "Agent",
    "Disagreement",
    "Envelope",
    "Late",
    "Messages",
    "Program",
    "Scope",
    "Step",
    "Thread",
    "Visit",
    "Wish",
]

UNDELIVERABLE: Final = "raised UndeliverableException"
OUTCOMES: Final = ("handled", "failed", "dropped", "cancelled", "undeliverable")


class Disagreement(AssertionError):
    """Something was seen that may not happen, or was not seen and had to."""


# --- how things take time


def _nobody_sees(_: str) -> None: ...


def _always() -> bool:
    return True


# [step]
class Step(NamedTuple):
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


class Late(NamedTuple):
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


# --- what there is


@attrs.define(eq=False)
class Scope:
    """What may cancel a wait: somebody, or a time. A handler's are inside of its message's."""

    name: str = ""  # of the call it is around, if it is one
    inside: Envelope | None = None
    told: int = 0  # how often that one was cancelled before, on asyncio
    deadline: float = math.inf
    cancelled: bool = False


@attrs.define(eq=False)
class Envelope:
    """A message on its way to one agent, or a publication that is to become several of those."""

    message: Message
    scope: Scope  # that it was submitted in
    is_request: bool
    to: AgentId | None = None
    topic: TopicId | None = None
    sender: AgentId | None = None
    token: str | None = None

    submitted: str | None = None  # what came of its submission
    linked: int = 0  # its place among those that a token would cancel
    stream: list[Envelope] = attrs.Factory(list)  # whose turns come one after the other
    at_work: bool = False  # with an intervention handler, a factory or its handler
    held: bool = False  # it had to wait since its turn, and lets others pass
    lost: bool = False  # it is one of a publication, and its agent type was unknown
    begun: bool = False
    outlives: bool = False  # it was at work when the runtime was stopped, and may go on
    pressed: bool = False  # a stop's deadline has passed, or an error has ended the block
    told: int = 0  # how often it was cancelled, on asyncio
    asks: Envelope | None = None  # the request that its handler waits for
    result: str | None = None  # what its sender gets

    def __str__(self) -> str:
        return self.message.name if self.to is None else f"{self.message.name}@{self.to}"


@attrs.define(eq=False)
class Visit:
    """Somebody who needs an agent, and has no message for it."""

    scope: Scope
    is_loaded: bool = False  # it gives the agent a state, in place of one that was kept
    result: str | None = None  # what the factory raised


@attrs.define(eq=False)
class Wish:
    """Somebody who wants an agent to be let go of. It stands in line like a message."""

    at_work: bool = False
    granted: bool = False  # its turn has come
    given_up: bool = False  # an error ends the block, which closes all agents itself
    refused: bool = False  # the runtime was stopped before its turn


@attrs.define(eq=False)
class Agent:
    """What there is of an agent, if only a message that waits for it."""

    id: AgentId
    kind: Kind
    alive: bool = False
    tries: int = 0  # calls of the factory
    maker: Envelope | Visit | None = None
    visits: list[Visit] = attrs.Factory(list)
    line: list[Envelope | Wish] = attrs.Factory(list)  # that wait for it, in order of their turns
    running: list[Envelope] = attrs.Factory(list)
    closing: bool = False
    used: bool = False  # since it was last closed
    notes: list[str] = attrs.Factory(list)  # its state: the messages that it has begun
    quiet_since: float = 0.0  # it has handled nothing
    free_since: float = 0.0  # nothing was on its way to it either


@attrs.define
class Call:
    """A call of the application, in a task of its own."""

    scope: Scope


# --- the rules


class Messages:
    """What becomes of messages. `Model` adds the calls that an application makes.

    Args:
        rules: What the runtime is told when it is made.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.now = 0.0
        self.threads: list[Thread] = []
        self.last: Thread | None = None  # that was seen
        self.calls: dict[str, Call] = {}
        self.opened: set[str] = set()  # gates
        self.tokens: set[str] = set()  # that were cancelled
        # What is registered, and who is there.
        self.kinds: dict[str, Kind] = {}
        self.subscriptions: dict[str, tuple[str, str, str]] = {}  # id: how, pattern, agent type
        self.agents: dict[AgentId, Agent] = {}
        self.kept: dict[AgentId, list[str]] = {}  # states of agents that were let go of
        # A message stands at the door, then in the queue, until its turn comes.
        self.door: deque[Envelope] = deque()
        self.queue: deque[Envelope] = deque()
        self.turn: list[Envelope] = []  # those whose turn it is
        self.envelopes: list[Envelope] = []  # accepted, and without an outcome
        self.links = 0
        # What messages do not decide.
        self.block: Literal["outside", "inside", "leaving"] = "outside"
        self.was_left = False
        self.started = False
        self.started_at = 0.0
        self.stopping = False
        self.by_hand = 0  # calls of process_next that wait for a message
        self.taken_up = 0  # messages that were taken up for them, and they have not returned
        self.cuts: list[object] = []  # states that are being saved or loaded
        self.cut_at = 0.0
        # The books.
        self.counts: Counter[str] = Counter()
        self.dead: list[tuple[str, str, str, str]] = []
        self.failures: list[str] = []

    # --- what is seen

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
        return [seen for step, seen in self._may_be_seen() if step.must()]

    def settle_down(self) -> None:
        """Take the steps that nobody sees, until none is left."""
        self.last = None
        again = True
        while again:
            again = self._send_away() | self._let_in() | self._end_stop()
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

    def statistics(self) -> dict[str, Any]:
        """Give what the runtime's statistics say, and what else it says of itself."""
        waiting = [envelope for envelope in self.envelopes if not envelope.begun]
        mailboxes = Counter(str(envelope.to) for envelope in waiting if envelope.to is not None)
        for agent in self.agents.values():  # a publication that is looked at has its places
            places = [one for one in agent.line if isinstance(one, Envelope)]
            mailboxes.update(str(one.to) for one in places if one not in self.envelopes)
            mailboxes.update([str(agent.id)] if isinstance(agent.maker, Visit) else [])
        return {
            "accepted": self.counts["accepted"],
            **{outcome: self.counts[outcome] for outcome in OUTCOMES},
            "pending": len(self.envelopes),
            "running": sum(envelope.at_work for envelope in self.envelopes),
            "waiting": len(self.door),
            "agents": sum(agent.alive for agent in self.agents.values()),
            "mailboxes": dict(mailboxes),
            "dead letters": sorted(self.dead),
            "unprocessed": sum(not envelope.at_work for envelope in self.envelopes),
            "started": self.started,
        }

    # --- submitting

    def request(
        self,
        message: Message,
        to: AgentId,
        scope: Scope,
        *,
        sender: AgentId | None,
        token: str | None,
    ) -> Envelope:
        """Submit a request."""
        return self._submit(
            Envelope(message, scope, is_request=True, to=to, sender=sender, token=token)
        )

    def publication(
        self,
        message: Message,
        topic: TopicId,
        scope: Scope,
        *,
        sender: AgentId | None,
        token: str | None,
    ) -> Envelope:
        """Submit a publication."""
        return self._submit(
            Envelope(message, scope, is_request=False, topic=topic, sender=sender, token=token)
        )

    # [submit]
    def _submit(self, envelope: Envelope) -> Envelope:
        if envelope.to is not None and not self.is_known(envelope.to):
            self._accept(envelope)
            self._settle(envelope, "undeliverable", "raised UnknownAgentType")
        elif envelope.token in self.tokens:
            self._accept(envelope)
            self._settle(envelope, "cancelled", CANCELLED)
            envelope.submitted = CANCELLED
        elif envelope.is_request and self._refuses_requests():
            self._accept(envelope)
            self._settle(envelope, "undeliverable", UNDELIVERABLE)
        elif envelope.scope.inside is None and self._is_full():
            # What handlers submit comes in at once: their own messages hold a place already.
            if self.rules.overflow == "raise":
                envelope.submitted = envelope.result = "raised Overloaded"
            else:
                self._link(envelope)
                self.door.append(envelope)
        else:
            self._enter(envelope)
        return envelope

    def _refuses_requests(self) -> bool:
        has_left = self.block == "outside" and self.was_left
        return self.stopping or self.block == "leaving" or has_left

    def _is_full(self) -> bool:
        bound = self.rules.max_pending
        return bound is not None and (bool(self.door) or len(self.envelopes) >= bound)

    def _enter(self, envelope: Envelope) -> None:
        self._accept(envelope)
        self.queue.append(envelope)
        self.threads.append(Thread(self._carry(envelope)))

    def _accept(self, envelope: Envelope) -> None:
        envelope.submitted = "-> None"
        self._link(envelope)
        self.counts["accepted"] += 1
        self.envelopes.append(envelope)

    # [/submit]

    def _link(self, envelope: Envelope) -> None:
        self.links += 1
        envelope.linked = self.links

    # [door]
    def _let_in(self) -> bool:
        """Let submitters in for whom there is room now, first come, first served."""
        before = len(self.door)
        bound = self.rules.max_pending
        while self.door and bound is not None and len(self.envelopes) < bound:
            envelope = self.door.popleft()
            if envelope.token in self.tokens:
                self._accept(envelope)
                self._settle(envelope, "cancelled", CANCELLED)
            elif envelope.is_request and self._refuses_requests():
                self._accept(envelope)
                self._settle(envelope, "undeliverable", UNDELIVERABLE)
            else:
                self._enter(envelope)
        return len(self.door) < before

    def _send_away(self) -> bool:
        """Forget submitters that have given up. They have submitted nothing."""
        before = len(self.door)
        for envelope in list(self.door):
            if self.is_off(envelope.scope):
                self.door.remove(envelope)
                envelope.submitted = envelope.result = CANCELLED
        return len(self.door) < before

    def cancel_token(self, token: str) -> None:
        """Cancel a token."""
        self.tokens.add(token)
        # One after the other, as they were linked: who is at the door may get in meanwhile.
        linked = [e for e in (*self.envelopes, *self.door) if e.token == token]
        for envelope in sorted(linked, key=lambda envelope: envelope.linked):
            if envelope in self.door:
                self.door.remove(envelope)
                envelope.submitted = envelope.result = CANCELLED
            else:
                self._take_back(envelope)
        self.settle_down()

    def _take_back(self, envelope: Envelope) -> None:
        """Cancel a message that waits for its turn, or the request that its handler waits for."""
        while envelope.at_work and envelope.asks is not None:
            envelope = envelope.asks
        if envelope.result is None and not envelope.at_work:
            self._settle(envelope, "cancelled", CANCELLED)

    # [/door]

    # [reply]
    def reply(self, request: Envelope, scope: Scope) -> str | None:
        """Give what the sender of a request gets, when it gets it."""
        result = request.result
        if result is None:
            return None
        if not self.is_off(scope):
            return "raised MessageCancelled" if result == CANCELLED else result
        # On asyncio a sender that was cancelled has given up, even if there is an answer.
        if result == CANCELLED or (self.rules.loop == "asyncio" and result.startswith("->")):
            return self.how_off(scope)
        return result

    # [/reply]

    # --- cancelling

    # [cancel]
    def is_off(self, scope: Scope) -> bool:
        """Whether a wait in this scope is to end."""
        return (
            scope.cancelled
            or scope.deadline <= self.now
            or (scope.inside is not None and self._is_off_around(scope, scope.inside))
        )

    def how_off(self, scope: Scope) -> str:
        """What is seen of that, where the wait was."""
        inside = scope.inside
        is_around = inside is not None and self._is_off_around(scope, inside)
        return CANCELLED if scope.cancelled or is_around else "timeout"

    def unless_off(self, scope: Scope, when: Callable[[], str | None]) -> Callable[[], str | None]:
        """Wait for something in a scope."""
        return lambda: self.how_off(scope) if self.is_off(scope) else when()

    def _is_off_around(self, scope: Scope, envelope: Envelope) -> bool:
        if self.rules.loop == "trio":
            return self._called_off(envelope)
        return self._level(envelope) > scope.told

    def _called_off(self, envelope: Envelope) -> bool:
        """Whether somebody wants this message to end: its sender, its token, or a stop."""
        return (
            envelope.pressed
            or envelope.token in self.tokens
            or (envelope.is_request and self.is_off(envelope.scope))
        )

    def _must_end(self, envelope: Envelope) -> bool:
        """Whether the code that has a message is to be cancelled now.

        On trio it is again and again, until it has ended. On asyncio it is once, and once more by a
        stop whose deadline has passed or an error that ends the block.
        """
        if self.rules.loop == "trio":
            return self._called_off(envelope)
        return self._level(envelope) > envelope.told

    def _level(self, envelope: Envelope) -> int:
        return 2 if envelope.pressed else int(self._called_off(envelope))

    # [/cancel]

    # --- the way of a message

    def _carry(self, envelope: Envelope) -> Program:
        """Carry a message from the queue to its outcome."""
        outcome = yield Step(self._unless_over(envelope, lambda: self._turn_has_come(envelope)))
        if outcome != "turn":
            return self._give_up(envelope, outcome)
        self.queue.remove(envelope)
        self.turn = envelope.stream = [envelope]
        envelope.at_work = True
        if not self.started:
            self.taken_up += 1
        if envelope.topic is not None:
            return (yield from self._fan_out(envelope))
        assert envelope.to is not None
        self.agent(envelope.to).line.append(envelope)
        if (yield from self._look(envelope, envelope.message.body.on_way, "?")):
            yield from self._deliver(envelope)
        return ""

    def _unless_over(
        self, envelope: Envelope, when: Callable[[], str | None]
    ) -> Callable[[], str | None]:
        """What may keep a message from being handled, wherever it waits."""

        def look() -> str | None:
            if envelope.result is not None:
                return "over"
            return CANCELLED if self._called_off(envelope) else when()

        return look

    def _give_up(self, envelope: Envelope, outcome: str) -> str:
        if outcome == CANCELLED:
            self._settle(envelope, "cancelled", CANCELLED)
        return ""

    # [turn]
    def _turn_has_come(self, envelope: Envelope) -> str | None:
        if not all(map(self._is_past, self.turn)):
            return None
        first = next(filter(self._takes_up, self.queue), None)
        return "turn" if first is envelope else None

    def _is_past(self, envelope: Envelope) -> bool:
        """Whether those behind may come: it has begun, or it has to wait, or it never will begin."""
        return envelope.begun or envelope.held or envelope.result is not None

    def _takes_up(self, envelope: Envelope) -> bool:
        if self.stopping or not self.has_home():
            return False
        if not self.started and self.by_hand <= self.taken_up:
            return False
        # While a state is saved, what has begun goes on, with all that it waits for.
        return not self.cuts or (envelope.is_request and envelope.scope.inside is not None)

    # [/turn]

    # [fan-out]
    def _fan_out(self, publication: Envelope) -> Program:
        deliveries = self._deliveries(publication)
        goes_on = yield from self._look(publication, publication.message.body.on_way, "?")
        if all(delivery.lost for delivery in deliveries):  # perhaps somebody came meanwhile
            deliveries = self._deliveries(publication)
        if goes_on and not deliveries:
            self._settle(publication, "undeliverable", "")
        if not goes_on or not deliveries:
            for delivery in deliveries:
                self._leave_line(delivery)
            return ""
        # From here on there are these instead of it.
        self.envelopes.remove(publication)
        self.counts["accepted"] -= 1
        publication.result = ""
        if not publication.held:
            self.turn = deliveries
        for delivery in deliveries:
            delivery.message = publication.message
            delivery.stream = deliveries
            delivery.outlives = publication.outlives
            self._accept(delivery)
            self.threads.append(Thread(self._deliver(delivery)))
        return ""

    def _deliveries(self, publication: Envelope) -> list[Envelope]:
        """Make an envelope for each agent that hears a publication, in order of subscriptions."""
        topic = publication.topic
        assert topic is not None
        found: dict[AgentId, None] = {}  # each is in it once
        for how, pattern, agent_type in self.subscriptions.values():
            if topic.type == pattern or (how == "prefix" and topic.type.startswith(pattern)):
                found[AgentId(agent_type, topic.source)] = None
        found.pop(publication.sender, None)  # type: ignore[call-overload]
        deliveries: list[Envelope] = []
        for to in found:
            delivery = Envelope(
                publication.message,
                Scope(),
                False,
                to,
                topic,
                publication.sender,
                publication.token,
            )
            delivery.at_work = True
            delivery.lost = not self.is_known(to)
            if not delivery.lost:  # it has its place while the publication is looked at
                self.agent(to).line.append(delivery)
            deliveries.append(delivery)
        return deliveries

    # [/fan-out]

    # [look]
    def _look(
        self, envelope: Envelope, ways: tuple[Way, ...], mark: str
    ) -> Generator[Step, str, bool]:
        """Show a message, or a reply, to the intervention handlers. Gives whether it goes on."""
        for number in range(self.rules.interventions):
            name = f"{envelope.message.name}{mark}{number}"
            way = ways[number] if number < len(ways) else "pass"
            yield self._shows(Seen("looks", name))
            if way in ("wait", "wait and drop"):
                envelope.held = True
                outcome = yield self._waits_at(name, envelope, Seen("looked", name))
                if outcome == CANCELLED:
                    self._settle(envelope, "cancelled", CANCELLED)
                    return False
            if way in ("drop", "wait and drop"):
                self._settle(envelope, "dropped", "raised MessageDroppedException")
                return False
            if way == "fail":
                self._settle(envelope, "failed", f"raised Oops {name}")
                return False
            if way == "change":
                envelope.message = Message(f"{envelope.message.name}'", envelope.message.body)
        return True

    # [/look]

    def _shows(self, seen: Seen) -> Step:
        return Step(lambda: "", lambda _: seen)

    def _waits_at(self, gate: str, envelope: Envelope, seen: Seen, shield: bool = False) -> Step:
        """Wait at a gate, or until the message must end."""

        def when() -> str | None:
            if self._must_end(envelope) and not shield:
                return CANCELLED
            return "opened" if gate in self.opened else None

        return Step(when, lambda outcome: seen._replace(outcome=outcome), gate)

    def _deliver(self, envelope: Envelope) -> Program:
        """Bring a message to its agent, which is made if need be, and have it handled."""
        if envelope.lost:
            yield Step(lambda: "" if self._goes(envelope) else None)
            self._settle(envelope, "undeliverable", "")
            return ""
        agent = self.agent(envelope.to)
        while True:
            outcome = yield Step(
                self._unless_over(envelope, lambda: self._next_move(envelope, agent)),
                lambda outcome: self._show_move(outcome, envelope, agent),
            )
            if outcome == "waits":
                envelope.held, envelope.at_work = True, False
                if envelope.is_request and envelope in self._stuck():
                    self._settle(envelope, "failed", "raised DeadlockError")
            elif outcome == "makes":
                yield from self.make(envelope, agent)
            elif outcome == "begins":
                yield from self._handle(envelope, agent)
                return ""
            else:
                return self._give_up(envelope, outcome)

    def _show_move(self, outcome: str, envelope: Envelope, agent: Agent) -> Seen | None:
        if outcome == "begins":
            return Seen("begins", str(envelope))
        return Seen("makes", f"{agent.id}#{agent.tries + 1}") if outcome == "makes" else None

    # [begin]
    def _next_move(self, envelope: Envelope, agent: Agent) -> str | None:
        """What a message can do that has got as far as its agent."""
        if not self._goes(envelope):
            return None
        if self._has_place(envelope, agent):
            return "begins" if agent.alive else "makes"
        return "waits" if envelope.at_work else None

    def _goes(self, envelope: Envelope) -> bool:
        """Whether all that were to come before it, in the same turn, have had theirs."""
        stream = envelope.stream
        return all(map(self._is_past, stream[: stream.index(envelope)]))

    def _has_place(self, envelope: Envelope, agent: Agent) -> bool:
        if agent.maker is not None or agent.closing:
            return False
        if agent.line[0] is not envelope and not self._comes_back(envelope, agent):
            return False
        # Those that wait for this message do not stand in its way.
        askers = list(self.askers(envelope))
        limit = agent.kind.max_concurrency
        return limit is None or sum(other not in askers for other in agent.running) < limit

    def _comes_back(self, envelope: Envelope, agent: Agent) -> bool:
        """Whether somebody in this agent, or in line for it, waits for this very message."""
        askers = self.askers(envelope)
        return any(asker in agent.running or asker in agent.line for asker in askers)

    def askers(self, envelope: Envelope) -> Iterator[Envelope]:
        """Give those that wait for a message: the one whose handler asked, and so on."""
        while envelope.is_request and envelope.scope.inside is not None:
            envelope = envelope.scope.inside
            yield envelope

    # [/begin]

    # [circle]
    def _stuck(self) -> set[Envelope]:
        """Give the messages that can only go on if another one of them does."""
        stuck = {envelope for envelope in self.envelopes if not self._called_off(envelope)}
        while True:
            free = {envelope for envelope in stuck if not self._is_held_up(envelope, stuck)}
            if not free:
                return stuck
            stuck -= free

    def _is_held_up(self, envelope: Envelope, stuck: set[Envelope]) -> bool:
        if envelope.begun:
            return envelope.asks in stuck
        agent = None if envelope.to is None else self.agents.get(envelope.to)
        if agent is None or envelope not in agent.line or envelope.at_work:
            return False
        ahead = agent.line[: agent.line.index(envelope)]
        if not self._comes_back(envelope, agent) and any(
            # Whoever wants the agent closed waits for all that run in it.
            one in stuck or (isinstance(one, Wish) and not stuck.isdisjoint(agent.running))
            for one in ahead
        ):
            return True
        limit = agent.kind.max_concurrency
        others = stuck & set(agent.running) - set(self.askers(envelope))
        return limit is not None and len(others) >= limit

    # [/circle]

    # [make]
    def make(self, maker: Envelope | Visit, agent: Agent) -> Generator[Step, str, bool]:
        """Call the factory of an agent. Gives whether there is one now."""
        agent.tries += 1
        agent.maker = maker
        name = f"{agent.id}#{agent.tries}"
        fails = agent.kind.fails == "always" or (agent.kind.fails == "first" and agent.tries == 1)
        made = f"raised Oops {name}" if fails else "-> made"
        is_slow = agent.kind.slow
        is_visit = isinstance(maker, Visit)
        if isinstance(maker, Envelope):
            maker.at_work = True
            maker.held = maker.held or is_slow

        def when() -> str | None:
            if is_slow and self._is_cancelled(maker):
                return CANCELLED
            return made if not is_slow or name in self.opened else None

        gate = name if is_slow else None
        outcome = yield Step(when, lambda outcome: Seen("made", name, outcome), gate)
        agent.maker = None
        if outcome == CANCELLED:
            if isinstance(maker, Envelope):
                self._settle(maker, "cancelled", CANCELLED)
            return False
        if fails:
            # All messages that wait for it fail with it. The next one will try again.
            for one in list(agent.line):
                if isinstance(one, Envelope) and (one is maker or not one.at_work):
                    self._settle(one, "failed", outcome)
            if isinstance(maker, Visit):
                maker.result = outcome
            return False
        agent.alive = agent.used = True
        agent.quiet_since = agent.free_since = self.now
        agent.notes = []
        if agent.id in self.kept and not (isinstance(maker, Visit) and maker.is_loaded):
            yield self._shows(Seen("loads", str(agent.id), maker.scope.name if is_visit else ""))
            agent.notes = self.kept.pop(agent.id)
        self.threads.append(Thread(self._watch(agent, agent.tries)))
        return True

    # [/make]

    def _is_cancelled(self, maker: Envelope | Visit) -> bool:
        return self.is_off(maker.scope) if isinstance(maker, Visit) else self._must_end(maker)

    def _handle(self, envelope: Envelope, agent: Agent) -> Generator[Step, str, None]:
        """Run the handler of a message."""
        envelope.begun = envelope.at_work = agent.used = True
        agent.running.append(envelope)
        self._leave_line(envelope)
        agent.notes.append(envelope.message.name)
        result = yield from self._act(envelope)
        yield self._shows(Seen("ends", str(envelope), result))
        if result == CANCELLED:
            self._settle(envelope, "cancelled", CANCELLED)
        elif result.startswith("raised"):
            self._settle(envelope, "failed", result)
        elif not envelope.is_request:
            self._settle(envelope, "handled", result)
        elif (yield from self._look(envelope, envelope.message.body.on_reply, "$")):
            self._settle(envelope, "handled", f"-> {envelope.message.name}")
        # It keeps its place until it has its outcome, while its reply is looked at too.
        agent.running.remove(envelope)
        agent.quiet_since = self.now
        self.grant(agent)

    # [act]
    def _act(self, envelope: Envelope) -> Program:
        """What a handler does, one thing after the other. Gives what it returns or raises."""
        body = envelope.message.body
        for number, act in enumerate(body.acts):
            name = f"{envelope}.{number}"
            scope = Scope(inside=envelope, told=envelope.told)
            done = Seen("did", name)

            def show(outcome: str, done: Seen = done) -> Seen:
                return done._replace(outcome=outcome)

            match act:
                case Fail(what):
                    return f"raised {what} {name}"
                case Wait():
                    outcome = yield self._waits_at(name, envelope, done)
                case Sleep(seconds):
                    scope.deadline = self.now + (seconds + part_of_a_second(name))
                    outcome = yield Step(self.unless_off(scope, lambda: None), show)
                case Ask(inner, to, patience):
                    if patience is not None:
                        scope.deadline = self.now + (patience + part_of_a_second(name))
                    envelope.asks = request = self.request(
                        Message(name, inner), to, scope, sender=envelope.to, token=None
                    )
                    outcome = yield Step(
                        lambda request=request, scope=scope: self.reply(request, scope), show
                    )
                    envelope.asks = None
                case Tell(inner, topic):
                    self.publication(
                        Message(name, inner), topic, scope, sender=envelope.to, token=None
                    )
                    outcome = yield Step(lambda: "-> None", show)
            if isinstance(act, Ask) or outcome == CANCELLED:
                envelope.told = self._level(envelope)
            if outcome == CANCELLED:
                return (yield from self._unwind(envelope))
            if outcome.startswith("raised") and not body.careful:
                return outcome
        return f"-> {envelope.message.name}"

    def _unwind(self, envelope: Envelope) -> Program:
        """What a handler does that was cancelled."""
        match envelope.message.body.unwinding:
            case "answers":
                return f"-> {envelope.message.name}"
            case "fails":
                return f"raised Oops {envelope}~"
            case "slowly":
                # On asyncio there are no shields: who cancels once more interrupts the cleanup.
                shield = self.rules.loop == "trio"
                seen = Seen("unwound", str(envelope))
                yield self._waits_at(f"{envelope}~", envelope, seen, shield)
            case "at once":
                pass
        return CANCELLED

    # [/act]

    # [settle]
    def _settle(self, envelope: Envelope, outcome: str, result: str) -> None:
        """Give a message its outcome, once."""
        assert envelope.result is None
        envelope.result = result
        self.envelopes.remove(envelope)
        self.counts[outcome] += 1
        if envelope in self.queue:
            self.queue.remove(envelope)
        self._leave_line(envelope)
        if outcome == "undeliverable":
            where = (str(envelope.to), str(envelope.topic), str(envelope.sender))
            self.dead.append((envelope.message.name, *where))
        if outcome == "failed" and not envelope.is_request:
            # Nobody waits for a publication. Its failures are ignored, or kept for the next stop.
            failure = result.removeprefix("raised ")
            if not self.rules.ignore or failure.startswith("Bang"):
                self.failures.append(failure)
        self._let_in()

    # [/settle]

    # --- agents

    def is_known(self, id: AgentId) -> bool:
        """Whether there is a factory for it."""
        return id.type in self.kinds

    def agent(self, id: AgentId | None) -> Agent:
        """Give what there is of an agent."""
        assert id is not None
        if id not in self.agents:
            self.agents[id] = Agent(id, self.kinds[id.type])
        return self.agents[id]

    def _leave_line(self, envelope: Envelope) -> None:
        agent = None if envelope.to is None else self.agents.get(envelope.to)
        if agent is not None and envelope in agent.line:
            agent.line.remove(envelope)
            agent.free_since = self.now
            self.grant(agent)

    def grant(self, agent: Agent, *, at_once: bool = False) -> None:
        """Give a wish its turn, if it is first in line. It still waits for what runs.

        One that had to stand in line is given its turn when there is a place, like a message.
        """
        if agent.line and isinstance(agent.line[0], Wish):
            limit = agent.kind.max_concurrency
            if at_once or limit is None or len(agent.running) < limit:
                agent.line[0].granted = True

    # [quiet]
    def _watch(self, agent: Agent, number: int) -> Program:
        """Let go of an agent that has been quiet for long enough, and keep its state."""
        seconds = agent.kind.idle_timeout
        if seconds is None:
            return ""
        # It may take as long again after a start, after a state was saved, and after a message that
        # did not get through.
        outcome = yield Step(
            lambda: self._is_quiet(agent, number, seconds),
            lambda outcome: Seen("saves", str(agent.id)) if outcome == "quiet" else None,
            must=lambda: seconds + max(self.started_at, self.cut_at, agent.free_since) <= self.now,
        )
        if outcome == "quiet":
            agent.closing = True
            yield self._shows(Seen("closes", str(agent.id)))
            self.kept[agent.id] = agent.notes
            agent.closing = agent.alive = False
        return ""

    def _is_quiet(self, agent: Agent, number: int, seconds: float) -> str | None:
        if not agent.alive or agent.tries != number:
            return "gone"
        if agent.line or agent.running or agent.closing or self.cuts:
            return None
        if not self.started or self.block == "leaving":
            return None
        return "quiet" if agent.quiet_since + seconds <= self.now else None

    # [/quiet]

    # --- what the calls decide

    def has_home(self) -> bool:
        """Whether there is somebody to own tasks. On asyncio that takes no block."""
        return self.block == "inside" or (self.rules.loop == "asyncio" and self.block == "outside")

    def is_anybody_at_work(self) -> bool:
        """Whether a stop has somebody to wait for."""
        return any(envelope.at_work or envelope.outlives for envelope in self.envelopes)

    def _end_stop(self) -> bool:
        if not self.stopping or self.is_anybody_at_work():
            return False
        self.stopping = False
        return True
