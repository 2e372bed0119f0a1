"""The agent runtime: its lifetime, and the answers to the protocol's calls.

What happens to a message is in `_pipeline`, whether it may pass in `_gate`, how it is taken in in
`_admission`, and what is done with agents beside their messages in `_residents`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict, TypeVar, Unpack, cast, overload

from .._sansio._abc import Agent, Subscription
from .._sansio._cancellation import CancellationToken
from .._sansio._contexts import current_frame
from .._sansio._foreign import check_not_autogens, type_name
from .._sansio._identifiers import AgentId, AgentMetadata, AgentType, TopicId
from .._sansio._intervention import InterventionHandler
from .._sansio._options import AgentOptions, Overflow
from .._sansio._serialization import SerializationRegistry
from .._sansio._serializers import MessageSerializer
from .._sansio._tracing import MessageTracer
from ._admission import Admission
from ._calls import call_user, check_condition, is_true
from ._envelope import (
    CANCELLED,
    HANDLED,
    Envelope,
    Publication,
    Request,
)
from ._gate import Gate, State, is_inside
from ._interception import check_intervention_handlers
from ._ledger import RuntimeStatistics
from ._loop import EventLoop, Nursery
from ._observation import Observer
from ._pipeline import Pipeline, split_cancelled
from ._registration import Registration, check_bound, check_overflow, check_seconds
from ._residents import Residents
from ._state import check_agent_state, check_form
from ._supervision import Supervisor, means_program
from ._watchdog import Watchdog

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from ._witness import Witness

__all__ = ["Runtime", "RuntimeOptions", "running"]

AgentT = TypeVar("AgentT", bound=Agent)
SelfT = TypeVar("SelfT", bound="Runtime")
RuntimeT = TypeVar("RuntimeT", bound="Runtime")

LEAVING: Final = "the runtime's block was left"
LEFT: Final = "the runtime's block was left before it was handled"
FIRST_PATIENCE: Final = 1.0  # seconds after a cancellation, before handlers that go on are named
CONDITION_PERIOD: Final = 1.0  # seconds; how often `stop_when` looks without an occasion


class Runtime:
    """Runs agents in one thread, on one event loop.

    Example:
        The block owns every task that the runtime and its agents' handlers run in::

            async with SingleThreadedAgentRuntime() as runtime:
                await Worker.register(runtime, "worker", Worker)
                runtime.start()
                answer = await runtime.send_message(Task("x"), AgentId("worker", "default"))
                await runtime.stop_when_idle()

        Left normally, it lets running handlers finish, fails what is still queued with
        `UndeliverableException` and closes every agent. Left by an exception, it cancels what runs
        and closes every agent. Either way no task is left behind.

    Args:
        intervention_handlers: See every message and reply on its way, in this order.
        tracer_provider: Where spans go; None for the global provider, if the application has set
            one when the runtime starts. ``AUTOGEN_DISABLE_RUNTIME_TRACING=true`` in the environment
            turns tracing off.
        ignore_unhandled_exceptions: What happens to the failures of publications' handlers, which
            no sender waits for. True: they are logged. False: also, the next `stop`,
            `stop_when_idle`, `stop_when`, `process_next`, `close` or end of the block raises them
            all as one exception group.
        max_pending: How many messages may be accepted and unfinished; None for no bound. It binds
            submitters outside of handlers; what handlers submit is always taken in. A publication
            needs room for one, however many recipients it will have.
        overflow: What a submitter meets at a bound: ``"wait"`` for room, or ``"raise"``
            `Overloaded`. Agent types may have their own.
        strict: Whether a request that no handler of a `RoutedAgent` accepts raises
            `CantHandleException` at its sender, instead of returning None.
        blocked_after: Report what has not given the event loop's thread back for so many seconds:
            a handler that computes, or calls what blocks, and cannot be interrupted. The logger
            `EVENT_LOGGER_NAME` gets an `EventLoopBlockedEvent` at level WARNING with the agent and
            the stack, and an `EventLoopReleasedEvent` when it is over. A thread of the runtime's
            own watches, as long as its block. None: nobody watches.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
    """

    # The event loop that this class of runtimes runs on.
    _loop: ClassVar[EventLoop]

    def __init__(
        self,
        *,
        intervention_handlers: Sequence[InterventionHandler] | None = None,
        tracer_provider: TracerProvider | None = None,
        ignore_unhandled_exceptions: bool = True,
        max_pending: int | None = None,
        overflow: Overflow = "wait",
        strict: bool = False,
        blocked_after: float | None = None,
    ) -> None:
        check_intervention_handlers(intervention_handlers)
        check_overflow(overflow)
        check_seconds(blocked_after, "blocked_after", "to have nobody watch")
        MessageTracer.choose(tracer_provider)  # refuses what is no provider
        self.strict = strict
        self._overflow: Overflow = overflow
        self._serialization = SerializationRegistry()
        self._tracer_provider = tracer_provider
        self._observer = Observer(self._serialization)
        self._supervisor = Supervisor(self._loop, ignore=ignore_unhandled_exceptions)
        self._supervisor.end_block = self._crash
        self._watchdog = None if blocked_after is None else Watchdog(blocked_after)
        loop = self._loop
        self._pipeline = Pipeline(
            self,
            loop,
            intervention_handlers or (),
            self._supervisor,
            check_bound(max_pending, "max_pending"),
            self._watchdog,
        )
        self._gate = Gate(loop, self._pipeline)
        self._admission = Admission(loop, self._pipeline, self._gate, self._observer, overflow)
        self._residents = Residents(loop, self._pipeline, self._gate)
        # Short ways to what every message needs.
        self._ledger = self._pipeline.ledger
        self._workers = self._pipeline.workers
        self._activations = self._pipeline.activations
        self._new_reply = loop.Reply
        self._block: AbstractAsyncContextManager[Any] | None = None
        self._nursery: Nursery | None = None
        self._here = loop.here
        self._place: object | None = None  # where the nursery is: what `here` gives there
        # What handlers raised that is meant for the program.
        self._crashes: list[BaseException] = []

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._gate.state.value}, {len(self._activations)} agents, "
            f"{self._ledger.pending} pending>"
        )

    def _show(self, witness: Witness | None) -> None:
        """Have *witness* told what happens to messages from now on, and to agents; or nobody."""
        self._observer.witness = self._pipeline.witness = witness

    # --- the block

    async def __aenter__(self: SelfT) -> SelfT:
        if self._block is not None:
            raise RuntimeError("this runtime's block has been entered already: use one at a time")
        self._loop.check_running()
        block = self._run_block()
        await block.__aenter__()
        self._block = block
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._block is not None
        try:
            return await self._block.__aexit__(exc_type, exc, traceback)
        finally:
            self._block = None

    @asynccontextmanager
    async def _run_block(self) -> AsyncGenerator[None, None]:
        errors: list[BaseException] = []
        async with self._own_nursery(errors):
            yield
            with self._gate.stopping():
                self._gate.fail_queued(LEFT)
                await self._ledger.wait_until(self._gate.nothing_runs)
                self._end(LEAVING)
        self._gate.close(State.STOPPED)
        self._gate.fail_queued(LEFT)
        failures = await self._residents.close_all()
        if errors:
            raise self._choose_error([*errors, *failures])
        self._raise_failures(failures)

    @asynccontextmanager
    async def _own_nursery(self, errors: list[BaseException]) -> AsyncGenerator[None, None]:
        """Have a nursery for everything that runs, until the block ends.

        What leaves the block is to leave it as itself: a nursery would wrap it in a group. So
        errors go around the nursery, into *errors*, except cancellations of its own, which it has
        to see.
        """
        self._crashes.clear()
        self._gate.ending = False
        if self._watchdog is not None:
            self._watchdog.open(self._loop.home(), lambda: self._ledger.running > 0)
        try:
            async with self._loop.open_nursery() as nursery:
                self._nursery = nursery
                self._place = self._loop.here()
                self._workers.open(nursery)
                self._residents.reaper.open(nursery)
                self._observer.choose(self._tracer_provider)
                try:
                    yield
                except BaseException as exc:  # raised by the caller, or here
                    crashed = nursery.cancel_scope.cancel_called
                    self._end(LEAVING)
                    if crashed:
                        raise
                    errors.append(exc)
                finally:
                    self._nursery = self._place = None
                    self._workers.halt()
                    self._residents.reaper.close()
        except BaseException as exc:  # raised by the caller
            errors.append(exc)
        if self._watchdog is not None:
            self._watchdog.close()
        self._workers.close()
        errors[:0] = self._crashes

    def _raise_failures(self, failures: list[BaseException]) -> None:
        """Raise what agents' `close` raised and what publications failed with, if anything."""
        kept = self._supervisor.take()
        found = failures if kept is None else [*failures, kept]
        # A cancellation alone is no failure of an agent's.
        alone = len(failures) == 1 and not isinstance(failures[0], Exception)
        if alone or any(map(self._rank, failures)):
            raise self._choose_error(found)
        if failures:
            raise BaseExceptionGroup("agents failed to close", found)
        if kept is not None:
            raise kept

    def _choose_error(self, errors: list[BaseException]) -> BaseException:
        """Of several errors that end a block one leaves it, and the others are logged.

        It is the one that means the most beside this runtime, and the first of those.
        """
        first, *others = sorted(errors, key=self._rank, reverse=True)
        for other in others:
            _, error = split_cancelled(other, self._loop.Cancelled)
            if error is not None:
                self._supervisor.log(error, "raised while the runtime's block was left")
        return bare(first)

    def _rank(self, error: BaseException) -> int:
        """What it means beside this runtime: the program, or the whole task, or nothing."""
        return 2 if means_program(error) else int(self._loop.ends_task(error))

    def _crash(self, error: BaseException) -> None:
        """A handler raised what is meant for the program: end the block with it."""
        self._crashes.append(error)
        reason = f"a handler raised {type(error).__name__}"
        self._end(reason)
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel(reason)

    def _end(self, reason: str) -> None:
        """Cancel what runs and fail what is queued: nothing begins any more in this block.

        Requests are refused from now on. Shielded cleanup that sends one would wait for ever.
        """
        self._gate.ending = True
        self._gate.flowing = False
        self._workers.halt()
        self._gate.fail_farewells(LEFT)  # the end of the block closes all agents
        self._gate.fail_queued(LEFT)
        self._gate.cancel_running(reason, again=False)
        self._ledger.look()

    def _check_place(self) -> None:
        """Refuse a call from another event loop than the one that the runtime runs on.

        Raises:
            RuntimeError: it says how to reach the runtime from there.
        """
        if self._place is not None and self._here() != self._place:
            raise RuntimeError(
                "this runtime runs on another event loop, in another thread say, and can only be "
                "used there: from elsewhere use a runtime behind trio_agents.portal.open_portal()"
            )

    # --- start and stop

    def is_started(self) -> bool:
        """Whether messages are handled as they come: after `start`, before any stop."""
        return self._gate.state is State.STARTED

    def start(self) -> None:
        """Begin to handle messages. Returns at once; what was submitted before goes first.

        Handlers see the context variables that are in force here.

        Raises:
            RuntimeError: outside of the runtime's block, or already started.
        """
        self._check_place()
        if self._gate.state is not State.STOPPED and not self._gate.ending:
            raise RuntimeError(f"the runtime is {self._gate.state.value} already: stop() it first")
        self._need_nursery("start()")
        self._observer.choose(self._tracer_provider)
        self._gate.state = State.STARTED
        self._residents.reopen()
        if self._nursery is not None:
            self._workers.open(self._nursery)
        self._gate.open()
        self._ledger.look()

    def _need_nursery(self, call: str) -> None:
        """See to it that there is a nursery, or will be when others have had their turn.

        Raises:
            RuntimeError: there is none.
        """
        if self._nursery is None or self._gate.ending:
            raise RuntimeError(
                f"{call} needs the runtime's block: "
                "`async with SingleThreadedAgentRuntime() as runtime:`"
            )

    async def stop(self, *, deadline: float = math.inf) -> None:
        """Take no more messages, fail those that are queued, and let running handlers finish.

        What is queued fails with `UndeliverableException`. Requests that running handlers send
        meanwhile fail so too; what they publish waits, like everything that is submitted later, for
        the next `start`. Agents, subscriptions and registrations stay.

        Cancelled while it waits for handlers, it has stopped the runtime all the same; they go on.

        Args:
            deadline: A time on the event loop's clock (``trio.current_time() + 5``) at which
                handlers that still run are cancelled. Their senders get `MessageCancelled`. Those
                that go on all the same are waited for, and named in the log after a second.

        Raises:
            RuntimeError: not started, or called by a handler, which it would wait for.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        self._check_started("stop")
        self._gate.check_outside_handlers("stop")
        await self._stop(deadline)
        self._supervisor.raise_kept()

    async def stop_when_idle(self) -> None:
        """Wait until nothing that was accepted is unfinished, then stop.

        Messages that handlers send or publish meanwhile are waited for too.

        Raises:
            RuntimeError: not started, or called by a handler, which it would wait for.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        self._check_started("stop_when_idle")
        self._gate.check_outside_handlers("stop_when_idle")
        await self._ledger.wait_until(self._gate.is_idle)
        if self._observer.witness is not None:
            self._observer.witness.idle()
        if self._gate.state is State.STARTED:
            await self._stop(math.inf)
        self._supervisor.raise_kept()

    async def stop_when(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* is true, then `stop`.

        It is looked at whenever a message has been settled, and once a second beside that. An event
        that a handler sets, and a task that waits for it and calls `stop`, needs no polling.

        Raises:
            TypeError: *condition* is no function, or is async; the runtime goes on.
            RuntimeError: not started, or called by a handler, which it would wait for.
            BaseException: what *condition* raised; the runtime goes on.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        check_condition(condition)
        self._check_started("stop_when")
        self._gate.check_outside_handlers("stop_when")
        failures: list[BaseException] = []

        def look() -> bool:
            # Called where a message is settled: what it raises belongs into this task.
            try:
                return is_true(condition)
            except BaseException as exc:
                failures.append(exc)
                return True

        with self._ledger.watch(look) as was_true:
            while self._gate.state is State.STARTED and not was_true.is_set() and not look():
                deadline = self._loop.current_time() + CONDITION_PERIOD
                with self._loop.CancelScope(deadline=deadline):
                    await was_true.wait()
        if failures:
            raise failures[0]
        if self._gate.state is State.STARTED:
            await self._stop(math.inf)
        self._supervisor.raise_kept()

    async def close(self) -> None:
        """Stop if started, then close every agent that was made. It may be repeated.

        No agent is closed while it handles a message: handlers that run although the runtime is not
        started, because a stop still waits for them, or `process_next` has begun them, are waited
        for, and nothing else begins meanwhile. All agents are closed, whatever one of them raises.
        The runtime may be started again, with the same agents.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            BaseExceptionGroup: what agents raised, and failures of publications.
        """
        self._check_place()
        self._gate.check_outside_handlers("close")
        if self._gate.state is State.STARTED:
            await self._stop(math.inf)
        # Others may be stopping it, and some handlers outlive a stop, or were begun by hand.
        async with self._gate.resting():
            failures = await self._residents.close_all()
        self._raise_failures(failures)

    async def process_next(self) -> None:
        """Take up the next message by hand, instead of `start`.

        Waits while there is none. Returns when the handler has run to where it first waits, not
        when it has ended.

        Raises:
            RuntimeError: outside of the runtime's block, or started: then messages are taken up
                as they come. Also if that comes to be while it waits.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        self._check_place()
        self._need_nursery("process_next()")
        self._gate.check_by_hand()
        self._supervisor.raise_kept()
        self._residents.reopen()
        await self._gate.pass_one()
        # In one turn of the loop a worker is woken, in the next it begins. Several recipients of a
        # publication take as many workers, if they wait.
        await self._loop.checkpoint()
        while not self._workers.is_empty:
            await self._loop.checkpoint()
        self._supervisor.raise_kept()

    @property
    def unprocessed_messages_count(self) -> int:
        """How many messages wait to be taken up. Those whose handlers run are not among them."""
        return max(0, self._ledger.pending - self._ledger.running)

    def statistics(self) -> RuntimeStatistics:
        """Count what has become of all messages, at this moment."""
        ledger = self._ledger
        door = self._pipeline.door
        return RuntimeStatistics(
            accepted=ledger.accepted,
            handled=ledger.handled,
            failed=ledger.failed,
            dropped=ledger.dropped,
            cancelled=ledger.cancelled,
            undeliverable=ledger.undeliverable,
            pending=ledger.pending,
            running=ledger.running,
            waiting=(0 if door is None else len(door)),
            agents=sum(a.agent is not None for a in self._activations.values()),
            mailboxes={
                id: activation.queued
                for id, activation in self._activations.items()
                if activation.queued
            },
            dead_letters=tuple(ledger.dead_letters),
        )

    async def _stop(self, deadline: float) -> None:
        with self._gate.stopping():
            self._gate.fail_queued("the runtime was stopped before it was handled")
            if deadline != math.inf:
                with self._loop.CancelScope(deadline=deadline):
                    await self._ledger.wait_until(self._gate.nothing_runs)
                reason = "the runtime was stopped and its deadline passed"
                self._gate.cancel_queued(reason)
                self._gate.cancel_running(reason, again=True)
                await self._name_stubborn()
            await self._ledger.wait_until(self._gate.nothing_runs)

    async def _name_stubborn(self) -> None:
        """Wait for handlers that were cancelled, and name those that go on all the same."""
        began = self._loop.current_time()
        patience = FIRST_PATIENCE
        while True:
            with self._loop.CancelScope(deadline=began + patience):
                await self._ledger.wait_until(self._gate.nothing_runs)
            if self._gate.nothing_runs():
                return
            self._supervisor.name_stubborn(self._workers.at_work, patience)
            patience *= 10  # a log is read, and need not grow

    def _check_started(self, name: str) -> None:
        self._check_place()
        if self._gate.state is not State.STARTED:
            raise RuntimeError(
                f"{name}() was called on a runtime that is not started: call start() first"
            )

    # --- messages

    async def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Any:
        """Deliver *message* to one agent and return what its handler returns.

        A send is a call. When the sender is cancelled, by a cancel scope, a deadline or the token,
        the handler is cancelled, and the sender resumes when it has unwound. The sender of a
        message that is still queued resumes at once; nothing was delivered. Waits for `start` if
        the runtime is not started.

        Args:
            message: Any object; it is handed over as it is, by reference.
            recipient: The agent, made on demand by its type's factory.
            sender: The sending agent; None outside of agents.
            cancellation_token: Cancels the message wherever it is on its way.
            message_id: A unique id for logs and traces; made up when somebody reads it if None.

        Returns:
            What the handler returned; None if no handler of a `RoutedAgent` accepted the message
            (see *strict*).

        Raises:
            UndeliverableException: the runtime stopped before the message was handled. Its
                subclasses: `UnknownAgentType`, also a `LookupError`; `Overloaded`, see *overflow*.
            CantHandleException: the agent cannot handle the message.
            MessageDroppedException: an intervention handler dropped the message or the reply.
            MessageCancelled: the token was cancelled, or `stop` reached its deadline.
            DeadlockError: this request and others would have waited for each other for ever.
            BaseException: whatever the handler raised, the very object.
        """
        if self._here() != self._place:
            self._check_place()
        parent = current_frame.get()
        request = Request(
            message,
            sender,
            parent if isinstance(parent, Envelope) else None,
            recipient,
            self._new_reply(),
        )
        activation = self._activations.get(recipient)
        if activation is None:
            activation = self._admission.find_recipient(request, recipient)
        try:
            if (
                cancellation_token is not None
                or message_id is not None
                or (sender is not None and sender.__class__ is not AgentId)
                or self._observer.is_listening()
            ):
                self._admission.prepare(request, cancellation_token, message_id)
            if self._gate.flowing and self._admission.unbounded:
                request.activation = activation
                activation.queued += 1
                self._ledger.accept()
                self._workers.submit(request)
                if request.token is not None:
                    self._pipeline.link_token(request, request.token)
            else:
                await self._admission.admit(request, activation)
        except BaseException:  # nothing was sent: no trace is left of the new recipient
            self._pipeline.forget_if_unused(activation)
            raise
        reply = request.reply
        await reply.wait(partial(self._pipeline.cancel, request, "its sender was cancelled"))
        if request.outcome is HANDLED and not reply.interrupted:
            return request.result
        if reply.interrupted:
            await reply.outlast()
        # Its traceback refers to this frame, and to the one that handled the request. Without the
        # `None` and the `del` they and the error keep each other alive.
        error, request.error = request.error, None
        if error is None or request.outcome is CANCELLED:
            reply.raise_if_cancelled()
        assert error is not None
        try:
            raise error
        finally:
            del error, request, reply, parent

    async def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> None:
        """Hand *message* to every agent whose subscriptions match *topic_id*, except *sender*.

        Returns when the message is queued, before any handler begins; it only waits, cancellably,
        where a bound was set and reached. Each recipient handles the message once, and they begin
        in the order of their subscriptions. There is no reply, and no error if nobody subscribes
        (the message is then among the dead letters of `statistics`).

        Args:
            message: Any object; it is handed over as it is, by reference.
            topic_id: Where to publish.
            sender: The publishing agent, which does not hear itself; None outside of agents.
            cancellation_token: Cancels the message, and every handler of it.
            message_id: A unique id for logs and traces; made up when somebody reads it if None.

        Raises:
            Overloaded: a bound was reached, and its policy is to refuse.
            MessageCancelled: the token was cancelled before.
            DeadlockError: the publisher would have waited for room for ever.
        """
        if not isinstance(topic_id, TopicId):
            raise TypeError(f"topic_id must be a TopicId, not {type_name(topic_id)}")
        if self._here() != self._place:
            self._check_place()
        parent = current_frame.get()
        publication = Publication(
            message, sender, parent if isinstance(parent, Envelope) else None, topic_id
        )
        if (
            cancellation_token is not None
            or message_id is not None
            or (sender is not None and sender.__class__ is not AgentId)
            or self._observer.is_listening()
        ):
            self._admission.prepare(publication, cancellation_token, message_id)
        if self._gate.flowing and self._admission.unbounded:
            self._ledger.accept()
            self._workers.submit(publication)
            if publication.token is not None:
                self._pipeline.link_token(publication, publication.token)
            return
        await self._admission.admit(publication, None)
        # Whoever stops messages, or holds them up, waits for the handlers that run. So these do not
        # wait for room that is not made meanwhile.
        if publication.outside and (self._gate.flowing or not is_inside(publication)):
            await self._admission.wait_for_places(publication)

    # --- registration

    async def register_factory(
        self,
        type: str | AgentType,
        agent_factory: Callable[[], Agent | Awaitable[Agent]],
        *,
        expected_class: type[Any] | None = None,
        **options: Unpack[AgentOptions],
    ) -> AgentType:
        """Say how agents of *type* are made. Adds no subscriptions: prefer the class's `register`.

        Does not wait.

        Args:
            type: A name that has not been registered yet.
            agent_factory: Called without arguments, once for each key that is used; may be async.
                If it fails, all messages that wait for the agent fail; the next one tries again.
            expected_class: What the factory's agents must be instances of; None for anything.
            options: The limits that these agents live under, see `AgentOptions`.

        Raises:
            TypeError: the factory takes arguments, or something is of the wrong type.
            ValueError: the type is registered already, or a limit is out of range.
        """
        self._check_place()
        agent_type = type if isinstance(type, AgentType) else AgentType(type)
        options.setdefault("overflow", self._overflow)
        registration = Registration(
            agent_type, agent_factory, expected_class=expected_class, **options
        )
        self._pipeline.registry.add_factory(registration)
        if registration.mailbox_size is not None:
            self._admission.bind()
        return agent_type

    async def register_agent_instance(self, agent_instance: Agent, agent_id: AgentId) -> AgentId:
        """Put a ready agent at *agent_id*. Adds no subscriptions: prefer `register_instance`.

        Raises:
            TypeError: it is not an agent.
            ValueError: the id is taken, the type has a factory, or the type's other instances are
                of another class.
            RuntimeError: the agent belongs to another id or runtime.
        """
        self._check_place()
        if not isinstance(agent_id, AgentId):
            raise TypeError(f"agent_id must be an AgentId, not {type_name(agent_id)}")
        if not callable(getattr(agent_instance, "on_message", None)):
            raise TypeError(f"expected an Agent, not {type_name(agent_instance)}")
        check_not_autogens(agent_instance, "agent")
        self._pipeline.registry.add_instance(agent_instance, agent_id)
        try:
            await agent_instance.bind_id_and_runtime(id=agent_id, runtime=self)
        except BaseException:  # undone, and raised again
            self._pipeline.registry.remove_instance(agent_id)
            raise
        self._pipeline.settle_in(agent_id, agent_instance)
        return agent_id

    async def add_subscription(self, subscription: Subscription) -> None:
        """Obey *subscription* from now on, for publications whose turn is still to come.

        Raises:
            TypeError: it is not a subscription.
            ValueError: there is one like it, or of the same id, already.
        """
        self._check_place()
        check_not_autogens(subscription, "subscription")
        self._pipeline.routes.add(subscription)

    async def remove_subscription(self, id: str) -> None:
        """Forget the subscription of this id.

        Raises:
            LookupError: there is none.
        """
        self._check_place()
        self._pipeline.routes.remove(id)

    def add_message_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        """Know one or several more serializers; the last one for a type and content type counts.

        Raises:
            TypeError: one of them is not a serializer; none was added.
        """
        self._serialization.add_serializer(serializer)

    # --- agents

    async def _ensure(self, id: AgentId) -> Agent:
        self._check_place()
        return await self._residents.ensure(id)

    @overload
    async def get(self, id: AgentId, /, *, lazy: bool = ...) -> AgentId: ...

    @overload
    async def get(
        self, type: AgentType | str, /, key: str = ..., *, lazy: bool = ...
    ) -> AgentId: ...

    async def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        """Give an agent's id; with ``lazy=False`` also make the agent now.

        Raises:
            LookupError: not lazy, and the agent type is unknown.
        """
        id = id_or_type if isinstance(id_or_type, AgentId) else AgentId(id_or_type, key)
        if not lazy:
            await self._ensure(id)
        return id

    @overload
    async def try_get_underlying_agent_instance(self, id: AgentId) -> Agent: ...

    @overload
    async def try_get_underlying_agent_instance(
        self, id: AgentId, type: type[AgentT]
    ) -> AgentT: ...

    async def try_get_underlying_agent_instance(self, id: AgentId, type: type[Any] = Agent) -> Any:
        """Give the agent itself, made if need be. For debugging: agents are reached by messages.

        Raises:
            LookupError: the agent type is unknown.
            TypeError: the agent is not of the class *type*.
        """
        agent = await self._ensure(id)
        if not isinstance(agent, type):
            raise TypeError(
                f"agent {id} is a {agent.__class__.__qualname__}, not a {type.__qualname__}"
            )
        return agent

    async def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        """Give one agent's type, key and description. The agent is made if need be.

        Raises:
            LookupError: the agent type is unknown.
        """
        return (await self._ensure(agent)).metadata

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        """Give one agent's state, also while it handles messages. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: the state is not what JSON can express; the error names the path.
        """
        state = await call_user((await self._ensure(agent)).save_state)
        return check_agent_state(agent, state)

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        """Restore one agent's state, also while it handles messages. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: *state* is not a mapping.
        """
        check_form(agent, state)
        await call_user((await self._ensure(agent)).load_state, state)

    async def deactivate(self, agent_id: AgentId) -> None:
        """Close one agent and let go of it, when what was submitted to it before has been handled.

        Its state is not saved. Messages that come meanwhile wait, and the first of them has a new
        agent made. An agent that does not exist is no error; a publication that was submitted
        before, and whose turn comes later, may make it still. An instance that was registered is
        registered no more.

        Raises:
            TypeError: *agent_id* is no agent id.
            RuntimeError: called in a call chain of the agent's own handlers, which it would wait
                for.
            UndeliverableException: the runtime was stopped before; the agent stays.
            Exception: what the agent's `close` raised; it is let go of all the same.
        """
        self._check_place()
        if not isinstance(agent_id, AgentId):
            raise TypeError(
                f"agent_id must be an AgentId, not {type_name(agent_id)}: "
                'AgentId("type", "key"), or AgentId.from_str("type/key")'
            )
        await self._residents.deactivate(agent_id)

    # --- state

    async def save_state(self) -> Mapping[str, Any]:
        """Give the states of all agents that were made, as ``{"type/key": state}``.

        It is one consistent cut: messages are held up, those that have begun are finished, with all
        they wait for, and then every agent is asked while nothing is handled. A message that is
        with an intervention handler has begun. Queued messages and subscriptions are not part of
        the cut.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            StateError: a state is not what JSON can express; the error names agent and path.
        """
        self._check_place()
        return await self._residents.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` gave: every agent it names is made and restored.

        Nothing is handled meanwhile. Agents that *state* does not name are left as they are.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            StateError: *state* is not one of ours, or names agent types that are not registered;
                nothing was loaded.
            BaseException: what a factory or an agent's `load_state` raised. The agents that *state*
                names before that one have been restored, those behind it have not.
        """
        self._check_place()
        await self._residents.load_state(state)


class RuntimeOptions(TypedDict, total=False):
    """The keyword arguments of a runtime, see there."""

    intervention_handlers: Sequence[InterventionHandler] | None
    tracer_provider: TracerProvider | None
    ignore_unhandled_exceptions: bool
    max_pending: int | None
    overflow: Overflow
    strict: bool
    blocked_after: float | None


@asynccontextmanager
async def running(runtime: RuntimeT) -> AsyncGenerator[RuntimeT, None]:
    """Enter the block of *runtime* and start it; on a normal exit, finish all work."""
    async with runtime:
        runtime.start()
        yield runtime
        if runtime.is_started():
            await runtime.stop_when_idle()


def bare(error: BaseException) -> BaseException:
    """One bare `KeyboardInterrupt` for Ctrl-C, however many groups the nurseries put it in."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    if group.subgroup(KeyboardInterrupt) is None:
        return group
    interrupt = KeyboardInterrupt()
    interrupt.__cause__ = group
    return interrupt
