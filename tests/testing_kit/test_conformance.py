"""The library's own runtimes keep every promise of the protocol, and a broken one is found out."""

from __future__ import annotations

import asyncio
import copy
import itertools
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

import trio_agents
import trio_agents.asyncio
from trio_agents import AgentId, AgentType, TopicId
from trio_agents._sansio._contexts import current_handler_id
from trio_agents.portal import open_portal
from trio_agents.testing._conformance import RUNTIME_CHECKS, CheckResult, check_runtime
from trio_agents.testing._conformance_check import Capability, Check, CheckFailed, check

BY_NAME = {one.name: one for one in RUNTIME_CHECKS}


def open_behind_a_portal(**options: Any) -> Any:
    return open_portal(lambda: trio_agents.open_runtime(**options))


@pytest.mark.parametrize("check", RUNTIME_CHECKS, ids=lambda one: one.name)
def test_the_trio_runtime_keeps(check: Check) -> None:
    trio.run(check, trio_agents.open_runtime)


@pytest.mark.parametrize("check", RUNTIME_CHECKS, ids=lambda one: one.name)
def test_the_asyncio_runtime_keeps(check: Check) -> None:
    asyncio.run(check(trio_agents.asyncio.open_runtime))


@pytest.mark.parametrize("check", RUNTIME_CHECKS, ids=lambda one: one.name)
def test_a_runtime_behind_a_portal_keeps(check: Check) -> None:
    asyncio.run(check(open_behind_a_portal))


# --- runtimes that break one promise each

Breaker = Callable[[Any], None]
BREAKERS: list[tuple[str, Breaker]] = []


def breaks(*names: str) -> Callable[[Breaker], Breaker]:
    def note(breaker: Breaker) -> Breaker:
        BREAKERS.extend((name, breaker) for name in names)
        return breaker

    return note


