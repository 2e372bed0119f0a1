"""What code in the sandbox can reach, by trying to get out. Real bubblewrap, real processes."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import anyio
import pytest

from trio_agents.code_executor import CodeBlock
from trio_agents.ext.code_executors.local import (
    LocalCommandLineCodeExecutor,
    Sandbox,
    SandboxUnavailable,
)

from .probes import Pipe, files_in, needs_bubblewrap, outcome, processes_with, python, sh


@needs_bubblewrap
async def test_python_and_shell_run_there(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox())
    code, output = await outcome(executor, python("import json; print(1)"), sh("echo 2; exit 3"))
    assert (code, output) == (3, "1\n2\n")


@needs_bubblewrap
async def test_an_interpreter_that_was_called_by_a_roundabout_way_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, name = os.path.split(sys.executable)
    (tmp_path / "link").symlink_to(os.path.dirname(directory))
    for way in (f"{tmp_path}/../{tmp_path.name}/link/{os.path.basename(directory)}", directory):
        monkeypatch.setattr(sys, "executable", f"{way}/{name}")
        executor = LocalCommandLineCodeExecutor(work_dir=tmp_path / "work", sandbox=Sandbox())
        code, output = await outcome(executor, python("import sys, trio; print(sys.prefix)"))
        assert (code, output) == (0, f"{sys.prefix}\n")


@needs_bubblewrap
async def test_where_the_interpreter_is_not_there_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox())
    with pytest.raises(SandboxUnavailable, match="/nowhere/python"):
        await outcome(executor, sh("touch ran"))
    assert not (tmp_path / "ran").exists()


@needs_bubblewrap
@pytest.mark.parametrize("network", [False, True])
async def test_the_network_is_there_if_allowed(tmp_path: Path, network: bool) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox(network=network))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        block = python(f"import socket; socket.create_connection(('127.0.0.1', {port})); print(1)")
        code, output = await outcome(executor, block)
    assert (code == 0) is network
    assert ("ConnectionRefusedError" in output) is not network


@needs_bubblewrap
async def test_files_of_the_machine_are_not_there_unless_named(tmp_path: Path) -> None:
    for name in ("hidden", "shown", "shared", "work"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    sandbox = Sandbox(read_only=(str(tmp_path / "shown"),), writable=(str(tmp_path / "shared"),))
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path / "work", sandbox=sandbox)
    _, output = await outcome(
        executor,
        sh(
            f"cd {tmp_path}; ls; cat */file; echo\n"
            "for d in work shown shared /usr /etc / .; do\n"
            "  (echo changed > $d/file) 2>/dev/null && echo $d can be changed\n"
            "done; exit 0"
        ),
    )
    assert output.split("\n") == [
        "shared",
        "shown",
        "work",
        "sharedshownwork",
        "work can be changed",
        "shared can be changed",
        ". can be changed",  # it is in /tmp, which is the sandbox's own, in memory
        "",
    ]
    assert [(tmp_path / name / "file").read_text() for name in ("hidden", "shown", "shared")] == [
        "hidden",
        "shown",
        "changed\n",
    ]
    assert not (tmp_path / "file").exists()


@needs_bubblewrap
async def test_secrets_and_processes_of_the_machine_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_API_KEY", "sk-canary")
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox())
    _, output = await outcome(
        executor,
        sh("cat /proc/[0-9]*/environ | tr '\\0' '\\n'; ls -d /proc/[0-9]* | wc -l; ls /root /home"),
    )
    assert "canary" not in output
    assert int(next(line for line in output.splitlines() if line.isdigit())) < 8


@needs_bubblewrap
async def test_a_sandbox_cannot_be_opened_from_inside(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox())
    code, _ = await outcome(
        executor, sh("mount -o remount,rw /usr || unshare --user --map-root true")
    )
    assert code != 0
    _, output = await outcome(executor, sh("grep CapEff /proc/self/status"))
    assert output == "CapEff:\t0000000000000000\n"


@needs_bubblewrap
async def test_the_environment_is_given_without_a_command_line(tmp_path: Path) -> None:
    env = {"CANARY": "sk-canary-in-a-sandbox"}
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox(), env=env)
    with Pipe(tmp_path / "told") as told:
        async with anyio.create_task_group() as tasks:
            block = sh("echo $CANARY > told; while :; do sleep 1000; done")
            tasks.start_soon(outcome, executor, block)
            assert await told.read() == "sk-canary-in-a-sandbox\n"
            assert processes_with("sk-canary-in-a-sandbox") == []
            tasks.cancel_scope.cancel()


DAEMON = (
    "setsid sh -c 'exec 9>alive; echo up >&9; echo > left; exec sleep 987654' & "
    "while [ ! -e left ]; do :; done; "
)


@needs_bubblewrap
async def test_a_daemon_ends_with_its_block(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox())
    with Pipe(tmp_path / "alive") as alive:
        block = sh(DAEMON + "echo done")
        assert await outcome(executor, block) == (0, "done\n")
        assert processes_with("sleep 987654") == []  # not even for a moment
        await alive.wait_closed()


@needs_bubblewrap
async def test_a_daemon_ends_when_its_block_is_cancelled(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox())
    with Pipe(tmp_path / "alive") as alive:
        async with anyio.create_task_group() as tasks:
            block = sh(DAEMON + "while :; do sleep 1000; done")
            tasks.start_soon(outcome, executor, block)
            assert await alive.read() == "up\n"
            tasks.cancel_scope.cancel()
        assert processes_with("sleep 987654") == []
        await alive.wait_closed()
    assert await outcome(executor, sh("echo still usable")) == (0, "still usable\n")


@needs_bubblewrap
async def test_a_timeout_keeps_what_was_printed_there(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(1, tmp_path, sandbox=Sandbox())
    code, output = await outcome(executor, sh("echo part; while :; do sleep 1000; done"))
    assert code == 124
    assert output.startswith("part\n")


async def test_without_bubblewrap_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: "/bin/sh" if name == "sh" else None)
    with pytest.raises(SandboxUnavailable, match="install the package bubblewrap"):
        await outcome(executor, sh("touch ran"))
    with pytest.raises(SandboxUnavailable):
        await executor.start()
    assert not (tmp_path / "ran").exists()


@needs_bubblewrap
async def test_where_bubblewrap_does_not_work_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho bwrap: No permissions to create new namespace; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:/usr/bin:/bin")
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=Sandbox())
    with pytest.raises(SandboxUnavailable, match="No permissions to create new namespace"):
        await outcome(executor, sh("touch ran"))
    assert not (tmp_path / "ran").exists()


def test_a_relative_path_in_a_sandbox_is_refused() -> None:
    with pytest.raises(ValueError, match="has to be absolute, not 'data'"):
        Sandbox(read_only=("data",))


# Each line succeeds if it gets out. {secret}: a file of the machine, {pid}: a process of it,
# {port}: a server of it, {socket}: another one, {abstract}: one without a file.
ESCAPES = """
cat {secret}
cat /proc/1/root{secret}
cat /proc/self/root/../..{secret}
cat /proc/self/cwd/../secret
ln -s {secret} link && cat link
ln {secret} hard && cat hard
cat /proc/*/root{secret}
ls /proc/{pid}
kill -0 {pid}
cat /proc/{pid}/environ
echo x > /usr/bin/trio_agents_canary
echo x > /etc/trio_agents_canary
echo x > /trio_agents_canary
echo x > /proc/sys/kernel/hostname
test -w /proc/sys/kernel/core_pattern
test -w /proc/sys/kernel/modprobe
test -w /proc/sysrq-trigger
test -w /proc/mtrr
mount -t proc proc /mnt
mount -o remount,rw /usr
mount --bind / /mnt
umount /usr
chroot /proc/1/root /bin/true
unshare -r true
unshare -m true
nsenter -t 1 -m true
nsenter -t {pid} -a true
mknod sda b 8 0 && cat sda
cat /dev/mem
cat /dev/kmsg
ls /dev/vda /dev/sda
ls /sys/kernel
ls /run/user
su -c true nobody
chown nobody .
python -c 'import socket; socket.create_connection(("127.0.0.1", {port}))'
python -c 'import socket; socket.create_connection(("192.0.2.1", 80), 1)'
python -c 'import socket; socket.socket(socket.AF_UNIX).connect("{socket}")'
python -c 'import socket; socket.socket(socket.AF_UNIX).connect("\\0{abstract}")'
python -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
python -c 'import os; os.setuid(12345)'
python -c 'import ctypes; import sys; sys.exit(ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) != 0)'
python -c 'import fcntl; [fcntl.ioctl(fd, 0x5412, b"x") for fd in (0, 1, 2)]'
""".strip().splitlines()


@needs_bubblewrap
async def test_no_way_out_is_open(tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    (tmp_path / "secret").write_text("canary")
    executor = LocalCommandLineCodeExecutor(work_dir=work_dir, sandbox=Sandbox())
    abstract = f"trio_agents_{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as by_file,
        socket.socket(socket.AF_UNIX) as by_name,
    ):
        by_file.bind(str(tmp_path / "socket"))
        by_file.listen()
        by_name.bind(f"\0{abstract}")
        by_name.listen()
        known = {
            "{secret}": str(tmp_path / "secret"),
            "{pid}": str(os.getpid()),
            "{port}": str(server.getsockname()[1]),
            "{socket}": str(tmp_path / "socket"),
            "{abstract}": abstract,
            "{work_dir}": str(work_dir),
        }
        blocks: list[CodeBlock] = []
        for number, line in enumerate(ESCAPES):
            for name, value in known.items():
                line = line.replace(name, value)
            blocks.append(sh(f"( {line} ) >/dev/null 2>&1 && echo out {number}; exit 0"))
        code, output = await outcome(executor, *blocks)
    assert code == 0
    assert [ESCAPES[int(line.split()[1])] for line in output.splitlines()] == []
    assert files_in(tmp_path) == ["secret", "work/link"]  # which leads nowhere inside
