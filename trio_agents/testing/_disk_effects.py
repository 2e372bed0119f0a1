"""What was done on a `RecordingDisk`, as far as a crash may undo it.

A number names a file, whatever name it has; directories are named by their paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs

__all__ = [
    "Acknowledged",
    "Cut",
    "Effect",
    "File",
    "FolderSynced",
    "Named",
    "Synced",
    "Written",
    "folder_of",
    "overlay",
]


@attrs.frozen
class Named:
    """File *number* got the name *added*, lost the name *removed*, or both at once."""

    call: str
    number: int
    added: str | None
    removed: str | None

    @property
    def folders(self) -> set[str]:
        return {folder_of(name) for name in (self.added, self.removed) if name is not None}

    def apply(self, names: dict[str, int]) -> None:
        if self.removed is not None and names.get(self.removed) == self.number:
            del names[self.removed]
        if self.added is not None:
            names[self.added] = self.number


@attrs.frozen
class Written:
    call: str
    number: int
    offset: int
    data: bytes

    def outcomes(self, content: bytes) -> Iterator[bytes]:
        """What may have become of it, beside being lost."""
        half = len(self.data) // 2
        end = self.offset + len(self.data)
        yield overlay(content, self.offset, self.data)
        yield overlay(content, self.offset, self.data[:half])
        longer = content.ljust(end, b"\0")
        yield longer
        yield overlay(longer, self.offset + half, self.data[half:])


@attrs.frozen
class Cut:
    call: str
    number: int
    size: int

    def outcomes(self, content: bytes) -> Iterator[bytes]:
        yield content[: self.size].ljust(self.size, b"\0")


@attrs.frozen
class Synced:
    call: str
    number: int
    failed: bool


@attrs.frozen
class FolderSynced:
    call: str
    folder: str
    failed: bool


@attrs.frozen
class Acknowledged:
    call: str
    value: object


Effect = Named | Written | Cut | Synced | FolderSynced | Acknowledged


def overlay(content: bytes, offset: int, data: bytes) -> bytes:
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]


def folder_of(name: str) -> str:
    return os.path.dirname(name) or os.curdir


@attrs.define
class File:
    number: int
    content: bytes
    mode: int
    links: int = 1
