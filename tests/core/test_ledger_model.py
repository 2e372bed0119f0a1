"""Random programs against a model: what must hold of every run, however it is scheduled.

A program is data, made by hypothesis: the limits of a runtime, the order of trio's tasks, and steps
from outside. What handlers and intervention handlers do is written in the messages. Each program
runs in a trio run of its own, on a clock that jumps. The `World` keeps a history of what
applications can see and checks it as it goes; the ledger is looked at after every step of every
task.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any, Final, Literal

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trio_agents import (
    AgentId,
    AgentInstantiationContext,
    BaseAgent,
    CancellationToken,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from trio_agents._core import _workers
from trio_agents._core._envelope import Outcome
from trio_agents.exceptions import (
    DeadlockError,
    MessageDroppedException,
    Overloaded,
    UndeliverableException,
)

from . import loop
from .doers import check_idle, scheduling
from .loop import MockClock, SingleThreadedAgentRuntime

# Agent types and the limits they live under.
TYPES: Final[dict[str, dict[str, Any]]] = {
    "free": {},
    "one": {"max_concurrency": 1},
    "two": {"max_concurrency": 2, "mailbox_size": 2},
    "tight": {"mailbox_size": 1},
    "picky": {"max_concurrency": 1, "mailbox_size": 1, "overflow": "raise"},
    "slow": {"max_concurrency": 1},  # its factory waits
    "flaky": {},  # its factory waits, and fails each second time
}
KEYS: Final = ("x", "y")
AGENTS: Final = [AgentId(type, key) for type in TYPES for key in KEYS]
TOPICS: Final = [TopicId(type, key) for type in ("p", "q") for key in KEYS]


class Oops(Exception):
    """What the programs raise."""


def expected() -> tuple[type[BaseException], ...]:
    """What a program may meet."""
    return (
        Oops,
        DeadlockError,
        loop.MessageCancelled,
        MessageDroppedException,
        Overloaded,
        UndeliverableException,
        ExceptionGroup,
    )


# --- programs


@dataclass(frozen=True)
class Act:
    """One thing that a handler does."""

    kind: Literal["wait", "raise", "send", "publish", "send twice"]
    seconds: float = 1
    job: Job | None = None
    agent: AgentId = AGENTS[0]
    other: AgentId = AGENTS[0]
    topic: TopicId = TOPICS[0]
    patience: float | None = None


@dataclass(frozen=True)
class Job:
    """What becomes of one message."""

    acts: tuple[Act, ...] = ()
    careful: bool = True  # the handler catches what its own sends raise
    on_way: Literal["pass", "drop", "raise", "wait", "ask"] = "pass"
    ask: AgentId = AGENTS[0]
    reply: Literal["pass", "drop", "raise", "wait"] = "pass"


@dataclass(frozen=True)
class Step:
    """One thing that is done from outside."""

    kind: Literal[
        "send",
        "publish",
        "cancel",
        "cancel token",
        "sleep",
        "yield",
        "subscribe",
        "unsubscribe",
        "deactivate",
        "stop",
        "stop when idle",
        "start",
    ]
    job: Job = Job()
    agent: AgentId = AGENTS[0]
    topic: TopicId = TOPICS[0]
    token: int | None = None
    number: int = 0
    times: int = 1
    seconds: float = 1


@dataclass(frozen=True)
class Program:
    steps: list[Step]
    subscriptions: list[tuple[str, str]]
    max_pending: int | None
    overflow: Literal["wait", "raise"]
    intervene: bool
    started: bool
    seed: int
    leave: Literal["drain", "stop", "error", "cancel"]


agents = st.sampled_from(AGENTS)
topics = st.sampled_from(TOPICS)
seconds = st.sampled_from([0, 0.5, 1, 3])
pairs = st.tuples(st.sampled_from(["p", "q"]), st.sampled_from(list(TYPES)))


def acts(jobs: st.SearchStrategy[Job]) -> st.SearchStrategy[Act]:
    return st.builds(
        Act,
        kind=st.sampled_from(["wait", "wait", "raise", "send", "send", "publish", "send twice"]),
        seconds=seconds,
        job=jobs,
        agent=agents,
        other=agents,
        topic=topics,
        patience=st.sampled_from([None, None, 0, 0.5, 2]),
    )


def jobs_of(inner: st.SearchStrategy[Job]) -> st.SearchStrategy[Job]:
    return st.builds(
        Job,
        acts=st.lists(acts(inner), min_size=1, max_size=3).map(tuple),
        careful=st.booleans(),
        on_way=st.sampled_from(["pass", "pass", "pass", "drop", "raise", "wait", "wait", "ask"]),
        ask=agents,
        reply=st.sampled_from(["pass", "pass", "pass", "drop", "raise", "wait"]),
    )


jobs = st.recursive(st.just(Job()), jobs_of, max_leaves=8)
steps = st.builds(
    Step,
    kind=st.sampled_from(
        [
            *["send"] * 6,
            *["publish"] * 5,
            *["cancel"] * 2,
            "cancel token",
            "sleep",
            "sleep",
            "yield",
            "subscribe",
            "unsubscribe",
            "deactivate",
            "stop",
            "stop when idle",
            "start",
        ]
    ),
    job=jobs,
    agent=agents,
    topic=topics,
    token=st.sampled_from([None, None, 0, 1]),
    number=st.integers(0, 30),
    times=st.sampled_from([1, 2, 5]),
    seconds=seconds,
)
programs = st.builds(
    Program,
    steps=st.lists(steps, min_size=8, max_size=30),
    subscriptions=st.lists(pairs, min_size=2, max_size=8, unique=True),
    max_pending=st.sampled_from([None, None, 1, 3]),
    overflow=st.sampled_from(["wait", "wait", "raise"]),
    intervene=st.booleans(),
    started=st.sampled_from([True, True, False]),
    seed=st.integers(0, 1000),
    leave=st.sampled_from(["drain", "drain", "drain", "stop", "error", "cancel"]),
)


def dense_program(seed: int) -> Program:
    """Make a program of many messages at a time. Hypothesis prefers small ones."""
    random = Random(seed)
    choose = random.choice

    def dense_job(depth: int) -> Job:
        kinds = ["wait"] * 2 + ["raise"] + ["send"] * 3 + ["publish"] * 2 + ["send twice"] * 2
        acts = [
            Act(
                kind=choose(kinds),
                seconds=choose([0, 0.5, 1, 3]),
                job=dense_job(depth - 1),
                agent=choose(AGENTS),
                other=choose(AGENTS),
                topic=choose(TOPICS),
                patience=choose([None, None, None, 0, 0.5, 2]),
            )
            for _ in range(choose([0, 1, 1, 2, 3]) if depth else 0)
        ]
        return Job(
            acts=tuple(acts),
            careful=random.random() < 0.8,
            on_way=choose(["pass"] * 6 + ["drop", "raise", "wait", "wait", "ask", "ask"]),
            ask=choose(AGENTS),
            reply=choose(["pass"] * 6 + ["drop", "raise", "wait"]),
        )

    submissions = ["send", "publish"] * 8
    others = ["cancel"] * 3 + ["cancel token", "subscribe", "unsubscribe"] + ["deactivate"] * 2
    pauses = ["sleep", "yield"] * 2 + ["stop", "stop when idle", "start"]
    return Program(
        steps=[
            Step(
                kind=choose(submissions + others + pauses),
                job=dense_job(4),
                agent=choose(AGENTS),
                topic=choose(TOPICS),
                token=choose([None, None, 0, 1]),
                number=random.randrange(30),
                times=choose([1, 2, 5]),
                seconds=choose([0, 0.5, 1, 3]),
            )
            for _ in range(random.randrange(5, 40))
        ],
        subscriptions=[(t, type) for t in ("p", "q") for type in TYPES if random.random() < 0.5],
        max_pending=choose([None, None, 1, 3]),
        overflow=choose(["wait", "wait", "raise"]),
        intervene=random.random() < 0.6,
        started=random.random() < 0.8,
        seed=seed,
        leave=choose(["drain"] * 5 + ["stop", "error", "cancel"]),
    )


# --- the world


@dataclass(eq=False)
class Message:
    """One submission of a job."""

    job: Job
    number: int  # in the order of submission
    chain: tuple[AgentId, ...] = ()  # the agents whose handlers wait for it
    inside: bool = False  # submitted by a handler
    asked: bool = False  # sent by an intervention handler
    begun: list[AgentId] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<message {self.number}, chain {' -> '.join(map(str, self.chain))}>"


class World:
    """The model: what has been submitted, what runs, who is alive; and what may not be."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.runtime: SingleThreadedAgentRuntime
        self.submitted = 0
        self.running: list[tuple[Message, Agent]] = []
        self.alive: dict[AgentId, Agent] = {}
        self.last_begun = Counter[tuple[AgentId, bool]]()
        self.made = Counter[AgentId]()
        self.jobs: dict[int, Job] = {}
        self.returned = 0  # handlers, and their replies came through
        self.replies = 0  # that reached their senders
        self.is_leaving = False
        self.is_over = False
        self.faults: list[str] = []

    def submit(self, job: Job, parent: Message | None = None, at: AgentId | None = None) -> Message:
        """To be called in the step of the task that then submits."""
        self.submitted += 1
        message = Message(job, self.submitted, inside=parent is not None)
        self.jobs[message.number] = job
        if parent is not None and at is not None:
            message.chain = (*parent.chain, at)
        return message

    async def send(
        self, message: Message, recipient: AgentId, token: CancellationToken | None = None
    ) -> None:
        try:
            reply = await self.runtime.send_message(message, recipient, cancellation_token=token)
            self.check(reply == message.number, f"{message} was answered by {reply}")
            self.replies += 1
        finally:
            # Promise 1: whatever the sender gets, the handler has ended.
            self.check(
                all(running is not message for running, _ in self.running),
                f"a sender went on while {message} was being handled",
            )

    async def handle(self, agent: Agent, message: Message) -> int:
        id = agent.id
        self.check(not self.is_over, f"{message} began after the end")
        self.check(self.alive.get(id) is agent, f"{message} reached an agent that is closed")
        self.check(id not in message.begun, f"{message} was handled twice by {id}")
        message.begun.append(id)
        if not message.asked and id not in message.chain:
            self._check_order(id, message)
        self.running.append((message, agent))
        self._check_limit(id)
        try:
            for act in message.job.acts:
                await self._do(agent, message, act)
        finally:
            self.running.remove((message, agent))
        self.returned += 1
        return message.number

    def _check_order(self, id: AgentId, message: Message) -> None:
        # At the door of a full runtime those from inside pass those from outside.
        stream = (id, self.program.max_pending is not None and message.inside)
        last = self.last_begun[stream]
        self.check(last < message.number, f"{message} began at {id} after number {last}")
        self.last_begun[stream] = message.number

    def _check_limit(self, id: AgentId) -> None:
        limit = TYPES[id.type].get("max_concurrency")
        running = [m for m, agent in self.running if agent.id == id and id not in m.chain]
        self.check(limit is None or len(running) <= limit, f"{id} handles {running} at once")

    async def _do(self, agent: Agent, message: Message, act: Act) -> None:
        assert act.job is not None
        if act.kind == "wait":
            await loop.sleep(act.seconds)
        elif act.kind == "raise":
            raise Oops
        else:
            try:
                with loop.move_on_after(inf if act.patience is None else act.patience):
                    if act.kind == "publish":
                        inner = self.submit(act.job, message)
                        await agent.publish_message(inner, act.topic)
                    elif act.kind == "send":
                        await self.send(self.submit(act.job, message, agent.id), act.agent)
                    else:
                        async with loop.open_nursery() as nursery:
                            for recipient in (act.agent, act.other):
                                nursery.start_soon(self._send_from, agent, message, act, recipient)
            except expected():
                if not message.job.careful:
                    raise

    async def _send_from(
        self, agent: Agent, message: Message, act: Act, recipient: AgentId
    ) -> None:
        assert act.job is not None
        await self.send(self.submit(act.job, message, agent.id), recipient)

    def check(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)

    def check_ledger(self) -> None:
        ledger = self.runtime._ledger
        outcomes = sum(getattr(ledger, outcome.value) for outcome in Outcome)
        self.check(ledger.accepted == outcomes + ledger.pending, f"the ledger: {vars(ledger)}")
        self.check(0 <= ledger.running <= ledger.pending + 20, f"the ledger: {vars(ledger)}")

    def check_idle(self) -> None:
        self.check(not self.running, f"idle, but {self.running} are being handled")
        self.check(self.runtime.statistics().pending == 0, "idle, but messages are pending")


