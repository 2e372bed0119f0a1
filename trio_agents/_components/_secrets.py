"""Secrets that were masked on their way through JSON are not there."""

from __future__ import annotations

from typing import Any, Final, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

__all__ = ["without_masks"]

_MASK: Final = "**********"  # what pydantic writes, whatever the secret


def without_masks(schema: type[BaseModel], config: dict[str, Any]) -> dict[str, Any]:
    """Return *config* without the secrets that a dump has masked.

    Otherwise ten asterisks would be a valid key until a server refuses it. A secret that is not
    there is either optional, and comes from elsewhere, or an error that names its field.
    """
    kept: dict[str, Any] = {}
    for name, value in config.items():
        hint = _hint(schema, name)
        if value == _MASK and _holds(hint, (SecretStr, SecretBytes)):
            continue
        kept[name] = _inside(hint, value)
    return kept


def _hint(schema: type[BaseModel], name: str) -> Any:
    for field, info in schema.model_fields.items():
        if name in (field, info.alias, info.validation_alias):
            return info.annotation
    return None


def _inside(hint: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_inside(hint, item) for item in value]
    if not isinstance(value, dict):
        return value
    for model in _models(hint):
        if value.keys() <= model.model_fields.keys():
            return without_masks(model, value)
    if _holds(hint, (SecretStr, SecretBytes)):
        return {key: item for key, item in value.items() if item != _MASK}
    return value


def _models(hint: Any) -> list[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return [hint]
    return [model for argument in get_args(hint) for model in _models(argument)]


def _holds(hint: Any, kinds: tuple[type, ...]) -> bool:
    return hint in kinds or any(_holds(argument, kinds) for argument in get_args(hint))
