"""The checks of the rows about bytes and ids find what they are there for."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from trio_agents._core._supervision import Supervisor
from trio_agents._sansio import _identifiers, _json, _json_scalars, _serializers
from trio_agents._sansio._errors import MessageDecodeError
from trio_agents._sansio._serialization import SerializationRegistry
from trio_agents.testing.nightly import _bytes_cost, _bytes_frames, _bytes_ids, _bytes_json
from trio_agents.testing.nightly._bytes_cost import check_cost, the_audit
from trio_agents.testing.nightly._bytes_frames import (
    Circle,
    Line,
    Order,
    an_order,
    conforms,
    kinds,
    look_at_frame,
    mutate,
    try_fields,
    try_frames,
)
from trio_agents.testing.nightly._bytes_ids import try_ids, try_log_lines
from trio_agents.testing.nightly._bytes_json import document, is_same, try_documents, try_limits
from trio_agents.testing.nightly._row import Watch

Plant = Callable[[pytest.MonkeyPatch], None]
decode = _serializers.DataclassJsonSerializer.deserialize


class Search(Watch):
    """Ends the work of a row as soon as a violation says what is searched."""

    def __init__(self, said: str, *, goal: int) -> None:
        super().__init__(goal=goal, seconds=60)
        self.said = re.compile(said)
        self.texts: list[str] = []

    def violation(self, text: str) -> None:
        self.texts.append(text)
        if self.said.search(text):
            self.goal = 0


def finds(work: Callable[[Watch], None], said: str, *, goal: int = 2_000) -> bool:
    """Whether a row finds a violation that says so, within its first units."""
    search = Search(said, goal=goal)
    work(search)
    assert search.goal == 0, search.texts[:3]
    return True


# --- frames


def instead(read: Callable[[Any, bytes], Any]) -> Plant:
    """Have dataclasses read by something else, once the row has seen that valid ones are read."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        made = kinds()
        patch.setattr(_bytes_frames, "kinds", lambda: made)
        patch.setattr(_serializers.DataclassJsonSerializer, "deserialize", read)

    return plant


def raise_key_error(serializer: Any, payload: bytes) -> Any:
    try:
        return decode(serializer, payload)
    except MessageDecodeError as error:
        raise KeyError("text") from error


def quote(serializer: Any, payload: bytes) -> Any:
    try:
        return decode(serializer, payload)
    except MessageDecodeError as error:
        raise MessageDecodeError(f"{error}: {payload!r}") from None


def guess(serializer: Any, payload: bytes) -> Any:
    try:
        return decode(serializer, payload)
    except MessageDecodeError:
        return an_order(Random(0))


def take_any_text(serializer: Any, payload: bytes) -> Any:
    message = decode(serializer, payload)
    message.amount = str(message.amount)
    return message


def never_the_same(serializer: Any, payload: bytes) -> Any:
    return dataclasses.replace(an_order(Random(time.perf_counter_ns())))


def run_it(serializer: Any, payload: bytes) -> Any:
    exec("pass")
    return decode(serializer, payload)


def open_it(serializer: Any, payload: bytes) -> Any:
    with open(__file__):
        return decode(serializer, payload)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (raise_key_error, "KeyError instead of a MessageDecodeError"),
        (quote, "the error quotes the payload"),
        (take_any_text, "was read as what it is not"),
        (never_the_same, "comes back as another|what it is not"),
        (run_it, "bytes caused ..compile"),
        (open_it, "bytes caused ..open"),
    ],
)
def test_a_serializer_that_does_wrong_is_found(
    read: Callable[[Any, bytes], Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(read)(monkeypatch)
    assert finds(try_frames, said, goal=2_000)


def test_a_fallback_that_reads_anything_is_found_by_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    instead(guess)(monkeypatch)
    assert finds(try_fields, "took", goal=200)


def test_an_import_that_bytes_cause_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_it(serializer: Any, payload: bytes) -> Any:
        with suppress(ModuleNotFoundError):
            importlib.import_module("a_module_that_is_not_there")
        return decode(serializer, payload)

    instead(import_it)(monkeypatch)
    assert finds(try_frames, r"bytes caused \[.import", goal=200)


def test_a_type_name_that_selects_a_serializer_by_itself_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SerializationRegistry, "deserialize", lambda *args, **names: "something")
    assert finds(try_frames, "the unknown type", goal=200)


def test_a_valid_message_that_is_not_read_ends_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serializers.DataclassJsonSerializer, "deserialize", take_any_text)
    with pytest.raises(AssertionError, match="a valid message of kind dataclass"):
        kinds()


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": 7},
        {"amount": True},
        {"amount": 7.0},
        {"price": 7},
        {"price": float("nan")},
        {"text": "\ud800"},
        {"note": 7},
        {"mode": 3.0},
        {"lines": (Line("a", 1),)},
        {"lines": [Line("a", "1")]},  # type: ignore[arg-type]
        {"tags": ["a"]},
        {"tags": {1}},
        {"pair": [1, "a"]},
        {"pair": (1, "a", 2)},
        {"shape": {"radius": 1.0}},
        {"shape": Circle(1)},
        {"mixed": "2026-01-31"},
        {"names": {1: 1}},
        {"table": {"1": "a"}},
        {"extra": {1: 1}},
        {"extra": (1,)},
        {"extra": [float("inf")]},
        {"id": "0"},
    ],
)
def test_a_value_of_another_type_does_not_conform(wrong: dict[str, Any]) -> None:
    order = an_order(Random(0))
    assert conforms(order, Order)
    assert not conforms(dataclasses.replace(order, **wrong), Order)


