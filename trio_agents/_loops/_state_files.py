"""Saving a runtime's state to a file, and loading it: one pair of functions for both event loops.

The disk is waited for in a thread. That is never left to itself: a save that was begun is finished
or undone before its caller goes on, even if that has been cancelled.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

import sniffio

from .._sansio._facade import claim_names
from .._sansio._state_file import (
    check_keep,
    place_of,
    replace_state_file,
    retrieve_state_file,
    warn_of_recovery,
)
from .._sansio._state_file_format import dump_state
from .._sansio._state_file_values import StateFile, StateFileConflict, StateFileUnconfirmed

if TYPE_CHECKING:
    import anyio
    import anyio.lowlevel

    from .._sansio._abc import AgentRuntime

__all__ = ["load_state_file", "save_state_file"]

T = TypeVar("T")


class _Descent:
    """Where a runtime's state comes from, from one load of a file to the next.

    Each load begins another one, so a save sees whether there was a load since its state was cut.

    Attributes:
        file: The generation that was loaded, or saved since; None if neither.
    """

    __slots__ = ("file",)

    def __init__(self, file: StateFile | None = None) -> None:
        self.file = file


# Which generation of a file a runtime's state comes from, by the file's path. A runtime that has
# neither loaded nor saved one must not replace a file.
_known: Final[WeakKeyDictionary[AgentRuntime, dict[str, _Descent]]] = WeakKeyDictionary()


@cache
def _locks() -> anyio.lowlevel.RunVar[defaultdict[str, anyio.Lock]]:
    """Give the locks around the writing of one file.

    Of each event loop its own, for a lock cannot be shared; between two loops the lock on the file
    decides.
    """
    # Only who saves files needs anyio here, and it takes its time.
    import anyio.lowlevel

    return anyio.lowlevel.RunVar("trio_agents.state_file_locks")


async def save_state_file(
    runtime: AgentRuntime, path: str | os.PathLike[str], *, keep: int = 2
) -> StateFile:
    """Save a runtime's state to a file, and return when it will survive a crash.

    The state is what ``await runtime.save_state()`` gives, one consistent cut. Whatever happens,
    the file holds the state that was saved before or this one, whole; when this has returned,
    this one. Only the owner may read the file. Older generations are kept beside it, as ``path.1``,
    ``path.2`` and so on.

    Saves of one runtime to one file may overlap. They are written one after the other, in the order
    of their states.

    Cancelled while the runtime is asked, nothing was written. Cancelled later, it returns or raises
    after the disk is done with it, and the file has been saved, or is as it was.

    Args:
        runtime: Any runtime, also that of a portal. With a blocking one:
            ``runtime.run(save_state_file, path)``.
        path: The file. Its directory must exist. It may not be a symbolic link.
        keep: How many older generations to keep.

    Raises:
        RuntimeError: called by a handler, which it would wait for.
        StateError: a state is not what JSON can express; nothing was written.
        StateFileConflict: the file holds another generation than this runtime has loaded or saved
            last, or one that it has not loaded; or it has loaded the file while this save was under
            way; or another process saves at this moment. Nothing was written.
        StateFileTooNew: a newer version of the library wrote the file. It was left alone.
        StateFileUnconfirmed: the state was written, but might not survive a crash.
        OSError: it could not be written; what was saved before stands.
        TypeError, ValueError: an argument is not what it should be.
    """
    place = place_of(path)
    check_keep(keep)
    known = _known.setdefault(runtime, {})
    # From before the cut: a load that comes after it puts another one there.
    descent = known.setdefault(place, _Descent())
    # Not under the lock: there a handler that comes this way would wait for its own end, where the
    # runtime refuses it.
    state = await runtime.save_state()
    # From here to the lock nothing waits, and the lock serves in order: first cut, first written.
    async with _lock(place):

        def write() -> StateFile:
            body = dump_state(state)
            if known[place] is not descent:
                raise StateFileConflict(
                    f"{place} was not saved: the runtime's state was loaded from the file while "
                    "this save was under way, and nothing was written. Save again"
                )
            try:
                file = replace_state_file(place, body, after=descent.file, keep=keep)
            except StateFileUnconfirmed as exc:
                descent.file = exc.file
                raise
            # Here and not behind the wait, which may end in a cancellation.
            descent.file = file
            return file

        return await _in_thread(write)


async def load_state_file(runtime: AgentRuntime, path: str | os.PathLike[str]) -> StateFile:
    """Give a runtime the state that `save_state_file` saved, and say which generation that was.

    What *runtime* saves to this file from now on follows that generation. A save that has begun
    before, and not come to write yet, gets a `StateFileConflict`.

    The newest generation is taken. If it is damaged, the newest before it that is not is taken:
    then there is a `RuntimeWarning`, and `StateFile.recovered` says why.

    Cancelled, it may have restored some of the agents.

    Raises:
        FileNotFoundError: there is no file of this name, nor an older generation.
        StateFileCorrupt: there are some, and none can be used.
        StateFileTooNew: a newer version of the library wrote the one that would be used.
        StateError: it names agent types that are not registered; nothing was loaded.
        RuntimeError: called by a handler, which it would wait for.
        OSError: it cannot be read, for a reason that is no damage.
        BaseException: what the runtime's `load_state` raised.
    """
    place = place_of(path)
    async with _lock(place):
        file, state = await _in_thread(lambda: retrieve_state_file(place))
    warn_of_recovery(file, stacklevel=3)
    await runtime.load_state(state)
    _known.setdefault(runtime, {})[place] = _Descent(file)
    return file


def _lock(place: str) -> anyio.Lock:
    import anyio

    try:
        locks = _locks().get()
    except LookupError:
        locks = defaultdict[str, anyio.Lock](anyio.Lock)
        _locks().set(locks)
    return locks[place]


async def _in_thread(work: Callable[[], T]) -> T:
    """Call *work* in a thread, and wait for its end in any case."""
    import anyio
    import anyio.lowlevel
    import anyio.to_thread

    if sniffio.current_async_library() != "asyncio":
        return await anyio.to_thread.run_sync(work)

    # There anyio's shield holds back its own cancellations, and none of `task.cancel()`.
    import asyncio

    await anyio.lowlevel.checkpoint_if_cancelled()
    # The executor's, which the end of a loop waits for; and no task, which it would cancel.
    future = asyncio.get_running_loop().run_in_executor(None, work)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as exc:  # noqa: ASYNC103  # raised below
                cancelled = exc
    result = future.result()  # a failure is not lost because somebody has lost interest
    if cancelled is not None:
        raise cancelled
    return result


claim_names("trio_agents", globals())
