"""The road of a message: from the run queue to its outcome.

`Pipeline.carry` is what a worker does with one envelope. The stages, in order:

1. *Interception*: the intervention handlers, one after the other, see it.
2. *Routing*: a publication becomes one delivery for each recipient.
3. *Activation*: the agent is there, or the factory is called, once.
4. *Handling*: the agent's handler runs, in this worker, under the worker's cancel scope.
5. *Settling*: the outcome is counted, and whoever waits for the reply is woken.

An envelope may leave the road at each of them, and always through `settle`. What it kept its place
in (mailbox, limits, the runtime's bound) is given back there.
"""

from __future__ import annotations

import inspect
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, cast

from .._sansio._contexts import (
    AGENT_INSTANTIATION_CONTEXT_VAR,
    NO_FRAME,
    MessageContext,
    current_frame,
)
from .._sansio._errors import (
    MessageCancelled,
    MessageDroppedException,
    UndeliverableException,
)
from .._sansio._intervention import DropMessage, InterventionHandler
from .._sansio._routing import RoutingTable
from ._activation import Activation
from ._envelope import (
    CANCELLED,
    DROPPED,
    FAILED,
    HANDLED,
    QUEUED,
    RUNNING,
    SETTLED,
    UNDELIVERABLE,
    Delivery,
    Envelope,
    Farewell,
    Outcome,
    Publication,
    Request,
)
from ._ledger import Ledger
from ._registration import Registry
from ._room import Door
from ._state import check_agent_state
from ._supervision import Supervisor
from ._waits import begin_waiting, end_waiting
from ._workers import Worker, Workers

if TYPE_CHECKING:
    from .._sansio._abc import Agent, AgentRuntime
    from .._sansio._cancellation import CancellationToken
    from .._sansio._identifiers import AgentId
    from ._loop import EventLoop

__all__ = ["Pipeline"]


