"""pydantic models as JSON bytes, and back; and other classes that tell pydantic how they look.

Both ways go through pydantic's own JSON mode, which is the one that knows how its types look in
JSON. Around it stand our rules for JSON (see `_json`), and two that pydantic leaves open. A value
that does not fit its field is refused rather than warned about. And a model that would come back as
something else is refused: pydantic writes an instance of a derived class as one of its base, a
secret as asterisks, NaN as ``null``, a set in an ``Any`` as a list. So what was written is read
once, and compared. So that it can be read, computed fields are left out, and fields are written by
name and read by name or alias (pydantic >= 2.11).

Whether ``"7"`` is an ``int`` and an unknown key an error is the model's own decision
(``strict=True``, ``extra="forbid"``).

If nobody has imported pydantic, nothing can be one of its models. Only a class that asks for it, by
its ``__get_pydantic_core_schema__``, makes this module import it.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
import types
from collections import deque
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    TypeGuard,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from ._json import Fault, check_payload, is_a
from ._json_fields import name_of

if TYPE_CHECKING:
    from pydantic import BaseModel, TypeAdapter

__all__ = [
    "adapter_of",
    "dump_adapted",
    "dump_model",
    "has_schema",
    "is_model",
    "is_secret",
    "json_types",
    "load_adapted",
    "load_model",
    "stands_for",
]

_STAND_INS: Final = {
    "AwareDatetime": "datetime",
    "NaiveDatetime": "datetime",
    "PastDatetime": "datetime",
    "FutureDatetime": "datetime",
    "PastDate": "date",
    "FutureDate": "date",
    "Json": "Any",
    "ImportString": "str",
    "EmailStr": "str",
    "IPvAnyAddress": "str",
    "IPvAnyInterface": "str",
    "IPvAnyNetwork": "str",
}


_SEQUENCES: Final = (list, tuple, deque)


def is_model(cls: object) -> TypeGuard[type[BaseModel]]:
    """Is *cls* a class of pydantic models?"""
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base is not None and isinstance(cls, type) and issubclass(cls, base)


def dump_model(model: BaseModel) -> bytes:
    """Write *model* as JSON without spaces.

    Raises:
        Fault: it cannot be expressed in JSON from which an equal one can be read.
    """
    try:
        payload = _dump(model, None)
    except Exception as error:  # serializers are code of the application
        fault = _fault(error)
        field = _culprit(model)
        fault.parts = [] if field is None else [f".{field}"]
    else:
        try:
            again = load_model(type(model), payload)
        except Fault as refusal:
            fault = _unreadable(model, refusal)
        else:
            found = _difference(model, again)
            if found is None:
                return payload
            fault = found
    raise fault


def _unreadable(model: BaseModel, refusal: Fault) -> Fault:
    fault = Fault(f"what pydantic writes of it cannot be read ({refusal.reason})")
    try:
        _check_finite(model.model_dump(warnings=False))
    except Fault as reason:  # it is null in JSON
        fault = Fault(reason.reason)
    fault.parts = refusal.parts
    return fault


def _check_finite(value: Any) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Fault("NaN and infinity are not JSON")
    elif is_a(value, dict):
        _check_finite([*value, *value.values()])
    elif any(is_a(value, cls) for cls in (*_SEQUENCES, set, frozenset)):
        for item in value:
            _check_finite(item)


def _dump(model: BaseModel, include: set[str] | None) -> bytes:
    payload = model.model_dump_json(
        include=include, by_alias=False, round_trip=True, warnings="error"
    ).encode()
    check_payload(payload)
    return payload


def _difference(value: Any, again: Any) -> Fault | None:
    """Say where *again* is something else than *value*: another class, or not equal.

    Not compared are what the model says is not written (``exclude=True``), what is private, and
    what has no equality of its own.
    """
    parts = _parts(value)
    if parts is None:
        return None if _is_same_leaf(value, again) else _unlike(value, again)
    found = _parts(again) if type(again) is type(value) else None
    if found is None or len(parts) != len(found):
        return _unlike(value, again)
    for key, (place, item) in parts.items():
        if key not in found:
            return Fault("a key comes back as another one")
        fault = _difference(item, found[key][1])
        if fault is not None:
            fault.parts.append(place)
            return fault
    return None


def _parts(value: Any) -> dict[Any, tuple[str, Any]] | None:
    """Give the parts of *value* by key, each with its place; None if it is not made of any."""
    cls = cast("Any", type(value))
    if is_model(cls):
        fields: dict[str, Any] = {**value.__dict__, **(value.__pydantic_extra__ or {})}
        for name, field in cls.model_fields.items():
            if field.exclude or getattr(field, "exclude_if", None) is not None:
                fields.pop(name, None)
        return {name: (f".{name}", item) for name, item in fields.items()}
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls) if hasattr(value, field.name)]
        return {name: (f".{name}", getattr(value, name)) for name in names}
    if is_a(value, dict):
        # 1 and "1" are two keys, and 1 and True are one. Keys are data, and stay out of errors.
        return {(type(key), key): ("[key]", item) for key, item in value.items()}
    if any(is_a(value, cls) for cls in _SEQUENCES):
        return {number: (f"[{number}]", item) for number, item in enumerate(value)}
    return None


def _is_same_leaf(value: Any, again: Any) -> bool:
    if not (isinstance(again, type(value)) or isinstance(value, type(again))):
        return type(value) is int and type(again) is float and value == again
    equals: Any = type(value).__eq__
    if equals is object.__eq__:
        return True
    try:
        return bool(value == again) or (value != value and again != again)  # NaN
    except Exception:  # an array says so for each of its elements
        return True


def _unlike(value: object, again: object) -> Fault:
    cls = type(value)
    if isinstance(value, float) and not math.isfinite(value):
        return Fault("NaN and infinity are not JSON")
    if is_secret(cls):
        return Fault("JSON masks secrets: keep them out of messages")
    if cls is type(again):
        return Fault(f"this {cls.__name__} comes back as another one")
    return Fault(
        f"a {cls.__name__} comes back as a {type(again).__name__}: pydantic reads what the "
        "field's type says, so give it one that fits this value and no other"
    )


def _culprit(model: BaseModel) -> str | None:
    """Return the first field of *model* that cannot be written by itself."""
    for name in type(model).model_fields:
        try:
            _dump(model, {name})
        except Exception:
            return name
    return None


def load_model(cls: type[BaseModel], payload: bytes) -> BaseModel:
    """Read a *cls* from *payload*, which `parse_json` has accepted.

    Raises:
        Fault: the model does not accept it.
    """
    try:
        return cls.model_validate_json(payload, by_alias=True, by_name=True)
    except Exception as error:  # validators are code of the application
        fault = _fault(error)
        fault.parts = _location(cls, error)
    raise fault


def _fault(error: Exception) -> Fault:
    """Return why, without the text of *error*: that one quotes the values."""
    if isinstance(error, Fault):
        return Fault(error.reason)
    if _is_validation_error(error):
        return Fault(f"pydantic says {_innermost(error)['type']}")
    if isinstance(error, ImportError):  # about a library, and how to get it
        return Fault(str(error))
    return Fault(f"the model refuses it ({type(error).__name__})")


def _is_validation_error(error: Exception) -> bool:
    core: Any = sys.modules["pydantic_core"]
    return isinstance(error, core.ValidationError)


def _innermost(error: Exception) -> Any:
    # Of a union, each member has complained. The one that came furthest was meant, most likely.
    quiet = {"include_url": False, "include_context": False, "include_input": False}
    return max(cast("Any", error).errors(**quiet), key=lambda each: len(each["loc"]))


def _location(cls: type[BaseModel], error: Exception) -> list[str]:
    if not _is_validation_error(error):
        return []
    words = _Words()
    words.collect(cls)
    # Keys that the sender made up stay out: of those, only the place is shown.
    return [
        f"[{part}]" if isinstance(part, int) else f".{part}" if part in words.names else "[key]"
        for part in reversed(_innermost(error)["loc"])
        if part in words.names or part not in words.members
    ]


class _Words:
    """What pydantic may say in a location, as far as the classes themselves have said it."""

    def __init__(self) -> None:
        self.names: set[str] = set()  # of fields
        self.members: set[str] = set()  # of unions: a step that the JSON does not have
        self._seen: dict[int, Any] = {}  # by id: a hint need not have a hash

    def collect(self, hint: Any) -> None:
        """Add the names in *hint*, and in all that it is made of."""
        if hint is None or id(hint) in self._seen:
            return
        self._seen[id(hint)] = hint
        if get_origin(hint) in (Union, types.UnionType):
            self.members |= {name_of(member).replace(", ", ",") for member in get_args(hint)}
        for name, field in _pydantic_fields(hint).items():
            aliases = (field.alias, field.validation_alias)
            self.names |= {name, *(alias for alias in aliases if isinstance(alias, str))}
            self.collect(field.annotation)
        for name, inner in _plain_fields(hint).items():
            self.names.add(name)
            self.collect(inner)
        for part in (get_origin(hint), getattr(hint, "__value__", None), *get_args(hint)):
            self.collect(part)


def _pydantic_fields(hint: Any) -> dict[str, Any]:
    if is_model(hint):
        return dict[str, Any](hint.model_fields)
    return getattr(hint, "__pydantic_fields__", {}) if _is_dataclass(hint) else {}


def _is_dataclass(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _plain_fields(hint: Any) -> dict[str, Any]:
    """Return the fields of a dataclass or a `TypedDict`, with their types where those are known."""
    if _is_dataclass(hint):
        found = {field.name: field.type for field in dataclasses.fields(hint)}
    elif hasattr(hint, "__required_keys__"):
        found = dict.fromkeys(hint.__required_keys__ | hint.__optional_keys__)
    else:
        return {}
    try:
        hints = get_type_hints(hint)
    except Exception:  # what pydantic has resolved need not be known to its module
        return found
    return {name: hints.get(name) for name in found}


# Other classes that pydantic can handle


def has_schema(cls: object) -> bool:
    """Does *cls*, no model itself, tell pydantic how it looks?"""
    return isinstance(cls, type) and hasattr(cls, "__get_pydantic_core_schema__")


def is_secret(cls: type) -> bool:
    """Is *cls* one of pydantic's secrets, which JSON masks?"""
    types: Any = sys.modules.get("pydantic.types")
    return types is not None and issubclass(cls, (types.Secret, types.SecretStr, types.SecretBytes))


