"""The state file: a runtime's saved state on disk, as it survives crashes and damage.

A save writes the new generation beside the old one, has the disk confirm it, and then gives it the
old one's name: a reader finds the one or the other, whole. What is there before the rename is never
in doubt, and the save does not return before the directory is confirmed too. The order of the steps
is the promise, and `trio_agents.testing.crash_images` is how it was checked: at each step, for all
that a disk may have done by then.

Names, for a state file ``state.json``:

* ``state.json`` is the newest generation. In no state of a save is there nothing under this name,
  once there was something: the previous one gets a second name, a link, before it loses its first.
* ``state.json.1``, ``state.json.2`` and so on are those before it.
* ``state.json.tmp`` is a generation that is being written, or one that a crash has left.
* ``state.json.lock`` is empty. It is never deleted: who waits to lock a file that is being deleted
  locks nothing.
* ``state.json.unusable`` was found under the first name, and could not be read. A save puts it out
  of the way, and destroys only the one before.

Two writers: each says which generation its state comes from, and if another one is there, it gets
`StateFileConflict`. Check and rename are done under a lock. Nobody waits for it, because whoever
finds it taken is about to have a conflict anyway.

Left out: a journal of what changed since the last save. A state is saved as a whole.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Mapping
from typing import Any, Final

from ._state_file_disk import REAL_DISK, Disk
from ._state_file_format import dump_state
from ._state_file_save import Save
from ._state_file_search import Search
from ._state_file_values import StateFile, StateFileCorrupt, StateFileUnconfirmed

__all__ = [
    "MAX_KEEP",
    "check_keep",
    "place_of",
    "read_state_file",
    "replace_state_file",
    "retrieve_state_file",
    "warn_of_recovery",
    "write_state_file",
]

MAX_KEEP: Final = 99


def read_state_file(path: str | os.PathLike[str]) -> tuple[StateFile, dict[str, Any]]:
    """Read the newest usable generation of a state file, and the state that it holds.

    Blocks. Needs no lock, and sees a complete generation while another process saves.

    If the newest is damaged, the newest one before it that is not is used: then there is a
    `RuntimeWarning`, and `StateFile.recovered` says why.

    Raises:
        FileNotFoundError: there is no file of this name, nor an older generation.
        StateFileCorrupt: there are some, and none can be used.
        StateFileTooNew: a newer version of the library wrote the one that would be used.
        OSError: it cannot be read, for a reason that is no damage.
    """
    file, state = retrieve_state_file(place_of(path))
    warn_of_recovery(file, stacklevel=3)
    return file, state


def write_state_file(
    path: str | os.PathLike[str],
    state: Mapping[str, Any],
    *,
    after: StateFile | None,
    keep: int = 2,
) -> StateFile:
    """Replace a state file by one that holds *state*, and return when that will survive a crash.

    Blocks. Whatever happens, there is the old generation or the new one, whole; when this has
    returned, the new one.

    Args:
        path: The file. Its directory must exist. It may not be a symbolic link.
        state: What `save_state` of a runtime gave: a mapping from strings to what JSON can express.
        after: The generation that *state* comes from: what `read_state_file` or the last call of
            this function gave. None if there was no file.
        keep: How many older generations to keep beside it.

    Raises:
        StateError: *state* is not what JSON can express; nothing was written.
        StateFileConflict: another generation than *after* is there, or another process is saving at
            this moment. Nothing was written.
        StateFileTooNew: a newer version of the library wrote the file. It was left alone.
        StateFileUnconfirmed: it was written, but might not survive a crash.
        OSError: it could not be written; the generation before stands.
        TypeError, ValueError: an argument is not what it should be.
    """
    if after is not None and not isinstance(after, StateFile):
        raise TypeError(
            f"after must be what read_state_file() or write_state_file() gave, not {after!r}"
        )
    return replace_state_file(place_of(path), dump_state(state), after=after, keep=check_keep(keep))


def warn_of_recovery(file: StateFile, *, stacklevel: int) -> None:
    """Warn if *file* is not the newest."""
    if file.recovered is not None:
        warnings.warn(
            f"generation {file.generation} was loaded from {file.source}, because newer ones are "
            f"not usable: {file.recovered}",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def place_of(path: str | os.PathLike[str]) -> str:
    """Give the absolute path.

    Raises:
        TypeError: it is not one of text.
        ValueError: it names no file.
    """
    place = os.fspath(path)
    if not isinstance(place, str):
        raise TypeError(f"the path of a state file is a str or a path of str, not {path!r}")
    if not os.path.basename(place):
        raise ValueError(f"the path of a state file must end with a name, not as {place!r} does")
    return os.path.abspath(place)


def check_keep(keep: int) -> int:
    """Refuse what cannot be the number of older generations.

    Raises:
        TypeError, ValueError: it says what is expected.
    """
    if isinstance(keep, bool) or not isinstance(keep, int):
        raise TypeError(f"keep must be a number of generations, not {keep!r}")
    if not 0 <= keep <= MAX_KEEP:
        raise ValueError(f"keep must be 0 to {MAX_KEEP} older generations, not {keep}")
    return keep


# On any disk


def retrieve_state_file(path: str, *, disk: Disk = REAL_DISK) -> tuple[StateFile, dict[str, Any]]:
    """Read as `read_state_file` does, and leave the warning to the caller."""
    found = Search(disk, path, to_load=True)
    if found.file is not None:
        assert found.state is not None
        return found.file, found.state
    if not found.problems:
        raise FileNotFoundError(errno.ENOENT, "there is no state file", path)
    raise StateFileCorrupt(f"no generation of the state file is usable: {found.explanation}")


def replace_state_file(
    path: str, body: bytes, *, after: StateFile | None, keep: int, disk: Disk = REAL_DISK
) -> StateFile:
    """Write as `write_state_file` does, what `dump_state` gave."""
    save = Save(disk, path)
    try:
        with save.locked():
            save.run(body, after, keep)
    except OSError as exc:
        if save.file is None:
            exc.add_note(f"{path} was not saved; what was saved before stands")
            raise
        raise StateFileUnconfirmed(
            f"{path}: generation {save.file.generation} is in its place, but it is not certain "
            f"that it would survive a crash: {exc}",
            save.file,
            exc.errno,
        ) from exc
    assert save.file is not None
    return save.file
