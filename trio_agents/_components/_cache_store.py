"""`CacheStore`: where components keep what they have computed, and the store that is a dictionary.

Left out: expiry, sizes, waiting. A store is asked and told at once, in the middle of other work;
what needs a server or a disk brings a client that is quick enough for that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel

from .._sansio._facade import claim_names
from ._component import Component, ComponentBase
from ._config_data import ComponentConfig

__all__ = ["CacheStore", "InMemoryStore"]

T = TypeVar("T")


class CacheStore(ABC, ComponentBase[BaseModel], Generic[T]):
    """A place for values by key. Whoever makes a store looks after what it is kept in."""

    component_type = "cache_store"

    @abstractmethod
    def get(self, key: str, default: T | None = None) -> T | None:
        """Return the value that was last set for *key*, or *default* if there is none."""

    @abstractmethod
    def set(self, key: str, value: T) -> None:
        """Keep *value* under *key*, in place of what was there."""


class InMemoryStoreConfig(ComponentConfig):
    """The configuration of an `InMemoryStore`: there is nothing to configure."""


class InMemoryStore(CacheStore[T], Component[InMemoryStoreConfig]):
    """A store that is a dictionary: it holds the very objects, and ends with the process."""

    component_config_schema = InMemoryStoreConfig
    component_provider_override: ClassVar[str | None] = "trio_agents.InMemoryStore"

    def __init__(self) -> None:
        self._values: dict[str, T] = {}

    def get(self, key: str, default: T | None = None) -> T | None:
        """Return the value that was last set for *key*, or *default* if there is none."""
        return self._values.get(key, default)

    def set(self, key: str, value: T) -> None:
        """Keep *value* under *key*, in place of what was there."""
        self._values[key] = value

    def _to_config(self) -> InMemoryStoreConfig:
        return InMemoryStoreConfig()

    @classmethod
    def _from_config(cls, config: InMemoryStoreConfig) -> Self:
        return cls()


claim_names("trio_agents", globals())
