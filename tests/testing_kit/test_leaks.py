from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import sniffio
import trio

import trio_agents
import trio_agents.asyncio
from trio_agents import AgentId, DefaultSubscription, DefaultTopicId
from trio_agents.portal import open_portal
from trio_agents.testing._leaks import Leak, LeakError, no_leaks
from trio_agents.testing._probes import Probe
from trio_agents.testing._scripted import ScriptedAgent, raises, returns, sleeps
from trio_agents.testing._waiting import Gate

from .harness import open_runtime

Main = Callable[[], Awaitable[None]]
A = AgentId("scripted", "a")


def on_asyncio(main: Main) -> None:
    asyncio.run(main())


BOTH = pytest.mark.parametrize("run", [trio.run, on_asyncio])


@contextmanager
def finds(*kinds: str, match: str | None = None, patience: float = 0) -> Iterator[LeakError]:
    """Expect the block to leak just this."""
    with pytest.raises(LeakError, match=match) as info:
        with no_leaks(patience=patience):
            yield info  # type: ignore[misc]
    assert [leak.kind for leak in info.value.leaks] == list(kinds), str(info.value)


class async_finds:
    """`finds`, around the body of ``async with no_leaks()``."""

    def __init__(self, *kinds: str, match: str | None = None) -> None:
        self._kinds, self._match, self._block = kinds, match, no_leaks(patience=0)

    async def __aenter__(self) -> None:
        await self._block.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> None:
        if exc_info[1] is not None:
            await self._block.__aexit__(*exc_info)
            return
        with pytest.raises(LeakError, match=self._match) as info:
            await self._block.__aexit__(None, None, None)
        assert [leak.kind for leak in info.value.leaks] == list(self._kinds), str(info.value)


# --- nothing is found where nothing is


