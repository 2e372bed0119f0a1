from __future__ import annotations

import copy
import enum
import pickle
import string
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_agents._sansio import _identifiers
from trio_agents._sansio._contexts import MessageHandlerContext
from trio_agents._sansio._errors import InvalidIdentifier
from trio_agents._sansio._identifiers import AgentId, AgentMetadata, AgentType, TopicId
from trio_agents._sansio._subscriptions import DefaultTopicId

WORD = string.ascii_letters + string.digits + "_äß漢"
agent_types = st.text(WORD + "-.", min_size=1, max_size=256)
topic_types = st.text(WORD + "-.:=", min_size=1, max_size=256)
keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)

agent_ids = st.builds(AgentId, agent_types, keys)
topic_ids = st.builds(TopicId, topic_types, keys)
values = st.one_of(agent_ids, topic_ids, st.builds(AgentType, agent_types))


# ID-01, ID-02, ID-03, ID-04, ID-05
@given(agent_types, keys)
def test_agent_ids_round_trip(type: str, key: str) -> None:
    id = AgentId(type, key)
    assert (id.type, id.key, str(id)) == (type, key, f"{type}/{key}")
    assert AgentId.from_str(str(id)) == id
    assert AgentId.from_str(str(id)).key == key


# ID-12, ID-13
@given(topic_types, keys)
def test_topic_ids_round_trip(type: str, source: str) -> None:
    id = TopicId(type, source)
    assert (id.type, id.source, str(id)) == (type, source, f"{type}/{source}")
    assert TopicId.from_str(str(id)) == id


# ID-07
@given(agent_ids, agent_ids)
def test_agent_ids_are_equal_when_type_and_key_are(one: AgentId, other: AgentId) -> None:
    same = AgentId("".join(one.type), "".join(one.key))
    assert one == same
    assert hash(one) == hash(same)
    assert {one: 1}[same] == 1
    assert (one == other) == ((one.type, one.key) == (other.type, other.key))


# ID-07
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (AgentId("a", "b/c"), AgentId("a", "b")),
        (AgentId("a", "b"), TopicId("a", "b")),
        (AgentId("a", "b"), "a/b"),
        (AgentType("a"), "a"),
        (AgentType("a"), AgentType("A")),
        (TopicId("a", "b"), TopicId("a", "b ")),
    ],
)
def test_what_differs_is_not_equal(one: object, other: object) -> None:
    assert one != other
    assert other != one


# ID-08
def test_the_text_forms() -> None:
    assert repr(AgentType("my_agent")) == "AgentType(type='my_agent')"
    assert str(AgentType("my_agent")) == "my_agent"
    assert repr(AgentId("a", "b")) == "AgentId(type='a', key='b')"
    assert repr(TopicId("a", "b")) == "TopicId(type='a', source='b')"
    assert repr(DefaultTopicId()) == "DefaultTopicId(type='default', source='default')"


# ID-02, ID-09
def test_an_agent_id_takes_an_agent_type() -> None:
    id = AgentId(AgentType("a"), "b")
    assert id == AgentId("a", "b")
    assert type(id.type) is str


# ID-04, ID-13
def test_the_first_slash_divides() -> None:
    assert AgentId.from_str("a/b/c//") == AgentId("a", "b/c//")
    assert AgentId.from_str("a/") == AgentId("a", "")
    source = "github.com/owner/repo/issues/1"
    assert TopicId.from_str(f"issue:x=1/{source}") == TopicId("issue:x=1", source)
    assert type(DefaultTopicId.from_str("a/b")) is TopicId


# ID-04, ID-13, GAP-02
@pytest.mark.parametrize("read", [AgentId.from_str, TopicId.from_str])
@pytest.mark.parametrize(
    "text", ["", "no slash", "/key", "a b/key", "ä\n/x", "a/\x00", None, b"a/b"]
)
def test_malformed_text_is_refused(read: Any, text: Any) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        read(text)
    assert isinstance(caught.value, ValueError)


# ID-06, ID-14
@pytest.mark.parametrize("type", ["a", "A-1", "1", "a.b", "_", "ärger", "x" * 256])
def test_types_that_samples_use_are_valid(type: str) -> None:
    assert AgentType(type).type == AgentId(type, "k").type == TopicId(type, "s").type == type


# ID-06, ID-14
@pytest.mark.parametrize(
    "type",
    ["", " ", "a b", "a/b", "a\n", "\na", "a\x00", "a\r", "a!", "x" * 257, "\ud800", "a\u2028"],
)
def test_other_types_are_refused(type: str) -> None:
    for build in (AgentType, lambda t: AgentId(t, "k"), lambda t: TopicId(t, "s")):
        for _ in range(2):  # what is known to be valid is remembered; what is not, is not
            with pytest.raises(InvalidIdentifier, match="type"):
                build(type)


# ID-14
@pytest.mark.parametrize("type", ["a:b", "a=b", "rpc:x=1"])
def test_colons_and_equals_signs_are_for_topics_only(type: str) -> None:
    TopicId(type, "s")
    with pytest.raises(InvalidIdentifier):
        AgentId(type, "k")
    TopicId(type, "s")


