"""The disk, with real processes: they are killed, their system calls fail, their disk is full.

A kill is survived by the kernel and all that it was given, so nothing here replaces the crash
states. What it shows is that the calls are really made, in that order, by a program as it runs.
"""

from __future__ import annotations

import functools
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs

from ..._sansio._state_file import retrieve_state_file, write_state_file
from ..._sansio._state_file_values import StateFile, StateFileCorrupt
from ._disk_saver import CONFLICT, FAILED, NUMBER, SAVED, UNCONFIRMED, load
from ._disk_states import NotOurs, number_of, state_of
from ._row import Row, Watch

__all__ = ["PROCESS_ROWS"]

FAMILY: Final = "Disk"
PATIENCE: Final = 30.0  # seconds, after which something hangs
SIZES: Final = (0, 100, 5_000, 100_000, 2_000_000)
ERRORS: Final = ("ENOSPC", "EIO", "EINTR", "EMFILE", "EROFS")

SAVER: Final = (
    sys.executable,
    "-c",
    "import sys; from trio_agents.testing.nightly._disk_saver import main; main(sys.argv[1:])",
)

# Calls that a save may make, by whatever name the C library calls them.
SYSTEM_CALLS: Final = (
    "open,openat,close,read,write,fstat,newfstatat,fsync,flock,getdents64,link,linkat,rename,"
    "renameat,renameat2,unlink,unlinkat"
)
PLAIN_NAMES: Final = {
    "openat": "open",
    "newfstatat": "fstat",
    "linkat": "link",
    "renameat": "rename",
    "renameat2": "rename",
    "unlinkat": "unlink",
}


# --- the savers


