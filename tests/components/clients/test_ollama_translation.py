"""From conversations to Ollama's API and back: plain functions, no server."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import anyio
import anyio.lowlevel
import PIL.Image
import pytest
from ollama import ChatResponse
from pydantic import BaseModel

from trio_agents import FunctionCall, Image
from trio_agents.ext.models._beside_calls import Beside, BesideCalls
from trio_agents.ext.models._ollama_messages import Assembly, to_messages, to_tools
from trio_agents.ext.models._ollama_tools import quietly
from trio_agents.ext.models.ollama import OllamaChatCompletionClient
from trio_agents.models import (
    AssistantMessage,
    CreateResult,
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
ASKED: list[LLMMessage] = [UserMessage(content="1+3?", source="bob")]
TOOLS = [ToolSchema(name="add", description="adds"), ToolSchema(name="now")]


def request(tools: list[ToolSchema] | None = None, **more: Any) -> dict[str, Any]:
    client = OllamaChatCompletionClient(**{"model": "llama3.2", **more.pop("options", {})})
    json_output, extra = client._wanted(more.get("json_output"), more.get("extra", {}))
    choice = more.get("tool_choice", "auto")
    return client._request(ASKED, tools or [], choice, json_output, extra)


def piece(message: dict[str, Any], **more: Any) -> ChatResponse:
    return ChatResponse.model_validate({"message": {"role": "assistant", **message}, **more})


def assembled(*pieces: ChatResponse, family: str = "unknown") -> list[str | CreateResult]:
    assembly = Assembly(family)
    texts = [text for each in pieces for text in assembly.add(each)]
    return [*texts, assembly.answer().result]


def test_each_kind_of_message_has_its_role() -> None:
    result = FunctionExecutionResult(content="4", name="add", call_id="c1")
    assert to_messages(
        [
            SystemMessage(content="be brief"),
            UserMessage(content=["what?", PICTURE, "and this?"], source="bob"),
            AssistantMessage(content="see", source="a"),
            AssistantMessage(content=[CALL], source="a", thought="I add"),
            FunctionExecutionResultMessage(content=[result]),
        ]
    ) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what?\nand this?", "images": [PICTURE.to_base64()]},
        {"role": "assistant", "content": "see"},
        {
            "role": "assistant",
            "content": "I add",
            "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "tool_name": "add", "content": "4"},
    ]


def test_an_answer_with_no_calls_at_all_is_what_was_said_beside_them() -> None:
    empty = AssistantMessage(content=[], source="a")
    thoughtful = AssistantMessage(content=[], source="a", thought="I wait")
    assert to_messages([empty, thoughtful]) == [{"role": "assistant", "content": "I wait"}]


@pytest.mark.parametrize(
    ("choice", "offered"),
    [("auto", ["add", "now"]), ("required", ["add", "now"]), ("none", [])],
)
def test_what_is_not_to_be_called_is_not_offered(choice: str, offered: list[str]) -> None:
    sent = request(TOOLS, tool_choice=choice)
    assert [tool["function"]["name"] for tool in sent.get("tools", [])] == offered


def test_a_tool_that_is_chosen_is_the_only_one_offered() -> None:
    class Now:
        name = "now"

    sent = request(TOOLS, tool_choice=Now())
    assert sent["tools"] == to_tools(TOOLS[1:])


# MC-16
def test_options_of_the_model_and_arguments_of_the_sdk_are_told_apart() -> None:
    sent = request(
        options={"options": {"temperature": 0.1, "num_ctx": 4096}, "keep_alive": 60},
        extra={"temperature": 1.0, "think": "high"},
    )
    assert sent["options"] == {"temperature": 1.0, "num_ctx": 4096}
    assert (sent["keep_alive"], sent["think"]) == (60, "high")
    with pytest.raises(ValueError, match="'no_such'"):
        request(extra={"no_such": 1})


def test_the_most_tokens_have_the_name_that_they_have_elsewhere_too() -> None:
    client = OllamaChatCompletionClient(model="llama3.2")

    def sent(**extra: Any) -> Any:
        return client._checked_request(ASKED, [], "auto", None, extra)["options"]

    assert sent(max_tokens=7, stop=["."]) == {"num_predict": 7, "stop": ["."]}
    assert sent(num_predict=7) == {"num_predict": 7}
    with pytest.raises(ValueError, match=r"'max_tokens' and 'num_predict' .*: pass one of them"):
        sent(max_tokens=7, num_predict=7)


def test_json_is_a_format_and_so_is_a_schema() -> None:
    class Step(BaseModel):
        text: str

    schema = Step.model_json_schema()
    assert request(json_output=True)["format"] == "json"
    assert request(json_output=Step)["format"] == schema
    assert request(options={"response_format": Step})["format"] == schema
    assert request(extra={"format": schema})["format"] == schema
    assert "format" not in request(json_output=False, options={"response_format": Step})
    assert "format" not in request(extra={"format": None}, options={"response_format": Step})


def test_a_stream_gives_its_texts_and_then_the_whole() -> None:
    *texts, result = assembled(
        piece({"thinking": "1+3"}),
        piece({"content": "is "}),
        piece({"content": "4"}),
        piece({}, done=True, done_reason="length", prompt_eval_count=3, eval_count=4),
    )
    assert texts == ["<think>1+3", "</think>", "is ", "4"]
    assert result == CreateResult(
        finish_reason="length",
        content="is 4",
        usage=RequestUsage(3, 4),
        cached=False,
        thought="1+3",
    )


# MC-21
def test_calls_are_given_ids() -> None:
    calls = [{"function": {"name": "add", "arguments": {"a": number}}} for number in (1, 2)]
    text, result = assembled(
        piece({"content": "I add", "tool_calls": calls}, done=True, done_reason="stop")
    )
    assert text == "I add"
    assert isinstance(result, CreateResult)
    one, other = result.content
    assert isinstance(one, FunctionCall)
    assert isinstance(other, FunctionCall)
    assert (one.name, one.arguments, other.arguments) == ("add", '{"a": 1}', '{"a": 2}')
    assert one.id != other.id
    assert (result.finish_reason, result.thought) == ("function_calls", "I add")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"done": True, "done_reason": "length"}, "length"),
        ({"done": True, "done_reason": "load"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_calls_that_may_be_cut_off_do_not_pass_for_whole_ones(
    end: dict[str, Any], reason: str
) -> None:
    calls = [{"function": {"name": "add", "arguments": {}}}]
    (result,) = assembled(piece({"tool_calls": calls}), piece({}, **end))
    assert isinstance(result, CreateResult)
    assert isinstance(result.content, list)
    assert result.finish_reason == reason


def test_blank_text_beside_calls_does_not_hide_the_thought() -> None:
    calls = [{"function": {"name": "add", "arguments": {}}}]
    *_, result = assembled(piece({"thinking": "1+3", "content": "\n\n", "tool_calls": calls}))
    assert isinstance(result, CreateResult)
    assert result.thought == "1+3"


@pytest.mark.parametrize(("called", "handed_on"), [("fs.read", "fs.read"), ("a b", "a_b")])
def test_a_call_of_a_tool_that_was_offered_keeps_its_name(called: str, handed_on: str) -> None:
    assembly = Assembly("unknown", {"fs.read"})
    list(assembly.add(piece({"tool_calls": [{"function": {"name": called, "arguments": {}}}]})))
    (call,) = assembly.answer().result.content
    assert isinstance(call, FunctionCall)
    assert call.name == handed_on


def test_r1_writes_its_thought_into_the_text() -> None:
    _, result = assembled(
        piece({"content": "<think>1+3</think>4"}, done=True, done_reason="stop"), family="r1"
    )
    assert isinstance(result, CreateResult)
    assert (result.content, result.thought) == ("4", "1+3")


def test_logprobs_are_kept() -> None:
    top = {"token": "hi", "logprob": -0.1}
    _, result = assembled(
        piece({"content": "hi"}, done=True, logprobs=[{**top, "top_logprobs": [top]}])
    )
    assert isinstance(result, CreateResult)
    assert result.logprobs is not None
    assert (result.logprobs[0].token, result.logprobs[0].logprob) == ("hi", -0.1)


class Waits:
    """Awaited, it says what it was told: once *times* waits are over."""

    def __init__(self, times: int) -> None:
        self.times, self.ended = times, ""

    async def __call__(self, warning: str = "Pydantic serializer warnings: tools") -> str:
        warnings.warn(warning, UserWarning, stacklevel=1)
        try:
            for _ in range(self.times):
                await anyio.lowlevel.checkpoint()
        except BaseException as error:
            self.ended = type(error).__name__
            raise
        return "done"

    async def stuck(self) -> None:
        try:
            await asyncio.sleep(0)
        except GeneratorExit:
            self.ended = "GeneratorExit"
            raise


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_request_is_awaited_without_the_warning_of_its_tools(times: int) -> None:
    assert await quietly(Waits(times)()) == "done"


async def test_other_warnings_of_a_request_are_not_ignored() -> None:
    with pytest.warns(UserWarning, match="something else"):
        assert await quietly(Waits(1)("something else")) == "done"


async def test_filters_of_warnings_are_as_they_were_while_a_request_waits() -> None:
    before = list(warnings.filters)
    found: list[bool] = []

    async def ask() -> None:
        await quietly(Waits(5)())

    async def look() -> None:
        found.append(list(warnings.filters) == before)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(look)
    assert found == [True]


async def test_a_request_that_is_cancelled_while_it_waits_ends() -> None:
    waits = Waits(10**9)
    with anyio.move_on_after(0.05) as scope:
        await quietly(waits())
    assert scope.cancelled_caught
    assert waits.ended in ("Cancelled", "CancelledError")


def test_a_request_that_is_given_up_is_closed() -> None:
    waits = Waits(1)

    async def stuck() -> None:
        await quietly(waits.stuck())

    step = stuck()
    step.send(None)
    step.close()
    assert waits.ended == "GeneratorExit"


@pytest.mark.parametrize(
    ("thought", "sent"),
    [
        ("I add", {"content": "I add", "thinking": "1+3"}),
        (None, {"content": "", "thinking": "1+3"}),
        ("[redacted]", {"content": "[redacted]"}),
    ],
)
def test_thoughts_go_back_apart_from_the_text_unless_somebody_has_changed_them(
    thought: str | None, sent: dict[str, str]
) -> None:
    assembly = Assembly("unknown")
    calls = [{"function": {"name": "add", "arguments": {"a": 1}}}]
    list(assembly.add(piece({"thinking": "1+3", "content": "I add", "tool_calls": calls})))
    memory = BesideCalls[Beside](lambda call: call.id)
    result = memory.keep(assembly.answer())
    assert not isinstance(result.content, str)
    said = AssistantMessage(content=result.content, source="a", thought=thought)
    (message,) = to_messages([said], memory.of)
    assert {name: message.get(name) for name in sent} == sent
    assert ("thinking" in message) == ("thinking" in sent)
