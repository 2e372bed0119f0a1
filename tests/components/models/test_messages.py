"""Messages, and what is known of models: as users see them, and as AutoGen does."""

from __future__ import annotations

import json
from typing import Any

import autogen_core
import autogen_core.models as theirs
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image as pil
from pydantic import BaseModel, TypeAdapter, ValidationError

import trio_agents.models as ours
from trio_agents import FunctionCall, Image
from trio_agents.models import (
    AssistantMessage,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    ModelFamily,
    ModelInfo,
    RequestUsage,
    SystemMessage,
    UserMessage,
    validate_model_info,
)

TEXT = st.text(max_size=20)
CALLS = st.lists(st.builds(FunctionCall, id=TEXT, arguments=TEXT, name=TEXT), min_size=1)
PICTURES = st.builds(
    lambda size, color: Image.from_pil(pil.new("RGB", size, color)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 255)] * 3),
)
RESULTS = st.builds(
    FunctionExecutionResult,
    content=TEXT,
    name=TEXT,
    call_id=TEXT,
    is_error=st.none() | st.booleans(),
)
MESSAGES = st.one_of(
    st.builds(SystemMessage, content=TEXT),
    st.builds(UserMessage, content=TEXT | st.lists(TEXT | PICTURES, max_size=3), source=TEXT),
    st.builds(AssistantMessage, content=TEXT | CALLS, thought=st.none() | TEXT, source=TEXT),
    st.builds(FunctionExecutionResultMessage, content=st.lists(RESULTS, max_size=3)),
)
ANSWERS = st.builds(
    CreateResult,
    finish_reason=st.sampled_from(
        ["stop", "length", "function_calls", "content_filter", "unknown"]
    ),
    content=TEXT | CALLS,
    usage=st.builds(RequestUsage, st.integers(0, 9), st.integers(0, 9)),
    cached=st.booleans(),
    logprobs=st.none()
    | st.lists(
        st.builds(
            ours.ChatCompletionTokenLogprob,
            token=TEXT,
            logprob=st.floats(-100, 0),
            top_logprobs=st.none() | st.lists(st.builds(ours.TopLogprob, st.floats(-9, 0))),
            bytes=st.none() | st.lists(st.integers(0, 255)),
        ),
        max_size=2,
    ),
    thought=st.none() | TEXT,
)


class Conversation(BaseModel):
    messages: list[LLMMessage]


# MC-01 MC-02 MC-03 MC-04 MC-05 MC-06
@given(st.lists(MESSAGES, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_field_of_messages_comes_back_from_json_as_it_was(messages: list[LLMMessage]) -> None:
    conversation = Conversation(messages=messages)
    assert Conversation.model_validate_json(conversation.model_dump_json()) == conversation


@given(MESSAGES)
@settings(max_examples=60, deadline=None)
def test_autogen_reads_our_messages_and_we_read_its(message: LLMMessage) -> None:
    # Parsed first: its Image raises TypeError in validate_json, wherever a text stands in a list.
    data = json.loads(message.model_dump_json())
    foreign = TypeAdapter[Any](theirs.LLMMessage).validate_python(data)
    assert type(foreign).__name__ == type(message).__name__
    assert json.loads(foreign.model_dump_json()) == json.loads(message.model_dump_json())
    assert TypeAdapter[Any](LLMMessage).validate_json(foreign.model_dump_json()) == message


# MC-07 MC-08
@given(ANSWERS)
@settings(max_examples=60, deadline=None)
def test_autogen_reads_our_answers_and_we_read_its(answer: CreateResult) -> None:
    foreign = theirs.CreateResult.model_validate_json(answer.model_dump_json())
    assert json.loads(foreign.model_dump_json()) == json.loads(answer.model_dump_json())
    assert CreateResult.model_validate_json(foreign.model_dump_json()) == answer


# MC-06
def test_a_message_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        Conversation.model_validate({"messages": [{"type": "Shout", "content": "x"}]})


# MC-17
def test_an_answer_is_a_text_or_a_list_of_function_calls() -> None:
    fields = {"finish_reason": "stop", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    text = CreateResult.model_validate({**fields, "content": "x", "cached": False})
    calls = CreateResult.model_validate(
        {**fields, "content": [{"id": "1", "name": "f", "arguments": "{}"}], "cached": False}
    )
    assert text.content == "x"
    assert calls.content == [FunctionCall(id="1", name="f", arguments="{}")]


def test_all_names_of_autogen_are_here() -> None:
    assert set(theirs.__all__) <= set(ours.__all__)


@pytest.mark.parametrize("name", [n for n in theirs.__all__ if n in vars(ours)])
def test_the_fields_are_those_of_autogen(name: str) -> None:
    mine, foreign = getattr(ours, name), getattr(theirs, name)
    if isinstance(mine, type) and issubclass(mine, BaseModel):
        assert list(mine.model_fields) == list(foreign.model_fields)
    elif isinstance(mine, type):
        assert set(getattr(mine, "__annotations__", {})) >= set(
            getattr(foreign, "__annotations__", {})
        ) - {"__module__"}


def families(cls: type) -> dict[str, str]:
    return {
        name: value
        for name, value in vars(cls).items()
        if name.isupper() and isinstance(value, str)
    }


def test_the_model_families_are_those_of_autogen() -> None:
    assert families(ModelFamily) == families(theirs.ModelFamily)


@pytest.mark.parametrize("family", [*families(ModelFamily).values(), "mine", "gpt-99", "claude-9"])
def test_the_families_belong_to_whom_autogen_says(family: str) -> None:
    for question in ("is_claude", "is_gemini", "is_openai", "is_llama", "is_mistral"):
        expected = getattr(theirs.ModelFamily, question)(family)
        if family in families(ModelFamily).values():
            assert getattr(ModelFamily, question)(family) == expected, question


INFO = ModelInfo(
    vision=False, function_calling=True, json_output=True, structured_output=False, family="unknown"
)


# MC-26
@pytest.mark.parametrize("field", ["vision", "function_calling", "json_output", "family"])
def test_a_model_info_that_lacks_a_field_is_refused_by_name(field: str) -> None:
    with pytest.raises(ValueError, match=f"model_info lacks {field}:"):
        validate_model_info({name: value for name, value in INFO.items() if name != field})


@pytest.mark.parametrize(("field", "value"), [("vision", "yes"), ("family", 4), ("json_output", 1)])
def test_a_model_info_with_a_wrong_type_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"model_info\['{field}'\] must be a (bool|str), not"):
        validate_model_info({**INFO, field: value})


def test_a_model_info_may_be_older_or_newer_than_we_are() -> None:
    older = {name: value for name, value in INFO.items() if name != "structured_output"}
    validate_model_info(older)
    validate_model_info({**INFO, "multiple_system_messages": None, "telepathy": "some"})


def test_images_are_autogens_in_json() -> None:
    image = Image.from_pil(pil.new("RGB", (2, 1), "red"))
    data = json.loads(UserMessage(content=["look", image], source="u").model_dump_json())
    foreign = theirs.UserMessage.model_validate(data)
    assert isinstance(foreign.content[1], autogen_core.Image)
    assert foreign.content[1].image.tobytes() == image.image.tobytes()
