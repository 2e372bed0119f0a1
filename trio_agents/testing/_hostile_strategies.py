"""Strategies for text and bytes that break what is not careful."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st

from .._sansio._identifiers import MAX_KEY_LENGTH
from .._sansio._json import MAX_DEPTH, MAX_INT_DIGITS
from ._id_strategies import PRINTABLE, repeated
from ._message_strategies import TEXT, json_values

__all__ = ["hostile_json", "hostile_keys", "hostile_text"]

_SURROGATES: Final = ("\\ud800", "\\udfff", "\\ud83d", "\\udc00\\ud800")
_NUMBERS: Final = ("NaN", "Infinity", "-Infinity", "1e400", "-1e999", "01", "+1", ".5", "1.", "0x1")
_NOT_UTF8: Final = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82")
_SYNTAX: Final = (
    "",
    " ",
    "{'a': 1}",
    "[1,]",
    '{"a": 1,}',
    "[1 2]",
    "// comment\n1",
    "{a: 1}",
    '{"a"}',
    '"\t"',
    '"\x00"',
    '"\\x41"',
    "undefined",
    "nulL",
    "]",
    '"',
    "1 1",
)


# Hypothesis warns when it has to print an example of 30,000 characters, and these print as longer
# ones.
_LONG: Final = 5_000


def hostile_json() -> st.SearchStrategy[bytes]:
    """Documents that break parsers of JSON. The library refuses every one, by `MessageDecodeError`.

    Nested too deep (up to 3,000 levels), integers of more than 4300 digits, ``NaN`` and numbers
    too large, an object with a key twice, half a surrogate pair, bytes that are no UTF-8, a byte
    order mark, another encoding, a valid document that was cut off, and things that only look like
    JSON. Never a document that is valid.
    """
    return st.one_of(
        st.builds(_nested, st.sampled_from(["[", '{"a":']), _depths()),
        _within(st.sampled_from(_NUMBERS)),
        _within(st.integers(MAX_INT_DIGITS + 1, 20_000).map("9".__mul__)),
        _within(_twice()),
        _within(st.sampled_from(_SURROGATES).map('"a{}b"'.format)),
        st.builds(_spliced, st.binary(max_size=8), st.sampled_from(_NOT_UTF8)),
        _documents().map("\ufeff".__add__).map(str.encode),
        _documents().map(lambda text: text.encode("utf-16")),
        st.builds(_cut, st.lists(json_values(), max_size=4), st.floats(0, 1)),
        st.sampled_from(_SYNTAX).map(str.encode),
        _documents().map(lambda text: f"{text}]".encode()),
    )


def _documents() -> st.SearchStrategy[str]:
    return json_values(max_leaves=5).map(lambda value: json.dumps(value, ensure_ascii=False))


def _depths() -> st.SearchStrategy[int]:
    return st.one_of(st.integers(MAX_DEPTH + 1, 200), st.just(3_000))


def _nested(opening: str, depth: int) -> bytes:
    closing = "]" if opening == "[" else "}"
    return (opening * depth + "1" + closing * depth).encode()


def _within(values: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Put what is wrong somewhere into a document."""
    around = st.sampled_from(["{}", "[{}]", '{{"key": {}}}', '[1, {{"a": [{}, 2]}}]'])
    return st.builds(_framed, around, values)


def _framed(frame: str, value: str) -> bytes:
    return frame.format(value).encode()


def _twice() -> st.SearchStrategy[str]:
    return st.builds(_object_of_two, TEXT, _documents(), _documents())


def _object_of_two(key: str, first: str, second: str) -> str:
    return f"{{{json.dumps(key)}: {first}, {json.dumps(key)}: {second}}}"


def _spliced(before: bytes, wrong: bytes) -> bytes:
    return b'["' + before + wrong + b'"]'


def _cut(value: Sequence[Any], part: float) -> bytes:
    payload = json.dumps(value).encode()  # ends with the bracket that a cut document lacks
    return payload[: max(0, min(len(payload) - 1, int(part * len(payload))))]


_HOSTILE: Final = (
    "\x00",
    "a\x00b",
    "\r\n",
    "a\nINFO forged: line",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",  # from right to left
    "\u2066\u2069",
    "\u200b",
    "\ufeff",
    "\ud800",
    "a\udfffb",
    "\u0430dmin",  # a Cyrillic letter
    "\uff0e\uff0e/",  # wide dots
    "e\u0301",  # composed, and below as one character
    "\u00e9",
    "\U0001f468\u200d\U0001f469",
    "/",
    "//",
    "..",
    "../../etc/passwd",
    "\\",
    "C:\\x",
    "CON",
    ".",
    "*",
    ">",
    "a.*.>",
    "a/b/c",
    "%2e%2e%2f",
    "~root",
    "$(reboot)",
    "`reboot`",
    "'; DROP TABLE agents; --",
    "{0.__class__}",
    "%s%n",
    "__class__",
    "-rf",
    " ",
    "",
)


def hostile_text(*, surrogates: bool = True) -> st.SearchStrategy[str]:
    """Text that breaks ids, subjects, file names, logs and terminals where it is not looked at.

    NUL, line breaks, control sequences, text from right to left, look-alikes, invisible characters,
    slashes, ``..``, wildcards, quotes, shell and format characters, alone and put together, and up
    to 5,000 characters of it, more than a key may have. Some of it is valid as a key: nothing is
    promised but a Python string.

    Args:
        surrogates: Whether half a surrogate pair may be in it, which no encoding can express.
    """
    pieces = st.one_of(st.sampled_from(_HOSTILE), st.text(max_size=5))
    together = st.lists(pieces, min_size=1, max_size=5).map("".join)
    texts: st.SearchStrategy[str] = st.one_of(
        st.sampled_from(_HOSTILE),
        together,
        st.builds(repeated, together.filter(bool), st.just(_LONG)),
    )
    return texts if surrogates else texts.filter(_has_no_surrogate)


def hostile_keys() -> st.SearchStrategy[str]:
    """Keys that are valid for an agent, and break file names, subjects and commands made of them.

    Slashes, ``..``, wildcards, quotes, shell and format characters, alone and put together, and up
    to 4096 characters of it. Never a key that `AgentId` refuses.
    """
    valid = [text for text in _HOSTILE if text.isascii() and text.isprintable()]
    pieces = st.one_of(st.sampled_from(valid), st.text(PRINTABLE, max_size=5))
    together = st.lists(pieces, min_size=1, max_size=5).map("".join)
    return st.one_of(
        st.sampled_from(valid),
        together,
        st.builds(repeated, together.filter(bool), st.just(MAX_KEY_LENGTH)),
    )


def _has_no_surrogate(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
