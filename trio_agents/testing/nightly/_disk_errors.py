"""Each call of a save and of a load fails, in each way."""

from __future__ import annotations

import errno
import itertools
import random
from collections.abc import Iterator
from typing import Final, Literal

from ..._sansio._state_file_values import (
    StateFileCorrupt,
    StateFileUnconfirmed,
)
from .._disk import RecordingDisk
from .._disk_crash import crash_images
from .._disk_faults import SHORT, FailingDisk
from ._disk_scenes import (
    PATH,
    Broken,
    Scene,
    each_scene,
    load,
    make_scene,
    save,
)
from ._row import Row, Watch

__all__ = ["ERRORS", "ROW", "failing_calls"]

Error = int | Literal["short"]
ERRORS: Final[tuple[Error, ...]] = (
    errno.ENOSPC,
    errno.EIO,
    errno.EINTR,
    errno.EMFILE,
    errno.EDQUOT,
    errno.EROFS,
    errno.EPERM,
    SHORT,
)


def failing_calls(watch: Watch) -> None:
    """Let each call of a save and of a load fail, in each way."""
    each_scene(watch, "row disk-errors", _error_scene)


def _error_scene(rng: random.Random, watch: Watch) -> Iterator[int]:
    seed = rng.randrange(1 << 40)
    for error, lasting in itertools.product(ERRORS, (False, True)):
        for at in itertools.count(1):
            scene = make_scene(random.Random(seed), watch)
            disk = FailingDisk(scene.disk, at=at, error=error, lasting=lasting)
            _check_failed_save(scene, disk, watch, lasting=lasting)
            yield 1
            if len(disk.calls) < at:
                break
        for at in itertools.count(1) if error != SHORT else ():
            scene = make_scene(random.Random(seed), watch)
            disk = FailingDisk(scene.disk, at=at, error=error, lasting=lasting)
            _check_failed_load(scene, disk)
            yield 1
            if len(disk.calls) < at:
                break


def _check_failed_save(scene: Scene, disk: FailingDisk, watch: Watch, *, lasting: bool) -> None:
    new = scene.number + 1
    after, old, damaged = scene.after, scene.number, scene.damaged
    left_over = scene.disk.files.get(f"{PATH}.tmp")
    try:
        after = save(disk, new, after, keep=scene.keep, size=scene.size)
        outcome, expected = "saved", new
        scene.disk.acknowledge(new)
    except StateFileUnconfirmed as exc:
        after, outcome, expected = exc.file, "unconfirmed", new
    except OSError:
        outcome, expected = "failed", old
    problem = f"{disk.failed} failed in calls {disk.calls}, outcome {outcome}"
    if disk.failed is not None:
        watch.met(f"{disk.failed} fails")
        watch.met(f"a save {outcome} after a failing call")
    if scene.disk.open_files:
        raise Broken(f"{scene.disk.open_files} files left open: {problem}")
    # One that an earlier life has left may still be there.
    if not lasting and scene.disk.files.get(f"{PATH}.tmp", left_over) != left_over:
        raise Broken(f"the temporary file is there: {problem}")
    # A disk that takes half of what is left, again and again, has too many images to look at.
    images = () if lasting and disk.failed == "write" else crash_images(scene.disk)
    for image in images:
        least = new if image.acknowledged else old
        number = _number_on(image.disk())
        if number not in (least, new):
            raise Broken(f"found state {number}: {problem}, {image}")
    number = _number_on(scene.disk)
    if number != expected:
        raise Broken(f"found state {number}, expected {expected}: {problem}")
    if number and load(scene.disk)[0].recovered and not (damaged and number == old):
        raise Broken(f"called damaged: {problem}")
    again = save(scene.disk, number + 1, after, keep=scene.keep)
    if load(scene.disk)[:2] != (again, number + 1):
        raise Broken(f"the save after it was not found again: {problem}")


def _number_on(disk: RecordingDisk) -> int:
    try:
        return load(disk)[1]
    except FileNotFoundError:
        return 0


def _check_failed_load(scene: Scene, disk: FailingDisk) -> None:
    try:
        file, number, _ = load(disk)
    except FileNotFoundError:
        if scene.number:
            raise Broken(f"said to be missing, after {disk.calls}") from None
    except (StateFileCorrupt, OSError):
        if disk.failed is None:
            raise
    else:
        if number != scene.number and file.recovered is None:
            raise Broken(f"loaded state {number} of {scene.number} in silence, {disk.calls}")
    if scene.disk.open_files:
        raise Broken(f"{scene.disk.open_files} files left open by a load, {disk.calls}")


ROW: Final = Row(
    name="disk-errors",
    title="Each call of a save and of a load fails, in each way, once or from then on",
    family="Disk",
    goal=200_000,
    unit="failing calls",
    promise="an error, the old state intact, nothing left behind, and the next save works",
    work=failing_calls,
    minutes_of_seed=0.1,
    quick_goal=1_500,
    expects=(
        *(f"{name} fails" for name in ("open", "write", "fsync", "close", "replace", "link")),
        *(f"{name} fails" for name in ("read", "fstat", "listdir", "unlink", "lock", "unlock")),
        *(f"a save {name} after a failing call" for name in ("saved", "unconfirmed", "failed")),
    ),
)
