"""The values that become one JSON string, number or nothing, each in exactly one way.

A table rather than a chain of tests: type, JSON kind, how to write, how to read. Reading asks for
the very kind that writing makes. ``"7"`` is no ``int`` and ``1`` no ``str``; an integer may stand
where a ``float`` is meant (JSON has only one sort of number), as long as the float is exact.

=============  =================================================================================
bytes          base64
datetime       ISO 8601 with the UTC offset it has; the name of its time zone is not kept
timedelta      seconds as protobuf's JSON writes a Duration: ``"-1.5s"``, exact to the microsecond
UUID, Decimal  their usual text; a Decimal must be finite
enums          their value if all values of the class are strings, or all are integers; otherwise
               the name of the member
=============  =================================================================================
"""

from __future__ import annotations

import base64
import enum
import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final

from ._json import MAX_INT, MAX_INT_DIGITS, Fault, check_text, json_kind

__all__ = [
    "ALL_KINDS",
    "SCALARS",
    "Hook",
    "enum_hook",
    "is_exactly",
    "literal_hook",
    "mismatch",
    "unexpected",
]

ALL_KINDS: Final = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})

_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,18})?")
_DURATION: Final = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,6}))?s")


@dataclass(slots=True, eq=False)
class Hook:
    """How one type is written as JSON and read from it.

    The functions raise `Fault` for a value they do not accept. They are looked up at each call,
    since the hook of a recursive class is handed out before they are known.
    """

    name: str  # in errors, and as the tag in a union that needs one
    kinds: frozenset[str]  # the JSON kinds that encode() makes
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    runtime_type: type  # what encode() accepts is an instance of this


def is_exactly(value: object, cls: type) -> bool:
    """Is *value* an instance of *cls* itself, as all are that come out of JSON?

    One of a subclass would lose what makes it one.
    """
    return type(value) is cls


def unexpected(name: str, value: object) -> Fault:
    """Return the fault of writing *value* where a *name* was announced."""
    return Fault(f"expected {name}, found {type(value).__qualname__}")


def mismatch(name: str, value: object) -> Fault:
    """Return the fault of reading *value* where a *name* was announced."""
    return Fault(f"expected {name}, found a JSON {json_kind(value)}")


def _plain(cls: type, kind: str, check: Callable[[Any], None] | None = None) -> Hook:
    """Return the hook for what JSON has itself."""

    def encode(value: Any) -> Any:
        if not isinstance(value, cls) or (cls is int and isinstance(value, bool)):
            raise unexpected(cls.__name__, value)
        if check is not None:
            check(value)
        return value

    def decode(value: Any) -> Any:
        if type(value) is not cls:
            raise mismatch(cls.__name__, value)
        return value

    return Hook(cls.__name__, frozenset({kind}), encode, decode, cls)


def _check_int(value: int) -> None:
    if not -MAX_INT <= value <= MAX_INT:
        raise Fault(f"an integer of more than {MAX_INT_DIGITS} digits")


def _exact_float(value: int) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if number != value:
        raise Fault("expected float, found an integer that no float equals")
    return number


def _encode_float(value: Any) -> float:
    if isinstance(value, int) and not isinstance(value, bool):
        return _exact_float(value)
    if not isinstance(value, float):
        raise unexpected("float", value)
    if not math.isfinite(value):
        raise Fault("NaN and infinity are not JSON")
    return value


def _decode_float(value: Any) -> float:
    if type(value) is int:
        return _exact_float(value)
    if type(value) is not float:
        raise mismatch("float", value)
    return value


def _decode_none(value: Any) -> None:
    if value is not None:
        raise mismatch("null", value)


def _encode_none(value: Any) -> None:
    if value is not None:
        raise unexpected("None", value)


def _text(
    cls: type,
    write: Callable[[Any], str],
    read: Callable[[str], Any],
    *,
    but_not: type | None = None,
) -> Hook:
    """Return the hook for a type that is written as a string; *read* may raise `ValueError`."""
    name = cls.__name__

    def encode(value: Any) -> str:
        if not isinstance(value, cls) or (but_not is not None and isinstance(value, but_not)):
            raise unexpected(name, value)
        text = write(value)
        check_text(text)
        return text

    def decode(value: Any) -> Any:
        if type(value) is not str:
            raise mismatch(name, value)
        try:
            return read(value)
        except (ValueError, ArithmeticError):
            pass
        raise Fault(f"the string is not a {name}")

    return Hook(name, frozenset({"string"}), encode, decode, cls)


def _write_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _read_bytearray(text: str) -> bytearray:
    return bytearray(_read_bytes(text))


