"""What programs written for AutoGen Core count on, where no other file here is about it.

One test for one thing, in the order of `docs/parity.md`.
"""

from __future__ import annotations

import ast
import inspect
import logging
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from pydantic import BaseModel

import trio_agents
from trio_agents import (
    JSON_DATA_CONTENT_TYPE,
    AgentId,
    AgentProxy,
    AgentRuntime,
    BaseAgent,
    CancellationToken,
    ClosureAgent,
    ClosureContext,
    DefaultInterventionHandler,
    DefaultSubscription,
    DefaultTopicId,
    DropMessage,
    FunctionCall,
    InterventionHandler,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    default_subscription,
    event,
    message_handler,
    rpc,
)
from trio_agents.exceptions import (
    CantHandleException,
    InvalidIdentifier,
    MessageDroppedException,
    NotAccessibleError,
    StateError,
    UndeliverableException,
    UnknownAgentType,
)

from . import loop
from .loop import MockClock, SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

ROOT: Final = Path(__file__).parent.parent.parent
ONE, TWO = AgentId("counter", "one"), AgentId("counter", "two")
NEWS = TopicId("news", "one")


@dataclass
class Add:
    number: int


@dataclass
class HowMuch:
    pass


class Counter(RoutedAgent):
    """Adds up what it is sent, and what it hears."""

    def __init__(self) -> None:
        super().__init__("counts")
        self.total = 0
        self.senders: list[AgentId | None] = []
        self.ids: list[str] = []
        self.closed = False

    @message_handler
    async def add(self, message: Add, ctx: MessageContext) -> int:
        self.total += message.number
        self.senders.append(ctx.sender)
        self.ids.append(ctx.message_id)
        return self.total

    @rpc
    async def tell(self, message: HowMuch, ctx: MessageContext) -> int:
        return self.total

    async def save_state(self) -> Mapping[str, Any]:
        return {"total": self.total}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.total = state["total"]

    async def close(self) -> None:
        self.closed = True


async def add_counter(runtime: SingleThreadedAgentRuntime, **options: Any) -> None:
    """Register counters, who hear the news."""
    await Counter.register(runtime, "counter", Counter, **options)
    await runtime.add_subscription(TypeSubscription("news", "counter"))


async def counter(runtime: SingleThreadedAgentRuntime, id: AgentId = ONE) -> Counter:
    return await runtime.try_get_underlying_agent_instance(id, Counter)


# --- CON: concepts


