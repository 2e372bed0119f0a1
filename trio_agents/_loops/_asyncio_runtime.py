"""The runtime on asyncio: the core with asyncio's loop, and a life without a block."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar, Unpack

from .._core._gate import State
from .._core._runtime import LEAVING, Runtime, RuntimeOptions, running
from ._asyncio import AsyncioLoop, AsyncioReply

__all__ = ["SingleThreadedAgentRuntime", "open_runtime"]

SelfT = TypeVar("SelfT", bound="SingleThreadedAgentRuntime")


class SingleThreadedAgentRuntime(Runtime):
    __doc__ = f"""Runs agents on the caller's own asyncio event loop.

    Without a block `start` makes a task that owns everything which runs, until a stop; what is left
    of a runtime that was never stopped is cancelled with its event loop, under a warning. It may be
    made where no loop runs and, once stopped, be used again under the next loop. Otherwise it is
    the runtime of `trio_agents`, whose description follows.

    {Runtime.__doc__}"""

    _loop = AsyncioLoop()

    def __init__(self, **options: Unpack[RuntimeOptions]) -> None:
        super().__init__(**options)
        self._owner: asyncio.Task[None] | None = None  # of the nursery, if no block owns it
        self._last_owner: asyncio.Task[None] | None = None  # it may still have to end
        self._is_open = asyncio.Event()
        self._news: AsyncioReply | None = None  # where the owner waits
        self._hands = 0  # how many calls of process_next are under way

    async def __aenter__(self: SelfT) -> SelfT:
        self._check_place()
        if self._owner is not None:
            raise RuntimeError(
                "this runtime is in use without a block, and cannot enter one now: stop() it if it "
                "was started, wait for process_next() to return, or enter the block before both"
            )
        return await super().__aenter__()

    async def process_next(self) -> None:
        self._hands += 1
        try:
            self._need_nursery("process_next()")
            if self._block is None:
                await self._is_open.wait()
            await super().process_next()
        finally:
            self._hands -= 1
            self._tell_owner()

    process_next.__doc__ = Runtime.process_next.__doc__

    async def _stop(self, deadline: float) -> None:
        try:
            await super()._stop(deadline)
        finally:
            self._tell_owner()
        if self._last_owner is not None:
            # Nothing of a stopped runtime is left in the event loop.
            await asyncio.wait([self._last_owner])

    def _need_nursery(self, call: str) -> None:
        if self._block is not None:
            super()._need_nursery(call)
            return
        self._loop.check_running()
        if self._owner is None:
            self._gate.ending = False
            self._place = self._here()
            self._is_open = asyncio.Event()
            self._owner = asyncio.create_task(
                self._own(self._last_owner), name=f"owner of {self!r}"
            )
            self._owner.add_done_callback(note_end_of_program)
            self._last_owner = self._owner

    async def _own(self, previous: asyncio.Task[None] | None) -> None:
        """Own the nursery from `start` to the end of a stop."""
        errors: list[BaseException] = []
        left: list[str] = []
        try:
            await asyncio.sleep(0)  # also under an eager task factory `start` returns first
            if previous is not None and not previous.done():
                await asyncio.wait([previous])
        except asyncio.CancelledError:
            left.append(self._describe_left())
            self._owner = self._place = None
            self._end(LEAVING)
            self._gate.close(State.STOPPED)
            warn_of_left(*left)
            raise
        async with self._own_nursery(errors):
            self._is_open.set()
            try:
                while not self._is_at_rest():
                    await self._wait_until_at_rest(left)
            finally:
                self._owner = None
        if errors:
            self._gate.close(State.STOPPED)
            if left and not self._crashes:
                warn_of_left(*left)
            raise self._choose_error(errors)

    async def _wait_until_at_rest(self, left: list[str]) -> None:
        reply = self._news = AsyncioReply()

        def look() -> bool:
            if self._is_at_rest():
                reply.set()
            return False

        def give_up() -> bool:
            # The loop is ending. Now all is still there that its tasks are at work on: when they
            # run next, they will find that they have been cancelled too.
            left.append(self._describe_left())
            return True

        # Whoever watches is told of every message: not before the runtime has been stopped.
        is_started = self._gate.state is State.STARTED
        with nullcontext() if is_started else self._ledger.watch(look):
            await reply.wait(give_up)
        if reply.interrupted:  # in the very turn in which it was told to look
            left.append(self._describe_left())
            reply.raise_if_cancelled()

    def _tell_owner(self) -> None:
        """Have the owner look again whether it is still needed."""
        if self._news is not None:
            self._news.set()

    def _is_at_rest(self) -> bool:
        return (
            self._gate.state is State.STOPPED
            and self._gate.nothing_runs()
            and not self._hands
            # Nothing runs for a message that process_next took up while somebody else has its agent
            # made, outside of our nursery. It will need a worker then.
            and all(activation.is_empty for activation in self._activations.values())
        )

    def _check_place(self) -> None:
        if self._lost_loop():
            raise RuntimeError(
                "this runtime was started on an event loop that was closed since: stop a runtime "
                "before its loop ends, or enter its block; and make a new one now"
            )
        super()._check_place()

    def _lost_loop(self) -> bool:
        return isinstance(self._place, asyncio.AbstractEventLoop) and self._place.is_closed()

    def _describe_left(self) -> str:
        busy = [str(a.id) for a in self._activations.values() if a.running or a.queued]
        return (
            f"{self!r} was started and never stopped, and its event loop has ended. Unfinished "
            f"messages: {self._ledger.pending}, of the agents: {', '.join(busy) or 'none'}"
        )

    def __del__(self) -> None:
        if self.__dict__.get("_place") is not None and self._lost_loop():
            warn_of_left(self._describe_left())


def note_end_of_program(owner: asyncio.Task[None]) -> None:
    """What ends the program has gone its way: asyncio need not tell that nobody asked for it."""
    if not owner.cancelled() and isinstance(
        owner._exception,  # looked at without asking for it
        (KeyboardInterrupt, SystemExit),
    ):
        owner.exception()


def warn_of_left(left: str) -> None:
    """Warn of a runtime that its program has forgotten."""
    warnings.warn(
        f"{left}. Call stop() or stop_when_idle(), or use `async with`",
        RuntimeWarning,
        stacklevel=2,
    )


def open_runtime(
    **options: Unpack[RuntimeOptions],
) -> AbstractAsyncContextManager[SingleThreadedAgentRuntime]:
    """Open a runtime that is started; on a normal exit, finish all work and close it.

    The short form of entering the block of a `SingleThreadedAgentRuntime`, which takes the same
    arguments, and calling `start()` first and `stop_when_idle()` last. Left by an exception it
    cancels what runs. What was stopped inside the block stays stopped.

    Raises:
        BaseException: the first failure of a publication, see *ignore_unhandled_exceptions*.
    """
    return running(SingleThreadedAgentRuntime(**options))
