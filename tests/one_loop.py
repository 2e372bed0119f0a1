"""Which of the core's tests are for one event loop only, and why.

The tests in ``tests/core`` run on trio and on asyncio from one source. A mark, ``only_on(loop,
reason)`` on a test, a class or a whole module, says that something is meant for one of them.
``python tests/one_loop.py`` writes all marks to ``docs/one-loop.md``; ``tests/test_one_loop.py``
fails when the page is not up to date, or a mark gives no reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TESTS: Final = ROOT / "tests" / "core"
PAGE: Final = ROOT / "docs" / "one-loop.md"
LOOPS: Final = ("trio", "asyncio")

HEAD: Final = """\
<!-- Written by `python tests/one_loop.py`. Do not edit: mark tests with `only_on(...)`. -->

# Tests for one loop

The tests of the core, those in `tests/core`, run on trio and on asyncio, from one source. These are
for one loop only; all others pass on both. Each has a mark that gives the reason, and
`tests/test_one_loop.py` fails for a mark without one. Paths start in `tests/`.
"""


@dataclass(frozen=True)
class Mark:
    """A test, or several, for one loop."""

    loop: str
    reason: str
    name: str
    tests: int | None = None  # of a class or module: how many it has


def read_mark(node: ast.expr, place: str) -> tuple[str, str] | None:
    """Give loop and reason of *node*, if it is a mark ``only_on``.

    Raises:
        ValueError: it is one, but does not name a loop and a reason. The error names *place*.
    """
    call = node if isinstance(node, ast.Call) else None
    function = node if call is None else call.func
    if not isinstance(function, ast.Attribute) or function.attr != "only_on":
        return None
    match call:
        case ast.Call(
            args=[ast.Constant(value=str(loop)), ast.Constant(value=str(reason))], keywords=[]
        ) if loop in LOOPS and reason.strip():
            return loop, reason.strip()
        case _:
            raise ValueError(
                f"{place}:{node.lineno}: write only_on(loop, reason), with a loop out of "
                f"{', '.join(LOOPS)} and some words that say why"
            )


def count_tests(body: list[ast.stmt]) -> int:
    """Count the test functions, those in classes included."""
    count = 0
    for node in body:
        if isinstance(node, ast.ClassDef):
            count += count_tests(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count += node.name.startswith("test_")
    return count


def module_marks(body: list[ast.stmt]) -> Iterator[ast.expr]:
    """Give what ``pytestmark`` is set to, at the top of a module or class."""
    for node in body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="pytestmark")], value=value)
                | ast.AnnAssign(target=ast.Name(id="pytestmark"), value=ast.expr() as value)
            ):
                yield from value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
            case _:
                pass


def marks_in(file: str, source: str) -> list[Mark]:
    """Find the marks of one file, which is called *file* on the page.

    Raises:
        ValueError: a mark does not say which loop, or why.
    """

    def walk(body: list[ast.stmt], name: str) -> Iterator[Mark]:
        for mark in module_marks(body):
            if (found := read_mark(mark, file)) is not None:
                yield Mark(*found, name, count_tests(body))
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            inner = f"{name}::{node.name}"
            tests = count_tests(node.body) if isinstance(node, ast.ClassDef) else None
            for decorator in node.decorator_list:
                if (found := read_mark(decorator, file)) is not None:
                    yield Mark(*found, inner, tests)
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, inner)

    return list(walk(ast.parse(source).body, file))


def all_marks() -> list[Mark]:
    """Find the marks of all tests of the core."""
    return [
        mark
        for path in sorted(TESTS.rglob("*.py"))
        for mark in marks_in(
            path.relative_to(TESTS.parent).as_posix(), path.read_text(encoding="utf-8")
        )
    ]


def render(marks: list[Mark]) -> str:
    """Write the page."""
    parts = [HEAD]
    for loop in LOOPS:
        lines = [f"## Only on {loop}\n", "| test | why |", "|---|---|"]
        for mark in marks:
            if mark.loop == loop:
                tests = "" if mark.tests is None else f", all of its tests: {mark.tests}"
                reason = mark.reason.replace("|", "\\|")
                lines.append(f"| `{mark.name}`{tests} | {reason} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(all_marks()), encoding="utf-8")


if __name__ == "__main__":
    main()
