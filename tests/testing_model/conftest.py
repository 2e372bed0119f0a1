from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    # Failures of publications are logged with their tracebacks: thousands of them.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
