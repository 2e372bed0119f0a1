"""From a provider in data to a class, without importing anything that data chooses.

What the program itself has named comes first, and a name that is ours can be taken by nobody but
the program: entry points and namespaces come after our own names and their aliases.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint
from typing import Any, Final

from .._sansio._errors import ComponentError, ComponentNotAllowed
from ._policy import ComponentPolicy
from ._providers import ALIASES, OWN_PROVIDERS, instead_of, provider_of

__all__ = ["ENTRY_POINTS", "resolve"]

ENTRY_POINTS: Final = "trio_agents.components"

# ASCII only: what looks like another letter is another name, and nobody sees that in a file.
_PROVIDER: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_LONGEST: Final = 256


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
    for name in (provider, ALIASES.get(provider)):
        for cls in (asked, *policy.classes):
            if provider_of(cls) == name:
                return cls
    if len(provider) > _LONGEST or not _PROVIDER.fullmatch(provider):
        raise ComponentNotAllowed(
            f"a provider is the dotted path of a class, in ASCII and no longer than {_LONGEST}, "
            f"not {provider[:60]!r}"
        )
    name = ALIASES.get(provider, provider)
    module, _, _ = name.rpartition(".")
    if name in OWN_PROVIDERS:
        return _find(name, module.__eq__)
    announced = _announced(tuple(sys.path)).get(name)
    if announced is not None:
        return _load(name, announced)
    if policy.has_namespace_of(module):
        return _from_namespaces(name, policy)
    instead = instead_of(name)
    if instead is not None:
        raise ComponentNotAllowed(
            f"provider {provider!r} is AutoGen's, and there is none here: {instead}. If the "
            f"application has one of its own by that name, load with "
            f"policy=ComponentPolicy(classes=[...])"
        )
    raise ComponentNotAllowed(
        f"provider {provider!r} may not be loaded: it is none of the library's, no installed "
        f"package announces it, and the application does not allow it. If it can be trusted, load "
        f"with policy=ComponentPolicy(classes=[...])"
        + (f" or ComponentPolicy(namespaces=[{module!r}])" if module else "")
    )


# Looking at what is installed takes milliseconds, and data decides how often this is asked.
@lru_cache(maxsize=1)
def _announced(path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Return the components that installed packages announce, by name and by the class's path."""
    announced: dict[str, list[EntryPoint]] = {}
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        for name in {entry_point.name, entry_point.value.replace(" ", "").replace(":", ".")}:
            announced.setdefault(name, []).append(entry_point)
    return announced


def _load(name: str, announced: list[EntryPoint]) -> type[Any]:
    values = {entry_point.value for entry_point in announced}
    if len(values) > 1:
        raise ComponentError(
            f"provider {name} is announced as {' and '.join(sorted(values))}: name the one that is "
            f"meant with policy=ComponentPolicy(classes=[...])"
        )
    try:
        return _checked(announced[0].load(), name)
    except (ImportError, AttributeError) as error:
        raise ComponentError(f"provider {name}, announced as {announced[0].value}: {error}") from (
            error
        )


def _from_namespaces(name: str, policy: ComponentPolicy) -> type[Any]:
    cls = _find(name, policy.has_namespace_of)
    # A module's attributes are also what it has imported from elsewhere.
    if provider_of(cls) != name and not policy.has_namespace_of(cls.__module__):
        raise ComponentNotAllowed(
            f"{name} is {provider_of(cls)}, which is not in the namespaces "
            f"{', '.join(policy.namespaces)}"
        )
    return cls


def _find(name: str, may_import: Callable[[str], bool]) -> type[Any]:
    """Import the class *name*, which may be defined inside of another class."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:count])
        if not may_import(module):
            break
        try:
            found: Any = importlib.import_module(module)
            for part in parts[count:]:
                found = getattr(found, part, None)
                if not isinstance(found, type):
                    break
        except ModuleNotFoundError as error:
            if error.name == module:
                continue  # perhaps a class of the module above
            raise ComponentError(f"provider {name}: {error}") from error
        except ImportError as error:
            raise ComponentError(f"provider {name}: {error}") from error
        return _checked(found, name)
    raise ComponentError(f"there is no {name}")


def _checked(found: object, name: str) -> type[Any]:
    if not isinstance(found, type):
        raise ComponentError(
            f"provider {name} is no class" if found is not None else f"there is no {name}"
        )
    return found