class Pipeline:
    """What one runtime does with messages. The runtime itself says when."""

    def __init__(
        self,
        runtime: AgentRuntime,
        loop: EventLoop,
        intervention_handlers: Sequence[InterventionHandler],
        supervisor: Supervisor,
        max_pending: int | None,
    ) -> None:
        self._runtime = runtime
        self._loop = loop
        self._interveners = tuple(intervention_handlers)
        self.supervisor = supervisor
        self.ledger = Ledger(loop.Event)
        self.registry = Registry()
        self.routes = RoutingTable()
        self.workers = Workers(loop, self.ledger, self.carry)
        self.door = None if max_pending is None else Door(loop, self.ledger, max_pending)
        # Invariant: an id here <=> it has an agent, or something is on its way to one.
        self.activations: dict[AgentId, Activation] = {}
        # The saved states of agents that were let go because they were quiet.
        self.dormant: dict[AgentId, Mapping[str, Any]] = {}
        self.on_idle: Callable[[Activation], None] | None = None
        self._cancelling: deque[Envelope] = deque()
        self._is_cancelling = False

    # --- activations

    def activation(self, id: AgentId) -> Activation:
        """Give the activation of *id*; the agent itself may still have to be made.

        Raises:
            UnknownAgentType: nothing is registered that could make the agent.
        """
        activation = self.activations.get(id)
        if activation is None:
            registration = self.registry.find(id)
            activation = Activation(id, registration, self._loop, self.workers)
            instance = registration.instances.get(id)
            if instance is not None:
                activation.agent = instance
                activation.open = True
            self.activations[id] = activation
        return activation

    def forget_if_unused(self, activation: Activation) -> None:
        """Drop an activation that came to nothing."""
        if activation.unused and self.activations.get(activation.id) is activation:
            del self.activations[activation.id]

    async def make_agent(self, activation: Activation, starter: Envelope) -> None:
        """Have the factory make the agent of *activation*, on behalf of *starter*.

        Nothing else makes it meanwhile. Whatever happens, the next message may go on.
        """
        activation.starter = starter
        try:
            agent = await self._call_factory(activation, starter)
        except BaseException as exc:  # raised again below
            activation.starter = None
            cancelled, error = split_cancelled(exc, self._loop.Cancelled)
            if cancelled is None:
                assert error is not None
                self.supervisor.note_construction(error, activation.id)
                for envelope in activation.drain():
                    self.settle(envelope, FAILED, error=error)
            activation.advance()  # after a cancellation the next in line tries again
            raise
        else:
            activation.agent = agent
            activation.starter = None
            activation.advance()
        finally:
            self.forget_if_unused(activation)
            if self.ledger.watches:
                self.ledger.look()

    async def _call_factory(self, activation: Activation, starter: Envelope) -> Agent:
        id = activation.id
        registration = self.registry.find(id)  # an instance that was deactivated has none
        factory = registration.factory or (lambda: registration.instances[id])
        token = AGENT_INSTANTIATION_CONTEXT_VAR.set((self._runtime, id))
        frame = current_frame.set(starter)
        try:
            agent = await call_user(factory)
            registration.check(agent, id)
            state = self.dormant.get(id)
            if state is not None:
                await call_user(agent.load_state, state)
                del self.dormant[id]
        finally:
            current_frame.reset(frame)
            AGENT_INSTANTIATION_CONTEXT_VAR.reset(token)
        return agent  # type: ignore[no-any-return]

    # --- settling and cancelling

    def settle(
        self,
        envelope: Envelope,
        outcome: Outcome,
        *,
        result: Any = None,
        error: BaseException | None = None,
    ) -> None:
        """Give *envelope* its outcome: the only place where a message leaves the ledger."""
        if type(envelope) is Farewell:
            self._end_farewell(envelope, error)
            return
        assert envelope.stage is not SETTLED
        activation = envelope.activation
        stage = envelope.stage
        envelope.stage = SETTLED
        if envelope.link:
            assert envelope.token is not None
            envelope.token.unlink(envelope.link)
        if envelope.observation is not None:
            envelope.observation.settled(envelope, outcome, result, error)
        self.ledger.settle(outcome)
        if outcome is UNDELIVERABLE:
            self.ledger.bury(envelope, str(error))
        if type(envelope) is Request:
            envelope.result = result
            envelope.error = error
            envelope.outcome = outcome
            envelope.reply.set()
        elif outcome is FAILED:
            assert error is not None
            self.supervisor.report(error, envelope)
        if activation is not None and stage is not RUNNING:
            if envelope.noted_by:
                end_waiting(envelope)
            activation.leave(envelope)
            if stage is QUEUED and envelope.cleared:
                activation.vacate(envelope)
            if not activation.open:
                activation.advance()
                self.forget_if_unused(activation)
        # Of a settled envelope nothing is needed but its outcome. Without a parent it keeps no
        # others alive: events that publish events make a chain without end.
        envelope.message = envelope.context = envelope.scope = envelope.parent = None
        if self.door is not None:
            self.door.move_up()

    def cancel(self, envelope: Envelope, reason: str) -> bool:
        """Cancel a message wherever it is; return whether that has settled it."""
        if envelope.stage is QUEUED:
            for delivery in getattr(envelope, "deliveries", None) or ():
                self.void(delivery)
            self.settle(envelope, CANCELLED, error=MessageCancelled(reason))
            return True
        if envelope.stage is not SETTLED:
            envelope.cancel_reason = reason
            self._cancelling.append(envelope)
            if not self._is_cancelling:
                self._cancel_running()
        return False

    def _cancel_running(self) -> None:
        # A handler that is cancelled while it waits for a reply cancels that request, and so on
        # down the call chain. That comes back to `cancel`, which only notes it, so that a long
        # chain takes turns here and not stack
        # (test_a_cancellation_reaches_the_end_of_a_chain_of_a_thousand_sends).
        self._is_cancelling = True
        try:
            while self._cancelling:
                envelope = self._cancelling.popleft()
                if envelope.scope is not None:
                    envelope.scope.cancel(envelope.cancel_reason)
                context = envelope.context
                if context is not None and envelope.token is None:
                    # The message's own token says so too, to work that only knows tokens.
                    try:
                        context.cancellation_token.cancel()
                    except BaseException as exc:  # trio's abort function must not raise
                        self.supervisor.report_aside(
                            exc, f"the token of a message to {envelope.recipient}"
                        )
        finally:
            self._is_cancelling = False

    def link_token(self, envelope: Envelope, token: CancellationToken) -> None:
        """Cancel *envelope* with *token*, until it is settled."""

        def cancel() -> None:
            self.cancel(envelope, "its CancellationToken was cancelled")

        handle = token.link(cancel, self._loop.home())
        if envelope.stage is not SETTLED:
            envelope.link = handle

    def void(self, delivery: Delivery) -> None:
        """Take back a delivery that was made early, of a publication that will not be delivered."""
        if delivery.stage is not SETTLED:
            delivery.stage = SETTLED
            delivery.message = None
            activation = delivery.activation
            assert activation is not None
            activation.leave(delivery)
            if not activation.open:
                activation.advance()
                self.forget_if_unused(activation)

    # --- the stages

    async def carry(self, envelope: Envelope, worker: Worker) -> bool:
        """See one envelope through; return whether the worker may take another."""
        if self._interveners and not envelope.intercepted and type(envelope) is not Farewell:
            clean = await self._intercept(envelope, worker)
            return clean and not worker.scope.cancel_called
        if type(envelope) is Publication:
            self._route(envelope)
            return True
        activation = envelope.activation
        assert activation is not None
        if type(envelope) is Farewell:
            if not envelope.cleared:
                envelope.stage = QUEUED
                if envelope.keep_state and (activation.running or activation.queued):
                    self._end_farewell(envelope, None)  # it is not idle any more
                else:
                    activation.close_after(envelope)
                return True
            before = copy_context()
            await self.close_agent(envelope, activation)
            return is_unchanged(before)
        if not envelope.cleared:
            if not activation.open and not activation.may_take(envelope):
                self._defer(envelope, activation)
                return True
            activation.running += 1
            if activation.runners is not None:
                activation.runners.add(envelope)
        clean = True
        if activation.agent is None:
            before = copy_context()
            made = await self._start(envelope, activation, worker)
            clean = is_unchanged(before)
            if not made:
                return clean and not worker.scope.cancel_called
        agent = activation.agent
        assert agent is not None
        activation.leave(envelope)
        if envelope.noted_by:
            end_waiting(envelope)
        context = MessageContext(
            envelope.sender,
            envelope.topic,
            envelope.topic is None,
            envelope.token,
            envelope._message_id,
            origin=envelope,
        )
        envelope.context = context
        envelope.stage = RUNNING
        current_frame.set(envelope)
        before = copy_context()
        try:
            if envelope.observation is None:
                result = await handle(agent, envelope.message, context)
            else:
                result = await envelope.observation.handle(handle, agent, envelope, context)
            if self._interveners and type(envelope) is Request:
                result = await self._intercept_reply(envelope, result)
        except BaseException as exc:  # the sender gets the very object
            self._settle_failure(envelope, exc, worker)
        else:
            self.settle(envelope, HANDLED, result=result)
        finally:
            clean = clean and is_unchanged(before)
            current_frame.set(NO_FRAME)
            activation.running -= 1
            if activation.runners is not None:
                activation.runners.discard(envelope)
            if not activation.open:
                activation.advance()
            if activation.registration.idle_timeout is not None and self.on_idle is not None:
                self.on_idle(activation)
        return clean and not worker.scope.cancel_called

    def _settle_failure(self, envelope: Envelope, exc: BaseException, worker: Worker) -> None:
        """Settle a message whose handling raised; re-raise what cancels the worker itself."""
        cancelled, rest = split_cancelled(exc, self._loop.Cancelled)
        if cancelled is not None and not (worker.scope.cancel_called or self._loop.is_cancelled()):
            cancelled, rest = None, exc  # somebody else's cancellation, raised here by mistake
        if isinstance(rest, DroppedReply):
            error = MessageDroppedException(str(rest))
            self.settle(envelope, DROPPED, error=error)
        elif rest is not None:
            self.settle(envelope, FAILED, error=rest)
        else:
            self._settle_cancelled(envelope)
        if cancelled is not None:
            raise cancelled

    def _settle_cancelled(self, envelope: Envelope) -> None:
        reason = envelope.cancel_reason or "the runtime's block was left"
        self.settle(envelope, CANCELLED, error=MessageCancelled(reason))

    def _defer(self, envelope: Envelope, activation: Activation) -> None:
        envelope.stage = QUEUED
        envelope.scope = None
        activation.defer(envelope)
        self._check_circle(envelope, activation)

    def _check_circle(self, envelope: Envelope, activation: Activation) -> None:
        """Refuse a request that has begun to wait for its agent, if it would for ever."""
        if type(envelope) is Request:
            error = begin_waiting(envelope, activation)
            if error is not None:
                self.settle(envelope, FAILED, error=error)

    async def _start(self, envelope: Envelope, activation: Activation, worker: Worker) -> bool:
        """Make the agent for the first message to it."""
        try:
            await self.make_agent(activation, envelope)
        except BaseException as exc:  # the sender gets it, whatever it is
            activation.vacate(envelope)
            self._settle_failure(envelope, exc, worker)
            return False
        if self._loop.is_cancelled():  # and the factory has kept that to itself
            activation.vacate(envelope)
            self._settle_cancelled(envelope)
            return False
        return True

    async def close_agent(self, farewell: Farewell, activation: Activation) -> None:
        """Close an agent that has nothing to do, and let go of it.

        One whose state is to be kept and cannot be had stays.
        """
        agent = activation.agent
        id = activation.id
        goes = not farewell.keep_state
        error: BaseException | None = None
        frame = current_frame.set(farewell)
        try:
            if agent is not None:
                if farewell.keep_state:
                    await self._keep_state(agent, id)
                    goes = True
                await call_user(agent.close)
        except BaseException as exc:  # whoever asked for it gets it
            cancelled, error = split_cancelled(exc, self._loop.Cancelled)
            if cancelled is not None:
                raise cancelled from None
        finally:
            current_frame.reset(frame)
            if goes:
                self.registry.remove_instance(id)
                activation.closed()
            self._end_farewell(farewell, error)
            self.forget_if_unused(activation)

    async def _keep_state(self, agent: Agent, id: AgentId) -> None:
        save_state = agent.save_state
        if not getattr(save_state, "keeps_no_state", False):
            state = check_agent_state(id, await call_user(save_state))
            if state:
                self.dormant[id] = state

    def _end_farewell(self, farewell: Farewell, error: BaseException | None) -> None:
        assert farewell.activation is not None
        farewell.stage = SETTLED
        farewell.error = error
        farewell.activation.stay(farewell)
        if farewell.reply is not None:
            farewell.reply.set()
        elif error is not None and not isinstance(error, UndeliverableException):
            self.supervisor.report_aside(error, f"closing agent {farewell.recipient}")

    def _route(self, publication: Publication) -> None:
        if self.address(publication):
            deliveries = publication.deliveries
            assert deliveries is not None
            self._let_go(publication, deliveries)
            self.workers.extend(deliveries)

    def _let_go(self, publication: Publication, deliveries: list[Delivery]) -> None:
        """Replace the publication by its deliveries, in the ledger and in the queue."""
        lost = publication.lost
        if not deliveries and not lost:
            reason = UndeliverableException(f"no subscription matches topic {publication.topic}")
            self.settle(publication, UNDELIVERABLE, error=reason)
            return
        self.ledger.route(len(deliveries) + len(lost))
        publication.stage = SETTLED
        publication.parent = None
        if not publication.outside:
            publication.deliveries = None  # they refer to it
        for id, why in lost:
            letter = Envelope(publication.message, publication.sender, None)
            letter.recipient, letter.topic = id, publication.topic
            self.ledger.settle(UNDELIVERABLE)
            self.ledger.bury(letter, str(why))
        token = publication.token
        if token is not None:
            token.unlink(publication.link)
            for delivery in deliveries:
                self.link_token(delivery, token)
        if publication.observation is not None:
            publication.observation.routed(publication, deliveries)

    def address(self, publication: Publication) -> bool:
        """Work out who hears a publication; settle it if that fails.

        Those of unknown types will not hear it: they are set aside in ``publication.lost``.

        It counts who subscribes when the publication's turn comes. Where mailboxes are bounded it
        is also worked out before, to see if the publisher has to wait.
        """
        assert publication.topic is not None
        early: dict[AgentId | None, Delivery] = {
            delivery.recipient: delivery for delivery in publication.deliveries or ()
        }
        try:
            recipients = self.routes.recipients(publication.topic)
        except BaseException as exc:  # a subscription of the application's raised
            for delivery in early.values():
                self.void(delivery)
            self.settle(publication, FAILED, error=exc)
            return False
        deliveries: list[Delivery] = []
        publication.lost = ()
        sender = publication.sender
        activations = self.activations
        for id in recipients:
            if id == sender:
                continue
            known = early.pop(id, None)
            if known is None:
                activation = activations.get(id)
                if activation is None:
                    try:
                        activation = self.activation(id)
                    except UndeliverableException as exc:
                        publication.lost = (*publication.lost, (id, exc))
                        continue
                known = Delivery(publication, activation)
                activation.enter(known)
            deliveries.append(known)
        publication.deliveries = deliveries
        for delivery in early.values():  # they subscribe no more
            self.void(delivery)
        return True

    # --- interception

    async def _intercept(self, envelope: Envelope, worker: Worker) -> bool:
        """Show one envelope to the intervention handlers.

        It keeps its place at its recipients meanwhile: later messages to them wait behind it.
        """
        targets: list[Any] = [envelope]
        if isinstance(envelope, Publication):
            if not self.address(envelope):
                return True
            assert envelope.deliveries is not None
            targets = list(envelope.deliveries)
        for target in targets:
            target.activation.hold(target)
        current_frame.set(envelope)
        before = copy_context()
        try:
            message = await self._ask_interveners(envelope, envelope.message)
        except BaseException as exc:  # the sender gets the very object
            self._end_interception(envelope, targets)
            self._settle_failure(envelope, exc, worker)
            return False
        finally:
            clean = is_unchanged(before)
            current_frame.set(NO_FRAME)
        if self._loop.is_cancelled():  # and an intervention handler has kept that to itself
            self._end_interception(envelope, targets)
            self._settle_cancelled(envelope)
            return False
        if message is DropMessage:
            self._end_interception(envelope, targets)
            error = MessageDroppedException(
                f"an intervention handler dropped {envelope!r} on its way"
            )
            self.settle(envelope, DROPPED, error=error)
            return clean
        if isinstance(envelope, Publication):
            self._let_go(envelope, targets)
        else:
            envelope.stage = QUEUED
            envelope.scope = None
        envelope.intercepted = True
        self.workers.coming_back = True
        for target in targets:
            target.message = message
            target.intercepted = True
            target.activation.release(target)
            target.activation.advance()
            if not target.cleared and target.stage is QUEUED:
                self._check_circle(target, target.activation)
        return clean

    def _end_interception(self, envelope: Envelope, targets: list[Any]) -> None:
        for target in targets:
            target.activation.release(target)
            if target is not envelope:
                assert isinstance(target, Delivery)
                self.void(target)

    async def _ask_interveners(self, envelope: Envelope, message: Any) -> Any:
        """Give what the intervention handlers make of *message*: `DropMessage` if they drop it."""
        context = MessageContext(
            envelope.sender,
            envelope.topic,
            envelope.topic is None,
            envelope.token,
            envelope._message_id,
            origin=envelope,
        )
        envelope.context = context
        recipient = envelope.recipient

        def ask(intervener: InterventionHandler, message: Any) -> Awaitable[Any]:
            if recipient is None:
                return intervener.on_publish(message, message_context=context)
            return intervener.on_send(message, message_context=context, recipient=recipient)

        return await self._pass_along(envelope, message, ask)

    async def _intercept_reply(self, request: Request, reply: Any) -> Any:
        responder = request.recipient
        assert responder is not None

        def ask(intervener: InterventionHandler, reply: Any) -> Awaitable[Any]:
            return intervener.on_response(reply, sender=responder, recipient=request.sender)

        reply = await self._pass_along(request, reply, ask)
        if reply is DropMessage:
            raise DroppedReply(f"an intervention handler dropped the reply of {responder}")
        return reply

    async def _pass_along(
        self,
        envelope: Envelope,
        message: Any,
        ask: Callable[[InterventionHandler, Any], Awaitable[Any]],
    ) -> Any:
        """The one way past the intervention handlers, for requests, publications and replies."""
        for intervener in self._interveners:
            if envelope.observation is None:
                answer = await call_user(ask, intervener, message)
            else:
                answer = await envelope.observation.intercept(call_user, ask, intervener, message)
            if answer is None:
                if message is None:
                    continue  # the reply of a handler that returns nothing
                warnings.warn(
                    f"intervention handler {type(intervener).__name__} returned None: the message "
                    "goes on unchanged; return the message, or DropMessage to drop it",
                    RuntimeWarning,
                    stacklevel=2,
                )
            elif answer is DropMessage or isinstance(answer, DropMessage):
                return DropMessage
            else:
                message = answer
        return message


