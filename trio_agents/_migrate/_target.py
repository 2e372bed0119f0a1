"""What a program may import from us: found by looking, so that there is no list to keep."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Final, Protocol

__all__ = ["OURS", "THEIRS", "BrokenTarget", "InstalledTarget", "Target"]

THEIRS: Final = "autogen_core"
OURS: Final = "trio_agents.asyncio"


class BrokenTarget(Exception):
    """A module of ours exists and cannot be imported. The text says which and why."""


class Target(Protocol):
    """What is there to be imported; modules are named as they are below `OURS`, itself is ""."""

    def has_module(self, module: str, /) -> bool:
        """Whether there is such a module."""
        ...

    def has_name(self, module: str, name: str, /) -> bool:
        """Whether ``from module import name`` works."""
        ...


class InstalledTarget:
    """The package that this command belongs to. Modules are imported when they are asked for."""

    def __init__(self, package: str = OURS) -> None:
        self._package = package
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
        return found is not None and (
            hasattr(found, name) or self.has_module(f"{module}.{name}" if module else name)
        )

    def _import(self, module: str) -> ModuleType | None:
        if module not in self._modules:
            self._modules[module] = self._look_up(module)
        return self._modules[module]

    def _look_up(self, module: str) -> ModuleType | None:
        parent, _, _ = module.rpartition(".")
        if module and self._import(parent) is None:
            return None
        full = f"{self._package}.{module}" if module else self._package
        try:
            return importlib.import_module(full)
        except ModuleNotFoundError as exc:
            if exc.name is not None and (full == exc.name or full.startswith(f"{exc.name}.")):
                return None
            raise BrokenTarget(f"{full} cannot be imported: {exc}.") from exc
        except ImportError as exc:
            raise BrokenTarget(f"{full} cannot be imported: {exc}.") from exc
