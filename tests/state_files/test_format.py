"""The bytes of a state file: what is written is read, and what was changed is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from trio_agents._sansio._state_file_format import (
    Heading,
    Unusable,
    check,
    dump_state,
    parse_state,
    seal,
)
from trio_agents.exceptions import StateError

STATE: dict[str, Any] = {"notebook/shopping": {"notes": ["milk"]}, "notebook/todo": {"notes": []}}
FILE, CHECKSUM = seal(dump_state(STATE), 7)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8
)


def test_it_looks_as_the_guide_shows_it() -> None:
    assert FILE.decode() == (
        '{"format":"trio-agents state","version":1,"generation":7,'
        f'"sha256":"{CHECKSUM}","state":{{\n'
        '"notebook/shopping":{"notes":["milk"]},\n'
        '"notebook/todo":{"notes":[]}\n'
        "}}\n"
    )


@settings(max_examples=50)
@given(st.dictionaries(TEXT, VALUES, max_size=4), st.integers(1, 10**18 - 1))
def test_what_is_written_is_read(state: dict[str, Any], generation: int) -> None:
    data, checksum = seal(dump_state(state), generation)
    assert check(data) == Heading(1, generation, checksum)
    read = parse_state(data)
    assert read == state
    assert list(read) == list(state)
    assert json.loads(data)["state"] == state


def test_every_bit_that_flips_is_seen() -> None:
    for index in range(len(FILE)):
        for bit in range(8):
            changed = bytearray(FILE)
            changed[index] ^= 1 << bit
            with pytest.raises(Unusable):
                check(bytes(changed))


@pytest.mark.parametrize("size", range(len(FILE)))
def test_every_truncation_is_seen(size: int) -> None:
    with pytest.raises(Unusable):
        check(FILE[:size])


def test_every_region_of_zeros_is_seen() -> None:
    for begin in range(0, len(FILE), 3):
        for end in range(begin + 1, len(FILE) + 1, 5):
            with pytest.raises(Unusable):
                check(FILE[:begin] + bytes(end - begin) + FILE[end:])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"\0" * 99, "it holds nothing but zeros"),
        (b"{}", "it is not a state file of this library"),
        (b"\x89PNG\r\n", "it is not a state file of this library"),
        (FILE[:20], "its heading is damaged, or cut short"),
        (FILE[:90], "its heading is damaged, or cut short"),
        (FILE.replace(b":7,", b":x,"), "its heading is damaged, or cut short"),
        (FILE[:-2], "its checksum is wrong: it is cut short, damaged, or changed by hand"),
        (FILE.replace(b"milk", b"mill"), "its checksum is wrong: it is damaged, or changed"),
        (FILE.replace(b":7,", b":8,"), "its checksum is wrong: it is damaged, or changed"),
        (FILE + b"\n", "its checksum is wrong: it is cut short, damaged, or changed by hand"),
    ],
)
def test_the_reason_says_what_is_wrong(data: bytes, reason: str) -> None:
    with pytest.raises(Unusable) as info:
        check(data)
    assert info.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'"a":1', "it is not written as this library writes"),
        (b"1\n", "line 2 is not written"),
        (b'"a":1\n"b":2\n', "line 2 is not written"),
        (b'"a":1,\n"a":2\n', "line 3: the same agent twice"),
        (b'"a":NaN\n', "line 2: NaN is not JSON"),
        (b'"a":1,\n"b":[\n', "line 3: not JSON"),
        (b'"a":\xff\n', "line 2: not UTF-8"),
        (b'"\\ud800":1\n', "line 2: a string has half a surrogate pair"),
        (b'"a":' + b"[" * 100_000 + b"\n", "line 2: nested deeper than 64 levels"),
        (b'"' + b"\\" * 100_001 + b"\n", "line 2 is not written"),
    ],
)
def test_a_right_checksum_over_wrong_content_is_refused_all_the_same(
    body: bytes, reason: str
) -> None:
    data, _ = seal(body, 7)
    check(data)
    with pytest.raises(Unusable) as info:
        parse_state(data)
    assert info.value.reason.startswith(reason)


def test_an_agents_state_may_be_as_deep_as_json_anywhere_in_the_library() -> None:
    deep: Any = 1
    for _ in range(64):
        deep = [deep]
    data, _ = seal(dump_state({"a/b": deep}), 1)
    assert parse_state(data) == {"a/b": deep}
    with pytest.raises(StateError, match=r"the state of agent a/b.*nested deeper than 64 levels"):
        dump_state({"a/b": [deep]})


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"a/b": {"x": math.nan}}, r"the state of agent a/b\['x'\]: NaN and infinity are not JSON"),
        ({"a/b": {1}}, "the state of agent a/b: set is not JSON"),
        ({3: {}}, "the key 3 of the state is no str"),
        ({"\ud800": {}}, "a key of the state: the string has half a surrogate pair"),
    ],
)
def test_what_json_cannot_express_is_not_written(state: dict[str, Any], text: str) -> None:
    with pytest.raises(StateError, match=text):
        dump_state(state)


@pytest.mark.parametrize("version", [1, 2, 999_999_999])
def test_other_versions_keep_the_heading(version: int) -> None:
    data, checksum = seal(b"", 7, version=version)
    assert check(data) == Heading(version, 7, checksum)
