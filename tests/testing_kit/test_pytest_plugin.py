"""The pytest plugin, in pytest runs of its own beside pytest-trio and anyio's plugin."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import pytest

pytest_plugins = ["pytester"]

HEAD = """
import anyio, pytest, sniffio, trio
from trio_agents import AgentId, DefaultTopicId, RoutedAgent, message_handler
from trio_agents.testing._scripted import ScriptedAgent, raises, returns
from trio_agents.testing._waiting import wait_all_tasks_blocked
LOG = []
"""


PLUGIN = ("-p", "no:trio_agents", "-p", "trio_agents.testing.pytest_plugin")


class Run:
    """Writes tests and runs them."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.subprocess = False

    def __call__(self, source: str, *options: str, ini: str = "") -> pytest.RunResult:
        lines = source.splitlines()
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        body = "\n".join(line[indent:] for line in lines)
        self.pytester.makepyfile(test_it=HEAD + body)
        self.pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        options = (*PLUGIN, *options)
        if self.subprocess:
            return self.pytester.runpytest_subprocess(*options, timeout=60)
        return self.pytester.runpytest_inprocess(*options)


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    return Run(pytester)


TRIO_MODE = "trio_mode = true"


def lines_of(result: pytest.RunResult) -> str:
    return str(result.stdout)


# --- the fixtures, without simulation

USES_ALL = """
async def test_all(runtime, probe, no_leaks):
    probe.answer_with(1)
    assert await runtime.send_message("x", probe.id) == 1
    await runtime.publish_message("y", DefaultTopicId())
    await probe.expect(str)
    assert await probe.expect(str) == "y"
    is_asyncio = sniffio.current_async_library() == "asyncio"
    assert ("asyncio" in type(runtime).__module__) == is_asyncio
"""


def test_the_fixtures_work_in_trio_mode(run: Run) -> None:
    run(USES_ALL, ini=TRIO_MODE).assert_outcomes(passed=1)


def test_the_fixtures_work_for_a_test_with_the_mark_trio(run: Run) -> None:
    run("@pytest.mark.trio" + USES_ALL).assert_outcomes(passed=1)


def test_the_fixtures_work_for_anyio_on_both_loops(run: Run) -> None:
    run("@pytest.mark.anyio" + USES_ALL).assert_outcomes(passed=2)


def test_the_fixtures_work_in_a_process_of_its_own(run: Run) -> None:
    run.subprocess = True
    run(USES_ALL, ini=TRIO_MODE).assert_outcomes(passed=1)


@pytest.mark.parametrize("mark", ["trio", "anyio"])
def test_a_failure_of_a_publication_fails_the_test(run: Run, mark: str) -> None:
    result = run(
        f"""
        @pytest.mark.{mark}
        async def test_it(runtime, probe):
            probe.answer_with(raises(KeyError("lost otherwise")))
            await runtime.publish_message("x", DefaultTopicId())
        """
    )
    assert "lost otherwise" in lines_of(result)
    assert result.ret == 1


def test_a_request_that_nobody_handles_is_an_error(run: Run) -> None:
    run(
        """
        class Deaf(RoutedAgent):
            def __init__(self):
                super().__init__("hears nothing")

        async def test_it(runtime):
            await Deaf.register(runtime, "deaf", Deaf)
            with pytest.raises(Exception, match="has no handler"):
                await runtime.send_message("x", AgentId("deaf", "x"))
        """,
        ini=TRIO_MODE,
    ).assert_outcomes(passed=1)


def test_the_options_of_the_runtime_may_be_overridden(run: Run) -> None:
    run(
        """
        @pytest.fixture
        def runtime_options():
            return {"ignore_unhandled_exceptions": True}

        async def test_it(runtime, probe):
            probe.answer_with(KeyError)
            await runtime.publish_message("x", DefaultTopicId())
        """,
        ini=TRIO_MODE,
    ).assert_outcomes(passed=1)


def test_a_leak_is_an_error_of_the_test(run: Run) -> None:
    result = run(
        """
        async def fine():
            pass

        async def test_it(no_leaks, runtime):
            fine()
        """,
        ini=TRIO_MODE,
    )
    result.assert_outcomes(passed=1, errors=1)
    assert "coroutine 'fine' was never awaited" in lines_of(result)


