"""`AutoGenRuntime`: AutoGen's own types outside, our core inside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import autogen_core
import pytest
from autogen_core import (
    EVENT_LOGGER_NAME,
    AgentId,
    AgentInstantiationContext,
    AgentRuntime,
    AgentType,
    CancellationToken,
    ClosureAgent,
    ClosureContext,
    DefaultInterventionHandler,
    DefaultSubscription,
    DefaultTopicId,
    DropMessage,
    MessageContext,
    MessageHandlerContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    default_subscription,
    event,
    rpc,
    try_get_known_serializers_for_type,
)
from autogen_core.exceptions import (
    CantHandleException,
    MessageDroppedException,
    UndeliverableException,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import trio_agents.exceptions
from trio_agents.interop.autogen import AutoGenRuntime

from .doers import A, Actor, B, Waiter, on_asyncio, started, turns

NEWS = TopicId("news", "a")


@dataclass
class Ask:
    text: str


@default_subscription
class Clerk(RoutedAgent):
    """Answers requests, and notes events."""

    heard: list[tuple[AgentId, str]]

    def __init__(self) -> None:
        super().__init__("a clerk")
        self.heard = []

    @rpc
    async def answer(self, message: Ask, ctx: MessageContext) -> Ask:
        return Ask(message.text.upper())

    @event
    async def note(self, message: Ask, ctx: MessageContext) -> None:
        self.heard.append((self.id, message.text))


# --- messages and their contexts


def test_it_is_a_runtime_of_autogens() -> None:
    assert isinstance(AutoGenRuntime(), AgentRuntime)


@on_asyncio
async def test_the_reply_is_the_very_object() -> None:
    reply = object()

    async def act(agent: Actor, ctx: MessageContext) -> object:
        return reply

    runtime = await started()
    assert await runtime.send_message(act, A) is reply
    await runtime.stop()


@on_asyncio
async def test_a_request_comes_with_autogens_context() -> None:
    seen: list[MessageContext] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        seen.append(ctx)

    runtime = await started()
    token = CancellationToken()
    await runtime.send_message(act, A, sender=B, cancellation_token=token, message_id="m1")
    await runtime.stop()
    assert seen == [MessageContext(B, None, True, token, "m1")]
    assert seen[0].cancellation_token is token


@on_asyncio
async def test_a_publication_comes_with_the_publishers_own_topic() -> None:
    seen: list[MessageContext] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        seen.append(ctx)

    runtime = await started()
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    token, topic = CancellationToken(), DefaultTopicId("news", "a")
    await runtime.publish_message(act, topic, cancellation_token=token, message_id="m1")
    await runtime.stop_when_idle()
    assert seen == [MessageContext(None, topic, False, token, "m1")]
    assert seen[0].topic_id is topic


@on_asyncio
async def test_a_message_without_token_or_id_gets_them() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> tuple[bool, str]:
        return ctx.cancellation_token.is_cancelled(), ctx.message_id

    runtime = await started()
    cancelled, message_id = await runtime.send_message(act, A)
    await runtime.stop()
    assert not cancelled
    assert len(message_id) == 36


@on_asyncio
async def test_a_publisher_does_not_hear_itself() -> None:
    heard: list[AgentId] = []

    async def note(agent: Actor, ctx: MessageContext) -> None:
        heard.append(agent.id)

    async def publish(agent: Actor, ctx: MessageContext) -> None:
        await agent.publish_message(note, NEWS)

    runtime = await started()
    await Actor.register(runtime, "other", Actor)
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    await runtime.add_subscription(TypeSubscription("news", "other"))
    await runtime.send_message(publish, A)
    await runtime.stop_when_idle()
    assert heard == [AgentId("other", "a")]


@on_asyncio
async def test_a_handler_knows_whose_it_is() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> tuple[AgentId, str]:
        return MessageHandlerContext.agent_id(), DefaultTopicId().source

    runtime = await started()
    assert await runtime.send_message(act, B) == (B, "b")
    with pytest.raises(RuntimeError):
        MessageHandlerContext.agent_id()
    await runtime.stop()


@on_asyncio
async def test_an_agent_may_ask_itself() -> None:
    async def inner(agent: Actor, ctx: MessageContext) -> AgentId | None:
        return ctx.sender

    async def outer(agent: Actor, ctx: MessageContext) -> Any:
        return await agent.send_message(inner, agent.id)

    runtime = await started()
    assert await runtime.send_message(outer, A) == A
    await runtime.stop()


@on_asyncio
async def test_handlers_begin_in_the_order_of_submission() -> None:
    order: list[int] = []

    def number(value: int) -> Any:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            order.append(value)
            await asyncio.sleep(0)

        return act

    runtime = await started()
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    for value in range(100):
        await runtime.publish_message(number(value), NEWS)
    await runtime.stop_when_idle()
    assert order == list(range(100))


# --- AutoGen's agents


@on_asyncio
async def test_a_routed_agent_answers_requests() -> None:
    runtime = AutoGenRuntime()
    await Clerk.register(runtime, "clerk", Clerk)
    runtime.start()
    assert await runtime.send_message(Ask("x"), AgentId("clerk", "a")) == Ask("X")
    await runtime.stop()


@on_asyncio
async def test_a_routed_agent_hears_what_its_class_subscribes_to() -> None:
    runtime = AutoGenRuntime()
    await Clerk.register(runtime, "clerk", Clerk)
    runtime.start()
    await runtime.publish_message(Ask("x"), DefaultTopicId(source="s"))
    await runtime.stop_when_idle()
    id = AgentId("clerk", "s")
    clerk = await runtime.try_get_underlying_agent_instance(id, Clerk)
    assert clerk.heard == [(id, "x")]


@on_asyncio
async def test_a_routed_agent_gives_none_for_what_it_does_not_handle() -> None:
    runtime = AutoGenRuntime()
    await Clerk.register(runtime, "clerk", Clerk)
    runtime.start()
    assert await runtime.send_message("what?", AgentId("clerk", "a")) is None
    await runtime.stop()


@on_asyncio
async def test_a_closure_agent_hears_publications() -> None:
    heard: list[Ask] = []

    async def note(context: ClosureContext, message: Ask, ctx: MessageContext) -> None:
        heard.append(message)

    runtime = AutoGenRuntime()
    await ClosureAgent.register_closure(
        runtime, "closure", note, subscriptions=lambda: [DefaultSubscription()]
    )
    runtime.start()
    await runtime.publish_message(Ask("x"), DefaultTopicId())
    await runtime.stop_when_idle()
    assert heard == [Ask("x")]


@on_asyncio
async def test_an_instance_is_reached_under_its_id() -> None:
    runtime = AutoGenRuntime()
    clerk = Clerk()
    id = AgentId("clerk", "a")
    assert await clerk.register_instance(runtime, id) is id
    runtime.start()
    assert await runtime.send_message(Ask("x"), id) == Ask("X")
    assert await runtime.try_get_underlying_agent_instance(id) is clerk
    assert clerk.runtime is runtime
    await runtime.stop()


@on_asyncio
async def test_instances_of_one_type_are_of_one_class() -> None:
    runtime = AutoGenRuntime()
    await runtime.register_agent_instance(Clerk(), AgentId("x", "a"))
    await runtime.register_agent_instance(Clerk(), AgentId("x", "b"))
    with pytest.raises(ValueError, match="Actor"):
        await runtime.register_agent_instance(Actor(), AgentId("x", "c"))


# --- making agents


@on_asyncio
async def test_a_factory_knows_the_runtime_and_the_id() -> None:
    seen: list[Any] = []

    class Curious(Actor):
        def __init__(self) -> None:
            super().__init__()
            seen.append(AgentInstantiationContext.current_agent_id())

    async def make() -> Actor:
        await asyncio.sleep(0)
        seen.append(AgentInstantiationContext.current_runtime())
        return Curious()

    runtime = AutoGenRuntime()
    await runtime.register_factory("actor", make)
    await runtime.get(A, lazy=False)
    assert seen == [runtime, A]
    assert not AgentInstantiationContext.is_in_factory_call()


@on_asyncio
async def test_in_a_handler_no_agent_is_being_made() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> bool:
        return AgentInstantiationContext.is_in_factory_call()

    runtime = await started()
    assert await runtime.send_message(act, A) is False
    await runtime.stop()


@on_asyncio
async def test_an_agent_made_beforehand_gets_its_id_and_runtime() -> None:
    actor = Actor()
    runtime = AutoGenRuntime()
    await runtime.register_factory("actor", lambda: actor)
    await runtime.get("actor", "a", lazy=False)
    assert (actor.id, actor.runtime) == (A, runtime)


@on_asyncio
async def test_an_agent_of_another_class_than_expected_is_a_value_error() -> None:
    runtime = AutoGenRuntime()
    await runtime.register_factory("clerk", Actor, expected_class=Clerk)  # type: ignore[type-var]
    runtime.start()
    with pytest.raises(ValueError, match=r"'clerk' was to make .*Clerk and made .*Actor"):
        await runtime.send_message(Ask("x"), AgentId("clerk", "a"))
    await runtime.stop()


@on_asyncio
async def test_a_failing_factory_fails_the_sender_with_the_very_exception() -> None:
    error = OSError("no")

    def make() -> Actor:
        raise error

    runtime = AutoGenRuntime()
    await runtime.register_factory("actor", make)
    runtime.start()
    with pytest.raises(OSError, match="no") as caught:
        await runtime.send_message(Ask("x"), A)
    assert caught.value is error
    await runtime.stop()


@on_asyncio
async def test_a_factory_that_takes_arguments_is_refused() -> None:
    runtime = AutoGenRuntime()
    with pytest.raises(TypeError, match="agent_id must be given"):
        await runtime.register_factory("actor", lambda agent_id: Actor())  # type: ignore[arg-type, misc]


@on_asyncio
async def test_registering_a_type_twice_is_a_value_error() -> None:
    runtime = await started()
    with pytest.raises(ValueError, match="registered already"):
        await Actor.register(runtime, "actor", Actor)
    await runtime.stop()


@on_asyncio
async def test_agent_options_limit_the_agents_of_a_type() -> None:
    runtime = AutoGenRuntime()
    await runtime.register_factory(AgentType("actor"), Actor, max_concurrency=1)
    runtime.start()
    first, second = Waiter(), Waiter()
    tasks = [asyncio.create_task(runtime.send_message(m, A)) for m in (first, second)]
    await first.began.wait()
    await turns()
    assert not second.began.is_set()
    first.go.set()
    second.go.set()
    assert await asyncio.gather(*tasks) == ["done", "done"]
    await runtime.stop()


@on_asyncio
async def test_an_agent_without_a_state_is_let_go_of_without_a_warning() -> None:
    # AutoGen's BaseAgent warns when it is asked for its state, and here warnings are errors.
    gone = asyncio.Event()

    class Guest(RoutedAgent):
        async def close(self) -> None:
            gone.set()

    runtime = AutoGenRuntime()
    await runtime.register_factory("guest", lambda: Guest("a guest"), idle_timeout=1e-6)
    runtime.start()
    await runtime.send_message(Ask("x"), AgentId("guest", "a"))
    await gone.wait()
    await runtime.stop_when_idle()


@on_asyncio
async def test_an_agent_without_a_state_warns_when_it_is_asked_for_one() -> None:
    runtime = AutoGenRuntime()
    await Clerk.register(runtime, "clerk", Clerk)
    with pytest.warns(UserWarning, match="save_state not implemented"):
        assert await runtime.agent_save_state(AgentId("clerk", "a")) == {}


@on_asyncio
async def test_a_deactivated_agent_is_closed_and_made_anew() -> None:
    runtime = await started()
    actor = await runtime.try_get_underlying_agent_instance(A, Actor)
    await runtime.deactivate(A)
    assert actor.closed == 1
    assert await runtime.try_get_underlying_agent_instance(A) is not actor
    await runtime.stop()


@on_asyncio
async def test_a_deactivation_that_a_stop_comes_before_is_undeliverable() -> None:
    runtime = AutoGenRuntime()
    await runtime.register_factory("actor", Actor, max_concurrency=1)
    runtime.start()
    running = Waiter()
    first = asyncio.create_task(runtime.send_message(running, A))
    await running.began.wait()
    second = asyncio.create_task(runtime.send_message(Waiter(), A))
    leaving = asyncio.create_task(runtime.deactivate(A))
    await turns()
    stopping = asyncio.create_task(runtime.stop())
    with pytest.raises(UndeliverableException):
        await leaving
    running.go.set()
    await asyncio.gather(first, second, stopping, return_exceptions=True)


# --- asking about agents


@on_asyncio
async def test_get_gives_the_id_and_makes_no_agent() -> None:
    runtime = AutoGenRuntime()
    assert await runtime.get("unknown") == AgentId("unknown", "default")
    assert await runtime.get(AgentType("unknown"), "k") == AgentId("unknown", "k")
    assert await runtime.get(A) is A


@pytest.mark.parametrize(
    "ask",
    [
        lambda runtime: runtime.get("unknown", lazy=False),
        lambda runtime: runtime.try_get_underlying_agent_instance(AgentId("unknown", "a")),
        lambda runtime: runtime.agent_metadata(AgentId("unknown", "a")),
        lambda runtime: runtime.agent_save_state(AgentId("unknown", "a")),
        lambda runtime: runtime.agent_load_state(AgentId("unknown", "a"), {}),
        lambda runtime: runtime.remove_subscription("unknown"),
    ],
)
@on_asyncio
async def test_what_is_not_there_is_a_lookup_error(ask: Any) -> None:
    with pytest.raises(LookupError):
        await ask(AutoGenRuntime())


@on_asyncio
async def test_an_instance_of_another_class_than_asked_for_is_a_type_error() -> None:
    runtime = await started()
    with pytest.raises(TypeError, match=r"agent actor/a is a .*Actor, not a .*Clerk"):
        await runtime.try_get_underlying_agent_instance(A, Clerk)
    await runtime.stop()


@on_asyncio
async def test_an_agent_says_what_it_is() -> None:
    runtime = await started()
    assert await runtime.agent_metadata(A) == {
        "type": "actor",
        "key": "a",
        "description": "an actor",
    }
    await runtime.stop()


# --- subscriptions


@on_asyncio
async def test_a_removed_subscription_is_not_obeyed() -> None:
    heard: list[AgentId] = []

    async def note(agent: Actor, ctx: MessageContext) -> None:
        heard.append(agent.id)

    runtime = await started()
    subscription = TypeSubscription("news", "actor")
    await runtime.add_subscription(subscription)
    await runtime.remove_subscription(subscription.id)
    await runtime.publish_message(note, NEWS)
    await runtime.stop_when_idle()
    assert heard == []


@on_asyncio
async def test_an_equal_subscription_is_a_value_error() -> None:
    runtime = AutoGenRuntime()
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    with pytest.raises(ValueError, match="already exists"):
        await runtime.add_subscription(TypeSubscription("news", "actor"))


class Everywhere:
    """A subscription of the application's own, which derives from nothing."""

    id = "everywhere"

    def __init__(self, agent_id: Any) -> None:
        self._agent_id = agent_id
        self.asked: list[TopicId] = []

    def is_match(self, topic_id: TopicId) -> bool:
        self.asked.append(topic_id)
        return True

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        return self._agent_id  # type: ignore[no-any-return]


