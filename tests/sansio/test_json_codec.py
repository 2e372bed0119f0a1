"""Dataclasses and attrs classes to JSON and back: exactly, strictly, and with telling errors."""

from __future__ import annotations

import enum
import gc
import json
import linecache
import math
import re
import sys
import types
import typing
import uuid
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from dataclasses import InitVar, dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation, localcontext
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    ParamSpec,
    TypeVar,
    Union,
    cast,
)

import attrs
import pydantic
import pytest
import typing_extensions
from google.protobuf.wrappers_pb2 import StringValue  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given, strategies as st
from typing_extensions import TypeAliasType

from trio_agents._sansio._errors import MessageDecodeError, MessageEncodeError
from trio_agents._sansio._serializers import (
    MessageSerializer,
    try_get_known_serializers_for_type,
)

T = TypeVar("T")
U = TypeVar("U")
Key = NewType("Key", str)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    ONE = 1
    PAIR = (1, 2)
    TWIN = 1.5


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Access(enum.Flag):
    READ = 1
    ALL = 7  # two of its bits have no name


class Masked(enum.IntFlag, boundary=enum.KEEP):
    LOW = 1
    NOT_LOW = -2


@dataclass
class Build:
    size: str
    legs: int


class Creature(Build, enum.Enum):
    BEETLE = "small", 6
    DOG = "medium", 4


@dataclass(frozen=True)
class Circle:
    r: float


@attrs.frozen
class Square:
    side: float
    _hidden: str = "h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    name: str = "n"
    size: int


class Model(pydantic.BaseModel):
    when: datetime
    tags: list[str] = []


@pydantic.dataclasses.dataclass
class Renamed:
    size: int = pydantic.Field(alias="theSize")
    name: str = pydantic.Field(default="n", validation_alias=pydantic.AliasChoices("the", "a"))
    inner: Renamed | None = pydantic.Field(default=None, serialization_alias="written")
    state: str = pydantic.Field(default="new", init=False)


@pydantic.dataclasses.dataclass
class Aliased:
    size: int = pydantic.Field(alias="theSize")


class SubAliased(Aliased):
    """As a class that is no dataclass by itself, it has the constructor of its base."""


@dataclass
class PlainAliased(Aliased):
    """As a plain dataclass, it has a constructor of its own, which takes the names."""


@pydantic.dataclasses.dataclass(config=pydantic.ConfigDict(alias_generator=str.upper))
class Loud:
    size: int


@pydantic.dataclasses.dataclass(
    config=pydantic.ConfigDict(validate_by_name=True, validate_by_alias=False)
)
class ByName:
    size: int = pydantic.Field(alias="theSize")


@dataclass
class Tree:
    label: str
    children: list[Tree] = field(default_factory=list["Tree"])
    parent: Tree | None = None


@attrs.define
class Chain:
    rest: Chain | None = None


@dataclass
class Box(Generic[T]):
    item: T
    more: list[Box[T]] = field(default_factory=list["Box[T]"])


@dataclass
class IntBox(Box[int], Generic[T]):
    other: T | None = None


@attrs.define
class Pair(Generic[T, U]):
    left: T
    right: U


@dataclass
class Holder:
    value: Any


@dataclass
class Point:
    x: int
    y: int = 0


def serializer_for(cls: Any) -> MessageSerializer[Any]:
    (serializer,) = try_get_known_serializers_for_type(cls)
    return serializer


def holder_of(hint: Any) -> Any:
    """Return a dataclass with one field, ``value``, of the type *hint*."""
    return make_dataclass("Holder", [("value", hint)])


def round_trip(hint: Any, value: Any) -> Any:
    cls = holder_of(hint)
    serializer = serializer_for(cls)
    return serializer.deserialize(serializer.serialize(cls(value))).value


def written(hint: Any, value: Any) -> Any:
    cls = holder_of(hint)
    return json.loads(serializer_for(cls).serialize(cls(value)))["value"]


def read(hint: Any, tree: Any) -> Any:
    return serializer_for(holder_of(hint)).deserialize(json.dumps({"value": tree}).encode()).value


SECRET = "hunter2-8d1f"


def label(value: object) -> str | None:
    """Name a parameter in the id of a test; an integer may be too long for pytest to do so."""
    return "huge" if isinstance(value, int) and abs(value) > 10**50 else None


# Round trips

Case = tuple[Any, Any]  # a type hint, and a strategy for its values

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
OFFSETS = (
    st.timezones()
    | st.just(UTC)
    | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
)
LEAVES: list[Case] = [
    (str, st.text()),
    (int, st.integers()),
    (float, NUMBERS),
    (bool, st.booleans()),
    (bytes, st.binary()),
    (datetime, st.datetimes()),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Mixed, st.sampled_from(Mixed)),
    (Circle, st.builds(Circle, NUMBERS)),
    (Square, st.builds(Square, NUMBERS, st.text())),
    (Named, st.builds(Named, name=st.text(), size=st.integers())),
    (Literal["a", 1, True, None], st.sampled_from(["a", 1, True, None])),
]


def either(cases: list[Case]) -> Case:
    hint: Any = Union[tuple(hint for hint, _ in cases)]  # noqa: UP007
    return hint, st.one_of([values for _, values in cases])


def generic(origin: Any, *arguments: Any) -> Any:
    given: Any = arguments
    return origin[given if len(given) > 1 else given[0]]


