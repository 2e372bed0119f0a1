"""How agents come and go: one factory call for each id, instances, deactivation, idle agents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from trio_agents import (
    AgentId,
    AgentInstantiationContext,
    AgentType,
    BaseAgent,
    CancellationToken,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    MessageHandlerContext,
    TopicId,
    TypeSubscription,
)
from trio_agents.exceptions import DeadlockError, UndeliverableException, UnknownAgentType

from . import loop
from .doers import under_seeds
from .loop import MockClock, SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

A = AgentId("actor", "a")
B = AgentId("actor", "b")
NEWS = TopicId("news", "a")


class Actor(BaseAgent):
    """Does what the message says: messages are functions. It has a state and knows its end."""

    def __init__(self) -> None:
        super().__init__("an actor")
        self.notes: dict[str, Any] = {}
        self.closed = 0

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)

    async def save_state(self) -> Mapping[str, Any]:
        return self.notes

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.notes.update(state)

    async def close(self) -> None:
        self.closed += 1
        self.notes.clear()


class Other(Actor):
    """Another class."""


class Factory:
    """Makes actors, in order of the calls; waits for `go` if it is told to, and may fail."""

    def __init__(self, *, wait: bool = False, failures: int = 0) -> None:
        self.made: list[Actor] = []
        self.calls = 0
        self.cancelled = 0
        self.failures = failures
        self.go = loop.Event()
        if not wait:
            self.go.set()

    async def __call__(self) -> Actor:
        self.calls += 1
        try:
            await self.go.wait()
        except loop.Cancelled:
            self.cancelled += 1
            raise
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("of the factory")
        self.made.append(Actor())
        return self.made[-1]


async def tell(agent: Actor, ctx: MessageContext) -> AgentId:
    return agent.id


async def count(agent: Actor, ctx: MessageContext) -> int:
    agent.notes["count"] = agent.notes.get("count", 0) + 1
    count: int = agent.notes["count"]
    return count


async def pass_time(agent: Actor, ctx: MessageContext) -> None:
    await loop.sleep(10)


class Outcome:
    """Sends a message from a task of its own, and keeps what comes of it."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.scope = loop.CancelScope()

    async def send(
        self, runtime: SingleThreadedAgentRuntime, message: Any, recipient: AgentId = A
    ) -> None:
        await self.run(lambda: runtime.send_message(message, recipient))

    async def run(self, call: Callable[[], Awaitable[Any]]) -> None:
        with self.scope:
            try:
                self.value = await call()
            except (Exception, loop.MessageCancelled) as exc:
                self.error = exc


def check_idle(runtime: SingleThreadedAgentRuntime) -> None:
    counts = runtime.statistics()
    assert (counts.pending, counts.running, counts.mailboxes) == (0, 0, {})


# --- factories


# RT-19, RT-22, AG-19
async def test_a_factory_may_be_a_class_a_function_or_an_async_function() -> None:
    async def make() -> Actor:
        return Actor()

    async with open_runtime() as runtime:
        for name, factory in (("class", Actor), ("lambda", lambda: Actor()), ("async", make)):
            assert await runtime.register_factory(name, factory) == AgentType(name)
            id = AgentId(name, "x")
            assert await runtime.send_message(tell, id) == id


# RT-19, RT-22
async def test_one_factory_call_however_many_messages_arrive_meanwhile() -> None:
    factory = Factory(wait=True)
    outcomes = [Outcome() for _ in range(20)]
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        for number, outcome in enumerate(outcomes):
            nursery.start_soon(outcome.send, runtime, count)
            await runtime.publish_message(count, NEWS)
            if number % 3 == 0:
                await wait_all_tasks_blocked()
        nursery.start_soon(runtime.get, A)
        others = [Outcome() for _ in range(3)]
        for other in others:
            nursery.start_soon(other.run, lambda: runtime.try_get_underlying_agent_instance(A))
        await wait_all_tasks_blocked()
        assert factory.calls == 1
        factory.go.set()
        await runtime.stop_when_idle()
        await wait_all_tasks_blocked()
        assert factory.calls == 1
        assert all(outcome.error is None for outcome in outcomes)
        assert factory.made[0].notes == {"count": 40}
        assert [other.value for other in others] == factory.made * 3


# RT-19
async def test_messages_that_waited_for_the_factory_begin_in_the_order_of_their_submission() -> (
    None
):
    order: list[int] = []

    def message(number: int) -> Act:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            order.append(number)

        return act

    factory = Factory(wait=True)
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        for number in range(30):
            await runtime.publish_message(message(number), NEWS)
        await wait_all_tasks_blocked()
        factory.go.set()
        for number in range(30, 60):
            await runtime.publish_message(message(number), NEWS)
            if number % 7 == 0:
                await loop.checkpoint()
    assert order == list(range(60))


async def test_a_slow_factory_does_not_hold_up_other_agents() -> None:
    factory = Factory(wait=True)
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("slow", factory)
        await Actor.register(runtime, "actor", Actor)
        nursery.start_soon(runtime.send_message, tell, AgentId("slow", "x"))
        await wait_all_tasks_blocked()
        assert await runtime.send_message(tell, A) == A
        factory.go.set()


async def test_a_failing_factory_fails_all_who_wait_and_the_next_message_tries_again() -> None:
    factory = Factory(wait=True, failures=1)
    outcomes = [Outcome() for _ in range(5)]
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        for outcome in outcomes:
            nursery.start_soon(outcome.send, runtime, tell)
        await wait_all_tasks_blocked()
        factory.go.set()
        await wait_all_tasks_blocked()
        assert {str(outcome.error) for outcome in outcomes} == {"of the factory"}
        assert factory.calls == 1
        assert runtime.statistics().failed == 5
        check_idle(runtime)
        assert await runtime.send_message(tell, A) == A
        assert factory.calls == 2


