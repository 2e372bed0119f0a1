"""What a state file asks of a disk, so that a disk that records, crashes or fails can stand in.

Each is the function of `os` of that name, with the same errors; `lock` and `unlock` are those that
`os` does not have.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final, Protocol

if sys.platform != "win32":
    import fcntl

__all__ = ["CREATE", "DIRECTORY", "LOCK", "READ", "REAL_DISK", "Disk", "error_numbers"]


def error_numbers(*names: str) -> frozenset[int]:
    """Give the numbers of those errors that this system has."""
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


def _flags(*names: str) -> int:
    # Those that a system does not have it does not need, or cannot give: see the guide.
    flags = 0
    for name in names:
        flags |= getattr(os, name, 0)
    return flags


_ALWAYS: Final = ("O_BINARY", "O_CLOEXEC", "O_NOINHERIT", "O_NOFOLLOW")

# Without O_NONBLOCK a named pipe in the place of the file would be waited for.
READ: Final = _flags("O_RDONLY", "O_NONBLOCK", *_ALWAYS)
CREATE: Final = _flags("O_WRONLY", "O_CREAT", "O_EXCL", *_ALWAYS)
LOCK: Final = _flags("O_RDWR", "O_CREAT", "O_NONBLOCK", *_ALWAYS)
# None where directories cannot be opened.
DIRECTORY: Final = _flags("O_RDONLY", "O_DIRECTORY") if hasattr(os, "O_DIRECTORY") else None


class Disk(Protocol):
    """The functions of `os` that write, read and replace files, and a lock."""

    def open(self, path: str, flags: int, mode: int = 0o777, /) -> int:
        """As `os.open`."""
        ...

    def close(self, fd: int, /) -> None:
        """As `os.close`."""
        ...

    def read(self, fd: int, length: int, /) -> bytes:
        """As `os.read`."""
        ...

    def write(self, fd: int, data: bytes | memoryview, /) -> int:
        """As `os.write`."""
        ...

    def fsync(self, fd: int, /) -> None:
        """As `os.fsync`."""
        ...

    def fstat(self, fd: int, /) -> os.stat_result:
        """As `os.fstat`."""
        ...

    def listdir(self, path: str, /) -> list[str]:
        """As `os.listdir`."""
        ...

    def link(self, src: str, dst: str, /) -> None:
        """As `os.link`."""
        ...

    def replace(self, src: str, dst: str, /) -> None:
        """As `os.replace`."""
        ...

    def unlink(self, path: str, /) -> None:
        """As `os.unlink`."""
        ...

    def lock(self, fd: int, /) -> None:
        """Lock a file against other processes and other openings, until `unlock` or `close`.

        Raises:
            BlockingIOError: it is locked already.
        """
        ...

    def unlock(self, fd: int, /) -> None:
        """Give the lock back, though a forked process may still have the file open."""
        ...


class _RealDisk:
    """The disk of this machine."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
    fstat = staticmethod(os.fstat)
    listdir = staticmethod(os.listdir)
    link = staticmethod(os.link)
    replace = staticmethod(os.replace)
    unlink = staticmethod(os.unlink)

    if sys.platform == "darwin":

        def fsync(self, fd: int, /) -> None:
            # There fsync() ends when the drive has the data, perhaps only in its cache.
            try:
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            except OSError:  # not every file system knows it; this one says the truth, too
                os.fsync(fd)

    else:
        fsync = staticmethod(os.fsync)

    if sys.platform == "win32":

        def lock(self, fd: int, /) -> None:
            """Windows has no such lock: see the guide."""

        def unlock(self, fd: int, /) -> None:
            """Windows has no such lock."""

    else:

        def lock(self, fd: int, /) -> None:
            # Not fcntl's record locks, which one process never refuses to itself, and loses when it
            # closes the file anywhere.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def unlock(self, fd: int, /) -> None:
            fcntl.flock(fd, fcntl.LOCK_UN)


REAL_DISK: Final[Disk] = _RealDisk()