def containers(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    """Of some cases, make cases for the types around them."""
    any_box, any_pair = generic(Box, Any), generic(Pair, Any, Any)

    def around(case: Case) -> st.SearchStrategy[Case]:
        hint, values = case
        return st.sampled_from(
            [
                (generic(list, hint), st.lists(values, max_size=3)),
                (generic(tuple, hint, ...), st.lists(values, max_size=3).map(tuple)),
                (generic(dict, str, hint), st.dictionaries(st.text(), values, max_size=3)),
                (generic(dict, int, hint), st.dictionaries(st.integers(), values, max_size=3)),
                (generic(Optional, hint), st.none() | values),
                (generic(Box, hint), st.builds(any_box, values)),
            ]
        )

    def around_both(cases: tuple[Case, Case]) -> st.SearchStrategy[Case]:
        (left, lefts), (right, rights) = cases
        return st.sampled_from(
            [
                (generic(tuple, left, right), st.tuples(lefts, rights)),
                (generic(Pair, left, right), st.builds(any_pair, lefts, rights)),
            ]
        )

    unions = st.lists(st.sampled_from(LEAVES), min_size=2, max_size=4).map(either)
    return inner.flatmap(around) | st.tuples(inner, inner).flatmap(around_both) | unions


HINTS = st.recursive(st.sampled_from(LEAVES), containers, max_leaves=4)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types: 1, 1.0 and True are not the same."""
    cls: Any = a.__class__
    if cls is not b.__class__:
        return False
    if cls in (list, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if cls is dict:
        return a == b and all(same(item, b[key]) for key, item in a.items())
    if cls in (Box, Pair):
        return all(same(getattr(a, name), getattr(b, name)) for name in a.__annotations__)
    return bool(a == b)


@given(st.data())
def test_any_value_of_any_hint_comes_back_as_it_was(data: st.DataObject) -> None:
    hint, values = data.draw(HINTS)
    value = data.draw(values)
    assert same(round_trip(hint, value), value)


@given(st.datetimes(timezones=OFFSETS, allow_imaginary=False))
def test_an_aware_datetime_keeps_its_instant_and_its_offset(value: datetime) -> None:
    back = round_trip(datetime, value)
    assert back.utcoffset() == value.utcoffset()
    assert back.replace(tzinfo=None) == value.replace(tzinfo=None)


@given(st.recursive(st.builds(Tree, st.text()), lambda t: st.builds(Tree, st.text(), st.lists(t))))
def test_a_recursive_class_comes_back(tree: Tree) -> None:
    serializer = serializer_for(Tree)
    assert serializer.deserialize(serializer.serialize(tree)) == tree


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_any_takes_what_json_has(value: Any) -> None:
    assert same(round_trip(Any, value), value)


# MSG-01, MSG-11
@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (list, [1, "a", None]),
        (typing.List[int], [1]),  # noqa: UP006
        (tuple, (1, "a")),
        (tuple[()], ()),
        (dict, {"a": 1}),
        (set, {1, "a"}),
        (set[int], {3, 1, 2}),
        (frozenset[tuple[int, str]], frozenset({(1, "a"), (2, "b")})),
        (set[Circle], {Circle(1.0), Circle(2.0)}),
        (set[int | str | None], {1, "1", None}),
        (dict[Color, int], {Color.RED: 1}),
        (dict[Level, int], {Level.LOW: 1}),
        (dict[uuid.UUID, int], {uuid.UUID(int=1): 1}),
        (dict[tuple[int, int], Circle], {(1, 2): Circle(1.0)}),
        (dict[Circle, int], {Circle(1.0): 1}),
        (dict[int | str, int], {1: 1, "1": 2}),
        (Sequence[int], [1, 2]),
        (Sequence[int], (1, 2)),
        (Mapping[str, int], {"a": 1}),
        (AbstractSet[int], {1}),
        (AbstractSet[int], frozenset({1})),
        (Key, Key("k")),
        (Annotated[int, "metres"], 1),
        (object, {"a": [1]}),
        (Any | None, None),
        (Right, Right.READ | Right.WRITE),
        (Access, Access.ALL),
        (Creature, Creature.DOG),
        (Path, Path("/tmp/x")),
        (PurePath, PurePosixPath("a/b")),
        (PureWindowsPath, PureWindowsPath("C:\\x")),
        (bytearray, bytearray(b"x")),
        (None, None),
        (Literal["a", Color.RED], Color.RED),
        (datetime, datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))),
        (time, time(1, 2, 3, 4, tzinfo=UTC)),
        (timedelta, timedelta.max),
        (timedelta, timedelta.min),
        (Decimal, Decimal("-0E-7")),
        (float, -0.0),
        (float, 5e-324),
        (int, -(10**4300 - 1)),
        (str, "\x00\u2028\U0001f600"),
        (Model, Model(when=datetime(2024, 1, 1, tzinfo=UTC), tags=["a"])),
        (list[Model | Circle | None], [Model(when=datetime(2024, 1, 1)), Circle(1.0), None]),
        (Box[Box[int]], Box(Box(1))),
        (Pair[int, list[Square]], Pair(1, [Square(1.0)])),
        (Sequence[int] | list[str], [1]),
        (Sequence[int] | list[str], ["a"]),
        (float | str | Literal[1, None], 1),
        (float | Literal[1], 2.0),
        (Any | list[str], [1]),
        (list[str] | Any, [1]),
        (list[str] | Any, ["a"]),
        (dict[str, str] | Any, {"a": 1}),
        (dict[str, str] | Any, {"Any": "a"}),
        (Chain, Chain(Chain())),
        (Renamed, Renamed(theSize=1, the="x", inner=Renamed(theSize=2))),  # type: ignore[call-arg]
        (SubAliased, SubAliased(theSize=1)),  # type: ignore[call-arg]
        (PlainAliased, PlainAliased(1)),
        (Loud, Loud(SIZE=1)),  # type: ignore[call-arg]
        (ByName, ByName(size=1)),
    ],
    ids=label,
)
def test_a_value_comes_back_as_it_was(hint: Any, value: Any) -> None:
    assert same(round_trip(hint, value), value)


def test_minus_zero_keeps_its_sign() -> None:
    assert math.copysign(1, round_trip(float, -0.0)) == -1


def test_an_enum_comes_back_as_the_same_object() -> None:
    assert round_trip(Mixed, Mixed.PAIR) is Mixed.PAIR
    assert round_trip(Creature, Creature.DOG) is Creature.DOG


def test_a_private_attrs_field_comes_back() -> None:
    serializer = serializer_for(Square)
    payload = serializer.serialize(Square(1.0, "x"))
    assert json.loads(payload) == {"side": 1.0, "_hidden": "x"}
    assert serializer.deserialize(payload) == Square(1.0, "x")


def test_a_subclass_may_use_the_type_variable_of_its_base_for_something_else() -> None:
    serializer = serializer_for(IntBox[str])
    assert serializer.deserialize(b'{"item":1,"more":[],"other":"x"}') == IntBox(1, [], "x")
    with pytest.raises(MessageDecodeError, match=r"^IntBox\[str\]\.item: expected int"):
        serializer.deserialize(b'{"item":"x","more":[],"other":"x"}')


def test_a_generic_class_without_arguments_takes_any() -> None:
    serializer = serializer_for(Box)
    assert serializer.deserialize(serializer.serialize(Box({"a": 1}))) == Box({"a": 1})


Number = TypeVar("Number", bound=int)


@dataclass
class Bound(Generic[Number]):
    x: Number


def test_a_bound_type_variable_takes_its_bound() -> None:
    with pytest.raises(MessageDecodeError, match=r"Bound\.x: expected int"):
        serializer_for(Bound).deserialize(b'{"x":"a"}')


def test_a_local_class_may_refer_to_itself() -> None:
    @dataclass(slots=True)
    class Local:
        next: Local | None

    serializer = serializer_for(Local)
    assert serializer.deserialize(serializer.serialize(Local(Local(None)))) == Local(Local(None))


def test_a_class_may_have_a_default_that_hides_a_type() -> None:
    @dataclass
    class Hiding:
        date: date | None = None

    serializer = serializer_for(Hiding)
    message = Hiding(date(2024, 1, 1))
    assert serializer.deserialize(serializer.serialize(message)) == message


def module_of(monkeypatch: pytest.MonkeyPatch, code: str) -> types.ModuleType:
    """Return a module of its own with *code*, whose annotations are strings."""
    module = types.ModuleType("a_module_of_its_own")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n" + code,
        vars(module),
    )
    return module


def test_a_subclass_may_be_called_like_the_type_of_an_inherited_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = module_of(
        monkeypatch,
        """
@dataclass
class Item:
    name: str

@dataclass
class Order:
    item: Item
""",
    )
    item: Any = make_dataclass("Item", [("extra", int)], bases=(module.Order,))
    message = item(module.Item("a"), 1)
    serializer = serializer_for(item)
    assert serializer.deserialize(serializer.serialize(message)) == message


def test_an_inherited_field_may_name_a_subclass_that_its_module_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = module_of(monkeypatch, "@dataclass\nclass Node:\n    next: Leaf | None")
    leaf: Any = make_dataclass("Leaf", [], bases=(module.Node,))
    serializer = serializer_for(leaf)
    assert serializer.deserialize(serializer.serialize(leaf(leaf(None)))) == leaf(leaf(None))


def test_fields_that_the_class_derives_are_left_out() -> None:
    @dataclass
    class Derived:
        kind: ClassVar[str] = "k"
        x: Final[int] = 1
        double: int = field(init=False)

        def __post_init__(self) -> None:
            self.double = 2 * self.x

    serializer = serializer_for(Derived)
    assert serializer.serialize(Derived(3)) == b'{"x":3}'
    assert serializer.deserialize(b'{"x":3}').double == 6


@dataclass
class Job:
    name: str
    status: str = field(init=False, default="new")
    runs: list[int] = field(init=False, default_factory=list[int])
    result: int = field(init=False)
    cache: object = field(init=False, default_factory=object, compare=False)


@attrs.define
class AttrsJob:
    name: str
    status: str = attrs.field(init=False, default="new")
    cache: object = attrs.field(init=False, factory=object, eq=False)


@dataclass
class Picky:
    x: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        if self.x > 9:
            raise ValueError(self.x)
        self.double = 2 * self.x


@dataclass
class Spread:
    values: list[float]
    mean: float = field(init=False)

    def __post_init__(self) -> None:
        self.mean = sum(self.values) / len(self.values) if self.values else math.nan


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError(SECRET)

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Odd:
    it: Incomparable = field(init=False, default_factory=Incomparable)


@pytest.mark.parametrize(
    "message",
    [Job("a"), AttrsJob("a"), Spread([]), Spread([1, 2]), holder_of(list[Job])([Job("a")])],
    ids=lambda message: type(message).__name__,
)
def test_a_message_comes_back_if_its_constructor_fills_the_fields_that_it_does_not_take(
    message: Any,
) -> None:
    serializer = serializer_for(type(message))
    payload = serializer.serialize(message)
    assert serializer.serialize(serializer.deserialize(payload)) == payload


def changed(message: Any, **fields: object) -> Any:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (changed(Job("a"), status=SECRET), "Job.status"),
        (changed(Job("a"), runs=[1]), "Job.runs"),
        (changed(Job("a"), result=1), "Job.result"),
        (changed(AttrsJob("a"), status=SECRET), "AttrsJob.status"),
        (changed(Picky(1), x=2), "Picky.double"),
        (Odd(), "Odd.it"),
        (holder_of(list[Job])([Job("a"), changed(Job("b"), runs=[1])]), "Holder.value[1].runs"),
    ],
    ids=label,
)
def test_a_value_that_the_constructor_would_not_give_back_is_an_encode_error_with_its_path(
    message: Any, path: str
) -> None:
    said = rf"^{re.escape(path)}: would not come back.*init=False.*__post_init__"
    with pytest.raises(MessageEncodeError, match=said) as caught:
        serializer_for(type(message)).serialize(message)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_message_that_its_constructor_would_refuse_is_an_encode_error_if_it_was_asked() -> None:
    with pytest.raises(MessageEncodeError, match=r"^Picky: .*refuses its fields \(ValueError\)"):
        serializer_for(Picky).serialize(changed(Picky(1), x=10))


def test_writing_leaves_the_constructor_alone_if_it_takes_all_fields() -> None:
    made = list[object]()

    @dataclass
    class Counted:
        x: int

        def __post_init__(self) -> None:
            made.append(self)

    serializer_for(Counted).serialize(Counted(1))
    assert len(made) == 1


# The shape of the JSON


@pytest.mark.parametrize(
    ("hint", "value", "tree"),
    [
        (int | str | None, 7, 7),
        (int | str | None, None, None),
        (Circle | None, Circle(1.0), {"r": 1.0}),
        (Circle | Square, Circle(1.0), {"Circle": {"r": 1.0}}),
        (Circle | Square | None, None, None),
        (Circle | dict[str, int], {"Circle": 1}, {"dict[str, int]": {"Circle": 1}}),
        (date | uuid.UUID | int, date(2024, 1, 31), {"date": "2024-01-31"}),
        (date | uuid.UUID | int, 7, 7),
        (date | datetime, datetime(2024, 1, 31), {"datetime": "2024-01-31T00:00:00"}),
        (int | float, 1, 1),
        (int | float, 1.0, 1.0),
        (float | None, 1, 1.0),
        (Level | float, Level.LOW, 1),
        (list[int] | list[str], ["a"], {"list[str]": ["a"]}),
        (dict[int, str], {1: "a"}, [[1, "a"]]),
        (set[int], {3, 1, 2}, [1, 2, 3]),
        (Color, Color.RED, "red"),
        (Level, Level.HIGH, 2),
        (Mixed, Mixed.PAIR, "PAIR"),
        (Creature, Creature.DOG, "DOG"),
        (ByName | None, ByName(size=1), {"size": 1}),
        (Loud, Loud(SIZE=1), {"size": 1}),  # type: ignore[call-arg]
        (bytes, b"\xff", "/w=="),
        (timedelta, timedelta(days=-1, microseconds=1), "-86399.999999s"),
        (timedelta, timedelta(hours=1), "3600s"),
        (Decimal, Decimal("1.10"), "1.10"),
    ],
)
def test_the_json_of_a_value(hint: Any, value: Any, tree: Any) -> None:
    assert written(hint, value) == tree
    assert type(written(hint, value)) is type(tree)


def test_dataclass_json_is_compact_utf8() -> None:
    assert serializer_for(Tree).serialize(Tree("ü")) == (
        '{"label":"ü","children":[],"parent":null}'.encode()
    )


def test_equal_sets_make_equal_bytes() -> None:
    assert written(set[Any], {1, "a", None}) == written(set[Any], {None, "a", 1})


def test_a_value_that_looks_like_a_tag_is_no_tag() -> None:
    hint = Circle | dict[str, Any]
    value = {"Circle": {"r": 1.0}}
    assert round_trip(hint, value) == value


# Reading is strict


OF_ANOTHER_KIND: list[tuple[Any, Any]] = [
    (int, "7"),
    (int, 7.0),
    (int, True),
    (int, None),
    (str, 1),
    (str, None),
    (str, ["a"]),
    (bool, 1),
    (bool, "true"),
    (float, "1"),
    (float, True),
    (float, 2**53 + 1),
    (float, 10**400),
    (list[int], "12"),
    (list[int], {"0": 1}),
    (list[int], [1, "2"]),
    (tuple[int, str], [1]),
    (tuple[int, str], [1, "a", 2]),
    (tuple[int, ...], [1, "a"]),
    (set[int], [1, 1]),
    (set[Any], [[1]]),
    (dict[str, int], [["a", 1]]),
    (dict[str, int], {"a": "b"}),
    (dict[int, int], {"1": 1}),
    (dict[int, int], [[1, 1], [1, 2]]),
    (dict[int, int], [[1]]),
    (dict[int, int], [1]),
    (dict[Any, int], [[[], 1]]),
    (dict[datetime, int], {"2024-01-01T00:00:00Z": 1, "2024-01-01T00:00:00+00:00": 2}),
    (Color, "RED"),
    (Color, 1),
    (Color, ["red"]),
    (Level, True),
    (Level, 1.0),
    (Level, 3),
    (Mixed, 1),
    (Right, 8),
    (Right, True),
    (Literal[1, "a"], True),
    (Literal[1, "a"], "b"),
    (Literal[1, "a"], [1]),
    (datetime, "yesterday"),
    (datetime, 0),
    (datetime, "9999-99-99T00:00:00"),
    (date, "2024-02-30"),
    (time, "25:00"),
    (timedelta, "1"),
    (timedelta, "1.5"),
    (timedelta, "999999999999999s"),
    (timedelta, "PT1S"),
    (uuid.UUID, "{00000000-0000-0000-0000-000000000001}"),
    (uuid.UUID, "x"),
    (Decimal, "1_0"),
    (Decimal, "NaN"),
    (Decimal, "sNaN"),
    (Decimal, "1e9999999999999999999"),
    (Decimal, 1),
    (bytes, "a"),
    (bytes, "a?=="),
    (bytes, "é"),
    (Path, 1),
    (None, 0),
    (int | None, "1"),
    (int | str, 1.5),
    (Circle | Square, {"r": 1.0}),
    (Circle | Square, {"Circle": {"r": 1.0}, "Square": {"side": 1.0}}),
    (Circle | Square, {"Named": {"size": 1}}),
    (Circle | Square, {"": 1}),
    (Circle | Square, None),
    (Circle, [1.0]),
    (Model, {"when": "x"}),
    (Model, 1),
]


@pytest.mark.parametrize(("hint", "tree"), OF_ANOTHER_KIND, ids=label)
def test_a_value_of_another_kind_is_refused(hint: Any, tree: Any) -> None:
    with pytest.raises(MessageDecodeError, match=r"^Holder\.value"):
        read(hint, tree)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"[]", "^Point: expected Point, found a JSON array"),
        (b'"x"', "^Point: expected Point, found a JSON string"),
        (b"{}", r"^Point\.x: missing"),
        (b'{"y":1}', r"^Point\.x: missing"),
        (b'{"x":1,"z":1,"w":2}', r"^Point: 2 unknown key\(s\); Point has x, y"),
        (b'{"x":1,"y":"1"}', r"^Point\.y: expected int, found a JSON string"),
        (b'{"x":1}x', "^Point: not JSON"),
    ],
)
def test_a_decode_error_names_class_and_field(payload: bytes, said: str) -> None:
    with pytest.raises(MessageDecodeError, match=said):
        serializer_for(Point).deserialize(payload)


def test_a_missing_field_with_a_default_takes_it() -> None:
    assert serializer_for(Point).deserialize(b'{"x":1}') == Point(1, 0)


def test_an_integer_will_do_for_a_float() -> None:
    assert same(read(float, 1), 1.0)


def test_a_decode_error_names_the_path_through_containers() -> None:
    hint = dict[str, list[tuple[int, Circle | Square]]]
    with pytest.raises(
        MessageDecodeError, match=r"^Holder\.value\[entry 1\]\[0\]\[1\]\.r: expected"
    ):
        read(hint, {"a": [], "b": [[1, {"Circle": {"r": "x"}}]]})


# MSG-11
def test_a_decode_error_names_the_path_into_a_pydantic_model() -> None:
    with pytest.raises(MessageDecodeError, match=r"^Holder\.value\.tags\[1\]: .*string_type"):
        read(Model, {"when": "2024-01-01T00:00:00Z", "tags": ["a", 1]})


@attrs.define
class Refusing:
    x: str

    def __attrs_post_init__(self) -> None:
        raise RecursionError(self.x)


@pytest.mark.parametrize(
    ("cls", "payload"),
    [
        (Point, {"x": SECRET}),
        (Point, {"x": 1, SECRET: 1}),
        (Refusing, {"x": SECRET}),
        (holder_of(dict[str, int]), {"value": {SECRET: SECRET}}),
        (holder_of(Color), {"value": SECRET}),
        (holder_of(uuid.UUID), {"value": SECRET}),
        (holder_of(Circle | Square), {"value": {SECRET: {}}}),
    ],
)
def test_a_decode_error_quotes_nothing_from_the_payload(cls: Any, payload: Any) -> None:
    with pytest.raises(MessageDecodeError) as caught:
        serializer_for(cls).deserialize(json.dumps(payload).encode())
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_whatever_a_constructor_raises_is_a_decode_error() -> None:
    with pytest.raises(MessageDecodeError, match=r"^Refusing: .* \(RecursionError\)"):
        serializer_for(Refusing).deserialize(b'{"x":"a"}')


@st.composite
def mutations(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return *valid* with a few bytes changed, cut out, doubled or put in."""
    payload = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(payload)))
        stop = draw(st.integers(start, min(len(payload), start + 8)))
        piece = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"NaN", b"null", b"[", b"]", b"{", b"}", b'"', b"\\ud800", b"1e999"])
            | st.just(bytes(payload[start:stop]) * 2)
        )
        payload[start:stop] = piece
    return bytes(payload)


