from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from trio_agents._agents._class_subscriptions import default_subscription
from trio_agents._agents._closure_agent import ClosureAgent, ClosureContext
from trio_agents._sansio._abc import Subscription
from trio_agents._sansio._contexts import MessageContext
from trio_agents._sansio._errors import CantHandleException, InvalidIdentifier
from trio_agents._sansio._identifiers import AgentId, AgentType, TopicId
from trio_agents._sansio._subscriptions import (
    DefaultSubscription,
    DefaultTopicId,
    TypePrefixSubscription,
)

if TYPE_CHECKING:
    from .conftest import RecordingRuntime

DIRECT = MessageContext(None, None, True)
COLLECTOR = AgentId("collector", "default")


@dataclass
class Result:
    text: str


@dataclass
class FinalResult(Result):
    pass


# CL-01, CL-04, CL-05, CL-08, CL-09, CONF-27, AG-08
async def test_a_closure_handles_messages_of_its_type(runtime: RecordingRuntime) -> None:
    seen: list[object] = []

    async def collect(agent: ClosureContext, message: Result, ctx: MessageContext) -> int:
        assert isinstance(agent, ClosureContext)
        seen.append((agent.id, message, ctx.topic_id))
        return len(seen)

    type = await ClosureAgent.register_closure(
        runtime,
        "collector",
        collect,
        subscriptions=lambda: [DefaultSubscription()],
        description="takes results",
    )
    assert type == AgentType("collector")
    topic = DefaultTopicId()
    await runtime.publish_message(Result("a"), topic)
    assert await runtime.send_message(FinalResult("b"), COLLECTOR) == 2
    assert seen == [(COLLECTOR, Result("a"), topic), (COLLECTOR, FinalResult("b"), None)]
    assert await runtime.agent_metadata(COLLECTOR) == {
        "type": "collector",
        "key": "default",
        "description": "takes results",
    }
    assert (await runtime.agent(COLLECTOR)).runtime is runtime
    assert runtime.calls[0] == ("register_factory", {"expected_class": ClosureAgent})
    assert [serializer.type_name for serializer in runtime.serializers] == ["Result"]


