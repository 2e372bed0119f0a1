"""Many schedules, and the plainest one that fails."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, cast

import anyio
import anyio.lowlevel
import click
import pytest

import trio_agents.testing
from trio_agents.testing import (
    ScenarioFailed,
    Simulation,
    SingleSteps,
    Stuck,
    Trace,
    cancel_victim,
    collect_garbage,
    explore,
    explore_fault,
    inject,
    jump_clock,
    replay,
    simulate,
)
from trio_agents.testing.__main__ import replay_command

HERE: Final = Path(__file__).parent
spec: Any = importlib.util.spec_from_file_location("scenarios", HERE / "scenarios.py")
scenarios: Any = importlib.util.module_from_spec(spec)
sys.modules["scenarios"] = scenarios
spec.loader.exec_module(scenarios)


def test_what_never_fails_was_run_under_many_schedules(on: Any) -> None:
    async def three(sim: Simulation) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(scenarios.harmless, sim)

    explored = explore(three, seeds=50, loop=on)
    assert explored.runs == 50
    assert explored.schedules > 10
    assert explored.steps > 50 * 3
    assert explored.seconds > 0


def failure(on: Any, **options: Any) -> ScenarioFailed:
    with pytest.raises(ScenarioFailed) as caught:
        explore(scenarios.lost_update, seeds=300, loop=on, **options)
    return caught.value


def test_a_race_is_found_and_its_cause_is_what_was_raised(on: Any) -> None:
    failed = failure(on)
    assert isinstance(failed.__cause__, ExceptionGroup | AssertionError)
    assert failed.first.trace.seed > 0
    assert "AssertionError: " in str(failed)


def test_the_schedule_is_shrunk_to_the_decisions_that_matter(on: Any) -> None:
    failed = failure(on, strategy=SingleSteps)
    # The second has to take its five pauses while the first one waits, or the third so.
    assert len(failed.run.trace.choices) <= 10
    assert len(failed.run.trace.choices) <= len(failed.first.trace.choices)
    assert len(failed.run.turns) == len(failed.run.trace.choices)
    for turn in failed.run.turns:
        assert turn in str(failed)
        assert "goes on before" in turn


def test_the_shrunk_schedule_fails_ten_times_out_of_ten(on: Any) -> None:
    trace = str(failure(on).run.trace)
    for _ in range(10):
        with pytest.raises(AssertionError):
            replay(scenarios.lost_update, trace)


def test_the_message_has_one_command_that_repeats_it(on: Any) -> None:
    command = str(failure(on)).rpartition("To repeat it: ")[2].split()
    assert command[:3] == ["python", "-m", "trio_agents.testing"]
    done = subprocess.run(
        [sys.executable, *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_the_command_has_the_options_of_the_run(on: Any) -> None:
    with pytest.raises(ScenarioFailed) as caught:
        explore(scenarios.impatient, loop=on, patience=5, max_steps=1000, monitored=False)
    command = str(caught.value).rpartition("To repeat it: ")[2].split()
    assert command[-5:] == ["--max-steps", "1000", "--patience", "5", "--unmonitored"]
    done = subprocess.run(
        [sys.executable, *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_the_command_has_the_fault_and_its_step(on: Any) -> None:
    with pytest.raises(ScenarioFailed) as caught:
        explore_fault(scenarios.punctual, jump_clock(2.5), loop=on)
    assert "With the fault jump_clock(2.5) before step " in str(caught.value)
    command = shlex.split(str(caught.value).rpartition("To repeat it: ")[2])
    done = subprocess.run(
        [sys.executable, *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
    without = command[: command.index("--fault")]
    assert subprocess.run([sys.executable, *without[1:]], check=False).returncode == 0


def test_a_fault_of_one_s_own_is_in_the_command_by_its_module(on: Any) -> None:
    with pytest.raises(ScenarioFailed) as caught:
        explore_fault(scenarios.harmless, scenarios.burn, every=2, loop=on)
    command = shlex.split(str(caught.value).rpartition("To repeat it: ")[2])
    assert command[-2:] == ["--fault", f"{os.path.relpath(scenarios.__file__)}:burn@1"]
    done = subprocess.run(
        [sys.executable, *command[1:]], capture_output=True, text=True, check=False
    )
    assert "ZeroDivisionError" in done.stderr


def test_a_fault_that_nobody_can_import_is_repeated_by_a_call(on: Any) -> None:
    def burn(sim: Simulation) -> None:
        raise ZeroDivisionError

    words = r"""replay\(scenario, "\w+:0:", faults=\[inject\(burn, at=1\)\]\)"""
    with pytest.raises(ScenarioFailed, match=words) as caught:
        explore_fault(scenarios.harmless, burn, loop=on)
    words = (
        r"scenario is the function harmless in \S+, line \d+ and burn is the function \S+burn in"
    )
    assert re.search(words, str(caught.value))
    assert "no other process can import burn: " in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("press_ctrl_c", "a fault is FAULT@STEP, like press_ctrl_c@17, not 'press_ctrl_c'"),
        ("press_ctrl_c@x", "a fault is FAULT@STEP"),
        ("press_ctrl_c@0", "steps are counted from 1"),
        ("burn@1", "a fault is module:function or file.py:function, not 'burn'"),
        ("jump_clock@1", "a fault is module:function"),
        (f"{scenarios.__name__}:nothing@1", "has no attribute 'nothing'"),
        (f"{scenarios.__name__}:harmless@1", "the fault harmless is async"),
    ],
)
def test_a_command_with_a_fault_that_there_is_not_is_refused(fault: str, words: str) -> None:
    command = [f"{scenarios.__name__}:harmless", "trio:0:", "--fault", fault]
    with pytest.raises(click.UsageError) as caught:
        replay_command.main(command, standalone_mode=False)
    assert words in caught.value.message


def test_a_process_ends_after_a_scenario_that_waited_for_a_thread_in_vain(on: Any) -> None:
    code = f"""
