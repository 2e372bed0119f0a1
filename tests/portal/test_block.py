"""The block: how it begins, what leaving it does to calls that wait, and that nothing is left."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import trio

from trio_agents import (
    AgentRuntime,
    CancellationToken,
    MessageContext,
    SingleThreadedAgentRuntime,
    open_runtime,
)
from trio_agents.exceptions import MessageCancelled, UndeliverableException
from trio_agents.portal import AwaitableRuntime, PortalClosedError, open_portal
from trio_agents.portal._calls import BlockingCall, Call, Postbox
from trio_agents.portal._thread import TrioThread

from .actors import NEWS, PATIENCE, A, Actor, Handler, portal_threads, settle_in, tell

ROOT = Path(__file__).parent.parent.parent


class Odd(BaseException):
    """No `Exception`."""


# --- a normal exit


def test_a_normal_exit_waits_for_what_was_published() -> None:
    handled: list[str] = []

    async def work(agent: Actor, ctx: MessageContext) -> None:
        await trio.sleep(0.01)
        handled.append("work")

    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.publish_message(work, NEWS)
    assert handled == ["work"]


def test_a_normal_exit_lets_other_threads_have_their_replies(threads: ThreadPoolExecutor) -> None:
    handler = Handler()
    with open_portal() as runtime:
        runtime.run(settle_in)
        call = threads.submit(runtime.send_message, handler, A)
        assert handler.began.wait(PATIENCE)
        threads.submit(handler.finish)
    assert call.result(PATIENCE) == "done"


def test_what_was_called_before_the_exit_is_done_before_it() -> None:
    handled: list[int] = []

    def numbered(number: int) -> Any:
        async def note(agent: Actor, ctx: MessageContext) -> None:
            handled.append(number)

        return note

    async def main() -> None:
        async with open_portal() as runtime:
            await settle_in(runtime)
            calls = [
                asyncio.create_task(runtime.publish_message(numbered(number), NEWS))
                for number in range(200)
            ]
            await asyncio.sleep(0)  # they have been made, and none has come back
        await asyncio.gather(*calls)

    asyncio.run(main())
    assert handled == [*range(200)]


def test_a_normal_exit_closes_the_agents() -> None:
    closed: list[str] = []

    class Closing(Actor):
        async def close(self) -> None:
            await trio.lowlevel.checkpoint()
            closed.append(str(self.id))

    with open_portal() as runtime:
        runtime.run(Closing.register, "actor", Closing)
        runtime.send_message(tell, A)
    assert closed == ["actor/a"]


def test_failures_of_publications_leave_the_block() -> None:
    async def fail(agent: Actor, ctx: MessageContext) -> NoReturn:
        raise ValueError("bad")

    with pytest.raises(ExceptionGroup, match="unhandled exceptions in message handlers") as caught:
        with open_portal(
            lambda: SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False)
        ) as runtime:
            runtime.run(settle_in)
            runtime.publish_message(fail, NEWS)
    assert [str(error) for error in caught.value.exceptions] == ["bad"]


def test_what_was_stopped_in_the_block_stays_stopped() -> None:
    handler = Handler()
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.stop()
        runtime.publish_message(handler, NEWS)
    assert not handler.began.is_set()


# --- calls that wait when the block ends


def test_a_message_in_a_stopped_runtime_is_undeliverable(threads: ThreadPoolExecutor) -> None:
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.stop()
        call = threads.submit(runtime.send_message, tell, A)
        while not runtime.statistics().pending:
            pass
    with pytest.raises(UndeliverableException, match="block was left before it was handled"):
        call.result(PATIENCE)


async def wait_for_ever(runtime: object, began: threading.Event) -> None:
    began.set()
    await trio.sleep_forever()


def test_a_call_that_is_no_message_fails_when_everything_else_is_done(
    threads: ThreadPoolExecutor,
) -> None:
    began = threading.Event()
    with open_portal() as runtime:
        call = threads.submit(runtime.run, wait_for_ever, began)
        assert began.wait(PATIENCE)
    with pytest.raises(PortalClosedError, match="closed before this call had ended"):
        call.result(PATIENCE)


def test_process_next_is_not_left_waiting(threads: ThreadPoolExecutor) -> None:
    with open_portal() as runtime:
        runtime.stop()
        call = threads.submit(runtime.process_next)
        while call.running() is False:
            pass
    with pytest.raises(RuntimeError):
        call.result(PATIENCE)


def test_a_task_of_asyncio_is_not_left_waiting_either() -> None:
    async def main() -> None:
        began = threading.Event()
        async with open_portal() as runtime:
            task = asyncio.create_task(runtime.run(wait_for_ever, began))
            await asyncio.to_thread(began.wait, PATIENCE)
        with pytest.raises(PortalClosedError):
            await task

    asyncio.run(main())


def test_an_exit_by_an_exception_cancels_calls_of_other_threads(
    threads: ThreadPoolExecutor,
) -> None:
    handler = Handler()
    began = threading.Event()
    with pytest.raises(ValueError, match="bad"):
        with open_portal() as runtime:
            runtime.run(settle_in)
            sending = threads.submit(runtime.send_message, handler, A)
            running = threads.submit(runtime.run, wait_for_ever, began)
            assert handler.began.wait(PATIENCE)
            assert began.wait(PATIENCE)
            raise ValueError("bad")
    assert handler.unwound
    with pytest.raises(MessageCancelled):
        sending.result(PATIENCE)
    with pytest.raises(PortalClosedError):
        running.result(PATIENCE)


def test_tasks_in_anyio_s_portal_end_with_the_block() -> None:
    with open_portal() as runtime:
        left = runtime.portal.start_task_soon(trio.sleep_forever)
    assert left.cancelled()


# --- calls after the block


def test_a_call_after_the_block_is_refused() -> None:
    with open_portal() as runtime:
        pass
    with pytest.raises(PortalClosedError, match="inside of its block"):
        runtime.send_message(tell, A)


def test_an_awaited_call_after_the_block_is_refused() -> None:
    async def main() -> None:
        async with open_portal() as runtime:
            pass
        with pytest.raises(PortalClosedError, match="inside of its block"):
            await runtime.send_message(tell, A)

    asyncio.run(main())


class LateInbox(deque[Call]):
    """Has the portal end between a caller's look at it and the call."""

    def __init__(self, end: Callable[[], object]) -> None:
        super().__init__()
        self._end: Callable[[], object] | None = end

    def append(self, call: Call) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()
        super().append(call)


