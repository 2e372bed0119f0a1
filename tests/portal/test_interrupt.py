"""Ctrl-C, wherever the main thread waits: it cancels, what runs unwinds, and nothing hangs."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
import trio

from trio_agents import MessageContext, SingleThreadedAgentRuntime
from trio_agents.portal import PortalClosedError, open_portal

from .actors import NEWS, PATIENCE, A, Actor, Handler, portal_threads, settle_in, tell

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="needs a signal that interrupts a waiting thread"
)


@pytest.fixture(autouse=True)
def _python_s_own_handler() -> Iterator[None]:
    # A shell may have started us with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c() -> None:
    """Interrupt the main thread, from another one."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def press_when(threads: ThreadPoolExecutor, *events: threading.Event) -> Future[None]:
    """Press Ctrl-C when each of *events* has come."""

    def press() -> None:
        for event in events:
            assert event.wait(PATIENCE)
            press_ctrl_c()

    return threads.submit(press)


def test_ctrl_c_cancels_the_handler_and_is_raised_when_it_has_unwound(
    threads: ThreadPoolExecutor,
) -> None:
    handler = Handler(stubborn=True)

    def unwind() -> bool:
        assert handler.was_cancelled.wait(PATIENCE)
        before = handler.unwound
        handler.unwind()
        return before

    with open_portal() as runtime:
        runtime.run(settle_in)
        press_when(threads, handler.began)
        unwinding = threads.submit(unwind)
        with pytest.raises(KeyboardInterrupt):
            runtime.send_message(handler, A)
        assert unwinding.result(PATIENCE) is False
        assert handler.unwound
        assert runtime.send_message(tell, A) == "I am actor/a"


def test_a_second_ctrl_c_does_not_wait_for_the_handler(threads: ThreadPoolExecutor) -> None:
    handler = Handler(stubborn=True)
    with open_portal() as runtime:
        runtime.run(settle_in)
        press_when(threads, handler.began, handler.was_cancelled)
        with pytest.raises(KeyboardInterrupt):
            runtime.send_message(handler, A)
        assert not handler.unwound
        handler.unwind()
    assert handler.unwound


def test_ctrl_c_takes_a_queued_message_back(threads: ThreadPoolExecutor) -> None:
    queued = threading.Event()
    with open_portal() as runtime:
        runtime.run(settle_in)
        runtime.stop()

        def look() -> None:
            while not runtime.statistics().pending:
                pass
            queued.set()

        threads.submit(look)
        press_when(threads, queued)
        with pytest.raises(KeyboardInterrupt):
            runtime.send_message(tell, A)
        counts = runtime.statistics()
        assert (counts.pending, counts.cancelled) == (0, 1)


def test_what_the_handler_raises_while_it_unwinds_is_the_cause(
    threads: ThreadPoolExecutor,
) -> None:
    error = ValueError("no file")
    began = threading.Event()

    async def fail_to_clean_up(agent: Actor, ctx: MessageContext) -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            raise error

    with open_portal() as runtime:
        runtime.run(settle_in)
        press_when(threads, began)
        with pytest.raises(KeyboardInterrupt) as caught:
            runtime.send_message(fail_to_clean_up, A)
        assert caught.value.__cause__ is error


def test_ctrl_c_leaves_calls_of_other_threads_alone(threads: ThreadPoolExecutor) -> None:
    handler, other = Handler(), Handler()
    with open_portal() as runtime:
        runtime.run(settle_in)
        call = threads.submit(runtime.send_message, other, A)
        assert other.began.wait(PATIENCE)
        press_when(threads, handler.began)
        with pytest.raises(KeyboardInterrupt):
            runtime.send_message(handler, A)
        other.finish()
        assert call.result(PATIENCE) == "done"


def test_ctrl_c_while_a_normal_exit_waits_cancels_what_runs(threads: ThreadPoolExecutor) -> None:
    handler = Handler()
    with pytest.raises(KeyboardInterrupt):
        with open_portal() as runtime:
            runtime.run(settle_in)
            runtime.publish_message(handler, NEWS)
            assert handler.began.wait(PATIENCE)
            leaving = threading.Event()
            press_when(threads, leaving)
            leaving.set()
    assert handler.unwound
    assert portal_threads() == []


def test_ctrl_c_in_the_block_leaves_it(threads: ThreadPoolExecutor) -> None:
    handler = Handler()
    with pytest.raises(KeyboardInterrupt):
        with open_portal() as runtime:
            runtime.run(settle_in)
            call = threads.submit(runtime.run, sleep)
            runtime.publish_message(handler, NEWS)
            press_when(threads, handler.began)
            threading.Event().wait(PATIENCE)
    assert handler.unwound
    with pytest.raises(PortalClosedError):
        call.result(PATIENCE)


async def sleep(runtime: object) -> None:
    await trio.sleep_forever()


def test_ctrl_c_while_the_block_is_entered_leaves_no_thread(threads: ThreadPoolExecutor) -> None:
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

    press_when(threads, enters)
    with pytest.raises(KeyboardInterrupt):
        with open_portal(slow):
            pass
    assert left == ["slow"]
    assert portal_threads() == []


def test_ctrl_c_ends_an_asyncio_program_through_its_handlers(threads: ThreadPoolExecutor) -> None:
    handler = Handler()

    async def main() -> None:
        async with open_portal() as runtime:
            await settle_in(runtime)
            press_when(threads, handler.began)
            await runtime.send_message(handler, A)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert handler.unwound
    assert portal_threads() == []
