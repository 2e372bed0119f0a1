from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Under CI the same examples on every run, so that a red run can be repeated. At home new ones each
# time. No deadline in either: how long an example takes says more about the machine than about us.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("local", deadline=None)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "local")
)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_interrupts() -> Iterator[None]:
    """Let Ctrl-C interrupt here too: a shell has programs that it starts behind it ignore that."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# Tests that run the same lines very often, or in other processes. Counting would double their time.
UNCOUNTED = (
    "components/clients",
    "components/executors",
    "components/mcp",
    "components/programs",
    "components/together",
    "core/test_interrupt.py",
    "core/test_ledger_model.py",
    "demo",
    "migrate",
    "nightly",
    "simulation",
    "test_documents.py",
    "testing_kit",
    "testing_load",
    "testing_model",
    "trial",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have coverage look at the other tests only."""
    if not config.pluginmanager.hasplugin("_cov"):
        return
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(UNCOUNTED):
            item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """Spare each collection of garbage what is there now: it stays until the end of the run."""
    gc.collect()
    gc.freeze()
