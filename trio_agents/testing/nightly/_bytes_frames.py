"""Damaged messages: a valid message or the documented error, and nothing else.

*Frames* are payloads of real messages that have been damaged. What comes of one is not known
beforehand, so it is looked at: exactly the class that was asked for, every part of the type that
its field announces, and the same again after another trip. *Fields* are whole documents with one
value that does not belong there, which must be refused by the name of the field.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import importlib.util
import json
import math
import sys
import time
import types
import typing
import uuid
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, Literal, Union, cast, get_args, get_origin

import attrs

from ..._sansio._errors import MessageDecodeError
from ..._sansio._serialization import SerializationRegistry, UnknownPayload
from ..._sansio._serializers import MessageSerializer, try_get_known_serializers_for_type
from ._bytes_cost import MAX_SECONDS, again, check_cost, the_audit
from ._row import Watch

__all__ = ["FIELDS", "kinds", "try_fields", "try_frames"]

BATCH: Final = 200  # units that one seed makes
LONG_RUN: Final = 1_000_000  # units, from which on times are judged
CANARY: Final = "s3cret"  # is in every valid message, and must be in no error


# --- the messages


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass
class Circle:
    radius: float


@dataclasses.dataclass
class Square:
    side: float


@dataclasses.dataclass
class Line:
    text: str
    amount: int
    next: Line | None = None


@dataclasses.dataclass
class Order:
    text: str
    amount: int
    price: float
    paid: bool
    note: str | None
    id: uuid.UUID
    due: Decimal
    when: datetime
    lasts: timedelta
    blob: bytes
    colour: Colour
    mode: Literal["fast", "slow", 3]
    lines: list[Line]
    tags: set[str]
    pair: tuple[int, str]
    shape: Circle | Square
    mixed: date | uuid.UUID | int
    names: dict[str, int]
    table: dict[int, str]
    extra: Any


# The same fields, by another library.
Parcel: Final[Any] = attrs.make_class(
    "Parcel",
    {name: attrs.field(type=hint) for name, hint in typing.get_type_hints(Order).items()},
)


def an_order(random: Random, cls: Any = Order) -> Any:
    """Make a valid message with something in every field."""
    number = random.randrange(2**40)
    return cls(
        text=f"{CANARY} {number} é \U0001f600",
        amount=number - 2**39,
        price=random.random() * 10 ** random.randrange(-30, 30),
        paid=random.random() < 0.5,
        note=random.choice([None, CANARY, ""]),
        id=uuid.UUID(int=random.getrandbits(128)),
        due=Decimal(number).scaleb(-random.randrange(8)),
        when=datetime(2026, 1, 31, random.randrange(24), 5, 7, random.randrange(10**6)),
        lasts=timedelta(microseconds=number - 2**39),
        blob=random.randbytes(random.randrange(12)),
        colour=random.choice(list(Colour)),
        mode=random.choice(["fast", "slow", 3]),
        lines=[Line(f"{CANARY} {i}", i, Line("inner", -i)) for i in range(random.randrange(3))],
        tags={f"{CANARY}{i}" for i in range(random.randrange(4))},
        pair=(number, CANARY),
        shape=random.choice([Circle, Square])(random.random()),
        mixed=random.choice([date(2026, 1, 31), uuid.UUID(int=number), number]),
        names={f"{CANARY} {i}": i for i in range(random.randrange(4))},
        table=dict.fromkeys(range(random.randrange(4)), CANARY),
        extra=[{"key": [None, True, 1.5, CANARY]}, {"__class__": "os.system", "Circle": {}}],
    )


def conforms(value: object, hint: Any) -> bool:
    """Whether *value* is of the type that *hint* announces, down to its last part.

    It knows the hints that are used above, and nothing of the library's own codec.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return _is_json(value)
    if origin in (Union, types.UnionType):
        return any(conforms(value, argument) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if origin in (list, set):
        items = cast("list[object]", value)
        return type(value) is origin and all(conforms(item, arguments[0]) for item in items)
    if origin is tuple:
        parts = cast("tuple[object, ...]", value)
        return (
            type(value) is tuple
            and len(parts) == len(arguments)
            and all(conforms(part, each) for part, each in zip(parts, arguments, strict=True))
        )
    if origin is dict:
        entries = cast("dict[object, object]", value)
        return type(value) is dict and all(
            conforms(key, arguments[0]) and conforms(item, arguments[1])
            for key, item in entries.items()
        )
    if type(value) is not hint:
        return False
    if dataclasses.is_dataclass(hint) or attrs.has(hint):
        return all(conforms(getattr(value, name), each) for name, each in hints_of(hint).items())
    if hint is float:
        return math.isfinite(cast("float", value))
    return hint is not str or _is_text(cast("str", value))


_hints: Final[dict[Any, dict[str, Any]]] = {}


def hints_of(cls: Any) -> dict[str, Any]:
    """Give the resolved annotations of a class, worked out once."""
    if cls not in _hints:
        fields = attrs.fields_dict(cls) if attrs.has(cls) else None
        _hints[cls] = (
            typing.get_type_hints(cls)
            if fields is None
            else {name: field.type for name, field in fields.items()}
        )
    return _hints[cls]


def _is_json(value: object) -> bool:
    if type(value) is list:
        return all(map(_is_json, cast("list[object]", value)))
    if type(value) is dict:
        entries = cast("dict[object, object]", value)
        return all(type(k) is str and _is_text(k) and _is_json(v) for k, v in entries.items())
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (bool, int) or (type(value) is str and _is_text(value))


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# --- what reads them


@attrs.frozen
class Kind:
    """One way in for bytes: a serializer, and what is known of its messages."""

    name: str
    serializer: MessageSerializer[Any]
    make: Callable[[Random], Any]
    conforms: Callable[[Any], bool]
    same: Callable[[Any, Any], bool] = lambda one, other: one == other


def _kind(cls: Any, name: str) -> Kind:
    (serializer,) = try_get_known_serializers_for_type(cls)
    return Kind(
        name, serializer, lambda random: an_order(random, cls), lambda value: conforms(value, cls)
    )


def _pydantic_kind() -> Kind:
    from pydantic import BaseModel, Field

    class Item(BaseModel):
        text: str
        amount: int = Field(ge=0)

    class Basket(BaseModel):
        text: str
        price: float
        items: list[Item]
        chosen: Item | int | None
        names: dict[str, int]
        when: datetime
        extra: Any

    def make(random: Random) -> Basket:
        items = [Item(text=CANARY, amount=i) for i in range(random.randrange(4))]
        return Basket(
            text=f"{CANARY} é \U0001f600",
            price=random.random(),
            items=items,
            chosen=random.choice([None, 7, Item(text=CANARY, amount=1)]),
            names={CANARY: 1},
            when=datetime(2026, 1, 31),
            extra=[1, None, {"key": [1.5]}],
        )

    def is_basket(value: Any) -> bool:
        return type(value) is Basket and all(
            type(item) is Item and type(item.amount) is int for item in value.items
        )

    (serializer,) = try_get_known_serializers_for_type(Basket)
    return Kind("pydantic", serializer, make, is_basket)


def _protobuf_kind(module: str, cls_name: str, make: Callable[[Random, Any], Any]) -> Kind:
    # By name: protobuf is optional, and its types are known to a type checker with stubs only.
    cls: Any = getattr(importlib.import_module(f"google.protobuf.{module}"), cls_name)
    (serializer,) = try_get_known_serializers_for_type(cls)

    def same(one: Any, other: Any) -> bool:  # NaN may be in it, and does not equal itself
        return bool(
            one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
        )

    return Kind(
        cls_name,
        serializer,
        lambda random: make(random, cls()),
        lambda value: type(value) is cls,
        same,
    )


def _a_struct(random: Random, struct: Any) -> Any:
    struct.update({CANARY: [1.5, None, True, {"deep": [CANARY] * random.randrange(4)}]})
    return struct


def _a_file(random: Random, file: Any) -> Any:
    file.name = CANARY
    for number in range(random.randrange(1, 4)):
        message = file.message_type.add(name=f"{CANARY}{number}")
        message.field.add(name="field", number=number + 1, type=11, type_name=CANARY)
        message.nested_type.add(name="Inner").extension_range.add(start=1, end=9)
    return file


def has_protobuf() -> bool:
    """Whether protobuf is installed."""
    return (
        importlib.util.find_spec("google") is not None
        and importlib.util.find_spec("google.protobuf") is not None
    )


def kinds() -> list[Kind]:
    """Give every way in, ready: what is made on first use has been made."""
    found = [_kind(Order, "dataclass"), _kind(Parcel, "attrs"), _pydantic_kind()]
    if has_protobuf():
        found.append(_protobuf_kind("struct_pb2", "Struct", _a_struct))
        found.append(_protobuf_kind("descriptor_pb2", "FileDescriptorProto", _a_file))
    for kind in found:
        for seed in range(20):
            problem = look_at_frame(kind, kind.serializer.serialize(kind.make(Random(seed))))
            if problem is not None:
                raise AssertionError(f"a valid message of kind {kind.name}: {problem}")
    return found


# --- frames


TOKENS: Final[tuple[bytes, ...]] = (
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"0.1",
    b"9" * 25,
    b'"\\ud800"',
    b'"\\u0000"',
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"[[[[",
    b"]]",
    b"{}",
    b'{"a":0,"a":0}',
    b'{"Circle":{"radius":1}}',
    b'{"date":"2026-01-31"}',
    b",",
    b":",
    b'"',
    b"\\",
    b"\x00",
    b"\x0a\xff\xff\xff\xff\x0f",  # protobuf: a length of 4 GiB
    b"\x80" * 11,  # protobuf: a number without an end
    b"\x0b\x0b\x0b\x0c",  # protobuf: groups
    b"type.googleapis.com/google.protobuf.Any",
    b"__class__",
    b"cos\nsystem\n(S'true'\ntR.",  # pickle
    b"!!python/object/apply:os.system [true]",
)


def mutate(random: Random, payload: bytes, other: bytes) -> bytes:
    """Damage *payload* once to four times; *other* is where splices come from."""
    data = bytearray(payload)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        at = random.randrange(len(data) + 1)
        until = min(len(data), at + random.choice((1, 2, 4, 16, 64)))
        match random.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << random.randrange(8)
            case 1 if data:
                data[at % len(data)] = random.randrange(256)
            case 2:
                del data[at:]
            case 3:
                del data[at:until]
            case 4:
                data[at:at] = random.randbytes(until - at)
            case 5:
                data[at:at] = random.choice(TOKENS)
            case 6:
                data[at:at] = data[at:until] * random.choice((1, 2, 30))
            case _:
                begin = random.randrange(len(other) + 1)
                data[at:until] = other[begin : begin + random.randrange(1, 64)]
    return bytes(data)


def look_at_frame(kind: Kind, payload: bytes) -> str | None:
    """Read one frame; return what was wrong with what came of it, if anything was."""
    try:
        message = kind.serializer.deserialize(payload)
    except MessageDecodeError as error:
        text = str(error)
        if CANARY in text:
            return f"the error quotes the payload: {text}"
        if len(text) > 1000:
            return f"the error has {len(text)} characters"
        return None
    except BaseException as exc:  # whatever it is, it is the finding
        return f"{type(exc).__name__} instead of a MessageDecodeError: {exc!s:.200}"
    if not kind.conforms(message):
        return f"was read as what it is not: {message!r:.300}"
    try:
        once_more = kind.serializer.deserialize(kind.serializer.serialize(message))
    except Exception as exc:  # as above
        return f"was read as a message that does not come back: {exc!s:.200}, {message!r:.300}"
    if not kind.same(once_more, message):
        return f"was read as a message that comes back as another: {message!r:.300}"
    return None


def frames_of(random: Random, all_kinds: Sequence[Kind]) -> list[tuple[Kind, bytes]]:
    """Make one batch of damaged frames."""
    valid = {kind.name: kind.serializer.serialize(kind.make(random)) for kind in all_kinds}
    batch: list[tuple[Kind, bytes]] = []
    for _ in range(BATCH):
        kind = random.choice(all_kinds)
        other = random.choice(list(valid.values()))
        if random.random() < 0.02:
            batch.append((kind, random.randbytes(random.randrange(200))))
        else:
            batch.append((kind, mutate(random, valid[kind.name], other)))
    return batch


def try_frames(watch: Watch) -> None:
    """Read damaged frames of every kind."""
    all_kinds = kinds()
    registry = SerializationRegistry()
    registry.add_serializer([kind.serializer for kind in all_kinds])
    audit = the_audit()
    timed = watch.goal >= LONG_RUN
    while watch.goes_on():
        seed = watch.next_seed()
        where = again("frames", seed)
        batch = frames_of(Random(seed), all_kinds)
        modules = len(sys.modules)
        for kind, payload in batch:
            began = time.thread_time()
            with audit.listening() as heard:
                problem = look_at_frame(kind, payload)
            if heard and problem is None:
                problem = f"bytes caused {heard}"
            if problem is not None:
                watch.violation(f"{where}: {kind.name}: {problem}; payload {payload!r:.400}")
            if time.thread_time() - began > MAX_SECONDS:
                check_cost(
                    watch, kind.serializer.deserialize, payload, where, timed=timed, memory=False
                )
            watch.met(kind.name)
        if len(sys.modules) != modules:
            watch.violation(f"{where}: reading has imported something")
        kind, payload = batch[seed % BATCH]
        check_cost(watch, kind.serializer.deserialize, payload, where, timed=timed, memory=True)
        # No name out of the data finds a serializer that was not put there under it.
        name = payload[:40].decode("latin-1")
        unknown = registry.deserialize(payload, type_name=name, data_content_type=name)
        if type(unknown) is not UnknownPayload or unknown.payload != payload:
            watch.violation(f"{where}: the unknown type {name!r} was read as {unknown!r:.80}")
        watch.done(BATCH)


# --- fields

OF_EACH_KIND: Final[dict[str, object]] = {
    "null": None,
    "boolean": True,
    "integer": 7,
    "number": 7.5,
    "string": "text",
    "array": ["text"],
    "object": {"text": 0},
}

# The JSON kinds that a field may have, and further values that it must refuse.
FIELDS: Final[dict[str, tuple[set[str], list[object]]]] = {
    "text": ({"string"}, []),
    "amount": ({"integer"}, ["7", 7.0]),
    "price": ({"number", "integer"}, ["7.5", 2**1100, 2**53 + 1]),
    "paid": ({"boolean"}, [0, 1, "true"]),
    "note": ({"null", "string"}, []),
    "id": (set(), ["", "urn:uuid:" + "0" * 32, "0" * 32, "{" + "0" * 36 + "}", "\u0661" * 36]),
    "due": (set(), ["NaN", "Infinity", "sNaN1", "1e", "1_0", " 1", "\u0661", f"1e{10**18}"]),
    "when": (set(), ["", "2026-13-01", "2026-01-31T25:00", "9" * 5000]),
    "lasts": (set(), ["", "1", "1.5", "-s", "1e5s", "9" * 16 + "s", "0.1234567s", "\u0661s"]),
    "blob": ({"string"}, ["a", "===", "AA==\n", "\u00e9", "A A="]),
    "colour": (set(), ["RED", "blue", "Red", "Colour.RED"]),
    "mode": (set(), ["Fast", 3.0, 2, "3"]),
    "lines": (set(), [{}, ["text"], [{}], [{"text": "", "amount": 1, "more": 0}], [[]]]),
    "tags": ({"array"}, [["a", "a"], [1], [None], [[]]]),
    "pair": (set(), [[], [1], [1, "a", 2], ["a", 1], [True, "a"], {"0": 1, "1": "a"}]),
    "shape": (
        set(),
        [
            {},
            {"radius": 1.0},
            {"Circle": {"side": 1.0}},
            {"Circle": {"radius": 1.0}, "Square": {"side": 1.0}},
            {"Triangle": {}},
            {"circle": {"radius": 1.0}},
            {"Order": {}},
            {"__class__": "Circle", "radius": 1.0},
            {"Circle": None},
            {"Circle": [1.0]},
        ],
    ),
    "mixed": (
        {"integer"},
        [
            "2026-01-31",
            {"date": 7},
            {"UUID": "2026-01-31"},
            {"int": 7},
            {"date": "2026-01-31", "UUID": "0"},
            True,
        ],
    ),
    "names": ({"object"}, [{"a": "b"}, {"a": None}, {"a": True}, {"a": 1.0}]),
    "table": (set(), [{}, {"1": "a"}, [[1, "a"], [1, "b"]], [["1", "a"]], [[1]], [[1, "a", 2]]]),
}


def wrong_values(field: str) -> list[object]:
    """Give values that *field* must refuse."""
    kinds_taken, further = FIELDS[field]
    wrong = [value for kind, value in OF_EACH_KIND.items() if kind not in kinds_taken]
    return [*wrong, *further]


def try_fields(watch: Watch) -> None:
    """Put into one field of a valid message what does not belong there."""
    readers = {cls.__name__: try_get_known_serializers_for_type(cls)[0] for cls in (Order, Parcel)}
    while watch.goes_on():
        seed = watch.next_seed()
        random = Random(seed)
        for _ in range(BATCH):
            name, serializer = random.choice(list(readers.items()))
            tree = json.loads(
                serializer.serialize(an_order(random, Order if name == "Order" else Parcel))
            )
            field = random.choice(list(FIELDS))
            match random.randrange(10):
                case 0:
                    del tree[field]
                case 1:
                    tree[f"{CANARY}{field}"] = tree.pop(field)
                    field = ""  # it is not known which of the two is named
                case 2:
                    tree[random.choice(("__class__", "type", CANARY))] = name
                    field = ""
                case _:
                    tree[field] = random.choice(wrong_values(field))
            payload = json.dumps(tree).encode()
            where = again("json-fields", seed)
            try:
                message = serializer.deserialize(payload)
            except MessageDecodeError as error:
                if f"{name}.{field}" not in str(error) and field:
                    watch.violation(f"{where}: the error does not name {field}: {error}")
                if CANARY in str(error):
                    watch.violation(f"{where}: the error quotes the payload: {error}")
            except BaseException as exc:  # whatever it is, it is the finding
                watch.violation(
                    f"{where}: {type(exc).__name__} instead of a MessageDecodeError: {exc!s:.200}; "
                    f"{payload!r:.400}"
                )
            else:
                watch.violation(
                    f"{where}: {name}.{field} took {tree.get(field)!r:.100}, and gave "
                    f"{getattr(message, field, message)!r:.100}"
                )
            watch.met(field or "unknown-key")
        watch.done(BATCH)
