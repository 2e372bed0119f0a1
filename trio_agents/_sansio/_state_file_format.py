"""The bytes of a state file: a line that says what it is, and the state of one agent per line.

::

    {"format":"trio-agents state","version":1,"generation":7,"sha256":"5f1d...","state":{
    "notebook/shopping":{"notes":["milk"]},
    "notebook/todo":{"notes":[]}
    }}

The whole is JSON, for other programs to read. The checksum covers every byte but its own digits,
so nothing can change without being seen: neither the state nor the heading, nor a space. It is a
checksum and no signature: whoever may write the file may write another state, and the checksum that
belongs to it.

Later versions keep the heading, up to ``"state":``, and the checksum. So an older library can tell
a newer file, which it must not touch, from a damaged one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

from ._errors import StateError
from ._json import Fault, dump_json, read_json

__all__ = ["Heading", "Unusable", "check", "dump_state", "parse_state", "seal"]

VERSION: Final = 1

_HEADING: Final = re.compile(
    rb'\{"format":"trio-agents state","version":([1-9][0-9]{0,8}),'
    rb'"generation":([1-9][0-9]{0,17}),"sha256":"([0-9a-f]{64})","state":'
)
_OPENING: Final = b"{\n"
_ENDING: Final = b"}}\n"
_MARK: Final = b'{"format":"trio-agents state",'
# The possessive quantifiers keep it linear on any input.
_KEY: Final = re.compile(rb'("(?:[^"\\]++|\\.)*+"):')


class Unusable(Exception):
    """Why bytes are not a state file, or not any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.frozen
class Heading:
    """What the first line says, once the checksum has confirmed it."""

    version: int
    generation: int
    checksum: str


def dump_state(state: Mapping[str, Any]) -> bytes:
    """Write the states of all agents, without the heading.

    Each is dumped by itself, so that it may be as deep as the runtime allows, whatever is around.

    Raises:
        StateError: it is not what JSON can express.
    """
    lines: list[bytes] = []
    for key, value in state.items():
        if not isinstance(key, str):
            raise StateError(
                f"the key {key!r} of the state is no str: a runtime's state is a mapping from "
                "agent ids to states"
            )
        name = dump_json(key, what="a key of the state")
        lines.append(name + b":" + dump_json(value, what=f"the state of agent {key}"))
    return b",\n".join(lines) + b"\n" * bool(lines)


def seal(body: bytes, generation: int, *, version: int = VERSION) -> tuple[bytes, str]:
    """Put a heading before what `dump_state` gave. Returns the file, and its checksum."""
    front = _MARK + b'"version":%d,"generation":%d,"sha256":"' % (version, generation)
    back = b'","state":' + _OPENING + body + _ENDING
    checksum = _digest(front, back)
    return front + checksum.encode() + back, checksum


def _digest(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def check(data: bytes) -> Heading:
    """Read the heading of a file, and make sure that no byte of the whole has changed.

    Raises:
        Unusable: it says why.
    """
    if not data:
        raise Unusable("it is empty")
    found = _HEADING.match(data)
    if found is None:
        if data.startswith(_MARK) or _MARK.startswith(data):
            raise Unusable("its heading is damaged, or cut short")
        if not data.strip(b"\0"):
            raise Unusable("it holds nothing but zeros")
        raise Unusable("it is not a state file of this library")
    view = memoryview(data)
    if _digest(view[: found.start(3)], view[found.end(3) :]) != found[3].decode():
        cut = "" if data.endswith(_ENDING) else "cut short, "
        raise Unusable(f"its checksum is wrong: it is {cut}damaged, or changed by hand")
    return Heading(int(found[1]), int(found[2]), found[3].decode())


def parse_state(data: bytes) -> dict[str, Any]:
    """Read the states from a file of this version that `check` agreed with.

    Raises:
        Unusable: only if somebody made a file with a checksum that is right.
    """
    found = _HEADING.match(data)
    assert found is not None
    body = data[found.end() :]
    if not (body.startswith(_OPENING) and body.endswith(b"\n" + _ENDING)):
        raise Unusable("it is not written as this library writes")
    state: dict[str, Any] = {}
    lines = body[len(_OPENING) : -len(_ENDING)].split(b"\n")[:-1]
    for number, line in enumerate(lines, start=2):
        is_last = number == len(lines) + 1
        key = _KEY.match(line)
        if key is None or (not is_last and not line.endswith(b",")):
            raise Unusable(f"line {number} is not written as this library writes")
        try:
            name = cast("str", read_json(key[1]))
            value = read_json(line[key.end() : len(line) if is_last else -1])
        except Fault as fault:
            raise Unusable(f"line {number}: {fault.reason}") from None
        if name in state:
            raise Unusable(f"line {number}: the same agent twice")
        state[name] = value
    return state
