"""What readers of bytes keep, and did not keep once."""

from __future__ import annotations

import enum
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from trio_agents._sansio._errors import MessageDecodeError
from trio_agents._sansio._json import parse_json
from trio_agents._sansio._serializers import (
    DataclassJsonSerializer,
    try_get_known_serializers_for_type,
)
from trio_agents.testing.nightly._bytes_cost import read_memory
from trio_agents.testing.nightly._bytes_json import LIMITS

SAME_HASH = 2**61 - 1  # all multiples of this have the same hash, in CPython of 64 bits


class Right(enum.IntFlag):
    READ = 1
    WRITE = 2


@dataclass
class Rights:
    rights: Right


@dataclass
class Numbers:
    numbers: set[int]


@dataclass
class Ids:
    ids: dict[uuid.UUID, int]


def test_what_was_read_is_not_kept_by_the_class() -> None:
    serializer = DataclassJsonSerializer(Rights)
    serializer.deserialize(b'{"rights":3}')
    before = len(Right._value2member_map_)
    for number in range(1, 101):
        with suppress(MessageDecodeError):
            serializer.deserialize(b'{"rights":%d}' % (number << 10))
    assert len(Right._value2member_map_) == before


@pytest.mark.parametrize(
    ("cls", "payload"),
    [
        (Numbers, {"numbers": [SAME_HASH * n for n in range(2_000)]}),
        (Ids, {"ids": {str(uuid.UUID(int=SAME_HASH * n)): n for n in range(1_000)}}),
    ],
)
def test_items_that_all_have_one_hash_are_refused(cls: type[Any], payload: Any) -> None:
    text = repr(payload).replace("'", '"').encode()
    with pytest.raises(MessageDecodeError):
        DataclassJsonSerializer(cls).deserialize(text)


def test_to_count_the_depth_takes_no_more_memory_than_to_read() -> None:
    payload = LIMITS["strings-empty"].make()
    peak = read_memory(lambda payload: parse_json(payload, what="document"), payload)
    assert peak <= 32 * len(payload)


def test_a_protobuf_message_without_its_required_fields_is_refused() -> None:
    any_pb2 = pytest.importorskip("google.protobuf.any_pb2")
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    cls: Any = descriptor_pb2.UninterpretedOption.NamePart
    (serializer,) = try_get_known_serializers_for_type(cls)
    packed = any_pb2.Any(type_url=f"type.googleapis.com/{serializer.type_name}")
    with pytest.raises(MessageDecodeError):
        serializer.deserialize(packed.SerializeToString())
