"""The hooks of classes: dataclasses and attrs classes by way of cattrs, pydantic by its own.

cattrs makes the function that puts a class together. It is given the fields and their hooks, and
decides nothing by itself; in particular it is not asked to find the types of the fields (see
`_json_fields` for why) nor to keep them. A class is taken apart by a loop here, since a function of
cattrs could not tell which field it failed at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import attrs
from cattrs import BaseConverter, gen

from ._json import Fault, json_kind, read_json, write_json
from ._json_fields import FieldSpec, InexpressibleHint, derived_fields
from ._json_pydantic import (
    adapter_of,
    dump_adapted,
    dump_model,
    json_types,
    load_adapted,
    load_model,
)
from ._json_scalars import ALL_KINDS, Hook, is_exactly, mismatch, unexpected

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["adapted_hook", "class_hook", "fill_class_hook", "model_hook"]

_OBJECT: Final = frozenset({"object"})

# Handed to cattrs for its options only: every field brings its hook, so it keeps no class alive.
_CONVERTER: Final[Any] = BaseConverter()
_ATTRIBUTE: Final[Any] = attrs.Attribute
_NOTHING: Final = object()
_UNUSED: Final[dict[str, Any]] = {
    "validator": None,
    "repr": True,
    "cmp": None,
    "hash": None,
    "init": True,
    "inherited": False,
}


def class_hook(name: str, cls: type) -> Hook:
    """Return the hook for a class with fields, which `fill_class_hook` completes.

    In two steps, because a recursive class needs its hook before it is complete.
    """

    def unfinished(value: object) -> NoReturn:
        raise AssertionError(f"the hook of {name} was used before it was complete")

    return Hook(name, _OBJECT, unfinished, unfinished, cls)


def fill_class_hook(hook: Hook, fields: list[tuple[FieldSpec, Hook]]) -> None:
    """Let *hook* write and read the fields of its class, and nothing but them."""
    cls, name = hook.runtime_type, hook.name
    parts = [(field.name, part) for field, part in fields]
    names = [name for name, _ in parts]
    required = frozenset(field.name for field, _ in fields if field.is_required)
    known = frozenset(names)
    put_together = _structure_function(cls, fields)
    derived = derived_fields(cls)

    def encode(value: Any) -> dict[str, Any]:
        if type(value) is not cls:
            raise unexpected(name, value)
        tree: dict[str, Any] = {}
        field = ""
        try:
            for field, part in parts:
                tree[field] = part.encode(getattr(value, field))
        except Fault as fault:
            fault.parts.append(f".{field}")
            raise
        except RecursionError:
            # Without stack for these lines either, the next level up has some.
            endless = Fault("nested too deep, or contains itself")
        else:
            if derived:
                check_derived(value, tree)
            return tree
        endless.parts.append(f".{field}")
        raise endless

    def check_derived(value: Any, tree: dict[str, Any]) -> None:
        # From the bytes, since that is how it comes back: the constructor may change what it is
        # given, and a tree has things in it that only become JSON when they are written.
        fresh = decode(read_json(write_json(tree)))
        for field in derived:
            if not _is_same(getattr(value, field, _NOTHING), getattr(fresh, field, _NOTHING)):
                fault = Fault(
                    "would not come back, since the constructor does not take it (init=False) and "
                    "gives it another value: let the constructor take it, or compute it from the "
                    "other fields in __post_init__"
                )
                fault.parts.append(f".{field}")
                raise fault

    def decode(tree: Any) -> Any:
        if not is_exactly(tree, dict):
            raise mismatch(name, tree)
        keys = tree.keys()
        if not required <= keys:
            fault = Fault("missing")
            fault.parts.append(f".{next(name for name in names if name in required - keys)}")
            raise fault
        if not keys <= known:  # their names are the sender's, and stay out of the error
            raise Fault(f"{len(keys - known)} unknown key(s); {name} has {', '.join(names)}")
        try:
            return put_together(tree, cls)
        except Fault:
            raise
        except Exception as error:  # the constructor is code of the application
            problem = f"{name} refuses its fields ({type(error).__name__})"
        raise Fault(problem)

    hook.encode = encode
    hook.decode = decode


def _is_same(value: object, other: object) -> bool:
    try:
        return bool(value == other) or (value != value and other != other)  # or NaN
    except Exception:  # code of the application
        return False


def _structure_function(
    cls: type, fields: list[tuple[FieldSpec, Hook]]
) -> Callable[[dict[str, Any], type], Any]:
    """Let cattrs write the function that reads each field and calls the constructor."""
    if not cls.__name__.isidentifier():
        raise InexpressibleHint(f"the name of the class {cls.__name__!r} is not an identifier")
    # cattrs knows fields in the terms of attrs. They are numbered, because it takes options and
    # fields in one namespace, where a field called "converter" would be an option; and by keyword,
    # because attrs knows no order in which a field without a default follows one with it. They are
    # made one by one, as cattrs does it for dataclasses: attrs.make_class() would generate methods
    # and keep their source for good.
    numbered = {f"field_{number}": each for number, each in enumerate(fields)}
    attributes = [
        _ATTRIBUTE(
            name=key,
            alias=field.alias,
            default=attrs.NOTHING if field.is_required else None,
            kw_only=True,
            **_UNUSED,
        )
        for key, (field, _) in numbered.items()
    ]
    overrides: dict[str, Any] = {
        key: gen.override(rename=field.name, struct_hook=_inward(field.name, hook))
        for key, (field, hook) in numbered.items()
    }
    make = cast("Any", gen).make_dict_structure_fn_from_attrs
    made: Callable[[dict[str, Any], type], Any] = make(
        attributes,
        cls,
        _CONVERTER,
        # Type variables are replaced already; cattrs only makes a name from these.
        {variable.__name__: object for variable in getattr(cls, "__parameters__", ())},
        _cattrs_use_linecache=False,  # it never forgets
        _cattrs_detailed_validation=False,  # our faults have their paths already
        **overrides,
    )
    return made


def _inward(name: str, hook: Hook) -> Callable[[Any, Any], Any]:
    def decode(tree: Any, _hint: object) -> Any:
        try:
            return hook.decode(tree)
        except Fault as fault:
            fault.parts.append(f".{name}")
            raise

    return decode


def model_hook(cls: type[BaseModel]) -> Hook:
    """Return the hook for a pydantic model: by way of its own JSON, which only pydantic knows."""
    is_object = not (cls.__pydantic_root_model__ or cls.__pydantic_decorators__.model_serializers)

    def encode(value: Any) -> Any:
        if type(value) is not cls:
            raise unexpected(cls.__name__, value)
        return read_json(dump_model(value))

    def decode(tree: Any) -> Any:
        return load_model(cls, write_json(tree))

    return Hook(cls.__name__, _OBJECT if is_object else ALL_KINDS, encode, decode, cls)


def adapted_hook(cls: type) -> Hook:
    """Return the hook for another class that tells pydantic how it looks, such as a picture.

    Raises:
        Fault: pydantic cannot make anything of it.
    """
    adapter = adapter_of(cls)
    kinds = frozenset(json_types(adapter)) & ALL_KINDS or ALL_KINDS

    def encode(value: Any) -> Any:
        if type(value) is not cls:
            raise unexpected(cls.__name__, value)
        tree = read_json(dump_adapted(adapter, value))
        if json_kind(tree) not in kinds:  # a union would not know it again
            raise Fault(f"{cls.__name__} is a JSON {json_kind(tree)}, which its schema denies")
        return tree

    def decode(tree: Any) -> Any:
        value = load_adapted(adapter, write_json(tree))
        if type(value) is not cls:
            raise Fault(f"expected {cls.__name__}, found {type(value).__name__}")
        return value

    return Hook(cls.__name__, kinds, encode, decode, cls)