# ST-06
async def test_a_failing_factory_is_reported_for_publications(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factory = Factory(failures=1)
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await runtime.register_factory("actor", factory)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        runtime.start()
        await runtime.publish_message(tell, NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        (error,) = caught.value.exceptions
        assert isinstance(error, ZeroDivisionError)
        assert "actor/a" in error.__notes__[0]


async def test_a_factory_that_raises_what_is_no_exception_reaches_the_sender() -> None:
    def factory() -> Actor:
        raise SystemExit(3)

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        with pytest.raises(SystemExit):
            await runtime.send_message(tell, A)
        check_idle(runtime)


async def test_after_the_first_sender_was_cancelled_the_next_in_line_has_the_agent_made() -> None:
    factory = Factory(wait=True)
    first, second, third = Outcome(), Outcome(), Outcome()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        for outcome in (first, second, third):
            nursery.start_soon(outcome.send, runtime, tell)
            await wait_all_tasks_blocked()
        first.scope.cancel()
        await wait_all_tasks_blocked()
        assert (factory.calls, factory.cancelled) == (2, 1)
        factory.go.set()
        await wait_all_tasks_blocked()
        assert first.scope.cancelled_caught
        assert [second.value, third.value] == [A, A]
        assert len(factory.made) == 1


async def test_cancelling_one_who_waits_for_a_factory_leaves_the_factory_alone() -> None:
    factory = Factory(wait=True)
    first, second = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        for outcome in (first, second):
            nursery.start_soon(outcome.send, runtime, tell)
            await wait_all_tasks_blocked()
        second.scope.cancel()
        await wait_all_tasks_blocked()
        assert second.scope.cancelled_caught
        factory.go.set()
        await wait_all_tasks_blocked()
        assert first.value == A
        assert (factory.calls, factory.cancelled) == (1, 0)


async def test_a_cancelled_factory_with_nobody_else_in_line_leaves_nothing_behind() -> None:
    factory = Factory(wait=True)
    outcome = Outcome()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        nursery.start_soon(outcome.send, runtime, tell)
        await wait_all_tasks_blocked()
        outcome.scope.cancel()
        await wait_all_tasks_blocked()
        assert factory.cancelled == 1
        assert "0 agents" in repr(runtime)
        factory.go.set()
        assert await runtime.send_message(tell, A) == A


async def test_a_cancelled_get_hands_the_making_over_to_the_message_that_waits() -> None:
    factory = Factory(wait=True)
    getter, sender = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        nursery.start_soon(getter.run, lambda: runtime.get(A, lazy=False))
        await wait_all_tasks_blocked()
        nursery.start_soon(sender.send, runtime, tell)
        await wait_all_tasks_blocked()
        getter.scope.cancel()
        await wait_all_tasks_blocked()
        assert (factory.calls, factory.cancelled) == (2, 1)
        factory.go.set()
        await wait_all_tasks_blocked()
        assert sender.value == A


async def test_failed_sends_to_many_keys_leave_no_activation_behind() -> None:
    token = CancellationToken()
    token.cancel()
    factory = Factory(failures=1000)
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        for number in range(100):
            with pytest.raises(loop.MessageCancelled, match="cancelled"):
                await runtime.send_message(
                    tell, AgentId("actor", f"t{number}"), cancellation_token=token
                )
            with pytest.raises(TypeError):
                await runtime.send_message(tell, AgentId("actor", f"s{number}"), sender=3)  # type: ignore[arg-type]
            with pytest.raises(ZeroDivisionError):
                await runtime.send_message(tell, AgentId("actor", f"f{number}"))
        assert "0 agents" in repr(runtime)


# --- factories that need their own agent


async def test_a_factory_that_sends_to_its_own_id_is_refused() -> None:
    async def factory() -> Actor:
        await runtime.send_message(tell, A)
        raise AssertionError

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        with pytest.raises(DeadlockError, match="actor/a"):
            await runtime.send_message(tell, A)
        check_idle(runtime)


async def test_a_factory_that_gets_its_own_id_is_refused() -> None:
    async def factory() -> Actor:
        await runtime.try_get_underlying_agent_instance(A)
        raise AssertionError

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        with pytest.raises(DeadlockError, match="actor/a"):
            await runtime.send_message(tell, A)
        with pytest.raises(DeadlockError, match="actor/a"):
            await runtime.get(A, lazy=False)
        check_idle(runtime)


@pytest.mark.parametrize("how", ["send", "get"])
@pytest.mark.parametrize("first", ["send", "get"])
async def test_a_factory_that_needs_its_own_id_via_another_s_factory_is_refused(
    how: str, first: str
) -> None:
    one, two = AgentId("one", "x"), AgentId("two", "x")

    def factory(other: AgentId) -> Callable[[], Awaitable[Actor]]:
        async def make() -> Actor:
            await need(how, other)
            raise AssertionError

        return make

    async def need(how: str, id: AgentId) -> None:
        await (runtime.send_message(tell, id) if how == "send" else runtime.get(id, lazy=False))

    async with open_runtime() as runtime:
        await runtime.register_factory("one", factory(two))
        await runtime.register_factory("two", factory(one))
        with pytest.raises(DeadlockError, match=r"(one|two)/x"):
            await need(first, one)
        check_idle(runtime)


@pytest.mark.parametrize("how", ["send", "get"])
async def test_two_factories_that_need_each_other_at_the_same_time_are_refused(how: str) -> None:
    one, two = AgentId("one", "x"), AgentId("two", "x")
    go = loop.Event()

    def factory(other: AgentId) -> Callable[[], Awaitable[Actor]]:
        async def make() -> Actor:
            await go.wait()
            if how == "send":
                await runtime.send_message(tell, other)
            else:
                await runtime.get(other, lazy=False)
            return Actor()

        return make

    outcomes = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("one", factory(two))
        await runtime.register_factory("two", factory(one))
        for outcome, id in zip(outcomes, (one, two), strict=True):
            nursery.start_soon(outcome.send, runtime, tell, id)
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert any(isinstance(outcome.error, DeadlockError) for outcome in outcomes)
        check_idle(runtime)


async def test_a_factory_may_send_to_another_agent_of_its_type() -> None:
    async def factory() -> Actor:
        if AgentInstantiationContext.current_agent_id() == A:
            assert await runtime.send_message(tell, B) == B
        return Actor()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        assert await runtime.send_message(tell, A) == A


async def test_what_a_factory_publishes_reaches_its_own_agent_when_it_is_made() -> None:
    factory = Factory()

    async def make() -> Actor:
        await runtime.publish_message(count, NEWS)
        return await factory()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", make)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        await runtime.send_message(count, A)
        await runtime.stop_when_idle()
        assert factory.made[0].notes == {"count": 2}


# --- what may be registered


# RT-21, AG-18
async def test_a_factory_of_the_wrong_class_is_a_type_error_that_names_both() -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Actor, expected_class=Other)
        with pytest.raises(TypeError, match=r"\.Other.*\.Actor"):
            await runtime.send_message(tell, A)
        check_idle(runtime)


# RT-21
async def test_a_subclass_of_the_expected_class_will_do() -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Other, expected_class=Actor)
        assert await runtime.send_message(tell, A) == A


