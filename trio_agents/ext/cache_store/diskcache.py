"""`DiskCacheStore`: a cache on the local disk, by diskcache. Needs the extra ``diskcache``."""

from __future__ import annotations

import threading
from typing import Any, ClassVar, Protocol, Self, TypeVar

import attrs

from ..._components._cache_store import CacheStore
from ..._components._component import Component
from ..._components._config_data import ComponentConfig
from ..._components._extras import import_extra
from ..._sansio._facade import claim_names
from ._text import read_text, write_text

__all__ = ["DiskCacheStore", "DiskCacheStoreConfig"]

T = TypeVar("T")


class _Cache(Protocol):
    """What the store asks of a `diskcache.Cache`, which comes without types."""

    @property
    def directory(self) -> str: ...
    @property
    def timeout(self) -> float: ...


@attrs.frozen
class _Place:
    """What a configuration says of a cache. It is made by opening it, which loading does not."""

    directory: str
    timeout: float = 60  # diskcache's


class DiskCacheStoreConfig(ComponentConfig):
    """The configuration of a `DiskCacheStore`.

    Attributes:
        directory: Where it keeps its files.
    """

    directory: str


class DiskCacheStore(CacheStore[T], Component[DiskCacheStoreConfig]):
    """A cache on the local disk, which several processes may use at the same time.

    ::

        store = DiskCacheStore[dict[str, str]](diskcache.Cache("cache"))

    diskcache would pickle what it does not know, and unpickle whatever it finds. The store opens
    the directory of *cache_instance* itself, for text alone, when it is first asked; the settings
    of the cache, such as its size limit, are kept in the directory and hold. Values are JSON: see
    `trio_agents.ext.cache_store`.

    Args:
        cache_instance: a `diskcache.Cache`. It stays its owner's to close; `close` closes the
            store.
    """

    component_config_schema = DiskCacheStoreConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.cache_store.diskcache.DiskCacheStore"
    )

    def __init__(self, cache_instance: _Cache) -> None:
        _diskcache("core")  # it is there
        self._place = _Place(cache_instance.directory, cache_instance.timeout)
        self._opening = threading.Lock()
        self._opened: Any = None

    @property
    def _cache(self) -> Any:
        with self._opening:
            if self._opened is None:
                self._opened = _diskcache("core").Cache(
                    self._place.directory, timeout=self._place.timeout, disk=_text_disk()
                )
            return self._opened

    def get(self, key: str, default: T | None = None) -> T | None:
        """Return the value that was last set for *key*, or *default* if there is none.

        There is none either if it was evicted, cannot be read, or is not of a store like this one.

        Raises:
            diskcache.Timeout: another process has kept the database locked.
        """
        try:
            return read_text(self._cache.get(key), default)
        except UnicodeDecodeError:
            return default

    def set(self, key: str, value: T) -> None:
        """Keep *value* under *key*, in place of what was there.

        Raises:
            ValueError: *value* is not made of JSON and pydantic models.
            diskcache.Timeout: another process has kept the database locked.
        """
        self._cache.set(key, write_text(value))

    def close(self) -> None:
        """Close the files. A store that is asked again opens them again."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()

    def _to_config(self) -> DiskCacheStoreConfig:
        return DiskCacheStoreConfig(directory=self._place.directory)

    @classmethod
    def _from_config(cls, config: DiskCacheStoreConfig) -> Self:
        return cls(_Place(config.directory))


def _text_disk() -> Any:
    """Return the class of a `diskcache.Disk` that holds text, and finds nothing else."""
    core = _diskcache("core")
    base: Any = core.Disk

    class TextDisk(base):  # type: ignore[misc]  # it comes without types
        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            if mode not in (core.MODE_RAW, core.MODE_TEXT):
                raise OSError("this entry is no text")  # to diskcache: it is gone
            return base.fetch(self, mode, filename, value, read)

    return TextDisk


def _diskcache(module: str) -> Any:
    return import_extra(f"diskcache.{module}", "diskcache", purpose="cache stores on disk")


claim_names(__name__, globals())
