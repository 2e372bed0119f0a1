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
    """A directory for files. A given one stays; a temporary one lasts until `remove`.

    It lasts until the executor is gone, at the latest. Executors may be used without being started
    and stopped, so unlike `tempfile.TemporaryDirectory` it does not warn then.
    """

    def __init__(self, given: Path | str | None) -> None:
        """Make the directory that is *given*, if it is not there."""
        self.given = None if given is None else Path(given)
        if self.given is not None:
            self.given.mkdir(parents=True, exist_ok=True)
        self._temporary: str | None = None
        self._remover: weakref.finalize[[str], Scratch] | None = None

    @property
    def path(self) -> Path:
        """Where it is. A temporary one is made when this is asked."""
        if self.given is not None:
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
