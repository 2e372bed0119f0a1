"""What is there at one moment: tasks, threads, descriptors, processes, files, messages.

Nothing here waits for anything but threads that are ending. What an event loop keeps for its next
use is not counted while it rests.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import trio
from trio._core import _thread_cache

from .._core._reaper import Reaper
from .._core._runtime import Runtime
from .._core._workers import Workers
from ._awaited import WAITS_OF, cancel, is_awaited
from ._leak import Leak

__all__ = ["Census", "Strays"]


class Census:
    """Counts what is there when it is made, and says later what has come since."""

    def __init__(self) -> None:
        self._tasks = set(_tasks())
        self._threads = set(_working_threads())
        self._descriptors = _descriptors()
        self._children = set(_children())
        self._files = NewFiles()
        self._pending = WeakKeyDictionary[Runtime, tuple[int, int]]()
        for runtime in _runtimes():
            self._pending[runtime] = _pending(runtime)

    def left(self, patience: float) -> list[Leak]:
        """Say what is there that was not."""
        found = [Leak("task", _describe_task(task)) for task in self._new_tasks()]
        for runtime in _runtimes():
            found += self._left_in(runtime)
        found += [Leak("thread", repr(thread)) for thread in self._new_threads(patience)]
        for number, target in _descriptors().items():
            if self._descriptors.get(number) != target:
                found.append(Leak("file descriptor", f"{number} -> {target}"))
        for pid in _children():
            if pid not in self._children:
                found.append(Leak("child process", _describe_process(pid)))
        found += [Leak("temporary file", path) for path in self._files.left()]
        return found

    def close(self) -> None:
        """Look at nothing any more."""
        self._files.close()

    def _new_tasks(self) -> list[Any]:
        here = _current_task()
        return [
            task
            for task in _tasks()
            if task not in self._tasks and task is not here and not _is_a_runtimes(task)
        ]

    def _new_threads(self, patience: float) -> list[threading.Thread]:
        deadline = time.monotonic() + patience
        threads = [thread for thread in _working_threads() if thread not in self._threads]
        me = threading.current_thread()
        for thread in threads:
            if thread is not me:
                thread.join(max(0, deadline - time.monotonic()))
        return [thread for thread in _working_threads() if thread in threads]

    def _left_in(self, runtime: Runtime) -> Iterator[Leak]:
        pending, failures = _pending(runtime)
        before, failures_before = self._pending.get(runtime, (0, 0))
        if pending > before:
            yield Leak("message", f"{pending - before} not finished in {runtime!r}")
        for failure in runtime._supervisor._kept[failures_before:failures]:
            yield Leak("failure", f"never raised by {runtime!r}: {failure!r}")


class Strays:
    """Tasks of the event loop that come after this was made, and that nobody waits for.

    That is less than a `Census` of tasks. A nursery that a fixture has opened may still be at work
    for a test that is over, and a runtime may finish what it has accepted: they end their tasks.
    """

    def __init__(self) -> None:
        self._before = set(_tasks())

    def left(self) -> list[Leak]:
        """Say which there are. Those of asyncio are cancelled: nobody else would do it.

        Whoever closes the runtime would otherwise wait, while it may, for a request of theirs.
        """
        new = [task for task in _tasks() if task not in self._before]
        strays = [task for task in new if not _is_waited_for(task)]
        advice = "goes on behind the test and nobody waits for it: await it, or cancel it"
        found = [Leak("task", f"{_describe_task(task)} {advice}") for task in strays]
        if asyncio._get_running_loop() is not None:
            _cancel(strays, new)
        return found


def _cancel(strays: list[Any], new: list[Any]) -> None:
    """Cancel tasks of asyncio, and those of *new* that nobody but these waits for.

    A shield() or a wait() would not pass the cancellation on.
    """
    ending = set[Any]()
    more = strays
    while more:
        ending.update(more)
        more = [task for task in new if task not in ending and not is_awaited(task, ending)]
    for task in ending:
        cancel(task, "left behind by a test")


# --- tasks


def _current_task() -> Any:
    if trio.lowlevel.in_trio_task():
        return trio.lowlevel.current_task()
    return asyncio.current_task() if asyncio._get_running_loop() is not None else None


def _tasks() -> list[Any]:
    """List the tasks of the event loop that runs here, if one does."""
    if trio.lowlevel.in_trio_run():
        root = trio.lowlevel.current_root_task()
        return [] if root is None else list(_tasks_below(root))
    return list[Any](asyncio.all_tasks()) if asyncio._get_running_loop() is not None else []


def _tasks_below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _tasks_below(child)


# A runtime has as many of these as it ever needed, until its block ends. Those that work are found
# by their messages.
_RUNTIMES_OWN: Final = frozenset({Workers._work.__code__, Reaper._reap.__code__})


def _is_a_runtimes(task: Any) -> bool:
    return any(frame.f_code in _RUNTIMES_OWN for frame in _await_frames(task))


def _is_waited_for(task: Any) -> bool:
    """Whether a nursery, a task group or another task sees to the end of this one."""
    if isinstance(task, trio.lowlevel.Task):
        # All others are in a nursery that some block of the program has to leave.
        nursery = task.parent_nursery
        return nursery is not None and nursery.parent_task is not trio.lowlevel.current_root_task()
    return is_awaited(task)


def _describe_task(task: Any) -> str:
    """Name a task, the two places where it waits that say most, and its request, if it has one."""
    frames = list(_await_frames(task))
    requests = [
        f" with {frame.f_locals['request']!r}"
        for frame in frames
        if frame.f_code is Runtime.send_message.__code__ and "request" in frame.f_locals
    ]
    own = [f for f in frames if not WAITS_OF.match(f.f_globals.get("__name__", ""))]
    name = task.name if isinstance(task, trio.lowlevel.Task) else task.get_name()
    places = [_describe_frame(frame) for frame in (own or frames)[-2:]]
    return " > ".join([name, *places]) + "".join(requests)


def _describe_frame(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


def _await_frames(task: Any) -> Iterator[FrameType]:
    """Give the frames of a task, from its function to where it waits."""
    if isinstance(task, trio.lowlevel.Task):
        for frame, _ in task.iter_await_frames():
            yield frame
        return
    awaited = task.get_coro()
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):
            waiting: FrameType | None = getattr(awaited, f"{kind}_frame", None)
            if waiting is not None:
                yield waiting
                awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
                break
        else:
            return


# --- threads

_TRIOS_OWN: Final = re.compile(r"Trio thread \d+")
# Of an event loop's executor, which nobody can ask for it when the loop does not run just now.
_ASYNCIOS_OWN: Final = re.compile(r"asyncio_\d+")


def _working_threads() -> list[threading.Thread]:
    """List the threads, without those that an event loop keeps for its next use."""
    resting = set[threading.Thread]()
    workers: Any = getattr(getattr(_thread_cache, "THREAD_CACHE", None), "_idle_workers", None)
    for worker in list[Any](workers or ()):
        resting.add(worker._thread)
    loop: Any = asyncio._get_running_loop()
    resting.update(getattr(getattr(loop, "_default_executor", None), "_threads", ()))
    threads: list[threading.Thread] = []
    for thread in threading.enumerate():
        if thread in resting or thread in getattr(thread, "idle_workers", ()):  # anyio's
            continue
        if _ASYNCIOS_OWN.fullmatch(thread.name):
            continue
        if workers is None and _TRIOS_OWN.fullmatch(thread.name):
            continue  # a trio that keeps its books elsewhere: a busy thread has another name
        threads.append(thread)
    return threads


# --- descriptors and processes


def _descriptors() -> dict[int, str]:
    """Map the open file descriptors to what they are; to nothing where nobody tells."""
    directory = next((name for name in ("/proc/self/fd", "/dev/fd") if os.path.isdir(name)), None)
    found: dict[int, str] = {}
    if directory is None:
        return found
    # Made with the first child process of multiprocessing, and kept.
    kept = getattr(resource_tracker._resource_tracker, "_fd", None)
    for name in os.listdir(directory):
        if not name.isdigit() or int(name) == kept:
            continue
        with contextlib.suppress(OSError):  # the one that listed them is closed again
            os.fstat(int(name))
            found[int(name)] = _target(f"{directory}/{name}")
    return found


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # not a link, on macOS
        return "open"


def _children() -> list[int]:
    """List the child processes of this one, on Linux."""
    found: list[int] = []
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            found += map(int, children.read_text().split())
    kept = getattr(resource_tracker._resource_tracker, "_pid", None)
    return [pid for pid in found if pid != kept]


def _describe_process(pid: int) -> str:
    process = Path(f"/proc/{pid}")
    try:
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        if not command:  # it has ended, or has only just begun
            name, _, state = (process / "stat").read_text().rpartition(")")
            if state.split()[0] == "Z":
                return f"{pid}, which has ended and was not waited for"
            command = name.partition("(")[2]
    except OSError as exc:
        command = type(exc).__name__
    return f"{pid} {command}"


# --- files

_CREATING: Final = frozenset({"os.mkdir", "os.rename", "os.link", "os.symlink"})


class NewFiles:
    """Notes which files this process makes in the directory for temporary files.

    Other processes make files there too, so a look at the directory would not do.
    """

    _watching: Final[list[NewFiles]] = []
    _is_hooked = False

    def __init__(self) -> None:
        self._directory = os.path.realpath(tempfile.gettempdir())
        self._made: dict[str, None] = {}
        if not NewFiles._is_hooked:
            NewFiles._is_hooked = True
            sys.addaudithook(_audit)
        NewFiles._watching.append(self)

    def note(self, path: object) -> None:
        """Something is about to be made at *path*."""
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor
        given = cast("str | bytes | os.PathLike[str]", path)
        full = os.path.abspath(os.fsdecode(given))
        directory, name = os.path.split(full)
        if name.startswith("pytest-of-") or os.path.realpath(directory) != self._directory:
            return  # pytest keeps its own for some runs
        if full not in self._made and not os.path.lexists(full):
            self._made[full] = None

    def left(self) -> list[str]:
        """List what was made and is still there."""
        return [path for path in self._made if os.path.lexists(path)]

    def close(self) -> None:
        """Note nothing any more."""
        NewFiles._watching.remove(self)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not NewFiles._watching:
        return
    if event == "open":
        path, flags = args[0], args[2]
        if not flags & os.O_CREAT:
            return
    elif event in _CREATING:
        path = args[0 if event == "os.mkdir" else 1]
    else:
        return
    for watching in NewFiles._watching:
        watching.note(path)


# --- runtimes


def _runtimes() -> list[Runtime]:
    """List the runtimes of this process, in the order in which they were made."""
    # By type, not by `isinstance`, which asks objects that may be anything.
    return [obj for obj in gc.get_objects() if issubclass(type(obj), Runtime)]


def _pending(runtime: Runtime) -> tuple[int, int]:
    return runtime._ledger.pending, len(runtime._supervisor._kept)
