"""`Sandbox`: a view of the machine in which code sees little and changes less.

bubblewrap makes it, a program of a few thousand lines that containers on desktops are made with. It
needs no daemon, no image and no rights, only user namespaces, and costs a few milliseconds. It is
looked for when it is needed. Where it is not there, or the system does not let it work, nothing
runs: whoever has asked for a sandbox never gets less.

Its arguments go through a file descriptor, not the command line: the environment is among them,
and all users of a machine can read command lines. And bubblewrap itself gets nothing of that
environment: an ``LD_PRELOAD`` in it would be loaded outside.

Left out: filters of system calls, and memory of all processes together.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, final

from pydantic import BaseModel, ConfigDict, field_validator

__all__ = [
    "NOT_DECIDED",
    "NotDecided",
    "Sandbox",
    "SandboxUnavailable",
    "find_bubblewrap",
    "sandbox_arguments",
]

_TMP_SIZE: Final = 1 << 30  # it is memory

# Programs, libraries, and what those look up: names, certificates, time zones. No home, no /etc as
# a whole, no /run, no /var.
_SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store",
    "/etc/alternatives", "/etc/ca-certificates", "/etc/fonts", "/etc/group", "/etc/hosts",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
    "/etc/mime.types", "/etc/nsswitch.conf", "/etc/passwd", "/etc/pki", "/etc/protocols",
    "/etc/resolv.conf", "/etc/services", "/etc/ssl", "/etc/timezone",
)  # fmt: skip


@final
class NotDecided:
    """Stands for a sandbox that nobody has decided on, or against."""

    def warning(self, executor: str) -> str:
        """Return what to warn of."""
        return (
            f"{executor} runs code on this machine, with all that this program can do. Pass "
            f"sandbox=Sandbox(), or sandbox=None if that is meant"
        )


NOT_DECIDED: Final = NotDecided()


class SandboxUnavailable(RuntimeError):
    """A sandbox was asked for and cannot be had. Nothing was run."""


def find_bubblewrap() -> str:
    """Return the path of bubblewrap.

    Raises:
        SandboxUnavailable: it is not there.
    """
    found = shutil.which("bwrap") if sys.platform == "linux" else None
    if found is None:
        raise SandboxUnavailable(
            "the sandbox needs Linux and bubblewrap 0.8 or later (bwrap), which is not in PATH: "
            "install the package bubblewrap, or use DockerCommandLineCodeExecutor"
        )
    return found


class Sandbox(BaseModel):
    """What code can reach: the working directory, and otherwise what is named here.

    System directories and the interpreter are there to be read. Processes, users' files, other
    programs' memory, devices and, unless it is allowed, the network are not there at all. ``/tmp``
    is its own. When the block ends, whatever it has started ends with it.

    ::

        LocalCommandLineCodeExecutor(work_dir="work", sandbox=Sandbox(read_only=["/data"]))

    Attributes:
        network: Whether code may use the network of the host, its local services included.
        read_only: More files and directories that can be read.
        writable: More files and directories that can be changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: bool = False
    read_only: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()

    @field_validator("read_only", "writable")
    @classmethod
    def _absolute(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not os.path.isabs(path):
                raise ValueError(f"a path in a sandbox has to be absolute, not {path!r}")
        return paths


def sandbox_arguments(
    sandbox: Sandbox,
    *,
    cwd: Path,
    env: Mapping[str, str],
    read_only: Iterable[Path],
    writable: Iterable[Path],
) -> tuple[str, ...]:
    """Return what to tell bubblewrap.

    Args:
        sandbox: what it is to be like.
        cwd: the working directory, which can be changed.
        env: the environment inside.
        read_only: what has to be there besides, such as the interpreter.
        writable: what has to be there besides, and can be changed.
    """
    arguments = [
        "--unshare-user", "--disable-userns", "--unshare-all", "--die-with-parent",
        "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev",
        "--size", str(_TMP_SIZE), "--tmpfs", "/tmp",
    ]  # fmt: skip
    if sandbox.network:
        arguments.append("--share-net")
    for path in _SYSTEM:
        arguments += ["--ro-bind-try", path, path]
    for path in (*map(str, read_only), *sandbox.read_only):
        arguments += ["--ro-bind", path, path]
    for path in (
        *sandbox.writable,
        *map(str, writable),
        str(cwd),
    ):  # last, so that they show inside of the others
        arguments += ["--bind", path, path]
    # The kernel's settings below /proc/sys belong to root, and to root without any capability too:
    # if this program is root, code could have the kernel run what it likes (core_pattern).
    arguments += ["--remount-ro", "/proc", "--remount-ro", "/", "--clearenv"]
    for name, value in env.items():
        arguments += ["--setenv", name, value]
    return (*arguments, "--chdir", str(cwd))
