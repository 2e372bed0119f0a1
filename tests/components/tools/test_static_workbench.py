from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import autogen_core
import autogen_core.tools
import pytest
from PIL import Image as pil_image
from pydantic import BaseModel

from trio_agents import CancellationToken, ComponentModel, ComponentPolicy, Image
from trio_agents.exceptions import ComponentError
from trio_agents.tools import (
    BaseStreamTool,
    BaseToolWithState,
    FunctionTool,
    ImageResultContent,
    StaticStreamWorkbench,
    StaticWorkbench,
    TextResultContent,
    Tool,
    ToolOverride,
    ToolResult,
    Workbench,
)

CODE = ComponentPolicy(code=True)
PICTURE = Image(pil_image.new("RGB", (1, 1)))


def add(a: int, b: int = 1) -> int:
    return a + b


async def double(a: int) -> int:
    return 2 * a


async def fail() -> None:
    raise ExceptionGroup("group", [LookupError("first"), ValueError("second")])


def point() -> dict[str, int]:
    return {"x": 1}


def picture() -> Image:
    return PICTURE


def pictures() -> list[str | Image]:
    return ["before", PICTURE]


def tools() -> list[Tool]:
    return [FunctionTool(function, f"Does {function.__name__}.") for function in (add, fail, point)]


def text(result: ToolResult) -> str:
    return result.to_text()


# WB-01 WB-02
async def test_the_tools_are_listed_as_they_are() -> None:
    workbench = StaticWorkbench(tools())
    assert isinstance(workbench, Workbench)
    assert await workbench.list_tools() == [tool.schema for tool in tools()]


# WB-03 WB-04 WB-05
async def test_a_result_is_text() -> None:
    result = await StaticWorkbench(tools()).call_tool("add", {"a": 1})
    assert result == ToolResult(name="add", result=[TextResultContent(content="2")])
    assert (result.type, result.is_error, result.to_text()) == ("ToolResult", False, "2")
    assert text(await StaticWorkbench(tools()).call_tool("point")) == '{"x": 1}'


async def test_a_picture_stays_one() -> None:
    workbench = StaticWorkbench([FunctionTool(picture, ""), FunctionTool(pictures, "")])
    image = ImageResultContent(content=PICTURE)
    assert (await workbench.call_tool("picture")).result == [image]
    assert (await workbench.call_tool("pictures")).result == [
        TextResultContent(content="before"),
        image,
    ]


# TL-21
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("fail", None, "first; second"),
        ("add", {}, "arguments of add: a: Field required"),
        ("nothing", {}, "There is no tool 'nothing'. The tools are: add, fail, point."),
    ],
)
async def test_whatever_goes_wrong_is_a_result_that_says_so(
    name: str, arguments: dict[str, Any] | None, message: str
) -> None:
    result = await StaticWorkbench(tools()).call_tool(name, arguments)
    assert result.is_error
    assert result.name == name
    assert text(result) == message


async def test_a_cancelled_token_is_no_result(MessageCancelled: type[BaseException]) -> None:
    token = CancellationToken()

    async def wait() -> None:
        token.cancel()
        await anyio.sleep_forever()

    workbench = StaticStreamWorkbench([FunctionTool(wait, "")])
    with pytest.raises(MessageCancelled):
        await workbench.call_tool("wait", {}, token)
    with pytest.raises(MessageCancelled):
        await anext(workbench.call_tool_stream("wait", {}, token))


async def test_that_something_else_was_cancelled_inside_of_a_tool_is_a_result(
    MessageCancelled: type[BaseException],
) -> None:
    async def ask() -> None:
        raise MessageCancelled("what the tool has asked was cancelled")

    result = await StaticWorkbench([FunctionTool(ask, "")]).call_tool("ask")
    assert result.is_error
    assert text(result) == "what the tool has asked was cancelled"


async def test_a_scope_cancels_a_call() -> None:
    with anyio.CancelScope() as scope:

        async def wait() -> None:
            scope.cancel()
            await anyio.sleep_forever()

        await StaticWorkbench([FunctionTool(wait, "")]).call_tool("wait")
    assert scope.cancelled_caught


