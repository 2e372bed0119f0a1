"""The suite on trial: faults that were planted are found, and the real code raises no alarm."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Final

import pytest


def load_bugs() -> Any:
    """Import the list beside this file; the tests are no package."""
    path = Path(__file__).with_name("bugs.py")
    spec = importlib.util.spec_from_file_location("planted_bugs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


BUGS: Final = load_bugs().BUGS


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_fault_is_found_within_a_thousand_seeds(bug: Any, search: Any) -> None:
    found = search(bug.row, bug)
    assert found.found is not None, f"{found.seeds} seeds in {found.seconds:.0f} s found nothing"
    assert found.seeds <= 1000


# The other rows are run without a fault in tests/nightly.
def test_nothing_is_found_where_nothing_was_planted(search: Any) -> None:
    assert search("random-programs", seeds=100).found is None


def test_there_are_at_least_twenty_five_and_each_is_another() -> None:
    assert len({bug.name for bug in BUGS}) == len({(bug.file, bug.new) for bug in BUGS}) >= 25