def test_a_mutation_is_rarely_the_payload_itself() -> None:
    random, payload = Random(0), b'{"text":"abc","amount":1}'
    unchanged = sum(mutate(random, payload, payload) == payload for _ in range(1_000))
    assert unchanged < 100


def test_a_seed_makes_the_same_frames_again() -> None:
    first, second = (
        [payload for _, payload in _bytes_frames.frames_of(Random(7), kinds())] for _ in range(2)
    )
    assert first == second


def test_every_valid_frame_is_accepted() -> None:
    for kind in kinds():
        for seed in range(50):
            payload = kind.serializer.serialize(kind.make(Random(seed)))
            assert look_at_frame(kind, payload) is None


def test_the_audit_hears_this_thread_and_only_while_it_listens() -> None:
    audit = the_audit()
    with audit.listening() as heard:
        compile("1", "<heard>", "eval")
    compile("1", "<not heard>", "eval")
    assert len(heard) == 1
    assert heard[0].startswith("compile")


# --- what reading costs


def test_a_slow_reader_is_found_in_a_long_run_only() -> None:
    def read(payload: bytes) -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    watch = Watch(goal=1, seconds=60)
    check_cost(watch, read, b"1", "here", timed=False, memory=False)
    assert watch.report.violations == []
    check_cost(watch, read, b"1", "here", timed=True, memory=False)
    assert "here: reading 1 bytes took" in watch.report.violations[0]


def test_a_reader_of_much_may_take_some_times_as_long_as_json() -> None:
    payload = b"[" + b"[]," * 30_000 + b"[]]"
    watch = Watch(goal=1, seconds=60)
    check_cost(watch, json.loads, payload, "here", timed=True, memory=False)
    assert watch.report.violations == []

    def read(payload: bytes) -> None:
        for _ in range(50):
            json.loads(payload)

    check_cost(watch, read, payload, "here", timed=True, memory=False)
    assert "json reads as many bytes of lists in" in watch.report.violations[0]


def test_a_greedy_reader_is_found() -> None:
    watch = Watch(goal=1, seconds=60)
    check_cost(watch, lambda payload: bytes(10**6), b"1", "here", timed=False, memory=True)
    assert "here: reading 1 bytes needed 1000" in watch.report.violations[0]


def test_a_greedy_reader_is_found_among_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bytes_cost, "MAX_BYTES_PER_BYTE", 1)
    assert finds(try_limits, "needed", goal=4)


def test_a_limit_that_is_not_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json, "_is_too_deep", lambda payload: False)
    assert finds(try_limits, "depth\\-100, parse_json: was read, and should say", goal=1)