ON_ASYNCIO = """
import asyncio
import concurrent.futures
from trio_agents.testing import Probe, hangs, sleeps
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

class Agent(RoutedAgent):
    def __init__(self):
        super().__init__("begins what it does not end")

    @message_handler
    async def on_text(self, message: str, ctx) -> None:
        LOG.append(asyncio.create_task(asyncio.sleep(1000)))
"""
# What an async test leaves on asyncio: with which words that is reported.
LEFT_ON_ASYNCIO = {
    "a task": ("LOG.append(asyncio.create_task(asyncio.sleep(1000)))", " > sleep ("),
    "a task that is kept until it is done": (
        """
        LOG.append(asyncio.create_task(asyncio.sleep(1000)))
        LOG[-1].add_done_callback(LOG.remove)
        """,
        " > sleep (",
    ),
    "a task that waits for another one": (
        """
        async def other():
            await asyncio.create_task(asyncio.sleep(1000))
        LOG.append(asyncio.create_task(other()))
        """,
        "other (",
    ),
    "a request": (
        """
        probe.answer_with(sleeps(0.1))
        LOG.append(asyncio.create_task(runtime.send_message("x", probe.id)))
        """,
        ".send_message (",
    ),
    "a request that is never answered": (
        """
        probe.answer_with(hangs())
        LOG.append(asyncio.create_task(runtime.send_message("x", probe.id)))
        """,
        ") with <Request str to probe/default> goes on",
    ),
    "a task of a shield": ("LOG.append(asyncio.shield(asyncio.sleep(1000)))", " > sleep ("),
    "a task of a gather": (
        "LOG.append(asyncio.gather(asyncio.sleep(1000)))",
        " > sleep (",
    ),
    "a task of a gather that is kept until it is done": (
        """
        LOG.append(asyncio.gather(asyncio.sleep(1000)))
        LOG[-1].add_done_callback(LOG.remove)
        """,
        " > sleep (",
    ),
    "a task of a shielded gather": (
        """
        tasks = asyncio.gather(asyncio.sleep(1000))
        LOG.append(asyncio.gather(asyncio.shield(tasks)))
        """,
        " > sleep (",
    ),
    "a task of a gather that has failed": (
        """
        async def fail():
            raise KeyError
        with pytest.raises(KeyError):
            await asyncio.gather(asyncio.sleep(1000), fail())
        """,
        " > sleep (",
    ),
    "a task of as_completed": (
        """
        LOG.append(asyncio.as_completed([asyncio.sleep(0, "first"), asyncio.sleep(1000)]))
        assert await next(LOG[-1]) == "first"
        """,
        " > sleep (",
    ),
    "a task that was begun as if by a thread": (
        """
        loop = asyncio.get_running_loop()
        LOG.append(asyncio.run_coroutine_threadsafe(asyncio.sleep(1000), loop))
        """,
        " > sleep (",
    ),
    "a request of a gather": (
        """
        probe.answer_with(hangs())
        LOG.append(asyncio.gather(runtime.send_message("x", probe.id)))
        """,
        ".send_message (",
    ),
    "a request of a gather that nothing holds": (
        """
        probe.answer_with(hangs())
        asyncio.gather(runtime.send_message("x", probe.id))
        """,
        ".send_message (",
    ),
    "a request that a task waits for behind a shield": (
        """
        probe.answer_with(hangs())
        async def other():
            await asyncio.shield(runtime.send_message("x", probe.id))
        LOG.append(asyncio.create_task(other()))
        """,
        "other (",
    ),
    "a task of an agent": (
        """
        await Agent.register(runtime, "agent", Agent)
        await runtime.send_message("x", AgentId("agent", "x"))
        """,
        " > sleep (",
    ),
    "a runtime that was never stopped": (
        """
        from trio_agents.asyncio import SingleThreadedAgentRuntime
        LOG.append(SingleThreadedAgentRuntime())
        LOG[-1].start()
        """,
        "owner of <SingleThreadedAgentRuntime",
    ),
}
ORDERS = ["probe, runtime, no_leaks", "no_leaks, runtime, probe"]


def written(arguments: str, body: str, head: str) -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return f"{head}\nasync def test_it({arguments}):\n{lines}\n"


@pytest.mark.parametrize("arguments", ORDERS)
@pytest.mark.parametrize(("body", "words"), LEFT_ON_ASYNCIO.values(), ids=LEFT_ON_ASYNCIO.keys())
def test_what_a_test_leaves_on_asyncio(run: Run, arguments: str, body: str, words: str) -> None:
    result = run(written(arguments, body, ON_ASYNCIO))
    result.assert_outcomes(passed=1, errors=1)
    text = lines_of(result)
    assert "1 leak:" in text
    assert re.search(rf"- task: .*{re.escape(words)}", text)
    assert "goes on behind the test and nobody waits for it: await it, or cancel it" in text


LEFT_ON_TRIO = {
    "a system task": "trio.lowlevel.spawn_system_task(trio.sleep_forever)",
    "a system task of an agent": """
        async def answer(message, ctx):
            trio.lowlevel.spawn_system_task(trio.sleep_forever)
        probe.answer_with(answer)
        await runtime.send_message("x", probe.id)
        """,
}


@pytest.mark.parametrize("arguments", ORDERS)
@pytest.mark.parametrize("mark", ["trio", "anyio"])
@pytest.mark.parametrize("body", LEFT_ON_TRIO.values(), ids=LEFT_ON_TRIO.keys())
def test_what_a_test_leaves_on_trio(run: Run, arguments: str, mark: str, body: str) -> None:
    head = f"pytestmark = pytest.mark.{mark}\n@pytest.fixture\ndef anyio_backend(): return 'trio'"
    result = run(written(arguments, body, head))
    result.assert_outcomes(passed=1, errors=1)
    assert re.search(r"- task: .*sleep_forever.* goes on behind the test", lines_of(result))


