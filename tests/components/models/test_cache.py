from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from autogen_core import InMemoryStore as TheirStore
from autogen_ext.models.cache import ChatCompletionCache as TheirCache
from autogen_ext.models.replay import ReplayChatCompletionClient as TheirClient
from hypothesis import given, settings, strategies as st
from PIL import Image as pil
from pydantic import BaseModel, SecretStr

from trio_agents import (
    CacheStore,
    CancellationToken,
    Component,
    ComponentPolicy,
    FunctionCall,
    Image,
    InMemoryStore,
)
from trio_agents.exceptions import ComponentNotAllowed
from trio_agents.ext.models._cache_key import identity_of, key_of
from trio_agents.ext.models.cache import CHAT_CACHE_VALUE_TYPE, ChatCompletionCache
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    UserMessage,
)

HELLO = UserMessage(content="hello", source="user")
CALLS = CreateResult(
    finish_reason="function_calls",
    content=[FunctionCall(id="1", name="look", arguments="{}")],
    usage=RequestUsage(5, 6),
    cached=False,
    thought="I should look",
)


def fresh(*answers: str | CreateResult) -> ReplayChatCompletionClient:
    """A client whose answers come from no cache."""
    client = ReplayChatCompletionClient(answers)
    client.set_cached_bool_value(False)
    return client


async def streamed(client: ChatCompletionClient, **arguments: Any) -> list[str | CreateResult]:
    async with aclosing(client.create_stream([HELLO], **arguments)) as stream:
        return [piece async for piece in stream]


# MC-32 MC-33
async def test_the_same_request_is_answered_from_the_cache_and_costs_nothing() -> None:
    inner = fresh("one", "two")
    client = ChatCompletionCache(inner)
    first = await client.create([HELLO])
    usage = client.total_usage(), client.actual_usage(), inner.total_usage()
    again = await client.create([HELLO])
    assert (first.cached, again.cached) == (False, True)
    assert again.content == first.content == "one"
    assert (client.total_usage(), client.actual_usage(), inner.total_usage()) == usage
    assert len(inner.create_calls) == 1


# MC-34
async def test_a_schema_as_tool_choice_is_refused_as_by_the_client_itself() -> None:
    schema: Any = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    client = ChatCompletionCache(fresh("hello"))
    with pytest.raises(TypeError, match="tool_choice: expected a Tool, not a schema"):
        await client.create([HELLO], tools=[schema], tool_choice=schema)


async def test_a_stream_is_replayed_in_its_pieces() -> None:
    inner = fresh("one two three", "other")
    client = ChatCompletionCache(inner)
    *pieces, first = await streamed(client)
    usage = client.total_usage()
    *again, last = await streamed(client)
    assert pieces == again == ["one ", "two ", "three"]
    assert isinstance(first, CreateResult)
    assert isinstance(last, CreateResult)
    assert (first.cached, last.cached) == (False, True)
    assert client.total_usage() == usage
    assert (await client.create([HELLO])).content == "one two three"


async def test_a_whole_answer_is_streamed_as_one_piece() -> None:
    client = ChatCompletionCache(fresh("one two"))
    whole = await client.create([HELLO])
    assert await streamed(client) == ["one two", whole.model_copy(update={"cached": True})]


async def test_function_calls_and_thoughts_are_kept() -> None:
    client = ChatCompletionCache(fresh(CALLS))
    await client.create([HELLO])
    kept = CALLS.model_copy(update={"cached": True})
    assert await client.create([HELLO]) == kept
    assert await streamed(client) == [kept]


async def test_an_answer_that_is_changed_is_kept_as_it_was() -> None:
    client = ChatCompletionCache(fresh(CALLS))
    for _ in range(3):
        answer = await client.create([HELLO])
        assert isinstance(answer.content, list)
        assert len(answer.content) == 1
        answer.content.clear()


