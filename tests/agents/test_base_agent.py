from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from trio_agents._agents._base_agent import BaseAgent
from trio_agents._agents._class_subscriptions import (
    default_subscription,
    subscription_factory,
    type_subscription,
)
from trio_agents._agents._closure_agent import ClosureAgent
from trio_agents._agents._routed_agent import RoutedAgent
from trio_agents._sansio._abc import Agent, Subscription
from trio_agents._sansio._cancellation import CancellationToken
from trio_agents._sansio._contexts import (
    AgentInstantiationContext,
    MessageContext,
    MessageHandlerContext,
    SubscriptionInstantiationContext,
)
from trio_agents._sansio._dispatch import message_handler
from trio_agents._sansio._errors import InvalidIdentifier
from trio_agents._sansio._identifiers import AgentId, AgentType, TopicId
from trio_agents._sansio._subscriptions import (
    DefaultSubscription,
    DefaultTopicId,
    TypePrefixSubscription,
    TypeSubscription,
)

if TYPE_CHECKING:
    from .conftest import RecordingRuntime

ECHO = AgentId("echo", "x")


class Echo(BaseAgent):
    def __init__(self, description: str = "says it again") -> None:
        super().__init__(description)

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return message


@dataclass
class Note:
    text: str


class Clerk(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("files notes")
        self.notes: list[str] = []

    @message_handler
    async def handle(self, message: Note | str, ctx: MessageContext) -> int:
        self.notes.append(str(message))
        return len(self.notes)


# --- identity ----------------------------------------------------------------------------------


# AG-01, AG-08
def test_a_base_agent_is_an_agent_and_abstract() -> None:
    assert isinstance(Echo(), Agent)
    with pytest.raises(TypeError, match="on_message_impl"):
        BaseAgent("nothing")  # type: ignore[abstract]


# AG-02, AG-06, AG-09, AG-10, CONF-07, CX-01, CX-02, CX-03
def test_an_agent_made_in_a_factory_knows_itself_in_its_constructor(
    runtime: RecordingRuntime,
) -> None:
    class Curious(Echo):
        def __init__(self) -> None:
            super().__init__("asks")
            self.seen = (self.id, self.id.key, self.type, self.runtime, self.metadata)

    with AgentInstantiationContext.populate_context((runtime, ECHO)):
        agent = Curious()
    metadata = {"type": "echo", "key": "x", "description": "asks"}
    assert agent.seen == (ECHO, "x", "echo", runtime, metadata)
    assert agent._description == "asks"
    assert agent.id is ECHO
    assert repr(agent).endswith("Curious echo/x>")


# AG-03, AG-11
async def test_an_agent_made_by_the_application_is_bound_later(runtime: RecordingRuntime) -> None:
    agent = Echo()
    for attribute in ("id", "type", "metadata", "runtime"):
        with pytest.raises(RuntimeError, match=r"Echo has no (id|runtime) yet.*register_instance"):
            getattr(agent, attribute)
    assert repr(agent) == "<Echo without an id>"
    await agent.bind_id_and_runtime(ECHO, runtime)
    await agent.bind_id_and_runtime(AgentId("echo", "x"), runtime)
    assert (agent.id, agent.runtime) == (ECHO, runtime)


# AG-03, AG-11
async def test_an_agent_cannot_be_bound_to_others(runtime: RecordingRuntime) -> None:
    agent = Echo()
    await agent.bind_id_and_runtime(ECHO, runtime)
    with pytest.raises(RuntimeError, match="echo/x already, it cannot become echo/y"):
        await agent.bind_id_and_runtime(AgentId("echo", "y"), runtime)
    other = type(runtime)()
    with pytest.raises(RuntimeError, match="another runtime"):
        await agent.bind_id_and_runtime(ECHO, other)
    assert (agent.id, agent.runtime) == (ECHO, runtime)


# --- messages ----------------------------------------------------------------------------------


# AG-12, AG-13, CONF-02
def test_overriding_on_message_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(TypeError, match=r"Wrong overrides on_message.*implement on_message_impl"):

        class Wrong(Echo):
            async def on_message(self, message: Any, ctx: MessageContext) -> Any:  # type: ignore[misc]
                return None

    class Mixin:
        async def on_message(self, message: Any, ctx: MessageContext) -> Any:
            return None

    with pytest.raises(TypeError, match="on_message_impl"):

        class AlsoWrong(Mixin, Echo):  # type: ignore[misc]
            pass


# AG-04, AG-12, CX-06
async def test_a_direct_call_runs_in_the_context_of_a_handler(runtime: RecordingRuntime) -> None:
    seen: list[object] = []

    class Curious(Echo):
        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            seen.append((MessageHandlerContext.agent_id(), DefaultTopicId().source))
            return message

    agent = Curious()
    ctx = MessageContext(None, None, True)
    await agent.bind_id_and_runtime(ECHO, runtime)
    assert await agent.on_message("a", ctx) == "a"
    with MessageHandlerContext.populate_context(ECHO):  # as a runtime does
        assert await agent.on_message("b", ctx) == "b"
    with MessageHandlerContext.populate_context(AgentId("other", "y")):
        assert await agent.on_message("c", ctx) == "c"
        assert MessageHandlerContext.agent_id() == AgentId("other", "y")
    assert seen == [(ECHO, "x")] * 3
    with pytest.raises(RuntimeError):
        MessageHandlerContext.agent_id()


# AG-12
async def test_where_the_context_holds_on_message_adds_no_coroutine(
    runtime: RecordingRuntime,
) -> None:
    agent = Echo()
    ctx = MessageContext(None, None, True)
    await agent.bind_id_and_runtime(ECHO, runtime)
    with MessageHandlerContext.populate_context(ECHO):
        coroutine = agent.on_message("a", ctx)
        assert coroutine.cr_code is Echo.on_message_impl.__code__  # type: ignore[attr-defined]
        assert await coroutine == "a"


async def test_an_unbound_agent_can_be_tried_out() -> None:
    ctx = MessageContext(None, None, True)
    assert await Echo().on_message("a", ctx) == "a"
    with MessageHandlerContext.populate_context(ECHO):
        assert await Echo().on_message("a", ctx) == "a"


# AG-14, AG-15, CONF-05
async def test_an_agent_sends_and_publishes_under_its_own_name(runtime: RecordingRuntime) -> None:
    await Echo.register(runtime, "echo", Echo)
    agent = Echo()
    await agent.bind_id_and_runtime(AgentId("caller", "c"), runtime)
    runtime.calls.clear()
    token = CancellationToken()
    topic = TopicId("t", "s")
    assert await agent.send_message("a", ECHO, cancellation_token=token, message_id="1") == "a"
    await agent.publish_message("b", topic, cancellation_token=token, message_id="2")
    await agent.send_message("c", ECHO)
    await agent.publish_message("d", topic)
    own = AgentId("caller", "c")
    given = {"sender": own, "cancellation_token": token}
    nothing = {"sender": own, "cancellation_token": None, "message_id": None}
    assert runtime.calls == [
        ("send_message", {"message": "a", "recipient": ECHO, "message_id": "1", **given}),
        ("publish_message", {"message": "b", "topic_id": topic, "message_id": "2", **given}),
        ("send_message", {"message": "c", "recipient": ECHO, **nothing}),
        ("publish_message", {"message": "d", "topic_id": topic, **nothing}),
    ]


# AG-14, AG-15
def test_an_unbound_agent_cannot_send() -> None:
    with pytest.raises(RuntimeError, match="has no runtime yet"):
        Echo().send_message("a", ECHO)
    with pytest.raises(RuntimeError, match="has no runtime yet"):
        Echo().publish_message("a", TopicId("t", "s"))


# --- state -------------------------------------------------------------------------------------


# AG-05, AG-06, AG-16, CONF-01, GAP-18
async def test_the_default_state_is_nothing_and_a_warning() -> None:
    with pytest.warns(UserWarning, match="Echo does not implement save_state") as warned:
        assert await Echo().save_state() == {}
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="Echo does not implement load_state"):
        await Echo().load_state({"a": 1})


