"""``trio-agents migrate``, as a process of its own."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# -P: the package that is installed, and not what lies in the current folder.
COMMAND = [sys.executable, "-P", "-m", "trio_agents._cli", "migrate"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX terminals or links")

OLD = "import os\n\nfrom autogen_core import AgentId\n"
NEW = "import os\n\nfrom trio_agents.asyncio import AgentId\n"
DIFF = (
    "--- app.py\n"
    "+++ app.py\n"
    "@@ -1,3 +1,3 @@\n"
    " import os\n"
    " \n"
    "-from autogen_core import AgentId\n"
    "+from trio_agents.asyncio import AgentId\n"
)
TO_CHANGE = "1 file to change, 0 places for you to decide, 0 skipped.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_bytes(OLD.encode())
    return tmp_path


def run(folder: Path, *args: str, answer: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args],
        cwd=folder,
        input=answer,
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **env},
    )


def text_of(folder: Path, name: str = "app.py") -> str:
    return (folder / name).read_bytes().decode()


# --- asking and writing


def test_a_yes_writes_what_was_shown(folder: Path) -> None:
    result = run(folder, "app.py", answer="y\n")
    assert result.returncode == 0
    assert result.stdout == DIFF
    assert result.stderr == f"{TO_CHANGE}Change 1 file? [y/N]: Changed 1 file.\n"
    assert text_of(folder) == NEW


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_anything_else_writes_nothing(folder: Path, answer: str) -> None:
    result = run(folder, "app.py", answer=answer)
    assert result.returncode == 1
    assert result.stdout == DIFF
    assert text_of(folder) == OLD


def test_without_anybody_to_ask_nothing_is_written(folder: Path) -> None:
    result = run(folder, "app.py")
    assert result.returncode == 1
    assert result.stderr.endswith("so nothing was written. --write writes without asking.\n")
    assert text_of(folder) == OLD


@pytest.mark.parametrize("option", ["-w", "--write", "--yes"])
def test_writing_without_being_asked(folder: Path, option: str) -> None:
    result = run(folder, option, "app.py")
    assert (result.returncode, result.stdout) == (0, DIFF)
    assert result.stderr == f"{TO_CHANGE}Changed 1 file.\n"
    assert text_of(folder) == NEW


def test_a_second_run_finds_nothing(folder: Path) -> None:
    run(folder, "--write", ".")
    result = run(folder, ".")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "0 files to change, 0 places for you to decide, 0 skipped.\n"


def test_what_is_edited_while_the_question_waits_is_not_overwritten(folder: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "app.py"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        said = b""
        while b"[y/N]" not in said:
            piece = process.stderr.read(1)
            assert piece, said
            said += piece
        (folder / "app.py").write_text("import autogen_core as newer\n")
        process.stdin.write(b"y\n")
        process.stdin.close()
        rest = process.stderr.read().decode()
        assert process.wait(60) == 3
    assert "Skipped app.py: it has changed since it was read. Run this again.\n" in rest
    assert text_of(folder) == "import autogen_core as newer\n"


@pytest.mark.parametrize(
    ("options", "output"),
    [(["--diff"], DIFF), (["--check"], "app.py\n"), (["--check", "--diff"], DIFF)],
)
def test_only_looking(folder: Path, options: list[str], output: str) -> None:
    result = run(folder, *options, "app.py", answer="y\n")
    assert (result.returncode, result.stdout, result.stderr) == (1, output, TO_CHANGE)
    assert text_of(folder) == OLD
    (folder / "app.py").write_text(NEW)
    assert run(folder, *options, "app.py").returncode == 0


@posix
def test_the_diff_is_one_that_patch_takes(folder: Path) -> None:
    (folder / "crlf.py").write_bytes(b"x = 1\r\nimport autogen_core")
    diff = run(folder, "--diff", ".").stdout
    assert diff.endswith(
        "+import trio_agents.asyncio as autogen_core\n\\ No newline at end of file\n"
    )
    assert " x = 1\n" in diff  # universal newlines of this test: the line has its \\r
    assert diff.count("\n--- ") + diff.startswith("--- ") == 2


@posix
@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_patch_makes_of_a_file_what_the_command_does(folder: Path) -> None:
    """A byte order mark is no part of the text, and yet of the file's first line."""
    (folder / "app.py").unlink()
    for name, data in {
        "far.py": codecs.BOM_UTF8 + b"# \xc3\xbc\nimport autogen_core\n",
        "first.py": codecs.BOM_UTF8 + b"import autogen_core\n",
        "plain.py": b"# \xc3\xbc\r\nimport autogen_core",
    }.items():
        for path in (folder / name, folder / "patched" / name):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
    diffs = subprocess.run(
        [*COMMAND, "--diff", "far.py", "first.py", "plain.py"],
        cwd=folder,
        stdout=subprocess.PIPE,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    ).stdout
    patched = folder / "patched"
    subprocess.run(["patch", "-p0", "--binary"], cwd=patched, input=diffs, check=True, timeout=100)
    assert run(folder, "--write", "far.py", "first.py", "plain.py").returncode == 0
    for name in ("far.py", "first.py", "plain.py"):
        assert (patched / name).read_bytes() == (folder / name).read_bytes()
        assert b"trio_agents" in (folder / name).read_bytes()