def test_what_a_test_leaves_that_hypothesis_fills(run: Run) -> None:
    source = """
    from hypothesis import HealthCheck, given, settings, strategies as st

    @pytest.mark.{mark}
    @settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
    @given(number=st.integers())
    async def test_{mark}(no_leaks, number):
        {body}
    """
    trio_body = "trio.lowlevel.spawn_system_task(trio.sleep_forever)"
    asyncio_body = "LOG.append(asyncio.create_task(asyncio.sleep(1000)))"
    result = run(
        textwrap.dedent(source).format(mark="trio", body=trio_body)
        + "\nimport asyncio"
        + textwrap.dedent(source).format(mark="anyio", body=asyncio_body)
        + "\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'",
    )
    assert lines_of(result).count("goes on behind the test") >= 4
    assert result.parseoutcomes()["errors"] == 2


@pytest.mark.parametrize("arguments", ORDERS)
@pytest.mark.parametrize("mark", ["trio", "anyio"])
def test_what_fixtures_and_runtimes_end_is_not_left(run: Run, arguments: str, mark: str) -> None:
    run(
        f"""
        @pytest.fixture
        async def tasks():
            async with anyio.create_task_group() as tasks:
                yield tasks
                tasks.cancel_scope.cancel()

        @pytest.mark.{mark}
        async def test_it({arguments}, tasks):
            async def answer(message, ctx):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.sleep_forever)
                    await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()

            probe.answer_with(answer)
            tasks.start_soon(anyio.sleep_forever)
            tasks.start_soon(runtime.send_message, "x", probe.id)
            await runtime.send_message("x", probe.id)
            await runtime.publish_message("x", DefaultTopicId())
            await runtime.stop_when_idle()
        """
    ).assert_outcomes(passed=2 if mark == "anyio" else 1)


# In a plain test of a user's, on asyncio's own loop and by its clock, which is what is looked at.
WAITED_FOR = {
    "a gather": "await asyncio.gather(asyncio.sleep(0.05), asyncio.sleep(0.05))",
    "a gather of gathers": "await asyncio.gather(asyncio.gather(asyncio.sleep(0.05)))",
    "a task group": """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(0.05))
        """,
    "a shield": "await asyncio.shield(asyncio.sleep(0.05))",
    "a wait": "await asyncio.wait([asyncio.create_task(asyncio.sleep(0.05))])",
    "a wait with a timeout": "await asyncio.wait_for(asyncio.sleep(0.05), 1000)",
    "all that complete": """
        for task in asyncio.as_completed([asyncio.sleep(0.05)]):
            await task
        """,
    "all that complete, and it is busy with one": """
        for task in asyncio.as_completed([asyncio.sleep(0), asyncio.sleep(0.05)]):
            await task
            await asyncio.sleep(0.04)
        """,
    "all that complete, in a generator": """
        async def results():
            for task in asyncio.as_completed([asyncio.sleep(0), asyncio.sleep(0.05)]):
                await task
                await asyncio.sleep(0.04)
                yield
        async for _ in results():
            pass
        """,
    "a gather, later": """
        tasks = asyncio.gather(asyncio.sleep(0.05))
        await asyncio.sleep(0.04)
        assert await tasks == [None]
        """,
    "a thread": """
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(
            lambda: asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result()
        )
        """,
    "a thread that waits for several": """
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(
            lambda: concurrent.futures.wait(
                [asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop)]
            )
        )
        """,
    "a future of a thread": """
        loop = asyncio.get_running_loop()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop))
        """,
}


@pytest.mark.parametrize("wait", WAITED_FOR.values(), ids=WAITED_FOR.keys())
def test_what_a_handler_waits_for_is_not_left(run: Run, wait: str) -> None:
    answer = written("message, ctx", wait, "").replace("test_it", "answer")
    body = """
        async def answered(message, ctx):
            await answer(message, ctx)
            LOG.append("answered")

        probe.answer_with(answered)
        await runtime.publish_message("x", DefaultTopicId())
        """
    check = "\ndef test_after():\n    assert LOG == ['answered']\n"
    result = run(written("no_leaks, runtime, probe", body, ON_ASYNCIO + answer) + check)
    result.assert_outcomes(passed=2)


