"""Looking into a runtime's books: whether what they say of the same thing is the same.

It is done between two steps of the event loop, when nothing is half done. Each number here is
counted anew, from where the messages are, and compared with the one that is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ._activation import Activation
from ._envelope import RUNNING, SETTLED, Envelope, Errand

if TYPE_CHECKING:
    from ._runtime import Runtime

__all__ = ["audit", "audit_end"]


def audit(runtime: Runtime) -> Iterator[str]:
    """Say what is wrong in the books, a sentence each."""
    ledger = runtime._ledger
    workers = runtime._workers
    outcomes = (
        ledger.handled + ledger.failed + ledger.dropped + ledger.cancelled + ledger.undeliverable
    )
    if ledger.accepted != outcomes + ledger.pending or ledger.pending < 0:
        yield (
            f"{ledger.accepted} messages were accepted, but {outcomes} have an outcome and "
            f"{ledger.pending} are pending"
        )
    if ledger.pending == 0 and any(
        condition == runtime._gate.is_idle and not event.is_set()
        for condition, event in ledger.watches
    ):
        yield "the runtime is idle, and who waits for that was not woken"
    carried = workers.carried()
    if ledger.running != len(carried):
        yield f"{ledger.running} messages run by the ledger, and workers have {len(carried)}"
    if workers.are_open and not workers.is_empty and not workers._scouts:
        yield "messages are queued, and no worker is on its way to them"
    running = defaultdict[Activation | None, list[Envelope]](list)
    for envelope in carried:
        if envelope.stage is RUNNING or envelope.cleared or _starts(envelope):
            running[envelope.activation].append(envelope)
    for envelope in workers._released:  # let out of their mailboxes, and not taken up yet
        if envelope.cleared and envelope.stage is not SETTLED:
            running[envelope.activation].append(envelope)
    for activation in runtime._activations.values():
        yield from _audit_activation(activation, running.get(activation, ()))


def _starts(envelope: Envelope) -> bool:
    return envelope.activation is not None and envelope.activation.starter is envelope


def _audit_activation(activation: Activation, running: Sequence[Envelope]) -> Iterator[str]:
    id = activation.id
    running = [envelope for envelope in running if envelope is not activation.closing]
    if activation.running != len(running):
        yield f"{activation.running} handlers of {id} run by its books, and {len(running)} do"
    if activation.open and (
        activation.agent is None
        or activation.limit is not None
        or activation.closing is not None
        or activation.starter is not None
        or activation.head is not None
    ):
        yield f"{id} takes messages at once, and is not ready to"
    if activation.limit is not None and len(running) > activation.limit:
        beside = sum(1 for envelope in running if not activation.is_reentrant(envelope))
        if beside > activation.limit:
            yield f"{beside} handlers of {id} run, and its limit is {activation.limit}"
    size, inside = activation.registration.mailbox_size, len(activation._inside or ())
    if size is not None and inside > size:
        yield f"{inside} messages are in the mailbox of {id}, and its size is {size}"
    if activation.unused:
        yield f"{id} has no agent and no messages, and was not forgotten"


def audit_end(runtime: Runtime) -> Iterator[str]:
    """Say what still goes on where a runtime's block was left.

    Messages may wait for a next block, and tasks that are not the runtime's may have agents made.
    """
    if runtime._workers.at_work:
        yield f"{len(runtime._workers.at_work)} workers have outlived the runtime's block"
    if runtime._ledger.running:
        yield f"{runtime._ledger.running} messages run after the runtime's block"
    for activation in runtime._activations.values():
        if (
            activation.running
            or activation.runners
            or activation._held
            or not isinstance(activation.starter, Errand | None)
            or activation.closing is not None
        ):
            yield f"the books of {activation.id} still have a message after the runtime's block"