class Agent(BaseAgent):
    def __init__(self, world: World) -> None:
        super().__init__("of a model")
        self._world = world
        world.check(self.id not in world.alive, f"a second {self.id} was made")
        world.alive[self.id] = self

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return await self._world.handle(self, message)

    async def close(self) -> None:
        world = self._world
        busy = [message for message, agent in world.running if agent is self]
        world.check(not busy, f"{self.id} was closed while it handles {busy}")
        world.check(world.alive.pop(self.id, None) is self, f"{self.id} was closed twice")

    async def save_state(self) -> Mapping[str, Any]:
        return {}


class Intervene(DefaultInterventionHandler):
    def __init__(self, world: World) -> None:
        self._world = world

    async def on_send(self, message: Any, **_: Any) -> Any:
        return await self._see(message)

    async def on_publish(self, message: Any, **_: Any) -> Any:
        return await self._see(message)

    async def _see(self, message: Message) -> Any:
        world = self._world
        world.check(not message.begun, f"{message} was seen after it had begun")
        job = message.job
        if job.on_way == "drop":
            return DropMessage
        if job.on_way == "raise":
            raise Oops
        if job.on_way == "wait":
            await loop.sleep(1)
        if job.on_way == "ask" and not message.asked:
            inner = world.submit(Job())
            inner.asked = True
            inner.chain = message.chain
            await world.send(inner, job.ask)
        return message

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        what = self._world.jobs[message].reply
        self._world.returned -= 1
        if what == "drop":
            return DropMessage
        if what == "raise":
            raise Oops
        if what == "wait":
            await loop.sleep(1)
        self._world.returned += 1
        return message


