"""What goes wrong in autogen-core 0.7.5, rebuilt: each fault was measured there and passes here.

Every test says in a comment which fault it rebuilds, and what is seen of it there.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from trio_agents import (
    JSON_DATA_CONTENT_TYPE,
    AgentId,
    CancellationToken,
    ClosureAgent,
    ClosureContext,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    RoutedAgent,
    SerializationRegistry,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    event,
    message_handler,
    try_get_known_serializers_for_type,
    type_subscription,
)
from trio_agents.exceptions import (
    CantHandleException,
    MessageDecodeError,
    MessageDroppedException,
    Overloaded,
    UndeliverableException,
)

from . import loop
from .loop import MockClock, SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

NEWS = TopicId("news", "default")


@dataclass
class Task:
    text: str


@dataclass
class UrgentTask(Task):
    pass


Handle = Callable[["Worker", Task, MessageContext], Awaitable[Any]]


class Worker(RoutedAgent):
    """An agent that handles tasks with a function of the test's."""

    def __init__(self, handle: Handle) -> None:
        super().__init__("works")
        self._handle = handle

    @message_handler
    async def on_task(self, message: Task, ctx: MessageContext) -> Any:
        return await self._handle(self, message, ctx)


async def add_worker(
    runtime: SingleThreadedAgentRuntime, name: str, handle: Handle, **options: Any
) -> AgentId:
    """Register a worker that hears the news; give the id of the one that does."""
    await Worker.register(runtime, name, lambda: Worker(handle), **options)
    await runtime.add_subscription(TypeSubscription("news", name))
    return AgentId(name, "default")


