# How long imports take: what a command line tool or a cold start pays before it does anything.
#
# Wall time of a new interpreter that imports the names minus that of one that imports nothing, both
# with their .pyc files written. The runtime's name is asked for, as a facade alone may put it off.
# `-X importtime` is not used, as it costs time itself and shows a tree where one number is wanted.

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from statistics import median
from time import perf_counter
from typing import Final

from ._sample import Sample
from ._scenarios import ASYNCIO, AUTOGEN, FLOOR, OURS, PYKKA
from ._worker import ROOT, WorkerFailed

STATEMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "import": {
        OURS: "from trio_agents import SingleThreadedAgentRuntime",
        ASYNCIO: "from trio_agents.asyncio import SingleThreadedAgentRuntime",
        AUTOGEN: "from autogen_core import SingleThreadedAgentRuntime",
        PYKKA: "from pykka import ThreadingActor",
        FLOOR: "import trio",
    },
    "import-models": {
        OURS: "import trio_agents.models",
        AUTOGEN: "import autogen_core.models",
        FLOOR: "from pydantic import BaseModel",
    },
}
"""What each scenario imports, in each system."""
TRIES: Final = 3
"""Interpreters per round and system; the round's value is their median."""


def _start_and_end(code: str) -> float:
    # Without this variable set in the environment the first try writes the .pyc files.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    started = perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=env,
        check=False,
    )
    seconds = perf_counter() - started
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
        raise WorkerFailed(lines[-1], process.stderr)
    return seconds


def measure_import(statement: str) -> Sample:
    """One round: the seconds that *statement* adds to the start of an interpreter.

    Raises:
        WorkerFailed: the import fails.
    """
    _start_and_end(statement)
    empty, full = [], []
    for _ in range(TRIES):
        empty.append(_start_and_end("pass"))
        full.append(_start_and_end(statement))
    return Sample(median(full) - median(empty), 1)
