"""Which serializer a message gets, what each kind promises, and the registry that keeps them."""

from __future__ import annotations

import enum
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Generic, TypeVar

import attrs
import pydantic
import pytest
from google.protobuf.descriptor_pb2 import UninterpretedOption  # type: ignore[import-untyped,unused-ignore]
from google.protobuf.struct_pb2 import Struct  # type: ignore[import-untyped,unused-ignore]
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped,unused-ignore]
from google.protobuf.wrappers_pb2 import BytesValue, StringValue  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given, strategies as st
from typing_extensions import TypedDict

from trio_agents._sansio._errors import MessageDecodeError, MessageEncodeError
from trio_agents._sansio._json_codec import codec_for
from trio_agents._sansio._serialization import (
    JSON_DATA_CONTENT_TYPE,
    PROTOBUF_DATA_CONTENT_TYPE,
    MessageSerializer,
    SerializationRegistry,
    UnknownPayload,
    try_get_known_serializers_for_type,
)

T = TypeVar("T")
SECRET = "hunter2-8d1f"


@dataclass
class Point:
    x: int
    y: int = 0


@attrs.frozen
class Square:
    side: float


@dataclass
class Box(Generic[T]):
    item: T


class Model(pydantic.BaseModel):
    when: datetime
    tags: list[str] = []


class Corner(Point, enum.Enum):
    ORIGIN = 0, 0


def serializer_for(cls: Any) -> MessageSerializer[Any]:
    (serializer,) = try_get_known_serializers_for_type(cls)
    return serializer


# Pydantic


# MSG-01
def test_pydantic_json_has_no_spaces() -> None:
    model = Model(when=datetime(2024, 1, 1, tzinfo=UTC), tags=["ü"])
    assert serializer_for(Model).serialize(model) == (
        '{"when":"2024-01-01T00:00:00Z","tags":["ü"]}'.encode()
    )


class Aliased(pydantic.BaseModel):
    size: int = pydantic.Field(alias="theSize", default=0)


class Floats(pydantic.BaseModel):
    x: float = 0.0
    y: Any = None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Floats(x=math.nan), r"^Floats\.x: NaN and infinity are not JSON"),
        (Floats(y=[{"a": math.inf}]), r"^Floats\.y\[0\]\[key\]: NaN and infinity are not JSON"),
        (Floats(y=object()), r"^Floats\.y: "),
        (Floats(y="\ud800"), r"^Floats\.y: "),
        (Floats.model_construct(x="no"), r"^Floats\.x: "),
    ],
)
def test_a_pydantic_model_that_cannot_be_read_back_is_an_encode_error(
    model: Floats, said: str
) -> None:
    with pytest.raises(MessageEncodeError, match=said) as caught:
        serializer_for(Floats).serialize(model)
    assert caught.value.__context__ is None


def test_a_deep_pydantic_model_is_an_encode_error() -> None:
    value: Any = None
    for _ in range(70):
        value = [value]
    with pytest.raises(MessageEncodeError, match=r"^Floats\.y: nested deeper than 64 levels"):
        serializer_for(Floats).serialize(Floats(y=value))


# MSG-01
def test_a_pydantic_model_with_aliases_comes_back() -> None:
    serializer = serializer_for(Aliased)
    message = Aliased(theSize=3)
    assert serializer.deserialize(serializer.serialize(message)) == message
    assert serializer.deserialize(b'{"theSize":3}') == message


