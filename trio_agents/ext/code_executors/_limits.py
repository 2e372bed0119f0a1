"""`ResourceLimits`: what the kernel lets a process have.

They are set by a shell that then becomes the process, so they hold from its first instruction, for
whatever it starts too, and for no thread of ours. A ``preexec_fn`` would run Python between fork
and exec, which is not safe in a program with threads.

Left out: limits for all processes of a block together (control groups). These need rights that
programs seldom have.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ResourceLimits", "check_they_hold", "limited"]

_KIB = 1024
_BLOCK = 512  # what POSIX has `ulimit -f` count in


class ResourceLimits(BaseModel):
    """Bounds for each process of a block of code. None stands for no bound of ours.

    Attributes:
        address_space: Bytes of memory that a process may map. Programs see an allocation fail;
            Python raises `MemoryError`.
        cpu_seconds: Seconds that a process may compute; then it is killed.
        file_size: Bytes that a file may be written to.
        processes: Processes and threads of the *user*, wherever they were started. It does not
            hold for root, so that root is refused.
        open_files: File descriptors of a process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address_space: int | None = Field(default=None, ge=_KIB)
    cpu_seconds: int | None = Field(default=None, ge=1)
    file_size: int | None = Field(default=None, ge=_BLOCK)
    processes: int | None = Field(default=None, ge=1)
    open_files: int | None = Field(default=None, ge=3)


def check_they_hold(limits: ResourceLimits) -> None:
    """Refuse limits that would not be kept.

    Raises:
        ValueError: the number of processes is limited, and this program runs as root.
    """
    if limits.processes is not None and os.geteuid() == 0:
        raise ValueError(
            "ResourceLimits.processes does not hold for root: run the program as another "
            "user, or code in a container that limits processes"
        )


def limited(argv: Sequence[str], limits: ResourceLimits) -> tuple[str, ...]:
    """Return a command that becomes *argv* under these limits, or fails with 126."""
    steps: list[str] = []
    if limits.address_space is not None:
        steps.append(f"ulimit -v {limits.address_space // _KIB}")
    if limits.cpu_seconds is not None:
        steps.append(f"ulimit -t {limits.cpu_seconds}")
    if limits.file_size is not None:
        steps.append(f"ulimit -f {limits.file_size // _BLOCK}")
    if limits.open_files is not None:
        steps.append(f"ulimit -n {limits.open_files}")
    if limits.processes is not None:
        # -p in dash and busybox; in bash that is something else, which cannot be set.
        n = limits.processes
        steps.append(f"{{ ulimit -p {n} 2>/dev/null || ulimit -u {n}; }}")
    if not steps:
        return tuple(argv)
    refused = "{ echo 'the resource limits could not be set' >&2; exit 126; }"
    return ("/bin/sh", "-c", f'{" && ".join(steps)} || {refused}; exec "$@"', "sh", *argv)
