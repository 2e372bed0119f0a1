"""The serializers that come with the library, and which class gets which.

A serializer is cheap to make: it is made for every message type that an agent handles, and many
never cross a boundary. What it needs to know about the class is worked out on first use. The
libraries behind it come in as late: cattrs with the first dataclass that is written or read;
pydantic and protobuf not at all, because a class of theirs cannot exist before they were imported.
Therefore this module looks into `sys.modules` instead of importing them.

Every message goes out and comes in as exactly the class that the serializer is for. No serializer
falls back on another format, and none looks up a class by a name it has read.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast, final

from ._errors import MessageDecodeError, MessageEncodeError
from ._json import Fault, parse_json
from ._json_fields import InexpressibleHint, has_fields, name_of
from ._json_pydantic import dump_model, is_model, load_model

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ._json_codec import Codec

__all__ = [
    "JSON_DATA_CONTENT_TYPE",
    "PROTOBUF_DATA_CONTENT_TYPE",
    "DataclassJsonSerializer",
    "MessageSerializer",
    "ProtobufSerializer",
    "PydanticJsonSerializer",
    "try_get_known_serializers_for_type",
    "type_name_of",
]

T = TypeVar("T")

JSON_DATA_CONTENT_TYPE: Final = "application/json"
"""The content type of a message written as JSON."""

PROTOBUF_DATA_CONTENT_TYPE: Final = "application/x-protobuf"
"""The content type of a message packed into a ``google.protobuf.Any``."""


class MessageSerializer(Protocol[T]):
    """Writes the messages of one type in one content type, and reads them.

    Implement it for messages that the library cannot write itself, or for another format; plain
    attributes do for the two names::

        class UpperCase:
            type_name = "Shout"
            data_content_type = "text/plain"

            def serialize(self, message: Shout) -> bytes:
                return message.text.upper().encode()

            def deserialize(self, payload: bytes) -> Shout:
                return Shout(payload.decode())
    """

    @property
    def data_content_type(self) -> str:
        """The content type that it writes, such as ``application/json``."""
        ...

    @property
    def type_name(self) -> str:
        """The name of the message type, as `SerializationRegistry.type_name` gives it."""
        ...

    def serialize(self, message: T) -> bytes:
        """Return *message* as bytes."""
        ...

    def deserialize(self, payload: bytes) -> T:
        """Return the message that `serialize` made into *payload*."""
        ...


@final
class DataclassJsonSerializer(Generic[T]):
    """Messages that are dataclasses or attrs classes, as JSON. See `_json_codec` for its shape.

    Args:
        cls: the class, or a generic class with its arguments, such as ``Box[int]``.
    """

    def __init__(self, cls: type[T]) -> None:
        self._cls: Any = cls
        self._codec: Codec | None = None

    def __repr__(self) -> str:
        return f"DataclassJsonSerializer({name_of(self._cls)})"

    @property
    def data_content_type(self) -> str:
        """``application/json``."""
        return JSON_DATA_CONTENT_TYPE

    @property
    def type_name(self) -> str:
        """The name of the class, without its module."""
        return type_name_of(self._cls)

    def serialize(self, message: T) -> bytes:
        """Return *message* as JSON.

        Raises:
            MessageEncodeError: a part of it does not fit its annotation, or JSON, or a field of
                the class has a type that cannot be written. The text names class and field.
        """
        try:
            return self._ready().encode(message)
        except Fault as fault:
            problem = f"{name_of(self._cls)}{fault.path()}: {fault.reason}"
        except InexpressibleHint as error:
            problem = str(error)
        except RecursionError:
            problem = f"{name_of(self._cls)}: nested too deep, or contains itself"
        raise MessageEncodeError(problem)

    def deserialize(self, payload: bytes) -> T:
        """Return the message in *payload*.

        Raises:
            MessageDecodeError: *payload* is not JSON, or not a message of this class, or a field
                of the class has a type that cannot be read. The text names class and field, and
                quotes nothing from *payload*.
        """
        tree = parse_json(payload, what=name_of(self._cls))
        try:
            return cast("T", self._ready().decode(tree))
        except Fault as fault:
            problem = f"{name_of(self._cls)}{fault.path()}: {fault.reason}"
        except InexpressibleHint as error:
            problem = str(error)
        except RecursionError:  # the caller had used up the stack
            problem = f"{name_of(self._cls)}: no stack left to read it"
        raise MessageDecodeError(problem)

    def _ready(self) -> Codec:
        if self._codec is None:
            from ._json_codec import codec_for  # with cattrs: not before somebody needs it

            self._codec = codec_for(self._cls)
        return self._codec


ModelT = TypeVar("ModelT", bound="BaseModel")


@final
class PydanticJsonSerializer(Generic[ModelT]):
    """Messages that are pydantic models, as JSON."""

    def __init__(self, cls: type[ModelT]) -> None:
        self._cls = cls

    def __repr__(self) -> str:
        return f"PydanticJsonSerializer({self._cls.__name__})"

    @property
    def data_content_type(self) -> str:
        """``application/json``."""
        return JSON_DATA_CONTENT_TYPE

    @property
    def type_name(self) -> str:
        """The name of the class, without its module."""
        return type_name_of(self._cls)

    def serialize(self, message: ModelT) -> bytes:
        """Return *message* as JSON.

        Raises:
            MessageEncodeError: a part of it does not fit its field, or JSON.
        """
        if type(message) is not self._cls:
            raise MessageEncodeError(_other_class(self._cls, message))
        try:
            return dump_model(message)
        except Fault as fault:
            problem = f"{self._cls.__name__}{fault.path()}: {fault.reason}"
        raise MessageEncodeError(problem)

    def deserialize(self, payload: bytes) -> ModelT:
        """Return the message in *payload*.

        Raises:
            MessageDecodeError: *payload* is not JSON, or the model does not accept it. The text
                names class and field, and quotes nothing from *payload*.
        """
        parse_json(payload, what=self._cls.__name__)
        try:
            return cast("ModelT", load_model(self._cls, payload))
        except Fault as fault:
            problem = f"{self._cls.__name__}{fault.path()}: {fault.reason}"
        raise MessageDecodeError(problem)


ProtoT = TypeVar("ProtoT")


@final
class ProtobufSerializer(Generic[ProtoT]):
    """Messages that are protobuf messages, packed into a ``google.protobuf.Any``."""

    def __init__(self, cls: type[ProtoT]) -> None:
        self._cls = cls

    def __repr__(self) -> str:
        return f"ProtobufSerializer({self.type_name})"

    @property
    def data_content_type(self) -> str:
        """``application/x-protobuf``."""
        return PROTOBUF_DATA_CONTENT_TYPE

    @property
    def type_name(self) -> str:
        """The full name of the message type, package included."""
        return type_name_of(self._cls)

    def serialize(self, message: ProtoT) -> bytes:
        """Return *message*, packed.

        Raises:
            MessageEncodeError: it is of another type, or lacks a required field.
        """
        if type(message) is not self._cls:
            raise MessageEncodeError(_other_class(self._cls, message))
        packed = _new_any()
        try:
            packed.Pack(message)
            return bytes(packed.SerializeToString())
        except Exception as error:  # EncodeError, or what the C code makes of it
            problem = f"{self.type_name}: protobuf cannot write it ({type(error).__name__})"
        raise MessageEncodeError(problem)

    def deserialize(self, payload: bytes) -> ProtoT:
        """Return the message in *payload*.

        Raises:
            MessageDecodeError: *payload* is not a packed message, or one of another type.
        """
        packed = _new_any()
        message: Any = self._cls()
        try:
            packed.ParseFromString(payload)
            if packed.Unpack(message):
                missing = message.FindInitializationErrors()
                if not missing:
                    return cast("ProtoT", message)
                problem = f"{self.type_name}: required fields are missing: {', '.join(missing)}"
                raise MessageDecodeError(problem)
            problem = f"{self.type_name}: the payload is a packed message of another type"
        except MessageDecodeError:
            raise
        except Exception as error:  # DecodeError, or what the C code makes of it
            problem = f"{self.type_name}: not a packed message ({type(error).__name__})"
        raise MessageDecodeError(problem)


def _other_class(cls: type, message: object) -> str:
    found = type(message)
    return (
        f"{cls.__name__}: expected an instance of {cls.__module__}.{cls.__qualname__}, found one "
        f"of {found.__module__}.{found.__qualname__}: a message class needs a name of its own"
    )


def _new_any() -> Any:
    # By name: protobuf is optional, and its types are known to a type checker with stubs only.
    return importlib.import_module("google.protobuf.any_pb2").Any()


def _is_protobuf(cls: type) -> bool:
    base = getattr(sys.modules.get("google.protobuf.message"), "Message", None)
    return base is not None and issubclass(cls, base)


def type_name_of(message: object) -> str:
    """Return the name under which *message*, or a class of messages, crosses a boundary.

    That is the full name of a protobuf message, and otherwise the bare name of the class.
    """
    cls = message if isinstance(message, type) else type(message)
    if _is_protobuf(cls):
        return str(cast("Any", cls).DESCRIPTOR.full_name)
    if not isinstance(message, type):
        origin = getattr(message, "__origin__", None)  # Box[int], which is not a type
        if isinstance(origin, type) and cls.__module__ in ("typing", "types"):
            return origin.__name__
    return cls.__name__


def try_get_known_serializers_for_type(cls: type[Any]) -> list[MessageSerializer[Any]]:
    """Return the serializers that the library has for *cls*; none if it knows nothing about it.

    Cheap: it looks at what kind of class it is, not at its fields.
    """
    if is_model(cls):
        return [PydanticJsonSerializer(cls)]
    if inspect.isclass(cls) and _is_protobuf(cls):
        return [ProtobufSerializer(cls)]
    if has_fields(cls) or has_fields(getattr(cls, "__origin__", None)):
        return [DataclassJsonSerializer(cls)]
    return []