def test_a_call_that_is_overtaken_by_the_end_is_refused() -> None:
    portal = open_portal()
    runtime = portal.__enter__()
    runtime._thread._inbox = LateInbox(lambda: portal.__exit__(None, None, None))
    with pytest.raises(PortalClosedError, match="inside of its block"):
        runtime.send_message(tell, A)


def test_an_awaited_call_that_is_overtaken_by_the_end_is_refused() -> None:
    portal = open_portal()
    runtime = AwaitableRuntime[Any](portal.__enter__()._thread)
    runtime._thread._inbox = LateInbox(lambda: portal.__exit__(None, None, None))
    for _ in range(2):
        with pytest.raises(PortalClosedError, match="inside of its block"):
            asyncio.run(runtime.send_message(tell, A))


def test_a_call_that_never_got_out_can_be_cancelled_after_the_end() -> None:
    with open_portal() as runtime:
        pass
    call = BlockingCall(wait_for_ever)
    runtime._thread.cancel_call(call)
    call.wait()
    assert call.was_cancelled


def test_a_call_that_was_cancelled_before_it_began_is_not_refused_as_well() -> None:
    with open_portal() as runtime:
        pass
    call, behind = BlockingCall(wait_for_ever), BlockingCall(wait_for_ever)
    call.settle(was_cancelled=True)
    runtime._thread._inbox.extend([call, behind])
    runtime._thread._refuse_all()
    assert call.error is None
    assert isinstance(behind.error, PortalClosedError)


def test_a_reply_that_is_posted_twice_holds_up_none_behind_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        postbox, first, second = Postbox(loop), loop.create_future(), loop.create_future()
        for future in (first, first, second):
            postbox.post(future)
        async with asyncio.timeout(PATIENCE):
            await second

    asyncio.run(main())


def test_a_reply_to_a_loop_that_is_closed_does_no_harm() -> None:
    handler = Handler()
    with open_portal() as runtime:
        runtime.run(settle_in)
        loop = asyncio.new_event_loop()
        call = AwaitableRuntime[Any](runtime._thread).send_message(handler, A)
        future = loop.run_until_complete(first_step(call))
        assert handler.began.wait(PATIENCE)
        loop.close()
        handler.finish()
        runtime.stop_when_idle()
        runtime.start()
        assert runtime.send_message(tell, A) == "I am actor/a"
        assert not future.done()
        call.close()


async def first_step(call: Coroutine[Any, Any, Any]) -> Any:
    return call.send(None)


