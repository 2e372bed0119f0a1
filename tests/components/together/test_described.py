"""Components inside of components, dumped to JSON text and loaded again: also those of AutoGen."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trio_agents import (
    CacheStore,
    CancellationToken,
    ComponentLoader,
    ComponentPolicy,
    InMemoryStore,
    use_component_policy,
)
from trio_agents.exceptions import ComponentError, ComponentNotAllowed
from trio_agents.ext.cache_store.diskcache import DiskCacheStore
from trio_agents.ext.cache_store.redis import RedisStore
from trio_agents.ext.code_executors.local import LocalCommandLineCodeExecutor
from trio_agents.ext.models.cache import ChatCompletionCache
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.ext.tools.code_execution import PythonCodeExecutionTool
from trio_agents.ext.tools.http import HttpTool
from trio_agents.memory import ListMemory, MemoryContent, MemoryMimeType
from trio_agents.model_context import TokenLimitedChatCompletionContext
from trio_agents.models import ChatCompletionClient, SystemMessage, UserMessage
from trio_agents.tools import FunctionTool, StaticWorkbench, ToolOverride, Workbench

MASK = "**********"
ASKED = [UserMessage(content="hi", source="user")]
CODE = ComponentPolicy(code=True)

StoreMaker = Callable[[], CacheStore[Any]]


def text_of(component: Any) -> str:
    text: str = component.dump_component().model_dump_json()
    return text


@pytest.fixture(params=["memory", "disk", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheStore[Any]]:
    if request.param == "memory":
        yield InMemoryStore()
    elif request.param == "disk":
        diskcache = pytest.importorskip("diskcache")
        with diskcache.Cache(str(tmp_path / "cache")) as cache:
            disk = DiskCacheStore[Any](cache)
            yield disk
            disk.close()
    else:
        redis = pytest.importorskip("redis")
        path = request.getfixturevalue("redis_socket")
        with redis.Redis(unix_socket_path=path, password="store-secret") as client:
            client.flushall()
            yield RedisStore(client)


def closed(store: Any) -> None:
    if isinstance(store, DiskCacheStore | RedisStore):
        store.close()


# CMP-28
def test_a_cache_around_openai_comes_back_from_text_that_has_no_secret(
    store: CacheStore[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    openai = pytest.importorskip("trio_agents.ext.models.openai")
    pytest.importorskip("openai")
    client = openai.OpenAIChatCompletionClient(
        model="gpt-4o",
        api_key="sk-client-secret",
        default_headers={"x-api-key": "sk-header-secret", "x-team": "blue"},
    )
    text = text_of(ChatCompletionCache(client, store))
    assert "secret" not in text
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    loaded = ChatCompletionClient.load_component(json.loads(text))
    assert isinstance(loaded, ChatCompletionCache)
    assert type(loaded.store) is type(store)
    assert type(loaded.client) is type(client)
    without_masks = re.compile(r'"[a-z_-]+":"\*{10}",?')
    assert without_masks.sub("", text_of(loaded)) == without_masks.sub("", text)
    closed(loaded.store)


async def test_a_cache_that_was_loaded_answers_what_the_other_one_has_asked(
    store: CacheStore[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ChatCompletionCache(ReplayChatCompletionClient(["first", "second"]), store)
    description = cache.dump_component()  # in the process: with the password of the store
    first = await cache.create(ASKED)
    again = ChatCompletionClient.load_component(description)
    assert isinstance(again, ChatCompletionCache)
    second = await again.create(ASKED)
    if isinstance(store, InMemoryStore):
        assert not second.cached or second.content == "first"
    else:
        assert (second.content, second.cached) == (first.content, True)
    closed(again.store)


# A damaged entry is a miss, whatever damaged it.
@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"version": 1}', '{"version": 99}', "\x00", "null", '"x"', "1e999"]
)
async def test_a_damaged_entry_is_a_miss(tmp_path: Path, damage: str) -> None:
    diskcache = pytest.importorskip("diskcache")
    with diskcache.Cache(str(tmp_path / "cache")) as raw:
        store = DiskCacheStore[Any](raw)
        cache = ChatCompletionCache(ReplayChatCompletionClient(["first", "second", "third"]), store)
        await cache.create(ASKED)
        [key] = list(raw)
        raw.set(key, damage)
        assert (await cache.create(ASKED)).content == "second"
        assert (await cache.create(ASKED)).content == "second"
        closed(store)


def add(a: int, b: int = 1) -> int:
    return a + b


def http_tool() -> HttpTool:
    return HttpTool(
        name="weather",
        host="127.0.0.1",
        port=9,
        json_schema={"type": "object", "properties": {}},
        headers={"Authorization": "Bearer http-secret"},
    )


@pytest.fixture
def workbench(tmp_path: Path) -> StaticWorkbench:
    executor = LocalCommandLineCodeExecutor(
        work_dir=tmp_path / "work", sandbox=None, env={"KEY": "env-secret"}
    )
    return StaticWorkbench(
        [FunctionTool(add, "Add."), http_tool(), PythonCodeExecutionTool(executor)],
        {"add": ToolOverride(name="plus")},
    )


# CMP-18 CMP-28
async def test_a_workbench_of_all_kinds_of_tools_comes_back_if_code_is_allowed(
    workbench: StaticWorkbench,
) -> None:
    text = text_of(workbench)
    assert "secret" not in text
    with pytest.raises(ComponentNotAllowed, match="source_code") as refused:
        Workbench.load_component(json.loads(text))
    assert any("StaticWorkbench" in note for note in refused.value.__notes__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no sandbox was decided on
        loaded = Workbench.load_component(json.loads(text), policy=CODE)
    assert await loaded.list_tools() == await workbench.list_tools()
    result = await loaded.call_tool("plus", {"a": 2, "b": 3})
    assert (result.to_text(), result.is_error) == ("5", False)
    ran = await loaded.call_tool("CodeExecutor", {"code": "print(6 * 7)"})
    assert (ran.to_text().strip(), ran.is_error) == ("42", False)


def test_an_inner_load_cannot_allow_more_than_the_outer_was_given(
    workbench: StaticWorkbench,
) -> None:
    description = json.loads(text_of(workbench))
    with use_component_policy(CODE), pytest.raises(ComponentNotAllowed):
        Workbench.load_component(description, policy=ComponentPolicy())
    with pytest.raises(ComponentNotAllowed):  # and nothing of it is left behind
        Workbench.load_component(description)


async def test_a_context_holds_its_client_and_its_tools_through_text() -> None:
    context = TokenLimitedChatCompletionContext(
        ReplayChatCompletionClient(["x"]),
        token_limit=4,
        tool_schema=[http_tool().schema],
        initial_messages=[SystemMessage(content="be brief")],
    )
    await context.add_message(UserMessage(content="one two three four five", source="user"))
    loaded = TokenLimitedChatCompletionContext.load_component(json.loads(text_of(context)))
    await loaded.load_state(await context.save_state())
    assert await loaded.get_messages() == await context.get_messages()
    assert text_of(loaded) == text_of(context)


@pytest.mark.parametrize("wrong", ["client", "store"])
def test_a_part_of_another_kind_is_refused_and_says_where(wrong: str) -> None:
    parts: dict[str, Any] = {
        "client": ReplayChatCompletionClient(["x"]).dump_component(),
        "store": InMemoryStore[Any]().dump_component(),
    }
    parts[wrong] = parts["store" if wrong == "client" else "client"]
    with pytest.raises(ComponentError, match="and no") as refused:
        ChatCompletionCache.load_component(
            {"provider": "trio_agents.ext.models.cache.ChatCompletionCache", "config": parts}
        )
    assert any("ChatCompletionCache" in note for note in refused.value.__notes__)


def test_a_secret_in_what_a_class_refuses_is_neither_in_the_error_nor_behind_it() -> None:
    with pytest.raises(ComponentError) as refused:
        ComponentLoader.load_component(
            {
                "provider": "trio_agents.ext.tools.http.HttpTool",
                "config": {
                    "name": "x",
                    "host": "h",
                    "port": 1,
                    "path": "/{hush}",
                    "headers": {"x": "hush"},
                    "json_schema": {"type": "object", "properties": {}},
                },
            }
        )
    assert MASK in str(refused.value)
    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


async def test_a_memory_with_secrets_elsewhere_keeps_pictures_through_text() -> None:
    pillow = pytest.importorskip("PIL.Image")
    from trio_agents import Image

    picture = Image.from_pil(pillow.new("RGB", (2, 2), "red"))
    memory = ListMemory("m", [MemoryContent(content=picture, mime_type=MemoryMimeType.IMAGE)])
    loaded = ListMemory.load_component(json.loads(text_of(memory)))
    assert text_of(loaded) == text_of(memory)
    [content] = (await loaded.query("x")).results
    assert isinstance(content.content, Image)


# What AutoGen 0.7.5 itself dumps here


def autogens() -> dict[str, Callable[[Path], Any]]:
    """Give a maker for each component of AutoGen's that can be imported here."""
    core = pytest.importorskip("autogen_core")
    pytest.importorskip("autogen_ext")
    from autogen_core import memory, model_context, models, tools

    messages = [
        models.SystemMessage(content="s"),
        models.UserMessage(content=["x"], source="u"),
        models.AssistantMessage(
            content=[core.FunctionCall(id="1", name="f", arguments="{}")], source="a"
        ),
        models.FunctionExecutionResultMessage(
            content=[
                models.FunctionExecutionResult(content="r", name="f", call_id="1", is_error=False)
            ]
        ),
    ]

    def replay() -> Any:
        from autogen_ext.models.replay import ReplayChatCompletionClient as Theirs

        return Theirs(["a", "b"])

    def cache(directory: Path) -> Any:
        from autogen_ext.models.cache import ChatCompletionCache as Theirs

        return Theirs(replay(), disk(directory))

    def disk(directory: Path) -> Any:
        import diskcache  # type: ignore[import-untyped]
        from autogen_ext.cache_store.diskcache import DiskCacheStore as Theirs

        with diskcache.Cache(str(directory / "cache")) as made:
            return Theirs(made)

    def redis(directory: Path) -> Any:
        import redis as sdk
        from autogen_ext.cache_store.redis import RedisStore as Theirs

        return Theirs(sdk.Redis(host="127.0.0.1", port=6380, password="x"))

    def local(directory: Path) -> Any:
        from autogen_ext.code_executors.local import LocalCommandLineCodeExecutor as Theirs

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Theirs(work_dir=directory, timeout=7)

    def jupyter(directory: Path) -> Any:
        from autogen_ext.code_executors.jupyter import JupyterCodeExecutor as Theirs

        return Theirs(timeout=7, output_dir=directory)

    def python_tool(directory: Path) -> Any:
        from autogen_ext.tools.code_execution import PythonCodeExecutionTool as Theirs

        return Theirs(local(directory))

    def http(directory: Path) -> Any:
        from autogen_ext.tools.http import HttpTool as Theirs

        return Theirs(
            name="h", host="127.0.0.1", port=1, headers={"x": "y"},
            json_schema={"type": "object", "properties": {"a": {"type": "string"}}},
        )  # fmt: skip

    def function(directory: Path) -> Any:
        return tools.FunctionTool(add, "Add.", global_imports=["json"])

    def static(directory: Path) -> Any:
        return tools.StaticWorkbench([function(directory)])

    return {
        "store": lambda _: core.InMemoryStore(),
        "unbounded": lambda _: model_context.UnboundedChatCompletionContext(messages),
        "buffered": lambda _: model_context.BufferedChatCompletionContext(3, messages),
        "head and tail": lambda _: model_context.HeadAndTailChatCompletionContext(1, 2, messages),
        "token limited": lambda _: model_context.TokenLimitedChatCompletionContext(
            replay(), token_limit=9
        ),
        "memory": lambda _: memory.ListMemory(
            "m", [memory.MemoryContent(content="x", mime_type="text/plain", metadata={"a": 1})]
        ),
        "replay": lambda _: replay(),
        "cache": cache,
        "disk": disk,
        "redis": redis,
        "local": local,
        "jupyter": jupyter,
        "python tool": python_tool,
        "http": http,
        "function": function,
        "static": static,
    }


