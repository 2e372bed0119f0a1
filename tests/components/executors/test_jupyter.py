"""Blocks as cells of a kernel: real kernels, real signals."""

from __future__ import annotations

import os
import site
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import ipykernel
import pytest
from jupyter_client.session import Session

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock, CodeExecutor
from trio_agents.ext.code_executors.jupyter import (
    JupyterCodeExecutor,
    JupyterCodeResult,
    Sandbox,
)

from .probes import Pipe, needs_bubblewrap, outcome, processes_with, python, text_of

# Where ipykernel is, which need not be in the prefix of the interpreter.
KERNEL = str(Path(ipykernel.__file__).parent.parent)


async def test_what_a_block_defines_the_next_one_has(tmp_path: Path) -> None:
    async with JupyterCodeExecutor(output_dir=tmp_path, sandbox=None) as executor:
        result = await executor.execute_code_blocks(
            [python("x = 1"), python("x + 1"), python("print(x); print('a'); 'value'")],
            CancellationToken(),
        )
        assert isinstance(result, JupyterCodeResult)
        assert (result.exit_code, result.output_files) == (0, [])
        assert result.output == "\n2\n1\na\n\n'value'"
        assert await outcome(executor, python("x")) == (0, "1")

        # A failing block is a result, the next ones do not run, and the state stays.
        code, output = await outcome(executor, python("x = 2; 1/0"), python("print('next')"))
        assert code == 1
        assert output.endswith("ZeroDivisionError: division by zero")
        assert "\x1b" not in output
        assert await outcome(executor, python("x")) == (0, "2")

        with pytest.raises(ValueError, match="'bash' cannot be run by a kernel for python"):
            await outcome(executor, python("x = 3"), CodeBlock("echo 1", "bash"))
        assert await outcome(executor, python("x")) == (0, "2")

        await executor.restart()
        code, output = await outcome(executor, python("x"))
        assert code == 1
        assert "NameError" in output


async def test_pictures_and_pages_are_files(tmp_path: Path) -> None:
    block = python(
        "from IPython.display import display, HTML\n"
        "display(HTML('<b>page</b>'))\n"
        "display({'image/png': 'cGljdHVyZQ==', 'text/plain': 'a picture'}, raw=True)\n"
        "display({'image/svg+xml': '<svg/>'}, raw=True)\n"
        "display({'application/json': {'a': 1}}, raw=True)\n"
        "display({'image/png': 'x'}, raw=True)\n"
        "display({'image/png': 'é'}, raw=True)\n"
    )
    async with JupyterCodeExecutor(output_dir=tmp_path, sandbox=None) as executor:
        result = await executor.execute_code_blocks([block], CancellationToken())
    assert [path.suffix for path in result.output_files] == [".html", ".png", ".svg"]
    assert [text_of(path) for path in result.output_files] == ["<b>page</b>", "picture", "<svg/>"]
    assert {path.parent for path in result.output_files} == {tmp_path}
    shown = result.output.splitlines()
    assert shown[:3] == ["<IPython.core.display.HTML object>", "a picture", '{"a": 1}']
    assert len(shown) == 5
    assert all(line.startswith("what was shown as png is none") for line in shown[3:])


async def test_calls_at_the_same_time_take_turns(tmp_path: Path) -> None:
    async with JupyterCodeExecutor(output_dir=tmp_path, sandbox=None) as executor:
        await outcome(executor, python("seen = []"))
        async with anyio.create_task_group() as tasks:
            for name in "abc":
                block = python(f"seen += ['{name}']; import time; time.sleep(0.01); seen += ['.']")
                tasks.start_soon(outcome, executor, block)
        _, output = await outcome(executor, python("print(*seen, sep='')"))
        assert sorted(output.strip().split(".")) == ["", "a", "b", "c"]


