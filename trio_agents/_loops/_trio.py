"""The core's event loop on trio: mostly trio's own words."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FunctionType, ModuleType
from typing import Any, ClassVar

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from .._core import (
    _activation,
    _admission,
    _calls,
    _gate,
    _intake,
    _interception,
    _ledger,
    _pipeline,
    _reaper,
    _residents,
    _room,
    _runtime,
    _watchdog,
    _workers,
)
from .._core._calls import is_same_context
from .._sansio._cancellation import Home, home_finders
from .._sansio._errors import MessageCancelled
from .._sansio._notes import add_note, leaves_of

__all__ = ["TrioLoop", "TrioReply", "let_interrupts_wait"]


class TrioReply:
    """A task parks here until `set`; see the core's `Reply`.

    Cheaper than an event, because exactly one task waits and nobody asks whether it was set.
    """

    __slots__ = ("_abandon", "_is_set", "_raise_cancel", "_task")

    interrupted = False  # trio raises it again at the next checkpoint

    def __init__(self) -> None:
        self._task: Task | None = None
        self._abandon: Callable[[], bool] | None = None
        self._is_set = False
        self._raise_cancel: RaiseCancelT | None = None

    def set(self) -> None:
        """End the wait."""
        self._is_set = True
        if self._task is not None:
            reschedule(self._task)
            self._task = None
        self._abandon = None  # it refers to the message, and that to us

    def wait(self, abandon: Callable[[], bool]) -> Coroutine[Any, Any, Any]:
        """Wait for `set`; a cancellation asks *abandon* whether it may be raised at once.

        Not a coroutine function, but one frame less: await what it returns, at once.
        """
        if self._is_set:
            return trio.lowlevel.cancel_shielded_checkpoint()  # noqa: ASYNC105  # the caller does
        self._task = current_task()
        self._abandon = abandon
        return wait_task_rescheduled(self._abort)  # noqa: ASYNC105

    def _abort(self, raise_cancel: RaiseCancelT) -> Abort:
        # Giving up settles the message, which calls `set`: it must not find us here.
        task, self._task = self._task, None
        assert self._abandon is not None
        if self._abandon():
            return Abort.SUCCEEDED
        self._task = task
        self._raise_cancel = raise_cancel
        return Abort.FAILED

    def raise_if_cancelled(self) -> None:
        """Raise the cancellation that came during the wait, if one came."""
        if self._raise_cancel is not None:
            self._raise_cancel()

    async def outlast(self) -> None:
        """Nothing to do: trio asks to be shielded once, and then waits."""

    def leave_cancellation(self) -> None:
        """Nothing to do: trio raises it again at the next checkpoint."""


class TrioLoop:
    """What the core asks of an event loop, on trio."""

    Cancelled: ClassVar[type[BaseException]] = trio.Cancelled
    CancelScope = trio.CancelScope
    HandlerScope = trio.CancelScope
    Event = trio.Event
    Ignorable: ClassVar[tuple[type[BaseException], ...]] = (Exception,)
    MessageCancelled: ClassVar[type[BaseException]] = MessageCancelled
    Reply = TrioReply

    @staticmethod
    def open_nursery() -> Any:
        """Open a nursery."""
        return trio.open_nursery()

    @staticmethod
    def open_memory_channel() -> Any:
        """Open a memory channel without a bound."""
        return trio.open_memory_channel[Any](math.inf)

    @staticmethod
    def current_time() -> float:
        """The time of trio's clock, in seconds."""
        return trio.current_time()

    @staticmethod
    async def checkpoint() -> None:
        """Let other tasks run."""
        await trio.lowlevel.checkpoint()

    @staticmethod
    def is_cancelled() -> bool:
        """Whether the next checkpoint of this task would raise `trio.Cancelled`."""
        return trio.current_effective_deadline() == -math.inf

    @staticmethod
    def is_cancelling(scope: trio.CancelScope) -> bool:
        """What else cancels a scope does so for good: to cancel it once more changes nothing."""
        return False

    is_unchanged = staticmethod(is_same_context)

    @staticmethod
    def join_failures(failures: list[BaseException]) -> BaseException:
        """Give an exception group with one leaf for each."""
        return BaseExceptionGroup("unhandled exceptions in message handlers", failures)

    @staticmethod
    def ends_task(error: BaseException) -> bool:
        """Nothing does: trio cancels scopes."""
        return False

    @staticmethod
    def explain(error: BaseException) -> None:
        """Say which door to use, to code written for asyncio."""
        for leaf in filter(is_misplaced, leaves_of(error)):
            add_note(
                leaf,
                "This runtime runs on trio, and code that it called awaited something of "
                "asyncio's. Agents written for asyncio run in a trio_agents.asyncio runtime.",
            )

    @staticmethod
    def check_running() -> None:
        """Refuse to begin outside of trio.

        Raises:
            RuntimeError: it says which door to use.
        """
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "this runtime runs on trio, and trio does not run here: enter its block inside "
                "trio.run(). In an asyncio program import the runtime from trio_agents.asyncio, or "
                "reach this one through trio_agents.portal.open_portal()"
            )

    @staticmethod
    def here() -> object:
        """The thread: a trio run keeps to one, and shares it with no other."""
        return threading.get_ident()

    @staticmethod
    def home() -> Home:
        """The thread of this trio run, and its token."""
        token = trio.lowlevel.current_trio_token()

        def call_soon(callback: Callable[[], object]) -> None:
            # When that run is over there is nothing left to cancel.
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(callback)

        return Home(threading.get_ident(), call_soon)


def is_misplaced(error: BaseException) -> bool:
    """Whether *error* is asyncio's, or trio's, about a wait for something of asyncio's."""
    if type(error) is TypeError:
        return "unrecognized yield message" in str(error)
    if type(error) is AttributeError:  # that of queues, locks and events
        return str(error) == "'NoneType' object has no attribute 'create_future'"
    # Not of a subclass, which may be one of the application's that cannot be printed.
    text = str(error) if type(error) is RuntimeError else ""
    return text == "no running event loop" or text.startswith("There is no current event loop in")


def _find_home() -> Home | None:
    return TrioLoop.home() if trio.lowlevel.in_trio_run() else None


home_finders.append(_find_home)


CORE = (
    _activation,
    _admission,
    _gate,
    _intake,
    _interception,
    _ledger,
    _pipeline,
    _reaper,
    _residents,
    _room,
    _runtime,
    _watchdog,
    _workers,
)


def let_interrupts_wait() -> None:
    """Keep Ctrl-C out of the core's own code, and let it into the application's.

    trio raises `KeyboardInterrupt` wherever the main thread happens to be. In the middle of the
    core's bookkeeping that would lose a message; there it waits for the next checkpoint. Handlers,
    factories and everything else that the core calls through `_calls` may be interrupted as in any
    trio program.
    """
    for module in CORE:
        for function in functions_of(module):
            trio.lowlevel.enable_ki_protection(function)
    asking = _interception.Interceptors._ask_each
    for function in (_calls.handle, _calls.call_user, _calls.is_true, asking):
        trio.lowlevel.disable_ki_protection(function)


def functions_of(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """Give the functions and methods that *module* defines."""
    for value in vars(module).values():
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            if isinstance(member, FunctionType) and member.__module__ == module.__name__:
                yield member