class Computing(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    x: int
    inner: pydantic.Json[Any] = None

    @pydantic.computed_field
    def double(self) -> int:
        return 2 * self.x


def test_a_pydantic_model_with_computed_and_json_fields_comes_back() -> None:
    serializer = serializer_for(Computing)
    message = Computing(x=1, inner='{"a": [1]}')
    assert serializer.deserialize(serializer.serialize(message)) == message


class Colour(enum.Enum):
    RED = "r"


class Whole(pydantic.BaseModel):
    n: int


class Part(Whole):
    more: int


class Like(pydantic.BaseModel):
    n: int


class Lenient(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")
    x: float | None = None


@dataclass
class Shape:
    side: float


@dataclass
class Cube(Shape):
    height: float


class Holder(pydantic.BaseModel):
    """With fields whose types leave open what a value is."""

    whole: Whole | None = None
    wholes: list[Whole] = []
    either: Whole | Like | None = None
    shape: Shape | None = None
    colour: Colour | str | None = None
    raw: str | bytes | None = None
    numbers: set[int] | list[int] | None = None
    sequence: Sequence[int] = []
    anything: Any = None
    by_key: dict[Any, Any] = {}
    number: float | None = None
    lenient: Lenient | None = None
    token: pydantic.SecretStr | None = None
    when: datetime | None = None
    left_out: int = pydantic.Field(default=0, exclude=True)


AMSTERDAM = timezone(timedelta(minutes=19, seconds=32))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"whole": Part(n=1, more=2)}, r"whole: a Part comes back as a Whole: pydantic reads what"),
        ({"wholes": [Whole(n=1), Part(n=1, more=2)]}, r"wholes\[1\]: a Part comes back as a Whole"),
        ({"either": Like(n=1)}, "either: a Like comes back as a Whole"),
        ({"shape": Cube(1.0, 2.0)}, "shape: a Cube comes back as a Shape"),
        ({"colour": Colour.RED}, "colour: a Colour comes back as a str"),
        ({"raw": b"a"}, "raw: a bytes comes back as a str"),
        ({"numbers": {1}}, "numbers: a set comes back as a list"),
        ({"sequence": (1, 2)}, "sequence: a tuple comes back as a list"),
        ({"anything": [datetime(2026, 1, 1)]}, r"anything\[0\]: a datetime comes back as a str"),
        ({"anything": Whole(n=1)}, "anything: a Whole comes back as a dict"),
        ({"by_key": {1: "a"}}, "by_key: a key comes back as another one"),
        ({"number": math.inf}, "number: NaN and infinity are not JSON"),
        ({"token": SECRET}, "token: JSON masks secrets: keep them out of messages"),
        ({"when": datetime(1930, 5, 1, tzinfo=AMSTERDAM)}, "when: this datetime comes back as"),
    ],
)
def test_a_pydantic_model_that_would_come_back_as_another_is_an_encode_error(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(MessageEncodeError, match=rf"^Holder\.{said}") as caught:
        serializer_for(Holder).serialize(Holder(**fields))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "model",
    [
        Holder(whole=Whole(n=1), either=Whole(n=2), shape=Shape(1.0), raw="a", numbers=[1]),
        Holder(anything={"a": [1, None, "x", 0.5, True]}, by_key={"1": {}}, colour="b"),
        Holder(when=datetime(2026, 1, 1, tzinfo=UTC)),
        Holder(lenient=Lenient(x=math.inf)),
        Holder.model_construct(number=1),
        Holder(left_out=0),
    ],
)
def test_a_pydantic_model_whose_values_fit_comes_back(model: pydantic.BaseModel) -> None:
    serializer = serializer_for(type(model))
    assert serializer.deserialize(serializer.serialize(model)) == model


def test_what_a_pydantic_model_leaves_out_is_left_out() -> None:
    serializer = serializer_for(Holder)
    assert serializer.deserialize(serializer.serialize(Holder(left_out=1))) == Holder()


class Around(Lenient):
    inner: Holder


def test_infinity_in_a_model_that_does_not_write_it_is_an_encode_error() -> None:
    message = Around(inner=Holder(number=math.inf))
    with pytest.raises(MessageEncodeError, match=r"^Around\.inner\.number: NaN and infinity"):
        serializer_for(Around).serialize(message)


def test_nan_comes_back_where_the_model_writes_it() -> None:
    serializer = serializer_for(Lenient)
    assert math.isnan(serializer.deserialize(serializer.serialize(Lenient(x=math.nan))).x)


def test_a_pydantic_decode_error_names_class_and_field() -> None:
    with pytest.raises(MessageDecodeError, match=r"^Model\.tags\[1\]: pydantic says string_type$"):
        serializer_for(Model).deserialize(b'{"when":"2024-01-01T00:00:00Z","tags":["a",1]}')


class Sizes(TypedDict):
    width: int


