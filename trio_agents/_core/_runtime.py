"""The agent runtime: lifetime, registration, submission, state.

What happens to a message is in `_pipeline`; this module says when, and answers the protocol's calls.
"""

from __future__ import annotations

import enum
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, Unpack, cast, overload

from .._sansio._abc import Agent, Subscription
from .._sansio._cancellation import CancellationToken
from .._sansio._contexts import current_frame
from .._sansio._errors import (
    MessageCancelled,
    Overloaded,
    StateError,
    UndeliverableException,
    UnknownAgentType,
)
from .._sansio._identifiers import AgentId, AgentMetadata, AgentType, TopicId
from .._sansio._intervention import InterventionHandler
from .._sansio._options import AgentOptions, Overflow
from .._sansio._serialization import SerializationRegistry
from .._sansio._serializers import MessageSerializer
from .._sansio._tracing import MessageTracer
from ._activation import Activation
from ._envelope import (
    CANCELLED,
    HANDLED,
    QUEUED,
    SETTLED,
    UNDELIVERABLE,
    Envelope,
    Errand,
    Farewell,
    Look,
    Publication,
    Request,
)
from ._intake import Intake
from ._ledger import RuntimeStatistics
from ._loop import EventLoop, Nursery
from ._observation import Observer
from ._pipeline import Pipeline, call_user
from ._reaper import Reaper
from ._registration import Registration, check_bound, check_overflow
from ._state import check_agent_state, check_form, parse_state
from ._supervision import Supervisor
from ._waits import begin_waiting, end_waiting

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

__all__ = ["Runtime"]

AgentT = TypeVar("AgentT", bound=Agent)
SelfT = TypeVar("SelfT", bound="Runtime")

LEFT: Final = "the runtime's block was left before it was handled"
CONDITION_PERIOD: Final = 1.0  # seconds; how often `stop_when` looks without an occasion


