"""From the pydantic model of a tool's arguments to what a model is told of them.

Models read one object without references best, so definitions are put where they are used. Only
what refers to itself stays a definition, and what would be put in too often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard, cast

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .._components._tool_schema import ParametersSchema

__all__ = ["cannot_be_described", "is_list", "is_object", "parameters_of", "parameters_of_schema"]

_DEFINITIONS: Final = "#/$defs/"
_OLDER: Final = "#/definitions/"  # until draft 7 of JSON schema
# A few definitions that name each other twice would take more room than there is memory.
_MOST_INLINED: Final = 1_000


class _JsonSchema(GenerateJsonSchema):
    # A default that JSON cannot express is still a default: the property stays optional.
    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012

    # Ordinary dataclasses and TypedDicts are as closed as the model around them is; nothing of the
    # kind was said of them.

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return _as_open_as_it_says(schema.get("cls"), super().dataclass_schema(schema))

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return _as_open_as_it_says(schema.get("cls"), super().typed_dict_schema(schema))


def _as_open_as_it_says(cls: type | None, schema: JsonSchemaValue) -> JsonSchemaValue:
    if not hasattr(cls, "__pydantic_config__"):
        schema.pop("additionalProperties", None)
    return schema


def parameters_of(model: type[BaseModel], *, strict: bool) -> ParametersSchema:
    """Return the JSON schema of *model* as the parameters of a tool.

    Args:
        model: the arguments.
        strict: whether it has to be one that a model can be bound to: everything is required, and
            nothing else allowed.

    Raises:
        ValueError: it has to be strict, and something is optional.
        TypeError: an argument is of a type that JSON has nothing like, such as a function.
    """
    try:
        schema = model.model_json_schema(schema_generator=_JsonSchema)
    except PydanticUserError as error:
        blamed = next((n for n, field in model.model_fields.items() if _fails(field)), "")
        blamed = blamed and (model.model_fields[blamed].alias or blamed)
        raise TypeError(cannot_be_described(blamed, error)) from error
    return parameters_of_schema(schema, strict=strict)


def _fails(field: FieldInfo) -> bool:
    try:
        TypeAdapter(field.rebuild_annotation()).json_schema(schema_generator=_JsonSchema)
    except PydanticUserError:
        return True
    return False


def cannot_be_described(parameter: str, error: PydanticUserError) -> str:
    """Say which parameter has no JSON schema, if one alone is to blame, and why."""
    which = f"its parameter {parameter}" if parameter else "something in its parameters"
    # The rest is advice for whoever writes pydantic models.
    return f"{which} cannot be described in JSON: {(error.message or '').partition('. ')[0]}"


def parameters_of_schema(schema: Mapping[str, Any], *, strict: bool) -> ParametersSchema:
    """Return a JSON schema of an object as the parameters of a tool; see `parameters_of`.

    Definitions may be in ``$defs`` or, as in older schemas, in ``definitions``.
    """
    top = {key: value for key, value in schema.items() if key not in ("$defs", "definitions")}
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    inlined = _Inlining(definitions).inlined(top)
    parameters = {
        "type": "object",
        "properties": inlined.get("properties", {}),
        "required": inlined.get("required", []),
        "additionalProperties": inlined.get("additionalProperties", False),
        **({"$defs": inlined["$defs"]} if "$defs" in inlined else {}),
    }
    if strict:
        _bind(parameters, ())
    return cast(ParametersSchema, parameters)


class _Inlining:
    """Puts definitions where they are used."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._left = _MOST_INLINED
        self._kept: dict[str, Any] = {}  # what stays a definition, by name

    def inlined(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return *schema* with its definitions put in, and those left over beside it."""
        result = self._inline(schema, "", ())
        done = set[str]()
        while rest := self._kept.keys() - done:
            for name in sorted(rest):
                done.add(name)
                self._kept[name] = self._inline(self._definitions[name], "", (name,))
        if self._kept:
            result["$defs"] = self._kept
        return cast(dict[str, Any], result)

    def _inline(self, node: Any, key: str, around: tuple[str, ...]) -> Any:
        if is_list(node):
            return [self._inline(item, key, around) for item in node]
        if not is_object(node):
            return node
        beside = {
            name: self._inline(item, name, around) for name, item in node.items() if name != "$ref"
        }
        name = _referred(node.get("$ref"))
        if name not in self._definitions:
            return beside if "$ref" not in node else {**beside, "$ref": node["$ref"]}
        if name in around or not self._left:
            self._kept.setdefault(name, None)
            return {**beside, "$ref": f"{_DEFINITIONS}{name}"}
        self._left -= 1
        target = self._inline(self._definitions[name], key, (*around, name))
        # A parameter that nobody has described is described by its name; its type says more.
        if beside.get("description") == key:
            del beside["description"]
        return {**target, **beside}


def is_list(node: Any) -> TypeGuard[list[Any]]:
    """Tell whether this part of a JSON schema is a list."""
    return isinstance(node, list)


def is_object(node: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether this part of a JSON schema is an object."""
    return isinstance(node, dict)


def _referred(reference: object) -> str:
    for prefix in (_DEFINITIONS, _OLDER):
        if isinstance(reference, str) and reference.startswith(prefix):
            return reference.removeprefix(prefix)
    return ""


def _bind(node: Any, path: tuple[str, ...]) -> None:
    """Close each object in *node*, or say what is optional in it."""
    if is_list(node):
        for item in node:
            _bind(item, path)
    if not is_object(node):
        return
    properties: dict[str, Any] | None = node.get("properties")
    if node.get("type") == "object" and properties is not None:
        optional = [name for name in properties if name not in node.get("required", ())]
        if optional or node.setdefault("additionalProperties", False):
            what = ", ".join(".".join((*path, name)) for name in optional) or "any other argument"
            raise ValueError(
                f"Strict mode is enabled, and then nothing may be optional: {what}. Take away the "
                f"defaults, or strict=True"
            )
        for name, item in properties.items():
            _bind(item, (*path, name))
    for keyword, item in node.items():
        if keyword != "properties":
            _bind(item, path)
