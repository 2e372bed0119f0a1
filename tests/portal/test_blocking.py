"""The blocking form: what each call does, and that it happens in the trio thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import make_dataclass
from typing import Any, NoReturn, cast

import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trio_agents import (
    JSON_DATA_CONTENT_TYPE,
    AgentId,
    AgentMetadata,
    AgentType,
    CancellationToken,
    MessageContext,
    MessageHandlerContext,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    try_get_known_serializers_for_type,
)
from trio_agents.exceptions import MessageCancelled, StateError, UnknownAgentType
from trio_agents.portal import BlockingRuntime, open_portal

from .actors import NEWS, PATIENCE, A, Actor, B, Handler, settle_in, tell, variable


def test_send_returns_what_the_handler_returns() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        assert runtime.send_message(tell, A) == "I am actor/a"


def test_handlers_run_on_trio_in_one_thread_of_their_own() -> None:
    async def where(agent: Actor, ctx: MessageContext) -> int:
        await trio.lowlevel.checkpoint()
        return threading.get_ident()

    with open_portal() as runtime:
        runtime.run(settle_in)
        idents = {runtime.send_message(where, id) for id in (A, B)}
    assert len(idents) == 1
    assert idents != {threading.get_ident()}


def test_publish_returns_when_the_message_is_queued() -> None:
    handler = Handler()
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.publish_message(handler, NEWS)
        assert handler.began.wait(PATIENCE)
        assert not handler.unwound
        handler.finish()
        runtime.stop_when_idle()
        assert handler.unwound


def test_the_context_of_a_message_is_what_was_given_with_it() -> None:
    async def look(agent: Actor, ctx: MessageContext) -> tuple[Any, ...]:
        return ctx.sender, ctx.message_id, ctx.cancellation_token

    token = CancellationToken()
    with open_portal() as runtime:
        runtime.run(settle_in)
        assert runtime.send_message(
            look, A, sender=B, message_id="m", cancellation_token=token
        ) == (B, "m", token)


class Odd(BaseException):
    """No `Exception`."""


@pytest.mark.parametrize(
    "error",
    [ValueError("bad"), Odd(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()],
    ids=repr,
)
def test_the_caller_gets_the_very_object_that_the_handler_raised(error: BaseException) -> None:
    async def fail(agent: Actor, ctx: MessageContext) -> NoReturn:
        raise error

    with open_portal() as runtime:
        runtime.run(settle_in)
        with pytest.raises(type(error)) as caught:
            runtime.send_message(fail, A)
        assert caught.value is error
        assert runtime.send_message(tell, A) == "I am actor/a"


def test_the_traceback_leads_from_the_caller_to_the_handler() -> None:
    async def fail(agent: Actor, ctx: MessageContext) -> NoReturn:
        raise ValueError

    with open_portal() as runtime:
        runtime.run(settle_in)
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # which one is seen below
            runtime.send_message(fail, A)
    assert caught.traceback[0].name == "test_the_traceback_leads_from_the_caller_to_the_handler"
    assert caught.traceback[-1].name == "fail"


def test_an_unknown_agent_type_is_an_error_of_the_call() -> None:
    with open_portal() as runtime, pytest.raises(UnknownAgentType, match="no factory for"):
        runtime.send_message("hello", A)


def test_many_threads_may_call_at_once(threads: ThreadPoolExecutor) -> None:
    all_here = threading.Barrier(8)

    async def echo(agent: Actor, ctx: MessageContext) -> str | None:
        await trio.lowlevel.checkpoint()
        return ctx.message_id

    with open_portal() as runtime:
        runtime.run(settle_in)

        def call(thread: int) -> list[Any]:
            all_here.wait(PATIENCE)
            return [
                runtime.send_message(echo, A, message_id=f"{thread} {number}")
                for number in range(50)
            ]

        for thread, answers in enumerate(threads.map(call, range(8))):
            assert answers == [f"{thread} {number}" for number in range(50)]
        assert runtime.statistics().handled == 400


def test_threads_wait_for_their_replies_at_the_same_time(threads: ThreadPoolExecutor) -> None:
    all_there = trio.Event()
    there: list[AgentId] = []

    async def meet(agent: Actor, ctx: MessageContext) -> str:
        there.append(agent.id)
        if len(there) == 8:
            all_there.set()
        await all_there.wait()
        return "met"

    with open_portal() as runtime:
        runtime.run(settle_in)
        ids = [AgentId("actor", str(number)) for number in range(8)]
        assert [*threads.map(lambda id: runtime.send_message(meet, id), ids)] == ["met"] * 8


# --- tokens


def test_a_token_cancelled_in_another_thread_cancels_the_handler(
    threads: ThreadPoolExecutor,
) -> None:
    handler = Handler(stubborn=True)
    token = CancellationToken()
    with open_portal() as runtime:
        runtime.run(settle_in)
        call = threads.submit(runtime.send_message, handler, A, cancellation_token=token)
        assert handler.began.wait(PATIENCE)
        token.cancel()
        assert handler.was_cancelled.wait(PATIENCE)
        assert not call.done()
        handler.unwind()
        with pytest.raises(MessageCancelled):
            call.result(PATIENCE)
        assert handler.unwound


def test_a_token_that_is_cancelled_before_refuses_the_message() -> None:
    token = CancellationToken()
    token.cancel()
    with open_portal() as runtime:
        runtime.run(settle_in)
        with pytest.raises(MessageCancelled, match="before it was sent"):
            runtime.send_message(tell, A, cancellation_token=token)


# --- run, run_sync


def test_run_hands_the_real_runtime_over_in_the_trio_thread() -> None:
    async def look(runtime: SingleThreadedAgentRuntime, *, more: str) -> tuple[Any, ...]:
        await trio.lowlevel.checkpoint()
        return type(runtime), more, threading.get_ident() != threading.main_thread().ident

    with open_portal() as runtime:
        assert runtime.run(look, more="x") == (SingleThreadedAgentRuntime, "x", True)


def test_run_registers_an_agent() -> None:
    with open_portal() as runtime:
        assert runtime.run(Actor.register, "actor", Actor) == AgentType("actor")
        assert runtime.run(Actor().register_instance, AgentId("other", "x"))
        assert runtime.send_message(tell, AgentId("other", "x")) == "I am other/x"


def test_run_sync_calls_a_plain_function_in_the_trio_thread() -> None:
    with open_portal() as runtime:
        assert runtime.run_sync(lambda runtime: trio.lowlevel.in_trio_run())


def test_run_refuses_a_synchronous_function() -> None:
    wrong: Any = SingleThreadedAgentRuntime.is_started
    with (
        open_portal() as runtime,
        pytest.raises(TypeError, match=r"is_started gave bool: call run_sync"),
    ):
        runtime.run(wrong)


@pytest.mark.parametrize("method", ["run", "run_sync"])
def test_a_coroutine_in_place_of_a_function_is_refused_and_closed(method: str) -> None:
    with open_portal() as runtime:
        protocol: Any = runtime
        coroutine = Actor.register(protocol, "actor", Actor)
        with pytest.raises(
            TypeError,
            match=rf"^{method}\(\) takes .*; a coroutine of BaseAgent\.register is a call",
        ):
            getattr(runtime, method)(coroutine)
        assert coroutine.cr_frame is None


@pytest.mark.parametrize("method", ["run", "run_sync"])
def test_what_cannot_be_called_is_refused(method: str) -> None:
    with (
        open_portal() as runtime,
        pytest.raises(TypeError, match=rf"^{method}\(\) takes .*: give .* not int$"),
    ):
        getattr(runtime, method)(5)


def test_run_sync_refuses_an_async_function() -> None:
    async def wait(runtime: object) -> None:
        await trio.lowlevel.checkpoint()

    with open_portal() as runtime, pytest.raises(TypeError, match=r"wait is async: call run\(\)"):
        runtime.run_sync(wait)


def test_what_run_raises_is_raised_here() -> None:
    error = Odd()

    async def fail(runtime: object) -> NoReturn:
        raise error

    with open_portal() as runtime:
        with pytest.raises(Odd) as caught:
            runtime.run(fail)
        assert caught.value is error


def test_a_group_is_raised_as_the_group_it_is() -> None:
    async def fail() -> NoReturn:
        raise ValueError

    async def several(runtime: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    with open_portal() as runtime, pytest.raises(ExceptionGroup) as caught:
        runtime.run(several)
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


# --- context variables


def test_run_sees_the_context_variables_of_the_calling_thread() -> None:
    async def look(runtime: object) -> str:
        return variable.get()

    with open_portal() as runtime:
        token = variable.set("mine")
        try:
            assert runtime.run(look) == "mine"
            assert runtime.run_sync(lambda runtime: variable.get()) == "mine"
        finally:
            variable.reset(token)
        assert runtime.run(look) == "unset"


def test_a_context_variable_that_run_sets_goes_no_further() -> None:
    async def change(runtime: object) -> None:
        variable.set("changed")

    async def look(agent: Actor, ctx: MessageContext) -> str:
        return variable.get()

    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.run(change)
        assert variable.get() == "unset"
        assert runtime.run_sync(lambda runtime: variable.get()) == "unset"
        assert runtime.send_message(look, A) == "unset"


def test_handlers_see_the_context_variables_of_whoever_opened_the_portal() -> None:
    async def look(agent: Actor, ctx: MessageContext) -> str:
        return variable.get()

    token = variable.set("opener")
    try:
        with open_portal() as runtime:
            runtime.run(settle_in)
            variable.set("later")
            assert runtime.send_message(look, A) == "opener"
    finally:
        variable.reset(token)


class Unequal:
    """Cannot be compared, as some arrays cannot."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> NoReturn:
        raise ValueError("the truth value is ambiguous")


