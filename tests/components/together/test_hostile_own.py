"""Whatever an allowed component's configuration holds makes a component, or an error of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trio_agents._components._providers import OWN_PROVIDERS

PROGRAM = Path(__file__).with_name("hostile_own.py")
CODE = {
    "trio_agents.tools.FunctionTool",
    "trio_agents.ext.tools.langchain.LangChainToolAdapter",
    "trio_agents.ext.tools.mcp.StdioMcpToolAdapter",
}


@pytest.fixture(scope="module")
def report() -> Any:
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], capture_output=True, text=True, timeout=100, check=True
    )
    return json.loads(done.stdout)


def test_each_component_of_ours_is_tried(report: Any) -> None:
    assert set(report["outcomes"]) == OWN_PROVIDERS
    assert set(report["not loaded"]) == CODE  # which the policy keeps off
    assert sum(sum(outcomes.values()) for outcomes in report["outcomes"].values()) > 1_000


# CMP-15 CMP-18 CMP-23
def test_whatever_the_fields_hold_only_component_errors_come_out(report: Any) -> None:
    assert report["wrong"] == {}


def test_loading_starts_connects_and_makes_nothing(report: Any) -> None:
    assert report["events"] == {}
    assert report["files"] == []
    assert report["watch_works"]


def test_no_configuration_that_is_run_loads(report: Any) -> None:
    for provider in CODE:
        assert set(report["outcomes"][provider]) == {"refused"}