# RT-21
@pytest.mark.parametrize("made", [None, 3, "agent", object()])
async def test_a_factory_that_makes_no_agent_is_a_type_error(made: Any) -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", lambda: made)
        with pytest.raises(TypeError, match=rf"{type(made).__name__} for actor/a.*not an Agent"):
            await runtime.send_message(tell, A)


async def test_a_factory_whose_signature_nobody_knows_is_called() -> None:
    factory: Any = dict  # which makes no agent, as a type checker would say
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        with pytest.raises(TypeError, match=r"dict for actor/a.*not an Agent"):
            await runtime.send_message(tell, A)


@pytest.mark.parametrize("call", ["agent_metadata", "agent_save_state"])
async def test_what_is_no_id_is_refused(call: str) -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Actor)
        method: Any = getattr(runtime, call)
        with pytest.raises(TypeError, match="AgentId, not int"):
            await method(3)


# RT-20
async def test_a_type_can_be_registered_once() -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Actor)
        with pytest.raises(ValueError, match="'actor' is registered already"):
            await runtime.register_factory(AgentType("actor"), Other)
        assert type(await runtime.try_get_underlying_agent_instance(A)) is Actor


# RT-22
@pytest.mark.parametrize("factory", [None, 3, lambda runtime, id: Actor(), lambda *, key: Actor()])
async def test_what_cannot_be_called_without_arguments_is_no_factory(factory: Any) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(TypeError, match="factory of agent type 'actor'"):
            await runtime.register_factory("actor", factory)
        await runtime.register_factory("actor", Actor)


# RT-24
async def test_factories_and_instances_do_not_mix() -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("made", Actor)
        with pytest.raises(ValueError, match="with a factory"):
            await runtime.register_agent_instance(Actor(), AgentId("made", "x"))
        await runtime.register_agent_instance(Actor(), A)
        with pytest.raises(ValueError, match="with instances"):
            await runtime.register_factory("actor", Actor)


# RT-24
async def test_instances_of_one_type_have_one_class_and_different_ids() -> None:
    async with open_runtime() as runtime:
        await runtime.register_agent_instance(Actor(), A)
        await runtime.register_agent_instance(Actor(), B)
        with pytest.raises(ValueError, match="actor/a"):
            await runtime.register_agent_instance(Actor(), A)
        with pytest.raises(ValueError, match=r"\.Actor.*\.Other"):
            await runtime.register_agent_instance(Other(), AgentId("actor", "c"))


# RT-23
async def test_an_instance_is_the_agent_and_learns_its_id_and_runtime() -> None:
    agent = Actor()
    async with open_runtime() as runtime:
        assert await runtime.register_agent_instance(agent, A) == A
        assert (agent.id, agent.runtime) == (A, runtime)
        assert await runtime.send_message(tell, A) == A
        assert await runtime.try_get_underlying_agent_instance(A) is agent
    assert agent.closed == 1


# RT-23, AG-21
async def test_a_key_without_an_instance_is_unknown() -> None:
    async with open_runtime() as runtime:
        await Actor().register_instance(runtime, A)
        with pytest.raises(UnknownAgentType, match="no instance for actor/b"):
            await runtime.send_message(tell, B)


# RT-24
async def test_an_instance_that_belongs_elsewhere_is_refused_and_leaves_its_type_free() -> None:
    agent = Actor()
    async with open_runtime() as runtime, open_runtime() as other:
        await runtime.register_agent_instance(agent, A)
        with pytest.raises(RuntimeError, match="another runtime"):
            await other.register_agent_instance(agent, A)
        with pytest.raises(RuntimeError, match="actor/a already"):
            await runtime.register_agent_instance(agent, B)
        await other.register_factory("actor", Actor)
        assert await other.send_message(tell, A) == A


async def test_what_is_no_agent_cannot_be_an_instance() -> None:
    async with open_runtime() as runtime:
        with pytest.raises(TypeError, match="expected an Agent, not int"):
            await runtime.register_agent_instance(3, A)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="agent_id must be an AgentId"):
            await runtime.register_agent_instance(Actor(), "actor/a")  # type: ignore[arg-type]


# AG-17, AG-20, ST-23
async def test_one_class_may_be_registered_as_many_types_before_and_after_start() -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        assert await Actor.register(runtime, "one", Actor) == AgentType("one")
        runtime.start()
        await Actor.register(runtime, "two", Actor)
        for type in ("one", "two"):
            id = AgentId(type, "x")
            assert await runtime.send_message(tell, id) == id
            await runtime.publish_message(count, TopicId(f"{type}:", "x"))
        await runtime.stop_when_idle()
        for type in ("one", "two"):
            agent = await runtime.try_get_underlying_agent_instance(AgentId(type, "x"), Actor)
            assert agent.notes == {"count": 1}


# AG-22
async def test_one_agent_serves_all_messages_for_its_id() -> None:
    async with open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        assert [await runtime.send_message(count, A) for _ in range(3)] == [1, 2, 3]
        assert await runtime.send_message(count, B) == 1


# --- the context of a factory


# CX-01, CX-02, CX-03, CX-04
async def test_the_instantiation_context_holds_in_factories_and_not_in_handlers() -> None:
    seen: list[Any] = []

    async def factory() -> Actor:
        await loop.checkpoint()
        seen.append(AgentInstantiationContext.current_runtime())
        seen.append(AgentInstantiationContext.current_agent_id())
        seen.append(AgentInstantiationContext.is_in_factory_call())
        with pytest.raises(RuntimeError):
            MessageHandlerContext.agent_id()
        return Actor()

    async def look(agent: Actor, ctx: MessageContext) -> bool:
        with pytest.raises(RuntimeError):
            AgentInstantiationContext.current_agent_id()
        return AgentInstantiationContext.is_in_factory_call()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        assert await runtime.send_message(look, A) is False
        await runtime.get(B, lazy=False)
        assert not AgentInstantiationContext.is_in_factory_call()
        assert seen == [runtime, A, True, runtime, B, True]