# AG-16
def test_a_runtime_can_tell_the_defaults_without_calling_them() -> None:
    class Keeps(Echo):
        async def save_state(self) -> Mapping[str, Any]:
            return {}

    assert Echo().save_state.keeps_no_state is True  # type: ignore[attr-defined]
    assert Echo().load_state.keeps_no_state is True  # type: ignore[attr-defined]
    assert not hasattr(Keeps().save_state, "keeps_no_state")
    assert hasattr(Keeps().load_state, "keeps_no_state")


# AG-07, AG-16, CONF-06
async def test_closing_does_nothing_by_default() -> None:
    await Echo().close()


# --- register ----------------------------------------------------------------------------------


# AG-17, AG-18, AG-20, SUB-17, GAP-20, CONF-03, CONF-04
async def test_register_adds_factory_subscriptions_and_serializers(
    runtime: RecordingRuntime,
) -> None:
    @default_subscription
    @type_subscription("notes")
    class Subscribed(Clerk):
        pass

    for type in ("clerk", "other-clerk"):
        assert await Subscribed.register(runtime, type, Subscribed) == AgentType(type)
    assert runtime.calls == [("register_factory", {"expected_class": Subscribed})] * 2
    assert runtime.subscriptions == [
        made
        for type in ("clerk", "other-clerk")
        for made in (
            TypeSubscription("notes", type),
            DefaultSubscription(agent_type=type),
            TypePrefixSubscription(f"{type}:", type),
        )
    ]
    assert {serializer.type_name for serializer in runtime.serializers} == {"Note"}


