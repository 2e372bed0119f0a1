"""JSON that was written with its verdict, and the few large documents that break parsers.

Whoever makes one of these *documents* knows its value, or which rules it breaks. So a reader that
is too strict shows as well as one that is too lenient. The *limits* are documents whose size or
depth is the fault: they take time or memory out of proportion, where they are not refused.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final, cast

import attrs

from ..._sansio._errors import MessageDecodeError
from ..._sansio._json import parse_json
from ..._sansio._serializers import try_get_known_serializers_for_type
from ._bytes_cost import MAX_SECONDS, again, check_cost, the_audit
from ._row import Watch

__all__ = ["LIMITS", "RULES", "try_documents", "try_limits"]

BATCH: Final = 200  # units that one seed makes
LONG_RUN: Final = 500_000  # units, from which on times are judged


@dataclasses.dataclass
class Anything:
    a: Any


# --- documents


@attrs.define
class Leaf:
    """A value in a document that is being made, and how many containers are around it."""

    text: bytes
    value: object
    depth: int


@attrs.frozen
class Document:
    """JSON with its verdict: a value, or the rules that it breaks."""

    payload: bytes
    value: object
    breaks: frozenset[str]


def _string(random: Random) -> tuple[bytes, object]:
    """Write a string that is hard to read, and valid."""
    characters = [
        random.choice(
            (
                "a",
                '"',
                "\\",
                "/",
                "[",
                "{",
                "\x00",
                "\x1f",
                "\x7f",
                "\u2028",
                "\ufeff",
                "\u202e",
                "\uffff",
                "\U0001f600",
                "\U0010ffff",
                chr(random.randrange(0xD800)),
            )
        )
        for _ in range(random.randrange(12))
    ]
    text = "".join(characters)
    if random.random() < 0.5:
        return json.dumps(text).encode(), text  # escapes, surrogate pairs among them
    return json.dumps(text, ensure_ascii=False).encode(), text


def _integer(random: Random) -> tuple[bytes, object]:
    digits = random.choice((1, 1, 3, 19, 20, 400)) if random.random() < 0.995 else 4300
    text = random.choice(("", "-")) + str(random.randrange(1, 10))
    text += "".join(random.choices("0123456789", k=digits - 1))
    return text.encode(), int(text)


def _number(random: Random) -> tuple[bytes, object]:
    text = random.choice(
        (
            "0.1",
            "-0.0",
            "1e308",
            "1.7976931348623157e308",
            "5e-324",
            "1E+2",
            "1e-400",
            "0e0",
            "-1.5E-7",
            "123456789012345678901234567890.5",
            "0." + "3" * random.randrange(1, 900),
        )
    )
    return text.encode(), float(text)


_LEAVES: Final[tuple[Callable[[Random], tuple[bytes, object]], ...]] = (
    _string,
    _string,
    _integer,
    _number,
    lambda random: (b"null", None),
    lambda random: random.choice(((b"true", True), (b"false", False))),
    lambda random: random.choice(((b"[]", []), (b"{}", {}), (b"-0", 0), (b"[ \n\t\r]", []))),
)


def _nested(random: Random, levels: int) -> bytes:
    """Nest containers, all closed."""
    if random.random() < 0.5:
        return b"[" * levels + b"]" * levels
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


# Rules, with what breaks them as a value and the words by which the error names them.
Breaker = Callable[[Random, int], bytes]
RULES: Final[dict[str, tuple[str, Breaker]]] = {
    "not-a-number": (
        "is not JSON",
        lambda random, depth: random.choice((b"NaN", b"Infinity", b"-Infinity")),
    ),
    "integer-too-long": (
        "more than 4300 digits",
        lambda random, depth: b"-" * random.randrange(2) + b"7" * random.choice((4301, 9000)),
    ),
    "float-too-large": (
        "too large for a float",
        lambda random, depth: random.choice((b"1e400", b"-1e309", b"1.0e99999999999", b"2E+308")),
    ),
    "half-a-surrogate-pair": (
        "half a surrogate pair",
        lambda random, depth: random.choice(
            (b'"\\ud800"', b'"\\uDFFF\\ud800"', b'{"\\udbff":0}', b'"\\ud83d\\u0061"')
        ),
    ),
    "same-key-twice": (
        "same key twice",
        lambda random, depth: random.choice(
            (b'{"a":0,"a":0}', b'{"a":0,"b":1,"\\u0061":2}', b'{"":0,"":0}')
        ),
    ),
    "too-deep": (
        "nested deeper than 64 levels",
        lambda random, depth: _nested(
            random,
            65 - depth + random.choice((0, 0, 1, 40, 5000 if random.random() < 0.1 else 2)),
        ),
    ),
    "not-utf-8": (
        "not UTF-8 at byte",
        lambda random, depth: random.choice(
            (b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"')
        ),
    ),
    "byte-order-mark": ("byte order mark", lambda random, depth: b""),  # goes to the front
    "syntax": (
        "not JSON at character",
        lambda random, depth: random.choice(
            (
                b"'a'",
                b"tru",
                b"True",
                b"01",
                b"+1",
                b".5",
                b"1.",
                b"1.e5",
                b"0x10",
                b"1_000",
                b"[1,]",
                b"[,1]",
                b'{"a"}',
                b"{a:1}",
                b'{"a":1,}',
                b"{1:1}",
                b'"\n"',
                b'"\t"',
                b'"\x00"',
                b'"\\x41"',
                b'"\\u12"',
                b'"\\U0001f600"',
                b"// no\n1",
                b"/* no */ 1",
                b"1 2",
                b"undefined",
                b"\xef\xbb\xbf1",
                b"\xc2\xa01",
                b"(1)",
                b"1]",
            )
        ),
    ),
    "cut-short": ("", lambda random, depth: b"0"),  # the end is cut off
}


def _tree(random: Random, depth: int, leaves: list[Leaf]) -> Any:
    """Make a tree of `Leaf` in lists and dictionaries, and note its leaves."""
    if depth < 6 and random.random() < (0.9 if depth == 1 else 0.3):
        size = random.randrange(1, 5)
        if random.random() < 0.5:
            return [_tree(random, depth + 1, leaves) for _ in range(size)]
        keys = dict.fromkeys(cast("str", _string(random)[1]) for _ in range(size))
        return {key: _tree(random, depth + 1, leaves) for key in keys}
    if random.random() < 0.02:
        text = _nested(random, 64 - depth)  # as deep as may be
        leaf = Leaf(text, json.loads(text), depth)
    else:
        leaf = Leaf(*random.choice(_LEAVES)(random), depth)
    leaves.append(leaf)
    return leaf


def _written(random: Random, tree: object) -> tuple[bytes, object]:
    """Write a tree with space where JSON allows it; give the text and its value."""
    space = random.choice((b"", b"", b" ", b"\n\t"))
    if isinstance(tree, Leaf):
        return space + tree.text, tree.value
    if isinstance(tree, list):
        parts = [_written(random, part) for part in cast("list[object]", tree)]
        text = b"[" + b",".join(text for text, _ in parts) + space + b"]"
        return text, [value for _, value in parts]
    texts: list[bytes] = []
    values: dict[str, object] = {}
    for key, part in cast("dict[str, object]", tree).items():
        text, values[key] = _written(random, part)
        texts.append(json.dumps(key).encode() + space + b":" + text)
    return b"{" + b",".join(texts) + space + b"}", values


def document(random: Random) -> Document:
    """Write a document ``{"a": ...}`` that breaks none of the rules, or one, or two."""
    leaves: list[Leaf] = []
    tree = {"a": _tree(random, 1, leaves)}
    breaks = random.sample(list(RULES), k=random.choice((0, 0, 1, 1, 1, 2)))
    for rule, leaf in zip(breaks, random.sample(leaves, min(len(leaves), 2)), strict=False):
        if rule not in ("byte-order-mark", "cut-short"):
            leaf.text = RULES[rule][1](random, leaf.depth)
    breaks = breaks[: len(leaves)]
    payload, value = _written(random, tree)
    if "cut-short" in breaks:
        payload = payload[: random.randrange(len(payload))]
    if "byte-order-mark" in breaks:
        payload = b"\xef\xbb\xbf" + payload
    return Document(payload, value, frozenset(breaks))


def is_same(one: object, other: object) -> bool:
    """Whether two JSON values are equal and of the same types, as ``1`` and ``1.0`` are not."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        ours, theirs = cast("list[object]", one), cast("list[object]", other)
        return len(ours) == len(theirs) and all(map(is_same, ours, theirs))
    if isinstance(one, dict):
        mine, yours = cast("dict[str, object]", one), cast("dict[str, object]", other)
        return list(mine) == list(yours) and all(map(is_same, mine.values(), yours.values()))
    return repr(one) == repr(other) if isinstance(one, float) else one == other


