"""`RedisStore`: a cache in a Redis server. Needs the extra ``redis``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from pydantic import SecretStr

from ..._components._cache_store import CacheStore
from ..._components._component import Component
from ..._components._config_data import ComponentConfig
from ..._components._extras import import_extra
from ..._sansio._facade import claim_names
from ._text import read_text, write_text

if TYPE_CHECKING:
    import redis

__all__ = ["RedisStore", "RedisStoreConfig"]

T = TypeVar("T")


class RedisStoreConfig(ComponentConfig):
    """The configuration of a `RedisStore`: how its server is reached.

    Attributes:
        host: The server's address.
        port: Its port.
        db: The number of the database.
        username: Who asks.
        password: Their password.
        ssl: Whether to speak TLS.
        socket_timeout: How many seconds to wait for an answer; None for ever.
        unix_socket_path: The socket of a server on this machine, in place of host and port.
        ssl_ca_certs: The file of the authorities that may have signed the server's certificate.
        ssl_certfile: The file of the client's own certificate.
        ssl_keyfile: The file of its key.
    """

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: SecretStr | None = None
    ssl: bool = False
    socket_timeout: float | None = None
    unix_socket_path: str | None = None
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None


# Where redis names an option of a connection otherwise than one of its client.
_IN_CONNECTION: Final = {"unix_socket_path": "path"}


class RedisStore(CacheStore[T], Component[RedisStoreConfig]):
    """A cache in a Redis server, for any number of processes and machines.

    ::

        store = RedisStore[dict[str, str]](redis.Redis(host="localhost"))

    Values are JSON, see `trio_agents.ext.cache_store`. Nothing expires, unless the server is told
    to evict. A configuration holds what it has fields for; a client with other options, such as a
    retry of its own, has to be made by the program.

    Args:
        redis_instance: the client. It stays its owner's to close.
    """

    component_config_schema = RedisStoreConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.cache_store.redis.RedisStore"
    )

    def __init__(self, redis_instance: redis.Redis) -> None:
        self._redis: Any = redis_instance

    def get(self, key: str, default: T | None = None) -> T | None:
        """Return the value that was last set for *key*, or *default* if there is none.

        There is none either if it was evicted, cannot be read, or is not of a store like this one.

        Raises:
            redis.RedisError: the server cannot be reached, or refuses.
        """
        try:
            text = self._redis.get(key)
        except UnicodeDecodeError:  # of a client that decodes responses by itself
            return default
        return read_text(text, default)

    def set(self, key: str, value: T) -> None:
        """Keep *value* under *key*, in place of what was there.

        Raises:
            ValueError: *value* is not made of JSON and pydantic models.
            redis.RedisError: the server cannot be reached, or refuses.
        """
        self._redis.set(key, write_text(value))

    def close(self) -> None:
        """Close the connections. A store that is asked again opens them again."""
        self._redis.close()

    def _to_config(self) -> RedisStoreConfig:
        pool: Any = self._redis.connection_pool
        options: dict[str, Any] = pool.connection_kwargs
        ssl = import_extra("redis", "redis", purpose="cache stores in Redis").SSLConnection
        given = {
            name: options.get(_IN_CONNECTION.get(name, name))
            for name in RedisStoreConfig.model_fields
        }
        given["ssl"] = issubclass(pool.connection_class, ssl)
        return RedisStoreConfig(
            **{name: value for name, value in given.items() if value is not None}
        )

    @classmethod
    def _from_config(cls, config: RedisStoreConfig) -> Self:
        redis = import_extra("redis", "redis", purpose="cache stores in Redis")
        # None is an answer here: where a client is asked for nothing, it has a timeout of its own.
        options = {"socket_timeout": None, **config.model_dump(exclude_none=True)}
        if config.password is not None:
            options["password"] = config.password.get_secret_value()
        return cls(redis.Redis(**options))


claim_names(__name__, globals())
