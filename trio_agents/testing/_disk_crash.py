"""What a crash may leave of what a `RecordingDisk` recorded: every image, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import attrs

from ._disk import RecordingDisk
from ._disk_effects import Acknowledged, Cut, Effect, File, FolderSynced, Named, Synced, Written

__all__ = ["CrashImage", "crash_images"]


@attrs.frozen
class CrashImage:
    """What may be on a disk after a crash.

    Attributes:
        files: Contents by path.
        calls: What had been done before the crash, the last of it last.
        acknowledged: What was last acknowledged before the crash; None if nothing was.
    """

    files: Mapping[str, bytes]
    calls: tuple[str, ...] = attrs.field(eq=False)
    acknowledged: Any
    _numbers: Mapping[str, int] = attrs.field(repr=False, eq=False)
    _directories: frozenset[str] = attrs.field(repr=False, eq=False)

    def __str__(self) -> str:
        last = self.calls[-1] if self.calls else "nothing"
        shown = ", ".join(
            f"{name}: {content if len(content) <= 60 else content[:50] + b'...'!r} ({len(content)})"
            for name, content in sorted(self.files.items())
        )
        return f"after a crash behind step {len(self.calls)}, {last}: {shown or 'no files'}"

    def disk(self) -> RecordingDisk:
        """Make a disk that holds this, all of it certain. Two names of one file stay that."""
        disk = RecordingDisk()
        files: dict[int, File] = {}
        for name, content in self.files.items():
            number = self._numbers[name]
            if number in files:
                files[number].links += 1
            else:
                files[number] = File(number, content, 0o600)
            disk._names[name] = files[number]
        disk._begin(self._directories)
        return disk

    def write_to(self, directory: str | os.PathLike[str]) -> None:
        """Write the files below a real directory, for code that reads real files.

        Absolute paths lose what makes them absolute. Each name gets a file of its own.
        """
        for name, content in self.files.items():
            path = Path(directory, name.lstrip(os.sep))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def crash_images(disk: RecordingDisk, *, limit: int = 100_000) -> Iterator[CrashImage]:
    """Give everything that could be on *disk* after a crash, at any moment of what it recorded.

    Each image comes once for each `RecordingDisk.acknowledge`, at the first step that allows it.

    How many there are grows fast with what is unsynced at one time: each name doubles them, and
    each write multiplies them by up to five.

    Raises:
        ValueError: there are more than *limit*.
    """
    seen: set[object] = set()
    states = _States(disk)
    for step in range(len(disk._effects) + 1):
        if step:
            states.take(disk._effects[step - 1])
        calls: tuple[str, ...] | None = None
        for numbers, contents in states.images():
            if len(seen) > limit:
                raise ValueError(
                    f"more than {limit} crash images by step {step} of {len(disk._effects)}: let "
                    "the code write in fewer parts, or raise the limit"
                )
            files = {name: contents[number] for name, number in sorted(numbers.items())}
            first: dict[int, str] = {}
            links = tuple(first.setdefault(numbers[name], name) for name in files)
            key = (states.acknowledgements, tuple(files.items()), links)
            if key in seen:
                continue
            seen.add(key)
            calls = calls or tuple(effect.call for effect in disk._effects[:step])
            yield CrashImage(
                files, calls, states.acknowledged, numbers, frozenset(disk._directories)
            )


@attrs.define
class _Change:
    """Something that was done and may not be certain yet."""

    effect: Any
    certain: bool = False
    forgotten: bool = False  # by a sync that failed
    folders: set[str] = attrs.Factory(set[str])  # still to be synced


class _States:
    """What is certain at one moment, and what is not."""

    def __init__(self, disk: RecordingDisk) -> None:
        self.acknowledged: object = None
        self.acknowledgements = 0
        self._names = dict(disk._first_names)
        self._renames: list[_Change] = []
        self._contents = dict(disk._first_contents)
        self._writes: dict[int, list[_Change]] = {}

    def take(self, effect: Effect) -> None:
        """Go on to the moment behind *effect*."""
        match effect:
            case Named():
                self._renames.append(_Change(effect, folders=effect.folders))
                self._contents.setdefault(effect.number, b"")
            case Written() | Cut():
                self._writes.setdefault(effect.number, []).append(_Change(effect))
            case Synced():
                for change in self._writes.get(effect.number, []):
                    _settle(change, failed=effect.failed)
            case FolderSynced():
                for change in self._renames:
                    if effect.folder in change.folders:
                        change.folders -= set() if effect.failed else {effect.folder}
                        if effect.failed or not change.folders:
                            _settle(change, failed=effect.failed)
            case Acknowledged():
                self.acknowledged = effect.value
                self.acknowledgements += 1
        self._fold()

    def _fold(self) -> None:
        while self._renames and self._renames[0].certain:
            self._renames.pop(0).effect.apply(self._names)
        for number, writes in self._writes.items():
            while writes and writes[0].certain:
                self._contents[number] = next(writes.pop(0).effect.outcomes(self._contents[number]))

    def images(self) -> Iterator[tuple[dict[str, int], dict[int, bytes]]]:
        """Give all that may be there now: the number of each name, and the contents."""
        choices = [(True,) if change.certain else (False, True) for change in self._renames]
        contents: dict[int, list[bytes]] = {}
        for chosen in product(*choices):
            names = dict(self._names)
            for change, kept in zip(self._renames, chosen, strict=True):
                if kept:
                    change.effect.apply(names)
            numbers = sorted(set(names.values()))
            for number in numbers:
                if number not in contents:
                    contents[number] = list(self._outcomes(number))
            for picked in product(*(contents[number] for number in numbers)):
                yield names, dict(zip(numbers, picked, strict=True))

    def _outcomes(self, number: int) -> dict[bytes, None]:
        """All that a file may hold now."""
        found = dict.fromkeys([self._contents[number]])
        for change in self._writes.get(number, []):
            before = tuple(found)
            found = dict[bytes, None]()
            for content in before:
                outcomes = list(change.effect.outcomes(content))
                if not change.certain:
                    outcomes.append(content)
                found.update(dict.fromkeys(outcomes[:1] if change.certain else outcomes))
        return found


def _settle(change: _Change, *, failed: bool) -> None:
    if failed:
        change.forgotten = True
    elif not change.forgotten:
        change.certain = True
