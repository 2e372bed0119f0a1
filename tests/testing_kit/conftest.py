"""Runs each async test of this directory on trio and on asyncio, in a simulation of either."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from trio_agents.testing._schedule import LoopName, Plain
from trio_agents.testing._simulation import Simulation, simulate

HERE: Final = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "only_on(loop): this is about one event loop")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if inspect.iscoroutinefunction(metafunc.function):
        marker = metafunc.definition.get_closest_marker("only_on")
        loops = ("trio", "asyncio") if marker is None else marker.args
        metafunc.fixturenames.append("on_loop")
        metafunc.parametrize("on_loop", loops)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        here = item.path.is_relative_to(HERE)  # this sees the tests of all directories
        if here and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = as_test(item.obj, item.callspec.params["on_loop"])


def as_test(function: Callable[..., Awaitable[None]], loop: LoopName) -> Callable[..., None]:
    @functools.wraps(function)
    def test(**arguments: Any) -> None:
        async def scenario(sim: Simulation) -> None:
            await function(**arguments)

        simulate(scenario, loop=loop, strategy=Plain())

    return test
