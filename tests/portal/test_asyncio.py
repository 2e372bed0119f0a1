"""The awaited form: what each call does, for callers on asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import make_dataclass
from typing import Any, NoReturn

import pytest
import trio

from trio_agents import (
    JSON_DATA_CONTENT_TYPE,
    AgentId,
    AgentProxy,
    AgentRuntime,
    AgentType,
    CancellationToken,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    try_get_known_serializers_for_type,
)
from trio_agents.exceptions import MessageCancelled
from trio_agents.portal import AwaitableRuntime, open_portal

from .actors import NEWS, PATIENCE, A, Actor, B, Handler, settle_in, tell, variable

Runtime = AwaitableRuntime[SingleThreadedAgentRuntime]


def run(main: Callable[[Runtime], Awaitable[None]]) -> None:
    """Run *main* on asyncio, with a runtime behind a portal."""

    async def block() -> None:
        async with asyncio.timeout(PATIENCE), open_portal() as runtime:
            await settle_in(runtime)
            await main(runtime)

    asyncio.run(block())


async def wait_for(event: threading.Event) -> None:
    """Wait for an event of another thread."""
    assert await asyncio.to_thread(event.wait, PATIENCE)


@asynccontextmanager
async def held_up(runtime: Runtime) -> AsyncGenerator[None, None]:
    """Have the trio thread do nothing else inside the block."""
    go_on, waits = threading.Event(), threading.Event()

    def hold_up() -> None:
        waits.set()
        assert go_on.wait(PATIENCE)

    def hold_up_soon(runtime: object) -> None:
        # After the wake-up for this very call, which may have been taken up before that came.
        trio.lowlevel.current_trio_token().run_sync_soon(hold_up)

    holding = asyncio.create_task(runtime.run_sync(hold_up_soon))
    await wait_for(waits)
    yield
    go_on.set()
    await holding


def test_send_returns_what_the_handler_returns() -> None:
    async def main(runtime: Runtime) -> None:
        assert await runtime.send_message(tell, A) == "I am actor/a"

    run(main)


def test_publish_returns_when_the_message_is_queued() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler()
        await runtime.publish_message(handler, NEWS)
        await wait_for(handler.began)
        assert not handler.unwound
        handler.finish()
        await runtime.stop_when_idle()
        assert handler.unwound

    run(main)


def test_it_is_an_agent_runtime() -> None:
    async def main(runtime: Runtime) -> None:
        assert isinstance(runtime, AgentRuntime)
        proxy = AgentProxy(A, runtime)
        assert (await proxy.metadata)["type"] == "actor"
        assert await proxy.send_message(tell, sender=B) == "I am actor/a"

    run(main)


def test_classes_closures_and_instances_register_themselves() -> None:
    async def echo(agent: ClosureContext, message: str, ctx: MessageContext) -> str:
        return message

    async def main(runtime: Runtime) -> None:
        assert await ClosureAgent.register_closure(runtime, "echo", echo) == AgentType("echo")
        assert await runtime.send_message("x", AgentId("echo", "x")) == "x"
        other = AgentId("other", "x")
        assert await Actor().register_instance(runtime, other) == other
        assert await runtime.send_message(tell, other) == "I am other/x"

    run(main)


def test_an_agent_s_runtime_is_the_real_one() -> None:
    async def which(agent: Actor, ctx: MessageContext) -> AgentRuntime:
        return agent.runtime

    async def main(runtime: Runtime) -> None:
        other = AgentId("other", "x")
        await Actor().register_instance(runtime, other)
        assert type(await runtime.send_message(which, other)) is SingleThreadedAgentRuntime

    run(main)


class Odd(BaseException):
    """No `Exception`."""


@pytest.mark.parametrize("error", [ValueError("bad"), Odd(), GeneratorExit()], ids=repr)
def test_the_caller_gets_the_very_object_that_the_handler_raised(error: BaseException) -> None:
    async def fail(agent: Actor, ctx: MessageContext) -> NoReturn:
        raise error

    async def main(runtime: Runtime) -> None:
        with pytest.raises(type(error)) as caught:
            await runtime.send_message(fail, A)
        assert caught.value is error
        assert await runtime.send_message(tell, A) == "I am actor/a"

    run(main)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_error_that_means_the_program_leaves_the_loop_as_itself(error: BaseException) -> None:
    async def fail(agent: Actor, ctx: MessageContext) -> NoReturn:
        raise error

    async def main(runtime: Runtime) -> None:
        await runtime.send_message(fail, A)

    with pytest.raises(type(error)) as caught:
        run(main)
    assert caught.value is error


# --- order


def test_handlers_begin_in_the_order_of_the_calls() -> None:
    began: list[int] = []

    def numbered(number: int) -> Callable[[Actor, MessageContext], Awaitable[None]]:
        async def begin(agent: Actor, ctx: MessageContext) -> None:
            began.append(number)
            await trio.lowlevel.checkpoint()

        return begin

    async def main(runtime: Runtime) -> None:
        sends: list[Coroutine[Any, Any, Any]] = []
        for number in range(500):
            if number % 3:
                sends.append(runtime.send_message(numbered(number), A))
            else:
                sends.append(runtime.publish_message(numbered(number), NEWS))
        await asyncio.gather(*sends)
        await runtime.stop_when_idle()
        assert began == [*range(500)]

    run(main)


def test_calls_with_context_variables_of_their_own_keep_the_order_too() -> None:
    began: list[int] = []

    def numbered(number: int) -> Callable[[Actor, MessageContext], Awaitable[None]]:
        async def begin(agent: Actor, ctx: MessageContext) -> None:
            began.append(number)

        return begin

    async def main(runtime: Runtime) -> None:
        async def note(runtime: object, number: int) -> None:
            began.append(number)

        async def call(number: int) -> None:
            if number % 2:
                variable.set(f"{number}")
            if number % 5:
                await runtime.publish_message(numbered(number), NEWS)
            else:
                await runtime.send_message(numbered(number), A)

        await asyncio.gather(*(call(number) for number in range(500)))
        await runtime.stop_when_idle()
        assert began == [*range(500)]

    run(main)


def test_a_call_has_been_made_before_its_caller_first_suspends() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler()
        call = runtime.send_message(handler, A)
        call.send(None)  # its first step, and no turn of the loop after it
        assert handler.began.wait(PATIENCE)
        call.close()

    run(main)


def test_calls_of_one_turn_wake_the_trio_thread_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(runtime: Runtime) -> None:
        wake_ups = 0
        run_sync_soon = trio.lowlevel.TrioToken.run_sync_soon

        def count(token: trio.lowlevel.TrioToken, *args: Any, **kwargs: Any) -> None:
            nonlocal wake_ups
            wake_ups += 1
            run_sync_soon(token, *args, **kwargs)

        async with held_up(runtime):
            monkeypatch.setattr(trio.lowlevel.TrioToken, "run_sync_soon", count)
            calls = [asyncio.create_task(runtime.send_message(tell, A)) for _ in range(1000)]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
        assert wake_ups == 1

    run(main)


def test_replies_of_one_turn_wake_the_asyncio_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(runtime: Runtime) -> None:
        loop = asyncio.get_running_loop()
        wake_ups = 0
        call_soon_threadsafe = loop.call_soon_threadsafe

        def count(*args: Any, **kwargs: Any) -> Any:
            nonlocal wake_ups
            wake_ups += 1
            return call_soon_threadsafe(*args, **kwargs)

        monkeypatch.setattr(loop, "call_soon_threadsafe", count)
        calls = [asyncio.create_task(runtime.send_message(tell, A)) for _ in range(1000)]
        await asyncio.sleep(0)
        # This thread's loop does nothing until all replies have been sent.
        while runtime.blocking.statistics().handled < 1000:
            pass
        for _ in range(3):  # three turns of trio's: who was woken in the first has run
            runtime.blocking.statistics()
        await asyncio.gather(*calls)
        assert wake_ups == 1

    run(main)


def test_the_messages_that_wait_are_counted() -> None:
    async def main(runtime: Runtime) -> None:
        assert runtime.unprocessed_messages_count == 0
        await runtime.stop()
        await runtime.publish_message(tell, NEWS)
        assert runtime.unprocessed_messages_count == 1

    run(main)


def test_a_coroutine_in_place_of_a_function_is_refused() -> None:
    async def main(runtime: Runtime) -> None:
        coroutine: Any = Actor.register(runtime, "other", Actor)
        with pytest.raises(TypeError, match=r"^run\(\) takes .* is a call already: write run\("):
            await runtime.run(coroutine)

    run(main)


def test_calls_that_do_not_wait_let_handlers_begin_between_them() -> None:
    accepted: list[int] = []

    async def main(runtime: Runtime) -> None:
        def count(runtime: SingleThreadedAgentRuntime) -> None:
            accepted.append(runtime.statistics().accepted)

        async def look(agent: Actor, ctx: MessageContext) -> None:
            assert isinstance(agent.runtime, SingleThreadedAgentRuntime)
            count(agent.runtime)

        async with held_up(runtime):
            calls = [asyncio.create_task(runtime.publish_message(look, NEWS)) for _ in range(1000)]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)

    run(main)
    assert accepted[0] < 500


def test_calls_that_are_over_before_they_begin_hold_nobody_up() -> None:
    async def main(runtime: Runtime) -> None:
        async with held_up(runtime):
            tasks = [asyncio.create_task(runtime.send_message(tell, A)) for _ in range(200)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            last = asyncio.create_task(runtime.send_message(tell, A))
            await asyncio.sleep(0)
        assert await last == "I am actor/a"
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}

    run(main)


def test_a_burst_leaves_few_tasks_behind() -> None:
    all_there = trio.Event()
    there: list[AgentId] = []

    async def meet(agent: Actor, ctx: MessageContext) -> None:
        there.append(agent.id)
        if len(there) == 1000:
            all_there.set()
        await all_there.wait()

    def count_tasks(runtime: object) -> int:
        return trio.lowlevel.current_statistics().tasks_living

    async def main(runtime: Runtime) -> None:
        await asyncio.gather(*(runtime.send_message(meet, A) for _ in range(1000)))
        assert await runtime.run_sync(count_tasks) < 500

    run(main)


# --- cancellation


def test_a_cancelled_task_cancels_the_handler_and_resumes_when_it_has_unwound() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler(stubborn=True)
        task = asyncio.create_task(runtime.send_message(handler, A))
        await wait_for(handler.began)
        assert task.cancel("enough")
        await wait_for(handler.was_cancelled)
        assert not task.done()
        handler.unwind()
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert handler.unwound
        assert (await runtime.statistics()).cancelled == 1

    run(main)


def test_further_cancellations_do_not_cut_the_unwinding_short() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler(stubborn=True)
        task = asyncio.create_task(runtime.send_message(handler, A))
        await wait_for(handler.began)
        for _ in range(3):
            task.cancel()
            await wait_for(handler.was_cancelled)
        assert not task.done()
        handler.unwind()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert handler.unwound

    run(main)


def test_cancellation_goes_through_a_chain_of_sends() -> None:
    handler = Handler()
    ended: list[str] = []

    async def ask(agent: Actor, ctx: MessageContext) -> Any:
        try:
            return await agent.send_message(handler, B)
        finally:
            assert handler.unwound
            ended.append("asker")

    async def main(runtime: Runtime) -> None:
        task = asyncio.create_task(runtime.send_message(ask, A))
        await wait_for(handler.began)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["asker"]

    run(main)


def test_a_message_that_is_cancelled_in_the_queue_never_begins() -> None:
    async def main(runtime: Runtime) -> None:
        await runtime.stop()
        handler = Handler()
        task = asyncio.create_task(runtime.send_message(handler, A))
        await asyncio.sleep(0)
        assert (await runtime.statistics()).pending == 1  # asked after the send
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await runtime.start()
        await runtime.stop_when_idle()
        assert not handler.began.is_set()

    run(main)


def test_a_call_that_is_cancelled_before_the_trio_thread_has_seen_it_is_not_made() -> None:
    async def main(runtime: Runtime) -> None:
        async with held_up(runtime):
            task = asyncio.create_task(runtime.send_message(Handler(), A))
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await runtime.statistics()).accepted == 0

    run(main)


def test_a_timeout_of_asyncio_s_cancels_the_handler() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await runtime.send_message(handler, A)
        assert handler.unwound or not handler.began.is_set()

    run(main)


def test_wait_for_cancels_the_handler() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(runtime.send_message(handler, A), 0.01)
        assert handler.unwound or not handler.began.is_set()

    run(main)


def test_a_task_group_that_fails_cancels_its_sends() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler()

        async def fail() -> NoReturn:
            await wait_for(handler.began)
            raise ValueError("bad")

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(runtime.send_message(handler, A))
                group.create_task(fail())
        assert [str(error) for error in caught.value.exceptions] == ["bad"]
        assert handler.unwound

    run(main)


def test_what_a_cancelled_handler_raises_reaches_the_task() -> None:
    error = ValueError("no file")
    began = threading.Event()

    async def fail_to_clean_up(agent: Actor, ctx: MessageContext) -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async def main(runtime: Runtime) -> None:
        task = asyncio.create_task(runtime.send_message(fail_to_clean_up, A))
        await wait_for(began)
        task.cancel()
        with pytest.raises(ValueError, match="no file") as caught:
            await task
        assert caught.value is error

    run(main)


def test_a_task_is_cancelled_even_if_the_handler_answers_all_the_same() -> None:
    began = threading.Event()

    async def answer(agent: Actor, ctx: MessageContext) -> str:
        began.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return "answer"

    async def main(runtime: Runtime) -> None:
        task = asyncio.create_task(runtime.send_message(answer, A))
        await wait_for(began)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await runtime.statistics()).handled == 1

    run(main)


def test_a_task_that_is_cancelled_when_the_reply_is_on_its_way_is_cancelled() -> None:
    async def main(runtime: Runtime) -> None:
        task = asyncio.create_task(runtime.send_message(tell, A))
        await asyncio.sleep(0)
        while not runtime.blocking.statistics().handled:
            pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


def test_run_is_cancelled_too() -> None:
    began = threading.Event()
    ended: list[str] = []

    async def wait(runtime: object) -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("wait")

    async def main(runtime: Runtime) -> None:
        task = asyncio.create_task(runtime.run(wait))
        await wait_for(began)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["wait"]

    run(main)


def test_a_call_whose_coroutine_is_closed_is_cancelled() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler()
        call = runtime.send_message(handler, A)
        call.send(None)
        await wait_for(handler.began)
        call.close()
        await wait_for(handler.was_cancelled)

    run(main)


def test_a_cancelled_token_is_no_cancellation_of_the_task() -> None:
    async def main(runtime: Runtime) -> None:
        handler = Handler()
        token = CancellationToken()
        task = asyncio.create_task(runtime.send_message(handler, A, cancellation_token=token))
        await wait_for(handler.began)
        token.cancel()
        with pytest.raises(MessageCancelled):
            await task
        assert handler.unwound

    run(main)


def test_ten_thousand_sends_can_be_cancelled_at_once() -> None:
    async def main(runtime: Runtime) -> None:
        async def wait(agent: Actor, ctx: MessageContext) -> None:
            await trio.sleep_forever()

        tasks = [asyncio.create_task(runtime.send_message(wait, A)) for _ in range(10_000)]
        await asyncio.sleep(0)
        await runtime.run_sync(lambda runtime: None)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        counts = await runtime.statistics()
        assert counts.pending == 0
        assert counts.handled == 0

    run(main)


# --- who may call


def test_tasks_of_two_loops_in_two_threads_may_call() -> None:
    async def main(runtime: Runtime) -> None:
        async def call() -> list[Any]:
            return await asyncio.gather(*(runtime.send_message(tell, A) for _ in range(100)))

        here, there = await asyncio.gather(call(), asyncio.to_thread(asyncio.run, call()))
        assert here == there == ["I am actor/a"] * 100

    run(main)


def test_threads_call_through_the_blocking_form() -> None:
    async def main(runtime: Runtime) -> None:
        answers = await asyncio.gather(
            *(asyncio.to_thread(runtime.blocking.send_message, tell, A) for _ in range(20))
        )
        assert answers == ["I am actor/a"] * 20

    run(main)


def test_a_call_in_the_trio_thread_is_refused() -> None:
    async def main(runtime: Runtime) -> None:
        async def call(agent: Actor, ctx: MessageContext) -> Any:
            return await runtime.send_message(tell, B)

        with pytest.raises(RuntimeError, match=r"use the runtime itself.*self\.runtime"):
            await runtime.send_message(call, A)

    run(main)


def test_a_call_in_another_trio_program_is_refused() -> None:
    async def main(runtime: Runtime) -> None:
        with pytest.raises(RuntimeError, match="use a runtime without a portal in trio"):
            await asyncio.to_thread(trio.run, runtime.send_message, tell, A)

    run(main)


async def test_the_block_is_refused_on_trio() -> None:
    with pytest.raises(RuntimeError, match="use a runtime without a portal in trio"):
        async with open_portal():
            pass


# --- context variables


def test_run_sees_the_context_variables_of_the_calling_task() -> None:
    async def look(runtime: object) -> str:
        return variable.get()

    async def main(runtime: Runtime) -> None:
        async def call(value: str) -> tuple[str, str]:
            variable.set(value)
            return await runtime.run(look), await runtime.run_sync(lambda runtime: variable.get())

        assert await asyncio.gather(*map(call, "abc")) == [(v, v) for v in "abc"]
        assert await runtime.run(look) == "unset"

    run(main)


# --- the other calls


def test_stop_start_and_their_kin() -> None:
    async def main(runtime: Runtime) -> None:
        assert await runtime.is_started()
        await runtime.stop()
        assert not await runtime.is_started()
        handler = Handler()
        await runtime.publish_message(handler, NEWS)
        await runtime.process_next()
        assert handler.began.is_set()
        await runtime.start()
        await runtime.stop(cancel_after=0)
        assert handler.was_cancelled.is_set()
        with pytest.raises(ValueError, match="cancel_after"):
            await runtime.stop(cancel_after=-1)
        await runtime.start()
        await runtime.stop_when(lambda: True)
        await runtime.close()
        assert (await runtime.statistics()).pending == 0

    run(main)


def test_registration_without_the_class() -> None:
    async def main(runtime: Runtime) -> None:
        assert await runtime.register_factory("other", Actor, max_concurrency=1)
        with pytest.raises(ValueError, match="registered already"):
            await runtime.register_factory("other", Actor)
        one = AgentId("one", "x")
        assert await runtime.register_agent_instance(Actor(), one) == one

    run(main)


def test_subscriptions_come_and_go() -> None:
    heard: list[AgentId] = []

    async def hear(agent: Actor, ctx: MessageContext) -> None:
        heard.append(agent.id)

    async def main(runtime: Runtime) -> None:
        subscription = TypeSubscription("weather", "actor")
        await runtime.add_subscription(subscription)
        await runtime.publish_message(hear, TopicId("weather", "a"))
        await runtime.send_message(tell, A)  # behind it: it has had its turn
        await runtime.remove_subscription(subscription.id)
        await runtime.publish_message(hear, TopicId("weather", "a"))
        with pytest.raises(LookupError):
            await runtime.remove_subscription(subscription.id)

    run(main)
    assert heard == [A]


def test_agents_can_be_looked_at() -> None:
    async def main(runtime: Runtime) -> None:
        assert await runtime.get("actor", "a") == await runtime.get(A, lazy=False) == A
        assert (await runtime.agent_metadata(A))["key"] == "a"
        assert (await runtime.try_get_underlying_agent_instance(A, Actor)).id == A
        await runtime.deactivate(A)
        assert (await runtime.statistics()).agents == 0

    run(main)


def test_state_is_saved_and_loaded() -> None:
    async def main(runtime: Runtime) -> None:
        await runtime.agent_load_state(A, {"total": 1})
        assert await runtime.agent_save_state(A) == {"total": 1}
        assert await runtime.save_state() == {"actor/a": {"total": 1}}
        await runtime.load_state({"actor/b": {"total": 2}})
        assert await runtime.agent_save_state(B) == {"total": 2}

    run(main)


def test_serializers_are_made_known_at_once() -> None:
    task = make_dataclass("Task", [("text", str)])

    async def main(runtime: Runtime) -> None:
        runtime.add_message_serializer(try_get_known_serializers_for_type(task))
        assert await runtime.run_sync(
            lambda runtime: runtime._serialization.is_registered("Task", JSON_DATA_CONTENT_TYPE)
        )

    run(main)


def test_run_hands_the_real_runtime_over() -> None:
    async def which(runtime: SingleThreadedAgentRuntime) -> type:
        return type(runtime)

    async def main(runtime: Runtime) -> None:
        assert await runtime.run(which) is SingleThreadedAgentRuntime

    run(main)


def test_the_repr_names_the_runtime() -> None:
    async def main(runtime: Runtime) -> None:
        assert repr(runtime).startswith("<AwaitableRuntime of <SingleThreadedAgentRuntime started")

    run(main)


def test_anyio_s_portal_is_at_hand() -> None:
    async def main(runtime: Runtime) -> None:
        answer = runtime.portal.start_task_soon(trio.lowlevel.current_task)
        assert await asyncio.wrap_future(answer)

    run(main)