def _readers() -> dict[str, Callable[[bytes], object]]:
    """Give the ways in for any JSON, each with what it makes of ``{"a": ...}``."""
    from pydantic import BaseModel

    class AnyModel(BaseModel):
        a: Any

    def read(cls: Any) -> Callable[[bytes], object]:
        (serializer,) = try_get_known_serializers_for_type(cls)
        return lambda payload: {"a": serializer.deserialize(payload).a}

    return {
        "parse_json": lambda payload: parse_json(payload, what="document"),
        "dataclass": read(Anything),
        "pydantic": read(AnyModel),
    }


def look_at_document(read: Callable[[bytes], object], written: Document) -> str | None:
    """Read one document; return in what the verdict differs, if it does."""
    try:
        value = read(written.payload)
    except MessageDecodeError as error:
        if not written.breaks:
            return f"is valid, and was refused: {error}"
        said = {RULES[rule][0] for rule in written.breaks}
        # Where the text is not JSON at all, what else is wrong with it is anybody's reading.
        if written.breaks & {"syntax", "cut-short", "not-utf-8"} or any(
            words in str(error) for words in said
        ):
            return None
        return f"breaks {sorted(written.breaks)}, and the error says something else: {error}"
    except BaseException as exc:  # whatever it is, it is the finding
        return f"{type(exc).__name__} instead of a MessageDecodeError: {exc!s:.200}"
    if written.breaks:
        return f"breaks {sorted(written.breaks)}, and was read as {value!r:.200}"
    if not is_same(value, written.value):
        return f"is {written.value!r:.200}, and was read as {value!r:.200}"
    return None


