"""The gate: whether messages pass now, and what is done with those that do not.

A runtime is stopped, started, or on its way between the two; while it is started somebody may hold
the messages up to look at the agents' states. All of that is decided here, and asked here by those
who take messages in. What may not pass waits in the intake, or is refused where it would wait for
ever.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from .._sansio._contexts import current_frame
from .._sansio._errors import UndeliverableException
from ._envelope import (
    QUEUED,
    SETTLED,
    UNDELIVERABLE,
    Envelope,
    Errand,
    Farewell,
    Loading,
    Look,
    Request,
)
from ._intake import Intake

if TYPE_CHECKING:
    from ._loop import EventLoop
    from ._pipeline import Pipeline

__all__ = ["Gate", "State", "is_inside"]


class State(enum.Enum):
    STOPPED = "stopped"
    STARTED = "started"
    STOPPING = "stopping"


class Gate:
    """Lets messages of one runtime pass, keeps them, or refuses them."""

    def __init__(self, loop: EventLoop, pipeline: Pipeline) -> None:
        self.state = State.STOPPED
        # Invariant: flowing <=> started, and nobody holds the messages up.
        self.flowing = False
        self.ending = False  # the block is being left, and cancels, or has been left
        self._loop = loop
        self.intake = Intake(loop)
        self.errands: dict[Envelope, None] = {}  # agents that are being made outside of workers
        self._holds = 0  # how many look at the agents' states, or wait to
        self._looking = False  # one of them does
        self._stops = 0  # how many wait for the end of what runs: a stop, and the end of the block
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._workers = pipeline.workers

    @property
    def is_held(self) -> bool:
        """Whether somebody looks at the agents' states, or waits to."""
        return self._holds > 0

    def close(self, state: State) -> None:
        """Let nothing pass from now on."""
        self.state = state
        self.flowing = False
        self._ledger.look()

    @contextmanager
    def stopping(self) -> Generator[None, None, None]:
        """Let nothing pass and refuse requests, until all have left who stop the runtime."""
        self._stops += 1
        self.close(State.STOPPING)
        try:
            yield
        finally:
            self._stops -= 1
            if not self._stops and self.state is State.STOPPING:
                self.close(State.STOPPED)

    def check_by_hand(self) -> None:
        """Refuse to take up a message by hand while they are taken up by themselves, or never.

        Raises:
            RuntimeError: it says which.
        """
        if self.ending or not self._workers.are_open:
            raise RuntimeError("process_next() needs the runtime's block: `async with runtime:`")
        if self.state is not State.STOPPED:
            raise RuntimeError(
                f"the runtime is {self.state.value} and takes up messages by itself: "
                "process_next() is for a runtime that is not"
            )

    async def pass_one(self) -> None:
        """Let one message pass, while others do not. Waits while there is none.

        Raises:
            RuntimeError: the runtime was started meanwhile, or its block was left.
        """
        while True:
            # It is taken in the same step of the loop, so several who wait keep the order.
            await self._ledger.wait_until(self._may_pass_one)
            self.check_by_hand()
            envelope = self.intake.take()
            if envelope is not None:
                self._workers.submit(envelope)
                return

    def _may_pass_one(self) -> bool:
        over = self.ending or self.state is not State.STOPPED
        return over or not (self.is_held or self.intake.is_empty())

    def cancel_running(self, reason: str, *, again: bool) -> None:
        """Cancel the handlers, and the tokens that work outside of our event loop may know.

        Those that have been cancelled already are left to their cleanup, unless *again*.
        """
        for worker in tuple(self._workers.at_work):
            envelope = worker.envelope
            if envelope is None:
                continue
            if again:
                self._pipeline.press(envelope, reason)
            elif self._loop.is_cancelling(worker.scope):
                envelope.cancel_reason = envelope.cancel_reason or reason
            else:
                self._pipeline.cancel(envelope, reason)

    def cancel_queued(self, reason: str) -> None:
        """Cancel what the intervention handlers have passed on since the stop, and has to wait."""
        for envelope in self._drain():
            if isinstance(envelope, Farewell):  # it waits for handlers, which will end
                self._workers.submit(envelope)
            elif envelope.stage is QUEUED:
                self._pipeline.cancel(envelope, reason)
        self._ledger.look()

    def fail_queued(self, reason: str) -> None:
        """Have all that is queued reach nobody."""
        # Again and again, because the end of one message lets in others that wait at the door.
        while queued := self._drain() + self.intake.drain():
            for envelope in queued:
                if envelope.stage is QUEUED:
                    self._fail(envelope, reason)
        self._ledger.look()  # a queue is empty now that may have held only what was settled

    def fail_farewells(self, reason: str) -> None:
        """Refuse to let go of agents whose handlers would have to end before."""
        for activation in tuple(self._pipeline.activations.values()):
            while (farewell := activation.closing) is not None and not farewell.cleared:
                self._fail(farewell, reason)

    def _fail(self, envelope: Envelope, reason: str) -> None:
        self._pipeline.void_early(envelope)
        error = UndeliverableException(f"{envelope!r}: {reason}")
        self._pipeline.settle(envelope, UNDELIVERABLE, error=error)

    def _drain(self) -> list[Envelope]:
        """Take out all that waits for its turn, or for its agent."""
        queued = self._workers.drain()
        for activation in tuple(self._pipeline.activations.values()):
            queued += activation.drain()
        return queued

    def open(self) -> None:
        """Let messages through, if nothing speaks against it; first those that have waited."""
        if self.state is State.STARTED and not self._holds:
            for envelope in self.intake.drain():
                self._workers.submit(envelope)
            self.flowing = True

    def is_waited_for(self, envelope: Envelope) -> bool:
        """Whether those who hold messages up wait for this one, with the handler that sent it."""
        held = self.is_held and self._workers.are_open
        if not (held and isinstance(envelope, Request) and is_inside(envelope)):
            return False
        return any(map(self.is_ours, envelope.ancestors()))

    def is_ours(self, envelope: Envelope) -> bool:
        """Whether what is being worked on is a message of this runtime, or an errand in it.

        Who holds messages up waits for those, and for no handler of another runtime.
        """
        activation = envelope.activation
        if activation is None:  # a publication that intervention handlers look at
            return envelope in self._ours()
        return self._pipeline.activations.get(activation.id) is activation

    def may_make(self, parent: Envelope | None) -> bool:
        """Whether an agent may be made now. While states are looked at only those who look may."""
        if not self._looking:
            return True
        frames = () if parent is None else (parent, *parent.ancestors())
        return any(isinstance(frame, Look | Loading) for frame in frames)

    def is_idle(self) -> bool:
        """Whether nothing that was accepted is unfinished."""
        return self._ledger.pending == 0

    def nothing_runs(self) -> bool:
        """Whether no message is being worked on, or about to be."""
        return (
            self._ledger.running == 0
            and self._workers.is_empty
            # What was passed on, or taken up by hand, may wait for somebody else to make its agent.
            and not any(map(_keeps_messages, self.errands))
        )

    def check_outside_handlers(self, name: str) -> None:
        """Refuse a call that would wait for the handler that makes it.

        Raises:
            RuntimeError: it says what to do instead.
        """
        frame = current_frame.get()
        if not isinstance(frame, Envelope) or frame.stage is SETTLED:
            return
        # A handler of another runtime may well use this one, if none of ours waits for it.
        ours = self._ours()
        for envelope in (frame, *frame.ancestors()):
            if envelope in ours or self._is_look(envelope):
                raise RuntimeError(
                    f"{name}() waits for running handlers and was called by one "
                    f"({envelope.recipient}): set an event there, and call it from a task outside "
                    "that waits for the event"
                )

    def _ours(self) -> set[Envelope | None]:
        """Give what is being worked on, by workers and on errands."""
        return {worker.envelope for worker in self._workers.at_work} | self.errands.keys()

    def _is_look(self, envelope: Envelope) -> bool:
        """Whether an agent of ours is asked for its state, which those who look wait for."""
        activation = envelope.activation
        if not isinstance(envelope, Look) or activation is None:
            return False
        return self._pipeline.activations.get(activation.id) is activation

    def refusal(self, envelope: Envelope) -> UndeliverableException | None:
        """Why a message is not taken in now, if it is not. A sender would wait for a next start."""
        if not isinstance(envelope, Request):
            return None
        if self.ending:
            return UndeliverableException(f"{envelope!r}: the runtime's block was left")
        if self.state is State.STOPPING:
            return UndeliverableException(f"{envelope!r}: the runtime is being stopped")
        stopped = self.state is State.STOPPED
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

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None, None]:
        """Hold messages up, and wait until every agent is between two messages, and ours alone."""
        with self._holding():
            await self._ledger.wait_until(self._can_look)
            self._looking = True
            try:
                yield
            finally:
                self._looking = False

    def _can_look(self) -> bool:
        return self.nothing_runs() and not self.errands and not self._looking

    @asynccontextmanager
    async def resting(self) -> AsyncGenerator[None, None]:
        """Hold messages up, and wait until no message is being worked on."""
        with self._holding():
            await self._ledger.wait_until(self.nothing_runs)
            yield

    @contextmanager
    def _holding(self) -> Generator[None, None, None]:
        self._holds += 1
        self.flowing = False
        # Handlers that began by hand, or before a stop, may have sent requests already.
        for envelope in self.intake.drain():
            if self.is_waited_for(envelope):
                self._workers.submit(envelope)
            else:
                self.intake.put(envelope)
        try:
            yield
        finally:
            self._holds -= 1
            self.open()
            self._ledger.look()


def _keeps_messages(errand: Envelope) -> bool:
    return errand.activation is not None and errand.activation.keeps_any()


def is_inside(envelope: Envelope) -> bool:
    """Whether a handler that still runs has submitted it."""
    return envelope.parent is not None and envelope.parent.stage is not SETTLED