PENDING = """
from trio_agents import TopicId, TypePrefixSubscription
from trio_agents.exceptions import MessageCancelled
from trio_agents.testing import hangs, sleeps

@pytest.fixture
async def tasks():
    async with anyio.create_task_group() as tasks:
        yield tasks

@pytest.fixture
def runtime_patience():
    return 0
"""
# Whom a test leaves waiting for ever: with which words that is reported.
LEFT_PENDING = {
    "a publication": (
        """
        probe.answer_with(hangs())
        await runtime.publish_message("secret", DefaultTopicId())
        """,
        ["<Delivery str to default/default -> probe/default> was not finished 0 seconds after the"],
    ),
    "publications that wait for their turn": (
        """
        one = ScriptedAgent(hangs())
        await ScriptedAgent.register(runtime, "one", lambda: one, max_concurrency=1)
        for _ in range(3):
            await runtime.publish_message("secret", TopicId("one:", "default"))
        """,
        ["<Delivery str to one:/default -> one/default> was not", "- message: 2 queued for one/d"],
    ),
    "a publication whose agent is never made": (
        """
        async def make():
            await anyio.sleep_forever()
        await runtime.register_factory("one", make)
        await runtime.add_subscription(TypePrefixSubscription("one:", "one"))
        await runtime.publish_message("secret", TopicId("one:", "default"))
        """,
        ["<Delivery str to one:/default -> one/default> was not finished"],
    ),
    "a request of somebody else": (
        """
        probe.answer_with(hangs())
        async def ask():
            with pytest.raises(MessageCancelled):
                await runtime.send_message("secret", probe.id)
        tasks.start_soon(ask)
        await wait_all_tasks_blocked()
        """,
        ["<Request str to probe/default> was not finished 0 seconds after the test"],
    ),
    "a handler that outlives a stop": (
        """
        probe.answer_with(hangs())
        await runtime.publish_message("secret", DefaultTopicId())
        await wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await runtime.stop()
        """,
        ["<Delivery str to default/default -> probe/default> was not finished 0 seconds after the"],
    ),
}


@pytest.mark.parametrize("mark", ["trio", "anyio"])
@pytest.mark.parametrize(("body", "words"), LEFT_PENDING.values(), ids=LEFT_PENDING.keys())
def test_what_waits_for_ever_fails_its_test(
    run: Run, mark: str, body: str, words: list[str]
) -> None:
    test = written("tasks, no_leaks, runtime, probe", body, f"{PENDING}\n@pytest.mark.{mark}")
    result = run(test)
    counts = result.parseoutcomes()
    tests = 2 if mark == "anyio" else 1
    assert counts.get("failed", 0) + counts.get("errors", 0) == tests
    text = lines_of(result)
    for some in words:
        assert text.count(some) >= tests
    assert "secret" not in text


@pytest.mark.parametrize("arguments", ORDERS)
@pytest.mark.parametrize("mark", ["trio", "anyio"])
def test_a_system_task_that_waits_for_ever_fails_its_test(
    run: Run, mark: str, arguments: str
) -> None:
    body = """
        probe.answer_with(hangs())
        trio.lowlevel.spawn_system_task(runtime.send_message, "secret", probe.id)
        """
    head = f"{PENDING}\n@pytest.fixture\ndef anyio_backend(): return 'trio'\n@pytest.mark.{mark}"
    result = run(written(arguments, body, head))
    text = lines_of(result)
    assert re.search("- task: .* with <Request str to probe/default> goes on behind the test", text)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "secret" not in text


@pytest.mark.parametrize("clock", ["autojump_clock", "mock_clock"])
def test_what_waits_for_ever_fails_its_test_by_any_clock(run: Run, clock: str) -> None:
    body = """
        probe.answer_with(hangs())
        await runtime.publish_message("secret", DefaultTopicId())
        """
    result = run(written(f"{clock}, no_leaks, runtime, probe", body, PENDING), ini=TRIO_MODE)
    result.assert_outcomes(failed=1)
    assert "- message: <Delivery str to default/default -> probe/default>" in lines_of(result)


