"""What asyncio programs rely on, beside what the tests of both loops show."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import signal
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import pytest
import trio
from anyio._backends._asyncio import CancelScope as AnyioScope

import trio_agents
import trio_agents.asyncio.exceptions
import trio_agents.asyncio.logging
from trio_agents._core import _workers
from trio_agents._sansio._notes import leaves_of
from trio_agents.asyncio import (
    AgentId,
    BaseAgent,
    CancellationToken,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    MessageHandlerContext,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    open_runtime,
)
from trio_agents.asyncio.exceptions import MessageCancelled, UndeliverableException

from . import loop
from .loop import MockClock, wait_all_tasks_blocked

pytestmark = pytest.mark.only_on("asyncio", "what asyncio programs rely on")

A = AgentId("actor", "a")
B = AgentId("actor", "b")
NEWS = TopicId("news", "a")

Act = Callable[["Actor", MessageContext], Awaitable[Any]]


class Actor(BaseAgent):
    """Does what the message says."""

    def __init__(self) -> None:
        super().__init__("an actor")

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)


async def tell(agent: Actor, ctx: MessageContext) -> str:
    return f"I am {agent.id}"


async def new_runtime(**options: Any) -> SingleThreadedAgentRuntime:
    runtime = SingleThreadedAgentRuntime(**options)
    await add_actors(runtime)
    return runtime


async def add_actors(runtime: SingleThreadedAgentRuntime) -> None:
    await Actor.register(runtime, "actor", Actor)
    await runtime.add_subscription(TypeSubscription("news", "actor"))


# --- names


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (trio_agents.asyncio, trio_agents),
        (trio_agents.asyncio.exceptions, trio_agents.exceptions),
        (trio_agents.asyncio.logging, trio_agents.logging),
    ],
)
def test_the_facade_has_the_names_of_the_one_on_trio(ours: Any, theirs: Any) -> None:
    assert ours.__all__ == theirs.__all__
    different = {name for name in ours.__all__ if getattr(ours, name) is not getattr(theirs, name)}
    assert different <= {"SingleThreadedAgentRuntime", "open_runtime", "MessageCancelled"}
    for name in different:
        assert getattr(ours, name).__module__ == ours.__name__


def test_the_two_runtimes_have_the_same_public_methods() -> None:
    def methods(cls: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(member)
            for name, member in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(SingleThreadedAgentRuntime) == methods(trio_agents.SingleThreadedAgentRuntime)


# --- a life without a block


# ST-12, ASY-02
async def test_start_needs_no_block_and_stop_leaves_no_task() -> None:
    runtime = await new_runtime()
    tasks = asyncio.all_tasks()
    runtime.start()
    assert runtime.is_started()
    assert await runtime.send_message(tell, A) == "I am actor/a"
    await runtime.stop()
    assert asyncio.all_tasks() == tasks


async def test_what_was_sent_before_start_is_handled_first() -> None:
    runtime = await new_runtime()
    log: list[int] = []

    def note(number: int) -> Act:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            log.append(number)

        return act

    early = asyncio.create_task(runtime.send_message(note(0), A))
    await wait_all_tasks_blocked()
    assert log == []
    runtime.start()
    await runtime.send_message(note(1), A)
    await early
    await runtime.stop_when_idle()
    assert log == [0, 1]


async def test_a_stop_that_is_under_way_before_the_first_message_waits_for_it() -> None:
    """As AutoGen's teams do: start, a task that stops when idle, and only then a message."""
    runtime = await new_runtime()
    runtime.start()
    stopping = asyncio.create_task(runtime.stop_when_idle())
    assert await runtime.send_message(tell, A) == "I am actor/a"
    await stopping
    assert not runtime.is_started()


def test_a_stopped_runtime_may_be_used_in_the_next_event_loop() -> None:
    runtime = SingleThreadedAgentRuntime()

    async def first() -> None:
        await add_actors(runtime)
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"
        await runtime.stop_when_idle()
        await runtime.publish_message(tell, NEWS)  # for the next start

    async def second() -> None:
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"
        await runtime.stop_when_idle()
        await runtime.close()

    loop.run(first)
    loop.run(second)
    assert runtime.statistics().handled == 3


async def test_a_start_right_after_a_stop_that_was_given_up_goes_on() -> None:
    go = asyncio.Event()

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()

    runtime = await new_runtime()
    runtime.start()
    waiting = asyncio.create_task(runtime.send_message(wait, A))
    await wait_all_tasks_blocked()
    stopping = asyncio.create_task(runtime.stop())
    await wait_all_tasks_blocked()
    stopping.cancel()
    await asyncio.wait([stopping])
    runtime.start()
    assert await runtime.send_message(tell, B) == "I am actor/b"
    go.set()
    await waiting
    await runtime.stop_when_idle()


async def test_the_block_works_too() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"
    assert not runtime.is_started()