NAMES = (
    *("store", "unbounded", "buffered", "head and tail", "token limited", "memory", "replay"),
    *("cache", "disk", "redis", "local", "jupyter", "python tool", "http", "function", "static"),
)


# CMP-05 CMP-26
@pytest.mark.filterwarnings("ignore")  # AutoGen's own, and that no sandbox was decided on
@pytest.mark.parametrize("name", NAMES)
def test_what_autogen_dumps_loads_as_ours_and_dumps_with_all_that_it_said(
    name: str, tmp_path: Path
) -> None:
    try:
        theirs = autogens()[name](tmp_path)
    except ImportError as error:
        pytest.skip(f"AutoGen's cannot be imported here: {error}")
    dumped = theirs.dump_component()
    text = dumped.model_dump_json()
    loaded: Any = ComponentLoader.load_component(json.loads(text), policy=CODE)
    assert type(loaded).__module__.startswith("trio_agents")
    ours = json.loads(text_of(loaded))
    assert ours["component_type"] == dumped.component_type
    said = {key: value for key, value in json.loads(text)["config"].items() if value is not None}
    for key, value in said.items():
        if value == MASK or (name, key) in {("http", "headers"), ("http", "json_schema")}:
            continue
        if isinstance(value, dict | list) and "provider" in json.dumps(value):
            continue  # a component inside, which has our name now
        assert ours["config"].get(key) in (value, MASK), key  # AutoGen writes passwords out
    # The object itself is taken as well.
    assert type(ComponentLoader.load_component(dumped, policy=CODE)) is type(loaded)


async def test_a_cancelled_token_ends_a_tool_of_a_workbench_that_was_loaded(
    workbench: StaticWorkbench, MessageCancelled: type[BaseException]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        loaded = Workbench.load_component(json.loads(text_of(workbench)), policy=CODE)
    token = CancellationToken()
    token.cancel()
    with pytest.raises(MessageCancelled):
        await loaded.call_tool("CodeExecutor", {"code": "print(1)"}, token)
