"""A `RecordingDisk` does what the real one does, and knows what a crash may leave."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from trio_agents.testing._disk import RecordingDisk
from trio_agents.testing._disk_crash import CrashImage, crash_images
from trio_agents.testing._disk_faults import SHORT, FailingDisk

OLD, NEW = b"the old state", b"the new state, a bit longer"

# --- as the real disk

FLAGS = [
    os.O_RDONLY,
    os.O_WRONLY,
    os.O_RDWR,
    os.O_WRONLY | os.O_CREAT,
    os.O_RDWR | os.O_CREAT | os.O_EXCL,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR | os.O_APPEND,
]
NAMES = st.sampled_from(["a", "b", "c"])
FDS = st.integers(0, 3)
CALLS = st.one_of(
    st.tuples(st.just("open"), NAMES | st.just("."), st.sampled_from(FLAGS)),
    st.tuples(st.just("close"), FDS),
    st.tuples(st.just("read"), FDS, st.integers(0, 9)),
    st.tuples(st.just("write"), FDS, st.binary(max_size=9)),
    st.tuples(st.just("lseek"), FDS, st.integers(-3, 12), st.sampled_from([0, 1, 2])),
    st.tuples(st.just("ftruncate"), FDS, st.integers(0, 12)),
    st.tuples(st.just("fsync"), FDS),
    st.tuples(st.just("fstat"), FDS),
    st.tuples(st.just("link"), NAMES, NAMES),
    st.tuples(st.just("replace"), NAMES, NAMES),
    st.tuples(st.just("unlink"), NAMES),
    st.tuples(st.just("listdir")),
)


class Player:
    """Makes the same calls on any disk; descriptors are counted in the order of their opening."""

    def __init__(self, disk: Any, folder: str) -> None:
        self.disk = disk
        self.folder = folder
        self.fds: list[int] = []

    def play(self, name: str, *args: Any) -> Any:
        try:
            return self._call(name, *args)
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]

    def _call(self, name: str, *args: Any) -> Any:
        function = getattr(self.disk, name)
        if name == "open":
            path, flags = args
            self.fds.append(function(self._path(path), flags))
            return None
        if name == "listdir":
            return sorted(function(self.folder))
        if name in ("link", "replace", "unlink"):
            return function(*map(self._path, args))
        which, *rest = args
        if which >= len(self.fds):
            return "no such descriptor"
        if name == "lseek" and stat.S_ISDIR(self.disk.fstat(self.fds[which]).st_mode):
            return "what that means is a matter of the file system"
        result = function(self.fds[which], *rest)
        if name == "close":
            self.fds.pop(which)
        if name == "fstat":
            is_file = stat.S_ISREG(result.st_mode)
            return is_file and (result.st_size, result.st_nlink)
        return result

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def close(self) -> None:
        for fd in self.fds:
            self.disk.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="errors are those of Linux")
@settings(max_examples=300)
@given(st.lists(CALLS, max_size=30))
def test_every_call_answers_as_the_real_disk_does(calls: list[tuple[Any, ...]]) -> None:
    folder = tempfile.mkdtemp()
    real = Player(os, folder)
    ours = Player(RecordingDisk(directories=[folder]), folder)
    try:
        for call in calls:
            assert ours.play(*call) == real.play(*call), call
        contents = {str(path): path.read_bytes() for path in Path(folder).iterdir()}
        assert ours.disk.files == contents
    finally:
        real.close()
        shutil.rmtree(folder)


def test_a_lock_is_held_by_one_descriptor_until_it_is_closed() -> None:
    disk = RecordingDisk({"lock": b""})
    first, second = disk.open("lock", os.O_RDWR), disk.open("lock", os.O_RDWR)
    disk.lock(first)
    disk.lock(first)
    with pytest.raises(BlockingIOError):
        disk.lock(second)
    disk.unlock(second)  # not its own
    with pytest.raises(BlockingIOError):
        disk.lock(second)
    disk.close(first)
    disk.lock(second)
    disk.unlock(second)


def test_an_attribute_that_it_has_not_is_named() -> None:
    disk = RecordingDisk()
    assert disk.O_CREAT == os.O_CREAT
    with pytest.raises(AttributeError, match="a RecordingDisk has no 'fork'"):
        disk.fork  # noqa: B018


@pytest.mark.skipif(not hasattr(os, "O_SYNC"), reason="there is no such flag")
def test_a_flag_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="does not know what the flags"):
        RecordingDisk().open("a", os.O_SYNC | os.O_CREAT | os.O_WRONLY)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda disk: disk.open("nowhere/a", os.O_CREAT | os.O_WRONLY), errno.ENOENT),
        (lambda disk: disk.open("a", os.O_DIRECTORY), errno.ENOTDIR),
        (lambda disk: disk.open("b", os.O_DIRECTORY), errno.ENOENT),
        (lambda disk: disk.read(disk.open(".", os.O_RDONLY), 1), errno.EISDIR),
        (lambda disk: disk.write(disk.open(".", os.O_RDONLY), b"x"), errno.EBADF),
        (lambda disk: disk.read(9, 1), errno.EBADF),
        (lambda disk: disk.listdir("a"), errno.ENOTDIR),
        (lambda disk: disk.listdir("b"), errno.ENOENT),
        (lambda disk: disk.link("a", "nowhere/a"), errno.ENOENT),
        (lambda disk: disk.link("b", "c"), errno.ENOENT),
        (lambda disk: disk.replace("a", "d"), errno.EISDIR),
        (lambda disk: disk.unlink("d"), errno.EISDIR),
    ],
)
def test_errors_are_those_of_the_system(call: Any, error: int) -> None:
    with pytest.raises(OSError, match=re.escape(os.strerror(error))) as info:
        call(RecordingDisk({"a": OLD}, directories=["d"]))
    assert info.value.errno == error


def test_permissions_are_those_it_was_made_with() -> None:
    disk = RecordingDisk()
    disk.open("a", os.O_CREAT | os.O_WRONLY, 0o640)
    assert disk.mode("a") == 0o640


def test_file_objects_go_through_it() -> None:
    disk = RecordingDisk()
    fd = disk.open("a", os.O_WRONLY | os.O_CREAT)
    with disk.fdopen(fd, "w") as file:
        json.dump({"ä": 1}, file, ensure_ascii=False)
        file.flush()
        disk.fsync(file.fileno())
    assert disk.open_files == 0
    with disk.fdopen(disk.open("a", os.O_RDONLY)) as file:
        assert json.load(file) == {"ä": 1}
    with disk.fdopen(disk.open("a", os.O_RDONLY), "rb") as file:
        assert file.read() == '{"ä": 1}'.encode()
    with pytest.raises(ValueError, match=r"opens files as r, w, a or x"):
        disk.fdopen(3, "r+")


# --- what a crash may leave


def contents(disk: RecordingDisk, name: str = "a") -> set[bytes | None]:
    return {image.files.get(name) for image in crash_images(disk)}


def test_an_unsynced_write_is_lost_kept_or_kept_in_part() -> None:
    disk = RecordingDisk({"a": b""})
    disk.write(disk.open("a", os.O_WRONLY), b"12345678")
    assert contents(disk) == {b"", b"1234", b"\0" * 8, b"\0\0\0\x005678", b"12345678"}


def test_a_synced_write_is_certain_and_an_unsynced_name_is_not() -> None:
    disk = RecordingDisk()
    fd = disk.open("a", os.O_WRONLY | os.O_CREAT)
    disk.write(fd, b"12345678")
    disk.fsync(fd)
    disk.acknowledge("synced")
    assert [i.files for i in crash_images(disk) if i.acknowledged] == [{}, {"a": b"12345678"}]


def test_the_names_of_a_synced_directory_are_certain() -> None:
    disk = RecordingDisk(directories=["d"])
    disk.open("d/a", os.O_WRONLY | os.O_CREAT)
    disk.fsync(disk.open("d", os.O_RDONLY))
    disk.acknowledge("synced")
    assert [i.files for i in crash_images(disk) if i.acknowledged] == [{"d/a": b""}]


def test_a_rename_between_directories_is_certain_when_both_are_synced() -> None:
    disk = RecordingDisk({"d/a": OLD, "e/b": b""})
    disk.replace("d/a", "e/a")
    for folder in ("e", "d"):
        disk.fsync(disk.open(folder, os.O_RDONLY))
        disk.acknowledge(folder)
    found = [(i.acknowledged, sorted(i.files)) for i in crash_images(disk)]
    assert found == [
        (None, ["d/a", "e/b"]),
        (None, ["e/a", "e/b"]),
        ("e", ["d/a", "e/b"]),
        ("e", ["e/a", "e/b"]),
        ("d", ["e/a", "e/b"]),
    ]


def test_unsynced_names_are_kept_in_any_mix() -> None:
    disk = RecordingDisk({"a": b"1", "b": b"2"})
    disk.replace("a", "c")
    disk.unlink("b")
    assert {"".join(sorted(image.files)) for image in crash_images(disk)} == {"ab", "bc", "a", "c"}


def test_a_new_name_may_be_there_without_the_first_one_of_its_file() -> None:
    disk = RecordingDisk()
    disk.open("new", os.O_WRONLY | os.O_CREAT)
    disk.replace("new", "a")
    assert {"".join(sorted(i.files)) for i in crash_images(disk)} == {"", "new", "a"}


def test_a_truncation_may_be_lost_where_a_later_write_is_kept() -> None:
    disk = RecordingDisk({"a": b"abcdef"})
    fd = disk.open("a", os.O_WRONLY | os.O_TRUNC)
    disk.write(fd, b"12")
    assert contents(disk) >= {b"abcdef", b"", b"12", b"12cdef"}


def test_what_a_failed_sync_has_forgotten_no_later_one_makes_certain() -> None:
    disk = RecordingDisk({"a": OLD})
    fd = disk.open("a", os.O_WRONLY)
    disk.write(fd, NEW)
    disk.fail_fsync(fd)
    disk.fsync(fd)
    disk.acknowledge("synced")
    assert OLD in {i.files["a"] for i in crash_images(disk) if i.acknowledged}
    disk.lseek(fd, 0, os.SEEK_SET)
    disk.write(fd, NEW)  # written again, it can be synced again
    disk.fsync(fd)
    disk.acknowledge("again")
    assert {i.files["a"] for i in crash_images(disk) if i.acknowledged == "again"} == {NEW}


def test_a_failed_sync_of_a_directory_makes_nothing_certain() -> None:
    disk = RecordingDisk({"a": OLD})
    disk.unlink("a")
    folder = disk.open(".", os.O_RDONLY)
    disk.fail_fsync(folder)
    disk.fsync(folder)
    disk.acknowledge("synced")
    assert [sorted(i.files) for i in crash_images(disk) if i.acknowledged] == [["a"], []]


def test_what_was_settled_is_certain() -> None:
    disk = RecordingDisk()
    disk.write(disk.open("a", os.O_WRONLY | os.O_CREAT), NEW)
    disk.settle()
    assert [image.files for image in crash_images(disk)] == [{"a": NEW}]


def test_two_names_of_one_file_stay_that() -> None:
    disk = RecordingDisk({"a": OLD})
    disk.link("a", "b")
    image = list(crash_images(disk))[-1]
    after = image.disk()
    after.write(after.open("a", os.O_WRONLY), b"THE")
    assert after.files == {"a": b"THE old state", "b": b"THE old state"}
    assert after.fstat(after.open("b", os.O_RDONLY)).st_nlink == 2


def test_an_image_says_after_what_it_came() -> None:
    disk = RecordingDisk({"a": OLD})
    disk.unlink("a")
    images = list(crash_images(disk))
    assert [str(image) for image in images] == [
        "after a crash behind step 0, nothing: a: b'the old state' (13)",
        "after a crash behind step 1, unlink('a'): no files",
    ]
    assert images[1].calls == ("unlink('a')",)


def test_an_image_can_be_written_to_a_real_directory(tmp_path: Path) -> None:
    disk = RecordingDisk({"/d/a": OLD, "b": NEW})
    (image,) = crash_images(disk)
    image.write_to(tmp_path)
    assert (tmp_path / "d" / "a").read_bytes() == OLD
    assert (tmp_path / "b").read_bytes() == NEW


def test_too_many_images_are_an_error() -> None:
    disk = RecordingDisk()
    for number in range(20):
        disk.open(str(number), os.O_WRONLY | os.O_CREAT)
    with pytest.raises(ValueError, match="more than 1000 crash images by step 10 of 20"):
        list(crash_images(disk, limit=1000))


# --- ways to save, and what is wrong with them


def save(disk: Any, *, in_place: bool = False, early: bool = False, sync: str = "fd") -> None:
    """Save as people do; *sync* names what is synced: the file and the directory."""
    name = "state" if in_place else "state.new"
    fd = disk.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    disk.write(fd, NEW)
    if early:
        disk.replace(name, "state")
    if "f" in sync:
        disk.fsync(fd)
    disk.close(fd)
    if not in_place and not early:
        disk.replace(name, "state")
    if "d" in sync:
        folder = disk.open(".", os.O_RDONLY)
        disk.fsync(folder)
        disk.close(folder)


def judge(image: CrashImage) -> str:
    found = image.files.get("state")
    if image.acknowledged and found != NEW:
        return "acknowledged and lost" if found == OLD else "torn"
    return "fine" if found in (OLD, NEW) else "torn"


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({}, {"fine": 8}),
        ({"sync": "f"}, {"fine": 8, "acknowledged and lost": 2}),
        ({"sync": "d"}, {"fine": 8, "torn": 8}),
        ({"sync": ""}, {"fine": 8, "torn": 8, "acknowledged and lost": 6}),
        ({"in_place": True}, {"fine": 3, "torn": 6}),
        ({"in_place": True, "sync": ""}, {"fine": 3, "torn": 12, "acknowledged and lost": 1}),
        ({"early": True}, {"fine": 8, "torn": 4}),
    ],
    ids=["right", "no dir sync", "no file sync", "no sync", "in place", "nothing", "early rename"],
)
def test_only_the_full_recipe_has_no_bad_image(how: dict[str, Any], found: dict[str, int]) -> None:
    disk = RecordingDisk({"state": OLD})
    save(disk, **how)
    disk.acknowledge("saved")
    assert Counter(map(judge, crash_images(disk))) == found


# --- a disk whose calls fail


def test_the_nth_call_fails_and_no_other() -> None:
    disk = FailingDisk(RecordingDisk({"a": OLD}), at=2, error=errno.ENOSPC)
    disk.listdir(".")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        disk.unlink("a")
    assert disk.failed == "unlink"
    disk.unlink("a")
    assert disk.calls == ["listdir", "unlink", "unlink"]


def test_when_it_lasts_all_later_calls_fail_too_and_files_are_closed() -> None:
    real = RecordingDisk({"a": OLD})
    disk = FailingDisk(real, at=2, error=errno.EIO, lasting=True)
    fd = disk.open("a", os.O_RDWR)
    for call in (lambda: disk.read(fd, 1), lambda: disk.write(fd, b"x"), lambda: disk.close(fd)):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            call()
    assert real.open_files == 0


def test_a_short_write_takes_half_and_other_calls_do_not_fail() -> None:
    real = RecordingDisk({"a": b""})
    for at in (1, 2):
        disk = FailingDisk(real, at=at, error=SHORT)
        fd = disk.open("a", os.O_WRONLY)
        assert disk.write(fd, b"12345") == (5 if at == 1 else 3)
        assert disk.failed == (None if at == 1 else "write")


def test_a_sync_that_fails_has_synced_nothing() -> None:
    real = RecordingDisk({"a": OLD})
    disk = FailingDisk(real, at=3, error=errno.EIO)
    fd = disk.open("a", os.O_WRONLY)
    disk.write(fd, NEW)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        disk.fsync(fd)
    with contextlib.suppress(OSError):
        disk.fsync(fd)
    assert OLD in contents(real)
    assert real.calls[-2:] == ["failed fsync(3)", "fsync(3)"]


def save_as_in_the_guide(path: str, data: bytes, os: Any = os) -> None:
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def test_a_function_that_is_handed_its_os_can_be_handed_either_disk(tmp_path: Path) -> None:
    names = {name for name in vars(RecordingDisk) if not name.startswith("_")}
    asked_of_the_test = {"acknowledge", "calls", "fail_fsync", "files", "mode", "open_files"}
    assert names - asked_of_the_test - {"settle"} == {
        name for name in vars(FailingDisk) if not name.startswith("_")
    }

    state = str(tmp_path / "state")
    for path, real in ((state, None), ("state", RecordingDisk())):
        disk = FailingDisk(real, at=0, error=errno.EIO)
        save_as_in_the_guide(path, b"new", disk)
        assert disk.calls == ["open", "write", "fsync", "close", "replace"]
    assert Path(state).read_bytes() == b"new"


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("lasting", [False, True])
def test_each_call_behind_a_file_object_fails_in_its_turn(at: int, lasting: bool) -> None:
    real = RecordingDisk({"state": OLD})
    disk = FailingDisk(real, at=at, error=errno.ENOSPC, lasting=lasting)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        save_as_in_the_guide("state", NEW, disk)
    assert disk.failed == ("open", "write", "fsync", "close", "replace")[at - 1]
    assert real.files["state"] == OLD
    assert real.open_files == 0


def test_a_file_object_over_short_writes_writes_all() -> None:
    real = RecordingDisk()
    disk = FailingDisk(real, at=2, error=SHORT)
    save_as_in_the_guide("state", NEW, disk)
    assert disk.failed == "write"
    assert real.files["state"] == NEW


@pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="os has no fdatasync here")
@pytest.mark.parametrize("real", [True, False])
def test_seeking_cutting_and_renaming_fail_too(tmp_path: Path, real: bool) -> None:
    where = str(tmp_path / "a") if real else "a"
    calls = ["open", "write", "lseek", "ftruncate", "fdatasync", "close", "rename", "remove"]
    for at in range(len(calls) + 1):
        disk = FailingDisk(None if real else RecordingDisk(), at=at, error=errno.EIO)
        with contextlib.suppress(OSError):
            fd = disk.open(where, disk.O_RDWR | disk.O_CREAT)
            disk.write(fd, b"12345")
            assert disk.lseek(fd, 0, disk.SEEK_SET) == 0
            disk.ftruncate(fd, 2)
            disk.fdatasync(fd)
            disk.close(fd)
            disk.rename(where, f"{where}.b")
            disk.remove(f"{where}.b")
        assert disk.failed == (calls[at - 1] if at else None)


def test_what_a_failing_disk_does_not_have_is_named() -> None:
    disk: Any = FailingDisk(at=1, error=errno.EIO)
    with pytest.raises(AttributeError, match=r"a FailingDisk has no 'mkdir': it has what"):
        disk.mkdir("a")
