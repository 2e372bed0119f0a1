from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import ValidationError

from trio_agents.tools._schema_model import model_of_schema


def accepts(schema: Any, value: Any) -> bool:
    """Tell whether *value* may be the argument ``x`` that *schema* describes."""
    model = model_of_schema("args", {"properties": {"x": schema}}, title="arguments")
    try:
        model.model_validate({"x": value})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string"}, ["a", ""], [1, None, []]),
        ({"type": "integer", "minimum": 1, "exclusiveMaximum": 3}, [1, 2, "2"], [0, 3, 1.5, "x"]),
        ({"type": "number"}, [1, 1.5, "1.5"], ["x", None]),
        ({"type": "boolean"}, [True, False], ["x", 3]),
        ({"type": "null"}, [None], [0, ""]),
        ({"type": ["string", "null"]}, ["a", None], [[], {}]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], ["a", "abcd"]),
        ({"type": ["string", "null"], "maxLength": 2}, ["a", None], ["abc"]),
        ({"type": ["integer", "null"], "minimum": 0}, [1, None], [-1]),
        ({"type": ["integer", "string"], "minimum": 0}, [1, "all"], [-1]),
        ({"type": ["string", "array"], "minItems": 2, "minLength": 1}, ["a", [1, 2]], [[1], ""]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 1}, [[1]], [[], ["x"], 1]),
        ({"type": "array"}, [[], [1, "a"]], [1, "a"]),
        ({"enum": ["a", 1, None]}, ["a", 1, None], ["b", 2]),
        ({"const": "a"}, ["a"], ["b"]),
        ({"enum": [1.5]}, [1.5, "anything"], []),
        ({"anyOf": [{"type": "integer"}, {"type": "array"}]}, [1, []], ["x", {}]),
        ({"oneOf": [{"type": "integer"}, {"const": "all"}]}, [1, "all"], ["none"]),
        ({"type": "object", "properties": {"y": {}}, "required": ["y"]}, [{"y": 1, "z": 2}], [{}]),
        (
            {"type": "object", "properties": {}, "additionalProperties": False},
            [{}],
            [{"z": 1}],
        ),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, [{"a": 1}], [{"a": "x"}]),
        ({"type": "object"}, [{}, {"a": []}], [1, []]),
        (True, [1, "a", None], []),
        ({}, [1, "a", None], []),
        ({"type": "unheard of"}, [1, "a"], []),
        ({"$ref": "elsewhere"}, [1, "a"], []),
    ],
)
def test_a_value_is_what_its_schema_says(schema: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not accepts(schema, value)] == []
    assert [value for value in bad if accepts(schema, value)] == []


def test_a_definition_may_contain_itself() -> None:
    schema = {
        "properties": {"tree": {"$ref": "#/definitions/Tree"}},
        "definitions": {
            "Tree": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/definitions/Tree"}},
                },
                "required": ["value"],
            }
        },
    }
    model = model_of_schema("args", schema, title="arguments")
    model.model_validate({"tree": {"value": 1, "children": [{"value": 2}]}})
    with pytest.raises(ValidationError, match=r"tree\.children"):
        model.model_validate({"tree": {"value": 1, "children": 2}})


def test_unknown_arguments_are_refused_unless_the_schema_lets_them_in() -> None:
    closed = model_of_schema("args", {"type": "object"}, title="arguments")
    with pytest.raises(ValidationError, match="Extra inputs"):
        closed.model_validate({"x": 1})
    opened = model_of_schema("args", {"additionalProperties": True}, title="arguments")
    assert opened.model_validate({"x": 1}).model_dump() == {"x": 1}


def test_what_is_not_the_schema_of_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="the schema is of 'array'"):
        model_of_schema("args", {"type": "array"}, title="arguments")


NAMES = st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10
) | st.sampled_from(
    ["json", "copy", "model_config", "_x", "class", "self", "__init__", "x-y", "argument_x"]
)


@settings(max_examples=50, deadline=None)
@example(["argument_x", "_x", "__x"])
@given(st.lists(NAMES, unique=True, max_size=4))
def test_an_argument_may_have_any_name(names: list[str]) -> None:
    schema = {"properties": {name: {"type": "integer"} for name in names}, "required": names}
    model = model_of_schema("args", schema, title="arguments")
    values = {name: number for number, name in enumerate(names)}
    checked = model.model_validate(values)
    assert checked.model_dump(by_alias=True) == values


def test_definitions_that_multiply_are_followed_for_a_while_and_then_let_through() -> None:
    part = {f"x{half}": {"$ref": "#/$defs/d0"} for half in range(2)}
    definitions = {
        f"d{level}": {
            "type": "object",
            "properties": {name: {"$ref": f"#/$defs/d{level + 1}"} for name in part},
        }
        for level in range(100)
    }
    model = model_of_schema("m", {"properties": part, "$defs": definitions}, title="x")
    assert model.model_validate({"x0": {}})


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": []},
        {"properties": {"x": {"type": "string"}}, "required": 3},
        {"properties": {"x": {"type": "string", "minLength": -1}}},
        {"properties": {"x": {"type": ["string", {}]}}},
        {"$defs": 3},
    ],
)
def test_what_is_no_schema_is_a_value_error_that_names_the_tool(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="arguments of f"):
        model_of_schema("f", schema, title="arguments of f")
