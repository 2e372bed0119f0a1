"""The hooks of types that are made of other types: containers and unions.

Each function takes the hooks of the parts and returns the hook of the whole. Every one adds its
step to the path of a `Fault` that comes up from a part. Keys of dictionaries are the application's
data, so only their position is shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Final

from ._json import Fault, check_value, json_kind
from ._json_scalars import ALL_KINDS, Hook, is_exactly, mismatch, unexpected

__all__ = [
    "any_hook",
    "array_hook",
    "object_hook",
    "pairs_hook",
    "record_hook",
    "set_hook",
    "union_hook",
]

_ARRAY: Final = frozenset({"array"})
_OBJECT: Final = frozenset({"object"})
MAX_OF_ONE_HASH: Final = 64  # items of a set, or keys, that may have the same hash


def any_hook() -> Hook:
    """Return the hook for ``Any``: what JSON has itself, as it is."""

    def encode(value: Any) -> Any:
        check_value(value, exact=True)
        return value

    def decode(value: Any) -> Any:
        return value

    return Hook("Any", ALL_KINDS, encode, decode, object)


# Containers


def _encode_items(hook: Hook, items: Any) -> list[Any]:
    encode = hook.encode
    trees: list[Any] = []
    try:
        for item in items:
            trees.append(encode(item))  # noqa: PERF401 (the fault asks how many)
    except Fault as fault:
        fault.parts.append(f"[{len(trees)}]")
        raise
    return trees


def _decode_items(hook: Hook, name: str, tree: Any) -> list[Any]:
    if not is_exactly(tree, list):
        raise mismatch(name, tree)
    decode = hook.decode
    items: list[Any] = []
    try:
        for part in tree:
            items.append(decode(part))  # noqa: PERF401 (as above)
    except Fault as fault:
        fault.parts.append(f"[{len(items)}]")
        raise
    return items


def array_hook(name: str, cls: type, item: Hook) -> Hook:
    """Return the hook for ``list[item]`` or ``tuple[item, ...]``."""

    def encode(value: Any) -> list[Any]:
        if not is_exactly(value, cls):
            raise unexpected(name, value)
        return _encode_items(item, value)

    def decode(tree: Any) -> Any:
        items = _decode_items(item, name, tree)
        return items if cls is list else tuple(items)

    return Hook(name, _ARRAY, encode, decode, cls)


def record_hook(name: str, items: list[Hook]) -> Hook:
    """Return the hook for a tuple with a hook for each position."""

    def encode(value: Any) -> list[Any]:
        if not is_exactly(value, tuple):
            raise unexpected(name, value)
        return each(value, [item.encode for item in items])

    def decode(tree: Any) -> tuple[Any, ...]:
        if not is_exactly(tree, list):
            raise mismatch(name, tree)
        return tuple(each(tree, [item.decode for item in items]))

    def each(values: Collection[Any], calls: list[Callable[[Any], Any]]) -> list[Any]:
        if len(values) != len(calls):
            raise Fault(f"expected {name} with {len(calls)} items, found {len(values)}")
        found: list[Any] = []
        try:
            for call, value in zip(calls, values, strict=True):
                found.append(call(value))
        except Fault as fault:
            fault.parts.append(f"[{len(found)}]")
            raise
        return found

    return Hook(name, _ARRAY, encode, decode, tuple)


def _check_hashes(items: Collection[Any]) -> None:
    """Refuse items that somebody has chosen for having one hash.

    A set or a dictionary of them takes a time that grows with the square of their number. Of
    strings nobody can know the hashes; of numbers, and of what is made of them, anybody can.
    """
    if len(items) <= MAX_OF_ONE_HASH or all(type(item) is str for item in items):
        return
    if max(Counter(map(hash, items)).values()) > MAX_OF_ONE_HASH:
        raise Fault(f"more than {MAX_OF_ONE_HASH} items have one hash")


def set_hook(name: str, cls: type, item: Hook) -> Hook:
    """Return the hook for ``set[item]`` or ``frozenset[item]``.

    Equal sets make equal bytes: the array is sorted, by its JSON text where that has no order.
    """
    has_order = item.kinds in (frozenset({"string"}), frozenset({"integer"}))
    key = None if has_order else json.dumps

    def encode(value: Any) -> list[Any]:
        if not is_exactly(value, cls):
            raise unexpected(name, value)
        return sorted(_encode_items(item, value), key=key)

    def decode(tree: Any) -> Any:
        items = _decode_items(item, name, tree)
        try:
            _check_hashes(items)
            found: Collection[Any] = cls(items)
        except Fault:
            raise
        except Exception as error:  # __hash__ and __eq__ are code of the application
            raise Fault(f"an item cannot be in a set ({type(error).__name__})") from None
        if len(found) != len(items):
            raise Fault("the same item twice in a set")
        return found

    return Hook(name, _ARRAY, encode, decode, cls)


def object_hook(name: str, keys: Hook, values: Hook) -> Hook:
    """Return the hook for a dictionary whose keys are strings in JSON."""

    def encode(value: Any) -> dict[str, Any]:
        if not is_exactly(value, dict):
            raise unexpected(name, value)
        return each(value, keys.encode, values.encode)

    def decode(tree: Any) -> dict[Any, Any]:
        if not is_exactly(tree, dict):
            raise mismatch(name, tree)
        return each(tree, keys.decode, values.decode)

    def each(
        entries: dict[Any, Any], key_call: Callable[[Any], Any], value_call: Callable[[Any], Any]
    ) -> dict[Any, Any]:
        pairs: list[tuple[Any, Any]] = []
        try:
            for key, value in entries.items():
                pairs.append((key_call(key), value_call(value)))
        except Fault as fault:
            fault.parts.append(f"[entry {len(pairs)}]")
            raise
        _check_hashes([key for key, _ in pairs])
        found = dict(pairs)
        if len(found) != len(entries):
            raise Fault("two keys are the same")
        return found

    return Hook(name, _OBJECT, encode, decode, dict)


def pairs_hook(name: str, entry: Hook) -> Hook:
    """Return the hook for a dictionary with other keys: an array of pairs."""

    def encode(value: Any) -> list[Any]:
        if not is_exactly(value, dict):
            raise unexpected(name, value)
        return _encode_items(entry, value.items())

    def decode(tree: Any) -> dict[Any, Any]:
        pairs = _decode_items(entry, name, tree)
        try:
            _check_hashes([key for key, _ in pairs])
            found = dict(pairs)
        except Fault:
            raise
        except Exception as error:  # as in a set
            raise Fault(f"an item cannot be a key ({type(error).__name__})") from None
        if len(found) != len(pairs):
            raise Fault("two keys are the same")
        return found

    return Hook(name, _ARRAY, encode, decode, dict)


# Unions


def union_hook(name: str, hooks: list[Hook], tagged: set[str]) -> Hook:
    """Return the hook for a union of *hooks*, of which those named in *tagged* get a tag."""
    by_tag = {hook.name: hook for hook in hooks if hook.name in tagged}
    by_kind = {kind: hook for hook in hooks if hook.name not in tagged for kind in hook.kinds}
    if "number" in by_kind:
        by_kind.setdefault("integer", by_kind["number"])  # other writers may write 1.0 as 1

    # They take values of several classes, and only their hooks know which.
    vague = [hook for hook in hooks if hook.runtime_type is object]

    def encode(value: Any) -> Any:
        exact = [hook for hook in hooks if hook.runtime_type is type(value)]
        possible = [*exact, *vague]
        if not exact:  # last, since 1 is to stay 1 where there is a Literal[1] beside a float
            possible += [hook for hook in hooks if hook not in vague and _may_be(value, hook)]
        telling: Fault | None = None
        for hook in possible:
            try:
                tree = hook.encode(value)
            except Fault as fault:
                if len(possible) == 1 or exact == [hook]:
                    telling = fault
                continue
            return {hook.name: tree} if hook.name in by_tag else tree
        raise telling or unexpected(name, value)

    def decode(tree: Any) -> Any:
        if is_exactly(tree, dict) and by_tag:
            entries: dict[str, Any] = tree
            tag = next(iter(entries)) if len(entries) == 1 else ""
            if tag not in by_tag:
                raise Fault(f"expected one of the keys {', '.join(by_tag)}")
            return by_tag[tag].decode(entries[tag])
        hook = by_kind.get(json_kind(tree))
        if hook is None:
            raise mismatch(name, tree)
        return hook.decode(tree)

    kinds = _OBJECT if tagged else frozenset[str]()
    return Hook(name, kinds | frozenset(by_kind), encode, decode, object)


def _may_be(value: object, hook: Hook) -> bool:
    # An int may stand for a float, here as everywhere.
    return isinstance(value, hook.runtime_type) or (
        hook.runtime_type is float and isinstance(value, int)
    )
