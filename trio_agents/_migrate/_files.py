"""Files: finding them, reading them, replacing them."""

from __future__ import annotations

import fnmatch
import io
import os
import re
import stat
import tempfile
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

__all__ = [
    "Kind",
    "Text",
    "Unusable",
    "decode",
    "find_files",
    "kind_of",
    "lines_of",
    "read",
    "replace",
]

DEPENDENCIES: Final = ("pyproject.toml", "setup.cfg", "requirements*.txt", "requirements*.in")
PASSED_OVER: Final = {"__pycache__", "node_modules", "site-packages"}
LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


class Unusable(Exception):
    """A file cannot be read, understood or written. The text says why, as in "it is not text"."""


class Kind(Enum):
    """What a file is to the command."""

    PYTHON = auto()
    NOTEBOOK = auto()
    DEPENDENCIES = auto()


def kind_of(path: str) -> Kind | None:
    """Tell by its name what the file at *path* is; None if it is of no interest."""
    name = os.path.basename(path)
    if name.endswith((".py", ".pyi", ".pyw")):
        return Kind.PYTHON
    if name.endswith(".ipynb"):
        return Kind.NOTEBOOK
    in_folder = os.path.basename(os.path.dirname(path)) == "requirements" and name.endswith(".txt")
    if in_folder or any(fnmatch.fnmatchcase(name, pattern) for pattern in DEPENDENCIES):
        return Kind.DEPENDENCIES
    return None


def find_files(
    paths: Iterable[str],
    exclude: Sequence[str] = (),
    on_error: Callable[[str, Unusable], object] = lambda path, exc: None,
) -> Iterator[str]:
    """Give the files that *paths* name, and those of interest in the folders that they name.

    Each file comes once. In folders, what is hidden, virtual environments and links are passed
    over: what a link leads to either is in the folder anyway or was not asked for, and what is
    never followed cannot be a loop. A folder that cannot be read goes to *on_error*.
    """
    seen: set[str] = set()
    for path in paths:
        for file in _in_folder(path, exclude, on_error) if os.path.isdir(path) else [path]:
            if (real := os.path.realpath(file)) not in seen:
                seen.add(real)
                yield file


def _in_folder(
    top: str, exclude: Sequence[str], on_error: Callable[[str, Unusable], object]
) -> Iterator[str]:
    def report(exc: OSError) -> None:
        on_error(str(exc.filename), Unusable(_explain(exc)))

    def is_excluded(path: str, name: str) -> bool:
        return any(fnmatch.fnmatch(one, pattern) for pattern in exclude for one in (path, name))

    for folder, folders, files in os.walk(top, onerror=report):
        folders[:] = [
            name
            for name in sorted(folders)
            if not (name.startswith(".") or name in PASSED_OVER)
            and not is_excluded(path := os.path.join(folder, name), name)
            and not _is_environment(path)
        ]
        for name in sorted(files):
            path = os.path.join(folder, name)
            if kind_of(path) and not is_excluded(path, name) and not os.path.islink(path):
                yield path


def _is_environment(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, mark)) for mark in ("pyvenv.cfg", "conda-meta"))


def read(path: str) -> bytes:
    """Read the file at *path*.

    Raises:
        Unusable: it is out of reach, or is not a file: a pipe would make us wait for ever.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Unusable("it is not a regular file")
        with open(path, "rb") as file:
            return file.read()
    except OSError as exc:
        raise Unusable(_explain(exc)) from exc


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a file, and the encoding in which it becomes that file's bytes again."""

    text: str
    encoding: str

    @property
    def mark(self) -> str:
        """The byte order mark that the file begins with, which is no part of the text."""
        return "\ufeff" if self.encoding == "utf-8-sig" else ""

    def encode(self, text: str) -> bytes:
        """Give what the file is to hold if it is to say *text*."""
        return text.encode(self.encoding)


def decode(data: bytes, *, declared: bool = True) -> Text:
    """Decode *data* as Python does: by its byte order mark, by what it declares, or as UTF-8.

    Raises:
        Unusable: it is not in that encoding.
    """
    encoding = "utf-8"
    try:
        if declared:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        elif data.startswith(b"\xef\xbb\xbf"):
            encoding = "utf-8-sig"
        text = Text(data.decode(encoding), encoding)
        written_back = text.encode(text.text)
    except UnicodeDecodeError as exc:
        raise Unusable(f"byte {exc.start + 1} is not {encoding.upper()}") from exc
    except (SyntaxError, LookupError, ValueError) as exc:
        # SyntaxError is what detect_encoding makes of all its troubles, a byte in line 1 included.
        raise Unusable(f"it is not UTF-8, or declares a wrong encoding: {exc}") from exc
    if written_back != data:
        raise Unusable(f"it would not be the same when written again as {encoding.upper()}")
    return text


def lines_of(text: str) -> list[str]:
    r"""Split *text* into lines with their ends, which are ``\n``, ``\r\n`` and ``\r`` only.

    `str.splitlines` knows more of them, a form feed for one, which Python's parser does not.
    """
    return LINE.findall(text)


def replace(path: str, old: bytes, new: bytes) -> None:
    """Have the file at *path*, which holds *old*, hold *new*: all of it, or none.

    Mode and owner stay. If *path* is a link, it stays one.

    Raises:
        Unusable: it cannot be written, or does not hold *old* any more.
    """
    path = os.path.realpath(path)
    if read(path) != old:
        raise Unusable("it has changed since it was read. Run this again")
    if not os.access(path, os.W_OK):
        raise Unusable("it is read-only")
    try:
        _replace(path, new)
    except OSError as exc:
        raise Unusable(_explain(exc)) from exc


def _replace(path: str, new: bytes) -> None:
    status = os.stat(path)
    handle, temporary = tempfile.mkstemp(
        dir=os.path.dirname(path), prefix=".migrate-", suffix=".tmp"
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(new)
            file.flush()
            os.fsync(file.fileno())
        if hasattr(os, "chown"):
            with suppress(OSError):  # only root may give files away; others own what they edit
                os.chown(temporary, status.st_uid, status.st_gid)
        os.chmod(temporary, stat.S_IMODE(status.st_mode))
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _explain(exc: OSError) -> str:
    return f"{exc.strerror or exc}"
