"""The intake: where submissions wait while the runtime does not take them up.

That is before `start` and after `stop`, and while a state is saved. Otherwise a submission passes
straight on to the run queue; order is kept, because the intake is emptied into the queue first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._envelope import (
    SETTLED,
    Envelope,
)
from ._loop import close_channel

if TYPE_CHECKING:
    from ._loop import EventLoop, ReceiveChannel, SendChannel

__all__ = ["Intake"]


class Intake:
    """A memory channel of envelopes, first in, first out, which is there while any wait."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._channel: tuple[SendChannel, ReceiveChannel] | None = None
        self._waiting = 0

    def put(self, envelope: Envelope) -> None:
        """Keep one more envelope. It never waits."""
        if self._channel is None:
            self._channel = self._loop.open_memory_channel()
        self._channel[0].send_nowait(envelope)
        self._waiting += 1

    def is_empty(self) -> bool:
        """Whether nothing is here, or only what may have been cancelled meanwhile."""
        return not self._waiting

    def take(self) -> Envelope | None:
        """Take out the next envelope that nobody has cancelled meanwhile, if there is one."""
        while self._channel is not None:
            self._waiting -= 1
            envelope: Envelope = self._channel[1].receive_nowait()
            if not self._waiting:
                close_channel(self._channel)
                self._channel = None
            if envelope.stage is not SETTLED:
                return envelope
        return None

    def drain(self) -> list[Envelope]:
        """Take out everything that is here."""
        drained: list[Envelope] = []
        while (envelope := self.take()) is not None:
            drained.append(envelope)
        return drained