EVERYTHING = holder_of(
    tuple[
        int | str | None,
        Circle | Square,
        dict[int, date],
        set[Color],
        Box[float],
        Model,
        datetime,
        uuid.UUID,
        Decimal,
        timedelta,
        bytes,
        Any,
    ]
)
VALID = serializer_for(EVERYTHING).serialize(
    EVERYTHING(
        (
            7,
            Square(1.5),
            {1: date(2024, 1, 1)},
            {Color.RED},
            Box(0.5, [Box(1.5)]),
            Model(when=datetime(2024, 1, 1, tzinfo=UTC)),
            datetime(2024, 1, 1),
            uuid.UUID(int=5),
            Decimal("1.5"),
            timedelta(seconds=1.5),
            b"abc",
            {"a": [1, None]},
        )
    )
)


@given(mutations(VALID))
def test_a_damaged_message_gives_a_message_or_a_decode_error(payload: bytes) -> None:
    serializer = serializer_for(EVERYTHING)
    try:
        message = serializer.deserialize(payload)
    except MessageDecodeError:
        return
    assert serializer.deserialize(serializer.serialize(message)) == message


@given(JSON_VALUES)
def test_any_json_for_any_field_gives_a_value_or_a_decode_error(tree: Any) -> None:
    for hint, _ in LEAVES:
        try:
            value = read(hint, tree)
        except MessageDecodeError:
            continue
        assert same(round_trip(hint, value), value)


