# docs/guides/components.md: cache stores, and a configuration that AutoGen has dumped.

# [stores]
import tempfile
from typing import Any

import diskcache  # type: ignore[import-untyped]  # pip install 'trio-agents[diskcache]'

from trio_agents import CacheStore, InMemoryStore
from trio_agents.ext.cache_store.diskcache import DiskCacheStore

with tempfile.TemporaryDirectory() as directory:
    store = DiskCacheStore[dict[str, int]](diskcache.Cache(directory))
    store.set("answer", {"is": 42})
    print(store.get("answer"), store.get("question"))

    same = CacheStore[dict[str, int]].load_component(store.dump_component())
    print(same.get("answer"))
    # [/stores]
    store.close()
    assert isinstance(same, DiskCacheStore)
    same.close()

# [autogen]
dumped_by_autogen: dict[str, Any] = {
    "provider": "autogen_core.InMemoryStore",
    "component_type": "cache_store",
    "version": 1,
    "component_version": 1,
    "description": None,
    "label": "InMemoryStore",
    "config": {},
}
print(type(CacheStore[str].load_component(dumped_by_autogen)) is InMemoryStore)
# [/autogen]

# Prints:
# {'is': 42} None
# {'is': 42}
# True
