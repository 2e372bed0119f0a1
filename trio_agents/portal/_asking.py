"""What both forms of a portal's runtime have done in the trio thread."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from .._core._calls import close_unawaited, is_awaitable

__all__ = ["check_seconds", "count_unprocessed", "do", "do_async", "stop"]


async def do(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a synchronous function.

    Raises:
        TypeError: it is an async one.
    """
    _check_callable(function, "run_sync() takes a synchronous function")
    await trio.lowlevel.checkpoint_if_cancelled()
    result = function(*args, **kwargs)
    if is_awaitable(result):
        close_unawaited(result)
        raise TypeError(
            f"run_sync() takes a synchronous function, and {name_of(function)} is async: "
            "call run() with it"
        )
    return result


async def do_async(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call an async function.

    Raises:
        TypeError: it is a synchronous one.
    """
    _check_callable(function, "run() takes an async function")
    result = function(*args, **kwargs)
    if not is_awaitable(result):
        raise TypeError(
            f"run() takes an async function, and {name_of(function)} gave "
            f"{type(result).__name__}: call run_sync() with a synchronous function"
        )
    return await result


def _check_callable(function: object, takes: str) -> None:
    if callable(function):
        return
    if is_awaitable(function):
        name = getattr(function, "__qualname__", "")
        what = f"{type(function).__name__}{f' of {name}' if name else ''}"
        close_unawaited(function)
        raise TypeError(
            f"{takes} and its arguments, and calls it with the runtime; a {what} is a call "
            "already: write run(Worker.register, 'worker', Worker), for example"
        )
    raise TypeError(f"{takes}: give one, not {type(function).__name__}")


async def stop(runtime_stop: Callable[..., Awaitable[None]], cancel_after: float) -> None:
    """Stop the runtime, by the trio thread's clock."""
    await runtime_stop(deadline=trio.current_time() + cancel_after)


def count_unprocessed(runtime: Any) -> int:
    """Give what is a property, so that it can be called."""
    return int(runtime.unprocessed_messages_count)


def check_seconds(seconds: float) -> None:
    """Look at a number of seconds.

    Raises:
        ValueError: it is negative or not a number.
    """
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"cancel_after must be a number of seconds, not {seconds}")


def name_of(function: Callable[..., Any]) -> str:
    """Give a name to show."""
    return getattr(inspect.unwrap(function), "__qualname__", repr(function))
