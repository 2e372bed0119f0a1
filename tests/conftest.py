from __future__ import annotations

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


# Tests of the layers that coverage has a limit for. Counting doubles the time of what runs often.
COUNTED = {"agents", "core", "interop", "portal", "sansio", "state_files"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have coverage look only at the tests of the layers that it has a limit for."""
    if not config.pluginmanager.hasplugin("_cov"):
        return
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] not in COUNTED:
            item.add_marker("no_cover")
