"""Configurations as data: how they are written, read, and refused.

An error names the provider, the field and the reason. What is quoted is the schema's, and the names
of fields; values that are secrets are masked even where the schema's own validators quote them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from .._sansio._errors import ComponentError
from .._sansio._json import is_a
from ._component_model import ComponentModel
from ._secrets import without_masks, without_secrets

__all__ = ["ComponentConfig", "describe", "dump_config", "read_config", "refusal"]

ConfigT = TypeVar("ConfigT", bound=BaseModel)

_REASONS_SHOWN: Final = 8
_LONGEST_REASON: Final = 400


class ComponentConfig(BaseModel):
    """The configuration of one of our components. An unknown field is a mistake in writing."""

    model_config = ConfigDict(extra="forbid")


def dump_config(value: BaseModel) -> dict[str, Any]:
    """Return *value* as data from which the same can be validated. Secrets stay objects."""
    return cast("dict[str, Any]", _sparse(value, value.model_dump(round_trip=True)))


def _sparse(value: Any, dumped: Any) -> Any:
    """Leave the fields out that are None by default, and those only: other Nones say something."""
    if is_a(dumped, dict):
        if is_a(value, dict):
            return {key: _sparse(value.get(key), item) for key, item in dumped.items()}
        if isinstance(value, BaseModel):
            defaults = {name: field.default for name, field in type(value).model_fields.items()}
            return {
                name: _sparse(getattr(value, name, None), item)
                if _says_what_it_is(type(value), name)
                else item
                for name, item in dumped.items()
                if not (item is None and defaults.get(name, ...) is None)
            }
    are_sequences = any(is_a(value, cls) and is_a(dumped, cls) for cls in (list, tuple))
    if are_sequences and len(value) == len(dumped):  # or a serializer of the schema's own was here
        return type(dumped)(_sparse(*pair) for pair in zip(value, dumped, strict=True))
    return dumped


def _says_what_it_is(schema: type[BaseModel], name: str) -> bool:
    """Whether a field's type alone says how to read it: of some unions, what is None tells, too."""
    field = schema.model_fields.get(name)
    return field is None or field.discriminator is not None or not _has_union(field.annotation)


def _has_union(hint: Any) -> bool:
    """Whether *hint* has a union whose members no field of theirs tells apart."""
    arguments = [argument for argument in get_args(hint) if argument is not NoneType]
    if get_origin(hint) is Annotated:
        inner, *marks = arguments
        is_told_apart = any(getattr(mark, "discriminator", None) is not None for mark in marks)
        return not is_told_apart and _has_union(inner)
    is_union = get_origin(hint) in (Union, UnionType)
    return (is_union and len(arguments) > 1) or any(map(_has_union, arguments))


def describe(model: object) -> ComponentModel:
    """Return *model*, a description or its fields, as it is now.

    Raises:
        ComponentError: it describes no component.
    """
    # Anew even if it is one: its fields may have been set since. AutoGen's has the same fields.
    if not isinstance(model, Mapping | BaseModel):
        raise ComponentError(
            f"expected a ComponentModel or a mapping of its fields, not {type(model).__name__}"
        )
    try:
        return ComponentModel.model_validate(dict(cast("Any", model)))
    except ValidationError as error:
        problem = _reasons(error, str)  # pydantic's own words: they quote nothing
    raise ComponentError(f"this describes no component: {problem}")


def read_config(schema: type[ConfigT], description: ComponentModel) -> ConfigT:
    """Return the configuration in *description*, as *schema* has it.

    Raises:
        ComponentError: it is not valid.
    """
    try:
        config = without_masks(schema, description.config)
        return schema.model_validate(config, by_alias=True, by_name=True)
    except ValidationError as error:
        problem = _reasons(error, lambda text: without_secrets(text, schema, description.config))
    except RecursionError:
        problem = "nested too deep"
    # Out here, and without the error itself: that one holds the values, secrets among them.
    raise ComponentError(f"{description.provider}: its configuration is not valid: {problem}")


def refusal(
    schema: type[BaseModel], description: ComponentModel, error: Exception
) -> ComponentError:
    """Return what to raise where a class did not take a configuration that its schema has taken.

    *error* is its cause, unless that quotes a secret.
    """
    text = str(error)
    masked = without_secrets(text, schema, description.config)
    is_telling = masked == text and not isinstance(error, ValidationError)  # that one has inputs
    if isinstance(error, ValidationError):
        reason = _reasons(error, lambda each: without_secrets(each, schema, description.config))
    elif isinstance(error, RecursionError):
        reason = "nested too deep"
    else:
        reason = masked[:_LONGEST_REASON] or type(error).__name__
    refused = ComponentError(f"{description.provider}: it cannot be made: {reason}")
    refused.__cause__ = error if is_telling else None
    return refused


def _reasons(error: ValidationError, masked: Callable[[str], str]) -> str:
    """Say what is wrong, and where."""
    reasons = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [
        f"{'.'.join(str(part)[:40] for part in reason['loc']) or 'it'}: "
        f"{masked(reason['msg'])[:_LONGEST_REASON]}"
        for reason in reasons[:_REASONS_SHOWN]
    ]
    if len(reasons) > len(shown):
        shown.append(f"and {len(reasons) - len(shown)} more")
    return "; ".join(shown)
