"""Blocks as files and processes of this machine, without a sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock, CodeExecutor
from trio_agents.ext.code_executors._limits import limited
from trio_agents.ext.code_executors.jupyter import JupyterCodeExecutor
from trio_agents.ext.code_executors.local import (
    CommandLineCodeResult,
    LocalCommandLineCodeExecutor,
    ResourceLimits,
    Sandbox,
)

from .probes import Pipe, files_in, outcome, processes_with, python, sh, text_of

FOREVER = "while :; do sleep 1000; done"


# CE-01 CE-02 CE-03 CE-04 CE-08 CE-16
async def test_it_runs_python_and_shell_without_being_started(tmp_path: Path) -> None:
    executor: CodeExecutor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    result = await executor.execute_code_blocks(
        [CodeBlock("print('a')", "python"), CodeBlock("echo b; echo $0 >&2", "bash")],
        CancellationToken(),
    )
    assert isinstance(result, CommandLineCodeResult)
    assert result.exit_code == 0
    first, second, third = result.output.splitlines()
    assert (first, second) == ("a", "b")
    assert third.startswith(str(tmp_path / "tmp_code_"))
    assert third.endswith(".bash")


# CE-05 CE-06
@pytest.mark.parametrize(
    ("language", "extension"),
    [("python", "py"), ("Python", "py"), ("py", "py"), ("bash", "bash"), ("sh", "sh")],
)
async def test_each_block_is_a_file_named_after_its_code(
    tmp_path: Path, language: str, extension: str
) -> None:
    executor = LocalCommandLineCodeExecutor(
        work_dir=tmp_path, cleanup_temp_files=False, sandbox=None
    )
    block = CodeBlock("exit\n" if extension != "py" else "pass\n", language)
    result = await executor.execute_code_blocks([block], CancellationToken())
    assert result.code_file is not None
    path = Path(result.code_file)  # absolute: CE-15
    assert path.parent == tmp_path
    assert path.name.startswith("tmp_code_")
    assert path.suffix == f".{extension}"
    assert text_of(path) == block.code
    again = await executor.execute_code_blocks([block], CancellationToken())
    assert again.code_file == result.code_file


# CE-05
async def test_each_block_is_a_process_of_its_own(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    _, output = await outcome(executor, sh("echo $$"), sh("echo $$ # the second"))
    assert len(set(output.split())) == 2


async def test_files_are_cleaned_up_and_named_ones_stay(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    named = python("# filename: lib/named.py\nVALUE = 3")
    using = python(
        "import sys; sys.dont_write_bytecode = True\nimport lib.named as n; print(n.VALUE)"
    )
    assert await outcome(executor, named, using) == (0, "3\n")
    assert files_in(tmp_path) == ["lib/named.py"]


# CE-07
async def test_a_failing_block_is_a_result_and_the_next_ones_do_not_run(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    code, output = await outcome(executor, python("1/0"), sh("echo next"))
    assert code == 1
    assert output.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "next" not in output


async def test_what_is_printed_stays_in_order(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    block = python("import sys\nfor i in '123': print(i); print(i, file=sys.stderr)")
    assert await outcome(executor, block) == (0, "1\n1\n2\n2\n3\n3\n")


# CE-08
async def test_a_language_that_is_not_run_is_refused_before_anything_runs(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    with pytest.raises(ValueError, match="'cobol' cannot be run here"):
        await outcome(executor, sh("touch ran"), CodeBlock("STOP RUN.", "cobol"))
    assert files_in(tmp_path) == []


async def test_a_program_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    with pytest.raises(ValueError, match="pwsh or powershell is not installed"):
        await outcome(executor, CodeBlock("1", "powershell"))


async def test_code_ended_by_a_signal_has_the_shells_exit_code(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    assert await outcome(executor, sh("kill -9 $$")) == (137, "")


async def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    assert await outcome(executor, sh(r"printf 'a\377b'")) == (0, "a\N{REPLACEMENT CHARACTER}b")


async def test_of_huge_output_beginning_and_end_are_kept(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None, max_output=100)
    code, output = await outcome(executor, sh("echo first; yes | head -n 2000000; echo last"))
    assert code == 0  # it was not held up either
    assert output.startswith("first\ny\n")
    assert output.endswith("y\nlast\n")
    assert "bytes of output left out" in output
    assert len(output) < 200


async def test_standard_input_is_empty(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    code, output = await outcome(executor, python("input()"))
    assert code == 1
    assert "EOFError" in output


async def test_a_timeout_keeps_what_was_printed(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(1, tmp_path, kill_grace=0, sandbox=None)
    code, output = await outcome(executor, sh(f"echo part; {FOREVER}"), sh("echo next"))
    assert code == 124
    assert output.startswith("part\n\nTimeout: ")
    assert "next" not in output


async def test_without_pidfds_a_thread_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    executor = LocalCommandLineCodeExecutor(0.5, tmp_path, kill_grace=0, sandbox=None)
    assert await outcome(executor, sh("echo a; exit 3")) == (3, "a\n")
    code, _ = await outcome(executor, sh(FOREVER))
    assert code == 124


STUBBORN = f"""
(trap '' TERM; exec 9>ready; echo up >&9; {FOREVER}) &
wait
"""


async def test_a_cancelled_scope_kills_grandchildren_that_ignore_sigterm(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, kill_grace=0.05, sandbox=None)
    with Pipe(tmp_path / "ready") as ready:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, executor, sh(STUBBORN))
            assert await ready.read() == "up\n"
            tasks.cancel_scope.cancel()
        await ready.wait_closed()
    assert await outcome(executor, sh("echo still usable")) == (0, "still usable\n")


async def test_a_cancelled_token_kills_what_runs(
    tmp_path: Path, MessageCancelled: type[BaseException]
) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, kill_grace=0.05, sandbox=None)
    token = CancellationToken()
    raised: list[BaseException] = []

    async def run() -> None:
        try:
            await executor.execute_code_blocks([sh(STUBBORN)], token)
        except MessageCancelled as error:
            raised.append(error)

    with Pipe(tmp_path / "ready") as ready:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            assert await ready.read() == "up\n"
            token.cancel()
        await ready.wait_closed()
    assert len(raised) == 1
    assert await outcome(executor, sh("echo still usable")) == (0, "still usable\n")


async def test_cancelled_code_may_clean_up_first(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, kill_grace=30, sandbox=None)
    block = sh("trap 'echo bye > farewell; exit' TERM; echo up > ready; sleep 1000 & wait")
    with Pipe(tmp_path / "ready") as ready:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, executor, block)
            assert await ready.read() == "up\n"
            tasks.cancel_scope.cancel()
    assert (tmp_path / "farewell").read_text() == "bye\n"


async def test_what_a_block_leaves_running_ends_with_it(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    with Pipe(tmp_path / "alive") as alive:
        block = sh(f"exec 9>alive; ({FOREVER}) & echo done")
        assert await outcome(executor, block) == (0, "done\n")
        await alive.wait_closed()


async def test_a_burst_of_processes_ends_with_its_block(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, kill_grace=0, sandbox=None)
    block = python(
        "import os, signal\n"
        "alive = os.open('alive', os.O_WRONLY)\n"
        "for _ in range(6): os.fork()\n"
        "os.write(alive, b'x')\n"
        "signal.pause()"
    )
    with Pipe(tmp_path / "alive") as alive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, executor, block)
            up = 0
            while up < 2**6:
                up += len(await alive.read())
            tasks.cancel_scope.cancel()
        await alive.wait_closed()


async def test_a_daemon_leaves_the_group_and_does_not_hold_up_the_block(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    block = sh(
        "setsid sh -c 'echo $$ > number; mv number daemon; exec sleep 1000' &\n"
        "while [ ! -e daemon ]; do :; done; echo done"
    )
    assert await outcome(executor, block) == (0, "done\n")
    # What is promised for the sandbox only (test_sandbox.py).
    os.kill(int((tmp_path / "daemon").read_text()), signal.SIGKILL)


async def test_the_same_code_can_run_twice_at_the_same_time(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    block = sh("mkdir first 2>/dev/null && exec cat wait; echo second > wait; cat $0")
    os.mkfifo(tmp_path / "wait")
    outputs: list[str] = []

    async def run() -> None:
        outputs.append((await outcome(executor, block))[1])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        tasks.start_soon(run)
    assert set(outputs) == {"second\n", block.code}


async def test_the_environment_of_the_program_is_not_the_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_API_KEY", "sk-canary")
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, env={"MINE": "1"}, sandbox=None)
    _, output = await outcome(executor, sh("env; echo $HOME $LANG"))
    assert "canary" not in output
    assert "MINE=1\n" in output
    assert output.endswith(f"{tmp_path} C.UTF-8\n")
    inheriting = LocalCommandLineCodeExecutor(work_dir=tmp_path, env=os.environ, sandbox=None)
    assert await outcome(inheriting, sh("echo $MODEL_API_KEY")) == (0, "sk-canary\n")
    assert "canary" not in repr(vars(inheriting))


async def test_python_in_a_shell_is_the_python_of_python_blocks(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    code = "import sys; print(sys.prefix)"
    _, output = await outcome(executor, python(code), sh(f"python -c '{code}'"))
    assert output == f"{sys.prefix}\n" * 2


async def test_a_temporary_directory_lasts_from_start_to_stop() -> None:
    async with LocalCommandLineCodeExecutor(sandbox=None) as executor:
        first = executor.work_dir
        assert await outcome(executor, sh("echo > kept")) == (0, "")
        await executor.restart()
        assert await outcome(executor, sh("ls kept; pwd")) == (0, f"kept\n{first}\n")
    assert not first.exists()
    await executor.stop()
    assert await outcome(executor, sh("ls kept 2>/dev/null")) != (0, "kept\n")
    await executor.stop()


def test_without_a_decision_on_a_sandbox_you_are_warned(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="with all that this program can do"):
        LocalCommandLineCodeExecutor(work_dir=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": 0}, "timeout has to be more than 0 seconds, not 0"),
        ({"functions_module": "a-b"}, "the name of a module, not 'a-b'"),
        ({"functions_module": "class"}, "the name of a module, not 'class'"),
        ({"kill_grace": -1}, "kill_grace has to be 0 seconds or more, not -1"),
        ({"max_output": 1}, "max_output has to be 2 bytes or more, not 1"),
    ],
)
def test_an_argument_that_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalCommandLineCodeExecutor(sandbox=None, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sandbox": True}, r"sandbox has to be Sandbox\(\) or None, not True"),
        ({"sandbox": False}, r"sandbox has to be Sandbox\(\) or None, not False"),
        ({"sandbox": Sandbox}, r"sandbox has to be Sandbox\(\) or None, not the class Sandbox"),
        (
            {"sandbox": None, "limits": {"open_files": 20}},
            r"limits has to be ResourceLimits\(\.\.\.\) or None, not dict",
        ),
    ],
)
@pytest.mark.parametrize("executor", [LocalCommandLineCodeExecutor, JupyterCodeExecutor])
def test_what_only_looks_like_a_sandbox_or_limits_is_refused(
    executor: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        executor(**arguments)


LIMITED = [
    (ResourceLimits(address_space=200_000_000), "bytearray(10**9)", "MemoryError"),
    (ResourceLimits(file_size=4096), "open('f', 'wb').write(bytes(10**6))", "File too large"),
    (ResourceLimits(open_files=20), "[open('/dev/null') for _ in range(40)]", "Too many open"),
]


@pytest.mark.parametrize(
    ("limits", "code", "error"), LIMITED, ids=["address_space", "file_size", "open_files"]
)
async def test_a_limit_holds(tmp_path: Path, limits: ResourceLimits, code: str, error: str) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, limits=limits, sandbox=None)
    exit_code, output = await outcome(executor, python(code))
    assert exit_code == 1
    assert error in output


async def test_code_that_computes_too_long_is_killed(tmp_path: Path) -> None:
    limits = ResourceLimits(cpu_seconds=1)
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, limits=limits, sandbox=None)
    assert await outcome(executor, sh("while :; do :; done")) == (128 + signal.SIGKILL, "")


# A number of processes is limited for users other than root, so this runs as nobody if it is root.
def test_the_number_of_processes_is_limited() -> None:
    argv = limited(["/bin/sh", "-c", "sleep 1000 & echo up"], ResourceLimits(processes=1))
    as_nobody = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=30, **as_nobody)  # type: ignore[call-overload]
    assert done.returncode != 0
    assert "ork" in done.stderr  # dash: Cannot fork; bash: fork: ...
    assert processes_with("sleep 1000 & echo up") == []


def test_a_limit_that_cannot_be_set_is_the_end() -> None:
    inner = limited(["echo", "ran"], ResourceLimits(open_files=1000))
    outer = limited(inner, ResourceLimits(open_files=100))
    as_nobody = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    done = subprocess.run(outer, cwd="/", capture_output=True, text=True, timeout=30, **as_nobody)  # type: ignore[call-overload]
    assert done.returncode == 126
    assert "ran" not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is not held by it")
def test_a_limit_that_does_not_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="does not hold for root"):
        LocalCommandLineCodeExecutor(limits=ResourceLimits(processes=10), sandbox=None)
