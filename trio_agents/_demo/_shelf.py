"""Finding the documents: from the paths that were given to one `Document` for each file.

Folders are looked through to any depth, in the order of names, without what is hidden. A file that
can be reached in several ways is one document, so a link cannot make the search go in a circle.
Nothing is opened here: what cannot be read is found out by whoever reads it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import trio

from ._messages import Document, Skipped

__all__ = ["OWN_DOCUMENTS", "Shelf", "explain", "find_documents", "name_of", "source_of"]

OWN_DOCUMENTS: Final = Path(__file__).parent / "documents"
_LONGEST_SOURCE: Final = 4096  # what a topic's source may have


@dataclass(frozen=True, slots=True)
class Shelf:
    """What was found, in the order of the names."""

    documents: tuple[Document, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    path: str  # as it was reached; also says what it is called
    real: str  # the file itself, without any links


async def find_documents(paths: Iterable[str], *, leave_out: Iterable[str] = ()) -> Shelf:
    """Find the documents at *paths* and below; without any, those that come with the package.

    Args:
        paths: Files and folders.
        leave_out: Files that are not to be taken for documents.
    """
    label = _label if (given := list(paths)) else _label_of_own
    todo, seen = await trio.to_thread.run_sync(
        _begin, given or [str(OWN_DOCUMENTS)], leave_out, abandon_on_cancel=True
    )
    documents: list[Document] = []
    skipped: list[Skipped] = []
    while todo:
        found = todo.pop()
        if found.real in seen:
            continue
        seen.add(found.real)
        try:
            # A thread for each, so that a slow disk stops nothing else, and Ctrl-C at once.
            below = await trio.to_thread.run_sync(_look_into, found, abandon_on_cancel=True)
        except OSError as exc:
            skipped.append(Skipped(*label(found.path), explain(exc)))
            continue
        if below is None:
            documents.append(Document(*label(found.path), found.path))
            continue
        for file in below.files:
            if file.real not in seen:
                seen.add(file.real)
                documents.append(Document(*label(file.path), file.path))
        for path, reason in below.others:
            skipped.append(Skipped(*label(path), reason))
        todo.extend(reversed(below.folders))
    return Shelf(
        tuple(sorted(documents, key=lambda document: document.source)),
        tuple(sorted(skipped, key=lambda one: one.source)),
    )


def _begin(paths: Iterable[str], leave_out: Iterable[str]) -> tuple[list[_Found], set[str]]:
    todo = [_Found(str(PurePath(path)), os.path.realpath(path)) for path in paths]
    return todo[::-1], {os.path.realpath(path) for path in leave_out}


def _label(path: str) -> tuple[str, str]:
    return source_of(path), name_of(path)


def _label_of_own(path: str) -> tuple[str, str]:
    return _label(os.path.relpath(path, OWN_DOCUMENTS))  # wherever the package is installed


@dataclass(frozen=True, slots=True)
class _Folder:
    files: list[_Found]
    folders: list[_Found]
    others: list[tuple[str, str]]


def _look_into(found: _Found) -> _Folder | None:
    """Give what is in a folder; None for a regular file."""
    mode = os.stat(found.path).st_mode
    if stat.S_ISREG(mode):
        return None
    if not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, _not_a_file(mode))
    folder = _Folder([], [], [])
    with os.scandir(found.path) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.name.startswith("."):
            continue
        path = entry.name if found.path == "." else entry.path
        try:
            # Only links and the rarer kinds cost a system call here.
            if entry.is_symlink():
                child = _Found(path, os.path.realpath(path))
                mode = entry.stat().st_mode
            else:
                child = _Found(path, os.path.join(found.real, entry.name))
                mode = stat.S_IFREG if entry.is_file() else entry.stat().st_mode
        except OSError as exc:
            folder.others.append((path, explain(exc)))
            continue
        if stat.S_ISREG(mode):
            folder.files.append(child)
        elif stat.S_ISDIR(mode):
            folder.folders.append(child)
        else:
            folder.others.append((path, _not_a_file(mode)))
    return folder


def _not_a_file(mode: int) -> str:
    kind = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}.get(stat.S_IFMT(mode), "a device")
    return f"it is {kind}"


_REASONS: Final = {
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.ENOENT: "it is gone, or a link to nothing",
    errno.ELOOP: "its links go in a circle",
    errno.EISDIR: "it has become a folder",
    errno.ENAMETOOLONG: "its name is too long",
}


def explain(error: OSError) -> str:
    """Say why a file could not be read, in a few words."""
    reason = error.strerror or type(error).__name__
    return _REASONS.get(error.errno or 0) or reason[:1].lower() + reason[1:]


def source_of(path: str) -> str:
    """Give the topic source for *path*: percent-encoded, because a source is plain ASCII.

    One that would be too long keeps its beginning, and gets a hash that tells it from others.
    """
    source = quote(os.fsencode(PurePath(path).as_posix()), safe="/ ")
    if len(source) > _LONGEST_SOURCE:
        digest = hashlib.sha256(source.encode()).hexdigest()
        source = f"{source[: _LONGEST_SOURCE - 100]}~{digest}"
    return source


def name_of(path: str) -> str:
    """Give *path* as it can be shown: without line breaks, control characters and odd bytes."""
    text = os.fsencode(PurePath(path).as_posix()).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def name_in_source(source: str) -> str:
    """Give the name that `source_of` made *source* from."""
    return name_of(os.fsdecode(unquote_to_bytes(source)))
