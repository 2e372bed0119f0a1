"""Dataclasses and attrs classes as JSON trees, and back, exactly.

The class of a message is known on both sides, so the JSON holds its fields and nothing else. The
one place where a reader could not tell is a union whose members look alike in JSON; there, and
only there, the value is put into an object with one key that names the member::

    int | str | None     7, "seven", null       three kinds of JSON: no tag
    Circle | None        {"r": 1.0}, null       no tag
    Circle | Square      {"Circle": {"r": 1.0}}, {"Square": {"side": 2.0}}
    date | UUID | int    {"date": "2026-01-31"}, {"UUID": "..."}, 7

Whether there is a tag follows from the annotation alone. A value cannot be taken for one, whatever
keys it has, and the tag only picks among the members of the annotation: no class is ever looked up
by a name from outside.

Writing is as strict as reading. A value that does not fit its annotation (an instance of a
subclass too, whose further fields would be lost) fails at its owner, who can do something about
it, with the path of the field. Fields that the constructor does not take (``init=False``) are not
written, so one with a value that the constructor would not put there fails as well.

Which hook serves which type is decided here rather than by cattrs, whose own hooks convert what
does not fit (``"7"`` to ``7``, any iterable to a list) and pass on what they do not know. cattrs
makes the functions of classes from these hooks (`_json_classes`). For each class that is done once,
and lasts as long as something uses it; `codec_for` keeps nothing alive.

A class that pydantic knows how to write, because the class says so itself, may be a field: pictures
and URLs are. It is tagged in a union unless its JSON schema tells its kind of JSON.

Left out: abstract collections other than those in `_ABSTRACT`, ``NamedTuple``, ``TypedDict`` and
everything else that is not listed. Such a field is an error that says so, not a guess.
"""

from __future__ import annotations

import collections.abc
import enum
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Literal, NewType, Union, get_args, get_origin

from ._json import Fault, is_a, write_json
from ._json_classes import adapted_hook, class_hook, fill_class_hook, model_hook
from ._json_fields import FieldSpec, InexpressibleHint, fields_of, has_fields, name_of
from ._json_hooks import (
    any_hook,
    array_hook,
    object_hook,
    pairs_hook,
    record_hook,
    set_hook,
    union_hook,
)
from ._json_pydantic import has_schema, is_model, is_secret, stands_for
from ._json_scalars import SCALARS, Hook, enum_hook, literal_hook

__all__ = ["Codec", "codec_for"]

# An abstract annotation stands for these; where there are two, a tag tells them apart.
_ABSTRACT: Final[dict[Any, tuple[type, ...]]] = {
    collections.abc.Sequence: (list, tuple),
    collections.abc.MutableSequence: (list,),
    collections.abc.Set: (set, frozenset),
    collections.abc.MutableSet: (set,),
    collections.abc.Mapping: (dict,),
    collections.abc.MutableMapping: (dict,),
}


class Codec:
    """Writes the instances of one class as JSON, and reads them.

    Raises:
        InexpressibleHint: a field of the class, or of one within it, has no JSON.
    """

    def __init__(self, cls: Any) -> None:
        try:
            self._hook = _Builder().build(cls)
        except RecursionError:
            raise InexpressibleHint(f"the type hints of {name_of(cls)} never end") from None

    def encode(self, message: object) -> bytes:
        """Return *message* as compact UTF-8.

        Raises:
            Fault: a part of it does not fit its annotation, or JSON.
        """
        return write_json(self._hook.encode(message))

    def decode(self, tree: object) -> Any:
        """Return the message that `parse_json` read as *tree*.

        Raises:
            Fault: it is not an instance of the class.
        """
        return self._hook.decode(tree)


# The values are held by the serializers that use them. When the last one goes, so does the entry,
# and with it the class, which may have been defined inside a function.
_codecs: Final[weakref.WeakValueDictionary[Any, Codec]] = weakref.WeakValueDictionary()


def codec_for(cls: Any) -> Codec:
    """Return the codec of *cls*, the same one as long as anybody holds it."""
    codec = _codecs.get(cls)
    if codec is None:
        codec = _codecs[cls] = Codec(cls)
    return codec


