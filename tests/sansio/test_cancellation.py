from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_agents._sansio import _cancellation
from trio_agents._sansio._cancellation import CancellationToken, Home


class Scope:
    """Something with a ``cancel`` method."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


# CT-01, CT-02, CT-03, CT-04
def test_cancelling_calls_the_callbacks_once_and_in_order() -> None:
    token = CancellationToken()
    calls: list[int] = []
    for number in range(5):
        token.add_callback(lambda number=number: calls.append(number))
    assert not token.is_cancelled()
    assert repr(token) == "<CancellationToken not cancelled>"
    assert calls == []
    token.cancel()
    token.cancel()
    assert token.is_cancelled()
    assert repr(token) == "<CancellationToken cancelled>"
    assert calls == [0, 1, 2, 3, 4]


# CT-02
def test_a_token_without_links_can_be_cancelled() -> None:
    token = CancellationToken()
    token.cancel()
    assert token.is_cancelled()


# CT-04, CT-05, GAP-21
def test_what_is_linked_to_a_cancelled_token_is_cancelled_at_once() -> None:
    token = CancellationToken()
    token.cancel()
    calls: list[str] = []
    token.add_callback(lambda: calls.append("callback"))
    scope = Scope()
    assert token.link_future(scope) is scope
    assert (calls, scope.cancelled) == (["callback"], 1)


# CT-04
def test_one_function_may_be_added_twice() -> None:
    token = CancellationToken()
    calls: list[int] = []
    for _ in range(2):
        token.add_callback(lambda: calls.append(1))
    scope = Scope()
    token.add_callback(scope.cancel)
    token.add_callback(scope.cancel)
    token.cancel()
    assert (calls, scope.cancelled) == ([1, 1], 2)


def test_a_callback_that_raises_does_not_spare_the_rest() -> None:
    token = CancellationToken()
    calls: list[str] = []

    def fail() -> None:
        raise ValueError("one")

    token.add_callback(lambda: calls.append("a"))
    token.add_callback(fail)
    token.add_callback(lambda: calls.append("b"))
    with pytest.raises(ValueError, match="one"):
        token.cancel()
    assert calls == ["a", "b"]
    assert token.is_cancelled()
    token.cancel()
    assert calls == ["a", "b"]


def test_several_failures_come_as_a_group() -> None:
    token = CancellationToken()

    def fail(exc: BaseException) -> Callable[[], None]:
        def callback() -> None:
            raise exc

        return callback

    failures = [ValueError("one"), KeyboardInterrupt(), KeyError("two")]
    for exc in failures:
        token.add_callback(fail(exc))
    with pytest.raises(BaseExceptionGroup) as caught:
        token.cancel()
    assert list(caught.value.exceptions) == failures


def test_callbacks_may_use_the_token() -> None:
    token = CancellationToken()
    calls: list[str] = []

    def callback() -> None:
        calls.append(f"first, cancelled: {token.is_cancelled()}")
        token.cancel()
        token.add_callback(lambda: calls.append("added while cancelling"))
        token.unlink(last)

    token.add_callback(callback)
    last = token.link(lambda: calls.append("last"))
    token.cancel()
    # A link that is already being cancelled cannot be taken back.
    assert calls == ["first, cancelled: True", "added while cancelling", "last"]


def test_a_link_that_is_taken_away_is_not_called() -> None:
    token = CancellationToken()
    calls: list[str] = []
    handles = [token.link(lambda name=name: calls.append(name)) for name in "abc"]
    token.unlink(handles[1])
    token.unlink(handles[1])
    token.unlink(0)
    token.unlink(999)
    token.cancel()
    token.unlink(handles[0])
    assert calls == ["a", "c"]


def test_links_that_ended_are_not_kept() -> None:
    token = CancellationToken()
    for _ in range(1000):
        token.unlink(token.link(lambda: None))
        scope = token.link_future(Scope())
        del scope
    gc.collect()
    assert not token._links


@pytest.mark.parametrize("wrong", [None, 3, "cancel"])
def test_what_cannot_be_called_or_cancelled_is_refused(wrong: Any) -> None:
    token = CancellationToken()
    with pytest.raises(TypeError, match="a callback must be callable, not"):
        token.add_callback(wrong)
    with pytest.raises(TypeError, match=r"something with cancel\(\), not"):
        token.link_future(wrong)


# CT-05
def test_a_scope_is_cancelled_with_the_token_and_forgotten_with_its_holder() -> None:
    token = CancellationToken()
    kept, dropped = Scope(), Scope()
    assert token.link_future(kept) is kept
    gone = weakref.ref(token.link_future(dropped))
    del dropped
    gc.collect()
    assert gone() is None
    assert token._links is not None
    assert len(token._links) == 1
    token.cancel()
    assert kept.cancelled == 1


# CT-05
def test_something_without_weak_references_is_kept_as_long_as_the_token() -> None:
    class Slotted:
        __slots__ = ("calls",)

        def __init__(self, calls: list[str]) -> None:
            self.calls = calls

        def cancel(self) -> None:
            self.calls.append("cancelled")

    token = CancellationToken()
    calls: list[str] = []
    token.link_future(Slotted(calls))
    token.cancel()
    assert calls == ["cancelled"]


# CT-05
def test_a_future_is_cancelled_or_forgotten_when_done() -> None:
    token = CancellationToken()
    pending: concurrent.futures.Future[None] = concurrent.futures.Future()
    done: concurrent.futures.Future[None] = concurrent.futures.Future()
    assert token.link_future(pending) is pending
    token.link_future(done)
    done.set_result(None)
    assert token._links is not None
    assert len(token._links) == 1
    token.cancel()
    assert pending.cancelled()
    assert not done.cancelled()


# CT-05
def test_an_asyncio_task_is_linked_strongly_and_forgotten_when_done() -> None:
    async def main() -> None:
        token = CancellationToken()
        task = token.link_future(asyncio.ensure_future(asyncio.sleep(60)))
        quick = token.link_future(asyncio.ensure_future(asyncio.sleep(0)))
        await quick
        await asyncio.sleep(0)
        assert token._links is not None
        assert len(token._links) == 1
        token.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# CT-05, CT-07
async def test_a_trio_scope_is_cancelled() -> None:
    token = CancellationToken()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_when_all_wait, token)
        with token.link_future(trio.CancelScope()) as scope:
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def cancel_when_all_wait(token: CancellationToken) -> None:
    await trio.testing.wait_all_tasks_blocked()
    token.cancel()


# --- threads -----------------------------------------------------------------------------------


def test_work_of_another_thread_is_cancelled_there(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Callable[[], object]]] = []
    here = threading.get_ident()
    home = Home(here, lambda callback: calls.append(("asked", callback)))
    monkeypatch.setattr(_cancellation, "home_finders", [lambda: None, lambda: home])

    token, scope = CancellationToken(), Scope()
    token.link_future(scope)
    thread = threading.Thread(target=token.cancel)
    thread.start()
    thread.join()
    assert (len(calls), scope.cancelled) == (1, 0)
    calls[0][1]()
    assert scope.cancelled == 1

    token, scope = CancellationToken(), Scope()
    token.link_future(scope)
    token.cancel()  # in its own thread: at once
    assert (len(calls), scope.cancelled) == (1, 1)


def test_callbacks_run_in_the_thread_that_cancels() -> None:
    token = CancellationToken()
    threads: list[int] = []
    token.add_callback(lambda: threads.append(threading.get_ident()))
    thread = threading.Thread(target=token.cancel)
    thread.start()
    thread.join()
    assert threads == [thread.ident]


def test_links_from_many_threads_are_each_called_once() -> None:
    token = CancellationToken()
    called: list[tuple[int, int]] = []
    start = threading.Barrier(9)

    def link(thread: int) -> None:
        start.wait()
        for number in range(200):
            token.link(lambda number=number: called.append((thread, number)))

    def cancel() -> None:
        start.wait()
        token.cancel()

    threads = [threading.Thread(target=link, args=(number,)) for number in range(8)]
    threads.append(threading.Thread(target=cancel))
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(called) == len(set(called)) == 8 * 200


def test_two_threads_that_cancel_call_each_link_once() -> None:
    for _ in range(50):
        token = CancellationToken()
        called: list[int] = []
        token.add_callback(lambda called=called: called.append(1))
        threads = [threading.Thread(target=token.cancel) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert called == [1]


# Garbage may be collected at any moment, so also while the lock is held, and a scope that ends
# there has its link taken away. With a lock that is not reentrant the thread waits for itself.
def test_a_scope_that_ends_inside_the_lock() -> None:
    token = CancellationToken()
    scope = token.link_future(Scope())

    def collect() -> None:
        nonlocal scope
        with _cancellation._lock:
            del scope
            gc.collect()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert not token._links