@BOTH
def test_a_runtime_leaves_nothing(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with no_leaks():
            async with open_runtime() as runtime:
                probe = await Probe.register(
                    runtime, "probe", subscriptions=lambda: [DefaultSubscription()]
                )
                probe.answer_with(1)
                assert await runtime.send_message("x", probe.id) == 1
                await runtime.publish_message("x", DefaultTopicId())

    run(main)


@BOTH
def test_a_whole_run_leaves_nothing(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await Probe.register(runtime, "probe")

    with no_leaks():
        run(main)


def test_a_portal_leaves_nothing() -> None:
    with no_leaks(), open_portal() as runtime:
        runtime.run(ScriptedAgent.register, "scripted", ScriptedAgent)
        runtime.send_message(returns(1), A)


@BOTH
def test_threads_that_the_loop_keeps_are_none(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with no_leaks(patience=0):
            await anyio.to_thread.run_sync(os.getpid)
            if sniffio.current_async_library() == "asyncio":
                await asyncio.to_thread(os.getpid)

    run(main)


def test_what_is_tidied_up_is_none() -> None:
    with no_leaks():
        thread = threading.Thread(target=os.getpid)
        thread.start()
        with tempfile.NamedTemporaryFile(), tempfile.TemporaryDirectory():
            pass
        subprocess.run([sys.executable, "-c", ""], check=True)
        with socket.socket():
            pass
        concurrent.futures.ThreadPoolExecutor(1).shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="its resource tracker is looked at there")
def test_what_multiprocessing_keeps_is_none() -> None:
    with no_leaks():
        context = multiprocessing.get_context("spawn")
        context.Semaphore()  # begins its resource tracker, a process that stays
        gc.collect()


def test_what_was_there_before_is_none(tmp_path: Path) -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    with open(tmp_path / "held", "w"), no_leaks(patience=0):
        pass
    event.set()
    thread.join()


def test_files_below_an_older_directory_are_none(tmp_path: Path) -> None:
    with no_leaks():
        (tmp_path / "file").write_text("x")


@BOTH
def test_a_task_that_is_about_to_end_is_none(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks, no_leaks():
            for _ in range(5):
                tasks.start_soon(anyio.lowlevel.checkpoint)

    run(main)


def test_a_thread_that_is_about_to_end_is_none() -> None:
    with no_leaks(patience=20):
        threading.Thread(target=threading.Event().wait, args=(0.02,)).start()


@BOTH
def test_the_workers_of_a_runtime_are_none(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await ScriptedAgent.register(runtime, "scripted", ScriptedAgent, idle_timeout=10)
            async with no_leaks(), anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(runtime.send_message, sleeps(0.01), A)

    run(main)


# --- everything is found that is there


async def waits_here() -> None:
    await anyio.sleep_forever()


@BOTH
def test_a_task(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            async with async_finds(
                "task", match=r"- task: .*waits_here.* > .*waits_here \(.*test_leaks"
            ):
                tasks.start_soon(waits_here)
            tasks.cancel_scope.cancel()

    run(main)


@BOTH
def test_a_task_without_waiting_for_others(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            with finds("task"):
                tasks.start_soon(anyio.sleep_forever)
            tasks.cancel_scope.cancel()

    run(main)


def test_a_thread() -> None:
    event = threading.Event()
    with finds("thread", match=r"<Thread\(left over, started"):
        threading.Thread(target=event.wait, name="left over").start()
    event.set()


@BOTH
def test_a_thread_that_works_for_a_loop(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        event = threading.Event()
        async with anyio.create_task_group() as tasks:
            async with async_finds("task", "thread"):
                tasks.start_soon(anyio.to_thread.run_sync, event.wait)
            event.set()

    run(main)


def test_a_thread_that_had_rested() -> None:
    async def main() -> None:
        await trio.to_thread.run_sync(os.getpid)
        event = threading.Event()
        async with trio.open_nursery() as nursery:
            async with async_finds("task", "thread"):
                nursery.start_soon(trio.to_thread.run_sync, event.wait)
            event.set()

    trio.run(main)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="nobody tells which files are open")
def test_a_file_descriptor() -> None:
    with finds("file descriptor", match=r"- file descriptor: \d+ -> .*null"):
        number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="nobody tells of processes")
def test_a_child_process() -> None:
    program = "import signal; print(flush=True); signal.pause()"
    with finds("child process", match=rf"- child process: \d+ {sys.executable} -c import signal"):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
    process.kill()
    process.wait()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="nobody tells of processes")
def test_a_child_process_that_nobody_waited_for() -> None:
    with finds("child process", match="which has ended and was not waited for"):
        process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.wait()


def make_file() -> Path:
    number, name = tempfile.mkstemp()
    os.close(number)
    return Path(name)


def make_renamed() -> Path:
    path = make_file()
    return path.rename(path.with_suffix(".renamed"))


def make_directory() -> Path:
    return Path(tempfile.mkdtemp())


def make_with_a_name() -> Path:
    path = Path(tempfile.gettempdir(), f"trio_agents-{os.getpid()}")
    path.write_text("x")
    return path


@pytest.mark.parametrize("make", [make_file, make_renamed, make_directory, make_with_a_name])
def test_a_temporary_file(make: Callable[[], Path]) -> None:
    with finds("temporary file", match="- temporary file: /"):
        path = make()
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()


@BOTH
def test_a_message_that_is_not_finished(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        gate = Gate()
        async with open_runtime() as runtime, anyio.create_task_group() as tasks:
            await ScriptedAgent.register(
                runtime, "scripted", lambda: ScriptedAgent(lambda message, ctx: gate.wait())
            )
            await runtime.send_message(returns(1), A)
            async with async_finds("task", "message", match="1 not finished in"):
                tasks.start_soon(runtime.send_message, "x", A)
            gate.open()

    run(main)


@BOTH
def test_a_message_in_a_runtime_that_was_left(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        package: Any = trio_agents
        if sniffio.current_async_library() == "asyncio":
            package = trio_agents.asyncio
        async with async_finds("message", match="1 not finished in"):
            runtime = package.SingleThreadedAgentRuntime()
            await runtime.publish_message("x", DefaultTopicId())
        del runtime

    run(main)


def test_a_runtime_that_was_never_stopped() -> None:
    async def main() -> None:
        runtime = trio_agents.asyncio.SingleThreadedAgentRuntime()
        async with async_finds("task", match="owner of <SingleThreadedAgentRuntime"):
            runtime.start()
        await runtime.stop()

    asyncio.run(main())


@BOTH
def test_a_failure_that_was_never_raised(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        with pytest.raises(BaseException):  # noqa: B017, PT011  # a group on trio
            async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
                probe = await Probe.register(
                    runtime, "probe", subscriptions=lambda: [DefaultSubscription()]
                )
                probe.answer_with(raises(KeyError("lost")))
                async with async_finds("failure", match="KeyError"):
                    await runtime.publish_message("x", DefaultTopicId())

    run(main)


@BOTH
def test_a_failure_that_was_only_logged(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with async_finds("failure", match=r"only logged: agent probe/default(.*\n)+.*'lost'"):
            async with open_runtime() as runtime:
                probe = await Probe.register(
                    runtime, "probe", subscriptions=lambda: [DefaultSubscription()]
                )
                probe.answer_with(raises(KeyError("lost")))
                await runtime.publish_message("x", DefaultTopicId())

    run(main)


@BOTH
def test_a_failure_that_a_runtime_raised_is_none(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with no_leaks():
            with pytest.raises(BaseException):  # noqa: B017, PT011  # a group on trio
                async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
                    probe = await Probe.register(
                        runtime, "probe", subscriptions=lambda: [DefaultSubscription()]
                    )
                    probe.answer_with(raises(KeyError("raised")))
                    await runtime.publish_message("x", DefaultTopicId())

    run(main)


def test_an_error_in_del() -> None:
    class Rude:
        def __del__(self) -> None:
            raise ValueError("in del")

    with finds("exception", match="ValueError: in del"):
        Rude()


def test_an_error_in_a_cycle_of_garbage() -> None:
    class Rude:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            raise ValueError("in del")

    with finds("exception", match="ValueError: in del"):
        Rude()


def test_an_error_in_a_thread() -> None:
    def fail() -> None:
        raise ValueError("in a thread")

    with finds("exception", match="ValueError: in a thread"):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()


async def fail() -> None:
    raise ValueError("in a task")


def test_a_result_that_nobody_asked_for() -> None:
    async def main() -> None:
        async with async_finds("exception", match="never retrieved: .*\n(.*\n)*.*in a task"):
            task = asyncio.create_task(fail())
            await asyncio.wait([task])
            del task

    asyncio.run(main())


def test_a_result_that_nobody_asked_for_in_the_whole_run() -> None:
    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])

    with finds("exception", match="never retrieved"):
        asyncio.run(main())


def test_a_task_that_was_thrown_away() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with async_finds("exception", match="Task was destroyed but it is pending"):
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            del task

    asyncio.run(main())


@pytest.mark.parametrize("action", ["error", "ignore", "default"])
def test_a_coroutine_that_was_never_awaited(action: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with finds("coroutine", match="coroutine 'fail' was never awaited"):
            fail()


@pytest.mark.parametrize("action", ["error", "ignore", "default"])
def test_a_file_that_was_not_closed(action: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with finds("resource", match="unclosed file"):
            open(os.devnull)  # noqa: SIM115


# --- and how it is said


def test_all_are_listed() -> None:
    event = threading.Event()
    with finds("thread", "coroutine") as info:
        threading.Thread(target=event.wait, name="one").start()
        fail()
    event.set()
    text = str(info.value)  # type: ignore[attr-defined]
    assert text.startswith("2 leaks:\n- thread: <Thread(one, started")
    assert "\n- coroutine: coroutine 'fail' was never awaited" in text


def test_an_error_of_the_block_has_a_note_of_them() -> None:
    with pytest.raises(ZeroDivisionError) as info, no_leaks():
        fail()
        raise ZeroDivisionError
    assert info.value.__notes__ == ["1 leak:\n- coroutine: coroutine 'fail' was never awaited"]


def test_an_error_without_leaks_has_no_note() -> None:
    with pytest.raises(ZeroDivisionError) as info, no_leaks():
        raise ZeroDivisionError
    assert not hasattr(info.value, "__notes__")


@BOTH
def test_a_cancelled_exit_has_put_the_hooks_back(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with no_leaks():
                scope.cancel()

    before = sys.unraisablehook, threading.excepthook, warnings.showwarning, warnings.filters
    run(main)
    after = sys.unraisablehook, threading.excepthook, warnings.showwarning, warnings.filters
    assert before == after


def test_what_is_allowed_is_none() -> None:
    allowed: list[Leak] = []

    def allow(leak: Leak) -> bool:
        allowed.append(leak)
        return leak.kind == "coroutine"

    with no_leaks(allow=allow):
        fail()
    assert [str(leak) for leak in allowed] == ["coroutine: coroutine 'fail' was never awaited"]


def test_blocks_may_be_nested() -> None:
    with no_leaks():
        with finds("coroutine"):
            fail()


def test_a_block_is_entered_once() -> None:
    block = no_leaks()
    with block:
        pass
    with pytest.raises(RuntimeError, match="entered already"), block:
        pass


def test_other_warnings_go_their_way() -> None:
    with pytest.warns(UserWarning, match="mine"), no_leaks():
        warnings.warn("mine", UserWarning, stacklevel=1)
