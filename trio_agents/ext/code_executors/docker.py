"""Runs code in a Docker container. It needs the extra ``docker`` and an engine."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._docker import (
    DockerCommandLineCodeExecutor as DockerCommandLineCodeExecutor,
    DockerCommandLineCodeExecutorConfig as DockerCommandLineCodeExecutorConfig,
)
from ._docker_engine import DockerError as DockerError
from ._result import CommandLineCodeResult as CommandLineCodeResult

__all__ = [
    "CommandLineCodeResult",
    "DockerCommandLineCodeExecutor",
    "DockerCommandLineCodeExecutorConfig",
    "DockerError",
]

claim_names(__name__, globals())
