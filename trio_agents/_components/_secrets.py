"""Secrets in configurations: those that were masked are not there, and errors quote none.

A schema says where secrets are. The configuration is followed along its types: through models,
typed dictionaries, dataclasses, containers and unions. In a union a value belongs to whatever it
may belong to; ten asterisks for a secret in one member are no more meant for text in another.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, Secret, SecretBytes, SecretStr
from typing_extensions import is_typeddict

from .._sansio._json import is_a

__all__ = ["without_masks", "without_secrets"]

_MASK: Final = "**********"  # what pydantic writes, whatever the secret
_MASKED: Final = object()


def without_masks(schema: type[BaseModel], config: dict[str, Any]) -> dict[str, Any]:
    """Return *config* without the secrets that a dump has masked.

    Otherwise ten asterisks would be a valid key until a server refuses it. A secret that is not
    there is either optional, and comes from elsewhere, or an error that names its field. A list or
    dictionary in which nothing else was is not there either.
    """
    return cast("dict[str, Any]", _unmasked(_expanded([schema]), config))


def _unmasked(hints: list[Any], value: Any) -> Any:
    if isinstance(value, str):
        return _MASKED if value == _MASK and any(map(_is_secret, hints)) else value
    parts = [
        (key, item, _unmasked(part_hints, item)) for key, item, part_hints in _parts(hints, value)
    ]
    kept = [(key, after) for key, _, after in parts if after is not _MASKED]
    if all(before is after for _, before, after in parts):
        return value
    if not kept and not any(map(_has_fields, hints)):
        return _MASKED
    return dict(kept) if is_a(value, dict) else [item for _, item in kept]


def without_secrets(text: str, schema: type[BaseModel], config: dict[str, Any]) -> str:
    """Return *text* with a mask for each secret of *config* that it quotes."""
    for secret in sorted(_secrets(_expanded([schema]), config), key=len, reverse=True):
        for quoted in (secret, repr(secret)[1:-1]):
            text = text.replace(quoted, _MASK)
    return text


def _secrets(hints: list[Any], value: Any) -> Iterator[str]:
    if isinstance(value, Secret | SecretStr | SecretBytes):
        value, hints = cast("Any", value).get_secret_value(), [SecretStr]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        if value and any(map(_is_secret, hints)):
            yield value
        return
    for _, item, part_hints in _parts(hints, value):
        yield from _secrets(part_hints, item)


# Along the types


def _parts(hints: list[Any], value: Any) -> Iterator[tuple[Any, Any, list[Any]]]:
    """Give each part of a container: its key, itself, and the types that it may have."""
    if is_a(value, dict):
        for key, item in value.items():
            yield key, item, _expanded(part for hint in hints for part in _at(hint, key))
    elif any(is_a(value, cls) for cls in (list, tuple, set, frozenset)):
        items = _expanded(part for hint in hints for part in get_args(hint))
        for index, item in enumerate(value):
            yield index, item, items


def _at(hint: Any, key: object) -> Iterable[Any]:
    if _has_fields(hint):
        return [field for names, field in _fields(hint) if key in names]
    origin = get_origin(hint)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        return get_args(hint)[1:]
    return ()


def _expanded(hints: Iterable[Any]) -> list[Any]:
    """Return what *hints* stand for, without unions, aliases and annotations."""
    expanded: list[Any] = []
    for hint in hints:
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            expanded += _expanded(get_args(hint))
        elif origin is Annotated:
            expanded += _expanded(get_args(hint)[:1])
        elif hasattr(hint, "__value__"):  # an alias made by "type"
            expanded += _expanded([hint.__value__, *get_args(hint)])
        elif _is_model(hint) and hint.__pydantic_root_model__:
            expanded += _expanded([hint.model_fields["root"].annotation])
        else:
            expanded.append(hint)
    return expanded


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _has_fields(hint: Any) -> bool:
    return _is_model(hint) or is_typeddict(hint) or dataclasses.is_dataclass(hint)


def _fields(hint: Any) -> Iterator[tuple[set[Any], Any]]:
    if not _is_model(hint):
        for name, annotation in get_type_hints(hint, include_extras=True).items():
            yield {name}, annotation
        return
    for name, field in hint.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        yield (
            {name, field.alias, *(each for each in choices if isinstance(each, str))},
            (field.annotation),
        )


def _is_secret(hint: Any) -> bool:
    cls = get_origin(hint) or hint
    return isinstance(cls, type) and issubclass(cls, SecretStr | SecretBytes | Secret)
