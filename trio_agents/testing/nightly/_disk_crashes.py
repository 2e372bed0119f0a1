"""The power fails during a save, in every way; the next program goes on from what is there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, cast

from ..._sansio._state_file_disk import Disk
from ..._sansio._state_file_values import (
    StateFileConflict,
    StateFileCorrupt,
)
from .._disk_crash import CrashImage, crash_images
from ._disk_scenes import (
    DAMAGES,
    Broken,
    Meanwhile,
    Scene,
    each_scene,
    load,
    make_scene,
    save,
)
from ._disk_states import NotOurs
from ._row import Row, Watch

__all__ = ["ROW", "crash_states"]


def crash_states(watch: Watch) -> None:
    """Pull the plug during a save, in every way; load, save on, and pull it again."""
    each_scene(watch, "row disk-crash-states", _crash_scene)


def _crash_scene(rng: random.Random, watch: Watch) -> Iterator[int]:
    scene = make_scene(rng, watch)
    images = _check_save(scene, watch, rival_at=rng.randrange(1, 25) if rng.random() < 0.3 else 0)
    yield len(images)
    # What a crash has left is where the next program begins; and its plug may be pulled, too.
    for image in rng.sample(images, min(3, len(images))):
        disk = image.disk()
        after, number = None, 0
        if any(not name.endswith((".tmp", ".lock", ".unusable")) for name in disk.files):
            after, number, _ = load(disk)
        damaged = after is not None and after.recovered is not None
        again = Scene(disk, rng.randrange(4), scene.size, number, after, damaged)
        watch.met("two crashes")
        yield len(_check_save(again, watch, rival_at=0))


def _check_save(scene: Scene, watch: Watch, *, rival_at: int) -> list[CrashImage]:
    """Save, perhaps with a rival; check every crash image of it, and that life goes on from it."""
    disk = scene.disk
    new = scene.number + 1
    saved: list[str] = []

    def save_as(writer: str, disk_: Disk) -> None:
        try:
            save(disk_, new, scene.after, keep=scene.keep, size=scene.size, writer=writer)
        except StateFileConflict:
            watch.met("conflict")
        else:
            saved.append(writer)
            disk.acknowledge(writer)

    if rival_at:
        rival = Meanwhile(disk, at=rival_at, happens=lambda: save_as("b", disk))
        save_as("a", cast("Disk", rival))
        watch.met("rival")
    else:
        save_as("a", disk)
    if len(saved) != 1:
        raise Broken(f"{len(saved)} of two writers saved: {saved}, rival at call {rival_at}")
    images = list(crash_images(disk))
    for image in images:
        _check_image(image, scene, new, saved[0], watch)
    return images


def _check_image(image: CrashImage, scene: Scene, new: int, writer: str, watch: Watch) -> None:
    disk = image.disk()
    try:
        file, number, found = load(disk)
    except FileNotFoundError:
        file, number, found = None, 0, ""
    except (StateFileCorrupt, NotOurs) as exc:
        raise Broken(f"{exc!r}, {image}") from exc
    is_new = number == new and found == writer
    is_old = number == scene.number and not is_new
    if not is_new and not is_old:
        raise Broken(f"neither old nor new but state {number}, {image}")
    if image.acknowledged is not None and not is_new:
        raise Broken(f"acknowledged state {new} is lost, found {number}, {image}")
    if file is not None and file.recovered and not (scene.damaged and is_old):
        raise Broken(f"called damaged without any damage: {file.recovered}, {image}")
    watch.met("new found" if is_new else "old found")
    if image.acknowledged is not None:
        watch.met("acknowledged")
    again = save(disk, number + 1, file, keep=scene.keep)
    if load(disk)[:2] != (again, number + 1):
        raise Broken(f"the save after the crash was not found again, {image}")
    if any(name.endswith(".tmp") for name in disk.files):
        raise Broken(f"the save after the crash left a temporary file, {image}")


ROW: Final = Row(
    name="disk-crash-states",
    title="The power fails during a save, in every way, and during the next",
    family="Disk",
    goal=2_000_000,
    unit="crash states",
    promise="the old state or the new one, whole; what was acknowledged is not lost",
    work=crash_states,
    minutes_of_seed=0.1,
    weight=1.5,
    quick_goal=6_000,
    expects=(
        *(f"scene: {name}" for name in DAMAGES),
        "scene: no hard links",
        "new found",
        "old found",
        "acknowledged",
        "two crashes",
        "rival",
        "conflict",
    ),
)
