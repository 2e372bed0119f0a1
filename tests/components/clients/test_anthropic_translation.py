"""From conversations to Anthropic's API and back: plain functions, no server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import PIL.Image
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

from trio_agents import FunctionCall, Image
from trio_agents.ext.models._anthropic_answers import Assembly, Block, from_message
from trio_agents.ext.models._anthropic_messages import (
    system_text,
    to_messages,
    to_tool_choice,
    to_tools,
)
from trio_agents.ext.models._beside_calls import Answer, BesideCalls
from trio_agents.ext.models.anthropic import AnthropicChatCompletionClient
from trio_agents.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from trio_agents.tools import ToolSchema

CALL = FunctionCall(id="c1", name="add", arguments='{"a": 1}')
PICTURE = Image(PIL.Image.new("RGB", (2, 2)))
USE = {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}
EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def nothing(calls: Sequence[FunctionCall]) -> None:
    return None


def message(content: list[dict[str, Any]], reason: str = "end_turn", **usage: int) -> Message:
    return Message.model_validate(
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5",
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 4, **usage},
        }
    )


def request(
    messages: list[LLMMessage], tools: list[ToolSchema] | None = None, **more: Any
) -> dict[str, Any]:
    options = {"model": "claude-sonnet-5", "api_key": "k", **more.pop("options", {})}
    client = AnthropicChatCompletionClient(**options)
    json_output, extra = client._wanted(more.get("json_output"), more.get("extra", {}))
    choice = more.get("tool_choice", "auto")
    return client._request(messages, tools or [], choice, json_output, extra)


ASKED: list[LLMMessage] = [UserMessage(content="1+3?", source="bob")]
TOOL = ToolSchema(name="add", description="adds", parameters={"type": "object", "properties": {}})


def test_each_kind_of_message_has_its_blocks() -> None:
    result = FunctionExecutionResult(content="4", name="add", call_id="c1", is_error=True)
    messages: list[LLMMessage] = [
        SystemMessage(content="be brief"),
        UserMessage(content=["what?", PICTURE], source="bob"),
        AssistantMessage(content="see", source="a"),
        AssistantMessage(content=[CALL], source="a", thought="I add"),
        FunctionExecutionResultMessage(content=[result]),
        SystemMessage(content="and true"),
    ]
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE.to_base64()}
    assert to_messages(messages, nothing) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "what?"}, {"type": "image", "source": source}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "see"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "I add"}, USE]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "4", "is_error": True}
            ],
        },
    ]
    assert system_text(messages) == "be brief\nand true"


def test_what_the_api_refuses_is_not_sent() -> None:
    messages: list[LLMMessage] = [
        UserMessage(content=" ", source="a"),
        UserMessage(content="go on", source="a"),
        AssistantMessage(content="once upon ", source="a"),
    ]
    assert to_messages(messages, nothing) == [
        {"role": "user", "content": [{"type": "text", "text": "go on"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "once upon"}]},
    ]


def test_what_stops_the_model_has_the_name_that_it_has_elsewhere_too() -> None:
    client = AnthropicChatCompletionClient(model="claude-sonnet-5", api_key="k")

    def sent(**extra: Any) -> Any:
        return client._checked_request(ASKED, [], "auto", None, extra)

    request = sent(max_tokens=7, stop=["."])
    assert (request["max_tokens"], request["stop_sequences"]) == (7, ["."])
    assert "stop" not in request
    assert sent(stop_sequences=["."])["stop_sequences"] == ["."]
    with pytest.raises(ValueError, match=r"'stop' and 'stop_sequences' .*: pass one of them"):
        sent(stop=["."], stop_sequences=["."])


def test_arguments_that_are_no_object_are_sent_in_one() -> None:
    call = FunctionCall(id="c1", name="add", arguments='{"a": ')
    (sent,) = to_messages([AssistantMessage(content=[call], source="a")], nothing)
    assert sent["content"] == [{**USE, "input": {"arguments": '{"a": '}}]


def test_tools_and_choices_are_in_the_words_of_the_api() -> None:
    assert to_tools([TOOL, ToolSchema(name="now", strict=True)]) == [
        {
            "name": "add",
            "description": "adds",
            "input_schema": {"type": "object", "properties": {}},
        },
        {"name": "now", "strict": True, "input_schema": {"type": "object", "properties": {}}},
    ]
    assert [to_tool_choice(c) for c in ("auto", "required", "none")] == [
        {"type": "auto"},
        {"type": "any"},
        {"type": "none"},
    ]


def test_a_conversation_with_calls_goes_on_without_tools() -> None:
    sent = request([*ASKED, AssistantMessage(content=[CALL], source="a")])
    assert sent["tools"] == [{"name": "add", "input_schema": {"type": "object"}}]
    assert sent["tool_choice"] == {"type": "none"}
    assert "tools" not in request(ASKED)


def test_the_tools_and_the_choice_of_the_client_are_there_for_each_request() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    sent = request(ASKED, [TOOL], options={"tools": [search], "tool_choice": "any"})
    assert sent["tools"] == [search, *to_tools([TOOL])]
    assert sent["tool_choice"] == {"type": "any"}


# MC-15
def test_json_is_asked_for_in_words_and_a_type_by_its_schema() -> None:
    class Step(BaseModel):
        text: str

    assert "JSON" in request(ASKED, json_output=True)["system"]
    schema = request(ASKED, json_output=Step)["output_config"]["format"]
    assert schema["type"] == "json_schema"
    assert schema["schema"]["additionalProperties"] is False
    assert schema["schema"]["required"] == ["text"]
    same = request(ASKED, options={"response_format": Step})["output_config"]["format"]
    assert same == schema
    assert request(ASKED, extra={"response_format": Step})["output_config"]["format"] == schema
    assert "output_config" not in request(
        ASKED, json_output=False, options={"response_format": Step}
    )


def test_a_schema_stands_beside_what_else_a_call_says_of_the_output() -> None:
    class Step(BaseModel):
        text: str

    effort = {"output_config": {"effort": "low"}}
    alone = request(ASKED, json_output=Step)["output_config"]
    for how in ({"json_output": Step}, {"options": {"response_format": Step}}):
        sent = request(ASKED, extra=effort, **how)
        assert sent["output_config"] == {**alone, "effort": "low"}
    assert request(ASKED, extra=effort)["output_config"] == {"effort": "low"}


def test_none_is_no_format_for_this_call() -> None:
    class Step(BaseModel):
        text: str

    sent = request(ASKED, extra={"response_format": None}, options={"response_format": Step})
    assert sent.keys().isdisjoint({"output_config", "response_format", "system"})


@pytest.mark.parametrize(
    ("name", "fits"), [("f" * 128, True), ("f" * 129, False), ("fs.read", False), ("", False)]
)
def test_a_tool_whose_name_the_api_refuses_is_an_error_before_anything_is_sent(
    name: str, fits: bool
) -> None:
    if fits:
        assert to_tools([ToolSchema(name=name)])[0]["name"] == name
    else:
        with pytest.raises(ValueError, match=r"up to 128 letters.*call the tool otherwise"):
            to_tools([ToolSchema(name=name)])


@pytest.mark.parametrize(
    ("content", "is_error", "sent"),
    [
        ("", True, "The tool has failed, and does not say why."),
        (" \n", True, "The tool has failed, and does not say why."),
        ("no", True, "no"),
        ("", False, ""),
    ],
)
def test_an_error_of_a_tool_says_something(content: str, is_error: bool, sent: str) -> None:
    result = FunctionExecutionResult(content=content, name="add", call_id="c1", is_error=is_error)
    (message,) = to_messages([FunctionExecutionResultMessage(content=[result])], nothing)
    assert message["content"][0]["content"] == sent


def test_what_newer_sdks_do_not_know_is_sent_all_the_same_but_for_a_default() -> None:
    assert request(ASKED, options={"temperature": 0.5, "top_k": 4})["extra_body"] == {
        "temperature": 0.5,
        "top_k": 4,
    }
    assert "extra_body" not in request(ASKED, options={"temperature": 1.0})
    with pytest.raises(ValueError, match=r"'no_such'.*max_tokens"):
        request(ASKED, extra={"no_such": 1})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "unknown"),
    ],
)
def test_reasons_for_stopping_are_translated(theirs: str, ours: str) -> None:
    answer = from_message(message([{"type": "text", "text": "hi"}], theirs))
    assert (answer.result.content, answer.result.finish_reason) == ("hi", ours)


def test_what_a_cache_has_read_and_written_was_sent_too() -> None:
    answer = message([], cache_read_input_tokens=10, cache_creation_input_tokens=100)
    assert from_message(answer).result.usage == RequestUsage(113, 4)


THINKING = {"type": "thinking", "thinking": "1+3", "signature": "s"}


def test_a_thought_is_a_thought() -> None:
    answer = from_message(message([THINKING, {"type": "text", "text": "4"}]))
    assert (answer.result.content, answer.result.thought) == ("4", "1+3")


def events(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], reason: str) -> Any:
    start = message([]).model_dump() | {"usage": {"input_tokens": 3, "output_tokens": 1}}
    yield {"type": "message_start", "message": start}
    for index, (block, deltas) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    usage = {"output_tokens": 4}
    delta = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": usage}
    yield {"type": "message_stop"}


def assembled(stream: Any) -> tuple[list[str], Answer]:
    assembly = Assembly()
    texts = [text for event in stream for text in assembly.add(EVENT.validate_python(event))]
    return texts, assembly.answer()


def test_a_stream_is_the_same_answer() -> None:
    texts, answer = assembled(
        events(
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [
                    {"type": "thinking_delta", "thinking": "1+"},
                    {"type": "thinking_delta", "thinking": "3"},
                    {"type": "signature_delta", "signature": "s"},
                ],
            ),
            ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "I add"}]),
            (
                {**USE, "input": {}},
                [
                    {"type": "input_json_delta", "partial_json": '{"a":'},
                    {"type": "input_json_delta", "partial_json": " 1}"},
                ],
            ),
            reason="tool_use",
        )
    )
    assert texts == ["<think>1+", "3", "</think>", "I add"]
    whole = from_message(message([THINKING, {"type": "text", "text": "I add"}, USE], "tool_use"))
    assert answer == whole
    assert whole.result.content == [CALL]
    assert whole.result.thought == "I add"


def test_a_call_that_is_cut_off_is_kept_as_far_as_it_was_written() -> None:
    cut = ({**USE, "input": {}}, [{"type": "input_json_delta", "partial_json": '{"a":'}])
    _, answer = assembled(events(cut, reason="max_tokens"))
    assert answer.result.content == [FunctionCall(id="c1", name="add", arguments='{"a":')]


def test_calls_of_another_clients_conversation_have_names_that_the_api_takes() -> None:
    call = FunctionCall(id="c1", name="fs.read", arguments="{}")
    sent = request([*ASKED, AssistantMessage(content=[call], source="a")])
    assert sent["messages"][1]["content"][0]["name"] == "fs_read"
    assert [tool["name"] for tool in sent["tools"]] == ["fs_read"]


LONG = "f" * 128


@pytest.mark.parametrize(("called", "handed_on"), [(LONG, LONG), ("g" * 128, "g" * 64)])
def test_a_call_of_a_tool_that_was_offered_keeps_its_name(called: str, handed_on: str) -> None:
    use = {**USE, "name": called}
    answer = from_message(message([use], "tool_use"), {LONG})
    assembly = Assembly({LONG})
    for event in events((use, []), reason="tool_use"):
        list(assembly.add(EVENT.validate_python(event)))
    for found in (answer, assembly.answer()):
        (call,) = found.result.content
        assert isinstance(call, FunctionCall)
        assert call.name == handed_on


def test_a_stream_without_a_message_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="before a model began"):
        Assembly().answer()


BLANK = {"type": "text", "text": "\n\n"}


def test_blank_text_beside_calls_does_not_hide_the_thought() -> None:
    answer = from_message(message([THINKING, BLANK, USE], "tool_use"))
    assert (answer.result.content, answer.result.thought) == ([CALL], "1+3")


def sent_back(content: list[dict[str, Any]], *calls: FunctionCall) -> list[dict[str, Any]]:
    """Give what is sent of an answer with this content, in a conversation with these calls."""
    memory = BesideCalls[list[Block]](lambda call: call.id)
    memory.keep(from_message(message(content, "tool_use")))
    (sent,) = to_messages([AssistantMessage(content=[*calls], source="a")], memory.of)
    found: list[dict[str, Any]] = sent["content"]
    return found


TEXT = {"type": "text", "text": "I add"}
OTHER = {**USE, "id": "c2"}
OTHER_CALL = FunctionCall(id="c2", name="add", arguments='{"a": 1}')


def test_signed_thoughts_go_back_before_the_calls_they_led_to() -> None:
    assert sent_back([THINKING, TEXT, USE], CALL) == [THINKING, TEXT, USE]


def test_blank_text_does_not_go_back_with_the_thoughts() -> None:
    assert sent_back([THINKING, BLANK, USE], CALL) == [THINKING, USE]


def test_thoughts_between_calls_go_back_between_them() -> None:
    blocks = [THINKING, USE, {**THINKING, "thinking": "and"}, OTHER]
    assert sent_back(blocks, CALL, OTHER_CALL) == blocks


def test_a_call_that_was_left_out_of_a_conversation_does_not_go_back() -> None:
    assert sent_back([THINKING, USE, OTHER], CALL) == [THINKING, USE]


def test_a_call_that_was_added_to_a_conversation_goes_back_last() -> None:
    assert sent_back([THINKING, USE], CALL, OTHER_CALL) == [THINKING, USE, OTHER]


def test_the_oldest_thoughts_are_forgotten() -> None:
    memory = BesideCalls[list[Block]](lambda call: call.id, kept=2)
    memory.keep(from_message(message([THINKING, TEXT, USE], "tool_use")))
    said = AssistantMessage(content=[CALL], source="a", thought="I add")
    (sent,) = to_messages([said], memory.of)
    assert sent["content"] == [THINKING, TEXT, USE]
    for number in range(2):
        memory.keep(from_message(message([THINKING, {**USE, "id": str(number)}], "tool_use")))
    (sent,) = to_messages([said], memory.of)
    assert sent["content"] == [TEXT, USE]


def test_an_answer_without_thoughts_is_not_taken_for_an_older_one_with_its_id() -> None:
    memory = BesideCalls[list[Block]](lambda call: call.id)
    for content in ([THINKING, USE], [USE]):
        memory.keep(from_message(message(content, "tool_use")))
    assert memory.of([CALL]) is None