def test_a_context_variable_that_cannot_be_compared_does_no_harm() -> None:
    array: Any = variable
    token = array.set(Unequal())
    try:
        with open_portal() as runtime:
            runtime.run(settle_in)
            array.set(Unequal())
            assert runtime.send_message(tell, A) == "I am actor/a"
    finally:
        array.reset(token)


# --- calls that come out of handlers


def test_a_handler_is_refused_a_blocking_call_in_the_trio_thread() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)

        async def block(agent: Actor, ctx: MessageContext) -> None:
            runtime.send_message(tell, B)

        with pytest.raises(
            RuntimeError, match=r"use the runtime itself and await it.*self\.runtime"
        ):
            runtime.send_message(block, A)
        assert runtime.statistics().pending == 0


def test_a_thread_of_a_handler_may_call_and_belongs_to_its_call_chain() -> None:
    # With one place for each agent this would hang, were it not the handler's own message.
    with open_portal() as runtime:
        runtime.run(settle_in, max_concurrency=1)

        async def ask_myself(agent: Actor, ctx: MessageContext) -> Any:
            return await trio.to_thread.run_sync(runtime.send_message, tell, agent.id)

        assert runtime.send_message(ask_myself, A) == "I am actor/a"


def test_a_handler_behind_one_portal_is_a_stranger_behind_another() -> None:
    def who(runtime: object) -> str:
        try:
            return str(MessageHandlerContext.agent_id())
        except RuntimeError:
            return "nobody"

    with open_portal() as one, open_portal() as other:
        one.run(settle_in)

        async def call(agent: Actor, ctx: MessageContext) -> tuple[str, str]:
            return (
                await trio.to_thread.run_sync(one.run_sync, who),
                await trio.to_thread.run_sync(other.run_sync, who),
            )

        assert one.send_message(call, A) == ("actor/a", "nobody")


