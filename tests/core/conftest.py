"""Runs each test of this directory on trio and on asyncio, from one source."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from . import loop


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "only_on(loop, reason): this is meant for one event loop, and why"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "on_loop" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("only_on")
        if marker is not None:
            name, _reason = marker.args  # a reason has to be given
            assert name in loop.LOOPS
        metafunc.parametrize("on_loop", loop.LOOPS if marker is None else [name], indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and "on_loop" in item.fixturenames
            and inspect.iscoroutinefunction(item.obj)
        ):
            item.obj = loop.as_test(item.obj)


@pytest.fixture(autouse=True)
def on_loop(request: pytest.FixtureRequest) -> Iterator[loop.Name]:
    """The loop that this test runs on."""
    with loop.on(request.param):
        yield request.param


@pytest.fixture
def autojump_clock() -> loop.MockClock:
    """A clock that jumps to the next timeout when all tasks wait."""
    return loop.MockClock()