@on_asyncio
async def test_a_subscription_sees_autogens_topic() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        pass

    runtime = await started()
    subscription = Everywhere(B)
    await runtime.add_subscription(subscription)
    await runtime.publish_message(act, NEWS)
    await runtime.stop_when_idle()
    assert subscription.asked == [NEWS]
    assert runtime.statistics().handled == 1


# --- exceptions


@on_asyncio
async def test_an_unknown_recipient_is_undeliverable_and_a_lookup_error() -> None:
    runtime = await started()
    with pytest.raises(UndeliverableException, match="register agent type 'nobody'") as caught:
        await runtime.send_message("x", AgentId("nobody", "a"))
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, trio_agents.exceptions.UnknownAgentType)
    await runtime.stop()


@on_asyncio
async def test_an_undeliverable_request_fails_a_whole_chain_with_one_exception() -> None:
    caught: list[BaseException] = []

    async def relay(agent: Actor, ctx: MessageContext) -> None:
        try:
            await agent.send_message("x", AgentId("nobody", "a"))
        except UndeliverableException as exc:
            caught.append(exc)
            raise

    runtime = await started()
    with pytest.raises(UndeliverableException) as at_the_sender:
        await runtime.send_message(relay, A)
    assert caught == [at_the_sender.value]
    await runtime.stop()