# --- documents


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("_is_too_deep", lambda payload: False, "breaks .'too-deep'., and was read as"),
        ("MAX_DEPTH", 63, "is valid, and was refused"),
        ("_DECODER", json.JSONDecoder(), "breaks .'same-key-twice'., and was read as"),
        ("_DECODER", json.JSONDecoder(), "breaks .'not-a-number'., and was read as"),
        ("_DECODER", json.JSONDecoder(), "breaks .'float-too-large'., and was read as"),
        ("_DECODER", json.JSONDecoder(parse_float=str), "and was read as"),
        ("_DECODER", json.JSONDecoder(parse_int=float), "and was read as"),
        ("_DECODER", json.JSONDecoder(strict=False), "breaks .'syntax'., and was read as"),
        ("_int", lambda text: 7, "and was read as"),
        ("_SURROGATE_ESCAPE", re.compile(rb"never"), "breaks .'half-a-surrogate-pair'., and was"),
    ],
)
def test_a_reader_of_json_that_is_too_lenient_or_too_strict_is_found(
    name: str, value: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "_int":
        value = json.JSONDecoder(object_pairs_hook=_json._object, parse_int=value)
        name = "_LONG_DECODER"
    monkeypatch.setattr(_json, name, value)
    assert finds(try_documents, said, goal=20_000)


def test_a_byte_order_mark_that_is_swallowed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = _json.read_json
    monkeypatch.setattr(
        _json, "read_json", lambda payload: read(payload.removeprefix(b"\xef\xbb\xbf"))
    )
    assert finds(try_documents, "breaks \\['byte\\-order\\-mark'\\], and was read as", goal=600)


def test_bytes_that_are_repaired_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = _json.read_json
    repair = lambda payload: read(payload.decode("utf-8", "replace").encode())  # noqa: E731
    monkeypatch.setattr(_json, "read_json", repair)
    assert finds(try_documents, "breaks \\['not\\-utf\\-8'\\], and was read as", goal=600)


def test_a_seed_makes_the_same_document_again() -> None:
    assert document(Random(7)) == document(Random(7))


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), (0.0, -0.0), ([1], [1.0]), ({"a": 1}, {"a": True}), ([], [1]), ("1", 1)],
)
def test_values_that_python_takes_for_equal_are_not_the_same(one: object, other: object) -> None:
    assert is_same(one, one)
    assert not is_same(one, other)


# --- fields


def test_a_field_that_takes_more_than_it_should_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(value: Any) -> Any:
        return bool(value)

    monkeypatch.setattr(_json_scalars.SCALARS[bool], "decode", lenient)
    assert finds(try_fields, "(Order|Parcel).paid took")


def test_an_error_that_does_not_name_its_field_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json.Fault, "path", lambda fault: "")
    assert finds(try_fields, "the error does not name", goal=200)


# --- ids


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("_check_key", lambda text, what: text, "is not valid, and was taken"),
        ("MAX_KEY_LENGTH", 4095, "is valid, and was refused"),
        ("MAX_TYPE_LENGTH", 255, "is valid, and was refused"),
        ("_excerpt", str, "was refused in an error that is no short line"),
        (
            "_split",
            lambda text, *_: text.rpartition("/")[::2],
            "the text of .* is valid, and was refused|comes back as",
        ),
    ],
)
def test_an_id_that_takes_or_gives_something_else_is_found(
    name: str, value: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_identifiers, name, value)
    monkeypatch.setattr(_identifiers, "_known_types", {p: set() for p in _identifiers._known_types})
    assert finds(try_ids, said, goal=40_000)


def test_two_ids_with_one_text_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_identifiers.AgentId, "__str__", lambda id: "one/id")
    assert finds(try_ids, "comes back as|stands for two ids", goal=200)


@pytest.mark.parametrize("text", ["a\nb", "a\u2028b", "a\x1b[31mb", "a\u202eb", "a\x85b"])
def test_text_that_forges_a_line_is_no_line(text: str) -> None:
    assert not _bytes_ids.is_one_line(text)


def test_a_log_line_that_can_be_forged_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def report(supervisor: Any, error: BaseException, envelope: Any) -> None:
        logging.getLogger("autogen_core").error("message %s failed", envelope.message_id)

    monkeypatch.setattr(Supervisor, "report", report)
    assert finds(try_log_lines, "is not one line", goal=100)


def test_log_levels_are_as_they_were() -> None:
    logger = logging.getLogger("autogen_core.events")
    before = (logger.level, logger.propagate, list(logging.getLogger("autogen_core").handlers))
    with _bytes_ids.all_logged():
        assert logger.isEnabledFor(logging.DEBUG)
    after = (logger.level, logger.propagate, list(logging.getLogger("autogen_core").handlers))
    assert after == before


def test_rules_are_reached_by_the_documents() -> None:
    watch = Watch(goal=2_000, seconds=60)
    try_documents(watch)
    assert {*_bytes_json.RULES, "valid"} == {*watch.report.reached}