# CX-04
async def test_the_instantiation_context_ends_with_a_failing_factory() -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Factory(failures=2))
        with pytest.raises(ZeroDivisionError):
            await runtime.get(A, lazy=False)
        assert not AgentInstantiationContext.is_in_factory_call()


# CX-01
async def test_factories_that_run_at_the_same_time_see_their_own_ids() -> None:
    async def factory() -> Actor:
        before = AgentInstantiationContext.current_agent_id()
        await wait_all_tasks_blocked()
        assert AgentInstantiationContext.current_agent_id() == before
        return Actor()

    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        outcomes = [Outcome() for _ in range(5)]
        for number, outcome in enumerate(outcomes):
            nursery.start_soon(outcome.send, runtime, tell, AgentId("actor", str(number)))
        await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert [outcome.value.key for outcome in outcomes] == ["0", "1", "2", "3", "4"]


# --- asking for agents


# RT-26, ST-22
async def test_get_is_lazy_unless_told_otherwise() -> None:
    factory = Factory()
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        assert await runtime.get(A) == A
        assert await runtime.get("actor") == AgentId("actor", "default")
        assert await runtime.get(AgentType("actor"), "a") == A
        assert await runtime.get("unknown", "x") == AgentId("unknown", "x")
        assert factory.calls == 0
        assert await runtime.get("actor", "a", lazy=False) == A
        assert factory.calls == 1
        with pytest.raises(LookupError, match="unknown"):
            await runtime.get("unknown", lazy=False)


# RT-25, ST-20
async def test_the_agent_itself_can_be_had_and_its_class_is_checked() -> None:
    async with open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        assert agent.id == A
        with pytest.raises(TypeError, match=r"Actor, not a .*Other"):
            await runtime.try_get_underlying_agent_instance(A, Other)
        with pytest.raises(LookupError, match="unknown"):
            await runtime.try_get_underlying_agent_instance(AgentId("unknown", "x"))


# RT-29, ST-18
async def test_metadata_of_an_agent_is_its_type_key_and_description() -> None:
    async with open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        metadata = await runtime.agent_metadata(A)
        assert metadata == {"type": "actor", "key": "a", "description": "an actor"}
        with pytest.raises(LookupError):
            await runtime.agent_metadata(AgentId("unknown", "x"))


# ST-28
async def test_naming_a_sender_does_not_make_it() -> None:
    factory = Factory()

    async def who(agent: Actor, ctx: MessageContext) -> AgentId | None:
        return ctx.sender

    async with open_runtime() as runtime:
        await runtime.register_factory("sender", factory)
        await Actor.register(runtime, "actor", Actor)
        sender = AgentId("sender", "x")
        assert await runtime.send_message(who, A, sender=sender) == sender
        assert await runtime.send_message(who, A, sender=AgentId("unknown", "x")) is not None
        await runtime.publish_message(who, NEWS, sender=sender)
        await runtime.stop_when_idle()
        assert factory.calls == 0


# --- deactivate


async def test_deactivate_closes_the_agent_and_the_next_message_makes_a_new_one() -> None:
    factory = Factory()
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        assert [await runtime.send_message(count, A) for _ in range(2)] == [1, 2]
        await runtime.deactivate(A)
        assert factory.made[0].closed == 1
        assert runtime.statistics().agents == 0
        assert "0 agents" in repr(runtime)
        assert await runtime.send_message(count, A) == 1  # the state was not saved
        assert factory.calls == 2
    assert [agent.closed for agent in factory.made] == [1, 1]


async def test_deactivate_waits_for_what_was_submitted_before_and_later_messages_wait_for_it() -> (
    None
):
    factory = Factory()
    go = loop.Event()

    async def act(agent: Actor, ctx: MessageContext) -> int:
        await go.wait()
        assert agent.closed == 0
        return factory.made.index(agent)

    before, leaving, after = Outcome(), Outcome(), Outcome()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        nursery.start_soon(before.send, runtime, act)
        await wait_all_tasks_blocked()
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        await wait_all_tasks_blocked()
        nursery.start_soon(after.send, runtime, act)
        await wait_all_tasks_blocked()
        assert factory.calls == 1
        go.set()
        await wait_all_tasks_blocked()
        assert (before.value, after.value, leaving.error) == (0, 1, None)
        check_idle(runtime)


async def test_deactivate_never_leaves_two_agents_alive(autojump_clock: MockClock) -> None:
    alive: set[AgentId] = set()

    class Single(Actor):
        def __init__(self) -> None:
            super().__init__()
            assert self.id not in alive
            alive.add(self.id)

        async def close(self) -> None:
            await loop.sleep(1)
            alive.remove(self.id)

    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await Single.register(runtime, "actor", Single)
        outcomes = []
        for _ in range(10):
            for call in (
                lambda: runtime.send_message(tell, A),
                lambda: runtime.deactivate(A),
                lambda: runtime.get(A, lazy=False),
            ):
                outcomes.append(Outcome())
                nursery.start_soon(outcomes[-1].run, call)
                await loop.checkpoint()
    assert [outcome.error for outcome in outcomes] == [None] * 30
    assert alive == set()


async def test_an_unknown_id_is_fine_to_deactivate() -> None:
    async with open_runtime() as runtime:
        await runtime.deactivate(AgentId("unknown", "x"))
        await Actor.register(runtime, "actor", Actor)
        await runtime.deactivate(A)
        assert runtime.statistics().agents == 0


@pytest.mark.parametrize("via", [(), (B,), (B, AgentId("actor", "c"))])
async def test_deactivate_from_a_call_chain_of_the_agent_is_refused(
    via: tuple[AgentId, ...],
) -> None:
    def act(path: tuple[AgentId, ...]) -> Act:
        async def go(agent: Actor, ctx: MessageContext) -> None:
            if path:
                await agent.send_message(act(path[1:]), path[0])
            else:
                await runtime.deactivate(A)

        return go

    async with open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        with pytest.raises(RuntimeError, match=r"deactivate\(actor/a\)"):
            await runtime.send_message(act(via), A)
        assert await runtime.send_message(tell, A) == A


async def test_deactivate_from_another_agent_s_handler_works() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        await runtime.deactivate(B)

    async with open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        agent = await runtime.try_get_underlying_agent_instance(B, Actor)
        await runtime.send_message(act, A)
        assert agent.closed == 1