def _write_time(value: datetime | time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise Fault(f"the {type(value).__name__} has a time zone without a fixed offset")
    return value.isoformat()


def _write_timedelta(value: timedelta) -> str:
    microseconds = value // timedelta(microseconds=1)
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    return f"{'-' if microseconds < 0 else ''}{seconds}{fraction}s"


def _read_timedelta(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError
    sign, seconds, fraction = found.groups()
    value = timedelta(seconds=int(seconds), microseconds=int((fraction or "").ljust(6, "0")))
    return -value if sign else value


def _read_uuid(text: str) -> uuid.UUID:
    value = uuid.UUID(text)
    if str(value) != text.lower():  # braces, "urn:uuid:" and the digits of other scripts
        raise ValueError
    return value


def _write_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise Fault("the Decimal is not finite")
    return str(value)


def _read_decimal(text: str) -> Decimal:
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError
    return value


def _path(cls: type[PurePath]) -> Hook:
    def write(value: PurePath) -> str:
        text = str(value)
        back = cls(text)
        if type(back) is not type(value) or back != value:  # Path("a") == PurePosixPath("a")
            raise Fault(
                f"a {type(value).__name__} does not come back from a field of {cls.__name__}"
            )
        return text

    return _text(cls, write, cls)


_HOOKS: Final = [
    _plain(str, "string", check_text),
    _plain(bool, "boolean"),
    _plain(int, "integer", _check_int),
    Hook("float", frozenset({"number"}), _encode_float, _decode_float, float),
    Hook("null", frozenset({"null"}), _encode_none, _decode_none, type(None)),
    _text(bytes, _write_bytes, _read_bytes),
    _text(bytearray, _write_bytes, _read_bytearray),
    _text(datetime, _write_time, datetime.fromisoformat),
    _text(date, date.isoformat, date.fromisoformat, but_not=datetime),
    _text(time, _write_time, time.fromisoformat),
    _text(timedelta, _write_timedelta, _read_timedelta),
    _text(uuid.UUID, str, _read_uuid),
    _text(Decimal, _write_decimal, _read_decimal),
    *map(_path, (PurePath, PurePosixPath, PureWindowsPath, Path)),
]
SCALARS: Final[dict[type, Hook]] = {hook.runtime_type: hook for hook in _HOOKS}


def _key(value: Any) -> tuple[type, Any]:
    return value.__class__, value  # 1, 1.0 and True are equal, but not the same


def enum_hook(cls: type[enum.Enum]) -> Hook:
    """Return the hook for an enumeration."""
    values = [member.value for member in cls]
    by_value = issubclass(cls, enum.Flag) or any(
        all(type(value) is kind for value in values) for kind in (str, int)
    )
    table: dict[tuple[type, Any], enum.Enum] = {}
    for name, member in cls.__members__.items():
        key = member.value if by_value else name
        table[_key(key)] = member

    # Some flags take any number, and keep what they have made of it for good. Members with several
    # bits count too: a bit need not have a name of its own. A negative one would have all bits.
    bits = 0
    if issubclass(cls, enum.Flag):
        for member in cls.__members__.values():
            bits |= max(member.value, 0)

    def encode(value: Any) -> Any:
        if not isinstance(value, cls) or (isinstance(value, enum.Flag) and value.value & ~bits):
            raise unexpected(cls.__name__, value)
        return value.value if by_value else value.name

    def decode(value: Any) -> enum.Enum:
        # Not cls(value): 1, 1.0 and True are the same to it, and it may run code of the class.
        member = (
            table.get(_key(value)) if is_exactly(value, int) or is_exactly(value, str) else None
        )
        if issubclass(cls, enum.Flag) and is_exactly(value, int) and not value & ~bits:
            member = member or _flag(cls, value)
        if member is None:
            raise Fault(f"not a member of {cls.__name__}")
        return member

    kinds = frozenset({json_kind(key) for _, key in table}) or frozenset({"string"})
    if issubclass(cls, enum.Flag):
        kinds = frozenset({"integer"})
    return Hook(cls.__name__, kinds, encode, decode, cls)


def _flag(cls: type[enum.Flag], value: int) -> enum.Flag | None:
    try:
        member = cls(value)  # a combination, which has no entry of its own
    except ValueError:
        return None
    return member if isinstance(member, cls) else None  # EJECT makes an int of it


def literal_hook(values: tuple[Any, ...], name: str, hook_of: Callable[[type], Hook]) -> Hook:
    """Return the hook for ``Literal[values]``; each value is written as its own type is."""
    written = [(value, hook_of(value.__class__).encode(value)) for value in values]
    outward = {_key(value): tree for value, tree in written}
    inward = {_key(tree): value for value, tree in written}
    if len(inward) != len(outward):
        raise Fault(f"two values of {name} are the same in JSON")

    def encode(value: Any) -> Any:
        try:
            return outward[_key(value)]
        except (KeyError, TypeError):
            pass
        raise unexpected(name, value)

    def decode(value: Any) -> Any:
        try:
            return inward[_key(value)]
        except (KeyError, TypeError):
            pass
        raise Fault(f"not one of the values of {name}")

    return Hook(name, frozenset(json_kind(tree) for _, tree in written), encode, decode, object)
