"""`LangChainToolAdapter` with LangChain's own tools."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import anyio
import pytest
from pydantic import BaseModel, Field, ValidationError

pytest.importorskip("langchain_core")

from langchain_core.tools import (
    BaseTool,
    InjectedToolArg,
    StructuredTool,
    Tool,
    ToolException,
    tool,
)

from trio_agents import CancellationToken, ComponentLoader, ComponentPolicy
from trio_agents.exceptions import ComponentError, ComponentNotAllowed
from trio_agents.ext.tools.langchain import LangChainToolAdapter
from trio_agents.tools import StaticWorkbench

TOKEN = CancellationToken()


@tool
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@tool
async def later(a: Annotated[int, "A number."]) -> int:
    """Wait, then give it back."""
    await anyio.lowlevel.checkpoint()
    return a


class UpperArgs(BaseModel):
    text: str = Field(description="The text.")


class Upper(BaseTool):
    """A tool that is a class."""

    name: str = "upper"
    description: str = "Make it upper case."
    args_schema: type[BaseModel] = UpperArgs

    def _run(self, text: str) -> str:
        return text.upper()


class Both(Upper):
    name: str = "both"

    async def _arun(self, text: str) -> str:
        await anyio.lowlevel.checkpoint()
        return text.title()


# TL-28
async def test_tools_of_every_kind_are_run() -> None:
    async def echo(text: str) -> str:
        return f"{text}!"

    one = Tool(name="one", func=lambda text: f"{text}!", description="Echo.")
    other = Tool(name="other", func=None, coroutine=echo, description="Echo.")
    kinds: list[tuple[Any, dict[str, Any], Any]] = [
        (add, {"a": 1}, 3),
        (add, {"a": "1", "b": 4}, 5),
        (later, {"a": 1}, 1),
        (Upper(), {"text": "a"}, "A"),
        (Both(), {"text": "ab"}, "Ab"),
        (one, {"tool_input": "a"}, "a!"),
        (other, {"tool_input": "a"}, "a!"),
    ]
    for langchain_tool, arguments, expected in kinds:
        adapter = LangChainToolAdapter(langchain_tool)
        assert await adapter.run_json(arguments, TOKEN) == expected


# TL-28
def test_the_schema_is_langchains() -> None:
    schema: Any = LangChainToolAdapter(add).schema
    assert schema["name"] == "add"
    assert schema["description"] == "Add two numbers."
    assert schema["parameters"] == {
        "type": "object",
        "properties": {
            "a": {"title": "A", "type": "integer"},
            "b": {"default": 2, "title": "B", "type": "integer"},
        },
        "required": ["a"],
        "additionalProperties": False,
    }
    described: Any = LangChainToolAdapter(Upper()).schema
    assert described["parameters"]["properties"]["text"]["description"] == "The text."


async def test_a_tool_that_is_described_by_a_json_schema_is_run() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    described = StructuredTool.from_function(
        func=lambda a: a * 2, name="twice", description="Double it.", args_schema=schema
    )
    adapter = LangChainToolAdapter(described)
    assert await adapter.run_json({"a": "2"}, TOKEN) == 4
    with pytest.raises(ValidationError, match="Field required"):
        await adapter.run_json({}, TOKEN)


def test_what_langchain_injects_is_not_shown() -> None:
    @tool
    def greet(name: str, user: Annotated[str, InjectedToolArg] = "nobody") -> str:
        """Greet."""
        return f"{name} {user}"

    schema: Any = LangChainToolAdapter(greet).schema
    assert list(schema["parameters"]["properties"]) == ["name"]


async def test_an_ordinary_tool_runs_in_a_worker_thread() -> None:
    @tool
    def where() -> int:
        """Tell the thread."""
        return threading.get_ident()

    assert await LangChainToolAdapter(where).run_json({}, TOKEN) != threading.get_ident()


async def test_what_a_tool_raises_is_raised() -> None:
    @tool
    def fail() -> None:
        """Fail."""
        raise LookupError("nothing found")

    with pytest.raises(LookupError, match="nothing found"):
        await LangChainToolAdapter(fail).run_json({}, TOKEN)
    result = await StaticWorkbench([LangChainToolAdapter(fail)]).call_tool("fail")
    assert result.to_text() == "nothing found"


def both(function: Callable[[], object], **options: Any) -> list[LangChainToolAdapter]:
    """Make a tool of *function*, and an async one that does the same."""

    async def later() -> object:
        await anyio.lowlevel.checkpoint()
        return function()

    about: dict[str, Any] = {"name": "f", "description": "Do it.", **options}
    return [
        LangChainToolAdapter(StructuredTool.from_function(func=function, **about)),
        LangChainToolAdapter(StructuredTool.from_function(coroutine=later, **about)),
    ]


async def test_a_model_reads_the_content_and_not_the_artifact() -> None:
    for adapter in both(lambda: ("two rows", [1, 2]), response_format="content_and_artifact"):
        assert await adapter.run_json({}, TOKEN) == "two rows"


@pytest.mark.parametrize("returned", ["two rows", ("two", "rows", "more")])
async def test_what_should_be_a_content_and_an_artifact_and_is_not_is_an_error(
    returned: object,
) -> None:
    for adapter in both(lambda: returned, response_format="content_and_artifact"):
        with pytest.raises(ValueError, match="content_and_artifact"):
            await adapter.run_json({}, TOKEN)


def refuse() -> None:
    raise ToolException("nothing found")


def refuse_silently() -> None:
    raise ToolException


def validate() -> None:
    UpperArgs.model_validate({})


@pytest.mark.parametrize(
    ("function", "handling", "content"),
    [
        (refuse, {"handle_tool_error": True}, "nothing found"),
        (refuse_silently, {"handle_tool_error": True}, "Tool execution error"),
        (refuse, {"handle_tool_error": "try again"}, "try again"),
        (refuse, {"handle_tool_error": lambda error: f"sorry: {error}"}, "sorry: nothing found"),
        (
            refuse,
            {"handle_tool_error": True, "response_format": "content_and_artifact"},
            "nothing found",
        ),
        (validate, {"handle_validation_error": True}, "Tool input validation error"),
        (validate, {"handle_validation_error": lambda error: error.title}, "UpperArgs"),
    ],
)
async def test_errors_that_a_tool_handles_are_its_result(
    function: Callable[[], None], handling: dict[str, Any], content: str
) -> None:
    for adapter in both(function, **handling):
        assert await adapter.run_json({}, TOKEN) == content


async def test_errors_that_a_tool_does_not_handle_are_raised() -> None:
    for adapter in both(refuse, handle_validation_error=True):
        with pytest.raises(ToolException, match="nothing found"):
            await adapter.run_json({}, TOKEN)
    for adapter in both(validate, handle_tool_error=True):
        with pytest.raises(ValidationError, match="UpperArgs"):
            await adapter.run_json({}, TOKEN)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_a_cancelled_token_ends_either_kind(
    MessageCancelled: type[BaseException], released: threading.Event
) -> None:
    token = CancellationToken()

    @tool
    async def wait() -> None:
        """Wait for ever."""
        token.cancel()
        await anyio.sleep_forever()

    with pytest.raises(MessageCancelled):
        await LangChainToolAdapter(wait).run_json({}, token)
    other = CancellationToken()

    @tool
    def block() -> None:
        """Block."""
        other.cancel()
        released.wait(30)

    with pytest.raises(MessageCancelled):
        await LangChainToolAdapter(block).run_json({}, other)


def test_what_is_none_of_langchains_tools_is_refused() -> None:
    with pytest.raises(TypeError, match="a tool of LangChain's, a BaseTool, not int"):
        LangChainToolAdapter(3)  # type: ignore[arg-type]


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core.tools", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-agents\[langchain\]'"):
        LangChainToolAdapter(add)


class Shout(BaseTool):
    """A class of an application's."""

    name: str = "shout"
    description: str = "Say it aloud."
    marks: int = 1

    def _run(self, text: str) -> str:
        return text.upper() + "!" * self.marks