async def test_a_close_that_raises_reaches_deactivate_and_the_agent_is_let_go_of() -> None:
    class Broken(Actor):
        async def close(self) -> None:
            raise ZeroDivisionError

    async with SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Broken)
        runtime.start()
        agent = await runtime.try_get_underlying_agent_instance(A)
        with pytest.raises(ZeroDivisionError):
            await runtime.deactivate(A)
        assert runtime.statistics().agents == 0
        assert await runtime.send_message(tell, A) == A
        assert await runtime.try_get_underlying_agent_instance(A) is not agent
        with pytest.raises(ZeroDivisionError):
            await runtime.deactivate(A)


async def test_a_close_that_raises_reaches_deactivate_outside_of_the_block_too() -> None:
    class Broken(Actor):
        async def close(self) -> None:
            raise ZeroDivisionError

    runtime = SingleThreadedAgentRuntime()
    await Broken.register(runtime, "actor", Broken)
    await runtime.get(A, lazy=False)
    with pytest.raises(ZeroDivisionError):
        await runtime.deactivate(A)
    assert runtime.statistics().agents == 0


async def test_a_cancelled_deactivate_leaves_the_agent_alive() -> None:
    """However long its handlers would go on."""
    leaving, running, later = Outcome(), Outcome(), Outcome()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await loop.sleep_forever()

    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        nursery.start_soon(running.send, runtime, wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        nursery.start_soon(later.send, runtime, tell)
        await wait_all_tasks_blocked()
        leaving.scope.cancel()
        await wait_all_tasks_blocked()
        assert leaving.scope.cancelled_caught
        assert later.value == A
        assert agent.closed == 0
        assert await runtime.try_get_underlying_agent_instance(A) is agent
        running.scope.cancel()


@pytest.mark.parametrize("turns", range(5))
async def test_an_end_by_an_error_leaves_nothing_of_a_deactivation_of_what_was_never_made(
    turns: int,
) -> None:
    """Seed 459 of the long run's random programs, made plain."""

    class Waiting(DefaultInterventionHandler):
        async def on_send(self, message: Any, *, message_context: Any, recipient: Any) -> Any:
            await loop.sleep_forever()

    sending, leaving = Outcome(), Outcome()
    runtime = SingleThreadedAgentRuntime(intervention_handlers=[Waiting()])
    async with loop.open_nursery() as nursery:
        with pytest.raises(KeyError):
            async with runtime:
                await Actor.register(runtime, "actor", Actor)
                runtime.start()
                nursery.start_soon(sending.send, runtime, tell)
                await wait_all_tasks_blocked()
                nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
                await wait_all_tasks_blocked()
                sending.scope.cancel()
                for _ in range(turns):
                    await loop.checkpoint()
                raise KeyError
    assert not runtime._activations


async def test_a_stop_before_its_turn_fails_deactivate_and_the_agent_stays() -> None:
    go = loop.Event()
    leaving, running = Outcome(), Outcome()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()

    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await Actor.register(runtime, "actor", Actor, max_concurrency=1)
        runtime.start()
        agent = await runtime.try_get_underlying_agent_instance(A)
        nursery.start_soon(running.send, runtime, wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(Outcome().send, runtime, wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        await wait_all_tasks_blocked()

        async def release() -> None:
            await wait_all_tasks_blocked()
            go.set()

        nursery.start_soon(release)
        await runtime.stop()
        await wait_all_tasks_blocked()
        assert isinstance(leaving.error, UndeliverableException)
        runtime.start()
        assert await runtime.send_message(tell, A) == A
        assert await runtime.try_get_underlying_agent_instance(A) is agent


async def test_leaving_the_block_by_an_exception_ends_a_deactivate_that_waits() -> None:
    leaving = Outcome()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await loop.sleep_forever()

    runtime = SingleThreadedAgentRuntime()
    await Actor.register(runtime, "actor", Actor)
    async with loop.open_nursery() as nursery:
        with pytest.raises(ZeroDivisionError):
            async with runtime:
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, wait)
                await wait_all_tasks_blocked()
                nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
                await wait_all_tasks_blocked()
                raise ZeroDivisionError
    async with runtime:
        runtime.start()
        assert await runtime.send_message(tell, A) == A


async def test_an_end_by_an_error_fails_a_deactivate_before_its_handlers_are_through(
    autojump_clock: MockClock,
) -> None:
    ended: dict[str, float] = {}

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            with loop.CancelScope(shield=True):
                await loop.sleep(5)
            ended["handler"] = loop.current_time()

    async def leave(runtime: SingleThreadedAgentRuntime) -> None:
        with pytest.raises(UndeliverableException, match="the runtime's block was left"):
            await runtime.deactivate(A)
        ended["deactivate"] = loop.current_time()

    async with loop.open_nursery() as nursery:
        with pytest.raises(ZeroDivisionError):
            async with SingleThreadedAgentRuntime() as runtime:
                await Actor.register(runtime, "actor", Actor)
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, wait)
                await wait_all_tasks_blocked()
                nursery.start_soon(leave, runtime)
                await wait_all_tasks_blocked()
                raise ZeroDivisionError
    assert ended == {"deactivate": 0, "handler": 5}


async def test_a_deactivated_instance_is_registered_no_more() -> None:
    agent = Actor()
    go = loop.Event()
    later, leaving = Outcome(), Outcome()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()

    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_agent_instance(agent, A)
        nursery.start_soon(Outcome().send, runtime, wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        await wait_all_tasks_blocked()
        nursery.start_soon(later.send, runtime, tell)
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert agent.closed == 1
        assert isinstance(later.error, UnknownAgentType)
        with pytest.raises(UnknownAgentType, match="actor"):
            await runtime.send_message(tell, A)
        check_idle(runtime)
        await runtime.register_agent_instance(Actor(), A)
        assert await runtime.send_message(tell, A) == A


async def test_the_type_of_the_last_deactivated_instance_is_free_again() -> None:
    async with open_runtime() as runtime:
        await runtime.register_agent_instance(Actor(), A)
        await runtime.deactivate(A)
        await runtime.register_factory("actor", Other)
        assert type(await runtime.try_get_underlying_agent_instance(A)) is Other


async def test_deactivate_works_before_start_and_outside_of_the_block() -> None:
    runtime = SingleThreadedAgentRuntime()
    await Actor.register(runtime, "actor", Actor)
    outside = await runtime.try_get_underlying_agent_instance(A, Actor)
    await runtime.deactivate(A)
    async with runtime:
        inside = await runtime.try_get_underlying_agent_instance(A, Actor)
        await runtime.deactivate(A)
        assert runtime.statistics().agents == 0
    assert (outside.closed, inside.closed) == (1, 1)


async def test_deactivate_does_not_close_again_what_the_end_of_the_block_has_closed() -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        actor = await runtime.try_get_underlying_agent_instance(A, Actor)
    await runtime.deactivate(A)
    assert actor.closed == 1
    assert runtime.statistics().agents == 0


async def test_the_end_of_a_block_does_not_close_again_what_is_being_deactivated() -> None:
    class Slow(Actor):
        async def close(self) -> None:
            await super().close()
            await loop.checkpoint()

    runtime = SingleThreadedAgentRuntime()
    await Slow.register(runtime, "actor", Slow)
    actor = await runtime.try_get_underlying_agent_instance(A, Slow)
    async with loop.open_nursery() as nursery:
        nursery.start_soon(runtime.deactivate, A)
        nursery.start_soon(runtime.close)
    assert actor.closed == 1


async def test_an_agent_that_is_closed_outside_of_the_block_handles_nothing_meanwhile(
    autojump_clock: MockClock,
) -> None:
    class Slow(Actor):
        async def close(self) -> None:
            await super().close()
            await loop.sleep(1)

    async def closed(agent: Actor, ctx: MessageContext) -> int:
        return agent.closed

    runtime = SingleThreadedAgentRuntime()
    await Slow.register(runtime, "actor", Slow)
    first = await runtime.try_get_underlying_agent_instance(A, Slow)
    async with loop.open_nursery() as nursery:
        nursery.start_soon(runtime.deactivate, A)
        await wait_all_tasks_blocked()
        async with runtime:
            runtime.start()
            assert await runtime.send_message(closed, A) == 0
    assert first.closed == 1


async def test_who_deactivates_what_is_being_closed_outside_of_the_block_waits_for_that(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    class Slow(Actor):
        async def close(self) -> None:
            log.append("begins")
            await loop.sleep(1)
            log.append("ends")

    async def let_go() -> None:
        await runtime.deactivate(A)
        log.append("returns")

    runtime = SingleThreadedAgentRuntime()
    await Slow.register(runtime, "actor", Slow)
    await runtime.get(A, lazy=False)
    async with loop.open_nursery() as nursery:
        nursery.start_soon(let_go)
        await wait_all_tasks_blocked()
        nursery.start_soon(let_go)
    assert log == ["begins", "ends", "returns", "returns"]


async def test_who_waits_for_an_agent_is_told_that_its_deactivation_was_cancelled() -> None:
    # Found by the reference model: it hung.
    go = loop.Event()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()

    leaving, got = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        nursery.start_soon(runtime.send_message, wait, A)
        await wait_all_tasks_blocked()
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        await wait_all_tasks_blocked()
        nursery.start_soon(got.run, lambda: runtime.get(A, lazy=False))
        await wait_all_tasks_blocked()
        assert got.value is None
        leaving.scope.cancel()
        await wait_all_tasks_blocked()
        assert got.value == A
        go.set()


async def test_close_beside_a_deactivation_ends_when_an_error_ends_the_block() -> None:
    # Found by the reference model: it hung.
    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await loop.sleep_forever()

    runtime = SingleThreadedAgentRuntime()
    await Actor.register(runtime, "actor", Actor)
    actor = await runtime.try_get_underlying_agent_instance(A, Actor)
    leaving = Outcome()
    async with loop.open_nursery() as nursery:
        with pytest.raises(LookupError):
            async with runtime:
                runtime.start()
                nursery.start_soon(Outcome().send, runtime, wait)
                await wait_all_tasks_blocked()
                nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
                await wait_all_tasks_blocked()
                nursery.start_soon(runtime.close)
                await wait_all_tasks_blocked()
                raise LookupError
    assert isinstance(leaving.error, UndeliverableException)
    assert actor.closed == 1


async def test_an_agent_that_could_not_be_made_is_no_error_to_deactivate() -> None:
    # Found by the reference model.
    factory = Factory(wait=True, failures=1)
    sent, leaving = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        nursery.start_soon(sent.send, runtime, tell)
        await wait_all_tasks_blocked()
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        await wait_all_tasks_blocked()
        factory.go.set()
        await wait_all_tasks_blocked()
        assert isinstance(sent.error, ZeroDivisionError)
        assert leaving.error is None
        assert runtime.statistics().agents == 0


async def test_deactivate_waits_for_messages_before_it_although_a_factory_has_failed() -> None:
    # Found by the reference model.
    pass_on = loop.Event()

    class Slow(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            await pass_on.wait()
            return message

    factory = Factory(failures=1)
    sent, leaving = Outcome(), Outcome()
    async with (
        loop.open_nursery() as nursery,
        open_runtime(intervention_handlers=[Slow()]) as runtime,
    ):
        await runtime.register_factory("actor", factory)
        nursery.start_soon(sent.send, runtime, tell)
        await wait_all_tasks_blocked()
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        await wait_all_tasks_blocked()
        with pytest.raises(ZeroDivisionError):
            await runtime.get(A, lazy=False)
        pass_on.set()
        await wait_all_tasks_blocked()
        assert sent.value == A
        assert leaving.error is None
        assert factory.made[0].closed == 1
        assert runtime.statistics().agents == 0


async def test_an_agent_that_sends_to_itself_while_it_is_closed_is_refused() -> None:
    class Chatty(Actor):
        async def close(self) -> None:
            await runtime.send_message(tell, self.id)

    async with open_runtime() as runtime:
        await Chatty.register(runtime, "actor", Chatty)
        await runtime.send_message(tell, A)
        with pytest.raises(DeadlockError, match="actor/a"):
            await runtime.deactivate(A)
        check_idle(runtime)


async def test_an_agent_may_send_to_others_while_it_is_closed() -> None:
    farewells: list[AgentId] = []

    async def note(agent: Actor, ctx: MessageContext) -> None:
        farewells.append(agent.id)

    class Chatty(Actor):
        async def close(self) -> None:
            if self.id == A and not farewells:
                await self.send_message(note, B)

    async with open_runtime() as runtime:
        await Chatty.register(runtime, "actor", Chatty)
        await runtime.send_message(tell, A)
        await runtime.deactivate(A)
        assert farewells == [B]


async def test_an_agent_that_is_closed_may_send_to_the_limited_agent_that_waits_for_it() -> None:
    class Chatty(Actor):
        async def close(self) -> None:
            if self.id == B:
                assert await self.send_message(tell, A) == A

    async def act(agent: Actor, ctx: MessageContext) -> None:
        await runtime.deactivate(B)

    async with open_runtime() as runtime:
        await Chatty.register(runtime, "actor", Chatty, max_concurrency=1)
        await runtime.get(B, lazy=False)
        await runtime.send_message(act, A)
        assert runtime.statistics().agents == 1


async def test_an_instance_that_comes_after_one_was_deactivated_serves_those_who_waited() -> None:
    go = loop.Event()
    waiting, leaving = Outcome(), Outcome()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()

    async def who(agent: Actor, ctx: MessageContext) -> Actor:
        return agent

    class Slow(Actor):
        async def close(self) -> None:
            closing.set()
            await closed.wait()

    closing, closed = loop.Event(), loop.Event()
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_agent_instance(Slow(), A)
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        await closing.wait()
        nursery.start_soon(waiting.send, runtime, who)
        await wait_all_tasks_blocked()
        closed.set()
        await wait_all_tasks_blocked()
        assert isinstance(waiting.error, UnknownAgentType)
        new = Actor()
        await runtime.register_agent_instance(new, A)
        assert await runtime.send_message(who, A) is new


async def test_an_instance_may_come_while_a_publication_is_on_its_way_to_it() -> None:
    heard: list[AgentId] = []

    async def hear(agent: Actor, ctx: MessageContext) -> None:
        heard.append(agent.id)

    class Register(DefaultInterventionHandler):
        async def on_publish(self, message: Any, **_: Any) -> Any:
            await runtime.register_agent_instance(Actor(), A)
            return message

    async with open_runtime(intervention_handlers=[Register()]) as runtime:
        await runtime.register_agent_instance(Actor(), B)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        await runtime.publish_message(hear, NEWS)
        await runtime.stop_when_idle()
        check_idle(runtime)
    assert heard == [A]


# --- idle agents


async def test_an_idle_agent_is_closed_and_its_state_comes_back(autojump_clock: MockClock) -> None:
    factory = Factory()
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory, idle_timeout=5)
        assert [await runtime.send_message(count, A) for _ in range(3)] == [1, 2, 3]
        await loop.sleep(4)
        assert runtime.statistics().agents == 1
        await loop.sleep(2)
        assert runtime.statistics().agents == 0
        assert factory.made[0].closed == 1
        assert factory.made[0].notes == {}  # it clears what it had given as its state
        assert await runtime.send_message(count, A) == 4
        assert factory.calls == 2


async def test_the_idle_time_begins_anew_with_each_message(autojump_clock: MockClock) -> None:
    factory = Factory()
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory, idle_timeout=5)
        for _ in range(5):
            await runtime.send_message(count, A)
            await loop.sleep(4)
        assert (factory.calls, factory.made[0].closed) == (1, 0)
        await loop.sleep(1.5)
        assert factory.made[0].closed == 1


async def test_a_busy_agent_is_not_closed_however_long_it_takes(autojump_clock: MockClock) -> None:
    factory = Factory()
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory, idle_timeout=1)
        await runtime.send_message(tell, A)
        await runtime.send_message(pass_time, A)
        assert factory.made[0].closed == 0
        await loop.sleep(1.5)
        assert factory.made[0].closed == 1


@pytest.mark.parametrize("ends", ["dropped", "cancelled"])
async def test_an_agent_is_let_go_of_whose_last_message_never_reached_it(
    ends: str, autojump_clock: MockClock
) -> None:
    # Found by the reference model.
    go = loop.Event()

    class Drop(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            if message is tell:
                await go.wait()
                return DropMessage
            return message

    last = Outcome()
    async with (
        loop.open_nursery() as nursery,
        open_runtime(intervention_handlers=[Drop()]) as runtime,
    ):
        await runtime.register_factory("actor", Actor, idle_timeout=5)
        nursery.start_soon(runtime.send_message, pass_time, A)
        await wait_all_tasks_blocked()
        nursery.start_soon(last.send, runtime, tell)
        await loop.sleep(11)
        assert runtime.statistics().pending == 1
        if ends == "dropped":
            go.set()
        else:
            last.scope.cancel()
        await loop.sleep(6)
        assert runtime.statistics().pending == 0
        assert runtime.statistics().agents == 0


def test_an_agent_whose_end_was_refused_by_a_stop_is_let_go_of_later() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await runtime.register_factory("actor", Actor, idle_timeout=5)
            await runtime.send_message(tell, A)
            await loop.sleep(5)  # in the same turn the agent has been quiet for long enough
            await runtime.stop()
            runtime.start()
            await loop.sleep(6)
            assert runtime.statistics().agents == 0

    under_seeds(main)


async def test_ten_thousand_one_shot_keys_do_not_keep_agents(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Actor, idle_timeout=5)
        for number in range(10_000):
            await runtime.send_message(tell, AgentId("actor", str(number)))
        await loop.sleep(20)
        assert runtime.statistics().agents == 0
        assert "0 agents" in repr(runtime)


async def test_agents_that_never_had_a_message_are_closed_too(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Actor, idle_timeout=5)
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        await runtime.load_state({"actor/b": {"count": 3}})
        await loop.sleep(6)
        assert runtime.statistics().agents == 0
        assert agent.closed == 1
        assert await runtime.send_message(count, B) == 4


async def test_a_message_that_arrives_while_an_idle_agent_closes_gets_a_new_one_with_its_state(
    autojump_clock: MockClock,
) -> None:
    closing = loop.Event()

    class Slow(Actor):
        async def close(self) -> None:
            closing.set()
            await loop.sleep(1)
            await super().close()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Slow, idle_timeout=5)
        await runtime.send_message(count, A)
        first = await runtime.try_get_underlying_agent_instance(A, Actor)
        await closing.wait()
        assert await runtime.send_message(count, A) == 2
        assert first.closed == 1
        assert await runtime.try_get_underlying_agent_instance(A) is not first


async def test_an_idle_agent_whose_state_cannot_be_saved_stays_and_is_reported(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            raise ZeroDivisionError

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Broken, idle_timeout=5)
        assert await runtime.send_message(count, A) == 1
        agent = await runtime.try_get_underlying_agent_instance(A, Actor)
        await loop.sleep(6)
        assert any("actor/a" in record.getMessage() for record in caplog.records)
        assert await runtime.send_message(count, A) == 2
        assert await runtime.try_get_underlying_agent_instance(A) is agent


async def test_an_idle_agent_that_fails_to_close_is_reported_and_its_state_kept(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Actor):
        async def close(self) -> None:
            if self.notes.get("count") == 1:
                raise ZeroDivisionError

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Broken, idle_timeout=5)
        assert await runtime.send_message(count, A) == 1
        await loop.sleep(6)
        assert runtime.statistics().agents == 0
        assert any("actor/a" in record.getMessage() for record in caplog.records)
        assert await runtime.send_message(count, A) == 2