class Framed(pydantic.BaseModel):
    point: Point | None = None
    sizes: Sizes | None = None
    either: str | list[Point] = ""
    boxes: dict[str, Box[Point]] = {}
    model: str | dict[str, list[Model]] = ""
    number: int | str = 0


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"point": {"x": "no"}}, ".point.x"),
        ({"point": {}}, ".point.x"),
        ({"sizes": {"width": "no"}}, ".sizes.width"),
        ({"either": [{"x": 1}, {"x": "no"}]}, ".either[1].x"),
        ({"boxes": {"a": {"item": {"x": "no"}}}}, ".boxes[key].item.x"),
        ({"model": {"k": [{"when": "no"}]}}, ".model[key][0].when"),
        ({"number": None}, ".number"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_pydantic_decode_error_names_the_field_of_a_class_within_the_model(
    tree: Any, path: str
) -> None:
    with pytest.raises(MessageDecodeError, match=rf"^Framed{re.escape(path)}: pydantic says \w+$"):
        serializer_for(Framed).deserialize(json.dumps(tree).encode())


def test_a_pydantic_decode_error_names_the_field_of_a_local_class() -> None:
    @dataclass
    class Local:
        price: float
        next: Local | None = None

    @dataclass
    class Bag:
        item: Local

    class Buying(pydantic.BaseModel):
        bag: Bag

    with pytest.raises(MessageDecodeError, match=r"^Buying\.bag\.item: pydantic says"):
        serializer_for(Buying).deserialize(b'{"bag":{"item":1}}')


def test_a_pydantic_decode_error_uses_the_alias_within_a_pydantic_dataclass() -> None:
    @pydantic.dataclasses.dataclass
    class Renamed:
        size: int = pydantic.Field(alias="theSize")

    cls: Any = pydantic.create_model("Wrapping", it=(Renamed, ...))
    with pytest.raises(MessageDecodeError, match=r"^Wrapping\.it\.theSize: pydantic says"):
        serializer_for(cls).deserialize(b'{"it":{"theSize":"x"}}')


class RefusingModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    x: str
    by_key: dict[str, int] = {}
    parts: dict[str, Point | Sizes] = {}

    @pydantic.field_validator("x")
    @classmethod
    def refuse(cls, value: str) -> str:
        raise ValueError(value)


@pytest.mark.parametrize(
    "payload",
    [
        {"x": SECRET},
        {"x": 1, "by_key": {SECRET: SECRET}},
        {SECRET: SECRET},
        {"x": "", "parts": {SECRET: {"x": SECRET, SECRET: SECRET}}},
    ],
)
def test_a_decode_error_quotes_nothing_from_the_payload(payload: Any) -> None:
    with pytest.raises(MessageDecodeError) as caught:
        serializer_for(RefusingModel).deserialize(json.dumps(payload).encode())
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


# Protobuf

STRING_VALUE = serializer_for(StringValue).serialize(StringValue(value="text"))


# MSG-07, MSG-12
def test_a_protobuf_message_comes_back() -> None:
    message = Struct()
    message.update({"a": [1, {"b": None}]})
    serializer = serializer_for(Struct)
    assert serializer.deserialize(serializer.serialize(message)) == message


# MSG-07, MSG-12
def test_a_protobuf_message_travels_in_an_any() -> None:
    assert STRING_VALUE == b"\n/type.googleapis.com/google.protobuf.StringValue\x12\x06\n\x04text"


# MSG-12
def test_a_protobuf_message_of_another_type_is_a_decode_error() -> None:
    with pytest.raises(MessageDecodeError, match="of another type"):
        serializer_for(Timestamp).deserialize(STRING_VALUE)


def test_a_protobuf_message_without_a_required_field_is_an_encode_error() -> None:
    message = UninterpretedOption.NamePart(name_part="x")
    with pytest.raises(
        MessageEncodeError, match=r"^google\.protobuf\..*: protobuf cannot write it"
    ):
        serializer_for(UninterpretedOption.NamePart).serialize(message)


# Any kind


@given(
    st.binary()
    | st.tuples(st.integers(0, 60), st.binary(max_size=4)).map(
        lambda cut: STRING_VALUE[: cut[0]] + cut[1] + STRING_VALUE[cut[0] + 1 :]
    )
)
def test_a_damaged_protobuf_gives_a_message_or_a_decode_error(payload: bytes) -> None:
    try:
        message = serializer_for(StringValue).deserialize(payload)
    except MessageDecodeError:
        return
    assert isinstance(message, StringValue)


@given(st.binary())
@pytest.mark.parametrize("cls", [Point, Square, Model])
def test_any_bytes_give_a_message_or_a_decode_error(cls: Any, payload: bytes) -> None:
    try:
        message = serializer_for(cls).deserialize(payload)
    except MessageDecodeError:
        return
    assert isinstance(message, cls)


HOSTILE = {
    "deep": b"[" * 100_000,
    "NaN": b'{"when":NaN}',
    "a key twice": b'{"when":"2024-01-01","when":"2024-01-01"}',
    "half a surrogate pair": b'{"when":"2024-01-01","tags":["\\ud800"]}',
    "a byte order mark": b'\xef\xbb\xbf{"when":"2024-01-01"}',
    "invalid UTF-8": b'{"when":"2024-01-01","tags":["\xff"]}',
    "trailing data": b'{"when":"2024-01-01"} {}',
    "a long integer": b'{"when":' + b"1" * 5000 + b"}",
}


@pytest.mark.parametrize("cls", [Model, Point, StringValue])
@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_a_decode_error_for_every_kind_of_class(cls: Any, payload: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        serializer_for(cls).deserialize(payload)


def test_an_instance_of_another_class_is_an_encode_error() -> None:
    for cls, other in ((Point, Box(1)), (Model, Point(1)), (StringValue, BytesValue())):
        with pytest.raises(MessageEncodeError, match="expected"):
            serializer_for(cls).serialize(other)


# Which class gets which serializer


# MSG-06, MSG-07, MSG-09
@pytest.mark.parametrize(
    ("cls", "name", "content"),
    [
        (Point, "Point", JSON_DATA_CONTENT_TYPE),
        (Square, "Square", JSON_DATA_CONTENT_TYPE),
        (Model, "Model", JSON_DATA_CONTENT_TYPE),
        (Box[int], "Box", JSON_DATA_CONTENT_TYPE),
        (StringValue, "google.protobuf.StringValue", PROTOBUF_DATA_CONTENT_TYPE),
    ],
)
def test_the_names_of_a_known_serializer(cls: Any, name: str, content: str) -> None:
    serializer = serializer_for(cls)
    assert (serializer.type_name, serializer.data_content_type) == (name, content)


# MSG-09
@pytest.mark.parametrize(
    "cls", [int, str, dict, object, type(None), Any, int | str, None, 5, Corner]
)
def test_other_types_have_no_known_serializer(cls: Any) -> None:
    assert try_get_known_serializers_for_type(cls) == []


def test_the_repr_of_a_serializer_names_the_class() -> None:
    found = [repr(serializer_for(cls)) for cls in (Point, Model, StringValue)]
    assert found == [
        "DataclassJsonSerializer(Point)",
        "PydanticJsonSerializer(Model)",
        "ProtobufSerializer(google.protobuf.StringValue)",
    ]


def test_asking_for_serializers_does_not_look_at_the_fields() -> None:
    serializer_for(make_dataclass("Holder", [("value", complex)]))


# MSG-03, MSG-08
@pytest.mark.parametrize(
    ("message", "name"),
    [
        (Point, "Point"),
        (Point(1), "Point"),
        (Square(1.0), "Square"),
        (Model, "Model"),
        (Box[int], "Box"),
        (StringValue, "google.protobuf.StringValue"),
        (StringValue(), "google.protobuf.StringValue"),
        (1, "int"),
        ([1], "list"),
        (None, "NoneType"),
    ],
)
def test_the_type_name_of_a_message_or_a_class(message: Any, name: str) -> None:
    assert SerializationRegistry().type_name(message) == name


# The registry


class Text:
    """A serializer as an application writes one."""

    data_content_type = "text/plain"

    def __init__(self, type_name: str = "Note", mark: str = "") -> None:
        self.type_name = type_name
        self.mark = mark

    def serialize(self, message: object) -> bytes:
        return f"{self.mark}{message}".encode()

    def deserialize(self, payload: bytes) -> str:
        return payload.decode()


# MSG-03, MSG-08
def test_a_registered_message_comes_back() -> None:
    registry = SerializationRegistry()
    registry.add_serializer(try_get_known_serializers_for_type(Point))
    data = registry.serialize(Point(1), type_name="Point", data_content_type=JSON_DATA_CONTENT_TYPE)
    assert registry.deserialize(
        data, type_name="Point", data_content_type=JSON_DATA_CONTENT_TYPE
    ) == Point(1)


# MSG-05, MSG-08
def test_an_unknown_pair_is_an_unknown_payload_for_the_reader() -> None:
    registry = SerializationRegistry()
    registry.add_serializer(serializer_for(Point))
    found = registry.deserialize(b"x", type_name="Point", data_content_type="text/plain")
    assert found == UnknownPayload("Point", "text/plain", b"x")


# MSG-05
def test_an_unknown_payload_hides_its_bytes() -> None:
    assert "secret" not in repr(UnknownPayload("Point", "text/plain", b"secret"))


# MSG-08
def test_an_unknown_pair_is_an_error_for_the_writer_that_says_what_to_do() -> None:
    registry = SerializationRegistry()
    registry.add_serializer(Text("Point"))
    with pytest.raises(
        MessageEncodeError,
        match=r"'Point' as 'application/json'.*add_message_serializer.*text/plain",
    ):
        registry.serialize(Point(1), type_name="Point", data_content_type=JSON_DATA_CONTENT_TYPE)


# MSG-10
def test_the_last_serializer_for_a_pair_wins() -> None:
    registry = SerializationRegistry()
    registry.add_serializer([Text(mark="first "), Text(mark="second ")])
    registry.add_serializer(Text(mark="third "))
    assert registry.serialize("x", type_name="Note", data_content_type="text/plain") == b"third x"


# MSG-10
def test_a_pair_is_kept_once() -> None:
    registry = SerializationRegistry()
    for _ in range(3):
        registry.add_serializer(try_get_known_serializers_for_type(Point))
    assert repr(registry) == "<SerializationRegistry of 1>"


# MSG-03, MSG-04
def test_one_type_may_have_several_content_types() -> None:
    registry = SerializationRegistry()
    registry.add_serializer((serializer_for(Point), Text("Point")))
    assert registry.is_registered("Point", JSON_DATA_CONTENT_TYPE)
    assert registry.is_registered("Point", "text/plain")
    assert not registry.is_registered("Point", PROTOBUF_DATA_CONTENT_TYPE)
    assert not registry.is_registered("Other", "text/plain")


@pytest.mark.parametrize("wrong", [None, "text", 5, Text, object(), {}, b"x"])
def test_what_is_not_a_serializer_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="is not a MessageSerializer"):
        SerializationRegistry().add_serializer(wrong)


def test_nothing_of_a_sequence_with_a_wrong_item_is_added() -> None:
    registry = SerializationRegistry()
    wrong: Any = [Text(), "text"]
    with pytest.raises(TypeError, match="'text' is not a MessageSerializer"):
        registry.add_serializer(wrong)
    assert not registry.is_registered("Note", "text/plain")


def test_the_class_of_a_serializer_is_not_a_serializer() -> None:
    wrong: Any = Text
    with pytest.raises(TypeError, match="pass an instance"):
        SerializationRegistry().add_serializer(wrong)


def test_the_hooks_of_a_class_are_made_once() -> None:
    held = codec_for(Point)
    assert codec_for(Point) is held


def modules_after(code: str) -> set[str]:
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


IMPORT = (
    "from trio_agents._sansio._serialization import try_get_known_serializers_for_type as get\n"
)


# PKG-02
def test_importing_brings_in_no_serialization_library() -> None:
    assert not {"cattrs", "pydantic", "google.protobuf"} & modules_after(IMPORT)


def test_registering_a_dataclass_brings_in_none_either() -> None:
    code = IMPORT + (
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int\n"
        "assert get(Point)\n"
    )
    assert not {"cattrs", "pydantic", "google.protobuf"} & modules_after(code)


def test_writing_a_dataclass_brings_in_cattrs_alone() -> None:
    code = IMPORT + (
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int\n"
        "get(Point)[0].serialize(Point(1))\n"
    )
    modules = modules_after(code)
    assert "cattrs" in modules
    assert not {"pydantic", "google.protobuf"} & modules
