"""Cache stores keep values by key: in memory the objects, on disk and in Redis their JSON."""

from __future__ import annotations

import json
import pickle
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trio_agents import CacheStore, ComponentLoader, InMemoryStore, is_component_class
from trio_agents._components._extras import import_extra
from trio_agents.models import CreateResult, RequestUsage

diskcache: Any = pytest.importorskip("diskcache")
redis: Any = pytest.importorskip("redis")
pytest.importorskip("redis.backoff")

from trio_agents.ext.cache_store.diskcache import DiskCacheStore  # noqa: E402
from trio_agents.ext.cache_store.redis import RedisStore  # noqa: E402

RESULT = CreateResult(
    finish_reason="stop", content="hi", usage=RequestUsage(1, 2), cached=False, thought="é\u2028"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@pytest.fixture
def redis_client(redis_socket: str) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=redis_socket, password="store-secret") as client:
        client.flushall()
        yield client


@pytest.fixture
def disk_store(tmp_path: Path) -> Iterator[DiskCacheStore[Any]]:
    with diskcache.Cache(str(tmp_path / "cache")) as cache:
        store = DiskCacheStore[Any](cache)
        yield store
        store.close()


@pytest.fixture(params=["memory", "disk", "redis"])
def store(request: pytest.FixtureRequest) -> CacheStore[Any]:
    if request.param == "memory":
        return InMemoryStore()
    if request.param == "disk":
        return request.getfixturevalue("disk_store")
    return RedisStore(request.getfixturevalue("redis_client"))


@pytest.fixture(params=["disk", "redis"])
def text_store(request: pytest.FixtureRequest) -> CacheStore[Any]:
    if request.param == "disk":
        return request.getfixturevalue("disk_store")
    return RedisStore(request.getfixturevalue("redis_client"))


# CS-01 CS-04 CS-05 CS-06
def test_a_store_is_a_component_of_its_kind(store: CacheStore[Any]) -> None:
    assert store.component_type == "cache_store"
    assert is_component_class(type(store))
    assert store.dump_component().component_type == "cache_store"


# CS-01
def test_the_interface_alone_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        CacheStore()  # type: ignore[abstract]


# CS-02
def test_what_was_not_set_is_the_default(store: CacheStore[Any]) -> None:
    assert store.get("a") is None
    assert store.get("a", "default") == "default"


# CS-02 CS-03
def test_the_last_value_that_was_set_is_there(store: CacheStore[Any]) -> None:
    store.set("a", {"n": 1})
    store.set("b", {"n": 2})
    store.set("a", {"n": 3})
    assert store.get("a", "default") == {"n": 3}
    assert store.get("b") == {"n": 2}


def test_none_is_a_value(store: CacheStore[Any]) -> None:
    store.set("a", None)
    assert store.get("a", "default") is None


# CS-02 CS-03
@given(st.text(), JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_json_comes_back_as_it_went_in(store: CacheStore[Any], key: str, value: Any) -> None:
    key = key.encode(errors="replace").decode().replace("\0", "0")
    store.set(key, value)
    assert repr(store.get(key)) == repr(value)


# CS-05 CS-06
def test_models_come_back_as_the_json_of_their_fields(text_store: CacheStore[Any]) -> None:
    text_store.set("one", RESULT)
    text_store.set("stream", ["h", "i", RESULT])
    assert CreateResult.model_validate(text_store.get("one")) == RESULT
    *texts, last = text_store.get("stream")
    assert texts == ["h", "i"]
    assert CreateResult.model_validate(last) == RESULT


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, float("nan"), b"x", {"a": {1}}, endless(), "\ud800"]
)
def test_what_is_no_json_is_refused_and_changes_nothing(
    text_store: CacheStore[Any], value: Any
) -> None:
    text_store.set("a", "before")
    with pytest.raises(ValueError, match="the value for a cache"):
        text_store.set("a", value)
    assert text_store.get("a") == "before"


def test_a_long_value_comes_back(text_store: CacheStore[Any]) -> None:
    value = {"text": "é" * 200_000}
    text_store.set("a", value)
    assert text_store.get("a") == value


async def test_a_store_may_be_asked_in_worker_threads(text_store: CacheStore[Any]) -> None:
    await anyio.to_thread.run_sync(text_store.set, "a", [1])
    assert await anyio.to_thread.run_sync(text_store.get, "a") == [1]
    assert text_store.get("a") == [1]


# In memory


# CS-04
def test_in_memory_the_very_object_comes_back() -> None:
    store = InMemoryStore[object]()
    value = object()
    store.set("a", value)
    assert store.get("a") is value


# CS-04
def test_a_store_in_memory_dumps_and_loads() -> None:
    model = InMemoryStore[str]().dump_component()
    assert model.provider == "trio_agents.InMemoryStore"
    assert isinstance(CacheStore[str].load_component(model), InMemoryStore)


