"""A tree is read first; what is to be done to it can be looked at, and is then done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trio_agents._migrate import _advice as advice
from trio_agents._migrate._findings import Finding
from trio_agents._migrate._plan import Plan, make_plan
from trio_agents._migrate._target import Target

OLD = b"x = 1\nimport autogen_core"


def plan_for(data: bytes, path: Path, target: Target) -> Plan:
    path.write_bytes(data)
    return make_plan([str(path)], target)


def test_making_a_plan_changes_nothing(tmp_path: Path, target: Target) -> None:
    plan = plan_for(OLD, tmp_path / "a.py", target)
    assert len(plan.changes) == 1
    assert (tmp_path / "a.py").read_bytes() == OLD


def test_applying_it_does(tmp_path: Path, target: Target) -> None:
    (change,) = plan_for(OLD, tmp_path / "a.py", target).changes
    change.apply()
    assert (tmp_path / "a.py").read_bytes() == b"x = 1\nimport trio_agents.asyncio as autogen_core"


def test_the_diff_has_the_lines_as_they_are(tmp_path: Path, target: Target) -> None:
    path = tmp_path / "a b.py"
    (change,) = plan_for(OLD.replace(b"\n", b"\r\n"), path, target).changes
    assert list(change.diff()) == [
        f"--- {path}\t\n",
        f"+++ {path}\t\n",
        "@@ -1,2 +1,2 @@\n",
        " x = 1\r\n",
        "-import autogen_core\n\\ No newline at end of file\n",
        "+import trio_agents.asyncio as autogen_core\n\\ No newline at end of file\n",
    ]


def test_what_cannot_be_used_does_not_stop_the_rest(tmp_path: Path, target: Target) -> None:
    (tmp_path / "a.py").write_text("import autogen_core as\n")
    (tmp_path / "b.py").write_bytes(OLD)
    plan = make_plan([str(tmp_path)], target)
    assert [change.path for change in plan.changes] == [str(tmp_path / "b.py")]
    assert [path for path, _ in plan.failures] == [str(tmp_path / "a.py")]


def test_what_cannot_be_read_and_what_mentions_nothing_is_passed_over(
    tmp_path: Path, target: Target
) -> None:
    (tmp_path / "a.py").write_bytes(OLD)
    (tmp_path / "b.py").write_text("import (")
    plan = make_plan([str(tmp_path / name) for name in ("missing.py", "b.py", "a.py")], target)
    assert [change.path for change in plan.changes] == [str(tmp_path / "a.py")]
    assert [path for path, _ in plan.failures] == [str(tmp_path / "missing.py")]


CLIENT = "from autogen_ext.models.openai import OpenAIChatCompletionClient\n"
TEAM = "from autogen_agentchat.teams import Swarm\n"


@pytest.mark.parametrize("name", ["team.py", "team.ipynb"])
def test_a_client_may_be_for_agentchat_in_another_file(
    tmp_path: Path, target: Target, name: str
) -> None:
    core = "from autogen_core import AgentId\n"
    (tmp_path / "client.py").write_text(CLIENT + core)
    (tmp_path / "core.py").write_text(core)
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": TEAM}
    book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / name).write_text(TEAM if name.endswith(".py") else json.dumps(book))
    plan = make_plan([str(tmp_path)], target)
    assert [change.path for change in plan.changes] == [str(tmp_path / "core.py")]
    assert [finding.advice for _, finding in plan.findings] == [
        advice.ELSEWHERE,
        advice.BESIDE,
        advice.AGENTCHAT,
    ]
    for paths, mixed in (
        ([tmp_path], True),
        ([tmp_path / "client.py", tmp_path / "core.py"], False),
    ):
        plan = make_plan([str(path) for path in paths], target, mixed=mixed)
        assert len(plan.changes) == 2


def test_neighbours_with_the_same_advice_come_together() -> None:
    star, more, other = Finding(1, "a", "s"), Finding(2, "b", "s"), Finding(3, "c", "t")
    plan = Plan(findings=[("x", star), ("x", more), ("x", other), ("y", star)])
    assert list(plan.grouped()) == [
        ([("x:1", "a"), ("x:2", "b")], "s"),
        ([("x:3", "c")], "t"),
        ([("y:1", "a")], "s"),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("autogen-core", advice.CORE_DEPENDENCY),
        ("autogen_core>=0.7,<0.8", advice.CORE_DEPENDENCY),
        ("AutoGen.Core ; python_version > '3'", advice.CORE_DEPENDENCY),
        ("dependencies = ['autogen-core']", advice.CORE_DEPENDENCY),
        ("[tool.poetry.dependencies.autogen-core]", None),
        ("autogen-ext[openai,mcp]", advice.EXTENSIONS_DEPENDENCY),
        ('autogen-agentchat = "^0.7"', advice.AGENTCHAT_DEPENDENCY),
        ("# autogen-core", None),
        ("trio  # not autogen-core", None),
        ("my-autogen-core", None),
        ("autogen-core-extras", None),
        ('module = "autogen_core.*"', None),
    ],
)
def test_dependencies_are_listed(
    tmp_path: Path, line: str, says: str | None, target: Target
) -> None:
    plan = plan_for(f"first\n{line}\n".encode(), tmp_path / "requirements.txt", target)
    found = [(finding.line, finding.advice) for _, finding in plan.findings]
    assert found == ([] if says is None else [(2, says)])
    assert plan.changes == []
