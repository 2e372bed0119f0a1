"""Runs each async test of this directory on trio and on asyncio, from one source.

Components are written in anyio and talk to real processes and servers, so unlike the core's tests
these run on the loops as they are, by the wall clock. A sync test that asks for the ``backend``
runs for both as well.
"""

from __future__ import annotations

import functools
import inspect
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, Literal

import anyio
import pytest

import trio_agents.asyncio.exceptions
import trio_agents.exceptions

Backend = Literal["trio", "asyncio"]
BACKENDS: Final[tuple[Backend, ...]] = ("trio", "asyncio")

PATIENCE: Final = 60  # seconds, before a test is said to hang


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wants_it = "backend" in inspect.signature(metafunc.function).parameters
    if wants_it or inspect.iscoroutinefunction(metafunc.function):
        metafunc.parametrize("backend", BACKENDS, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and "backend" in item.fixturenames
            and inspect.iscoroutinefunction(item.obj)
        ):
            item.obj = _as_test(item.obj, item.callspec.params["backend"])


def _as_test(
    function: Callable[..., Coroutine[Any, Any, None]], backend: Backend
) -> Callable[..., None]:
    @functools.wraps(function)
    def test(**arguments: Any) -> None:
        async def within_patience() -> None:
            with anyio.fail_after(PATIENCE):
                await function(**arguments)

        anyio.run(within_patience, backend=backend)

    return test


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest) -> Backend:
    """The event loop that this test runs on."""
    name: Backend = getattr(request, "param", "trio")
    return name


@pytest.fixture
def MessageCancelled(backend: Backend) -> type[BaseException]:
    """What is raised where a token was cancelled."""
    if backend == "trio":
        return trio_agents.exceptions.MessageCancelled
    return trio_agents.asyncio.exceptions.MessageCancelled


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of its own, on a socket that nobody else knows, with a password."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server is installed here")
    directory = tmp_path_factory.mktemp("redis")
    path = str(directory / "socket")
    with subprocess.Popen(
        [program, "--port", "0", "--unixsocket", path, "--save", "", "--dir", str(directory),
         "--requirepass", "store-secret"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "ready to accept connections" in line.lower():
                    break
            yield path
        finally:
            server.terminate()
            server.communicate()
