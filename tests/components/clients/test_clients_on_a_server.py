"""Each client through its SDK against an independent server, which knows all three APIs."""

from __future__ import annotations

import json
import logging
import socket
from contextlib import aclosing
from typing import Any

import anyio
import PIL.Image
import pytest
from pydantic import BaseModel, ValidationError

from trio_agents import EVENT_LOGGER_NAME, FunctionCall, Image
from trio_agents.ext.models.openai import (
    AzureOpenAIChatCompletionClient,
    OpenAIChatCompletionClient,
)
from trio_agents.ext.tools.mcp import sampling_with
from trio_agents.logging import LLMCallEvent, LLMStreamEndEvent
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    UserMessage,
)
from trio_agents.tools import ToolSchema

from .conftest import PROVIDERS, ModelServer, Provider

ADD = ToolSchema(
    name="add",
    description="Adds two numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)


class Step(BaseModel):
    text: str


def user(text: str | list[str | Image]) -> UserMessage:
    return UserMessage(content=text, source="bob")


async def read(
    client: ChatCompletionClient, *messages: LLMMessage, **more: Any
) -> tuple[list[str], CreateResult]:
    """Read a stream to its end."""
    texts: list[str] = []
    async with aclosing(client.create_stream(messages, **more)) as stream:
        async for piece in stream:
            if isinstance(piece, CreateResult):
                return texts, piece
            texts.append(piece)
    pytest.fail("the stream has ended without a result")


async def whole(client: ChatCompletionClient, ask: str) -> CreateResult:
    """Read a stream to its end, for what comes last."""
    return (await read(client, user(ask)))[1]


# MC-09 MC-10
async def test_a_question_is_answered(aimock: ModelServer, provider: Provider, ask: str) -> None:
    aimock.answers(ask, {"content": "Hello.", "usage": usage(provider, 3, 2)})
    client = provider(aimock.url)
    result = await client.create([user(ask)])
    assert result.content == "Hello."
    assert result.finish_reason == "stop"
    assert not result.cached
    # MC-14
    await client.create([user(ask)])
    assert client.total_usage() == client.actual_usage()
    assert client.total_usage().completion_tokens == 2 * result.usage.completion_tokens
    # MC-13
    await client.close()
    await client.close()
    assert aimock.established() == 0


async def closed(client: ChatCompletionClient, options: dict[str, Any]) -> None:
    """Close a client, and the HTTP client that was made for it."""
    await client.close()
    if "http_client" in options:
        await options["http_client"].aclose()


def usage(provider: Provider, prompt: int, completion: int) -> dict[str, int]:
    if provider.name == "anthropic":
        return {"input_tokens": prompt, "output_tokens": completion}
    return {"prompt_tokens": prompt, "completion_tokens": completion}


# MC-11
async def test_a_stream_gives_texts_and_last_the_whole(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    answer = "A nursery owns its tasks, and waits for them."
    aimock.answers(ask, {"content": answer}, chunkSize=10)
    client = provider(aimock.url)
    texts, result = await read(client, user(ask))
    assert texts == [answer[start : start + 10] for start in range(0, len(answer), 10)]
    assert result.content == answer
    assert result.finish_reason == "stop"
    await client.close()


# MC-17
async def test_a_loop_of_two_tools_is_streamed(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    calls = [
        {"name": "add", "arguments": '{"a": 1, "b": 2}'},
        {"name": "add", "arguments": '{"a": 3, "b": 4}'},
    ]
    aimock.fixtures(
        {
            "match": {"userMessage": ask, "hasToolResult": False},
            "response": {"content": "I add twice.", "toolCalls": calls},
            "chunkSize": 5,
        },
        {
            "match": {"userMessage": ask, "hasToolResult": True},
            "response": {"content": "3 and 7."},
        },
    )
    client = provider(aimock.url)
    texts, asked = await read(client, user(ask), tools=[ADD])
    assert "".join(texts) == "I add twice."
    assert asked.finish_reason == "function_calls"
    assert asked.thought == "I add twice."
    assert not isinstance(asked.content, str)
    numbers = [json.loads(call.arguments) for call in asked.content]
    assert numbers == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    results = [
        FunctionExecutionResult(
            content=str(number["a"] + number["b"]), name="add", call_id=call.id, is_error=False
        )
        for call, number in zip(asked.content, numbers, strict=True)
    ]
    _, said = await read(
        client,
        user(ask),
        AssistantMessage(content=asked.content, thought=asked.thought, source="agent"),
        FunctionExecutionResultMessage(content=results),
        tools=[ADD],
    )
    assert said.content == "3 and 7."
    await client.close()


# MC-28
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_fits_the_type_that_was_asked_for(
    aimock: ModelServer, provider: Provider, ask: str, streamed: bool
) -> None:
    aimock.answers(ask, {"content": '{"text": "so"}'})
    name = "format" if provider.name == "ollama" else "response_format"
    # MC-27
    always = provider(aimock.url, response_format=Step)
    client = provider(aimock.url)
    ways: list[tuple[ChatCompletionClient, dict[str, Any]]] = [
        (client, {"json_output": Step}),
        (client, {"extra_create_args": {name: Step}}),
        (always, {}),
    ]
    for asked, how in ways:
        if streamed:
            _, result = await read(asked, user(ask), **how)
        else:
            result = await asked.create([user(ask)], **how)
        assert isinstance(result.content, str)
        assert Step.model_validate_json(result.content) == Step(text="so")
    with pytest.raises(ValueError, match="pass one of them"):
        await client.create([user(ask)], json_output=Step, extra_create_args={name: Step})
    await client.close()
    await always.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_does_not_fit_is_an_error_and_counts_all_the_same(
    aimock: ModelServer, provider: Provider, ask: str, streamed: bool
) -> None:
    aimock.answers(ask, {"content": "no JSON", "usage": usage(provider, 3, 2)})
    client = provider(aimock.url, **({} if provider.name != "openai" else WITH_USAGE))
    with pytest.raises(ValidationError) as caught:
        if streamed:
            await read(client, user(ask), json_output=Step)
        else:
            await client.create([user(ask)], json_output=Step)
    assert any("should have been JSON" in note for note in caught.value.__notes__)
    if provider.name != "ollama":  # this server counts nothing there
        assert client.total_usage().completion_tokens == 2
    await client.close()


WITH_USAGE = {"stream_options": {"include_usage": True}}


# MC-15
async def test_json_and_text_are_asked_for(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    aimock.answers(ask, {"content": '{"a": 1}'})
    sent: list[dict[str, Any]] = []
    options = provider.recording(sent)
    client = provider(aimock.url, **options)
    result = await client.create([user(ask)], json_output=True)
    assert isinstance(result.content, str)
    assert json.loads(result.content) == {"a": 1}
    await client.create([user(ask)], json_output=False)
    json_mode, text = sent
    match provider.name:
        case "openai":
            assert json_mode["response_format"] == {"type": "json_object"}
        case "anthropic":
            assert "JSON" in json_mode["system"]
        case "ollama":
            assert json_mode["format"] == "json"
    assert text.keys() & {"response_format", "format", "system"} == set()
    await closed(client, options)


async def test_each_client_goes_on_with_a_text_of_an_mcp_server(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    mcp_types = pytest.importorskip("mcp_types")
    aimock.answers(ask, {"content": "42"})
    sent: list[dict[str, Any]] = []
    options = provider.recording(sent)
    client = provider(aimock.url, **options)
    params = mcp_types.CreateMessageRequestParams(
        messages=[{"role": "user", "content": {"type": "text", "text": ask}}],
        max_tokens=7,
        temperature=0.5,
        stop_sequences=["."],
    )
    answer = await sampling_with(client)(params)
    assert isinstance(answer, mcp_types.CreateMessageResult)
    assert answer.content.text == "42"
    [body] = sent
    asked = body["options"] if provider.name == "ollama" else body
    most, stop = WORDS[provider.name]
    assert (asked[most], asked[stop], asked["temperature"]) == (7, ["."], 0.5)
    await closed(client, options)


#: What the APIs call the most tokens, and the texts that stop a model.
WORDS = {
    "openai": ("max_tokens", "stop"),
    "anthropic": ("max_tokens", "stop_sequences"),
    "ollama": ("num_predict", "stop"),
}


async def test_pictures_are_sent(aimock: ModelServer, provider: Provider, ask: str) -> None:
    picture = Image(PIL.Image.new("RGB", (1, 1)))
    aimock.answers(ask, {"content": "A dot."})
    info = {
        "vision": True,
        "function_calling": True,
        "json_output": True,
        "structured_output": True,
        "family": "unknown",
    }
    sent: list[dict[str, Any]] = []
    options = provider.recording(sent)
    client = provider(aimock.url, model_info=info, **options)
    assert (await client.create([user([ask, picture])])).content == "A dot."
    assert picture.to_base64() in json.dumps(sent)
    await closed(client, options)


# MC-26
async def test_what_a_model_cannot_do_is_not_sent(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    info = {
        "vision": False,
        "function_calling": False,
        "json_output": False,
        "structured_output": False,
        "family": "unknown",
    }
    client = provider(aimock.url, model_info=info)
    picture = Image(PIL.Image.new("RGB", (1, 1)))
    asked: list[tuple[list[LLMMessage], dict[str, Any]]] = [
        ([user([ask, picture])], {}),
        ([user(ask)], {"tools": [ADD]}),
        ([user(ask)], {"json_output": True}),
        ([user(ask)], {"json_output": Step}),
    ]
    for messages, how in asked:
        with pytest.raises(ValueError, match=r"model_info\["):
            await client.create(messages, **how)
        with pytest.raises(ValueError, match=r"model_info\["):
            await read(client, *messages, **how)
    assert aimock.requests(ask) == []
    await client.close()


async def test_an_error_is_the_sdks_own_with_a_note(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    aimock.answers(ask, {"error": {"message": "slow down", "type": "rate"}, "status": 429})
    client = provider(aimock.url)
    for wait in (client.create([user(ask)]), read(client, user(ask))):
        with pytest.raises(provider.error(provider.refused), match="slow down") as caught:
            await wait
        assert caught.value.status_code == 429  # type: ignore[attr-defined]
        assert f"{provider.client} to {provider.model}" in caught.value.__notes__[0]
    await client.close()
    assert aimock.established() == 0


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_request_that_is_refused_for_now_is_repeated(
    aimock: ModelServer, name: str, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{name}._base_client.INITIAL_RETRY_DELAY", 0.01)
    for streamed in (False, True):
        text = f"{ask} {streamed}."
        aimock.answers(
            text,
            {"error": {"message": "slow down", "type": "rate"}, "status": 429, "retryAfter": 0},
            {"error": {"message": "too much", "type": "server"}, "status": 503},
            {"content": "At last."},
        )
        client = PROVIDERS[name](aimock.url, max_retries=2)
        if streamed:
            _, result = await read(client, user(text))
        else:
            result = await client.create([user(text)])
        assert result.content == "At last."
        assert len(aimock.requests(text)) == 3
        await client.close()


async def test_a_server_that_says_nothing_for_too_long_is_an_error(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    aimock.answers(ask, {"content": "Never mind that."}, chunkSize=5, latency=30_000)
    client = provider(aimock.url, timeout=0.2)
    with pytest.raises(provider.error(provider.timed_out)):
        await read(client, user(ask))
    assert aimock.established() == 0
    await client.close()


async def test_a_stream_that_is_cut_off_is_an_error(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    aimock.answers(ask, {"content": "A long answer. " * 9}, chunkSize=5, truncateAfterChunks=4)
    client = provider(aimock.url)
    with pytest.raises(provider.error(provider.cut)) as caught:
        await read(client, user(ask))
    assert f"{provider.client} to {provider.model}" in caught.value.__notes__[0]
    assert aimock.established() == 0
    await client.close()


async def test_a_server_that_is_not_there_is_an_error(provider: Provider) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        client = provider(url)
        expected = ConnectionError if provider.name == "ollama" else provider.error(provider.cut)
        with pytest.raises(expected):
            await client.create([user("Are you there?")])
        await client.close()


async def test_many_tasks_use_one_client(aimock: ModelServer, provider: Provider, ask: str) -> None:
    aimock.answers(ask, {"content": "Hello."})
    client = provider(aimock.url)
    answers: list[CreateResult] = []

    async def once() -> None:
        answers.append(await client.create([user(ask)]))

    async with anyio.create_task_group() as group:
        for _ in range(200 if provider.name == "openai" else 50):
            group.start_soon(once)
    assert {answer.content for answer in answers} == {"Hello."}
    await client.close()
    assert aimock.established() == 0


# MC-37
async def test_calls_are_logged_and_their_bodies_are_not(
    aimock: ModelServer, provider: Provider, ask: str, caplog: pytest.LogCaptureFixture
) -> None:
    aimock.answers(ask, {"content": "A secret.", "usage": usage(provider, 3, 2)})
    client = provider(aimock.url)
    with caplog.at_level(logging.INFO, logger=EVENT_LOGGER_NAME):
        result = await client.create([user(ask)])
        await read(client, user(ask))
    events = [r.msg for r in caplog.records if r.name == EVENT_LOGGER_NAME]
    call = next(event for event in events if isinstance(event, LLMCallEvent))
    assert call.prompt_tokens == result.usage.prompt_tokens
    assert any(isinstance(event, LLMStreamEndEvent) for event in events)
    for event in events:
        assert "A secret." not in str(event)
        assert ask not in str(event)
        assert "sk-test" not in str(event)
    await client.close()


# MC-12
async def test_a_stream_of_openai_counts_only_if_it_is_asked_to(
    aimock: ModelServer, ask: str
) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    aimock.answers(ask, {"content": "Hello.", "usage": usage})
    client = OpenAIChatCompletionClient(
        model="gpt-4o", api_key="k", base_url=f"{aimock.url}/v1", max_retries=0
    )
    _, silent = await read(client, user(ask))
    assert silent.usage == RequestUsage(0, 0)
    _, asked = await read(client, user(ask), include_usage=True)
    assert asked.usage == RequestUsage(3, 2)
    _, extra = await read(client, user(ask), extra_create_args=WITH_USAGE)
    assert extra.usage == RequestUsage(3, 2)
    assert client.total_usage() == RequestUsage(6, 4)
    await client.close()


# MC-16
async def test_arguments_of_the_api_go_through_and_win(aimock: ModelServer, ask: str) -> None:
    aimock.answers(ask, {"content": "Hello."})
    client = PROVIDERS["openai"](
        aimock.url, temperature=0.5, seed=7, stop=["END"], parallel_tool_calls=False
    )
    await client.create(
        [user(ask)],
        tools=[ADD],
        extra_create_args={"tool_choice": "required", "temperature": 1.0, "max_tokens": 9},
    )
    await client.create([user(ask)])
    first, second = aimock.requests(ask)
    assert (first["tool_choice"], first["temperature"], first["max_tokens"]) == ("required", 1.0, 9)
    assert (first["seed"], first["stop"], first["parallel_tool_calls"]) == (7, ["END"], False)
    assert second["temperature"] == 0.5
    assert "parallel_tool_calls" not in second  # the API refuses it without tools
    with pytest.raises(ValueError, match=r"'no_such'.*extra_body"):
        await client.create([user(ask)], extra_create_args={"no_such": 1})
    await client.close()


# MC-25
@pytest.mark.parametrize("streamed", [False, True])
async def test_another_model_that_answers_is_a_warning_and_the_call_goes_on(
    aimock: ModelServer, ask: str, streamed: bool
) -> None:
    aimock.answers(ask, {"content": "Hello.", "model": "gpt-4o-mini"})
    client = PROVIDERS["openai"](aimock.url)
    with pytest.warns(UserWarning, match="gpt-4o was asked, and gpt-4o-mini has answered"):
        result = await (whole(client, ask) if streamed else client.create([user(ask)]))
    assert result.content == "Hello."
    await client.close()


# MC-19
async def test_azure_is_asked_by_its_deployment(aimock: ModelServer, ask: str) -> None:
    aimock.answers(ask, {"content": "Hello."})
    for options in ({"api_key": "k"}, {"azure_ad_token_provider": lambda: "token"}):
        client = AzureOpenAIChatCompletionClient(
            model="gpt-4o",
            azure_endpoint=aimock.url,
            azure_deployment="mine",
            api_version="2024-10-21",
            **options,  # type: ignore[typeddict-item]
        )
        assert (await client.create([user(ask)])).content == "Hello."
        _, result = await read(client, user(ask))
        assert result.content == "Hello."
        await client.close()


# MC-22
async def test_the_thoughts_of_claude_go_back_with_the_results(
    aimock: ModelServer, ask: str
) -> None:
    call = {"name": "add", "arguments": '{"a": 1, "b": 2}', "id": "toolu_1"}
    aimock.answers(ask, {"toolCalls": [call], "reasoning": "1+2", "reasoningSignature": "signed"})
    client = PROVIDERS["anthropic"](aimock.url, thinking={"type": "enabled", "budget_tokens": 1024})
    for streamed in (False, True):
        if streamed:
            texts, result = await read(client, user(ask), tools=[ADD])
            assert "".join(texts) == "<think>1+2</think>"
        else:
            result = await client.create([user(ask)], tools=[ADD])
        assert result.thought == "1+2"
        assert result.content == [
            FunctionCall(id="toolu_1", name="add", arguments=result.content[0].arguments)  # type: ignore[union-attr]
        ]
        said = AssistantMessage(content=result.content, source="agent")
        again = client._request([user(ask), said], [ADD], "auto", None, {})  # type: ignore[attr-defined]
        thinking, use = again["messages"][1]["content"]
        assert (thinking["type"], thinking["signature"]) == ("thinking", "signed")
        assert use["id"] == "toolu_1"
    await client.close()


# MC-17
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_thoughts_of_a_server_that_takes_them_go_back_with_the_results(
    aimock: ModelServer, ask: str, streamed: bool
) -> None:
    call = {"name": "add", "arguments": '{"a": 1, "b": 2}', "id": "call_1"}
    aimock.answers(ask, {"toolCalls": [call], "reasoning": "1+2"})
    client = PROVIDERS["openai"](aimock.url)
    if streamed:
        _, result = await read(client, user(ask), tools=[ADD])
    else:
        result = await client.create([user(ask)], tools=[ADD])
    assert result.thought == "1+2"
    assert not isinstance(result.content, str)
    said = AssistantMessage(content=result.content, source="agent", thought=result.thought)
    await client.create([said, user(ask)], tools=[ADD])
    sent = aimock.requests(ask)[-1]["messages"][0]
    assert (sent["content"], sent["reasoning_content"]) == (None, "1+2")
    await client.close()
