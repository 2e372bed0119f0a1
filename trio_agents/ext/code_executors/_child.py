"""A process of the host and whatever it starts, run to an end that comes.

anyio's and asyncio's own processes are not used: on asyncio waiting for one may wait for its pipes
too, which a grandchild can hold for ever, and both kill the direct child only. Here the child leads
a session of its own, its exit is seen through a pidfd *before* it is reaped, so that its number
still stands for its group, and the group is killed whichever way the block ends. All of it waits
with `anyio.wait_readable`, which is the same on both loops.

It is started by the thread of the event loop, as asyncio does, for about a millisecond. In a worker
thread, a cancellation could leave behind a process that nobody knows of; and bubblewrap's children
are to die with the thread that has started them.

What leaves the session (``setsid``) leaves the group. Only the sandbox, where all processes end
with the first, ends that too.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import final

import anyio
import anyio.to_thread
import attrs

from ._output import Output
from ._result import Finished
from ._sandbox import find_bubblewrap

__all__ = ["Child", "Command", "run_to_end"]

_CHUNK = 65536
_LARGEST_PIPE = 1 << 20  # without privileges


@final
@attrs.frozen(kw_only=True)
class Command:
    """What to start.

    Attributes:
        argv: The program and its arguments.
        cwd: The working directory.
        env: The whole environment.
        sandbox: Arguments for bubblewrap, for a command that runs in a sandbox.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    sandbox: tuple[str, ...] | None = None


@final
class Child:
    """A process, leader of its session. `close` it, whatever happens."""

    def __init__(self, command: Command, output: int) -> None:
        """Start it.

        Args:
            command: what to start.
            output: the file descriptor that it prints to.

        Raises:
            OSError: it cannot be started.
            SandboxUnavailable: there is no bubblewrap.
        """
        self._sandbox_info: int | None = None
        self._pidfd: int | None = None
        if command.sandbox is None:
            self._process = _popen(command.argv, command, command.env, output, ())
        else:
            self._process = self._start_in_sandbox(command, command.sandbox, output)
        with suppress(AttributeError, OSError):  # not Linux, or an old one: a thread waits instead
            self._pidfd = os.pidfd_open(self._process.pid)

    def _start_in_sandbox(
        self, command: Command, arguments: tuple[str, ...], output: int
    ) -> subprocess.Popen[bytes]:
        bubblewrap = find_bubblewrap()
        given = os.memfd_create("arguments")
        told, telling = os.pipe()
        os.set_blocking(told, False)
        try:
            os.write(given, "".join(f"{argument}\0" for argument in arguments).encode())
            os.lseek(given, 0, os.SEEK_SET)
            argv = (bubblewrap, "--args", str(given), "--info-fd", str(telling), "--")
            process = _popen((*argv, *command.argv), command, {}, output, (given, telling))
        except BaseException:  # whatever it is goes on: only the pipe must not stay
            os.close(told)
            raise
        finally:
            os.close(given)
            os.close(telling)
        self._sandbox_info = told
        return process

    @property
    def pid(self) -> int:
        """The number of the process, its group and its session."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it runs."""
        if self._pidfd is None:
            return self._process.poll() is None
        look = select.poll()
        look.register(self._pidfd, select.POLLIN)
        return not look.poll(0)

    async def wait(self) -> None:
        """Wait until it has ended. What it has started may go on."""
        if self._pidfd is not None:
            await anyio.wait_readable(self._pidfd)
        else:
            await anyio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)

    def send_signal(self, number: int) -> None:
        """Send a signal to all of its group."""
        # macOS does not permit to signal a group of which only the dead leader is left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def end(self, grace: float) -> None:
        """Let the group end itself for *grace* seconds, and kill it if that was not enough.

        Returns when it has ended, in a sandbox with all that was in it. To be called with what is
        cancelled already shielded.
        """
        self.send_signal(signal.SIGTERM)
        with anyio.move_on_after(grace):
            await self.wait()
        self.send_signal(signal.SIGKILL)
        await self.wait()
        if (sandbox := self._first_of_sandbox()) is not None:
            try:
                await anyio.wait_readable(sandbox)
                _bury(sandbox)
            finally:
                os.close(sandbox)

    def _first_of_sandbox(self) -> int | None:
        """Return a pidfd of the sandbox's first process, whose end is the end of all in it.

        bubblewrap has gone when this is asked, and with it the first process was killed: but to
        be killed takes its time, and until then code in the sandbox runs.
        """
        if self._sandbox_info is None:
            return None
        try:
            told = os.read(self._sandbox_info, _CHUNK)
            return os.pidfd_open(json.loads(told)["child-pid"]) if told else None
        except (BlockingIOError, ProcessLookupError):  # it has not come that far, or has gone
            return None

    def close(self) -> int:
        """Kill whatever there is, and return the exit code. It does not wait where `end` was."""
        self.send_signal(signal.SIGKILL)
        code = self._process.wait()
        for descriptor in (self._pidfd, self._sandbox_info):
            if descriptor is not None:
                os.close(descriptor)
        self._pidfd = self._sandbox_info = None
        return code if code >= 0 else 128 - code


def _bury(pidfd: int) -> None:
    """Take note of the end of an orphan: ours if this program is the first of a container."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)


def _popen(
    argv: tuple[str, ...],
    command: Command,
    env: Mapping[str, str],
    output: int,
    pass_fds: tuple[int, ...],
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        cwd=command.cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=pass_fds,
        start_new_session=True,
    )


async def run_to_end(
    command: Command, *, seconds: float, grace: float, max_output: int
) -> Finished:
    """Run *command*, and kill what it leaves behind when it ends, is cancelled or takes too long.

    Args:
        command: what to run.
        seconds: how long it may take.
        grace: seconds between asking to end and killing.
        max_output: how many bytes of what it prints are kept.

    Raises:
        OSError: it cannot be started.
        SandboxUnavailable: there is no bubblewrap.
    """
    output = Output(max_output)
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        try:
            child = Child(command, writing)
        finally:
            os.close(writing)
        timed_out = True
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_read, reading, output)
                try:
                    with anyio.move_on_after(seconds):
                        await child.wait()
                        timed_out = False
                finally:
                    # Shielded: a process that nobody waits for any more has to end all the more.
                    with anyio.CancelScope(shield=True):
                        await child.end(grace if timed_out else 0)
                tasks.cancel_scope.cancel()  # what has left the group may hold the pipe for ever
        finally:
            exit_code = child.close()
        _read_rest(reading, output)
    finally:
        os.close(reading)
    return Finished(exit_code, output.text(), timed_out)


async def _read(descriptor: int, output: Output) -> None:
    while True:
        await anyio.wait_readable(descriptor)
        with suppress(BlockingIOError):
            data = os.read(descriptor, _CHUNK)
            if not data:
                return
            output.add(data)


def _read_rest(descriptor: int, output: Output) -> None:
    """Read what the dead have left in the pipe, and no more if others go on writing."""
    with suppress(BlockingIOError):
        for _ in range(_LARGEST_PIPE // _CHUNK):
            data = os.read(descriptor, _CHUNK)
            if not data:
                return
            output.add(data)
