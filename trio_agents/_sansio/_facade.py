"""Public names say where users import them from, in tracebacks, reprs and documentation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["claim", "claim_names", "names_on_demand"]


def claim_names(module: str, namespace: dict[str, Any]) -> None:
    """Make *module* the ``__module__`` of the classes and functions in its ``__all__``.

    A name that another facade has claimed already stays with that one.
    """
    for name in namespace["__all__"]:
        if name in namespace:  # others come on demand
            claim(module, namespace[name])


def claim(module: str, value: Any) -> None:
    """Make *module* the ``__module__`` of a class or function of ours that nobody has claimed."""
    home = getattr(value, "__module__", "")
    if home.startswith("trio_agents.") and "._" in home:
        value.__module__ = module


def names_on_demand(
    module: str, namespace: dict[str, Any], homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a module that imports some names when asked for.

    Args:
        module: the module's name.
        namespace: its globals.
        homes: where each of those names comes from: the full name of a module.
    """

    def __getattr__(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = namespace[name] = getattr(importlib.import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*namespace, *homes})

    return __getattr__, __dir__