# On disk


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


# CS-05
def test_on_disk_nothing_is_unpickled(tmp_path: Path) -> None:
    wreck = tmp_path / "wreck"
    with diskcache.Cache(str(tmp_path / "cache")) as cache:
        cache["small"] = Bomb(wreck)
        cache["large"] = [Bomb(wreck), "x" * 100_000]
        cache[Bomb(wreck).path] = "a pickled key"
        store = DiskCacheStore[Any](cache)
        assert store.get("small", "none") == "none"
        assert store.get("large", "none") == "none"
        assert not wreck.exists()
        store.set("small", "mine")
        assert store.get("small") == "mine"
        store.close()
    pickle.loads(pickle.dumps(Bomb(wreck)))
    assert wreck.exists()  # it would have gone off


# CS-05
def test_on_disk_what_is_damaged_is_not_there(tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path)) as cache:
        store = DiskCacheStore[Any](cache)
        for key, value in {
            "text": "{",
            "number": 5,
            "bytes": b"\xff",
            "twice": '{"a":1,"a":2}',
        }.items():
            cache[key] = value
            assert store.get(key, "none") == "none"
        store.set("file", "x" * 100_000)
        (file,) = tmp_path.rglob("*.val")
        for content in (b"\xff\xfe", b'"cut o'):
            file.write_bytes(content)
            assert store.get("file", "none") == "none"
        file.unlink()
        assert store.get("file", "none") == "none"
        store.set("file", "again")
        assert store.get("file") == "again"
        store.close()


def test_on_disk_a_database_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"this is no database, and long enough to tell" * 50)
    store = CacheStore.load_component({"provider": DISK, "config": {"directory": str(tmp_path)}})
    with pytest.raises(sqlite3.DatabaseError):
        store.get("x")


def test_on_disk_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "cache"
    store = CacheStore.load_component({"provider": DISK, "config": {"directory": str(directory)}})
    assert store.dump_component().config == {"directory": str(directory)}
    assert not directory.parent.exists()
    store.set("x", 1)
    assert directory.exists()
    assert isinstance(store, DiskCacheStore)
    store.close()


DISK = "trio_agents.ext.cache_store.diskcache.DiskCacheStore"


# CS-05
def test_a_store_on_disk_dumps_and_loads_and_has_its_values(
    tmp_path: Path, disk_store: DiskCacheStore[Any]
) -> None:
    disk_store.set("a", [1])
    model = disk_store.dump_component()
    assert model.provider == DISK
    assert model.config == {"directory": str(tmp_path / "cache")}
    loaded = CacheStore[Any].load_component(model)
    assert isinstance(loaded, DiskCacheStore)
    assert loaded.get("a") == [1]
    loaded.close()
    loaded.close()
    assert loaded.get("a") == [1]  # opened again
    loaded.close()


# CS-05
def test_the_settings_of_the_cache_hold(tmp_path: Path) -> None:
    with diskcache.Cache(
        str(tmp_path),
        size_limit=300_000,
        cull_limit=2,
        eviction_policy="least-recently-stored",
        timeout=7,
    ) as cache:
        store = DiskCacheStore[str](cache)
        for number in range(60):
            store.set(f"{number}", "x" * 10_000)
        assert store.get("59") == "x" * 10_000
        assert store.get("0") is None
        store.close()


def test_two_processes_share_a_directory(disk_store: DiskCacheStore[Any], tmp_path: Path) -> None:
    program = f"""
        import diskcache
        from trio_agents.ext.cache_store.diskcache import DiskCacheStore
        with diskcache.Cache({str(tmp_path / "cache")!r}) as cache:
            store = DiskCacheStore(cache)
            assert store.get("ours") == 1
            store.set("theirs", [2])
            store.close()
    """
    disk_store.set("ours", 1)
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)
    assert disk_store.get("theirs") == [2]


# In Redis

REDIS = "trio_agents.ext.cache_store.redis.RedisStore"


# CS-06
def test_in_redis_what_is_not_json_is_not_there(redis_client: Any) -> None:
    store = RedisStore[Any](redis_client)
    for value in ("{", "plain text", b"\xff", pickle.dumps({"a": 1})):
        redis_client.set("a", value)
        assert store.get("a", "none") == "none"
    store.set("a", "mine")
    assert store.get("a") == "mine"


# CS-06
def test_a_client_that_decodes_is_fine_too(redis_socket: str) -> None:
    with redis.Redis(
        unix_socket_path=redis_socket, password="store-secret", decode_responses=True
    ) as client:
        store = RedisStore[Any](client)
        store.set("a", {"b": "é"})
        assert store.get("a") == {"b": "é"}
        client.set("a", "{")
        assert store.get("a", "none") == "none"