def try_documents(watch: Watch) -> None:
    """Read documents whose verdict is known."""
    readers = _readers()
    for read in readers.values():
        read(b'{"a":0}')
    audit = the_audit()
    timed = watch.goal >= LONG_RUN
    while watch.goes_on():
        seed = watch.next_seed()
        random = Random(seed)
        where = again("json", seed)
        for _ in range(BATCH):
            written = document(random)
            name = random.choice(list(readers))
            read = readers[name]
            began = time.thread_time()
            with audit.listening() as heard:
                problem = look_at_document(read, written)
            if heard and problem is None:
                problem = f"bytes caused {heard}"
            if problem is not None:
                watch.violation(f"{where}: {name}: {problem}; {written.payload!r:.400}")
            if time.thread_time() - began > MAX_SECONDS:
                check_cost(watch, read, written.payload, where, timed=timed, memory=False)
            for rule in written.breaks or ("valid",):
                watch.met(rule)
        watch.done(BATCH)


# --- limits


@attrs.frozen
class Limit:
    """One large document.

    Attributes:
        make: Makes what stands in ``{"a": ...}``.
        says: Words of the error that refuses it; None if it is to be read.
    """

    make: Callable[[], bytes]
    says: str | None = None


def _array(item: bytes, size: int) -> bytes:
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


def _keys(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":0' % number for number in range(count)) + b"}"


MEGABYTE: Final = 1_000_000