def test_the_refusal_is_what_the_protocol_promises_of_a_runtime_that_has_stopped() -> None:
    assert issubclass(PortalClosedError, UndeliverableException)
    assert issubclass(PortalClosedError, RuntimeError)


def test_a_token_that_is_cancelled_after_the_block_does_no_harm() -> None:
    token = CancellationToken()
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.send_message(tell, A, cancellation_token=token)
    token.cancel()


# --- an exit by an exception


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        Odd(),
        SystemExit(3),
        KeyboardInterrupt(),
        StopIteration(),
        GeneratorExit(),
    ],
    ids=repr,
)
def test_what_leaves_the_block_leaves_it_as_itself(error: BaseException) -> None:
    handler = Handler()
    with pytest.raises(type(error)) as caught:
        with open_portal() as runtime:
            runtime.run(settle_in)
            runtime.publish_message(handler, NEWS)
            assert handler.began.wait(PATIENCE)
            raise error
    assert caught.value is error
    assert {Path(entry.path).name for entry in caught.traceback} == {Path(__file__).name}
    assert handler.unwound


def test_leaving_waits_until_handlers_have_unwound(threads: ThreadPoolExecutor) -> None:
    handler = Handler(stubborn=True)

    def unwind() -> bool:
        assert handler.was_cancelled.wait(PATIENCE)
        before = handler.unwound
        handler.unwind()
        return before

    with pytest.raises(ValueError, match="bad"):
        with open_portal() as runtime:
            runtime.run(settle_in)
            runtime.publish_message(handler, NEWS)
            assert handler.began.wait(PATIENCE)
            unwinding = threads.submit(unwind)
            raise ValueError("bad")
    assert unwinding.result(PATIENCE) is False
    assert handler.unwound


def test_what_leaves_the_awaited_block_leaves_it_as_itself() -> None:
    error = ValueError("bad")

    async def main() -> None:
        handler = Handler()
        with pytest.raises(ValueError, match="bad") as caught:
            async with open_portal() as runtime:
                await settle_in(runtime)
                await runtime.publish_message(handler, NEWS)
                await asyncio.to_thread(handler.began.wait, PATIENCE)
                raise error
        assert caught.value is error
        assert handler.unwound

    asyncio.run(main())


