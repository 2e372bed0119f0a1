"""The command line, as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

import trio_agents

# -P: the package that is installed, and not what lies in the current folder.
DIGEST = [sys.executable, "-P", "-m", "trio_agents._cli", "demo", "digest"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals, links or terminals")


def run(
    *args: str | Path, command: Sequence[str] = DIGEST, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
    )


def cli(*args: str) -> subprocess.CompletedProcess[str]:
    return run(*args, command=DIGEST[:4])


# --- what there is


def test_the_version() -> None:
    result = cli("--version")
    assert result.stdout == f"trio-agents, version {trio_agents.__version__}\n"


def test_help_says_what_the_options_are() -> None:
    assert "demo" in cli("--help").stdout
    assert "digest" in cli("demo", "--help").stdout
    text = cli("demo", "digest", "-h").stdout
    for option in ("--concurrency", "--resume", "--trace", "--output", "--sentences", "130"):
        assert option in text


def test_a_shell_can_complete_commands_and_options() -> None:
    def complete(words: str, number: int) -> str:
        variables = {"COMP_WORDS": words, "COMP_CWORD": str(number)}
        env = {"_TRIO_AGENTS_COMPLETE": "bash_complete", **variables}
        return run(command=DIGEST[:4], env=env).stdout

    assert "demo" in complete("trio-agents ", 1)
    assert "digest" in complete("trio-agents demo ", 2)
    assert "--resume" in complete("trio-agents demo digest --r", 3)


# --- a digest


def test_the_documents_of_the_package_are_the_default() -> None:
    result = run()
    assert result.returncode == 0, result.stderr
    assert re.match(r"# Digest of \d documents\n", result.stdout)
    assert "\n## Backpressure\n\n`backpressure.md`: " in result.stdout
    assert "Reading" in result.stderr
    assert "messages:" in result.stderr


def test_piped_output_is_plain_and_the_same_each_time() -> None:
    first, second = run("--trace", "--concurrency", "1"), run("--trace", "--concurrency", "8")
    assert first.stdout == second.stdout
    assert "\x1b" not in first.stdout + first.stderr
    assert "\r" not in first.stderr


def test_the_digest_can_go_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "digest.md"
    result = run("--output", file)
    assert result.returncode == 0
    assert result.stdout == ""
    assert file.read_text(encoding="utf-8") == run().stdout
    again = run("-o", file, tmp_path)  # what is written is not read
    assert again.returncode == 1
    assert "no files in" in again.stderr


def test_a_terminal_of_another_encoding_gets_what_it_can_show(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Ein schönes Dokument über 世界.", encoding="utf-8")
    env = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert "- Ein sch?nes Dokument ?ber ??.\n" in run(tmp_path, env=env).stdout


def test_a_reader_that_has_gone_is_no_error_to_be_shown() -> None:
    with subprocess.Popen(
        DIGEST, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert "Traceback" not in errors
    assert "Exception" not in errors


# --- mistakes


def test_an_empty_folder_is_a_clear_error(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: Nothing to digest: there are no files in {tmp_path}.\n"


@posix
def test_what_cannot_be_read_is_named_and_skipped(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_bytes(b"caf\xe9")
    (tmp_path / "gone").symlink_to("nowhere")
    result = run(tmp_path)
    assert result.returncode == 1
    assert f"Skipped {tmp_path}/bad.md: it is not text: byte 4 is not UTF-8.\n" in result.stderr
    assert f"Skipped {tmp_path}/gone: it is gone, or a link to nothing.\n" in result.stderr
    assert result.stderr.endswith("Error: Nothing to digest: none of the files could be read.\n")
    (tmp_path / "good.md").write_text("Good.")
    result = run(tmp_path)
    assert result.returncode == 0
    assert "## Skipped" in result.stdout
    assert "Read 1 document, skipped 2; 9 messages:" in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "'nowhere' does not exist"),
        (["--concurrency", "0"], "0 is not in the range"),
        (["--concurrency", "many"], "not a valid integer"),
        (["--trace=x.txt"], "x.txt does not end in .mmd"),
        (["--output", "none/x.md"], "There is no folder none"),
        (["--resume", "none/x.json"], "There is no folder none"),
        (["--resume", "."], "is a directory"),
        (["--colour"], "No such option"),
    ],
)
def test_wrong_usage_is_told(args: list[str], message: str) -> None:
    result = run(*args)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_foreign_state_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text('{"name": "something else"}')
    result = run("--resume", file)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"Error: {file} is not a state file that this command can resume from: "
        "something else wrote it. Give --resume another name, or delete the file to begin afresh."
    )
    assert file.read_text() == '{"name": "something else"}'


@posix
def test_what_cannot_be_written_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    result = run("--output", "/dev/full")
    assert result.returncode == 1
    assert "Error: /dev/full could not be written: No space left on device.\n" in result.stderr


# --- the trace


def test_the_trace_follows_the_digest_as_text() -> None:
    text = run("--trace").stdout
    digest, _, trace = text.partition("\n## Who sent what to whom\n\n````text\n")
    assert digest == run().stdout
    lines = trace.splitlines()
    assert lines[0].startswith("librarian -> reader agents.md: publishes Document")
    assert lines[-2].startswith("editor -> application: answers Digest")
    assert lines[-1] == "````"


def test_the_trace_stands_alone_if_the_digest_does_not_come_out(tmp_path: Path) -> None:
    text = run("--trace", "-o", tmp_path / "digest.md").stdout
    assert text.startswith("librarian -> reader agents.md: ")
    assert len(text.splitlines()) == 20


def test_a_folder_after_trace_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Good.")
    assert "# Digest of 1 document\n" in run("--trace", tmp_path).stdout
    assert "# Digest of 1 document\n" in run(tmp_path, "--trace", "--", tmp_path).stdout


@pytest.mark.parametrize("joined", [True, False])
def test_the_trace_can_be_drawn(tmp_path: Path, joined: bool) -> None:
    file = tmp_path / "trace.mmd"
    args = [f"--trace={file}"] if joined else ["--trace", str(file)]
    result = run(*args)
    assert result.returncode == 0, result.stderr
    assert result.stdout == run().stdout
    assert file.read_text(encoding="utf-8").startswith(
        "sequenceDiagram\n    participant p0 as librarian\n"
    )


# --- on a terminal, and Ctrl-C


@posix
def test_a_terminal_gets_a_live_display(make_folder: Callable[[int], Path]) -> None:
    folder = make_folder(30)
    (folder / "bad.png").write_bytes(b"\0")
    ours, theirs = os.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    env.pop("NO_COLOR", None)
    shown = b""
    with subprocess.Popen(
        [*DIGEST, str(folder)], stdout=subprocess.DEVNULL, stderr=theirs, env=env
    ) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        assert process.wait(60) == 0
    text = shown.decode()
    assert "\x1b[2K" in text  # a line that is written anew
    assert "31/31" in text
    assert "documents," in text
    assert "bad.png: it is not text" in text
    assert "Read 30 documents, skipped 1;" in text


@posix
def test_a_dumb_terminal_gets_plain_lines() -> None:
    ours, theirs = os.openpty()
    env = {**os.environ, "TERM": "dumb"}
    shown = b""
    with subprocess.Popen(DIGEST, stdout=subprocess.DEVNULL, stderr=theirs, env=env) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        assert process.wait(60) == 0
    assert b"\x1b" not in shown
    assert b"Reading" in shown


@posix
def test_ctrl_c_gives_the_digest_so_far_and_resuming_gives_all_of_it(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_folder(400, sentences=100)  # some seconds of work
    state = tmp_path / "state.json"
    command = [*DIGEST, str(folder), "--concurrency", "2", "--resume", str(state)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "Reading 400 documents, 2 at a time.\n"
        assert process.stderr.readline() == "40 of 400 documents.\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    read = int(re.findall(r"# Digest of (\d+) documents", output)[0])
    assert 40 <= read < 400
    assert f"> **Partial:** interrupted with {400 - read} documents to go." in output
    assert output.count("\n## ") == read + 1
    saved = json.loads(state.read_text(encoding="utf-8"))["agents"]
    assert read <= len(saved) <= read + 2

    resumed = run(folder, "--resume", state)
    assert resumed.returncode == 0
    assert f"Read 400 documents ({len(saved)} unchanged), skipped 0;" in resumed.stderr
    assert resumed.stdout == run(folder).stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# --- imports


def test_the_library_does_not_import_the_demo() -> None:
    code = (
        "import sys, trio_agents; "
        "print([n for n in sys.modules if n in ('click', 'rich') or '_demo' in n or '_cli' in n])"
    )
    result = run(command=[sys.executable, "-c", code])
    assert result.stdout == "[]\n", result.stderr


def test_help_does_not_import_the_demo() -> None:
    code = (
        "import sys; from trio_agents import _cli; "
        "print([n for n in sys.modules if n == 'rich' or '_demo' in n])"
    )
    assert run(command=[sys.executable, "-c", code]).stdout == "[]\n"


# --- the page about it


def test_what_the_page_shows_is_what_comes_out() -> None:
    page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- output: \w+ -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 3
    output = run("--trace").stdout
    for block in shown:
        assert block in output
