"""Reading one file: as text, unless it is what was read before.

At most the first mebibyte of a file is read: a digest of more would not be a better one, and so the
memory that one document can take is bounded.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from typing import Final

import trio

from ._shelf import explain

__all__ = ["MAX_BYTES", "Fingerprint", "Text", "Unreadable", "decode", "read_text"]

MAX_BYTES: Final = 1 << 20
ATTEMPTS: Final = 3
# The time stamps of a file system are coarse. A file that was written so shortly before it was read
# may be written again and have the same one.
RECENT: Final = 2_000_000_000


class Unreadable(Exception):
    """A file is no document. The text says why, as in "it is not text"."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells whether a file is still the one that was read."""

    size: int
    modified: int
    inode: int
    sha256: str
    read_at: int

    def fits(self, status: os.stat_result) -> bool:
        """Whether a file with *status* need not be looked into."""
        return (
            (self.size, self.modified, self.inode)
            == (status.st_size, status.st_mtime_ns, status.st_ino)
            and self.modified + RECENT < self.read_at
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Text:
    """What is in a file. No *text* if it is what *known* said."""

    fingerprint: Fingerprint
    text: str | None
    cut: str


async def read_text(path: str, known: Fingerprint | None = None) -> Text:
    """Read the file at *path*, if it is not the one that is *known*.

    It is read in a thread, which is left alone if the reader is cancelled: a disk that does not
    answer must not hold up Ctrl-C.

    Raises:
        Unreadable: it is not a file, not text, or out of reach.
    """
    return await trio.to_thread.run_sync(_read, path, known, abandon_on_cancel=True)


def _read(path: str, known: Fingerprint | None) -> Text:
    for _ in range(ATTEMPTS):
        started = time.time_ns()
        try:
            with open(path, "rb", opener=_open) as file:
                before = os.fstat(file.fileno())
                if not stat.S_ISREG(before.st_mode):
                    raise Unreadable("it is not a regular file")
                if known is not None and known.fits(before):
                    return Text(known, None, _cut(before.st_size))
                data = file.read(MAX_BYTES + 1)
                after = os.fstat(file.fileno())
        except OSError as exc:
            raise Unreadable(explain(exc)) from exc
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            break
    else:
        raise Unreadable("it kept changing while it was read")
    digest = hashlib.sha256(data).hexdigest()
    fingerprint = Fingerprint(
        after.st_size, after.st_mtime_ns, after.st_ino, digest, read_at=started
    )
    cut = _cut(after.st_size)
    if known is not None and (known.size, known.sha256) == (after.st_size, digest):
        return Text(fingerprint, None, cut)
    return Text(fingerprint, decode(data), cut)


def _open(path: str, flags: int) -> int:
    # Should a pipe have taken the file's place, opening it must not wait for somebody to write.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _cut(size: int) -> str:
    return f" in its first MiB of {size / MAX_BYTES:,.1f}" if size > MAX_BYTES else ""


def decode(data: bytes) -> str:
    """Give the text that *data* is: UTF-8, or UTF-16 if it says so. Without what is too much of it.

    Raises:
        Unreadable: it is not text.
    """
    encoding = "utf-8"
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark):
            encoding = name
    whole = len(data) <= MAX_BYTES
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        text = decoder.decode(data[:MAX_BYTES], final=whole)
    except UnicodeDecodeError as exc:
        raise Unreadable(
            f"it is not text: byte {exc.start + 1:,} is not {encoding.upper()}"
        ) from exc
    if "\0" in text:
        raise Unreadable("it is not text: it has NUL characters")
    if not whole:
        text = text.rpartition("\n")[0] or text
    return text
