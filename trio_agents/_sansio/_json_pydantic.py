"""pydantic models as JSON bytes, and back.

Both ways go through pydantic's own JSON mode, which is the one that knows how its types look in
JSON. Around it stand our rules for JSON (see `_json`), and two that pydantic leaves open: a value
that does not fit its field is refused rather than warned about, and so is NaN, which would become
``null`` without a word. So that what was written can be read, computed fields are left out, and
fields are written by name and read by name or alias (pydantic >= 2.11).

Whether ``"7"`` is an ``int`` and an unknown key an error is the model's own decision
(``strict=True``, ``extra="forbid"``).

Nothing here imports pydantic. If nobody else has, nothing can be one of its models.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, TypeGuard, cast, get_args

from ._json import Fault, check_payload, is_a

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["dump_model", "is_model", "load_model"]


def is_model(cls: object) -> TypeGuard[type[BaseModel]]:
    """Is *cls* a class of pydantic models?"""
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base is not None and isinstance(cls, type) and issubclass(cls, base)


def dump_model(model: BaseModel) -> bytes:
    """Write *model* as JSON without spaces.

    Raises:
        Fault: it cannot be expressed in JSON that can be read back.
    """
    try:
        return _dump(model, None)
    except Exception as error:  # serializers are code of the application
        fault = _fault(error)
    field = _culprit(model)
    if field is not None:
        fault.parts = [f".{field}"]
    raise fault


def _dump(model: BaseModel, include: set[str] | None) -> bytes:
    payload = model.model_dump_json(
        include=include, by_alias=False, round_trip=True, warnings="error"
    ).encode()
    check_payload(payload)
    # NaN has become null, unless the model says otherwise. Python mode still has it.
    if b"null" in payload and model.model_config.get("ser_json_inf_nan") != "strings":
        _check_finite(model.model_dump(include=include, warnings=False))
    return payload


def _check_finite(value: Any) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Fault("NaN and infinity are not JSON")
    elif is_a(value, dict):
        _check_finite([*value, *value.values()])
    elif any(is_a(value, cls) for cls in (list, tuple, set, frozenset)):
        for item in value:
            _check_finite(item)


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
        return Fault(f"pydantic says {_first(error)['type']}")
    return Fault(f"the model refuses it ({type(error).__name__})")


def _is_validation_error(error: Exception) -> bool:
    core = sys.modules["pydantic_core"]
    return isinstance(error, core.ValidationError)


def _first(error: Exception) -> Any:
    quiet = {"include_url": False, "include_context": False, "include_input": False}
    return cast("Any", error).errors(**quiet)[0]


def _location(cls: type[BaseModel], error: Exception) -> list[str]:
    if not _is_validation_error(error):
        return []
    names = _field_names(cls, set())
    # Keys that the sender made up stay out: of those, only the place is shown.
    return [
        f"[{part}]" if isinstance(part, int) else f".{part}" if part in names else "[key]"
        for part in reversed(_first(error)["loc"])
    ]


def _field_names(hint: Any, seen: set[Any]) -> set[str]:
    names: set[str] = set()
    if is_model(hint):
        if hint in seen:
            return names
        seen.add(hint)
        for name, field in hint.model_fields.items():
            aliases = (field.alias, field.validation_alias)
            names |= {name, *(alias for alias in aliases if isinstance(alias, str))}
            names |= _field_names(field.annotation, seen)
    for argument in get_args(hint):
        names |= _field_names(argument, seen)
    return names
