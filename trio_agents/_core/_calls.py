"""Calling what the application gave us, and beginning a call without waiting for it.

From the functions here on Ctrl-C may interrupt: everything the application wrote is called through
them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from ._stacks import steps_by_hand

if TYPE_CHECKING:
    from .._sansio._abc import Agent
    from .._sansio._contexts import MessageContext

__all__ = [
    "begin",
    "call_user",
    "close_unawaited",
    "handle",
    "is_awaitable",
    "is_same_context",
    "is_true",
    "resume",
]


async def handle(agent: Agent, message: Any, context: MessageContext) -> Any:
    """Call a message handler."""
    return await agent.on_message(message, context)


async def call_user(function: Callable[..., Any], *args: Any) -> Any:
    """Call what may be sync or async."""
    result: Any = None
    try:
        result = function(*args)
        if is_awaitable(result):
            result = await result
    except BaseException:
        close_unawaited(result)
        raise
    return result


def is_awaitable(result: Any) -> bool:
    """Whether a call that may be sync or async is still to be awaited."""
    return type(result) is CoroutineType or inspect.isawaitable(result)


def close_unawaited(result: Any) -> None:
    """Close a call that Ctrl-C has interrupted before it began: it would warn of that."""
    if type(result) is CoroutineType:
        result.close()


def is_true(condition: Callable[[], bool]) -> bool:
    """Ask the application's condition."""
    return condition()


def check_condition(condition: object) -> None:
    """Refuse what cannot be asked, again and again and without waiting, whether it is true.

    Raises:
        TypeError: it is no function, or it is async: a coroutine counts as true.
    """
    if not callable(condition):
        raise TypeError(
            f"condition must be a function that says whether to stop, not "
            f"{type(condition).__name__}: write lambda: ..."
        )
    if inspect.iscoroutinefunction(condition) or inspect.iscoroutinefunction(
        type(condition).__call__
    ):
        raise TypeError(
            "condition must not be async, since it is asked while messages are settled: set an "
            "event where it becomes true, and have a task wait for that and call stop()"
        )


def begin(work: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Run *work* to its end or to its first wait, in this step of the event loop.

    Returns:
        True and its result; or False and what `resume` has to be given next.
    """
    try:
        return False, work.send(None)
    except StopIteration as end:
        return True, end.value


@coroutine
def resume(work: Coroutine[Any, Any, Any], wait: Any) -> Generator[Any, Any, Any]:
    """Await the rest of what `begin` began. It has to be awaited at once, by the same task."""
    try:
        while True:
            try:
                answer = yield wait
            except BaseException as exc:  # how a loop cancels what waits: it is handed on
                wait = work.throw(exc)
            else:
                wait = work.send(answer)
    except StopIteration as end:
        return end.value


steps_by_hand.add(resume.__code__)


def is_same_context(before: Context) -> bool:
    """Whether the context variables are still those of *before*."""
    try:
        return copy_context() == before
    except Exception:  # a value that cannot be compared, and is not the one it was
        return False
