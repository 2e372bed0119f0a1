"""`Scratch`: the directory that an executor was given, or a temporary one of its own."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import final

__all__ = ["Scratch"]


@final
class Scratch:
    """A directory for files, made when it is needed. A given one stays, a temporary one does not.

    An executor may come out of a description, and loading that must not make directories. A
    temporary one lasts until `remove`, or until the executor is gone. Executors may be used without
    being started and stopped, so unlike `tempfile.TemporaryDirectory` it does not warn then.
    """

    def __init__(self, given: Path | str | None) -> None:
        """Take the directory *given*; None for a temporary one."""
        self.given = None if given is None else Path(given)
        self._temporary: str | None = None
        self._remover: weakref.finalize[[str], Scratch] | None = None

    @property
    def path(self) -> Path:
        """Where it is. It is made when this is asked."""
        if self.given is not None:
            self.given.mkdir(parents=True, exist_ok=True)
            return self.given
        if self._temporary is None:
            self._temporary = tempfile.mkdtemp(prefix="trio_agents_")
            self._remover = weakref.finalize(self, shutil.rmtree, self._temporary)
        return Path(self._temporary)

    @property
    def has_temporary(self) -> bool:
        """Whether there is a temporary directory now."""
        return self._temporary is not None

    def remove(self) -> None:
        """Remove the directory, if it is temporary.

        Raises:
            OSError: something in it cannot be removed.
        """
        remover, self._remover = self._remover, None
        self._temporary = None
        if remover is not None:
            remover()