async def test_a_runtime_that_was_started_without_a_block_enters_none() -> None:
    runtime = await new_runtime()
    runtime.start()
    with pytest.raises(RuntimeError, match=r"stop\(\) it if it was started"):
        async with runtime:
            pass
    assert await runtime.send_message(tell, A) == "I am actor/a"
    await runtime.stop()
    async with runtime:
        runtime.start()
        assert await runtime.send_message(tell, A) == "I am actor/a"


async def test_a_block_waits_for_no_process_next_and_says_so() -> None:
    runtime = SingleThreadedAgentRuntime()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runtime.process_next)
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match=r"wait for process_next\(\) to return"):
            await runtime.__aenter__()
        tasks.cancel_scope.cancel()


async def test_process_next_needs_neither_start_nor_block() -> None:
    runtime = await new_runtime()
    await runtime.publish_message(tell, NEWS)
    await runtime.process_next()
    await wait_all_tasks_blocked()
    assert runtime.statistics().handled == 1
    assert len(asyncio.all_tasks()) == 1


async def test_what_process_next_took_up_is_handled_although_it_had_to_wait_for_its_agent() -> None:
    made = asyncio.Event()

    async def make() -> Actor:
        await made.wait()
        return Actor()

    runtime = SingleThreadedAgentRuntime()
    await Actor.register(runtime, "slow", make)
    await runtime.publish_message(tell, TopicId("slow:", "a"))
    async with asyncio.TaskGroup() as group:
        group.create_task(runtime.get("slow", "a", lazy=False))
        await wait_all_tasks_blocked()
        await runtime.process_next()  # the agent is being made on behalf of the other call
        await wait_all_tasks_blocked()
        assert runtime.statistics().handled == 0
        made.set()
    await wait_all_tasks_blocked()
    assert runtime.statistics().handled == 1
    assert len(asyncio.all_tasks()) == 1


async def test_a_publisher_that_waits_for_room_keeps_nobody_from_entering_the_block() -> None:
    runtime = SingleThreadedAgentRuntime()
    await Actor.register(runtime, "actor", Actor, mailbox_size=1)
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(runtime.publish_message(tell, NEWS))
        await wait_all_tasks_blocked()
        await runtime.process_next()
        await wait_all_tasks_blocked()
        assert runtime.statistics().handled == 1
        async with runtime:
            runtime.start()
            await runtime.stop_when_idle()
    assert runtime.statistics().handled == 3


def test_start_without_a_running_loop_says_what_to_do() -> None:
    runtime = SingleThreadedAgentRuntime()
    with pytest.raises(RuntimeError, match="needs a running event loop: use it in a coroutine"):
        runtime.start()
    assert not runtime.is_started()


