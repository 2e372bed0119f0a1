"""Handlers that do not give the event loop's thread back, and handlers that a stop waits for.

The thread that watches is real in most tests. A handler blocks until its report has arrived, so no
test depends on how long anything takes. Where nothing is to be reported the test keeps the time.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import coroutine
from typing import Any

import pytest

from trio_agents import (
    EVENT_LOGGER_NAME,
    AgentId,
    BaseAgent,
    DefaultInterventionHandler,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from trio_agents._core import _watchdog
from trio_agents.logging import EventLoopBlockedEvent, EventLoopReleasedEvent

from . import loop
from .loop import MockClock, SingleThreadedAgentRuntime, open_nursery, open_runtime

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

A, B = AgentId("actor", "a"), AgentId("actor", "b")
NEWS = TopicId("news", "a")
PATIENCE = 20  # seconds, before a test is said to hang


class Actor(BaseAgent):
    """Does what the message says: messages are functions."""

    def __init__(self) -> None:
        super().__init__("an actor")

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)


class Reports(logging.Handler):
    """Keeps what is reported, and lets another thread wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Any] = []
        self.threads: list[str] = []
        self.came = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.WARNING
        with self.came:
            self.all.append(record.msg)
            self.threads.append(record.threadName or "")
            self.came.notify_all()

    def block_until(self, number: int) -> None:
        """Block this thread until so many reports have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.all) >= number, PATIENCE)


@pytest.fixture
def reports() -> Iterator[Reports]:
    handler = Reports()
    logger = logging.getLogger(EVENT_LOGGER_NAME)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def by_name(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


# --- a thread that is blocked


async def test_a_handler_that_blocks_is_reported_with_agent_message_and_stack(
    reports: Reports,
) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        reports.block_until(1)

    async with open_runtime(blocked_after=0.001) as runtime:
        await Actor.register(runtime, "actor", Actor)
        await runtime.send_message(act, A)
    blocked = reports.all[0]
    assert type(blocked) is EventLoopBlockedEvent
    assert blocked.agent_id == A
    assert blocked.message_type == "function"
    assert blocked.seconds >= 0.001
    functions = [line.rpartition(".")[2] for line in blocked.stack]
    assert functions.index("act") < functions.index("block_until")
    assert blocked.stack[0].endswith("in Actor.on_message_impl")  # nothing of what calls handlers
    assert __file__ in blocked.stack[0]
    assert json.loads(str(blocked))["agent_id"] == "actor/a"


async def test_the_end_of_a_blockage_is_reported_with_its_duration(reports: Reports) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        reports.block_until(1)

    async with open_runtime(blocked_after=0.001) as runtime:
        await Actor.register(runtime, "actor", Actor)
        await runtime.send_message(act, A)
    # What the thread has to say is said when the block has been left.
    blocked, released = reports.all
    assert type(released) is EventLoopReleasedEvent
    assert (released.agent_id, released.message_type) == (A, "function")
    assert released.seconds >= blocked.seconds
    assert set(reports.threads) == {"trio_agents watchdog"}


async def test_two_blockages_are_reported_each(reports: Reports) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        reports.block_until(1)
        await loop.checkpoint()
        reports.block_until(3)

    async with open_runtime(blocked_after=0.001) as runtime:
        await Actor.register(runtime, "actor", Actor)
        await runtime.send_message(act, A)
    kinds = [type(event) for event in reports.all]
    assert kinds == [EventLoopBlockedEvent, EventLoopReleasedEvent] * 2


@pytest.mark.parametrize("place", ["factory", "interception"])
async def test_whatever_runs_for_a_message_is_watched(reports: Reports, place: str) -> None:
    class Intervener(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            if place == "interception":
                reports.block_until(1)
            return message

    def factory() -> Actor:
        if place == "factory":
            reports.block_until(1)
        return Actor()

    async def act(agent: Actor, ctx: MessageContext) -> str:
        return "answer"

    async with open_runtime(blocked_after=0.001, intervention_handlers=[Intervener()]) as runtime:
        await runtime.register_factory("actor", factory)
        assert await runtime.send_message(act, A) == "answer"
    assert reports.all[0].agent_id == A


async def test_a_task_that_a_handler_has_started_is_reported_without_a_name(
    reports: Reports,
) -> None:
    async def child() -> None:
        reports.block_until(1)

    async def act(agent: Actor, ctx: MessageContext) -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child)

    async with open_runtime(blocked_after=0.001) as runtime:
        await Actor.register(runtime, "actor", Actor)
        await runtime.send_message(act, A)
    blocked, released = reports.all
    assert blocked.agent_id is None
    assert blocked.message_type is None
    assert any(line.endswith("child") for line in blocked.stack)
    assert "in test_a_task" not in blocked.stack[0]  # all of it, from where the thread began
    assert released.agent_id is None
    assert released.seconds >= blocked.seconds


async def test_no_thread_is_left_by_the_block_and_none_is_there_without_the_option() -> None:
    async with open_runtime(blocked_after=5) as runtime:
        (thread,) = by_name("trio_agents watchdog")
        assert not thread.daemon
        assert runtime.is_started()
    assert not thread.is_alive()
    async with open_runtime():
        assert not by_name("trio_agents watchdog")


async def test_the_thread_ends_with_a_block_that_is_left_by_an_exception() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_runtime(blocked_after=5):
            (thread,) = by_name("trio_agents watchdog")
            raise ZeroDivisionError
    assert not thread.is_alive()


async def test_each_block_of_a_runtime_is_watched(reports: Reports) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        reports.block_until(len(reports.all) + 1)

    runtime = SingleThreadedAgentRuntime(blocked_after=0.001)
    await Actor.register(runtime, "actor", Actor)
    for _ in range(2):
        async with runtime:
            runtime.start()
            await runtime.send_message(act, A)
            await runtime.stop_when_idle()
    assert len(reports.all) == 4


@pytest.mark.only_on("asyncio", "on trio there is no start without a block")
async def test_the_thread_lives_from_start_to_stop() -> None:
    runtime = SingleThreadedAgentRuntime(blocked_after=5)
    runtime.start()
    await runtime.register_factory("actor", Actor)
    await runtime.send_message(answers, A)
    (thread,) = by_name("trio_agents watchdog")
    await runtime.stop()
    assert not thread.is_alive()


async def answers(agent: Actor, ctx: MessageContext) -> str:
    return "answer"


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="blocked_after must be a positive number of seconds"):
        SingleThreadedAgentRuntime(blocked_after=seconds)


# --- who is not reported: here the test keeps the time, and looks where the thread would


class Kept:
    """A watchdog whose thread rests: the test says what time it is, and when to look."""

    def __init__(self, runtime: Any) -> None:
        self.now = 100.0
        self.dog: _watchdog.Watchdog = runtime._watchdog
        self.dog.clock = lambda: self.now

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the thread look as often as it would."""
        end = self.now + seconds
        while True:
            step = self.dog.look()
            if self.now + step > end:
                break
            self.now += step
        self.now = end


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def rest(self: _watchdog.Watchdog, watched: threading.Thread) -> None:
        pass

    monkeypatch.setattr(_watchdog.Watchdog, "_watch", rest)


