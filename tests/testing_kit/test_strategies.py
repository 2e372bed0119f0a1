from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
from typing import Annotated, Any, cast

import annotated_types
import attrs
import pydantic
import pytest
import trio
from hypothesis import Phase, find, given, settings
from hypothesis.errors import NoSuchExample

from trio_agents import (
    AgentId,
    AgentType,
    DefaultTopicId,
    FunctionCall,
    Image,
    SerializationRegistry,
    SingleThreadedAgentRuntime,
    Subscription,
    TopicId,
    TypePrefixSubscription,
    try_get_known_serializers_for_type,
)
from trio_agents._sansio._json import parse_json, write_json
from trio_agents.exceptions import MessageDecodeError
from trio_agents.models import (
    AssistantMessage,
    CreateResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    SystemMessage,
    UserMessage,
)
from trio_agents.testing import _message_strategies
from trio_agents.testing.strategies import (
    agent_ids,
    agent_keys,
    agent_types,
    hostile_json,
    hostile_keys,
    hostile_text,
    json_values,
    messages,
    subscriptions,
    topic_ids,
    topic_types,
    topics_and_subscriptions,
)

REACH = settings(
    max_examples=3000, database=None, derandomize=True, deadline=None, phases=[Phase.generate]
)


def is_found(strategy: Any, condition: Any) -> bool:
    """Whether *strategy* comes up with such an example."""
    try:
        find(strategy, condition, settings=REACH)
    except NoSuchExample:
        return False
    return True


@given(agent_ids())
def test_an_agent_id_survives_its_text(id: AgentId) -> None:
    assert AgentId.from_str(str(id)) == id


@given(topic_ids())
def test_a_topic_survives_its_text(topic: TopicId) -> None:
    assert TopicId.from_str(str(topic)) == topic
    assert not isinstance(topic, DefaultTopicId)


@given(agent_types(), topic_types())
def test_every_name_is_accepted(agent_type: str, topic_type: str) -> None:
    assert AgentType(agent_type).type == agent_type
    assert TopicId(topic_type, "x").type == topic_type


@pytest.mark.parametrize(
    ("strategy", "condition"),
    [
        (agent_types(), lambda name: len(name) == 256),
        (agent_types(), lambda name: not name.isascii()),
        (topic_types(), lambda name: ":" in name),
        (agent_keys(), lambda key: key == ""),
        (agent_keys(), lambda key: "/" in key),
        (agent_keys(), lambda key: len(key) == 4096),
        (subscriptions(), lambda one: isinstance(one, TypePrefixSubscription)),
        (topics_and_subscriptions(), lambda both: len(both[1]) > 3),
        (json_values(), lambda value: isinstance(value, dict) and [] in value.values()),
        (json_values(), lambda value: isinstance(value, int) and value > 10**400),
        (hostile_text(), lambda text: "\x00" in text),
        (hostile_text(), lambda text: len(text) == 5_000),
        (hostile_text(), lambda text: "\ud800" in text),
        (hostile_json(), lambda payload: payload.startswith(b"[" * 3_000)),
        (hostile_keys(), lambda key: len(key) == 4096),
        (hostile_keys(), lambda key: "../" in key),
        (hostile_json(), lambda payload: b"NaN" in payload),
        (hostile_json(), lambda payload: payload.startswith(b"\xef\xbb\xbf")),
    ],
)
def test_what_is_promised_is_generated(strategy: Any, condition: Any) -> None:
    assert is_found(strategy, condition)


def test_a_search_for_what_is_never_generated_ends_without() -> None:
    assert not is_found(topic_types(), lambda name: "/" in name)


@given(topics_and_subscriptions())
def test_one_runtime_takes_all_subscriptions_and_one_matches(
    both: tuple[list[TopicId], list[Subscription]],
) -> None:
    topics, found = both

    async def main() -> None:
        async with SingleThreadedAgentRuntime() as runtime:
            for subscription in found:
                await runtime.add_subscription(subscription)

    trio.run(main)
    assert any(subscription.is_match(topic) for subscription in found for topic in topics)


@given(json_values())
def test_json_values_survive_the_library(value: Any) -> None:
    assert parse_json(write_json(value), what="value") == value


@given(messages(kinds=["dataclass", "attrs", "pydantic", "protobuf"]))
def test_messages_survive_the_serializers(message: Any) -> None:
    (serializer,) = try_get_known_serializers_for_type(type(message))
    assert serializer.deserialize(serializer.serialize(message)) == message