async def test_a_kernel_is_no_reader_of_the_programs_environment(tmp_path: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=tmp_path, env={"MINE": "1"}, sandbox=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_API_KEY", "sk-canary")
        await executor.start()
    async with executor:
        _, output = await outcome(executor, python("import os; dict(os.environ)"))
    assert "canary" not in output
    assert "'MINE': '1'" in output


async def test_a_cell_that_publishes_without_end_is_cut_and_interrupted(tmp_path: Path) -> None:
    executor = JupyterCodeExecutor(
        timeout=3, output_dir=tmp_path, kill_grace=30, max_output=100, sandbox=None
    )
    async with executor:
        block = python("while True: display({'text/plain': 'x'}, raw=True)")
        code, output = await outcome(executor, block)
        assert code == 124
        assert output.startswith("x\nx\n")
        assert "bytes of output left out" in output
        assert await outcome(executor, python("1")) == (0, "1")


def losing(monkeypatch: pytest.MonkeyPatch, is_lost: Callable[[dict[str, Any]], bool]) -> None:
    """Lose the first message that is of a kind, as ZeroMQ does if they come too fast."""
    receive = Session.recv
    lost: list[dict[str, Any]] = []

    def lossy(session: Session, socket: Any) -> Any:
        frames, message = receive(session, socket)
        if message is not None and not lost and is_lost(message):
            lost.append(message)
            return receive(session, socket)
        return frames, message

    monkeypatch.setattr(Session, "recv", lossy)


def is_end_of_a_cell(message: dict[str, Any]) -> bool:
    asked, content = message["parent_header"].get("msg_type"), message["content"]
    return bool(asked == "execute_request" and content.get("execution_state") == "idle")


def is_error(message: dict[str, Any]) -> bool:
    return bool(message["msg_type"] == "error")


async def test_a_cell_ends_though_the_word_of_its_end_is_lost(tmp_path: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=tmp_path, sandbox=None)
    with pytest.MonkeyPatch.context() as patch:
        losing(patch, is_end_of_a_cell)
        async with executor:
            note = "Some of the output came faster than it was read, and is lost"
            assert await outcome(executor, python("x = 1; x")) == (0, f"1\n{note}")
            assert await outcome(executor, python("x")) == (0, "1")


async def test_a_cell_fails_though_its_error_is_lost(tmp_path: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=tmp_path, sandbox=None)
    with pytest.MonkeyPatch.context() as patch:
        losing(patch, is_error)
        async with executor:
            code, output = await outcome(executor, python("1/0"))
            assert code == 1
            assert output.count("ZeroDivisionError: division by zero") == 1


async def test_after_a_flood_that_is_not_read_the_next_cell_is_as_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "flooded")
    with pytest.MonkeyPatch.context() as patch:
        # Nothing is read after the first message, until the flood is over.
        losing(patch, lambda message: is_flood(message) and not text_of(tmp_path / "flooded"))
        async with JupyterCodeExecutor(output_dir=tmp_path, sandbox=None) as executor:
            code, output = await outcome(executor, python(FLOOD))
            assert code == 0
            assert output.startswith("x\nx\n")
            assert await outcome(executor, python("1")) == (0, "1")


FLOOD = (
    "for _ in range(5000): display({'text/plain': 'x'}, raw=True)\nwith open('flooded', 'w'): pass"
)


def is_flood(message: dict[str, Any]) -> bool:
    return bool(message["msg_type"] == "display_data")


STUBBORN = python(
    "import time\n"
    "print('part', flush=True)\n"
    "while True:\n"
    "    try: time.sleep(1000)\n"
    "    except KeyboardInterrupt: pass"
)


async def test_a_block_that_goes_on_when_interrupted_is_killed(tmp_path: Path) -> None:
    async with JupyterCodeExecutor(
        timeout=0.5, output_dir=tmp_path, kill_grace=0.1, sandbox=None
    ) as executor:
        code, output = await outcome(executor, STUBBORN)
        assert code == 124
        assert "part\n\nTimeout: " in output
        assert output.endswith("the kernel was killed: its variables are gone")
        assert await outcome(executor, python("1 + 1")) == (0, "2")


async def test_a_kernel_that_ends_is_a_result_and_the_next_block_has_another(
    tmp_path: Path,
) -> None:
    async with JupyterCodeExecutor(output_dir=tmp_path, sandbox=None) as executor:
        code, output = await outcome(executor, python("import os; os._exit(3)"))
        assert code == 1
        assert output == "The kernel has ended, and its variables are gone"
        assert await outcome(executor, python("1 + 1")) == (0, "2")


# From here on again for both.