# Writing is as strict


@dataclass(frozen=True)
class BiggerCircle(Circle):
    colour: str = "red"


class State(enum.StrEnum):
    NEW = "new"


class Spot(NamedTuple):
    x: int
    y: int


class SomeList(list[int]):
    pass


class SomeSet(set[int]):
    pass


class NoOffset(tzinfo):
    def utcoffset(self, dt: datetime | None) -> None:
        return None

    def tzname(self, dt: datetime | None) -> str:
        return "nowhere"

    def dst(self, dt: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (float, math.nan, "NaN and infinity are not JSON"),
        (float, -math.inf, "NaN and infinity are not JSON"),
        (Any, [math.nan], r"\[0\]: NaN and infinity are not JSON"),
        (str, "\ud800", "half a surrogate pair"),
        (dict[str, int], {"\ud800": 1}, r"\[entry 0\]: .*half a surrogate pair"),
        (Any, {"a": "\udfff"}, "half a surrogate pair"),
        (Path, Path("\udcff"), "half a surrogate pair"),
        (Any, object(), "object is not JSON"),
        (Any, lambda: None, "function is not JSON"),
        (Any, {"a": {1, 2}}, r"\[entry 0\]: set is not JSON"),
        (Any, (1,), "a tuple would come back as a list"),
        (Any, {1: 2}, "the key is of type int, must be str"),
        (set[Any], {object()}, r"\[0\]: object is not JSON"),
        (int, "7", "expected int, found str"),
        (int, True, "expected int, found bool"),
        (int, 10**4300, "an integer of more than 4300 digits"),
        (str, 1, "expected str, found int"),
        (float, 2**53 + 1, "an integer that no float equals"),
        (float, 10**400, "an integer that no float equals"),
        (float, True, "expected float, found bool"),
        (list[int], (1,), r"expected list\[int\], found tuple"),
        (tuple[int, str], (1,), "with 2 items, found 1"),
        (tuple[int, str], [1, "a"], "found list"),
        (set[int], [1], "found list"),
        (dict[str, int], [1], "found list"),
        (dict[int, int], [1], "found list"),
        (bytes, "x", "expected bytes, found str"),
        (list[Circle], [Circle(1.0), None], r"\[1\]: expected Circle, found NoneType"),
        (Circle, BiggerCircle(1.0), "expected Circle, found BiggerCircle"),
        (Circle | Square, 1, r"expected Circle \| Square, found int"),
        (Circle | Square, Circle(cast("Any", "x")), r"\.r: expected float, found str"),
        (list[int] | list[str], [1, "a"], r"expected list\[int\] \| list\[str\], found list"),
        (Circle | Any, Circle(cast("Any", "x")), r"\.r: expected float, found str"),
        (date, datetime(2024, 1, 1), "expected date, found datetime"),
        (datetime, datetime(2024, 1, 1, tzinfo=NoOffset()), "without a fixed offset"),
        (time, time(1, tzinfo=NoOffset()), "without a fixed offset"),
        (Decimal, Decimal("NaN"), "the Decimal is not finite"),
        (Color, "red", "expected Color, found str"),
        (Masked, Masked(8), "expected Masked, found Masked"),
        (Literal[1], True, r"expected Literal\[1\], found bool"),
        (Literal[1], [], r"expected Literal\[1\], found list"),
        (PurePath, PureWindowsPath("a"), "does not come back"),
        (PurePath, Path("a"), "a PosixPath does not come back"),
        (Any, State.NEW, "expected a plain str, found State: convert it"),
        (Any, {"a": [Level.LOW]}, r"\[entry 0\]\[0\]: expected a plain int, found Level"),
        (Any, {State.NEW: 1}, "the key is of type State, must be str"),
        (Any, OrderedDict(a=1), "expected a plain dict, found OrderedDict"),
        (Any, Spot(1, 2), "a tuple would come back as a list"),
        (Any, SomeList([1]), "expected a plain list, found SomeList"),
        (list[int], SomeList([1]), r"expected list\[int\], found SomeList"),
        (dict[str, int], defaultdict(int), r"expected dict\[str, int\], found defaultdict"),
        (dict[int, int], OrderedDict(), r"expected dict\[int, int\], found OrderedDict"),
        (Mapping[str, int], OrderedDict(), r"expected dict\[str, int\], found OrderedDict"),
        (tuple[int, int], Spot(1, 2), r"expected tuple\[int, int\], found Spot"),
        (tuple[int, ...], Spot(1, 2), r"expected tuple\[int, \.\.\.\], found Spot"),
        (set[int], SomeSet([1]), r"expected set\[int\], found SomeSet"),
        (set[int] | None, SomeSet([1]), r"expected set\[int\], found SomeSet"),
        (None, 0, "expected None, found int"),
        (Model, Circle(1.0), "expected Model, found Circle"),
        (Model, Model.model_construct(when="x"), r"\.when: "),
    ],
    ids=label,
)
def test_what_cannot_be_written_is_an_encode_error_with_its_path(
    hint: Any, value: Any, said: str
) -> None:
    cls = holder_of(hint)
    with pytest.raises(MessageEncodeError, match=rf"^Holder\.value.*{said}") as caught:
        serializer_for(cls).serialize(cls(value))
    assert caught.value.__context__ is None


