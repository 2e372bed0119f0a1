"""A real program for AutoGen Core, migrated: the same text but for imports, the same output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trio_agents._migrate._files import decode
from trio_agents._migrate._rewrite import Fragment, rewrite
from trio_agents._migrate._target import InstalledTarget

FOLDER = Path(__file__).parents[2] / "examples" / "migrate"
BEFORE = FOLDER / "before.py"
AFTER = FOLDER / "after.py"


def output_of(program: Path, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_the_one_becomes_the_other_exactly() -> None:
    text = decode(BEFORE.read_bytes())
    result = rewrite([Fragment(text.text)], InstalledTarget())
    assert result.findings == ()
    assert text.encode(result.texts[0]) == AFTER.read_bytes()


def test_nothing_of_autogen_is_left() -> None:
    text = AFTER.read_text(encoding="utf-8")
    assert rewrite([Fragment(text)], InstalledTarget()).texts == (text,)
    assert "autogen_core" not in text


def test_both_print_the_same(tmp_path: Path) -> None:
    pytest.importorskip("autogen_core", reason="the program before runs on autogen-core")
    printed = output_of(BEFORE, tmp_path)
    assert len(printed.splitlines()) > 10
    assert output_of(AFTER, tmp_path) == printed
