"""Servers for the tests of this directory, and a watch on what they leave behind."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
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


def children() -> set[int]:
    """Return the processes that this one has started and not yet seen the end of."""
    return {
        int(child)
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    }


def open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process or a file descriptor behind."""
    if not Path("/proc/self/task").exists():
        yield
        return
    if "http_server" in request.fixturenames:
        request.getfixturevalue("http_server")  # it stays for other tests
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


@pytest.fixture(scope="session", params=["sse", "streamable-http"])
def http_server(
    request: pytest.FixtureRequest,
) -> Iterator[SseServerParams | StreamableHttpServerParams]:
    """Where a server over HTTP is, which all tests share."""
    with serving(request.param) as params:
        yield params


class serving:
    """A server over HTTP, inside of the block."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __enter__(self) -> SseServerParams | StreamableHttpServerParams:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "full_server.py"), self.kind],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        headers = {"x-key": "sesame"}
        if self.kind == "sse":
            return SseServerParams(url=f"http://127.0.0.1:{port}/sse", headers=headers)
        return StreamableHttpServerParams(url=f"http://127.0.0.1:{port}/mcp", headers=headers)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def serve() -> Callable[[str], serving]:
    """Makes a server over HTTP for one test: ``with serve("sse") as params``."""
    return serving


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