import scenarios
from trio_agents.testing import Stuck, simulate
try:
    simulate(scenarios.impatient, loop={on!r})
except Stuck:
    print("stuck")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,  # it would hang for ever, in Python's wait for the thread
    )
    assert done.stdout == "stuck\n"


def test_a_lambda_is_repeated_by_a_call(on: Any) -> None:
    with pytest.raises(ScenarioFailed, match=r"replay\(scenario, "):
        explore(scenarios.BY_LAMBDA, loop=on)


def test_no_schedule_of_fewer_decisions_fails_than_the_one_that_is_shown(on: Any) -> None:
    with pytest.raises(ScenarioFailed) as caught:
        explore(scenarios.forgotten, loop=on, seeds=2000)
    count = len(caught.value.run.trace.choices)
    last = max(caught.value.run.trace.choices)
    fewer = [
        dict.fromkeys(decisions, 1)
        for fewer in range(count)
        for decisions in itertools.combinations(range(last + 1), fewer)
    ]
    assert len(fewer) > 1
    for choices in fewer:
        assert replay(scenarios.forgotten, Trace(on, 0, choices)).error is None


def test_a_scenario_that_nobody_could_import_is_repeated_by_a_call(on: Any) -> None:
    async def fails(sim: Simulation) -> None:
        raise ZeroDivisionError

    with pytest.raises(ScenarioFailed, match=rf'replay\(scenario, "{on}:0:"\)') as caught:
        explore(fails, loop=on)
    assert "It fails under the plain schedule too." in str(caught.value)
    assert caught.value.run.turns == ()


def test_a_command_of_one_s_own_stands_in_the_message(on: Any) -> None:
    failed = failure(on, command=lambda trace: f"make again {trace}")
    assert str(failed).endswith(f"To repeat it: make again {failed.run.trace}")


def test_shrinking_keeps_to_the_same_type_of_failure(on: Any) -> None:
    async def two_faults(sim: Simulation) -> None:
        order: list[int] = []

        async def note(number: int) -> None:
            await anyio.lowlevel.checkpoint()
            order.append(number)

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(note, number)
        if order == [0, 1, 2]:
            raise ValueError
        raise KeyError

    def fails_as_meant(seed: int) -> bool:
        try:
            simulate(two_faults, seed=seed, loop=on, strategy=SingleSteps(seed))
        except KeyError:
            return True
        except ValueError:
            return False
        return False

    seed = next(filter(fails_as_meant, range(20)))
    with pytest.raises(ScenarioFailed) as caught:
        explore(two_faults, seeds=[seed], loop=on, strategy=SingleSteps)
    assert isinstance(caught.value.run.error, KeyError)
    assert caught.value.run.trace.choices