# CL-02
@pytest.mark.parametrize(
    ("hint", "handled", "unhandled"),
    [
        (Result | str, [Result("a"), "b", FinalResult("c")], [3, None]),
        (None, [None], [3]),
        (Any, [3, None, Result("a")], []),
        (object, [3, None, Result("a")], []),
        (list[int], [[1]], [(1,)]),
    ],
)
async def test_the_hint_of_the_second_parameter_decides(
    hint: Any, handled: list[Any], unhandled: list[Any]
) -> None:
    seen: list[Any] = []

    async def collect(a, b, c):
        seen.append(b)  # type: ignore[no-untyped-def]

    collect.__annotations__["b"] = hint
    for policy in ("error", "warn", "ignore"):
        seen.clear()
        agent = ClosureAgent("x", collect, unknown_type_policy=policy)  # type: ignore[arg-type]
        for message in handled:
            await agent.on_message(message, DIRECT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for message in unhandled:
                if policy == "error":
                    with pytest.raises(CantHandleException):
                        await agent.on_message(message, DIRECT)
                else:
                    assert await agent.on_message(message, DIRECT) is None
        assert seen == handled


# CL-03
async def test_the_policies_for_other_messages() -> None:
    async def collect(agent: ClosureContext, message: Result, ctx: MessageContext) -> None:
        raise AssertionError("called")

    refusal = "is for messages of type Result, not int"
    with pytest.warns(UserWarning, match=refusal):
        assert await ClosureAgent("x", collect).on_message(3, DIRECT) is None
    with pytest.raises(CantHandleException, match=refusal):
        await ClosureAgent("x", collect, unknown_type_policy="error").on_message(3, DIRECT)
    await ClosureAgent("x", collect, unknown_type_policy="ignore").on_message(3, DIRECT)
    with pytest.raises(ValueError, match="must be one of error, warn, ignore, not 'raise'"):
        ClosureAgent("x", collect, unknown_type_policy="raise")  # type: ignore[arg-type]


# CL-02: what a hint given as text names is looked up where the closure was written.
async def test_a_closure_may_be_for_local_classes(runtime: RecordingRuntime) -> None:
    class Local: ...

    async def collect(agent: ClosureContext, message: Local, ctx: MessageContext) -> str:
        return "local"

    await ClosureAgent.register_closure(runtime, "collector", collect)

    async def elsewhere() -> Any:
        return await runtime.send_message(Local(), COLLECTOR)

    assert await elsewhere() == "local"


# CL-01: partials, methods and objects are functions too.
async def test_any_async_callable_will_do() -> None:
    class Collector:
        async def method(self, agent: Any, message: Result, ctx: MessageContext) -> str:
            return "method"

        async def __call__(self, agent: Any, message: Result, ctx: MessageContext) -> str:
            return "object"

    async def function(how: str, agent: Any, message: Result, ctx: MessageContext) -> str:
        return how

    for closure, answer in [
        (Collector().method, "method"),
        (Collector(), "object"),
        (functools.partial(function, "partial"), "partial"),
    ]:
        agent = ClosureAgent("x", closure)
        assert await agent.on_message(Result("a"), DIRECT) == answer
        with pytest.raises(CantHandleException):
            await ClosureAgent("x", closure, unknown_type_policy="error").on_message(3, DIRECT)


async def missing_hint(agent, message, ctx): ...  # type: ignore[no-untyped-def]


async def two(agent: ClosureContext, message: Result) -> None: ...


def plain(agent: ClosureContext, message: Result, ctx: MessageContext) -> None: ...


async def unreadable(agent: ClosureContext, message: NotThere, ctx: MessageContext) -> None: ...  # type: ignore  # noqa: F821


# CL-01, CL-02
@pytest.mark.parametrize(
    ("closure", "text"),
    [
        (missing_hint, "closure missing_hint does not say which messages.*'message'"),
        (two, "closure two must take three parameters.*async def"),
        (plain, "is not a coroutine function"),
        (unreadable, "'message' of closure unreadable, 'NotThere', cannot be read"),
        (Result, "is not a coroutine function"),
        (3, "is not a coroutine function"),
    ],
)
async def test_what_cannot_be_a_closure_is_refused_and_registers_nothing(
    closure: Any, text: str, runtime: RecordingRuntime
) -> None:
    with pytest.raises(TypeError, match=text):
        ClosureAgent("x", closure)
    with pytest.raises(TypeError, match=text):
        await ClosureAgent.register_closure(runtime, "collector", closure)
    with pytest.raises(InvalidIdentifier):
        await ClosureAgent.register_closure(runtime, "not valid!", closure)
    assert runtime.calls == []


# CL-06
async def test_a_closure_agent_has_no_state_and_does_not_warn() -> None:
    async def collect(agent: ClosureContext, message: Result, ctx: MessageContext) -> None: ...

    agent = ClosureAgent("x", collect)
    assert await agent.save_state() == {}
    await agent.load_state({"a": 1})


# CL-07, CL-08
async def test_the_options_of_register_closure(runtime: RecordingRuntime) -> None:
    async def collect(agent: ClosureContext, message: Result, ctx: MessageContext) -> None: ...

    async def subscriptions() -> list[Subscription]:
        return [DefaultSubscription("results")]

    await ClosureAgent.register_closure(
        runtime,
        "collector",
        collect,
        subscriptions=subscriptions,
        skip_direct_message_subscription=True,
        max_concurrency=1,
    )
    assert runtime.subscriptions == [DefaultSubscription("results", "collector")]
    assert runtime.calls[0][1] == {"expected_class": ClosureAgent, "max_concurrency": 1}
    await ClosureAgent.register_closure(runtime, "other", collect)
    assert runtime.subscriptions[1:] == [TypePrefixSubscription("other:", "other")]


# CL-09
async def test_a_closure_sends_and_publishes_as_its_agent(runtime: RecordingRuntime) -> None:
    async def relay(agent: ClosureContext, message: str, ctx: MessageContext) -> None:
        await agent.publish_message(message, TopicId("t", "s"), message_id="1")
        await agent.send_message(Result(message), AgentId("sink", "s"), message_id="2")

    async def sink(agent: ClosureContext, message: Result, ctx: MessageContext) -> None: ...

    await ClosureAgent.register_closure(runtime, "collector", relay)
    await ClosureAgent.register_closure(runtime, "sink", sink)
    await runtime.send_message("x", COLLECTOR)
    made = [call for _, call in runtime.calls[-2:]]
    assert [(call["sender"], call["message_id"]) for call in made] == [
        (COLLECTOR, "1"),
        (COLLECTOR, "2"),
    ]


# SUB-11
async def test_a_subclass_may_declare_subscriptions(runtime: RecordingRuntime) -> None:
    @default_subscription
    class Subscribed(ClosureAgent):
        pass

    async def collect(agent: ClosureContext, message: Result, ctx: MessageContext) -> None: ...

    await Subscribed.register_closure(runtime, "collector", collect)
    assert runtime.subscriptions[0] == DefaultSubscription(agent_type="collector")
    assert runtime.calls[0][1] == {"expected_class": Subscribed}
    assert type(await runtime.agent(COLLECTOR)) is Subscribed