# GAP-18
async def test_an_idle_agent_without_a_state_is_closed_without_a_warning(
    autojump_clock: MockClock,
) -> None:
    class Plain(BaseAgent):
        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            return message

    async with open_runtime() as runtime:
        await runtime.register_factory("plain", lambda: Plain("plain"), idle_timeout=5)
        id = AgentId("plain", "x")
        assert await runtime.send_message("text", id) == "text"
        await loop.sleep(6)
        assert runtime.statistics().agents == 0
        assert await runtime.send_message("text", id) == "text"


async def test_idle_agents_are_watched_after_a_restart_too(autojump_clock: MockClock) -> None:
    class Keeping(Actor):
        async def close(self) -> None:
            pass

    runtime = SingleThreadedAgentRuntime()
    await runtime.register_factory("actor", Keeping, idle_timeout=5)
    async with runtime:
        runtime.start()
        await runtime.send_message(count, A)
        await runtime.stop()
        await loop.sleep(20)
        assert runtime.statistics().agents == 1  # nobody takes messages up
        runtime.start()
        await loop.sleep(11)
        assert runtime.statistics().agents == 0
        await runtime.send_message(count, A)
    async with runtime:
        runtime.start()
        await loop.sleep(11)
        assert runtime.statistics().agents == 0
        assert await runtime.send_message(count, A) == 3


