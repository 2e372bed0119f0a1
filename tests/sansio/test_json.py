"""Strict JSON: what is refused when read, what when written, and what the errors say."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from trio_agents._sansio._errors import MessageDecodeError, StateError
from trio_agents._sansio._json import (
    MAX_DEPTH,
    MAX_INT_DIGITS,
    check_json,
    dump_json,
    parse_json,
)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

HOSTILE = {
    "nothing": b"",
    "only space": b"  ",
    "truncated": b'{"a":',
    "trailing data": b"1 2",
    "trailing comma": b"[1,]",
    "single quotes": b"{'a':1}",
    "a comment": b"1 // one",
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "a float too large": b"1e400",
    "a negative float too large": b"[-1e999999]",
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, escaped": b'{"a":1,"\\u0061":2}',
    "a key twice, deep inside": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "half a surrogate pair": b'"\\ud800"',
    "the other half": b'["x\\uDFFFy"]',
    "half a surrogate pair in a key": b'{"\\udc00":1}',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "invalid UTF-8": b'"\xff"',
    "UTF-16": '"a"'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf1",
    "a control character": b'"\n"',
    "a NUL": b"\x00",
    "an unknown escape": b'"\\x41"',
    "a leading zero": b"01",
    "a plus sign": b"+1",
    "an unfinished string": b'"' + b"a" * 1000,
    "an unfinished escape": b'"\\',
    "one level too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "far too deep": b"[" * 1_000_000,
    "objects far too deep": b'{"a":' * 100_000,
    "deep, behind quotes": b'["\\"]",' + b"[" * 5000,
    "one digit too many": b"1" * (MAX_INT_DIGITS + 1),
    "negative, one digit too many": b"-" + b"1" * (MAX_INT_DIGITS + 1),
    "a million digits": b"[" + b"9" * 1_000_000 + b"]",
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_a_decode_error(payload: bytes) -> None:
    with pytest.raises(MessageDecodeError, match=r"^Order: "):
        parse_json(payload, what="Order")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"[" * 65, "nested deeper than 64 levels"),
        (b"1" * 4301, "an integer of more than 4300 digits"),
        (b"[NaN]", "NaN is not JSON"),
        (b'{"a":1,"a":2}', "the same key twice"),
        (b'"\\ud800"', "half a surrogate pair"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf1", "byte order mark"),
        (b"[1,x]", "not JSON at character 3"),
    ],
)
def test_the_error_names_the_rule(payload: bytes, said: str) -> None:
    with pytest.raises(MessageDecodeError, match=said):
        parse_json(payload, what="Order")


def test_the_deepest_allowed_nesting_is_read() -> None:
    value = parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, what="x")
    assert json.dumps(value) == "[" * MAX_DEPTH + "]" * MAX_DEPTH


def test_the_longest_allowed_integer_is_read() -> None:
    assert parse_json(b"-" + b"9" * MAX_INT_DIGITS, what="x") == 1 - 10**MAX_INT_DIGITS


def test_brackets_inside_strings_have_no_depth() -> None:
    text = '[{"\\' * 100
    assert parse_json(json.dumps([text, text]).encode(), what="x") == [text, text]


def test_many_shallow_containers_are_read() -> None:
    assert parse_json(json.dumps([[{}]] * 1000).encode(), what="x") == [[{}]] * 1000


def test_a_whole_surrogate_pair_is_read() -> None:
    assert parse_json(b'"\\ud83d\\ude00"', what="x") == "\U0001f600"


def test_a_lower_limit_of_the_interpreter_is_a_clear_error_too() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(MessageDecodeError, match="digits"):
            parse_json(b"1" * 1000, what="x")
        with pytest.raises(StateError, match="digits"):
            dump_json([10**1000], what="x")
    finally:
        sys.set_int_max_str_digits(before)


def test_the_error_does_not_carry_the_payload() -> None:
    with pytest.raises(MessageDecodeError) as caught:
        parse_json(b'{"secret" "hunter2"}', what="Order")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None  # a JSONDecodeError has the whole document


@given(st.binary())
@example(b"\xef\xbb\xbf")
def test_any_bytes_give_a_value_or_a_decode_error(payload: bytes) -> None:
    try:
        value = parse_json(payload, what="x")
    except MessageDecodeError:
        return
    check_json(value, what="x")


@given(st.text(alphabet='[]{}",:\\u0d8truefalsn-+.eE19 ', max_size=200))
def test_any_text_that_looks_like_json_gives_a_value_or_a_decode_error(text: str) -> None:
    try:
        value = parse_json(text.encode(), what="x")
    except MessageDecodeError:
        return
    check_json(value, what="x")


@given(JSON_VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert parse_json(dump_json(value, what="x"), what="x") == value


def test_the_output_is_compact_utf8() -> None:
    assert dump_json({"ü": [1, None]}, what="x") == '{"ü":[1,null]}'.encode()


def test_tuples_are_written_as_arrays() -> None:
    assert dump_json({"a": (1, 2)}, what="x") == b'{"a":[1,2]}'


CYCLE: list[Any] = []
CYCLE.append({"again": CYCLE})


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "^state: object is not JSON"),
        ({"a": [1, {"b": {1, 2}}]}, r"^state\['a'\]\[1\]\['b'\]: set is not JSON"),
        ([float("nan")], r"^state\[0\]: NaN and infinity are not JSON"),
        ({"x": float("-inf")}, r"^state\['x'\]: NaN and infinity"),
        ({"a": {1: "b"}}, r"^state\['a'\]\[entry 0\]: the key is of type int, must be str"),
        ({None: 1}, r"^state\[entry 0\]: the key is of type NoneType"),
        (["\ud800"], r"^state\[0\]: the string has half a surrogate pair"),
        ({"\udfff": 1}, r"^state\[entry 0\]: the string has half a surrogate pair"),
        ({"n": 10**MAX_INT_DIGITS}, r"^state\['n'\]: an integer of more than 4300 digits"),
        (CYCLE, r"^state\[0\]\['again'\]: contains itself"),
        (nested(65), "nested deeper than 64 levels"),
        ({"f": lambda: None}, r"^state\['f'\]: function is not JSON"),
        ({"b": b"x"}, r"^state\['b'\]: bytes is not JSON"),
        ([1, 2, 3 + 0j], r"^state\[2\]: complex is not JSON"),
    ],
)
def test_what_json_cannot_express_is_a_state_error_with_its_path(value: Any, said: str) -> None:
    with pytest.raises(StateError, match=said):
        check_json(value, what="state")
    with pytest.raises(StateError, match=said):
        dump_json(value, what="state")


def test_the_deepest_allowed_nesting_is_written() -> None:
    dump_json(nested(MAX_DEPTH), what="x")


def test_a_list_that_occurs_twice_does_not_contain_itself() -> None:
    shared = [1]
    check_json([shared, shared], what="x")


def test_the_error_shows_no_values() -> None:
    with pytest.raises(StateError) as caught:
        check_json({"password": {"hunter2"}}, what="state")
    assert "hunter2" not in str(caught.value)


def test_the_class_of_the_error_can_be_chosen() -> None:
    with pytest.raises(UnicodeError):
        check_json({1}, what="x", error=UnicodeError)