@breaks("a_reply_reaches_its_sender")
def loses_replies(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(*args: Any, **options: Any) -> None:
        await send(*args, **options)

    runtime.send_message = send_message


@breaks("messages_and_replies_are_handed_over_as_they_are")
def copies_messages(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(message: Any, *args: Any, **options: Any) -> Any:
        return await send(copy.copy(message), *args, **options)

    runtime.send_message = send_message


@breaks("a_request_has_its_context", "an_agent_sends_under_its_own_name")
def loses_senders(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(*args: Any, sender: Any = None, **options: Any) -> Any:
        return await send(*args, **options)

    runtime.send_message = send_message


@breaks("an_error_reaches_its_sender", "an_unknown_type_is_an_error")
def swallows_errors(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(*args: Any, **options: Any) -> Any:
        with suppress(Exception):
            return await send(*args, **options)

    runtime.send_message = send_message


@breaks("an_error_is_the_very_object")
def copies_errors(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(*args: Any, **options: Any) -> Any:
        try:
            return await send(*args, **options)
        except KeyError as exc:
            raise KeyError(*exc.args) from None

    runtime.send_message = send_message


@breaks("an_agent_that_failed_goes_on", "a_factory_that_failed_is_tried_again")
def never_recovers(runtime: Any) -> None:
    send = runtime.send_message
    errors: list[Exception] = []

    async def send_message(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors[0]
        try:
            return await send(*args, **options)
        except Exception as exc:
            errors.append(exc)
            raise

    runtime.send_message = send_message


@breaks("an_agent_may_send_to_itself")
def refuses_re_entry(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(message: Any, recipient: AgentId, **options: Any) -> Any:
        if current_handler_id() == recipient:
            raise RuntimeError("an agent cannot send to itself")
        return await send(message, recipient, **options)

    runtime.send_message = send_message


@breaks("handlers_of_several_agents_run_at_the_same_time")
def does_one_thing_at_a_time(runtime: Any) -> None:
    send = runtime.send_message
    lock = trio.Lock()

    async def send_message(*args: Any, **options: Any) -> Any:
        async with lock:
            return await send(*args, **options)

    runtime.send_message = send_message


@breaks("every_subscriber_hears_a_publication", "publications_begin_in_order")
def loses_the_first_publication(runtime: Any) -> None:
    publish = runtime.publish_message
    lost: list[Any] = []

    async def publish_message(message: Any, *args: Any, **options: Any) -> None:
        if not lost:
            lost.append(message)
            return
        await publish(message, *args, **options)

    runtime.publish_message = publish_message


@breaks("an_agent_hears_a_publication_once")
def publishes_twice(runtime: Any) -> None:
    publish = runtime.publish_message

    async def publish_message(*args: Any, **options: Any) -> None:
        await publish(*args, **options)
        await publish(*args, **options)

    runtime.publish_message = publish_message


@breaks("each_source_has_an_agent_of_its_own")
def has_one_agent_for_all_sources(runtime: Any) -> None:
    publish = runtime.publish_message

    async def publish_message(message: Any, topic_id: TopicId, **options: Any) -> None:
        await publish(message, TopicId(topic_id.type, "a"), **options)

    runtime.publish_message = publish_message


@breaks("a_publisher_does_not_hear_itself", "a_publication_has_its_context")
def loses_publishers(runtime: Any) -> None:
    publish = runtime.publish_message

    async def publish_message(*args: Any, sender: Any = None, **options: Any) -> None:
        await publish(*args, **options)

    runtime.publish_message = publish_message


@breaks("a_publication_without_subscribers_is_no_error")
def wants_subscribers(runtime: Any) -> None:
    publish = runtime.publish_message

    async def publish_message(message: Any, topic_id: TopicId, **options: Any) -> None:
        if topic_id.type == "nobody":
            raise LookupError("nobody subscribes")
        await publish(message, topic_id, **options)

    runtime.publish_message = publish_message


@breaks("publishing_does_not_wait_for_handlers")
def waits_for_handlers(runtime: Any) -> None:
    publish = runtime.publish_message

    async def publish_message(*args: Any, **options: Any) -> None:
        await publish(*args, **options)
        await runtime._ledger.wait_until(lambda: runtime._ledger.pending == 0)

    runtime.publish_message = publish_message


@breaks("a_failing_subscriber_keeps_nobody_from_hearing")
def stops_at_the_first_failure(runtime: Any) -> None:
    async def publish_message(message: Any, topic_id: TopicId, **options: Any) -> None:
        with suppress(KeyError):
            for id in runtime._pipeline.routes.recipients(topic_id):
                await runtime.send_message(message, id)

    runtime.publish_message = publish_message


@breaks("a_subscription_counts_while_it_is_there")
def keeps_subscriptions(runtime: Any) -> None:
    async def remove_subscription(id: str) -> None:
        pass

    runtime.remove_subscription = remove_subscription


@breaks("a_subscription_is_there_once")
def takes_any_subscription(runtime: Any) -> None:
    add = runtime.add_subscription

    async def add_subscription(subscription: Any) -> None:
        with suppress(ValueError):
            await add(subscription)

    runtime.add_subscription = add_subscription


@breaks("an_unknown_subscription_cannot_be_removed")
def removes_anything(runtime: Any) -> None:
    remove = runtime.remove_subscription

    async def remove_subscription(id: str) -> None:
        with suppress(LookupError):
            await remove(id)

    runtime.remove_subscription = remove_subscription


# --- runtimes that do well as long as there is little to do

WITH_MANY_REQUESTS = (
    "each_of_many_requests_gets_its_own_answer",
    "requests_at_the_same_time_get_their_own_answers",
    "messages_begin_in_the_order_of_submission",
    "keys_are_told_apart_by_each_character",
)


@breaks(*WITH_MANY_REQUESTS)
def loses_some_requests(runtime: Any) -> None:
    send = runtime.send_message
    turns = itertools.count(1)

    async def send_message(*args: Any, **options: Any) -> Any:
        if next(turns) % 7 == 0:
            return None
        return await send(*args, **options)

    runtime.send_message = send_message


@breaks(*WITH_MANY_REQUESTS)
def repeats_some_requests(runtime: Any) -> None:
    send = runtime.send_message
    turns = itertools.count(1)

    async def send_message(*args: Any, **options: Any) -> Any:
        if next(turns) % 7 == 0:
            with suppress(KeyError):
                await send(*args, **options)
        return await send(*args, **options)

    runtime.send_message = send_message


@breaks(*WITH_MANY_REQUESTS)
def answers_all_but_one(runtime: Any) -> None:
    send = runtime.send_message
    turns = itertools.count(1)

    async def send_message(*args: Any, **options: Any) -> Any:
        if next(turns) == 9:
            await trio.sleep_forever()
        return await send(*args, **options)

    runtime.send_message = send_message


@breaks("requests_at_the_same_time_get_their_own_answers")
def swaps_replies(runtime: Any) -> None:
    send = runtime.send_message
    waiting: list[list[Any]] = []

    async def send_message(*args: Any, **options: Any) -> Any:
        reply = await send(*args, **options)
        if waiting:
            box = waiting.pop()
            box[0], reply = reply, box[0]
            return reply
        box = [reply]
        waiting.append(box)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        if box in waiting:
            waiting.remove(box)
        return box[0]

    runtime.send_message = send_message


@breaks("messages_begin_in_the_order_of_submission")
def dawdles(runtime: Any) -> None:
    send = runtime.send_message
    turns = itertools.count(1)

    async def send_message(*args: Any, **options: Any) -> Any:
        for _ in range(5 - next(turns) % 5):
            await trio.lowlevel.checkpoint()
        return await send(*args, **options)

    runtime.send_message = send_message


@breaks("messages_begin_in_the_order_of_submission", "each_of_many_publications_is_heard_once")
def loses_some_publications(runtime: Any) -> None:
    publish = runtime.publish_message
    turns = itertools.count(1)

    async def publish_message(*args: Any, **options: Any) -> None:
        if next(turns) % 50:
            await publish(*args, **options)

    runtime.publish_message = publish_message


@breaks("messages_begin_in_the_order_of_submission", "each_of_many_publications_is_heard_once")
def repeats_some_publications(runtime: Any) -> None:
    publish = runtime.publish_message
    turns = itertools.count(1)

    async def publish_message(*args: Any, **options: Any) -> None:
        await publish(*args, **options)
        if next(turns) % 50 == 0:
            await publish(*args, **options)

    runtime.publish_message = publish_message


@breaks("keys_are_told_apart_by_each_character")
def folds_keys(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(message: Any, recipient: AgentId, **options: Any) -> Any:
        return await send(message, AgentId(recipient.type, recipient.key.lower()), **options)

    runtime.send_message = send_message


@breaks("keys_are_told_apart_by_each_character")
def strips_sources(runtime: Any) -> None:
    publish = runtime.publish_message

    async def publish_message(message: Any, topic_id: TopicId, **options: Any) -> None:
        await publish(message, TopicId(topic_id.type, topic_id.source.strip()), **options)

    runtime.publish_message = publish_message


@breaks("it_is_an_agent_runtime")
def has_no_metadata(runtime: Any) -> None:
    runtime.agent_metadata = None


def change_factories(runtime: Any, change: Callable[[Any], Any]) -> None:
    register = runtime.register_factory

    async def register_factory(type: Any, agent_factory: Any, **options: Any) -> AgentType:
        registered: AgentType = await register(type, change(agent_factory), **options)
        return registered

    runtime.register_factory = register_factory


@breaks("an_agent_is_made_once", "each_key_has_an_agent_of_its_own")
def makes_two_agents(runtime: Any) -> None:
    def change(factory: Any) -> Any:
        async def make() -> Any:
            await factory()
            return await factory()

        return make

    change_factories(runtime, change)


@breaks("an_agent_is_of_the_class_that_was_registered", "an_agent_handles_no_more_than_it_may")
def ignores_options(runtime: Any) -> None:
    register = runtime.register_factory

    async def register_factory(type: Any, agent_factory: Any, **options: Any) -> AgentType:
        registered: AgentType = await register(type, agent_factory)
        return registered

    runtime.register_factory = register_factory


@breaks("a_type_is_registered_once")
def registers_again(runtime: Any) -> None:
    register = runtime.register_factory

    async def register_factory(type: Any, *args: Any, **options: Any) -> AgentType:
        with suppress(ValueError):
            await register(type, *args, **options)
        return type if isinstance(type, AgentType) else AgentType(type)

    runtime.register_factory = register_factory


@breaks("an_agent_tells_its_metadata")
def forgets_keys(runtime: Any) -> None:
    tell = runtime.agent_metadata

    async def agent_metadata(agent: AgentId) -> Any:
        return {**await tell(agent), "key": ""}

    runtime.agent_metadata = agent_metadata


@breaks("get_gives_ids_and_makes_agents")
def is_lazy(runtime: Any) -> None:
    get = runtime.get

    async def get_lazily(*args: Any, lazy: bool = True) -> Any:
        return await get(*args)

    runtime.get = get_lazily


@breaks("the_agent_itself_can_be_had")
def gives_copies(runtime: Any) -> None:
    get = runtime.try_get_underlying_agent_instance

    async def try_get_underlying_agent_instance(*args: Any, **options: Any) -> Any:
        return copy.copy(await get(*args, **options))

    runtime.try_get_underlying_agent_instance = try_get_underlying_agent_instance


@breaks("a_ready_agent_can_be_registered")
def loses_instances(runtime: Any) -> None:
    async def register_agent_instance(agent: Any, agent_id: AgentId) -> AgentId:
        await agent.bind_id_and_runtime(agent_id, runtime)
        return agent_id

    runtime.register_agent_instance = register_agent_instance


@breaks("agents_are_closed_with_their_runtime")
def closes_nothing(runtime: Any) -> None:
    async def close() -> None:
        pass

    def change(factory: Any) -> Any:
        async def make() -> Any:
            agent = await factory()
            agent.close = close
            return agent

        return make

    change_factories(runtime, change)


@breaks("serializers_can_be_added")
def takes_one_serializer(runtime: Any) -> None:
    add = runtime.add_message_serializer

    def add_message_serializer(serializer: Any) -> None:
        if not isinstance(serializer, list):
            raise TypeError("expected a list")
        add(serializer)

    runtime.add_message_serializer = add_message_serializer


@breaks(
    "a_token_cancels_the_handler_and_then_its_sender",
    "a_token_that_is_cancelled_lets_nothing_begin",
    "a_handler_sees_its_token",
)
def loses_tokens_of_requests(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(*args: Any, cancellation_token: Any = None, **options: Any) -> Any:
        return await send(*args, **options)

    runtime.send_message = send_message


@breaks("a_token_cancels_the_handlers_of_a_publication")
def loses_tokens_of_publications(runtime: Any) -> None:
    publish = runtime.publish_message

    async def publish_message(*args: Any, cancellation_token: Any = None, **options: Any) -> None:
        await publish(*args, **options)

    runtime.publish_message = publish_message


@breaks("a_cancelled_sender_cancels_the_handler")
def lets_senders_go(runtime: Any) -> None:
    send = runtime.send_message

    async def send_message(*args: Any, **options: Any) -> Any:
        done = trio.Event()
        replies: list[Any] = []

        async def carry() -> None:
            with suppress(Exception):
                replies.append(await send(*args, **options))
            done.set()

        trio.lowlevel.spawn_system_task(carry)
        await done.wait()
        return replies[0]

    runtime.send_message = send_message


@breaks("the_state_of_an_agent_survives", "the_state_of_a_runtime_survives")
def loads_nothing(runtime: Any) -> None:
    async def load_state(*args: Any) -> None:
        pass

    runtime.agent_load_state = runtime.load_state = load_state


@breaks("stop_when_idle_waits_for_all_work", "stop_lets_running_handlers_finish")
def stops_at_once(runtime: Any) -> None:
    stop_when_idle = runtime.stop_when_idle

    async def stop(**options: Any) -> None:
        pass

    runtime.stop = stop
    runtime.stop_when_idle = stop
    runtime.finish = stop_when_idle


@breaks("stop_when_idle_waits_for_what_work_brings")
def takes_nothing_more_when_it_is_to_be_idle(runtime: Any) -> None:
    runtime.stop_when_idle = runtime.stop


@breaks("a_runtime_that_was_stopped_can_be_started")
def never_starts_again(runtime: Any) -> None:
    runtime.start = lambda: None


def open_broken(breaker: Breaker) -> Any:
    @asynccontextmanager
    async def open_runtime(**options: Any) -> AsyncGenerator[Any, None]:
        async with trio_agents.SingleThreadedAgentRuntime(**options) as runtime:
            runtime.start()
            breaker(runtime)
            yield runtime
            if runtime.is_started():
                await type(runtime).stop_when_idle(runtime)

    return open_runtime


@asynccontextmanager
async def open_without_interventions(**options: Any) -> AsyncGenerator[Any, None]:
    async with trio_agents.open_runtime() as runtime:
        yield runtime


@asynccontextmanager
async def open_with_interventions_reversed(
    intervention_handlers: Any = (), **options: Any
) -> AsyncGenerator[Any, None]:
    async with trio_agents.open_runtime(
        intervention_handlers=intervention_handlers[::-1]
    ) as runtime:
        yield runtime


BROKEN: list[tuple[str, str, Any]] = [
    *((name, breaker.__name__, open_broken(breaker)) for name, breaker in BREAKERS),
    *(
        (name, opener.__name__, opener)
        for name, opener in (
            ("interventions_change_messages_and_replies", open_without_interventions),
            ("interventions_work_in_order", open_with_interventions_reversed),
            ("interventions_drop_messages", open_without_interventions),
            ("the_error_of_an_intervention_reaches_the_sender", open_without_interventions),
        )
    ),
]


def test_every_check_has_a_broken_runtime() -> None:
    assert {name for name, _, _ in BROKEN} == set(BY_NAME)


def is_failed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(is_failed(inner) for inner in error.exceptions)
    return isinstance(error, Exception)


@pytest.mark.parametrize(
    ("name", "open_runtime"),
    [pytest.param(name, opener, id=f"{name}-{breaker}") for name, breaker, opener in BROKEN],
)
def test_a_broken_runtime_is_found_out_by(name: str, open_runtime: Any) -> None:
    with pytest.raises(BaseException) as info:  # noqa: PT011  # looked at below
        trio.run(BY_NAME[name], open_runtime, clock=MockClock(autojump_threshold=0))
    assert is_failed(info.value)


def why_it_failed(name: str, breaker: Breaker) -> str:
    report = check_runtime(open_broken(breaker), checks=[BY_NAME[name]])
    (result,) = report.failed
    return result.reason


def test_a_request_without_its_answer_is_named() -> None:
    assert why_it_failed("each_of_many_requests_gets_its_own_answer", loses_some_requests) == (
        "request 6 of 200, to scribe/a, got the reply None, which is not its own"
    )


def test_requests_that_were_handled_twice_are_named() -> None:
    assert why_it_failed("each_of_many_requests_gets_its_own_answer", repeats_some_requests) == (
        "of 200 requests 28 came again: 6 at scribe/a, 13 at clerk/b, 20 at clerk/a, ..."
    )


def test_publications_that_got_lost_are_named() -> None:
    reason = why_it_failed("each_of_many_publications_is_heard_once", loses_some_publications)
    assert reason.startswith("of 201 publications to one 4 got lost: publisher ")


def test_messages_that_began_in_another_order_are_named() -> None:
    reason = why_it_failed("messages_begin_in_the_order_of_submission", dawdles)
    assert re.fullmatch(r"after .+ was submitted .+ \d+, and .+ \d+ began", reason)


# --- the report


@check()
async def one_that_passes(open_runtime: Any) -> None:
    """It passes."""
    async with open_runtime():
        pass


@check(Capability.STATE)
async def one_that_fails(open_runtime: Any) -> None:
    """It fails."""
    async with open_runtime():
        raise CheckFailed("as it should")


@check()
async def one_that_errs(open_runtime: Any) -> None:
    """It errs."""
    async with trio.open_nursery():
        raise KeyError("oh")


@check()
async def one_that_hangs(open_runtime: Any) -> None:
    """It hangs."""
    await trio.sleep_forever()


CHECKS = (one_that_passes, one_that_fails, one_that_errs)


def test_a_report_lists_what_came_of_each_check() -> None:
    report = check_runtime(trio_agents.open_runtime, checks=CHECKS)
    assert str(report) == (
        "1 passed, 2 failed, 0 not applicable\n"
        "  passed          one_that_passes\n"
        "  failed          one_that_fails: as it should\n"
        "  failed          one_that_errs: KeyError('oh')"
    )
    assert [result.check for result in report.failed] == [one_that_fails, one_that_errs]
    assert report.passed == (CheckResult(one_that_passes, "passed"),)


def test_what_is_not_offered_is_not_tried_and_listed() -> None:
    report = check_runtime(
        trio_agents.open_runtime, checks=CHECKS[:2], offers=set(Capability) - {Capability.STATE}
    )
    report.raise_for_failures()
    (result,) = report.not_applicable
    assert (result.check, result.reason) == (one_that_fails, "STATE not offered")


def test_failures_are_raised_together() -> None:
    report = check_runtime(trio_agents.open_runtime, checks=CHECKS)
    with pytest.RaisesGroup(CheckFailed, pytest.RaisesGroup(KeyError)) as info:
        report.raise_for_failures()
    assert info.value.message == "2 of 3 checks failed"
    assert info.value.exceptions[0].__notes__ == ["in check one_that_fails: It fails."]


def test_a_check_that_hangs_has_failed(autojump_clock: MockClock) -> None:
    with pytest.raises(CheckFailed, match=r"not ended after 20 s: It hangs\."):
        trio.run(one_that_hangs, trio_agents.open_runtime, clock=autojump_clock)


def test_an_event_loop_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="the event loop is 'trio' or 'asyncio', not 'curio'"):
        check_runtime(trio_agents.open_runtime, loop=cast(Any, "curio"))


def test_no_checks_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing would be tried: take RUNTIME_CHECKS"):
        check_runtime(trio_agents.open_runtime, checks=[])


def test_what_is_no_capability_is_refused() -> None:
    with pytest.raises(TypeError, match=r"members of Capability \(.*STATE.*\), not 'STATE'"):
        check_runtime(trio_agents.open_runtime, offers=cast(Any, {"STATE"}))


def test_it_runs_on_asyncio() -> None:
    report = check_runtime(
        trio_agents.asyncio.open_runtime, loop="asyncio", checks=[one_that_passes]
    )
    assert report.passed


def test_every_check_promises_something() -> None:
    promises = [one.promise for one in RUNTIME_CHECKS]
    assert all(promise.endswith(".") for promise in promises)
    assert len(set(promises)) == len(promises)
    needed = frozenset[Capability]().union(*(one.needs for one in RUNTIME_CHECKS))
    assert needed == frozenset(Capability)
