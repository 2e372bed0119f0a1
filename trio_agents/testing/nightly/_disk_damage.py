"""Bytes of a state file change, or another file takes its place."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Final

from ..._sansio._state_file import retrieve_state_file
from ..._sansio._state_file_format import dump_state, seal
from ..._sansio._state_file_values import (
    StateFileCorrupt,
    StateFileTooNew,
)
from .._disk import RecordingDisk
from ._disk_scenes import (
    PATH,
    Broken,
    each_scene,
    flipped,
    load,
)
from ._disk_states import state_of
from ._row import Row, Watch

__all__ = ["ROW", "damage"]


def damage(watch: Watch) -> None:
    """Change bytes of a state file, and replace it by others; the load must see it."""
    each_scene(watch, "row disk-damage", _damage_scene)


FOREIGN: Final = (
    b"",
    b"\0" * 500,
    b"{}",
    b"null\n",
    b'{"notebook/shopping":{"notes":["milk"]}}',
    b"SQLite format 3\0" + b"\0" * 100,
    b'{"format":"trio-agents demo digest","version":1,"agents":{}}',
    b"\xff\xfe\0",
    b"[" * 100_000,
)


def _damage_scene(rng: random.Random, watch: Watch) -> Iterator[int]:
    size = rng.choice((0, 1, 30, 600))
    number = rng.randrange(2, 10**6)
    older, _ = seal(dump_state(state_of(number - 1, size)), number - 1)
    newest, _ = seal(dump_state(state_of(number, size)), number)
    for _ in range(50):
        kind = rng.choice(MUTATIONS)
        data = kind(newest, older, rng)
        files = {PATH: data}
        if rng.random() < 0.8:
            files[f"{PATH}.1"] = older
        watch.met(kind.__name__.removeprefix("_").replace("_", " "))
        expected = number if data == newest else number - 1 if f"{PATH}.1" in files else 0
        if data == older:
            expected = number - 1
        try:
            file, found, _writer = load(RecordingDisk(files))
        except StateFileCorrupt:
            found, is_loud = 0, True
        except StateFileTooNew:
            found, is_loud = -1, True
        else:
            is_loud = file.recovered is not None
        if kind is _of_a_newer_version:
            expected = -1
        if found != expected or is_loud != (data not in (newest, older)):
            raise Broken(f"{kind.__name__}: found {found}, expected {expected}: {data!r}")
        yield 1
    for _ in range(10):
        _check_forged(newest, rng)
        watch.met("forged checksum")
        yield 1


def _check_forged(newest: bytes, rng: random.Random) -> None:
    """Change the state and give it the right checksum: there is an error, or it is plain JSON."""
    body = _body(newest)
    kind = rng.choice([kind for kind in MUTATIONS if kind is not _of_a_newer_version])
    data, _ = seal(kind(body, body, rng), 3)
    try:
        _, state = retrieve_state_file(PATH, disk=RecordingDisk({PATH: data}))
    except StateFileCorrupt:
        return
    if json.loads(data)["state"] != state:
        raise Broken(f"read something else than JSON does: {data!r}")


def _a_bit_flips(data: bytes, older: bytes, rng: random.Random) -> bytes:
    return flipped(data, rng)


def _a_byte_changes(data: bytes, older: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] = rng.choice(b'\0\n "0127:,{}\\z\xff')
    return bytes(changed)


def _cut_short(data: bytes, older: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _zeros_inside(data: bytes, older: bytes, rng: random.Random) -> bytes:
    begin, end = _range(data, rng)
    return data[:begin] + bytes(end - begin) + data[end:]


def _a_part_is_gone(data: bytes, older: bytes, rng: random.Random) -> bytes:
    begin, end = _range(data, rng)
    return data[:begin] + data[end:]


def _a_part_comes_twice(data: bytes, older: bytes, rng: random.Random) -> bytes:
    begin, end = _range(data, rng)
    return data[:end] + data[begin:]


def _more_behind(data: bytes, older: bytes, rng: random.Random) -> bytes:
    return data + rng.choice((b"\n", b"\0", b"}", data, older))


def _half_of_each(data: bytes, older: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + older[at:]


def _of_another_program(data: bytes, older: bytes, rng: random.Random) -> bytes:
    return rng.choice(FOREIGN)


def _of_a_wrong_version(data: bytes, older: bytes, rng: random.Random) -> bytes:
    return data.replace(b'"version":1', b'"version":%d' % rng.randrange(2, 99), 1)


def _of_a_newer_version(data: bytes, older: bytes, rng: random.Random) -> bytes:
    return seal(_body(data), 3, version=rng.randrange(2, 99))[0]


def _body(data: bytes) -> bytes:
    """Take off what `seal` puts around the states."""
    return data[data.index(b'"state":{\n') + 10 : -3]


def _range(data: bytes, rng: random.Random) -> tuple[int, int]:
    begin = rng.randrange(len(data))
    return begin, rng.randrange(begin, min(len(data), begin + 64)) + 1


MUTATIONS: Final[tuple[Callable[[bytes, bytes, random.Random], bytes], ...]] = (
    _a_bit_flips,
    _a_byte_changes,
    _cut_short,
    _zeros_inside,
    _a_part_is_gone,
    _a_part_comes_twice,
    _more_behind,
    _half_of_each,
    _of_another_program,
    _of_a_wrong_version,
    _of_a_newer_version,
)


ROW: Final = Row(
    name="disk-damage",
    title="Bytes of a state file change, or the file is another one",
    family="Disk",
    goal=1_000_000,
    unit="damaged files",
    promise="it is seen, said, and the generation before is used",
    work=damage,
    minutes_of_seed=0.1,
    quick_goal=10_000,
    expects=(
        *(kind.__name__.removeprefix("_").replace("_", " ") for kind in MUTATIONS),
        "forged checksum",
    ),
)
