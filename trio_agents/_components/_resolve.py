"""From a provider in data to a class, without importing anything that data chooses."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from typing import Any, Final

from .._sansio._errors import ComponentError, ComponentNotAllowed
from ._policy import ComponentPolicy
from ._providers import ALIASES, OWN_PROVIDERS

__all__ = ["ENTRY_POINTS", "provider_of", "resolve"]

ENTRY_POINTS: Final = "trio_agents.components"

# ASCII only: what looks like another letter is another name, and nobody sees that in a file.
_PROVIDER: Final = re.compile(r"[A-Za-z]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_LONGEST: Final = 256


def provider_of(cls: type) -> str:
    """Return the provider that *cls* dumps itself with."""
    override = getattr(cls, "component_provider_override", None)
    return override if isinstance(override, str) else f"{cls.__module__}.{cls.__qualname__}"


def resolve(provider: str, policy: ComponentPolicy, asked: type) -> type[Any]:
    """Return the class behind *provider*.

    Args:
        provider: as it stands in the data.
        policy: what the application allows.
        asked: the class whose ``load_component`` was called: the program itself has named it.

    Raises:
        ComponentNotAllowed: it is no component that may be loaded.
        ComponentError: it may be loaded but cannot, because its module lacks it or something else.
    """
    if len(provider) > _LONGEST or not _PROVIDER.fullmatch(provider):
        raise ComponentNotAllowed(
            f"a provider is the dotted path of a class, in ASCII and no longer than {_LONGEST}, "
            f"not {provider[:60]!r}"
        )
    name = ALIASES.get(provider, provider)
    for cls in (asked, *policy.classes):
        if provider_of(cls) == name:
            return cls
    if name in OWN_PROVIDERS:
        return _attribute(name)
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        return _checked(entry_point.load(), name)
    module, _, _ = name.rpartition(".")
    if policy.has_namespace_of(module):
        cls = _attribute(name)
        # A module's attributes are also what it has imported from elsewhere.
        if provider_of(cls) != name and not policy.has_namespace_of(cls.__module__):
            raise ComponentNotAllowed(
                f"{name} is {provider_of(cls)}, which is not in the namespaces "
                f"{', '.join(policy.namespaces)}"
            )
        return cls
    raise ComponentNotAllowed(
        f"provider {provider!r} may not be loaded: it is none of the library's, no installed "
        f"package announces it, and the application does not allow it. If it can be trusted, load "
        f"with policy=ComponentPolicy(classes=[...]) or ComponentPolicy(namespaces=[{module!r}])"
    )


def _attribute(name: str) -> type[Any]:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise ComponentError(f"provider {name}: {error}") from error
    return _checked(found, name)


def _checked(found: object, name: str) -> type[Any]:
    if not isinstance(found, type):
        raise ComponentError(
            f"provider {name} is no class" if found is not None else f"there is no {name}"
        )
    return found
