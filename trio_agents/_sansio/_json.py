"""JSON as it may cross a boundary: strict when read, exact when written.

The standard library's ``json`` is lenient in both directions. It reads ``NaN``, keeps the last of
two equal keys, turns ``1e400`` into infinity, hands out half a surrogate pair, and answers deep
nesting with a `RecursionError`; it writes the first of these, and makes ``{1: "a"}`` into
``{"1": "a"}`` without a word. Here, what is written can be read back, and bytes from elsewhere give
a value or one clear error. The limits are part of that promise, so that both ends of a connection
agree on them: `MAX_DEPTH` containers within each other, `MAX_INT_DIGITS` digits in an integer.

Reading costs little more than the standard library, because the expensive checks run only on bytes
that could fail them. Fewer than `MAX_DEPTH` opening brackets cannot nest deeper than that, text
without an escaped surrogate cannot contain one, and a short message cannot hold a long integer.

Errors tell where something is wrong and what kind of thing it is, never which value it has:
messages carry people's data, and errors end up in logs.

Left out: a limit on the size of the whole (whoever reads the bytes off the wire sets that one,
before they get here) and repairs of any kind.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from ._errors import MessageDecodeError, StateError

__all__ = [
    "MAX_DEPTH",
    "MAX_INT",
    "MAX_INT_DIGITS",
    "Fault",
    "check_json",
    "check_payload",
    "check_text",
    "check_value",
    "dump_json",
    "is_a",
    "json_kind",
    "parse_json",
    "read_json",
    "write_json",
]

MAX_DEPTH: Final = 64
MAX_INT_DIGITS: Final = 4300  # where CPython stops by default, too

MAX_INT: Final[int] = 10**MAX_INT_DIGITS - 1
_TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
# -X int_max_str_digits and sys.set_int_max_str_digits() can set a lower limit than ours.
_TOO_LONG_HERE: Final = "an integer has more digits than this interpreter allows"
_TOO_LONG: Final = f"an integer of more than {MAX_INT_DIGITS} digits"
_PATH_LENGTH: Final = 12  # parts shown of a path; the innermost of a deep one say little

_SUSPECT: Final = re.compile(rb"NaN|Infinity|[0-9]{%d}" % (MAX_INT_DIGITS + 1))
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_NEITHER_BRACKETS_NOR_QUOTES: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STRIDE: Final = 1 << 14

_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class Fault(Exception):
    """Why a value cannot be written or read, and, filled in on the way up, where it is."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parts: list[str] = []  # innermost first: ".price", "[3]", ".lines"

    def path(self) -> str:
        """Return the path from the outermost value, such as ``.lines[3].price``."""
        shown = self.parts[: -_PATH_LENGTH - 1 : -1]
        return "".join(shown) + ("..." if len(self.parts) > _PATH_LENGTH else "")


def json_kind(value: object) -> str:
    """Return what JSON calls *value*, which came out of `parse_json`."""
    return _KINDS[type(value)]


# Without narrowing the type of the value, which would only make it a dict of unknown things.
def is_a(value: object, cls: type) -> bool:
    """Is *value* an instance of *cls*?"""
    return isinstance(value, cls)


# Reading


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Fault("an object has the same key twice")
    return value


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Fault("a number is too large for a float")
    return value


def _int(text: str) -> int:
    if len(text.lstrip("-")) > MAX_INT_DIGITS:
        raise Fault(_TOO_LONG)
    return int(text)


def _constant(text: str) -> object:
    raise Fault(f"{text.lstrip('-')} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_constant=_constant
)
_LONG_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_constant=_constant, parse_int=_int
)
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)


def _is_too_deep(payload: bytes) -> bool:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    # What is left between two quotes is a string, every second time. (A backslash outside of a
    # string is where the parser stops, so what comes behind one may be counted in any way.)
    unescaped = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = unescaped.translate(None, _NEITHER_BRACKETS_NOR_QUOTES)
    depth = inside = 0
    for start in range(0, len(marks), _STRIDE):  # bit by bit: many pieces take much memory
        pieces = marks[start : start + _STRIDE].split(b'"')
        for bracket in b"".join(pieces[inside::2]):
            if bracket in b"[{":
                depth += 1
                if depth > MAX_DEPTH:
                    return True
            else:
                depth -= 1
        inside = (inside + len(pieces) - 1) % 2
    return False