def test_shrinking_keeps_to_the_types_of_failure_in_a_group(on: Any) -> None:
    async def two_faults(sim: Simulation) -> None:
        order: list[int] = []

        async def note(number: int) -> None:
            await anyio.lowlevel.checkpoint()
            order.append(number)
            if len(order) == 3:
                raise ValueError if order == [0, 1, 2] else KeyError

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(note, number)

    def fails_as_meant(seed: int) -> bool:
        try:
            simulate(two_faults, seed=seed, loop=on, strategy=SingleSteps(seed))
        except ExceptionGroup as exc:
            return exc.subgroup(KeyError) is not None
        return False

    seed = next(filter(fails_as_meant, range(20)))
    with pytest.raises(ScenarioFailed, match="KeyError") as caught:
        explore(two_faults, seeds=[seed], loop=on, strategy=SingleSteps)
    error: Any = caught.value.run.error
    assert [type(leaf) for leaf in error.exceptions] == [KeyError]
    assert caught.value.run.trace.choices


@pytest.mark.parametrize("later", [None, KeyError])
def test_a_failure_that_does_not_come_again_is_told_all_the_same(
    on: Any, later: type[Exception] | None
) -> None:
    calls: list[int] = []

    async def fails_once(sim: Simulation) -> None:
        calls.append(sim.seed)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(scenarios.harmless, sim)
        if len(calls) == 1:
            raise ZeroDivisionError("only once")
        if later is not None:
            raise later

    with pytest.raises(ScenarioFailed) as caught:
        explore(fails_once, loop=on)
    failed = caught.value
    assert isinstance(failed.__cause__, ZeroDivisionError)
    assert failed.run is failed.first
    assert failed.first.error is failed.__cause__
    first, second, *_ = str(failed).splitlines()
    assert first == "ZeroDivisionError: only once"
    assert second.startswith("It did not fail again under the same schedule: ")
    assert "plain schedule" not in str(failed)
    assert str(failed.first.trace) in str(failed)


def test_what_the_scenario_noted_is_told(on: Any) -> None:
    assert "What it noted: " in str(failure(on))


def test_seeds_may_be_given_one_by_one(on: Any) -> None:
    assert explore(scenarios.harmless, seeds=(7, 9), loop=on).runs == 2


@pytest.mark.parametrize("seeds", [0, -3, [], iter(())])
def test_an_exploration_without_seeds_is_refused(on: Any, seeds: Any) -> None:
    with pytest.raises(ValueError, match="no seed was given, and nothing would be tried"):
        explore(scenarios.harmless, seeds=seeds, loop=on)


def test_seeds_that_are_none_are_refused(on: Any) -> None:
    with pytest.raises(TypeError, match=r"seeds are integers, or how many there are, not 1\.5"):
        explore(scenarios.harmless, seeds=cast(Any, 1.5), loop=on)


@pytest.mark.parametrize(
    "run",
    [
        lambda: simulate(scenarios.harmless, loop=cast(Any, "curio")),
        lambda: explore(scenarios.harmless, loop=cast(Any, "curio")),
        lambda: explore_fault(scenarios.harmless, collect_garbage, loop=cast(Any, "curio")),
        lambda: replay(scenarios.harmless, Trace(cast(Any, "curio"), 0, {})),
    ],
)
def test_an_event_loop_that_there_is_not_is_refused(run: Any) -> None:
    with pytest.raises(ValueError, match="the event loop is 'trio' or 'asyncio', not 'curio'"):
        run()


def test_a_replay_says_if_it_is_another_schedule(on: Any) -> None:
    async def two(sim: Simulation) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(scenarios.harmless, sim)

    same = next(
        run for seed in range(20) if (run := simulate(two, seed=seed, loop=on)).trace.choices
    )
    assert replay(two, same.trace).remark == ""
    remark = replay(two, f"{on}:0:500=1,501=2").remark
    assert remark.startswith("this is not the schedule of the trace: 500=1, 501=2 did not come up.")


def test_a_replay_that_fails_says_if_it_is_another_schedule(on: Any) -> None:
    async def fails(sim: Simulation) -> None:
        raise KeyError

    with pytest.raises(KeyError) as caught:
        replay(fails, f"{on}:0:500=1")
    assert "500=1 did not come up" in "".join(caught.value.__notes__)


# --- faults


async def hurt(sim: Simulation) -> None:
    """A fault that waits."""


