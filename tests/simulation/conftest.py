"""Runs each test of this directory that asks for `on` on both loops."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["trio", "asyncio"])
def on(request: pytest.FixtureRequest) -> str:
    """The event loop that is simulated."""
    return request.param
