"""Strategies for messages, and for what JSON can express."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import importlib
import importlib.util
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import attrs
from hypothesis import strategies as st

from .._components._extras import import_extra
from .._components._image import Image
from .._sansio._identifiers import AgentId, AgentType, TopicId
from .._sansio._json import MAX_INT
from .._sansio._json_fields import fields_of, has_fields
from .._sansio._json_pydantic import is_model
from ._id_strategies import agent_ids, agent_types, topic_ids

__all__ = ["TEXT", "MessageKind", "json_values", "messages"]

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS: Final[st.SearchStrategy[int]] = st.one_of(
    st.integers(),
    st.sampled_from([2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**309, MAX_INT, -MAX_INT]),
)
FLOATS: Final = st.floats(allow_nan=False, allow_infinity=False)
_MAX_LEAVES: Final = 20


def json_values(*, max_leaves: int = _MAX_LEAVES) -> st.SearchStrategy[Any]:
    """What JSON can express, and what an agent's state may hold: it survives a round trip.

    None, booleans, integers of up to 4300 digits, finite floats, text, and lists and dicts of these
    with text as keys. Never NaN or an infinity, a tuple, a key that is no text, half a surrogate
    pair, or more containers within each other than the library reads, which is 64.

    Args:
        max_leaves: About how many values one holds at most.
    """
    return st.recursive(
        st.one_of(st.none(), st.booleans(), INTEGERS, FLOATS, TEXT),
        lambda inner: st.one_of(
            st.lists(inner, max_size=8), st.dictionaries(TEXT, inner, max_size=8)
        ),
        max_leaves=max_leaves,
    )


MessageKind = Literal["dataclass", "attrs", "pydantic", "protobuf", "plain"]
"""What a message may be: four kinds that can be written, and any other object."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A part of the dataclass and attrs messages."""

    text: str
    price: float


@dataclasses.dataclass(frozen=True)
class DataclassMessage:
    """A message that is a dataclass."""

    number: int
    name: str | None
    lines: list[Line]
    flags: Mapping[str, bool]
    kind: Literal["a", "b"]


@attrs.frozen
class AttrsMessage:
    """A message that is an attrs class."""

    number: int
    name: str | None
    lines: tuple[Line, ...]
    _hidden: bytes


def messages(
    *classes: type[Any], kinds: Sequence[MessageKind] | None = None
) -> st.SearchStrategy[Any]:
    """Messages that the library's serializers write and read back, and plain objects.

    Without *classes* they are instances of classes made for this. A float is never NaN, text never
    holds half a surrogate pair, and a collection holds few items.

    Args:
        classes: Your own message classes, to be filled from their annotations: dataclasses, attrs
            classes and pydantic models. Constraints of pydantic's are kept if hypothesis knows them
            (``Field(gt=0)``). In their fields, and by themselves, there may be the library's types:
            ids, topics, `Image`, and the messages of `trio_agents.models`. Pictures are small, and
            need Pillow; where it is missing there are none in messages that may do without.
        kinds: Only these, if no classes are given. ``"protobuf"`` needs protobuf, and is left out
            if *kinds* is None and it is not installed. ``"plain"`` are objects that no serializer
            knows, which only reach agents in the same process.

    Raises:
        TypeError: one of *classes* is none of these.
        ModuleNotFoundError: protobuf is asked for and is not installed.
        ImportError: there is no message without a picture, and Pillow is not installed. It is
            raised when the first one is drawn.
        ValueError: a kind is unknown.
    """
    if classes:
        return st.one_of(*(_instances(cls) for cls in classes))
    if kinds is None:
        known = [kind for kind in _KINDS if kind != "protobuf" or _has_protobuf()]
    else:
        known = list[str](kinds)
    for kind in known:
        if kind not in _KINDS:
            raise ValueError(f"messages are of a kind out of {', '.join(_KINDS)}, not {kind!r}")
    return st.one_of(*(_KINDS[kind]() for kind in known))


def _plain() -> st.SearchStrategy[Any]:
    return st.one_of(TEXT, st.integers(), st.builds(object), st.tuples(TEXT, st.integers()))


def _pydantic() -> st.SearchStrategy[Any]:
    pydantic = importlib.import_module("pydantic")  # when it is asked for: it takes its time
    model: type[Any] = pydantic.create_model(
        "PydanticMessage",
        number=(int, ...),
        name=(str | None, ...),
        lines=(list[Line], ...),
        flags=(dict[str, bool], ...),
    )
    return _instances(model)


def _protobuf() -> st.SearchStrategy[Any]:
    wrappers = importlib.import_module("google.protobuf.wrappers_pb2")
    timestamps = importlib.import_module("google.protobuf.timestamp_pb2")
    return st.one_of(
        st.builds(wrappers.StringValue, value=TEXT),
        st.builds(wrappers.Int64Value, value=st.integers(-(2**63), 2**63 - 1)),
        st.builds(wrappers.BytesValue, value=st.binary()),
        st.builds(
            timestamps.Timestamp, seconds=st.integers(0, 2**31), nanos=st.integers(0, 10**9 - 1)
        ),
    )


