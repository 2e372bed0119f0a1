from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import autogen_core
import pytest

from trio_agents._agents._class_subscriptions import default_subscription
from trio_agents._agents._routed_agent import RoutedAgent
from trio_agents._sansio._contexts import MessageContext, MessageHandlerContext
from trio_agents._sansio._dispatch import event, message_handler, rpc
from trio_agents._sansio._errors import CantHandleException
from trio_agents._sansio._identifiers import AgentId, TopicId
from trio_agents._sansio._subscriptions import DefaultTopicId

if TYPE_CHECKING:
    from .conftest import RecordingRuntime

DIRECT = MessageContext(None, None, True)
PUBLISHED = MessageContext(None, TopicId("news", "eu"), False)
WORKER = AgentId("worker", "x")


@dataclass
class Task:
    text: str


@dataclass
class UrgentTask(Task):
    pass


@dataclass
class Result:
    text: str


class Worker(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("works")
        self.heard: list[object] = []

    @message_handler
    async def on_task(self, message: Task, ctx: MessageContext) -> Result | None:
        return Result(message.text) if message.text else None

    @rpc
    async def on_question(self, message: str, ctx: MessageContext) -> str:
        return f"{message}!"

    @event
    async def on_news(self, message: str, ctx: MessageContext) -> None:
        self.heard.append((message, ctx.topic_id))


# RG-01, RG-14, RG-16, AG-04
async def test_a_message_reaches_the_handler_for_its_type(runtime: RecordingRuntime) -> None:
    await Worker.register(runtime, "worker", Worker)
    assert await runtime.send_message(Task("a"), WORKER) == Result("a")
    assert await runtime.send_message(UrgentTask("b"), WORKER) == Result("b")
    assert await runtime.send_message(Task(""), WORKER) is None
    assert await runtime.send_message("why", WORKER) == "why!"


# RG-11, RG-13, RG-16, CX-09, CX-10
async def test_a_publication_reaches_events_and_its_reply_goes_nowhere(
    runtime: RecordingRuntime,
) -> None:
    subscribed = default_subscription(type("Subscribed", (Worker,), {}))
    await subscribed.register(runtime, "worker", subscribed)
    topic = DefaultTopicId(source="x")
    await runtime.publish_message("news", topic)
    await runtime.publish_message(Task("a"), topic)
    assert (await runtime.agent(WORKER)).heard == [("news", topic)]


# AG-22, CX-06, CX-08, CX-12
async def test_a_handler_sees_its_agent_and_its_message_s_context(
    runtime: RecordingRuntime,
) -> None:
    class Curious(RoutedAgent):
        @message_handler
        async def handle(self, message: str, ctx: MessageContext) -> list[object]:
            return [ctx.sender, ctx.message_id, MessageHandlerContext.agent_id(), self.id]

    await Curious.register(runtime, "worker", lambda: Curious("asks"))
    boss = AgentId("boss", "b")
    reply = await runtime.send_message("?", WORKER, sender=boss, message_id="m")
    assert reply == [boss, "m", WORKER, WORKER]


# RG-03
async def test_an_unhandled_message_is_logged_without_its_content_and_answered_with_none(
    caplog: pytest.LogCaptureFixture, runtime: RecordingRuntime
) -> None:
    await Worker.register(runtime, "worker", Worker)
    with caplog.at_level(logging.INFO, "autogen_core"):
        assert await runtime.send_message(b"secret", WORKER) is None
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("autogen_core", logging.INFO)
    assert record.getMessage().startswith("Unhandled message: ")
    for word in ("worker/x", "direct message", "bytes"):
        assert word in record.getMessage()
    assert "secret" not in record.getMessage()


# RG-03, RG-09
async def test_on_unhandled_message_may_be_overridden() -> None:
    unhandled: list[object] = []

    class Strict(Worker):
        @rpc(match=lambda message, ctx: message > 3)
        async def on_number(self, message: int, ctx: MessageContext) -> None: ...

        async def on_unhandled_message(self, message: Any, ctx: MessageContext) -> None:
            unhandled.append((message, ctx))
            raise CantHandleException(str(message))

    for message, ctx in [(b"?", DIRECT), (3, DIRECT), (4, PUBLISHED)]:
        with pytest.raises(CantHandleException):
            await Strict().on_message(message, ctx)
    assert unhandled == [(b"?", DIRECT), (3, DIRECT), (4, PUBLISHED)]


# RG-07
async def test_a_reply_of_another_type_fails_the_sender(runtime: RecordingRuntime) -> None:
    class Wrong(RoutedAgent):
        @rpc
        async def handle(self, message: str, ctx: MessageContext) -> Result:
            return "text"  # type: ignore[return-value]

        @rpc(strict=False)
        async def handle_bytes(self, message: bytes, ctx: MessageContext) -> Result:
            return "text"  # type: ignore[return-value]

    await Wrong.register(runtime, "worker", lambda: Wrong("x"))
    with pytest.raises(ValueError, match=r"handler .*Wrong\.handle .*returned str"):
        await runtime.send_message("?", WORKER)
    assert await runtime.send_message(b"?", WORKER) == "text"


# RG-08
async def test_what_match_raises_fails_the_sender(runtime: RecordingRuntime) -> None:
    class Wrong(RoutedAgent):
        @rpc(match=lambda message, ctx: message["missing"])
        async def handle(self, message: dict[str, bool], ctx: MessageContext) -> None: ...

    await Wrong.register(runtime, "worker", lambda: Wrong("x"))
    with pytest.raises(KeyError, match="missing"):
        await runtime.send_message({}, WORKER)


# RG-05
def test_a_bad_handler_is_refused_with_its_class() -> None:
    with pytest.raises(TypeError, match=r"handler \S*Bad\.handle does not say which messages"):

        class Bad(RoutedAgent):
            @message_handler
            async def handle(self, message, ctx: MessageContext) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(TypeError, match=r"must be annotated with `-> None`"):

        class BadEvent(RoutedAgent):
            @event  # type: ignore[type-var]
            async def handle(self, message: Later, ctx: MessageContext) -> str:
                return ""

            class Later: ...


def test_a_hint_that_stays_unreadable_is_refused_with_the_first_agent() -> None:
    class Bad(RoutedAgent):
        @message_handler
        async def handle(self, message: NotThere, ctx: MessageContext) -> None: ...  # type: ignore  # noqa: F821

    with pytest.raises(TypeError, match=r"handler \S*Bad\.handle, 'NotThere', cannot be read"):
        Bad("x")


# RG-02: not to be replaced, but something may be put around it.
async def test_a_subclass_may_wrap_the_dispatch() -> None:
    steps: list[str] = []

    class Careful(Worker):
        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            steps.append("before")
            try:
                return await super().on_message_impl(message, ctx)
            finally:
                steps.append("after")

    assert await Careful().on_message(Task("a"), DIRECT) == Result("a")
    assert steps == ["before", "after"]


# RG-02
async def test_a_publication_s_handler_is_what_the_runtime_awaits() -> None:
    worker = Worker()
    coroutine = worker.on_message("news", PUBLISHED)
    assert coroutine.cr_code is Worker.on_news.__code__  # type: ignore[attr-defined]
    await coroutine


# RG-15
async def test_handlers_are_inherited_and_replaced_by_name() -> None:
    class Base(RoutedAgent):
        @message_handler
        async def on_text(self, message: str, ctx: MessageContext) -> str:
            return "base"

        @message_handler
        async def on_bytes(self, message: bytes, ctx: MessageContext) -> str:
            return "bytes"

    class Derived(Base):
        @message_handler
        async def on_text(self, message: str, ctx: MessageContext) -> str:
            return "derived"

    class Plain(Base):
        async def on_text(self, message: str, ctx: MessageContext) -> str:
            return "never called by the runtime"

    assert await Derived("x").on_message("", DIRECT) == "derived"
    assert await Derived("x").on_message(b"", DIRECT) == "bytes"
    assert await Base("x").on_message("", DIRECT) == "base"
    assert await Plain("x").on_message("", DIRECT) is None


TaskT = TypeVar("TaskT", bound=Task)


# RG-15, RG-18
async def test_an_abstract_generic_agent_is_made_concrete_by_a_subclass(
    runtime: RecordingRuntime,
) -> None:
    class Abstract(RoutedAgent, ABC, Generic[TaskT]):
        @message_handler
        async def handle(self, message: TaskT, ctx: MessageContext) -> Result:
            return await self.work(message)

        @abstractmethod
        async def work(self, task: TaskT) -> Result: ...

    class Concrete(Abstract[UrgentTask]):
        async def work(self, task: UrgentTask) -> Result:
            return Result(f"urgent {task.text}")

    await Concrete.register(runtime, "worker", lambda: Concrete("x"))
    assert await runtime.send_message(UrgentTask("a"), WORKER) == Result("urgent a")


# CX-05, AG-24, RG-18
async def test_an_agent_without_handlers_is_possible(runtime: RecordingRuntime) -> None:
    await RoutedAgent.register(runtime, "worker", lambda: RoutedAgent("idle"))
    assert await runtime.send_message("?", WORKER) is None
    assert runtime.serializers == []


def test_a_handler_with_the_decorator_of_autogen_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Mixed\.on_task was decorated by another library"):

        class Mixed(RoutedAgent):  # pyright: ignore[reportUnusedClass]
            @autogen_core.message_handler  # type: ignore[untyped-decorator,unused-ignore]
            async def on_task(self, message: str, ctx: autogen_core.MessageContext) -> str:
                return message