async def test_an_override_is_what_models_are_told() -> None:
    overrides = {
        "add": ToolOverride(name="plus", description="Adds two numbers."),
        "fail": ToolOverride(description="Always fails."),
    }
    workbench = StaticWorkbench(tools(), overrides)
    plus, failing, _ = await workbench.list_tools()
    assert (plus["name"], plus["description"]) == ("plus", "Adds two numbers.")
    assert (failing["name"], failing["description"]) == ("fail", "Always fails.")
    assert await workbench.call_tool("plus", {"a": 1}) == ToolResult(
        name="plus", result=[TextResultContent(content="2")]
    )
    assert text(await workbench.call_tool("add", {"a": 1})) == "2"
    assert text(await workbench.call_tool("plus")) == "arguments of plus: a: Field required"
    assert text(await workbench.call_tool("add")) == "arguments of add: a: Field required"
    assert "plus, fail, point" in text(await workbench.call_tool("nothing"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"add": ToolOverride(name="fail")}, "two tools are called 'fail'"),
        ({"fail": ToolOverride(name="add")}, "two tools are called 'add'"),
        ({"other": ToolOverride(name="x")}, r"other, which is none of the tools \(add, fail"),
        (
            {"add": ToolOverride(name="x"), "fail": ToolOverride(name="x")},
            "two tools are called 'x'",
        ),
    ],
)
def test_overrides_that_cannot_be_are_refused(
    overrides: dict[str, ToolOverride], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        StaticWorkbench(tools(), overrides)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (add, r"not the function add: wrap it in FunctionTool\(function, description\)"),
        (FunctionTool, r"not the class FunctionTool: give FunctionTool\(\.\.\.\)"),
        ({"name": "add"}, "not a schema"),
    ],
)
def test_what_is_no_tool_is_refused(what: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^tools: expected a Tool, {message}"):
        StaticWorkbench([what])


def test_a_tool_whose_schema_is_an_error_is_a_tool() -> None:
    StaticWorkbench([FunctionTool(add, "", strict=True)])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tools are called 'add'"):
        StaticWorkbench([*tools(), *tools()])


class Nothing(BaseModel): ...


class Count(BaseModel):
    count: int = 0


class Counter(BaseToolWithState[Nothing, int, Count]):
    def __init__(self) -> None:
        super().__init__(Nothing, int, Count, "count", "Count.")
        self.state = Count()

    async def run(self, args: Nothing, cancellation_token: CancellationToken) -> int:
        self.state.count += 1
        return self.state.count

    def save_state(self) -> Count:
        return self.state

    def load_state(self, state: Count) -> None:
        self.state = state


async def test_the_state_is_that_of_the_tools_and_autogens_in_form() -> None:
    workbench = StaticWorkbench([Counter(), *tools()], {"add": ToolOverride(name="plus")})
    await workbench.call_tool("count")
    state = await workbench.save_state()
    assert state == {
        "type": "StaticWorkbenchState",
        "tools": {"count": {"count": 1}, "add": {}, "fail": {}, "point": {}},
    }
    other = StaticWorkbench([Counter()])
    await other.load_state(json.loads(json.dumps(state)))
    assert text(await other.call_tool("count")) == "2"
    with pytest.raises(ValueError, match="no state of a StaticWorkbench"):
        await other.load_state({"count": 1})


# WB-06 WB-07
async def test_reset_goes_back_to_the_state_at_the_start() -> None:
    workbench = StaticWorkbench([Counter()])
    await workbench.call_tool("count")
    async with workbench:
        await workbench.call_tool("count")
        await workbench.reset()
        assert text(await workbench.call_tool("count")) == "2"
    await workbench.stop()


@pytest.mark.parametrize("kind", [StaticWorkbench, StaticStreamWorkbench])
async def test_a_workbench_is_dumped_and_loaded(kind: type[StaticWorkbench]) -> None:
    workbench = kind(tools(), {"add": ToolOverride(name="plus")})
    model = ComponentModel.model_validate_json(workbench.dump_component().model_dump_json())
    assert model.provider == f"trio_agents.tools.{kind.__name__}"
    loaded = Workbench.load_component(model, policy=CODE)
    assert type(loaded) is kind
    assert await loaded.list_tools() == await workbench.list_tools()


async def test_what_autogen_has_dumped_is_loaded() -> None:
    theirs = autogen_core.tools.StaticWorkbench(
        [autogen_core.tools.FunctionTool(add, "Does add.")],
        {"add": autogen_core.tools.ToolOverride(name="plus")},
    )
    model = json.loads(theirs.dump_component().model_dump_json())
    assert model["provider"] == "autogen_core.tools.StaticWorkbench"
    loaded = Workbench.load_component(model, policy=CODE)
    assert await loaded.list_tools() == await theirs.list_tools()
    assert text(await loaded.call_tool("plus", {"a": 1})) == "2"


@pytest.mark.filterwarnings("ignore::UserWarning")  # it warns of running code
def test_what_we_dump_is_loaded_by_autogen() -> None:
    tool = FunctionTool(double, "Double it.")
    model = json.loads(StaticWorkbench([tool]).dump_component().model_dump_json())
    model["provider"] = "autogen_core.tools.StaticWorkbench"
    model["config"]["tools"][0]["provider"] = "autogen_core.tools.FunctionTool"
    theirs = autogen_core.tools.StaticWorkbench.load_component(model)
    token = autogen_core.CancellationToken()
    result = asyncio.run(theirs.call_tool("double", {"a": 1}, token))
    assert result.to_text() == "2"


class Foreign:
    """A tool that is no `BaseTool`."""

    name = "foreign"
    run_json = print


def test_a_tool_that_is_no_base_tool_cannot_be_dumped() -> None:
    workbench = StaticWorkbench([Foreign()])  # type: ignore[list-item]
    with pytest.raises(ComponentError, match="foreign cannot be dumped: Foreign is no BaseTool"):
        workbench.dump_component()


class Limit(BaseModel):
    limit: int


class Steps(BaseStreamTool[Limit, int, str]):
    def __init__(self) -> None:
        super().__init__(Limit, str, "steps", "Take steps.")
        self.closed = False

    async def run(self, args: Limit, cancellation_token: CancellationToken) -> str:
        return "done"

    async def run_stream(
        self, args: Limit, cancellation_token: CancellationToken
    ) -> AsyncGenerator[int | str, None]:
        try:
            for number in range(args.limit):
                yield number
            if args.limit > 2:
                raise LookupError("too far")
            yield "done"
        finally:
            self.closed = True


async def stream(name: str, **arguments: Any) -> list[Any]:
    workbench = StaticStreamWorkbench([Steps(), *tools()])
    async with aclosing(workbench.call_tool_stream(name, arguments)) as items:
        return [item async for item in items]


async def test_a_stream_ends_with_the_result() -> None:
    done = ToolResult(name="steps", result=[TextResultContent(content="done")])
    assert await stream("steps", limit=2) == [0, 1, done]
    [only] = await stream("add", a=1)
    assert text(only) == "2"
    [unknown] = await stream("nothing")
    assert unknown.is_error


async def test_a_stream_that_fails_ends_with_a_result_that_says_so() -> None:
    *told, result = await stream("steps", limit=3)
    assert told == [0, 1, 2]
    assert result.is_error
    assert text(result) == "too far"
    [invalid] = await stream("steps")
    assert text(invalid) == "Limit: limit: Field required"


async def test_a_stream_that_is_left_early_closes_the_tool() -> None:
    steps = Steps()
    workbench = StaticStreamWorkbench([steps])
    async with aclosing(workbench.call_tool_stream("steps", {"limit": 2})) as items:
        await anext(items)
    assert steps.closed


class Unsayable(Steps):
    def return_value_as_string(self, value: Any) -> str:
        raise LookupError("no words")


async def test_a_streamed_result_that_cannot_be_said_is_an_error_too() -> None:
    workbench = StaticStreamWorkbench([Unsayable()])
    called = await workbench.call_tool("steps", {"limit": 1})
    streamed = [item async for item in workbench.call_tool_stream("steps", {"limit": 1})]
    assert streamed[-1] == called
    assert called.is_error
