"""Runs programs, and knows what may not happen in any of them.

The world keeps a history of what applications can see, and checks it as it goes. It shares nothing
with the runtime's own books, which the `Monitor` of each simulation looks into besides.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from math import inf
from typing import Any, Final, Literal, cast, get_args

import anyio
import attrs

from ..._agents._base_agent import BaseAgent
from ..._core._ledger import RuntimeStatistics
from ..._loops import _asyncio as asyncio_loop
from ..._sansio._cancellation import CancellationToken
from ..._sansio._contexts import AgentInstantiationContext, MessageContext
from ..._sansio._errors import (
    DeadlockError,
    MessageCancelled,
    MessageDroppedException,
    Overloaded,
    UndeliverableException,
)
from ..._sansio._identifiers import AgentId
from ..._sansio._intervention import DefaultInterventionHandler, DropMessage
from ..._sansio._log_names import ROOT_LOGGER_NAME
from ..._sansio._subscriptions import TypeSubscription
from .._faults import press_ctrl_c
from .._monitor import InvariantViolation
from .._simulation import Scenario, Simulation
from ._programs import AGENTS, TYPES, Act, Job, Program, Step

__all__ = ["EXPECTED", "FAULTS", "Fault", "Running", "World", "listening", "scenario_of"]

Fault = Literal[
    "senders are cancelled",
    "tokens are cancelled",
    "the block is cancelled",
    "Ctrl-C",
    "garbage is collected",
    "the clock jumps",
]
FAULTS: Final = get_args(Fault)

logger: Final = logging.getLogger(ROOT_LOGGER_NAME)


class Oops(Exception):
    """What the programs raise. Each one has a number, so that none can be lost unnoticed."""


# What a program may meet, beside a cancellation of its own.
EXPECTED: Final[tuple[type[BaseException], ...]] = (
    Oops,
    DeadlockError,
    MessageCancelled,
    asyncio_loop.MessageCancelled,
    MessageDroppedException,
    Overloaded,
    UndeliverableException,
    ExceptionGroup,
)


# What one handler leaves in it, the next one in the same task must not find.
canary: ContextVar[int] = ContextVar("canary", default=0)


@attrs.define(eq=False)
class Message:
    """One submission of a job."""

    job: Job
    number: int  # in the order of submission
    chain: tuple[AgentId, ...] = ()  # the agents whose handlers wait for it
    inside: bool = False  # submitted by a handler
    published: bool = False
    publisher: AgentId | None = None
    topic_type: str | None = None
    asked: bool = False  # sent by an intervention handler
    begun: list[AgentId] = attrs.Factory(list[AgentId])

    def __repr__(self) -> str:
        return f"<message {self.number}, chain {' -> '.join(map(str, self.chain))}>"


class World:
    """What has been submitted, what runs, who is alive, what was raised; and what may not be."""

    def __init__(self, sim: Simulation, program: Program) -> None:
        self.sim = sim
        self.program = program
        self.runtime: Any = None
        self.submitted = 0
        self.running: list[tuple[Message, Agent]] = []
        self.alive: dict[AgentId, Agent] = {}
        self.made = Counter[AgentId]()
        self.jobs: dict[int, Job] = {}
        self.returned = 0  # handlers, and their replies came through
        self.replies = 0  # that reached their senders
        self.raised = 0  # how many Oops there are
        self.observed: set[int] = set()  # those that somebody got
        self.logged: set[int] = set()
        self.kept: set[int] = set()  # those of them that a call of the runtime's has raised
        # Subscriptions that were removed, with the number of the last message before that.
        self.gone: dict[tuple[str, str], int] = {}
        self.is_leaving = False
        self.is_broken_off = False  # the block is not left the way the program says
        self.is_over = False
        self._last_begun = Counter[tuple[AgentId, bool, bool]]()

    def fault(self, text: str) -> None:
        """End the run: a promise was not kept."""
        self.sim.end(InvariantViolation(text))

    # --- what handlers do

    def submit(self, job: Job, parent: Message | None = None, at: AgentId | None = None) -> Message:
        """To be called in the step of the task that then submits."""
        self.submitted += 1
        message = Message(job, self.submitted, inside=parent is not None)
        self.jobs[message.number] = job
        if parent is not None and at is not None:
            message.chain = (*parent.chain, at)
        return message

    def oops(self) -> Oops:
        """Make an exception like no other."""
        self.raised += 1
        return Oops(self.raised)

    async def send(
        self, message: Message, recipient: AgentId, token: CancellationToken | None = None
    ) -> None:
        """Send a message, and look at what comes back."""
        try:
            reply = await self.runtime.send_message(message, recipient, cancellation_token=token)
            if reply != message.number:
                self.fault(f"{message} was answered by {reply}")
            self.replies += 1
        except BaseException as exc:  # only looked at
            self.observed |= _numbers(exc)
            needless = (
                isinstance(exc, DeadlockError)
                and recipient in message.chain
                and not message.begun
                and message.job.on_way != "ask"
            )
            if needless:
                self.fault(f"{message} to {recipient} would have got through: {exc}")
            raise
        finally:
            # A send is a call: whatever the sender gets, the handler has ended.
            if any(running is message for running, _ in self.running):
                self.fault(f"a sender went on while {message} was being handled")

    async def handle(self, agent: Agent, message: Message) -> int:
        """Handle a message."""
        id = agent.id
        if self.is_over:
            self.fault(f"{message} began after the end")
        if self.alive.get(id) is not agent:
            self.fault(f"{message} reached an agent that is closed")
        if id in message.begun:
            self.fault(f"{message} was handled twice by {id}")
        if message.publisher == id:
            self.fault(f"{message} came back to its publisher {id}")
        gone = self.gone.get((message.topic_type or "", id.type), self.submitted)
        if message.number > gone:
            self.fault(f"{message} reached {id}, which subscribes no more")
        found = canary.get()
        if found:
            self.fault(f"{message} met a context variable that message {found} had set")
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
        agent.handled += 1
        self.returned += 1
        return message.number

    def _check_order(self, id: AgentId, message: Message) -> None:
        # At the door of a full runtime those from inside pass those from outside. While states are
        # saved, requests from inside pass all others: handlers wait for them.
        bounded = self.program.max_pending is not None
        saves = any(step.kind in ("save", "load") for step in self.program.steps)
        first = saves and message.inside and not message.published
        stream = (id, bounded and message.inside, first)
        last = self._last_begun[stream]
        if last >= message.number:
            self.fault(f"{message} began at {id} after number {last}")
        self._last_begun[stream] = message.number

    def _check_limit(self, id: AgentId) -> None:
        limit = TYPES[id.type].get("max_concurrency")
        running = [m for m, agent in self.running if agent.id == id and id not in m.chain]
        if limit is not None and len(running) > limit:
            self.fault(f"{id} handles {running} at once")

    async def _do(self, agent: Agent, message: Message, act: Act) -> None:
        match act.kind:
            case "wait":
                await anyio.sleep(act.seconds)
            case "insist":
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(act.seconds)
            case "mark":
                canary.set(message.number)
            case "hang":
                await anyio.sleep_forever()
            case "raise":
                raise self.oops()
            case "raise group":
                raise ExceptionGroup("two", [self.oops(), self.oops()])
            case "send" | "send twice" | "publish":
                await self._submit(agent, message, act)

    async def _submit(self, agent: Agent, message: Message, act: Act) -> None:
        job = Job() if act.job is None else act.job
        try:
            with anyio.move_on_after(inf if act.patience is None else act.patience):
                if act.kind == "publish":
                    inner = self.submit(job, message)
                    inner.published, inner.publisher = True, agent.id
                    inner.topic_type = act.topic.type
                    await agent.publish_message(inner, act.topic)
                elif act.kind == "send":
                    await self.send(self.submit(job, message, agent.id), act.agent)
                else:
                    async with anyio.create_task_group() as group:
                        for recipient in (act.agent, act.other):
                            group.start_soon(self._send_from, agent, message, job, recipient)
        except EXPECTED:
            if not message.job.careful:
                raise

    async def _send_from(
        self, agent: Agent, message: Message, job: Job, recipient: AgentId
    ) -> None:
        await self.send(self.submit(job, message, agent.id), recipient)

    # --- what the program does

    @contextmanager
    def expecting(self) -> Generator[None, None, None]:
        """Take note of what a call of the runtime's raises, if a program may meet that."""
        try:
            yield
        except EXPECTED as exc:
            self.kept |= _numbers(exc)

    @contextmanager
    def one_interrupt(self) -> Generator[None, None, None]:
        """See to it that Ctrl-C leaves a runtime's block as itself, and not in a group."""
        try:
            yield
        except BaseExceptionGroup as exc:
            if exc.subgroup(KeyboardInterrupt) is not None:
                self.fault(f"Ctrl-C left the runtime's block in a group: {exc!r}")
            raise

    @contextmanager
    def stopping_when_idle(self) -> Generator[None, None, None]:
        """See to it that a stop at rest finds nothing that it would have to fail."""
        before = len(self.runtime.statistics().dead_letters)
        with self.expecting():
            yield
        for letter in self.runtime.statistics().dead_letters[before:]:
            if "was stopped" in letter.reason:
                self.fault(f"stop_when_idle failed a message that was queued: {letter}")
        self.check_idle()

    def check_idle(self) -> None:
        """Nothing runs, and nothing waits."""
        if self.running:
            self.fault(f"idle, but {self.running} are being handled")
        if self.runtime.statistics().pending:
            self.fault("idle, but messages are pending")

    def check_end(self) -> None:
        """The block was left: what holds of every program then."""
        statistics = self.runtime.statistics()
        if self.running:
            self.fault(f"{self.running} outlive the block")
        if self.alive:
            self.fault(f"{self.alive} were never closed")
        if self.returned != statistics.handled:
            self.fault(
                f"{self.returned} handlers returned, and {statistics.handled} messages are handled"
            )
        if self.replies > statistics.handled:
            self.fault(f"{self.replies} replies came of {statistics.handled} handled messages")
        if (
            not self.program.ignore
            and self.program.leave in ("drain", "stop")
            and not self.is_broken_off
        ):
            unkept = self.logged - self.kept
            if unkept:
                self.fault(f"no call raised the failures number {sorted(unkept)}")

    def check_afterwards(self, tokens: Sequence[CancellationToken]) -> None:
        """All tasks have ended: somebody has got each exception, and tokens hold on to nothing."""
        held = [token for token in tokens if token._links]
        if held:
            self.fault(f"{len(held)} tokens still know messages that have their outcome")
        lost = set(range(1, self.raised + 1)) - self.observed - self.logged
        if lost:
            self.fault(f"nobody got the exceptions number {sorted(lost)}")


