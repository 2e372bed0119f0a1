from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from autogen_core.models import (
    CreateResult as TheirResult,
    RequestUsage as TheirUsage,
    UserMessage as TheirMessage,
)
from autogen_ext.models.replay import ReplayChatCompletionClient as TheirClient
from hypothesis import given, strategies as st
from PIL import Image as pil

from trio_agents import CancellationToken, FunctionCall, Image
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    ModelInfo,
    RequestUsage,
    SystemMessage,
    UserMessage,
)


def said(text: str) -> UserMessage:
    return UserMessage(content=text, source="user")


CALLS = CreateResult(
    finish_reason="function_calls",
    content=[FunctionCall(id="1", name="look", arguments="{}")],
    usage=RequestUsage(5, 6),
    cached=False,
)


# MC-10
async def test_answers_come_in_their_order() -> None:
    client = ReplayChatCompletionClient(["one", CALLS, "three"])
    assert (await client.create([said("a")])).content == "one"
    assert await client.create([said("b")]) == CALLS
    assert (await client.create([said("c")])).finish_reason == "stop"


async def test_without_an_answer_left_it_is_an_error() -> None:
    client = ReplayChatCompletionClient(["one"])
    await client.create([])
    with pytest.raises(ValueError, match="No more mock responses available: all 1 are used"):
        await client.create([])
    with pytest.raises(ValueError, match="No more mock responses available"):
        async with aclosing(client.create_stream([])) as stream:
            await anext(stream)


# MC-11
async def test_a_stream_gives_the_text_in_pieces_and_last_the_whole() -> None:
    client = ReplayChatCompletionClient(["  hello  there\nworld "])
    async with aclosing(client.create_stream([said("a b")])) as stream:
        *pieces, result = [piece async for piece in stream]
    assert isinstance(result, CreateResult)
    assert len(pieces) == 3
    assert "".join(map(str, pieces)) == result.content == "  hello  there\nworld "


async def test_a_stream_that_calls_functions_has_no_text() -> None:
    client = ReplayChatCompletionClient([CALLS])
    async with aclosing(client.create_stream([])) as stream:
        assert [piece async for piece in stream] == [CALLS]


@given(st.text())
def test_the_pieces_of_a_stream_are_its_text(text: str) -> None:
    async def pieces() -> list[Any]:
        async with aclosing(ReplayChatCompletionClient([text]).create_stream([])) as stream:
            return [piece async for piece in stream]

    *words, result = anyio.run(pieces, backend="trio")
    assert "".join(words) == result.content == text


# MC-12 MC-14
async def test_usage_is_counted_in_words_and_as_the_answers_say() -> None:
    client = ReplayChatCompletionClient(["one two", CALLS])
    await client.create([said("a b c")])
    assert client.total_usage() == client.actual_usage() == RequestUsage(3, 2)
    async with aclosing(client.create_stream([said("a b c")])) as stream:
        async for _ in stream:
            pass
    assert client.total_usage() == client.actual_usage() == RequestUsage(8, 8)


def test_tokens_are_words_of_all_kinds_of_messages() -> None:
    client = ReplayChatCompletionClient([])
    results = [FunctionExecutionResult(content="a b", name="f", call_id="1")]
    messages: list[LLMMessage] = [
        SystemMessage(content="a b c"),
        UserMessage(content=["a b", Image.from_pil(pil.new("RGB", (1, 1))), "c"], source="u"),
        AssistantMessage(content=[FunctionCall(id="1", name="f", arguments="{}")], source="a"),
        FunctionExecutionResultMessage(content=results),
    ]
    assert [client.count_tokens([message]) for message in messages] == [3, 3, 2, 2]
    assert client.count_tokens(messages) == 10
    assert client.remaining_tokens(messages) == 9990


async def test_reset_begins_again_and_keeps_the_record() -> None:
    client = ReplayChatCompletionClient(["one", "two"])
    await client.create([])
    client.reset()
    assert client.total_usage() == RequestUsage(0, 0)
    assert (await client.create([])).content == "one"
    assert len(client.create_calls) == 2


async def test_an_answer_that_is_changed_is_replayed_as_it_was() -> None:
    client = ReplayChatCompletionClient([CALLS])
    first = await client.create([])
    assert isinstance(first.content, list)
    first.content.clear()
    client.reset()
    assert await client.create([]) == CALLS


# MC-16
async def test_the_arguments_of_calls_are_recorded_as_they_were() -> None:
    client = ReplayChatCompletionClient(["one", "two"])
    messages: list[LLMMessage] = [said("a")]
    token = CancellationToken()
    await client.create(messages, extra_create_args={"x": 1}, cancellation_token=token)
    messages.append(said("b"))
    async with aclosing(client.create_stream(messages, json_output=True)) as stream:
        async for _ in stream:
            pass
    assert client.create_calls == [
        {
            "messages": [said("a")],
            "tools": [],
            "tool_choice": "auto",
            "json_output": None,
            "extra_create_args": {"x": 1},
            "cancellation_token": token,
        }
    ]
    assert [call["json_output"] for call in client.create_stream_calls] == [True]


# MC-26
async def test_what_its_model_info_denies_is_refused_and_no_answer_is_used() -> None:
    info = ModelInfo(
        vision=False,
        function_calling=False,
        json_output=False,
        structured_output=False,
        family="unknown",
    )
    client = ReplayChatCompletionClient(["one"], model_info=info)
    assert client.model_info == client.capabilities == info
    with pytest.raises(ValueError, match="function_calling"):
        await client.create([], tools=[{"name": "look"}])
    with pytest.raises(ValueError, match="json_output"):
        async with aclosing(client.create_stream([], json_output=True)) as stream:
            await anext(stream)
    assert client.create_calls == client.create_stream_calls == []
    assert (await client.create([])).content == "one"


