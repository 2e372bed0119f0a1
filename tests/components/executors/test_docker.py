"""Blocks in a container: against a stand-in, and a real engine where there is one."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx2
import pytest
from hypothesis import given, strategies as st

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock, CodeExecutor
from trio_agents.ext.code_executors._docker_engine import Frames
from trio_agents.ext.code_executors.docker import (
    CommandLineCodeResult,
    DockerCommandLineCodeExecutor,
    DockerError,
)

from .engine import StandIn
from .probes import Pipe, files_in, outcome, python, sh, text_of


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    # A socket's path is short.
    with StandIn(Path(f"/tmp/trio_agents_{os.getpid()}.sock")) as engine:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.socket}")
        monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
        yield engine
    engine.socket.unlink()


@functools.cache
def has_real_engine() -> bool:
    if not os.path.exists("/var/run/docker.sock"):
        return False
    transport = httpx2.HTTPTransport(uds="/var/run/docker.sock")
    try:
        with httpx2.Client(transport=transport, base_url="http://docker") as client:
            return client.get("/images/python:3-slim/json").status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(params=["stand-in", "engine"])
def engine(request: pytest.FixtureRequest) -> None:
    """Whatever answers as the engine does."""
    if request.param == "stand-in":
        request.getfixturevalue("stand_in")
    elif not has_real_engine():
        pytest.skip("no Docker engine with the image python:3-slim is at /var/run/docker.sock")


pytest_engine = pytest.mark.usefixtures("engine")
FOREVER = "while :; do sleep 1000; done"


# CE-09 CE-06 CE-15
@pytest_engine
async def test_each_block_is_a_file_and_a_process_in_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with DockerCommandLineCodeExecutor(work_dir=Path("coding")) as executor:
        result = await executor.execute_code_blocks(
            [CodeBlock("print('a')", "python"), CodeBlock("echo b >&2; pwd; exit 3", "sh")],
            CancellationToken(),
        )
    assert isinstance(result, CommandLineCodeResult)
    assert result.exit_code == 3
    assert result.output.splitlines()[:2] == ["a", "b"]
    assert result.code_file is not None
    assert result.code_file.startswith("coding/tmp_code_")
    assert result.code_file.endswith(".python")
    assert text_of(result.code_file) == "print('a')"


# CE-07
@pytest_engine
async def test_a_failing_block_is_a_result(tmp_path: Path) -> None:
    async with DockerCommandLineCodeExecutor(work_dir=tmp_path) as executor:
        code, output = await outcome(executor, python("1/0"), sh("echo next"))
    assert code == 1
    assert output.rstrip().endswith("ZeroDivisionError: division by zero")


@pytest_engine
async def test_files_that_are_temporary_can_be_removed(tmp_path: Path) -> None:
    async with DockerCommandLineCodeExecutor(work_dir=tmp_path, delete_tmp_files=True) as executor:
        assert await outcome(executor, sh("echo 1"), sh("# filename: kept.sh\necho 2")) == (
            0,
            "1\n2\n",
        )
    assert files_in(tmp_path) == ["kept.sh"]


@pytest_engine
async def test_a_block_outside_of_the_directory_fails(tmp_path: Path) -> None:
    async with DockerCommandLineCodeExecutor(work_dir=tmp_path / "work") as executor:
        code, output = await outcome(executor, sh("# filename: ../x.sh\necho ran"))
    assert code == 1
    assert "ran" not in output
    assert files_in(tmp_path) == []


@pytest_engine
async def test_a_language_that_is_not_run_is_refused(tmp_path: Path) -> None:
    async with DockerCommandLineCodeExecutor(work_dir=tmp_path) as executor:
        with pytest.raises(ValueError, match="'cobol' cannot be run here"):
            await outcome(executor, sh("touch ran"), CodeBlock("STOP RUN.", "cobol"))
    assert files_in(tmp_path) == []


@pytest_engine
async def test_huge_output_is_cut_and_read_to_its_end(tmp_path: Path) -> None:
    async with DockerCommandLineCodeExecutor(work_dir=tmp_path, max_output=100) as executor:
        code, output = await outcome(executor, sh("echo first; yes | head -n 300000; echo last"))
    assert code == 0
    assert output.startswith("first\ny\n")
    assert output.endswith("y\nlast\n")


@pytest_engine
async def test_a_timeout_kills_in_the_container_and_keeps_what_was_printed(tmp_path: Path) -> None:
    async with DockerCommandLineCodeExecutor(
        work_dir=tmp_path, timeout=1, kill_grace=30
    ) as executor:
        with Pipe(tmp_path / "alive") as alive:
            block = sh(f"exec 9>alive; echo part; {FOREVER}")
            code, output = await outcome(executor, block)
            assert code == 124
            assert output.startswith("part\n\nTimeout: ")
            await alive.wait_closed()
        assert await outcome(executor, sh("echo still usable")) == (0, "still usable\n")


@pytest_engine
@pytest.mark.parametrize("by", ["scope", "token"])
async def test_cancelled_a_block_is_killed_in_the_container(
    tmp_path: Path, by: str, MessageCancelled: type[BaseException]
) -> None:
    token = CancellationToken()
    ends: list[str] = []

    async def run(executor: CodeExecutor) -> None:
        block = sh(f"exec 9>alive; echo up >&9; trap '' TERM; {FOREVER}")
        try:
            await executor.execute_code_blocks([block], token)
        except MessageCancelled:
            ends.append("token")

    async with DockerCommandLineCodeExecutor(work_dir=tmp_path, kill_grace=30) as executor:
        with Pipe(tmp_path / "alive") as alive:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, executor)
                assert await alive.read() == "up\n"
                if by == "scope":
                    tasks.cancel_scope.cancel()
                else:
                    token.cancel()
            await alive.wait_closed()
        assert await outcome(executor, sh("echo still usable")) == (0, "still usable\n")
    assert ends == (["token"] if by == "token" else [])


async def test_to_kill_a_block_the_container_need_not_start_again(
    tmp_path: Path, stand_in: StandIn
) -> None:
    async with DockerCommandLineCodeExecutor(
        work_dir=tmp_path, timeout=0.5, kill_grace=5
    ) as executor:
        code, _ = await outcome(executor, sh(FOREVER))
    assert code == 124
    assert not any(request.endswith("/restart") for request in stand_in.requests)


async def test_what_cannot_be_killed_ends_with_a_restart(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in.deaf_to_kill = True
    async with DockerCommandLineCodeExecutor(
        work_dir=tmp_path, timeout=0.5, kill_grace=0.1
    ) as executor:
        with Pipe(tmp_path / "alive") as alive:
            code, _ = await outcome(executor, sh(f"exec 9>alive; {FOREVER}"))
            assert code == 124
            await alive.wait_closed()
        assert any(request.endswith("/restart") for request in stand_in.requests)
        assert await outcome(executor, sh("echo still usable")) == (0, "still usable\n")


# CE-10
async def test_an_image_is_pulled_only_if_it_is_not_there(stand_in: StandIn) -> None:
    for _ in range(2):
        async with DockerCommandLineCodeExecutor("registry:5000/team/python") as executor:
            assert await outcome(executor, sh("echo 1")) == (0, "1\n")
    assert stand_in.requests.count("POST /images/create") == 1


async def test_an_image_that_cannot_be_pulled_is_an_error(stand_in: StandIn) -> None:
    stand_in.pull_error = "manifest unknown"
    with pytest.raises(DockerError, match="image no:such cannot be pulled: manifest unknown"):
        await DockerCommandLineCodeExecutor("no:such").start()
    assert stand_in.containers == {}


# CE-11
async def test_the_container_lasts_from_start_to_stop(tmp_path: Path, stand_in: StandIn) -> None:
    executor = DockerCommandLineCodeExecutor(container_name="mine", work_dir=tmp_path)
    await executor.start()
    await executor.start()
    [container] = stand_in.containers.values()
    assert container.name == "mine"
    assert container.running
    await executor.restart()
    assert await outcome(executor, sh("echo 1")) == (0, "1\n")
    await executor.stop()
    await executor.stop()
    assert stand_in.containers == {}


# CE-12
@pytest.mark.parametrize(
    ("auto_remove", "stop_container", "left"),
    [(True, True, []), (False, True, [False]), (True, False, [True]), (False, False, [True])],
)
async def test_the_container_can_be_kept(
    tmp_path: Path, stand_in: StandIn, auto_remove: bool, stop_container: bool, left: list[bool]
) -> None:
    executor = DockerCommandLineCodeExecutor(
        work_dir=tmp_path, auto_remove=auto_remove, stop_container=stop_container
    )
    async with executor:
        pass
    assert [container.running for container in stand_in.containers.values()] == left


# CE-11
@pytest.mark.parametrize(("auto_remove", "left"), [(True, []), (False, [False])])
def test_at_the_end_of_the_program_the_container_is_stopped(
    tmp_path: Path, stand_in: StandIn, auto_remove: bool, left: list[bool]
) -> None:
    program = f"""
        import anyio
        from trio_agents.ext.code_executors.docker import DockerCommandLineCodeExecutor
        executor = DockerCommandLineCodeExecutor(
            work_dir={str(tmp_path)!r}, auto_remove={auto_remove}
        )
        anyio.run(executor.start, backend="trio")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)
    assert [container.running for container in stand_in.containers.values()] == left