def _has_protobuf() -> bool:
    try:
        return importlib.util.find_spec("google.protobuf") is not None
    except ModuleNotFoundError:  # there is no package google
        return False


_KINDS: Final[Mapping[str, Callable[[], st.SearchStrategy[Any]]]] = {
    "dataclass": lambda: _instances(DataclassMessage),
    "attrs": lambda: _instances(AttrsMessage),
    "pydantic": _pydantic,
    "protobuf": _protobuf,
    "plain": _plain,
}


_SCALARS: Final[Mapping[Any, st.SearchStrategy[Any]]] = {
    str: TEXT,
    int: INTEGERS,
    float: FLOATS,
    Any: st.deferred(json_values),
    object: st.deferred(json_values),
}
_SEQUENCES: Final = (list, collections.abc.Sequence, collections.abc.MutableSequence)
_SETS: Final = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
_MAPPINGS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_UNIONS: Final = (Union, types.UnionType)
_FEW: Final = 4  # items in a collection of a message


def _images() -> st.SearchStrategy[Any]:
    pillow: Any = import_extra("PIL.Image", "images", purpose="messages() with pictures")
    sides, color = st.integers(1, 4), st.tuples(*[st.integers(0, 255)] * 3)
    return st.builds(pillow.new, st.just("RGB"), st.tuples(sides, sides), color).map(Image.from_pil)


def _has_pillow() -> bool:
    return importlib.util.find_spec("PIL") is not None


# The library's types, which cannot be filled from their annotations alone. Each is made when it is
# met: the strategies behind them take their time.
_LIBRARY: Final[Mapping[Any, Callable[[], st.SearchStrategy[Any]]]] = {
    AgentId: agent_ids,
    AgentType: lambda: agent_types().map(AgentType),
    TopicId: topic_ids,
    Image: _images,
}


# A class that holds instances of itself has one strategy, which refers to itself.
_Known = dict[Any, st.SearchStrategy[Any]]


def _instances(cls: Any, known: _Known | None = None) -> st.SearchStrategy[Any]:
    """Give instances of a message class, filled from its annotations."""
    known = {} if known is None else known
    if cls not in known:
        known[cls] = st.deferred(lambda: filled)
        filled = _filled(cls, known)
    return known[cls]


def _filled(cls: Any, known: _Known) -> st.SearchStrategy[Any]:
    if cls in _LIBRARY:
        return _LIBRARY[cls]()
    if get_origin(cls) in (Annotated, *_UNIONS):
        return _values(cls, known)
    if is_model(cls):
        # By alias, for that is how a model is read by default.
        hints = {
            field.validation_alias if isinstance(field.validation_alias, str) else name: (
                Annotated[(field.annotation, *field.metadata)]
                if field.metadata
                else field.annotation
            )
            for name, field in cls.model_fields.items()
        }
        values = {name: _values(hint, known) for name, hint in hints.items()}
        return st.fixed_dictionaries(values).map(cls.model_validate)
    if has_fields(cls) or has_fields(get_origin(cls)):
        fields = fields_of(get_origin(cls) or cls, get_args(cls))
        return st.builds(cls, **{field.alias: _values(field.hint, known) for field in fields})
    raise TypeError(
        f"messages() fills dataclasses, attrs classes and pydantic models, and {cls!r} is none: "
        "build its messages with hypothesis.strategies.builds()"
    )


def _values(hint: Any, known: _Known) -> st.SearchStrategy[Any]:
    """Give values for a hint; hypothesis knows those that hold no text and no float."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin is Annotated and _may_lose_its_notes(arguments[0]):
        return _values(arguments[0], known)
    if origin in _UNIONS:
        members = [one for one in arguments if one is not Image or _has_pillow()]
        return st.one_of(*(_values(member, known) for member in members))
    if origin in _SEQUENCES:
        return st.lists(_values(arguments[0], known), max_size=_FEW)
    if origin in _SETS:
        items = _values(arguments[0], known)
        made = st.frozensets if origin is frozenset else st.sets
        return made(items, max_size=_FEW)
    if origin in _MAPPINGS:
        return st.dictionaries(
            _values(arguments[0], known), _values(arguments[1], known), max_size=_FEW
        )
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is ...:
            return st.lists(_values(arguments[0], known), max_size=_FEW).map(tuple)
        return st.tuples(*(_values(argument, known) for argument in arguments))
    if hint in _LIBRARY or has_fields(hint) or has_fields(origin) or is_model(hint):
        return _instances(hint, known)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    return st.from_type(cast("type[Any]", hint)).filter(_can_be_written)


def _may_lose_its_notes(hint: Any) -> bool:
    """Whether what is annotated is one of ours, or a union that a note only tells apart."""
    if get_origin(hint) in _UNIONS:
        return all(is_model(member) for member in get_args(hint))
    return hint in _LIBRARY or is_model(hint)


def _can_be_written(value: object) -> bool:
    """Whether JSON knows it: of ``Annotated[float, ...]`` hypothesis makes infinity too."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, str) or value.encode("utf-8", "ignore").decode() == value
