"""Runs code on this machine. It needs no extra; for a sandbox, the program bubblewrap."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._limits import ResourceLimits as ResourceLimits
from ._local import (
    LocalCommandLineCodeExecutor as LocalCommandLineCodeExecutor,
    LocalCommandLineCodeExecutorConfig as LocalCommandLineCodeExecutorConfig,
)
from ._result import CommandLineCodeResult as CommandLineCodeResult
from ._sandbox import Sandbox as Sandbox, SandboxUnavailable as SandboxUnavailable

__all__ = [
    "CommandLineCodeResult",
    "LocalCommandLineCodeExecutor",
    "LocalCommandLineCodeExecutorConfig",
    "ResourceLimits",
    "Sandbox",
    "SandboxUnavailable",
]

claim_names(__name__, globals())