# AG-17, SUB-13
async def test_register_leaves_out_what_is_to_be_skipped(runtime: RecordingRuntime) -> None:
    @default_subscription
    class Subscribed(Clerk):
        pass

    await Subscribed.register(runtime, "a", Subscribed, skip_class_subscriptions=True)
    assert runtime.subscriptions == [TypePrefixSubscription("a:", "a")]
    await Subscribed.register(runtime, "b", Subscribed, skip_direct_message_subscription=True)
    assert runtime.subscriptions[1:] == [DefaultSubscription(agent_type="b")]


# AG-19, AG-22
async def test_factories_may_be_classes_functions_and_async_functions(
    runtime: RecordingRuntime,
) -> None:
    def function() -> Clerk:
        return Clerk()

    async def async_function() -> Clerk:
        return Clerk()

    for number, factory in enumerate([Clerk, function, async_function, lambda: Clerk()]):
        await Clerk.register(runtime, f"clerk{number}", factory)
        recipient = AgentId(f"clerk{number}", "k")
        assert await runtime.send_message("a", recipient) == 1
        assert await runtime.send_message("b", recipient) == 2
        assert (await runtime.agent(recipient)).notes == ["a", "b"]


async def test_options_of_our_runtimes_are_passed_on_only_if_given(
    runtime: RecordingRuntime,
) -> None:
    await Echo.register(runtime, "a", Echo, max_concurrency=1, idle_timeout=0.0)
    await Echo.register(runtime, "b", Echo, mailbox_size=3)
    assert runtime.calls == [
        ("register_factory", {"expected_class": Echo, "max_concurrency": 1, "idle_timeout": 0.0}),
        ("register_factory", {"expected_class": Echo, "mailbox_size": 3}),
    ]


# RG-18: str, Any and other types that nothing can write are fine inside one process.
async def test_types_without_a_serializer_are_no_obstacle(runtime: RecordingRuntime) -> None:
    class Anything(RoutedAgent):
        @message_handler
        async def handle(self, message: Any, ctx: MessageContext) -> Any:
            return message

        @message_handler
        async def handle_text(self, message: str | list[int], ctx: MessageContext) -> Any:
            return message

    await Anything.register(runtime, "any", lambda: Anything("takes all"))
    assert runtime.serializers == []


