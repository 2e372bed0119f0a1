"""Looking for the newest usable generation of a state file, as loads and saves begin."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from ._state_file_disk import READ, Disk, error_numbers
from ._state_file_format import VERSION, Unusable, check, parse_state
from ._state_file_values import StateFile, StateFileTooNew

__all__ = ["Search", "explained", "older_generations"]

_OLDER: Final = re.compile(r"\.([1-9][0-9]?)")
_CHUNK: Final = 1 << 20
_GLANCE: Final = 64

# What a disk says of data that it cannot give back. Everything else is no damage.
_LOST: Final = error_numbers("EIO", "EBADMSG", "EUCLEAN")


class Search:
    """Looks for the newest usable generation of a state file.

    Attributes:
        file: What was found, or None.
        state: What it holds, if that was asked for.
        problems: Why newer files were not usable, with their names, newest first.
        is_taken: Whether there is anything under the first name.
        has_second_name: Whether the file under the first name may have another name too.
    """

    def __init__(self, disk: Disk, path: str, *, to_load: bool) -> None:
        self.file: StateFile | None = None
        self.state: dict[str, Any] | None = None
        self.problems: list[tuple[str, str]] = []
        self.is_taken = True
        self.has_second_name = False
        self._disk = disk
        self._to_load = to_load
        try:
            if self._try(path, path):
                return
        except FileNotFoundError:
            self.is_taken = False
        older = [f"{path}.{number}" for number in older_generations(disk, path)]
        if older and not self.is_taken:
            self.problems.append((path, "it is missing"))
        for source in older:
            try:
                if self._try(source, path):
                    return
            except FileNotFoundError:  # a save that goes on meanwhile has moved it
                self.problems.append((source, "it is missing"))

    @property
    def explanation(self) -> str:
        """What was found, and why it is not usable."""
        return "; ".join(f"{os.path.basename(name)}: {reason}" for name, reason in self.problems)

    def _try(self, source: str, path: str) -> bool:
        try:
            data = self.read(source)
            heading = check(data)
            if heading.version > VERSION:
                raise StateFileTooNew(
                    f"{source} was written by a newer version of the library, as version "
                    f"{heading.version} of state files; this one knows version {VERSION}. Use the "
                    "newer one, or another path"
                )
            if self._to_load:
                self.state = parse_state(data)
        except Unusable as exc:
            self.problems.append((source, exc.reason))
            return False
        except OSError as exc:
            # A save must not take a file for damaged, and put it away, that may be read next time.
            if not self._to_load or exc.errno not in _LOST:
                raise
            self.problems.append((source, f"the disk cannot read it: {exc.strerror}"))
            return False
        self.file = StateFile(
            path,
            heading.generation,
            heading.checksum,
            len(data),
            source,
            self.explanation if self.problems else None,
        )
        return True

    def read(self, source: str) -> bytes:
        """Read a file whole, if it may be ours.

        Raises:
            Unusable: it is not, or not any more.
        """
        with explained(source):
            fd = self._disk.open(source, READ)
        try:
            status = self._disk.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise Unusable("it is not a regular file")
            self.has_second_name = status.st_nlink > 1
            data = bytearray()
            # A file that is not ours may be of any size: its beginning shows that.
            while part := self._disk.read(fd, _CHUNK):
                data += part
                if len(data) >= _GLANCE and b'"format"' not in data[:_GLANCE]:
                    break
            return bytes(data)
        finally:
            self._disk.close(fd)


@contextmanager
def explained(path: str) -> Generator[None, None, None]:
    """Say more of an error that says little by itself."""
    try:
        yield
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            exc.add_note(f"{path} is a symbolic link: name the state file itself")
        raise


def older_generations(disk: Disk, path: str) -> list[int]:
    """Which older generations are there, the newest first."""
    folder, name = os.path.split(path)
    others = (other for other in disk.listdir(folder or os.curdir) if other.startswith(name))
    matches = (_OLDER.fullmatch(other, len(name)) for other in others)
    return sorted(int(match[1]) for match in matches if match is not None)
