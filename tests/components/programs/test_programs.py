"""The programs of examples/components, each as its user runs it: a process of its own.

``PATH`` has a folder that is nowhere, with a name of its own for each run. Every process hands its
``PATH`` on, the server of an MCP workbench and code in a sandbox too, so that what is left of a run
can be told from all else.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import pytest

ROOT: Final = Path(__file__).parents[3]
PROGRAMS: Final = ROOT / "examples" / "components"
SILENT: Final = Path(__file__).with_name("silent_server.py")
KEYS: Final = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OLLAMA_HOST")
PATIENCE: Final = 60  # seconds, before a program is said to hang
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@dataclass
class Run:
    """A program with its arguments, and an environment by which its processes are known."""

    program: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    mark: str = field(default_factory=lambda: f"/nowhere/{uuid.uuid4()}")

    def start(self) -> subprocess.Popen[str]:
        given = {name: value for name, value in os.environ.items() if name not in KEYS}
        given |= {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error", **self.environment}
        given["PATH"] += os.pathsep + self.mark
        return subprocess.Popen(
            [sys.executable, str(PROGRAMS / f"{self.program}.py"), *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=given,
            start_new_session=True,
        )

    def to_its_end(self) -> tuple[int, str, str]:
        """Return the exit code, and what it has said on standard output and standard error."""
        with self.start() as process:
            try:
                said, complained = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        return process.returncode, said, complained

    def processes(self) -> list[str]:
        """Return the command lines of the processes of this run."""
        found: list[str] = []
        for process in psutil.process_iter():
            try:
                if self.mark in process.environ().get("PATH", ""):
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:  # of another user, or gone
                continue
        return found


@pytest.fixture(params=["aimock", "fakellm"])
def server(request: pytest.FixtureRequest) -> str:
    """Each of the servers that can play the model, where it is installed."""
    name: str = request.param
    if name == "fakellm":
        pytest.importorskip("fakellm")
        return name
    named = os.environ.get("TRIO_AGENTS_TEST_SERVERS")
    where = Path(named) if named else ROOT / "tests" / "components" / "servers"
    if shutil.which("node") is None or not (where / "node_modules").exists():
        pytest.skip("Node.js and aimock are not installed: bash .ci/servers")
    return name


def transcript(program: str, server: str) -> str:
    """Run *program* to its end, see that nothing of it is left, and return what it has said."""
    run = Run(program, ("--server", server))
    code, said, complained = run.to_its_end()
    assert (code, complained) == (0, ""), said
    assert run.processes() == []
    assert f"model: prepared answers, from {server} at http://127.0.0.1:" in said
    return said


def in_order(text: str, *parts: str) -> None:
    """Check that *text* has each of *parts*, one after the other."""
    at = 0
    for part in parts:
        assert part in text[at:], f"no {part!r} after this:\n{text[:at]}\nbut:\n{text[at:]}"
        at = text.index(part, at) + len(part)


# --- offline, to their end


# TA-01, TA-02
def test_a_tool_agent_runs_what_the_model_wants(server: str) -> None:
    said = transcript("tool_agent", server)
    calls = re.findall(r"skipper/default -> tools/default: (\w+)\(", said)
    assert calls == ["wind", "wind", "distance"]
    in_order(
        said,
        "user: Can I sail",
        "tools/default -> skipper/default: Stavoren, Saturday: 5 from the west",
        "tools/default -> skipper/default: 12 nautical miles",
        "(the model was told of a failure: no station in Atlantis)",
        "skipper: To Stavoren it is 12 nautical miles",
    )


# WB-08
def test_a_workbench_agent_uses_the_tools_of_a_server(server: str) -> None:
    in_order(
        transcript("workbench_agent", server),
        "tools: tides, dredge, from mcp_server.py",
        "user: My boat",
        "tides(",
        "failed: Error executing tool tides: nobody has asked the moon about Monday",
        "tides(",
        "high at 6:00",
        "dredge(",
        "1 m of 3 m\n    2 m of 3 m\n    3 m of 3 m\n    deep enough",
        "harbour master: Leave on Sunday at six",
    )


# CE-01
def test_a_pair_mends_the_code_that_has_failed(server: str) -> None:
    in_order(
        transcript("code_pair", server),
        "code runs in",
        "writer: ```python\nimport calender",
        "executor: exit code 1: ModuleNotFoundError: No module named 'calender'",
        "writer: The module is called calendar",
        "executor: exit code 0: 6 Fridays",
        "writer: From 2027 to 2030 the 13th is a Friday 6 times.",
    )


def test_an_answer_that_was_kept_is_the_same_and_costs_nothing(server: str) -> None:
    said = transcript("cached_structured", server)
    tickets = re.findall(r"  Ticket\((.+)\)\n  cached=(\w+), usage=(\d+\+\d+) tokens", said)
    lamp, again, chair, chair_later, lamp_later = tickets
    assert lamp[0] == "subject='complaint', product='lamp', is_urgent=True"
    assert (lamp[1], again[1], chair[1]) == ("False", "True", "False")
    assert (chair_later[1], lamp_later[1]) == ("True", "True")
    for kept, first in ((again, lamp), (lamp_later, lamp), (chair_later, chair)):
        assert (kept[0], kept[2]) == (first[0], first[2])
    counted = [[int(number) for number in used.split("+")] for _, _, used in (lamp, chair)]
    paid = "+".join(str(sum(numbers)) for numbers in zip(*counted, strict=True))
    assert re.findall(r"paid: (\S+) tokens", said) == [paid, "0+0"]


# --- what is not there


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("gpt-5-mini", "takes a key: put it into the environment as OPENAI_API_KEY."),
        ("abacus", "Names that are known begin with gpt-, o1, o3, o4, claude-, gemini-, ollama."),
    ],
    ids=["no key", "no provider"],
)
def test_a_model_that_cannot_be_asked_is_a_sentence(model: str, sentence: str) -> None:
    code, said, complained = Run("tool_agent", ("--model", model)).to_its_end()
    assert (code, said) == (2, "")
    assert sentence in complained
    assert len(complained.splitlines()) == 1


def test_a_hosted_model_that_does_not_answer_is_a_sentence() -> None:
    run = Run("tool_agent", ("--model", "ollama/qwen3"), {"OLLAMA_HOST": "127.0.0.1:9"})
    code, _, complained = run.to_its_end()
    assert code == 1
    assert "in a request of OllamaChatCompletionClient to qwen3" in complained
    assert len(complained.splitlines()) == 1
    assert run.processes() == []


def test_without_a_server_a_program_says_what_to_install(tmp_path: Path) -> None:
    nowhere = {"TRIO_AGENTS_TEST_SERVERS": str(tmp_path)}
    code, said, complained = Run("tool_agent", ("--server", "aimock"), nowhere).to_its_end()
    assert (code, said) == (2, "")
    assert "pip install fakellm" in complained
    assert len(complained.splitlines()) == 1


@posix
def test_what_a_real_model_writes_does_not_run_without_a_sandbox(tmp_path: Path) -> None:
    run = Run("code_pair", ("--model", "ollama"), {"PATH": str(tmp_path)})
    code, _, complained = run.to_its_end()
    assert code == 2
    assert "What ollama writes does not run here: the sandbox needs" in complained


# --- Ctrl-C, while the model is asked and says nothing


@pytest.fixture
def silence(tmp_path: Path) -> dict[str, str]:
    """An environment in which aimock is a server that never answers."""
    script = tmp_path / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    script.parent.mkdir(parents=True)
    script.touch()
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{SILENT}'\n")
    node.chmod(0o755)
    path = os.pathsep.join([str(node.parent), os.environ["PATH"]])
    return {"TRIO_AGENTS_TEST_SERVERS": str(tmp_path), "PATH": path}


def lines_until(process: subprocess.Popen[str], start: str) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if line.startswith(start):
            return


@posix
@pytest.mark.parametrize(
    ("program", "last", "process", "how"),
    [
        ("workbench_agent", "user:", "mcp_server.py", signal.SIGINT),
        ("code_pair", "user:", "silent_server.py", signal.SIGINT),
        ("cached_structured", "model:", "silent_server.py", signal.SIGTERM),
    ],
)
def test_a_signal_ends_a_program_and_all_its_processes(
    program: str, last: str, process: str, how: signal.Signals, silence: dict[str, str]
) -> None:
    run = Run(program, (), silence)
    with run.start() as running:
        try:
            *_, line = lines_until(running, last)
            assert line.startswith(last)
            assert any(process in command for command in run.processes())
            os.killpg(running.pid, how)  # as a terminal does: all that are in the foreground
            _, complained = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
    assert (running.returncode, complained) == (
        128 + how,
        "\nstopped; all that was started has ended\n",
    )
    assert run.processes() == []
