"""What components have in common: configuration that makes them, stores, images.

pydantic is imported in the modules here, and nowhere in the layers above. The facades hand their
names out on demand, so that a program without components does not wait for it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["COMPONENT_NAMES"]

#: The module that defines each name which the facades hand out.
COMPONENT_NAMES: Final[dict[str, str]] = {
    "CacheStore": "trio_agents._components._cache_store",
    "Component": "trio_agents._components._component",
    "ComponentBase": "trio_agents._components._component",
    "ComponentFromConfig": "trio_agents._components._component",
    "ComponentLoader": "trio_agents._components._component",
    "ComponentModel": "trio_agents._components._component_model",
    "ComponentPolicy": "trio_agents._components._policy",
    "ComponentSchemaType": "trio_agents._components._component",
    "ComponentToConfig": "trio_agents._components._component",
    "ComponentType": "trio_agents._components._component_model",
    "Image": "trio_agents._components._image",
    "InMemoryStore": "trio_agents._components._cache_store",
    "check_code_is_allowed": "trio_agents._components._policy",
    "current_component_policy": "trio_agents._components._policy",
    "is_component_class": "trio_agents._components._component",
    "is_component_instance": "trio_agents._components._component",
    "use_component_policy": "trio_agents._components._policy",
}