@pytest.mark.usefixtures("no_thread")
async def test_a_handler_that_only_waits_is_never_reported(reports: Reports) -> None:
    go = loop.Event()

    async def act(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()

    async with open_runtime(blocked_after=1) as runtime:
        await Actor.register(runtime, "actor", Actor)
        kept = Kept(runtime)
        async with open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, act, A)
            for _ in range(5):
                await loop.wait_all_tasks_blocked()  # the loop has answered
                kept.pass_time(0.9)
            go.set()
    assert reports.all == []


@pytest.mark.usefixtures("no_thread")
async def test_many_short_steps_are_not_taken_for_a_long_one(reports: Reports) -> None:
    async with open_runtime(blocked_after=1) as runtime:
        await Actor.register(runtime, "actor", Actor)
        kept = Kept(runtime)

        async def act(agent: Actor, ctx: MessageContext) -> None:
            for _ in range(5):
                kept.pass_time(0.9)
                await loop.checkpoint()

        async with open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(runtime.send_message, act, A)
    assert reports.all == []


@pytest.mark.usefixtures("no_thread")
async def test_it_is_reported_when_the_time_is_over_and_once(reports: Reports) -> None:
    async with open_runtime(blocked_after=1) as runtime:
        await Actor.register(runtime, "actor", Actor)
        kept = Kept(runtime)

        async def act(agent: Actor, ctx: MessageContext) -> None:
            kept.pass_time(0.5)
            assert reports.all == []
            kept.pass_time(0.5)
            kept.dog.look()
            assert [event.seconds for event in reports.all] == [1.0]
            kept.pass_time(30)
            assert len(reports.all) == 1

        await runtime.send_message(act, A)
        kept.dog.look()
    assert [event.seconds for event in reports.all] == [1.0, 31.0]


@pytest.mark.usefixtures("no_thread")
async def test_a_loop_without_messages_is_left_alone(reports: Reports) -> None:
    async with open_runtime(blocked_after=1) as runtime:
        kept = Kept(runtime)
        called: list[object] = []
        kept.dog._home = kept.dog._home._replace(call_soon=called.append)
        kept.pass_time(30)
    assert called == []
    assert reports.all == []


