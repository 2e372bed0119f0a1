"""Plants faults into copies of the package, and searches them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

import trio_agents

HERE: Final = Path(__file__).parent
PACKAGE: Final = Path(trio_agents.__file__).parent

SEEDS: Final = 1000
SECONDS: Final = 60


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    seeds: int
    seconds: float
    found: str | None


@pytest.fixture
def search(tmp_path: Path) -> Any:
    """Search a copy of the package, with a fault in it or not."""

    def search_copy(row: str, bug: Any = None, *, seeds: int = SEEDS) -> Found:
        copy = tmp_path / "trio_agents"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if bug is not None:
            bug.plant(copy)
        done = subprocess.run(
            [sys.executable, HERE / "find.py", row, str(seeds), str(SECONDS)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Found(**json.loads(done.stdout.splitlines()[-1]))

    return search_copy