async def test_a_schema_cannot_be_chosen_and_no_answer_is_used() -> None:
    client = ReplayChatCompletionClient(["one"])
    look: Any = {"name": "look"}
    with pytest.raises(TypeError, match="tool_choice: expected a Tool, not a schema"):
        await client.create([], tools=[look], tool_choice=look)
    assert (await client.create([])).content == "one"


async def test_without_a_model_info_it_can_do_anything() -> None:
    client = ReplayChatCompletionClient(["one"])
    picture = UserMessage(content=[Image.from_pil(pil.new("RGB", (1, 1)))], source="u")
    result = await client.create([picture], tools=[{"name": "look"}], json_output=True)
    assert result.content == "one"


def test_an_incomplete_model_info_is_refused() -> None:
    info: Any = {"vision": True}
    with pytest.raises(ValueError, match="model_info lacks"):
        ReplayChatCompletionClient([], model_info=info)
    with pytest.raises(TypeError, match="not one text"):
        ReplayChatCompletionClient("hello")


async def test_a_cancelled_token_leaves_the_answer_for_the_next(
    MessageCancelled: type[BaseException],
) -> None:
    client = ReplayChatCompletionClient(["one"])
    token = CancellationToken()
    token.cancel()
    with pytest.raises(MessageCancelled):
        await client.create([], cancellation_token=token)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await client.create([])
    assert (await client.create([])).content == "one"


async def test_a_token_cancels_a_stream_between_its_pieces(
    MessageCancelled: type[BaseException],
) -> None:
    client = ReplayChatCompletionClient(["one two three", "next"])
    token = CancellationToken()
    async with aclosing(client.create_stream([], cancellation_token=token)) as stream:
        assert await anext(stream) == "one "
        token.cancel()
        with pytest.raises(MessageCancelled):
            await anext(stream)
    assert client.total_usage() == RequestUsage(0, 0)
    assert (await client.create([])).content == "next"


async def test_concurrent_calls_get_answers_in_the_order_in_which_they_began() -> None:
    numbers = [str(number) for number in range(20)]
    client = ReplayChatCompletionClient(numbers)
    began: list[str] = []  # trio starts tasks in any order
    got: dict[str, object] = {}

    async def ask(number: str) -> None:
        began.append(number)
        got[number] = (await client.create([said(number)])).content

    async with anyio.create_task_group() as group:
        for number in numbers:
            group.start_soon(ask, number)
    assert [got[number] for number in began] == numbers


# MC-13
async def test_closing_twice_is_fine() -> None:
    client = ReplayChatCompletionClient([])
    await client.close()
    await client.close()


# MC-37
async def test_its_calls_and_streams_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    client = ReplayChatCompletionClient(["one", "two"])
    with caplog.at_level(logging.INFO, logger="autogen_core.events"):
        await client.create([said("a b")])
        async with aclosing(client.create_stream([said("a b")])) as stream:
            async for _ in stream:
                pass
    types = [json.loads(record.getMessage())["type"] for record in caplog.records]
    assert types == ["LLMCall", "LLMStreamStart", "LLMStreamEnd"]
    assert "one" not in caplog.text


# MC-09
async def test_it_is_described_and_made_again_with_all_answers() -> None:
    client = ReplayChatCompletionClient(["one", CALLS])
    await client.create([])
    data = json.loads(client.dump_component().model_dump_json())
    assert data["provider"] == "trio_agents.ext.models.replay.ReplayChatCompletionClient"
    again = ChatCompletionClient.load_component(data)
    assert isinstance(again, ReplayChatCompletionClient)
    assert [(await again.create([])).content for _ in "12"] == ["one", CALLS.content]
    assert again.model_info == client.model_info


def test_a_model_info_of_an_older_program_can_be_dumped() -> None:
    info: Any = {
        "vision": False,
        "function_calling": True,
        "json_output": True,
        "family": "unknown",
    }
    dumped = ReplayChatCompletionClient(["one"], model_info=info).dump_component()
    again = ChatCompletionClient.load_component(json.loads(dumped.model_dump_json()))
    assert again.model_info == info


def test_what_is_changed_in_one_clients_info_is_not_changed_in_others() -> None:
    ReplayChatCompletionClient([]).model_info["vision"] = False
    assert ReplayChatCompletionClient([]).model_info["vision"] is True


async def test_autogens_dump_loads() -> None:
    answer = TheirResult(
        finish_reason="stop", content="two", usage=TheirUsage(1, 2), cached=False, thought="hm"
    )
    data = json.loads(TheirClient(["one", answer]).dump_component().model_dump_json())
    client = ChatCompletionClient.load_component(data)
    assert client.model_info["family"] == "unknown"
    assert (await client.create([])).content == "one"
    assert (await client.create([])).thought == "hm"


def test_autogen_loads_ours() -> None:
    dumped = ReplayChatCompletionClient(["one", CALLS]).dump_component().model_dump()
    dumped["provider"] = "autogen_ext.models.replay.ReplayChatCompletionClient"
    client = TheirClient.load_component(dumped)
    assert client.model_info["vision"] is True


async def both(texts: list[str], asked: list[str]) -> tuple[list[Any], list[Any]]:
    mine, theirs = ReplayChatCompletionClient(texts), TheirClient(texts)
    ours = [await mine.create([said(text)]) for text in asked]
    others = [await theirs.create([TheirMessage(content=text, source="user")]) for text in asked]
    return [r.model_dump() for r in ours], [r.model_dump() for r in others]


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_texts_are_answered_as_autogens_client_does(pairs: list[tuple[str, str]]) -> None:
    texts, asked = [text for text, _ in pairs], [question for _, question in pairs]
    ours, others = asyncio.run(both(texts, asked))
    assert ours == others