class Hurt:
    async def __call__(self, sim: Simulation) -> None:
        pass


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (hurt, "the fault hurt is async, and nobody would await it"),
        (Hurt(), "is async, and nobody would await it"),
        (jump_clock, "jump_clock makes a fault: write jump_clock\\(seconds\\)"),
        (None, "a fault is a function that is called with the simulation, not None"),
    ],
)
def test_what_cannot_be_a_fault_is_refused(on: Any, fault: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        inject(fault, at=1)
    with pytest.raises(TypeError, match=words):
        explore_fault(scenarios.harmless, fault, loop=on)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda sim: hurt(sim), "is async, and nobody would await it"),
        (lambda sim: jump_clock(sim), "seconds is how far the clock jumps, not <"),
    ],
)
def test_a_fault_that_turns_out_to_be_none_fails_the_scenario(
    on: Any, fault: Any, words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        simulate(scenarios.harmless, loop=on, faults=[inject(fault, at=1)])


@pytest.mark.parametrize("fault", [cancel_victim, lambda sim: sim.cancel_victims()])
def test_a_fault_that_has_no_victim_in_any_run_is_refused(on: Any, fault: Any) -> None:
    with pytest.raises(ValueError, match=r"put what is to be cancelled into `with sim\.victim"):
        explore_fault(scenarios.harmless, fault, loop=on)


def test_steps_are_left_out_by_a_number_from_one(on: Any) -> None:
    with pytest.raises(ValueError, match="not in 0"):
        explore_fault(scenarios.harmless, collect_garbage, loop=on, every=0)


def test_a_fault_that_breaks_the_scenario_at_one_step_is_found_there(on: Any) -> None:
    async def half_done(sim: Simulation) -> None:
        halves = 0
        with sim.victim():
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            halves += 1
            await anyio.lowlevel.checkpoint()
            halves += 1
        assert halves != 1

    with pytest.raises(ScenarioFailed) as caught:
        explore_fault(half_done, cancel_victim, loop=on)
    (injection,) = caught.value.faults
    assert f"cancel_victim before step {injection.at}." in str(caught.value)
    with pytest.raises(AssertionError):
        replay(half_done, caught.value.run.trace, faults=[injection])


def test_a_scenario_that_fails_without_a_fault_is_said_to(on: Any) -> None:
    async def stuck(sim: Simulation) -> None:
        await anyio.sleep_forever()

    with pytest.raises(ScenarioFailed) as caught:
        explore_fault(stuck, cancel_victim, loop=on)
    assert isinstance(caught.value.__cause__, Stuck)
    assert caught.value.faults == ()


def test_steps_may_be_left_out(on: Any) -> None:
    every = explore_fault(scenarios.lost_update, lambda sim: None, loop=on)
    third = explore_fault(scenarios.lost_update, lambda sim: None, loop=on, every=3)
    assert third.runs == 1 + -(-(every.runs - 1) // 3)


# --- the command


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trio_agents.testing", *arguments],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", ["scenarios:harmless", "scenarios.py:harmless"])
def test_the_command_says_if_a_schedule_passes(target: str) -> None:
    done = run_command("replay", target, "trio:0:")
    assert done.returncode == 0, done.stderr
    assert "passes under this schedule" in done.stdout
    assert "1 s of its time" in done.stdout


def test_the_command_says_if_it_is_another_schedule() -> None:
    done = run_command("replay", "scenarios:harmless", "trio:0:500=1")
    assert done.returncode == 0, done.stderr
    assert "But this is not the schedule of the trace: 500=1 did not come up." in done.stdout


@pytest.mark.parametrize(
    ("target", "trace", "message"),
    [
        ("scenarios", "trio:0:", "module:function"),
        ("nowhere:harmless", "trio:0:", "No module named 'nowhere'"),
        ("nowhere.py:harmless", "trio:0:", "nowhere.py"),
        ("scenarios:nothing", "trio:0:", "nothing"),
        ("scenarios:harmless", "nonsense", "trio:42:3=1,7=2"),
    ],
)
def test_the_command_says_what_it_did_not_understand(target: str, trace: str, message: str) -> None:
    done = run_command("replay", target, trace)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("fault", "words"), [("press_ctrl_c", "KeyboardInterrupt"), ("scenarios:hang_up", "EOFError")]
)
def test_the_command_shows_where_a_run_was_interrupted(on: Any, fault: str, words: str) -> None:
    done = run_command("replay", "scenarios:harmless", f"{on}:0:", "--fault", f"{fault}@1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert words in done.stderr
    assert "in a simulated run, whose trace is" in done.stderr
    assert "Aborted" not in done.stderr


# --- misuse


async def no_parameter() -> None: ...


def not_async(sim: Simulation) -> int:
    return 1


class Decides:
    """A strategy that says what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def choose(self, ready: Any) -> Any:
        return self.answer


async def three_at_once(sim: Simulation) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(scenarios.harmless, sim)


ok: Any = scenarios.harmless
kit: Any = trio_agents.testing  # without its types, to be used wrongly


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: kit.simulate(ok(None)), "give harmless, and do not call it"),
        (lambda: kit.simulate(None), "a scenario is an async function"),
        (lambda: kit.simulate(no_parameter), r"no_parameter\(\).* cannot be: too many"),
        (lambda: kit.simulate(not_async), "not_async is none: it returned 1"),
        (lambda: kit.explore(not_async), "not_async is none: it returned 1"),
        (lambda: kit.simulate(ok, seed="a"), "a seed is an integer, 0 or more, not 'a'"),
        (lambda: kit.simulate(ok, seed=True), "a seed is an integer, 0 or more, not True"),
        (lambda: kit.explore(ok, seeds="abc"), "a seed is an integer, 0 or more, not 'a'"),
        (lambda: kit.explore(ok, seeds=[False]), "a seed is an integer, 0 or more, not False"),
        (lambda: kit.explore(ok, seeds=True), "or how many there are, not True"),
        (lambda: kit.explore_fault(ok, cancel_victim, seed=True), "a seed is .*, not True"),
        (lambda: kit.replay(ok, Trace("trio", True, {})), "a seed is .*, not True"),
        (lambda: kit.simulate(ok, faults=[cancel_victim]), r"made by inject\(fault, at=step\)"),
        (lambda: kit.simulate(ok, strategy=SingleSteps), r"give SingleSteps\(seed\)"),
        (lambda: kit.simulate(ok, strategy=7), r"an object with a method choose\(ready\), not 7"),
        (lambda: kit.explore(ok, strategy=SingleSteps(1)), "give a class like Shuffle"),
        (lambda: kit.explore(ok, strategy=lambda seed: None), "choose\\(ready\\), not None"),
        (lambda: kit.simulate(ok, patience="1"), "how many real seconds to wait, not '1'"),
        (lambda: kit.simulate(ok, max_stops=1), r"simulate\(\) has no argument 'max_stops'"),
        (lambda: kit.replay(ok, "trio:1:", seed=3), r"replay\(\) has no argument 'seed'"),
        (lambda: kit.replay(ok, None), "a trace is a Trace, or the text of one, not None"),
        (lambda: kit.inject(cancel_victim, at="1"), "a step is given by its number"),
        (lambda: kit.jump_clock("1"), "how far the clock jumps, not '1'"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_with_a_sentence(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: kit.simulate(ok, seed=-1), "a seed is an integer, 0 or more, not -1"),
        (lambda: kit.explore(ok, seeds=[-1]), "a seed is an integer, 0 or more, not -1"),
        (lambda: kit.explore_fault(ok, cancel_victim, seed=-1), "a seed is .*, not -1"),
        (lambda: kit.replay(ok, Trace("trio", -1, {})), "a seed is .*, not -1"),
        (lambda: kit.replay(ok, "trio:-1:"), "a seed is an integer, 0 or more, not -1"),
        (lambda: kit.jump_clock(-5), "how far the clock jumps, 0 or more, not -5"),
        (lambda: kit.simulate(ok, max_steps=0), "how many steps a run may take, 1 or more, not 0"),
        (lambda: kit.simulate(ok, patience=-1), "0 or more, not -1"),
        (lambda: kit.simulate(ok, patience=math.nan), "0 or more, not nan"),
    ],
)
def test_what_is_out_of_range_is_refused_with_a_sentence(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("answer", [99, -1, None, 1.0])
def test_a_strategy_that_chooses_nobody_is_told_so(on: Any, answer: Any) -> None:
    with pytest.raises(ValueError, match=f"of [23] tasks here, and .* has chosen {answer}"):
        simulate(three_at_once, strategy=Decides(answer), loop=on)


def test_what_a_strategy_raises_is_not_taken_for_a_failure_of_the_scenario(on: Any) -> None:
    class Raises:
        def choose(self, ready: Any) -> int:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        explore(three_at_once, strategy=lambda seed: Raises(), loop=on)


# --- faults that try nothing (all sleeping here is by the simulation's clock)


def test_a_fault_without_a_victim_is_told(on: Any) -> None:
    with pytest.raises(ValueError, match="the scenario has none at that step or later, so nothing"):
        simulate(scenarios.harmless, faults=[inject(cancel_victim, at=1)], loop=on)


async def short_lived(sim: Simulation) -> None:
    with sim.victim():
        await anyio.sleep(1)
    for _ in range(5):
        await anyio.sleep(1)


def test_a_fault_whose_victim_has_ended_is_told(on: Any) -> None:
    last = simulate(short_lived, loop=on).steps
    faults = [inject(cancel_victim, at=last)]
    with pytest.raises(ValueError, match="give an earlier step"):
        simulate(short_lived, faults=faults, loop=on)
    assert "give an earlier step" in replay(short_lived, f"{on}:0:", faults=faults).remark


def test_a_scenario_whose_own_fault_has_no_victim_any_more_is_told(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        sim.inject(cancel_victim, at=sim.step + 3)
        await short_lived(sim)

    with pytest.raises(ValueError, match="give an earlier step"):
        explore(scenario, seeds=3, loop=on)


def test_a_victim_that_comes_after_the_fault_was_there(on: Any) -> None:
    async def scenario(sim: Simulation) -> float:
        await anyio.sleep(1)
        with sim.victim():
            await anyio.sleep(5)
        return sim.current_time()

    assert simulate(scenario, faults=[inject(cancel_victim, at=1)], loop=on).value == 1


def test_the_victim_is_there_at_some_steps_only(on: Any) -> None:
    assert explore_fault(short_lived, cancel_victim, loop=on).runs > 5


def test_a_replay_remarks_a_fault_without_a_victim(on: Any) -> None:
    run = replay(scenarios.harmless, f"{on}:0:", faults=[inject(cancel_victim, at=1)])
    assert "the scenario has none at that step or later, so nothing was tried" in run.remark


@pytest.mark.parametrize(
    ("at", "words"),
    [(0, "steps are counted from 1"), (1, "step 1: [124] steps of this run are over")],
)
def test_a_scenario_cannot_inject_what_would_have_been(on: Any, at: int, words: str) -> None:
    async def scenario(sim: Simulation) -> None:
        await anyio.sleep(1)
        sim.inject(collect_garbage, at=at)

    with pytest.raises(ValueError, match=words):
        simulate(scenario, loop=on)


def test_a_fault_that_comes_too_late_in_all_runs_is_told(on: Any) -> None:
    async def scenario(sim: Simulation) -> None:
        sim.inject(collect_garbage, at=1000)
        await anyio.sleep(1)

    with pytest.raises(ValueError, match=r"before step 1000, and the run ended .*in no other run"):
        explore(scenario, seeds=3, loop=on)


# --- the command


def printed_command(folder: Path, *options: str, start: str = ".") -> str:
    """Have pytest fail the test in *folder*, and give what it prints to repeat it."""
    program = folder / "bin" / "start"  # as the command `pytest`, which has not `python -m`'s path
    program.parent.mkdir()
    program.write_text(
        "import pytest, sys\n"
        "sys.modules['__mp_main__'] = sys.modules['__main__']\n"  # as multiprocessing may
        "sys.exit(pytest.main())\n"
    )
    pytest_run = [sys.executable, str(program), "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        pytest_run, cwd=folder / start, capture_output=True, text=True, check=False
    )
    line = next(line for line in done.stdout.splitlines() if "To repeat it: " in line)
    return line.rpartition("To repeat it: ")[2]


def command_for(function: str, folder: Path) -> str:
    """Write a test into *folder*, have pytest fail it there, and give the command it prints."""
    (folder / "tests").mkdir()
    (folder / "tests" / "helpers.py").write_text("WRONG = 1\n")
    (folder / "tests" / "test_it.py").write_text(
        "import functools\n"
        "from helpers import WRONG\n"
        "from trio_agents.testing import explore\n"
        "async def scenario(sim): assert not WRONG\n"
        "async def of_two(wrong, sim): assert not WRONG\n"
        "class TestIt:\n"
        "    async def scenario(self, sim): assert not WRONG\n"
        f"    def test_it(self): explore({function}, seeds=1)\n"
    )
    return printed_command(folder, "tests")


def repeat(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_works_where_pytest_was_started(tmp_path: Path) -> None:
    command = command_for("scenario", tmp_path)
    assert command.endswith(f"replay {Path('tests', 'test_it.py')}:scenario trio:0:")
    done = repeat(command, tmp_path)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


RACY: Final = """
from trio_agents.testing import explore_fault
{imports}
hit = []
def fault(sim):
    hit.append(1)
async def scenario(sim):
    assert IS_RIGHT or not hit
def test_it():
    explore_fault(scenario, fault)
"""
PROD: Final = "IS_RIGHT = False\n"
PYTHONPATH: Final = '[tool.pytest.ini_options]\npythonpath = ["src"]\n'
IMPORTLIB: Final = '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n'
# Files of a project (its test besides), where the test is and what it imports, where pytest starts.
LAYOUTS: Final[dict[str, tuple[dict[str, str], str, str, str]]] = {
    "a package of tests, from inside": (
        {"tests/__init__.py": "", "tests/prod.py": PROD},
        "tests/test_racy.py",
        "from .prod import IS_RIGHT",
        "tests",
    ),
    "a package of tests, from outside": (
        {"tests/__init__.py": "", "tests/deep/__init__.py": "", "tests/prod.py": PROD},
        "tests/deep/test_racy.py",
        "from ..prod import IS_RIGHT",
        ".",
    ),
    "pytest's pythonpath": (
        {"pyproject.toml": PYTHONPATH, "src/prod.py": PROD},
        "tests/test_racy.py",
        "from prod import IS_RIGHT",
        ".",
    ),
    "pytest's pythonpath, from inside": (
        {"pyproject.toml": PYTHONPATH, "src/prod/__init__.py": PROD, "my tests/conftest.py": ""},
        "my tests/test_racy.py",
        "from prod import IS_RIGHT",
        "my tests",
    ),
    "a conftest.py that adds a path": (
        {"conftest.py": "import sys\nsys.path.append('lib')", "lib/prod.py": PROD},
        "test_racy.py",
        "from prod import IS_RIGHT",
        ".",
    ),
    "a module of a conftest.py above": (
        {"pyproject.toml": PYTHONPATH, "tests/conftest.py": "", "tests/prod.py": PROD},
        "tests/deep/test_racy.py",
        "from prod import IS_RIGHT",
        "tests/deep",
    ),
    "a package without __init__.py": (
        {"pyproject.toml": PYTHONPATH, "src/shop/prod.py": PROD},
        "tests/test_racy.py",
        "from shop.prod import IS_RIGHT",
        ".",
    ),
    "importlib": (
        {"pyproject.toml": IMPORTLIB, "tests/__init__.py": "", "tests/prod.py": PROD},
        "tests/test_racy.py",
        "from .prod import IS_RIGHT",
        "tests",
    ),
    "importlib, no package": (
        {"pyproject.toml": IMPORTLIB},
        "tests/test_racy.py",
        "IS_RIGHT = False",
        ".",
    ),
}


@pytest.mark.parametrize(("files", "path", "imports", "start"), LAYOUTS.values(), ids=LAYOUTS)
def test_the_command_works_in_each_layout(
    tmp_path: Path, files: dict[str, str], path: str, imports: str, start: str
) -> None:
    for name, text in {**files, path: RACY.format(imports=imports)}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    command = printed_command(tmp_path, start=start)
    assert "bin" not in command
    assert command.startswith("python -m trio_agents.testing replay ")
    done = repeat(command, tmp_path / start)
    assert done.returncode == 1, done.stderr
    assert "AssertionError" in done.stderr


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("self.scenario", "the method TestIt.scenario in {}, line 7"),
        (
            "lambda sim: scenario(sim)",
            "the function TestIt.test_it.<locals>.<lambda> in {}, line 8",
        ),
        ("functools.partial(of_two, 1)", "a partial of the function of_two in {}, line 5"),
    ],
)
def test_what_has_no_command_is_told_what_it_is_and_where(
    tmp_path: Path, function: str, words: str
) -> None:
    what = words.format(Path("tests", "test_it.py"))
    assert command_for(function, tmp_path) == (
        f'replay(scenario, "trio:0:"), where scenario is {what}. There is no command '
        "for it, as no other process can import scenario: for one, define it at the top level of a "
        "module"
    )
