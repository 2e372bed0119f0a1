"""Every row of the parity list has a test or an example, and the page says which."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest


def load_generator() -> ModuleType:
    """Import the script beside this file; the tests are no package."""
    path = Path(__file__).with_name("parity.py")
    spec = importlib.util.spec_from_file_location("parity_generator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


parity: Final = load_generator()
GROUPS: Final = parity.read_groups(parity.ROWS.read_text(encoding="utf-8"))
MENTIONS: Final = parity.all_mentions()
KNOWN: Final = {row for group in GROUPS for row in group.rows}


def test_every_row_has_a_test_or_an_example() -> None:
    shown = {mention.row for mention in MENTIONS if mention.shown_by is not None}
    assert sorted(KNOWN - shown) == []


def test_a_test_names_no_row_that_does_not_exist() -> None:
    unknown = [f"{m.file}:{m.line} {m.row}" for m in MENTIONS if m.row not in KNOWN]
    assert unknown == []


def test_a_row_is_named_where_it_belongs_to_a_test() -> None:
    astray = [f"{m.file}:{m.line} {m.row}" for m in MENTIONS if m.shown_by is None]
    assert astray == [], "name rows in a comment directly above a test, or inside it"


def test_the_page_is_what_the_generator_gives() -> None:
    page = parity.PAGE.read_text(encoding="utf-8") if parity.PAGE.exists() else ""
    assert page == parity.render(GROUPS, MENTIONS), "run: python tests/parity.py"


SOURCE: Final = '''
# AG-01: at the top of a file, above a helper
def helper() -> None: ...


# AG-02, AG-03
# and a remark
@decorated
async def test_one() -> None:
    """Shows AG-04."""
    x = 1  # AG-05
    text = "AG-06"


# RFC-01 AG-07

def test_two() -> None: ...


# AG-08
class TestThree:
    # AG-09
    def test_four(self) -> None: ...
'''


def test_rows_are_found_in_comments_and_docstrings_of_tests() -> None:
    found = [(m.row, m.shown_by) for m in parity.mentions_in("tests/core/test_x.py", SOURCE)]
    assert found == [
        ("AG-01", None),
        ("AG-02", "core/test_x.py::test_one"),
        ("AG-03", "core/test_x.py::test_one"),
        ("AG-04", "core/test_x.py::test_one"),
        ("AG-05", "core/test_x.py::test_one"),
        ("AG-07", None),
        ("AG-08", "core/test_x.py::TestThree"),
        ("AG-09", "core/test_x.py::TestThree::test_four"),
    ]


def test_an_example_shows_what_any_of_its_comments_names() -> None:
    found = [(m.row, m.shown_by) for m in parity.mentions_in("examples/x.py", SOURCE)]
    assert ("AG-01", "examples/x.py") in found


@pytest.mark.parametrize(
    "text", ["AG-01 too early", "[AG] Agents\nCX-01 elsewhere", "[AG] Agents\nAG-01 a\nAG-01 b"]
)
def test_a_list_of_rows_that_is_out_of_order_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no new row of its group"):
        parity.read_groups(text)


def test_the_page_shows_three_tests_of_a_row_and_counts_the_others() -> None:
    (group,) = parity.read_groups("[AG] Agents\nAG-01 One\nAG-02 Two")
    mentions = [parity.Mention("AG-01", f"t.py::test_{n}", "t.py", n) for n in range(5)]
    page = parity.render([group], [*mentions, *mentions])
    tests = "`t.py::test_0`, `t.py::test_1`, `t.py::test_2` and 2 more"
    assert page.endswith(
        "## AG: Agents\n\n| row | what | shown by |\n|---|---|---|\n"
        f"| AG-01 | One | {tests} |\n| AG-02 | Two |  |\n"
    )
