"""A disk one of whose calls fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, Any, Final, Literal, cast

from .._sansio._state_file_disk import REAL_DISK, Disk
from ._disk import RecordingDisk, constant_of_os, file_of

__all__ = ["SHORT", "FailingDisk"]

SHORT: Final = "short"
"""For `FailingDisk`: the call is a write, and it takes only the first half of what it is given."""


class FailingDisk:
    """A disk whose N-th call fails, with the functions of `os` that write, read and replace files.

    To try every call of some code, go on until there was no such call::

        for at in itertools.count(1):
            disk = FailingDisk(RecordingDisk({"state": b"old"}), at=at, error=errno.ENOSPC)
            try:
                save("state", b"new", disk)
            except OSError:
                ...
            if disk.failed is None:
                break

    It has what a `RecordingDisk` has: `open`, `close`, `fdopen`, `read`, `write`, `lseek`,
    `ftruncate`, `fsync`, `fdatasync`, `fstat`, `listdir`, `link`, `rename`, `replace`, `unlink`,
    `remove`, and the constants of `os` for these; besides, `lock` and `unlock`.

    A `close` that fails has closed the file. A sync that fails has synced nothing, and no later one
    makes up for it: that is what kernels do, and `crash_images` shows it.

    Args:
        disk: Where the calls go: a `RecordingDisk`, or by default the real one.
        at: Which call fails, from 1. With 0 none does, and all are counted.
        error: The number of the error, as `errno.ENOSPC`; or `SHORT`, for a write that takes only a
            part, and then calls of other kinds do not fail.
        lasting: Whether all calls after it fail too, but for `close`, which closes.

    Attributes:
        calls: The names of the calls that were made, with what failed.
        failed: The name of the first call that failed; None if none has.
    """

    def __init__(
        self,
        disk: Disk | None = None,
        *,
        at: int,
        error: int | Literal["short"],
        lasting: bool = False,
    ) -> None:
        self.calls: list[str] = []
        self.failed: str | None = None
        self._disk = REAL_DISK if disk is None else disk
        self._at = at
        self._error: int | Literal["short"] = error
        self._lasting = lasting

    def _fails(self, name: str) -> bool:
        self.calls.append(name)
        number = len(self.calls)
        if self._at == 0 or number < self._at or (number > self._at and not self._lasting):
            return False
        if self._error == SHORT and name != "write":
            return False
        if self.failed is None:
            self.failed = name
        return True

    def _call(self, name: str, *args: Any) -> Any:
        if self._fails(name):
            raise self._oserror()
        return self._function(name)(*args)

    def _function(self, name: str) -> Callable[..., Any]:
        if self._disk is REAL_DISK and not hasattr(self._disk, name):
            return cast("Callable[..., Any]", getattr(os, name))
        return cast("Callable[..., Any]", getattr(self._disk, name))

    def _oserror(self) -> OSError:
        assert self._error != SHORT
        return OSError(self._error, os.strerror(self._error))

    def __getattr__(self, name: str) -> int:
        return constant_of_os(self, name)

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        """As `os.open`."""
        fd: int = self._call("open", path, flags, mode)
        return fd

    def close(self, fd: int) -> None:
        """As `os.close`. It closes in any case."""
        fails = self._fails("close")
        self._disk.close(fd)
        if fails:
            raise self._oserror()

    def fdopen(self, fd: int, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """As `os.fdopen`, with a buffer; modes as for `RecordingDisk.fdopen`.

        It is no call that fails. What the file reads, writes and closes are calls as all others.
        """
        return file_of(self, fd, mode, encoding)

    def read(self, fd: int, length: int) -> bytes:
        """As `os.read`."""
        data: bytes = self._call("read", fd, length)
        return data

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """As `os.write`."""
        if self._fails("write"):
            if self._error != SHORT:
                raise self._oserror()
            data = data[: (len(data) + 1) // 2]
        return self._disk.write(fd, data)

    def lseek(self, fd: int, position: int, how: int) -> int:
        """As `os.lseek`."""
        found: int = self._call("lseek", fd, position, how)
        return found

    def ftruncate(self, fd: int, length: int) -> None:
        """As `os.ftruncate`."""
        self._call("ftruncate", fd, length)

    def fsync(self, fd: int) -> None:
        """As `os.fsync`."""
        self._sync("fsync", fd)

    def fdatasync(self, fd: int) -> None:
        """As `os.fdatasync`."""
        self._sync("fdatasync", fd)

    def _sync(self, name: str, fd: int) -> None:
        if self._fails(name):
            if isinstance(self._disk, RecordingDisk):
                self._disk.fail_fsync(fd)
            raise self._oserror()
        self._function(name)(fd)

    def fstat(self, fd: int) -> os.stat_result:
        """As `os.fstat`."""
        status: os.stat_result = self._call("fstat", fd)
        return status

    def listdir(self, path: str | os.PathLike[str] = os.curdir) -> list[str]:
        """As `os.listdir`."""
        names: list[str] = self._call("listdir", path)
        return names

    def link(self, src: str | os.PathLike[str], dst: str | os.PathLike[str]) -> None:
        """As `os.link`."""
        self._call("link", src, dst)

    def replace(self, src: str | os.PathLike[str], dst: str | os.PathLike[str]) -> None:
        """As `os.replace`."""
        self._call("replace", src, dst)

    def rename(self, src: str | os.PathLike[str], dst: str | os.PathLike[str]) -> None:
        """As `os.rename`."""
        self._call("rename", src, dst)

    def unlink(self, path: str | os.PathLike[str]) -> None:
        """As `os.unlink`."""
        self._call("unlink", path)

    def remove(self, path: str | os.PathLike[str]) -> None:
        """As `os.remove`."""
        self._call("remove", path)

    def lock(self, fd: int) -> None:
        """Lock a file, or raise `BlockingIOError`."""
        self._call("lock", fd)

    def unlock(self, fd: int) -> None:
        """Give the lock back."""
        self._call("unlock", fd)
