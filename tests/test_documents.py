"""What the documents show is what runs: their code is a file of the repository or a doctest."""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"
DOCUMENTS: Final = [
    README,
    *sorted(
        path
        for path in (ROOT / "docs").rglob("*.md")
        if "_build" not in path.relative_to(ROOT).parts
    ),
]
EXAMPLES: Final = sorted((ROOT / "examples").rglob("*.py"))

PYTHON: Final = {"py", "python", "python3", "pycon", "{code-block} python", "{code-block} pycon"}
FENCE: Final = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
PRINTS: Final = re.compile(r"^# Prints:\n(?P<lines>(?:# .*\n)+)\Z", re.MULTILINE)
MARKER: Final = re.compile(r"^\s*<!-- file: (?P<path>[^#\s]+)(?:#(?P<region>[\w-]+))? -->\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document, and the line that stands before it."""

    document: str
    line: int
    info: str
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(document: str, text: str) -> list[Block]:
    """Return the fenced blocks of *text*; a fence that is never closed is an error."""
    blocks: list[Block] = []
    lines = iter(enumerate(text.splitlines(), start=1))
    before = ""
    for number, line in lines:
        opening = FENCE.match(line)
        if opening is None:
            before = line if line.strip() else before
            continue
        closing = re.compile(rf"^\s*{opening['fence']}{opening['fence'][0]}*\s*$")
        body: list[str] = []
        for _, inner in lines:
            if closing.match(inner):
                break
            body.append(inner.removeprefix(opening["indent"]))
        else:
            raise AssertionError(f"{document}:{number}: this fence is never closed")
        info = opening["info"].strip()
        blocks.append(Block(document, number, info, "\n".join(body), before))
        before = line
    return blocks


def shown_by(marker: re.Match[str]) -> str:
    """Return what *marker* names: a file, or the region of it between ``# [x]`` and ``# [/x]``."""
    text = (ROOT / marker["path"]).read_text(encoding="utf-8")
    if (region := marker["region"]) is None:
        return text.strip("\n")
    found = re.findall(
        rf"^[ ]*# \[{region}\]\n(.*?)^[ ]*# \[/{region}\]$", text, flags=re.DOTALL | re.MULTILINE
    )
    assert len(found) == 1, f"{marker['path']} has {len(found)} regions called {region!r}"
    return textwrap.dedent(found[0]).strip("\n")


BLOCKS: Final = [
    block
    for path in DOCUMENTS
    for block in blocks_of(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
]
PYTHON_BLOCKS: Final = [block for block in BLOCKS if block.info in PYTHON]
PRINTS_MARKER: Final = re.compile(r"<!-- prints: (?P<path>\S+) -->")
PRINTED_BLOCKS: Final = [block for block in BLOCKS if PRINTS_MARKER.match(block.before)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_says_what_language_it_is_in(block: Block) -> None:
    assert block.info, "Python without a tag would be shown and never run"


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=str)
def test_python_in_a_document_is_a_file_or_a_doctest(block: Block) -> None:
    if marker := MARKER.match(block.before):
        assert block.text.strip("\n") == shown_by(marker), f"{block} differs from {marker['path']}"
        return
    assert block.text.lstrip().startswith(">>>"), (
        f"{block} is neither a doctest nor preceded by <!-- file: examples/x.py -->"
    )
    test = doctest.DocTestParser().get_doctest(
        block.text + "\n", {"__name__": "__main__"}, str(block), block.document, block.line
    )
    report: list[str] = []
    failed, attempted = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
        test, out=report.append
    )
    assert attempted
    assert not failed, "".join(report)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_to_its_end(example: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    if printed := PRINTS.search(example.read_text(encoding="utf-8")):
        assert result.stdout == printed["lines"].replace("# ", "")


@pytest.mark.parametrize("block", PRINTED_BLOCKS, ids=str)
def test_output_in_a_document_is_what_its_example_prints(block: Block) -> None:
    marker = PRINTS_MARKER.match(block.before)
    assert marker is not None
    printed = PRINTS.search((ROOT / marker["path"]).read_text(encoding="utf-8"))
    assert printed is not None, f"{marker['path']} does not end with what it prints"
    assert block.text.strip("\n") in printed["lines"].replace("# ", "")


RACE: Final = [block for block in BLOCKS if "4 tickets of 3 were sold" in block.text]


@pytest.mark.parametrize("block", RACE, ids=str)
def test_the_race_in_a_document_is_what_the_example_finds(block: Block) -> None:
    result = subprocess.run(
        [sys.executable, "examples/docs/races.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(block.text.splitlines()) <= set(result.stderr.splitlines())


def test_the_race_is_shown_in_the_readme_and_in_its_guide() -> None:
    assert [block.document for block in RACE] == ["README.md", "docs/guides/races.md"]


def test_the_readme_embeds_the_runtime_in_fifteen_lines() -> None:
    (block,) = (block for block in PYTHON_BLOCKS if "examples/embed.py" in block.before)
    assert block.document == "README.md"
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 15


# PKG-04
@pytest.mark.parametrize("name", ["demo", "test"])
def test_ci_runs_the_command_that_the_readme_shows(name: str) -> None:
    (block,) = (block for block in BLOCKS if block.before == f"<!-- command: {name} -->")
    assert block.document == "README.md"
    assert len(block.text.splitlines()) == 1
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    run = [bash, str(ROOT / ".ci" / "run"), "--show", name]
    shown = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown == block.text + "\n"


def test_a_block_knows_its_line_its_marker_and_its_indentation() -> None:
    text = "one\n\n<!-- file: a.py#b -->\n\n  ````python\n  ```\n    x\n  ````\n~~~sh\n~~~\n"
    python, shell = blocks_of("d.md", text)
    assert python == Block("d.md", 5, "python", "```\n  x", "<!-- file: a.py#b -->")
    assert (shell.line, shell.info, shell.text) == (9, "sh", "")
    marker = MARKER.match(python.before)
    assert marker is not None
    assert (marker["path"], marker["region"]) == ("a.py", "b")
