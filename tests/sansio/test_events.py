from __future__ import annotations

import json
import logging
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_agents._sansio._contexts import MessageHandlerContext
from trio_agents._sansio._events import (
    AgentConstructionExceptionEvent,
    DeliveryStage,
    LLMCallEvent,
    LLMStreamEndEvent,
    LLMStreamStartEvent,
    MessageDroppedEvent,
    MessageEvent,
    MessageHandlerExceptionEvent,
    MessageKind,
    Payload,
    ToolCallEvent,
)
from trio_agents._sansio._identifiers import AgentId, TopicId
from trio_agents._sansio._log_names import (
    EVENT_LOGGER_NAME,
    ROOT_LOGGER_NAME,
    TRACE_LOGGER_NAME,
)

AGENT = AgentId("writer", "eu")
TOPIC = TopicId("news", "eu")
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def llm_call(**kwargs: Any) -> LLMCallEvent:
    return LLMCallEvent(
        messages=MESSAGES, response={"a": 1}, prompt_tokens=3, completion_tokens=4, **kwargs
    )


def message_event(payload: Payload = "{}") -> MessageEvent:
    return MessageEvent(
        payload=payload,
        sender=AGENT,
        receiver=TOPIC,
        kind=MessageKind.PUBLISH,
        delivery_stage=DeliveryStage.SEND,
    )


# LOG-01, LOG-02, LOG-03
def test_the_logger_names_are_those_of_the_specification() -> None:
    assert ROOT_LOGGER_NAME == "autogen_core"
    assert EVENT_LOGGER_NAME == "autogen_core.events"
    assert TRACE_LOGGER_NAME == "autogen_core.trace"


