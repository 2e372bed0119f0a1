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

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from .._sansio._contexts import (
    AGENT_INSTANTIATION_CONTEXT_VAR,
    NO_FRAME,
    current_frame,
)
from .._sansio._errors import (
    MessageDroppedException,
    UndeliverableException,
    UnknownAgentType,
)
from .._sansio._intervention import DropMessage, InterventionHandler
from .._sansio._routing import RoutingTable
from ._activation import Activation
from ._calls import begin, call_user, handle, resume
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
from ._interception import Interceptors
from ._ledger import Ledger
from ._registration import Registry
from ._room import Door
from ._state import check_agent_state
from ._supervision import Supervisor
from ._waits import begin_waiting, begin_waiting_for_room, end_waiting, refuse_publishers
from ._workers import Workers

if TYPE_CHECKING:
    from .._sansio._abc import Agent, AgentRuntime
    from .._sansio._cancellation import CancellationToken
    from .._sansio._identifiers import AgentId
    from ._loop import EventLoop
    from ._watchdog import Watchdog
    from ._witness import Witness

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
        watchdog: Watchdog | None,
    ) -> None:
        self._runtime = runtime
        self._loop = loop
        self._is_unchanged = loop.is_unchanged
        self._interceptors = Interceptors(intervention_handlers) if intervention_handlers else None
        self.supervisor = supervisor
        self.ledger = Ledger(loop.Event)
        self.registry = Registry()
        self.routes = RoutingTable()
        carry = self.carry if watchdog is None else watchdog.watching(self.carry)
        self.workers = Workers(loop, self.ledger, carry)
        self.door = None if max_pending is None else Door(loop, self.ledger, max_pending)
        # Invariant: an id here <=> it has an agent, or something is on its way to one.
        self.activations: dict[AgentId, Activation] = {}
        # The saved states of agents that were let go because they were quiet.
        self.dormant: dict[AgentId, Mapping[str, Any]] = {}
        # The agents that were closed and are still here, until they are used again.
        self.closed: dict[AgentId, Agent] = {}
        self.on_idle: Callable[[Activation], None] | None = None
        self.witness: Witness | None = None
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
            activation.agent = registration.instances.get(id)
            activation.open = activation.agent is not None
            self.activations[id] = activation
        return activation

    def settle_in(self, id: AgentId, agent: Agent) -> None:
        """Put a ready agent where it belongs, unless one is being made or closed there."""
        activation = self.activation(id)
        if activation.agent is None and activation.is_settled():
            activation.agent = agent
            activation.advance()

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
                for envelope in activation.drain_messages():
                    self.settle(envelope, FAILED, error=error)
            activation.advance()  # after a cancellation the next in line tries again
            raise
        else:
            activation.agent = agent
            activation.starter = None
            if self.witness is not None:
                self.witness.made(activation.id, agent)
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
            # One that was made before gets its id; one that has another is refused.
            await call_user(agent.bind_id_and_runtime, id, self._runtime)
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
        activation = envelope.activation
        if type(envelope) is Farewell:
            self._end_farewell(envelope, error)
            assert activation is not None
            self._note_idle(activation)
            return
        assert envelope.stage is not SETTLED
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
            self._note_idle(activation)
        # Of a settled envelope nothing is needed but its outcome. Without a parent it keeps no
        # others alive: events that publish events make a chain without end.
        envelope.message = envelope.context = envelope.scope = envelope.parent = None
        if self.door is not None:
            self.door.move_up()

    def cancel(self, envelope: Envelope, reason: str) -> bool:
        """Cancel a message wherever it is; return whether that has settled it."""
        if envelope.stage is QUEUED:
            self.void_early(envelope)
            self.settle(envelope, CANCELLED, error=self._loop.MessageCancelled(reason))
            return True
        # Asked once is enough: the handler may be cleaning up, or mean to answer all the same.
        if envelope.stage is not SETTLED and envelope.cancel_reason is None:
            self.press(envelope, reason)
        return False

    def press(self, envelope: Envelope, reason: str) -> None:
        """Cancel a message that somebody is at work on, even if that has been done before."""
        if envelope.stage is SETTLED:
            return
        envelope.cancel_reason = reason
        self._cancelling.append(envelope)
        if not self._is_cancelling:
            self._cancel_running()

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
            self._note_idle(activation)

    def _note_idle(self, activation: Activation) -> None:
        """An agent may have nothing to do any more. Its last message need not have been handled."""
        if activation.registration.idle_timeout is not None and self.on_idle is not None:
            self.on_idle(activation)

    # --- the stages

    async def carry(self, envelope: Envelope) -> bool:
        """See one envelope through; return whether the worker may take another."""
        if self._interceptors is not None and not envelope.intercepted:
            # If one of them waits, the message keeps its place at its recipients: later messages to
            # them wait behind it. If none does it has not lost its turn, and goes straight on.
            held: Sequence[Envelope] = ()
            current_frame.set(envelope)
            before = copy_context()
            try:
                asking = self._interceptors.ask_about_message(envelope)
                answered, message = begin(asking)
                if not answered:
                    held = self._hold(envelope)
                    message = await resume(asking, message)
            except BaseException as exc:  # the sender gets the very object
                self._end_interception(envelope, held)
                self._settle_failure(envelope, exc)
                return False
            finally:
                clean = self._is_unchanged(before)
                current_frame.set(NO_FRAME)
            if envelope.cancel_reason or (not answered and self._loop.is_cancelled()):
                # An intervention handler has kept that to itself.
                self._end_interception(envelope, held)
                self._settle_cancelled(envelope)
                return False
            if not self._judge(envelope, message, held, clean=clean):
                return clean
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
                    refuse_publishers(activation)
                return True
            before = copy_context()
            await self.close_agent(envelope, activation)
            return self._is_unchanged(before)
        if not envelope.cleared:
            if not activation.open and not activation.may_take(envelope):
                self._defer(envelope, activation)
                return True
            activation.running += 1
            if activation.runners is not None:
                activation.runners[envelope] = None
        clean = True
        if activation.agent is None:
            before = copy_context()
            made = await self._start(envelope, activation)
            clean = self._is_unchanged(before)
            if not made:
                return clean and envelope.cancel_reason is None
        agent = activation.agent
        assert agent is not None
        activation.leave(envelope)
        if envelope.noted_by:
            end_waiting(envelope)
        context = envelope.new_context()
        envelope.context = context
        envelope.stage = RUNNING
        if self.closed:
            self.closed.pop(activation.id, None)
        current_frame.set(envelope)
        before = copy_context()
        try:
            if envelope.observation is None:
                result = await handle(agent, envelope.message, context)
            else:
                result = await envelope.observation.handle(handle, agent, envelope, context)
            if self._interceptors is not None and type(envelope) is Request:
                result = await self._interceptors.ask_about_reply(envelope, result)
                if result is DropMessage:
                    raise DroppedReply
        except BaseException as exc:  # the sender gets the very object
            self._settle_failure(envelope, exc)
        else:
            self.settle(envelope, HANDLED, result=result)
        finally:
            clean = clean and self._is_unchanged(before)
            current_frame.set(NO_FRAME)
            activation.running -= 1
            if activation.runners is not None:
                activation.runners.pop(envelope, None)
            if not activation.open:
                activation.advance()
            if activation.registration.idle_timeout is not None:
                self._note_idle(activation)
        return clean and envelope.cancel_reason is None

    def _settle_failure(self, envelope: Envelope, exc: BaseException) -> None:
        """Settle a message whose handling raised; re-raise what cancels the worker itself."""
        cancelled, rest = split_cancelled(exc, self._loop.Cancelled)
        if cancelled is not None and not (envelope.cancel_reason or self._loop.is_cancelled()):
            cancelled, rest = None, exc  # somebody else's cancellation, raised here by mistake
        if isinstance(rest, DroppedReply):
            error = MessageDroppedException(
                f"an intervention handler dropped the reply of {envelope.recipient}"
            )
            self.settle(envelope, DROPPED, error=error)
        elif rest is not None:
            self._loop.explain(rest)
            self.settle(envelope, FAILED, error=rest)
        else:
            self._settle_cancelled(envelope)
        if cancelled is not None:
            try:
                raise cancelled
            finally:  # its traceback refers to this frame: they would keep each other alive
                del cancelled, rest, exc

    def _settle_cancelled(self, envelope: Envelope) -> None:
        reason = envelope.cancel_reason or "the task that handled it was cancelled"
        self.settle(envelope, CANCELLED, error=self._loop.MessageCancelled(reason))

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

    async def _start(self, envelope: Envelope, activation: Activation) -> bool:
        """Make the agent for the first message to it."""
        try:
            self.registry.find(activation.id)
        except UnknownAgentType as exc:  # an instance that was deactivated meanwhile
            activation.vacate(envelope)
            self.settle(envelope, UNDELIVERABLE, error=exc)
            return False
        try:
            await self.make_agent(activation, envelope)
        except BaseException as exc:  # the sender gets it, whatever it is
            activation.vacate(envelope)
            self._settle_failure(envelope, exc)
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
                if self.is_to_close(id, agent):
                    await call_user(agent.close)
        except BaseException as exc:  # whoever asked for it gets it
            cancelled, error = split_cancelled(exc, self._loop.Cancelled)
            if cancelled is not None:
                raise cancelled from None
        finally:
            current_frame.reset(frame)
            if goes:
                self.closed.pop(id, None)
                self.registry.remove_instance(id)
                if self.witness is not None:
                    self.witness.closed(id)
                if not farewell.keep_state:  # what was kept when it was let go of before
                    self.dormant.pop(id, None)
                activation.closed()
            self._end_farewell(farewell, error)
            self._note_idle(activation)  # if it has stayed, it is to be tried again

    def is_to_close(self, id: AgentId, agent: Agent) -> bool:
        """Whether whoever asks is to close an agent. Who asks later is not, until it is used."""
        if self.closed.get(id) is agent:
            return False
        self.closed[id] = agent
        return True

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
        self.forget_if_unused(farewell.activation)  # nothing else may have been left of it
        self.ledger.look()  # somebody may wait for the agent
        if farewell.reply is not None:
            farewell.reply.set()
        elif error is not None and not isinstance(error, UndeliverableException):
            self.supervisor.report_aside(error, f"closing agent {farewell.recipient}")

    def _route(self, publication: Publication) -> None:
        """Replace a publication whose turn has come by its deliveries."""
        try:
            deliveries = self.address(publication)
        except BaseException as exc:  # a subscription of the application's raised
            self.void_early(publication)
            self.settle(publication, FAILED, error=exc)
            return
        if self._replace(publication):
            self.workers.extend(deliveries)

    def _replace(self, publication: Publication) -> bool:
        """Count the deliveries instead of the publication; return whether there is anybody."""
        deliveries = publication.deliveries
        assert deliveries is not None
        lost = publication.lost
        if not deliveries and not lost:
            topic = publication.topic
            assert topic is not None
            alone = publication.sender in self.routes.recipients(topic)
            reason = (
                f"only its publisher subscribes to topic {topic}"
                if alone
                else f"no subscription matches topic {topic}"
            )
            self.settle(publication, UNDELIVERABLE, error=UndeliverableException(reason))
            return False
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
        if lost and self.door is not None:
            self.door.move_up()
        token = publication.token
        if token is not None:
            token.unlink(publication.link)
            for delivery in deliveries:
                self.link_token(delivery, token)
        if publication.observation is not None:
            publication.observation.routed(publication, deliveries)
        return True

    def address(self, publication: Publication) -> list[Delivery]:
        """Work out who hears a publication.

        Those of unknown types will not hear it: they are set aside in ``publication.lost``.

        It counts who subscribes when the publication's turn comes. Where mailboxes are bounded it
        is also worked out before, to see if the publisher has to wait; and when an intervention
        handler waits, to keep the publication's place at its recipients.

        Raises:
            BaseException: what a subscription raised; nothing has changed.
        """
        assert publication.topic is not None
        recipients = self.routes.recipients(publication.topic)
        early: dict[AgentId | None, Delivery] = {
            delivery.recipient: delivery for delivery in publication.deliveries or ()
        }
        deliveries: list[Delivery] = []
        publication.lost = ()
        sender = publication.sender
        message = publication.message
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
            else:
                known.message = message  # an intervention handler may have changed it
            deliveries.append(known)
        publication.deliveries = deliveries
        for delivery in early.values():  # they subscribe no more
            self.void(delivery)
        # There may be somebody new, who has no room either.
        if publication.reply is not None and publication.error is None:
            begin_waiting_for_room(publication)
        return deliveries

    def address_early(self, publication: Publication) -> None:
        """Work out who hears a publication before its turn has come."""
        try:
            self.address(publication)
        except BaseException:  # a subscription raised: its turn meets that again, and reports it
            self.void_early(publication)

    def void_early(self, envelope: Envelope) -> None:
        """Take back the deliveries that were made early, if it is a publication with any."""
        for delivery in envelope.deliveries or ():
            self.void(delivery)

    # --- interception

    def _judge(
        self, envelope: Envelope, message: Any, held: Sequence[Envelope], *, clean: bool
    ) -> bool:
        """Do with a message what its intervention handlers want; return whether it goes on here."""
        if message is DropMessage:
            self._end_interception(envelope, held)
            error = MessageDroppedException(
                f"an intervention handler dropped {envelope!r} on its way"
            )
            self.settle(envelope, DROPPED, error=error)
            return False
        envelope.message = message
        envelope.intercepted = True
        if held:
            self._pass_on(envelope, held)
            return False
        if clean:
            return True
        envelope.stage = QUEUED  # it is still its turn, in a worker with clean context variables
        envelope.scope = None
        self.workers.push(envelope)
        return False

    def _hold(self, envelope: Envelope) -> Sequence[Envelope]:
        """Have a message, or the deliveries of a publication, keep their places."""
        targets: list[Any] = [envelope]
        if isinstance(envelope, Publication):
            self.address_early(envelope)
            targets = [*(envelope.deliveries or ())]
        for target in targets:
            target.activation.hold(target)
            refuse_publishers(target.activation)
        return targets

    def _pass_on(self, envelope: Envelope, held: Sequence[Envelope]) -> None:
        if isinstance(envelope, Publication):
            self._replace(envelope)
        else:
            envelope.stage = QUEUED
            envelope.scope = None
        self.workers.coming_back = True
        for target in held:
            activation = target.activation
            assert activation is not None
            target.message = envelope.message
            activation.release(target)
            activation.advance()
            if not target.cleared and target.stage is QUEUED:
                self._check_circle(target, activation)

    def _end_interception(self, envelope: Envelope, held: Sequence[Envelope]) -> None:
        for target in held:
            assert target.activation is not None
            target.activation.release(target)
        self.void_early(envelope)


class DroppedReply(Exception):
    """Inside the pipeline: the handler has run, but its reply was dropped."""


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
