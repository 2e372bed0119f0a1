from __future__ import annotations

import functools
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

import anyio
import attrs
import autogen_core.tools
import pytest
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import Doc

from trio_agents import CancellationToken
from trio_agents.code_executor import with_requirements
from trio_agents.tools import FunctionTool, Tool, ToolSchema
from trio_agents.tools._text import text_of_error

from . import functions

TOKEN = CancellationToken()


def parameters(function: Callable[..., Any], *, strict: bool = False) -> dict[str, Any]:
    schema: Any = FunctionTool(function, "What it does.", strict=strict).schema
    found: dict[str, Any] = schema["parameters"]
    return found


def properties(function: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = parameters(function)["properties"]
    return found


# TL-03 TL-04 TL-05 TL-06 TL-07
def test_the_schema_of_the_documentations_tool_is_the_one_in_the_documentation() -> None:
    async def get_stock_price(ticker: str, date: Annotated[str, "Date in YYYY/MM/DD"]) -> float:
        return 1.0

    tool = FunctionTool(get_stock_price, description="Get the stock price.")
    assert tool.schema == {
        "name": "get_stock_price",
        "description": "Get the stock price.",
        "parameters": {
            "type": "object",
            "properties": {
                "ticker": {"description": "ticker", "title": "Ticker", "type": "string"},
                "date": {"description": "Date in YYYY/MM/DD", "title": "Date", "type": "string"},
            },
            "required": ["ticker", "date"],
            "additionalProperties": False,
        },
        "strict": False,
    }


# TL-03 TL-08 TL-11
@pytest.mark.filterwarnings("ignore:Field name:UserWarning")  # AutoGen's models shadow BaseModel
@pytest.mark.parametrize("function", functions.COMMON, ids=lambda one: one.__qualname__)
def test_the_schema_is_autogens(function: Callable[..., Any]) -> None:
    theirs = autogen_core.tools.FunctionTool(function, "What it does.").schema
    assert FunctionTool(function, "What it does.").schema == theirs


# TL-08
@pytest.mark.parametrize("function", [functions.unions, functions.lists, functions.nothing])
def test_a_strict_schema_is_autogens(function: Callable[..., Any]) -> None:
    theirs = autogen_core.tools.FunctionTool(function, "What it does.", strict=True).schema
    assert FunctionTool(function, "What it does.", strict=True).schema == theirs
    assert theirs["strict"] is True


# TL-08
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (functions.simple, "optional: c"),
        (functions.models, r"optional: a\.items"),
        (functions.dataclasses_, r"optional: a\.y"),
    ],
)
def test_nothing_is_optional_in_a_strict_schema(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameters(function, strict=True)


@dataclass
class Item:
    x: int


# TL-08
def test_a_strict_schema_is_closed_all_the_way_down() -> None:
    def function(items: list[Item]) -> None: ...

    assert "additionalProperties" not in properties(function)["items"]["items"]
    bound = parameters(function, strict=True)
    assert bound["properties"]["items"]["items"]["additionalProperties"] is False


# TL-11
def test_a_partial_takes_what_is_left() -> None:
    assert list(properties(functools.partial(functions.simple, 1))) == ["b", "c"]
    found = parameters(functools.partial(functions.simple, b="x"))
    assert found["properties"]["b"] == {
        "default": "x",
        "description": "the text",
        "title": "B",
        "type": "string",
    }
    assert found["required"] == ["a"]


def test_what_an_argument_is_for_is_said_by_field_and_doc_too() -> None:
    def function(
        a: Annotated[int, Field(description="by a field", ge=1)],
        b: Annotated[str, Doc("by a doc")],
        c: str = Field(default="x", description="by the default"),
        d: list[int] = Field(default_factory=list),  # noqa: B008
    ) -> None: ...

    found = properties(function)
    assert found["a"] == {
        "description": "by a field",
        "minimum": 1,
        "title": "A",
        "type": "integer",
    }
    assert found["b"]["description"] == "by a doc"
    assert found["c"] == {
        "default": "x",
        "description": "by the default",
        "title": "C",
        "type": "string",
    }
    assert parameters(function)["required"] == ["a", "b"]


def test_text_and_default_of_an_argument_stay_beside_what_its_type_says() -> None:
    def function(
        color: Annotated[functions.Color, "which"] = functions.Color.RED,
    ) -> None: ...

    assert properties(function)["color"] == {
        "default": "red",
        "description": "which",
        "enum": ["red", "blue"],
        "title": "Color",
        "type": "string",
    }


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


def test_a_type_that_contains_itself_stays_a_definition() -> None:
    def function(tree: Tree) -> None: ...

    found = parameters(function)
    child = {"items": {"$ref": "#/$defs/Tree"}, "type": "array", "title": "Children", "default": []}
    assert found["properties"]["tree"]["properties"]["children"] == child
    assert found["$defs"]["Tree"]["properties"]["children"] == child


def test_an_annotation_may_name_a_class_of_the_function_around_it() -> None:
    class Local(BaseModel):
        x: int

    def function(local: Local) -> int:
        return local.x + len(Local.model_fields)

    assert properties(function)["local"]["title"] == "Local"


def test_an_annotation_that_cannot_be_resolved_is_an_error_that_names_it() -> None:
    def function(a: Nowhere) -> None: ...  # noqa: F821

    with pytest.raises(TypeError, match=r"tool function .* name 'Nowhere' is not defined"):
        FunctionTool(function, "What it does.")


def test_a_type_without_a_schema_is_an_error_that_names_the_tool() -> None:
    def function(a: threading.Lock) -> None: ...

    with pytest.raises(TypeError, match=r"the tool function: .*lock"):
        FunctionTool(function, "What it does.")


def test_a_type_without_a_schema_is_an_error_that_names_the_parameter() -> None:
    def function(a: int, b: threading.Lock, c: str) -> None: ...

    with pytest.raises(TypeError, match="the tool function: its parameter b cannot be described"):
        FunctionTool(function, "What it does.")


@pytest.mark.parametrize(
    "hint", [CancellationToken, Annotated[CancellationToken | None, "the token"]]
)
def test_a_token_by_another_name_is_an_error_that_says_the_right_one(hint: Any) -> None:
    def function(a: int, token: Any) -> None: ...

    function.__annotations__["token"] = hint
    with pytest.raises(TypeError, match=r"parameter token is .*: call it cancellation_token"):
        FunctionTool(function, "What it does.")


def test_a_type_that_json_does_not_have_is_an_error_that_names_tool_and_parameter() -> None:
    def function(a: int, _b: Callable[[], int]) -> None: ...

    with pytest.raises(TypeError, match="the tool function: its parameter _b cannot be described"):
        _ = FunctionTool(function, "What it does.").schema


@pytest.mark.parametrize("what", [3, int, functions.Inner])
def test_what_is_no_function_is_refused(what: Any) -> None:
    with pytest.raises(TypeError, match="expected a function"):
        FunctionTool(what, "What it does.")


def test_a_generator_is_refused() -> None:
    def one() -> Iterator[int]:
        yield 1

    async def another() -> AsyncGenerator[int, None]:
        yield 1

    for function in (one, another):
        with pytest.raises(TypeError, match="BaseStreamTool"):
            FunctionTool(function, "What it does.")


# TL-10 TL-12 TL-15
def test_the_name_is_the_functions_unless_there_is_another() -> None:
    assert FunctionTool(functions.simple, "").name == "simple"
    assert FunctionTool(functools.partial(functions.simple, 1), "").name == "simple"
    assert FunctionTool(functions.Counter(), "").name == "Counter"
    tool = FunctionTool(functions.simple, "Two\nlines.", name="other")
    assert (tool.name, tool.description) == ("other", "Two\nlines.")
    assert isinstance(tool, Tool)


# TL-09
def test_a_tool_says_what_it_takes_and_returns() -> None:
    tool = FunctionTool(functions.simple, "What it does.")
    assert tool.return_type() is str
    assert set(tool.args_type().model_fields) == {"a", "b", "c"}
    assert tool.state_type() is None


def test_the_schema_is_a_copy() -> None:
    tool = FunctionTool(functions.simple, "What it does.")
    schema: ToolSchema = tool.schema
    schema["parameters"]["properties"].clear()
    assert tool.schema["parameters"]["properties"].keys() == {"a", "b", "c"}


async def run(function: Callable[..., Any], **arguments: Any) -> Any:
    return await FunctionTool(function, "What it does.").run_json(arguments, TOKEN)


# TL-13 TL-17
async def test_arguments_are_checked_and_made_what_they_are_annotated_as() -> None:
    seen: list[Any] = []

    async def function(
        number: int,
        inner: functions.Inner,
        point: Optional[functions.Point],  # noqa: UP045
        color: functions.Color,
        mode: Literal["a", "b"] = "b",
    ) -> str:
        seen.extend([number, inner, point, color, mode])
        return "done"

    arguments = {"number": "5", "inner": {"x": 1}, "point": {"x": 2}, "color": "blue"}
    assert await run(function, **arguments) == "done"
    assert seen == [
        5,
        functions.Inner(x=1, y="a"),
        functions.Point(2, 0),
        functions.Color.BLUE,
        "b",
    ]


# TL-11
async def test_functions_of_every_kind_are_called() -> None:
    async def waits(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return number

    def ordinary(number: int) -> int:
        return number

    counter = functions.Counter()
    kinds: list[Callable[..., Any]] = [
        waits,
        ordinary,
        functools.partial(waits),
        functools.partial(ordinary),
        functions.decorated(waits),
        functions.decorated(ordinary),
        counter.add,
        functions.Counter(),
        functions.Counter.of_class,
        functions.Counter.static,
    ]
    assert [await run(kind, number=3) for kind in kinds] == [3] * len(kinds)
    assert counter.count == 3


async def test_a_function_without_parameters_is_called() -> None:
    assert await run(lambda: "nothing") == "nothing"


async def test_every_kind_of_parameter_is_filled() -> None:
    def function(
        first: int, /, second: int = 2, *rest: int, only: str = "o", **more: int
    ) -> tuple[Any, ...]:
        return first, second, rest, only, more

    assert await run(function, first=1) == (1, 2, (), "o", {})
    assert await run(function, first=1, second=3, rest=["4", 5], only="p", extra="6") == (
        1,
        3,
        (4, 5),
        "p",
        {"extra": 6},
    )
    found = parameters(function)
    assert found["properties"]["rest"]["items"] == {"type": "integer"}
    assert found["additionalProperties"] == {"type": "integer"}
    with pytest.raises(ValidationError, match="extra"):
        await run(function, first=1, extra="x")


async def test_names_that_pydantic_has_taken_are_fine() -> None:
    def function(
        _a: int, argument_a: int, json: str, schema: int, copy: int = 3, model_name: str = "m"
    ) -> Any:
        return _a, argument_a, json, schema, copy, model_name

    names = ["_a", "argument_a", "json", "schema", "copy", "model_name"]
    assert list(properties(function)) == names
    assert await run(function, _a=1, argument_a=0, json="j", schema=2) == (1, 0, "j", 2, 3, "m")


async def test_an_alias_is_what_the_model_sees() -> None:
    def function(from_: Annotated[str, Field(alias="from")]) -> str:
        return from_

    assert list(properties(function)) == ["from"]
    assert await run(function, **{"from": "here"}) == "here"


async def test_a_mutable_default_is_new_in_every_call() -> None:
    def function(item: int, items: list[int] = []) -> list[int]:  # noqa: B006
        items.append(item)
        return items

    tool = FunctionTool(function, "What it does.")
    assert await tool.run_json({"item": 1}, TOKEN) == [1]
    assert await tool.run_json({"item": 2}, TOKEN) == [2]


@attrs.define
class Size:
    """How large."""

    width: int = attrs.field(validator=attrs.validators.gt(0))
    _height: int = 1
    tags: list[str] = attrs.Factory(list)


@attrs.define
class Box:
    size: Size
    sizes: dict[str, Size | None] = attrs.Factory(dict)


async def test_attrs_classes_are_parameters_too() -> None:
    def function(box: Annotated[Box, "a box"], sizes: list[Size] | None = None) -> Any:
        return box, sizes

    found = properties(function)["box"]
    assert found["description"] == "a box"
    assert found["required"] == ["size"]
    assert found["properties"]["size"]["description"] == "How large."
    box, sizes = await run(
        function,
        box={"size": {"width": "2", "height": 3}, "sizes": {"a": {"width": 1}, "b": None}},
        sizes=[{"width": 4, "tags": ["t"]}],
    )
    assert box == Box(Size(2, 3), {"a": Size(1), "b": None})
    assert sizes == [Size(4, tags=["t"])]
    with pytest.raises(ValidationError, match="must be > 0"):
        await run(function, box={"size": {"width": 0}})


@attrs.define
class Node:
    next: Node | None = None


def test_an_attrs_class_that_contains_itself_is_refused() -> None:
    def function(node: Node) -> None: ...

    with pytest.raises(TypeError, match="Node contains itself"):
        FunctionTool(function, "What it does.")


# TL-13
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "arguments of simple: a: Field required; b: Field required"),
        (
            {"a": "x", "b": "y"},
            "arguments of simple: a: Input should be a valid integer, "
            "unable to parse string as an integer",
        ),
        (
            {"a": 1, "b": "y", "d": 2},
            "arguments of simple: d: Extra inputs are not permitted",
        ),
    ],
)
async def test_an_error_names_the_argument(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        await run(functions.simple, **arguments)
    assert text_of_error(caught.value) == text


async def test_what_the_function_raises_is_raised() -> None:
    def ordinary() -> None:
        raise KeyError("no")

    async def waits() -> None:
        raise KeyError("no")

    for function in (ordinary, waits):
        with pytest.raises(KeyError, match="no"):
            await run(function)


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


async def test_an_ordinary_function_runs_in_a_worker_thread_with_the_callers_context() -> None:
    VARIABLE.set("set")

    def function() -> tuple[int, str]:
        return threading.get_ident(), VARIABLE.get()

    thread, value = await run(function)
    assert thread != threading.get_ident()
    assert value == "set"


async def test_a_cancelled_token_cancels_a_function_that_waits(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()
    unwound = False

    async def function() -> None:
        nonlocal unwound
        token.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            unwound = True

    tool = FunctionTool(function, "What it does.")
    with pytest.raises(MessageCancelled, match="the tool function was cancelled"):
        await tool.run_json({}, token)
    assert unwound
    with pytest.raises(MessageCancelled, match="before it began"):
        await tool.run_json({}, token)


async def test_run_alone_is_cancelled_by_the_token_too(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()

    async def function() -> None:
        token.cancel()
        await anyio.sleep_forever()

    tool = FunctionTool(function, "What it does.")
    with pytest.raises(MessageCancelled):
        await tool.run(tool.args_type()(), token)


async def test_a_function_in_a_thread_is_left_alone_when_it_is_cancelled_and_can_ask_the_token(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()
    cancelled = threading.Event()
    seen: list[bool] = []
    ended = threading.Event()

    def function(cancellation_token: CancellationToken) -> None:
        token.cancel()
        cancelled.wait(30)
        seen.append(cancellation_token.is_cancelled())
        ended.set()

    tool = FunctionTool(function, "What it does.")
    with pytest.raises(MessageCancelled):
        await tool.run_json({}, token)
    assert not ended.is_set()  # the caller has not waited for it
    cancelled.set()
    await anyio.to_thread.run_sync(ended.wait)
    assert seen == [True]


async def test_a_scope_cancels_a_function_that_waits() -> None:
    with anyio.CancelScope() as scope:

        async def function() -> None:
            scope.cancel()
            await anyio.sleep_forever()

        await run(function)
    assert scope.cancelled_caught


async def test_a_function_that_takes_the_token_gets_that_of_the_run() -> None:
    async def function(cancellation_token: CancellationToken) -> CancellationToken:
        return cancellation_token

    assert await run(function) is TOKEN
    assert parameters(function)["properties"] == {}


# TL-14
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5"),
        (None, "None"),
        (True, "True"),
        ("text", "text"),
        (functions.Inner(x=1), '{"x": 1, "y": "a"}'),
        (functions.Point(1), '{"x": 1, "y": 0}'),
        (Box(Size(1)), '{"size": {"width": 1, "_height": 1, "tags": []}, "sizes": {}}'),
        ({"a": None, "b": functions.Color.RED}, '{"a": null, "b": "red"}'),
        ([functions.Point(1), "é"], '[{"x": 1, "y": 0}, "é"]'),
        (functions.Point, str(functions.Point)),
        ({"a": ValueError("why")}, '{"a": "why"}'),
        ({"a": b"\xff"}, "{'a': b'\\xff'}"),
    ],
)
def test_what_has_a_structure_is_json_for_the_model(value: Any, text: str) -> None:
    tool = FunctionTool(functions.simple, "What it does.")
    assert tool.return_value_as_string(value) == text


@with_requirements()
def double(number: Annotated[int, "what to double"]) -> int:
    return 2 * number


async def test_an_object_that_wraps_a_function_has_its_types() -> None:
    tool = FunctionTool(double, "Doubles.")
    number = tool.schema["parameters"]["properties"]["number"]
    assert (number["type"], number["description"]) == ("integer", "what to double")
    assert tool.return_type() is int
    assert await tool.run_json({"number": "3"}, CancellationToken()) == 6


async def test_a_model_cannot_give_the_token_among_arguments_of_any_name() -> None:
    async def kind(*, cancellation_token: CancellationToken, **options: str) -> str:
        return type(cancellation_token).__name__

    tool = FunctionTool(kind, "Tells what it got.")
    with pytest.raises(ValidationError, match="cancellation_token is no argument"):
        await tool.run_json({"cancellation_token": "x"}, CancellationToken())
    assert await tool.run_json({"other": "x"}, CancellationToken()) == "CancellationToken"