def test_a_clock_that_jumps_costs_no_patience(run: Run) -> None:
    run(
        """
        from trio_agents.testing import sleeps

        async def test_it(autojump_clock, no_leaks, runtime, probe, runtime_patience):
            assert runtime_patience == 5
            probe.answer_with(sleeps(3600))
            await runtime.publish_message("x", DefaultTopicId())
        """,
        ini=TRIO_MODE,
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize("mark", ["trio", "anyio"])
def test_what_waits_for_a_thread_is_finished(run: Run, mark: str) -> None:
    run(
        f"""
        @pytest.fixture
        def runtime_patience():
            return float("inf")

        @pytest.mark.{mark}
        async def test_it(no_leaks, runtime, probe):
            async def answer(message, ctx):
                await anyio.to_thread.run_sync(int)
                LOG.append(message)
            probe.answer_with(answer)
            await runtime.publish_message("x", DefaultTopicId())

        def test_after():
            assert LOG and set(LOG) == {{"x"}}
        """
    ).assert_outcomes(passed=3 if mark == "anyio" else 2)


@pytest.mark.parametrize("mark", ["trio", "anyio"])
def test_a_runtime_with_nothing_to_do_is_not_timed(run: Run, mark: str) -> None:
    run(
        f"""
        import threading

        @pytest.mark.{mark}
        async def test_it(monkeypatch, runtime, probe):
            monkeypatch.setattr(threading, "Timer", None)
            await runtime.send_message("x", probe.id)
            await runtime.publish_message("x", DefaultTopicId())
            await runtime.stop_when_idle()
        """
    ).assert_outcomes(passed=2 if mark == "anyio" else 1)


@pytest.mark.parametrize(
    ("patience", "words"),
    [
        ("'5'", "TypeError: runtime_patience is how many real seconds to wait, not '5'"),
        ("-1", "ValueError: runtime_patience is how many real seconds to wait, 0 or more, not -1"),
    ],
)
def test_a_wrong_patience_is_refused(run: Run, patience: str, words: str) -> None:
    result = run(
        f"""
        @pytest.fixture
        def runtime_patience():
            return {patience}

        async def test_it(runtime):
            raise AssertionError("not reached")
        """,
        ini=TRIO_MODE,
    )
    assert words in lines_of(result)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_nursery_of_pytest_trio_is_not_left(run: Run) -> None:
    run(
        """
        async def test_it(no_leaks, nursery):
            nursery.start_soon(trio.sleep_forever)
        """,
        ini=TRIO_MODE,
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", ["no_leaks", "runtime, no_leaks", "no_leaks, runtime"])
def test_a_thread_of_the_loop_s_own_is_not_left(run: Run, arguments: str) -> None:
    body = "await asyncio.to_thread(int)"
    run(written(arguments, body, ON_ASYNCIO)).assert_outcomes(passed=1)


def test_a_test_that_never_rests_is_not_waited_for(run: Run) -> None:
    body = """
        async def spin():
            while True:
                await asyncio.sleep(0)
        LOG.append(asyncio.create_task(spin()))
        """
    result = run(written("no_leaks", body, ON_ASYNCIO))
    result.assert_outcomes(passed=1, errors=1)
    assert "spin (" in lines_of(result)


@pytest.mark.parametrize("mark", ["trio", "anyio"])
def test_a_test_that_looks_for_leaks_may_end_otherwise(run: Run, mark: str) -> None:
    run(
        f"""
        pytestmark = [pytest.mark.usefixtures("no_leaks")]

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.{mark}
        async def test_skipped():
            pytest.skip("as it says")

        @pytest.mark.{mark}
        async def test_expected():
            pytest.xfail("as it says")

        @pytest.mark.{mark}
        @pytest.mark.xfail(strict=True)
        async def test_marked():
            raise KeyError

        @pytest.mark.{mark}
        async def test_failed():
            raise KeyError

        class TestIt:
            @pytest.mark.{mark}
            @pytest.mark.parametrize("number", [1, 2])
            async def test_it(self, number):
                assert number in (1, 2)

        def test_sync():
            pass
        """
    ).assert_outcomes(passed=3, skipped=1, xfailed=2, failed=1)


def test_a_failure_that_was_only_logged_is_a_leak(run: Run) -> None:
    result = run(
        """
        @pytest.fixture
        def runtime_options():
            return {"ignore_unhandled_exceptions": True}

        async def test_it(no_leaks, runtime, probe):
            probe.answer_with(raises(KeyError("only logged")))
            await runtime.publish_message("x", DefaultTopicId())
        """,
        ini=TRIO_MODE,
    )
    result.assert_outcomes(passed=1, errors=1)
    assert "- failure: only logged: agent probe/default on topic" in lines_of(result)


def test_the_simulation_is_for_simulated_tests(run: Run) -> None:
    result = run("async def test_it(simulation): pass", ini=TRIO_MODE)
    assert "'simulation' is for tests with the mark simulate" in lines_of(result)
    assert result.ret == 1


# --- simulated tests


@pytest.mark.parametrize("ini", ["", TRIO_MODE, "anyio_mode = auto"])
@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_a_simulated_test_runs_once_for_each_seed(run: Run, ini: str, loop: str) -> None:
    result = run(
        f"""
        @pytest.mark.simulate(seeds=7, loop="{loop}")
        async def test_it(runtime, probe, simulation):
            assert sniffio.current_async_library() == simulation.loop == "{loop}"
            assert not LOG or LOG[-1] is not runtime
            LOG.append(runtime)
            probe.answer_with(1)
            assert await runtime.send_message("x", probe.id) == 1

        def test_after():
            assert len(LOG) in (7, 14)
        """,
        ini=ini,
    )
    assert result.ret == 0, lines_of(result)


def test_the_default_is_a_hundred_seeds_on_trio(run: Run) -> None:
    run(
        """
        @pytest.mark.simulate
        async def test_it(simulation):
            LOG.append((simulation.seed, simulation.loop))

        def test_after():
            assert LOG == [(seed, "trio") for seed in range(100)]
        """
    ).assert_outcomes(passed=2)


def test_a_mark_of_anyio_says_which_loop(run: Run) -> None:
    run(
        """
        pytestmark = pytest.mark.anyio

        @pytest.mark.simulate(seeds=2)
        async def test_it(runtime, simulation, anyio_backend):
            assert simulation.loop == anyio_backend
            LOG.append(simulation.loop)

        def test_after():
            assert sorted(LOG) == ["asyncio"] * 2 + ["trio"] * 2
        """
    ).assert_outcomes(passed=3)


def test_the_clock_jumps(run: Run) -> None:
    run(
        """
        @pytest.mark.simulate(seeds=3)
        async def test_it(runtime, probe):
            await anyio.sleep(3600)
            await probe.expect_none(within=3600)
        """,
        ini=TRIO_MODE,
    ).assert_outcomes(passed=1)


def test_a_simulated_test_of_a_class_sees_its_instance(run: Run) -> None:
    run(
        """
        class TestIt:
            @pytest.fixture
            async def mine(self, runtime):
                self.runtime = runtime
                yield "mine"

            @pytest.mark.simulate(seeds=2)
            @pytest.mark.parametrize("number", [1, 2])
            async def test_it(self, mine, number):
                assert (mine, number) in [("mine", 1), ("mine", 2)]
                assert self.runtime.is_started()
        """,
        ini=TRIO_MODE,
    ).assert_outcomes(passed=2)


def test_fixtures_are_set_up_in_each_run_in_order_and_ended_in_reverse(run: Run) -> None:
    result = run(
        """
        @pytest.fixture
        def plain():
            LOG.append("plain")
            yield "plain"
            LOG.append("plain ends")

        @pytest.fixture
        async def agent(runtime, plain):
            LOG.append(f"agent with {plain}")
            yield runtime
            LOG.append("agent ends")

        @pytest.fixture
        def below(agent):
            LOG.append("below")
            yield agent
            LOG.append("below ends")

        @pytest.fixture
        def function(below):
            return [below]

        @pytest.fixture
        async def first():
            LOG.append("first")

        @pytest.mark.simulate(seeds=2)
        async def test_it(first, function, runtime):
            assert (first, function) == (None, [runtime])
            LOG.append("test")

        def test_after():
            run = ["first", "agent with plain", "below", "test", "below ends", "agent ends"]
            assert LOG == ["plain", *run, *run, "plain ends"], LOG
        """,
    )
    result.assert_outcomes(passed=2)


def test_fixtures_for_all_tests_are_set_up_in_each_run(run: Run) -> None:
    run(
        """
        @pytest.fixture(autouse=True)
        async def always(runtime):
            LOG.append(runtime)

        @pytest.mark.simulate(seeds=3)
        async def test_it(runtime):
            assert LOG[-1] is runtime

        @pytest.mark.simulate(seeds=1)
        async def test_after():
            assert len(LOG) == 4
        """
    ).assert_outcomes(passed=2)


RACE = """
@pytest.mark.simulate(seeds={seeds})
async def test_race(simulation):
    value = [0]

    async def add():
        before = value[0]
        await trio.lowlevel.checkpoint()
        value[0] = before + 1

    async def once(event):
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        event.set()

    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(once, event)
        await trio.lowlevel.checkpoint()
        assert not event.is_set(), "it was quicker"
"""


def test_a_failure_tells_how_to_repeat_it(run: Run) -> None:
    result = run(RACE.format(seeds=300), ini=TRIO_MODE)
    result.assert_outcomes(failed=1)
    text = lines_of(result)
    assert "it was quicker" in text
    assert "To repeat it: pytest test_it.py::test_race --agents-trace=trio:" in text
    (trace,) = set(re.findall(r"--agents-trace=(\S+)", text))

    result = run(RACE.format(seeds=300), f"--agents-trace={trace}", ini=TRIO_MODE)
    result.assert_outcomes(failed=1)
    assert "it was quicker" in lines_of(result)
    assert "whose trace is" in lines_of(result)


def test_the_command_is_for_the_directory_that_pytest_was_started_in(run: Run) -> None:
    run.pytester.makepyprojecttoml("[tool.pytest.ini_options]\nminversion = '8'")
    folder = run.pytester.mkdir("sub")
    (folder / "test_s.py").write_text(HEAD + RACE.format(seeds=300))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = run.pytester.runpytest_inprocess(*PLUGIN)
        text = lines_of(result)
        assert "To repeat it: pytest test_s.py::test_race --agents-trace=trio:" in text
        (trace,) = set(re.findall(r"--agents-trace=(\S+)", text))
        result = run.pytester.runpytest_inprocess(
            *PLUGIN, "test_s.py::test_race", f"--agents-trace={trace}"
        )
    assert "it was quicker" in lines_of(result)


def test_a_trace_of_another_program_is_warned_of(run: Run) -> None:
    result = run("@pytest.mark.simulate\nasync def test_it(): pass", "--agents-trace=trio:0:500=1")
    result.assert_outcomes(failed=1)
    assert "RuntimeWarning: --agents-trace=trio:0:500=1: this is not the schedule" in lines_of(
        result
    )


def test_one_seed_can_be_asked_for(run: Run) -> None:
    run(
        """
        @pytest.mark.simulate(seeds=5)
        async def test_it(simulation):
            assert simulation.seed == 42
        """,
        "--agents-seed=42",
    ).assert_outcomes(passed=1)


def test_the_number_of_seeds_can_be_asked_for(run: Run) -> None:
    run(
        """
        @pytest.mark.simulate(seeds=5)
        async def test_it(simulation):
            LOG.append(simulation.seed)

        def test_after():
            assert LOG == list(range(12))
        """,
        "--agents-seeds=12",
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--agents-seeds=0", "invalid"),
        ("--agents-seed=-1", "a seed is an integer, 0 or more, not -1"),
        ("--agents-seed=x", "a seed is an integer, 0 or more, not 'x'"),
        ("--agents-trace=x", "invalid"),
        ("--agents-trace=trio:-1:", "invalid"),
    ],
)
def test_a_wrong_option_is_refused(run: Run, option: str, words: str) -> None:
    result = run("def test_it(): pass", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"argument {option.partition('=')[0]}: {words}" in str(result.stderr)


def test_one_seed_is_more_than_a_number_of_them(run: Run) -> None:
    run(
        """
        @pytest.mark.simulate
        async def test_it(simulation):
            assert simulation.seed == 42
        """,
        "--agents-seeds=3",  # from addopts, say
        "--agents-seed=42",
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("@pytest.mark.simulate\ndef test_it(): pass", "a mark for async test functions"),
        (
            "import hypothesis\n"
            "@pytest.mark.simulate\n"
            "@hypothesis.given(hypothesis.strategies.integers())\n"
            "async def test_it(number): pass",
            "no mark for a test with @given",
        ),
        (
            "@pytest.mark.simulate\n@pytest.mark.trio\nasync def test_it(): pass",
            "take the mark trio away",
        ),
        (
            "@pytest.mark.simulate(5)\nasync def test_it(): pass",
            "write simulate(seeds=5): it has keywords only",
        ),
        (
            "@pytest.mark.simulate(seed=5)\nasync def test_it(): pass",
            "takes loop, max_steps, monitored, patience, seeds, strategy, and not seed",
        ),
        (
            "@pytest.mark.simulate(seeds=0)\nasync def test_it(): pass",
            "no seed was given, and nothing would be tried",
        ),
        (
            "@pytest.mark.simulate(loop='curio')\nasync def test_it(): pass",
            "the event loop is 'trio' or 'asyncio', not 'curio'",
        ),
    ],
)
def test_a_wrong_mark_is_refused(run: Run, source: str, words: str) -> None:
    result = run(source)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in str(result.stderr)


def test_a_simulated_test_is_not_run_by_pytest_asyncio(run: Run) -> None:
    result = run(
        "@pytest.mark.simulate\n@pytest.mark.asyncio\nasync def test_it(): pass",
        ini="markers = asyncio: of pytest-asyncio",
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "take the mark asyncio away" in str(result.stderr)


def test_an_async_fixture_of_a_wider_scope_is_refused(run: Run) -> None:
    result = run(
        """
        @pytest.fixture(scope="module")
        async def shared():
            return 1

        @pytest.mark.simulate
        async def test_it(shared):
            pass
        """
    )
    result.assert_outcomes(errors=1)
    assert "fixture 'shared' is async and of scope module" in lines_of(result)


def test_a_fixture_cannot_be_asked_for_inside_of_a_run(run: Run) -> None:
    result = run(
        """
        @pytest.mark.simulate(seeds=1)
        async def test_it(request):
            request.getfixturevalue("runtime")
        """
    )
    result.assert_outcomes(failed=1)
    assert "was asked for inside of a simulated run" in lines_of(result)


@pytest.mark.parametrize("name", ["runtime", "probe"])
def test_a_test_that_no_plugin_runs_is_told_so(run: Run, name: str) -> None:
    result = run(
        f"""
        async def test_it({name}):
            pass

        @pytest.mark.trio
        async def test_on_trio({name}):
            pass
        """
    )
    result.assert_outcomes(passed=1, errors=1)
    words = "test_it asks for the fixture 'runtime' and is run by no plugin"
    assert words in lines_of(result)
    assert "requested an async fixture" not in lines_of(result)


# A test that does it wrong, and what it is told.
WRONG = {
    "asked for in a run": (
        """
        @pytest.mark.simulate(seeds=3)
        async def test_wrong(request):
            request.getfixturevalue("runtime")
        """,
        "was asked for inside of a simulated run: name it as an argument",
    ),
    "not async": (
        """
        def test_wrong(runtime):
            pass
        """,
        "test_wrong asks for the fixture 'runtime' and is not async",
    ),
    "not async, and asks for what depends on it": (
        """
        def test_wrong(probe):
            pass
        """,
        "test_wrong asks for the fixture 'runtime' and is not async",
    ),
    "pytest-asyncio": (
        """
        @pytest.mark.asyncio
        async def test_wrong(runtime):
            pass
        """,
        "is run by pytest-asyncio, which sets a fixture up in one task",
    ),
    "anyio in trio mode": (
        """
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_wrong(runtime):
            pass
        """,
        "by the mark anyio or the fixture anyio_backend, also belongs to anyio's plugin",
    ),
    "a fixture of anyio's in trio mode": (
        """
        @pytest.fixture
        def anyio_backend():
            return "trio"

        async def test_wrong(runtime, anyio_backend):
            pass
        """,
        "by the mark anyio or the fixture anyio_backend, also belongs to anyio's plugin",
    ),
    "a fixture of pytest-trio's": (
        """
        def test_wrong(mine):
            pass
        """,
        "Trio fixtures can only be used by Trio tests",
    ),
    "a wider scope": (
        """
        @pytest.mark.simulate(seeds=3)
        async def test_wrong(shared):
            pass
        """,
        "fixture 'shared' is async and of scope module",
    ),
}


@pytest.mark.parametrize(("source", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_test_is_told_so_and_those_after_it_pass(run: Run, source: str, words: str) -> None:
    result = run(
        textwrap.dedent(source)
        + textwrap.dedent(
            """
            @pytest.fixture
            async def base():
                return 1

            @pytest.fixture
            async def mine(base):
                return base + 1

            @pytest.fixture(scope="module")
            def settings():
                return 1

            @pytest.fixture(scope="module")
            async def shared(settings):
                return settings + 1

            @pytest.mark.simulate(seeds=3)
            async def test_simulated(runtime, probe, mine):
                assert mine == 2

            async def test_plain(runtime, probe, mine):
                assert mine == 2
            """
        ),
        ini=f"{TRIO_MODE}\nmarkers = asyncio: of pytest-asyncio",
    )
    assert words in lines_of(result)
    counts = result.parseoutcomes()
    assert (counts["passed"], counts.get("failed", 0) + counts.get("errors", 0)) == (2, 1)


@pytest.mark.parametrize("mark", ["trio", "anyio", "simulate(seeds=2)"])
def test_a_test_may_be_run_once_more(run: Run, mark: str) -> None:
    run.pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):  # as pytest-rerunfailures does
                item._initrequest()
                runtestprotocol(item, nextitem=nextitem)
            return True
        """
    )
    result = run(
        f"""
        @pytest.fixture
        async def once():
            LOG.append("up")
            yield
            LOG.append("down")

        @pytest.mark.{mark}
        async def test_it(once, no_leaks, runtime):
            assert runtime.is_started()
            assert LOG[-2:] in (["up"], ["down", "up"])
        """
    )
    result.assert_outcomes(passed=4 if mark == "anyio" else 2)


def test_a_runtime_serves_tests_that_hypothesis_fills(run: Run) -> None:
    run(
        """
        from hypothesis import HealthCheck, given, settings, strategies as st

        @settings(max_examples=2, suppress_health_check=list(HealthCheck))
        @given(st.integers())
        async def test_it(runtime, number):
            assert runtime.is_started()
        """,
        ini=TRIO_MODE,
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize("outcome", ["skip", "xfail"])
def test_a_simulated_test_may_end_otherwise(run: Run, outcome: str) -> None:
    result = run(
        f"""
        @pytest.mark.simulate
        async def test_it(runtime):
            LOG.append(1)
            pytest.{outcome}("as it says")

        def test_after():
            assert len(LOG) == 1
        """
    )
    expected: Any = {"skipped" if outcome == "skip" else "xfailed": 1}
    result.assert_outcomes(passed=1, **expected)


def test_a_failure_of_a_publication_fails_a_simulated_test(run: Run) -> None:
    result = run(
        """
        @pytest.mark.simulate
        async def test_it(runtime, probe):
            probe.answer_with(raises(KeyError("lost otherwise")))
            await runtime.publish_message("x", DefaultTopicId())
        """
    )
    result.assert_outcomes(failed=1)
    assert "lost otherwise" in lines_of(result)


def test_a_fixture_cannot_swallow_a_failure(run: Run) -> None:
    result = run(
        """
        @pytest.fixture
        async def greedy():
            try:
                yield
            except Exception:
                pass

        @pytest.mark.simulate
        async def test_it(greedy):
            raise KeyError("mine")
        """
    )
    result.assert_outcomes(failed=1)
    assert "KeyError: 'mine'" in lines_of(result)


def test_a_failure_in_the_set_up_is_one_of_the_test(run: Run) -> None:
    result = run(
        """
        @pytest.fixture
        async def broken(runtime):
            raise KeyError("in the set-up")
            yield

        @pytest.mark.simulate
        async def test_it(broken):
            pass
        """
    )
    result.assert_outcomes(failed=1)
    assert "in the set-up" in lines_of(result)


def test_what_a_run_leaves_behind_is_found(run: Run) -> None:
    result = run(
        """
        import os

        @pytest.mark.simulate(seeds=3)
        async def test_it(no_leaks, runtime):
            LOG.append(os.open(os.devnull, os.O_RDONLY))

        @pytest.mark.simulate(seeds=3)
        async def test_clean(no_leaks, runtime, probe):
            while LOG:
                os.close(LOG.pop())
        """
    )
    result.assert_outcomes(passed=2, errors=1)
    assert "3 leaks" in lines_of(result)


def test_a_simulated_test_runs_in_a_process_of_its_own(run: Run) -> None:
    run.subprocess = True
    run(RACE.format(seeds=1), ini=TRIO_MODE)
    result = run("@pytest.mark.simulate(seeds=3)" + USES_ALL, ini=TRIO_MODE)
    result.assert_outcomes(passed=1)
