"""Runs each async test of this directory on trio and on asyncio, as those of the core are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ..core import loop
from ..core.conftest import pytest_configure as pytest_configure

HERE = Path(__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if inspect.iscoroutinefunction(metafunc.function):
        marker = metafunc.definition.get_closest_marker("only_on")
        metafunc.fixturenames.append("on_loop")
        metafunc.parametrize("on_loop", loop.LOOPS if marker is None else marker.args[:1])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and inspect.iscoroutinefunction(item.obj)
            and item.path.is_relative_to(HERE)
        ):
            item.obj = as_test(item.obj, item.callspec.params["on_loop"])


def as_test(function: Callable[..., Awaitable[None]], name: loop.Name) -> Callable[..., None]:
    test = loop.as_test(function)

    @functools.wraps(test)
    def on_its_loop(**arguments: Any) -> None:
        with loop.on(name):
            test(**{key: value for key, value in arguments.items() if key != "on_loop"})

    return on_its_loop