# CS-06
def test_what_a_client_that_decodes_cannot_decode_is_not_there(redis_socket: str) -> None:
    with redis.Redis(
        unix_socket_path=redis_socket, password="store-secret", decode_responses=True
    ) as client:
        client.set("damaged", b"\xff\xfe")
        assert RedisStore[Any](client).get("damaged", "nothing") == "nothing"


# CS-06 CMP-28
def test_a_store_in_redis_dumps_and_loads_with_its_password(redis_client: Any) -> None:
    store = RedisStore[Any](redis_client)
    store.set("a", [1])
    model = store.dump_component()
    assert model.provider == REDIS
    assert "store-secret" not in repr(model) + str(model.config) + model.model_dump_json()
    loaded = CacheStore[Any].load_component(model)
    assert isinstance(loaded, RedisStore)
    assert loaded.get("a") == [1]
    assert loaded.dump_component() == model
    loaded.close()
    loaded.close()


# CMP-28
def test_a_masked_password_is_none(redis_client: Any) -> None:
    text = RedisStore[Any](redis_client).dump_component().model_dump_json()
    loaded = RedisStore[Any].load_component(json.loads(text))
    assert loaded._redis.connection_pool.connection_kwargs["password"] is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"host": "cache.example", "port": 7000, "db": 3, "username": "u", "password": "p"},
        {"ssl": True, "ssl_ca_certs": "/ca.pem", "ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"},
        {"socket_timeout": 2.5},
        {"socket_timeout": None},
        {"unix_socket_path": "/run/redis.sock", "db": 1},
    ],
)
# CS-06
def test_how_a_server_is_reached_comes_back(options: dict[str, Any]) -> None:
    def reach(client: Any) -> tuple[Any, ...]:
        names = ("host", "port", "path", "db", "username", "password", "socket_timeout",
                 "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")  # fmt: skip
        pool = client.connection_pool
        return pool.connection_class, *(pool.connection_kwargs.get(name) for name in names)

    client = redis.Redis(**options)
    loaded = RedisStore[Any].load_component(RedisStore[Any](client).dump_component())
    assert reach(loaded._redis) == reach(client)


def test_a_server_that_is_not_there_is_an_error_of_redis(tmp_path: Path) -> None:
    never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    client = redis.Redis(unix_socket_path=str(tmp_path / "nobody"), retry=never)
    store = RedisStore[Any](client)
    with pytest.raises(redis.ConnectionError):
        store.get("a", "default")
    with pytest.raises(redis.ConnectionError):
        store.set("a", 1)
    store.close()


# CMP-26 CS-05 CS-06
def test_what_autogen_dumps_loads(tmp_path: Path, redis_client: Any) -> None:
    pytest.importorskip("autogen_ext")
    from autogen_ext.cache_store.diskcache import DiskCacheStore as TheirDisk
    from autogen_ext.cache_store.redis import RedisStore as TheirRedis

    with diskcache.Cache(str(tmp_path)) as cache:
        disk = CacheStore[Any].load_component(TheirDisk(cache).dump_component().model_dump())
    assert isinstance(disk, DiskCacheStore)
    disk.close()
    client = redis.Redis(host="cache.example", password="p", db=2)
    theirs = TheirRedis(client).dump_component()
    loaded = CacheStore[Any].load_component(theirs.model_dump())
    assert isinstance(loaded, RedisStore)
    assert loaded._redis.connection_pool.connection_kwargs["password"] == "p"


# CS-06
def test_what_autogen_has_kept_in_redis_is_read(redis_client: Any) -> None:
    pytest.importorskip("autogen_ext")
    from autogen_ext.cache_store.redis import RedisStore as TheirRedis

    TheirRedis[Any](redis_client).set("a", RESULT)
    assert CreateResult.model_validate(RedisStore[Any](redis_client).get("a")) == RESULT


@pytest.mark.parametrize(("provider", "library"), [(DISK, "diskcache"), (REDIS, "redis")])
def test_without_its_library_a_store_says_what_to_install(
    provider: str, library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [library, *(each for each in sys.modules if each.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    config = {"directory": str(tmp_path)} if library == "diskcache" else {}
    model = {"provider": provider, "config": config}
    with pytest.raises(ImportError, match=rf"pip install 'trio-agents\[{library}\]'"):
        ComponentLoader.load_component(model)


def test_a_library_that_lacks_something_itself_says_what(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "incomplete.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        import_extra("incomplete", "x", purpose="tests")


def test_the_modules_import_no_library() -> None:
    program = """
        import sys
        import trio_agents.ext.cache_store.diskcache, trio_agents.ext.cache_store.redis
        assert not {"diskcache", "redis"} & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)
