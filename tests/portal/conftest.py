from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .actors import portal_threads


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_block() -> Iterator[None]:
    yield
    assert portal_threads() == []


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Other threads that call."""
    with ThreadPoolExecutor(8) as executor:
        yield executor
