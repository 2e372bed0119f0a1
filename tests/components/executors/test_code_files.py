"""Files that code names itself, in a directory that code can change."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from trio_agents.code_executor import CodeBlock
from trio_agents.ext.code_executors._code_files import CodeFiles, FileRefused
from trio_agents.ext.code_executors.local import LocalCommandLineCodeExecutor

from .probes import files_in, outcome, python

NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "b.py", "link", "~", "\0", "x" * 300, "é", "\ud800"])
    | st.text(max_size=5),
    max_size=4,
).map("/".join)


@given(NAMES)
@settings(max_examples=40)
def test_whatever_a_file_is_called_it_is_in_the_directory_or_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        outside, inside = Path(root, "outside"), Path(root, "inside")
        outside.mkdir()
        inside.mkdir()
        (inside / "link").symlink_to(outside)
        try:
            CodeFiles(inside).write(name, "text")
        except FileRefused:
            assert [path for path in inside.rglob("*") if path.is_file()] == []
        else:
            [path] = [
                path for path in inside.rglob("*") if path.is_file() and not path.is_symlink()
            ]
            assert path.read_text() == "text"
        assert list(outside.iterdir()) == []
        assert sorted(path.name for path in Path(root).iterdir()) == ["inside", "outside"]


@pytest.mark.parametrize("name", ["../x.py", "/tmp/x.py", "a/../../x.py", "link/x.py"])
async def test_a_block_outside_of_the_directory_fails_and_does_not_run(
    tmp_path: Path, name: str
) -> None:
    work_dir = tmp_path / "work"
    executor = LocalCommandLineCodeExecutor(work_dir=work_dir, sandbox=None)
    work_dir.mkdir()
    (work_dir / "link").symlink_to(tmp_path)
    code, output = await outcome(executor, python(f"# filename: {name}\nprint('ran')"))
    assert code == 1
    assert name in output
    assert "ran" not in output
    assert files_in(tmp_path) == []


def test_a_link_where_the_file_goes_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    (work_dir / "x.py").symlink_to(victim)
    CodeFiles(work_dir).write("x.py", "text")
    assert victim.read_text() == "precious"
    assert (work_dir / "x.py").read_text() == "text"


def test_a_pipe_where_the_file_goes_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.py")
    CodeFiles(tmp_path).write("x.py", "text")
    assert (tmp_path / "x.py").read_text() == "text"


def test_the_same_block_twice_at_a_time_has_two_files(tmp_path: Path) -> None:
    block = CodeBlock("pass", "python")
    one, other = CodeFiles(tmp_path), CodeFiles(tmp_path)  # as of two programs
    with one.saved(block, "py", clean_up=True) as first:
        with other.saved(block, "py", clean_up=True) as second:
            assert first != second
            assert (tmp_path / second).read_text() == "pass"
        assert (tmp_path / first).read_text() == "pass"
    assert list(tmp_path.iterdir()) == []


def test_the_same_block_has_the_same_file_if_it_stays(tmp_path: Path) -> None:
    block = CodeBlock("pass", "python")
    for _ in range(2):
        with CodeFiles(tmp_path).saved(block, "py", clean_up=False):
            pass
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("# filename: x.py\npass", "x.py"),
        ("#filename:x.py", "x.py"),
        ("# filename: a b/c.py  \r\npass", "a b/c.py"),
    ],
)
def test_the_first_line_names_the_file(tmp_path: Path, code: str, name: str) -> None:
    with CodeFiles(tmp_path).saved(CodeBlock(code, "python"), "py", clean_up=True) as path:
        assert str(path) == name


@pytest.mark.parametrize("code", ["pass\n# filename: x.py", "# filename:\nx.py", "# filename x.py"])
def test_other_lines_do_not(tmp_path: Path, code: str) -> None:
    with CodeFiles(tmp_path).saved(CodeBlock(code, "python"), "py", clean_up=True) as path:
        assert path.name.startswith("tmp_code_")
