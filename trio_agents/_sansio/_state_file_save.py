"""One save of a state file, step by step. `_state_file` tells what the steps are for."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ._state_file_disk import CREATE, DIRECTORY, LOCK, READ, Disk, error_numbers
from ._state_file_format import seal
from ._state_file_search import Search, explained, older_generations
from ._state_file_values import StateFile, StateFileConflict

__all__ = ["Save"]

# What file systems say that know no hard links.
_NO_LINKS: Final = error_numbers("EPERM", "EACCES", "ENOSYS", "EMLINK", "ENOTSUP", "EOPNOTSUPP")
# And those that cannot confirm a directory, or have no need to.
_NO_DIRECTORIES: Final = error_numbers("EINVAL", "EBADF", "ENOTSUP", "EOPNOTSUPP")


class Save:
    """One save of a state file.

    Attributes:
        file: The new generation, from the moment when it has its name.
    """

    def __init__(self, disk: Disk, path: str) -> None:
        self.file: StateFile | None = None
        self._disk = disk
        self._path = path
        self._new = f"{path}.tmp"

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Hold the lock of the state file.

        Raises:
            StateFileConflict: somebody else does.
        """
        with explained(f"{self._path}.lock"):
            fd = self._disk.open(f"{self._path}.lock", LOCK, 0o600)
        try:
            try:
                self._disk.lock(fd)
            except BlockingIOError:
                raise StateFileConflict(
                    f"{self._path} is being saved by somebody else at this moment; if that should "
                    "fail, it can be saved again"
                ) from None
            try:
                yield
            finally:
                self._disk.unlock(fd)
        finally:
            self._disk.close(fd)

    def run(self, body: bytes, after: StateFile | None, keep: int) -> None:
        """Do it, under the lock."""
        found = Search(self._disk, self._path, to_load=False)
        generation = self._next_generation(found, after)
        data, checksum = seal(body, generation)
        file = StateFile(self._path, generation, checksum, len(data), self._path)
        self._create(self._new, data)
        # Opened before anything changes, so that running out of file descriptors changes nothing.
        folder = None
        try:
            if DIRECTORY is not None:
                folder = self._disk.open(os.path.dirname(self._path) or os.curdir, DIRECTORY)
            self._make_way(found, keep)
            self._disk.replace(self._new, self._path)
            self.file = file
            if folder is not None:
                self._confirm(folder)
        except BaseException as exc:
            if self.file is None:
                self._discard(self._new, exc)
            raise
        finally:
            if folder is not None:
                self._disk.close(folder)

    def _next_generation(self, found: Search, after: StateFile | None) -> int:
        there = found.file
        if there is None and not found.problems:
            return 1 if after is None else after.generation + 1
        if after is None:
            what = found.explanation if there is None else f"it holds generation {there.generation}"
            raise StateFileConflict(
                f"{self._path} is there already and was not loaded ({what}). Load it first, save "
                "under another path, or move it and its older generations away"
            )
        # Behind a newest one that is damaged or gone, older ones than ours are no conflict.
        if (
            there is not None
            and not there.is_same(after)
            and (there.source == self._path or there.generation >= after.generation)
        ):
            raise StateFileConflict(
                f"{self._path} holds generation {there.generation}, which somebody else saved: "
                f"this state follows generation {after.generation}. Load the file and try again, "
                "or save under another path"
            )
        # What could not be read had numbers, which are not used again.
        return after.generation + len(found.problems) + 1

    def _create(self, name: str, data: bytes) -> None:
        """Write *data* to a file that nobody looks for yet."""
        try:
            fd = self._disk.open(name, CREATE, 0o600)
        except FileExistsError:  # a crash has left it; we hold the lock
            self._disk.unlink(name)
            fd = self._disk.open(name, CREATE, 0o600)
        try:
            try:
                rest = memoryview(data)
                while rest:
                    written = self._disk.write(fd, rest)
                    if not written:
                        raise OSError(errno.EIO, "the disk takes no more data", name)
                    rest = rest[written:]
                # Once. If it fails, the data may be lost and a second try may say nothing of that.
                self._disk.fsync(fd)
            finally:
                self._disk.close(fd)
        except BaseException as exc:
            self._discard(name, exc)
            raise

    def _discard(self, name: str, exc: BaseException) -> None:
        try:
            self._disk.unlink(name)
        except OSError as second:
            exc.add_note(f"nor could {name} be deleted ({second}); the next save will do it")

    def _make_way(self, found: Search, keep: int) -> None:
        """Number the older generations anew, and give the newest a second name among them."""
        older = older_generations(self._disk, self._path)
        if found.file is None or found.file.source != self._path:
            # There is none to become the first older one, and until the new one is certain, those
            # that are there are all we have.
            if found.is_taken:
                self._disk.replace(self._path, f"{self._path}.unusable")
            return
        for number in older:
            if number > keep:
                self._disk.unlink(self._numbered(number))
        if keep == 0 or (1 in older and found.has_second_name and self._is_linked()):
            return
        # The first free number takes up the shift. So a save that fails behind this, and is tried
        # again and again, does not push the older ones out.
        free = next((number for number in range(1, keep) if number not in older), keep)
        for number in range(free - 1, 0, -1):
            self._disk.replace(self._numbered(number), self._numbered(number + 1))
        if free == 1 and 1 in older:
            self._disk.unlink(self._numbered(1))
        try:
            self._disk.link(self._path, self._numbered(1))
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            # A copy that a crash cuts short is found out by its checksum.
            self._create(self._numbered(1), found.read(self._path))

    def _numbered(self, number: int) -> str:
        return f"{self._path}.{number}"

    def _is_linked(self) -> bool:
        """Whether the newest has its second name already: a crash came between this and the end."""
        pair: list[tuple[int, int]] = []
        for name in (self._path, self._numbered(1)):
            fd = self._disk.open(name, READ)
            try:
                status = self._disk.fstat(fd)
            finally:
                self._disk.close(fd)
            pair.append((status.st_dev, status.st_ino))
        return pair[0] == pair[1]

    def _confirm(self, folder: int) -> None:
        try:
            self._disk.fsync(folder)
        except OSError as exc:
            if exc.errno not in _NO_DIRECTORIES:
                raise