@pytest.mark.usefixtures("no_thread")
async def test_a_step_that_ends_while_the_thread_looks_at_it_is_not_reported(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runtime(blocked_after=1) as runtime:
        await Actor.register(runtime, "actor", Actor)
        kept = Kept(runtime)

        def ended(*args: Any) -> tuple[str, ...]:
            kept.dog.step = None
            return ()

        async def act(agent: Actor, ctx: MessageContext) -> None:
            monkeypatch.setattr(_watchdog, "stack_of_thread", ended)
            kept.now += 2
            kept.dog.look()

        await runtime.send_message(act, A)
        kept.dog.look()
    assert reports.all == []


@pytest.mark.usefixtures("no_thread")
async def test_a_watched_handler_is_cancelled_and_fails_as_any_other(
    autojump_clock: MockClock,
) -> None:
    cleaned: list[str] = []

    async def waits(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            cleaned.append("cleaned")

    async def survives(agent: Actor, ctx: MessageContext) -> str:
        with loop.move_on_after(1):
            await loop.sleep_forever()
        return "survived"

    async def fails(agent: Actor, ctx: MessageContext) -> None:
        await loop.checkpoint()
        raise ZeroDivisionError

    async with open_runtime(blocked_after=1) as runtime:
        await Actor.register(runtime, "actor", Actor)
        with loop.move_on_after(1):
            await runtime.send_message(waits, A)
        assert cleaned == ["cleaned"]
        assert await runtime.send_message(survives, A) == "survived"
        with pytest.raises(ZeroDivisionError):
            await runtime.send_message(fails, A)
        counts = runtime.statistics()
    assert (counts.cancelled, counts.handled, counts.failed) == (1, 1, 1)


# --- handlers that go on though a stop has cancelled them


@coroutine
def waits_by_hand(work: Any) -> Any:
    return (yield from work)


@contextmanager
def stubborn_lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    caplog.set_level(logging.WARNING, "autogen_core")
    lines: list[str] = []
    yield lines
    lines += [r.getMessage() for r in caplog.records if r.getMessage().startswith("stop() waits")]


@pytest.mark.parametrize("watched", [False, True])
async def test_a_stop_says_where_a_handler_that_goes_on_stands(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock, watched: bool
) -> None:
    go = loop.Event()

    async def stay() -> None:
        try:
            await go.wait()
        finally:
            with loop.CancelScope(shield=True):
                await go.wait()

    async def act(agent: Actor, ctx: MessageContext) -> None:
        await waits_by_hand(stay())

    options = {"blocked_after": 60} if watched else {}
    async with SingleThreadedAgentRuntime(**options) as runtime:
        await Actor.register(runtime, "actor", Actor)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        runtime.start()
        await runtime.publish_message(act, NEWS)
        await loop.wait_all_tasks_blocked()
        async with open_nursery() as nursery:
            with stubborn_lines(caplog) as lines:
                deadline = loop.current_time() + 1

                async def stop() -> None:
                    await runtime.stop(deadline=deadline)

                nursery.start_soon(stop)
                await loop.sleep(2.5)
            go.set()
    (line,) = lines
    assert "waits for agent actor/a: its handler of a function was cancelled 1 seconds ago" in line
    where = line.partition("goes on at ")[2].split(" > ")
    assert where[0].endswith("in Actor.on_message_impl")  # the application's code, from the outside
    names = [place.rpartition(" in ")[2].rpartition(".")[2] for place in where]
    assert names[:4] == ["on_message_impl", "act", "waits_by_hand", "stay"]
    number = int(where[3].partition(" in ")[0].rpartition(":")[2])
    assert number == stay.__code__.co_firstlineno + 5  # the shielded wait
    assert where[3].startswith(f"{__file__}:")


async def test_it_says_so_of_one_that_waits_in_an_intervention_handler(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    go = loop.Event()

    class Patient(DefaultInterventionHandler):
        async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
            try:
                await go.wait()
            except loop.Cancelled:
                with loop.CancelScope(shield=True):
                    await go.wait()
                raise
            return message

    async with SingleThreadedAgentRuntime(intervention_handlers=[Patient()]) as runtime:
        await Actor.register(runtime, "actor", Actor)
        await runtime.add_subscription(TypeSubscription("news", "actor"))
        runtime.start()
        await runtime.publish_message(answers, NEWS)
        await loop.wait_all_tasks_blocked()
        async with open_nursery() as nursery:
            with stubborn_lines(caplog) as lines:
                deadline = loop.current_time() + 1

                async def stop() -> None:
                    await runtime.stop(deadline=deadline)

                nursery.start_soon(stop)
                await loop.sleep(2.5)
            go.set()
    (line,) = lines
    assert "waits for topic news/a: " in line
    assert "Patient.on_publish" in line.partition("goes on at ")[2].split(" > ")[0]
