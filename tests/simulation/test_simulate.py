"""One run of a scenario: its clock, its schedule, its end."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import subprocess
import sys
import threading
import uuid
import warnings
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import sniffio
import trio

from trio_agents import AgentId
from trio_agents._loops._detached import start_detached
from trio_agents.testing import (
    Act,
    InvariantViolation,
    Plain,
    ScriptedAgent,
    Simulation,
    Stuck,
    TooLong,
    Trace,
    _simulated_asyncio,
    _simulation,
    cancel_victim,
    collect_garbage,
    explore_fault,
    hangs,
    inject,
    jump_clock,
    press_ctrl_c,
    replay,
    sends,
    simulate,
)
from trio_agents.testing._pilot import Unstoppable
from trio_agents.testing._schedule import Replayed
from trio_agents.testing._simulation import run_scenario


async def three_tasks(sim: Simulation) -> str:
    async def note(name: str) -> None:
        for turn in range(3):
            sim.note(f"{name}{turn}")
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(note, name)
    return "done"


def test_a_run_says_what_came_of_it(on: Any) -> None:
    run = simulate(three_tasks, seed=3, loop=on)
    assert run.value == "done"
    assert sorted(run.history) == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]
    assert run.trace.seed == 3
    assert run.trace.loop == on
    assert run.steps >= 10


def test_the_same_seed_gives_the_same_run(on: Any) -> None:
    for seed in range(9):
        assert simulate(three_tasks, seed=seed, loop=on) == simulate(
            three_tasks, seed=seed, loop=on
        )


def test_other_seeds_give_other_runs(on: Any) -> None:
    histories = {simulate(three_tasks, seed=seed, loop=on).history for seed in range(30)}
    assert len(histories) > 20


def test_a_trace_gives_the_run_again(on: Any) -> None:
    for seed in range(9):
        run = simulate(three_tasks, seed=seed, loop=on)
        assert replay(three_tasks, str(run.trace)) == run


def test_a_seed_gives_the_same_run_in_other_processes_under_other_hash_seeds(on: Any) -> None:
    code = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_simulate import simulate, three_tasks
for seed in range(5):
    run = simulate(three_tasks, seed=seed, loop={on!r})
    print(run.trace, run.history)
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2", "3")
    }
    assert len(printed) == 1
    assert printed.pop().count("\n") == 5


def test_the_clock_jumps(on: Any) -> None:
    async def sleep(sim: Simulation) -> list[float]:
        times = [sim.current_time()]
        for seconds in (3600, 0.5):
            await anyio.sleep(seconds)
            times.append(sim.current_time())
        with anyio.move_on_after(10):
            await anyio.sleep_forever()
        return [*times, sim.current_time()]

    run = simulate(sleep, loop=on)
    assert run.value == [0, 3600, 3600.5, 3610.5]
    assert run.seconds == 3610.5


def test_those_who_wait_for_rest_come_before_time_does(on: Any) -> None:
    async def scenario(sim: Simulation) -> tuple[float, int]:
        steps = []

        async def work() -> None:
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
                steps.append(1)
            await anyio.sleep(1)
            steps.append(1)

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await sim.wait_all_tasks_blocked()
            return sim.current_time(), len(steps)

    assert simulate(scenario, loop=on).value == (0, 5)


def test_chance_and_ids_come_from_the_seed_and_the_generators_are_given_back(on: Any) -> None:
    async def draw(sim: Simulation) -> tuple[float, float, uuid.UUID]:
        return sim.random.random(), random.random(), uuid.uuid4()

    random.seed(5)
    expected = random.random()
    random.seed(5)
    first = simulate(draw, seed=1, loop=on).value
    assert first == simulate(draw, seed=1, loop=on).value
    assert first != simulate(draw, seed=2, loop=on).value
    assert random.random() == expected
    assert uuid.uuid4() != first[2]
    assert first[2].version == 4


def test_a_failure_is_raised_as_it_is_and_says_how_to_repeat_it(on: Any) -> None:
    async def fail(sim: Simulation) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        simulate(fail, seed=4, loop=on)
    (note,) = caught.value.__notes__
    assert note.startswith(f"in a simulated run, whose trace is {on}:4:")


def test_a_scenario_in_which_all_wait_for_ever_is_ended_and_told_where(on: Any) -> None:
    async def wait_here() -> None:
        await anyio.Event().wait()

    async def scenario(sim: Simulation) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_here)

    with pytest.raises(Stuck, match="wait_here line"):
        simulate(scenario, loop=on)


def test_a_stuck_scenario_may_clean_up(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
            cleaned.append(sim.current_time())

    cleaned: list[float] = []
    with pytest.raises(Stuck):
        simulate(scenario, loop=on)
    assert cleaned == [5]


def test_a_scenario_that_polls_is_ended_and_told_where(on: Any) -> None:
    async def poll(sim: Simulation) -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    with pytest.raises(TooLong, match=r"100 steps:\n.*poll line"):
        simulate(poll, loop=on, max_steps=100)


def test_a_scenario_that_ignores_its_cancellation_is_given_up(on: Any) -> None:
    async def insist(sim: Simulation) -> None:
        with anyio.CancelScope(shield=True):
            while True:
                await anyio.lowlevel.checkpoint()

    with pytest.raises(TooLong) as caught:
        simulate(insist, loop=on, max_steps=100)
    assert isinstance(caught.value.__context__, Unstoppable)
    gc.collect()


async def in_anyio(event: threading.Event) -> None:
    await anyio.to_thread.run_sync(event.wait, abandon_on_cancel=True)


async def in_a_thread(event: threading.Event) -> None:
    if sniffio.current_async_library() == "trio":
        await trio.to_thread.run_sync(event.wait, abandon_on_cancel=True)
    else:
        await asyncio.to_thread(event.wait)


@pytest.mark.parametrize("wait", [in_anyio, in_a_thread])
def test_who_waits_for_a_thread_is_told_of_patience(on: Any, wait: Any) -> None:
    event = threading.Event()

    async def scenario(sim: Simulation) -> None:
        try:
            await wait(event)
        finally:
            event.set()

    with pytest.raises(Stuck, match="waits for a thread") as caught:
        simulate(scenario, loop=on)
    assert "replace what runs in one, or give patience=1" in str(caught.value)


def test_who_may_wait_for_a_thread_is_told_of_patience(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        await anyio.sleep_forever()

    with pytest.raises(Stuck, match="only if it is given patience="):
        simulate(scenario, loop=on)


def test_a_thread_is_waited_for_if_that_is_asked_for(on: Any) -> None:
    async def scenario(sim: Simulation) -> int:
        return await anyio.to_thread.run_sync(lambda: 7)

    assert simulate(scenario, loop=on, patience=10).value == 7


def test_only_one_run_in_a_thread_at_a_time() -> None:
    async def scenario(sim: Simulation) -> None:
        with pytest.raises(RuntimeError):
            simulate(three_tasks)

    simulate(scenario)
    assert simulate(three_tasks).value == "done"


def test_trio_runs_of_other_threads_are_left_alone() -> None:
    async def plain() -> str:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(trio.lowlevel.checkpoint)
        return "as ever"

    async def scenario(sim: Simulation) -> str:
        return await anyio.to_thread.run_sync(trio.run, plain)

    assert simulate(scenario, patience=10).value == "as ever"


def test_tasks_that_a_scenario_leaves_running_fail_it() -> None:
    async def leave(sim: Simulation) -> None:
        sim.note(id(asyncio.create_task(asyncio.sleep(5))))

    with pytest.raises(InvariantViolation, match="tasks were left: sleep"):
        simulate(leave, loop="asyncio")


async def leave_a_system_task(sim: Simulation) -> None:
    trio.lowlevel.spawn_system_task(trio.sleep_forever)
    await trio.sleep(1)


def test_system_tasks_of_trio_that_a_scenario_leaves_running_fail_it() -> None:
    with pytest.raises(InvariantViolation, match=r"tasks were left: trio\.sleep_forever"):
        simulate(leave_a_system_task)


def test_system_tasks_are_noticed_on_a_trio_that_keeps_its_scheduler_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_simulation, "missing_hooks", lambda: ["trio._core._run._r"])
    with (
        pytest.warns(RuntimeWarning, match="the same seed may give another run"),
        pytest.raises(InvariantViolation, match=r"tasks were left: trio\.sleep_forever"),
    ):
        simulate(leave_a_system_task)


def test_a_system_task_that_is_about_to_end_was_not_left() -> None:
    async def end_soon() -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()

    async def scenario(sim: Simulation) -> None:
        trio.lowlevel.spawn_system_task(end_soon)
        start_detached(end_soon, "detached")

    simulate(scenario)


def test_a_system_task_that_never_rests_takes_too_long() -> None:
    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def scenario(sim: Simulation) -> None:
        trio.lowlevel.spawn_system_task(spin)

    with pytest.raises(TooLong):
        simulate(scenario, max_steps=100)


def test_what_a_system_task_raises_at_the_end_is_raised() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("mine")

    async def scenario(sim: Simulation) -> None:
        trio.lowlevel.spawn_system_task(fail)

    with pytest.raises(trio.TrioInternalError):
        simulate(scenario)


def test_a_system_task_adds_nothing_to_what_a_scenario_has_raised() -> None:
    async def scenario(sim: Simulation) -> None:
        await leave_a_system_task(sim)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        simulate(scenario)


def test_a_generator_that_trio_closes_is_no_task_that_was_left() -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async def forget(sim: Simulation) -> None:
        async for _ in numbers():
            break
        gc.collect()

    with pytest.warns(ResourceWarning, match="was garbage collected before it had been exhausted"):
        simulate(forget)


def test_a_generator_that_asyncio_is_about_to_close_is_no_task_that_was_left() -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    async def forget(sim: Simulation) -> None:
        async for _ in numbers():
            break
        gc.collect()
        # The loop makes the task that closes it at its next turn; this is that turn.
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 2

    simulate(forget, loop="asyncio")


@pytest.mark.parametrize("meanwhile", ["callback", "task"])
def test_what_comes_in_while_the_loop_takes_its_callbacks_in_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    called: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    before = _simulated_asyncio._is_task

    async def call() -> None:
        called.append("done")

    def is_task(owner: object) -> bool:
        monkeypatch.setattr(_simulated_asyncio, "_is_task", before)
        # As a thread or a signal handler does.
        loop = asyncio.get_running_loop()
        if meanwhile == "callback":
            loop.call_soon_threadsafe(called.append, "done")
        else:
            tasks.append(loop.create_task(call()))
        return before(owner)

    async def undisturbed(sim: Simulation) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def scenario(sim: Simulation) -> None:
        monkeypatch.setattr(_simulated_asyncio, "_is_task", is_task)
        await undisturbed(sim)

    steps = simulate(undisturbed, loop="asyncio", strategy=Plain()).steps
    run = simulate(scenario, loop="asyncio", strategy=Plain())
    assert called == ["done"]
    # The scheduler has chosen the step of the task, too.
    assert run.steps == steps + len(tasks)


def test_what_is_warned_of_in_a_run_is_kept_with_it_and_given_again(on: Any) -> None:
    async def warn(sim: Simulation) -> None:
        warnings.warn("careful", stacklevel=1)

    with pytest.warns(UserWarning, match="careful"):
        assert simulate(warn, loop=on).warnings == ("careful",)


def test_a_warning_that_is_an_error_to_the_caller_fails_the_run(on: Any) -> None:
    async def forget(sim: Simulation) -> None:
        anyio.sleep(1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="never awaited"):
            simulate(forget, loop=on)


def test_a_filter_that_names_a_module_applies_to_what_it_warns_of_in_a_run(on: Any) -> None:
    async def warn(sim: Simulation) -> None:
        warnings.warn("careful", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", module=rf"{__name__}\Z")
        with pytest.raises(UserWarning, match="careful"):
            simulate(warn, loop=on)


def test_what_is_warned_of_in_no_module_is_given_again_too(on: Any) -> None:
    async def warn(sim: Simulation) -> None:
        warnings.warn_explicit("careful", UserWarning, "nowhere.py", 1)

    with pytest.warns(UserWarning, match="careful") as caught:
        simulate(warn, loop=on)
    assert caught[0].filename == "nowhere.py"


# --- faults


def test_a_fault_happens_before_its_step(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

    run = simulate(
        scenario, loop=on, faults=[inject(lambda sim: sim.note(sim.step), at=n) for n in (3, 7)]
    )
    assert run.history == (2, 6)


def test_what_a_fault_raises_ends_the_run(on: Any) -> None:
    def fault(sim: Simulation) -> None:
        raise ZeroDivisionError

    async def scenario(sim: Simulation) -> None:
        await take_steps(10)

    with pytest.raises(ZeroDivisionError):
        simulate(scenario, loop=on, faults=[inject(fault, at=2)])


def test_a_fault_cannot_happen_before_the_first_step() -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        inject(collect_garbage, at=0)


def test_a_fault_whose_step_does_not_come_is_refused(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        await take_steps(3)

    last = simulate(scenario, loop=on).steps
    assert simulate(scenario, loop=on, faults=[inject(collect_garbage, at=last)]).steps == last
    with pytest.raises(ValueError, match=rf"collect_garbage was to .* step {last + 1}, .*{last}"):
        simulate(scenario, loop=on, faults=[inject(collect_garbage, at=last + 1)])


def test_a_scenario_that_fails_before_the_step_of_a_fault_fails_as_it_does(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        simulate(scenario, loop=on, faults=[inject(collect_garbage, at=1000)])


def test_a_replay_remarks_that_a_fault_did_not_happen(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        await take_steps(3)

    faults = [inject(collect_garbage, at=1000)]
    remark = replay(scenario, simulate(scenario, loop=on).trace, faults=faults).remark
    assert "before step 1000" in remark


def test_what_was_given_as_the_victim_is_cancelled(on: Any) -> None:
    async def scenario(sim: Simulation) -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(take_steps, 20)
            with sim.victim():
                await anyio.sleep_forever()
            with sim.victim():
                await anyio.sleep_forever()
        return "went on"

    assert simulate(scenario, loop=on, faults=[inject(cancel_victim, at=15)]).value == "went on"


async def take_steps(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


def test_the_clock_may_jump_further_than_anybody_waits(on: Any) -> None:
    async def scenario(sim: Simulation) -> float:
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(5)
        return sim.current_time()

    run = simulate(scenario, loop=on, faults=[inject(jump_clock(100), at=3)])
    assert run.value == 105


def test_a_fault_is_tried_before_each_step(on: Any) -> None:
    seen = set[int]()

    async def scenario(sim: Simulation) -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

    explored = explore_fault(scenario, lambda sim: seen.add(sim.step + 1), loop=on)
    assert seen == set(range(1, explored.runs))
    assert explored.runs > 10


def test_ctrl_c_at_each_step_leaves_a_run_as_itself(on: Any) -> None:
    explored = explore_fault(
        three_tasks_in_a_row, press_ctrl_c, loop=on, expected=(KeyboardInterrupt,)
    )
    assert explored.runs > 3


async def three_tasks_in_a_row(sim: Simulation) -> None:
    for _ in range(3):
        await anyio.lowlevel.checkpoint()


# --- a trio without the names that we need


def test_where_trio_has_changed_that_is_said_and_seeds_still_vary_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trio_agents import AgentId, BaseAgent

    monkeypatch.setattr(_simulation, "missing_hooks", lambda: ["trio._core._run._r"])

    async def scenario(sim: Simulation) -> None:
        class Noting(BaseAgent):
            def __init__(self) -> None:
                super().__init__("notes")

            async def on_message_impl(self, message: Any, ctx: Any) -> None:
                sim.note(message)

        async with sim.open_runtime() as runtime, anyio.create_task_group() as group:
            await Noting.register(runtime, "noting", Noting)
            for number in range(5):
                group.start_soon(runtime.send_message, number, AgentId("noting", str(number)))
                await sim.wait_all_tasks_blocked()

    orders = set()
    for seed in range(10):
        with pytest.warns(RuntimeWarning, match="lacks trio._core._run._r"):
            run = simulate(scenario, seed=seed)
        orders.add(run.history)
        assert sorted(run.history) == [0, 1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore:trio .* lacks")
def test_where_trio_has_changed_faults_clock_and_stuck_runs_are_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_simulation, "missing_hooks", lambda: ["trio._core._run._r"])

    async def stuck(sim: Simulation) -> None:
        await anyio.sleep(10)
        await anyio.sleep_forever()

    with pytest.raises(Stuck, match="stuck line"):
        simulate(stuck)

    async def cancelled(sim: Simulation) -> float:
        await sim.wait_all_tasks_blocked()
        sim.jump(7)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_steps, 20)
            with sim.victim():
                await anyio.sleep_forever()
        return sim.current_time()

    assert simulate(cancelled, faults=[inject(cancel_victim, at=12)]).value == 7


def test_trio_has_the_names_that_we_need() -> None:
    # If this fails a new trio has other ones: simulations on it only vary what the runtime does.
    from trio_agents.testing._simulated_trio import missing_hooks

    assert missing_hooks() == []


def test_a_strategy_of_one_s_own_decides(on: Any) -> None:
    class Last:
        def choose(self, ready: Any) -> int:
            return len(ready) - 1

    first = simulate(three_tasks, loop=on, strategy=Plain()).history
    last = simulate(three_tasks, loop=on, strategy=Last()).history
    assert first[0] == "a0"
    assert last[0] == "c0"
    assert Trace("trio", 0, {}).choices == {}


# Whose line it is that waits, where none of the program's does.
@pytest.mark.parametrize(
    ("act", "words"),
    [
        (hangs(), r"handler of s/1 > hangs\(\)"),
        (sends("x", AgentId("s", "2")), "send_message to s/2"),
    ],
)
def test_who_is_stuck_in_a_scripted_agent_is_named(on: Any, act: Act, words: str) -> None:
    async def scenario(sim: Simulation) -> None:
        async with sim.open_runtime() as runtime:
            await ScriptedAgent.register(runtime, "s", lambda: ScriptedAgent(hangs()))
            async with anyio.create_task_group() as group:
                group.start_soon(runtime.send_message, act, AgentId("s", "1"))

    with pytest.raises(Stuck, match=words):
        simulate(scenario, loop=on)


def test_tasks_that_have_not_begun_are_named_after_their_functions(on: Any) -> None:
    async def first() -> None: ...

    async def second() -> None: ...

    async def scenario(sim: Simulation) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(first)
            group.start_soon(second)

    last_first = Replayed(dict.fromkeys(range(10), 1))
    turns = run_scenario(scenario, seed=0, loop=on, strategy=last_first, telling=True).turns
    assert any("(second) goes on before" in turn and "(first)" in turn for turn in turns)
