"""The samples of the guide that are meant to be copied."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from trio_agents.code_executor import CodeBlock

EXAMPLE = Path(__file__).parents[3] / "examples" / "docs" / "code_executors_agents.py"


@pytest.fixture(scope="module")
def extract() -> Callable[[str], list[CodeBlock]]:
    names = runpy.run_path(str(EXAMPLE))
    function: Callable[[str], list[CodeBlock]] = names["extract_markdown_code_blocks"]
    return function


# CE-18
def test_every_fenced_block_is_taken_with_its_language(
    extract: Callable[[str], list[CodeBlock]],
) -> None:
    text = "Look:\n```python\nx = '```'\n```\nand\n``` c++ \nint a;\n\n```\n```\nplain\n```\n"
    assert extract(text) == [
        CodeBlock("x = '```'\n", "python"),
        CodeBlock("int a;\n\n", "c++"),
        CodeBlock("plain\n", ""),
    ]


# CE-18
@pytest.mark.parametrize("text", ["", "no code", "`x`", "```python\nnever closed"])
def test_other_text_has_no_blocks(extract: Callable[[str], list[CodeBlock]], text: str) -> None:
    assert extract(text) == []
