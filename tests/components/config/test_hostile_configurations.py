"""What data names is looked up and never imported, however the name is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("hostile.py")


@pytest.fixture(scope="module")
def report() -> Any:
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], capture_output=True, text=True, timeout=100, check=True
    )
    return json.loads(done.stdout)


def test_there_are_more_than_300_and_the_hook_sees_imports(report: Any) -> None:
    assert report["configurations"] >= 300
    assert report["watch_works"]


# CMP-15 CMP-18
def test_every_one_is_refused_by_a_component_error(report: Any) -> None:
    assert report["loaded"] == []
    assert sum(report["outcomes"].values()) == report["configurations"]
    assert report["outcomes"]["not allowed"] > 300


def test_none_imports_compiles_runs_or_opens_anything(report: Any) -> None:
    assert report["events"] == {}
    assert report["modules"] == []