async def test_a_failing_factory_keeps_the_state_of_an_idle_agent(
    autojump_clock: MockClock,
) -> None:
    factory = Factory()
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory, idle_timeout=5)
        await runtime.send_message(count, A)
        await loop.sleep(6)
        factory.failures = 1
        with pytest.raises(ZeroDivisionError):
            await runtime.send_message(count, A)
        assert await runtime.send_message(count, A) == 2


async def test_an_idle_agent_whose_state_could_not_be_saved_once_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    tries = 0

    class Flaky(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise OSError("the disk is full")
            return await super().save_state()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Flaky, idle_timeout=5)
        assert await runtime.send_message(count, A) == 1
        await loop.sleep(12)
        assert runtime.statistics().agents == 0
        assert await runtime.send_message(count, A) == 2


async def test_an_idle_agent_whose_saving_a_stop_has_cancelled_is_let_go_of_later(
    autojump_clock: MockClock,
) -> None:
    seconds = [100.0]

    class Slow(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            await loop.sleep(seconds.pop() if seconds else 0)
            return await super().save_state()

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Slow, idle_timeout=5)
        await runtime.send_message(count, A)
        await loop.sleep(6)
        await runtime.stop(deadline=loop.current_time() + 1)
        runtime.start()
        await loop.sleep(20)
        assert runtime.statistics().agents == 0


