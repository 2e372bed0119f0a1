"""Disks as some life before may have left them, and a program that saves once more."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import attrs

from ..._sansio._state_file import replace_state_file, retrieve_state_file
from ..._sansio._state_file_disk import Disk
from ..._sansio._state_file_format import dump_state
from ..._sansio._state_file_values import (
    StateFile,
)
from .._disk import RecordingDisk
from ._disk_states import number_of, state_of
from ._row import Watch

__all__ = [
    "DAMAGES",
    "PATH",
    "Broken",
    "Meanwhile",
    "NoLinks",
    "Scene",
    "each_scene",
    "flipped",
    "load",
    "make_scene",
    "save",
]

PATH: Final = "/d/state"


class Meanwhile:
    """A disk on which something happens before the N-th call."""

    def __init__(self, disk: RecordingDisk, *, at: int, happens: Callable[[], None]) -> None:
        self._disk = disk
        self._left = at
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._disk, name)

        def call(*args: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self._happens()
            return function(*args)

        return call


class NoLinks(RecordingDisk):
    """A disk without hard links."""

    def link(self, src: Any, dst: Any) -> None:
        """Refuse."""
        raise PermissionError(errno.EPERM, "this disk has no hard links")


class Broken(Exception):
    """A promise did not hold."""


def save(
    disk: Disk, number: int, after: StateFile | None, *, keep: int, size: int = 0, writer: str = "a"
) -> StateFile:
    """Save the state of this number."""
    body = dump_state(state_of(number, size, writer=writer))
    return replace_state_file(PATH, body, after=after, keep=keep, disk=disk)


def load(disk: Disk) -> tuple[StateFile, int, str]:
    """Load; give the number of the state, too, and its writer."""
    file, state = retrieve_state_file(PATH, disk=disk)
    return file, *number_of(state)


@attrs.frozen
class Scene:
    """A disk with a state file, or none, and what a program knows that has loaded it."""

    disk: RecordingDisk
    keep: int
    size: int
    number: int  # of the state that a load gives; 0 if there is none
    after: StateFile | None
    damaged: bool  # so that this state is an older one


DAMAGES: Final = ("damaged", "missing", "zeroed", "foreign", "left-over", "torn-older", "linked")


def make_scene(rng: random.Random, watch: Watch) -> Scene:
    """Make a disk as some life before may have left it."""
    keep = rng.randrange(4)
    size = rng.choice((0, 0, 10, 200, 20_000))
    disk = RecordingDisk(directories=["/d"])
    after = None
    for number in range(1, rng.randrange(6) + 1):
        after = save(disk, number, after, keep=keep, size=size)
    number = 0 if after is None else after.generation
    files = disk.files
    damage = rng.choice(DAMAGES) if rng.random() < 0.4 else None
    has_older = f"{PATH}.1" in files
    damaged = has_older and damage in ("damaged", "missing", "zeroed", "foreign")
    if damage is not None:
        watch.met(f"scene: {damage}")
    if damaged:
        if damage == "missing":
            del files[PATH]
        else:
            files[PATH] = {
                "damaged": flipped(files[PATH], rng),
                "zeroed": bytes(len(files[PATH])),
                "foreign": b"PRAGMA user_version = 3;\n",
            }[cast("str", damage)]
        number -= 1
    elif damage == "left-over":
        files[f"{PATH}.tmp"] = rng.randbytes(rng.randrange(40))
    elif damage == "torn-older" and has_older:
        files[f"{PATH}.1"] = files[f"{PATH}.1"][: rng.randrange(len(files[f"{PATH}.1"]))]
    if rng.random() < 0.15:
        watch.met("scene: no hard links")
        before: RecordingDisk = NoLinks(files, directories=["/d"])
    else:
        before = RecordingDisk(files, directories=["/d"])
        if damage == "linked" and number and keep:
            if has_older:
                before.unlink(f"{PATH}.1")
            before.link(PATH, f"{PATH}.1")
            before.settle()
    if number:
        after, found, _ = load(before)
        if found != number or (after.recovered is not None) != damaged:
            raise Broken(f"the scene itself: expected state {number}, found {found} ({after})")
    return Scene(before, keep, size, number, after, damaged)


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def each_scene(
    watch: Watch, repeat: str, scene: Callable[[random.Random, Watch], Iterator[int]]
) -> None:
    """Try scene after scene; each gives how many units it has done since it gave the last."""
    while watch.goes_on():
        seed = watch.next_seed()
        try:
            for units in scene(random.Random(seed), watch):
                watch.done(units)
        except Broken as exc:
            watch.violation(f"seed {seed}: {exc}. To repeat it: {repeat}, with this first seed")
            watch.done()
        except Exception as exc:
            exc.add_note(f"seed {seed}; to repeat it: {repeat}, with this first seed")
            raise