@on_asyncio
async def test_what_is_queued_when_the_runtime_stops_is_undeliverable() -> None:
    runtime = AutoGenRuntime()
    await runtime.register_factory("actor", Actor, max_concurrency=1)
    runtime.start()
    running, queued = Waiter(), Waiter()
    first = asyncio.create_task(runtime.send_message(running, A))
    await running.began.wait()
    second = asyncio.create_task(runtime.send_message(queued, A))
    await turns()
    stopping = asyncio.create_task(runtime.stop())
    with pytest.raises(UndeliverableException):
        await second
    running.go.set()
    assert await first == "done"
    await stopping
    assert queued.log == []


@on_asyncio
async def test_an_overloaded_runtime_is_undeliverable() -> None:
    runtime = await started(max_pending=1, overflow="raise")
    waiter = Waiter()
    sending = asyncio.create_task(runtime.send_message(waiter, A))
    await waiter.began.wait()
    with pytest.raises(UndeliverableException) as caught:
        await runtime.publish_message(waiter, NEWS)
    assert isinstance(caught.value, trio_agents.exceptions.Overloaded)
    waiter.go.set()
    await sending
    await runtime.stop()


class Odd(BaseException):
    pass


@pytest.mark.parametrize(
    "error", [OSError("no"), CantHandleException("no"), UndeliverableException("no"), Odd("no")]
)
@on_asyncio
async def test_the_sender_gets_the_very_exception(error: BaseException) -> None:
    async def fail(agent: Actor, ctx: MessageContext) -> None:
        raise error

    async def relay(agent: Actor, ctx: MessageContext) -> None:
        await agent.send_message(fail, B)

    runtime = await started()
    with pytest.raises(type(error)) as caught:
        await runtime.send_message(relay, A)
    assert caught.value is error
    await runtime.stop()