def _numbers(exc: BaseException) -> set[int]:
    """Give the numbers of all Oops in an exception, and in what it was raised from."""
    numbers: set[int] = set()
    seen: dict[int, BaseException] = {}
    left: list[BaseException | None] = [exc]
    while left:
        error = left.pop()
        if error is None or id(error) in seen:
            continue
        seen[id(error)] = error
        left.append(error.__cause__)
        if isinstance(error, Oops):
            numbers.add(cast("int", error.args[0]))
        if isinstance(error, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", error).exceptions
    return numbers


class Agent(BaseAgent):
    """Does what its messages say."""

    def __init__(self, world: World) -> None:
        super().__init__("of a program")
        self._world = world
        self.handled = 0
        if self.id in world.alive:
            world.fault(f"a second {self.id} was made")
        world.alive[self.id] = self

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Do what the message says."""
        return await self._world.handle(self, message)

    async def close(self) -> None:
        """Be closed, once, and with nothing to do."""
        world = self._world
        busy = [message for message, agent in world.running if agent is self]
        if busy:
            world.fault(f"{self.id} was closed while it handles {busy}")
        if world.alive.pop(self.id, None) is not self:
            world.fault(f"{self.id} was closed twice")

    async def save_state(self) -> Mapping[str, Any]:
        """Say how much was handled, between two messages."""
        self._check_between_messages("saved")
        return {"handled": self.handled}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._check_between_messages("restored")
        self.handled = state["handled"]

    def _check_between_messages(self, what: str) -> None:
        world = self._world
        busy = [message for message, agent in world.running if agent is self]
        if busy:
            world.fault(f"the state of {self.id} was {what} while it handles {busy}")


class Wrap(DefaultInterventionHandler):
    """Comes first, and puts each message into a box; the next one must find it in there."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        """Wrap a request."""
        return (message,)

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        """Wrap a publication."""
        return (message,)


class Intervene(DefaultInterventionHandler):
    """Does to messages what they say."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        """See a request."""
        return await self._see(message)

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        """See a publication."""
        return await self._see(message)

    async def _see(self, box: Any) -> Any:
        world = self._world
        if not isinstance(box, tuple):
            world.fault(f"{box} has passed by the first intervention handler")
        message = cast("Message", box[0] if isinstance(box, tuple) else box)
        if message.begun:
            world.fault(f"{message} was seen after it had begun")
        job = message.job
        if job.on_way == "drop":
            return DropMessage
        if job.on_way == "raise":
            raise world.oops()
        if job.on_way == "wait":
            await anyio.sleep(1)
        if job.on_way == "ask" and not message.asked:
            inner = world.submit(Job())
            inner.asked = True
            inner.chain = message.chain
            await world.send(inner, job.ask)
        return message

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        """See a reply."""
        what = self._world.jobs[message].reply
        self._world.returned -= 1
        if what == "drop":
            return DropMessage
        if what == "raise":
            raise self._world.oops()
        if what == "wait":
            await anyio.sleep(1)
        self._world.returned += 1
        return message


class Running:
    """One program, while it runs."""

    _block: anyio.CancelScope | None = None  # around the runtime's block

    def __init__(self, sim: Simulation, program: Program) -> None:
        self.sim = sim
        self.program = program
        self.world = World(sim, program)
        self.tokens = [CancellationToken(), CancellationToken()]
        self.all_tokens = list(self.tokens)
        self.scopes: list[anyio.CancelScope] = []
        self.subscriptions: list[str] = []
        self.saved: Mapping[str, Any] = {}

    def befall(self, fault: Fault, _: Simulation) -> None:
        """Have something happen to the program, between two steps."""
        match fault:
            case "senders are cancelled":
                self.sim.cancel_victims()
            case "tokens are cancelled":
                for token in self.tokens:
                    token.cancel()
            case "the block is cancelled":
                self.world.is_leaving = self.world.is_broken_off = True
                if self._block is not None:
                    self._block.cancel()
            case "Ctrl-C":
                self.world.is_leaving = self.world.is_broken_off = True
                press_ctrl_c(self.sim)
            case "garbage is collected":
                gc.collect()
            case "the clock jumps":
                self.sim.jump(2)

    async def run(self) -> RuntimeStatistics:
        """Run it.

        Returns:
            The runtime's statistics after its block.
        """
        program, world = self.program, self.world
        async with anyio.create_task_group() as group:
            with (
                world.expecting(),
                world.one_interrupt(),
                anyio.CancelScope() as scope,
            ):
                self._block = scope
                async with self.sim.open_runtime(
                    started=False,
                    intervention_handlers=[Wrap(), Intervene(world)] if program.intervene else [],
                    ignore_unhandled_exceptions=program.ignore,
                    max_pending=program.max_pending,
                    overflow=program.overflow,
                ) as runtime:
                    world.runtime = runtime
                    await self._set_up()
                    for step in program.steps:
                        await self._take(step, group)
                    await self._leave(scope)
            world.is_over = True
            world.check_end()
            # Whoever submits later waits for a next start: that is not for this program.
            group.cancel_scope.cancel()
        world.check_afterwards(self.all_tokens)
        statistics: RuntimeStatistics = world.runtime.statistics()
        return statistics

    async def _set_up(self) -> None:
        runtime = self.world.runtime
        for type, options in TYPES.items():
            await runtime.register_factory(
                type, self._factory_of(type), expected_class=Agent, **options
            )
        for topic_type, agent_type in self.program.subscriptions:
            await self._subscribe(topic_type, agent_type)
        if self.program.started:
            runtime.start()

    async def _leave(self, scope: anyio.CancelScope) -> None:
        program, runtime = self.program, self.world.runtime
        if program.leave in ("drain", "stop") and not runtime.is_started():
            runtime.start()
        if program.leave == "drain":
            with self.world.stopping_when_idle():
                await runtime.stop_when_idle()
        self.world.is_leaving = True  # what is submitted later is for the next block
        if program.leave == "error":
            error = self.world.oops()
            self.world.observed.add(error.args[0])
            raise error
        if program.leave == "cancel":
            scope.cancel()
            await anyio.sleep_forever()

    def _factory_of(self, type: str) -> Callable[[], Any]:
        world = self.world

        async def make_slowly() -> Agent:
            id = AgentInstantiationContext.current_agent_id()
            world.made[id] += 1
            await anyio.sleep(1)
            if type == "flaky" and world.made[id] % 2:
                error = world.oops()
                world.observed.add(error.args[0])  # by all who wait, or by nobody if they gave up
                raise error
            return Agent(world)

        async def make_asking() -> Agent:
            inner = world.submit(Job())
            inner.asked = True
            await world.send(inner, AGENTS[0])
            return Agent(world)

        made: Mapping[str, Callable[[], Any]] = {
            "slow": make_slowly,
            "flaky": make_slowly,
            "curious": make_asking,
        }
        return made.get(type, lambda: Agent(world))

    async def _subscribe(self, topic_type: str, agent_type: str) -> None:
        subscription = TypeSubscription(topic_type, agent_type, id=f"{topic_type} {agent_type}")
        if subscription.id not in self.subscriptions:
            await self.world.runtime.add_subscription(subscription)
            self.world.gone.pop((topic_type, agent_type), None)
            self.subscriptions.append(subscription.id)

    async def _take(self, step: Step, group: anyio.abc.TaskGroup) -> None:
        runtime, world = self.world.runtime, self.world
        token = None if step.token is None else self.tokens[step.token]
        match step.kind:
            case "send" | "publish":
                for _ in range(step.times):
                    self.scopes.append(anyio.CancelScope())
                    submit = self._send if step.kind == "send" else self._publish
                    group.start_soon(submit, step, token, self.scopes[-1])
            case "cancel":
                if step.number < len(self.scopes):
                    self.scopes[step.number].cancel()
            case "cancel token":
                if token is not None and step.token is not None:
                    token.cancel()
                    self.tokens[step.token] = CancellationToken()
                    self.all_tokens.append(self.tokens[step.token])
            case "sleep":
                await anyio.sleep(step.seconds)
            case "yield":
                for _ in range(step.times):
                    await anyio.lowlevel.checkpoint()
            case "subscribe":
                await self._subscribe(step.topic.type, step.agent.type)
            case "unsubscribe":
                if self.subscriptions:
                    id = self.subscriptions.pop()
                    await runtime.remove_subscription(id)
                    topic_type, _, agent_type = id.partition(" ")
                    world.gone[topic_type, agent_type] = world.submitted
            case "deactivate":
                group.start_soon(self._beside, runtime.deactivate, step.agent)
            case "save":
                group.start_soon(self._beside, self._save)
            case "load":
                group.start_soon(self._beside, runtime.load_state, self.saved)
            case "collect garbage":
                gc.collect()
            case "start":
                if not runtime.is_started():
                    runtime.start()
            case "stop":
                if runtime.is_started():
                    with world.expecting():
                        await runtime.stop(deadline=self.sim.current_time() + step.seconds)
                    if world.running:
                        world.fault("stopped, but handlers run")
            case "stop when idle":
                if runtime.is_started():
                    with world.stopping_when_idle():
                        await runtime.stop_when_idle()

    async def _save(self) -> None:
        self.saved = await self.world.runtime.save_state()

    async def _send(
        self, step: Step, token: CancellationToken | None, scope: anyio.CancelScope
    ) -> None:
        if self.world.is_leaving:
            return
        with scope, self.sim.victim(), self._patience(step), self.world.expecting():
            await self.world.send(self.world.submit(step.job), step.agent, token)

    async def _publish(
        self, step: Step, token: CancellationToken | None, scope: anyio.CancelScope
    ) -> None:
        if self.world.is_leaving:
            return
        with scope, self.sim.victim(), self._patience(step), self.world.expecting():
            message = self.world.submit(step.job)
            message.topic_type = step.topic.type
            await self.world.runtime.publish_message(message, step.topic, cancellation_token=token)

    def _patience(self, step: Step) -> Any:
        patience = inf if step.patience is None else step.patience
        return anyio.move_on_after(patience)  # noqa: ASYNC122  # entered at once

    async def _beside(self, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        if self.world.is_leaving:
            return
        with self.sim.victim(), self.world.expecting():
            await call(*args)


def scenario_of(
    program: Program, fault: Fault | None = None, *, at: int = 0
) -> Scenario[RuntimeStatistics]:
    """Give the scenario that runs *program*, and fails where a promise is not kept.

    Args:
        program: The program.
        fault: What happens to it,
        at: before which step.
    """

    async def scenario(sim: Simulation) -> RuntimeStatistics:
        running = Running(sim, program)
        if fault is not None:
            sim.inject(partial(running.befall, fault), at=max(at, sim.step + 1))
        with listening(running.world.logged):
            return await running.run()

    return scenario


@contextmanager
def listening(logged: set[int]) -> Generator[None, None, None]:
    """Note the exceptions that are logged, and keep them out of any log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                logged.update(_numbers(record.exc_info[1]))

    handler = Handler()
    before = logger.propagate, logger.level, logger.disabled
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.disabled = before[0], before[2]
        logger.setLevel(before[1])
