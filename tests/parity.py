"""Which test or example shows each thing that a program written for AutoGen Core counts on.

The rows, an id and a title each, are in ``parity_rows.txt``. A test names the rows it shows in a
comment directly above it, in a comment inside it or in its docstring; an example does so in any
comment. ``python tests/parity.py`` writes what was found to ``docs/parity.md``, and
``tests/test_parity.py`` fails when a row has nothing to show, or the page is not up to date.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
ROWS: Final = ROOT / "tests" / "parity_rows.txt"
PAGE: Final = ROOT / "docs" / "parity.md"
SHOWN: Final = 3  # tests per row on the page

GROUP: Final = re.compile(r"\[([A-Z]+)\] (.+)")
ROW: Final = re.compile(r"([A-Z]+)-\d\d (.+)")
GROUPS: Final = (
    *("CON", "ID", "AG", "RG", "CL", "AP", "CX", "RT", "ST", "SUB", "MSG", "CT", "IV", "EX"),
    *("TEL", "LOG", "PKG", "ASY"),
    *("CMP", "CS", "IMG", "TL", "TA", "WB", "MC", "MX", "CE"),
)
ID: Final = re.compile(rf"\b(?:{'|'.join(GROUPS)})-\d\d\b(?!-)")

HEAD: Final = """\
<!-- Written by `python tests/parity.py`. Do not edit: name the row in a comment above a test. -->

# What is shown, and where

Programs written for AutoGen Core count on what these rows say. For each there is a test or an
example, which runs with every change; `tests/test_parity.py` fails for a row that has none. Paths
start in `tests/` unless they say `examples/`.
"""


@dataclass(frozen=True)
class Group:
    """Some rows about one subject."""

    name: str
    title: str
    rows: dict[str, str] = field(default_factory=dict)  # id -> title


@dataclass(frozen=True)
class Mention:
    """A row id in a comment, and what it belongs to: None if that is no test."""

    row: str
    shown_by: str | None
    file: str
    line: int


def read_groups(text: str) -> list[Group]:
    """Read the list of rows.

    Raises:
        ValueError: a line is neither a group nor a row of the group it stands in, or comes twice.
    """
    groups: list[Group] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        if heading := GROUP.fullmatch(line):
            groups.append(Group(heading[1], heading[2]))
            continue
        row = ROW.fullmatch(line)
        id, _, title = line.partition(" ")
        if row is None or not groups or row[1] != groups[-1].name or id in groups[-1].rows:
            raise ValueError(f"line {number} is no new row of its group: {line!r}")
        groups[-1].rows[id] = title
    return groups


def comments_of(source: str) -> Iterator[tuple[int, str, bool]]:
    """Give line, text, and whether it stands alone, of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string, token.line.lstrip().startswith("#")


@dataclass(frozen=True)
class Place:
    """The lines of a test, with the comments directly above it."""

    name: str
    first: int
    last: int


def places_of(tree: ast.Module, alone: set[int], every: bool) -> Iterator[Place]:
    """Give the tests of a file, the inner ones first; with *every*, all functions are some."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[Place]:
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            name = f"{prefix}{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{name}::")
            if every or node.name.lower().startswith("test") or prefix:
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                while first - 1 in alone:
                    first -= 1
                yield Place(name, first, node.end_lineno or node.lineno)

    yield from walk(tree.body, "")


def docstrings_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give line and text of the docstrings of functions and classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body[0]:
                case ast.Expr(value=ast.Constant(value=str(text)) as constant):
                    yield constant.lineno, text


def mentions_in(file: str, source: str) -> list[Mention]:
    """Find the row ids that the comments of one file name. *file* is relative to the root."""
    tree = ast.parse(source)
    comments = list(comments_of(source))
    texts = [(line, text) for line, text, _ in comments]
    if file.startswith("examples/"):
        return [Mention(row, file, file, line) for line, text in texts for row in ID.findall(text)]
    alone = {line for line, _, stands_alone in comments if stands_alone}
    places = list(places_of(tree, alone, every=file.startswith("tests/typing/")))
    mentions: list[Mention] = []
    for line, text in sorted([*texts, *docstrings_of(tree)]):
        for row in ID.findall(text):
            place = next((place for place in places if place.first <= line <= place.last), None)
            test = None if place is None else f"{file.removeprefix('tests/')}::{place.name}"
            mentions.append(Mention(row, test, file, line))
    return mentions


def all_mentions() -> list[Mention]:
    """Find the row ids in all tests and examples."""
    paths = [*sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "examples").rglob("*.py"))]
    return [
        mention
        for path in paths
        if path.name not in ("parity.py", "test_parity.py")
        for mention in mentions_in(
            path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        )
    ]


def render(groups: list[Group], mentions: list[Mention]) -> str:
    """Write the page."""
    shown_by: dict[str, list[str]] = {}
    for mention in mentions:
        if mention.shown_by is not None:
            found = shown_by.setdefault(mention.row, [])
            if mention.shown_by not in found:
                found.append(mention.shown_by)
    parts = [HEAD]
    for group in groups:
        lines = [f"## {group.name}: {group.title}\n", "| row | what | shown by |", "|---|---|---|"]
        for row, title in group.rows.items():
            tests = shown_by.get(row, [])
            cell = ", ".join(f"`{test}`" for test in tests[:SHOWN])
            if len(tests) > SHOWN:
                cell += f" and {len(tests) - SHOWN} more"
            lines.append(f"| {row} | {title} | {cell} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page, and say which rows have nothing to show."""
    groups = read_groups(ROWS.read_text(encoding="utf-8"))
    mentions = all_mentions()
    PAGE.write_text(render(groups, mentions), encoding="utf-8")
    known = {row: title for group in groups for row, title in group.rows.items()}
    shown = {mention.row for mention in mentions if mention.shown_by is not None}
    for row in known.keys() - shown:
        print(f"no test or example: {row} {known[row]}")
    for mention in mentions:
        if mention.shown_by is None:
            print(f"{mention.file}:{mention.line}: {mention.row} stands above no test")
        elif mention.row not in known:
            print(f"{mention.file}:{mention.line}: there is no row {mention.row}")


if __name__ == "__main__":
    main()
