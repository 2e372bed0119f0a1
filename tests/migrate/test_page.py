"""The page about the command shows what comes out of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = [sys.executable, "-P", "-m", "trio_agents._cli"]
PAGE: Final = ROOT / "docs" / "guides" / "migrate.md"
BLOCK: Final = re.compile(
    r"^<!-- output: (?P<name>\w+) -->\n```console\n"
    r"\$ trio-agents (?P<command>[^\n]*)\n(?P<text>.*?)\n```$",
    re.DOTALL | re.MULTILINE,
)

#: A program in which nearly everything is for its author to decide.
APP: Final = """\
import importlib
import logging
from unittest import mock

import autogen_core.exceptions
from autogen_core import *
from autogen_core.application import WorkerRuntime
from autogen_core import AgentId, NoSuchName
from autogen_core import MessageContext, RoutedAgent
from autogen_core._queue import Queue

try:
    from autogen_core.exceptions import CantHandleException
except ImportError:
    CantHandleException = None

logging.getLogger("autogen_core.events").setLevel(logging.INFO)
SETTINGS = {"provider": "autogen_core.memory.ListMemory"}
tools = importlib.import_module("autogen_core.tools")


@mock.patch("autogen_core.SingleThreadedAgentRuntime")
def test(runtime): ...
"""
CHAT: Final = """\
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken
from autogen_ext.models.replay import ReplayChatCompletionClient
from autogen_ext.memory.chromadb import ChromaDBVectorMemory
"""
REQUIREMENTS: Final = "autogen-core==0.7.5\nautogen-agentchat\n"


def shown(name: str) -> tuple[list[str], str]:
    blocks = BLOCK.finditer(PAGE.read_text(encoding="utf-8"))
    (block,) = [block for block in blocks if block["name"] == name]
    return block["command"].split(), block["text"]


def output_of(command: list[str], folder: Path, answer: str = "") -> str:
    result = subprocess.run(
        [*COMMAND, *command],
        cwd=folder,
        input=answer,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    return result.stdout


def test_the_question(tmp_path: Path) -> None:
    command, text = shown("asked")
    program = (ROOT / "examples" / "migrate" / "before.py").read_bytes()
    (tmp_path / "warehouse.py").write_bytes(program)
    # The answer is typed, and with its line end it comes between the question and what follows.
    output = output_of(command, tmp_path, "y\n").replace("[y/N]: ", "[y/N]: y\n")
    assert output.rstrip("\n") == text
    after = (ROOT / "examples" / "migrate" / "after.py").read_bytes()
    assert (tmp_path / "warehouse.py").read_bytes() == after


def test_what_cannot_be_decided(tmp_path: Path) -> None:
    command, text = shown("undecided")
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "app.py").write_text(APP)
    (shop / "chat.py").write_text(CHAT)
    (shop / "requirements.txt").write_text(REQUIREMENTS)
    (shop / "old.py").write_bytes(b"import autogen_core\n\n# caf\xe9\n")
    assert output_of(command, tmp_path).rstrip("\n") == text


@pytest.mark.parametrize(
    "option", ["--write", "--yes", "--diff", "--check", "--exclude", "--mixed"]
)
def test_the_page_has_every_option(option: str) -> None:
    assert f"`{option}" in PAGE.read_text(encoding="utf-8")
    assert option in output_of(["migrate", "--help"], ROOT)
