"""In a notebook only the code of cells changes, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trio_agents._migrate import _advice as advice
from trio_agents._migrate._files import Unusable
from trio_agents._migrate._findings import Finding
from trio_agents._migrate._notebook import rewrite_notebook
from trio_agents._migrate._target import Target

OLD = "from autogen_core import AgentId\n"
NEW = "from trio_agents.asyncio import AgentId\n"


def cell(source: str | list[Any], kind: str = "code") -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, "outputs": ["autogen_core"], "source": source}


def notebook(*cells: object, language: str | None = "python") -> dict[str, Any]:
    metadata = {"kernelspec": {"language": language}} if language else {}
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def dumped(content: object, **style: Any) -> str:
    return json.dumps(content, **{"indent": 1, "ensure_ascii": False, **style}) + "\n"


@pytest.mark.parametrize(
    "style",
    [
        {},
        {"indent": 4},
        {"indent": None},
        {"indent": "\t"},
        {"ensure_ascii": True},
    ],
)
def test_only_the_word_differs(style: dict[str, Any], target: Target) -> None:
    before = dumped(notebook(cell("# Zü", "markdown"), cell(["x = 1\n", OLD])), **style)
    after = before.replace(OLD[:-1], NEW[:-1])
    result = rewrite_notebook(before, target)
    assert result.texts == (after,)
    assert rewrite_notebook(after, target) == result


def test_line_ends_and_a_source_of_one_string_stay(target: Target) -> None:
    before = dumped(notebook(cell(f"x = 1\n{OLD}"))).replace("\n", "\r\n").rstrip("\r\n")
    after = before.replace(OLD[:-1], NEW[:-1])
    assert rewrite_notebook(before, target).texts == (after,)


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.replace('"nbformat": 4', '"nbformat":  4'),
        lambda text: text.replace('"metadata": {', '"a": 1e5, "metadata": {'),
        lambda text: text.replace('"nbformat": 4', '"nbformat": 4, "nbformat": 4'),
    ],
)
def test_a_form_that_would_not_stay_is_refused(form: Any, target: Target) -> None:
    with pytest.raises(Unusable, match="in a form that could not be kept"):
        rewrite_notebook(form(dumped(notebook(cell(OLD)))), target)


def test_a_form_does_not_matter_if_nothing_changes(target: Target) -> None:
    text = '{"cells":   [], "autogen_core": 1}'
    assert rewrite_notebook(text, target).texts == (text,)


def test_cells_are_one_program(target: Target) -> None:
    text = dumped(notebook(cell("import autogen_core as ac"), cell("x = 1\nac.Image")))
    result = rewrite_notebook(text, target)
    assert result.texts == (text,)
    (finding,) = result.findings
    assert finding.place("a.ipynb") == "a.ipynb:cell 1:1"
    assert "ac.Image" in finding.advice


def test_the_cell_of_what_stays_is_told(target: Target) -> None:
    text = dumped(
        notebook(cell("text", "markdown"), cell(OLD), cell(["\n", "import autogen_core.x"]))
    )
    findings = rewrite_notebook(text, target).findings
    assert [finding.place("n") for finding in findings] == ["n:cell 3:2", "n:cell 3:2"]
    assert findings[1].code == "still imports autogen_core (cell 3, line 2)"


@pytest.mark.parametrize(
    "magic",
    ["%matplotlib inline\n", "!ls\n", "  %time x\n", "?print\n", "%%time\n", "await f()\n"],
)
def test_commands_to_ipython_are_in_nobodys_way(magic: str, target: Target) -> None:
    text = dumped(notebook(cell(f"{magic}{OLD}")))
    if magic.startswith(" "):
        text = dumped(notebook(cell(f"if x:\n{magic}  pass\n{OLD}")))
    result = rewrite_notebook(text, target)
    assert NEW[:-1] in result.texts[0]
    assert result.findings == ()


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        (
            "x = 1\n%pip install autogen-core",
            Finding(2, "%pip install autogen-core", advice.SHELL, 1),
        ),
        ("!pip install autogen-ext", Finding(1, "!pip install autogen-ext", advice.SHELL, 1)),
        (
            "%%bash\npip install autogen-core",
            Finding(2, "pip install autogen-core", advice.SHELL, 1),
        ),
        ("%%writefile a.py\n" + OLD, Finding(2, OLD.strip(), advice.SHELL, 1)),
        ("x = !ls\n" + OLD, Finding(2, OLD.strip(), advice.NO_PYTHON, 1)),
    ],
)
def test_what_is_not_python_is_listed(source: str, finding: Finding, target: Target) -> None:
    text = dumped(notebook(cell(source)))
    result = rewrite_notebook(text, target)
    assert result.texts == (text,)
    assert result.findings == (finding,)


@pytest.mark.parametrize("language", ["python", "Python", None])
def test_a_notebook_is_python_unless_it_says_otherwise(
    language: str | None, target: Target
) -> None:
    text = dumped(notebook(cell(OLD), language=language))
    assert NEW[:-1] in rewrite_notebook(text, target).texts[0]


def test_other_languages_are_left_alone(target: Target) -> None:
    text = dumped(notebook(cell(OLD), language="julia"))
    assert rewrite_notebook(text, target).texts == (text,)


def test_cells_that_are_not_understood_are_left_alone(target: Target) -> None:
    text = dumped(notebook("a cell?", {"cell_type": "code"}, cell("x = = 1"), cell(OLD)))
    result = rewrite_notebook(text, target)
    assert NEW[:-1] in result.texts[0]
    assert result.findings == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it is not a notebook"),
        ('{"worksheets": []}', "format 4"),
        (dumped(notebook(cell(["a", "b"]))), "not a list of lines"),
        (dumped(notebook(cell([1]))), "not a list of lines"),
        (dumped(notebook({"cell_type": "code", "source": 1})), "not a list of lines"),
    ],
)
def test_what_is_no_notebook_says_so(text: str, why: str, target: Target) -> None:
    with pytest.raises(Unusable, match=why):
        rewrite_notebook(text, target)
