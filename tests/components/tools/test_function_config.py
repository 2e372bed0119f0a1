from __future__ import annotations

import json
import math
from typing import Any

import autogen_core.code_executor
import autogen_core.tools
import pytest

from trio_agents import CancellationToken, ComponentModel, ComponentPolicy
from trio_agents.code_executor import Alias, ImportFromModule
from trio_agents.exceptions import ComponentError, ComponentNotAllowed
from trio_agents.tools import BaseTool, FunctionTool

CODE = ComponentPolicy(code=True)
FACTOR = 3


def double(number: int) -> int:
    return number * 2


def rounded(number: Any, texts: list[str] | None = None) -> int:
    return math.floor(number) + len(j.dumps(texts))  # type: ignore[name-defined]  # noqa: F821


def tripled(number: int) -> int:
    return number * FACTOR


IMPORTS = ["math", ImportFromModule("typing", ("Any",)), Alias("json", "j")]


def dumped(*args: Any, **kwargs: Any) -> ComponentModel:
    return FunctionTool(*args, **kwargs).dump_component()


async def test_a_tool_that_was_dumped_and_loaded_does_the_same() -> None:
    tool = FunctionTool(rounded, "Round it.", name="down", global_imports=IMPORTS, strict=False)
    written = tool.dump_component().model_dump_json()
    loaded = BaseTool.load_component(ComponentModel.model_validate_json(written), policy=CODE)
    assert loaded.schema == tool.schema
    assert await loaded.run_json({"number": 1.5}, CancellationToken()) == 5
    assert loaded.dump_component() == tool.dump_component()


def test_the_fields_are_autogens_and_strict() -> None:
    config = dumped(double, "Double it.", strict=True).config
    theirs = autogen_core.tools.FunctionTool(double, "Double it.").dump_component().config
    assert {**theirs, "strict": True, "global_imports": ()} == config


async def test_what_autogen_has_dumped_is_loaded() -> None:
    imports = [
        "math",
        autogen_core.code_executor.ImportFromModule("typing", ("Any",)),
        autogen_core.code_executor.Alias("json", "j"),
    ]
    theirs = autogen_core.tools.FunctionTool(
        rounded, "Round it.", name="down", global_imports=imports
    ).dump_component()
    loaded = FunctionTool.load_component(json.loads(theirs.model_dump_json()), policy=CODE)
    assert loaded.name == "down"
    assert await loaded.run_json({"number": 1.5, "texts": None}, CancellationToken()) == 5


def test_the_text_is_only_run_if_the_policy_says_so() -> None:
    config = {"source_code": "raise SystemExit", "name": "x", "description": ""}
    model = {"provider": "trio_agents.tools.FunctionTool", "config": config}
    with pytest.raises(ComponentNotAllowed, match="source_code"):
        FunctionTool.load_component(model)
    with pytest.raises(ComponentNotAllowed, match="source_code"):
        BaseTool.load_component({**model, "provider": "autogen_core.tools.FunctionTool"})


@pytest.mark.parametrize(
    ("source", "imports", "message"),
    [
        ("def f(:", [], "not valid: invalid syntax"),
        ("x = 1", [], "defines no function"),
        ("def f(): ...", ["no_such_module"], "has failed: ModuleNotFoundError: No module named"),
        ("def f(x: Foo): ...", [], "has failed: NameError: name 'Foo'"),
        ("def f(): ...", [{"name": "os; print()", "alias": "x"}], "dotted path of a module"),
        ("def f(): ...", ["os; print()"], "dotted path of a module"),
    ],
)
def test_a_text_that_cannot_be_run_is_an_error_that_says_why(
    source: str, imports: list[Any], message: str
) -> None:
    config = {
        "source_code": source,
        "name": "x",
        "description": "",
        "global_imports": imports,
        "has_cancellation_support": False,
    }
    model = {"provider": "trio_agents.tools.FunctionTool", "config": config}
    with pytest.raises(ComponentError, match=message):
        FunctionTool.load_component(model, policy=CODE)


async def test_helpers_in_the_text_may_follow_the_function() -> None:
    source = (
        "import math\ndef f(x: float) -> int:\n    return g(x)\ndef g(x):\n    return math.ceil(x)"
    )
    config = {"source_code": source, "name": "up", "description": ""}
    tool = FunctionTool.load_component(
        {"provider": "trio_agents.tools.FunctionTool", "config": config}, policy=CODE
    )
    assert await tool.run_json({"x": 1.5}, CancellationToken()) == 2


class Thing:
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 1, "a lambda has no text"),
        (Thing().method, "is a method"),
        (tripled, r"tripled uses FACTOR of its module.*global_imports"),
        (rounded, r"rounded uses Any, j, math of its module"),
    ],
)
def test_a_function_whose_text_would_not_work_elsewhere_cannot_be_dumped(
    function: Any, message: str
) -> None:
    with pytest.raises(ComponentError, match=message):
        dumped(function, "What it does.")


def test_a_closure_cannot_be_dumped() -> None:
    secret = 1

    def closure() -> int:
        return secret

    with pytest.raises(ComponentError, match="closure uses secret of the function around it"):
        dumped(closure, "What it does.")
