"""Naming what came where something else was expected; AutoGen's own types above all.

They have the names of ours, so "must be an AgentId, not AgentId" would help nobody, and some would
pass for ours.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

__all__ = ["check_not_autogens", "is_autogens", "type_name"]

DOOR: Final = (
    "agents and values of autogen_core's own classes run in "
    "trio_agents.interop.autogen.AutoGenRuntime; here import the same names from trio_agents or "
    "trio_agents.asyncio"
)


def is_autogens(value: object) -> bool:
    """Whether *value* is, or is an instance of, a class that derives from one of AutoGen Core.

    What derives from one of ours is ours, whatever it calls itself: an adapter has the name of the
    class that it adapts.
    """
    return _derives_from_autogen(value if isinstance(value, type) else type(value))


@lru_cache(maxsize=256)
def _derives_from_autogen(cls: type) -> bool:
    packages = {base.__module__.partition(".")[0] for base in cls.__mro__}
    return "autogen_core" in packages and "trio_agents" not in packages


def type_name(value: object) -> str:
    """Name the type of *value* for an error message. If it is AutoGen's, say which door to use."""
    cls = value if isinstance(value, type) else type(value)
    if is_autogens(cls):
        return f"autogen_core's {cls.__name__} ({DOOR})"
    return cls.__name__


def check_not_autogens(value: object, what: str) -> None:
    """Refuse what derives from a class of AutoGen Core.

    Raises:
        TypeError: it does.
    """
    if is_autogens(value):
        cls = value if isinstance(value, type) else type(value)
        raise TypeError(f"{what} {cls.__qualname__} is autogen_core's: {DOOR}")