HERE = ComponentPolicy(namespaces=[__name__])


def loaded(tool: BaseTool, policy: ComponentPolicy = HERE) -> LangChainToolAdapter:
    text = LangChainToolAdapter(tool).dump_component().model_dump_json()
    return LangChainToolAdapter.load_component(json.loads(text), policy=policy)


async def test_a_tool_with_a_name_in_a_module_comes_back() -> None:
    assert await loaded(add).run_json({"a": 1}, TOKEN) == 3
    assert loaded(add)._tool is add


@pytest.mark.parametrize("policy", [HERE, ComponentPolicy(classes=[Shout])])
async def test_a_tool_of_a_class_comes_back_with_what_it_is_made_of(
    policy: ComponentPolicy,
) -> None:
    again = loaded(Shout(marks=3), policy)
    assert await again.run_json({"text": "hey"}, TOKEN) == "HEY!!!"


def test_a_tool_of_a_module_that_is_not_allowed_is_not_imported() -> None:
    model = {
        "provider": "trio_agents.ext.tools.langchain.LangChainToolAdapter",
        "config": {"tool": "this.that"},
    }
    sys.modules.pop("this", None)
    for policy in (ComponentPolicy(), ComponentPolicy(namespaces=["that"])):
        with pytest.raises(ComponentNotAllowed, match=r"'this\.that', .*namespaces=\['this'\]"):
            ComponentLoader.load_component(model, policy=policy)
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"tool": f"{__name__}.nothing"}, "there is no"),
        ({"tool": f"{__name__}.TOKEN"}, "is none of LangChain's tools"),
        ({"tool": f"{__name__}.add", "fields": {"a": 1}}, "is a tool and no class"),
        ({"tool": f"{__name__}.Shout", "fields": {"marks": "many"}}, "marks: .*integer"),
    ],
)
def test_what_names_no_tool_is_refused_and_says_why(config: dict[str, Any], reason: str) -> None:
    model = {
        "provider": "trio_agents.ext.tools.langchain.LangChainToolAdapter",
        "config": config,
    }
    with pytest.raises(ComponentError, match=reason):
        ComponentLoader.load_component(model, policy=HERE)


def test_a_tool_that_stands_nowhere_cannot_be_dumped() -> None:
    @tool
    def here(a: int) -> int:
        """Nobody else can get at this."""
        return a

    with pytest.raises(ComponentError, match="made of objects that no configuration can hold"):
        LangChainToolAdapter(here).dump_component()

    class Inner(Shout):
        pass

    with pytest.raises(ComponentError, match="stands in no module, and neither does its class"):
        LangChainToolAdapter(Inner()).dump_component()