def test_a_task_that_is_cancelled_in_the_block_leaves_it() -> None:
    async def main() -> None:
        handler = Handler()

        async def work() -> None:
            async with open_portal() as runtime:
                await settle_in(runtime)
                await runtime.send_message(handler, A)

        task = asyncio.create_task(work())
        await asyncio.to_thread(handler.began.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert handler.unwound
        assert portal_threads() == []

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_leaves_cancels_the_handlers() -> None:
    async def main() -> None:
        handler = Handler()
        leaves = asyncio.Event()

        async def work() -> None:
            async with open_portal() as runtime:
                await settle_in(runtime)
                await runtime.publish_message(handler, NEWS)
                await asyncio.to_thread(handler.began.wait, PATIENCE)
                leaves.set()

        task = asyncio.create_task(work())
        await leaves.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert handler.unwound
        assert portal_threads() == []

    asyncio.run(main())


def test_a_trio_task_that_is_cancelled_in_a_blocking_block_leaves_it() -> None:
    # Its `Cancelled` belongs to another trio run than the one it goes through.
    async def main() -> None:
        with trio.move_on_after(0.01) as scope, open_portal() as runtime:
            runtime.run(settle_in)
            await trio.sleep_forever()
        assert scope.cancelled_caught

    trio.run(main)


# --- what ends the runtime from inside


def test_a_handler_that_means_the_program_ends_the_block() -> None:
    error = SystemExit(3)

    async def leave(agent: Actor, ctx: MessageContext) -> NoReturn:
        raise error

    with pytest.raises(SystemExit) as caught:
        with open_portal() as runtime:
            runtime.run(settle_in)
            handler = Handler()
            runtime.publish_message(handler, NEWS)
            runtime.publish_message(leave, NEWS)
            assert handler.was_cancelled.wait(PATIENCE)
            with pytest.raises((PortalClosedError, UndeliverableException)):
                while True:
                    runtime.send_message(tell, A)
    assert caught.value is error


def test_calls_are_refused_with_the_reason_when_the_runtime_has_ended() -> None:
    async def leave(agent: Actor, ctx: MessageContext) -> NoReturn:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        with open_portal() as runtime:
            runtime.run(settle_in)
            runtime.publish_message(leave, NEWS)
            portal_threads()[0].join(PATIENCE)
            with pytest.raises(PortalClosedError, match=r"its runtime ended with SystemExit\(3\)"):
                runtime.send_message(tell, A)


def test_a_task_in_anyio_s_portal_that_means_the_program_ends_the_block(
    threads: ThreadPoolExecutor,
) -> None:
    def leave() -> NoReturn:
        raise SystemExit(3)

    began = threading.Event()
    with pytest.raises(BaseExceptionGroup) as caught:
        with open_portal() as runtime:
            call = threads.submit(runtime.run, wait_for_ever, began)
            assert began.wait(PATIENCE)
            runtime.portal.start_task_soon(leave)
            with pytest.raises(PortalClosedError):
                call.result(PATIENCE)
    assert caught.group_contains(SystemExit)


# --- entering


def test_a_portal_is_entered_once() -> None:
    portal = open_portal()
    with portal:
        with pytest.raises(RuntimeError, match="entered already"):
            portal.__enter__()
    with pytest.raises(RuntimeError, match="entered already"):
        portal.__enter__()


def test_an_awaited_portal_is_entered_once() -> None:
    async def main() -> None:
        portal = open_portal()
        async with portal:
            with pytest.raises(RuntimeError, match="entered already"):
                await portal.__aenter__()

    asyncio.run(main())


def test_two_portals_are_two_runtimes() -> None:
    with open_portal() as one, open_portal() as other:
        one.run(settle_in)
        assert one.send_message(tell, A)
        with pytest.raises(LookupError):
            other.send_message(tell, A)


def test_the_factory_must_be_callable() -> None:
    runtime: Any = SingleThreadedAgentRuntime()
    with pytest.raises(TypeError, match="give the class, or a function"):
        open_portal(runtime)


def test_a_block_that_was_made_already_is_not_called() -> None:
    block: Any = open_runtime(strict=True)  # it can be called: as a decorator
    with pytest.raises(TypeError, match=r"lambda: open_runtime\(\.\.\.\).*, without calling it"):
        open_portal(block)


async def coroutine_function() -> SingleThreadedAgentRuntime:
    return SingleThreadedAgentRuntime()


async def bare_generator() -> AsyncIterator[SingleThreadedAgentRuntime]:
    yield SingleThreadedAgentRuntime()


@pytest.mark.parametrize(
    ("factory", "what"),
    [
        (coroutine_function, "coroutine"),
        (bare_generator, "async_generator"),
        (lambda: None, "NoneType"),
        (object, "object"),
        (lambda: SingleThreadedAgentRuntime, "a class"),
    ],
    ids=["coroutine", "generator", "None", "object", "class"],
)
def test_a_factory_that_gives_something_else_is_refused(
    factory: Callable[[], Any], what: str
) -> None:
    with pytest.raises(TypeError, match=f"runtime_factory must give an async .*not {what}"):
        with open_portal(factory):
            pass


def test_a_context_manager_of_something_else_is_refused_and_left() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def something() -> AsyncIterator[str]:
        try:
            yield "something"
        finally:
            left.append("something")

    with pytest.raises(TypeError, match="must give an AgentRuntime, not str"):
        with open_portal(cast("Any", something)):
            pass
    assert left == ["something"]


@pytest.mark.parametrize("error", [ValueError("bad"), Odd(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("form", ["blocking", "awaited"])
def test_what_the_factory_raises_is_raised_on_entering(form: str, error: BaseException) -> None:
    def factory() -> SingleThreadedAgentRuntime:
        raise error

    async def main() -> None:
        async with open_portal(factory):
            pass

    with pytest.raises(type(error)) as caught:
        if form == "awaited":
            asyncio.run(main())
        else:
            with open_portal(factory):
                pass
    assert caught.value is error


def test_a_thread_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        with open_portal():
            pass


def test_a_thread_that_is_given_up_before_it_runs_makes_no_runtime() -> None:
    made: list[object] = []
    thread = TrioThread(lambda: made.append(1))
    opened, ended = BlockingCall(wait_for_ever), BlockingCall(wait_for_ever)
    thread.cancel()
    thread.start(opened, ended)
    ended.wait()
    thread.join()
    assert opened.settled
    assert made == []


def test_a_task_that_is_cancelled_while_it_enters_leaves_no_thread() -> None:
    enters = threading.Event()
    left: list[str] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[SingleThreadedAgentRuntime]:
        enters.set()
        try:
            await trio.sleep_forever()
        finally:
            left.append("slow")
        yield SingleThreadedAgentRuntime()

    async def main() -> None:
        async def enter() -> None:
            async with open_portal(slow):
                pass

        task = asyncio.create_task(enter())
        await asyncio.to_thread(enters.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left == ["slow"]
        assert portal_threads() == []

    asyncio.run(main())


# --- the factory's own block


def test_open_runtime_is_a_factory() -> None:
    with open_portal(open_runtime) as runtime:
        runtime.run(settle_in)
        assert runtime.send_message(tell, A) == "I am actor/a"


def test_a_block_of_the_application_s_own_is_entered_and_left_in_the_trio_thread() -> None:
    entered: list[int] = []
    left: list[int] = []

    @asynccontextmanager
    async def my_runtime() -> AsyncIterator[SingleThreadedAgentRuntime]:
        async with open_runtime() as runtime:
            await settle_in(runtime)
            entered.append(threading.get_ident())
            yield runtime
            left.append(threading.get_ident())

    with open_portal(my_runtime) as runtime:
        assert runtime.send_message(tell, A) == "I am actor/a"
    assert entered == left != [threading.get_ident()]


def test_a_block_of_the_application_s_own_sees_the_exception_and_may_swallow_it() -> None:
    seen: list[BaseException] = []

    @asynccontextmanager
    async def my_runtime() -> AsyncIterator[SingleThreadedAgentRuntime]:
        async with open_runtime() as runtime:
            try:
                yield runtime
            except ValueError as exc:
                seen.append(exc)

    error = ValueError("bad")
    with open_portal(my_runtime):
        raise error
    assert seen == [error]


def test_a_block_of_the_application_s_own_may_raise_instead() -> None:
    @asynccontextmanager
    async def my_runtime() -> AsyncIterator[SingleThreadedAgentRuntime]:
        async with open_runtime() as runtime:
            try:
                yield runtime
            except ValueError as exc:
                raise LookupError("worse") from exc

    error = ValueError("bad")
    with pytest.raises(LookupError, match="worse") as caught:
        with open_portal(my_runtime):
            raise error
    assert caught.value.__cause__ is error


class OtherRuntime:
    """Someone else's runtime: no block, no start and no stop."""

    def __init__(self) -> None:
        self._inner = SingleThreadedAgentRuntime()

    async def send_message(self, message: Any, recipient: Any, **rest: Any) -> Any:
        return f"{message} to {recipient}"

    def __getattr__(self, name: str) -> Any:
        if name in ("is_started", "__aenter__", "__aexit__"):
            raise AttributeError(name)
        return getattr(self._inner, name)


for _name in dir(AgentRuntime):  # isinstance() looks at the class from Python 3.12 on
    if not _name.startswith("_") and _name not in vars(OtherRuntime):
        setattr(OtherRuntime, _name, getattr(SingleThreadedAgentRuntime, _name))


def test_a_runtime_without_a_block_is_used_as_it_is() -> None:
    factory: Any = OtherRuntime
    with open_portal(factory) as runtime:
        assert runtime.send_message("hello", A) == "hello to actor/a"


# --- a program that does not leave the block


def test_a_program_that_ends_inside_the_block_does_end() -> None:
    code = """
        import threading, trio
        from trio_agents import AgentId, BaseAgent
        from trio_agents.portal import open_portal

        began = threading.Event()

        class Waits(BaseAgent):
            async def on_message_impl(self, message, ctx):
                began.set()
                await trio.sleep_forever()

        runtime = open_portal().__enter__()
        runtime.run(Waits.register, "waits", lambda: Waits("waits"))
        waiting = threading.Thread(
            target=runtime.send_message, args=("x", AgentId("waits", "x")), daemon=True
        )
        waiting.start()
        began.wait()
        print("the end")
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "the end\n", "")


def test_a_generator_that_is_closed_inside_the_block_leaves_it() -> None:
    @contextmanager
    def service() -> Iterator[Any]:
        with open_portal() as runtime:
            yield runtime

    generator = service()
    with generator as runtime:
        assert runtime.is_started()

    def endless() -> Iterator[Any]:
        with open_portal() as runtime:
            while True:
                yield runtime.is_started()

    values = endless()
    assert next(values)
    cast("Any", values).close()


def test_the_awaited_block_gives_the_awaited_form() -> None:
    async def main() -> None:
        async with open_portal() as runtime:
            assert isinstance(runtime, AwaitableRuntime)

    asyncio.run(main())