def test_an_encode_error_names_the_path_through_classes() -> None:
    tree: Any = Tree("a", [Tree("b"), Tree("c", [Tree(5)])])  # type: ignore[arg-type]
    with pytest.raises(MessageEncodeError, match=r"^Tree\.children\[1\]\.children\[0\]\.label: "):
        serializer_for(Tree).serialize(tree)


def test_two_classes_of_one_name_are_told_apart() -> None:
    first, second = holder_of(int), holder_of(int)
    with pytest.raises(MessageEncodeError, match="expected Holder"):
        serializer_for(first).serialize(second(1))


def test_a_message_that_contains_itself_is_an_encode_error() -> None:
    tree = Tree("a")
    tree.parent = tree
    with pytest.raises(MessageEncodeError, match=r"^Tree\.parent.*contains itself"):
        serializer_for(Tree).serialize(tree)


def test_what_would_be_too_deep_to_read_is_not_written() -> None:
    tree = Tree("a")
    for _ in range(63):
        tree = Tree("a", parent=tree)
    serializer = serializer_for(Tree)
    with pytest.raises(MessageEncodeError, match=r"^Tree\.parent: nested deeper than 64 levels"):
        serializer.serialize(tree)
    assert tree.parent is not None
    assert tree.parent.parent is not None
    serializer.deserialize(serializer.serialize(tree.parent.parent))


