"""Which serializer writes and reads which message: the registry behind a runtime.

The key is the pair of type name and content type. Both travel with the bytes, so a reader knows
what to expect before it looks at them. A pair without a serializer is not an error for the reader:
it gets an `UnknownPayload`, which it can pass on or report. It is one for the writer, who asked
for something that nobody can do.

Messages that stay within a process do not come here at all; they are passed on as they are.

Left out: a default for what is not registered. Guessing a format (or pickling) would move the
error to whoever reads it, and pickle would hand them code to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, final

from ._errors import MessageEncodeError
from ._serializers import (
    JSON_DATA_CONTENT_TYPE,
    PROTOBUF_DATA_CONTENT_TYPE,
    MessageSerializer,
    try_get_known_serializers_for_type,
    type_name_of,
)

__all__ = [
    "JSON_DATA_CONTENT_TYPE",
    "PROTOBUF_DATA_CONTENT_TYPE",
    "MessageSerializer",
    "SerializationRegistry",
    "UnknownPayload",
    "try_get_known_serializers_for_type",
]


@dataclass
class UnknownPayload:
    """A message that arrived and that no serializer here can read.

    Its ``repr`` leaves the payload out: message bodies do not belong into logs.
    """

    type_name: str
    data_content_type: str
    payload: bytes = field(repr=False)


@final
class SerializationRegistry:
    """The serializers of a runtime, one for each pair of type name and content type.

    ::

        registry = SerializationRegistry()
        registry.add_serializer(try_get_known_serializers_for_type(Task))
        name = registry.type_name(task)
        data = registry.serialize(task, type_name=name, data_content_type=JSON_DATA_CONTENT_TYPE)
    """

    def __init__(self) -> None:
        self._serializers: dict[tuple[str, str], MessageSerializer[Any]] = {}

    def __repr__(self) -> str:
        return f"<SerializationRegistry of {len(self._serializers)}>"

    def add_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        """Add *serializer*, or several; one for the same pair is replaced.

        Raises:
            TypeError: one of them is not a serializer. None has been added then.
        """
        several: Sequence[object] = [serializer]
        if isinstance(serializer, Sequence) and not _is_serializer(serializer):
            several = serializer
        accepted: dict[tuple[str, str], MessageSerializer[Any]] = {}
        for each in several:
            if not _is_serializer(each):
                raise TypeError(_not_a_serializer(each))
            accepted[each.type_name, each.data_content_type] = each
        self._serializers.update(accepted)

    def serialize(self, message: object, *, type_name: str, data_content_type: str) -> bytes:
        """Return *message* as bytes of *data_content_type*.

        Raises:
            MessageEncodeError: there is no serializer for this pair, or it cannot write *message*.
        """
        serializer = self._serializers.get((type_name, data_content_type))
        if serializer is None:
            others = sorted(content for name, content in self._serializers if name == type_name)
            raise MessageEncodeError(
                f"no serializer writes {type_name!r} as {data_content_type!r}: make the message a "
                "dataclass, an attrs class, a pydantic model or a protobuf message, or add a "
                "serializer with add_message_serializer() "
                f"(content types for {type_name!r}: {', '.join(others) or 'none'})"
            )
        return serializer.serialize(message)

    def deserialize(self, payload: bytes, *, type_name: str, data_content_type: str) -> Any:
        """Return the message in *payload*, or an `UnknownPayload` if no serializer reads it.

        Raises:
            MessageDecodeError: *payload* is not a message of this type. (A serializer of the
                application may raise something else.)
        """
        serializer = self._serializers.get((type_name, data_content_type))
        if serializer is None:
            return UnknownPayload(type_name, data_content_type, payload)
        return serializer.deserialize(payload)

    def is_registered(self, type_name: str, data_content_type: str) -> bool:
        """Is there a serializer for this pair?"""
        return (type_name, data_content_type) in self._serializers

    def type_name(self, message: object) -> str:
        """Return the type name of *message*, or of a class of messages.

        That is the full name of a protobuf message, and otherwise the bare name of the class.
        """
        return type_name_of(message)


def _is_serializer(value: object) -> TypeGuard[MessageSerializer[Any]]:
    return (
        isinstance(getattr(value, "type_name", None), str)
        and isinstance(getattr(value, "data_content_type", None), str)
        and callable(getattr(value, "serialize", None))
        and callable(getattr(value, "deserialize", None))
        and not isinstance(value, type)
    )


def _not_a_serializer(value: object) -> str:
    hint = ": pass an instance, not the class" if isinstance(value, type) else ""
    return (
        f"{value!r:.80} is not a MessageSerializer, which has type_name, data_content_type, "
        f"serialize() and deserialize(){hint}"
    )
