"""What the fields of a dataclass or an attrs class are called and which type each of them has.

The standard library resolves the annotations of a class all at once: a single unknown name fails
them all and does not tell which field it was. It also does not know a class by its own name when
that class is defined inside a function, and leaves ``T`` in the fields of a ``Box[int]``. So the
fields are resolved here one by one, in the scope of the class that declares them, and every type
variable is replaced by what it stands for in that class.

Left out: looking for names in the frames of callers. A class that refers to its neighbour inside
the same function can be used here if the annotation is the class itself, rather than its name.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import keyword
import sys
import types
from dataclasses import dataclass
from typing import (
    Any,
    Generic,
    Protocol,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs

__all__ = ["FieldSpec", "InexpressibleHint", "derived_fields", "fields_of", "has_fields", "name_of"]


class InexpressibleHint(Exception):
    """A type hint that has no JSON of ours; *where* names the class and the field, once known."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.where = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" if self.where else self.reason

    def at(self, cls: type, field: str) -> None:
        """Note where it is; the innermost class that does so wins."""
        self.where = self.where or f"{cls.__qualname__}.{field}"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of a class, as its constructor takes it."""

    name: str
    alias: str  # of the constructor's parameter: attrs drops the underscore of a private name
    hint: Any  # resolved, free of type variables
    is_required: bool


def has_fields(cls: Any) -> bool:
    """Is *cls* a dataclass or an attrs class?

    An enumeration is neither: if it has the fields of another class, its members are all the same
    its only instances.
    """
    if not inspect.isclass(cls) or issubclass(cls, enum.Enum):
        return False
    return dataclasses.is_dataclass(cls) or attrs.has(cast("Any", cls))


def name_of(hint: Any) -> str:
    """Return a short name for *hint*, the same in every process: ``Box[int]``, ``list[str]``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " | ".join(map(name_of, arguments))
    if origin is not None and arguments:
        return f"{name_of(origin)}[{', '.join(map(name_of, arguments))}]"
    if hint is type(None):
        return "None"
    if hint is ...:
        return "..."
    return str(hint.__name__) if hasattr(hint, "__name__") else repr(hint)


def fields_of(cls: type, arguments: tuple[Any, ...]) -> list[FieldSpec]:
    """Return the fields that the constructor of ``cls[arguments]`` takes, in order.

    Fields with ``init=False`` are absent: a class derives them from the others (`derived_fields`).

    Raises:
        InexpressibleHint: a field has no annotation, or one that cannot be resolved here, or the
            constructor needs something that is not a field.
    """
    variables = _type_variables(cls, arguments)
    found: list[FieldSpec] = []
    options = _pydantic_fields(cls)
    for name, alias, is_required, annotation in _raw_fields(cls):
        try:
            if name in options:
                alias, is_required = _pydantic_alias(cls, name), options[name].is_required()
            owner, raw = _declaration(cls, name, annotation)
            hint = _resolve(raw, owner, cls)
            found.append(FieldSpec(name, alias, substitute(hint, variables[owner]), is_required))
        except InexpressibleHint as error:
            error.at(cls, name)
            raise
    _check_constructor(cls, found)
    return found


def _raw_fields(cls: type) -> list[tuple[str, str, bool, Any]]:
    if dataclasses.is_dataclass(cls):
        nothing = dataclasses.MISSING
        return [
            (
                field.name,
                field.name,
                field.default is nothing and field.default_factory is nothing,
                field.type,
            )
            for field in dataclasses.fields(cls)
            if field.init
        ]
    return [
        (field.name, field.alias or field.name, field.default is attrs.NOTHING, field.type)
        for field in attrs.fields(cast("type[attrs.AttrsInstance]", cls))
        if field.init
    ]


def _pydantic_fields(cls: type) -> dict[str, Any]:
    """Return what pydantic knows about the fields, if the constructor of *cls* is pydantic's."""
    maker = next((base for base in cls.__mro__ if "__init__" in vars(base)), cls)
    found: dict[str, Any] = vars(maker).get("__pydantic_fields__", {})
    return found


def _pydantic_alias(cls: Any, name: str) -> str:
    """Return what the constructor of a pydantic dataclass calls the field *name*."""
    field = cls.__pydantic_fields__[name]
    alias = field.validation_alias
    if alias is None or cls.__pydantic_config__.get("validate_by_alias") is False:
        return name
    for choice in getattr(alias, "choices", [alias]):
        if isinstance(choice, str) and choice.isidentifier() and not keyword.iskeyword(choice):
            return choice
    raise InexpressibleHint(
        "the constructor takes it by an alias that is no name of a parameter: use an identifier, "
        "or a pydantic model"
    )


