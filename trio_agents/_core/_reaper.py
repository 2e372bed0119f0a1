"""Letting go of agents that have been quiet for their type's ``idle_timeout``.

One task and one heap of due times for all of them. An agent that is used again is not taken out of
the heap: its entry is looked at when it falls due, and put back if the agent has been busy.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._activation import Activation

if TYPE_CHECKING:
    from ._loop import Event, EventLoop, Nursery

__all__ = ["Reaper"]


class Reaper:
    """Calls *let_go* for activations that have been quiet long enough; it says if it did."""

    def __init__(self, loop: EventLoop, let_go: Callable[[Activation], bool]) -> None:
        self._loop = loop
        self._let_go = let_go
        self._due: list[tuple[float, int, Activation]] = []
        self._enrolled: set[Activation] = set()
        self._count = 0
        self._sooner: Event | None = None  # set when the first due time has changed
        self._nursery: Nursery | None = None

    def open(self, nursery: Nursery) -> None:
        """Run in *nursery* from now on, as soon as there is anybody to watch."""
        self._nursery = nursery
        self._sooner = None
        watched = [activation for _, _, activation in self._due]
        self._due.clear()
        now = self._loop.current_time()  # another event loop's clock may show another time
        for activation in watched:
            assert activation.registration.idle_timeout is not None
            activation.idle_since = now
            self._push(now + activation.registration.idle_timeout, activation)

    def close(self) -> None:
        """Watch no more: the nursery is about to end, or has."""
        self._nursery = None
        if self._sooner is not None:
            self._sooner.set()

    def note_idle(self, activation: Activation) -> None:
        """Note that an agent has nothing to do, for now."""
        if activation.running or activation.queued or activation.agent is None:
            return
        timeout = activation.registration.idle_timeout
        assert timeout is not None
        activation.idle_since = self._loop.current_time()
        if activation not in self._enrolled:
            self._enrolled.add(activation)
            self._push(activation.idle_since + timeout, activation)

    def _push(self, due: float, activation: Activation) -> None:
        self._count += 1
        heapq.heappush(self._due, (due, self._count, activation))
        if self._due[0][2] is activation:
            if self._sooner is None:
                self._start()
            else:
                self._sooner.set()

    def _start(self) -> None:
        if self._nursery is not None:
            self._sooner = self._loop.Event()
            self._nursery.start_soon(self._reap)

    async def _reap(self) -> None:
        while self._due and self._nursery is not None:
            assert self._sooner is not None
            with self._loop.CancelScope(deadline=self._due[0][0]):
                await self._sooner.wait()
            if self._sooner.is_set():
                self._sooner = self._loop.Event()
            now = self._loop.current_time()
            while self._due and self._due[0][0] <= now:
                _, _, activation = heapq.heappop(self._due)
                self._look_at(activation, now)
        self._sooner = None

    def _look_at(self, activation: Activation, now: float) -> None:
        timeout = activation.registration.idle_timeout
        assert timeout is not None
        if activation.agent is not None:
            if activation.running or activation.queued:
                due = now + timeout
            elif activation.idle_since + timeout > now:
                due = activation.idle_since + timeout
            elif self._let_go(activation):
                self._enrolled.discard(activation)
                return
            else:
                due = now + timeout
            self._push(due, activation)
        else:
            self._enrolled.discard(activation)