# AG-24
async def test_the_class_level_registries_are_used_and_are_each_class_s_own(
    runtime: RecordingRuntime,
) -> None:
    serializer = object()

    class Extra(Echo):
        internal_extra_handles_types = [(Note, [serializer])]  # type: ignore[list-item]  # noqa: RUF012
        internal_unbound_subscriptions_list = [  # noqa: RUF012
            lambda: [TypeSubscription("extra", SubscriptionInstantiationContext.agent_type())]
        ]

    class Derived(Extra):
        pass

    await Extra.register(runtime, "extra", Extra)
    assert runtime.serializers == [serializer]
    assert runtime.subscriptions[0] == TypeSubscription("extra", "extra")
    assert Derived.internal_extra_handles_types == []
    assert Derived.internal_unbound_subscriptions_list == []
    assert BaseAgent.internal_unbound_subscriptions_list == []
    assert RoutedAgent.internal_unbound_subscriptions_list == []


# AG-17
async def test_a_registration_that_cannot_succeed_changes_nothing(
    runtime: RecordingRuntime,
) -> None:
    @subscription_factory(lambda: [TypeSubscription("not valid!", "a")])
    class BadSubscription(Echo):
        pass

    class BadHint(RoutedAgent):
        @message_handler
        async def handle(self, message: NotThere, ctx: MessageContext) -> None: ...  # type: ignore  # noqa: F821

    with pytest.raises(InvalidIdentifier):
        await Clerk.register(runtime, "not valid!", Clerk)
    with pytest.raises(InvalidIdentifier):
        await BadSubscription.register(runtime, "a", BadSubscription)
    with pytest.raises(TypeError, match="NotThere"):
        await BadHint.register(runtime, "a", lambda: BadHint("x"))
    assert (runtime.calls, runtime.subscriptions, runtime.serializers) == ([], [], [])

    await Clerk.register(runtime, "a", Clerk)
    before = (list(runtime.calls), runtime.subscriptions, list(runtime.serializers))
    with pytest.raises(ValueError, match="registered already"):
        await Clerk.register(runtime, "a", Clerk)
    assert (runtime.calls, runtime.subscriptions, runtime.serializers) == before


# AG-17
async def test_when_a_subscription_exists_those_before_it_are_taken_back(
    runtime: RecordingRuntime,
) -> None:
    @default_subscription
    @type_subscription("notes")
    class Subscribed(Clerk):
        pass

    existing = DefaultSubscription(agent_type="clerk")
    await runtime.add_subscription(existing)
    with pytest.raises(ValueError, match="already exists"):
        await Subscribed.register(runtime, "clerk", Subscribed)
    assert runtime.subscriptions == [existing]


# --- register_instance -------------------------------------------------------------------------


# AG-21, CONF-04, SUB-17
async def test_register_instance_binds_and_subscribes(runtime: RecordingRuntime) -> None:
    @default_subscription
    class Subscribed(Clerk):
        pass

    agent = Subscribed()
    id = AgentId("clerk", "topic-or-key")
    assert await agent.register_instance(runtime, id) == id
    assert (agent.id, agent.runtime) == (id, runtime)
    assert runtime.subscriptions == [
        TypeSubscription("topic-or-key", "clerk"),
        TypePrefixSubscription("clerk:", "clerk"),
    ]
    assert {serializer.type_name for serializer in runtime.serializers} == {"Note"}


# AG-21
async def test_a_second_instance_shares_the_subscriptions_of_its_type(
    runtime: RecordingRuntime,
) -> None:
    @default_subscription
    class Subscribed(Clerk):
        pass

    for key in ("a", "b"):
        await Subscribed().register_instance(
            runtime, AgentId("clerk", key), skip_class_subscriptions=False
        )
    assert runtime.subscriptions == [
        TypeSubscription("a", "clerk"),
        DefaultSubscription(agent_type="clerk"),
        TypePrefixSubscription("clerk:", "clerk"),
        TypeSubscription("b", "clerk"),
    ]


# AG-21
async def test_a_key_that_is_no_topic_type_and_skipped_subscriptions_are_left_out(
    runtime: RecordingRuntime,
) -> None:
    await Echo().register_instance(
        runtime, AgentId("echo", "a key/with spaces"), skip_direct_message_subscription=True
    )
    await Echo().register_instance(runtime, AgentId("echo", ""))
    assert runtime.subscriptions == [TypePrefixSubscription("echo:", "echo")]