def read_json(payload: bytes) -> Any:
    """Read *payload* as `parse_json` does, but raise a `Fault`, for callers that add a path."""
    # Before the parser sees it: how deep that one may recurse depends on the interpreter.
    if _is_too_deep(payload):
        raise Fault(_TOO_DEEP)
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Fault(f"not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise Fault("starts with a byte order mark")
    decoder = _DECODER if len(payload) <= MAX_INT_DIGITS else _LONG_DECODER
    try:
        value = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise Fault(f"not JSON at character {error.pos}") from None
    except ValueError:
        raise Fault(_TOO_LONG_HERE) from None
    except RecursionError:  # the caller had used up the stack
        raise Fault("no stack left to read it") from None
    if _SURROGATE_ESCAPE.search(payload):
        try:
            _ENCODER.encode(value).encode("utf-8")
        except UnicodeEncodeError:
            raise Fault("a string has half a surrogate pair") from None
    return value


def parse_json(payload: bytes, *, what: str, error: type[ValueError] = MessageDecodeError) -> Any:
    """Read *payload*, which may come from anyone.

    Args:
        payload: UTF-8 without a byte order mark.
        what: names the value in the error, for instance its type name.
        error: the class of the error.

    Raises:
        MessageDecodeError: (or *error*) whatever is wrong with the bytes. The text says what and
            quotes nothing from them.
    """
    try:
        return read_json(payload)
    except Fault as fault:
        problem = fault.reason
    raise error(f"{what}: {problem}")  # out here no traceback drags the payload along


def check_payload(payload: bytes) -> None:
    """Refuse what another writer wrote and `parse_json` would not read (as a `Fault`)."""
    if _SUSPECT.search(payload) or _is_too_deep(payload):
        read_json(payload)


# Writing


def check_text(text: str) -> None:
    """Refuse half a surrogate pair, which UTF-8 cannot express (as a `Fault`)."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Fault("the string has half a surrogate pair") from None


def check_value(
    value: Any, *, exact: bool, depth: int = 0, _above: tuple[object, ...] = ()
) -> None:
    """Refuse what JSON cannot express, as a `Fault` with the path of the first such part.

    Args:
        value: anything.
        exact: refuse tuples too, which would come back as lists, and subclasses, which would come
            back as their base, and keep the keys of dictionaries out of the path.
        depth: how many containers are around *value* already.
    """
    if value is None or isinstance(value, bool):
        return
    if exact and type(value) not in _KINDS:
        _check_subclass(value)
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            raise Fault(_TOO_LONG)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Fault("NaN and infinity are not JSON")
    elif is_a(value, dict) or is_a(value, list) or is_a(value, tuple):
        if exact and is_a(value, tuple):
            raise Fault("a tuple would come back as a list: annotate the field, or use a list")
        if any(value is container for container in _above):
            raise Fault("contains itself")
        if depth >= MAX_DEPTH:
            raise Fault(_TOO_DEEP)
        _check_container(value, exact=exact, depth=depth + 1, above=(*_above, value))
    else:
        raise Fault(f"{type(value).__qualname__} is not JSON")


def _check_subclass(value: object) -> None:
    for base in (str, int, float, list, dict):
        if is_a(value, base):
            raise Fault(
                f"expected a plain {base.__name__}, found {type(value).__qualname__}: convert it, "
                "or annotate the field"
            )


def _check_container(value: Any, *, exact: bool, depth: int, above: tuple[object, ...]) -> None:
    part = ""
    try:
        if is_a(value, dict):
            for index, (key, item) in enumerate(value.items()):
                part = f"[entry {index}]"
                if not isinstance(key, str) or (exact and type(key) is not str):
                    raise Fault(f"the key is of type {type(key).__qualname__}, must be str")
                check_text(key)
                if not exact:
                    part = f"[{key[:40]!r}]"
                check_value(item, exact=exact, depth=depth, _above=above)
        else:
            for index, item in enumerate(value):
                part = f"[{index}]"
                check_value(item, exact=exact, depth=depth, _above=above)
    except Fault as fault:
        fault.parts.append(part)
        raise


def check_json(value: object, *, what: str, error: type[ValueError] = StateError) -> None:
    """Make sure that *value* is JSON: what `dump_json` writes and `parse_json` reads back.

    Dictionaries (keys of type ``str`` only), lists, strings, finite numbers, booleans and ``None``
    are. Tuples are too; they come back as lists. Subclasses of these come back as their base.

    Args:
        value: anything.
        what: names the value in the error.
        error: the class of the error.

    Raises:
        StateError: (or *error*) names the path of the first part that JSON cannot express. The
            path shows keys, the error shows no values.
    """
    try:
        check_value(value, exact=False)
        return
    except Fault as fault:
        problem = f"{what}{fault.path()}: {fault.reason}"
    raise error(problem)


def dump_json(value: object, *, what: str, error: type[ValueError] = StateError) -> bytes:
    """Write *value* as compact UTF-8, once `check_json` agrees with it.

    Raises:
        StateError: (or *error*) as `check_json` does.
    """
    check_json(value, what=what, error=error)
    try:
        return _encode(value)
    except Fault as fault:
        problem = f"{what}: {fault.reason}"
    raise error(problem)


def _encode(tree: Any) -> bytes:
    try:
        return _ENCODER.encode(tree).encode("utf-8")
    except ValueError:
        raise Fault(_TOO_LONG_HERE) from None


def write_json(tree: Any) -> bytes:
    """Write *tree*, whose leaves have been checked one by one, but not how deep they lie.

    Raises:
        Fault: it is nested too deep to be read back.
    """
    payload = _encode(tree)
    if _is_too_deep(payload):
        if is_a(tree, dict):
            for name, part in tree.items():
                _check_field(name, part)
        raise Fault(_TOO_DEEP)
    return payload


def _check_field(name: str, part: object) -> None:
    try:
        check_value(part, exact=False, depth=1)
    except Fault as fault:
        fault.parts = [f".{name}"]  # what lies below may be anyone's key
        raise
