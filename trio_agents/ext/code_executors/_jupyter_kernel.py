"""A Jupyter kernel as a child process, spoken to without a thread.

Jupyter's own managers come in two kinds: one needs asyncio, the other blocks. Here the process is
ours, so that it ends with its group and its end is seen at once, and the messages go over ZeroMQ's
sockets, whose descriptor says when there is something new: the same on both loops, and a wait that
can be cancelled. jupyter_client finds the kernel, signs messages and takes them apart.

The sockets are files in a directory of our own: other users of the machine cannot connect, as they
can to a port, and a kernel in a sandbox needs no network.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import anyio
import anyio.lowlevel

from ..._components._extras import import_extra
from ._child import Child
from ._host import Host

if TYPE_CHECKING:
    import zmq

__all__ = ["Kernel", "KernelDied", "need_jupyter"]

_CHANNELS: Final = ("shell", "iopub", "stdin", "control", "hb")
_STARTING: Final = 60.0  # seconds, for a kernel to answer for the first time
_ASK_AGAIN: Final = 0.1  # seconds, for what it publishes about a question that it has answered


class KernelDied(Exception):
    """The kernel's process has ended; what it said last is the message."""


class Message(NamedTuple):
    """What a kernel said on a channel about a request."""

    channel: str
    about: str
    kind: str
    content: dict[str, Any]


class Done(NamedTuple):
    """How code has ended.

    Attributes:
        reply: The kernel's answer, whose ``status`` is ``ok`` if the code has not failed.
        saw_all: Whether all that was published has arrived, as far as that shows.
    """

    reply: Mapping[str, Any]
    saw_all: bool


def need_jupyter() -> None:
    """Make sure that the extra is there.

    Raises:
        ImportError: it is not.
    """
    for module in ("zmq", "jupyter_client"):
        import_extra(module, "jupyter", purpose="JupyterCodeExecutor")