# --- a tree


def test_a_tree_with_everything(folder: Path) -> None:
    (folder / "requirements.txt").write_text("trio\nautogen-core==0.7.5  # pinned\n# autogen-ext\n")
    (folder / "pyproject.toml").write_text('dependencies = [\n  "autogen_agentchat",\n]\n')
    (folder / "sub").mkdir()
    (folder / "sub" / "chat.py").write_text(
        "from autogen_agentchat.teams import Swarm\nimport autogen_ext.tools\n"
    )
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": ["import autogen_core"]}
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "sub" / "book.ipynb").write_text(json.dumps(notebook, indent=1) + "\n")
    result = run(folder, ".", "--write")
    assert result.returncode == 0
    told = [line for line in result.stderr.splitlines() if not line.startswith("    ")]
    assert told == [
        './pyproject.toml:2: "autogen_agentchat",',
        "./requirements.txt:2: autogen-core==0.7.5 # pinned",
        "./sub/chat.py:1: from autogen_agentchat.teams import Swarm",
        "./sub/chat.py:2: import autogen_ext.tools",
        "2 files to change, 4 places for you to decide, 0 skipped.",
        "Changed 2 files.",
    ]
    assert "import trio_agents.asyncio as autogen_core" in text_of(folder, "sub/book.ipynb")


def test_places_with_the_same_advice_share_it(folder: Path) -> None:
    (folder / "app.py").write_text(
        "import autogen_ext.a\nimport autogen_ext.b\nimport autogen_core\n"
    )
    result = run(folder, "app.py")
    lines = result.stderr.splitlines()
    assert lines[:2] == ["app.py:1: import autogen_ext.a", "app.py:2: import autogen_ext.b"]
    assert lines[2].startswith("    Keep this import.")
    assert [line for line in lines[3:] if line[0] != " "][:1] == ["app.py:3: import autogen_core"]
    assert max(map(len, lines)) <= 92


def test_what_cannot_be_used_is_named_and_skipped(folder: Path) -> None:
    (folder / "broken.py").write_text("import autogen_core\ndef f(:\n")
    (folder / "latin.py").write_bytes(b"import autogen_core\n\n# caf\xe9")
    (folder / "book.ipynb").write_text("autogen_core")
    result = run(folder, "--write", ".")
    assert result.returncode == 3
    skipped = [line for line in result.stderr.splitlines() if line.startswith("Skipped")]
    assert len(skipped) == 3
    assert skipped[0].startswith("Skipped ./book.ipynb: it is not JSON")
    assert skipped[1].startswith("Skipped ./broken.py: it is not valid Python: line 2: ")
    assert skipped[2] == "Skipped ./latin.py: byte 27 is not UTF-8."
    assert text_of(folder) == NEW  # the others are done nevertheless


def test_what_does_not_mention_autogen_is_not_parsed(folder: Path) -> None:
    (folder / "broken.py").write_bytes(b"def f(: \xe9")
    assert run(folder, "--check", "broken.py").returncode == 0


def test_a_script_without_a_suffix_can_be_named(folder: Path) -> None:
    (folder / "script").write_text("#!/usr/bin/env python\nimport autogen_core\n")
    assert run(folder, "--write", "script").returncode == 0
    assert "import trio_agents.asyncio as autogen_core" in text_of(folder, "script")


