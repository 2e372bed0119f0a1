"""Promise 2: no failure is lost. The sender gets it; without a sender, the application does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from trio_agents import (
    EVENT_LOGGER_NAME,
    ROOT_LOGGER_NAME,
    AgentId,
    BaseAgent,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    message_handler,
)
from trio_agents.exceptions import (
    CantHandleException,
    MessageDroppedException,
    UndeliverableException,
    UnknownAgentType,
)
from trio_agents.logging import AgentConstructionExceptionEvent, MessageHandlerExceptionEvent

from . import loop
from .doers import check_idle
from .loop import MockClock, SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

A = AgentId("actor", "a")
B = AgentId("actor", "b")
NEWS = TopicId("news", "a")


class Actor(BaseAgent):
    """Does what the message says: messages are functions."""

    def __init__(self) -> None:
        super().__init__("an actor")
        self.handled = 0

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        self.handled += 1
        return await message(self, ctx)


async def add_actors(runtime: SingleThreadedAgentRuntime, *types: str) -> None:
    """Register actors of some types, who all hear the news."""
    for type in types or ("actor",):
        await Actor.register(runtime, type, Actor)
        await runtime.add_subscription(TypeSubscription("news", type))


def failing(error: BaseException) -> Act:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        raise error

    return act


async def answer(agent: Actor, ctx: MessageContext) -> str:
    return "answer"


def check_ledger(runtime: SingleThreadedAgentRuntime, **expected: int) -> None:
    """The equation holds, nothing is left, and the outcomes are as *expected*."""
    counts = runtime.statistics()
    outcomes = {
        name: getattr(counts, name)
        for name in ("handled", "failed", "dropped", "cancelled", "undeliverable")
    }
    assert counts.accepted == sum(outcomes.values()) + counts.pending
    assert {name: count for name, count in outcomes.items() if count} == expected
    assert (counts.pending, counts.running, counts.waiting, counts.mailboxes) == (0, 0, 0, {})


class NoException(BaseException):
    """Like those of AutoGen's tool agent."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


async def stray_cancelled() -> loop.Cancelled:
    """Give a cancellation that belongs to a scope which has ended."""
    kept: list[loop.Cancelled] = []
    with loop.CancelScope() as scope:
        scope.cancel()
        try:
            await loop.checkpoint()
        except loop.Cancelled as exc:
            kept.append(exc)
    return kept[0]


# --- requests

EXCEPTIONS = [
    Exception("e"),
    NoException("n"),
    KeyboardInterrupt("k"),
    SystemExit(3),
    GeneratorExit("g"),
    ExceptionGroup("group", [ValueError("v"), KeyError("k")]),
    BaseExceptionGroup("group", [KeyboardInterrupt("k"), KeyError("k")]),
    StopAsyncIteration("s"),
    Unprintable(),
    MemoryError("m"),
    asyncio.CancelledError("c"),
    CantHandleException("c"),
]
by_class = pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda error: type(error).__name__)


# EX-01, EX-07, RT-03
@by_class
async def test_the_sender_gets_the_very_object(error: BaseException) -> None:
    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(type(error)) as caught:
            await runtime.send_message(failing(error), A)
        assert caught.value is error
        assert not hasattr(error, "__notes__")
        assert await runtime.send_message(answer, A) == "answer"
        check_ledger(runtime, failed=1, handled=1)


# EX-07, RT-03
@by_class
async def test_the_very_object_passes_through_agents_that_ask_each_other(
    error: BaseException,
) -> None:
    async def ask(agent: Actor, ctx: MessageContext) -> None:
        await agent.send_message(failing(error), B)

    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(type(error)) as caught:
            await runtime.send_message(ask, A)
        assert caught.value is error
        check_ledger(runtime, failed=2)


# EX-07, RT-03
async def test_a_cancellation_that_a_handler_raises_by_mistake_is_its_failure() -> None:
    error = await stray_cancelled()
    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(loop.Cancelled) as caught:
            await runtime.send_message(failing(error), A)
        assert caught.value is error
        assert await runtime.send_message(answer, A) == "answer"
        check_ledger(runtime, failed=1, handled=1)