# CE-13 CE-14
async def test_the_engine_is_told_its_own_name_of_the_directory(
    tmp_path: Path, stand_in: StandIn
) -> None:
    seen_by_engine = tmp_path / "host"
    here = tmp_path / "here"
    seen_by_engine.mkdir()
    here.symlink_to(seen_by_engine)
    async with DockerCommandLineCodeExecutor(work_dir=here, bind_dir=seen_by_engine) as executor:
        [container] = stand_in.containers.values()
        assert container.body["HostConfig"]["Binds"] == [f"{seen_by_engine}:/workspace:rw"]
        assert executor.bind_dir == seen_by_engine
        assert await outcome(executor, sh("echo 1")) == (0, "1\n")
    assert DockerCommandLineCodeExecutor(work_dir=here).bind_dir == here


async def test_the_container_is_as_described(tmp_path: Path, stand_in: StandIn) -> None:
    gpus = [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]
    async with DockerCommandLineCodeExecutor(
        work_dir=tmp_path,
        extra_volumes={"/data": {"bind": "/mnt", "mode": "ro"}, "/more": {"bind": "/m"}},
        extra_hosts={"models.internal": "host-gateway"},
        device_requests=gpus,
        network_mode="none",
        memory=10**9,
        pids_limit=100,
        env={"MINE": "1"},
    ) as executor:
        [container] = stand_in.containers.values()
        assert await outcome(executor, sh("echo $MINE")) == (0, "1\n")
    assert container.body["WorkingDir"] == "/workspace"
    assert container.body["HostConfig"] == {
        "AutoRemove": True,
        "Binds": [f"{tmp_path}:/workspace:rw", "/data:/mnt:ro", "/more:/m:rw"],
        "ExtraHosts": ["models.internal:host-gateway"],
        "DeviceRequests": gpus,
        "Init": True,
        "NetworkMode": "none",
        "Memory": 10**9,
        "PidsLimit": 100,
    }