def derived_fields(cls: type) -> list[str]:
    """Return the fields with ``init=False`` that count when two instances are compared."""
    if dataclasses.is_dataclass(cls):
        return [each.name for each in dataclasses.fields(cls) if not each.init and each.compare]
    return [
        each.name
        for each in attrs.fields(cast("type[attrs.AttrsInstance]", cls))
        if not each.init and each.eq
    ]


def _declaration(cls: type, name: str, annotation: Any) -> tuple[type, Any]:
    """Return the class that declares the field *name* of *cls*, and its annotation there."""
    for base in cls.__mro__:
        own = _own_annotations(base)
        if name in own:
            return base, own[name]
    if annotation is None:
        raise InexpressibleHint("has no annotation: add one")
    return cls, annotation  # attrs.field(type=...)


def _own_annotations(cls: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def _resolve(annotation: Any, owner: type, cls: type) -> Any:
    scope: dict[str, Any] = {
        # Not all of vars(): the default of a field "date: date | None = None" would hide the type.
        **{name: value for name, value in vars(owner).items() if isinstance(value, type)},
        **{parameter.__name__: parameter for parameter in getattr(owner, "__type_params__", ())},
        owner.__name__: owner,
    }
    holder = type("Holder", (), {"__annotations__": {"it": annotation}})
    holder.__module__ = owner.__module__
    try:
        try:
            return get_type_hints(holder, localns=scope)["it"]
        except NameError:
            # A base may name a subclass that its module cannot import. But only then: the subclass
            # may also be called like something that the base does mean.
            return get_type_hints(holder, localns={**scope, cls.__name__: cls})["it"]
    except Exception as error:  # NameError as a rule, but an annotation can be any expression
        raise InexpressibleHint(
            f"the annotation cannot be resolved ({error}): names in it must be importable from "
            f"the module {owner.__module__}, or the annotation must be the class itself"
        ) from None


def _type_variables(cls: type, arguments: tuple[Any, ...]) -> dict[type, dict[Any, Any]]:
    """Return, for each class that *cls* is made of, what its type variables stand for."""
    found: dict[type, dict[Any, Any]] = {base: {} for base in cls.__mro__}

    def visit(base: type, given: tuple[Any, ...]) -> None:
        if given:  # a diamond may lead to the same class once more, without arguments
            found[base] = dict(zip(getattr(base, "__parameters__", ()), given, strict=False))
        for parent in base.__dict__.get("__orig_bases__", base.__bases__):
            origin = get_origin(parent)
            if origin is None:
                visit(parent, ())
            elif origin not in (Generic, Protocol) and origin in found:
                visit(origin, tuple(substitute(each, found[base]) for each in get_args(parent)))

    visit(cls, arguments)
    return found


def substitute(hint: Any, variables: dict[Any, Any]) -> Any:
    """Return *hint* with each type variable replaced, or else by its bound, or else by ``Any``."""
    if isinstance(hint, TypeVar):
        return variables[hint] if hint in variables else _default_of(hint)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or isinstance(hint, type):
        return hint
    for parameter in parameters:
        if not isinstance(parameter, TypeVar):
            raise InexpressibleHint(f"{parameter} is not supported: use a TypeVar, or a class")
    return hint[tuple(substitute(parameter, variables) for parameter in parameters)]


def _default_of(variable: TypeVar) -> Any:
    has_default = getattr(variable, "has_default", None)  # Python 3.13, or typing_extensions
    if has_default is not None and has_default():
        return cast("Any", variable).__default__
    if variable.__constraints__:
        return Union[variable.__constraints__]  # noqa: UP007 (a tuple of them)
    return variable.__bound__ or Any


def _check_constructor(cls: type, fields: list[FieldSpec]) -> None:
    """Make sure that the fields are what ``__init__`` takes, and all that it needs."""
    parameters = list(inspect.signature(cast("Any", cls).__init__).parameters.values())[1:]
    known = {field.alias for field in fields}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            known.add(parameter.name)
            continue
        if parameter.name not in known and parameter.default is parameter.empty:
            error = InexpressibleHint(
                "the constructor needs it, but no field keeps it (an InitVar?): give it a default, "
                "or add a MessageSerializer of your own"
            )
            error.at(cls, parameter.name)
            raise error
    takes = {parameter.name for parameter in parameters}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    for field in fields:
        if field.alias not in takes and not takes_any:
            error = InexpressibleHint(
                "the constructor does not take it: mark the field init=False, or add a "
                "MessageSerializer of your own"
            )
            error.at(cls, field.name)
            raise error