@final
class Kernel:
    """One kernel, whose process runs. `close` it, whatever happens."""

    def __init__(self, name: str, host: Host, cwd: Path) -> None:
        """Start the process of the kernel that is installed as *name*.

        Raises:
            ValueError: there is none.
            OSError: it cannot be started.
        """
        import zmq
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
        from jupyter_client.session import Session

        try:
            found: Any = KernelSpecManager().get_kernel_spec(name)
        except NoSuchKernel:
            raise ValueError(
                f"there is no Jupyter kernel {name!r}: `jupyter kernelspec list` shows those that "
                f"are installed, `pip install ipykernel` installs python3"
            ) from None
        self.language = str(found.language).lower()
        # A signal to the group would be the end of a sandbox.
        self._by_signal = found.interrupt_mode == "signal" and host.sandbox is None
        self._host = host
        self._directory = tempfile.TemporaryDirectory(prefix="trio_agents_kernel_")
        self._context = zmq.Context()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        key = secrets.token_hex(32).encode()
        self._session: Any = Session(key=key)
        try:
            self._connect(key)
            self._log = os.open(self._path("log"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._child = self._start(found.argv, found.env, cwd)
            except BaseException:  # goes on; without it the file would stay open
                os.close(self._log)
                raise
        except BaseException:  # goes on; without it sockets and files would stay
            self._close_sockets()
            raise

    def _path(self, name: str) -> str:
        return os.path.join(self._directory.name, name)

    def _connect(self, key: bytes) -> None:
        import zmq

        # The ports of the ipc transport are endings of a file's name.
        ports = {f"{channel}_port": number for number, channel in enumerate(_CHANNELS, start=1)}
        Path(self._path("connection.json")).write_text(
            json.dumps(
                {
                    **ports,
                    "transport": "ipc",
                    "ip": self._path("kernel"),
                    "key": key.decode(),
                    "signature_scheme": "hmac-sha256",
                }
            )
        )
        for channel, kind in (("shell", zmq.DEALER), ("control", zmq.DEALER), ("iopub", zmq.SUB)):
            socket = self._sockets[channel] = self._context.socket(kind)
            socket.linger = 0  # nothing is waited for when it is closed
            if kind == zmq.SUB:
                socket.setsockopt(zmq.SUBSCRIBE, b"")
            else:
                socket.setsockopt(zmq.IDENTITY, self._session.bsession)
            socket.connect(f"ipc://{self._path('kernel')}-{ports[f'{channel}_port']}")

    def _start(self, argv: list[str], env: Mapping[str, str], cwd: Path) -> Child:
        filled = [part.replace("{connection_file}", self._path("connection.json")) for part in argv]
        extra = {**env, "IPYTHONDIR": self._path("ipython"), "JUPYTER_RUNTIME_DIR": self._path("")}
        if self._host.sandbox is None and os.getpid() != 1:
            extra["JPY_PARENT_PID"] = str(os.getpid())  # it is to end if this program is killed
        command = self._host.command(filled, cwd, env=extra, writable=(Path(self._directory.name),))
        return Child(command, self._log)

    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._child.is_alive()

    async def wait_ready(self) -> None:
        """Wait until it answers, and what it publishes arrives.

        Raises:
            KernelDied: it has ended instead, or does not answer.
        """
        with anyio.move_on_after(_STARTING):
            await self._catch_up()
            return
        raise KernelDied(f"the kernel does not answer: {self.last_words()}")

    async def execute(self, code: str, take: Callable[[str, Mapping[str, Any]], object]) -> Done:
        """Run *code* until it is done, and hand over what is published about it.

        A kernel drops what it publishes faster than it is read, and the word that the code is done
        may be among that. So, once the kernel has answered, it is asked something else until it
        publishes about that: then nothing about *code* is on its way any more.

        Args:
            code: what to run.
            take: called with the type and the content of each message.

        Raises:
            KernelDied: its process has ended.
        """
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        asked = self._send("shell", "execute_request", content)
        later: set[str] = set()
        reply: Mapping[str, Any] | None = None
        saw_end = False
        ask_at = math.inf
        while not saw_end:
            with anyio.CancelScope(deadline=ask_at) as waiting:
                message = await self._next({"shell": {asked}, "iopub": {asked, *later}})
                if message.channel == "shell":
                    reply = message.content
                    ask_at = anyio.current_time() + _ASK_AGAIN
                elif message.about != asked:
                    break
                elif message.kind == "status":
                    saw_end = message.content["execution_state"] == "idle"
                else:
                    take(message.kind, message.content)
            if waiting.cancelled_caught:
                later.add(self._send("shell", "kernel_info_request", {}))
                ask_at = anyio.current_time() + _ASK_AGAIN
        if reply is None:
            reply = (await self._next({"shell": {asked}})).content
        return Done(reply, saw_all=saw_end)

    async def interrupt(self, grace: float) -> bool:
        """Stop what it runs, for *grace* seconds, and say whether it did."""
        with anyio.move_on_after(grace), suppress(KernelDied):
            if self._by_signal:
                self._child.send_signal(signal.SIGINT)
            else:
                self._send("control", "interrupt_request", {})
            await self._catch_up()
            return True
        return False

    async def _catch_up(self) -> None:
        """Wait until it is through with all that it was asked before, and read what that published.

        Unread, that would crowd out what the next code publishes. The word that ends it may be
        lost: when too much is published, or before the subscription has come through. So the kernel
        is asked until it publishes about a question.

        Raises:
            KernelDied: its process has ended.
        """
        asked = {self._send("shell", "kernel_info_request", {})}
        await self._next({"shell": asked})
        while True:
            with anyio.move_on_after(_ASK_AGAIN):
                await self._next({"iopub": asked})
                return
            asked.add(self._send("shell", "kernel_info_request", {}))

    async def close(self, grace: float) -> None:
        """End it, killed if it takes longer than *grace*. Shielded: cancelled, it ends as well."""
        with anyio.CancelScope(shield=True):
            try:
                if self.is_alive():
                    self._send("control", "shutdown_request", {"restart": False})
                    with anyio.move_on_after(grace):
                        await self._child.wait()
                await self._child.end(0)
            finally:
                self._child.close()
                os.close(self._log)
                self._close_sockets()

    def _close_sockets(self) -> None:
        self._context.destroy(linger=0)
        self._directory.cleanup()

    def last_words(self) -> str:
        """Return what its process has printed last, outside of any cell."""
        size = os.fstat(self._log).st_size
        data = os.pread(self._log, 4000, max(0, size - 4000))
        return data.decode(errors="replace").strip()

    def _send(self, channel: str, kind: str, content: Mapping[str, Any]) -> str:
        message = self._session.send(self._sockets[channel], kind, content)
        return str(message["header"]["msg_id"])

    async def _next(self, wanted: Mapping[str, Set[str]]) -> Message:
        """Wait for a message about one of the requests that are *wanted* on each channel.

        Messages about others are left out.

        Raises:
            KernelDied: the process has ended.
        """
        while True:
            # A cell that publishes without end must not keep all others, and its timeout, waiting.
            await anyio.lowlevel.checkpoint()
            is_empty = True
            for channel, requests in wanted.items():
                _, message = self._session.recv(self._sockets[channel])  # does not block
                if message is not None:
                    is_empty = False
                    about = message["parent_header"].get("msg_id")
                    if about in requests:
                        return Message(channel, about, message["msg_type"], message["content"])
            if is_empty:
                await self._wait_for_something([self._sockets[channel] for channel in wanted])

    async def _wait_for_something(self, sockets: Sequence[zmq.Socket[bytes]]) -> None:
        """Wait until one of *sockets* may have a message, or the process has ended."""
        import zmq

        died = False

        async def watch() -> None:
            nonlocal died
            await self._child.wait()
            died = True
            tasks.cancel_scope.cancel()

        async def wait_for(socket: zmq.Socket[bytes]) -> None:
            # The descriptor tells of changes only. Asking for the events arms it; what has come
            # since the last look would otherwise never be told of.
            if not int(socket.get(zmq.EVENTS)) & zmq.POLLIN:
                await anyio.wait_readable(int(socket.get(zmq.FD)))
                socket.get(zmq.EVENTS)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            for socket in sockets:
                tasks.start_soon(wait_for, socket)
        if died:
            raise KernelDied(self.last_words())
