"""What a runtime logs: event objects, lines for developers, and nothing when nobody listens."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from trio_agents import (
    EVENT_LOGGER_NAME,
    JSON_DATA_CONTENT_TYPE,
    ROOT_LOGGER_NAME,
    TRACE_LOGGER_NAME,
    AgentId,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    message_handler,
)
from trio_agents.exceptions import MessageDroppedException
from trio_agents.logging import (
    AgentConstructionExceptionEvent,
    DeliveryStage,
    LLMCallEvent,
    MessageDroppedEvent,
    MessageEvent,
    MessageHandlerExceptionEvent,
    MessageKind,
)

from . import loop
from .loop import SingleThreadedAgentRuntime, open_runtime

A, B = AgentId("a", "k"), AgentId("b", "k")
NEWS = TopicId("news", "k")
SEND, DELIVER = DeliveryStage.SEND, DeliveryStage.DELIVER


@dataclass
class Secret:
    text: str = "hush"


class Keeper(RoutedAgent):
    """Answers secrets with secrets."""

    def __init__(self) -> None:
        super().__init__("keeps secrets")

    @message_handler
    async def on_secret(self, message: Secret, ctx: MessageContext) -> Secret:
        if message.text == "fail":
            raise ValueError("told everybody")
        return Secret(f"{message.text}, too")


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def events(self) -> list[Any]:
        return [record.msg for record in self.records]

    def lines(self) -> list[str]:
        return [f"{record.levelname} {record.getMessage()}" for record in self.records]


@contextmanager
def listening(name: str, level: int) -> Iterator[Records]:
    """Set up logging as an application does: a level, and a handler, for a logger of ours."""
    records = Records()
    logger = logging.getLogger(name)
    before = logger.level, logger.propagate
    logger.setLevel(level)
    logger.propagate = False  # pytest listens at the root, and reads everything
    logger.addHandler(records)
    try:
        yield records
    finally:
        logger.removeHandler(records)
        logger.setLevel(before[0])
        logger.propagate = before[1]


Talk = Callable[[SingleThreadedAgentRuntime], Awaitable[Any]]


async def run(talk: Talk, **options: Any) -> None:
    """Run *talk* with a runtime that has two agents who hear the news."""
    async with open_runtime(**options) as runtime:
        for name in ("a", "b"):
            await Keeper.register(runtime, name, Keeper)
            await runtime.add_subscription(TypeSubscription("news", name))
        await talk(runtime)


async def send(runtime: SingleThreadedAgentRuntime) -> None:
    await runtime.send_message(Secret(), B, sender=A)


async def publish(runtime: SingleThreadedAgentRuntime) -> None:
    await runtime.publish_message(Secret(), NEWS)


def steps(events: list[Any]) -> list[tuple[Any, ...]]:
    return [(e.kind, e.delivery_stage, e.sender, e.receiver) for e in events]


# LOG-02, LOG-05, LOG-09
async def test_a_request_is_four_events() -> None:
    with listening(EVENT_LOGGER_NAME, logging.INFO) as records:
        await run(send)
    events = records.events()
    assert all(type(event) is MessageEvent for event in events)
    assert steps(events) == [
        (MessageKind.DIRECT, SEND, A, B),
        (MessageKind.DIRECT, DELIVER, A, B),
        (MessageKind.RESPOND, SEND, B, A),
        (MessageKind.RESPOND, DELIVER, B, A),
    ]


# LOG-05, LOG-09, and the receiver of a delivery is its recipient, where AutoGen has none
async def test_a_publication_is_one_event_and_one_for_each_recipient() -> None:
    with listening(EVENT_LOGGER_NAME, logging.INFO) as records:
        await run(publish)
    assert steps(records.events()) == [
        (MessageKind.PUBLISH, SEND, None, NEWS),
        (MessageKind.PUBLISH, DELIVER, None, A),
        (MessageKind.PUBLISH, DELIVER, None, B),
    ]


# LOG-04, LOG-05
@pytest.mark.parametrize(
    ("level", "payload"), [(logging.INFO, "<Secret>"), (logging.DEBUG, '{"text":"hush"}')]
)
async def test_the_text_of_an_event_is_json_and_shows_bodies_at_debug_only(
    level: int, payload: str
) -> None:
    with listening(EVENT_LOGGER_NAME, level) as records:
        await run(send)
    record = records.records[0]
    assert (record.name, record.levelno) == (EVENT_LOGGER_NAME, logging.INFO)
    shown = json.loads(record.getMessage())
    assert shown.pop("payload").replace(" ", "") == payload
    assert shown == {
        "sender": "a/k",
        "receiver": "b/k",
        "kind": "MessageKind.DIRECT",
        "delivery_stage": "DeliveryStage.SEND",
        "type": "Message",
    }


# LOG-10, RT-13
async def test_a_failing_subscriber_is_an_event_and_an_error_with_its_traceback() -> None:
    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        await runtime.publish_message(Secret("fail"), NEWS, sender=A)

    with listening(ROOT_LOGGER_NAME, logging.INFO) as records:
        await run(talk)
    (failure,) = [e for e in records.events() if isinstance(e, MessageHandlerExceptionEvent)]
    assert failure.handling_agent == B
    assert isinstance(failure.exception, ValueError)
    assert failure.payload == "<Secret>"
    (error,) = [record for record in records.records if record.levelno == logging.ERROR]
    assert error.name == ROOT_LOGGER_NAME
    assert error.exc_info is not None
    assert error.exc_info[1] is failure.exception
    assert "b/k" in error.getMessage()
    assert "news/k" in error.getMessage()


async def test_a_failing_request_is_an_event_and_its_error_goes_to_the_sender_alone() -> None:
    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        with pytest.raises(ValueError, match="told everybody"):
            await runtime.send_message(Secret("fail"), B)

    with listening(ROOT_LOGGER_NAME, logging.INFO) as records:
        await run(talk)
    (failure,) = [e for e in records.events() if isinstance(e, MessageHandlerExceptionEvent)]
    assert failure.handling_agent == B
    assert all(record.levelno < logging.ERROR for record in records.records)


async def test_a_cancelled_handler_is_no_failure() -> None:
    class Waits(Keeper):
        @message_handler
        async def on_secret(self, message: Secret, ctx: MessageContext) -> Secret:
            await loop.sleep_forever()
            raise AssertionError

    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        await Waits.register(runtime, "waits", Waits)
        with loop.move_on_after(0.01):
            await runtime.send_message(Secret(), AgentId("waits", "k"))

    with listening(EVENT_LOGGER_NAME, logging.INFO) as records:
        await run(talk)
    assert {type(event) for event in records.events()} == {MessageEvent}


async def test_an_agent_that_cannot_be_made_is_an_event() -> None:
    def cannot() -> Keeper:
        raise OSError("no room")

    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        await runtime.register_factory("broken", cannot)
        with pytest.raises(OSError, match="no room"):
            await runtime.send_message(Secret(), AgentId("broken", "k"))

    with listening(EVENT_LOGGER_NAME, logging.INFO) as records:
        await run(talk)
    failure = records.events()[-1]
    assert isinstance(failure, AgentConstructionExceptionEvent)
    assert failure.agent_id == AgentId("broken", "k")
    assert isinstance(failure.exception, OSError)


class DropAll(DefaultInterventionHandler):
    """Drops one kind of message."""

    def __init__(self, kind: MessageKind) -> None:
        self._kind = kind

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        return DropMessage if self._kind is MessageKind.DIRECT else message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        return DropMessage if self._kind is MessageKind.PUBLISH else message

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        return DropMessage if self._kind is MessageKind.RESPOND else message


# IV-08
@pytest.mark.parametrize(
    ("kind", "sender", "receiver", "text"),
    [
        (MessageKind.DIRECT, A, B, "hush"),
        (MessageKind.PUBLISH, None, NEWS, "hush"),
        (MessageKind.RESPOND, B, A, "hush, too"),
    ],
)
async def test_a_dropped_message_is_an_event(
    kind: MessageKind, sender: AgentId | None, receiver: AgentId | TopicId, text: str
) -> None:
    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        if kind is MessageKind.PUBLISH:
            await publish(runtime)
        else:
            with pytest.raises(MessageDroppedException):
                await send(runtime)

    with listening(EVENT_LOGGER_NAME, logging.DEBUG) as records:
        await run(talk, intervention_handlers=[DropAll(kind)])
    dropped = records.events()[-1]
    assert isinstance(dropped, MessageDroppedEvent)
    assert (dropped.kind, dropped.sender, dropped.receiver) == (kind, sender, receiver)
    assert json.loads(dropped.payload) == {"text": text}


# LOG-03, LOG-04, LOG-09
async def test_there_are_lines_for_developers_and_they_show_no_bodies() -> None:
    with listening(TRACE_LOGGER_NAME, logging.INFO) as records:
        await run(send)
        await run(publish)
    assert records.lines() == [
        "INFO Sending message of type Secret to b/k, sender a/k",
        "INFO Handling message of type Secret by b/k, sender a/k",
        "INFO Resolving reply of type Secret of b/k for a/k",
        "INFO Publishing message of type Secret to news/k, sender None",
        "INFO Message of type Secret to news/k has 2 recipients",
        "INFO Handling message of type Secret by a/k, sender None",
        "INFO Handling message of type Secret by b/k, sender None",
    ]


# LOG-03
async def test_lines_for_developers_show_bodies_at_debug() -> None:
    with listening(TRACE_LOGGER_NAME, logging.DEBUG) as records:
        await run(send)
    assert any("hush, too" in line for line in records.lines() if line.startswith("DEBUG"))
    assert not any("hush" in line for line in records.lines() if line.startswith("INFO"))


async def test_the_line_about_a_reply_of_none_says_so() -> None:
    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        assert await runtime.send_message("unhandled", B) is None

    with listening(TRACE_LOGGER_NAME, logging.INFO) as records:
        await run(talk)
    assert records.lines()[-1] == "INFO Resolving reply of type NoneType of b/k for None"


async def test_a_body_cannot_pass_for_further_lines() -> None:
    class Verbatim(Counting):
        def serialize(self, message: Secret) -> bytes:
            return b"x\nERROR all is lost"

    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        runtime.add_message_serializer(Verbatim())
        await send(runtime)
        await publish(runtime)

    with listening(ROOT_LOGGER_NAME, logging.DEBUG) as records:
        await run(talk)
        assert all("\n" not in line for line in records.lines())


# LOG-01
async def test_the_root_switches_everything_on_and_off() -> None:
    with listening(ROOT_LOGGER_NAME, logging.INFO) as records:
        await run(send)
        names = {record.name for record in records.records}
        assert names == {EVENT_LOGGER_NAME, TRACE_LOGGER_NAME}
        logging.getLogger(ROOT_LOGGER_NAME).setLevel(logging.CRITICAL)
        records.records.clear()
        await run(send)
        assert records.records == []


class Counting:
    """A serializer that counts how often it is used."""

    type_name = "Secret"
    data_content_type = JSON_DATA_CONTENT_TYPE
    used = 0

    def serialize(self, message: Secret) -> bytes:
        self.used += 1
        return b"{}"

    def deserialize(self, payload: bytes) -> Secret:
        raise NotImplementedError


# LOG-04
@pytest.mark.parametrize(
    ("level", "used"), [(logging.WARNING, 0), (logging.INFO, 0), (logging.DEBUG, 4)]
)
async def test_messages_are_serialised_only_where_somebody_reads_them(
    level: int, used: int
) -> None:
    counting = Counting()

    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        runtime.add_message_serializer(counting)
        await send(runtime)

    with listening(EVENT_LOGGER_NAME, level) as records:
        await run(talk)
        assert counting.used == 0  # no handler has asked for the text yet
        for record in records.records:
            record.getMessage()
            record.getMessage()
    assert counting.used == used


class Broken(Counting):
    def serialize(self, message: Secret) -> bytes:
        raise KeyError("a bug of the application's")


@pytest.mark.parametrize("name", [EVENT_LOGGER_NAME, TRACE_LOGGER_NAME])
async def test_a_serializer_that_fails_disturbs_no_message(name: str) -> None:
    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        runtime.add_message_serializer(Broken())
        assert await runtime.send_message(Secret(), B) == Secret("hush, too")

    with listening(name, logging.DEBUG) as records:
        await run(talk)
        assert len(records.lines()) >= 3


async def test_no_event_is_made_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("nobody was to make an event")

    for event in (MessageEvent, MessageHandlerExceptionEvent, MessageDroppedEvent):
        monkeypatch.setattr(event, "__init__", refuse)
    with listening(EVENT_LOGGER_NAME, logging.WARNING):
        await run(send)
        await run(publish)


# LOG-09
async def test_an_id_of_the_senders_choice_cannot_pass_for_a_line_of_the_log() -> None:
    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        await runtime.publish_message(Secret("fail"), NEWS, message_id="x\nERROR all is lost")

    with listening(ROOT_LOGGER_NAME, logging.ERROR) as records:
        await run(talk)
    assert records.records
    assert all("\n" not in line for line in records.lines())


@dataclass
class Progress:
    """An event of the application's."""

    percent: int


