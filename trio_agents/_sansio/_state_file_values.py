"""What is said of a state file: which generation there is, or why there is none."""

from __future__ import annotations

import attrs

from ._errors import StateError

__all__ = [
    "StateFile",
    "StateFileConflict",
    "StateFileCorrupt",
    "StateFileTooNew",
    "StateFileUnconfirmed",
]


@attrs.frozen
class StateFile:
    """One generation of a state file: what a save wrote, or what a load found.

    Attributes:
        path: The state file.
        generation: 1 for the first that was saved under this name, and higher with each save.
        checksum: The SHA-256 of what the file says.
        size: How many bytes it has.
        source: Where it was found: *path* itself, or an older generation beside it.
        recovered: Why newer ones could not be used, if it is not the newest; otherwise None.
    """

    path: str
    generation: int
    checksum: str
    size: int
    source: str
    recovered: str | None = None

    def is_same(self, other: StateFile) -> bool:
        """Whether both are the same generation, wherever it was found."""
        return (self.generation, self.checksum) == (other.generation, other.checksum)


class StateFileCorrupt(StateError):
    """There are state files of this name, and none of them can be used; the text says why."""


class StateFileTooNew(StateError):
    """The state file was written by a newer version of the library."""


class StateFileConflict(StateError):
    """The state file is not the one that this state was made from: another writer was faster.

    Or the runtime has loaded the file while the save was under way.
    """


class StateFileUnconfirmed(StateError, OSError):
    """The new generation is in its place, but the disk did not confirm that it will stay.

    After a crash there may be this generation or the one before. The next save confirms both.

    Attributes:
        file: The new generation, which the next one follows.
    """

    file: StateFile

    def __init__(self, text: str, file: StateFile, errno: int | None = None) -> None:
        super().__init__(text)
        self.file = file
        self.errno = errno