async def test_deactivate_drops_the_state_of_an_idle_agent(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Actor, idle_timeout=5)
        await runtime.send_message(count, A)
        await loop.sleep(6)
        await runtime.deactivate(A)
        assert await runtime.send_message(count, A) == 1


async def test_deactivate_drops_the_state_of_an_idle_agent_that_a_message_waits_for(
    autojump_clock: MockClock,
) -> None:
    sending = Outcome()
    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Actor, idle_timeout=5)
        runtime.start()
        await runtime.send_message(count, A)
        await loop.sleep(6)
        await runtime.stop()
        nursery.start_soon(sending.send, runtime, count)
        await wait_all_tasks_blocked()
        await runtime.deactivate(A)
        runtime.start()
        await wait_all_tasks_blocked()
        assert sending.value == 1


async def test_an_idle_agent_that_is_asked_for_as_it_closes_is_not_had_twice(
    autojump_clock: MockClock,
) -> None:
    factory = Factory()
    seen: list[Any] = []
    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory, idle_timeout=5)
        await runtime.send_message(count, A)

        async def look() -> None:
            await loop.sleep(5)
            for _ in range(5):
                seen.append(await runtime.try_get_underlying_agent_instance(A, Actor))
                assert seen[-1].closed == 0

        for _ in range(5):
            nursery.start_soon(look)
        await loop.sleep(5.5)
        assert len(set(map(id, seen))) <= 2


async def test_an_idle_agent_that_a_publication_just_reached_stays(
    autojump_clock: MockClock,
) -> None:
    """Its handler waits for another message to the agent: closing it would wait for ever."""
    factory = Factory()
    events: dict[AgentId, loop.Event] = {}

    async def begin(agent: Actor, ctx: MessageContext) -> None:
        events[agent.id] = loop.Event()
        await events[agent.id].wait()

    async def end(agent: Actor, ctx: MessageContext) -> None:
        events[agent.id].set()

    async with loop.open_nursery() as nursery, open_runtime() as runtime:
        await runtime.register_factory("actor", factory, idle_timeout=5)
        await runtime.add_subscription(TypeSubscription("news", "actor"))

        async def publish(key: str) -> None:
            await runtime.send_message(count, AgentId("actor", key))
            await loop.sleep(5)  # in one turn of the loop with the idle timeout, before it or after
            await runtime.publish_message(begin, TopicId("news", key))
            await loop.sleep(1)
            await runtime.publish_message(end, TopicId("news", key))

        for number in range(30):
            nursery.start_soon(publish, str(number))
        await loop.sleep(10)
        assert runtime.statistics().pending == 0
        assert runtime.statistics().failed == 0


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
async def test_an_idle_timeout_must_be_a_positive_number(seconds: float) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(ValueError, match="idle_timeout"):
            await runtime.register_factory("actor", Actor, idle_timeout=seconds)
        await runtime.register_factory("actor", Actor)
