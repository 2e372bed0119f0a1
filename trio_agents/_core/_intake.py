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

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__ = ["Intake"]


class Intake:
    """A memory channel of envelopes, first in, first out."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._send, self._receive = loop.open_memory_channel()

    def put(self, envelope: Envelope) -> None:
        """Keep one more envelope. It never waits."""
        self._send.send_nowait(envelope)

    async def take(self) -> Envelope | None:
        """Wait for the next envelope that nobody has cancelled meanwhile; None after `end`."""
        while True:
            try:
                envelope: Envelope = await self._receive.receive()
            except self._loop.EndOfChannel:
                return None
            if envelope.stage is not SETTLED:
                return envelope

    def put_back(self, envelope: Envelope) -> None:
        """Keep an envelope that was taken, before all others."""
        for waiting in (envelope, *self.drain()):
            self.put(waiting)

    def end(self) -> None:
        """Have nobody wait in `take` any more. What is here stays."""
        waiting = self.drain()
        self._send.close()
        self._send, self._receive = self._loop.open_memory_channel()
        for envelope in waiting:
            self.put(envelope)

    def drain(self) -> list[Envelope]:
        """Take out everything that is there."""
        drained: list[Envelope] = []
        while True:
            try:
                envelope = self._receive.receive_nowait()
            except self._loop.WouldBlock:
                return drained
            if envelope.stage is not SETTLED:
                drained.append(envelope)