async def test_a_stream_that_is_left_early_keeps_nothing() -> None:
    inner = fresh("one two", "three")
    client = ChatCompletionCache(inner)
    async with aclosing(client.create_stream([HELLO])) as stream:
        async for _ in stream:
            break
    assert (await client.create([HELLO])).content == "three"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_a_server_has_ended_early_is_not_kept(stream: bool) -> None:
    cut = CreateResult(
        finish_reason="unknown", content="half an", usage=RequestUsage(1, 2), cached=False
    )
    cache = ChatCompletionCache(fresh(cut, "whole"))
    for expected in ("half an", "whole", "whole"):
        if stream:
            result = (await streamed(cache))[-1]
            assert isinstance(result, CreateResult)
        else:
            result = await cache.create([HELLO])
        assert result.content == expected


async def test_a_stream_that_is_read_to_its_result_only_is_kept() -> None:
    client = ChatCompletionCache(fresh("one two"))
    async with aclosing(client.create_stream([HELLO])) as stream:
        async for piece in stream:
            if isinstance(piece, CreateResult):
                break
    assert (await client.create([HELLO])).cached


# --- keys


class Answer(BaseModel):
    text: str


class OtherAnswer(BaseModel):
    number: int


class SameFields(BaseModel):
    text: str


def picture(color: str) -> UserMessage:
    return UserMessage(content=["see", Image.from_pil(pil.new("RGB", (2, 2), color))], source="u")


REQUESTS: list[dict[str, Any]] = [
    {"messages": [HELLO]},
    {"messages": [HELLO, HELLO]},
    {"messages": [UserMessage(content="hello", source="other")]},
    {"messages": [SystemMessage(content="hello")]},
    {"messages": [AssistantMessage(content="hello", source="user")]},
    {"messages": [AssistantMessage(content="hello", source="user", thought="x")]},
    {"messages": [picture("red")]},
    {"messages": [picture("blue")]},
    {"messages": [HELLO], "tools": [{"name": "look"}]},
    {"messages": [HELLO], "tools": [{"name": "look", "description": "looks"}]},
    {"messages": [HELLO], "tools": [{"name": "look"}], "tool_choice": "required"},
    {"messages": [HELLO], "tools": [{"name": "look"}], "tool_choice": "none"},
    {"messages": [HELLO], "json_output": True},
    {"messages": [HELLO], "json_output": False},
    {"messages": [HELLO], "json_output": Answer},
    {"messages": [HELLO], "json_output": OtherAnswer},
    {"messages": [HELLO], "extra_create_args": {"seed": 1}},
    {"messages": [HELLO], "extra_create_args": {"seed": "1"}},
    {"messages": [HELLO], "extra_create_args": {"seed": True}},
    {"messages": [HELLO], "extra_create_args": {"prediction": Answer(text="a")}},
    {"messages": [HELLO], "extra_create_args": {"prediction": SameFields(text="a")}},
    {"messages": [HELLO], "extra_create_args": {"response_format": Answer}},
    {"messages": [HELLO], "extra_create_args": {"response_format": OtherAnswer}},
]


# MC-34
async def test_each_argument_makes_another_request() -> None:
    answers = [str(number) for number in range(len(REQUESTS))]
    client = ChatCompletionCache(fresh(*answers))
    for _ in ("asked", "answered from the cache"):
        got = [await client.create(**request) for request in REQUESTS]
        assert [answer.content for answer in got] == answers


def key(client: ChatCompletionClient, **request: Any) -> str | None:
    arguments: dict[str, Any] = {
        "messages": [HELLO],
        "tools": (),
        "tool_choice": "auto",
        "json_output": None,
        "extra_create_args": {},
    }
    return key_of(identity_of(client), **(arguments | request))


class Config(BaseModel):
    model: str
    api_key: SecretStr | None = None


class Stub(ReplayChatCompletionClient):
    """A client with a configuration of its own."""

    component_provider_override = "tests.Stub"

    def __init__(self, config: Config) -> None:
        super().__init__(["x"])
        self._config = config

    def _to_config(self) -> Any:
        return self._config


