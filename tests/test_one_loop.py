"""Each test that is for one event loop only says why, and the page lists them all."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest


def load_generator() -> ModuleType:
    """Import the script beside this file; the tests are no package."""
    path = Path(__file__).with_name("one_loop.py")
    spec = importlib.util.spec_from_file_location("one_loop_generator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


one_loop: Final = load_generator()


def test_every_mark_gives_a_loop_and_a_reason() -> None:
    assert {mark.loop for mark in one_loop.all_marks()} == {"trio", "asyncio"}


def test_the_page_is_what_the_generator_gives() -> None:
    page = one_loop.PAGE.read_text(encoding="utf-8") if one_loop.PAGE.exists() else ""
    assert page == one_loop.render(one_loop.all_marks()), "run: python tests/one_loop.py"


SOURCE: Final = """
@pytest.mark.parametrize("x", [1, 2])
@pytest.mark.only_on("trio", "it looks into "
    "trio's tasks")
async def test_one(x): ...

@only_on
def test_two(): ...

@mark.only_on("asyncio", "why | not")
class TestThree:
    def test_four(self): ...
    @mark.only_on("trio", "because")
    def test_five(self): ...
    def help(self): ...

def test_six(): ...
"""


def test_marks_are_found_on_functions_methods_and_classes() -> None:
    mark = one_loop.Mark
    assert one_loop.marks_in("core/t.py", SOURCE) == [
        mark("trio", "it looks into trio's tasks", "core/t.py::test_one"),
        mark("asyncio", "why | not", "core/t.py::TestThree", 2),
        mark("trio", "because", "core/t.py::TestThree::test_five"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        'pytestmark = pytest.mark.only_on("trio", "why")',
        'pytestmark = [pytest.mark.slow, pytest.mark.only_on("trio", "why")]',
        'pytestmark: Final = (pytest.mark.only_on("trio", "why"),)',
    ],
)
def test_a_mark_of_a_module_is_one_line_with_the_number_of_its_tests(line: str) -> None:
    marks = one_loop.marks_in("core/t.py", f"{line}\ndef test_a(): ...\ndef test_b(): ...\n")
    assert marks == [one_loop.Mark("trio", "why", "core/t.py", 2)]
    assert "| `core/t.py`, all of its tests: 2 | why |" in one_loop.render(marks)


@pytest.mark.parametrize(
    "mark",
    [
        'only_on("trio")',
        'only_on("trio", "")',
        'only_on("trio", "  ")',
        'only_on("curio", "why")',
        'only_on("trio", WHY)',
        'only_on("trio", reason="why")',
        "only_on()",
        "only_on",
    ],
)
def test_a_mark_without_a_loop_or_a_reason_is_refused(mark: str) -> None:
    for source in (f"@pytest.mark.{mark}\ndef test_a(): ...", f"pytestmark = pytest.mark.{mark}"):
        with pytest.raises(ValueError, match=r"core/t\.py:1: write only_on\(loop, reason\)"):
            one_loop.marks_in("core/t.py", source)


def test_the_page_has_a_table_for_each_loop() -> None:
    page = one_loop.render(one_loop.marks_in("core/t.py", SOURCE))
    assert page.endswith(
        "## Only on trio\n\n| test | why |\n|---|---|\n"
        "| `core/t.py::test_one` | it looks into trio's tasks |\n"
        "| `core/t.py::TestThree::test_five` | because |\n\n"
        "## Only on asyncio\n\n| test | why |\n|---|---|\n"
        "| `core/t.py::TestThree`, all of its tests: 2 | why \\| not |\n"
    )