class Savers:
    """Forks the program that saves."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self._server = subprocess.Popen([*SAVER, "serve", str(fd)], pass_fds=[fd])
        ours.settimeout(PATIENCE)
        self._requests = ours

    def close(self) -> None:
        """End the server."""
        self._requests.close()
        self._server.wait(PATIENCE)

    def fork(self, do: str, *fds: int, **request: Any) -> int:
        """Fork a child that does this, and give its process id."""
        return self._ask({"do": do, **request}, fds)

    def wait(self, pid: int) -> int:
        """Wait for a child: give its exit code, or the negative number of its signal."""
        return self._ask({"do": "wait", "pid": pid}, ())

    def _ask(self, request: dict[str, Any], fds: tuple[int, ...]) -> int:
        socket.send_fds(self._requests, [json.dumps(request).encode()], fds)
        answer = self._requests.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(answer) < NUMBER.size:
            raise RuntimeError("the server of savers has ended")
        number: int = NUMBER.unpack(answer)[0]
        return number


@contextmanager
def open_savers() -> Generator[tuple[Savers, str], None, None]:
    """Open a server of savers, and a directory for them."""
    with tempfile.TemporaryDirectory() as directory:
        savers = Savers()
        try:
            yield savers, directory
        finally:
            savers.close()


@contextmanager
def _pipe() -> Generator[tuple[int, int], None, None]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with suppress(OSError):  # closed already
                os.close(end)


def _need_fork() -> str | None:
    has_all = hasattr(os, "fork") and hasattr(socket, "send_fds")
    return None if has_all else "processes cannot be forked here"


def _clear(directory: str) -> None:
    for name in os.listdir(directory):
        os.unlink(os.path.join(directory, name))


def _look(path: str) -> tuple[StateFile | None, int, str]:
    """Load after whatever has happened; give the number, and what is wrong."""
    try:
        file, number = load(path)
    except (StateFileCorrupt, NotOurs) as exc:
        return None, -1, repr(exc)
    if file is not None and file.recovered:
        return file, number, f"called damaged: {file.recovered}"
    return file, number, ""


# --- kills at any time


def kills(watch: Watch, *, fault: str = "") -> None:
    """Kill a program that saves on and on, at any time; load what is there."""
    with open_savers() as (savers, directory):
        path = os.path.join(directory, "state")
        acknowledged = 0
        while watch.goes_on():
            seed = watch.next_seed()
            rng = random.Random(seed)
            size = rng.choice((0, 100, 5_000, 100_000))
            killed = _kill_one(savers, path, rng, size=size, keep=rng.randrange(3), fault=fault)
            if killed is None:
                watch.met("before the first save")
            else:
                acknowledged = killed
            _, number, problem = _look(path)
            watch.met("the last one acknowledged" if number == acknowledged else "one more")
            if os.path.exists(f"{path}.tmp"):
                watch.met("temporary file left")
            if problem or not acknowledged <= number <= acknowledged + 1:
                watch.violation(
                    f"kill {seed}: found state {number} of {acknowledged} acknowledged, {size} "
                    f"bytes each; {problem} (a matter of time: run row disk-kill for longer)"
                )
            acknowledged = number
            if problem or not rng.randrange(50):  # a new life now and then
                _clear(directory)
                acknowledged = 0
            watch.done()


def _kill_one(
    savers: Savers, path: str, rng: random.Random, *, size: int, keep: int, fault: str
) -> int | None:
    """Let a child save and kill it; give the last number it acknowledged, if it did any."""
    saves = rng.randrange(3)  # to wait for
    with _pipe() as (ours, theirs):
        pid = savers.fork("save on and on", theirs, path=path, size=size, keep=keep, fault=fault)
        os.close(theirs)
        heard = b""
        while len(heard) < saves * NUMBER.size and (part := _read(ours)):
            heard += part
        # The middle of a save is what we want to hit, so this waits for a time, not for an event.
        select.select([], [], [], rng.random() * 0.003)
        os.kill(pid, signal.SIGKILL)
        status = savers.wait(pid)
        if status != -signal.SIGKILL:
            raise RuntimeError(f"a saver ended by itself, with status {status}")
        while part := _read(ours):
            heard += part
    if not heard:
        return None
    last: int = NUMBER.unpack(heard[-NUMBER.size :])[0]
    return last


def _read(fd: int) -> bytes:
    readable, _, _ = select.select([fd], [], [], PATIENCE)
    if not readable:
        raise RuntimeError("a saver hangs")
    return os.read(fd, 4096)


# --- at each system call


@functools.cache
def _why_no_strace() -> str | None:
    why = _need_fork()
    if why is not None:
        return why
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    with open_savers() as (savers, directory):
        try:
            run = _traced(savers, os.path.join(directory, "state"), size=0)
        except RuntimeError as exc:
            return f"strace cannot be attached to a process here: {exc}"
        return None if run.calls["fsync"] else "strace does not show what a process calls here"


@attrs.frozen
class Run:
    """What came of a save under strace."""

    status: int
    calls: Counter[str]


def _traced(
    savers: Savers, path: str, *, size: int, inject: str | None = None, fault: str = ""
) -> Run:
    """Save once under strace, which may kill the process, or let a call fail."""
    with ExitStack() as stack:
        ready, tell = stack.enter_context(_pipe())
        wait, go = stack.enter_context(_pipe())
        log = f"{path}.strace"
        pid = savers.fork("save once", tell, wait, path=path, size=size, writer="a", fault=fault)
        os.close(tell)
        _read(ready)
        command = ["strace", "-o", log, "-e", f"trace={SYSTEM_CALLS}", "-p", str(pid)]
        if inject is not None:
            command[1:1] = ["-e", f"inject={inject}"]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        attached = "attached" in line
        os.write(go, b".")
        status = savers.wait(pid)
        rest = tracer.stderr.read()
        tracer.stderr.close()
        tracer.wait(PATIENCE)
        if not attached:
            raise RuntimeError((line + rest).strip())
        text = Path(log).read_text(errors="replace")
        os.unlink(log)
    return Run(status, Counter(re.findall(r"^(\w+)\(", text, flags=re.MULTILINE)))


def _each_call(watch: Watch, *effects: str, fault: str) -> Iterator[tuple[str, Run, str, int]]:
    """Save once for each system call of a save and each effect, which is injected there.

    Gives what was injected, what came of it, the path, and the number of the state before.
    """
    with open_savers() as (savers, directory):
        path = os.path.join(directory, "state")
        # All calls of the smallest save come first, whatever part of them a process is given.
        cases: list[tuple[int, str, str]] = []
        sizes = iter(SIZES)
        while watch.goes_on():
            seed = watch.next_seed()
            while seed >= len(cases) and (size := next(sizes, None)) is not None:
                _begin(directory, path, size)
                calls = sorted(_traced(savers, path, size=size, fault=fault).calls.items())
                cases += [
                    (size, name, f"{name}:{effect}:when={number}")
                    for name, count in calls
                    for number in range(1, count + 1)
                    for effect in effects
                ]
            size, name, inject = cases[seed % len(cases)]
            before = _begin(directory, path, size)
            run = _traced(savers, path, size=size, inject=inject, fault=fault)
            watch.met(f"at {PLAIN_NAMES.get(name, name)}")
            watch.met(inject.split(":")[1])
            yield f"{inject}, {size} bytes", run, path, before
            watch.done()


def _begin(directory: str, path: str, size: int) -> int:
    """Make a file with two generations before it."""
    _clear(directory)
    file = None
    for number in (1, 2, 3):
        file = write_state_file(path, state_of(number, min(size, 5_000)), after=file)
    return 3


def _check_after(
    watch: Watch, what: str, path: str, expected: tuple[int, ...], *, tidy: bool
) -> None:
    """Check what is there, and that the next save works."""
    file, number, problem = _look(path)
    if number not in expected and not problem:
        problem = f"found state {number}, expected {' or '.join(map(str, expected))}"
    if tidy and os.path.exists(f"{path}.tmp"):
        problem += " the temporary file is there"
    if not problem:
        again = write_state_file(path, state_of(number + 1, 0), after=file)
        found, state = retrieve_state_file(path)
        if found != again or number_of(state)[0] != number + 1:
            problem = "the next save was not found again"
        if os.path.exists(f"{path}.tmp"):
            problem = "the next save left a temporary file"
    if problem:
        watch.violation(f"{problem}; to repeat it: a save under `strace -e inject={what}`")


def kills_at_calls(watch: Watch, *, fault: str = "") -> None:
    """Kill a program at each system call of a save."""
    for what, run, path, before in _each_call(watch, "signal=SIGKILL", fault=fault):
        if run.status not in (SAVED, -signal.SIGKILL):
            watch.violation(f"status {run.status} after {what}")
        expected = (before + 1,) if run.status == SAVED else (before, before + 1)
        _check_after(watch, what, path, expected, tidy=False)


def errors_at_calls(watch: Watch, *, fault: str = "") -> None:
    """Let each system call of a save fail."""
    effects = [f"error={name}" for name in ERRORS]
    for what, run, path, before in _each_call(watch, *effects, fault=fault):
        if run.status not in (SAVED, FAILED, UNCONFIRMED):
            watch.violation(f"status {run.status} after {what}")
        expected = before if run.status == FAILED else before + 1
        _check_after(watch, what, path, (expected,), tidy=not what.startswith("unlink"))


# --- a full disk


def _why_no_small_disk() -> str | None:
    try:
        _fill_small_disk(["true"])
    except (OSError, subprocess.SubprocessError) as exc:
        return str(exc)
    return None


def _fill_small_disk(program: list[str]) -> str:
    """Run a program with the path of an empty disk of one megabyte behind its arguments."""
    with tempfile.TemporaryDirectory() as directory:
        mount = 'mount -t tmpfs -o size=1m,mode=0700 state "$1" && shift && exec "$@"'
        command = ["sh", "-c", mount, "sh", directory, *program, directory]
        # In a namespace of its own: the mount ends with the process, whatever happens.
        options = ["-m"] if os.geteuid() == 0 else ["-U", "-r", "-m"]
        return _output(["unshare", *options, *command])


def _output(command: list[str]) -> str:
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    return run.stdout


def full_disk(watch: Watch, *, fault: str = "") -> None:
    """Fill a disk by saving, or meet the largest size a file may have; save less after that."""
    small_disk = _why_no_small_disk() is None
    while watch.goes_on():
        limit = 3_000 + 977 * watch.next_seed()
        if small_disk:
            watch.met("small disk")
            if problem := _fill_small_disk([*SAVER, "fill", "0", fault]):
                watch.violation(f"full disk: {problem}; to repeat it: row disk-full")
        with tempfile.TemporaryDirectory() as directory:
            watch.met("largest size of a file")
            if problem := _output([*SAVER, "fill", str(limit), fault, directory]):
                watch.violation(f"files of at most {limit} bytes: {problem}")
        watch.done()


# --- rivals


def rivals(watch: Watch, *, fault: str = "") -> None:
    """Let several programs that have loaded the same generation save at the same time."""
    with open_savers() as (savers, directory):
        path = os.path.join(directory, "state")
        while watch.goes_on():
            seed = watch.next_seed()
            rng = random.Random(seed)
            count = rng.randrange(2, 5)
            if not rng.randrange(20):  # and nobody has loaded anything
                _clear(directory)
                watch.met("no file")
            _, before, _ = _look(path)
            statuses = _race(savers, path, count, size=rng.choice(SIZES[:4]), fault=fault)
            watch.met("conflict", statuses.count(CONFLICT))
            _, number, problem = _look(path)
            if sorted(statuses) != [SAVED] + [CONFLICT] * (count - 1) or number != before + 1:
                watch.violation(
                    f"{count} writers, round {seed}: ended as {statuses} (saved is {SAVED}, "
                    f"conflict {CONFLICT}), found state {number} after {before} {problem}"
                )
            watch.done()


def _race(savers: Savers, path: str, count: int, *, size: int, fault: str) -> list[int]:
    with _pipe() as (ready, tell), _pipe() as (wait, go):
        request = {"path": path, "size": size, "fault": fault}
        pids = [
            savers.fork("save once", tell, wait, **request, writer=str(number))
            for number in range(count)
        ]
        heard = b""
        while len(heard) < count:
            heard += _read(ready)
        os.write(go, b".")  # nobody takes it out: all see it
        return [savers.wait(pid) for pid in pids]


PROCESS_ROWS: Final[tuple[Row, ...]] = (
    Row(
        name="disk-kill",
        title="A program that saves is killed at any time",
        family=FAMILY,
        goal=10_000,
        unit="kills",
        promise="the last acknowledged state is there, or the one after it",
        work=kills,
        weight=2.0,
        quick_goal=500,
        expects=("the last one acknowledged", "one more", "temporary file left"),
        missing=_need_fork,
    ),
    Row(
        name="disk-kill-at-call",
        title="A program is killed at each system call of a save",
        family=FAMILY,
        goal=1_000,
        unit="kills",
        promise="the old state or the new one, and the next save works",
        work=kills_at_calls,
        quick_goal=40,
        missing=_why_no_strace,
    ),
    Row(
        name="disk-error-at-call",
        title="Each system call of a save fails, in each way",
        family=FAMILY,
        goal=2_000,
        unit="failing calls",
        promise="an error, the old state intact, no temporary file, and the next save works",
        work=errors_at_calls,
        quick_goal=200,
        expects=tuple(f"error={name}" for name in ERRORS),
        missing=_why_no_strace,
    ),
    Row(
        name="disk-full",
        title="The disk is full, really",
        family=FAMILY,
        goal=20,
        unit="full disks",
        promise="an error, the old state intact, and smaller states can be saved again",
        work=full_disk,
        minutes_of_seed=0.1,
        missing=_need_fork,
    ),
    Row(
        name="disk-two-writers",
        title="Several programs that have loaded the same state save at the same time",
        family=FAMILY,
        goal=1_000,
        unit="races",
        promise="one has saved, all others have a conflict",
        work=rivals,
        quick_goal=20,
        expects=("conflict",),
        missing=_need_fork,
    ),
)