class State(enum.Enum):
    STOPPED = "stopped"
    STARTED = "started"
    STOPPING = "stopping"


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
            submitters outside of handlers; what handlers submit is always taken in.
        overflow: What a submitter meets at a bound: ``"wait"`` for room, or ``"raise"``
            `Overloaded`. Agent types may have their own.
        strict: Whether a request that no handler of a `RoutedAgent` accepts raises
            `CantHandleException` at its sender, instead of returning None.

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
    ) -> None:
        for handler in intervention_handlers or ():
            if not isinstance(handler, InterventionHandler):
                raise TypeError(
                    "an intervention handler has on_send, on_publish and on_response (derive from "
                    f"DefaultInterventionHandler); {type(handler).__name__} has not"
                )
        check_overflow(overflow)
        MessageTracer.choose(tracer_provider)  # refuses what is no provider
        self.strict = strict
        self._overflow: Overflow = overflow
        self._serialization = SerializationRegistry()
        self._tracer_provider = tracer_provider
        self._observer = Observer(self._serialization)
        self._supervisor = Supervisor(ignore=ignore_unhandled_exceptions)
        self._supervisor.end_block = self._crash
        loop = self._loop
        self._pipeline = Pipeline(
            self,
            loop,
            intervention_handlers or (),
            self._supervisor,
            check_bound(max_pending, "max_pending"),
        )
        self._pipeline.on_idle = self._note_idle
        self._reaper = Reaper(loop, self._let_go)
        # Short ways to what every message needs.
        self._ledger = self._pipeline.ledger
        self._workers = self._pipeline.workers
        self._activations = self._pipeline.activations
        self._new_reply = loop.Reply
        self._intake = Intake(loop)
        self._state = State.STOPPED
        self._holds = 0  # how many look at the agents' states, or wait to
        self._looking = False  # one of them does
        self._errands: set[Envelope] = set()  # agents that are being made outside of workers
        # Invariant: flowing <=> started, and nobody holds the messages up.
        self._flowing = False
        self._bounded = False  # some agent type has a bounded mailbox
        self._unbounded = max_pending is None  # nothing at all has a bound
        self._block: AbstractAsyncContextManager[Any] | None = None
        self._nursery: Nursery | None = None
        self._crashes: list[
            BaseException
        ] = []  # what handlers raised that is meant for the program
        self._ending = False  # the block is being left, and cancels
        self._shut: dict[AgentId, Agent] = {}  # agents that were closed and not used since

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._state.value}, {len(self._activations)} agents, "
            f"{self._ledger.pending} pending>"
        )

    # --- the block

    async def __aenter__(self: SelfT) -> SelfT:
        if self._block is not None:
            raise RuntimeError("this runtime's block has been entered already: use one at a time")
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
        # What leaves the block leaves it as itself: a nursery would wrap it in a group. So errors
        # go around the nursery, except cancellations of its own, which it has to see.
        errors: list[BaseException] = []
        self._crashes.clear()
        self._ending = False
        try:
            async with self._loop.open_nursery() as nursery:
                self._nursery = nursery
                self._workers.open(nursery)
                self._reaper.open(nursery)
                self._observer.choose(self._tracer_provider)
                try:
                    yield
                    await self._leave()
                except BaseException as exc:  # raised again below, or here
                    if nursery.cancel_scope.cancel_called:
                        raise
                    errors.append(exc)
                finally:
                    self._end("the runtime's block was left")
        except BaseException as exc:  # raised again below
            errors.append(exc)
        self._state = State.STOPPED
        self._nursery = None
        self._workers.close()
        self._reaper.close()
        self._fail_queued(LEFT)
        failures = await self._close_agents()
        self._ending = False
        errors = [*self._crashes, *errors]
        if not errors:
            raise_failures(failures, self._supervisor.take())
            return
        first, *others = *errors, *failures
        for other in others:  # one leaves the block, the others are logged
            if not isinstance(other, self._loop.Cancelled):
                self._supervisor.log(other, "raised while the runtime's block was left")
        raise bare(first)

    async def _leave(self) -> None:
        """End of the block, normally: what runs may finish, what is queued fails."""
        self._state = State.STOPPING
        self._flowing = False
        self._fail_queued(LEFT)
        await self._ledger.wait_until(self._nothing_runs)

    def _crash(self, error: BaseException) -> None:
        """A handler raised what is meant for the program: end the block with it."""
        self._crashes.append(error)
        self._end(f"a handler raised {type(error).__name__}")

    def _end(self, reason: str) -> None:
        """Cancel what runs and fail what is queued: nothing begins any more in this block.

        Requests are refused from now on. Shielded cleanup that sends one would wait for ever.
        """
        self._ending = True
        self._flowing = False
        self._workers.halt()
        self._fail_queued(LEFT)
        self._cancel_running(reason)
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel(reason)

    # --- start and stop

    def is_started(self) -> bool:
        """Whether messages are handled as they come: after `start`, before any stop."""
        return self._state is State.STARTED

    def start(self) -> None:
        """Begin to handle messages. Returns at once; what was submitted before goes first.

        Handlers see the context variables that are in force here.

        Raises:
            RuntimeError: outside of the runtime's block, or already started.
        """
        if self._nursery is None or self._ending:
            raise RuntimeError(
                "start() needs the runtime's block: "
                "`async with SingleThreadedAgentRuntime() as runtime: runtime.start()`"
            )
        if self._state is not State.STOPPED:
            raise RuntimeError(f"the runtime is {self._state.value} already: stop() it first")
        self._observer.choose(self._tracer_provider)
        self._state = State.STARTED
        self._shut.clear()
        self._workers.open(self._nursery)
        self._flow()

    async def stop(self, *, deadline: float = math.inf) -> None:
        """Take no more messages, fail those that are queued, and let running handlers finish.

        What is queued fails with `UndeliverableException`. Requests that running handlers send
        meanwhile fail so too; what they publish waits, like everything that is submitted later, for
        the next `start`. Agents, subscriptions and registrations stay.

        Cancelled while it waits for handlers, it has stopped the runtime all the same; they go on.

        Args:
            deadline: A time on the event loop's clock (``trio.current_time() + 5``) at which
                handlers that still run are cancelled. Their senders get `MessageCancelled`.

        Raises:
            RuntimeError: not started, or called by a handler, which it would wait for.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        self._check_started("stop")
        self._check_outside_handlers("stop")
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
        self._check_outside_handlers("stop_when_idle")
        await self._ledger.wait_until(self._is_idle)
        if self._state is State.STARTED:
            await self._stop(math.inf)
        self._supervisor.raise_kept()

    async def stop_when(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* is true, then `stop`.

        It is looked at whenever a message has been settled, and once a second beside that. An event
        that a handler sets, and a task that waits for it and calls `stop`, needs no polling.

        Raises:
            RuntimeError: not started, or called by a handler, which it would wait for.
            BaseException: what *condition* raised; the runtime goes on.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        self._check_started("stop_when")
        self._check_outside_handlers("stop_when")
        failures: list[BaseException] = []

        def look() -> bool:
            # Called where a message is settled: what it raises belongs into this task.
            try:
                return is_true(condition)
            except BaseException as exc:
                failures.append(exc)
                return True

        with self._ledger.watch(look) as was_true:
            while self._state is State.STARTED and not was_true.is_set() and not look():
                deadline = self._loop.current_time() + CONDITION_PERIOD
                with self._loop.CancelScope(deadline=deadline):
                    await was_true.wait()
        if failures:
            raise failures[0]
        if self._state is State.STARTED:
            await self._stop(math.inf)
        self._supervisor.raise_kept()

    async def close(self) -> None:
        """Stop if started, then close every agent that was made. It may be repeated.

        All agents are closed, whatever one of them raises. The runtime may be started again, with
        the same agents.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            BaseExceptionGroup: what agents raised, and failures of publications.
        """
        self._check_outside_handlers("close")
        if self._state is State.STARTED:
            await self._stop(math.inf)
        failures = await self._close_agents()
        raise_failures(failures, self._supervisor.take())

    async def process_next(self) -> None:
        """Take up the next message by hand, instead of `start`.

        Waits while there is none. Returns when the handler has run to where it first waits, not
        when it has ended.

        Raises:
            RuntimeError: outside of the runtime's block, or started: then messages are taken up
                as they come.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        if self._nursery is None:
            raise RuntimeError("process_next() needs the runtime's block: `async with runtime:`")
        if self._state is not State.STOPPED:
            raise RuntimeError(
                f"the runtime is {self._state.value} and takes up messages by itself: "
                "process_next() is for a runtime that is not"
            )
        self._supervisor.raise_kept()
        self._shut.clear()
        self._workers.submit(await self._intake.take())
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
        self._state = State.STOPPING
        self._flowing = False
        try:
            self._fail_queued("the runtime was stopped before it was handled")
            if deadline != math.inf:
                with self._loop.CancelScope(deadline=deadline):
                    await self._ledger.wait_until(self._nothing_runs)
                self._cancel_running("the runtime was stopped and its deadline passed")
            await self._ledger.wait_until(self._nothing_runs)
        finally:
            if self._state is State.STOPPING:
                self._state = State.STOPPED

    def _cancel_running(self, reason: str) -> None:
        """Cancel the handlers, and the tokens that work outside of our event loop may know."""
        for worker in tuple(self._workers.at_work):
            if worker.envelope is not None:
                self._pipeline.cancel(worker.envelope, reason)

    def _fail_queued(self, reason: str) -> None:
        # Again and again, because the end of one message lets in others that wait at the door.
        while queued := self._drain():
            for envelope in queued:
                if envelope.stage is not QUEUED:
                    continue
                if isinstance(envelope, Publication):
                    for delivery in envelope.deliveries or ():
                        self._pipeline.void(delivery)
                error = UndeliverableException(f"{envelope!r}: {reason}")
                self._pipeline.settle(envelope, UNDELIVERABLE, error=error)

    def _drain(self) -> list[Envelope]:
        """Take out all that is queued, wherever it is."""
        queued = self._workers.drain() + self._intake.drain()
        for activation in tuple(self._activations.values()):
            queued += activation.drain()
        return queued

    def _flow(self) -> None:
        """Let messages through, if nothing speaks against it; first those that have waited."""
        if self._state is State.STARTED and not self._holds:
            for envelope in self._intake.drain():
                self._workers.submit(envelope)
            self._flowing = True

    def _is_idle(self) -> bool:
        return self._ledger.pending == 0

    def _nothing_runs(self) -> bool:
        return self._ledger.running == 0 and self._workers.is_empty

    def _check_started(self, name: str) -> None:
        if self._state is not State.STARTED:
            raise RuntimeError(
                f"{name}() was called on a runtime that is not started: call start() first"
            )

    def _check_outside_handlers(self, name: str) -> None:
        frame = current_frame.get()
        if not isinstance(frame, Envelope) or frame.stage is SETTLED:
            return
        # A handler of another runtime may well use this one, if none of ours waits for it.
        ours = {worker.envelope for worker in self._workers.at_work} | self._errands
        for envelope in (frame, *frame.ancestors()):
            if envelope in ours:
                raise RuntimeError(
                    f"{name}() waits for running handlers and was called by one "
                    f"({envelope.recipient}): set an event there, and call it from a task outside "
                    "that waits for the event"
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
            activation = self._find_recipient(request, recipient)
        try:
            if (
                cancellation_token is not None
                or message_id is not None
                or (sender is not None and sender.__class__ is not AgentId)
                or self._observer.is_listening()
            ):
                self._prepare(request, cancellation_token, message_id)
            if self._flowing and self._unbounded:
                request.activation = activation
                activation.queued += 1
                self._ledger.accept()
                self._workers.submit(request)
                if request.token is not None:
                    self._pipeline.link_token(request, request.token)
            else:
                await self._admit(request, activation)
        except BaseException:  # nothing was sent: no trace is left of the new recipient
            self._pipeline.forget_if_unused(activation)
            raise
        reply = request.reply
        await reply.wait(lambda: self._pipeline.cancel(request, "its sender was cancelled"))
        if request.outcome is HANDLED:
            return request.result
        # Its traceback refers to this frame, and to the one that handled the request. Without the
        # `None` and the `del` they and the error keep each other alive.
        error, request.error = request.error, None
        assert error is not None
        if request.outcome is CANCELLED:
            reply.raise_if_cancelled()
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
            raise TypeError(f"topic_id must be a TopicId, not {type(topic_id).__name__}")
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
            self._prepare(publication, cancellation_token, message_id)
        if self._flowing and self._unbounded:
            self._ledger.accept()
            self._workers.submit(publication)
            if publication.token is not None:
                self._pipeline.link_token(publication, publication.token)
            return
        await self._admit(publication, None)
        # Whoever holds messages up waits for the handlers that run: these do not wait for room.
        if publication.outside and not (self._holds and is_inside(publication)):
            await self._wait_for_places(publication)

    def _find_recipient(self, request: Request, recipient: AgentId) -> Activation:
        if not isinstance(recipient, AgentId):
            raise TypeError(
                f"recipient must be an AgentId, not {type(recipient).__name__}: "
                'AgentId("type", "key"), or AgentId.from_str("type/key")'
            )
        try:
            return self._pipeline.activation(recipient)
        except UnknownAgentType as exc:
            self._refuse(request, str(exc))
            raise

    def _refuse(self, envelope: Envelope, reason: str) -> None:
        self._ledger.accept()
        self._ledger.settle(UNDELIVERABLE)
        self._ledger.bury(envelope, reason)

    def _prepare(
        self, envelope: Envelope, token: CancellationToken | None, message_id: str | None
    ) -> None:
        """See to what few messages have, before anything has happened to this one."""
        if envelope.sender is not None and not isinstance(envelope.sender, AgentId):
            raise TypeError(f"sender must be an AgentId, not {type(envelope.sender).__name__}")
        if token is not None and not isinstance(token, CancellationToken):
            raise TypeError(
                f"cancellation_token must be a CancellationToken, not {type(token).__name__}"
            )
        if message_id is not None and not isinstance(message_id, str):
            raise TypeError(f"message_id must be a str, not {type(message_id).__name__}")
        envelope._message_id = message_id
        envelope.token = token
        if token is not None and token.is_cancelled():
            self._ledger.accept()
            self._ledger.settle(CANCELLED)
            raise MessageCancelled("its CancellationToken was cancelled before it was sent")
        self._observer.submitted(envelope)

    async def _admit(self, envelope: Envelope, activation: Activation | None) -> None:
        """Take a message in where there are bounds, or where messages do not flow."""
        try:
            await self._take_in(envelope, activation)
        except BaseException as exc:
            if envelope.observation is not None:
                envelope.observation.refused(exc)
            raise

    async def _take_in(self, envelope: Envelope, activation: Activation | None) -> None:
        inside = is_inside(envelope)
        error = self._refusal(envelope)
        if error is not None:
            self._refuse(envelope, str(error))
            raise error
        self._check_places(envelope, activation)
        door = self._pipeline.door

        def enter() -> None:
            self._ledger.accept()
            if activation is not None:
                envelope.activation = activation
                activation.enter(envelope)
            elif self._bounded and isinstance(envelope, Publication):
                self._pipeline.address(envelope)
            if envelope.token is not None and envelope.stage is not SETTLED:
                self._pipeline.link_token(envelope, envelope.token)
            if envelope.stage is SETTLED:  # a subscription raised, or it was cancelled at the door
                return
            error = self._refusal(envelope)
            if error is not None:  # it was submitted before, and has waited at the door
                self._pipeline.settle(envelope, UNDELIVERABLE, error=error)
                return
            # While states are looked at, only what running handlers wait for may pass.
            if self._flowing or (
                self._state is State.STARTED and inside and activation is not None
            ):
                self._workers.submit(envelope)
            else:
                self._intake.put(envelope)

        if door is None or inside or door.is_open:
            enter()
        elif self._overflow == "raise":
            raise Overloaded(
                f"{door.capacity} messages are pending, as many as max_pending allows: "
                "try again later, or let submitters wait with overflow='wait'"
            )
        else:
            if activation is not None:
                activation.visitors += 1
            try:
                entered = await door.wait(enter, envelope.token)
            finally:
                if activation is not None:
                    activation.visitors -= 1
            if not entered:
                raise MessageCancelled("its CancellationToken was cancelled before there was room")

    def _refusal(self, envelope: Envelope) -> UndeliverableException | None:
        """Why a message is not taken in now, if it is not. A sender would wait for a next start."""
        if not isinstance(envelope, Request):
            return None
        if self._state is State.STOPPING or self._ending:
            return UndeliverableException(f"{envelope!r}: the runtime is being stopped")
        stopped = self._state is State.STOPPED
        for caller in envelope.ancestors():
            if isinstance(caller, Farewell) and stopped:
                return UndeliverableException(
                    f"{envelope!r}: {caller.recipient} is being closed, and the runtime is not "
                    "started"
                )
            made = isinstance(caller, Errand) and stopped and self._looking
            if made or isinstance(caller, Look):
                return UndeliverableException(
                    f"{envelope!r}: the state of {caller.recipient} is being saved or loaded, and "
                    "nothing is handled meanwhile"
                )
        return None

    def _check_places(self, envelope: Envelope, activation: Activation | None) -> None:
        """Refuse what finds a full mailbox whose policy is to refuse.

        Raises:
            Overloaded: and nothing was delivered to anybody.
        """
        if not self._bounded:
            return
        if activation is not None:
            recipients = [activation]
        else:
            assert envelope.topic is not None
            try:
                ids = self._pipeline.routes.recipients(envelope.topic)
            except Exception:  # a subscription raised: `address` meets that again, and reports it
                return
            recipients = [
                self._activations[id]
                for id in ids
                if id in self._activations and id != envelope.sender
            ]
        for recipient in recipients:
            if recipient.is_full and recipient.registration.overflow == "raise":
                if not recipient.is_reentrant(envelope):
                    raise Overloaded(
                        f"the mailbox of {recipient.id} is full "
                        f"({recipient.registration.mailbox_size} messages): try again later, or "
                        "let submitters wait with overflow='wait'"
                    )

    async def _wait_for_places(self, publication: Publication) -> None:
        publication.reply = self._new_reply()
        outside = [d for d in publication.deliveries or () if not d.place]
        for delivery in outside:
            activation = delivery.activation
            assert activation is not None
            error = begin_waiting(delivery, activation)
            if error is not None:
                publication.reply = None
                if publication.stage is not SETTLED:
                    self._pipeline.cancel(publication, "its publisher would wait for ever")
                raise error

        def give_up() -> bool:
            publication.reply = None
            if publication.stage is QUEUED:
                self._pipeline.cancel(publication, "its publisher was cancelled")
            return True

        try:
            await publication.reply.wait(give_up)
        finally:
            for delivery in outside:
                end_waiting(delivery)
            publication.reply = None

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
            agent_factory: Called without arguments, once for each key that is needed; may be async.
                If it fails, all messages that wait for the agent fail, and the next one tries again.
            expected_class: What the factory's agents must be instances of; None for anything.
            options: The limits that these agents live under, see `AgentOptions`.

        Raises:
            TypeError: the factory takes arguments, or something is of the wrong type.
            ValueError: the type is registered already, or a limit is out of range.
        """
        agent_type = type if isinstance(type, AgentType) else AgentType(type)
        options.setdefault("overflow", self._overflow)
        registration = Registration(
            agent_type, agent_factory, expected_class=expected_class, **options
        )
        self._pipeline.registry.add_factory(registration)
        if registration.mailbox_size is not None:
            self._bounded = True
            self._unbounded = False
        return agent_type

    async def register_agent_instance(self, agent_instance: Agent, agent_id: AgentId) -> AgentId:
        """Put a ready agent at *agent_id*. Adds no subscriptions: prefer `register_instance`.

        Raises:
            TypeError: it is not an agent.
            ValueError: the id is taken, the type has a factory, or the type's other instances are
                of another class.
            RuntimeError: the agent belongs to another id or runtime.
        """
        if not isinstance(agent_id, AgentId):
            raise TypeError(f"agent_id must be an AgentId, not {type(agent_id).__name__}")
        if not callable(getattr(agent_instance, "on_message", None)):
            raise TypeError(f"expected an Agent, not {type(agent_instance).__name__}")
        self._pipeline.registry.add_instance(agent_instance, agent_id)
        try:
            await agent_instance.bind_id_and_runtime(id=agent_id, runtime=self)
        except BaseException:
            self._pipeline.registry.remove_instance(agent_id)
            raise
        self._pipeline.activation(agent_id)
        return agent_id

    async def add_subscription(self, subscription: Subscription) -> None:
        """Obey *subscription* from now on, for publications whose turn is still to come.

        Raises:
            TypeError: it is not a subscription.
            ValueError: there is one like it, or of the same id, already.
        """
        self._pipeline.routes.add(subscription)

    async def remove_subscription(self, id: str) -> None:
        """Forget the subscription of this id.

        Raises:
            LookupError: there is none.
        """
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
            await self._ensure_agent(id)
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
        agent = await self._ensure_agent(id)
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
        return (await self._ensure_agent(agent)).metadata

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        """Give one agent's state, also while it handles messages. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: the state is not what JSON can express; the error names the path.
        """
        state = await call_user((await self._ensure_agent(agent)).save_state)
        return check_agent_state(agent, state)

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        """Restore one agent's state, also while it handles messages. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: *state* is not a mapping.
        """
        check_form(agent, state)
        await call_user((await self._ensure_agent(agent)).load_state, state)

    async def deactivate(self, agent_id: AgentId) -> None:
        """Close one agent and let go of it, when what was submitted to it before has been handled.

        Its state is not saved. Messages that come meanwhile wait, and the first of them has a new
        agent made. An agent that does not exist is no error. An instance that was registered is
        registered no more.

        Raises:
            RuntimeError: called in a call chain of the agent's own handlers, which it would wait
                for.
            UndeliverableException: the runtime was stopped before; the agent stays.
            Exception: what the agent's `close` raised; it is let go of all the same.
        """
        frame = current_frame.get()
        parent = frame if isinstance(frame, Envelope) else None
        if parent is None:  # what runs inside is waited for by those who look at the states
            await self._ledger.wait_until(lambda: not self._holds)
        activation = self._activations.get(agent_id)
        if activation is None:
            self._pipeline.dormant.pop(agent_id, None)
            return
        if parent is not None and (parent.is_for(activation) or activation.is_reentrant(parent)):
            raise RuntimeError(
                f"deactivate({agent_id}) waits for the handlers of {agent_id} and was called by "
                "one: call it from outside, or register the type with an idle_timeout"
            )
        reply = self._new_reply()
        farewell = Farewell(activation, parent=parent, reply=reply)
        if self._nursery is None:
            await self._pipeline.close_agent(farewell, activation)
        else:
            self._workers.submit(farewell)
            await reply.wait(lambda: farewell.give_up())
        if farewell.error is not None:
            raise farewell.error

    async def _ensure_agent(self, id: AgentId) -> Agent:
        if not isinstance(id, AgentId):
            raise TypeError(f"expected an AgentId, not {type(id).__name__}")
        frame = current_frame.get()
        parent = frame if isinstance(frame, Envelope) else None
        while True:
            activation = self._pipeline.activation(id)
            if activation.agent is not None and activation.closing is None:
                return activation.agent
            errand = Errand(parent, activation)
            if activation.starter is None and activation.closing is None:
                activation.queued += 1
                self._errands.add(errand)
                try:
                    await self._pipeline.make_agent(activation, errand)
                finally:
                    activation.queued -= 1
                    self._errands.discard(errand)
                    errand.stage = SETTLED
                    self._pipeline.forget_if_unused(activation)
                    if activation.registration.idle_timeout is not None:
                        self._note_idle(activation)
                    self._ledger.look()
                continue
            error = begin_waiting(errand, activation)
            if error is not None:
                raise error
            changed = activation
            try:
                await self._ledger.wait_until(
                    lambda: changed.starter is None and changed.closing is None
                )
            finally:
                end_waiting(errand)

    async def _close_agents(self) -> list[BaseException]:
        failures: list[BaseException] = []
        for activation in tuple(self._activations.values()):
            agent = activation.agent
            if agent is None or self._shut.get(activation.id) is agent:
                continue
            self._shut[activation.id] = agent
            farewell = Farewell(activation)
            frame = current_frame.set(farewell)
            try:
                await call_user(agent.close)
            except BaseException as exc:  # not even Ctrl-C may spare the rest; raised by the caller
                if not isinstance(exc, self._loop.Cancelled):
                    exc.add_note(f"raised by close() of agent {activation.id}")
                failures.append(exc)
            finally:
                farewell.stage = SETTLED
                current_frame.reset(frame)
        return failures

    def _note_idle(self, activation: Activation) -> None:
        self._reaper.note_idle(activation)

    def _let_go(self, activation: Activation) -> bool:
        if not self._flowing:
            return False
        self._workers.submit(Farewell(activation, keep_state=True))
        return True

    # --- state

    async def save_state(self) -> Mapping[str, Any]:
        """Give the states of all agents that were made, as ``{"type/key": state}``.

        It is one consistent cut: messages are held up, those that have begun are finished, with all
        they wait for, and then every agent is asked while nothing is handled. Queued messages and
        subscriptions are not part of it.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            StateError: a state is not what JSON can express; the error names agent and path.
        """
        self._check_outside_handlers("save_state")
        state: dict[str, Any] = {}
        async with self._held():
            for id, dormant in self._pipeline.dormant.items():
                state[str(id)] = check_agent_state(id, dormant)
            for activation in tuple(self._activations.values()):
                agent = activation.agent
                if agent is not None:
                    saved = await self._look_at(activation, agent.save_state)
                    state[str(activation.id)] = check_agent_state(activation.id, saved)
        return state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` gave: every agent it names is made and restored.

        Nothing is handled meanwhile. Agents that *state* does not name are left as they are.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            StateError: *state* is not one of ours, or names agent types that are not registered;
                nothing was loaded.
        """
        self._check_outside_handlers("load_state")
        states = parse_state(state)
        registry = self._pipeline.registry
        unknown = {id.type for id in states if id.type not in registry}
        # Of a type with instances only those are known that were registered.
        unknown |= {str(id) for id in states if id.type in registry and not registry.knows(id)}
        if unknown:
            raise StateError(
                f"the state names agent types that are not registered: {', '.join(sorted(unknown))}"
            )
        async with self._held():
            for id, saved in states.items():
                dormant = self._pipeline.dormant.pop(id, None)
                try:
                    agent = await self._ensure_agent(id)
                except BaseException:
                    if dormant is not None:
                        self._pipeline.dormant[id] = dormant
                    raise
                await self._look_at(self._activations[id], agent.load_state, saved)

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None, None]:
        """Hold messages up, and wait until every agent is between two messages, and ours alone."""
        with self._holding():
            await self._ledger.wait_until(self._can_look)
            self._looking = True
            try:
                yield
            finally:
                self._looking = False

    async def _look_at(
        self, activation: Activation, function: Callable[..., Any], *args: Any
    ) -> Any:
        # With a frame of its own: what it sends is refused, for it would wait for ever.
        look = Look(None, activation)
        frame = current_frame.set(look)
        try:
            return await call_user(function, *args)
        finally:
            look.stage = SETTLED
            current_frame.reset(frame)

    def _can_look(self) -> bool:
        return self._nothing_runs() and not self._errands and not self._looking

    @contextmanager
    def _holding(self) -> Generator[None, None, None]:
        self._holds += 1
        self._flowing = False
        try:
            yield
        finally:
            self._holds -= 1
            self._flow()
            self._ledger.look()


def is_true(condition: Callable[[], bool]) -> bool:
    """Ask the application's condition. From here on Ctrl-C may interrupt."""
    return condition()


def raise_failures(failures: list[BaseException], kept: BaseException | None) -> None:
    """Raise what agents' `close` raised, and what publications' handlers had raised, if anything."""
    for failure in failures:
        # These mean the program; and a cancellation alone is no failure of an agent's.
        if isinstance(failure, (KeyboardInterrupt, SystemExit)) or len(failures) == 1:
            if not isinstance(failure, Exception):
                raise failure
    if failures:
        if kept is not None:
            failures.append(kept)
        raise BaseExceptionGroup("agents failed to close", failures)
    if kept is not None:
        raise kept


def is_inside(envelope: Envelope) -> bool:
    """Whether a handler that still runs has submitted it."""
    return envelope.parent is not None and envelope.parent.stage is not SETTLED


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