def test_a_message_of_the_loops_last_turn_is_cancelled_with_the_loop() -> None:
    cancelled: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def hang(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            cancelled.append(str(agent.id))

    async def main() -> None:
        runtime = await new_runtime()
        runtime.start()
        await runtime.send_message(tell, A)  # a worker rests now
        # It is woken in the very turn in which the loop ends.
        tasks.append(asyncio.create_task(runtime.publish_message(hang, NEWS)))

    with pytest.warns(RuntimeWarning, match="never stopped"):
        loop.run(main)
    assert cancelled == []
    assert all(task.done() for task in tasks)


def test_a_loop_that_ends_under_a_started_runtime_cancels_what_runs_under_a_warning() -> None:
    cancelled: list[str] = []

    async def hang(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            cancelled.append(str(agent.id))

    async def main() -> None:
        runtime = await new_runtime()
        runtime.start()
        await runtime.publish_message(hang, NEWS)
        await wait_all_tasks_blocked()

    with pytest.warns(RuntimeWarning, match=r"never stopped.*Unfinished messages: 1.*actor/a"):
        loop.run(main)
    assert cancelled == ["actor/a"]


def test_a_loop_that_is_closed_under_a_started_runtime_leaves_a_warning_and_an_error() -> None:
    runtime = SingleThreadedAgentRuntime()

    async def main() -> None:
        await add_actors(runtime)
        runtime.start()
        await runtime.send_message(tell, A)

    forsaken = asyncio.new_event_loop()
    forsaken.run_until_complete(main())
    tasks = asyncio.all_tasks(forsaken)
    forsaken.close()

    async def again() -> None:
        with pytest.raises(RuntimeError, match="closed since: stop a runtime before its loop ends"):
            await runtime.send_message(tell, A)
        with pytest.raises(RuntimeError, match="make a new one now"):
            runtime.start()

    loop.run(again)
    for task in tasks:  # or asyncio would warn of them
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    with pytest.warns(RuntimeWarning, match="its event loop has ended"):
        runtime.__del__()
    runtime._place = None  # it has warned
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's own, about what was never awaited
        tasks.clear()
        gc.collect()


# --- how a sender is cancelled


async def hang_noting(log: list[Any], cleanup: float = 0) -> None:
    try:
        await loop.sleep_forever()
    except asyncio.CancelledError:
        log.append("cancelled")
        await asyncio.sleep(cleanup)
        log.append(asyncio.get_running_loop().time())
        raise


def hanging(log: list[Any], cleanup: float = 0) -> Act:
    return lambda agent, ctx: hang_noting(log, cleanup)


# CT-07, ASY-04
@pytest.mark.parametrize("how", ["cancel", "timeout", "wait_for", "anyio"])
async def test_a_cancelled_sender_resumes_when_the_handler_has_cleaned_up(
    autojump_clock: MockClock, how: str
) -> None:
    log: list[Any] = []
    message = hanging(log, cleanup=5)
    now = asyncio.get_running_loop().time
    async with open_runtime() as runtime:
        await add_actors(runtime)
        if how == "cancel":
            task = asyncio.create_task(runtime.send_message(message, A))
            await asyncio.sleep(1)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await task
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await runtime.send_message(message, A)
        elif how == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(runtime.send_message(message, A), 1)
        else:
            with anyio.move_on_after(1):
                await runtime.send_message(message, A)
        assert now() == 6
    assert log == ["cancelled", 6.0]


async def test_a_cancelled_sender_of_a_queued_message_resumes_at_once() -> None:
    runtime = await new_runtime()
    task = asyncio.create_task(runtime.send_message(tell, A))
    await wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    statistics = runtime.statistics()
    assert (statistics.cancelled, statistics.pending) == (1, 0)


async def test_a_handler_that_survives_the_sender_s_cancellation_does_not_undo_it() -> None:
    async def survive(agent: Actor, ctx: MessageContext) -> str:
        try:
            await loop.sleep_forever()
        except asyncio.CancelledError:
            return "survived"
        raise AssertionError

    async with open_runtime() as runtime:
        await add_actors(runtime)
        task = asyncio.create_task(runtime.send_message(survive, A))
        await wait_all_tasks_blocked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert runtime.statistics().handled == 1


async def test_a_cancellation_that_comes_with_the_reply_is_not_lost() -> None:
    go = asyncio.Event()

    async def wait(agent: Actor, ctx: MessageContext) -> str:
        await go.wait()
        task.cancel()  # the reply is on its way before the sender can run
        return "done"

    async with open_runtime() as runtime:
        await add_actors(runtime)
        task = asyncio.create_task(runtime.send_message(wait, A))
        await wait_all_tasks_blocked()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancellation_that_comes_with_the_turn_at_the_door_takes_the_message_back() -> None:
    go = asyncio.Event()
    begun: list[str] = []

    async def wait(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()
        asyncio.get_running_loop().call_soon(waiting.cancel)  # when this message has been settled

    async def note(agent: Actor, ctx: MessageContext) -> None:
        begun.append("began")
        await loop.sleep_forever()

    async with open_runtime(max_pending=1) as runtime:
        await add_actors(runtime)
        first = asyncio.create_task(runtime.send_message(wait, A))
        await wait_all_tasks_blocked()
        waiting = asyncio.create_task(runtime.send_message(note, B))
        await wait_all_tasks_blocked()
        assert runtime.statistics().waiting == 1
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await first
        statistics = runtime.statistics()
        assert (statistics.cancelled, statistics.pending) == (1, 0)
    assert waiting.cancelled()


# ASY-06
async def test_a_task_group_cancels_the_handlers_of_its_other_sends() -> None:
    log: list[Any] = []

    async def fail(agent: Actor, ctx: MessageContext) -> None:
        raise ZeroDivisionError

    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(runtime.send_message(hanging(log), A))
                group.create_task(runtime.send_message(fail, B))
        assert caught.group_contains(ZeroDivisionError)
        assert log[0] == "cancelled"
        assert runtime.statistics().pending == 0


# ASY-06
async def test_gather_gives_replies_in_the_order_of_the_sends() -> None:
    async with open_runtime() as runtime:
        await add_actors(runtime)
        sends = [runtime.send_message(tell, AgentId("actor", str(n))) for n in range(50)]
        assert await asyncio.gather(*sends) == [f"I am actor/{n}" for n in range(50)]


async def test_a_cancelled_gather_cancels_every_handler() -> None:
    log: list[Any] = []
    async with open_runtime() as runtime:
        await add_actors(runtime)
        gathering = asyncio.gather(*(runtime.send_message(hanging(log), A) for _ in range(5)))
        await wait_all_tasks_blocked()
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        await runtime.stop_when_idle()
    assert log.count("cancelled") == 5


# --- how a handler is cancelled


# CT-07
async def test_a_token_gives_the_sender_a_cancelled_error_and_leaves_its_task_alone() -> None:
    log: list[Any] = []
    token = CancellationToken()

    async def send() -> str:
        with pytest.raises(MessageCancelled) as caught:
            await runtime.send_message(hanging(log), A, cancellation_token=token)
        assert isinstance(caught.value, asyncio.CancelledError)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return "went on"

    async with open_runtime() as runtime:
        await add_actors(runtime)
        task = asyncio.create_task(send())
        await wait_all_tasks_blocked()
        token.cancel()
        assert await task == "went on"
    assert log[0] == "cancelled"


# CT-07
async def test_cleanup_that_waits_is_not_cancelled_again(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            for number in range(3):
                await asyncio.sleep(1)
                log.append(f"step {number}")
            log.append(await agent.send_message(tell, B))

    async with open_runtime() as runtime:
        await add_actors(runtime)
        token = CancellationToken()
        asyncio.get_running_loop().call_later(1, token.cancel)
        with pytest.raises(MessageCancelled):
            await runtime.send_message(act, A, cancellation_token=token)
    assert log == ["step 0", "step 1", "step 2", "I am actor/b"]


# CT-07
async def test_a_handler_that_survives_its_token_answers(autojump_clock: MockClock) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> str:
        try:
            await loop.sleep_forever()
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return "cancelled, but here is an answer"

    async with open_runtime() as runtime:
        await add_actors(runtime)
        token = CancellationToken()
        asyncio.get_running_loop().call_later(1, token.cancel)
        reply = await runtime.send_message(act, A, cancellation_token=token)
        assert reply == "cancelled, but here is an answer"
        assert await runtime.send_message(tell, A) == "I am actor/a"


# ST-13
async def test_a_stop_whose_deadline_has_passed_cancels_a_survivor_again(
    autojump_clock: MockClock,
) -> None:
    log: list[float] = []
    now = asyncio.get_running_loop().time

    async def act(agent: Actor, ctx: MessageContext) -> None:
        for _ in range(2):
            try:
                await loop.sleep_forever()
            except asyncio.CancelledError:
                log.append(now())

    runtime = await new_runtime()
    runtime.start()
    token = CancellationToken()
    task = asyncio.create_task(runtime.send_message(act, A, cancellation_token=token))
    await asyncio.sleep(1)
    token.cancel()
    await asyncio.sleep(1)
    await runtime.stop(deadline=now() + 5)
    assert log == [1, 7]
    await task


async def test_an_error_that_ends_the_block_leaves_to_its_cleanup_what_was_cancelled_before(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        except asyncio.CancelledError:
            await asyncio.sleep(5)
            log.append("cleaned up")
            raise

    token = CancellationToken()
    runtime = await new_runtime()
    with pytest.raises(LookupError):
        async with runtime:
            runtime.start()
            task = asyncio.create_task(runtime.send_message(act, A, cancellation_token=token))
            await asyncio.sleep(1)
            token.cancel()
            raise LookupError
    assert log == ["cleaned up"]
    with pytest.raises(MessageCancelled):
        await task


@pytest.mark.parametrize("how", ["error", "cancelled"])
async def test_the_end_of_the_block_cancels_a_handler_whose_own_deadline_has_passed(
    how: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    async def clean_up(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        finally:
            await asyncio.sleep(5)
            log.append("cleaned up")

    async def ask(agent: Actor, ctx: MessageContext) -> None:
        try:
            async with asyncio.timeout(1):
                await agent.send_message(clean_up, B)
        except TimeoutError:
            log.append("goes on")
            await loop.sleep_forever()

    sending: list[asyncio.Task[Any]] = []

    async def run_block() -> None:
        async with await new_runtime() as runtime:
            runtime.start()
            sending.append(asyncio.create_task(runtime.send_message(ask, A)))
            await asyncio.sleep(3)
            if how == "error":
                raise LookupError("of the block")
            await loop.sleep_forever()

    block = asyncio.create_task(run_block())
    await asyncio.sleep(4)
    block.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block
    assert ("of the block" in caplog.text) == (how == "error")
    assert log == ["cleaned up"]
    with pytest.raises(MessageCancelled):
        await sending[0]


async def test_a_handler_s_task_that_somebody_else_cancels_disturbs_no_other_message() -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        tasks.append(asyncio.current_task())
        await loop.sleep_forever()

    async with open_runtime() as runtime:
        await add_actors(runtime)
        sending = asyncio.create_task(runtime.send_message(act, A))
        await wait_all_tasks_blocked()
        (task,) = tasks
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError, match="the task that handled it"):
            await sending
        assert await runtime.send_message(tell, A) == "I am actor/a"
        assert runtime.statistics().pending == 0


async def test_a_cancellation_that_a_handler_leaves_behind_is_not_for_the_next_message() -> None:
    async def cancel_oneself(agent: Actor, ctx: MessageContext) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    async def wait(agent: Actor, ctx: MessageContext) -> str:
        await asyncio.sleep(0)
        return "waited"

    async with open_runtime() as runtime:
        await add_actors(runtime)
        for _ in range(3):
            assert await runtime.send_message(cancel_oneself, A) == "done"
            assert await runtime.send_message(wait, A) == "waited"


async def test_a_handler_that_raises_its_cancellation_in_a_group_disturbs_no_other() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await loop.sleep_forever()
        except asyncio.CancelledError as exc:
            raise BaseExceptionGroup("two waits", [exc, asyncio.CancelledError()]) from None

    async with open_runtime() as runtime:
        await add_actors(runtime)
        token = CancellationToken()
        sending = asyncio.create_task(runtime.send_message(act, A, cancellation_token=token))
        await wait_all_tasks_blocked()
        token.cancel()
        with pytest.raises(MessageCancelled):
            await sending
        assert await runtime.send_message(tell, A) == "I am actor/a"


# EX-07
async def test_a_handler_that_raises_a_cancelled_error_fails_its_sender_alone() -> None:
    error = asyncio.CancelledError("mine")

    async def act(agent: Actor, ctx: MessageContext) -> None:
        raise error

    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises(asyncio.CancelledError) as caught:
            await runtime.send_message(act, A)
        assert caught.value is error
        await runtime.publish_message(act, NEWS)
        await runtime.stop_when_idle()
        assert runtime.statistics().failed == 2


# --- tokens


# CT-05, ASY-05
async def test_a_token_cancels_a_linked_future_from_another_thread() -> None:
    token = CancellationToken()
    future = token.link_future(asyncio.get_running_loop().create_future())
    await asyncio.to_thread(token.cancel)
    with pytest.raises(asyncio.CancelledError):
        await future


# CT-02
async def test_a_token_that_a_callback_of_the_loop_cancels_lets_the_next_message_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_workers, "MAX_RESTING", 0)  # a worker has to be started, in the callback
    token = CancellationToken()
    async with open_runtime(max_pending=2) as runtime:
        await runtime.register_factory("actor", Actor, max_concurrency=1)
        running = asyncio.create_task(runtime.send_message(hanging([]), A))
        await wait_all_tasks_blocked()
        queued = asyncio.create_task(runtime.send_message(tell, A, cancellation_token=token))
        await wait_all_tasks_blocked()
        at_the_door = asyncio.create_task(runtime.send_message(tell, B))
        await wait_all_tasks_blocked()
        asyncio.get_running_loop().call_soon(token.cancel)
        assert await at_the_door == "I am actor/b"
        with pytest.raises(MessageCancelled):
            await queued
        running.cancel()


# CT-05
async def test_a_future_that_is_done_is_linked_no_more() -> None:
    token = CancellationToken()
    for _ in range(100):
        future = token.link_future(asyncio.get_running_loop().create_future())
        future.set_result(None)
        await asyncio.sleep(0)
    assert not token._links


def test_a_token_whose_loop_is_gone_may_still_be_cancelled() -> None:
    token = CancellationToken()

    async def main() -> None:
        token.link_future(asyncio.get_running_loop().create_future())

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    token.cancel()
    assert token.is_cancelled()


# --- failures


# ST-06, GAP-08
async def test_the_first_failure_is_raised_as_itself_and_all_can_be_found() -> None:
    async def fail(agent: Actor, ctx: MessageContext) -> None:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise ZeroDivisionError(agent.id.key) from cause

    runtime = await new_runtime(ignore_unhandled_exceptions=False)
    runtime.start()
    for key in "ab":
        await runtime.publish_message(fail, TopicId("news", key))
    with pytest.raises(ZeroDivisionError, match="a") as caught:
        await runtime.stop_when_idle()
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [str(error) for error in group.exceptions] == ["a", "b"]
    assert group.exceptions[0] is caught.value
    assert isinstance(group.__cause__, KeyError)
    await runtime.close()  # raised once


async def test_a_system_exit_in_a_publication_s_handler_ends_the_program() -> None:
    async def leave(agent: Actor, ctx: MessageContext) -> None:
        raise SystemExit(3)

    async def main() -> None:
        runtime = await new_runtime()
        runtime.start()
        await runtime.publish_message(leave, NEWS)
        await runtime.stop_when_idle()

    def run() -> None:
        with asyncio.Runner() as runner, pytest.raises(SystemExit) as caught:
            runner.run(main())
        codes.append(caught.value.code)

    codes: list[Any] = []
    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert codes == [3]


# --- what handlers use


# ASY-01, ASY-09
async def test_each_message_is_at_work_in_a_task_and_a_failing_one_disturbs_no_other(
    autojump_clock: MockClock,
) -> None:
    ended: list[float] = []
    now = asyncio.get_running_loop().time

    def sleep(seconds: float) -> Act:
        async def act(agent: Actor, ctx: MessageContext) -> None:
            await asyncio.sleep(seconds)
            if seconds == 2:
                raise ZeroDivisionError
            ended.append(now())

        return act

    async with open_runtime() as runtime:
        await add_actors(runtime)
        for seconds in (3, 2, 1):
            await runtime.publish_message(sleep(seconds), NEWS)
        await runtime.stop_when_idle()
        assert runtime.statistics().failed == 1
    assert ended == [1, 3]


# ASY-07
async def test_a_closure_puts_what_it_hears_into_an_asyncio_queue() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def hear(agent: ClosureContext, message: str, ctx: MessageContext) -> None:
        await queue.put(message)

    runtime = SingleThreadedAgentRuntime()
    await ClosureAgent.register_closure(
        runtime, "ear", hear, subscriptions=lambda: [TypeSubscription("news", "ear")]
    )
    runtime.start()
    await runtime.publish_message("heard", NEWS)
    assert await queue.get() == "heard"
    await runtime.stop()


# ASY-08
async def test_a_task_that_waits_for_an_event_of_a_handler_stops_the_runtime() -> None:
    done = asyncio.Event()

    async def finish(agent: Actor, ctx: MessageContext) -> None:
        done.set()

    async def stop() -> None:
        await done.wait()
        await runtime.stop()

    runtime = await new_runtime()
    runtime.start()
    stopping = asyncio.create_task(stop())
    await runtime.publish_message(finish, NEWS)
    await stopping
    assert not runtime.is_started()


# ASY-10
@pytest.mark.parametrize("how", ["ensure_future", "task group", "thread", "anyio"])
async def test_a_handler_may_use_what_asyncio_offers(how: str) -> None:
    async def call() -> str:
        await asyncio.sleep(0)
        return "called"

    async def act(agent: Actor, ctx: MessageContext) -> str:
        if how == "ensure_future":
            return await ctx.cancellation_token.link_future(asyncio.ensure_future(call()))
        if how == "task group":
            async with asyncio.TaskGroup() as group:
                task = group.create_task(call())
            return task.result()
        if how == "thread":
            return await asyncio.to_thread(lambda: "called")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
        with anyio.CancelScope(shield=True):
            return await call()

    async with open_runtime() as runtime:
        await add_actors(runtime)
        assert await runtime.send_message(act, A) == "called"


# ASY-14
async def test_a_task_that_a_handler_starts_knows_whose_it_is() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> AgentId:
        async def look() -> AgentId:
            return MessageHandlerContext.agent_id()

        return await asyncio.create_task(look())

    async with open_runtime() as runtime:
        await add_actors(runtime)
        assert await runtime.send_message(act, A) == A


# --- wrong doors

MISPLACED = (RuntimeError, TypeError, AttributeError)


@pytest.mark.parametrize("what", ["sleep", "nursery", "in a group"])
async def test_code_for_trio_in_a_handler_is_told_which_door_to_use(what: str) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        if what == "sleep":
            await trio.sleep(1)
        elif what == "nursery":
            async with trio.open_nursery():
                pass
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(trio.sleep(1))  # noqa: ASYNC105  # the task awaits it

    async with open_runtime() as runtime:
        await add_actors(runtime)
        with pytest.raises((RuntimeError, AttributeError, ExceptionGroup)) as caught:
            await runtime.send_message(act, A)
    [leaf] = leaves_of(caught.value)
    assert "runs on asyncio" in leaf.__notes__[0]
    assert "trio_agents.portal" in leaf.__notes__[0]


@pytest.mark.parametrize("what", ["sleep", "future", "queue", "in a nursery"])
def test_code_for_asyncio_in_a_handler_on_trio_is_told_which_door_to_use(what: str) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        if what == "sleep":
            await asyncio.sleep(1)
        elif what == "queue":
            await asyncio.Queue[int]().get()
        elif what == "in a nursery":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(asyncio.sleep, 1)
        else:
            await future

    async def main() -> None:
        async with trio_agents.open_runtime() as runtime:
            await Actor.register(runtime, "actor", Actor)
            with pytest.raises((*MISPLACED, ExceptionGroup)) as caught:
                await runtime.send_message(act, A)
        [leaf] = leaves_of(caught.value)
        assert "runs on trio" in leaf.__notes__[0]
        assert "trio_agents.asyncio" in leaf.__notes__[0]

    other = asyncio.new_event_loop()
    future = other.create_future()
    with loop.on("trio"):
        loop.run(main)
    other.close()


CALLS: dict[str, Callable[[SingleThreadedAgentRuntime], Awaitable[Any]]] = {
    "send": lambda runtime: runtime.send_message(tell, A),
    "publish": lambda runtime: runtime.publish_message(tell, NEWS),
    "stop": lambda runtime: runtime.stop(),
    "close": lambda runtime: runtime.close(),
    "process_next": lambda runtime: runtime.process_next(),
    "register": lambda runtime: runtime.register_factory("other", Actor),
    "instance": lambda runtime: runtime.register_agent_instance(Actor(), AgentId("one", "a")),
    "subscribe": lambda runtime: runtime.add_subscription(TypeSubscription("other", "actor")),
    "unsubscribe": lambda runtime: runtime.remove_subscription("any"),
    "get": lambda runtime: runtime.get(A, lazy=False),
    "deactivate": lambda runtime: runtime.deactivate(A),
    "save": lambda runtime: runtime.save_state(),
    "load": lambda runtime: runtime.load_state({}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("elsewhere", ["asyncio", "trio"])
async def test_a_call_from_another_thread_is_refused_and_names_the_portal(
    call: str, elsewhere: str
) -> None:
    async def use() -> None:
        with pytest.raises(RuntimeError, match=r"another event loop.*trio_agents\.portal"):
            await CALLS[call](runtime)

    async with open_runtime() as runtime:
        await add_actors(runtime)
        await asyncio.to_thread(asyncio.run, use()) if elsewhere == "asyncio" else None
        await asyncio.to_thread(trio.run, use) if elsewhere == "trio" else None
        assert runtime.is_started()
        assert await runtime.send_message(tell, A) == "I am actor/a"
        assert runtime.statistics().accepted == 1


@pytest.mark.parametrize("package", [trio_agents, trio_agents.asyncio])
def test_a_block_on_the_wrong_loop_is_told_which_door_to_use(package: Any) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"import the runtime from trio_agents"):
            async with package.open_runtime():
                pass

    if package is trio_agents:
        asyncio.run(main())
    else:
        trio.run(main)


# RT-13
@pytest.mark.parametrize("block", [True, False])
def test_ctrl_c_cancels_what_runs_and_leaves_as_one_keyboard_interrupt(block: bool) -> None:
    log: list[Any] = []

    async def main() -> None:
        runtime = await new_runtime()
        async with runtime if block else contextlib.nullcontext():
            runtime.start()
            await runtime.publish_message(hanging(log), NEWS)
            await wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGINT)
            await loop.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        if block:
            loop.run(main)
        else:
            with pytest.warns(RuntimeWarning, match="never stopped"):
                loop.run(main)
    assert log[0] == "cancelled"


async def clean_up_slowly(actor: Actor, ctx: MessageContext) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await wait_all_tasks_blocked()


# RT-13
def test_ctrl_c_while_an_error_ends_the_block_goes_before_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await add_actors(runtime)
            await runtime.publish_message(clean_up_slowly, NEWS)
            await wait_all_tasks_blocked()
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            raise ValueError("this ends the block")

    with pytest.raises(KeyboardInterrupt):
        loop.run(main)
    assert "this ends the block" in caplog.text


# RT-13
async def test_an_exit_goes_before_the_cancellation_of_the_task() -> None:
    class Exiting(Actor):
        async def close(self) -> None:
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        async with asyncio.timeout(None) as timeout, open_runtime() as runtime:
            await Exiting.register(runtime, "actor", Exiting)
            await runtime.send_message(tell, A)
            timeout.reschedule(0)
            await asyncio.Event().wait()


# RT-13
@pytest.mark.parametrize("where", ["block", "close", "alone"])
async def test_a_cancellation_of_another_task_is_not_taken_for_that_of_the_block_s(
    where: str,
) -> None:
    other = asyncio.create_task(asyncio.Event().wait())

    class Polling(Actor):
        async def close(self) -> None:
            if self.id == B:
                raise ValueError("could not flush")
            other.cancel()
            await other

    async def run_block() -> None:
        async with open_runtime() as runtime:
            await Polling.register(runtime, "actor", Polling)
            await runtime.send_message(tell, A)
            if where == "block":
                raise KeyError("of the block")
            await runtime.send_message(tell, B)
            if where == "close":
                await runtime.close()

    with pytest.raises(KeyError if where == "block" else BaseExceptionGroup) as caught:
        await run_block()
    if where != "block":
        kinds = {type(error) for error in cast(Any, caught.value).exceptions}
        assert kinds == {ValueError, asyncio.CancelledError}


# RT-13
async def test_an_exit_in_a_group_of_a_handler_is_raised_by_the_next_stop() -> None:
    async def fails(actor: Actor, ctx: MessageContext) -> None:
        raise BaseExceptionGroup("of a handler", [SystemExit(5), ValueError("v")])

    runtime = await new_runtime()
    runtime.start()
    await runtime.publish_message(fails, NEWS)
    await wait_all_tasks_blocked()
    with pytest.raises(BaseExceptionGroup, match="of a handler"):
        await runtime.stop_when_idle()


# RT-13
async def test_an_error_goes_before_a_scope_that_was_cancelled_while_it_ends_the_block() -> None:
    with pytest.raises(ValueError, match="this ends the block"), anyio.CancelScope() as scope:
        async with open_runtime() as runtime:
            await add_actors(runtime)
            await runtime.publish_message(clean_up_slowly, NEWS)
            await wait_all_tasks_blocked()
            asyncio.get_running_loop().call_soon(scope.cancel)
            raise ValueError("this ends the block")
    assert scope.cancel_called


# --- other ways to run tasks


async def test_a_loop_that_ends_right_after_start_leaves_a_warning_and_no_hang() -> None:
    runtime = await new_runtime()

    def elsewhere() -> None:
        async def main() -> None:
            runtime.start()

        with pytest.warns(RuntimeWarning, match="never stopped"):
            asyncio.run(main())

    await asyncio.to_thread(elsewhere)
    assert not runtime.is_started()
    runtime.start()
    assert await runtime.send_message(tell, A) == "I am actor/a"
    await runtime.stop()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
async def test_it_runs_where_tasks_start_eagerly() -> None:
    order: list[str] = []

    async def note(agent: Actor, ctx: MessageContext) -> None:
        order.append("handled")

    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined]
    asyncio.get_running_loop().set_task_factory(factory)
    runtime = await new_runtime()
    runtime.start()
    await runtime.publish_message(note, NEWS)
    order.append("published")
    sends = (runtime.send_message(tell, AgentId("actor", str(n))) for n in range(100))
    assert await asyncio.gather(*sends) == [f"I am actor/{n}" for n in range(100)]
    await runtime.stop_when_idle()
    assert order == ["published", "handled"]


# --- uvloop


def test_it_runs_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop does not exist for this platform")

    async def main() -> None:
        log: list[Any] = []
        async with open_runtime() as runtime:
            await add_actors(runtime)
            assert await runtime.send_message(tell, A) == "I am actor/a"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await runtime.send_message(hanging(log), A)
        assert log[0] == "cancelled"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("where", ["reply", "deactivate", "block", "group"])
async def test_who_was_cancelled_by_anyio_and_waits_for_a_cleanup_is_left_alone(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a scope that was cancelled, anyio cancels what goes on in each turn of the loop."""
    deliver: Any = AnyioScope._deliver_cancellation
    deliveries = 0

    def counted(scope: Any, origin: Any) -> bool:
        nonlocal deliveries
        deliveries += 1
        result: bool = deliver(scope, origin)
        return result

    begun, cleaned = anyio.Event(), asyncio.Event()

    async def clean_up_slowly(actor: Actor, ctx: MessageContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await cleaned.wait()

    async def use(runtime: SingleThreadedAgentRuntime) -> None:
        if where == "group":
            async with anyio.create_task_group() as group:
                group.start_soon(runtime.send_message, clean_up_slowly, A)
                group.start_soon(runtime.send_message, clean_up_slowly, B)
        elif where == "deactivate":
            group_of_ours.start_soon(runtime.send_message, clean_up_slowly, A)
            await begun.wait()
            await runtime.deactivate(A)
        else:
            await runtime.send_message(clean_up_slowly, A)

    async def run() -> None:
        with scope:
            if where != "block":
                await use(outer)
                return
            async with open_runtime() as runtime:
                await Actor.register(runtime, "actor", Actor)
                await use(runtime)

    scope = anyio.CancelScope()
    async with open_runtime() as outer, anyio.create_task_group() as group_of_ours:
        await Actor.register(outer, "actor", Actor)
        group_of_ours.start_soon(run)
        await begun.wait()
        await wait_all_tasks_blocked()
        monkeypatch.setattr(AnyioScope, "_deliver_cancellation", counted)
        scope.cancel()
        for _ in range(50):
            await asyncio.sleep(0)
        until_then = deliveries
        for _ in range(50):
            await asyncio.sleep(0)
        in_all = deliveries
        cleaned.set()
        if where == "deactivate":
            group_of_ours.cancel_scope.cancel()
    assert in_all == until_then > 0


@pytest.mark.parametrize("turns", [0, 1, 2, 10])
@pytest.mark.parametrize("how", ["scope", "task"])
async def test_a_cancelled_sender_waits_for_a_cleanup_of_however_many_turns(
    how: str, turns: int
) -> None:
    begun = asyncio.Event()
    log: list[str] = []

    async def clean_up(actor: Actor, ctx: MessageContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(turns):
                await asyncio.sleep(0)
            log.append("cleaned up")

    async def send() -> None:
        try:
            await runtime.send_message(clean_up, A)
        finally:
            log.append("sender ends")

    async def send_in_scope() -> None:
        with scope:
            await send()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    scope = anyio.CancelScope()
    async with open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        task = asyncio.create_task(send_in_scope() if how == "scope" else send())
        await begun.wait()
        if how == "scope":
            scope.cancel()
        for _ in range(100):
            if how == "task" and not task.done():  # by who is impatient; a scope of anyio's is
                task.cancel()
            await asyncio.sleep(0)
        ended = task.done()
    assert ended
    assert task.cancelled() is (how == "task")
    assert log == ["cleaned up", "sender ends"]


async def test_a_send_after_the_block_was_left_fails() -> None:
    runtime = await new_runtime()
    async with runtime:
        runtime.start()
    with pytest.raises(UndeliverableException, match="block was left"):
        await runtime.send_message(tell, A)


async def test_a_sender_that_is_cancelled_in_the_turn_of_its_answer_is_cancelled() -> None:
    answered = asyncio.Event()

    async def answer(actor: Actor, ctx: MessageContext) -> str:
        await answered.wait()
        asyncio.get_running_loop().call_soon(task.cancel)
        return "done"

    async with open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        task = asyncio.create_task(runtime.send_message(answer, A))
        await wait_all_tasks_blocked()
        answered.set()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_sender_that_is_cancelled_again_and_again_waits_for_the_cleanup() -> None:
    cleaned = asyncio.Event()

    async def clean_up_slowly(actor: Actor, ctx: MessageContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await cleaned.wait()

    async with open_runtime() as runtime:
        await Actor.register(runtime, "actor", Actor)
        task = asyncio.create_task(runtime.send_message(clean_up_slowly, A))
        await wait_all_tasks_blocked()
        task.cancel()
        task.cancel()  # before it has gone on to wait
        await wait_all_tasks_blocked()
        task.cancel()  # and while it does
        await wait_all_tasks_blocked()
        assert not task.done()
        cleaned.set()
        with pytest.raises(asyncio.CancelledError):
            await task
