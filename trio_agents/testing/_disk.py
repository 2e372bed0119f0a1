"""A disk in memory that remembers, and all that it may look like after a crash.

What a program writes is not on the disk when the call returns: data are when the file was synced,
names when their directory was. Until then the disk may have any of it, in any order. A kill of the
process does not show this, because the kernel goes on; a test that pulls the plug does, now and
then. Here the calls of one save are recorded, and every state that a crash could leave behind is
made and shown to the code that has to live with it.

What a disk may do, here:

* An unsynced write is lost, or kept, or its first half is, or its second half, or only the length
  of the file. The same holds for each other write to the file, independently.
* An unsynced change of names (a file that is made, linked, renamed, deleted) is lost or kept,
  independently of others. A rename is one change: it is seen whole or not at all, as every file
  system of today with a journal does it. One that goes from a directory to another is certain when
  both have been synced.
* A sync of a file makes its data certain, and not its name. A sync that failed makes nothing
  certain, and no later one makes up for it.
* What is certain stays. A disk that says so and lies is not looked at.

Left out: making and deleting directories, and symbolic links. Directories are there.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterable, Mapping
from typing import IO, Any, Final, Protocol, cast

import attrs

from ._disk_effects import (
    Acknowledged,
    Cut,
    Effect,
    File,
    FolderSynced,
    Named,
    Synced,
    Written,
    folder_of,
    overlay,
)

__all__ = ["RecordingDisk", "constant_of_os", "file_of"]

_KNOWN_FLAGS: Final = (
    "O_APPEND",
    "O_BINARY",
    "O_CLOEXEC",
    "O_CREAT",
    "O_DIRECTORY",
    "O_EXCL",
    "O_NOFOLLOW",
    "O_NOINHERIT",
    "O_NONBLOCK",
    "O_RDWR",
    "O_TRUNC",
    "O_WRONLY",
)
_ACCESS: Final = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_DIRECTORY: Final[int] = getattr(os, "O_DIRECTORY", 0)


@attrs.define
class _Opened:
    file: File | None
    folder: str | None
    readable: bool
    writable: bool
    append: bool
    position: int = 0


class RecordingDisk:
    """A disk in memory with the functions of `os`, for code that is handed its `os`.

    What is written to it is recorded, and `crash_images` gives all that a crash could have made of
    it. So the code under test takes what it calls as an argument::

        def save(path: str, data: bytes, os=os) -> None:
            fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            os.replace(path + ".new", path)

        disk = RecordingDisk({"state": b"old"})
        save("state", b"new", disk)
        disk.acknowledge("new")
        for image in crash_images(disk):
            assert image.files["state"] in (b"old", b"new"), image

    That fails at once, as nothing is synced there.

    It has `open`, `close`, `fdopen`, `read`, `write`, `lseek`, `ftruncate`, `fsync`, `fdatasync`,
    `fstat`, `listdir`, `link`, `rename`, `replace`, `unlink`, `remove`, and the constants of `os`
    for these; besides, `lock` and `unlock`. Errors are those of `os`. There are no directories but
    those that are named at the beginning, and no symbolic links. For one thread at a time.

    Args:
        files: What is on the disk already, for certain: contents by path.
        directories: Directories that are there, besides those of *files* and the current one.
    """

    def __init__(
        self, files: Mapping[str, bytes] | None = None, *, directories: Iterable[str] = ()
    ) -> None:
        self._names: dict[str, File] = {}
        for name, content in (files or {}).items():
            self._names[_name(name)] = File(len(self._names) + 1, bytes(content), 0o600)
        self._opened: dict[int, _Opened] = {}
        self._locks: dict[int, int] = {}  # the descriptor that holds it, by the file's number
        self._begin(directories)

    def _begin(self, directories: Iterable[str]) -> None:
        self._directories = {os.curdir, os.sep}
        for name in (*map(_name, directories), *map(folder_of, self._names)):
            while name not in self._directories:
                self._directories.add(name)
                name = folder_of(name)
        files = {file.number: file for file in self._names.values()}
        self._numbers = max(files, default=0)
        self._first_names = {name: file.number for name, file in self._names.items()}
        self._first_contents = {number: file.content for number, file in files.items()}
        self._effects: list[Effect] = []

    def __getattr__(self, name: str) -> int:
        return constant_of_os(self, name)

    def __repr__(self) -> str:
        return f"<RecordingDisk {len(self._names)} files, {len(self._effects)} effects>"

    # What a test asks

    @property
    def files(self) -> dict[str, bytes]:
        """What a program sees now, whatever a crash would leave: contents by path."""
        return {name: file.content for name, file in sorted(self._names.items())}

    @property
    def open_files(self) -> int:
        """How many file descriptors are open."""
        return len(self._opened)

    @property
    def calls(self) -> list[str]:
        """What was done that changed or synced something, in order."""
        return [effect.call for effect in self._effects]

    def mode(self, path: str) -> int:
        """Give the permissions that a file was made with."""
        return self._find(path).mode

    def acknowledge(self, value: object) -> None:
        """Note that the program under test has promised something from here on.

        `CrashImage.acknowledged` is the last such *value* from before the crash.
        """
        self._effects.append(Acknowledged(f"acknowledge({value!r})", value))

    def settle(self) -> None:
        """Take for certain what has been done. What is recorded begins here."""
        self._begin(self._directories)

    # Functions of os

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        """As `os.open`."""
        _check_flags(flags)
        name = _name(path)
        access = flags & _ACCESS
        writable = access in (os.O_WRONLY, os.O_RDWR)
        file = self._names.get(name)
        if file is None and name in self._directories:
            if flags & os.O_CREAT and flags & os.O_EXCL:
                raise _error(errno.EEXIST, path)
            if writable or flags & os.O_CREAT:
                raise _error(errno.EISDIR, path)
            return self._descriptor(_Opened(None, name, False, False, False))
        if flags & _DIRECTORY:
            raise _error(errno.ENOENT if file is None else errno.ENOTDIR, path)
        if file is None:
            if not flags & os.O_CREAT:
                raise _error(errno.ENOENT, path)
            self._check_folder(name, path)
            self._numbers += 1
            file = self._names[name] = File(self._numbers, b"", mode)
            self._effects.append(Named(f"create({name!r})", file.number, name, None))
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise _error(errno.EEXIST, path)
        elif flags & os.O_TRUNC and writable:
            self._cut(file, 0, f"truncate({name!r})")
        return self._descriptor(
            _Opened(file, None, access != os.O_WRONLY, writable, append=bool(flags & os.O_APPEND))
        )

    def close(self, fd: int) -> None:
        """As `os.close`."""
        opened = self._at(fd)
        del self._opened[fd]
        if opened.file is not None and self._locks.get(opened.file.number) == fd:
            del self._locks[opened.file.number]

    def fdopen(self, fd: int, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """As `os.fdopen`, with a buffer. The modes are r, w, a and x, with b or t."""
        return file_of(self, fd, mode, encoding)

    def read(self, fd: int, length: int) -> bytes:
        """As `os.read`."""
        opened, file = self._file_at(fd, reading=True)
        data = file.content[opened.position : opened.position + length]
        opened.position += len(data)
        return data

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> int:
        """As `os.write`. It always takes all; for a disk that does not, see `FailingDisk`."""
        opened, file = self._file_at(fd, reading=False)
        content = bytes(data)
        if opened.append:
            opened.position = len(file.content)
        if content:
            call = f"write({fd}, {len(content)} bytes)"
            self._effects.append(Written(call, file.number, opened.position, content))
            file.content = overlay(file.content, opened.position, content)
            opened.position += len(content)
        return len(content)

    def lseek(self, fd: int, position: int, how: int) -> int:
        """As `os.lseek`."""
        opened = self._at(fd)
        size = 0 if opened.file is None else len(opened.file.content)
        start = {os.SEEK_SET: 0, os.SEEK_CUR: opened.position, os.SEEK_END: size}.get(how)
        if start is None or start + position < 0:
            raise _error(errno.EINVAL)
        opened.position = start + position
        return opened.position

    def ftruncate(self, fd: int, length: int) -> None:
        """As `os.ftruncate`."""
        opened = self._at(fd)
        if opened.file is None or not opened.writable:
            raise _error(errno.EINVAL)
        self._cut(opened.file, length, f"ftruncate({fd}, {length})")

    def fsync(self, fd: int) -> None:
        """As `os.fsync`, of a file or of a directory."""
        self._sync(fd, failed=False)

    fdatasync = fsync

    def fail_fsync(self, fd: int) -> None:
        """Sync nothing, and forget that it should be: what a sync does that fails.

        What was written before will never be certain, also if a later sync succeeds.
        """
        self._sync(fd, failed=True)

    def fstat(self, fd: int) -> os.stat_result:
        """As `os.fstat`; times and owners are 0."""
        file = self._at(fd).file
        if file is None:
            return os.stat_result((stat.S_IFDIR | 0o700, 0, 1, 1, 0, 0, 0, 0, 0, 0))
        mode = stat.S_IFREG | file.mode
        return os.stat_result((mode, file.number, 1, file.links, 0, 0, len(file.content), 0, 0, 0))

    def listdir(self, path: str | os.PathLike[str] = os.curdir) -> list[str]:
        """As `os.listdir`, in order. Directories are not listed."""
        folder = _name(path)
        if folder not in self._directories:
            raise _error(errno.ENOTDIR if folder in self._names else errno.ENOENT, path)
        return sorted(os.path.basename(name) for name in self._names if folder_of(name) == folder)

    def link(self, src: str | os.PathLike[str], dst: str | os.PathLike[str]) -> None:
        """As `os.link`."""
        file, name = self._find(src), _name(dst)
        if name in self._names or name in self._directories:
            raise _error(errno.EEXIST, src, dst)
        self._check_folder(name, dst)
        self._effects.append(Named(f"link({_name(src)!r}, {name!r})", file.number, name, None))
        self._names[name] = file
        file.links += 1

    def replace(self, src: str | os.PathLike[str], dst: str | os.PathLike[str]) -> None:
        """As `os.replace`, of files."""
        file, old, new = self._find(src), _name(src), _name(dst)
        if new in self._directories:
            raise _error(errno.EISDIR, src, dst)
        self._check_folder(new, dst)
        there = self._names.get(new)
        if there is file:  # as POSIX has it: two names of one file stay two
            return
        self._effects.append(Named(f"rename({old!r}, {new!r})", file.number, new, old))
        if there is not None:
            there.links -= 1
        del self._names[old]
        self._names[new] = file

    rename = replace

    def unlink(self, path: str | os.PathLike[str]) -> None:
        """As `os.unlink`."""
        file, name = self._find(path), _name(path)
        self._effects.append(Named(f"unlink({name!r})", file.number, None, name))
        file.links -= 1
        del self._names[name]

    remove = unlink

    def lock(self, fd: int) -> None:
        """Lock a file for this descriptor, as ``flock`` does. No lock survives a crash.

        Raises:
            BlockingIOError: another descriptor holds it.
        """
        file = self._at(fd).file
        assert file is not None
        if self._locks.setdefault(file.number, fd) != fd:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def unlock(self, fd: int) -> None:
        """Give back what `lock` took."""
        file = self._at(fd).file
        assert file is not None
        if self._locks.get(file.number) == fd:
            del self._locks[file.number]

    # How

    def _descriptor(self, opened: _Opened) -> int:
        fd = next(
            number for number in range(3, len(self._opened) + 4) if number not in self._opened
        )
        self._opened[fd] = opened
        return fd

    def _at(self, fd: int) -> _Opened:
        if fd not in self._opened:
            raise _error(errno.EBADF)
        return self._opened[fd]

    def _file_at(self, fd: int, *, reading: bool) -> tuple[_Opened, File]:
        opened = self._at(fd)
        if opened.file is None:
            raise _error(errno.EISDIR if reading else errno.EBADF)
        if not (opened.readable if reading else opened.writable):
            raise _error(errno.EBADF)
        return opened, opened.file

    def _find(self, path: str | os.PathLike[str]) -> File:
        file = self._names.get(_name(path))
        if file is None:
            raise _error(errno.EISDIR if _name(path) in self._directories else errno.ENOENT, path)
        return file

    def _check_folder(self, name: str, path: str | os.PathLike[str]) -> None:
        if folder_of(name) not in self._directories:
            raise _error(errno.ENOENT, path)

    def _cut(self, file: File, size: int, call: str) -> None:
        if size != len(file.content):
            self._effects.append(Cut(call, file.number, size))
            file.content = file.content[:size].ljust(size, b"\0")

    def _sync(self, fd: int, *, failed: bool) -> None:
        opened = self._at(fd)
        call = f"{'failed ' if failed else ''}fsync({fd})"
        if opened.file is not None:
            self._effects.append(Synced(call, opened.file.number, failed))
        elif opened.folder is not None:
            call += f" of {opened.folder!r}"
            self._effects.append(FolderSynced(call, opened.folder, failed))


def constant_of_os(disk: object, name: str) -> int:
    """Give the constant of `os` that the attribute of a disk stands for.

    Raises:
        AttributeError: a disk has no such thing.
    """
    if name.startswith(("O_", "SEEK_")):
        return cast("int", getattr(os, name))
    kind = type(disk).__name__
    raise AttributeError(
        f"a {kind} has no {name!r}: it has what `trio_agents.testing.{kind}` names, and the code "
        "under test can use nothing else of `os` through it",
        name=name,
        obj=disk,
    )


class _Descriptors(Protocol):
    def read(self, fd: int, length: int) -> bytes: ...
    def write(self, fd: int, data: bytes) -> int: ...
    def close(self, fd: int) -> None: ...


def file_of(disk: _Descriptors, fd: int, mode: str, encoding: str | None) -> IO[Any]:
    """Make a file object, with a buffer, of a descriptor of a disk.

    Raises:
        ValueError: *mode* is none of those that a disk knows.
    """
    kind = mode.replace("b", "").replace("t", "")
    if kind not in ("r", "w", "a", "x"):
        raise ValueError(
            f"a {type(disk).__name__} opens files as r, w, a or x, with b or t, not {mode!r}"
        )
    raw = _Raw(disk, fd, kind)
    buffered: io.BufferedReader | io.BufferedWriter
    buffered = io.BufferedReader(raw) if kind == "r" else io.BufferedWriter(raw)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8")


class _Raw(io.RawIOBase):
    """A descriptor of a disk as a file object."""

    def __init__(self, disk: _Descriptors, fd: int, mode: str) -> None:
        self._disk = disk
        self._fd = fd
        self._mode = mode

    def fileno(self) -> int:
        return self._fd

    def readable(self) -> bool:
        return self._mode == "r"

    def writable(self) -> bool:
        return self._mode != "r"

    def readinto(self, buffer: Any) -> int:
        data = self._disk.read(self._fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        return self._disk.write(self._fd, bytes(data))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._disk.close(self._fd)


def _name(path: str | os.PathLike[str]) -> str:
    return os.path.normpath(os.fspath(path))


def _check_flags(flags: int) -> None:
    known = 0
    for name in _KNOWN_FLAGS:
        known |= getattr(os, name, 0)
    if flags & ~known:
        raise NotImplementedError(
            f"a RecordingDisk does not know what the flags {flags & ~known:#x} of open() do; it "
            f"knows {', '.join(_KNOWN_FLAGS)}"
        )


def _error(number: int, *paths: str | os.PathLike[str]) -> OSError:
    names = [os.fspath(path) for path in paths]
    if len(names) > 1:
        return OSError(number, os.strerror(number), names[0], None, names[1])
    return OSError(number, os.strerror(number), *names)