# Classes that cannot be written

BROKEN: list[tuple[Any, str]] = [
    (complex, "complex cannot be written as JSON: use"),
    (Literal["red", Color.RED], "are the same in JSON"),
    (Callable[[], int], "cannot be written as JSON"),
    (int | complex, "complex cannot be written as JSON"),
    (list[type[int]], "cannot be written as JSON"),
    (StringValue, "StringValue cannot be written as JSON"),
    (pydantic.AwareDatetime, "AwareDatetime stands for another class: use datetime, or a"),
    (pydantic.FutureDate, "FutureDate stands for another class: use date, or a pydantic model"),
    (pydantic.Json, "Json stands for .*: use Any"),
    (pydantic.ImportString, "ImportString stands for .*: use str"),
    (pydantic.IPvAnyAddress, "IPvAnyAddress stands for .*: use str"),
    (pydantic.EmailStr, "EmailStr stands for .*: use str"),
    (type("OwnEmail", (pydantic.EmailStr,), {}), "OwnEmail stands for .*: use str"),
    (list[pydantic.PastDate | None], "PastDate stands for .*: use date"),
    ("Missing", "the annotation cannot be resolved .*Missing"),
    (Circle | make_dataclass("Circle", []), "have the same name"),
]


@pytest.mark.parametrize(("hint", "said"), BROKEN)
def test_a_field_that_has_no_json_is_an_error_that_names_it(hint: Any, said: str) -> None:
    cls = holder_of(hint)
    serializer = serializer_for(cls)
    with pytest.raises(MessageEncodeError, match=rf"^Holder\.value: .*{said}"):
        serializer.serialize(cls(1))
    with pytest.raises(MessageDecodeError, match=rf"^Holder\.value: .*{said}"):
        serializer.deserialize(b'{"value":1}')


