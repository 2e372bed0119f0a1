"""Watching a runtime: whether what it promises of every message holds, step by step."""

from __future__ import annotations

import inspect
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final

from .._core._audit import audit, audit_end
from .._core._envelope import RUNNING, Delivery, Envelope, Outcome, Publication
from .._core._gate import is_inside
from .._core._runtime import Runtime
from .._sansio._abc import Agent
from .._sansio._identifiers import AgentId

__all__ = ["InvariantViolation", "Monitor"]

MAX_VIOLATIONS: Final = 20


class InvariantViolation(AssertionError):
    """A runtime has not kept what it promises of every program."""


class Monitor:
    """Watches a runtime from here on.

    These must hold between any two steps of the event loop:

    - *Conservation*: what was accepted has one outcome, or is pending.
    - *One instance*: no factory has made a second agent of an id whose first was not closed.
    - *Order*: a handler does not begin while an earlier message to its agent has not begun, unless
      that may be overtaken (see the guide to concurrency). The recipients of a publication begin in
      the order of their subscriptions, except those that have to wait.
    - *Limits*: ``max_concurrency``, ``mailbox_size`` and ``max_pending`` are kept.
    - *Nobody is forgotten*: where messages are queued, somebody is on the way to them.
    - *Idle*: where nothing is pending, every message that was accepted has its outcome, and who
      waits in `stop_when_idle` is woken. It only goes on where that is so.

    And if the monitor is closed when the runtime's block has been left: no handler runs, and no
    task is left.

    A simulation looks after every step by itself. Elsewhere call `check` when nothing is half
    done, after ``await`` say, and `close` at the end; or use ``with Monitor(runtime):``, which
    raises at its end. It may stand inside the runtime's block or around it: around it, it sees
    what outlives the block.

    Of a runtime behind a portal, and of one that is not ours, only conservation is checked, by its
    ``statistics()``. Those of a portal are asked for in the trio thread, and block this one until
    it has answered, on asyncio too; the monitor stands inside the portal's block.

    Args:
        runtime: The runtime. It has one monitor at a time.

    Raises:
        TypeError: it has no ``statistics()``; or they must be awaited, and it is behind no portal.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime: Any = runtime
        self._witness: _Witness | None = None
        self._violations: list[str] = []
        if isinstance(runtime, Runtime):
            self._witness = _Witness(runtime, self._violations)
            runtime._show(self._witness)
        elif not callable(getattr(runtime, "statistics", None)):
            raise TypeError(
                f"a monitor needs a runtime with statistics(), not {type(runtime).__name__}"
            )
        elif inspect.iscoroutinefunction(runtime.statistics):
            # Of a portal's two faces this is the one for asyncio, which knows the other one.
            blocking = getattr(runtime, "blocking", None)
            if blocking is None:
                raise TypeError(
                    f"statistics() of {type(runtime).__name__} must be awaited, which a monitor "
                    "cannot: give it a runtime whose statistics() returns them, or has the "
                    "attribute `blocking` with such a runtime, as those of open_portal() do"
                )
            self._runtime = blocking

    @property
    def violations(self) -> Sequence[str]:
        """What was found so far, a sentence each; the first twenty."""
        return tuple(self._violations)

    def describe(self) -> str:
        """Say what the runtime is about, for a report on a run that is stuck."""
        return repr(self._runtime)

    def look(self) -> bool:
        """Look at the runtime now, and say whether all has been well so far."""
        if self._witness is None:
            self._note(_audit_statistics(self._runtime.statistics()))
        else:
            self._note(audit(self._runtime))
            self._note(self._witness.audit())
        return not self._violations

    def check(self) -> None:
        """Look at the runtime now.

        Raises:
            InvariantViolation: something was wrong, now or before.
        """
        self.look()
        self._raise()

    def close(self) -> None:
        """Look a last time, and watch no more. It may be repeated.

        After the runtime's block it also looks whether something has outlived that.

        Raises:
            InvariantViolation: something was wrong, now or before.
        """
        self.look()
        if self._witness is not None:
            if self._runtime._block is None:
                self._note(audit_end(self._runtime))
            self._runtime._show(None)
        self._raise()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _note(self, found: Iterable[str]) -> None:
        for text in found:
            if len(self._violations) < MAX_VIOLATIONS:
                self._violations.append(text)

    def _raise(self) -> None:
        if self._violations:
            raise InvariantViolation("; ".join(self._violations))


def _audit_statistics(statistics: Any) -> Iterable[str]:
    outcomes = sum(getattr(statistics, outcome.value) for outcome in Outcome)
    if statistics.accepted != outcomes + statistics.pending or statistics.pending < 0:
        yield (
            f"{statistics.accepted} messages were accepted, but {outcomes} have an outcome and "
            f"{statistics.pending} are pending"
        )


class _Witness:
    """Keeps books of its own, of what it is told."""

    def __init__(self, runtime: Runtime, violations: list[str]) -> None:
        self._runtime = runtime
        self._violations = violations
        # Messages that were submitted and have no outcome, with their place in the order. What was
        # submitted before somebody watched is not among them.
        self._open: dict[Envelope, int] = {}
        self._outside: dict[Envelope, None] = {}  # those that have not come in yet
        # Those of them that have not begun, by recipient.
        self._waiting: defaultdict[AgentId, dict[Envelope, int]] = defaultdict(dict)
        self._overtakers: dict[Envelope, None] = {}
        # Deliveries of one publication that nothing kept from beginning, in their order.
        self._in_turn: dict[Envelope, deque[Delivery]] = {}
        self._count = 0
        self._live: dict[AgentId, Agent] = {
            activation.id: activation.agent
            for activation in runtime._activations.values()
            if activation.agent is not None
        }
        self._unseen = runtime._ledger.pending

    def audit(self) -> Iterable[str]:
        """Compare the two books."""
        pending = self._runtime._ledger.pending
        known = len(self._open) - len(self._outside)
        if self._unseen == 0 and pending != known:
            yield f"{pending} messages are pending by the ledger, and {known} have no outcome"

    def submitted(self, envelope: Envelope) -> None:
        self._enroll(envelope)
        runtime = self._runtime
        gate = runtime._gate
        if not (gate.flowing and runtime._admission.unbounded):
            self._outside[envelope] = None
        parent = envelope.parent
        # Where states are looked at, only what running handlers wait for may pass; and what an
        # intervention handler sends passes the message that it looks at.
        if gate.is_held or (parent is not None and parent.stage < RUNNING):
            self._overtakers[envelope] = None

    def entered(self, envelope: Envelope) -> None:
        self._outside.pop(envelope, None)
        self._enroll(envelope)
        door = self._runtime._pipeline.door
        pending = self._runtime._ledger.pending
        if door is not None and pending > door.capacity and not is_inside(envelope):
            self._violations.append(
                f"{envelope!r} was let in from outside where {pending - 1} messages were pending, "
                f"and max_pending is {door.capacity}"
            )

    def _enroll(self, envelope: Envelope) -> None:
        self._count += 1
        self._open[envelope] = self._count
        if envelope.recipient is not None:
            self._waiting[envelope.recipient][envelope] = self._count

    def refused(self, envelope: Envelope) -> None:
        # A publisher that has stopped waiting for room leaves its publication behind.
        if envelope in self._outside:
            self._forget(envelope)

    def routed(self, publication: Publication, deliveries: Sequence[Delivery]) -> None:
        place = self._open.get(publication)
        if place is None:
            return
        for delivery in deliveries:
            assert delivery.recipient is not None
            self._open[delivery] = self._waiting[delivery.recipient][delivery] = place
        in_turn = deque(d for d in deliveries if d.activation is not None and d.activation.open)
        for delivery in in_turn:
            self._in_turn[delivery] = in_turn
        self._forget(publication)

    def begun(self, envelope: Envelope) -> None:
        in_turn = self._in_turn.get(envelope, ())
        while in_turn and in_turn[0] is not envelope:
            first = in_turn.popleft()
            if first.stage < RUNNING:
                self._violations.append(
                    f"{envelope!r} began before {first!r}, which subscribes before it"
                )
        activation = envelope.activation
        if envelope not in self._open or activation is None:
            return
        waiting = self._waiting[activation.id]
        place = waiting.pop(envelope)
        if envelope in self._overtakers or activation.is_reentrant(envelope):
            return
        for other, its_place in waiting.items():
            if (
                its_place < place
                and other not in self._outside
                and other not in self._overtakers
                and not activation.is_reentrant(other)
            ):
                self._violations.append(
                    f"{envelope!r} began before {other!r}, which was submitted before it"
                )
                return

    def settled(self, envelope: Envelope, outcome: Outcome) -> None:
        if envelope in self._open:
            self._forget(envelope)
        elif self._unseen:
            self._unseen -= 1
        else:
            self._violations.append(f"{envelope!r} has a second outcome: {outcome.value}")

    def idle(self) -> None:
        unfinished = len(self._open) - len(self._outside)
        if unfinished:
            self._violations.append(
                f"stop_when_idle() went on, and {unfinished} messages have no outcome"
            )

    def made(self, id: AgentId, agent: Agent) -> None:
        if id in self._live:
            self._violations.append(f"a second agent {id} was made, and the first was not closed")
        self._live[id] = agent

    def closed(self, id: AgentId) -> None:
        self._live.pop(id, None)

    def _forget(self, envelope: Envelope) -> None:
        self._open.pop(envelope, None)
        self._outside.pop(envelope, None)
        self._overtakers.pop(envelope, None)
        self._in_turn.pop(envelope, None)
        if envelope.recipient is not None:
            waiting = self._waiting[envelope.recipient]
            waiting.pop(envelope, None)
            if not waiting:
                del self._waiting[envelope.recipient]