@given(messages(kinds=["plain"]))
def test_no_serializer_knows_a_plain_message(message: Any) -> None:
    assert try_get_known_serializers_for_type(type(message)) == []


@pytest.mark.parametrize("kind", ["dataclass", "attrs", "pydantic", "protobuf", "plain"])
def test_messages_are_of_every_kind(kind: Any) -> None:
    def is_of_kind(message: Any) -> bool:
        cls: Any = type(message)
        return {
            "dataclass": dataclasses.is_dataclass(cls),
            "attrs": attrs.has(cls),
            "pydantic": isinstance(message, pydantic.BaseModel),
            "protobuf": hasattr(message, "SerializeToString"),
            "plain": isinstance(message, str),
        }[kind]

    assert is_found(messages(), is_of_kind)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Node:
    name: str
    price: float
    colour: Colour
    tags: set[str]
    sizes: frozenset[int]
    pair: tuple[str, int]
    anything: Any
    below: list[Node]


class Order(pydantic.BaseModel):
    number: int = pydantic.Field(gt=0, alias="No")
    part: Annotated[float, annotated_types.Ge(0)] | None
    colour: Colour


@given(messages(Node, Order))
@settings(max_examples=50)
def test_messages_of_your_own_survive_the_serializers(message: Any) -> None:
    registry = SerializationRegistry()
    registry.add_serializer(try_get_known_serializers_for_type(type(message)))
    name = registry.type_name(message)
    data = registry.serialize(message, type_name=name, data_content_type="application/json")
    assert (
        registry.deserialize(data, type_name=name, data_content_type="application/json") == message
    )


@dataclasses.dataclass
class Letter:
    sender: AgentId
    kind: AgentType
    topics: list[TopicId]
    said: LLMMessage | None
    picture: Image | None
    named: Annotated[AgentId, "the one"]


@pytest.mark.parametrize(
    "hint",
    [
        AgentId,
        AgentType,
        TopicId,
        FunctionCall,
        Image,
        SystemMessage,
        UserMessage,
        AssistantMessage,
        FunctionExecutionResultMessage,
        CreateResult,
    ],
)
def test_messages_are_of_the_library_s_own_types(hint: Any) -> None:
    assert is_found(messages(hint), lambda message: type(message) is hint)


def test_messages_hold_the_library_s_own_types() -> None:
    assert is_found(
        messages(Letter),
        lambda letter: letter.topics and isinstance(letter.said, UserMessage) and letter.picture,
    )


def test_a_union_of_the_library_s_messages_is_filled() -> None:
    for cls in (SystemMessage, UserMessage, AssistantMessage, FunctionExecutionResultMessage):
        assert is_found(messages(cast(Any, LLMMessage)), lambda one, cls=cls: type(one) is cls)


def test_a_user_message_may_hold_a_picture() -> None:
    def holds_one(message: UserMessage) -> bool:
        return any(isinstance(part, Image) for part in message.content)

    assert is_found(messages(UserMessage), holds_one)


def test_without_pillow_there_are_no_pictures_where_there_need_be_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_message_strategies, "_has_pillow", lambda: False)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)

    @given(messages(UserMessage))
    @settings(max_examples=20, database=None)
    def look(message: UserMessage) -> None:
        assert all(isinstance(part, str) for part in message.content)

    look()
    with pytest.raises(ImportError, match=r"pip install 'trio-agents\[images\]'"):
        messages(Image).example()


@pytest.mark.parametrize("module", ["strategies", "stateful"])
def test_without_hypothesis_it_is_said_what_to_install(module: str) -> None:
    program = f"""
import sys
sys.modules["hypothesis"] = None
try:
    import trio_agents.testing.{module}
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (
        f"hypothesis, for trio_agents.testing.{module}, is not installed: "
        "pip install 'trio-agents[testing]'"
    )


def test_a_class_that_cannot_be_filled_is_named() -> None:
    with pytest.raises(TypeError, match=r"fills dataclasses, .* and <class 'int'> is none"):
        messages(int)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="not 'pickle'"):
        messages(kinds=["pickle"])  # type: ignore[list-item]


@given(hostile_json())
def test_every_hostile_document_is_refused(payload: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        parse_json(payload, what="document")


@given(agent_ids(keys=hostile_keys()))
def test_hostile_keys_are_valid(id: AgentId) -> None:
    assert AgentId.from_str(str(id)) == id


@given(hostile_text(surrogates=False))
def test_text_without_surrogates_can_be_encoded(text: str) -> None:
    text.encode()
