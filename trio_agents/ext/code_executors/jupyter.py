"""Runs code in a Jupyter kernel on this machine. It needs the extra ``jupyter``."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._jupyter import (
    JupyterCodeExecutor as JupyterCodeExecutor,
    JupyterCodeExecutorConfig as JupyterCodeExecutorConfig,
    JupyterCodeResult as JupyterCodeResult,
)
from ._limits import ResourceLimits as ResourceLimits
from ._sandbox import Sandbox as Sandbox, SandboxUnavailable as SandboxUnavailable

__all__ = [
    "JupyterCodeExecutor",
    "JupyterCodeExecutorConfig",
    "JupyterCodeResult",
    "ResourceLimits",
    "Sandbox",
    "SandboxUnavailable",
]

claim_names(__name__, globals())