class _Builder:
    def __init__(self) -> None:
        self._classes: dict[Any, Hook] = {}  # finished or under way: classes may be recursive

    def build(self, hint: Any) -> Hook:
        hint = _unwrap(hint)
        if hint in (Any, object):
            return any_hook()
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return self._union(hint)
        if origin is Literal:
            return self._literal(hint, arguments)
        cls = origin or hint
        if cls in _ABSTRACT:
            return self._abstract(cls, arguments)
        container = _CONTAINERS.get(cls)
        if container is not None:
            return container(self, hint, arguments)
        if has_fields(cls) and not is_model(cls):
            return self._class(hint, cls, arguments)
        return _leaf(hint)

    def _literal(self, hint: Any, values: tuple[Any, ...]) -> Hook:
        try:
            return literal_hook(values, name_of(hint), self.build)
        except Fault as fault:
            raise InexpressibleHint(fault.reason) from None

    def _class(self, hint: Any, cls: type, arguments: tuple[Any, ...]) -> Hook:
        known = self._classes.get(hint)
        if known is not None:
            return known
        hook = self._classes[hint] = class_hook(name_of(hint), cls)
        fields: list[tuple[FieldSpec, Hook]] = []
        for field in fields_of(cls, arguments):
            try:
                fields.append((field, self.build(field.hint)))
            except InexpressibleHint as error:
                error.at(cls, field.name)
                raise
        fill_class_hook(hook, fields)
        return hook

    # Containers

    def _abstract(self, cls: type, arguments: tuple[Any, ...]) -> Hook:
        hints: list[Any] = []
        for concrete in _ABSTRACT[cls]:
            given = (*arguments, ...) if concrete is tuple and arguments else arguments
            hints.append(types.GenericAlias(concrete, given) if given else concrete)
        return self.build(Union[tuple(hints)])  # noqa: UP007 (a tuple of them)

    def _array(self, hint: Any, arguments: tuple[Any, ...]) -> Hook:
        return array_hook(name_of(hint), list, self.build(arguments[0] if arguments else Any))

    def _tuple(self, hint: Any, arguments: tuple[Any, ...]) -> Hook:
        if not arguments and "[" not in str(hint):  # tuple, but not tuple[()]
            arguments = (Any, ...)
        if len(arguments) == 2 and arguments[1] is ...:
            return array_hook(name_of(hint), tuple, self.build(arguments[0]))
        return record_hook(name_of(hint), [self.build(argument) for argument in arguments])

    def _set(self, hint: Any, arguments: tuple[Any, ...]) -> Hook:
        cls = get_origin(hint) or hint
        return set_hook(name_of(hint), cls, self.build(arguments[0] if arguments else Any))

    def _dict(self, hint: Any, arguments: tuple[Any, ...]) -> Hook:
        keys, values = map(self.build, arguments or (str, Any))
        if keys.kinds == frozenset({"string"}):
            return object_hook(name_of(hint), keys, values)
        return pairs_hook(name_of(hint), record_hook("entry", [keys, values]))

    # Unions

    def _union(self, hint: Any) -> Hook:
        hooks = {hook.name: hook for hook in map(self.build, _members(hint))}
        if "Any" in hooks and hooks.keys() <= {"Any", "null"}:
            return hooks["Any"]
        if len(hooks) < len({*_members(hint)}):
            raise InexpressibleHint(
                f"two members of {name_of(hint)} have the same name: rename one"
            )
        clashing = {
            name
            for name, hook in hooks.items()
            if any(hook.kinds & other.kinds for other in hooks.values() if other is not hook)
        }
        if clashing:  # their tags are objects, and must not meet an object without one
            clashing |= {name for name, hook in hooks.items() if "object" in hook.kinds}
        return union_hook(name_of(hint), list(hooks.values()), clashing)


_CONTAINERS: Final[dict[Any, Callable[[_Builder, Any, tuple[Any, ...]], Hook]]] = {
    list: _Builder._array,
    tuple: _Builder._tuple,
    set: _Builder._set,
    frozenset: _Builder._set,
    dict: _Builder._dict,
}


def _leaf(hint: Any) -> Hook:
    if is_a(hint, type):
        if hint in SCALARS:
            return SCALARS[hint]
        if issubclass(hint, enum.Enum):
            return enum_hook(hint)
        if is_model(hint):
            return model_hook(hint)
        if is_secret(hint):
            raise InexpressibleHint(
                f"{name_of(hint)} cannot be written as JSON, only as asterisks: keep secrets out "
                "of messages"
            )
        if has_schema(hint):
            instead = stands_for(hint)
            if instead is not None:
                raise InexpressibleHint(
                    f"{name_of(hint)} stands for another class: use {instead}, or a pydantic model "
                    "with this field"
                )
            try:
                return adapted_hook(hint)
            except Fault as fault:
                raise InexpressibleHint(f"{name_of(hint)}: {fault.reason}") from None
    raise InexpressibleHint(
        f"{name_of(hint)} cannot be written as JSON: use a dataclass, an attrs class, a pydantic "
        "model or a type that trio_agents knows, or add a MessageSerializer of your own"
    )


def _unwrap(hint: Any) -> Any:
    """Return *hint* without the wrappers that say nothing about its JSON."""
    while True:
        if get_origin(hint) in (Annotated, Final):
            hint = get_args(hint)[0]
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif hasattr(hint, "__value__") and type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return type(None) if hint is None else hint


def _members(hint: Any) -> Iterable[Any]:
    hint = _unwrap(hint)
    if get_origin(hint) in (Union, types.UnionType):
        for argument in get_args(hint):
            yield from _members(argument)
    else:
        yield hint
