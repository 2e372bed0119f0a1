"""Each row of the long run about the disk notices the fault that it is there for."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from trio_agents._sansio import _state_file, _state_file_format
from trio_agents._sansio._state_file_save import Save
from trio_agents._sansio._state_file_search import Search, older_generations
from trio_agents.testing._disk import RecordingDisk
from trio_agents.testing.nightly import _disk_crashes, _disk_damage, _disk_errors, _disk_processes
from trio_agents.testing.nightly._row import Report, Watch

SECONDS = 60


# --- planted faults


class Found(Exception):
    """One violation is enough."""


def found_by(work: Callable[..., None], goal: int, **options: Any) -> list[str]:
    """What a row says first; an exception counts too."""

    def stop_when_found(report: Report) -> None:
        if report.violated:
            raise Found

    watch = Watch(goal=goal, seconds=SECONDS, on_progress=stop_when_found)
    try:
        work(watch, **options)
    except Found:
        pass
    except Exception as exc:
        return [repr(exc)]
    return watch.report.violations


def no_file_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    real = RecordingDisk.fsync

    def fsync(self: RecordingDisk, fd: int) -> None:
        if self._opened[fd].folder is not None:
            real(self, fd)

    monkeypatch.setattr(RecordingDisk, "fsync", fsync)


def no_directory_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Save, "_confirm", lambda self, folder: None)


def the_old_one_is_moved_away_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(self: RecordingDisk, src: str, dst: str) -> None:
        self.unlink(src)

    monkeypatch.setattr(RecordingDisk, "link", link)


def surplus_goes_before_the_new_one_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Save._make_way

    def make_way(self: Save, found: Search, keep: int) -> None:
        for number in older_generations(self._disk, self._path):
            if number > keep:
                self._disk.unlink(self._numbered(number))
        real(self, found, keep)

    monkeypatch.setattr(Save, "_make_way", make_way)


def no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordingDisk, "lock", lambda self, fd: None)


def no_check_of_the_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    def next_generation(self: Save, found: Search, after: Any) -> int:
        return 1 if after is None else int(after.generation) + 1

    monkeypatch.setattr(Save, "_next_generation", next_generation)


def left_over_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    real = RecordingDisk.unlink

    def unlink(self: RecordingDisk, path: str) -> None:
        if str(path).endswith(".tmp"):
            raise FileExistsError(errno.EEXIST, path)
        real(self, path)

    monkeypatch.setattr(RecordingDisk, "unlink", unlink)


@pytest.mark.parametrize(
    "fault",
    [
        no_file_sync,
        no_directory_sync,
        the_old_one_is_moved_away_first,
        surplus_goes_before_the_new_one_is_certain,
        no_lock,
        no_check_of_the_generation,
        left_over_is_in_the_way,
    ],
)
def test_the_row_of_crash_states_notices(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    assert found_by(_disk_crashes.crash_states, 10_000)


def the_temporary_file_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Save, "_discard", lambda self, name, exc: None)


def a_sync_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from trio_agents.testing._disk_faults import FailingDisk

    real = FailingDisk.fsync

    def fsync(self: FailingDisk, fd: int) -> None:
        try:
            real(self, fd)
        except OSError:
            real(self, fd)

    monkeypatch.setattr(FailingDisk, "fsync", fsync)


def a_file_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    from trio_agents.testing._disk_faults import FailingDisk

    real = FailingDisk.close

    def close(self: FailingDisk, fd: int) -> None:
        if "write" not in self.calls[-2:]:
            real(self, fd)

    monkeypatch.setattr(FailingDisk, "close", close)


def an_unreadable_file_is_put_away(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Search.read

    def read(self: Search, source: str) -> bytes:
        try:
            return real(self, source)
        except OSError as exc:
            if exc.errno == errno.EIO:
                raise _state_file_format.Unusable("it cannot be read") from exc
            raise

    monkeypatch.setattr(Search, "read", read)


def unconfirmed_is_an_ordinary_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(OSError):
        def __init__(self, text: str, file: object, number: int | None) -> None:
            super().__init__(text)

    monkeypatch.setattr(_state_file, "StateFileUnconfirmed", Plain)


@pytest.mark.parametrize(
    "fault",
    [
        the_temporary_file_stays,
        a_sync_is_tried_again,
        a_file_stays_open,
        an_unreadable_file_is_put_away,
        unconfirmed_is_an_ordinary_error,
    ],
)
def test_the_row_of_failing_calls_notices(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    assert found_by(_disk_errors.failing_calls, 3_000)


def test_the_row_of_damage_notices_a_checksum_that_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def digest(*parts: Any) -> Any:
        class Any_(str):
            __slots__ = ()
            __hash__ = str.__hash__

            def __ne__(self, other: object) -> bool:
                return False

        return Any_("0" * 64)

    monkeypatch.setattr(_state_file_format, "_digest", digest)
    assert found_by(_disk_damage.damage, 1_000)


def test_the_row_of_damage_notices_a_checksum_of_the_state_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = _state_file_format._digest
    monkeypatch.setattr(_state_file_format, "_digest", lambda front, back: real(back))
    assert found_by(_disk_damage.damage, 3_000)


@pytest.mark.parametrize(
    ("row", "fault", "goal"),
    [
        ("disk-kill", "in place", 200),
        ("disk-kill", "acknowledged early", 50),
        ("disk-kill-at-call", "in place", 30),
        ("disk-error-at-call", "in place", 60),
        ("disk-full", "in place", 1),
        ("disk-two-writers", "whatever is there", 5),
    ],
)
def test_the_rows_of_processes_notice(row: str, fault: str, goal: int) -> None:
    (found,) = (found for found in _disk_processes.PROCESS_ROWS if found.name == row)
    if (missing := found.missing()) is not None:
        pytest.skip(missing)
    assert found_by(found.work, goal, fault=fault)


def test_two_processes_kill_a_saver_at_every_call_of_its_save() -> None:
    (row,) = (found for found in _disk_processes.PROCESS_ROWS if found.name == "disk-kill-at-call")
    if (missing := row.missing()) is not None:
        pytest.skip(missing)
    watches = [Watch(goal=12, seconds=60, first_seed=lane, stride=2) for lane in range(2)]
    for watch in watches:
        row.work(watch)
    assert [watch.report.violations for watch in watches] == [[], []]
    reached = watches[0].report.reached + watches[1].report.reached
    calls = ("open", "flock", "write", "fsync", "link", "rename", "getdents64", "close")
    assert {f"at {name}" for name in calls} <= set(reached)