def test_a_portal_opened_in_a_handler_s_thread_does_not_belong_to_it() -> None:
    def work() -> Any:
        with open_portal() as inner:
            inner.run(settle_in)
            return inner.send_message(tell, A)

    async def open_another(agent: Actor, ctx: MessageContext) -> Any:
        return await trio.to_thread.run_sync(work)

    with open_portal() as runtime:
        runtime.run(settle_in)
        assert runtime.send_message(open_another, B) == "I am actor/a"


# --- in a thread that runs an event loop


def test_a_call_blocks_the_asyncio_loop_that_runs_in_its_thread() -> None:
    async def main() -> Any:
        with open_portal() as runtime:
            runtime.run(settle_in)
            return runtime.send_message(tell, A)

    assert asyncio.run(main()) == "I am actor/a"


async def test_a_call_blocks_the_trio_run_of_its_thread() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        assert runtime.send_message(tell, A) == "I am actor/a"


# --- the other calls


def test_the_runtime_is_started_when_the_block_begins() -> None:
    with open_portal() as runtime:
        assert runtime.is_started()


def test_stop_and_start() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.stop()
        assert not runtime.is_started()
        runtime.start()
        assert runtime.send_message(tell, A) == "I am actor/a"
        with pytest.raises(RuntimeError, match="started already"):
            runtime.start()


def test_stop_cancels_handlers_after_the_given_time() -> None:
    handler = Handler()
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.publish_message(handler, NEWS)
        assert handler.began.wait(PATIENCE)
        runtime.stop(cancel_after=0)
        assert handler.was_cancelled.is_set()


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_stop_refuses_a_time_span_that_is_none(seconds: float) -> None:
    with open_portal() as runtime:
        with pytest.raises(ValueError, match="cancel_after must be a number of seconds"):
            runtime.stop(cancel_after=seconds)
        assert runtime.is_started()


def test_stop_when() -> None:
    seen: list[str] = []

    async def note(agent: Actor, ctx: MessageContext) -> None:
        seen.append("noted")

    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.publish_message(note, NEWS)
        runtime.stop_when(lambda: bool(seen))
        assert not runtime.is_started()


def test_process_next_takes_up_one_message() -> None:
    handler = Handler()
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.stop()
        runtime.publish_message(handler, NEWS)
        runtime.process_next()
        assert handler.began.is_set()
        handler.finish()


