"""What all clients do alike."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from PIL import Image as pil
from pydantic import BaseModel

from trio_agents import CancellationToken, FunctionCall, Image
from trio_agents.logging import LLMCallEvent, LLMStreamEndEvent, LLMStreamStartEvent
from trio_agents.models import (
    AssistantMessage,
    CreateResult,
    LLMMessage,
    ModelInfo,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from trio_agents.models._requests import (
    UsageCounter,
    check_request,
    joined_system_messages,
    log_call,
    log_stream_end,
    log_stream_start,
    tool_schemas,
    under_token,
)
from trio_agents.tools import ToolSchema

UNABLE = ModelInfo(
    vision=False,
    function_calling=False,
    json_output=False,
    structured_output=False,
    family="unknown",
)
ABLE = ModelInfo(
    vision=True, function_calling=True, json_output=True, structured_output=True, family="unknown"
)
HELLO = UserMessage(content="hello", source="user")
PICTURE = UserMessage(content=["see", Image.from_pil(pil.new("RGB", (2, 1)))], source="user")
TOOL: ToolSchema = {"name": "look", "description": "looks"}


class Answer(BaseModel):
    text: str


# MC-26 MC-15
@pytest.mark.parametrize(
    ("request_", "ability"),
    [
        ({"messages": [PICTURE]}, "vision"),
        ({"messages": [HELLO], "tools": [TOOL]}, "function_calling"),
        ({"messages": [HELLO], "json_output": True}, "json_output"),
        ({"messages": [HELLO], "json_output": Answer}, "structured_output"),
    ],
)
def test_what_the_model_cannot_do_is_refused_by_name(
    request_: dict[str, Any], ability: str
) -> None:
    with pytest.raises(ValueError, match=rf"model_info\['{ability}'\] is False"):
        check_request(UNABLE, **request_)
    check_request(ABLE, **request_)
    check_request({**UNABLE, ability: True}, **request_)  # type: ignore[typeddict-item]


def test_a_request_for_text_asks_nothing_special() -> None:
    check_request(UNABLE, [HELLO], json_output=False)
    check_request(UNABLE, [UserMessage(content=["only", "text"], source="user")])


def test_a_model_info_without_structured_output_goes_by_json_output() -> None:
    info = ModelInfo(vision=False, function_calling=False, json_output=True, family="x")  # type: ignore[typeddict-item]
    check_request(info, [HELLO], json_output=Answer)


def test_a_message_of_another_library_is_refused() -> None:
    import autogen_core.models

    stranger: Any = autogen_core.models.UserMessage(content="x", source="user")
    with pytest.raises(TypeError, match=r"of trio_agents\.models, not autogen_core\.models"):
        check_request(ABLE, [stranger])
    text: Any = "hello"
    with pytest.raises(TypeError, match=r"not builtins\.str"):
        check_request(ABLE, text)


# TL-18 TL-23
def test_tools_become_schemas_in_their_order() -> None:
    assert tool_schemas([TOOL, {"name": "listen"}]) == [TOOL, {"name": "listen"}]


class Listen:
    """A tool, as far as a request looks at one."""

    name = "listen"
    description = "listens"
    args_type = return_type = state_type = return_value_as_string = print
    run_json = save_state_json = load_state_json = print

    @property
    def schema(self) -> ToolSchema:
        return {"name": "listen", "description": "listens"}


def test_an_object_that_is_a_tool_is_told_by_its_schema() -> None:
    listen: Any = Listen()
    assert tool_schemas([listen, TOOL]) == [Listen().schema, TOOL]


def test_a_tool_that_must_be_called_must_be_given() -> None:
    listen: Any = Listen()
    check_request(ABLE, [HELLO], tools=[TOOL, listen], tool_choice=listen)
    with pytest.raises(ValueError, match=r"is the tool 'listen', but the tools are \['look'\]"):
        check_request(ABLE, [HELLO], tools=[TOOL], tool_choice=listen)


def test_a_schema_cannot_be_the_tool_that_must_be_called() -> None:
    chosen: Any = TOOL
    with pytest.raises(TypeError, match=r"^tool_choice: expected a Tool, not a schema"):
        check_request(ABLE, [HELLO], tools=[TOOL], tool_choice=chosen)


def look(place: str) -> str:
    return place


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (look, r"not the function look: wrap it in FunctionTool\(function, description\)"),
        (Listen, r"not the class Listen: give Listen\(\.\.\.\)"),
        ("look", "not str"),
        ({"type": "function", "function": TOOL}, "has a name, and this one only type, function"),
    ],
)
def test_what_is_neither_a_tool_nor_a_schema_is_refused(what: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_request(ABLE, [HELLO], tools=[what])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tools are called 'look'"):
        check_request(ABLE, [HELLO], tools=[TOOL, TOOL])


def test_a_tool_choice_without_its_tools_is_refused() -> None:
    with pytest.raises(ValueError, match="no tools are given"):
        check_request(ABLE, [HELLO], tool_choice="required")
    check_request(ABLE, [HELLO], tools=[TOOL], tool_choice="required")
    sometimes: Any = "sometimes"
    with pytest.raises(ValueError, match="not 'sometimes'"):
        check_request(ABLE, [HELLO], tools=[TOOL], tool_choice=sometimes)


def test_system_messages_are_joined_where_the_first_stood() -> None:
    messages: list[LLMMessage] = [
        HELLO,
        SystemMessage(content="one"),
        HELLO,
        SystemMessage(content="two"),
    ]
    assert joined_system_messages(ABLE, messages) == [
        HELLO,
        SystemMessage(content="one\ntwo"),
        HELLO,
    ]
    several: ModelInfo = {**ABLE, "multiple_system_messages": True}
    assert joined_system_messages(several, messages) == messages


def test_usage_is_counted_and_handed_out_as_a_copy() -> None:
    counter = UsageCounter()
    counter.count(RequestUsage(1, 2))
    counter.count(RequestUsage(10, 20), cached=True)
    counter.total().prompt_tokens = 99
    assert counter.total() == RequestUsage(11, 22)
    assert counter.actual() == RequestUsage(1, 2)


async def counting(closed: list[str]) -> AsyncGenerator[int, None]:
    try:
        yield 1
        await anyio.sleep_forever()
    finally:
        closed.append("closed")


async def test_a_token_ends_the_wait_for_a_piece_and_closes_the_stream(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()
    closed: list[str] = []
    stream = under_token(counting(closed), token, "the answer")
    async with aclosing(stream):
        assert await anext(stream) == 1
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, token.cancel)
            with pytest.raises(MessageCancelled, match="the answer was cancelled by its token"):
                await anext(stream)
    assert closed == ["closed"]


async def test_a_token_does_not_cancel_the_code_that_reads_the_stream(
    MessageCancelled: type[BaseException],
) -> None:
    token = CancellationToken()
    stream = under_token(counting([]), token, "the answer")
    async with aclosing(stream):
        assert await anext(stream) == 1
        token.cancel()
        await anyio.lowlevel.checkpoint()
        with pytest.raises(MessageCancelled, match=r"the answer was cancelled by its token$"):
            await anext(stream)


async def test_a_stream_that_is_left_early_is_closed() -> None:
    closed: list[str] = []
    async with aclosing(under_token(counting(closed), None, "the answer")) as stream:
        async for _ in stream:
            break
    assert closed == ["closed"]


@pytest.fixture
def events() -> Iterator[list[Any]]:
    seen: list[Any] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.msg)

    logger = logging.getLogger("autogen_core.events")
    handler = Collect()
    logger.addHandler(handler)
    level = logger.level
    yield seen
    logger.setLevel(level)
    logger.removeHandler(handler)


SECRETIVE = CreateResult(
    finish_reason="stop",
    content="the answer",
    thought="hm",
    usage=RequestUsage(3, 4),
    cached=False,
)


def log_all() -> None:
    messages: list[LLMMessage] = [PICTURE, AssistantMessage(content="so far", source="a")]
    log_call(messages, SECRETIVE, model="m")
    log_stream_start(messages, model="m")
    log_stream_end(SECRETIVE, model="m")


# MC-37
def test_a_call_is_logged_with_what_it_cost_and_without_what_was_said(events: list[Any]) -> None:
    logging.getLogger("autogen_core.events").setLevel(logging.INFO)
    log_all()
    call, start, end = events
    assert isinstance(call, LLMCallEvent)
    assert isinstance(start, LLMStreamStartEvent)
    assert isinstance(end, LLMStreamEndEvent)
    assert (call.prompt_tokens, call.completion_tokens) == (3, 4)
    assert (end.prompt_tokens, end.completion_tokens) == (3, 4)
    assert call.kwargs["type"] == "LLMCall"
    assert call.kwargs["model"] == start.kwargs["model"] == "m"
    assert call.messages == [{"type": "UserMessage"}, {"type": "AssistantMessage"}]
    for said in ("the answer", "so far", "see", "hm"):
        assert said not in " ".join(map(str, events))


# MC-37
def test_at_level_debug_what_was_said_is_logged_too_but_no_picture(events: list[Any]) -> None:
    logging.getLogger("autogen_core.events").setLevel(logging.DEBUG)
    log_all()
    call, _, end = events
    assert call.messages[0]["content"] == ["see", "<Image 2x1>"]
    assert call.messages[1]["content"] == "so far"
    assert call.response["content"] == end.response["content"] == "the answer"
    assert str(call).startswith("{")


def test_nothing_is_logged_where_nobody_listens(events: list[Any]) -> None:
    logging.getLogger("autogen_core.events").setLevel(logging.WARNING)
    log_all()
    assert events == []


def test_function_calls_are_logged_as_json(events: list[Any]) -> None:
    logging.getLogger("autogen_core.events").setLevel(logging.DEBUG)
    calls = [FunctionCall(id="1", name="f", arguments="{}")]
    log_call([AssistantMessage(content=calls, source="a")], SECRETIVE)
    assert events[0].messages[0]["content"] == [{"id": "1", "name": "f", "arguments": "{}"}]


@pytest.mark.parametrize("wanted", [int, list[int], "json", {"type": "object"}])
def test_output_that_is_no_pydantic_model_is_refused(wanted: Any) -> None:
    with pytest.raises(TypeError, match="json_output has to be True, False, None or a class"):
        check_request(ABLE, [HELLO], json_output=wanted)