@pytest.mark.parametrize("by", ["scope", "token"])
async def test_cancelled_a_block_is_interrupted_and_the_kernel_lives(
    tmp_path: Path, by: str, MessageCancelled: type[BaseException]
) -> None:
    token = CancellationToken()
    ends: list[str] = []

    async def run(executor: CodeExecutor) -> None:
        block = python("print('up', file=open('ready', 'w'), flush=True)\nwhile True: pass")
        try:
            await executor.execute_code_blocks([block], token)
        except MessageCancelled:
            ends.append("token")

    executor = JupyterCodeExecutor(output_dir=tmp_path, kill_grace=30, sandbox=None)
    async with executor:
        assert await outcome(executor, python("x = 1")) == (0, "")
        with Pipe(tmp_path / "ready") as ready:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, executor)
                assert await ready.read() == "up\n"
                if by == "scope":
                    tasks.cancel_scope.cancel()
                else:
                    token.cancel()
        assert await outcome(executor, python("x")) == (0, "1")
    assert ends == (["token"] if by == "token" else [])


async def test_no_process_and_no_thread_is_left() -> None:
    threads = threading.active_count()
    async with JupyterCodeExecutor(sandbox=None) as executor:
        directory = executor.output_dir
        marker = "sleep 13579"
        assert await outcome(executor, python(f"import os; os.system('{marker} &'); 1")) == (0, "1")
        assert threading.active_count() == threads  # none is needed, either
    await executor.stop()
    assert not directory.exists()
    assert processes_with("trio_agents_kernel_") == []
    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="the kernel is not running"):
        await outcome(executor, python("1"))


async def test_what_waits_behind_a_stop_starts_no_kernel(tmp_path: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=tmp_path, sandbox=None)
    await executor.start()
    os.mkfifo(tmp_path / "go")

    async def run() -> None:
        with pytest.raises(RuntimeError, match="the kernel is not running"):
            await outcome(executor, python("1"))

    async def restart() -> None:
        with pytest.raises(RuntimeError, match="the kernel is not running"):
            await executor.restart()

    with Pipe(tmp_path / "ready") as ready:
        async with anyio.create_task_group() as tasks:
            block = python("open('ready', 'w').write('up')\nopen('go').read()")
            tasks.start_soon(outcome, executor, block)
            assert await ready.read() == "up"
            for waiting in (executor.stop, run, restart):
                tasks.start_soon(waiting)
                await anyio.wait_all_tasks_blocked()
            (tmp_path / "go").write_text("")
    assert processes_with("trio_agents_kernel_") == []


@needs_bubblewrap
async def test_a_kernel_in_a_sandbox_is_cut_off_and_can_be_interrupted(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    work = tmp_path / "work"
    executor = JupyterCodeExecutor(
        timeout=1,
        output_dir=work,
        sandbox=Sandbox(read_only=(KERNEL, *site.getsitepackages())),
        kill_grace=30,
    )
    async with executor:
        assert await outcome(executor, python("x = 1; open('kept', 'w').write('1')")) == (0, "1")
        code, output = await outcome(executor, python(f"open('{tmp_path}/secret').read()"))
        assert code == 1
        assert "FileNotFoundError" in output
        connect = "import socket; socket.create_connection(('127.0.0.1', 1))"
        code, output = await outcome(executor, python(connect))
        assert code == 1
        code, output = await outcome(executor, python("print('part')\nwhile True: pass"))
        assert code == 124
        assert output.startswith("part\n\nTimeout: ")
        assert output.endswith("was interrupted")
        assert await outcome(executor, python("x")) == (0, "1")
    assert text_of(work / "kept") == "1"
    assert processes_with("trio_agents_kernel_") == []


async def test_a_kernel_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no Jupyter kernel 'cobol'"):
        await JupyterCodeExecutor("cobol", output_dir=tmp_path, sandbox=None).start()


async def test_a_kernel_that_does_not_come_up_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = tmp_path / "kernels" / "broken"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        '{"argv": ["/bin/sh", "-c", "echo it is broken; exit 1"], "language": "python",'
        ' "display_name": "broken"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    executor = JupyterCodeExecutor("broken", output_dir=tmp_path / "work", sandbox=None)
    with pytest.raises(RuntimeError, match="broken did not start: it is broken"):
        await executor.start()
    await executor.stop()


async def test_without_the_extra_the_error_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jupyter_client", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-agents\[jupyter\]'"):
        await JupyterCodeExecutor(output_dir=tmp_path, sandbox=None).start()


def test_without_a_decision_on_a_sandbox_you_are_warned(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="JupyterCodeExecutor runs code on this machine"):
        JupyterCodeExecutor(output_dir=tmp_path)
