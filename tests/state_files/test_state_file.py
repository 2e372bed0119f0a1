"""`read_state_file` and `write_state_file`, on a real disk and on ones made to order."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trio_agents._sansio import _state_file_save
from trio_agents._sansio._state_file import (
    read_state_file,
    replace_state_file,
    retrieve_state_file,
    write_state_file,
)
from trio_agents._sansio._state_file_disk import REAL_DISK
from trio_agents._sansio._state_file_format import dump_state, seal
from trio_agents._sansio._state_file_values import (
    StateFile,
    StateFileConflict,
    StateFileCorrupt,
    StateFileTooNew,
    StateFileUnconfirmed,
)
from trio_agents.exceptions import StateError
from trio_agents.testing._disk import RecordingDisk
from trio_agents.testing._disk_faults import SHORT, FailingDisk
from trio_agents.testing.nightly._disk_errors import ERRORS

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def state(number: int) -> dict[str, Any]:
    return {"counter/a": {"count": number}}


def save(path: Path, count: int, *, after: StateFile | None = None, keep: int = 2) -> StateFile:
    """Save so many generations, and give the last."""
    for _ in range(count):
        number = 1 if after is None else after.generation + 1
        after = write_state_file(path, state(number), after=after, keep=keep)
    assert after is not None
    return after


def count_at(path: Path) -> int:
    return int(read_state_file(path)[1]["counter/a"]["count"])


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path.parent))


def open_files() -> int:
    """How many descriptors this process has open."""
    return sum(1 for fd in range(256) if _is_open(fd))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# --- names and permissions


def test_older_generations_get_numbers(path: Path) -> None:
    save(path, 5)
    assert names(path) == ["state", "state.1", "state.2", "state.lock"]
    assert [count_at(path.with_name(name)) for name in ("state", "state.1", "state.2")] == [5, 4, 3]


@pytest.mark.parametrize("keep", [0, 1, 2, 5])
def test_exactly_as_many_are_kept_as_were_asked_for(path: Path, keep: int) -> None:
    save(path, 9, keep=keep)
    older = [f"state.{number}" for number in range(1, keep + 1)]
    assert names(path) == ["state", *older, "state.lock"]
    assert [count_at(path.with_name(name)) for name in older] == [9 - n for n in range(1, keep + 1)]


def test_with_a_smaller_keep_the_rest_goes(path: Path) -> None:
    last = save(path, 5, keep=4)
    save(path, 1, after=last, keep=1)
    assert names(path) == ["state", "state.1", "state.lock"]


def test_other_files_with_numbers_are_left_alone(path: Path) -> None:
    last = save(path, 1)
    others = ["state.20260131", "state.01", "state.1.bak", "state.x", "state2.1", "state.0"]
    for name in others:
        path.with_name(name).write_bytes(b"mine")
    save(path, 3, after=last, keep=0)
    assert all(path.with_name(name).read_bytes() == b"mine" for name in others)


@unix_only
def test_only_the_owner_may_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        save(path, 2)
    finally:
        os.umask(before)
    for name in names(path):
        assert stat.S_IMODE(path.with_name(name).stat().st_mode) == 0o600, name


@unix_only
@pytest.mark.parametrize("name", ["state", "state.lock"])
def test_a_symbolic_link_is_not_followed(path: Path, name: str) -> None:
    target = path.with_name("target")
    target.write_bytes(b"")
    path.with_name(name).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links") as info:
        save(path, 1)
    assert any("is a symbolic link: name the state file itself" in n for n in info.value.__notes__)
    assert target.read_bytes() == b""


@unix_only
def test_a_link_in_the_place_of_the_temporary_file_is_replaced(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"mine")
    path.with_name("state.tmp").symlink_to(target)
    save(path, 1)
    assert target.read_bytes() == b"mine"
    assert names(path) == ["state", "state.lock", "target"]


@unix_only
def test_a_named_pipe_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StateFileCorrupt, match="not a regular file"):
        read_state_file(path)
    with pytest.raises(StateFileConflict, match="not a regular file"):
        save(path, 1)


@unix_only
def test_a_directory_or_a_socket_is_no_state_file(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StateFileCorrupt, match="not a regular file"):
        read_state_file(path)
    path.rmdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(OSError):  # noqa: PT011  # ENXIO on Linux, others elsewhere
            read_state_file(path)


def test_without_a_directory_the_error_is_that_of_the_system(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save(path / "below", 1)
    with pytest.raises(FileNotFoundError):
        read_state_file(path / "below")


# --- what may follow what


def test_a_file_that_is_there_needs_a_generation_to_follow(path: Path) -> None:
    save(path, 2)
    with pytest.raises(StateFileConflict, match=r"there already .* \(it holds generation 2\)"):
        write_state_file(path, {}, after=None)
    assert count_at(path) == 2


def test_a_generation_that_is_not_the_newest_is_a_conflict(path: Path) -> None:
    first = save(path, 1)
    save(path, 1, after=first)
    with pytest.raises(StateFileConflict, match=r"holds generation 2.* follows generation 1"):
        write_state_file(path, {}, after=first)


def test_the_same_number_with_another_content_is_a_conflict(path: Path) -> None:
    ours = save(path, 1)
    path.unlink()
    write_state_file(path, state(99), after=None)
    with pytest.raises(StateFileConflict, match="somebody else"):
        write_state_file(path, state(2), after=ours)


def test_nothing_is_lost_by_saving_where_a_file_was_deleted(path: Path) -> None:
    last = save(path, 3, keep=0)
    path.unlink()
    assert save(path, 1, after=last, keep=0).generation == 4


def test_behind_a_damaged_newest_one_its_own_writer_goes_on(path: Path) -> None:
    last = save(path, 3)
    path.write_bytes(b"\0" * 100)
    assert save(path, 1, after=last).generation == 5
    assert names(path) == ["state", "state.1", "state.2", "state.lock", "state.unusable"]


def test_who_has_recovered_conflicts_with_the_writer_of_what_was_lost(path: Path) -> None:
    lost = save(path, 3)
    path.write_bytes(b"")
    with pytest.warns(RuntimeWarning):
        recovered, _ = read_state_file(path)
    save(path, 1, after=recovered)
    with pytest.raises(StateFileConflict):
        save(path, 1, after=lost)


def test_behind_a_damaged_newest_one_an_unknown_older_one_is_a_conflict(path: Path) -> None:
    first = save(path, 1)
    save(path, 2, after=first)  # by somebody else
    path.write_bytes(b"")
    with pytest.raises(StateFileConflict, match="holds generation 2, which somebody else saved"):
        save(path, 1, after=first)


def test_what_was_restored_from_a_backup_is_not_replaced_by_a_program_that_runs(path: Path) -> None:
    last = save(path, 3)
    os.replace(path.with_name("state.1"), path)
    with pytest.raises(StateFileConflict):
        save(path, 1, after=last)


def test_a_file_of_another_program_is_not_touched(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")
    with pytest.raises(StateFileCorrupt, match="state: it is not a state file of this library"):
        read_state_file(path)
    with pytest.raises(StateFileConflict, match="not a state file of this library"):
        save(path, 1)
    assert path.read_bytes() == b"SQLite format 3\0"


def test_a_file_of_a_newer_version_is_neither_read_nor_replaced_nor_gone_behind(path: Path) -> None:
    last = save(path, 2)
    newer, _ = seal(dump_state({}), 3, version=2)
    path.write_bytes(newer)
    with pytest.raises(StateFileTooNew, match="version 2 of state files; this one knows version 1"):
        read_state_file(path)
    with pytest.raises(StateFileTooNew):
        save(path, 1, after=last)
    assert path.read_bytes() == newer


def test_a_claim_of_a_newer_version_without_its_checksum_is_damage(path: Path) -> None:
    save(path, 2)
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.warns(RuntimeWarning, match="checksum"):
        assert count_at(path) == 1


def test_a_missing_newest_one_is_said(path: Path) -> None:
    save(path, 2)
    path.unlink()
    with pytest.warns(RuntimeWarning, match=r"generation 1 .*: state: it is missing") as caught:
        file, _ = read_state_file(path)
    assert caught[0].filename == __file__
    assert (file.generation, file.recovered) == (1, "state: it is missing")


def test_several_damaged_ones_are_passed_by(path: Path) -> None:
    save(path, 4, keep=3)
    for name in ("state", "state.1"):
        path.with_name(name).write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="state: it is empty; state.1: it is empty"):
        assert count_at(path) == 2


def test_after_must_be_what_was_given(path: Path) -> None:
    with pytest.raises(TypeError, match=r"after must be what read_state_file\(\) or"):
        write_state_file(path, {}, after=7)  # type: ignore[arg-type]


# --- a lock, and what is left


@unix_only
def test_who_finds_it_locked_has_a_conflict_and_may_try_again(path: Path) -> None:
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    REAL_DISK.lock(fd)
    with pytest.raises(StateFileConflict, match="being saved by somebody else at this moment"):
        save(path, 1)
    REAL_DISK.unlock(fd)
    save(path, 1)
    os.close(fd)


@unix_only
def test_a_process_that_was_forked_meanwhile_does_not_keep_the_lock(path: Path) -> None:
    # It has a copy of what is open, for as long as it lives.
    code = (
        "import os, sys\n"
        "from trio_agents._sansio import _state_file as sf, _state_file_disk as d\n"
        "class Disk:\n"
        "    def __getattr__(self, name): return getattr(d.REAL_DISK, name)\n"
        "    def unlock(self, fd):\n"
        "        ours, theirs = os.pipe()\n"
        "        if not os.fork():\n"
        "            os.close(theirs); os.read(ours, 1); os._exit(0)\n"
        "        os.close(ours)\n"
        "        d.REAL_DISK.unlock(fd)\n"
        "first = sf.replace_state_file(sys.argv[1], b'', after=None, keep=0, disk=Disk())\n"
        "print(sf.write_state_file(sys.argv[1], {}, after=first).generation)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert (run.stdout, run.stderr) == ("2\n", "")


def test_what_a_crash_has_left_is_used_again(path: Path) -> None:
    path.with_name("state.tmp").write_bytes(b"half of it")
    save(path, 1)
    assert names(path) == ["state", "state.lock"]


@unix_only
def test_a_crash_behind_the_link_costs_no_older_generation(path: Path) -> None:
    last = save(path, 3, keep=2)
    path.with_name("state.2").unlink()
    os.replace(path.with_name("state.1"), path.with_name("state.2"))
    os.link(path, path.with_name("state.1"))  # so far it had come
    save(path, 1, after=last, keep=2)
    assert [count_at(path.with_name(name)) for name in ("state", "state.1", "state.2")] == [4, 3, 2]


def test_a_save_that_fails_again_and_again_costs_no_older_generation(path: Path) -> None:
    last = save(path, 3)
    for at in itertools.count(1):
        disk = FailingDisk(at=at, error=errno.ENOSPC)
        try:
            last = replace_state_file(str(path), dump_state({}), after=last, keep=2, disk=disk)
        except StateFileUnconfirmed:
            break
        except OSError:
            assert count_at(path) == 3
    assert [count_at(path.with_name(name)) for name in ("state.1", "state.2")] == [3, 2]


# --- each call fails, on the real disk


def failures() -> Iterator[tuple[int | str, bool]]:
    for error in ERRORS:
        yield error, False
        if error != SHORT:
            yield error, True


@unix_only
@pytest.mark.parametrize(("error", "lasting"), list(failures()))
def test_whichever_call_fails_there_is_the_old_state_or_the_new_one(
    path: Path, error: Any, lasting: bool
) -> None:
    failed: set[str | None] = set()
    before = open_files()
    for at in itertools.count(1):
        for name in names(path):
            path.with_name(name).unlink()
        after = save(path, 2, keep=1)
        disk = FailingDisk(at=at, error=error, lasting=lasting)
        try:
            after = replace_state_file(
                str(path), dump_state(state(3)), after=after, keep=1, disk=disk
            )
            expected = 3
        except StateFileUnconfirmed as exc:
            after, expected = exc.file, 3
        except OSError as exc:
            expected = 2
            if exc.errno != error:
                raise
        failed.add(disk.failed)
        assert count_at(path) == expected
        assert open_files() == before
        assert lasting or "state.tmp" not in names(path)
        save(path, 1, after=after, keep=1)
        assert count_at(path) == after.generation + 1
        assert "state.tmp" not in names(path)
        if disk.failed is None and len(disk.calls) < at:
            break
    assert {"write"} <= failed
    if error != SHORT:
        assert failed >= {"open", "read", "write", "fsync", "close", "replace", "lock", "unlock"}


def test_a_sync_that_failed_is_not_tried_again() -> None:
    disk = RecordingDisk()
    for at in itertools.count(1):
        failing = FailingDisk(disk, at=at, error=errno.EIO)
        with contextlib.suppress(OSError):
            replace_state_file("state", b"", after=None, keep=0, disk=failing)
        if failing.failed == "fsync":
            break
    assert failing.calls.count("fsync") == 1
    assert disk.files == {"state.lock": b""}


def test_an_unconfirmed_save_says_so_and_can_be_followed() -> None:
    disk = RecordingDisk()
    first = replace_state_file("state", b"", after=None, keep=0, disk=disk)
    for at in itertools.count(1):
        failing = FailingDisk(disk, at=at, error=errno.EIO)
        try:
            replace_state_file("state", b"", after=first, keep=0, disk=failing)
        except StateFileUnconfirmed as exc:
            unconfirmed = exc
            break
        except OSError:
            continue
    assert str(unconfirmed) == (
        "state: generation 2 is in its place, but it is not certain that it would survive a crash: "
        f"[Errno {errno.EIO}] {os.strerror(errno.EIO)}"
    )
    assert unconfirmed.errno == errno.EIO
    assert isinstance(unconfirmed, StateError)
    assert isinstance(unconfirmed, OSError)
    third = replace_state_file("state", b"", after=unconfirmed.file, keep=0, disk=disk)
    assert third.generation == 3


def test_a_disk_that_takes_no_more_data_is_an_error() -> None:
    class Stuck(RecordingDisk):
        def write(self, fd: int, data: Any) -> int:
            return 0

    with pytest.raises(OSError, match="takes no more data"):
        replace_state_file("state", b"", after=None, keep=0, disk=Stuck())


def test_a_temporary_file_that_cannot_be_deleted_is_mentioned() -> None:
    class Stuck(RecordingDisk):
        def write(self, fd: int, data: Any) -> int:
            raise OSError(errno.ENOSPC, "full")

        def unlink(self, path: Any) -> None:
            raise OSError(errno.EROFS, "read only")

    with pytest.raises(OSError, match="full") as info:
        replace_state_file("state", b"", after=None, keep=0, disk=Stuck())
    assert info.value.__notes__[0].startswith(
        "nor could state.tmp be deleted ([Errno 30] read only"
    )


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_directories_will_do(number: int) -> None:
    class Plain(RecordingDisk):
        def fsync(self, fd: int) -> None:
            if stat.S_ISDIR(self.fstat(fd).st_mode):
                raise OSError(number, os.strerror(number))
            super().fsync(fd)

    assert replace_state_file("state", b"", after=None, keep=0, disk=Plain()).generation == 1


def test_a_file_that_the_disk_cannot_give_back_is_damage_to_a_load_and_an_error_to_a_save() -> None:
    class Worn(RecordingDisk):
        worn = False

        def read(self, fd: int, length: int) -> bytes:
            if self.worn and self.fstat(fd).st_ino == self.number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(fd, length)

        number = 0

    disk = Worn()
    first = replace_state_file("state", dump_state(state(1)), after=None, keep=1, disk=disk)
    second = replace_state_file("state", dump_state(state(2)), after=first, keep=1, disk=disk)
    fd = disk.open("state", os.O_RDONLY)
    disk.number, disk.worn = disk.fstat(fd).st_ino, True
    file, found = retrieve_state_file("state", disk=disk)
    assert found == state(1)
    assert file.recovered == f"state: the disk cannot read it: {os.strerror(errno.EIO)}"
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        replace_state_file("state", b"", after=second, keep=1, disk=disk)
    assert "state.unusable" not in disk.files


def test_a_read_error_that_is_no_damage_is_an_error_to_a_load() -> None:
    disk = RecordingDisk({"state": b"", "state.1": b""})
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        retrieve_state_file("state", disk=FailingDisk(disk, at=1, error=errno.EMFILE))


def test_a_large_file_that_is_not_ours_is_not_read_whole() -> None:
    class Counting(RecordingDisk):
        count = 0

        def read(self, fd: int, length: int) -> bytes:
            data = super().read(fd, length)
            self.count += len(data)
            return data

    disk = Counting({"state": bytes(range(256)) * 40_000})
    with pytest.raises(StateFileCorrupt):
        retrieve_state_file("state", disk=disk)
    assert disk.count <= 1 << 20


def test_a_large_state_comes_back(path: Path) -> None:
    large = {"a/b": {"text": "äöü\n" * 700_000}}
    file = write_state_file(path, large, after=None)
    assert file.size > 1 << 21
    assert read_state_file(path) == (file, large)


def test_where_directories_cannot_be_opened_they_are_not_synced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_state_file_save, "DIRECTORY", None)  # as on Windows
    disk = RecordingDisk()
    replace_state_file("state", b"", after=None, keep=0, disk=disk)
    assert [call for call in disk.calls if call.startswith("fsync")] == ["fsync(4)"]


def test_an_older_one_that_a_save_moves_meanwhile_is_looked_for_under_the_next_number() -> None:
    class Moved(RecordingDisk):
        def listdir(self, path: Any = ".") -> list[str]:
            return ["state", "state.1", "state.2"]  # as it was a moment ago

    moved = Moved({"state": b"", "state.2": seal(dump_state(state(1)), 1)[0]})
    file, found = retrieve_state_file("state", disk=moved)
    assert found == state(1)
    assert file.recovered == "state: it is empty; state.1: it is missing"