class Log:
    """A handler that notes what it is given; messages with a number for a text take so long."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []

    async def __call__(self, agent: Worker, message: Task, ctx: MessageContext) -> str:
        self.begun.append(message.text)
        try:
            await loop.sleep(float(message.text))
        except loop.Cancelled:
            self.cancelled.append(message.text)
            raise
        self.ended.append(message.text)
        return message.text


async def fail(agent: Worker, message: Task, ctx: MessageContext) -> NoReturn:
    raise ValueError(f"{agent.id.type} cannot {message.text}")


@pytest.fixture
def log() -> Log:
    return Log()


async def send_all(
    runtime: SingleThreadedAgentRuntime, recipient: AgentId, texts: list[str]
) -> dict[str, Any]:
    """Send a task for each text, in this order; give what came of each."""
    results: dict[str, Any] = {}

    async def send(text: str, task_status: Any) -> None:
        # `started` does not wait, and the send is queued before it first does: order is kept.
        task_status.started()
        try:
            results[text] = await runtime.send_message(Task(text), recipient)
        except (Exception, loop.MessageCancelled) as error:
            results[text] = error

    async with loop.open_nursery() as nursery:
        for text in texts:
            await nursery.start(send, text)
    return results


# --- what users ran into

SLOWER_FIRST = ["5", "4", "3", "2", "1"]


# fault: P1, five quick messages to one agent overlap inside it, and the last ends first. Without a
# limit they do so here too (an agent may ask itself, see P14), but they begin in order.
async def test_handlers_of_one_agent_begin_in_order(autojump_clock: MockClock, log: Log) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        await send_all(runtime, worker, SLOWER_FIRST)
    assert log.begun == SLOWER_FIRST
    assert log.ended == SLOWER_FIRST[::-1]


# fault: P1, and there is no way to have one at a time
async def test_a_limit_of_one_serialises_an_agent(autojump_clock: MockClock, log: Log) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log, max_concurrency=1)
        assert await send_all(runtime, worker, SLOWER_FIRST) == {t: t for t in SLOWER_FIRST}
    assert log.begun == log.ended == SLOWER_FIRST


# fault: five publications of one publisher to one agent end in reverse order
async def test_publications_to_a_limited_agent_end_in_order(
    autojump_clock: MockClock, log: Log
) -> None:
    async with open_runtime() as runtime:
        await add_worker(runtime, "worker", log, max_concurrency=1)
        for text in SLOWER_FIRST:
            await runtime.publish_message(Task(text), NEWS)
    assert log.begun == log.ended == SLOWER_FIRST


# fault: P2, an async factory is called once for each message that comes while it runs: ten
# messages to one id leave ten agents, nine of them lost
async def test_an_async_factory_makes_one_agent_for_an_id(autojump_clock: MockClock) -> None:
    made: list[Worker] = []

    async def who(agent: Worker, message: Task, ctx: MessageContext) -> Worker:
        return agent

    async def make() -> Worker:
        await loop.sleep(0.02)
        made.append(Worker(who))
        return made[-1]

    async with open_runtime() as runtime:
        await Worker.register(runtime, "worker", make)
        texts = [str(n) for n in range(10)]
        answers = await send_all(runtime, AgentId("worker", "default"), texts)
    (only,) = made
    assert all(answer is only for answer in answers.values())


# fault: P3, of three subscribers two fail: `stop_when_idle` returns while the third runs
async def test_idle_waits_for_the_subscriber_beside_those_that_failed(
    autojump_clock: MockClock, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        await add_worker(runtime, "first", fail)
        await add_worker(runtime, "slow", log)
        await add_worker(runtime, "second", fail)
        runtime.start()
        await runtime.publish_message(Task("0.2"), NEWS)
        await runtime.stop_when_idle()
        assert log.ended == ["0.2"]
        assert (runtime.statistics().failed, runtime.statistics().handled) == (2, 1)
    # By default nobody sees the errors there. Here each is logged, with its traceback.
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [str(record.exc_info[1]) for record in errors if record.exc_info] == [
        "first cannot 0.2",
        "second cannot 0.2",
    ]


# fault: P3, with `ignore_unhandled_exceptions=False` one of two errors is raised, the other lost
async def test_every_failure_of_a_publication_is_raised(
    autojump_clock: MockClock, log: Log
) -> None:
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_worker(runtime, "first", fail)
        await add_worker(runtime, "slow", log)
        await add_worker(runtime, "second", fail)
        runtime.start()
        await runtime.publish_message(Task("0.2"), NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        assert [str(e) for e in caught.value.exceptions] == [
            "first cannot 0.2",
            "second cannot 0.2",
        ]
        for error, name in zip(caught.value.exceptions, ["first", "second"], strict=True):
            assert f"agent {name}/default" in error.__notes__[0]
        assert log.ended == ["0.2"]


class Drop(DefaultInterventionHandler):
    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        return DropMessage


# fault: P4, once a publication was dropped `stop_when_idle` never returns
async def test_a_dropped_publication_is_finished(autojump_clock: MockClock, log: Log) -> None:
    async with SingleThreadedAgentRuntime(intervention_handlers=[Drop()]) as runtime:
        worker = await add_worker(runtime, "worker", log)
        runtime.start()
        await runtime.publish_message(Task("1"), NEWS)
        await runtime.send_message(Task("2"), worker)
        with loop.fail_after(10):
            await runtime.stop_when_idle()
        assert runtime.statistics().dropped == 1
    assert log.ended == ["2"]


# fault: P5, after the token was cancelled the handler runs on to its end
async def test_a_cancelled_token_cancels_the_handler(autojump_clock: MockClock, log: Log) -> None:
    token = CancellationToken()
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(cancel_when_blocked, token)
            with pytest.raises(loop.MessageCancelled):
                await runtime.send_message(Task("60"), worker, cancellation_token=token)
            # The sender resumes after the handler has unwound, not before.
            assert log.cancelled == ["60"]
    assert log.ended == []


async def cancel_when_blocked(target: CancellationToken | loop.CancelScope) -> None:
    await wait_all_tasks_blocked()
    target.cancel()


# fault: P5, after the sender's task was cancelled the handler runs on to its end
async def test_a_cancelled_sender_cancels_the_handler(autojump_clock: MockClock, log: Log) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        with loop.move_on_after(0.05) as scope:
            await runtime.send_message(Task("60"), worker)
        assert scope.cancelled_caught
        assert log.cancelled == ["60"]
        assert runtime.statistics().pending == 0
    assert log.ended == []


# fault: P6, `stop` during a request: it returns at once, the handler runs on, and the caller gets
# neither an answer nor an error
async def test_stop_waits_for_the_handler_and_its_caller_is_answered(
    autojump_clock: MockClock, log: Log
) -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        runtime.start()
        async with loop.open_nursery() as nursery:
            nursery.start_soon(stop_when_blocked, runtime)
            assert await runtime.send_message(Task("3"), worker) == "3"
        assert runtime.statistics().running == 0
        assert loop.current_time() >= 3


async def stop_when_blocked(
    runtime: SingleThreadedAgentRuntime, patience: float = math.inf
) -> None:
    await wait_all_tasks_blocked()
    await runtime.stop(deadline=loop.current_time() + patience)


# fault: P6, and there is no way to stop a handler that does not end
async def test_stop_with_a_deadline_cancels_the_handler_and_tells_the_caller(
    autojump_clock: MockClock, log: Log
) -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        runtime.start()
        async with loop.open_nursery() as nursery:
            nursery.start_soon(stop_when_blocked, runtime, 2.0)
            with pytest.raises(loop.MessageCancelled):
                await runtime.send_message(Task("60"), worker)
        assert log.cancelled == ["60"]
        assert loop.current_time() < 60


# fault: P7, 2,000 keys used once leave 2,000 agents, and there is no call to remove one
async def test_agents_used_once_are_let_go(autojump_clock: MockClock, log: Log) -> None:
    class Stateless(Worker):
        async def save_state(self) -> Mapping[str, Any]:
            return {}

    async with open_runtime() as runtime:
        await Stateless.register(runtime, "worker", lambda: Stateless(log), idle_timeout=10)
        await runtime.add_subscription(TypeSubscription("news", "worker"))
        for n in range(2000):
            await runtime.publish_message(Task("0"), TopicId("news", str(n)))
        await loop.sleep(9)
        assert runtime.statistics().handled == 2000
        assert runtime.statistics().agents == 2000
        await loop.sleep(20)
        assert runtime.statistics().agents == 0


# fault: P7, the same by hand
async def test_an_agent_can_be_removed(autojump_clock: MockClock, log: Log) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        await runtime.send_message(Task("0"), worker)
        await runtime.deactivate(worker)
        assert runtime.statistics().agents == 0


# fault: P8, 20,000 publications to a slow agent are all accepted at once, and 200,000 take the
# process from 43 to 230 MB: nothing pushes back
async def test_a_bounded_runtime_makes_publishers_wait(autojump_clock: MockClock, log: Log) -> None:
    pending: list[int] = []
    async with open_runtime(max_pending=10) as runtime:
        await add_worker(runtime, "worker", log, max_concurrency=1)
        for _ in range(100):
            await runtime.publish_message(Task("1"), NEWS)
            pending.append(runtime.statistics().pending)
        assert loop.current_time() >= 90
    assert max(pending) == 10
    assert len(log.ended) == 100


# fault: P8, at one agent's mailbox
async def test_a_bounded_mailbox_makes_publishers_wait(autojump_clock: MockClock, log: Log) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log, max_concurrency=1, mailbox_size=5)
        for _ in range(50):
            await runtime.publish_message(Task("1"), NEWS)
            assert runtime.statistics().mailboxes.get(worker, 0) <= 5
        assert loop.current_time() >= 40
    assert len(log.ended) == 50


# fault: P8, and no way to refuse instead
async def test_a_bounded_runtime_may_refuse_instead(log: Log) -> None:
    async with SingleThreadedAgentRuntime(max_pending=10, overflow="raise") as runtime:
        await add_worker(runtime, "worker", log)
        for _ in range(10):
            await runtime.publish_message(Task("0"), NEWS)
        with pytest.raises(Overloaded):
            await runtime.publish_message(Task("0"), NEWS)
        assert runtime.statistics().accepted == 10
        runtime.start()
        await runtime.stop_when_idle()
    assert len(log.ended) == 10


# fault: P9, a publication that nobody subscribed to vanishes without a trace
async def test_a_publication_without_subscribers_is_a_dead_letter() -> None:
    async with open_runtime() as runtime:
        await runtime.publish_message(Task("lost"), NEWS)
        await wait_all_tasks_blocked()
        (letter,) = runtime.statistics().dead_letters
        assert (letter.message, letter.topic, letter.recipient) == (Task("lost"), NEWS, None)
        assert "no subscription" in letter.reason


# fault: P10, a subclass of a handled type is not handled, and its sender gets None
async def test_a_subclass_of_a_handled_type_is_handled(log: Log) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        assert await runtime.send_message(UrgentTask("0"), worker) == "0"


# fault: P11, a request that no handler accepts is answered with None. Here too, as programs count
# on it, with a line in the log; a strict runtime tells the sender.
async def test_a_request_that_nobody_handles_is_logged_or_an_error(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        with caplog.at_level(logging.INFO, "autogen_core"):
            assert await runtime.send_message("what?", worker) is None
    (record,) = (r for r in caplog.records if r.name == "autogen_core")
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("Unhandled message")
    async with open_runtime(strict=True) as runtime:
        worker = await add_worker(runtime, "worker", log)
        with pytest.raises(CantHandleException):
            await runtime.send_message("what?", worker)


class Veto(DefaultInterventionHandler):
    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        raise ValueError("not this one")


# fault: P12, an intervention handler that raises on a publication: the error is lost even with
# `ignore_unhandled_exceptions=False`, and `stop_when_idle` hangs
async def test_the_failure_of_an_intervention_on_publish_is_raised(
    autojump_clock: MockClock, log: Log
) -> None:
    async with SingleThreadedAgentRuntime(
        intervention_handlers=[Veto()], ignore_unhandled_exceptions=False
    ) as runtime:
        await add_worker(runtime, "worker", log)
        runtime.start()
        await runtime.publish_message(Task("0"), NEWS)
        with loop.fail_after(10), loop.raises_failures() as caught:
            await runtime.stop_when_idle()
    assert [str(error) for error in caught.value.exceptions] == ["not this one"]
    assert log.begun == []


# fault: P13, the message parameter of a handler must be called `message`
async def test_the_parameters_of_a_handler_may_have_any_names() -> None:
    class Free(RoutedAgent):
        @message_handler
        async def handle(self, task: Task, _: MessageContext) -> str:
            return task.text

    async with open_runtime() as runtime:
        await Free.register(runtime, "free", lambda: Free("has its own words"))
        assert await runtime.send_message(Task("x"), AgentId("free", "default")) == "x"


# fault: P14 is none: A asks B asks A, and A asks itself. They must go on working, also where an
# agent handles one message at a time.
@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("route", [["a", "b", "a"], ["a", "a"], ["a", "a", "b", "b", "a"]])
async def test_agents_that_ask_each_other_in_a_circle_are_answered(
    limit: int | None, route: list[str], autojump_clock: MockClock
) -> None:
    async def pass_on(agent: Worker, message: Task, ctx: MessageContext) -> str:
        here, _, rest = message.text.partition(" ")
        if not rest:
            return here
        recipient = AgentId(rest[0], "default")
        return f"{here} {await agent.send_message(Task(rest), recipient)}"

    async with open_runtime() as runtime:
        for name in ("a", "b"):
            await add_worker(runtime, name, pass_on, max_concurrency=limit)
        with loop.fail_after(10):
            answer = await runtime.send_message(Task(" ".join(route)), AgentId("a", "default"))
    assert answer == " ".join(route)


# --- what was measured under faults


@dataclass
class Inexpressible:
    numbers: set[object]


# fault: a reply of a registered type that JSON cannot express: its sender hangs, and so does
# `stop_when_idle`, because the reply is serialised for the log
@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO, logging.DEBUG])
async def test_a_message_that_json_cannot_express_is_delivered_and_logged(
    level: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Echo(RoutedAgent):
        @message_handler
        async def echo(self, message: Inexpressible, ctx: MessageContext) -> Inexpressible:
            return message

    message = Inexpressible({object()})
    with caplog.at_level(level, "autogen_core"):
        async with open_runtime() as runtime:
            await Echo.register(runtime, "echo", lambda: Echo("repeats"))
            with loop.fail_after(10):
                reply = await runtime.send_message(message, AgentId("echo", "default"))
    assert reply is message
    texts = [str(r.msg) for r in caplog.records if r.name == "autogen_core.events"]
    assert len(texts) == (0 if level == logging.WARNING else 4)
    if level == logging.DEBUG:
        assert all("Message could not be serialized" in text for text in texts)


# fault: two classes of one name break the delivery of either
async def test_two_message_classes_of_one_name_do_not_disturb_each_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @dataclass
    class Task:  # another one
        number: int

    class Counter(RoutedAgent):
        @message_handler
        async def count(self, message: Task, ctx: MessageContext) -> int:
            return message.number + 1

    async def shout(agent: Worker, message: Any, ctx: MessageContext) -> str:
        return f"{message.text}!"

    with caplog.at_level(logging.DEBUG, "autogen_core"):
        async with open_runtime() as runtime:
            worker = await add_worker(runtime, "worker", shout)
            await Counter.register(runtime, "counter", lambda: Counter("counts"))
            assert await runtime.send_message(Task(1), AgentId("counter", "default")) == 2
            assert await runtime.send_message(globals()["Task"]("a"), worker) == "a!"


# fault: `stop` with fifty requests queued: all fifty senders hang
async def test_stop_tells_the_senders_of_what_is_queued(
    autojump_clock: MockClock, log: Log
) -> None:
    results: dict[str, Any] = {}
    texts = [f"{n}.0" for n in range(1, 52)]
    async with SingleThreadedAgentRuntime() as runtime:
        worker = await add_worker(runtime, "worker", log, max_concurrency=1)
        runtime.start()
        async with loop.open_nursery() as nursery:
            nursery.start_soon(stop_when_blocked, runtime)
            with loop.fail_after(10):
                results = await send_all(runtime, worker, texts)
        statistics = runtime.statistics()
    assert results.pop("1.0") == "1.0"  # it ran when stop was called
    assert len(results) == 50
    assert all(isinstance(result, UndeliverableException) for result in results.values())
    assert (statistics.handled, statistics.undeliverable, statistics.pending) == (1, 50, 0)


# fault: where the factory of one subscriber raises, no subscriber gets the message
async def test_a_failing_factory_does_not_keep_a_publication_from_the_others(log: Log) -> None:
    def cannot() -> NoReturn:
        raise OSError("no such thing")

    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await runtime.register_factory("broken", cannot)
        await runtime.add_subscription(TypeSubscription("news", "broken"))
        await add_worker(runtime, "worker", log)
        runtime.start()
        await runtime.publish_message(Task("0"), NEWS)
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
    assert [type(error) for error in caught.value.exceptions] == [OSError]
    assert log.ended == ["0"]


# fault: `save_state` while agents are being made: "dictionary changed size during iteration"
async def test_state_can_be_saved_while_agents_are_made(autojump_clock: MockClock) -> None:
    class Keeper(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("keeps what it was told")
            self.texts: list[str] = []

        @event
        async def keep(self, message: Task, ctx: MessageContext) -> None:
            await loop.sleep(1)
            self.texts.append(message.text)

        async def save_state(self) -> Mapping[str, Any]:
            await loop.sleep(0.1)
            return {"texts": self.texts}

    async def make() -> Keeper:
        await loop.sleep(1)
        return Keeper()

    async with open_runtime() as runtime:
        await Keeper.register(runtime, "keeper", make)
        await runtime.add_subscription(TypeSubscription("news", "keeper"))
        for n in range(5):
            await runtime.publish_message(Task(f"{n}"), TopicId("news", f"{n}"))
        await wait_all_tasks_blocked()
        async with loop.open_nursery() as nursery:

            async def publish_more() -> None:
                for n in range(5, 10):
                    await runtime.publish_message(Task(f"{n}"), TopicId("news", f"{n}"))

            nursery.start_soon(publish_more)
            state = await runtime.save_state()
    # One cut: each agent has handled its message wholly, or not at all.
    assert state == {f"keeper/{n}": {"texts": [f"{n}"]} for n in range(len(state))}
    assert len(state) >= 5


# fault: a token's callback that asks the token a question blocks its thread for ever
async def test_a_callback_may_use_its_token() -> None:
    token = CancellationToken()
    seen: list[object] = []
    token.add_callback(lambda: seen.append(token.is_cancelled()))
    token.add_callback(lambda: token.add_callback(lambda: seen.append("later")))
    token.add_callback(token.cancel)
    thread = threading.Thread(target=token.cancel, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert seen == [True, "later"]


# fault: one token used for 2,000 requests that have ended keeps 2,000 callbacks
async def test_a_token_keeps_nothing_of_messages_that_have_ended(log: Log) -> None:
    token = CancellationToken()
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        for _ in range(1000):
            await runtime.send_message(Task("0"), worker, cancellation_token=token)
            await runtime.publish_message(Task("0"), NEWS, cancellation_token=token)
    assert len(log.ended) == 2000
    assert not token._links


class AddOne(DefaultInterventionHandler):
    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        return Task(f"{float(message.text) + 1}")


# fault: of two intervention handlers that each add one, the second gets the original message
async def test_intervention_handlers_see_what_the_one_before_made(
    autojump_clock: MockClock, log: Log
) -> None:
    async with open_runtime(intervention_handlers=[AddOne(), AddOne()]) as runtime:
        worker = await add_worker(runtime, "worker", log)
        assert await runtime.send_message(Task("0"), worker) == "2.0"


# fault, arguable: `SystemExit` in a handler ends the sender's program unless it catches it. It is
# the sender's here too: a send is a call.
@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, StopIteration])
async def test_the_sender_gets_whatever_the_handler_raised(kind: type[BaseException]) -> None:
    error = kind("as you like")

    async def give_up(agent: Worker, message: Task, ctx: MessageContext) -> NoReturn:
        raise error

    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", give_up)
        try:
            await runtime.send_message(Task("0"), worker)
        except BaseException as exc:
            caught: BaseException | None = exc
        else:
            caught = None
        assert caught is not None
        # A coroutine cannot raise a StopIteration: Python itself makes a RuntimeError of it.
        assert caught is error or caught.__cause__ is error
        assert runtime.statistics().pending == 0


# fault: JSON 5,000 levels deep is a RecursionError, NaN and duplicate keys are accepted
@pytest.mark.parametrize(
    "payload",
    [
        b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"text": NaN}',
        b'{"text": "a", "text": "b"}',
        b'{"text": ' + b"9" * 5000 + b"}",
    ],
    ids=["deep", "NaN", "duplicate key", "huge integer"],
)
def test_hostile_json_is_an_error_that_says_so(payload: bytes) -> None:
    registry = SerializationRegistry()
    registry.add_serializer(try_get_known_serializers_for_type(Task))
    with pytest.raises(MessageDecodeError):
        registry.deserialize(payload, type_name="Task", data_content_type=JSON_DATA_CONTENT_TYPE)


# fault: ids with NUL, a newline, an override of the writing direction or 100,000 characters are
# accepted, and end up in logs and file names
@pytest.mark.parametrize(
    "key", ["a\0b", "a\nb", "a\u202eb", "x" * 100_000], ids=["NUL", "newline", "RTL", "long"]
)
def test_hostile_ids_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="agent key"):
        AgentId("worker", key)
    with pytest.raises(ValueError, match="topic source"):
        TopicId("news", key)


# fault: none, an agent may ask itself 5,000 deep. That must stay so.
@pytest.mark.parametrize("limit", [None, 1])
async def test_an_agent_asks_itself_five_thousand_deep(limit: int | None) -> None:
    async def count_down(agent: Worker, message: Task, ctx: MessageContext) -> int:
        n = int(message.text)
        return 0 if n == 0 else 1 + await agent.send_message(Task(str(n - 1)), agent.id)

    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", count_down, max_concurrency=limit)
        assert await runtime.send_message(Task("5000"), worker) == 5000


# --- what its code does when two things go wrong at once


# fault: the sender gave up, then the handler fails: the count never comes down, and
# `stop_when_idle` hangs
async def test_a_handler_that_fails_after_its_sender_gave_up_is_finished(
    autojump_clock: MockClock,
) -> None:
    async def fail_late(agent: Worker, message: Task, ctx: MessageContext) -> None:
        try:
            await loop.sleep(60)
        finally:
            raise ValueError("while cleaning up")

    async with SingleThreadedAgentRuntime() as runtime:
        worker = await add_worker(runtime, "worker", fail_late)
        runtime.start()
        # Its error is not lost either: the sender was still there to be told.
        with pytest.raises(ValueError, match="while cleaning up"):
            with loop.move_on_after(1):
                await runtime.send_message(Task("0"), worker)
        with loop.fail_after(10):
            await runtime.stop_when_idle()


class SpoilReplies(DefaultInterventionHandler):
    def __init__(self, how: str) -> None:
        self._how = how

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        if message == "spoil" and self._how == "raise":
            raise ValueError("no such reply")
        return DropMessage if message == "spoil" else message


# fault: the sender gave up, then an intervention drops its reply or raises: the loop that runs
# everything dies, and every later message hangs
@pytest.mark.parametrize("how", ["drop", "raise"])
async def test_an_intervention_on_a_reply_that_nobody_waits_for_disturbs_nobody(
    how: str, autojump_clock: MockClock, log: Log
) -> None:
    async def answer_anyway(agent: Worker, message: Task, ctx: MessageContext) -> str:
        with loop.CancelScope(shield=True):
            await loop.sleep(5)
        return "spoil"

    async with open_runtime(intervention_handlers=[SpoilReplies(how)]) as runtime:
        stubborn = await add_worker(runtime, "stubborn", answer_anyway)
        worker = await add_worker(runtime, "worker", log)
        with loop.move_on_after(1), suppress(ValueError, MessageDroppedException):
            await runtime.send_message(Task("0"), stubborn)
        with loop.fail_after(10):
            assert await runtime.send_message(Task("1"), worker) == "1"


# fault: with `ignore_unhandled_exceptions=False` one failing publication hangs all queued requests
async def test_a_failing_publication_leaves_requests_alone(
    autojump_clock: MockClock, log: Log
) -> None:
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await add_worker(runtime, "broken", fail)
        await Worker.register(runtime, "worker", lambda: Worker(log), max_concurrency=1)
        runtime.start()
        await runtime.publish_message(Task("it"), NEWS)
        with loop.fail_after(10):
            answers = await send_all(runtime, AgentId("worker", "default"), ["1", "2", "3"])
        assert answers == {"1": "1", "2": "2", "3": "3"}
        with loop.raises_failures():
            await runtime.stop_when_idle()
        runtime.start()  # raised once, and then it is over
        await runtime.stop_when_idle()


# fault: `stop` with handlers under way: "task_done() called too many times", in a lost task
async def test_a_runtime_starts_again_after_a_stop_with_handlers_under_way(
    autojump_clock: MockClock, log: Log
) -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        for _ in range(3):
            runtime.start()
            for _ in range(5):
                await runtime.publish_message(Task("1"), NEWS)
            await wait_all_tasks_blocked()
            await runtime.stop()
            assert runtime.statistics().pending == 0
        runtime.start()
        assert await runtime.send_message(Task("1"), worker) == "1"
        await runtime.stop_when_idle()


# fault: a `stop_when` whose condition raises leaves the runtime "already started" for good
async def test_a_condition_that_raises_does_not_spoil_the_runtime(log: Log) -> None:
    def condition() -> bool:
        raise KeyError("no such thing")

    async with SingleThreadedAgentRuntime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        runtime.start()
        with pytest.raises(KeyError):
            await runtime.stop_when(condition)
        assert await runtime.send_message(Task("0"), worker) == "0"
        await runtime.stop()
        runtime.start()
        await runtime.stop_when_idle()


# fault: a sender whose type is not registered makes its publication vanish, and a sender that is
# only named is made into an agent
async def test_naming_a_sender_makes_no_agent_and_loses_no_message(log: Log) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        await runtime.register_factory("named", lambda: Worker(fail))
        await runtime.publish_message(Task("0"), NEWS, sender=AgentId("nobody", "x"))
        await runtime.publish_message(Task("0"), NEWS, sender=AgentId("named", "x"))
        await runtime.send_message(Task("0"), worker, sender=AgentId("named", "x"))
        await wait_all_tasks_blocked()
        assert runtime.statistics().agents == 1
    assert len(log.ended) == 3


# fault: a closure for messages of any type is never called
async def test_a_closure_for_anything_hears_everything() -> None:
    heard: list[object] = []

    async def hear(agent: ClosureContext, message: Any, ctx: MessageContext) -> None:
        heard.append(message)

    async with open_runtime() as runtime:
        await ClosureAgent.register_closure(
            runtime, "ear", hear, subscriptions=lambda: [TypeSubscription("news", "ear")]
        )
        await runtime.publish_message("a", NEWS)
        await runtime.publish_message(Task("b"), NEWS)
    assert heard == ["a", Task("b")]


class Forgetful(DefaultInterventionHandler):
    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        return None


# fault: None from an intervention handler is documented as "no change", and replaces the message
async def test_none_from_an_intervention_changes_nothing(log: Log) -> None:
    async with open_runtime(intervention_handlers=[Forgetful()]) as runtime:
        worker = await add_worker(runtime, "worker", log)
        with pytest.warns(RuntimeWarning, match="Forgetful returned None"):
            assert await runtime.send_message(Task("0"), worker) == "0"


class Ask(DefaultInterventionHandler):
    """Asks an agent what it thinks of each message, and waits for a person now and then."""

    runtime: SingleThreadedAgentRuntime
    judge = AgentId("judge", "default")

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        if recipient == self.judge:
            return message
        if message.text == "100":
            await loop.sleep(1000)
        return await self.runtime.send_message(message, self.judge)


# fault: an intervention handler that sends deadlocks the runtime, and one that waits stops all
# messages
async def test_an_intervention_may_send_and_wait(autojump_clock: MockClock, log: Log) -> None:
    async def judge(agent: Worker, message: Task, ctx: MessageContext) -> Task:
        return Task(f"{message.text}.5")

    ask = Ask()
    async with open_runtime(intervention_handlers=[ask]) as runtime:
        ask.runtime = runtime
        await add_worker(runtime, "judge", judge)
        await add_worker(runtime, "worker", log)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, Task("100"), AgentId("worker", "held"))
            await wait_all_tasks_blocked()
            with loop.fail_after(10):
                answer = await runtime.send_message(Task("1"), AgentId("worker", "free"))
            assert answer == "1.5"
    assert log.ended == ["1.5", "100.5"]


# fault: an agent that two subscriptions map to hears a publication twice
async def test_overlapping_subscriptions_deliver_once(log: Log) -> None:
    async with open_runtime() as runtime:
        await add_worker(runtime, "worker", log)
        await runtime.add_subscription(TypePrefixSubscription("new", "worker"))
        await runtime.publish_message(Task("0"), NEWS)
    assert log.begun == ["0"]


# fault: a message whose token is cancelled before its turn is handled all the same
@pytest.mark.parametrize("kind", ["send", "publish"])
async def test_a_message_that_is_cancelled_before_its_turn_is_not_handled(
    kind: str, log: Log
) -> None:
    token = CancellationToken()
    async with SingleThreadedAgentRuntime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        async with loop.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(loop.MessageCancelled):
                    await runtime.send_message(Task("0"), worker, cancellation_token=token)

            if kind == "send":
                nursery.start_soon(send)
            else:
                await runtime.publish_message(Task("0"), NEWS, cancellation_token=token)
            await wait_all_tasks_blocked()
            token.cancel()
            runtime.start()
        await runtime.stop_when_idle()
        assert runtime.statistics().cancelled == 1
    assert log.begun == []


# fault: a callback that raises spares the callbacks behind it for good
def test_all_callbacks_of_a_token_are_called() -> None:
    called: list[str] = []

    def cannot() -> NoReturn:
        raise ValueError("cannot")

    token = CancellationToken()
    token.add_callback(cannot)
    token.add_callback(lambda: called.append("second"))
    with pytest.raises(ValueError, match="cannot"):
        token.cancel()
    assert called == ["second"]


# fault: a token that another thread cancels does not wake the event loop
async def test_a_token_cancelled_by_another_thread_wakes_the_sender(log: Log) -> None:
    token = CancellationToken()
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log)
        async with loop.open_nursery() as nursery:

            async def cancel() -> None:
                await wait_all_tasks_blocked()
                await loop.run_sync_in_thread(token.cancel)

            nursery.start_soon(cancel)
            with pytest.raises(loop.MessageCancelled):
                await runtime.send_message(Task("1e9"), worker, cancellation_token=token)
    assert log.cancelled == ["1e9"]


# fault: an agent whose `close` raises spares the agents behind it
async def test_every_agent_is_closed_whatever_one_of_them_raises(log: Log) -> None:
    closed: list[str] = []

    class Closing(Worker):
        async def close(self) -> None:
            closed.append(self.id.key)
            if self.id.key == "bad":
                raise OSError("cannot close")

    async with SingleThreadedAgentRuntime() as runtime:
        await Closing.register(runtime, "closing", lambda: Closing(log))
        runtime.start()
        for key in ("bad", "good", "better"):
            await runtime.send_message(Task("0"), AgentId("closing", key))
        with pytest.raises(ExceptionGroup) as caught:
            await runtime.close()
    assert sorted(closed) == ["bad", "better", "good"]
    (error,) = caught.value.exceptions
    assert "closing/bad" in error.__notes__[0]


class Counting(TypeSubscription):
    """Counts how often it is asked."""

    asked = 0

    def is_match(self, topic_id: TopicId) -> bool:
        self.asked += 1
        return super().is_match(topic_id)


# fault: every topic ever seen is kept and matched again at each change of the subscriptions: 23 ms
# a change with 5,000 topics
async def test_a_change_of_subscriptions_matches_no_topic_again(log: Log) -> None:
    subscription = Counting("news", "worker")
    async with open_runtime() as runtime:
        await Worker.register(runtime, "worker", lambda: Worker(log), idle_timeout=1)
        await runtime.add_subscription(subscription)
        for n in range(200):
            await runtime.publish_message("nothing", TopicId("other", str(n)))
        await wait_all_tasks_blocked()
        asked = subscription.asked
        other = TypeSubscription("more", "worker")
        await runtime.add_subscription(other)
        await runtime.remove_subscription(other.id)
        assert subscription.asked == asked


# fault: a second instance of a type cannot take its class's subscriptions: ValueError
async def test_two_instances_of_a_type_take_their_class_subscriptions(log: Log) -> None:
    subscribed = type_subscription("news")(type("Subscribed", (Worker,), {}))
    async with open_runtime() as runtime:
        for key in ("one", "two"):
            agent = subscribed(log)
            await agent.register_instance(
                runtime, AgentId("worker", key), skip_class_subscriptions=False
            )
        await runtime.publish_message(Task("0"), TopicId("news", "one"))
        await runtime.publish_message(Task("0"), TopicId("news", "two"))
    assert len(log.ended) == 2


class Refused(BaseException):
    """As those of AutoGen's tool agent: no `Exception`, and without a text."""