def test_close_closes_the_agents_and_leaves_the_portal_open() -> None:
    closed: list[AgentId] = []

    class Closing(Actor):
        async def close(self) -> None:
            closed.append(self.id)

    with open_portal() as runtime:
        runtime.run(Closing.register, "actor", Closing)
        runtime.send_message(tell, A)
        runtime.close()
        assert closed == [A]
        assert not runtime.is_started()


def test_statistics() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.send_message(tell, A)
        counts = runtime.statistics()
        assert (counts.handled, counts.pending, counts.agents) == (1, 0, 1)


def test_the_messages_that_wait_are_counted() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        assert runtime.unprocessed_messages_count == 0
        runtime.stop()
        runtime.publish_message(tell, NEWS)
        assert runtime.unprocessed_messages_count == 1


def test_registration_without_the_class() -> None:
    with open_portal() as runtime:
        assert runtime.register_factory("actor", Actor, max_concurrency=1) == AgentType("actor")
        with pytest.raises(ValueError, match="registered already"):
            runtime.register_factory("actor", Actor)
        other = AgentId("other", "x")
        assert runtime.register_agent_instance(Actor(), other) == other
        assert runtime.send_message(tell, other) == "I am other/x"


def test_subscriptions_come_and_go() -> None:
    heard: list[AgentId] = []

    async def hear(agent: Actor, ctx: MessageContext) -> None:
        heard.append(agent.id)

    weather = TopicId("weather", "a")
    with open_portal() as runtime:
        runtime.run(settle_in)
        subscription = TypeSubscription("weather", "actor")
        runtime.add_subscription(subscription)
        runtime.publish_message(hear, weather)
        runtime.send_message(tell, A)  # behind it: it has had its turn
        runtime.remove_subscription(subscription.id)
        runtime.publish_message(hear, weather)
        with pytest.raises(LookupError):
            runtime.remove_subscription(subscription.id)
    assert heard == [A]


def test_agents_can_be_looked_at() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        assert runtime.get("actor", "a") == runtime.get(A, lazy=False) == A
        assert runtime.agent_metadata(A) == AgentMetadata(
            type="actor", key="a", description="an actor"
        )
        assert runtime.try_get_underlying_agent_instance(A, Actor).id == A
        assert runtime.try_get_underlying_agent_instance(A).id == A
        with pytest.raises(LookupError):
            runtime.get("nobody", lazy=False)


def test_one_agent_s_state() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.agent_load_state(A, {"total": 1})
        assert runtime.agent_save_state(A) == {"total": 1}


def test_the_state_of_all_agents() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.load_state({"actor/a": {"total": 1}})
        assert runtime.save_state() == {"actor/a": {"total": 1}}
        with pytest.raises(StateError):
            runtime.load_state({"nobody/x": {}})


def test_deactivate_lets_go_of_an_agent() -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.send_message(tell, A)
        runtime.deactivate(A)
        assert runtime.statistics().agents == 0


def test_serializers_are_made_known() -> None:
    task = make_dataclass("Task", [("text", str)])
    with open_portal() as runtime:
        runtime.add_message_serializer(try_get_known_serializers_for_type(task))
        with pytest.raises(TypeError):
            runtime.add_message_serializer(cast("Any", "no serializer"))
        assert runtime.run_sync(
            lambda runtime: runtime._serialization.is_registered("Task", JSON_DATA_CONTENT_TYPE)
        )


def test_the_repr_names_the_runtime() -> None:
    with open_portal() as runtime:
        assert isinstance(runtime, BlockingRuntime)
        assert repr(runtime).startswith("<BlockingRuntime of <SingleThreadedAgentRuntime started")


def test_anyio_s_portal_opens_what_agents_need_in_the_trio_thread() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def connection() -> AsyncIterator[str]:
        await trio.lowlevel.checkpoint()
        yield "connection"
        await trio.lowlevel.checkpoint()
        left.append("connection")

    with open_portal() as runtime:
        with runtime.portal.wrap_async_context_manager(connection()) as value:
            assert value == "connection"
        assert left == ["connection"]


def test_a_message_s_span_is_a_child_of_its_caller_s() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with open_portal(lambda: SingleThreadedAgentRuntime(tracer_provider=provider)) as runtime:
        runtime.run(settle_in)
        with provider.get_tracer("test").start_as_current_span("caller") as caller:
            runtime.send_message(tell, A)
    spans = [span for span in exporter.get_finished_spans() if span.name != "caller"]
    assert spans
    trace = caller.get_span_context()
    assert {span.get_span_context().trace_id for span in spans} == {trace.trace_id}
    assert trace.span_id in {span.parent.span_id for span in spans if span.parent is not None}
