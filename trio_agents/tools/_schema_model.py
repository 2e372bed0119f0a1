"""From a JSON schema of arguments to a pydantic model that checks them.

Tools that are described from outside, by a server or a configuration, come with a schema and no
model. The model here checks what a model client's mistakes are made of: what is missing, unknown,
or of another type, among the values of an enumeration, out of bounds. The schema itself is what
models are shown, and what is not understood here is let through: the other side judges it.

Left out: patterns, whose dialects differ, formats, conditions, ``not``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from ._parameters import is_list, is_object
from ._signature import field_names

__all__ = ["model_of_schema"]

_NUMBER: Final = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
# What bounds one type says nothing of values of another.
_BOUNDS: Final[Mapping[str, Mapping[str, str]]] = {
    "integer": _NUMBER,
    "number": _NUMBER,
    "string": {"minLength": "min_length", "maxLength": "max_length"},
    "array": {"minItems": "min_length", "maxItems": "max_length"},
}
# A few definitions that name each other twice stand for more types than there is memory.
_MOST_TYPES: Final = 1_000
_BROKEN: Final = (AttributeError, PydanticUserError, RecursionError, SchemaError, TypeError)
_PLAIN: Final[dict[str, Any]] = {
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "null": None,
}


def model_of_schema(name: str, schema: Mapping[str, Any], *, title: str) -> type[BaseModel]:
    """Return a model of the objects that *schema* describes.

    Arguments that the schema does not name are refused, unless it says that there may be others.

    Args:
        name: the model's name.
        schema: a JSON schema of an object.
        title: what its errors call it.

    Raises:
        ValueError: *schema* is not that of an object, or no schema.
    """
    if schema.get("type", "object") != "object":
        raise ValueError(
            f"the arguments of a tool are a JSON object, and the schema is of {schema['type']!r}"
        )
    try:
        definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
        return _Models(definitions).model(name, schema, title, is_open=False)
    except _BROKEN as error:
        raise ValueError(f"the schema of {title} is no JSON schema: {error!s:.200}") from error


class _Models:
    """Makes types of schemas that may refer to definitions."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._around: list[str] = []
        self._left = _MOST_TYPES

    def model(
        self, name: str, schema: Mapping[str, Any], title: str, *, is_open: bool
    ) -> type[BaseModel]:
        required = schema.get("required", ())
        properties: Mapping[str, Any] = schema.get("properties", {})
        names = field_names(properties)
        fields: dict[str, Any] = {}
        for argument, inner in properties.items():
            hint = self._type(inner, f"{name}_{argument}")
            known = inner if is_object(inner) else {}
            field = Field(alias=argument, description=known.get("description"))
            # What is optional may be left out, which is not the same as None.
            default = ... if argument in required else known.get("default")
            fields[names[argument]] = (Annotated[hint, field], default)
        more = schema.get("additionalProperties", is_open)
        config = ConfigDict(
            title=title, extra="allow" if more else "forbid", protected_namespaces=()
        )
        return create_model(name, __config__=config, __module__=__name__, **fields)

    def _type(self, schema: Any, name: str) -> Any:
        self._left -= 1
        if not is_object(schema) or self._left < 0:
            return Any  # true and false are schemas too
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._referred(reference.rpartition("/")[2], name)
        if "const" in schema:
            return _literal([schema["const"]])
        if "enum" in schema:
            return _literal(schema["enum"])
        alternatives: list[Any] | None = schema.get("anyOf") or schema.get("oneOf")
        if alternatives:
            return _union([self._type(inner, name) for inner in alternatives])
        kind: Any = schema.get("type")
        if is_list(kind):
            return _union([self._type({**schema, "type": each}, name) for each in kind])
        if kind == "object":
            return self._object(schema, name)
        if kind == "array":
            return _bounded(list[self._type(schema.get("items"), name)], schema)  # type: ignore[misc]
        return _bounded(_PLAIN[kind], schema) if kind in _PLAIN else Any

    def _object(self, schema: Mapping[str, Any], name: str) -> Any:
        if "properties" in schema:
            return self.model(name, schema, name, is_open=True)
        return dict[str, self._type(schema.get("additionalProperties"), name)]  # type: ignore[misc]

    def _referred(self, definition: str, name: str) -> Any:
        if definition not in self._definitions or definition in self._around:
            return Any
        self._around.append(definition)
        try:
            return self._type(self._definitions[definition], f"{name}_{definition}")
        finally:
            self._around.pop()


def _bounded(hint: Any, schema: Mapping[str, Any]) -> Any:
    bounds: dict[str, Any] = {
        ours: schema[theirs]
        for theirs, ours in _BOUNDS.get(schema["type"], {}).items()
        if theirs in schema
    }
    return Annotated[hint, Field(**bounds)] if bounds else hint


def _literal(values: list[Any]) -> Any:
    if all(value is None or isinstance(value, str | int) for value in values):
        return Literal[tuple(values)]
    return Any


def _union(hints: list[Any]) -> Any:
    return Union[tuple(hints)]  # noqa: UP007  # they are only known now