# EX-07, RT-03
async def test_a_handler_that_raises_stop_iteration_fails_as_python_says() -> None:
    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await runtime.send_message(failing(StopIteration("s")), A)
        assert isinstance(caught.value.__cause__, StopIteration)
        check_ledger(runtime, failed=1)


# EX-07, RT-03
async def test_a_handler_that_recurses_without_end_fails_alone() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        await act(agent, ctx)

    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(RecursionError):
            await runtime.send_message(act, A)
        assert await runtime.send_message(answer, A) == "answer"
        check_ledger(runtime, failed=1, handled=1)


# EX-07
async def test_a_failed_request_is_nothing_to_the_runtime(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
        await add_actors(runtime)
        with pytest.raises(ValueError, match=r"^v$"):
            await runtime.send_message(failing(ValueError("v")), A)
    assert caplog.records == []


# EX-07
async def test_what_a_failed_request_leaves_is_free_at_once() -> None:
    """No cycle of references keeps the exception, and with it the frames, alive."""
    import gc
    import weakref

    class Marked(Exception):
        pass

    async def act(agent: Actor, ctx: MessageContext) -> None:
        raise Marked

    async with open_runtime() as runtime:
        await add_actors(runtime)
        gc.collect()
        gc.disable()
        try:
            try:
                await runtime.send_message(act, A)
            except Marked as exc:
                mark = weakref.ref(exc)
            assert mark() is None
        finally:
            gc.enable()


# --- publications


# RT-13
async def test_a_failing_recipient_disturbs_no_other_and_not_the_publisher() -> None:
    heard: list[AgentId] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        if agent.id.type == "second":
            raise ValueError
        await loop.checkpoint()
        heard.append(agent.id)

    async with open_runtime() as runtime:
        await add_actors(runtime, "first", "second", "third")
        await runtime.publish_message(act, NEWS)
        await runtime.stop_when_idle()
        check_ledger(runtime, handled=2, failed=1)
    assert [id.type for id in heard] == ["first", "third"]


# RT-13
@pytest.mark.parametrize("error", [ValueError("v"), Unprintable()], ids=["plain", "unprintable"])
async def test_ignored_failures_are_logged_with_their_traceback(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async with open_runtime(ignore_unhandled_exceptions=True) as runtime:
        await add_actors(runtime)
        await runtime.publish_message(failing(error), NEWS, message_id="m1")
        await runtime.stop_when_idle()
        check_ledger(runtime, failed=1)
    (record,) = caplog.records
    assert (record.name, record.levelno) == (ROOT_LOGGER_NAME, logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert "actor/a" in record.getMessage()
    assert "m1" in record.getMessage()


async def leave_block(runtime: SingleThreadedAgentRuntime) -> None:
    """Raised by the end of the block: nothing to do."""


async def call_process_next(runtime: SingleThreadedAgentRuntime) -> None:
    await runtime.stop()


OUTLETS: list[Callable[[SingleThreadedAgentRuntime], Awaitable[None]]] = [
    lambda runtime: runtime.stop(),
    lambda runtime: runtime.stop_when_idle(),
    lambda runtime: runtime.stop_when(lambda: True),
    lambda runtime: runtime.close(),
    leave_block,
]


# RT-13
@pytest.mark.parametrize(
    "outlet", OUTLETS, ids=["stop", "stop_when_idle", "stop_when", "close", "block"]
)
async def test_kept_failures_come_out_as_one_group(
    outlet: Callable[[SingleThreadedAgentRuntime], Awaitable[None]],
) -> None:
    errors = [ValueError("0"), KeyError("1"), OSError("2")]
    with loop.raises_failures() as caught:
        async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
            await add_actors(runtime)
            runtime.start()
            for number, error in enumerate(errors):
                await runtime.publish_message(failing(error), NEWS, message_id=f"id-{number}")
            await wait_all_tasks_blocked()
            await outlet(runtime)
            assert outlet is leave_block
    assert caught.value.exceptions == tuple(errors)
    for number, error in enumerate(errors):
        assert "actor/a" in error.__notes__[0]
        assert f"id-{number}" in error.__notes__[0]
    check_ledger(runtime, failed=3)


# RT-13, ST-02
async def test_process_next_raises_kept_failures_before_it_takes_another() -> None:
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_actors(runtime)
        await runtime.publish_message(failing(ValueError("v")), NEWS)
        with loop.raises_failures():
            await runtime.process_next()
            await wait_all_tasks_blocked()
            await runtime.process_next()
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, answer, A)
            await runtime.process_next()
        check_ledger(runtime, failed=1, handled=1)


# RT-13
async def test_every_recipient_s_failure_is_a_leaf_of_its_own() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        raise ValueError(agent.id.type)

    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_actors(runtime, "first", "second", "third")
        runtime.start()
        await runtime.publish_message(act, NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
    assert [str(error) for error in caught.value.exceptions] == ["first", "second", "third"]
    assert [error.__notes__[0].split(" on ")[0] for error in caught.value.exceptions] == [
        f"raised in trio_agents by agent {type}/a" for type in ("first", "second", "third")
    ]


# RT-13
async def test_one_object_raised_by_several_handlers_is_several_leaves() -> None:
    error = ValueError("the only one")
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_actors(runtime, "first", "second")
        runtime.start()
        await runtime.publish_message(failing(error), NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
    assert caught.value.exceptions == (error, error)
    assert len(error.__notes__) == 2


# RT-13
async def test_failures_are_raised_once_and_the_runtime_may_start_again() -> None:
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_actors(runtime)
        for _ in range(2):
            runtime.start()
            await runtime.publish_message(failing(ValueError("v")), NEWS)
            with loop.raises_failures() as caught:
                await runtime.stop_when_idle()
            assert len(caught.value.exceptions) == 1
            assert not runtime.is_started()
        runtime.start()
        assert await runtime.send_message(answer, A) == "answer"
        await runtime.stop_when_idle()
        check_ledger(runtime, failed=2, handled=1)


# RT-13
async def test_a_failed_publication_throws_nothing_else_away() -> None:
    answers: list[str] = []
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_actors(runtime)

        async def send() -> None:
            answers.append(await runtime.send_message(answer, A))

        async with loop.open_nursery() as nursery:
            await runtime.publish_message(failing(ValueError("v")), NEWS)
            for _ in range(3):
                nursery.start_soon(send)
            await wait_all_tasks_blocked()
            runtime.start()
        with loop.raises_failures():
            await runtime.stop()
        check_ledger(runtime, failed=1, handled=3)
    assert answers == ["answer"] * 3


# RT-13
@pytest.mark.parametrize(
    "error",
    [NoException("n"), GeneratorExit("g"), asyncio.CancelledError("c")],
    ids=repr,
)
@pytest.mark.only_on("trio", "asyncio's own CancelledError is an ordinary failure there")
async def test_what_is_no_exception_is_kept_even_where_failures_are_ignored(
    error: BaseException,
) -> None:
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=True) as runtime:
        await add_actors(runtime)
        runtime.start()
        await runtime.publish_message(failing(error), NEWS)
        await runtime.publish_message(failing(ValueError("ignored")), NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
    assert caught.value.exceptions == (error,)


# RT-13
@pytest.mark.only_on("trio", "asyncio's own CancelledError is an ordinary failure there")
async def test_a_stray_cancellation_in_a_publication_s_handler_is_kept() -> None:
    error = await stray_cancelled()
    async with SingleThreadedAgentRuntime() as runtime:
        await add_actors(runtime)
        runtime.start()
        await runtime.publish_message(failing(error), NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        assert caught.value.exceptions == (error,)
        check_ledger(runtime, failed=1)


# RT-13
@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("k")], ids=repr)
async def test_what_means_the_program_ends_the_block_bare(
    error: BaseException, ignore: bool
) -> None:
    with pytest.raises(type(error)) as caught:
        async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=ignore) as runtime:
            await add_actors(runtime)
            runtime.start()
            await runtime.publish_message(failing(error), NEWS)
            await loop.sleep_forever()
    assert caught.value is error
    check_ledger(runtime, failed=1)
    async with runtime:
        runtime.start()
        assert await runtime.send_message(answer, A) == "answer"


# RT-13
@pytest.mark.parametrize("ignore", [True, False])
async def test_ctrl_c_in_a_group_of_a_handler_ends_the_block_bare(ignore: bool) -> None:
    group = BaseExceptionGroup("of its nursery", [KeyError("k"), KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt) as caught:
        async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=ignore) as runtime:
            await add_actors(runtime)
            runtime.start()
            await runtime.publish_message(failing(group), NEWS)
            await loop.sleep_forever()
    assert caught.value.__cause__ is group


# RT-13
@pytest.mark.parametrize("by_hand", [True, False])
async def test_when_an_agent_s_close_exits_the_program_all_other_failures_are_logged(
    by_hand: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Closing(Actor):
        async def close(self) -> None:
            raise SystemExit(3) if self.id == B else ValueError("of its close")

    with pytest.raises(SystemExit):
        async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
            await runtime.register_factory("actor", Closing)
            await runtime.add_subscription(TypeSubscription("news", "actor"))
            runtime.start()
            await runtime.send_message(answer, A)
            await runtime.send_message(answer, B)
            await runtime.publish_message(failing(KeyError("of a publication")), NEWS)
            await wait_all_tasks_blocked()
            if by_hand:
                await runtime.close()
    assert "of its close" in caplog.text
    assert "of a publication" in caplog.text


async def test_nothing_is_logged_when_a_block_is_cancelled_with_handlers_at_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            with loop.CancelScope(shield=True):
                await wait_all_tasks_blocked()  # the block learns of it before the workers do

    with loop.CancelScope() as scope:
        async with open_runtime() as runtime:
            await add_actors(runtime)
            for _ in range(2):
                await runtime.publish_message(act, NEWS)
            await wait_all_tasks_blocked()
            scope.cancel()
            await loop.sleep_forever()
    assert scope.cancelled_caught
    assert caplog.records == []


# RT-13
@pytest.mark.only_on("trio", "asyncio cancels a task that is about to go on, before it raises")
async def test_of_several_that_end_the_block_one_leaves_it_and_the_others_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = [SystemExit(number) for number in range(3)]

    async def act(agent: Actor, ctx: MessageContext) -> None:
        await together.wait()
        raise errors.pop(0)

    together = loop.Event()
    with pytest.raises(SystemExit) as caught:
        async with SingleThreadedAgentRuntime() as runtime:
            await add_actors(runtime)
            runtime.start()
            for _ in range(3):
                await runtime.publish_message(act, NEWS)
            await wait_all_tasks_blocked()
            together.set()
            await loop.sleep_forever()
    assert caught.value.code == 0
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [error.code for error in logged if isinstance(error, SystemExit)] == [1, 2]
    check_ledger(runtime, failed=3)


# RT-13
async def test_shielded_work_in_the_body_is_not_left_hanging_when_a_handler_ends_the_block() -> (
    None
):
    """What is queued then fails, and what is sent then is refused."""
    seen: list[type[BaseException]] = []

    async def ask(runtime: SingleThreadedAgentRuntime) -> None:
        try:
            await runtime.send_message(answer, A)
        except UndeliverableException as exc:
            seen.append(type(exc))

    with pytest.raises(SystemExit):
        async with SingleThreadedAgentRuntime() as runtime:
            await add_actors(runtime)
            runtime.start()
            with loop.CancelScope(shield=True):
                await runtime.publish_message(failing(SystemExit()), NEWS)
                await ask(runtime)
                await ask(runtime)
    assert seen == [UndeliverableException] * 2
    check_ledger(runtime, failed=1, undeliverable=2)


# RT-13
async def test_a_handler_s_failure_is_an_event_for_those_who_listen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = ValueError("v")
    caplog.set_level(logging.INFO, EVENT_LOGGER_NAME)
    async with open_runtime() as runtime:
        await add_actors(runtime)
        await runtime.publish_message(failing(error), NEWS)
        await runtime.stop_when_idle()
    (event,) = [r.msg for r in caplog.records if isinstance(r.msg, MessageHandlerExceptionEvent)]
    assert event.kwargs["handling_agent"] == str(A)
    assert "v" in event.kwargs["exception"]


# --- intervention handlers


class Interferes(DefaultInterventionHandler):
    """Does one thing at one place."""

    def __init__(self, place: str, does: BaseException | type[DropMessage]) -> None:
        self.place = place
        self.does = does

    def do(self, place: str, message: Any) -> Any:
        if place != self.place:
            return message
        if isinstance(self.does, BaseException):
            raise self.does
        return self.does

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        return self.do("send", message)

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        return self.do("publish", message)

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        return self.do("response", message)


# IV-08, EX-07
@pytest.mark.parametrize("place", ["send", "response"])
@pytest.mark.parametrize(
    "error",
    [ValueError("v"), NoException("n"), SystemExit(1)],
    ids=lambda error: type(error).__name__,
)
async def test_an_intervention_handler_s_failure_reaches_the_sender(
    place: str, error: BaseException
) -> None:
    async with open_runtime(intervention_handlers=[Interferes(place, error)]) as runtime:
        await add_actors(runtime)
        for _ in range(2):
            with pytest.raises(type(error)) as caught:
                await runtime.send_message(answer, A)
            assert caught.value is error
        check_ledger(runtime, failed=2)


# IV-08, RT-13
async def test_an_intervention_handler_s_failure_with_a_publication_goes_by_the_policy() -> None:
    error = ValueError("v")
    runtime = SingleThreadedAgentRuntime(
        intervention_handlers=[Interferes("publish", error)], ignore_unhandled_exceptions=False
    )
    async with runtime:
        await add_actors(runtime)
        runtime.start()
        await runtime.publish_message(answer, NEWS, message_id="m1")
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        assert caught.value.exceptions == (error,)
        assert "topic news/a" in error.__notes__[0]
        assert "m1" in error.__notes__[0]
        check_ledger(runtime, failed=1)
        runtime.start()
        assert await runtime.send_message(answer, A) == "answer"


# IV-08, RT-13
async def test_an_intervention_handler_may_end_the_block() -> None:
    error = SystemExit(1)
    with pytest.raises(SystemExit) as caught:
        async with open_runtime(intervention_handlers=[Interferes("publish", error)]) as runtime:
            await add_actors(runtime)
            await runtime.publish_message(answer, NEWS)
            await loop.sleep_forever()
    assert caught.value is error
    check_ledger(runtime, failed=1)


# IV-06
@pytest.mark.parametrize("place", ["send", "response"])
async def test_the_sender_of_a_dropped_message_is_told(place: str) -> None:
    async with open_runtime(intervention_handlers=[Interferes(place, DropMessage)]) as runtime:
        await add_actors(runtime)
        with pytest.raises(MessageDroppedException):
            await runtime.send_message(answer, A)
        check_ledger(runtime, dropped=1)


# --- agents that cannot be made


# RT-10, EX-07
async def test_a_failing_factory_fails_all_that_wait_for_it_and_the_next_tries_again() -> None:
    error = ValueError("factory")
    go = loop.Event()
    calls = 0

    async def factory() -> Actor:
        nonlocal calls
        calls += 1
        if calls == 1:
            await go.wait()
            raise error
        return Actor()

    caught: list[BaseException] = []
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await runtime.register_factory("actor", factory)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        runtime.start()

        async def send() -> None:
            try:
                await runtime.send_message(answer, A)
            except ValueError as exc:
                caught.append(exc)

        async with loop.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            await runtime.publish_message(answer, NEWS)
            await wait_all_tasks_blocked()
            go.set()
        assert caught == [error, error]
        assert await runtime.send_message(answer, A) == "answer"
        with loop.raises_failures() as group:
            await runtime.stop()
        assert group.value.exceptions == (error,)
        check_ledger(runtime, failed=3, handled=1)
    assert calls == 2


# RT-10
async def test_a_failing_factory_is_an_event(caplog: pytest.LogCaptureFixture) -> None:
    def factory() -> Actor:
        raise ValueError("no agent today")

    caplog.set_level(logging.INFO, EVENT_LOGGER_NAME)
    async with open_runtime() as runtime:
        await runtime.register_factory("actor", factory)
        with pytest.raises(ValueError, match="no agent today"):
            await runtime.send_message(answer, A)
    (event,) = [r.msg for r in caplog.records if isinstance(r.msg, AgentConstructionExceptionEvent)]
    assert event.kwargs["agent_id"] == str(A)
    assert "no agent today" in event.kwargs["exception"]


# RT-10, RT-13
async def test_a_factory_may_end_the_block_if_nobody_waits_for_the_agent() -> None:
    error = SystemExit(1)

    def factory() -> Actor:
        raise error

    with pytest.raises(SystemExit) as caught:
        async with open_runtime() as runtime:
            await runtime.register_factory("actor", factory)
            await runtime.add_subscription(TypeSubscription("news", "actor"))
            await runtime.publish_message(answer, NEWS)
            await runtime.publish_message(answer, NEWS)
            await loop.sleep_forever()
    assert caught.value is error
    counts = runtime.statistics()
    assert counts.failed >= 1
    check_ledger(runtime, failed=counts.failed, **(
        {"undeliverable": counts.undeliverable} if counts.undeliverable else {}
    ))  # fmt: skip


# --- nobody there


# EX-02, EX-04, RT-05
@pytest.mark.parametrize("started", [True, False])
async def test_a_send_to_an_unknown_type_names_those_there_are(started: bool) -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        await add_actors(runtime, "writer", "editor")
        if started:
            runtime.start()
        with pytest.raises(UnknownAgentType, match="registered: editor, writer") as caught:
            await runtime.send_message(answer, AgentId("reader", "a"))
        assert isinstance(caught.value, UndeliverableException)
        assert isinstance(caught.value, LookupError)
        assert "reader/a" in str(caught.value)
        check_ledger(runtime, undeliverable=1)
        (letter,) = runtime.statistics().dead_letters
        assert (letter.message, letter.recipient) == (answer, AgentId("reader", "a"))
        assert letter.reason == str(caught.value)


# EX-02, RT-17
async def test_a_subscriber_of_an_unknown_type_is_a_dead_letter_and_disturbs_nobody() -> None:
    async with open_runtime() as runtime:
        await runtime.add_subscription(TypeSubscription("news", "nobody"))
        await add_actors(runtime)
        await runtime.publish_message(answer, NEWS)
        await runtime.stop_when_idle()
        check_ledger(runtime, handled=1, undeliverable=1)
        assert runtime.statistics().accepted == 2
        (letter,) = runtime.statistics().dead_letters
        assert (letter.recipient, letter.topic) == (AgentId("nobody", "a"), NEWS)
        assert "register agent type 'nobody' first" in letter.reason


# RT-17
async def test_a_publication_whose_only_subscriber_is_unknown_counts_once() -> None:
    async with open_runtime() as runtime:
        await runtime.add_subscription(TypeSubscription("news", "nobody"))
        await runtime.publish_message(answer, NEWS)
        await runtime.stop_when_idle()
        check_ledger(runtime, undeliverable=1)
        (letter,) = runtime.statistics().dead_letters
        assert letter.recipient == AgentId("nobody", "a")


# RT-16
async def test_a_publication_that_nobody_subscribes_to_is_fine_and_a_dead_letter() -> None:
    async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
        assert await runtime.publish_message(answer, NEWS) is None  # type: ignore[func-returns-value]
        await runtime.stop_when_idle()
        check_ledger(runtime, undeliverable=1)
        (letter,) = runtime.statistics().dead_letters
        assert (letter.message, letter.topic, letter.recipient) == (answer, NEWS, None)


# EX-02
async def test_the_thousand_latest_dead_letters_are_kept() -> None:
    async with open_runtime() as runtime:
        for number in range(1500):
            await runtime.publish_message(number, NEWS)
        await runtime.stop_when_idle()
        check_ledger(runtime, undeliverable=1500)
        letters = runtime.statistics().dead_letters
        assert [letter.message for letter in letters] == list(range(500, 1500))


class Reader(RoutedAgent):
    @message_handler
    async def on_text(self, message: str, ctx: MessageContext) -> str:
        return message


# EX-01, RT-04
async def test_an_unhandled_request_gives_none() -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("reader", lambda: Reader("reads"))
        assert await runtime.send_message(1, AgentId("reader", "a")) is None
        check_ledger(runtime, handled=1)


# EX-01, RT-04
async def test_a_strict_runtime_fails_the_sender_of_an_unhandled_request() -> None:
    async with open_runtime(strict=True, ignore_unhandled_exceptions=False) as runtime:
        await runtime.register_factory("reader", lambda: Reader("reads"))
        await runtime.add_subscription(TypeSubscription("news", "reader"))
        with pytest.raises(CantHandleException, match=r"reader/a.*int"):
            await runtime.send_message(1, AgentId("reader", "a"))
        assert await runtime.send_message("text", AgentId("reader", "a")) == "text"
        await runtime.publish_message(1, NEWS)  # an event may be for others
        await runtime.stop_when_idle()
        check_ledger(runtime, failed=1, handled=2)


# --- subscriptions that fail


class Broken:
    """A subscription that matches, and cannot say who."""

    id = "broken"

    def __init__(self, does: Any) -> None:
        self.does = does

    def is_match(self, topic_id: TopicId) -> bool:
        return topic_id.type == "news"

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        if isinstance(self.does, BaseException):
            raise self.does
        return self.does  # type: ignore[no-any-return]


BOUNDS = pytest.mark.parametrize("bounds", [{}, {"mailbox_size": 1}], ids=["unbounded", "bounded"])


# RT-13
@BOUNDS
@pytest.mark.parametrize("intervene", [False, True])
async def test_a_failing_subscription_fails_the_publication_and_nothing_else(
    bounds: dict[str, Any], intervene: bool
) -> None:
    error = ValueError("subscription")
    handlers = [DefaultInterventionHandler()] if intervene else []
    async with SingleThreadedAgentRuntime(
        ignore_unhandled_exceptions=False, intervention_handlers=handlers
    ) as runtime:
        await runtime.register_factory("actor", Actor, **bounds)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        await runtime.add_subscription(TypeSubscription("other", "actor"))
        await runtime.add_subscription(Broken(error))
        runtime.start()
        await runtime.publish_message(answer, NEWS)
        await runtime.publish_message(answer, TopicId("other", "a"))
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        assert caught.value.exceptions == (error,)
        check_ledger(runtime, failed=1, handled=1)


# RT-13
async def test_a_subscription_that_fails_a_publication_at_the_bound_fails_only_that(
    autojump_clock: MockClock,
) -> None:
    """It is looked at when another message ends and lets this one in."""
    error = ValueError("subscription")

    async def act(agent: Actor, ctx: MessageContext) -> str:
        await loop.sleep(1)
        return "acted"

    answers: list[str] = []
    async with SingleThreadedAgentRuntime(
        ignore_unhandled_exceptions=False, max_pending=1
    ) as runtime:
        await runtime.register_factory("actor", Actor, mailbox_size=1)
        runtime.start()
        await runtime.add_subscription(Broken(error))
        async with loop.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                answers.append(await runtime.send_message(act, A))

            await wait_all_tasks_blocked()
            for _ in range(3):
                nursery.start_soon(runtime.publish_message, answer, NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        assert caught.value.exceptions == (error,) * 3
        check_ledger(runtime, handled=1, failed=3)
    assert answers == ["acted"]


# RT-13
async def test_a_subscription_that_maps_to_no_agent_id_is_told_so() -> None:
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_actors(runtime)
        await runtime.add_subscription(Broken("actor/a"))
        runtime.start()
        await runtime.publish_message(answer, NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        (error,) = caught.value.exceptions
        assert isinstance(error, TypeError)
        assert "Broken.map_to_agent must return an AgentId" in str(error)
        check_ledger(runtime, failed=1)


# RT-13
async def test_a_subscription_may_end_the_block() -> None:
    error = SystemExit(1)
    with pytest.raises(SystemExit) as caught:
        async with open_runtime() as runtime:
            await runtime.add_subscription(Broken(error))
            await runtime.publish_message(answer, NEWS)
            await loop.sleep_forever()
    assert caught.value is error
    check_ledger(runtime, failed=1)


# --- what the application's values do


# RT-03, I18
async def test_a_context_variable_that_cannot_be_compared_does_no_harm() -> None:
    import contextvars

    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous, as an array's")

        __hash__ = None  # type: ignore[assignment]

    variable = contextvars.ContextVar[Incomparable | None]("variable", default=None)
    first = Incomparable()
    variable.set(first)

    async def act(agent: Actor, ctx: MessageContext) -> bool:
        before = variable.get()
        variable.set(Incomparable())
        return before is first

    async with open_runtime() as runtime:
        await add_actors(runtime)
        for _ in range(3):
            assert await runtime.send_message(act, A)
        check_ledger(runtime, handled=3)


# RT-11
async def test_publications_that_cause_each_other_keep_none_of_those_before_alive() -> None:
    import gc
    import weakref

    class Note:
        def __init__(self, number: int) -> None:
            self.number = number

    notes: list[weakref.ref[Note]] = []
    most = 0

    class Relay(BaseAgent):
        async def on_message_impl(self, message: Note, ctx: MessageContext) -> None:
            nonlocal most
            most = max(most, sum(ref() is not None for ref in notes))
            if message.number:
                await publish(message.number - 1)

    async def publish(number: int) -> None:
        note = Note(number)
        notes.append(weakref.ref(note))
        await runtime.publish_message(note, TopicId("news", "ab"[number % 2]))

    async with open_runtime() as runtime:
        await runtime.register_factory("relay", lambda: Relay("relays"))
        await runtime.add_subscription(TypeSubscription("news", "relay"))
        gc.collect()
        gc.disable()
        try:
            await publish(200)
            await runtime.stop_when_idle()
        finally:
            gc.enable()
        check_ledger(runtime, handled=201)
    assert most <= 3


# RT-13, ST-02
async def test_a_runtime_inside_another_one_s_handler_is_a_runtime_like_any_other() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> str:
        async with open_runtime() as inner:
            await add_actors(inner)
            await inner.publish_message(answer, NEWS)
            result = await inner.send_message(answer, A)
            await inner.stop_when_idle()
            check_ledger(inner, handled=2)
        return f"inner {result}"

    async with open_runtime() as runtime:
        await add_actors(runtime)
        assert await runtime.send_message(act, A) == "inner answer"


# RT-13, ST-02
async def test_a_handler_of_an_inner_runtime_cannot_stop_the_one_that_waits_for_it() -> None:
    async def stop(agent: Actor, ctx: MessageContext) -> None:
        with pytest.raises(RuntimeError, match="actor/b"):
            await runtime.stop()

    async def act(agent: Actor, ctx: MessageContext) -> None:
        async with open_runtime() as inner:
            await add_actors(inner)
            await inner.send_message(stop, A)

    async with open_runtime() as runtime:
        await add_actors(runtime)
        await runtime.send_message(act, B)


# --- exceptions that take no note


@dataclass(frozen=True)
class Refused(Exception):
    reason: str


async def refuse(agent: Actor, ctx: MessageContext) -> None:
    raise Refused("no")


async def test_a_failure_that_takes_no_note_is_kept_with_one_and_touches_nobody() -> None:
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_actors(runtime)
        runtime.start()
        await runtime.publish_message(refuse, NEWS)
        with loop.raises_failures() as failures:
            await runtime.stop_when_idle()
        (failure,) = failures.value.exceptions
        assert isinstance(failure, Refused)
        assert "raised in trio_agents by agent actor/a" in failure.__notes__[0]
        check_idle(runtime)


async def test_an_agent_whose_close_fails_without_a_note_does_not_spare_the_rest() -> None:
    closed: list[AgentId] = []

    class Last(Actor):
        async def close(self) -> None:
            closed.append(self.id)
            raise Refused("no")

    async with SingleThreadedAgentRuntime() as runtime:
        await Last.register(runtime, "actor", Last)
        for id in (A, B):
            await runtime.get(id, lazy=False)
        with pytest.raises(BaseExceptionGroup) as caught:
            await runtime.close()
        assert [type(exc) for exc in caught.value.exceptions] == [Refused, Refused]
    assert closed == [A, B]
