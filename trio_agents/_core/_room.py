"""The bound on the whole runtime (``max_pending``): who comes in, and who waits outside.

Submitters that find the runtime full stand in line, first come, first served. Whoever settles a
message lets the first of them in, in the same step, so nobody can slip in between. What a running
handler submits comes in at once: its own message holds a place already, and the runtime would only
fill up with handlers that wait for each other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._sansio._cancellation import CancellationToken
    from ._ledger import Ledger
    from ._loop import EventLoop, Reply

__all__ = ["Door"]


class Door:
    """Lets submissions in while fewer than *capacity* messages are pending."""

    def __init__(self, loop: EventLoop, ledger: Ledger, capacity: int) -> None:
        self.capacity = capacity
        self._loop = loop
        self._ledger = ledger
        self._line: OrderedDict[Reply, Callable[[], None]] = OrderedDict()
        self._is_moving = False

    def __len__(self) -> int:
        return len(self._line)

    @property
    def is_open(self) -> bool:
        """Whether a submission could come in now."""
        return not self._line and self._ledger.pending < self.capacity

    async def wait(
        self, enter: Callable[[], Exception | None], token: CancellationToken | None
    ) -> bool:
        """Stand in line; *enter* is called when it is our turn. Cancelled, nothing has happened.

        Returns False if *token* was cancelled first.

        A cancellation that comes after *enter* was called is not raised here: what was submitted
        is waited for next, and that wait knows how to take it back.

        Raises:
            Exception: what *enter* has returned: the turn has come, and is not taken.
        """
        entered = True
        refusal: Exception | None = None
        reply = self._loop.Reply()

        def take_turn() -> None:
            nonlocal refusal
            refusal = enter()

        self._line[reply] = take_turn

        def leave_line() -> bool:
            return self._line.pop(reply, None) is not None

        def turn_away() -> None:
            nonlocal entered
            if leave_line():
                entered = False
                reply.set()

        link = 0 if token is None else token.link(turn_away, self._loop.home())
        try:
            await reply.wait(leave_line)
        finally:
            if token is not None:
                token.unlink(link)
        if refusal is not None:
            reply.raise_if_cancelled()
            try:
                raise refusal
            finally:  # its traceback refers to this frame: they would keep the message alive
                refusal = None
        reply.leave_cancellation()
        return entered

    def move_up(self) -> None:
        """Let in as many as there is room for."""
        if self._is_moving:  # what is let in may be settled at once: not one inside the other
            return
        self._is_moving = True
        try:
            while self._line and self._ledger.pending < self.capacity:
                reply, enter = self._line.popitem(last=False)
                enter()
                reply.set()
        finally:
            self._is_moving = False
