"""What type checkers infer about agents and handlers. Checked by mypy and pyright, never run.

A comment that silences an error has to be needed: mypy reports those that are not, and so does
pyright, which obeys the same comments.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, assert_type

from trio_agents._agents._agent_proxy import AgentProxy
from trio_agents._agents._base_agent import BaseAgent
from trio_agents._agents._class_subscriptions import (
    default_subscription,
    subscription_factory,
    type_subscription,
)
from trio_agents._agents._closure_agent import ClosureAgent, ClosureContext
from trio_agents._agents._routed_agent import RoutedAgent
from trio_agents._sansio._abc import Agent, AgentRuntime, Subscription
from trio_agents._sansio._contexts import MessageContext
from trio_agents._sansio._dispatch import MessageHandler, event, message_handler, rpc
from trio_agents._sansio._identifiers import AgentId, AgentMetadata, AgentType, TopicId
from trio_agents._sansio._subscriptions import DefaultSubscription


@dataclass
class Task:
    text: str


@dataclass
class Result:
    text: str


@dataclass
class Other:
    number: int


# --- decorated methods keep their signatures ---------------------------------------------------


@default_subscription
@type_subscription("tasks")
class Worker(RoutedAgent):
    def __init__(self, name: str) -> None:
        super().__init__(f"worker {name}")
        assert_type(self.id, AgentId)
        assert_type(self.type, str)
        assert_type(self.metadata, AgentMetadata)
        assert_type(self.runtime, AgentRuntime)

    @message_handler
    async def work(self, message: Task, ctx: MessageContext) -> Result:
        return Result(message.text)

    @message_handler()
    async def on_either(self, either: Task | Other, _: MessageContext) -> Result | None:
        return None

    @rpc(strict=False, match=lambda message, ctx: message.number > 3)
    async def on_number(self, message: Other, ctx: MessageContext) -> int:
        return message.number

    @event
    async def on_event(self, message: Result, ctx: MessageContext) -> None:
        reply = await self.send_message(Task("x"), AgentId("other", "x"))
        assert_type(reply, Any)
        await self.publish_message(message, TopicId("t", "s"), message_id="1")

    @event(match=lambda message, ctx: ctx.sender is not None)
    async def on_event_of_agent(self, message: Result, ctx: MessageContext) -> None: ...


async def direct_calls(worker: Worker, ctx: MessageContext) -> None:
    assert_type(await worker.work(Task("x"), ctx), Result)
    assert_type(await worker.work(message=Task("x"), ctx=ctx), Result)
    assert_type(await worker.on_either(Other(1), ctx), Result | None)
    assert_type(await worker.on_number(Other(1), ctx), int)
    await worker.on_event(Result("x"), ctx)
    assert_type(await worker.on_message(Task("x"), ctx), Any)
    await worker.work(Other(1), ctx)  # type: ignore[arg-type]
    await worker.work(Task("x"))  # type: ignore[call-arg]


def attributes(handler: object) -> None:
    if isinstance(handler, MessageHandler):
        assert_type(handler.target_types, list[type[Any]])
        assert_type(handler.produces_types, list[type[Any]])


async def handler_types(handler: MessageHandler[Worker, Task, Result], worker: Worker) -> None:
    ctx = MessageContext(None, None, True)
    assert_type(await handler(worker, Task("x"), ctx), Result)


# --- what is wrong is an error -----------------------------------------------------------------


class Wrong(RoutedAgent):
    @message_handler  # type: ignore[type-var]
    def not_async(self, message: Task, ctx: MessageContext) -> Result:
        return Result("x")

    @message_handler  # type: ignore[type-var]
    async def without_context(self, message: Task) -> Result:
        return Result("x")

    @message_handler  # type: ignore[type-var]
    async def with_more(self, message: Task, ctx: MessageContext, more: int) -> Result:
        return Result("x")

    @event  # type: ignore[type-var]
    async def event_with_reply(self, message: Task, ctx: MessageContext) -> Result:
        return Result("x")

    @rpc(match=3)  # type: ignore[call-overload, untyped-decorator]
    async def bad_match(self, message: Task, ctx: MessageContext) -> Result:
        return Result("x")


class OverridesOnMessage(RoutedAgent):
    async def on_message(self, message: Any, ctx: MessageContext) -> Any:  # type: ignore[misc]
        return None


no_agent = default_subscription(Other)  # type: ignore[type-var]


# --- inheritance and generics ------------------------------------------------------------------


class Speaker(RoutedAgent):
    @message_handler
    async def speak(self, message: Task, ctx: MessageContext) -> Result | None:
        return None


class Illustrator(Speaker):
    @message_handler
    async def speak(self, message: Task, ctx: MessageContext) -> Result:
        await super().speak(message, ctx)
        return Result("x")


InT = TypeVar("InT")
OutT = TypeVar("OutT")


class Stage(RoutedAgent, ABC, Generic[InT, OutT]):
    @message_handler
    @abstractmethod
    async def handle(self, message: InT, ctx: MessageContext) -> OutT: ...


class Resize(Stage[Task, Result]):
    @message_handler
    async def handle(self, message: Task, ctx: MessageContext) -> Result:
        return Result(message.text)


class StillAbstract(Stage[Task, Result]): ...


async def generic_stages(stage: Stage[Task, Result], ctx: MessageContext) -> None:
    assert_type(await stage.handle(Task("x"), ctx), Result)
    await Resize("resizes").handle(Task("x"), ctx)
    StillAbstract("x")  # type: ignore[abstract]


class Direct(BaseAgent):
    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return message

    async def save_state(self) -> Mapping[str, Any]:
        return {}


class Careful(RoutedAgent):
    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return await super().on_message_impl(message, ctx)


def is_agent(worker: Worker, direct: Direct) -> list[Agent]:
    return [worker, direct]


# --- registration ------------------------------------------------------------------------------


async def make_worker() -> Worker:
    return Worker("made")


async def registration(runtime: AgentRuntime) -> None:
    assert_type(Worker, type[Worker])
    assert_type(await Worker.register(runtime, "a", lambda: Worker("a")), AgentType)
    await Worker.register(runtime, "b", make_worker, max_concurrency=1, idle_timeout=2.5)
    await Direct.register(runtime, "c", lambda: Direct("x"), skip_class_subscriptions=True)
    assert_type(await Worker("d").register_instance(runtime, AgentId("d", "x")), AgentId)
    worker = await runtime.try_get_underlying_agent_instance(AgentId("a", "x"), type=Worker)
    assert_type(worker, Worker)
    await Worker.register(runtime, "e", lambda: Direct("x"))  # type: ignore[arg-type, return-value]
    await Worker.register(runtime, "f", Worker)  # type: ignore[arg-type]


async def collect(agent: ClosureContext, message: Task | Result, ctx: MessageContext) -> None:
    assert_type(agent.id, AgentId)
    assert_type(await agent.send_message(message, agent.id), Any)
    await agent.publish_message(message, TopicId("t", "s"))


async def collect_too_little(agent: ClosureContext, message: Task) -> None: ...


async def subscriptions() -> list[Subscription]:
    return [DefaultSubscription()]


@subscription_factory(subscriptions)
class Collector(ClosureAgent): ...


async def closures(runtime: AgentRuntime) -> None:
    type = await ClosureAgent.register_closure(
        runtime, "a", collect, subscriptions=lambda: [DefaultSubscription()]
    )
    assert_type(type, AgentType)
    await Collector.register_closure(runtime, "b", collect, subscriptions=subscriptions)
    await Collector.register(runtime, "c", lambda: Collector("x", collect))
    ClosureAgent("x", collect, unknown_type_policy="raise")  # type: ignore[arg-type]
    ClosureAgent("x", collect_too_little)  # type: ignore[arg-type]


async def proxies(runtime: AgentRuntime) -> None:
    proxy = AgentProxy(AgentId("a", "x"), runtime)
    assert_type(await proxy.metadata, AgentMetadata)
    assert_type(await proxy.save_state(), Mapping[str, Any])
    await proxy.send_message(Task("x"))  # type: ignore[call-arg]
