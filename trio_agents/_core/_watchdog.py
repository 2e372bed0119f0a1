"""The watchdog: says so when something does not give the event loop's thread back.

A handler that computes for long, or calls what blocks, holds up everybody: no other handler runs,
no timeout is kept, nothing can be cancelled, and it cannot be interrupted. All that can be done is
to say who it is and where. A thread of the runtime's own does that, if the application asks for it
(``blocked_after``); without it nothing here runs.

What a worker does for a message is taken step by step, and each step has a time at which it began.
So a handler that waits, however long, is in no step, and many short steps are not taken for a long
one. That sees the worker's own task: interception, factory, handler. The tasks that a handler has
started itself are the event loop's and not ours. For them the thread asks the loop, while messages
are being worked on, to call it back; if neither that happens nor any handler takes a step, the
thread is blocked by somebody whom we do not know, and the stack has to tell.

Left out: to ask an idle loop. What blocks while no message is being worked on is not an agent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import TYPE_CHECKING, Any, Final

from .._sansio._events import EventLoopBlockedEvent, EventLoopReleasedEvent
from .._sansio._log_names import EVENT_LOGGER_NAME
from ._envelope import Farewell
from ._stacks import stack_of_thread, steps_by_hand

if TYPE_CHECKING:
    from .._sansio._cancellation import Home
    from .._sansio._identifiers import AgentId
    from ._envelope import Envelope

__all__ = ["Watchdog"]

events = logging.getLogger(EVENT_LOGGER_NAME)


class Turn:
    """Something that is to give the thread back: a step of a worker, or a call by the loop."""

    __slots__ = ("agent_id", "began", "ended", "message_type", "watchdog")

    def __init__(
        self, watchdog: Watchdog, agent_id: AgentId | None = None, message_type: str | None = None
    ) -> None:
        self.watchdog = watchdog
        self.agent_id = agent_id
        self.message_type = message_type
        self.began = watchdog.clock()
        self.ended: float | None = None  # only noted of a turn that was reported

    def __enter__(self) -> None:
        self.watchdog.steps += 1
        self.watchdog.step = self

    def __exit__(self, *exc_info: object) -> None:
        self.watchdog.step = None
        self.end()

    def end(self) -> None:
        """The thread has been given back."""
        watchdog = self.watchdog
        if watchdog.blockage is self:
            self.ended = watchdog.clock()
            watchdog.wake.set()


class Watchdog:
    """Reports what blocks one event loop's thread for *after* seconds, and how long it was.

    Everything is written to the log in the watchdog's thread, so what is said is in order. The loop
    only changes attributes, one at a time.
    """

    def __init__(self, after: float) -> None:
        self.after = after
        self.clock: Callable[[], float] = time.monotonic
        self.wake = threading.Event()
        self.step: Turn | None = None  # of a worker, right now
        self.steps = 0
        self.blockage: Turn | None = None  # what was reported, until that has ended
        self._call: Turn | None = None  # what the loop was asked for, and has not done
        self._steps_then = 0
        self._is_open = False
        self._thread: threading.Thread | None = None

    def open(self, home: Home, is_busy: Callable[[], bool]) -> None:
        """Watch the current thread, where *home* is, from now on; ask its loop while *is_busy*."""
        self._home = home
        self._is_busy = is_busy
        self._is_open = True
        self._call = self.step = None
        self._thread = threading.Thread(
            target=self._watch, args=[threading.current_thread()], name="trio_agents watchdog"
        )
        self._thread.start()

    def close(self) -> None:
        """Watch no more. When it returns the thread has ended, and said all it had to say."""
        self._is_open = False
        self.wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self, watched: threading.Thread) -> None:
        # A loop that was abandoned never closes us. At the end of its thread, which for the main
        # thread is that of the program, this one must end too.
        while self._is_open and watched.is_alive():
            self.wake.wait(self.look())
            self.wake.clear()
        self._look_for_end(is_over=True)

    def look(self) -> float:
        """Report what is to be reported now; return in how many seconds to look again."""
        self._look_for_end()
        if self.blockage is not None:
            return self.after
        turn = self.step or self._call
        if turn is None or (turn is self._call and self._steps_then != self.steps):
            self._call_back()
            return self.after
        rest = turn.began + self.after - self.clock()
        if rest > 0:
            return rest
        self._report(turn)
        return self.after

    def _call_back(self) -> None:
        """Ask the loop for a sign of life, if there is anything whose life we care for."""
        self._call = None
        if self._is_busy():
            self._call = call = Turn(self)
            self._steps_then = self.steps
            self._home.call_soon(lambda: self._answer(call))

    def _answer(self, call: Turn) -> None:
        if self._call is call:
            self._call = None
        call.end()

    def _report(self, turn: Turn) -> None:
        inside = BY_HAND if turn.agent_id is not None or turn.message_type is not None else None
        stack = stack_of_thread(self._home.thread, inside)
        self.blockage = turn
        if turn is not self.step and turn is not self._call:  # it has ended while we looked
            self.blockage = None
            return
        events.warning(
            EventLoopBlockedEvent(
                agent_id=turn.agent_id,
                message_type=turn.message_type,
                seconds=self.clock() - turn.began,
                stack=stack,
            )
        )

    def _look_for_end(self, *, is_over: bool = False) -> None:
        turn = self.blockage
        if turn is None:
            return
        # It may have ended just before it would have noted that it was reported.
        ended = turn.ended
        if ended is None and (is_over or (turn is not self.step and turn is not self._call)):
            ended = self.clock()
        if ended is not None:
            self.blockage = None
            events.warning(
                EventLoopReleasedEvent(
                    agent_id=turn.agent_id,
                    message_type=turn.message_type,
                    seconds=ended - turn.began,
                )
            )

    def watching(
        self, carry: Callable[[Envelope], Coroutine[Any, Any, bool]]
    ) -> Callable[[Envelope], Any]:
        """Give what does the same as *carry*, under our eyes."""

        def carry_watched(envelope: Envelope) -> Any:
            is_message = not isinstance(envelope, Farewell)
            name = type(envelope.message).__name__ if is_message else None
            return step_by_hand(self, envelope.recipient, name, carry(envelope))

        return carry_watched


@coroutine
def step_by_hand(
    watchdog: Watchdog,
    agent_id: AgentId | None,
    message_type: str | None,
    work: Coroutine[Any, Any, Any],
) -> Generator[Any, Any, Any]:
    """Await *work*, so that the watchdog knows of each of its steps."""
    try:
        with Turn(watchdog, agent_id, message_type):
            wait = work.send(None)
        while True:
            try:
                answer = yield wait
            except BaseException as exc:  # how a loop cancels what waits: it is handed on
                with Turn(watchdog, agent_id, message_type):
                    wait = work.throw(exc)
            else:
                with Turn(watchdog, agent_id, message_type):
                    wait = work.send(answer)
    except StopIteration as end:
        return end.value


BY_HAND: Final = step_by_hand.__code__
steps_by_hand.add(BY_HAND)
