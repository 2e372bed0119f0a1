"""Taking messages in: what is checked first, and who has to wait.

A message that nothing is to be said about passes these checks unseen: `Runtime.send_message` and
`publish_message` put it into the run queue themselves. All others come here: those with a token or
an observer, those that meet a bound, and those that come while messages do not flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._sansio._cancellation import CancellationToken
from .._sansio._errors import Overloaded, UnknownAgentType
from .._sansio._foreign import type_name
from .._sansio._identifiers import AgentId
from ._envelope import (
    CANCELLED,
    QUEUED,
    SETTLED,
    UNDELIVERABLE,
    Envelope,
    Publication,
    Request,
)
from ._gate import is_inside
from ._waits import begin_waiting_for_room, end_waiting_for_room

if TYPE_CHECKING:
    from .._sansio._options import Overflow
    from ._activation import Activation
    from ._gate import Gate
    from ._loop import EventLoop
    from ._observation import Observer
    from ._pipeline import Pipeline

__all__ = ["Admission"]


class Admission:
    """Takes the messages of one runtime in."""

    def __init__(
        self,
        loop: EventLoop,
        pipeline: Pipeline,
        gate: Gate,
        observer: Observer,
        overflow: Overflow,
    ) -> None:
        self.bounded = False  # some agent type has a bounded mailbox
        self.unbounded = pipeline.door is None  # nothing at all has a bound
        self._loop = loop
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._workers = pipeline.workers
        self._gate = gate
        self._observer = observer
        self._overflow = overflow

    def bind(self) -> None:
        """Some agent type has a bounded mailbox from now on."""
        self.bounded = True
        self.unbounded = False

    def find_recipient(self, request: Request, recipient: AgentId) -> Activation:
        """Give the activation that a request is for.

        Raises:
            TypeError: *recipient* is no agent id.
            UnknownAgentType: nothing is registered that could make the agent.
        """
        if not isinstance(recipient, AgentId):
            raise TypeError(
                f"recipient must be an AgentId, not {type_name(recipient)}: "
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

    def prepare(
        self, envelope: Envelope, token: CancellationToken | None, message_id: str | None
    ) -> None:
        """See to what few messages have, before anything has happened to this one."""
        if envelope.sender is not None and not isinstance(envelope.sender, AgentId):
            raise TypeError(f"sender must be an AgentId, not {type_name(envelope.sender)}")
        if token is not None and not isinstance(token, CancellationToken):
            raise TypeError(
                f"cancellation_token must be a CancellationToken, not {type_name(token)}"
            )
        if message_id is not None and not isinstance(message_id, str):
            raise TypeError(f"message_id must be a str, not {type(message_id).__name__}")
        envelope._message_id = message_id
        envelope.token = token
        if token is not None and token.is_cancelled():
            self._ledger.accept()
            self._ledger.settle(CANCELLED)
            raise self._loop.MessageCancelled(
                "its CancellationToken was cancelled before it was sent"
            )
        self._observer.submitted(envelope)

    async def admit(self, envelope: Envelope, activation: Activation | None) -> None:
        """Take a message in where there are bounds, or where messages do not flow."""
        try:
            await self._take_in(envelope, activation)
        except BaseException as exc:  # only looked at
            if envelope.observation is not None:
                envelope.observation.refused(envelope, exc)
            raise

    async def _take_in(self, envelope: Envelope, activation: Activation | None) -> None:
        inside = is_inside(envelope)
        error = self._gate.refusal(envelope)
        if error is not None:
            self._refuse(envelope, str(error))
            try:
                raise error
            finally:  # its traceback refers to this frame: they would keep the message alive
                del error
        self._check_places(envelope, activation)
        door = self._pipeline.door

        def enter() -> None:
            self._ledger.accept()
            if envelope.observation is not None:
                envelope.observation.entered(envelope)
            if activation is not None:
                envelope.activation = activation
                activation.enter(envelope)
            elif self.bounded and isinstance(envelope, Publication):
                self._pipeline.address_early(envelope)
            if envelope.token is not None and envelope.stage is not SETTLED:
                self._pipeline.link_token(envelope, envelope.token)
            if envelope.stage is SETTLED:  # it was cancelled at the door
                return
            error = self._gate.refusal(envelope)
            if error is not None:  # it was submitted before, and has waited at the door
                self._pipeline.settle(envelope, UNDELIVERABLE, error=error)
                return
            if self._gate.flowing or self._gate.is_waited_for(envelope):
                self._workers.submit(envelope)
            else:
                self._gate.intake.put(envelope)
                self._ledger.look()

        def come_in() -> Overloaded | None:
            # Mailboxes may have become full meanwhile; who is refused anyway is told why.
            if self._gate.refusal(envelope) is None:
                try:
                    self._check_places(envelope, activation)
                except Overloaded as exc:
                    return exc
            enter()
            return None

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
                entered = await door.wait(come_in, envelope.token)
            finally:
                if activation is not None:
                    activation.visitors -= 1
                    # The message may have come in, and be settled, while this task still waited.
                    self._pipeline.forget_if_unused(activation)
            if not entered:
                raise self._loop.MessageCancelled(
                    "its CancellationToken was cancelled before there was room"
                )

    def _check_places(self, envelope: Envelope, activation: Activation | None) -> None:
        """Refuse what finds a full mailbox whose policy is to refuse.

        Raises:
            Overloaded: and nothing was delivered to anybody.
        """
        if not self.bounded:
            return
        if activation is not None:
            recipients = [activation]
        else:
            assert envelope.topic is not None
            try:
                ids = self._pipeline.routes.recipients(envelope.topic)
            except Exception:  # a subscription raised: its turn meets that again, and reports it
                return
            recipients = [
                self._pipeline.activations[id]
                for id in ids
                if id in self._pipeline.activations and id != envelope.sender
            ]
        for recipient in recipients:
            refuses = recipient.is_full and recipient.registration.overflow == "raise"
            if refuses and not recipient.is_reentrant(envelope):
                raise Overloaded(
                    f"the mailbox of {recipient.id} is full "
                    f"({recipient.registration.mailbox_size} messages): try again later, or "
                    "let submitters wait with overflow='wait'"
                )

    async def wait_for_places(self, publication: Publication) -> None:
        """Wait until all deliveries of *publication* have a place in their mailboxes.

        Raises:
            DeadlockError: that would never be.
        """
        reply = publication.reply = self._loop.Reply()
        begin_waiting_for_room(publication)

        def give_up() -> bool:
            end_waiting_for_room(publication)
            publication.reply = None
            if publication.stage is QUEUED:
                self._pipeline.cancel(publication, "its publisher was cancelled")
            return True

        try:
            if publication.error is None:
                await reply.wait(give_up)
        finally:
            end_waiting_for_room(publication)
            publication.reply = None
        refusal, publication.error = publication.error, None
        if refusal is not None:
            if publication.stage is not SETTLED:
                self._pipeline.cancel(publication, "its publisher would wait for ever")
            try:
                raise refusal
            finally:  # as above
                del refusal
        reply.raise_if_cancelled()
