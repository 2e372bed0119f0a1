# docs/guides/serialization.md: messages as bytes.

# [roundtrip]
from dataclasses import dataclass
from datetime import date

from trio_agents import (
    JSON_DATA_CONTENT_TYPE,
    SerializationRegistry,
    try_get_known_serializers_for_type,
)
from trio_agents.exceptions import MessageDecodeError, MessageEncodeError


@dataclass(frozen=True)
class Circle:
    radius: float


@dataclass(frozen=True)
class Square:
    side: float


@dataclass(frozen=True)
class Drawing:
    made: date
    shapes: list[Circle | Square]


registry = SerializationRegistry()
registry.add_serializer(try_get_known_serializers_for_type(Drawing))
drawing = Drawing(date(2026, 1, 31), [Circle(1.0), Square(2.0)])
name = registry.type_name(drawing)
payload = registry.serialize(drawing, type_name=name, data_content_type=JSON_DATA_CONTENT_TYPE)
print(payload.decode())


def read(payload: bytes, name: str = "Drawing") -> object:
    return registry.deserialize(payload, type_name=name, data_content_type=JSON_DATA_CONTENT_TYPE)


assert read(payload) == drawing
# [/roundtrip]
# [hostile]
for hostile in (
    b'{"made": "2026-01-31", "shapes": [{"Circle": {"radius": NaN}}]}',
    b'{"made": "2026-01-31", "shapes": [{"Circle": {"radius": "1"}}]}',
    b'{"made": "2026-01-31", "made": "2026-02-01", "shapes": []}',
    b"[" * 100_000,
):
    try:
        read(hostile)
    except MessageDecodeError as exc:
        print(exc)
print(read(b"...", name="Sculpture"))
# [/hostile]
# [misfit]
try:
    registry.serialize(
        Drawing(date(2026, 1, 31), [Circle("wide")]),  # type: ignore[arg-type]
        type_name=name,
        data_content_type=JSON_DATA_CONTENT_TYPE,
    )
except MessageEncodeError as exc:
    print(exc)
# [/misfit]

# Prints:
# {"made":"2026-01-31","shapes":[{"Circle":{"radius":1.0}},{"Square":{"side":2.0}}]}
# Drawing: NaN is not JSON
# Drawing.shapes[0].radius: expected float, found a JSON string
# Drawing: an object has the same key twice
# Drawing: nested deeper than 64 levels
# UnknownPayload(type_name='Sculpture', data_content_type='application/json')
# Drawing.shapes[0].radius: expected float, found str
