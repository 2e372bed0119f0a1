"""Whether somebody waits for a task of asyncio, as far as that can be seen from outside.

Who waits for a future has asked it to be called when it is done; there is no other trace of it
before Python 3.14. gather(), shield(), as_completed() and the like ask for that in the name of
somebody else: they hand the result to a future of their own, or to a queue. So who waits is to be
asked of that one. What cannot be told counts as waited for: a false alarm would cancel a task that
is needed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import re
import sys
import threading
from collections.abc import Collection, Iterator
from types import AsyncGeneratorType, CellType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final, TypeAlias, cast

__all__ = ["WAITS_OF", "cancel", "is_awaited"]

WAITS_OF: Final = re.compile(r"(trio|anyio|asyncio)($|\.)")

Tasks: TypeAlias = Collection["asyncio.Task[Any]"]

# What such a callback hands a result to. Any, since their private attributes are looked at.
_FUTURE: Final[Any] = cast(Any, asyncio.Future)
_TASK: Final[Any] = cast(Any, asyncio.Task)
_QUEUE: Final[Any] = cast(Any, asyncio.Queue)
_FROM_THREAD: Final[Any] = cast(Any, concurrent.futures.Future)
_PARTIAL: Final[Any] = cast(Any, functools.partial)
# Where the callbacks are that act for somebody else. Those of task groups and runners wait.
_FOR_OTHERS: Final = ("asyncio.tasks", "asyncio.futures")
# And those among them that never wait: they pass a cancellation on, log, keep books.
_NEVER_WAIT: Final = frozenset(
    {
        "_outer_done_callback",
        "_call_check_cancel",
        "_log_on_exception",
        "_clear_awaited_by_callback",
    }
)
# What the functions that a task is in are made of. Not all of these types have a public name.
_FRAMES: Final[Any] = cast(Any, (CoroutineType, GeneratorType, AsyncGeneratorType, CellType))
_FRAMES_BY_NAME: Final = frozenset(
    {
        "async_generator_asend",
        "async_generator_athrow",
        "anext_awaitable",
        "coroutine_wrapper",
        "_AsCompletedIterator",
    }
)
# A thread of theirs has what its function returned at hand for a moment more.
_EXECUTORS: Final = ("concurrent.futures.thread", "anyio._backends._asyncio")


def is_awaited(future: Any, apart_from: Tasks = ()) -> bool:
    """Whether a task group, a thread, or another task than *apart_from* waits for this."""
    if isinstance(future, _QUEUE):
        return any(is_awaited(getter, apart_from) for getter in future._getters)
    if isinstance(future, _FROM_THREAD):
        if future._waiters:
            return True
        callbacks = future._done_callbacks
    else:
        callbacks = [callback for callback, _ in future._callbacks or ()]
    return any(_waits(callback, apart_from) for callback in callbacks)


def cancel(task: asyncio.Task[Any], message: str) -> None:
    """Cancel a task that nobody waits for. A gather() that it is in does not complain of that."""
    _hush(task)
    task.cancel(message)


def _hush(future: Any) -> None:
    for callback, _ in future._callbacks or ():
        for served in _served_by(callback):
            if isinstance(served, _FUTURE) and not served.done():
                served.add_done_callback(_hear_of_cancellation)
                _hush(served)


def _hear_of_cancellation(future: Any) -> None:
    if isinstance(future._exception, asyncio.CancelledError):  # that is how gather() ends
        future.exception()


def _waits(callback: Any, apart_from: Tasks) -> bool:
    # A task that awaits has its own method called; gather() and task groups, a function of theirs.
    # What a program has called does not wait: set.discard() keeps count of the tasks that run.
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, _TASK):
        return owner not in apart_from
    module, name = _origin(callback)
    if module not in _FOR_OTHERS:
        return WAITS_OF.match(module) is not None
    if name in _NEVER_WAIT:
        return False
    served = list(_served_by(callback))
    return not served or any(
        is_awaited(future, apart_from) or _is_held(future, apart_from) for future in served
    )


def _origin(callback: Any) -> tuple[str, str]:
    """Give the module and the name of the function that a callback calls."""
    function = callback.func if isinstance(callback, _PARTIAL) else callback
    return getattr(function, "__module__", None) or "", getattr(function, "__name__", "")


def _served_by(callback: Any) -> Iterator[Any]:
    """Give the futures and queues that a callback of asyncio hands a result to."""
    module, name = _origin(callback)
    if module not in _FOR_OTHERS or name in _NEVER_WAIT:
        return
    values = [getattr(getattr(callback, "__self__", None), "_done", None)]
    if isinstance(callback, _PARTIAL):
        values += callback.args
    values += gc.get_referents(*(getattr(callback, "__closure__", None) or ()))  # its variables
    for value in values:
        # A task among them is one that is waited for.
        if isinstance(value, (_FUTURE, _QUEUE, _FROM_THREAD)) and not isinstance(value, _TASK):
            yield value


def _is_held(future: Any, apart_from: Tasks) -> bool:
    """Whether a function that a task or another thread is in has this at hand, and may yet wait.

    Such a function may be busy with the first results of as_completed().
    """
    for task in asyncio.all_tasks():
        if task not in apart_from and _reaches(task.get_coro(), future):
            return True
    if not isinstance(future, _FROM_THREAD):
        return False
    here = threading.get_ident()
    return any(
        value is future
        for thread, innermost in sys._current_frames().items()
        if thread != here
        for frame in _callers(innermost)
        if frame.f_globals.get("__name__") not in _EXECUTORS
        for value in frame.f_locals.values()
    )


def _reaches(coroutine: Any, future: Any) -> bool:
    # The collector sees the loops of a function too, which are none of its variables.
    seen: set[int] = set()
    found = [coroutine]
    while found:
        for value in gc.get_referents(found.pop()):
            if value is future:
                return True
            is_frame = isinstance(value, _FRAMES) or type(value).__name__ in _FRAMES_BY_NAME
            if is_frame and id(value) not in seen:
                seen.add(id(value))
                found.append(value)
    return False


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
