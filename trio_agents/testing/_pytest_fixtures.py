"""Fixtures of simulated tests: asked for once, as pytest does, and set up in each run.

pytest sets its fixtures up before the test, and a simulated test has many runs, each with an event
loop of its own. So what is async, and what depends on it, is put off: pytest gets a `Deferred` in
its place, and each run sets them up in the order in which pytest asked, and ends them in reverse.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Final

import attrs

from ._simulation import Simulation

__all__ = ["Deferred", "current_simulation", "is_async", "set_up"]

current_simulation: Final[ContextVar[Simulation | None]] = ContextVar(
    "trio_agents.current_simulation", default=None
)


@attrs.frozen(eq=False)
class Deferred:
    """A fixture that is set up in each run.

    Attributes:
        function: What sets it up.
        arguments: With what: values, and fixtures that are put off too.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Any]


def is_async(function: Any) -> bool:
    """Whether this is an async function, or an async generator function."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


async def set_up(
    deferred: Sequence[Deferred],
    test: Callable[..., Any],
    arguments: Mapping[str, Any],
    sim: Simulation,
) -> None:
    """Set up the fixtures of one run, run the test, and end them.

    Raises:
        BaseException: what the test raised, or a fixture.
    """
    failure: list[BaseException] = []
    values: dict[Deferred, Any] = {}

    def resolved(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: values[value] if isinstance(value, Deferred) else value
            for name, value in arguments.items()
        }

    token = current_simulation.set(sim)
    try:
        async with AsyncExitStack() as stack:
            for fixture in deferred:
                function, kwargs = fixture.function, resolved(fixture.arguments)
                if inspect.isasyncgenfunction(function):
                    values[fixture] = await stack.enter_async_context(
                        asynccontextmanager(function)(**kwargs)
                    )
                elif inspect.iscoroutinefunction(function):
                    values[fixture] = await function(**kwargs)
                elif inspect.isgeneratorfunction(function):
                    values[fixture] = stack.enter_context(contextmanager(function)(**kwargs))
                else:
                    values[fixture] = function(**kwargs)
            try:
                await test(**resolved(arguments))
            except BaseException as exc:
                failure.append(exc)
                raise
    finally:
        current_simulation.reset(token)
    if failure:  # a fixture has swallowed it, which pytest's do not
        raise failure[0]