@on_asyncio
async def test_a_closure_that_cannot_handle_a_message_says_so_to_the_sender() -> None:
    async def note(context: ClosureContext, message: Ask, ctx: MessageContext) -> None:
        pass

    runtime = AutoGenRuntime()
    await ClosureAgent.register_closure(runtime, "closure", note, unknown_type_policy="error")
    runtime.start()
    with pytest.raises(CantHandleException):
        await runtime.send_message("x", AgentId("closure", "a"))
    await runtime.stop()


@on_asyncio
async def test_a_failure_that_no_sender_waits_for_comes_out_of_the_stop() -> None:
    error = OSError("no")

    async def fail(agent: Actor, ctx: MessageContext) -> None:
        raise error

    runtime = await started(ignore_unhandled_exceptions=False)
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    await runtime.publish_message(fail, NEWS)
    with pytest.raises(OSError, match="no") as caught:
        await runtime.stop_when_idle()
    assert caught.value is error


# --- intervention handlers


class Watcher(DefaultInterventionHandler):
    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        self.seen.append(("send", message_context, recipient))
        return message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        self.seen.append(("publish", message_context))
        return message

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        self.seen.append(("response", message, sender, recipient))
        return f"({message})"


async def hello(agent: Actor, ctx: MessageContext) -> str:
    return "hello"


