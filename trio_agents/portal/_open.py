"""`open_portal`: the block that a trio thread and its runtime live for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncContextDecorator
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from .._loops._trio_runtime import SingleThreadedAgentRuntime
from .._sansio._abc import AgentRuntime
from ._awaitable import AwaitableRuntime
from ._blocking import BlockingRuntime
from ._calls import AwaitedCall, BlockingCall
from ._thread import TrioThread

__all__ = ["Portal", "open_portal"]

RuntimeT = TypeVar("RuntimeT", bound=AgentRuntime)


@overload
def open_portal() -> Portal[SingleThreadedAgentRuntime]: ...


@overload
def open_portal(
    runtime_factory: Callable[[], AbstractAsyncContextManager[RuntimeT]],
) -> Portal[RuntimeT]: ...


@overload
def open_portal(runtime_factory: Callable[[], RuntimeT]) -> Portal[RuntimeT]: ...


def open_portal(runtime_factory: Callable[[], Any] = SingleThreadedAgentRuntime) -> Portal[Any]:
    """Open a runtime in a trio thread of its own, for code that does not run on trio.

    Synchronous code enters with ``with`` and gets a `BlockingRuntime`; code on asyncio enters with
    ``async with`` and gets an `AwaitableRuntime`::

        with open_portal() as runtime:
            runtime.run(Worker.register, "worker", Worker)
            answer = runtime.send_message(Task("x"), AgentId("worker", "default"))

    The runtime is started when the block is entered. A normal exit waits until it is idle, closes
    it, and then cancels calls that are still under way, which fail with `PortalClosedError`. An
    exception cancels what runs. Either way the thread and all of its tasks have ended when the
    block has. Ctrl-C, or cancellation of the task, while that is waited for cancels the rest.

    What ends the runtime from inside, such as a publication's handler that raises `SystemExit`,
    fails all calls, and leaves the block when that ends.

    Args:
        runtime_factory: Called in the trio thread; gives an async context manager of an
            `AgentRuntime`. A runtime class of ours is one, ``lambda: open_runtime(strict=True)``
            too, and so is a function of yours, decorated with ``@asynccontextmanager``, that
            opens what the agents need, registers them and yields the runtime.

    Raises:
        TypeError: *runtime_factory* cannot be called; on entering: what it gave is no such thing.
        RuntimeError: on entering: the portal has been entered before.
        BaseException: on entering: what *runtime_factory* raised. On leaving: what the runtime's
            own block raises, such as the failures of publications.
    """
    if isinstance(runtime_factory, AsyncContextDecorator):  # which can be called: as a decorator
        raise TypeError(
            "runtime_factory must be a function, because the runtime is made in the trio thread: "
            "give `lambda: open_runtime(...)`, or your own function, without calling it"
        )
    if not callable(runtime_factory):
        raise TypeError(
            "runtime_factory must be callable, because the runtime is made in the trio thread: "
            f"give the class, or a function, not {type(runtime_factory).__name__}"
        )
    return Portal(runtime_factory)


class Portal(Generic[RuntimeT]):
    """What `open_portal` gives: a block, to be entered once, with ``with`` or ``async with``."""

    def __init__(self, runtime_factory: Callable[[], Any]) -> None:
        self._runtime_factory = runtime_factory
        self._thread: TrioThread | None = None
        self._ended: BlockingCall | AwaitedCall | None = None

    def _new_thread(self) -> TrioThread:
        if self._thread is not None:
            raise RuntimeError("this portal has been entered already: open_portal() gives another")
        self._thread = TrioThread(self._runtime_factory)
        return self._thread

    # --- for synchronous code

    def __enter__(self) -> BlockingRuntime[RuntimeT]:
        thread = self._new_thread()
        opened, self._ended = BlockingCall(_nothing), BlockingCall(_nothing)
        try:
            thread.start(opened, self._ended)
            opened.wait()
            opened.outcome()
        except BaseException:
            thread.cancel()
            if thread.has_begun():
                self._ended.wait()
                thread.join()
            raise
        return BlockingRuntime(thread)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        thread, ended = self._thread, self._ended
        assert thread is not None
        assert isinstance(ended, BlockingCall)
        try:
            thread.leave(exc)
            ended.wait()
        except BaseException:  # Ctrl-C
            thread.cancel()
            ended.wait()
            raise
        thread.join()
        return thread.result(exc, traceback)

    # --- for code on asyncio

    async def __aenter__(self) -> AwaitableRuntime[RuntimeT]:
        thread = self._new_thread()
        postbox = thread.postbox()

        def give_up(_: object) -> None:
            thread.cancel()

        opened = AwaitedCall(_nothing, (), None, None, postbox, give_up)
        self._ended = ended = AwaitedCall(_nothing, (), None, None, postbox, give_up)
        thread.start(opened, ended)
        try:
            await opened.wait()
        except BaseException:
            thread.cancel()
            await ended.wait()  # noqa: ASYNC102  # it goes on until it is over, cancelled or not
            thread.join()
            raise
        return AwaitableRuntime(thread)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        thread, ended = self._thread, self._ended
        assert thread is not None
        assert isinstance(ended, AwaitedCall)
        thread.leave(exc)
        try:
            await ended.wait()  # noqa: ASYNC102  # a cancellation has the thread end soon
        finally:
            thread.join()
        return thread.result(exc, traceback)


async def _nothing() -> None:
    """What is waited for is not a call, but a moment in the life of the thread."""