# LOG-06, LOG-07
async def test_an_agent_logs_events_of_its_own_under_a_child_of_the_event_logger() -> None:
    logger = logging.getLogger(f"{EVENT_LOGGER_NAME}.digest")
    traces = logging.getLogger(f"{TRACE_LOGGER_NAME}.digest")

    class Works(Keeper):
        @message_handler
        async def on_secret(self, message: Secret, ctx: MessageContext) -> Secret:
            logger.info(Progress(50))
            traces.info("half of it")
            return message

    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        await Works.register(runtime, "works", Works)
        await runtime.send_message(Secret(), AgentId("works", "k"))

    with listening(ROOT_LOGGER_NAME, logging.INFO) as records:
        await run(talk)
    own = [record for record in records.records if record.name.endswith(".digest")]
    assert [record.msg for record in own] == [Progress(50), "half of it"]


class UsageTracker(logging.Handler):
    """Adds up the tokens of all calls of models."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, LLMCallEvent):
            self.tokens += record.msg.prompt_tokens + record.msg.completion_tokens


# LOG-08, LOG-11
async def test_a_handler_adds_up_the_tokens_that_agents_used() -> None:
    class Thinks(Keeper):
        @message_handler
        async def on_secret(self, message: Secret, ctx: MessageContext) -> Secret:
            event = LLMCallEvent(messages=[], response={}, prompt_tokens=7, completion_tokens=3)
            assert event.agent_id == self.id
            logging.getLogger(EVENT_LOGGER_NAME).info(event)
            return message

    async def talk(runtime: SingleThreadedAgentRuntime) -> None:
        await Thinks.register(runtime, "thinks", Thinks)
        for key in ("x", "y"):
            await runtime.send_message(Secret(), AgentId("thinks", key))

    tracker = UsageTracker()
    logger = logging.getLogger(EVENT_LOGGER_NAME)
    logger.addHandler(tracker)
    try:
        with listening(EVENT_LOGGER_NAME, logging.INFO) as records:
            await run(talk)
    finally:
        logger.removeHandler(tracker)
    assert tracker.tokens == 20
    calls = [event for event in records.events() if isinstance(event, LLMCallEvent)]
    assert json.loads(str(calls[0])) == {
        "type": "LLMCall",
        "messages": [],
        "response": {},
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "agent_id": "thinks/x",
    }