# CON-01, AG-22
async def test_an_agent_keeps_its_state_acts_on_messages_and_sends_some() -> None:
    @default_subscription
    class Relay(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("passes on what it hears, numbered")
            self._heard = 0

        @event
        async def on_word(self, message: str, ctx: MessageContext) -> None:
            self._heard += 1
            await self.send_message(Add(self._heard), ONE)

    async with open_runtime() as runtime:
        await add_counter(runtime)
        await Relay.register(runtime, "relay", Relay)
        for word in ("a", "b", "c"):
            await runtime.publish_message(word, DefaultTopicId())
        await runtime.stop_when_idle()
        assert (await counter(runtime)).total == 1 + 2 + 3


class Remote:
    """A runtime that reaches another one from afar, as one in another process would.

    It hands out no agents: an agent that runs here and asks it for one cannot count on its object.
    """

    def __init__(self, runtime: SingleThreadedAgentRuntime) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    async def try_get_underlying_agent_instance(self, id: AgentId, type: Any = object) -> Any:
        raise NotAccessibleError(f"{id} lives elsewhere")


# CON-02, CON-08, CON-10, EX-03: the same agent, and a runtime it has not been written for
async def test_an_agent_runs_in_any_runtime_that_keeps_the_protocol() -> None:
    class Asker(RoutedAgent):
        @rpc
        async def ask(self, message: Add, ctx: MessageContext) -> Any:
            return await self.send_message(message, ONE)

    async with open_runtime() as runtime:
        await add_counter(runtime)
        remote: Any = Remote(runtime)
        asker = Asker("asks a counter")
        await asker.bind_id_and_runtime(AgentId("asker", "x"), remote)
        ctx = MessageContext(None, None, True)
        assert await asker.on_message(Add(2), ctx) == 2
        assert (await counter(runtime)).senders == [asker.id]
        with pytest.raises(NotAccessibleError, match="elsewhere"):
            await asker.runtime.try_get_underlying_agent_instance(ONE)


# CON-03: no runtime at all
async def test_an_agent_can_be_tested_alone() -> None:
    assert await Counter().on_message(Add(3), MessageContext(None, None, True)) == 3


# CON-04: an agent need not derive from anything of ours
async def test_anything_with_the_members_of_an_agent_is_one() -> None:
    class Plain:
        def __init__(self) -> None:
            self.id = trio_agents.AgentInstantiationContext.current_agent_id()

        @property
        def metadata(self) -> Any:
            return {"type": self.id.type, "key": self.id.key, "description": "plain"}

        async def bind_id_and_runtime(self, id: AgentId, runtime: AgentRuntime) -> None: ...
        async def on_message(self, message: Any, ctx: MessageContext) -> Any:
            return message * 2

        async def save_state(self) -> Mapping[str, Any]:
            return {}

        async def load_state(self, state: Mapping[str, Any]) -> None: ...
        async def close(self) -> None: ...

    async with open_runtime() as runtime:
        await runtime.register_factory("plain", Plain)
        assert await runtime.send_message(21, AgentId("plain", "x")) == 42
        assert (await runtime.agent_metadata(AgentId("plain", "x")))["description"] == "plain"


# CON-09, ST-03
@pytest.mark.only_on("trio", "it looks into trio's nurseries")
async def test_everything_runs_in_one_thread_as_tasks_of_the_block() -> None:
    seen: list[tuple[int, object]] = []

    async def look(agent: ClosureContext, message: str, ctx: MessageContext) -> None:
        seen.append((threading.get_ident(), trio.lowlevel.current_task().parent_nursery))

    async with SingleThreadedAgentRuntime() as runtime:
        await ClosureAgent.register_closure(runtime, "look", look)
        runtime.start()
        for key in ("a", "b"):
            await runtime.send_message("now", AgentId("look", key))
        ours = trio.lowlevel.current_task().child_nurseries
        assert [thread for thread, _ in seen] == [threading.get_ident()] * 2
        assert all(nursery in ours for _, nursery in seen)


# CON-11, ST-18: one of each of a runtime's duties
async def test_the_runtime_sees_to_delivery_identity_lifecycle_observation_and_state(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "autogen_core.events"):
        async with open_runtime() as runtime:
            await add_counter(runtime)
            assert await runtime.send_message(Add(1), ONE) == 1
            assert (await runtime.agent_metadata(ONE))["key"] == "one"
            assert await runtime.save_state() == {"counter/one": {"total": 1}}
            assert await runtime.agent_save_state(ONE) == {"total": 1}
            await runtime.agent_load_state(TWO, {"total": 7})
            assert await runtime.send_message(HowMuch(), TWO) == 7
            agent = await counter(runtime)
    assert agent.closed
    assert runtime.statistics().handled == 2
    assert len([r for r in caplog.records if r.name == "autogen_core.events"]) == 8


# CON-12, PKG-08: the factory is the type's, the agent the key's
async def test_agents_are_made_by_the_runtime_when_they_are_needed() -> None:
    made: list[Counter] = []

    def make() -> Counter:
        made.append(Counter())
        return made[-1]

    async with open_runtime() as runtime:
        await Counter.register(runtime, "counter", make)
        assert made == []
        for id in (ONE, TWO, ONE):
            await runtime.send_message(Add(1), id)
    assert [(agent.id, agent.total) for agent in made] == [(ONE, 2), (TWO, 1)]


# CON-13, PKG-07, RT-35: calling a function of an agent is a message and its answer
async def test_what_a_caller_has_is_an_id_and_what_it_does_is_to_send() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        id = await runtime.get("counter", "one")
        assert id == ONE
        assert not [name for name in dir(id) if name in ("total", "add", "tell")]
        await runtime.send_message(Add(5), id)
        assert await runtime.send_message(HowMuch(), id) == 5
        proxy = AgentProxy(id, runtime)
        assert await proxy.send_message(HowMuch(), sender=TWO) == 5


# CON-15: what this package has of the blocks; the others come with their components
def test_the_blocks_of_agents_are_there_and_need_not_be_used() -> None:
    for cls in (RoutedAgent, ClosureAgent):
        assert issubclass(cls, BaseAgent)
    assert isinstance(DefaultInterventionHandler(), InterventionHandler)


# CON-16, and more than AutoGen has: there nothing is ever put away
async def test_a_quiet_agent_is_put_away_and_comes_back_with_its_state(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime, idle_timeout=60)
        await runtime.send_message(Add(3), ONE)
        first = await counter(runtime)
        await loop.sleep(300)
        assert first.closed
        assert runtime.statistics().agents == 0
        assert await runtime.send_message(HowMuch(), ONE) == 3
        assert await counter(runtime) is not first


# --- ID


# ID-10, RT-10: an id reaches the same agent whoever uses it and however it was made
async def test_the_same_id_reaches_the_same_agent() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        await runtime.send_message(Add(1), AgentId("counter", "one"))
        await runtime.send_message(Add(1), AgentId.from_str("counter/one"))
        await runtime.publish_message(Add(1), NEWS)
        assert await runtime.send_message(HowMuch(), ONE) == 3
        assert runtime.statistics().agents == 1


# ID-16
async def test_a_source_keeps_its_messages_from_other_sources() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        for source, number in (("one", 1), ("two", 10), ("one", 2)):
            await runtime.publish_message(Add(number), TopicId("news", source))
        await runtime.stop_when_idle()
        assert [(await counter(runtime, id)).total for id in (ONE, TWO)] == [3, 10]


# ID-18, ID-17
async def test_a_session_stays_together_without_being_named() -> None:
    @default_subscription
    class Editor(RoutedAgent):
        @event
        async def edit(self, message: str, ctx: MessageContext) -> None:
            await self.publish_message(Add(len(message)), DefaultTopicId("news"))

    async with open_runtime() as runtime:
        await add_counter(runtime)
        await Editor.register(runtime, "editor", lambda: Editor("counts letters"))
        await runtime.publish_message("abc", DefaultTopicId(source="one"))
        await runtime.publish_message("abcd", DefaultTopicId(source="two"))
        await runtime.stop_when_idle()
        assert [(await counter(runtime, id)).total for id in (ONE, TWO)] == [3, 4]


# --- CL


# CL-10, ST-23, CL-07, CL-08
async def test_a_closure_may_be_registered_while_the_runtime_runs() -> None:
    heard: list[str] = []

    async def collect(agent: ClosureContext, message: str, ctx: MessageContext) -> None:
        heard.append(f"{agent.id}: {message}")

    async with open_runtime() as runtime:
        await runtime.publish_message("too early", DefaultTopicId())
        await wait_all_tasks_blocked()
        await ClosureAgent.register_closure(
            runtime, "collector", collect, subscriptions=lambda: [DefaultSubscription()]
        )
        await runtime.publish_message("in time", DefaultTopicId())
        await runtime.stop_when_idle()
    assert heard == ["collector/default: in time"]


# --- RT


# RT-01: what the protocol has, our runtime has, with parameters of the same names
def test_the_runtime_keeps_the_protocol() -> None:
    members = [name for name in vars(AgentRuntime) if not name.startswith("_")]
    assert {"send_message", "publish_message", "save_state"} <= set(members)
    for name in members:
        expected = inspect.signature(getattr(AgentRuntime, name)).parameters
        found = inspect.signature(getattr(loop.Runtime, name)).parameters
        assert [*expected] == [*found][: len(expected)], name
        for parameter in expected:
            assert expected[parameter].kind is found[parameter].kind, (name, parameter)


# RT-02, ST-08, RG-16
async def test_send_returns_what_the_handler_returned() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        assert await runtime.send_message(Add(3), ONE) == 3
        assert await runtime.send_message("nobody handles this", ONE) is None


# RT-04, EX-01, AG-04: of an agent, and of a subscription
async def test_an_agent_that_cannot_handle_a_message_says_so_to_the_sender() -> None:
    class Picky(BaseAgent):
        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            raise CantHandleException(f"not a {type(message).__name__}")

    async with open_runtime() as runtime:
        await Picky.register(runtime, "picky", lambda: Picky("handles nothing"))
        with pytest.raises(CantHandleException, match="not a int"):
            await runtime.send_message(1, AgentId("picky", "x"))
    with pytest.raises(CantHandleException):
        TypeSubscription("news", "counter").map_to_agent(TopicId("ads", "x"))


# RT-05, EX-02, EX-04: an unknown type, and a runtime that ends before
async def test_what_cannot_be_delivered_is_an_error_at_the_sender() -> None:
    async def send(runtime: SingleThreadedAgentRuntime) -> None:
        with pytest.raises(UndeliverableException, match="was left before"):
            await runtime.send_message(Add(1), ONE)

    async with loop.open_nursery() as nursery:
        async with SingleThreadedAgentRuntime() as runtime:
            with pytest.raises(UnknownAgentType, match="register agent type 'counter'") as caught:
                await runtime.send_message(Add(1), ONE)
            assert isinstance(caught.value, UndeliverableException)
            assert isinstance(caught.value, LookupError)
            await add_counter(runtime)
            nursery.start_soon(send, runtime)
            await wait_all_tasks_blocked()


# RT-06, CX-08, ST-28
async def test_the_sender_is_an_agent_or_none() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        await runtime.send_message(Add(1), ONE)
        await runtime.send_message(Add(1), ONE, sender=AgentId("anybody", "x"))
        await runtime.publish_message(Add(1), NEWS)
        await runtime.publish_message(Add(1), NEWS, sender=AgentId("anybody", "x"))
        await runtime.stop_when_idle()
        anybody = AgentId("anybody", "x")
        assert (await counter(runtime)).senders == [None, anybody, None, anybody]


# RT-07, CX-12
async def test_a_message_has_the_id_that_it_was_given_or_one_of_its_own() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        await runtime.send_message(Add(1), ONE, message_id="m-1")
        await runtime.publish_message(Add(1), NEWS, message_id="m-2")
        await runtime.send_message(Add(1), ONE)
        await runtime.publish_message(Add(1), NEWS)
        await runtime.stop_when_idle()
        given, made = (ids := (await counter(runtime)).ids)[:2], ids[2:]
        assert given == ["m-1", "m-2"]
        assert len(set(made)) == 2
        assert all(len(id) == 36 for id in made)  # UUIDs


# RT-08, CT-06, CX-11: one is always there
async def test_a_handler_sees_the_sender_s_token_or_one_of_its_message() -> None:
    async def give(agent: ClosureContext, message: str, ctx: MessageContext) -> CancellationToken:
        return ctx.cancellation_token

    async with open_runtime() as runtime:
        await ClosureAgent.register_closure(runtime, "give", give)
        token = CancellationToken()
        id = AgentId("give", "x")
        assert await runtime.send_message("a", id, cancellation_token=token) is token
        own = await runtime.send_message("a", id)
        assert own is not token
        assert not own.is_cancelled()


class Model(BaseModel):
    text: str


# RT-09, MSG-01, RG-18: those of handlers are registered, and no other is needed within a process
async def test_messages_are_handed_over_as_they_are_and_their_types_can_be_serialised() -> None:
    class Echo(RoutedAgent):
        @message_handler
        async def on_dataclass(self, message: Add, ctx: MessageContext) -> Add:
            return message

        @message_handler
        async def on_model(self, message: Model, ctx: MessageContext) -> Model:
            return message

        @message_handler
        async def on_object(self, message: object, ctx: MessageContext) -> object:
            return message

    async with open_runtime() as runtime:
        await Echo.register(runtime, "echo", lambda: Echo("repeats"))
        for message in (Add(1), Model(text="a"), {1, 2}, object()):
            assert await runtime.send_message(message, AgentId("echo", "x")) is message
        registry = runtime._serialization
        assert registry.is_registered("Add", JSON_DATA_CONTENT_TYPE)
        assert registry.is_registered("Model", JSON_DATA_CONTENT_TYPE)


# RT-11, RT-12, RT-16, RT-18, SUB-16, ST-08
async def test_publishing_reaches_all_who_subscribed_and_returns_before_they_begin() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        await Counter.register(runtime, "other", Counter)
        await runtime.add_subscription(TypeSubscription("news", "other"))
        assert await runtime.publish_message(Add(1), NEWS) is None  # type: ignore[func-returns-value]
        assert runtime.statistics().handled == 0
        await runtime.publish_message(Add(1), TopicId("nobody.listens", "x"))
        await runtime.stop_when_idle()
        for id in (ONE, AgentId("other", "one")):
            assert (await counter(runtime, id)).total == 1


# RT-13, ST-06, EX-07
async def test_a_subscriber_s_exception_is_none_of_the_publisher_s(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(agent: ClosureContext, message: Add, ctx: MessageContext) -> None:
        raise ValueError("mine")

    async with open_runtime() as runtime:
        await ClosureAgent.register_closure(
            runtime, "fails", fail, subscriptions=lambda: [TypeSubscription("news", "fails")]
        )
        await add_counter(runtime)
        await runtime.publish_message(Add(1), NEWS)
        await runtime.stop_when_idle()
        assert (await counter(runtime)).total == 1
        runtime.start()
        with pytest.raises(ValueError, match="mine"):
            await runtime.send_message(Add(1), AgentId("fails", "one"))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# RT-14, RT-36, SUB-07
async def test_a_publisher_does_not_hear_itself() -> None:
    heard: list[AgentId] = []

    @default_subscription
    class Gossip(RoutedAgent):
        @message_handler
        async def hear(self, message: str, ctx: MessageContext) -> None:
            heard.append(self.id)
            if ctx.is_rpc:
                await self.publish_message(message, DefaultTopicId())
                await self.publish_message(message, DefaultTopicId(source="other"))

    async with open_runtime() as runtime:
        for name in ("a", "b"):
            await Gossip.register(runtime, name, lambda: Gossip("tells everybody else"))
        await runtime.send_message("psst", AgentId("a", "x"))
    # Another key of its own type is somebody else.
    assert sorted(map(str, heard)) == ["a/other", "a/x", "b/other", "b/x"]


# RT-15
async def test_a_recipient_hears_a_publication_once_however_many_subscriptions_match() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        await runtime.add_subscription(TypePrefixSubscription("new", "counter"))
        await runtime.add_subscription(TypePrefixSubscription("n", "counter"))
        await runtime.publish_message(Add(1), NEWS)
        await runtime.stop_when_idle()
        assert (await counter(runtime)).total == 1


# RT-17, EX-02, CONF-26: it is for a runtime that cannot take the message; that nobody hears it is
# no error
async def test_publishing_is_undeliverable_only_where_the_runtime_is_full() -> None:
    async with SingleThreadedAgentRuntime(max_pending=1, overflow="raise") as runtime:
        await runtime.publish_message(Add(1), NEWS)
        with pytest.raises(UndeliverableException):
            await runtime.publish_message(Add(1), NEWS)


# RT-27, RT-28, ST-09, ST-10, RT-30, RT-31, GAP-19
async def test_state_goes_from_one_runtime_into_another() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        await runtime.send_message(Add(1), ONE)
        await runtime.send_message(Add(2), TWO)
        state = await runtime.save_state()
        assert await runtime.agent_save_state(TWO) == {"total": 2}
    assert state == {"counter/one": {"total": 1}, "counter/two": {"total": 2}}
    async with open_runtime() as runtime:
        await add_counter(runtime)
        await runtime.load_state(state)
        assert await runtime.send_message(HowMuch(), TWO) == 2
        await runtime.agent_load_state(TWO, {"total": 20})
        assert await runtime.send_message(HowMuch(), TWO) == 20


# RT-32, RT-33, ST-21, SUB-02, SUB-14, EX-04
async def test_subscriptions_come_and_go_while_the_runtime_runs() -> None:
    async with open_runtime() as runtime:
        await Counter.register(runtime, "counter", Counter)
        subscription = TypeSubscription("news", "counter", id="mine")
        for add in (False, True, False):
            if add:
                await runtime.add_subscription(subscription)
            elif runtime.statistics().agents:
                await runtime.remove_subscription("mine")
            await runtime.publish_message(Add(1), NEWS)
            await wait_all_tasks_blocked()
        assert (await counter(runtime)).total == 1
        with pytest.raises(LookupError, match="mine"):
            await runtime.remove_subscription("mine")


class Shouts:
    """A format of the application's."""

    type_name = "Add"
    data_content_type = "text/plain"

    def serialize(self, message: Add) -> bytes:
        return f"{message.number}!".encode()

    def deserialize(self, payload: bytes) -> Add:
        return Add(int(payload[:-1]))


# RT-34, ST-21, MSG-03, MSG-04, MSG-10
async def test_a_runtime_takes_serializers_one_or_several() -> None:
    runtime = SingleThreadedAgentRuntime()
    runtime.add_message_serializer(Shouts())
    runtime.add_message_serializer([Shouts(), Shouts()])
    registry = runtime._serialization
    data = registry.serialize(Add(3), type_name="Add", data_content_type="text/plain")
    assert data == b"3!"
    read = registry.deserialize(data, type_name="Add", data_content_type="text/plain")
    assert read == Add(3)
    with pytest.raises(TypeError):
        runtime.add_message_serializer(Shouts)  # type: ignore[arg-type]


# --- ST


# ST-01, ST-04, ST-05
@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("intervention_handlers", [object()], TypeError),
        ("tracer_provider", "otlp", TypeError),
        ("max_pending", 0, ValueError),
        ("max_pending", "many", TypeError),
        ("overflow", "drop", ValueError),
    ],
)
def test_the_constructor_refuses_what_it_cannot_use(
    option: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        SingleThreadedAgentRuntime(**{option: value})


# ST-01
def test_the_constructor_takes_autogen_s_arguments_by_keyword_and_needs_no_loop() -> None:
    SingleThreadedAgentRuntime(
        intervention_handlers=None, tracer_provider=None, ignore_unhandled_exceptions=True
    )
    with pytest.raises(TypeError):
        SingleThreadedAgentRuntime([])  # type: ignore[call-arg]


# ST-02, ST-24, ST-25, CONF-18
async def test_handlers_begin_in_order_and_overlap(autojump_clock: MockClock) -> None:
    steps: list[str] = []

    async def work(agent: ClosureContext, message: int, ctx: MessageContext) -> None:
        steps.append(f"{agent.id.type} begins {message}")
        await loop.sleep(message)
        steps.append(f"{agent.id.type} ends {message}")

    async with open_runtime() as runtime:
        for name in ("a", "b"):
            await ClosureAgent.register_closure(
                runtime, name, work, subscriptions=lambda: [DefaultSubscription()]
            )
        await runtime.publish_message(3, DefaultTopicId())
        await runtime.publish_message(1, DefaultTopicId())
    assert steps[:4] == ["a begins 3", "b begins 3", "a begins 1", "b begins 1"]
    assert sorted(steps[4:6]) == ["a ends 1", "b ends 1"]
    assert sorted(steps[6:]) == ["a ends 3", "b ends 3"]


# ST-26, ST-27
async def test_a_handler_asks_itself_and_several_others_at_once(autojump_clock: MockClock) -> None:
    class Splitter(RoutedAgent):
        @rpc
        async def split(self, message: str, ctx: MessageContext) -> str:
            if len(message) == 1:
                await loop.sleep(1 if message == "a" else 0)
                return message.upper()
            answers = [""] * len(message)

            async def ask(index: int) -> None:
                to = self.id if index == 0 else AgentId("splitter", message[index])
                answers[index] = await self.send_message(message[index], to)

            async with loop.open_nursery() as nursery:
                for index in range(len(message)):
                    nursery.start_soon(ask, index)
            return "".join(answers)

    async with open_runtime() as runtime:
        await Splitter.register(runtime, "splitter", lambda: Splitter("asks for each letter"))
        assert await runtime.send_message("abcd", AgentId("splitter", "x")) == "ABCD"
        assert loop.current_time() < 2


# ST-19, RT-19, RT-23, RT-24, EX-08: errors that AutoGen's documents do not name
async def test_what_cannot_be_registered_is_an_error_of_a_fitting_kind() -> None:
    runtime = SingleThreadedAgentRuntime()
    await runtime.register_factory("counter", Counter)
    await runtime.register_agent_instance(Counter(), AgentId("single", "x"))
    with pytest.raises(ValueError, match="already"):
        await runtime.register_factory("counter", Counter)
    with pytest.raises(ValueError, match="factory"):
        await runtime.register_agent_instance(Counter(), ONE)
    with pytest.raises(ValueError, match="already"):
        await runtime.register_factory("single", Counter)
    with pytest.raises(ValueError, match="already"):
        await runtime.register_agent_instance(Counter(), AgentId("single", "x"))
    with pytest.raises(InvalidIdentifier):
        await runtime.register_factory("no spaces", Counter)
    with pytest.raises(StateError):
        await runtime.load_state({"no id": {}})


# EX-05, RT-21, AG-18: of another class than was asked for, or was expected of the factory
async def test_an_agent_of_another_class_is_a_type_error_naming_both() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        with pytest.raises(TypeError, match=r"Counter.*ClosureAgent"):
            await runtime.try_get_underlying_agent_instance(ONE, ClosureAgent)
        await runtime.register_factory("wrong", Counter, expected_class=ClosureAgent)
        with pytest.raises(TypeError, match=r"ClosureAgent.*Counter"):
            await runtime.send_message(Add(1), AgentId("wrong", "x"))


# --- MSG


# MSG-02: no message of the library's has methods, and none is needed to be one
async def test_a_message_is_data_and_needs_no_base_class() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        message = Add(1)
        await runtime.send_message(message, ONE)
        assert vars(message) == {"number": 1}  # nothing was written on it
        assert Add.__mro__ == (Add, object)


# MSG-13
async def test_a_function_call_is_sent_to_whoever_calls_functions() -> None:
    class Caller(RoutedAgent):
        @rpc
        async def call(self, message: FunctionCall, ctx: MessageContext) -> str:
            return f"{message.id}: {message.name}({message.arguments})"

    async with open_runtime() as runtime:
        await Caller.register(runtime, "caller", lambda: Caller("calls functions"))
        call = FunctionCall(id="c1", name="add", arguments='{"a": 1}')
        answer = await runtime.send_message(call, AgentId("caller", "x"))
        assert answer == 'c1: add({"a": 1})'
        registry = runtime._serialization
        data = registry.serialize(
            call, type_name="FunctionCall", data_content_type=JSON_DATA_CONTENT_TYPE
        )
        assert (
            registry.deserialize(
                data, type_name="FunctionCall", data_content_type=JSON_DATA_CONTENT_TYPE
            )
            == call
        )


# --- IV


@dataclass
class Watch(DefaultInterventionHandler):
    """Notes everything it sees."""

    seen: list[tuple[Any, ...]] = field(default_factory=list)

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        self.seen.append(("send", message, message_context.sender, recipient))
        assert (message_context.is_rpc, message_context.topic_id) == (True, None)
        return message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        self.seen.append(("publish", message, message_context.sender, message_context.topic_id))
        assert not message_context.is_rpc
        return message

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        self.seen.append(("response", message, sender, recipient))
        return message


# IV-01, IV-02, IV-03, IV-04, IV-05, IV-06, ST-04
async def test_an_intervention_handler_sees_requests_publications_and_replies() -> None:
    watch = Watch()
    async with open_runtime(intervention_handlers=[watch]) as runtime:
        await add_counter(runtime)
        await runtime.send_message(Add(1), ONE, sender=TWO)
        await runtime.publish_message(Add(2), NEWS)
        await runtime.publish_message(Add(3), TopicId("nobody.listens", "x"), sender=ONE)
        await runtime.stop_when_idle()
    assert watch.seen == [
        ("send", Add(1), TWO, ONE),
        ("response", 1, ONE, TWO),
        ("publish", Add(2), None, NEWS),
        ("publish", Add(3), ONE, TopicId("nobody.listens", "x")),
    ]


class Change(DefaultInterventionHandler):
    """Adds to numbers, in place; drops 13 and forbids 666; forgets to return 7."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        if isinstance(message, Add):
            if message.number == 13:
                return DropMessage
            if message.number == 666:
                raise PermissionError("not this number")
            if message.number == 7:
                return None
            message.number *= 10
        return message


# IV-08, IV-10, IV-11, IV-12
async def test_an_intervention_handler_changes_drops_and_vetoes_messages() -> None:
    async with open_runtime(intervention_handlers=[Change(), Change()]) as runtime:
        await add_counter(runtime)
        message = Add(1)
        assert await runtime.send_message(message, ONE) == 100
        assert message.number == 100
        with pytest.raises(MessageDroppedException):
            await runtime.send_message(Add(13), ONE)
        with pytest.raises(PermissionError, match="not this number"):
            await runtime.send_message(Add(666), ONE)
        assert await runtime.send_message(HowMuch(), ONE) == 100


# IV-07
async def test_none_from_an_intervention_handler_is_a_warning_and_no_change() -> None:
    async with open_runtime(intervention_handlers=[Change()]) as runtime:
        await add_counter(runtime)
        with pytest.warns(RuntimeWarning, match="Change returned None"):
            assert await runtime.send_message(Add(7), ONE) == 7


# IV-09
async def test_the_default_intervention_handler_changes_nothing() -> None:
    async with open_runtime(intervention_handlers=[DefaultInterventionHandler()]) as runtime:
        await add_counter(runtime)
        assert await runtime.send_message(Add(3), ONE) == 3
        await runtime.publish_message(Add(4), NEWS)
        await runtime.stop_when_idle()
        assert (await counter(runtime)).total == 7


# --- PKG


def project() -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    return data


# PKG-01: 3.10, AutoGen's oldest, has reached its end of life
def test_it_runs_on_the_pythons_that_are_maintained_and_forbids_no_newer_one() -> None:
    assert project()["requires-python"] == ">=3.11"
    assert sys.version_info >= (3, 11)


# PKG-02, PKG-03: the core needs no model client, server or sandbox; what does is an extra
def test_what_the_core_does_not_need_is_an_extra() -> None:
    required = {name.partition(">")[0] for name in project()["dependencies"]}
    optional = project()["optional-dependencies"]
    assert required >= {"trio", "anyio"}
    assert not required & {"openai", "grpcio", "docker", "diskcache", "opentelemetry-sdk"}
    assert any(name.startswith("protobuf") for name in optional["protobuf"])


def sources() -> Iterator[Path]:
    yield from (ROOT / "trio_agents").rglob("*.py")


# PKG-05: text that arrives in messages or states never becomes code
@pytest.mark.parametrize("layer", ["_sansio", "_agents", "_core", "_loops"])
def test_no_data_is_run_as_code(layer: str) -> None:
    dangerous = {"exec", "compile", "pickle", "marshal", "__import__"}
    for path in sources():
        if path.relative_to(ROOT / "trio_agents").parts[0] != layer:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not dangerous & (called | imported), path.name


# PKG-06, RT-25, ST-20
async def test_the_object_behind_an_id_can_be_had_for_debugging() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        assert (await runtime.try_get_underlying_agent_instance(ONE, Counter)).total == 0
        with pytest.raises(LookupError):
            await runtime.try_get_underlying_agent_instance(AgentId("nobody", "x"))


# PKG-09: AutoGen's limit is that of its transport; within a process a message is not even copied
async def test_a_message_may_be_of_any_size() -> None:
    big = bytes(64 * 1024 * 1024)

    async def take(agent: ClosureContext, message: bytes, ctx: MessageContext) -> bytes:
        return message

    async with open_runtime() as runtime:
        await ClosureAgent.register_closure(runtime, "take", take)
        assert await runtime.send_message(big, AgentId("take", "x")) is big


# PKG-10: models say of themselves what they can do, and so do agents
async def test_an_agent_says_what_it_is_for() -> None:
    async with open_runtime() as runtime:
        await add_counter(runtime)
        assert await runtime.agent_metadata(ONE) == {
            "type": "counter",
            "key": "one",
            "description": "counts",
        }


# PKG-11, PKG-02: the names are there in a fresh interpreter, without an event loop running
def test_the_public_names_can_be_imported_by_a_program() -> None:
    code = (
        "from trio_agents import SingleThreadedAgentRuntime, RoutedAgent, message_handler\n"
        "from trio_agents.exceptions import CantHandleException, UndeliverableException\n"
        "from trio_agents.logging import LLMCallEvent, MessageEvent\n"
        "print(SingleThreadedAgentRuntime().unprocessed_messages_count)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "0\n"
