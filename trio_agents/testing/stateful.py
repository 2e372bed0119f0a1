"""A state machine for hypothesis, which drives a runtime and its model side by side.

A rule is one thing that an application does: send, publish, cancel, stop. It is done to the model
and to a runtime, and then everything runs until nobody can go on. What was seen of the runtime must
be what the model allows, in this order; nothing may be missing; and the books of both must agree.
Whatever takes longer than one rule waits at a gate or for a time, and other rules open gates and
let time pass. A failing program is printed by hypothesis as Python, made as short as it can be.

It needs hypothesis, which comes with the extra ``testing``::

    from trio_agents.testing.stateful import RuntimeMachine

    class Machine(RuntimeMachine):
        loop = "asyncio"

    TestRuntime = Machine.TestCase

What several rules race for is left out where the runtime promises no order. Those places are marked
in the code with the word *race*.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs

from .._components._extras import from_extra

with from_extra("hypothesis", "testing", purpose=__name__):
    from hypothesis import strategies as st
    from hypothesis.stateful import (
        RuleBasedStateMachine,
        initialize,
        precondition,
        rule,
    )

from .._loops._asyncio_runtime import SingleThreadedAgentRuntime as AsyncioRuntime
from .._loops._trio_runtime import SingleThreadedAgentRuntime as TrioRuntime
from .._sansio._facade import claim_names
from .._sansio._identifiers import AgentId, TopicId
from .._sansio._notes import add_note
from ._acts import (
    Act,
    Ask,
    Body,
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
from ._driver import Driver
from ._held_runs import RunGivenUp
from ._model import Disagreement, Model
from ._model_parts import Wish
from ._schedule import LoopName

__all__ = ["Disagreement", "RuntimeMachine"]

T = TypeVar("T")
Failure: TypeAlias = Literal["Oops", "OopsGroup", "Bang"]

# --- what programs are made of. The first of each is the simplest; hypothesis prefers it.

TYPES: Final = ("a", "b", "c", "d")  # the last one is seldom registered
# Few agents, so that messages meet; and now and then another one.
AGENTS: Final = [
    AgentId(type, key) for type, key in ("ax", "bx", "ax", "cx", "bx", "ay", "ax", "by", "dx")
]
PATTERNS: Final = ("p", "p", "q")
TOPICS: Final = [
    TopicId(type, key)
    for type, key in [("p", "x"), ("p", "x"), ("q", "x"), ("p", "x"), ("a:", "x"), ("p", "y")]
]
# Rules that would leave nothing to others if they came as often.
CHANGES: Final = ("stop", "stop_when_idle", "close_runtime", "run_block")

SECONDS: Final = (1.0, 0.25, 3.0, 10.0)

KINDS: Final = [
    Kind(),
    Kind(max_concurrency=1),
    Kind(idle_timeout=1.0),
    Kind(max_concurrency=1),
    Kind(slow=True),
    Kind(max_concurrency=2),
    Kind(idle_timeout=2.0, max_concurrency=1),
    Kind(fails="first"),
    Kind(max_concurrency=1),
    Kind(slow=True, fails="first", max_concurrency=1),
    Kind(idle_timeout=3.0, slow=True, max_concurrency=1),
    Kind(mailbox_size=1, max_concurrency=1),
    Kind(mailbox_size=2, overflow="raise", max_concurrency=1),
    Kind(mailbox_size=1, max_concurrency=1, idle_timeout=2.0),
    Kind(mailbox_size=1, slow=True),
    Kind(fails="always"),
]

agents: Final = st.sampled_from(AGENTS)
topics: Final = st.sampled_from(TOPICS)
types: Final = st.sampled_from(TYPES)
kinds: Final = st.sampled_from(KINDS)
seconds: Final = st.sampled_from(SECONDS)
failures: Final[st.SearchStrategy[Failure]] = st.sampled_from(["Oops", "Bang", "OopsGroup"])
tokens: Final = st.sampled_from((0, 1))
ways: Final = st.sampled_from(
    [
        *[()] * 4,
        *[(way,) for way in ("change", "drop", "fail", "wait", "wait and drop")],
        *[("pass", way) for way in ("change", "drop", "fail", "wait")],
        ("change", "change"),
        ("wait", "wait"),
    ]
)


def _acts_around(bodies: list[Body]) -> list[Act]:
    """Give acts, the simple ones first, whose messages have one of these bodies."""
    acts: list[Act] = [
        Wait(),
        Sleep(1.0),
        Fail("Oops"),
        Sleep(3.0),
        Fail("Bang"),
        Fail("OopsGroup"),
    ]
    for number, body in enumerate(bodies):
        agent, topic = AGENTS[number % len(AGENTS)], TOPICS[number % len(TOPICS)]
        acts += [Ask(body, agent), Tell(body, topic), Ask(body, agent, patience=2.0)]
    return acts


def _bodies_around(acts: list[Act]) -> list[Body]:
    """Give bodies with one or two of these acts, and with everything else that a body can have."""
    unwindings: tuple[Literal["at once", "slowly", "fails", "answers"], ...]
    unwindings = ("at once", "slowly", "at once", "answers", "fails")
    ways: tuple[tuple[Way, ...], ...] = ((), (), ("wait",), (), ("drop",), (), ("fail",))
    bodies: list[Body] = []
    for number, act in enumerate(acts):
        then = acts[number * 7 % len(acts)]
        bodies.append(
            Body(
                acts=(act,) if number % 3 else (act, then),
                on_way=ways[number % len(ways)],
                on_reply=ways[number * 3 % len(ways)],
                careful=number % 2 == 1,
                unwinding=unwindings[number % len(unwindings)],
            )
        )
    return bodies


# Three messages deep. They are made once: to draw each part of them would take most of the time.
_ONE_DEEP: Final = [Body(), *_bodies_around(_acts_around([]))]
_TWO_DEEP: Final = [*_ONE_DEEP, *_bodies_around(_acts_around(_ONE_DEEP))]
_ACTS: Final = _acts_around([*_TWO_DEEP, *_ONE_DEEP, *_ONE_DEEP])


def _act(number: int) -> Act:
    return _ACTS[number]


bodies: Final = st.builds(
    Body,
    # By number: a strategy that holds them all would say them all when it is printed.
    acts=st.lists(st.integers(0, len(_ACTS) - 1).map(_act), max_size=2).map(tuple),
    on_way=ways,
    on_reply=ways,
    careful=st.booleans(),
    unwinding=st.sampled_from(("at once", "slowly", "answers", "fails")),
)


class RuntimeMachine(RuleBasedStateMachine):
    """Does the same to a runtime and to its model, and compares what is seen of them.

    Derive from it to say which event loop it runs on, and which runtime it drives; add rules of
    your own with `do`. Give the class's `TestCase` to pytest or unittest, or the class itself to
    `hypothesis.stateful.run_state_machine_as_test`. Every program has a run of the event loop of
    its own, on a clock that stands still between the rules.
    """

    #: The event loop, ``"trio"`` or ``"asyncio"``.
    loop: LoopName = "trio"

    has_failed = False

    @classmethod
    def make_runtime(cls, **options: Any) -> Any:
        """Make the runtime that is driven: override it to drive one of your own.

        Args:
            options: Those of `SingleThreadedAgentRuntime`.
        """
        return (TrioRuntime if cls.loop == "trio" else AsyncioRuntime)(**options)

    # --- both at once

    @initialize(
        interventions=st.sampled_from([0, 0, 0, 1, 2]),
        ignore=st.booleans(),
        max_pending=st.sampled_from([None, None, None, 1, 3]),
        overflow=st.sampled_from(["wait", "raise"]),
        kinds=st.lists(kinds, min_size=3, max_size=3),
        subscriptions=st.lists(
            st.tuples(st.sampled_from(["type", "prefix"]), st.sampled_from(PATTERNS), types),
            min_size=1,
            max_size=3,
        ),
        is_started=st.sampled_from([True, True, True, False]),
        _=st.random_module(),  # it is trio's order of tasks, too
    )
    def open(
        self,
        interventions: int,
        ignore: bool,
        max_pending: int | None,
        overflow: Literal["wait", "raise"],
        kinds: list[Kind],
        subscriptions: list[tuple[str, str, str]],
        is_started: bool,
        _: object,
    ) -> None:
        """Make a runtime and its model, enter the block, register and subscribe."""
        rules = Rules(self.loop, interventions, ignore, max_pending, overflow)
        self.model = Model(rules)
        self.driver = Driver(rules, self.make_runtime)
        self.number = 0
        self.blocks = 0
        self.tokens = ["t1", "t2"]
        self.next_change = 15
        self._enter()
        for type, kind in zip(TYPES, kinds, strict=False):
            self.do("register", type, kind)
        for number, (how, pattern, type) in enumerate(subscriptions):
            self._subscribe(f"s{number}", how, pattern, type)
        if is_started:
            self.do("start")

    def do(
        self,
        operation: str,
        *args: Any,
        patience: float = math.inf,
        name: str | None = None,
        **options: Any,
    ) -> None:
        """Have a task of the application make a call, let everything run, and compare.

        Args:
            operation: A call of the runtime's, under its name in the model.
            args: What it is called with.
            patience: The task waits no longer than so many seconds.
            name: The call's, if it is not to have the next one.
            options: What else it is called with.

        Raises:
            Disagreement: The model does not agree with what was seen.
        """
        name = name or self._next_name("c")
        if operation in CHANGES:
            self.next_change = self.number + 10
        if patience < math.inf:
            patience += part_of_a_second(name)
        self.model.call(name, getattr(self.model, operation)(*args, **options), patience)
        self.driver.call(name, getattr(self.driver, operation)(*args, **options), patience)
        self.compare()

    def tell_both(self, operation: str, *args: Any) -> None:
        """Do something that is no call, and let everything run."""
        getattr(self.model, operation)(*args)
        getattr(self.driver, operation)(*args)
        self.compare()

    def compare(self) -> None:
        """Let everything run, and see whether the model agrees.

        Raises:
            Disagreement: It does not.
        """
        try:
            self._compare()
        except Disagreement as exc:
            self.has_failed = True
            # What is compared is the name of an exception; what helps is its text.
            strange = self.driver.strange
            for error in strange:
                add_note(exc, f"what was raised: {type(error).__name__}: {error}")
            if strange:
                raise exc from strange[-1]
            raise
        except BaseException:
            self.has_failed = True
            raise
        self.driver.strange.clear()

    def _compare(self) -> None:
        self.driver.run.go_on()
        for seen in self.driver.take_seen():
            self.note(seen)
            self.model.see(seen)
        due = self.model.due()
        if due:
            raise Disagreement(f"nobody can go on, and not seen yet: {'; '.join(map(str, due))}")
        expected, found = self.model.statistics(), self.driver.statistics()
        if expected != found:
            wrong = [
                f"{name}: expected {expected[name]}, found {found[name]}"
                for name in expected
                if expected[name] != found[name]
            ]
            raise Disagreement("; ".join(wrong))

    def note(self, seen: Seen) -> None:
        """Called with all that is seen. Override it to count what was met."""

    def _next_name(self, letter: str) -> str:
        self.number += 1
        return f"{letter}{self.number}"

    def _choose(self, among: list[T], index: int) -> T:
        return among[index % len(among)]

    # --- what may be done now

    def _gates(self, marks: str) -> list[str]:
        return sorted(gate for gate in self.model.waiting_gates() if _mark_of(gate) in marks)

    def _cancellable(self) -> list[str]:
        return sorted(name for name in self.model.calls if not name.startswith("block"))

    def _has_visits(self) -> bool:
        return any(agent.visits for agent in self.model.agents.values())

    def _may_cut(self) -> bool:
        """Whether a state may be saved or loaded."""
        model = self.model
        # Race: with other cuts, with agents that are made or let go of meanwhile, with `close`, and
        # with the end of the block.
        if model.cuts or model.has_wishes() or self._has_visits() or self._is_closing():
            return False
        return model.block != "leaving"

    def _is_closing(self) -> bool:
        return any(name.startswith("close") for name in self.model.calls)

    def _may_deactivate(self, id: AgentId) -> bool:
        model = self.model
        agent = model.agents.get(id)
        # Race: with a stop, with a cut, and with who has the agent made.
        if model.is_held() or model.stopping or model.block == "leaving":
            return False
        # And with a stop that comes when no message is left.
        if any(name.startswith("idle") for name in model.calls):
            return False
        return agent is None or not agent.visits

    def _may_visit(self, id: AgentId) -> bool:
        """Whether somebody may ask for an agent who has no message for it."""
        model = self.model
        if model.cuts or model.block == "leaving":
            return False
        agent = model.agents.get(id)
        is_there = agent is not None and agent.alive
        # Race: with `close`, which closes the agents that are there when nothing runs any more, and
        # with who wants an agent let go of that is still to be made.
        is_leaving = agent is not None and any(isinstance(one, Wish) for one in agent.line)
        if self._is_closing():
            return is_there and not is_leaving
        return is_there or not is_leaving

    def _may_leave(self) -> bool:
        model = self.model
        # Race: with cuts and agents that are made, which are the application's business.
        return model.block == "inside" and not model.cuts and not self._has_visits()

    def _is_time_for_a_change(self) -> bool:
        """Whether enough was done since the last stop that there is something to stop."""
        return self.number >= self.next_change

    # --- what an application does: messages

    @rule(body=bodies, to=agents)
    def send(self, body: Body, to: AgentId) -> None:
        """Send a message."""
        self.do("send", self.new_message(body), to)

    @rule(several=st.lists(bodies, min_size=2, max_size=4), to=agents)
    def send_several(self, several: list[Body], to: AgentId) -> None:
        """Send messages to one agent, one after the other."""
        for body in several:
            self.send(body, to)

    @rule(route=st.lists(agents, min_size=2, max_size=4), body=bodies, waits=st.booleans())
    def send_chain(self, route: list[AgentId], body: Body, waits: bool) -> None:
        """Send a message whose handler asks another agent, and so on; each may wait before that."""
        for to in reversed(route[1:]):
            body = Body((Wait(), Ask(body, to)) if waits else (Ask(body, to),))
        self.send(body, route[0])

    @rule(one=agents, other=agents, body=bodies, at_once=st.booleans())
    def send_crossing(self, one: AgentId, other: AgentId, body: Body, at_once: bool) -> None:
        """Have each of two agents wait, to ask the other one then."""
        self.send_chain([one, other], body, True)
        self.send_chain([other, one], body, True)
        if at_once:
            self.let_all_go_on()

    @rule(what=failures, to=agents)
    def send_failure(self, what: Failure, to: AgentId) -> None:
        """Send a message that fails."""
        self.send(Body((Fail(what),)), to)

    @rule(body=bodies, to=agents, token=tokens)
    def send_with_token(self, body: Body, to: AgentId, token: int) -> None:
        """Send a message with a token."""
        self.do("send", self.new_message(body), to, token=self.tokens[token])

    @rule(body=bodies, to=agents, patience=seconds)
    def send_with_deadline(self, body: Body, to: AgentId, patience: float) -> None:
        """Send a message and wait for the reply no longer than so many seconds."""
        self.do("send", self.new_message(body), to, patience=patience)

    @rule(body=bodies, to=agents, sender=agents)
    def send_as(self, body: Body, to: AgentId, sender: AgentId) -> None:
        """Send a message in the name of an agent."""
        self.do("send", self.new_message(body), to, sender=sender)

    @rule(body=bodies, topic=topics)
    def publish(self, body: Body, topic: TopicId) -> None:
        """Publish a message."""
        self._publish(body, topic)

    @rule(several=st.lists(bodies, min_size=2, max_size=4), topic=topics)
    def publish_several(self, several: list[Body], topic: TopicId) -> None:
        """Publish messages to one topic, one after the other."""
        for body in several:
            self.publish(body, topic)

    @rule(to=agents, body=bodies, topic=topics)
    def publish_from_inside(self, to: AgentId, body: Body, topic: TopicId) -> None:
        """Send a message whose handler publishes."""
        self.send(Body((Tell(body, topic),)), to)

    @rule(what=failures, topic=topics)
    def publish_failure(self, what: Failure, topic: TopicId) -> None:
        """Publish a message that fails."""
        self.publish(Body((Fail(what),)), topic)

    @rule(body=bodies, topic=topics, token=tokens)
    def publish_with_token(self, body: Body, topic: TopicId, token: int) -> None:
        """Publish a message with a token."""
        self._publish(body, topic, token=self.tokens[token])

    @rule(body=bodies, topic=topics, patience=seconds)
    def publish_with_deadline(self, body: Body, topic: TopicId, patience: float) -> None:
        """Publish a message and wait for room no longer than so many seconds."""
        self._publish(body, topic, patience=patience)

    @rule(body=bodies, topic=topics, sender=agents)
    def publish_as(self, body: Body, topic: TopicId, sender: AgentId) -> None:
        """Publish a message in the name of an agent, which does not hear itself."""
        self._publish(body, topic, sender=sender)

    def _publish(self, body: Body, topic: TopicId, **options: Any) -> None:
        if not self._has_door() or self._is_heard(topic, options.get("sender")):
            self.do("publish", self.new_message(body), topic, **options)

    # Race: who is at the door, with publications that reach nobody. They end when their turn comes,
    # and nobody sees that. What handlers publish may always be such a one.
    def _has_door(self) -> bool:
        rules = self.model.rules
        return rules.max_pending is not None and rules.overflow == "wait"

    def _is_heard(self, topic: TopicId, sender: AgentId | None) -> bool:
        return any(
            AgentId(agent_type, topic.source) != sender and agent_type in self.model.kinds
            for how, pattern, agent_type in self.model.subscriptions.values()
            if topic.type == pattern or (how == "prefix" and topic.type.startswith(pattern))
        )

    def new_message(self, body: Body) -> Message:
        """Make a message, under a name that no other has if it is the next thing that is done."""
        return Message(f"m{self.number + 1}", _without_tells(body) if self._has_door() else body)

    # --- waits end

    @precondition(lambda self: self._gates("."))
    @rule(index=st.integers(0, 15))
    def let_handler_go_on(self, index: int) -> None:
        """Open the gate that a handler waits at."""
        self.tell_both("open", self._choose(self._gates("."), index))

    @precondition(lambda self: self._gates("~"))
    @rule(index=st.integers(0, 15))
    def let_cleanup_go_on(self, index: int) -> None:
        """Open the gate that a handler waits at while it unwinds."""
        self.tell_both("open", self._choose(self._gates("~"), index))

    @precondition(lambda self: self._gates("#"))
    @rule(index=st.integers(0, 15))
    def let_factory_go_on(self, index: int) -> None:
        """Open the gate that a factory waits at."""
        self.tell_both("open", self._choose(self._gates("#"), index))

    @precondition(lambda self: self._gates("?$"))
    @rule(index=st.integers(0, 15))
    def let_intervention_go_on(self, index: int) -> None:
        """Open the gate that an intervention handler waits at."""
        self.tell_both("open", self._choose(self._gates("?$"), index))

    @precondition(lambda self: self.model.waiting_gates())
    @rule()
    def let_all_go_on(self) -> None:
        """Open gates until nobody waits at one."""
        while gates := sorted(self.model.waiting_gates()):
            self.tell_both("open", gates[0])

    @rule(seconds=seconds)
    def advance(self, seconds: float) -> None:
        """Let time pass, from one to the next that somebody waits for."""
        run = self.driver.run
        until = run.now + seconds
        while True:
            run.now = max(run.now, min(run.next_deadline(), until))
            self.model.advance(run.now)
            self.compare()
            if run.now >= until:
                return

    @precondition(lambda self: self.driver.run.next_deadline() < math.inf)
    @rule()
    def advance_to_next(self) -> None:
        """Let time pass until somebody has waited for long enough."""
        run = self.driver.run
        run.now = max(run.now, run.next_deadline())
        self.model.advance(run.now)
        self.compare()

    @precondition(lambda self: self._cancellable())
    @rule(index=st.integers(0, 15))
    def cancel(self, index: int) -> None:
        """Cancel a call."""
        self.tell_both("cancel", self._choose(self._cancellable(), index))

    @rule(token=tokens, is_replaced=st.sampled_from([True, True, False]))
    def cancel_token(self, token: int, is_replaced: bool) -> None:
        """Cancel a token. What is sent with it then is refused, until it is replaced."""
        self.tell_both("cancel_token", self.tokens[token])
        if is_replaced:
            self.tokens[token] = self._next_name("t")

    @rule(body=bodies, to=agents, token=tokens)
    def send_and_cancel_token(self, body: Body, to: AgentId, token: int) -> None:
        """Send a message with a token, and cancel that."""
        self.send_with_token(body, to, token)
        self.cancel_token(token, True)

    @rule(to=agents)
    def send_before_and_after_quiet(self, to: AgentId) -> None:
        """Send to an agent, let nothing happen for as long as any may be idle, and send again."""
        self.send(Body(), to)
        self.let_all_go_on()
        self.advance(4.0)
        self.send(Body(), to)

    # --- registrations

    @rule(type=types, kind=kinds)
    def register(self, type: str, kind: Kind) -> None:
        """Register a type, or try to once more."""
        self.do("register", type, kind)

    @rule(
        id=st.sampled_from([f"s{n}" for n in range(9)]),
        how=st.sampled_from(["type", "prefix"]),
        pattern=st.sampled_from(PATTERNS),
        type=types,
    )
    def subscribe(self, id: str, how: str, pattern: str, type: str) -> None:
        """Add a subscription, or try to."""
        self._subscribe(id, how, pattern, type)

    def _subscribe(self, id: str, how: str, pattern: str, type: str) -> None:
        # Race: who is at the door, with publications that become several messages.
        known = {known for _, known, _ in self.model.subscriptions.values()}
        if self.model.rules.max_pending is not None and pattern in known:
            return
        self.do("subscribe", id, how, pattern, type)

    @rule(body=bodies, topic=topics, how=st.sampled_from(["type", "prefix"]), type=types)
    def publish_around_subscribe(self, body: Body, topic: TopicId, how: str, type: str) -> None:
        """Publish to one topic before there is a subscription, while there is, and behind it."""
        id = self._next_name("s")
        self.publish(body, topic)
        self._subscribe(id, how, topic.type, type)
        self.publish(body, topic)
        self.unsubscribe(id)
        self.publish(body, topic)

    @rule(id=st.sampled_from([f"s{n}" for n in range(6)]))
    def unsubscribe(self, id: str) -> None:
        """Remove a subscription, or try to."""
        if not self.model.door:
            self.do("unsubscribe", id)

    # --- lifetime

    @rule()
    def start(self) -> None:
        """Start, or try to."""
        self.do("start")

    @precondition(_is_time_for_a_change)
    @rule()
    def stop(self) -> None:
        """Stop, or try to."""
        self.do("stop")

    @precondition(_is_time_for_a_change)
    @rule(patience=seconds)
    def stop_with_deadline(self, patience: float) -> None:
        """Stop, and cancel what still runs after so many seconds."""
        name = self._next_name("c")
        self.do("stop", patience + part_of_a_second(name), name=name)

    @precondition(lambda self: not self.model.has_wishes())
    @precondition(_is_time_for_a_change)
    @rule()
    def stop_when_idle(self) -> None:
        """Stop when idle, or try to."""
        self.do("stop_when_idle", name=self._next_name("idle"))

    @precondition(lambda self: not self.model.cuts and not self._has_visits())
    @precondition(_is_time_for_a_change)
    @rule()
    def close(self) -> None:
        """Stop if need be, and close all agents."""
        self.do("close_runtime", name=self._next_name("close"))

    @rule(patience=seconds)
    def process_next(self, patience: float) -> None:
        """Take up a message by hand, or wait for one a while."""
        self.do("process_next", patience=patience)

    @precondition(_may_leave)
    @precondition(_is_time_for_a_change)
    @rule()
    def leave(self) -> None:
        """Leave the block."""
        self.tell_both("leave", "normally")

    @precondition(_may_leave)
    @precondition(_is_time_for_a_change)
    @rule()
    def leave_by_an_error(self) -> None:
        """Leave the block by an exception."""
        self.tell_both("leave", "error")

    @precondition(lambda self: self.model.block == "outside")
    @rule()
    def enter(self) -> None:
        """Enter the block again, or try to."""
        self._enter()

    def _enter(self) -> None:
        self.blocks += 1
        self.do("run_block", name=f"block{self.blocks}")

    # --- agents and their states

    @rule(id=agents)
    def deactivate(self, id: AgentId) -> None:
        """Let go of an agent."""
        if self._may_deactivate(id):
            self.do("deactivate", id, name=self._next_name("farewell"))

    @rule(id=agents, patience=seconds)
    def get(self, id: AgentId, patience: float) -> None:
        """Have an agent made if need be."""
        if self._may_visit(id):
            self.do("get", id, patience=patience)

    @rule(id=agents)
    def save_agent(self, id: AgentId) -> None:
        """Save the state of one agent."""
        if self._may_visit(id):
            self.do("agent_save_state", id)

    @rule(id=agents, notes=st.sampled_from([("s1",), (), ("s1", "s2")]))
    def load_agent(self, id: AgentId, notes: tuple[str, ...]) -> None:
        """Load the state of one agent."""
        if self._may_visit(id):
            self.do("agent_load_state", id, notes)

    @precondition(_may_cut)
    @rule(patience=seconds)
    def save(self, patience: float) -> None:
        """Save the states of all agents."""
        self.do("save_state", patience=patience)

    @precondition(_may_cut)
    @rule(ids=st.lists(agents, max_size=2, unique=True), patience=seconds)
    def load(self, ids: list[AgentId], patience: float) -> None:
        """Load the states of some agents."""
        self.do("load_state", {str(id): ("s1", "s2") for id in ids}, patience=patience)

    def teardown(self) -> None:
        """End the run, whatever was found."""
        if hasattr(self, "driver"):
            try:
                self.driver.close()
            except RunGivenUp:
                if not self.has_failed:  # or that has been said already, and better
                    raise


def _without_tells(body: Body) -> Body:
    """Give a body whose handler publishes nothing, nor does any that it asks."""
    acts = [
        attrs.evolve(act, body=_without_tells(act.body)) if isinstance(act, Ask) else act
        for act in body.acts
        if not isinstance(act, Tell)
    ]
    return attrs.evolve(body, acts=tuple(acts))


def _mark_of(gate: str) -> str:
    """Give the character before the number of a gate, which says who waits there."""
    return gate.rstrip("0123456789")[-1]


claim_names(__name__, globals())