def test_a_library_that_a_type_of_pydantic_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "email_validator", None)
    with pytest.raises(MessageEncodeError, match=r"^Holder\.value: .*pip install .*email"):
        serializer_for(holder_of(pydantic.NameEmail)).serialize(None)


def test_a_type_of_pydantic_with_instances_of_its_own_comes_back() -> None:
    for cls, value in (
        (pydantic.HttpUrl, pydantic.HttpUrl("http://a/")),
        (pydantic.ByteSize, pydantic.ByteSize(3)),
    ):
        assert same(round_trip(cls, value), value)


def test_the_innermost_class_with_such_a_field_is_named() -> None:
    inner = make_dataclass("Inner", [("bad", complex)])
    with pytest.raises(MessageEncodeError, match=r"^Inner\.bad: complex"):
        serializer_for(holder_of(list[inner])).serialize(None)  # type: ignore[valid-type]


def test_an_attrs_field_without_an_annotation_is_an_error_that_names_it() -> None:
    cls = attrs.make_class("Bare", ["x"])
    with pytest.raises(MessageEncodeError, match=r"^Bare\.x: has no annotation"):
        serializer_for(cls).serialize(cls(1))


@pytest.mark.parametrize(
    "alias",
    [pydantic.AliasPath("sizes", 0), pydantic.AliasChoices("the-size"), "the-size", "class"],
)
def test_a_pydantic_dataclass_with_an_alias_that_is_no_name_is_an_error_that_says_so(
    alias: Any,
) -> None:
    cls: Any = pydantic.dataclasses.dataclass(
        make_dataclass("Sized", [("size", int, pydantic.Field(validation_alias=alias))])
    )
    with pytest.raises(
        MessageEncodeError, match=r"^Sized\.size: .*alias.*: use .*a pydantic model"
    ):
        serializer_for(cls).serialize(cls(**{"sizes": [1], "the-size": 1, "class": 1}))


