"""attrs classes among the types of a function's parameters.

pydantic knows dataclasses and its own models. An attrs class stands here for a pydantic model of
its fields; what that has checked is made into an instance of the class, whose own converters and
validators then run as ever.

Left out: attrs classes inside of dataclasses and pydantic models, whose fields are pydantic's
affair, and those that contain themselves.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    create_model,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

__all__ = ["with_attrs_classes"]


def with_attrs_classes(annotation: Any, around: tuple[type, ...] = ()) -> Any:
    """Return *annotation* with each attrs class in it made known to pydantic.

    Raises:
        TypeError: a class contains itself.
    """
    if isinstance(annotation, type) and attrs.has(annotation):
        if annotation in around:
            raise TypeError(
                f"{annotation.__name__} contains itself, which only works for pydantic models and "
                f"dataclasses"
            )
        return Annotated[annotation, _AttrsClass(annotation, around)]
    origin: Any = get_origin(annotation)
    arguments = get_args(annotation)
    if not arguments or origin is Literal:
        return annotation
    if origin is Annotated:
        return Annotated[(with_attrs_classes(arguments[0], around), *arguments[1:])]
    changed = tuple(with_attrs_classes(argument, around) for argument in arguments)
    if changed == arguments:
        return annotation
    if origin in (Union, types.UnionType):
        return Union[changed]  # noqa: UP007  # they are only known now
    return origin[changed]


class _AttrsClass:
    """Says how pydantic reads, writes and describes an attrs class."""

    def __init__(self, cls: type, around: tuple[type, ...]) -> None:
        self._cls = cls
        hints = typing.get_type_hints(cls, include_extras=True)
        fields: dict[str, Any] = {
            field.alias: (
                with_attrs_classes(hints.get(field.name, Any), (*around, cls)),
                _default_of(field),
            )
            for field in attrs.fields(cls)
            if field.init
        }
        self._model: type[BaseModel] = create_model(
            cls.__name__,
            __config__=ConfigDict(extra="forbid", protected_namespaces=()),
            __module__=cls.__module__,
            __doc__=cls.__doc__,
            **fields,
        )

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            handler.generate_schema(self._model),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: attrs.asdict(value, recurse=False)
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(self._model.__pydantic_core_schema__)

    def _validate(self, value: Any, fields: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, self._cls):
            return value
        checked: BaseModel = fields(value)
        return self._cls(**{name: getattr(checked, name) for name in checked.model_fields_set})


def _default_of(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    if default is attrs.NOTHING:
        return ...
    if type(default).__name__ == "Factory":
        # Never used as a value, only to say that there is one: attrs makes it.
        return Field(default_factory=lambda: None)
    return default
