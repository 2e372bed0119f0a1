"""What a program may import from us: found by looking, so that there is no list to keep."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Final, Protocol

__all__ = [
    "EXTENSIONS",
    "OURS",
    "PACKAGE",
    "THEIRS",
    "BrokenTarget",
    "InstalledTarget",
    "Target",
    "counterpart",
    "root_for",
]

THEIRS: Final = "autogen_core"
EXTENSIONS: Final = "autogen_ext"
PACKAGE: Final = "trio_agents"
OURS: Final = "trio_agents.asyncio"

#: Modules of theirs that are the same here for both event loops, and so are not below `OURS`.
FOR_BOTH_LOOPS: Final = frozenset(
    {"code_executor", "memory", "model_context", "models", "tool_agent", "tools"}
)


def root_for(module: str) -> str:
    """Say what the first word of *module*, which is in full and theirs, becomes.

    It is the only word that does: below it, modules have the same names here.
    """
    root, _, rest = module.partition(".")
    if root == EXTENSIONS:
        return f"{PACKAGE}.ext"
    return PACKAGE if rest.partition(".")[0] in FOR_BOTH_LOOPS else OURS


def counterpart(module: str) -> str:
    """Give the full name of what is to be *module*, which is in full and theirs, here."""
    _, dot, rest = module.partition(".")
    return f"{root_for(module)}{dot}{rest}"


class BrokenTarget(Exception):
    """A module of ours exists and cannot be imported. The text says which and why."""


class Target(Protocol):
    """What is there to be imported. Modules are named in full, as they are here."""

    def has_module(self, module: str, /) -> bool:
        """Whether there is such a module."""
        ...

    def has_name(self, module: str, name: str, /) -> bool:
        """Whether ``from module import name`` works."""
        ...


class InstalledTarget:
    """What is installed. Modules are imported when they are asked for."""

    def __init__(self) -> None:
        self._modules: dict[str, ModuleType | None] = {}

    def has_module(self, module: str, /) -> bool:
        """Whether there is such a module.

        Raises:
            BrokenTarget: there is, but importing it failed.
        """
        return self._import(module) is not None

    def has_name(self, module: str, name: str, /) -> bool:
        """Whether ``from module import name`` works, *name* being an attribute or a module.

        Raises:
            BrokenTarget: a module exists, but importing it failed.
        """
        found = self._import(module)
        return found is not None and (hasattr(found, name) or self.has_module(f"{module}.{name}"))

    def _import(self, module: str) -> ModuleType | None:
        if module not in self._modules:
            self._modules[module] = self._look_up(module)
        return self._modules[module]

    def _look_up(self, module: str) -> ModuleType | None:
        parent, _, _ = module.rpartition(".")
        if parent and self._import(parent) is None:
            return None
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as exc:
            if exc.name is not None and (module == exc.name or module.startswith(f"{exc.name}.")):
                return None
            raise BrokenTarget(f"{module} cannot be imported: {exc}.") from exc
        except ImportError as exc:
            raise BrokenTarget(f"{module} cannot be imported: {exc}.") from exc