# AG-21
async def test_an_instance_that_is_refused_subscribes_to_nothing(
    runtime: RecordingRuntime,
) -> None:
    await Echo().register_instance(runtime, ECHO)
    before = runtime.subscriptions
    with pytest.raises(ValueError, match="taken"):
        await Echo().register_instance(runtime, ECHO)
    bound = Echo()
    await bound.bind_id_and_runtime(AgentId("echo", "elsewhere"), runtime)
    with pytest.raises(RuntimeError, match="already"):
        await bound.register_instance(runtime, AgentId("echo", "new"))
    assert runtime.subscriptions == before


# --- class decorators --------------------------------------------------------------------------


# SUB-11, SUB-12, SUB-18, CX-05
async def test_subscriptions_are_made_for_each_type_that_is_registered(
    runtime: RecordingRuntime,
) -> None:
    types: list[AgentType] = []

    async def make() -> list[Subscription]:
        types.append(SubscriptionInstantiationContext.agent_type())
        return [TypeSubscription("async", types[-1])]

    @subscription_factory(make)
    @default_subscription()
    class Subscribed(Echo):
        pass

    assert types == []
    await Subscribed.register(runtime, "a", Subscribed, skip_direct_message_subscription=True)
    await Subscribed.register(runtime, "b", Subscribed, skip_direct_message_subscription=True)
    assert types == [AgentType("a"), AgentType("b")]
    assert runtime.subscriptions == [
        DefaultSubscription(agent_type="a"),
        TypeSubscription("async", "a"),
        DefaultSubscription(agent_type="b"),
        TypeSubscription("async", "b"),
    ]


# SUB-15: a topic that is named twice counts once.
async def test_a_class_may_have_several_subscriptions(runtime: RecordingRuntime) -> None:
    @type_subscription("own")
    @type_subscription("shared")
    @default_subscription
    @type_subscription("default")
    class Subscribed(Echo):
        pass

    await Subscribed.register(runtime, "a", Subscribed)
    assert [getattr(one, "topic_type", None) for one in runtime.subscriptions] == [
        "default",
        "shared",
        "own",
        None,
    ]


# SUB-13
async def test_class_subscriptions_are_not_inherited(runtime: RecordingRuntime) -> None:
    @default_subscription
    class Base(Echo):
        pass

    class Derived(Base):
        pass

    await Derived.register(runtime, "a", Derived)
    assert runtime.subscriptions == [TypePrefixSubscription("a:", "a")]


# SUB-14, SUB-16
async def test_types_of_one_class_can_hear_different_topics(runtime: RecordingRuntime) -> None:
    for type in ("a", "b", "c"):
        await Clerk.register(runtime, type, Clerk)
        await runtime.add_subscription(TypeSubscription("c" if type == "c" else "ab", type))
    await runtime.publish_message("x", TopicId("ab", "s"))
    assert set(runtime.agents) == {AgentId("a", "s"), AgentId("b", "s")}


# SUB-17
async def test_the_direct_message_subscription_reaches_one_agent(
    runtime: RecordingRuntime,
) -> None:
    await Clerk.register(runtime, "clerk", Clerk)
    await Clerk.register(runtime, "clerk2", Clerk)
    await runtime.publish_message("x", TopicId("clerk:anything", "s"))
    assert set(runtime.agents) == {AgentId("clerk", "s")}


# SUB-11, SUB-12, SUB-18
def test_misused_class_decorators_say_so() -> None:
    with pytest.raises(InvalidIdentifier, match="topic type"):
        type_subscription("not valid!")
    with pytest.raises(InvalidIdentifier, match="must be a str"):
        type_subscription(Echo)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="function that gives a list"):
        subscription_factory([DefaultSubscription(agent_type="a")])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="derived from BaseAgent"):
        default_subscription(int)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="derived from BaseAgent"):
        type_subscription("a")(Echo("an instance"))  # type: ignore[arg-type]


# AG-17, AG-21
def test_all_registration_is_async() -> None:
    for function in (Echo.register, Echo.register_instance, ClosureAgent.register_closure):
        assert inspect.iscoroutinefunction(function)