@on_asyncio
async def test_an_intervention_handler_sees_a_request_and_changes_its_reply() -> None:
    watcher, token = Watcher(), CancellationToken()
    runtime = await started(intervention_handlers=[watcher])
    options: dict[str, Any] = {"cancellation_token": token, "message_id": "m1"}
    assert await runtime.send_message(hello, A, sender=B, **options) == "(hello)"
    await runtime.stop()
    assert watcher.seen == [
        ("send", MessageContext(B, None, True, token, "m1"), A),
        ("response", "hello", A, B),
    ]


@on_asyncio
async def test_an_intervention_handler_sees_a_publication() -> None:
    watcher, token = Watcher(), CancellationToken()
    runtime = await started(intervention_handlers=[watcher])
    await runtime.publish_message(hello, NEWS, cancellation_token=token, message_id="m1")
    await runtime.stop_when_idle()
    assert watcher.seen == [("publish", MessageContext(None, NEWS, False, token, "m1"))]


@on_asyncio
async def test_an_intervention_handler_that_waits_may_send() -> None:
    class Asker(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            return message if recipient == B else await runtime.send_message(message, B)

    async def give_hello(agent: Actor, ctx: MessageContext) -> Any:
        return hello

    runtime = await started(intervention_handlers=[Asker()])
    assert await runtime.send_message(give_hello, A) == "hello"
    await runtime.stop()


class Dropper(DefaultInterventionHandler):
    def __init__(self, drop: Any) -> None:
        self._drop = drop

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        return message if message is hello else self._drop

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        return self._drop


@pytest.mark.parametrize("drop", [DropMessage, DropMessage()])
@pytest.mark.parametrize("message", [hello, "a request that is dropped"])
@on_asyncio
async def test_a_dropped_request_or_reply_says_so_to_the_sender(drop: Any, message: Any) -> None:
    runtime = await started(intervention_handlers=[Dropper(drop)])
    with pytest.raises(MessageDroppedException):
        await runtime.send_message(message, A)
    await runtime.stop_when_idle()
    assert runtime.statistics().dropped == 1


@on_asyncio
async def test_a_warning_names_the_applications_intervention_handler() -> None:
    class Forgetful(DefaultInterventionHandler):
        async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
            pass

    runtime = await started(intervention_handlers=[Forgetful()])
    await runtime.publish_message(hello, NEWS)
    with pytest.warns(RuntimeWarning, match="intervention handler Forgetful returned None"):
        await runtime.stop_when_idle()


# --- ids and state


KEYS = ["", "50%", "%35", "é", "a/b", "\n", "\ud800", "x" * 4096]


@pytest.mark.parametrize("key", KEYS, ids=ascii)
@on_asyncio
async def test_any_text_may_be_a_key(key: str) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> list[Any]:
        return [agent.id, ctx.sender, MessageHandlerContext.agent_id()]

    runtime = await started()
    id = AgentId("actor", key)
    assert await runtime.send_message(act, id, sender=id) == [id, id, id]
    await runtime.stop()


@pytest.mark.parametrize("source", KEYS, ids=ascii)
@on_asyncio
async def test_any_text_may_be_a_source(source: str) -> None:
    heard: list[tuple[AgentId, TopicId | None]] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        heard.append((agent.id, ctx.topic_id))

    runtime = await started()
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    await runtime.publish_message(act, TopicId("news", source))
    await runtime.stop_when_idle()
    assert heard == [(AgentId("actor", source), TopicId("news", source))]


@on_asyncio
async def test_keys_that_are_escaped_alike_are_different_agents() -> None:
    runtime = await started()
    agents = [
        await runtime.try_get_underlying_agent_instance(AgentId("actor", key))
        for key in ("é", "%C3%A9", "%25C3%25A9")
    ]
    assert len(set(map(id, agents))) == 3
    await runtime.stop()


@on_asyncio
async def test_a_key_that_is_too_long_is_a_value_error() -> None:
    runtime = await started()
    with pytest.raises(ValueError, match="too long: at most 4096"):
        await runtime.send_message(hello, AgentId("actor", "x" * 4097))
    await runtime.stop()


@on_asyncio
async def test_ids_of_more_agents_than_are_remembered_are_right() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> str:
        return agent.id.key

    runtime = await started()
    keys = [str(number) for number in range(5000)]
    assert [await runtime.send_message(act, AgentId("actor", key)) for key in keys] == keys
    await runtime.stop()


@on_asyncio
async def test_a_saved_state_has_autogens_form() -> None:
    runtime = await started()
    for key in ("a", "50%/é"):
        actor = await runtime.try_get_underlying_agent_instance(AgentId("actor", key), Actor)
        actor.notes["key"] = key
    assert await runtime.save_state() == {
        "actor/a": {"key": "a"},
        "actor/50%/é": {"key": "50%/é"},
    }
    await runtime.stop()


@on_asyncio
async def test_the_state_of_autogens_own_runtime_can_be_loaded() -> None:
    theirs = autogen_core.SingleThreadedAgentRuntime()
    await Actor.register(theirs, "actor", Actor)
    id = AgentId("actor", "50%/é")
    (await theirs.try_get_underlying_agent_instance(id, Actor)).notes["n"] = 1
    runtime = await started()
    await runtime.load_state(await theirs.save_state())
    assert (await runtime.try_get_underlying_agent_instance(id, Actor)).notes == {"n": 1}
    await runtime.stop()


@pytest.mark.parametrize("state", [[], {1: {}}, {"nobody/a": {}}, {"actor": {}}, {"actor/a": 1}])
@on_asyncio
async def test_what_is_no_state_of_a_runtime_is_a_value_error(state: Mapping[str, Any]) -> None:
    runtime = await started()
    with pytest.raises(ValueError, match="state"):
        await runtime.load_state(state)
    await runtime.stop()


@on_asyncio
async def test_the_state_of_one_agent_is_saved_and_loaded() -> None:
    runtime = await started()
    await runtime.agent_load_state(A, {"n": 1})
    assert await runtime.agent_save_state(A) == {"n": 1}
    assert await runtime.agent_save_state(B) == {}
    await runtime.stop()


# --- start and stop


def test_it_may_be_made_without_a_loop_and_used_in_several() -> None:
    runtime = AutoGenRuntime()

    async def use() -> Any:
        if not runtime.statistics().accepted:
            await Actor.register(runtime, "actor", Actor)
        runtime.start()
        assert runtime.is_started()
        reply = await runtime.send_message(hello, A)
        await runtime.stop()
        return reply

    assert [asyncio.run(use()), asyncio.run(use())] == ["hello", "hello"]


@on_asyncio
async def test_messages_can_be_taken_up_by_hand() -> None:
    runtime = AutoGenRuntime()
    await Actor.register(runtime, "actor", Actor)
    sending = asyncio.create_task(runtime.send_message(hello, A))
    await asyncio.sleep(0)
    assert runtime.unprocessed_messages_count == 1
    await runtime.process_next()
    assert await sending == "hello"
    assert runtime.unprocessed_messages_count == 0


@on_asyncio
async def test_stop_when_a_condition_is_true() -> None:
    runtime = await started()
    sending = asyncio.create_task(runtime.send_message(hello, A))
    await runtime.stop_when(lambda: runtime.statistics().handled == 1)
    assert not runtime.is_started()
    assert await sending == "hello"


@on_asyncio
async def test_closing_stops_and_closes_the_agents() -> None:
    runtime = await started()
    actor = await runtime.try_get_underlying_agent_instance(A, Actor)
    await runtime.close()
    assert (actor.closed, runtime.is_started()) == (1, False)


@on_asyncio
async def test_the_block_closes_the_agents() -> None:
    async with AutoGenRuntime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        runtime.start()
        assert await runtime.send_message(hello, A) == "hello"
        actor = await runtime.try_get_underlying_agent_instance(A, Actor)
    assert actor.closed == 1


@on_asyncio
async def test_a_stop_waits_for_a_running_handler_until_its_deadline() -> None:
    runtime = await started()
    waiter = Waiter()
    sending = asyncio.create_task(runtime.send_message(waiter, A))
    await waiter.began.wait()
    await runtime.stop(deadline=asyncio.get_running_loop().time())
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert waiter.log == ["began", "cancelled", "tidied up"]


# --- what is seen of it


@on_asyncio
async def test_spans_name_the_applications_agent_class() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    runtime = await started(tracer_provider=provider)
    await runtime.send_message(hello, A)
    await runtime.stop()
    attributes = [span.attributes or {} for span in exporter.get_finished_spans()]
    assert {a.get("recipient_agent_class") for a in attributes} == {None, "Actor"}


@on_asyncio
async def test_an_event_shows_a_message_with_autogens_serializer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runtime = AutoGenRuntime()
    runtime.add_message_serializer(try_get_known_serializers_for_type(Ask))
    with caplog.at_level(logging.DEBUG, logger=EVENT_LOGGER_NAME):
        await runtime.publish_message(Ask("hello"), NEWS)
    assert "hello" in caplog.text


def test_it_says_where_it_is_imported_from() -> None:
    assert AutoGenRuntime.__module__ == "trio_agents.interop.autogen"


def test_its_repr_says_what_state_it_is_in() -> None:
    assert "stopped" in repr(AutoGenRuntime())