# ID-15
@pytest.mark.parametrize("key", ["", " ", "~", "a/b", "a b:c", "%", "x" * 4096])
def test_a_key_is_any_printable_ascii_text(key: str) -> None:
    assert AgentId("a", key).key == key
    assert TopicId("a", key).source == key


# ID-15
@pytest.mark.parametrize("key", ["\x00", "a\n", "\t", "\x7f", "ä", "漢", "\ud800", "a" * 4097])
def test_other_keys_are_refused_and_say_what_to_do(key: str) -> None:
    for build in (AgentId, TopicId):
        with pytest.raises(InvalidIdentifier, match=r"space.*quote|too long"):
            build("a", key)


@pytest.mark.parametrize("size", [4097, 1_000_000])
def test_a_hostile_id_is_refused_in_a_short_sentence(size: int) -> None:
    for build in (
        lambda: AgentId("a" * size, "k"),
        lambda: AgentId("a", "k" * size),
        lambda: TopicId("\n" * size, "k"),
        lambda: AgentId.from_str("a" * size),
        lambda: TopicId.from_str("a/" + "\x00" * size),
    ):
        with pytest.raises(InvalidIdentifier) as caught:
            build()
        assert len(str(caught.value)) < 500


@given(st.text(), st.text())
def test_whatever_is_accepted_round_trips(type: str, key: str) -> None:
    for cls in (AgentId, TopicId):
        try:
            id = cls(type, key)
        except InvalidIdentifier:
            continue
        assert cls.from_str(str(id)) == id


@pytest.mark.parametrize("wrong", [None, 1, b"a", ["a"], {}, object(), AgentId("a", "b")])
def test_only_text_is_accepted(wrong: Any) -> None:
    for build in (
        AgentType,
        lambda it: AgentId(it, "k"),
        lambda it: AgentId("a", it),
        lambda it: TopicId(it, "s"),
        lambda it: TopicId("a", it),
    ):
        with pytest.raises(InvalidIdentifier, match="must be a str, not"):
            build(wrong)


def test_a_member_of_an_enum_of_strings_stands_for_its_value() -> None:
    class Name(str, enum.Enum):  # noqa: UP042  # a StrEnum formats as its value anyway
        WRITER = "writer"

    id = AgentId(Name.WRITER, Name.WRITER)
    assert str(id) == "writer/writer"
    assert type(id.type) is type(id.key) is str
    assert str(TopicId(Name.WRITER, Name.WRITER)) == "writer/writer"
    assert type(AgentType(Name.WRITER).type) is str


@given(values)
def test_values_survive_copying_and_pickling(value: object) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(value, protocol))
        assert again == value
        assert hash(again) == hash(value)
        assert repr(again) == repr(value)
    assert copy.copy(value) == copy.deepcopy(value) == value


# ID-17
def test_a_default_topic_comes_back_as_the_topic_it_is() -> None:
    topic = pickle.loads(pickle.dumps(DefaultTopicId("a", "b")))
    assert topic == TopicId("a", "b")


@given(values)
def test_values_cannot_be_changed(value: Any) -> None:
    before = repr(value)
    for name in ("type", "key", "source", "_text", "anything"):
        with pytest.raises(AttributeError, match="is a value"):
            setattr(value, name, "x")
        with pytest.raises(AttributeError, match="is a value"):
            delattr(value, name)
    assert repr(value) == before
    assert not hasattr(value, "__dict__")


def test_values_can_be_matched() -> None:
    match (AgentId("a", "k"), TopicId("t", "s"), AgentType("a")):
        case AgentId(type, key), TopicId(topic, source), AgentType(name):
            assert (type, key, topic, source, name) == ("a", "k", "t", "s", "a")
        case _:
            raise AssertionError


# ID-17, ID-18
def test_a_default_topic_stays_in_the_session_of_its_handler() -> None:
    assert DefaultTopicId() == TopicId("default", "default")
    with MessageHandlerContext.populate_context(AgentId("a", "session")):
        assert DefaultTopicId() == TopicId("default", "session")
        assert DefaultTopicId("t").source == "session"
        assert DefaultTopicId(source="given").source == "given"
        assert DefaultTopicId(source="").source == ""
        assert hash(DefaultTopicId()) == hash(TopicId("default", "session"))
    assert isinstance(DefaultTopicId(), TopicId)


# ID-11
def test_metadata_is_a_dictionary() -> None:
    metadata = AgentMetadata(type="a", key="b", description="c")
    assert metadata["type"] == "a"


def test_the_memory_of_valid_types_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[str] = set()
    monkeypatch.setitem(_identifiers._known_types, _identifiers.AGENT_TYPE, known)
    monkeypatch.setattr(_identifiers, "_MAX_KNOWN_TYPES", 3)
    for number in range(10):
        AgentType(f"a{number}")
        AgentType(f"a{number}")
    assert len(known) == 3