def test_a_missing_field_of_a_pydantic_dataclass_is_an_error_that_names_it() -> None:
    with pytest.raises(MessageDecodeError, match=r"^Renamed\.size: missing"):
        serializer_for(Renamed).deserialize(b"{}")


def test_a_constructor_that_needs_more_than_the_fields_is_an_error() -> None:
    @dataclass
    class Needy:
        x: int
        extra: InitVar[int]

    with pytest.raises(MessageEncodeError, match=r"Needy\.extra: the constructor needs it"):
        serializer_for(Needy).serialize(Needy(1, 2))


def test_a_constructor_that_takes_less_than_the_fields_is_an_error() -> None:
    @dataclass(init=False)
    class Own:
        x: int

        def __init__(self) -> None:
            self.x = 1

    with pytest.raises(MessageEncodeError, match=r"Own\.x: the constructor does not take it"):
        serializer_for(Own).serialize(Own())


@dataclass
class Endless(Generic[T]):
    inner: Endless[list[T]] | None = None


P = ParamSpec("P")
Choice = TypeVar("Choice", int, str)


@dataclass
class Calling(Generic[P]):
    call: Callable[P, int]


def test_a_parameter_specification_is_an_error_that_names_the_field() -> None:
    message = Calling[[]](lambda: 1)
    with pytest.raises(MessageEncodeError, match=r"^Calling\.call: .*use a TypeVar"):
        serializer_for(Calling).serialize(message)


@dataclass
class Chosen(Generic[Choice]):
    it: Choice


def test_a_constrained_type_variable_takes_its_constraints() -> None:
    assert serializer_for(Chosen).deserialize(b'{"it":"x"}') == Chosen("x")
    with pytest.raises(MessageDecodeError, match=r"^Chosen\.it: expected int \| str"):
        serializer_for(Chosen).deserialize(b'{"it":null}')


Backported: Any = typing_extensions.TypeVar("Backported", default=date)


@dataclass
class Defaulted(Generic[Backported]):
    it: Backported


def test_a_type_variable_takes_its_default() -> None:
    message = Defaulted(date(2024, 1, 1))
    serializer = serializer_for(Defaulted)
    assert serializer.deserialize(serializer.serialize(message)) == message


def test_a_constructor_may_take_any_keyword() -> None:
    @dataclass(init=False)
    class Loose:
        x: int

        def __init__(self, **fields: int) -> None:
            self.x = fields["x"]

    serializer = serializer_for(Loose)
    assert serializer.deserialize(serializer.serialize(Loose(x=1))) == Loose(x=1)


def test_an_attrs_field_may_have_its_type_as_an_argument() -> None:
    cls: Any = attrs.make_class("Typed", {"x": attrs.field(type=int)})
    serializer = serializer_for(cls)
    assert serializer.deserialize(serializer.serialize(cls(1))) == cls(1)


def test_a_type_alias_stands_for_its_value() -> None:
    alias: Any = cast("Any", TypeAliasType)("alias", int | str)
    assert round_trip(list[alias], [1, "a"]) == [1, "a"]


def test_an_unresolved_reference_inside_a_hint_is_resolved() -> None:
    cls: Any = make_dataclass("Ring", [("next", Optional["Ring"]), ("all", list["Ring"])])  # type: ignore[name-defined]  # noqa: F821
    message = cls(cls(None, []), [cls(None, [])])
    serializer = serializer_for(cls)
    assert serializer.deserialize(serializer.serialize(message)) == message


def test_a_context_that_makes_nan_of_large_decimals_changes_nothing() -> None:
    with localcontext() as context:
        context.traps[InvalidOperation] = False
        with pytest.raises(MessageDecodeError, match="not a Decimal"):
            read(Decimal, "99E" + "9" * 18)


def test_type_hints_without_an_end_are_an_error() -> None:
    with pytest.raises(MessageEncodeError, match="never end"):
        serializer_for(Endless[int]).serialize(Endless())


# What it costs


def test_a_class_is_not_kept_alive_by_its_serializer() -> None:
    cls: Any = make_dataclass("Gone", [("x", int), ("next", "Gone | None", None)])
    serializer = serializer_for(cls)
    serializer.deserialize(serializer.serialize(cls(1, cls(2))))
    gone = weakref.ref(cls)
    del cls, serializer
    gc.collect()
    assert gone() is None


def test_no_source_lines_are_kept() -> None:
    cls = holder_of(int)
    before = len(linecache.cache)
    serializer_for(cls).serialize(cls(1))
    assert len(linecache.cache) == before


def test_a_field_may_be_called_anything() -> None:
    names = ["converter", "cl", "attrs", "typevar_map", "self", "o", "res", "_x", "tree", "field_1"]
    cls: Any = make_dataclass("Odd", [(name, int) for name in names])
    message = cls(*range(len(names)))
    serializer = serializer_for(cls)
    assert serializer.deserialize(serializer.serialize(message)) == message


def test_a_class_with_a_name_that_is_none_is_an_error() -> None:
    cls: Any = dataclass(type("A B", (), {"__annotations__": {"x": int}}))
    with pytest.raises(MessageEncodeError, match="'A B' is not an identifier"):
        serializer_for(cls).serialize(cls(1))


def test_a_class_without_fields_comes_back() -> None:
    cls: Any = make_dataclass("Empty", [])
    assert serializer_for(cls).serialize(cls()) == b"{}"
    assert serializer_for(cls).deserialize(b"{}") == cls()
