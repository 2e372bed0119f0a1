"""Public names say where users import them from, in tracebacks, reprs and documentation."""

from __future__ import annotations

from typing import Any

__all__ = ["claim_names"]


def claim_names(module: str, namespace: dict[str, Any]) -> None:
    """Make *module* the ``__module__`` of the classes and functions in its ``__all__``.

    A name that another facade has claimed already stays with that one.
    """
    for name in namespace["__all__"]:
        value = namespace[name]
        home = getattr(value, "__module__", "")
        if home.startswith("trio_agents.") and "._" in home:
            value.__module__ = module