# fault: an error without a text is shown as nothing, so that whoever reads the log or asks a model
# to react to it learns nothing
# EX-06
async def test_an_error_that_is_no_exception_and_has_no_text_reaches_the_sender_and_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = Refused()

    async def refuse(agent: Worker, message: Task, ctx: MessageContext) -> NoReturn:
        raise error

    async with SingleThreadedAgentRuntime() as runtime:
        worker = await add_worker(runtime, "worker", refuse)
        runtime.start()
        with pytest.raises(Refused) as caught:
            await runtime.send_message(Task("0"), worker)
        assert caught.value is error
        with caplog.at_level(logging.INFO, "autogen_core.events"):
            await runtime.publish_message(Task("0"), NEWS)
            # Not swallowed, though exceptions are ignored: this is none.
            with loop.raises_failures() as group:
                await runtime.stop_when_idle()
        assert group.value.exceptions == (error,)
    (failure,) = [str(r.msg) for r in caplog.records if "HandlerException" in str(r.msg)]
    assert '"exception": "Refused"' in failure


# fault: a place handed to a waiter that has been cancelled stays taken for ever (the lock that its
# group chat puts around an agent)
async def test_a_place_is_not_lost_to_a_waiter_that_was_cancelled(
    autojump_clock: MockClock, log: Log
) -> None:
    async with open_runtime() as runtime:
        worker = await add_worker(runtime, "worker", log, max_concurrency=1)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, Task("2"), worker)
            await wait_all_tasks_blocked()

            async def send_for(seconds: float) -> None:
                with loop.move_on_after(seconds):
                    await runtime.send_message(Task("9"), worker)

            nursery.start_soon(send_for, 1)  # cancelled before its turn
            nursery.start_soon(send_for, 2)  # cancelled in the moment of its turn
        with loop.fail_after(10):
            assert await runtime.send_message(Task("1"), worker) == "1"