@pytest_engine
async def test_the_init_command_runs_first_and_has_to_succeed(tmp_path: Path) -> None:
    async with DockerCommandLineCodeExecutor(
        work_dir=tmp_path, init_command="echo ready > state"
    ) as executor:
        assert await outcome(executor, sh("cat state")) == (0, "ready\n")
    with pytest.raises(DockerError, match="the init command has failed: no such cluster"):
        await DockerCommandLineCodeExecutor(
            work_dir=tmp_path, init_command="echo no such cluster; exit 1"
        ).start()


@pytest_engine
async def test_code_imports_functions_of_the_application(tmp_path: Path) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    async with DockerCommandLineCodeExecutor(work_dir=tmp_path, functions=[add]) as executor:
        block = python("from functions import add; print(add(1, 2))")
        assert await outcome(executor, block) == (0, "3\n")
        assert "def add(a: int, b: int) -> int:" in executor.format_functions_for_prompt()


async def test_cancelled_while_it_starts_nothing_is_left(tmp_path: Path, stand_in: StandIn) -> None:
    with Pipe(tmp_path / "ready") as ready:
        executor = DockerCommandLineCodeExecutor(
            work_dir=tmp_path, init_command=f"echo up > ready; {FOREVER}"
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(executor.start)
            assert await ready.read() == "up\n"
            tasks.cancel_scope.cancel()
    assert stand_in.containers == {}
    with pytest.raises(RuntimeError, match="the container is not running"):
        await outcome(executor, sh("echo 1"))


async def test_a_name_that_is_taken_is_an_error_and_its_container_stays(
    stand_in: StandIn,
) -> None:
    async with DockerCommandLineCodeExecutor(container_name="mine"):
        with pytest.raises(DockerError, match="already in use"):
            await DockerCommandLineCodeExecutor(container_name="mine").start()
        assert len(stand_in.containers) == 1


@pytest.fixture(params=["root", "user"])
def user(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs this, as far as the executor knows."""
    number = 0 if request.param == "root" else 1000
    monkeypatch.setattr(os, "geteuid", lambda: number)


pytest_user = pytest.mark.usefixtures("user")


@pytest_user
@pytest.mark.parametrize("auto_remove", [True, False])
async def test_a_container_that_is_gone_is_an_error_and_can_be_stopped(
    stand_in: StandIn, auto_remove: bool
) -> None:
    async with DockerCommandLineCodeExecutor(auto_remove=auto_remove) as executor:
        directory = executor.work_dir
        stand_in.containers.clear()
        with pytest.raises(DockerError, match="No such container"):
            await outcome(executor, sh("echo 1"))
    assert not directory.exists()


@pytest_user
async def test_a_container_that_has_ended_can_be_stopped(stand_in: StandIn) -> None:
    async with DockerCommandLineCodeExecutor() as executor:
        directory = executor.work_dir
        [container] = stand_in.containers.values()
        container.running = False
    assert stand_in.containers == {}
    assert not directory.exists()


@pytest_user
async def test_a_container_in_which_nothing_can_run_is_stopped(stand_in: StandIn) -> None:
    async with DockerCommandLineCodeExecutor() as executor:
        directory = executor.work_dir
        stand_in.is_broken = lambda request: request.endswith("/exec")
    assert stand_in.containers == {}
    assert not directory.exists()


async def test_an_image_in_which_nothing_can_run_says_so(stand_in: StandIn) -> None:
    async with DockerCommandLineCodeExecutor() as executor:
        stand_in.no_shell = True
        code, output = await outcome(executor, sh("echo 1"))
        assert code == 126
        assert 'exec: "sh": executable file not found' in output


async def test_an_answer_that_breaks_off_is_an_error_of_the_engine(stand_in: StandIn) -> None:
    stand_in.breaks_off = lambda request: request == "POST /containers/create"
    executor = DockerCommandLineCodeExecutor()
    with pytest.raises(DockerError, match="POST /containers/create: the answer broke off"):
        await executor.start()


async def test_a_server_that_is_no_engine_is_an_error_that_asks_whether_it_is(
    stand_in: StandIn,
) -> None:
    stand_in.is_web_server = True
    with pytest.raises(DockerError, match="the answer is not JSON"):
        await DockerCommandLineCodeExecutor().start()


@pytest.mark.parametrize("then", ["stop", "start"])
async def test_what_a_stop_could_not_end_is_ended_by_the_next(stand_in: StandIn, then: str) -> None:
    executor = DockerCommandLineCodeExecutor(container_name="mine")
    await executor.start()
    directory = executor.work_dir
    [first] = stand_in.containers
    stand_in.is_broken = lambda request: request.startswith("DELETE")
    for _ in range(2):
        with pytest.raises(DockerError, match=r"no DELETE .* today"):
            await executor.stop()
        assert not directory.exists()
    with pytest.raises(RuntimeError, match="the container is not running"):
        await outcome(executor, sh("echo 1"))
    stand_in.is_broken = lambda request: False
    if then == "start":
        await executor.start()
        assert first not in stand_in.containers
        assert await outcome(executor, sh("echo 1")) == (0, "1\n")
    await executor.stop()
    assert stand_in.containers == {}


def test_what_a_stop_could_not_end_is_ended_at_the_end_of_the_program(
    tmp_path: Path, stand_in: StandIn
) -> None:
    stand_in.is_broken = lambda request: (
        sum(request.startswith("DELETE") for request in stand_in.requests) == 1
    )
    program = f"""
        import anyio
        from trio_agents.ext.code_executors.docker import DockerCommandLineCodeExecutor
        executor = DockerCommandLineCodeExecutor(work_dir={str(tmp_path)!r})

        async def use():
            await executor.start()
            await executor.stop()

        try:
            anyio.run(use, backend="trio")
        except RuntimeError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert "today" in done.stdout
    assert stand_in.containers == {}


@pytest.mark.parametrize("name", [None, "mine"])
async def test_tasks_that_start_it_together_create_one_container(
    stand_in: StandIn, name: str | None
) -> None:
    executor = DockerCommandLineCodeExecutor(container_name=name)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(executor.start)
    assert len(stand_in.containers) == 1
    assert await outcome(executor, sh("echo 1")) == (0, "1\n")
    await executor.stop()
    assert stand_in.containers == {}


@pytest.mark.parametrize("what", ["start", "restart"])
async def test_a_stop_waits_for_a_start_and_a_restart(
    tmp_path: Path, stand_in: StandIn, what: str
) -> None:
    executor = DockerCommandLineCodeExecutor(
        work_dir=tmp_path, init_command="[ ! -e ready ] || { echo up > ready; read word < go; }"
    )
    if what == "restart":
        await executor.start()
    os.mkfifo(tmp_path / "go")
    go = os.open(tmp_path / "go", os.O_RDWR)  # so that whoever opens it waits for nobody
    with Pipe(tmp_path / "ready") as ready:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(getattr(executor, what))
            assert await ready.read() == "up\n"
            tasks.start_soon(executor.stop)
            await anyio.wait_all_tasks_blocked()
            assert len(stand_in.containers) == 1
            os.write(go, b"on\n")
    os.close(go)
    assert stand_in.containers == {}


async def test_without_an_engine_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(DockerError, match=r"cannot be reached .* DOCKER_HOST"):
        await DockerCommandLineCodeExecutor().start()
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@there")
    with pytest.raises(DockerError, match="not 'ssh://me@there'"):
        await DockerCommandLineCodeExecutor().start()


async def test_without_httpx_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-agents\[docker\]'"):
        await DockerCommandLineCodeExecutor().start()


def test_a_directory_that_cannot_be_bound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot bind a directory with a colon"):
        DockerCommandLineCodeExecutor(work_dir=tmp_path / "a:b")


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=20))), st.data())
def test_frames_are_taken_apart_wherever_the_stream_is_cut(
    frames: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(
        bytes([number, 0, 0, 0]) + len(content).to_bytes(4, "big") + content
        for number, content in frames
    )
    cuts = data.draw(st.lists(st.integers(0, len(stream))).map(sorted))
    taken: list[bytes] = []
    reader = Frames(taken.append)
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.add(stream[start:end])
    assert b"".join(taken) == b"".join(content for _, content in frames)