def stands_for(cls: type) -> str | None:
    """Return what to write instead of *cls*, if it is one of pydantic's that have no instances.

    They say how something else is checked, which only a model does; reading an ``ImportString``
    would even import what the sender names.
    """
    for base in cls.__mro__:
        if base.__module__ in ("pydantic.types", "pydantic.networks"):
            return _STAND_INS.get(base.__name__)
    return None


def adapter_of(cls: type) -> TypeAdapter[Any]:
    """Return what writes and reads instances of *cls*.

    Raises:
        Fault: pydantic does not know what to make of it.
    """
    try:
        adapter: TypeAdapter[Any] = importlib.import_module("pydantic").TypeAdapter(cls)
        return adapter
    except ImportError as error:  # about a library, and how to get it
        problem = str(error)
    except Exception as error:  # code of the application, for one
        problem = f"pydantic makes no schema of it ({type(error).__name__})"
    raise Fault(problem)


def json_types(adapter: TypeAdapter[Any]) -> set[str]:
    """Return the JSON types that *adapter* writes, as far as it says; empty if it does not."""
    try:
        found = adapter.json_schema(mode="serialization").get("type")
    except Exception:  # not everything has a schema
        return set()
    if found == "number":
        return {"number", "integer"}
    return {found} if isinstance(found, str) else set()


def dump_adapted(adapter: TypeAdapter[Any], value: Any) -> bytes:
    """Write *value* as JSON without spaces.

    Raises:
        Fault: it cannot be expressed in JSON that can be read back.
    """
    try:
        payload = adapter.dump_json(value, round_trip=True, warnings="error")
        check_payload(payload)
        if b"null" in payload:
            _check_finite(adapter.dump_python(value, warnings=False))
        return payload
    except Exception as error:
        fault = _fault(error)
    raise fault


def load_adapted(adapter: TypeAdapter[Any], payload: bytes) -> Any:
    """Read from *payload*, which `parse_json` has accepted, what *adapter* is for.

    Raises:
        Fault: its schema does not accept it.
    """
    try:
        return adapter.validate_json(payload)
    except Exception as error:
        fault = _fault(error)
    raise fault