class DroppedReply(Exception):
    """Inside the pipeline: the handler has run, but its reply was dropped."""


async def handle(agent: Agent, message: Any, context: MessageContext) -> Any:
    """Call a message handler. A frame of its own: from here on Ctrl-C may interrupt."""
    return await agent.on_message(message, context)


async def call_user(function: Callable[..., Any], *args: Any) -> Any:
    """Call what the application gave us, sync or async. From here on Ctrl-C may interrupt."""
    result: Any = None
    try:
        result = function(*args)
        if inspect.isawaitable(result):
            result = await result
    except BaseException:
        if inspect.iscoroutine(result):  # interrupted before it began: it would warn of that
            result.close()
        raise
    return result


def is_unchanged(context: Context) -> bool:
    """Whether the context variables are still those of *context*."""
    try:
        return copy_context() == context
    except Exception:  # a value that cannot be compared, and is not the one it was
        return False


def split_cancelled(
    exc: BaseException, cancelled: type[BaseException]
) -> tuple[BaseException | None, BaseException | None]:
    """Part an exception into what is the event loop's cancellation, and what is an error."""
    if isinstance(exc, cancelled):
        return exc, None
    if not isinstance(exc, BaseExceptionGroup):
        return None, exc
    group = cast("BaseExceptionGroup[BaseException]", exc)
    found, rest = group.split(cancelled)
    # Without a cancellation it is the very object: `split` makes a new group all the same.
    return (None, group) if found is None else (found, rest)