# The right-hand sides are what autogen-core 0.7.5 prints for the same constructor calls.
@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            llm_call(model="m"),
            '{"model": "m", "type": "LLMCall", '
            '"messages": [{"role": "user", "content": "hello"}], "response": {"a": 1}, '
            '"prompt_tokens": 3, "completion_tokens": 4, "agent_id": null}',
        ),
        (
            LLMStreamStartEvent(messages=MESSAGES, model="m"),
            '{"model": "m", "type": "LLMStreamStart", '
            '"messages": [{"role": "user", "content": "hello"}], "agent_id": null}',
        ),
        (
            LLMStreamEndEvent(response={"a": 1}, prompt_tokens=3, completion_tokens=4, n=1),
            '{"n": 1, "type": "LLMStreamEnd", "response": {"a": 1}, '
            '"prompt_tokens": 3, "completion_tokens": 4, "agent_id": null}',
        ),
        (
            ToolCallEvent(tool_name="add", arguments={"a": 1}, result="2"),
            '{"type": "ToolCall", "tool_name": "add", "arguments": {"a": 1}, '
            '"result": "2", "agent_id": null}',
        ),
        (
            MessageEvent(
                payload="p",
                sender=AGENT,
                receiver=TOPIC,
                kind=MessageKind.PUBLISH,
                delivery_stage=DeliveryStage.DELIVER,
                n=1,
            ),
            '{"n": 1, "payload": "p", "sender": "writer/eu", "receiver": "news/eu", '
            '"kind": "MessageKind.PUBLISH", "delivery_stage": "DeliveryStage.DELIVER", '
            '"type": "Message"}',
        ),
        (
            MessageEvent(
                payload="p",
                sender=None,
                receiver=None,
                kind=MessageKind.RESPOND,
                delivery_stage=DeliveryStage.SEND,
            ),
            '{"payload": "p", "sender": null, "receiver": null, '
            '"kind": "MessageKind.RESPOND", "delivery_stage": "DeliveryStage.SEND", '
            '"type": "Message"}',
        ),
        (
            MessageDroppedEvent(
                payload="p", sender=None, receiver=AGENT, kind=MessageKind.DIRECT, n=1
            ),
            '{"n": 1, "payload": "p", "sender": null, "receiver": "writer/eu", '
            '"kind": "MessageKind.DIRECT", "type": "MessageDropped"}',
        ),
        (
            MessageHandlerExceptionEvent(
                payload="p", handling_agent=AGENT, exception=ValueError("bad"), n=1
            ),
            '{"n": 1, "payload": "p", "handling_agent": "writer/eu", "exception": "bad", '
            '"type": "MessageHandlerException"}',
        ),
        (
            AgentConstructionExceptionEvent(agent_id=AGENT, exception=ValueError("bad"), n=1),
            '{"n": 1, "agent_id": "writer/eu", "exception": "bad", '
            '"type": "AgentConstructionException"}',
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_the_text_of_an_event_is_the_json_that_autogen_core_writes(
    event: object, text: str
) -> None:
    assert str(event) == text


# LOG-05
def test_a_log_handler_receives_the_event_object_and_a_stream_its_json() -> None:
    stream = StringIO()
    logger = logging.Logger("events")
    logger.addHandler(logging.StreamHandler(stream))
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger.addHandler(Collector())

    event = llm_call()
    logger.info(event)

    assert records[0].msg is event
    assert json.loads(stream.getvalue())["type"] == "LLMCall"


# LOG-08
def test_the_token_counts_can_be_read_without_the_json() -> None:
    event = llm_call()
    assert (event.prompt_tokens, event.completion_tokens) == (3, 4)


def test_the_fields_of_a_message_event_are_the_objects_it_was_made_of() -> None:
    event = message_event()
    assert event.sender is AGENT
    assert event.receiver is TOPIC
    assert event.kind is MessageKind.PUBLISH
    assert event.delivery_stage is DeliveryStage.SEND


def test_kwargs_is_the_json_as_a_dictionary() -> None:
    event = message_event()
    assert json.loads(str(event)) == event.kwargs


def test_an_entry_that_a_log_handler_redacts_stays_redacted() -> None:
    event = llm_call()
    event.kwargs["messages"] = "(redacted)"
    assert json.loads(str(event))["messages"] == "(redacted)"


def test_further_entries_cannot_replace_those_of_the_event() -> None:
    assert json.loads(str(llm_call(type="other")))["type"] == "LLMCall"


@pytest.mark.parametrize(
    "make",
    [
        llm_call,
        lambda: LLMStreamStartEvent(messages=[]),
        lambda: LLMStreamEndEvent(response={}, prompt_tokens=0, completion_tokens=0),
        lambda: ToolCallEvent(tool_name="t", arguments={}, result=""),
    ],
    ids=["LLMCall", "LLMStreamStart", "LLMStreamEnd", "ToolCall"],
)
def test_an_event_made_in_a_handler_names_its_agent_even_when_formatted_elsewhere(
    make: Any,
) -> None:
    with MessageHandlerContext.populate_context(AGENT):
        event = make()
    assert event.agent_id is AGENT
    assert json.loads(str(event))["agent_id"] == "writer/eu"


def test_a_payload_function_is_not_called_until_the_event_is_formatted() -> None:
    calls: list[str] = []

    def payload() -> str:
        calls.append("called")
        return "text"

    event = message_event(payload)
    assert calls == []
    assert json.loads(str(event))["payload"] == "text"
    assert calls == ["called"]


def test_a_payload_function_is_called_once_however_often_the_event_is_read() -> None:
    texts = iter(["only"])
    event = message_event(lambda: next(texts))
    assert [event.payload, event.payload, event.kwargs["payload"]] == ["only"] * 3
    assert str(event) == str(event)


def test_a_payload_that_cannot_be_made_is_said_to_be_so() -> None:
    def payload() -> str:
        raise TypeError("a set is not JSON")

    assert message_event(payload).payload == "Message could not be serialized"


def test_a_value_that_json_does_not_know_is_replaced_by_the_name_of_its_type() -> None:
    entries = json.loads(str(llm_call(client=object(), nested=[{"at": {1}}])))
    assert entries["client"] == "<object>"
    assert entries["nested"] == [{"at": "<set>"}]


def test_a_value_that_contains_itself_is_replaced_and_the_other_entries_stay() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    entries = json.loads(str(llm_call(cycle=cycle)))
    assert entries["cycle"] == "<list>"
    assert entries["prompt_tokens"] == 3


def test_a_dictionary_with_keys_that_json_does_not_know_is_replaced() -> None:
    assert json.loads(str(llm_call(scores={(1, 2): 3})))["scores"] == "<dict>"


def test_a_value_too_deep_for_json_is_replaced() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert json.loads(str(llm_call(deep=deep)))["deep"] == "<list>"


def test_a_key_that_json_does_not_know_in_kwargs_is_replaced() -> None:
    event: Any = llm_call()
    event.kwargs[object()] = 1
    assert json.loads(str(event))["<object>"] == 1


def test_an_exception_without_text_is_named_by_its_class() -> None:
    event = AgentConstructionExceptionEvent(agent_id=AGENT, exception=KeyError())
    assert json.loads(str(event))["exception"] == "KeyError"


def test_an_exception_whose_text_cannot_be_made_is_named_by_its_class() -> None:
    event = MessageHandlerExceptionEvent(payload="", handling_agent=AGENT, exception=Unprintable())
    assert json.loads(str(event))["exception"] == "Unprintable"


ANYTHING = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
        | st.frozensets(st.integers())
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), ANYTHING, max_size=5))
def test_formatting_never_raises_and_loses_no_entry(further: dict[str, Any]) -> None:
    event = llm_call()
    event.kwargs.update(further)
    assert json.loads(str(event)).keys() == event.kwargs.keys()