class Run:
    """One program, while it runs."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.world = World(program)
        self.tokens = [CancellationToken(), CancellationToken()]
        self.scopes: list[loop.CancelScope] = []
        self.subscriptions: list[str] = []

    async def main(self) -> None:
        program, world = self.program, self.world
        runtime = world.runtime = SingleThreadedAgentRuntime(
            intervention_handlers=[Intervene(world)] if program.intervene else [],
            max_pending=program.max_pending,
            overflow=program.overflow,
        )
        loop.call_after_each_step(world.check_ledger)
        with loop.fail_after(1e9):  # a program that hangs ends here, because the clock jumps
            async with loop.open_nursery() as nursery:
                failing = program.leave == "error"
                with pytest.raises(Oops) if failing else loop.CancelScope() as scope:
                    async with runtime:
                        for type, options in TYPES.items():
                            await runtime.register_factory(
                                type, self._factory_of(type), expected_class=Agent, **options
                            )
                        for topic_type, agent_type in program.subscriptions:
                            await self._subscribe(topic_type, agent_type)
                        if program.started:
                            runtime.start()
                        for step in program.steps:
                            await self._take(step, nursery)
                        await self._leave(scope)
                world.is_over = True
                world.check(not world.running, f"{world.running} outlive the block")
                world.check(not world.alive, f"{world.alive} were never closed")
                # Whoever submits later waits for a next start: that is not for this test.
                nursery.cancel_scope.cancel()
        world.check_ledger()
        check_idle(runtime)
        self._check_totals()

    async def _leave(self, scope: Any) -> None:
        program, runtime = self.program, self.world.runtime
        if program.leave in ("drain", "stop") and not runtime.is_started():
            runtime.start()
        if program.leave == "drain":
            await runtime.stop_when_idle()
            self.world.check_idle()
        self.world.is_leaving = True  # what is submitted later is for the next block
        if program.leave == "error":
            raise Oops
        elif program.leave == "cancel":
            scope.cancel()
            await loop.sleep_forever()

    def _check_totals(self) -> None:
        world = self.world
        statistics = world.runtime.statistics()
        assert world.returned == statistics.handled
        assert world.replies <= statistics.handled

    def _factory_of(self, type: str) -> Any:
        world = self.world

        async def make_slowly() -> Agent:
            id = AgentInstantiationContext.current_agent_id()
            world.made[id] += 1
            await loop.sleep(1)
            if type == "flaky" and world.made[id] % 2:
                raise Oops
            return Agent(world)

        return make_slowly if type in ("slow", "flaky") else lambda: Agent(world)

    async def _subscribe(self, topic_type: str, agent_type: str) -> None:
        subscription = TypeSubscription(topic_type, agent_type, id=f"{topic_type} {agent_type}")
        if subscription.id not in self.subscriptions:
            await self.world.runtime.add_subscription(subscription)
            self.subscriptions.append(subscription.id)

    async def _take(self, step: Step, nursery: Any) -> None:
        runtime = self.world.runtime
        token = None if step.token is None else self.tokens[step.token]
        match step.kind:
            case "send" | "publish":
                for _ in range(step.times):
                    self.scopes.append(loop.CancelScope())
                    submit = self._send if step.kind == "send" else self._publish
                    nursery.start_soon(submit, step, token, self.scopes[-1])
            case "cancel":
                if step.number < len(self.scopes):
                    self.scopes[step.number].cancel()
            case "cancel token":
                if token is not None:
                    token.cancel()
                    assert step.token is not None
                    self.tokens[step.token] = CancellationToken()
            case "sleep":
                await loop.sleep(step.seconds)
            case "yield":
                for _ in range(step.times):
                    await loop.checkpoint()
            case "subscribe":
                await self._subscribe(step.topic.type, step.agent.type)
            case "unsubscribe":
                if self.subscriptions:
                    await runtime.remove_subscription(self.subscriptions.pop())
            case "deactivate":
                nursery.start_soon(self._deactivate, step.agent)
            case "start":
                if not runtime.is_started():
                    runtime.start()
            case "stop":
                if runtime.is_started():
                    await runtime.stop(deadline=loop.current_time() + step.seconds)
                    self.world.check(not self.world.running, "stopped, but handlers run")
            case "stop when idle":
                if runtime.is_started():
                    await runtime.stop_when_idle()
                    self.world.check_idle()

    async def _send(
        self, step: Step, token: CancellationToken | None, scope: loop.CancelScope
    ) -> None:
        if self.world.is_leaving:
            return
        with scope, suppress(*expected()):
            await self.world.send(self.world.submit(step.job), step.agent, token)

    async def _publish(
        self, step: Step, token: CancellationToken | None, scope: loop.CancelScope
    ) -> None:
        if self.world.is_leaving:
            return
        with scope, suppress(loop.MessageCancelled, Overloaded):
            await self.world.runtime.publish_message(
                self.world.submit(step.job), step.topic, cancellation_token=token
            )

    async def _deactivate(self, agent: AgentId) -> None:
        if self.world.is_leaving:
            return
        with suppress(UndeliverableException, Oops):
            await self.world.runtime.deactivate(agent)


@pytest.fixture(autouse=True)
def silence() -> Any:
    # Failures of publications are logged with their tracebacks: thousands of them.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def keeps_its_promises(program: Program) -> None:
    run = Run(program)
    with scheduling(program.seed):
        loop.run(run.main, clock=MockClock(autojump_threshold=0))
    assert run.world.faults == []


# ST-02, ST-24, ST-25, ST-26, RT-10, RT-15
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(programs)
def test_every_program_keeps_the_promises(program: Program) -> None:
    keeps_its_promises(program)


# ST-02, ST-26, RT-10, RT-15
@pytest.mark.parametrize("workers", ["as they are", "soon tired"])
@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, 160, 20)])
def test_dense_programs_keep_the_promises(
    seeds: range, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workers == "soon tired":
        monkeypatch.setattr(_workers, "MAX_STREAK", 2)
        monkeypatch.setattr(_workers, "MAX_RESTING", 2)
    for seed in seeds:
        try:
            keeps_its_promises(dense_program(seed))
        except BaseException as exc:
            exc.add_note(f"dense_program({seed})")
            raise


# What the model once found, and hypothesis would take long to find again.
# ST-02, RT-10
@pytest.mark.parametrize("seed", [2732, 2745, 3479, 4993, 5409])
def test_programs_that_once_broke_a_promise_keep_it(seed: int) -> None:
    keeps_its_promises(dense_program(seed))
