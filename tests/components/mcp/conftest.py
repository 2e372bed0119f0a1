"""Servers for the tests of this directory, and a watch on what they leave behind."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from trio_agents.ext.tools.mcp import (
    SseServerParams,
    StdioServerParams,
    StreamableHttpServerParams,
)

HERE: Final = Path(__file__).parent
PACKAGES: Final = HERE.parent / "servers" / "mcp" / "node_modules"

Tiny = Callable[..., StdioServerParams]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The SDK leaves generators of its HTTP client to the garbage collector once they have given
    # what it wants. The responses that they read from are closed.
    quiet = pytest.mark.filterwarnings("ignore:Async generator .http(x|core)2:ResourceWarning")
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(quiet)


def children() -> set[int]:
    """Return the processes that this one has started and not yet seen the end of."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found.update(map(int, (task / "children").read_text().split()))
    return found


def open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process or a file descriptor behind."""
    if not Path("/proc/self/task").exists():
        yield
        return
    if "_http_servers" in request.fixturenames:
        request.getfixturevalue("_http_servers")  # they stay for other tests
    before = children(), open_files()
    yield
    if len(open_files()) > len(before[1]):
        gc.collect()  # some are in cycles of the event loop's
    assert children() <= before[0]
    assert len(open_files()) <= len(before[1])


@pytest.fixture
def tiny() -> Tiny:
    """Where the server of the standard library is, with flags for what it is to do."""

    def params(*flags: str, **more: object) -> StdioServerParams:
        return StdioServerParams(
            command=sys.executable,
            args=["-S", "-E", str(HERE / "tiny_server.py"), *flags],
            **{"read_timeout_seconds": 30, **more},  # type: ignore[arg-type]
        )

    return params


@pytest.fixture
def full() -> StdioServerParams:
    """Where the server of the SDK is, as a process of the test."""
    return StdioServerParams(
        command=sys.executable,
        args=[str(HERE / "full_server.py"), "stdio"],
        read_timeout_seconds=60,
    )


HttpParams = SseServerParams | StreamableHttpServerParams


@pytest.fixture(scope="session")
def _http_servers() -> Iterator[dict[str, list[HttpParams]]]:
    """Servers over HTTP: of each kind some, the first for everybody."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "full_server.py"), "http"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        servers: dict[str, list[HttpParams]] = {"sse": [], "streamable-http": []}
        while line := process.stdout.readline().strip():
            kind, port = line.split()
            headers = {"x-key": "sesame"}
            servers[kind].append(
                SseServerParams(url=f"http://127.0.0.1:{port}/sse", headers=headers)
                if kind == "sse"
                else StreamableHttpServerParams(url=f"http://127.0.0.1:{port}/mcp", headers=headers)
            )
        yield servers
        process.stdin.close()  # it ends itself, and all of them


@pytest.fixture(params=["sse", "streamable-http"])
def http_server(
    request: pytest.FixtureRequest, _http_servers: dict[str, list[HttpParams]]
) -> HttpParams:
    """Where a server over HTTP is, which other tests use as well."""
    return _http_servers[request.param][0]


@pytest.fixture(params=["sse", "streamable-http"])
def mortal_http_server(
    request: pytest.FixtureRequest, _http_servers: dict[str, list[HttpParams]]
) -> HttpParams:
    """Where a server over HTTP is that may be ended."""
    return _http_servers[request.param].pop()


@pytest.fixture
def node_server() -> Callable[[str], str]:
    """The path of a program of the npm packages, or a skip that says what is missing."""

    def path(program: str) -> str:
        if shutil.which("node") is None:
            pytest.skip("Node.js is not installed")
        found = PACKAGES / ".bin" / program
        if not found.exists():
            pytest.skip(f"no {program}: run `npm ci` in {PACKAGES.parent}")
        return str(found)

    return path