def test_the_order_of_arguments_by_name_makes_no_difference() -> None:
    client = Stub(Config(model="a"))
    assert key(client, extra_create_args={"a": 1, "b": 2}) == key(
        client, extra_create_args={"b": 2, "a": 1}
    )


def test_keys_are_of_the_client_and_its_configuration_but_not_of_its_secrets() -> None:
    plain = key(Stub(Config(model="a")))
    assert plain == key(Stub(Config(model="a")))
    assert plain == key(Stub(Config(model="a", api_key=SecretStr("sk-1"))))
    assert plain != key(Stub(Config(model="b")))
    assert plain != key(fresh("x"))
    assert "sk-1" not in identity_of(Stub(Config(model="a", api_key=SecretStr("sk-1"))))


def test_keys_are_the_same_in_every_process() -> None:
    code = (
        "from trio_agents.ext.models._cache_key import identity_of, key_of\n"
        "from trio_agents.ext.models.replay import ReplayChatCompletionClient as Client\n"
        "from trio_agents.models import UserMessage\n"
        "print(key_of(identity_of(Client(['x'])), [UserMessage(content='hello', source='user')],"
        " tools=(), tool_choice='auto', json_output=None, extra_create_args={}), end='')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == key(ReplayChatCompletionClient(["x"]))


async def test_clients_that_cannot_be_dumped_share_nothing() -> None:
    class Local(ReplayChatCompletionClient):
        component_provider_override = None

    store = InMemoryStore[CHAT_CACHE_VALUE_TYPE]()
    one, other = (ChatCompletionCache(Local([name]), store) for name in ("one", "other"))
    assert [(await one.create([HELLO])).content for _ in "12"] == ["one", "one"]
    assert (await other.create([HELLO])).content == "other"


async def test_clients_share_a_store_by_their_configuration() -> None:
    store = InMemoryStore[CHAT_CACHE_VALUE_TYPE]()
    assert (await ChatCompletionCache(fresh("one"), store).create([HELLO])).content == "one"
    assert (await ChatCompletionCache(fresh("one"), store).create([HELLO])).cached
    assert (await ChatCompletionCache(fresh("two"), store).create([HELLO])).content == "two"


@pytest.mark.parametrize(
    ("client", "model", "variable"),
    [
        ("openai.OpenAIChatCompletionClient", "gpt-4o", "OPENAI_BASE_URL"),
        ("anthropic.AnthropicChatCompletionClient", "claude-sonnet-5", "ANTHROPIC_BASE_URL"),
        ("ollama.OllamaChatCompletionClient", "llama3.2", "OLLAMA_HOST"),
    ],
)
def test_a_server_that_the_environment_names_gives_answers_of_its_own(
    client: str, model: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = client.partition(".")
    make = getattr(importlib.import_module(f"trio_agents.ext.models.{module}"), name)
    options = {"model": model} if module == "ollama" else {"model": model, "api_key": "k"}

    def identity(url: str | None) -> str:
        if url is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, url)
        return identity_of(make(**options))

    urls = (None, "http://one:1", "http://two:2")
    assert len({identity(url) for url in urls}) == 3
    assert identity(urls[1]) == identity(urls[1])


async def test_a_request_that_cannot_be_told_from_others_is_always_asked() -> None:
    client = ChatCompletionCache(fresh("one", "two", "three", "four", "five"))
    hook = {"hook": lambda: None}
    assert (await client.create([HELLO], extra_create_args=hook)).content == "one"
    assert (await client.create([HELLO], extra_create_args=hook)).content == "two"
    assert (await streamed(client, extra_create_args=hook))[0] == "three"
    assert (await streamed(client, extra_create_args=hook))[0] == "four"
    assert key(client.client, extra_create_args={"type": int}) is None


async def test_what_the_client_refuses_is_refused_by_the_cache() -> None:
    client = ChatCompletionCache(fresh("one"))
    text: Any = "hello"
    with pytest.raises(TypeError, match="a message must be one of"):
        await client.create(text)
    with pytest.raises(ValueError, match="two tools are called 'look'"):
        await client.create([HELLO], tools=[{"name": "look"}, {"name": "look"}])


# --- stores


class JsonStore(CacheStore[CHAT_CACHE_VALUE_TYPE]):
    """A store that keeps text, as one on a disk or a server does."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.texts[key]) if key in self.texts else default

    def set(self, key: str, value: CHAT_CACHE_VALUE_TYPE) -> None:
        self.texts[key] = json.dumps(value, allow_nan=False)


async def test_values_are_plain_json() -> None:
    store = JsonStore()
    client = ChatCompletionCache(fresh(CALLS, "text with \N{SNOWMAN}"), store)
    await client.create([HELLO])
    await streamed(client, json_output=True)
    assert await client.create([HELLO]) == CALLS.model_copy(update={"cached": True})
    assert (await streamed(client, json_output=True))[0] == "text "


class GivesText(JsonStore):
    def get(self, key: str, default: Any = None) -> Any:
        return self.texts.get(key, default)


class GivesBytes(JsonStore):
    def get(self, key: str, default: Any = None) -> Any:
        return self.texts[key].encode() if key in self.texts else default


@pytest.mark.parametrize("store", [GivesText(), GivesBytes()], ids=["text", "bytes"])
async def test_a_store_may_give_json_as_it_is(store: JsonStore) -> None:
    store.texts.clear()
    client = ChatCompletionCache(fresh(CALLS), store)
    await client.create([HELLO])
    assert await client.create([HELLO]) == CALLS.model_copy(update={"cached": True})


GOOD = {
    "version": 1,
    "result": {**CALLS.model_dump(mode="json"), "content": "damaged"},
    "pieces": None,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)
DAMAGED = st.one_of(
    JSON.filter(lambda value: value is not None),
    st.binary(),
    st.builds(lambda name, value: {**GOOD, name: value}, st.just("result"), JSON),
    st.builds(lambda value: {**GOOD, "version": value}, st.integers().filter(lambda v: v != 1)),
    st.builds(
        lambda value: {**GOOD, "pieces": value}, st.integers() | st.lists(st.integers(), min_size=1)
    ),
    st.builds(lambda cut: json.dumps(GOOD)[:cut], st.integers(0, len(json.dumps(GOOD)) - 1)),
    st.just(CALLS),
    st.just(["one", CALLS]),
)


async def asked_over(value: Any, stream: bool) -> None:
    store = InMemoryStore[Any]()
    inner = fresh("one", "two")
    client = ChatCompletionCache(inner, store)
    await client.create([HELLO])
    (name,) = store._values
    store.set(name, value)
    if stream:
        assert (await streamed(client))[0] == "two"
    else:
        assert (await client.create([HELLO])).content == "two"
    again = await client.create([HELLO])
    assert (again.content, again.cached) == ("two", True)


@given(DAMAGED, st.booleans())
@settings(deadline=None, max_examples=100)
def test_a_value_that_is_damaged_is_asked_for_again_and_replaced(value: Any, stream: bool) -> None:
    anyio.run(asked_over, value, stream, backend="trio")


class Undecodable(JsonStore):
    def get(self, key: str, default: Any = None) -> Any:
        return json.loads("{") if key in self.texts else default


async def test_a_value_that_the_store_cannot_decode_is_asked_for_again() -> None:
    client = ChatCompletionCache(fresh("one", "two"), Undecodable())
    assert [(await client.create([HELLO])).content for _ in "12"] == ["one", "two"]


class Full(InMemoryStore[CHAT_CACHE_VALUE_TYPE]):
    def set(self, key: str, value: Any) -> None:
        raise OSError("no space left")


async def test_a_store_that_cannot_keep_an_answer_fails_the_request() -> None:
    client = ChatCompletionCache(fresh("one", "two"), Full())
    with pytest.raises(OSError, match="no space left"):
        await client.create([HELLO])
    with pytest.raises(OSError, match="no space left"):
        await streamed(client)


class Failing(InMemoryStore[CHAT_CACHE_VALUE_TYPE]):
    def get(self, key: str, default: Any = None) -> Any:
        raise ConnectionError("the server is gone")


async def test_a_store_that_fails_fails_the_request_before_it_costs_anything() -> None:
    inner = fresh("one")
    client = ChatCompletionCache(inner, Failing())
    for _ in range(2):  # and leaves no lock behind
        with pytest.raises(ConnectionError):
            await client.create([HELLO])
    with pytest.raises(ConnectionError):
        await streamed(client)
    assert inner.total_usage() == RequestUsage(0, 0)


# --- at the same time


class Gated(ReplayChatCompletionClient):
    """A client whose answers wait for a gate."""

    component_provider_override = "tests.Gated"

    def __init__(self, answers: Sequence[str]) -> None:
        super().__init__(answers)
        self.set_cached_bool_value(False)
        self.asked = 0
        self.began = anyio.Event()
        self.gate = anyio.Event()
        self.error: Exception | None = None

    async def create(self, messages: Sequence[LLMMessage], **arguments: Any) -> CreateResult:
        self.asked += 1
        self.began.set()
        await self.gate.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return await super().create(messages, **arguments)


async def test_identical_calls_at_the_same_time_make_one_request() -> None:
    inner = Gated(["one", "two"])
    client = ChatCompletionCache(inner)
    answers: list[CreateResult] = []

    async def ask() -> None:
        answers.append(await client.create([HELLO]))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        await inner.began.wait()
        inner.gate.set()
    assert inner.asked == 1
    assert [answer.content for answer in answers] == ["one"] * 5
    assert sorted(answer.cached for answer in answers) == [False, True, True, True, True]
    assert not client._locks


async def test_different_calls_do_not_wait_for_each_other() -> None:
    inner = Gated(["one", "two"])
    client = ChatCompletionCache(inner)
    async with anyio.create_task_group() as group:
        group.start_soon(client.create, [HELLO])
        group.start_soon(client.create, [HELLO, HELLO])
        await anyio.wait_all_tasks_blocked()
        assert inner.asked == 2
        inner.gate.set()


async def test_a_failure_is_not_kept_and_the_next_call_asks_itself() -> None:
    inner = Gated(["one"])
    inner.error = TimeoutError("too slow")
    client = ChatCompletionCache(inner)
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            outcomes.append(str((await client.create([HELLO])).content))
        except TimeoutError as error:
            outcomes.append(str(error))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        await inner.began.wait()
        inner.gate.set()
    assert sorted(outcomes) == ["one", "one", "too slow"]
    assert inner.asked == 2


async def test_who_waits_asks_itself_where_the_first_is_cancelled() -> None:
    inner = Gated(["one"])
    client = ChatCompletionCache(inner)
    answers: list[CreateResult] = []
    scope = anyio.CancelScope()

    async def first() -> None:
        with scope:
            await client.create([HELLO])

    async def second() -> None:
        await inner.began.wait()
        answers.append(await client.create([HELLO]))

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        group.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        inner.gate.set()
    assert (inner.asked, [answer.content for answer in answers]) == (2, ["one"])


async def test_a_token_ends_the_wait_for_the_same_request(
    MessageCancelled: type[BaseException],
) -> None:
    inner = Gated(["one"])
    client = ChatCompletionCache(inner)
    token = CancellationToken()
    async with anyio.create_task_group() as group:
        group.start_soon(client.create, [HELLO])
        await anyio.wait_all_tasks_blocked()

        async def cancel() -> None:
            await anyio.wait_all_tasks_blocked()
            token.cancel()

        group.start_soon(cancel)
        with pytest.raises(MessageCancelled, match="waiting for the same request"):
            await client.create([HELLO], cancellation_token=token)
        inner.gate.set()
    assert inner.asked == 1


async def test_a_kept_answer_is_not_given_to_a_cancelled_token(
    MessageCancelled: type[BaseException],
) -> None:
    client = ChatCompletionCache(fresh("one two"))
    await client.create([HELLO])
    token = CancellationToken()
    token.cancel()
    with pytest.raises(MessageCancelled):
        await client.create([HELLO], cancellation_token=token)
    with pytest.raises(MessageCancelled):
        await streamed(client, cancellation_token=token)


async def test_the_same_may_be_asked_while_its_stream_is_read() -> None:
    client = ChatCompletionCache(fresh("one two", "three"))
    async with aclosing(client.create_stream([HELLO])) as stream:
        async for _ in stream:
            break
        assert (await client.create([HELLO])).content == "three"


class Closing(ReplayChatCompletionClient):
    component_provider_override = "tests.Closing"
    closed = 0
    stream_closed = False

    async def close(self) -> None:
        self.closed += 1

    async def create_stream(
        self, messages: Sequence[LLMMessage], **arguments: Any
    ) -> AsyncGenerator[str | CreateResult, None]:
        try:
            async with aclosing(super().create_stream(messages, **arguments)) as stream:
                async for piece in stream:
                    yield piece
        finally:
            self.stream_closed = True


# MC-35
async def test_closing_closes_the_client() -> None:
    inner = Closing([])
    client = ChatCompletionCache(inner)
    await inner.close()
    await client.close()
    assert inner.closed == 2


async def test_leaving_a_stream_closes_that_of_the_client() -> None:
    inner = Closing(["one two"])
    async with aclosing(ChatCompletionCache(inner).create_stream([HELLO])) as stream:
        async for _ in stream:
            break
    assert inner.stream_closed


async def test_the_rest_is_the_clients() -> None:
    inner = fresh("one")
    client = ChatCompletionCache(inner)
    assert client.count_tokens([HELLO]) == inner.count_tokens([HELLO]) == 1
    assert client.remaining_tokens([HELLO]) == inner.remaining_tokens([HELLO])
    assert client.model_info is inner.model_info
    assert client.capabilities is inner.capabilities


# --- components


class PathConfig(BaseModel):
    path: str


class PathStore(JsonStore, Component[PathConfig]):
    """A store that has a configuration."""

    component_config_schema = PathConfig
    component_provider_override = "tests.PathStore"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def _to_config(self) -> PathConfig:
        return PathConfig(path=self.path)

    @classmethod
    def _from_config(cls, config: PathConfig) -> PathStore:
        return cls(config.path)


async def test_it_is_described_with_its_client_and_store() -> None:
    client = ChatCompletionCache(ReplayChatCompletionClient(["one"]), PathStore("here"))
    data = json.loads(client.dump_component().model_dump_json())
    assert data["provider"] == "trio_agents.ext.models.cache.ChatCompletionCache"
    with pytest.raises(ComponentNotAllowed):
        ChatCompletionClient.load_component(data)
    policy = ComponentPolicy(classes=[PathStore])
    again = ChatCompletionClient.load_component(data, policy=policy)
    assert isinstance(again, ChatCompletionCache)
    assert isinstance(again.store, PathStore)
    assert again.store.path == "here"
    assert (await again.create([HELLO])).content == "one"


def test_a_dictionary_is_not_described() -> None:
    client = ChatCompletionCache(ReplayChatCompletionClient(["one"]))
    assert list(client.dump_component().config) == ["client"]


async def test_autogens_dump_loads() -> None:
    foreign = TheirCache(TheirClient(["one", "two"]), TheirStore())
    data = json.loads(foreign.dump_component().model_dump_json())
    client = ChatCompletionClient.load_component(data)
    assert [(await client.create([HELLO])).content for _ in "12"] == ["one", "one"]
    data["config"]["store"] = {
        "provider": "autogen_core.InMemoryStore",
        "component_type": "cache_store",
        "version": 1,
        "component_version": 1,
        "config": {},
    }
    client = ChatCompletionClient.load_component(data)
    assert (await client.create([HELLO])).content == "one"
