"""`no_leaks`: nothing that a block has begun goes on behind it, and no error of it was lost.

What is there is looked up before and after, and compared: `_residue` does that. Errors that Python
and asyncio would only print are caught by their hooks: `_lost_errors` does that.

The fixture of this name is a block around the event loop of its test, where no task is seen. So the
test itself is run by `no_leaks._watch`, which looks in between.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, final

import anyio

from .._sansio._notes import add_note
from ._leak import Leak
from ._lost_errors import LostErrors
from ._residue import Census, Strays
from ._waiting import wait_all_tasks_blocked

__all__ = ["LeakError", "no_leaks"]

PATIENCE: Final = 1.0  # seconds


@final
class LeakError(AssertionError):
    """Something was left behind, by a block or by a test with the fixture ``runtime``.

    Its text lists what.

    Attributes:
        leaks: All of it.
    """

    def __init__(self, leaks: tuple[Leak, ...]) -> None:
        self.leaks = leaks
        super().__init__(describe(leaks))


def describe(leaks: tuple[Leak, ...]) -> str:
    """List leaks, one below the other."""
    lines = [f"- {leak}".replace("\n", "\n  ") for leak in leaks]
    number = "1 leak" if len(leaks) == 1 else f"{len(leaks)} leaks"
    return "\n".join([f"{number}:", *lines])


@final
class no_leaks:  # in lower case, as the context managers of contextlib
    """Fail if the block leaves something behind.

    ::

        async with no_leaks():
            async with open_runtime() as runtime:
                ...

    These are leaks, if they were not there before:

    * tasks of the event loop, apart from the one that leaves the block;
    * threads, file descriptors and child processes. Threads that an event loop keeps for its next
      use (trio's, anyio's, asyncio's own) count only while they work;
    * files and directories that this process has made in `tempfile.gettempdir`, next to the others
      there: what is inside of an older directory is not looked at;
    * messages that a runtime has accepted and not finished, and failures of publications that it
      keeps and has not raised, or has only logged (``ignore_unhandled_exceptions=True``);
    * errors that Python or asyncio would only print: in ``__del__``, in a thread, of a task whose
      result nobody asked for, of a task that was thrown away. Coroutines that were never awaited.
      Files and sockets that were not closed.

    Around a whole event loop write ``with``, inside of one ``async with``: it first waits until all
    other tasks wait, so that what is about to end can do so.

    If the block raises, that goes on its way, and a note on it lists the leaks.

    Blocks may be nested, and must not overlap otherwise: they use hooks of the whole process. The
    first block adds an audit hook (`sys.addaudithook`), which cannot be removed. File descriptors
    and child processes are known on Linux, file descriptors on macOS too. Both ends of the block
    collect garbage, which takes some hundredths of a second.

    Args:
        allow: Says of a `Leak` whether it is none.
        patience: Seconds of real time that threads have to end.

    Raises:
        LeakError: there are leaks.
    """

    def __init__(
        self, *, allow: Callable[[Leak], bool] | None = None, patience: float = PATIENCE
    ) -> None:
        self._allow = allow
        self._patience = patience
        self._census: Census | None = None
        self._errors = LostErrors()
        self._strays: list[Leak] = []

    async def _watch(self, test: Awaitable[None]) -> None:
        """Await *test* in this block, and see which tasks it leaves that nobody waits for.

        If it raises nothing is looked for: what it began it could not end.
        """
        strays = Strays()
        await test
        with anyio.move_on_after(self._patience):  # a task may never rest
            await wait_all_tasks_blocked()
        self._strays += strays.left()

    def __enter__(self) -> None:
        if self._census is not None:
            raise RuntimeError("this block has been entered already: no_leaks() gives another")
        gc.collect()  # what was lost before is not ours
        self._census = Census()
        self._errors.catch()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._census is not None
        try:
            gc.collect()  # what only garbage holds says now that it was lost
            left = self._census.left(self._patience)
        finally:
            lost = self._errors.release()
            self._census.close()
        leaks = tuple(
            leak
            for leak in [*self._strays, *left, *lost]
            if self._allow is None or not self._allow(leak)
        )
        if leaks and exc is None:
            raise LeakError(leaks)
        if leaks and exc is not None:
            add_note(exc, describe(leaks))

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                await wait_all_tasks_blocked()  # noqa: ASYNC102  # a cancellation ends it
        except BaseException as cancelled:  # its note says what was left
            self.__exit__(type(cancelled), cancelled, None)
            raise
        self.__exit__(exc_type, exc, traceback)