def test_what_is_excluded_is_passed_over(folder: Path) -> None:
    assert run(folder, "--check", "--exclude", "app*", ".").returncode == 0


def test_mixed_changes_imports_beside_agentchat(folder: Path) -> None:
    (folder / "app.py").write_text(f"import autogen_agentchat\n{OLD}")
    assert run(folder, "--check", "app.py").returncode == 0
    assert run(folder, "--check", "--mixed", "app.py").returncode == 1


def test_an_encoding_and_a_byte_order_mark_stay(folder: Path) -> None:
    body = OLD.replace("\n", "\r\n") + "# \xfc"
    files = {
        "latin.py": f"# coding: latin-1\r\n{body}".encode("latin-1"),
        "bom.py": f"\ufeff{body}".encode(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    assert run(folder, "--write", ".").returncode == 0
    for name, data in files.items():
        assert (folder / name).read_bytes() == data.replace(b"autogen_core", b"trio_agents.asyncio")


@posix
def test_a_loop_of_links_is_no_trouble(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    result = run(folder, "--check", ".")
    assert (result.returncode, result.stdout) == (1, "./app.py\n")


# --- mistakes


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Missing argument 'PATH...'"),
        (["nowhere"], "'nowhere' does not exist"),
        (["--write", "--check", "app.py"], "--write writes, and --diff and --check do not"),
        (["--yes", "--diff", "app.py"], "--write writes, and --diff and --check do not"),
        (["--colour", "app.py"], "No such option"),
    ],
)
def test_wrong_usage_is_told(folder: Path, args: list[str], message: str) -> None:
    result = run(folder, *args)
    assert result.returncode == 2
    assert message in result.stderr
    assert text_of(folder) == OLD


def test_help_says_what_the_options_and_exit_codes_are(folder: Path) -> None:
    text = run(folder, "--help").stdout
    for word in ("--write", "--diff", "--check", "--exclude", "--mixed", "Exit status", "130"):
        assert word in text


@posix
def test_a_name_that_is_not_text_is_shown_as_far_as_it_can(folder: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.py")).write_text(OLD)
    except OSError:
        pytest.skip("this file system has names that are text only")
    result = run(folder, "--check", ".")
    assert result.stdout == "./app.py\n./caf?.py\n"


def test_an_output_of_another_encoding_gets_what_it_can_show(folder: Path) -> None:
    (folder / "app.py").write_text(f"{OLD}# ü", encoding="utf-8")
    result = run(folder, "--diff", "app.py", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.returncode == 1
    assert " # ?\n" in result.stdout


# --- on a terminal


@posix
@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
    ],
)
def test_a_terminal_gets_colours_unless_it_does_not_want_them(
    folder: Path, env: dict[str, str], coloured: bool
) -> None:
    ours, theirs = os.openpty()
    shown = b""
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(
        [*COMMAND, "app.py"],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, **env},
    ) as process:
        os.close(theirs)
        os.write(ours, b"y\n")
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        assert process.wait(60) == 0
    assert (b"\x1b[32m+from trio_agents.asyncio import AgentId\x1b[0m" in shown) is coloured
    assert (b"\x1b[" in shown) is coloured
    assert text_of(folder) == NEW


@posix
@pytest.mark.parametrize(("key", "status"), [("Ctrl-C", 130), ("Ctrl-D", 1)])
def test_leaving_the_question_writes_nothing(folder: Path, key: str, status: int) -> None:
    ours, theirs = os.openpty()
    shown = b""
    with subprocess.Popen(
        [*COMMAND, "app.py"],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):
            while b"[y/N]" not in shown:
                piece = os.read(ours, 65536)
                assert piece, shown
                shown += piece
            if key == "Ctrl-C":
                process.send_signal(signal.SIGINT)  # what a controlling terminal would do
            else:
                os.write(ours, b"\x04")
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        assert process.wait(60) == status
    assert b"othing was written" in shown
    assert text_of(folder) == OLD


def test_nothing_heavy_is_imported_until_it_is_needed() -> None:
    code = "import sys, trio_agents._cli; print([n for n in sys.modules if '_migrate' in n])"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "[]\n"
