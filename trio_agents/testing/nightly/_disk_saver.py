"""The program that is killed: it saves states to a file, and says so when it has.

As ``serve FD`` it forks one child for each request that comes through a socket, so that a child
costs milliseconds and not an import. A request is JSON, and the descriptors that the child shall
have come with it. The answer is the child's process id. It is not waited for until a request asks
for that, so until then the id belongs to it.

As ``fill LIMIT FAULT DIRECTORY`` it fills a small file system, see `fill`.

It may be given a fault, one of `WRITERS`. With those the tests find out whether they would notice.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

from ..._sansio._errors import StateError
from ..._sansio._state_file import retrieve_state_file, write_state_file
from ..._sansio._state_file_format import dump_state, seal
from ..._sansio._state_file_values import StateFile, StateFileConflict, StateFileUnconfirmed
from ._disk_states import number_of, state_of

__all__ = [
    "CONFLICT",
    "FAILED",
    "NUMBER",
    "SAVED",
    "UNCONFIRMED",
    "WRITERS",
    "fill",
    "load",
    "main",
]

NUMBER: Final = struct.Struct("<q")  # what was acknowledged

# How a child ends that saves once.
SAVED: Final = 0
FAILED: Final = 3
UNCONFIRMED: Final = 4
CONFLICT: Final = 5
BROKEN: Final = 70  # something else was raised


def serve(descriptor: int) -> None:
    """Fork children until nobody asks any more."""
    with socket.socket(fileno=descriptor) as requests:
        while True:
            data, fds, _, _ = socket.recv_fds(requests, 65536, 4)
            if not data:
                return
            request = json.loads(data)
            if request["do"] == "wait":
                _, status = os.waitpid(request["pid"], 0)
                answer = os.waitstatus_to_exitcode(status)
            else:
                answer = os.fork()
                if not answer:
                    requests.close()
                    _be_child(request, fds)
                for fd in fds:
                    os.close(fd)
            requests.sendall(NUMBER.pack(answer))


def _be_child(request: dict[str, Any], fds: list[int]) -> NoReturn:
    status = BROKEN
    try:
        status = _DEEDS[request["do"]](request, *fds)
    except BaseException:  # noqa: ASYNC103  # the end of a process
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def load(path: str) -> tuple[StateFile | None, int]:
    """Load what is there, and give the number of the state; 0 if there is nothing."""
    try:
        file, state = retrieve_state_file(path)
    except FileNotFoundError:
        return None, 0
    return file, number_of(state)[0]


Writer = Callable[[str, dict[str, Any], StateFile | None, int], StateFile]


def _write(path: str, state: dict[str, Any], after: StateFile | None, keep: int) -> StateFile:
    return write_state_file(path, state, after=after, keep=keep)


def _write_in_place(
    path: str, state: dict[str, Any], after: StateFile | None, keep: int
) -> StateFile:
    generation = 1 if after is None else after.generation + 1
    data, checksum = seal(dump_state(state), generation)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return StateFile(path, generation, checksum, len(data), path)


def _write_whatever_is_there(
    path: str, state: dict[str, Any], after: StateFile | None, keep: int
) -> StateFile:
    while True:
        try:
            return write_state_file(path, state, after=load(path)[0], keep=keep)
        except StateFileConflict:
            continue


WRITERS: Final[dict[str, Writer]] = {
    "": _write,
    "in place": _write_in_place,
    "whatever is there": _write_whatever_is_there,
    "acknowledged early": _write,
}


def _save_on_and_on(request: dict[str, Any], acknowledgements: int) -> int:
    path, size, keep, fault = (request[name] for name in ("path", "size", "keep", "fault"))
    file, number = load(path)
    while True:
        number += 1
        if fault == "acknowledged early":
            os.write(acknowledgements, NUMBER.pack(number + 1))
        file = WRITERS[fault](path, state_of(number, size), file, keep)
        os.write(acknowledgements, NUMBER.pack(number))


def _save_once(request: dict[str, Any], ready: int, go: int) -> int:
    path, size, fault = request["path"], request["size"], request["fault"]
    file, number = load(path)
    state = state_of(number + 1, size, writer=request["writer"])
    os.write(ready, b".")
    # Neither closed nor read: those are calls that a test may let fail, and the save's alone.
    select.select([go], [], [])
    try:
        WRITERS[fault](path, state, file, 2)
    except StateFileConflict:
        return CONFLICT
    except StateFileUnconfirmed:
        return UNCONFIRMED
    except OSError:
        return FAILED
    return SAVED


_DEEDS: Final[dict[str, Callable[..., int]]] = {
    "save on and on": _save_on_and_on,
    "save once": _save_once,
}


def fill(directory: str, limit: int = 0, fault: str = "") -> str:
    """Save larger and larger states until the disk is full, and then a small one.

    Args:
        directory: On a small file system.
        limit: Unless 0: no file of this process may become longer, from now on.
        fault: One of `WRITERS`.

    Returns:
        What did not hold; nothing if all did.
    """
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    path = os.path.join(directory, "state")
    write = WRITERS[fault]
    file, number, size = None, 0, 1000
    while True:
        try:
            file = write(path, state_of(number + 1, size), file, 2)
        except StateFileUnconfirmed as exc:
            return f"unconfirmed: {exc}"
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EFBIG):
                return f"another error: {exc!r}"
            break
        number, size = number + 1, size * 2
        if size > 1 << 26:
            return "the disk was never full"
    try:
        if load(path) != (file, number):
            return f"the old state {number} is not there: {load(path)}"
        if os.path.exists(f"{path}.tmp"):
            return "the temporary file is there"
        for _ in range(3):
            number += 1
            file = write(path, state_of(number, 100), file, 2)
        if load(path) != (file, number):
            return f"the next state {number} is not there: {load(path)}"
    except (OSError, StateError) as exc:
        return f"after the full disk: {exc!r}"
    return "" if number > 4 else f"full after {number - 3} saves"


def main(arguments: list[str]) -> None:
    """Be what the command line says."""
    match arguments:
        case ["serve", descriptor]:
            serve(int(descriptor))
        case ["fill", limit, fault, directory]:
            print(fill(directory, int(limit), fault), end="")
        case _:
            raise SystemExit(__doc__)