LIMITS: Final[dict[str, Limit]] = {
    "depth-100": Limit(lambda: b"[" * 100 + b"]" * 100, "nested deeper than 64 levels"),
    "depth-5,000": Limit(lambda: b'{"a":' * 5_000 + b"0" + b"}" * 5_000, "deeper than 64 levels"),
    "depth-1,000,000": Limit(lambda: b"[" * MEGABYTE + b"]" * MEGABYTE, "deeper than 64 levels"),
    "depth-1,000,000-open": Limit(lambda: b"[" * MEGABYTE, "nested deeper than 64 levels"),
    "integer-4,300": Limit(lambda: b"9" * 4300),
    "integer-4,301": Limit(lambda: b"9" * 4301, "an integer of more than 4300 digits"),
    "integer-1,000,000": Limit(lambda: b"9" * MEGABYTE, "an integer of more than 4300 digits"),
    "integers": Limit(lambda: _array(b"9" * 4300, MEGABYTE)),
    "fraction-1,000,000": Limit(lambda: b"0." + b"3" * MEGABYTE),
    "fractions": Limit(lambda: _array(b"1." + b"1" * 20_000 + b"e-5", MEGABYTE)),
    "string": Limit(lambda: b'"' + b"a" * MEGABYTE + b'"'),
    "string-escaped": Limit(lambda: b'"' + b"\\n" * (MEGABYTE // 2) + b'"'),
    "string-wide": Limit(lambda: ('"' + "\U0001f600" + "a" * MEGABYTE + '"').encode()),
    "string-open": Limit(lambda: b'"' + b"\\" * MEGABYTE, "not JSON at character"),
    "string-of-brackets": Limit(lambda: b'"' + b"[{" * (MEGABYTE // 2) + b'"'),
    "surrogate-pairs": Limit(lambda: b'"' + b"\\ud83d\\ude00" * (MEGABYTE // 12) + b'"'),
    "arrays": Limit(lambda: _array(b"[]", MEGABYTE)),
    "objects": Limit(lambda: _array(b'{"a":0}', MEGABYTE)),
    "numbers": Limit(lambda: _array(b"1.5", MEGABYTE)),
    "strings": Limit(lambda: _array(b'"ab"', MEGABYTE)),
    "strings-empty": Limit(lambda: b"[" + b"[]," * 64 + _array(b'""', MEGABYTE) + b"]"),
    "keys-100,000": Limit(lambda: _keys(100_000)),
    "key-twice": Limit(lambda: b"{" + b'"a":0,' * 100_000 + b'"a":0}', "the same key twice"),
    "key-of-a-megabyte": Limit(lambda: b'{"' + b"k" * MEGABYTE + b'":0}'),
    "brackets-unbalanced": Limit(lambda: b"[]," * (MEGABYTE // 3), "not JSON at character"),
    "space": Limit(lambda: b" " * MEGABYTE + b"0"),
    "zeros": Limit(lambda: b"\x00" * MEGABYTE, "not JSON at character"),
}


def try_limits(watch: Watch) -> None:
    """Read the large documents, and measure what each takes."""
    readers = _readers()
    for read in readers.values():
        read(b'{"a":0}')
    names = list(LIMITS)
    timed = watch.goal >= 10 * len(LIMITS)
    while watch.goes_on():
        seed = watch.next_seed()
        name = names[seed % len(names)]
        reader = list(readers)[seed // len(names) % len(readers)]
        where = f"{again('json-limits', seed)}: {name}, {reader}"
        limit = LIMITS[name]
        payload = b'{"a":' + limit.make() + b"}"
        try:
            readers[reader](payload)
        except MessageDecodeError as error:
            if limit.says is None or limit.says not in str(error):
                watch.violation(f"{where}: {error}")
        except BaseException as exc:  # whatever it is, it is the finding
            watch.violation(f"{where}: {type(exc).__name__}: {exc!s:.200}")
        else:
            if limit.says is not None:
                watch.violation(f"{where}: was read, and should say {limit.says!r}")
        check_cost(watch, readers[reader], payload, where, timed=timed, memory=True)
        watch.met(name)
        watch.done()
