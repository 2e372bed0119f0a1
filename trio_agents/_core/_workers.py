"""The run queue and the workers that empty it.

The run queue is one memory channel for the whole runtime, in the order of submission. A worker is
a task in the runtime's nursery. It takes the next envelope and carries it through: it is the
handler's task for that long, and takes another envelope afterwards. Whoever takes an envelope
begins its handler in the same step of the scheduler, so handlers begin in the order of the queue,
whatever order the scheduler prefers: that is why there is one queue and not one for each agent. (A
task for each message, or a reader for each agent, would begin in the order in which trio shuffles
them.)

For the same reason nobody waits in `receive()`: a memory channel hands a value to a waiting reader
*before* that reader runs, and another worker could begin a later message first. A worker without
work *rests*; one that is woken looks at the queue when it runs.

How many workers there are follows the handlers that wait. Whoever puts something in the queue, or
is about to run a handler while there is more, sends a *scout*: it wakes a resting worker, or starts
one, unless a scout is under way already. If the handler returns without waiting, its worker just
goes on, so a burst of ten thousand quick messages costs one scout; if it waits, the scout takes
over. The last scout to come sees how that went: messages that are being worked on now, and were not
when it was sent, have handlers that wait. If more is queued, twice as many scouts go out next. So a
burst of handlers that wait begins in a few turns of the event loop, not in one for each, and scouts
that find nothing to do are never more than there were handlers that waited.

A worker ends, and another takes its place, when its cancel scope was used, and when a handler left
a context variable changed: the next message must find nothing of the one before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

from ._envelope import (
    RUNNING,
    SETTLED,
    TAKEN,
    Envelope,
)
from ._loop import close_channel

if TYPE_CHECKING:
    from ._activation import Activation
    from ._ledger import Ledger
    from ._loop import CancelScope, EventLoop, Nursery, ReceiveChannel, Reply, SendChannel

__all__ = ["Worker", "Workers"]

MAX_RESTING: Final = 128
# Handlers that never wait do not starve the rest of the program: after so many in a row a worker
# leaves the queue to its scout, which the scheduler first has to get to. (Did it go on after a mere
# checkpoint, there would be one worker more each time, and each turn of the scheduler longer.)
# Scouts that were sent together share that number.
MAX_STREAK: Final = 64
# The most scouts at a time: as many more are too many if handlers wait no more all of a sudden.
MAX_SCOUTS: Final = 64


class Worker:
    """One worker task: its scope, and what it carries."""

    __slots__ = ("envelope", "scope", "work")

    def __init__(self, scope: CancelScope) -> None:
        self.scope = scope
        self.envelope: Envelope | None = None
        self.work: Coroutine[Any, Any, None] | None = None  # the task's, to see where it waits


class Workers:
    """The run queue of one runtime, and its workers.

    *carry* sees one envelope through. It returns whether the worker is fit for another.
    """

    def __init__(
        self, loop: EventLoop, ledger: Ledger, carry: Callable[[Envelope], Awaitable[bool]]
    ) -> None:
        self._loop = loop
        self._ledger = ledger
        self._carry = carry
        self._channel: tuple[SendChannel, ReceiveChannel] | None = None
        # What is queued while nothing else is needs no channel: it is here, and before it.
        self._first: Envelope | None = None
        self._queued = 0  # how many there are, with it
        # What goes before the queue: the deliveries of publications whose turn has come, and before
        # them messages out of mailboxes. These were in the queue before anything that is there now,
        # and those had been taken from it before.
        self._released: deque[Envelope] = deque()
        self._front: deque[Envelope] = deque()
        self._scouts = 0  # workers that were woken or started and have not run yet
        self._waited = 0  # how many messages were being worked on when a scout was sent last
        self._streak = MAX_STREAK  # how many messages in a row are for each that was sent last
        self._resting: list[Reply] = []
        # The worker that runs now will look at the queue before anything else runs: nobody need be
        # woken for what is put there meanwhile. Set while carrying, it holds until that returns.
        self.coming_back = False
        self._nursery: Nursery | None = None
        self._context: Context | None = None
        self._epoch = 0
        self.at_work: dict[Worker, None] = {}

    def open(self, nursery: Nursery) -> None:
        """Start workers in *nursery* from now on, with the context variables in force here.

        Workers that were started with others end when they have nothing in hand.
        """
        self._nursery = nursery
        self._context = copy_context()
        self._epoch += 1
        while self._resting:
            self._wake()
        if not self.is_empty and not self._scouts:
            self._wake()

    @property
    def are_open(self) -> bool:
        """Whether there is a nursery for workers."""
        return self._nursery is not None

    def carried(self) -> list[Envelope]:
        """Give the messages that are being worked on."""
        return [worker.envelope for worker in self.at_work if worker.envelope is not None]

    def handling(self, activation: Activation) -> list[Envelope]:
        """Give the messages that handlers of one agent are at work on."""
        carried = self.carried()
        return [e for e in carried if e.activation is activation and e.stage is RUNNING]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is queued."""
        return not (self._released or self._front or self._queued)

    def halt(self) -> None:
        """Have no worker begin anything more; those that rest end."""
        self._nursery = None
        self._epoch += 1
        while self._resting:
            self._scouts += 1
            self._resting.pop().set()

    def close(self) -> None:
        """Forget the workers: their nursery has ended."""
        self.halt()
        self._scouts = 0

    def submit(self, envelope: Envelope) -> None:
        """Put an envelope at the end of the queue."""
        if self._queued:
            if self._channel is None:
                self._channel = self._loop.open_memory_channel()
            self._channel[0].send_nowait(envelope)
        else:
            self._first = envelope
        self._queued += 1
        if not self._scouts:
            self._wake()

    def push(self, envelope: Envelope) -> None:
        """Put an envelope that had its turn, and waited in a mailbox, before everything else."""
        self._released.append(envelope)
        if not self._scouts and not self.coming_back:
            self._wake()

    def extend(self, envelopes: list[Any]) -> None:
        """Put the deliveries of a publication, whose turn it is, before the queue."""
        self._front.extend(envelopes)

    def drain(self) -> list[Envelope]:
        """Take out everything that is queued."""
        drained = [*self._released, *self._front]
        self._released.clear()
        self._front.clear()
        while self._queued:
            drained.append(self._take())
        if self._channel is not None:
            close_channel(self._channel)
            self._channel = None
        return drained

    def _take(self) -> Any:
        """Take out the first of what is queued."""
        self._queued -= 1
        first = self._first
        if first is None:
            assert self._channel is not None
            return self._channel[1].receive_nowait()
        self._first = None
        return first

    def _send_out(self) -> None:
        """Send a scout, or several if those sent last have come upon handlers that wait."""
        more = self._queued + len(self._front) + len(self._released)
        grown = self._ledger.running - self._waited
        number = max(1, min(2 * grown, more, MAX_SCOUTS))
        for _ in range(number):
            self._wake()
        self._streak = MAX_STREAK // number

    def _wake(self) -> None:
        self._waited = self._ledger.running
        self._streak = MAX_STREAK
        if self._resting:
            self._scouts += 1
            self._resting.pop().set()
        elif self._nursery is not None:
            assert self._context is not None
            self._context.run(self._nursery.start_soon, self._begin, self._epoch)
            self._scouts += 1

    def _begin(self, epoch: int) -> Coroutine[Any, Any, None]:
        worker = Worker(self._loop.HandlerScope())
        worker.work = self._work(worker, epoch)
        return worker.work

    async def _work(self, worker: Worker, epoch: int) -> None:
        released = self._released
        front = self._front
        ledger = self._ledger
        carry = self._carry
        take = self._take
        envelope: Envelope
        streak = 0
        self._scouts -= 1
        most = self._streak
        scope = worker.scope
        self.at_work[worker] = None
        try:
            with scope:
                while epoch == self._epoch:
                    if released and streak < most:
                        envelope = released.popleft()
                    elif front and streak < most:
                        envelope = front.popleft()
                    elif self._queued and streak < most:
                        envelope = take()
                    else:
                        if streak == most and not self.is_empty and not self._scouts:
                            self._wake()
                        if len(self._resting) >= MAX_RESTING:
                            return
                        streak = 0
                        reply = self._loop.Reply()
                        self._resting.append(reply)
                        try:
                            await reply.wait(_give_up)
                            if reply.interrupted:  # in the very turn in which it was woken
                                reply.raise_if_cancelled()
                        except BaseException:  # nobody must count on this worker
                            if reply in self._resting:
                                self._resting.remove(reply)
                            else:  # it was sent as a scout when it had been cancelled already
                                self._scouts -= 1
                            raise
                        self._scouts -= 1
                        most = self._streak
                        continue
                    if envelope.stage is SETTLED:  # cancelled while it was queued
                        del envelope
                        ledger.look()
                        continue
                    if (front or self._queued or released) and not self._scouts:
                        self._send_out()
                    worker.envelope = envelope
                    envelope.scope = scope
                    envelope.stage = TAKEN
                    ledger.running += 1
                    try:
                        fit = await carry(envelope)
                    finally:
                        self.coming_back = False
                        worker.envelope = None
                        ledger.running -= 1
                        if ledger.watches:
                            ledger.look()
                    del envelope  # at rest a worker keeps nothing of what it had
                    if not fit:
                        return
                    streak += 1
        finally:
            del self.at_work[worker]
            worker.work = None
            if not self.is_empty and not self._scouts:
                self._wake()


def _give_up() -> bool:
    # Only the end of the runtime cancels a worker that rests.
    return True
