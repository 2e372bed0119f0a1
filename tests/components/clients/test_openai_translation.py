"""From conversations to OpenAI's API and back: plain functions, no server."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

import PIL.Image
import pytest
from hypothesis import given, strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from trio_agents import FunctionCall, Image
from trio_agents.ext.models._beside_calls import Beside, BesideCalls
from trio_agents.ext.models._openai_answers import Assembly, from_completion
from trio_agents.ext.models._openai_messages import to_messages, to_tool_choice, to_tools
from trio_agents.ext.models.openai import OpenAIChatCompletionClient
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


def completion(message: dict[str, Any], reason: str = "stop", **more: Any) -> ChatCompletion:
    choice = {
        "index": 0,
        "finish_reason": reason,
        "message": {"role": "assistant", "content": None, **message},
        **more,
    }
    return ChatCompletion.model_validate(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }
    )


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> ChatCompletionChunk:
    return ChatCompletionChunk.construct(
        **{
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            **more,
        }
    )


def assembled(*chunks: ChatCompletionChunk, family: str = "unknown") -> list[str | CreateResult]:
    assembly = Assembly(family)
    texts = [text for piece in chunks for text in assembly.add(piece)]
    return [*texts, assembly.answer().result]


def test_each_kind_of_message_has_its_role() -> None:
    results = FunctionExecutionResultMessage(
        content=[
            FunctionExecutionResult(content="4", name="add", call_id="c1", is_error=False),
            FunctionExecutionResult(content="no", name="add", call_id="c2", is_error=True),
        ]
    )
    assert to_messages(
        [
            SystemMessage(content="be brief"),
            UserMessage(content="1+3?", source="bob"),
            AssistantMessage(content="let me see", source="a", thought="hm"),
            AssistantMessage(content=[CALL], source="a", thought="I add"),
            results,
        ]
    ) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "1+3?", "name": "bob"},
        {"role": "assistant", "content": "let me see"},
        {
            "role": "assistant",
            "content": "I add",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a": 1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
        {"role": "tool", "tool_call_id": "c2", "content": "no"},
    ]


def test_pictures_are_parts_of_a_message() -> None:
    (message,) = to_messages([UserMessage(content=["what is it?", PICTURE], source="bob")])
    assert message["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": PICTURE.data_uri, "detail": "auto"}},
    ]


@pytest.mark.parametrize(
    ("content", "first"),
    [
        ("hi", "bob said:\nhi"),
        (["hi", PICTURE], {"type": "text", "text": "bob said:\nhi"}),
        ([PICTURE, "hi"], {"type": "text", "text": "bob said:\n"}),
    ],
)
def test_name_prefixes_say_who_speaks(content: Any, first: Any) -> None:
    (message,) = to_messages([UserMessage(content=content, source="bob")], add_name_prefixes=True)
    found = message["content"]
    assert (found if isinstance(found, str) else found[0]) == first


def test_a_source_that_cannot_be_a_name_is_an_error_that_says_what_to_do() -> None:
    message = UserMessage(content="hi", source="bob smith")
    with pytest.raises(ValueError, match=r"'bob smith'.*include_name_in_message=False"):
        to_messages([message])
    assert to_messages([message], include_name=False) == [{"role": "user", "content": "hi"}]
    assert to_messages([message], "mistral") == [{"role": "user", "content": "hi"}]


def test_claude_is_spared_what_it_refuses() -> None:
    assert to_messages(
        [
            UserMessage(content="", source="a"),
            UserMessage(content="go on ", source="a"),
            AssistantMessage(content="once upon ", source="a"),
        ],
        "claude-3-5-sonnet",
    ) == [
        {"role": "user", "content": "go on ", "name": "a"},
        {"role": "assistant", "content": "once upon"},
    ]


def test_claude_is_told_of_a_tool_that_it_has_returned_nothing() -> None:
    nothing = FunctionExecutionResult(content="", name="add", call_id="c1", is_error=False)
    called: list[LLMMessage] = [
        AssistantMessage(content=[CALL], source="a"),
        FunctionExecutionResultMessage(content=[nothing]),
    ]
    _, answered = to_messages(called, "claude-3-5-sonnet")
    assert answered == {"role": "tool", "tool_call_id": "c1", "content": ""}


def test_claude_is_spared_blank_texts_too() -> None:
    picture = {"type": "image_url", "image_url": {"url": PICTURE.data_uri, "detail": "auto"}}
    said: list[LLMMessage] = [
        UserMessage(content=" ", source="a"),
        UserMessage(content=["", PICTURE, "\n"], source="a"),
        UserMessage(content=[" "], source="a"),
        AssistantMessage(content=[CALL], source="a", thought="\n\n"),
        AssistantMessage(content="  ", source="a"),
    ]
    user, calls = to_messages(said, "claude-3-5-sonnet")
    assert user == {"role": "user", "content": [picture], "name": "a"}
    assert (calls["content"], len(calls["tool_calls"])) == (None, 1)


@pytest.mark.parametrize("family", ["unknown", "claude-3-5-sonnet", "gemini-2.0-flash"])
def test_an_answer_with_no_calls_at_all_is_what_was_said_beside_them(family: str) -> None:
    empty = AssistantMessage(content=[], source="a")
    thoughtful = AssistantMessage(content=[], source="a", thought="I wait")
    assert to_messages([empty], family) == []
    assert to_messages([thoughtful], family) == [{"role": "assistant", "content": "I wait"}]


def test_gemini_is_given_a_space_instead_of_nothing() -> None:
    messages: list[LLMMessage] = [
        UserMessage(content="", source="a"),
        AssistantMessage(content=[CALL], source="a"),
    ]
    assert [m["content"] for m in to_messages(messages, "gemini-2.0-flash")] == [" ", " "]


def test_tools_are_functions() -> None:
    tool = ToolSchema(name="add", parameters={"type": "object", "properties": {}}, strict=True)
    assert to_tools([tool, ToolSchema(name="now", description="the time")]) == [
        {
            "type": "function",
            "function": {
                "name": "add",
                "description": "",
                "strict": True,
                "parameters": {"type": "object", "properties": {}},
            },
        },
        {
            "type": "function",
            "function": {"name": "now", "description": "the time", "strict": False},
        },
    ]
    with pytest.raises(ValueError, match="'a b'"):
        to_tools([ToolSchema(name="a b")])


def test_a_tool_choice_is_a_word_or_a_function() -> None:
    class Add:
        name = "add"

    assert to_tool_choice("required") == "required"
    choice: Any = Add()
    assert to_tool_choice(choice) == {"type": "function", "function": {"name": "add"}}


def test_a_text_is_an_answer() -> None:
    assert from_completion(completion({"content": "hi"}), "unknown").result == CreateResult(
        finish_reason="stop",
        content="hi",
        usage=RequestUsage(prompt_tokens=3, completion_tokens=4),
        cached=False,
    )


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "function_calls"),
        ("who knows", "unknown"),
        (None, "unknown"),
    ],
)
def test_reasons_for_stopping_are_translated(theirs: Any, ours: str) -> None:
    answer = completion({"content": "hi"})
    answer.choices[0].finish_reason = theirs
    assert from_completion(answer, "unknown").result.finish_reason == ours


CALLS = [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]


# MC-17: text or calls
def test_calls_are_the_content_and_the_text_beside_them_the_thought() -> None:
    result = from_completion(
        completion({"content": "I add", "tool_calls": CALLS}), "unknown"
    ).result
    assert (result.content, result.thought) == ([CALL], "I add")
    # Not every server says that it stopped for them.
    assert result.finish_reason == "function_calls"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "function_calls"),
        ("tool_calls", "function_calls"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("who knows", "unknown"),
        (None, "unknown"),
    ],
)
def test_calls_that_may_be_cut_off_do_not_pass_for_whole_ones(theirs: Any, ours: str) -> None:
    answer = completion({"tool_calls": CALLS})
    answer.choices[0].finish_reason = theirs
    result = from_completion(answer, "unknown").result
    assert (result.content, result.finish_reason) == ([CALL], ours)


def test_calls_without_an_id_can_be_answered_and_their_names_sent_back() -> None:
    call = {"id": "", "type": "function", "function": {"name": "a dd!", "arguments": "{}"}}
    result = from_completion(completion({"tool_calls": [call, call]}), "unknown").result
    one, other = result.content
    assert isinstance(one, FunctionCall)
    assert isinstance(other, FunctionCall)
    assert one.id
    assert one.id != other.id
    assert one.name == "a_dd_"


@pytest.mark.parametrize(("name", "sent"), [("fs.read", "fs_read"), ("f" * 128, "f" * 64)])
def test_calls_of_another_clients_conversation_have_names_that_the_api_takes(
    name: str, sent: str
) -> None:
    call = FunctionCall(id="c1", name=name, arguments="{}")
    (message,) = to_messages([AssistantMessage(content=[call], source="a")])
    assert message["tool_calls"][0]["function"]["name"] == sent


def test_a_refusal_is_no_answer() -> None:
    result = from_completion(completion({"refusal": "I won't"}), "unknown").result
    assert (result.content, result.finish_reason) == ("I won't", "content_filter")


def test_blank_text_beside_calls_does_not_hide_the_thought() -> None:
    said = {"content": "\n\n", "reasoning": "1+3", "tool_calls": CALLS}
    assert from_completion(completion(said), "unknown").result.thought == "1+3"


@pytest.mark.parametrize(("sent", "text"), [(None, "{}"), ({"a": 1}, '{"a": 1}')])
@pytest.mark.parametrize("streamed", [False, True])
def test_arguments_that_are_no_text_become_one(sent: Any, text: str, streamed: bool) -> None:
    answer = completion({"tool_calls": CALLS})
    calls: Any = answer.choices[0].message.tool_calls
    calls[0].function.arguments = sent
    result = from_completion(answer, "unknown").result
    if streamed:
        (piece,) = assembled(chunk(delta(0, "c1", "add", sent)), chunk({}, "tool_calls"))
        assert isinstance(piece, CreateResult)
        result = piece
        text = "" if sent is None else text  # that may be a piece with the name only
    assert result.content == [FunctionCall(id="c1", name="add", arguments=text)]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_the_thought(name: str) -> None:
    result = from_completion(completion({"content": "4", name: "1+3"}), "unknown").result
    assert (result.content, result.thought) == ("4", "1+3")


def test_r1_writes_its_thought_into_the_text_and_no_other_family_does() -> None:
    written = completion({"content": "<think>\n1+3\n</think>\n\n4"})
    result = from_completion(written, "r1").result
    assert (result.content, result.thought) == ("4", "1+3")
    assert from_completion(written, "gpt-4o").result.content == "<think>\n1+3\n</think>\n\n4"


def test_logprobs_are_kept() -> None:
    top = {"token": "hi", "logprob": -0.1, "bytes": [104, 105]}
    logprobs = {"content": [{**top, "top_logprobs": [top]}], "refusal": None}
    result = from_completion(completion({"content": "hi"}, logprobs=logprobs), "unknown").result
    assert result.logprobs is not None
    assert result.logprobs[0].token == "hi"
    assert result.logprobs[0].bytes == [104, 105]
    assert result.logprobs[0].top_logprobs is not None
    assert result.logprobs[0].top_logprobs[0].logprob == -0.1


def test_an_answer_without_a_choice_is_an_error_with_what_was_said_instead() -> None:
    answer = ChatCompletion.construct(id="x", choices=None, error={"message": "no credits"})
    with pytest.raises(RuntimeError, match="no credits"):
        from_completion(answer, "unknown")
    with pytest.raises(RuntimeError, match="without an answer"):
        Assembly("unknown").answer()


def test_a_choice_without_a_message_is_an_error_with_what_was_said() -> None:
    choice = {"index": 0, "finish_reason": "error", "message": None}
    answer = ChatCompletion.construct(id="x", model="m", choices=[choice])
    with pytest.raises(RuntimeError, match=r"without an answer.*'finish_reason': 'error'"):
        from_completion(answer, "unknown")


def test_a_stream_gives_its_texts_and_then_the_whole() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    *texts, result = assembled(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "he"}),
        chunk({"content": "llo"}),
        chunk({}, "stop"),
        chunk({}, choices=[], usage=usage),
    )
    assert texts == ["he", "llo"]
    assert result == CreateResult(
        finish_reason="stop", content="hello", usage=RequestUsage(3, 4), cached=False
    )


def test_a_streamed_thought_stands_between_marks() -> None:
    *texts, result = assembled(
        chunk({"reasoning_content": "1+"}),
        chunk({"reasoning_content": "3"}),
        chunk({"content": "4"}),
        chunk({}, "stop"),
    )
    assert texts == ["<think>1+", "3", "</think>", "4"]
    assert isinstance(result, CreateResult)
    assert (result.content, result.thought) == ("4", "1+3")


def test_a_thought_before_calls_ends_too() -> None:
    call = {"index": 0, **CALLS[0]}
    *texts, result = assembled(
        chunk({"reasoning": "I add"}), chunk({"tool_calls": [call]}), chunk({}, "tool_calls")
    )
    assert texts == ["<think>I add", "</think>"]
    assert isinstance(result, CreateResult)
    assert (result.content, result.thought) == ([CALL], "I add")


def delta(index: int | None, id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}


@given(st.lists(st.text(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_streamed_calls_are_put_together_however_they_are_cut(
    arguments: list[str], random: Any
) -> None:
    begun = [chunk(delta(i, f"c{i}", f"f{i}", "")) for i in range(len(arguments))]
    pieces = [(i, letter) for i, text in enumerate(arguments) for letter in text]
    order = [i for i, _ in pieces]
    random.shuffle(order)  # calls may be mixed; the letters of one stay in order
    letters = {i: iter(text) for i, text in enumerate(arguments)}
    rest = [chunk(delta(i, None, None, next(letters[i]))) for i in order]
    (result,) = assembled(*begun, *rest, chunk({}, "tool_calls"))
    assert isinstance(result, CreateResult)
    assert result.content == [
        FunctionCall(id=f"c{i}", name=f"f{i}", arguments=text) for i, text in enumerate(arguments)
    ]


@pytest.mark.parametrize("index", [0, None])
def test_whole_calls_with_one_index_are_several(index: int | None) -> None:
    (result,) = assembled(
        chunk(delta(index, "c1", "add", '{"a": 1}')),
        chunk(delta(index, "c2", "add", '{"a": 2}')),
        chunk({}, "stop"),
    )
    assert isinstance(result, CreateResult)
    assert result.content == [CALL, FunctionCall(id="c2", name="add", arguments='{"a": 2}')]


@pytest.mark.parametrize("index", [0, None])
@pytest.mark.parametrize("id", ["", None])
def test_whole_calls_with_one_index_and_no_ids_are_several(
    index: int | None, id: str | None
) -> None:
    (result,) = assembled(
        chunk(delta(index, id, "add", '{"a": 1}')),
        chunk(delta(index, id, "add", '{"a":')),
        chunk(delta(index, id, None, " 2}")),
        chunk({}, "stop"),
    )
    assert isinstance(result, CreateResult)
    called = [call for call in result.content if isinstance(call, FunctionCall)]
    assert [(call.name, call.arguments) for call in called] == [
        ("add", '{"a": 1}'),
        ("add", '{"a": 2}'),
    ]


def test_a_choice_with_nothing_but_what_a_filter_found_is_passed_over() -> None:
    found = {"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 1}}
    *texts, result = assembled(
        chunk({"content": "he"}),
        chunk({}, choices=[found]),
        chunk({"content": "llo"}),
        chunk({}, choices=[{**found, "finish_reason": "content_filter"}]),
    )
    assert texts == ["he", "llo"]
    assert isinstance(result, CreateResult)
    assert (result.content, result.finish_reason) == ("hello", "content_filter")


def test_a_stream_that_ends_early_has_no_reason() -> None:
    text, result = assembled(chunk({"content": "he"}))
    assert text == "he"
    assert isinstance(result, CreateResult)
    assert (result.content, result.finish_reason) == ("he", "unknown")


@pytest.mark.parametrize(("theirs", "ours"), [("length", "length"), (None, "unknown")])
def test_a_stream_that_ends_inside_of_a_call_says_so(theirs: str | None, ours: str) -> None:
    end = [] if theirs is None else [chunk({}, theirs)]
    (result,) = assembled(chunk(delta(0, "c1", "delete", "")), *end)
    assert isinstance(result, CreateResult)
    assert result.content == [FunctionCall(id="c1", name="delete", arguments="")]
    assert result.finish_reason == ours


def test_the_schema_of_an_answer_is_what_the_sdk_itself_would_send() -> None:
    from openai.lib._parsing import type_to_response_format_param

    from trio_agents.ext.models._openai_client import response_format

    class Step(BaseModel):
        text: str
        sub: list[Step] = []

    assert response_format(Step) == type_to_response_format_param(Step)
    assert response_format(True) == {"type": "json_object"}


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    item: T


class Named(BaseModel):
    pass


Named.__name__ = "N" * 100


@pytest.mark.parametrize("wanted", [Box[int], Box[list[int]], Named])
def test_the_name_of_a_schema_is_one_that_the_api_takes(wanted: type[BaseModel]) -> None:
    from trio_agents.ext.models._openai_client import response_format

    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", response_format(wanted)["json_schema"]["name"])


def sent(
    extra: dict[str, Any] | None = None, json_output: Any = None, **options: Any
) -> dict[str, Any]:
    client = OpenAIChatCompletionClient(**{"model": "gpt-4o", "api_key": "k", **options})
    wanted, rest = client._wanted(json_output, extra or {})
    said: list[LLMMessage] = [UserMessage(content="hi", source="bob")]
    return client._checked_request(said, [], "auto", wanted, rest)


def test_none_is_no_format_for_this_call() -> None:
    assert "response_format" in sent(response_format=Box[int])
    assert "response_format" not in sent({"response_format": None}, response_format=Box[int])
    client = OpenAIChatCompletionClient(model="gpt-4o", api_key="k", response_format=Box[int])
    # Nor is the answer compared with the type.
    assert client._wanted(None, {"response_format": None}) == (False, {})


LIMITS = ("max_tokens", "max_completion_tokens")


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5.1-mini", "o1", "o3-mini", "o4-mini"])
def test_models_that_think_are_told_the_most_tokens_in_their_word(model: str) -> None:
    for body in (sent({"max_tokens": 7}, model=model), sent(model=model, max_tokens=7)):
        assert {name: body[name] for name in LIMITS if name in body} == {"max_completion_tokens": 7}


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5"])
@pytest.mark.parametrize("usual", LIMITS)
@pytest.mark.parametrize("now", LIMITS)
def test_the_most_tokens_of_a_call_win_whatever_they_are_called(
    model: str, usual: str, now: str
) -> None:
    body = sent({now: 7}, model=model, **{usual: 9})
    expected = now if model == "gpt-4o" else "max_completion_tokens"
    assert {name: body[name] for name in LIMITS if name in body} == {expected: 7}


def test_a_model_that_thinks_is_told_the_most_tokens_once() -> None:
    with pytest.raises(ValueError, match=r"'max_tokens' and 'max_completion_tokens' .* the same"):
        sent({"max_tokens": 7, "max_completion_tokens": 7}, model="gpt-5")


def request(messages: list[LLMMessage], **options: Any) -> list[dict[str, Any]]:
    client = OpenAIChatCompletionClient(**{"model": "gpt-4o", "api_key": "k", **options})
    sent: list[dict[str, Any]]
    sent = client._checked_request(messages, [], "auto", None, {})["messages"]
    return sent


def test_a_client_names_speakers_as_it_was_made_to() -> None:
    said: list[LLMMessage] = [UserMessage(content="hi", source="bob")]
    assert request(said) == [{"role": "user", "content": "hi", "name": "bob"}]
    assert request(said, include_name_in_message=False) == [{"role": "user", "content": "hi"}]
    assert request(said, add_name_prefixes=True)[0]["content"] == "bob said:\nhi"


def test_system_messages_are_one_for_a_model_that_takes_one() -> None:
    said: list[LLMMessage] = [SystemMessage(content="a"), SystemMessage(content="b")]
    assert [message["content"] for message in request(said)] == ["a", "b"]
    assert [message["content"] for message in request(said, model="gemini-2.0-flash")] == ["a\nb"]


def test_a_character_that_comes_in_two_halves_is_one() -> None:
    first, second = "\ud83d", "\ude00"  # of a grinning face, in UTF-16
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": "' + first}}
    rest = {"index": 0, "function": {"arguments": second + '"}'}}
    *texts, text = assembled(
        chunk({"content": "ha " + first}), chunk({"content": second + "!"}), chunk({}, "stop")
    )
    assert texts == ["ha ", "\U0001f600!"]
    assert isinstance(text, CreateResult)
    assert text.content == "ha \U0001f600!"
    *_, called = assembled(chunk({"tool_calls": [call]}), chunk({"tool_calls": [rest]}))
    assert isinstance(called, CreateResult)
    assert isinstance(called.content, list)
    assert called.content[0].arguments == '{"a": "\U0001f600"}'


def test_half_a_character_at_the_end_can_be_printed() -> None:
    *_, result = assembled(chunk({"content": "ha \ud83d"}), chunk({}, "stop"))
    assert isinstance(result, CreateResult)
    assert result.content == "ha \ufffd"


# --- what servers want back beside calls

SIGNED = {"google": {"thought_signature": "signed"}}
OTHER_CALL = FunctionCall(id="c2", name="add", arguments='{"a": 1}')


def told(streamed: bool, beside: dict[str, Any], *extras: dict[str, Any]) -> BesideCalls[Beside]:
    """Have a client told of calls, with *beside* in the message, and extras in each of them."""
    memory = BesideCalls[Beside](lambda call: (call.id, call.name, call.arguments))
    calls = [{**CALLS[0], "id": f"c{number}", **extra} for number, extra in enumerate(extras, 1)]
    if streamed:
        assembly = Assembly("unknown")
        pieces = [
            chunk(beside),
            *(chunk({"tool_calls": [{**call, "index": n}]}) for n, call in enumerate(calls)),
            chunk({}, "tool_calls"),
        ]
        for piece in pieces:
            list(assembly.add(ChatCompletionChunk.model_validate(piece.model_dump())))
        memory.keep(assembly.answer())
    else:
        memory.keep(from_completion(completion({**beside, "tool_calls": calls}), "unknown"))
    return memory


def sent_back(memory: BesideCalls[Beside], *calls: FunctionCall, **more: Any) -> dict[str, Any]:
    said = AssistantMessage(content=[*calls], source="a", **more)
    (sent,) = to_messages([said], "unknown", memory.of)
    return sent


@pytest.mark.parametrize("streamed", [False, True])
def test_signatures_of_calls_go_back_with_them(streamed: bool) -> None:
    memory = told(streamed, {"content": None}, {"extra_content": SIGNED}, {})
    first, second = sent_back(memory, CALL, OTHER_CALL)["tool_calls"]
    assert first["extra_content"] == SIGNED
    assert "extra_content" not in second


@pytest.mark.parametrize("streamed", [False, True])
def test_a_thought_that_is_wanted_back_goes_back_apart_from_the_text(streamed: bool) -> None:
    memory = told(streamed, {"content": "I add", "reasoning_content": "1+3"}, {})
    sent = sent_back(memory, CALL, thought="I add")
    assert (sent["content"], sent["reasoning_content"]) == ("I add", "1+3")
    sent = sent_back(memory, CALL)  # somebody has left out what was said
    assert (sent["content"], sent["reasoning_content"]) == (None, "1+3")


def test_a_thought_alone_does_not_go_back_as_a_text_too() -> None:
    memory = told(False, {"content": None, "reasoning_content": "1+3"}, {})
    sent = sent_back(memory, CALL, thought="1+3")
    assert (sent["content"], sent["reasoning_content"]) == (None, "1+3")


def test_a_thought_that_somebody_has_changed_goes_back_as_it_is() -> None:
    memory = told(False, {"content": None, "reasoning_content": "1+3"}, {"extra_content": SIGNED})
    sent = sent_back(memory, CALL, thought="[redacted]")
    assert sent["content"] == "[redacted]"
    assert "reasoning_content" not in sent
    assert sent["tool_calls"][0]["extra_content"] == SIGNED


def test_a_thought_that_nobody_takes_back_does_not_go_back() -> None:
    sent = sent_back(told(False, {"reasoning": "1+3"}, {}), CALL, thought="1+3")
    assert sent.keys() == {"role", "content", "tool_calls"}


def test_calls_with_the_id_of_others_are_not_taken_for_them() -> None:
    memory = told(False, {"reasoning_content": "1+3"}, {"extra_content": SIGNED})
    sent = sent_back(memory, FunctionCall(id="c1", name="add", arguments='{"a": 2}'))
    assert sent["content"] is None
    assert "reasoning_content" not in sent
    assert "extra_content" not in sent["tool_calls"][0]
