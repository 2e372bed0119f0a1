"""The interface of places where code runs. For both event loops.

The executors themselves are in `trio_agents.ext.code_executors`.
"""

from __future__ import annotations

from .._sansio._facade import claim_names
from ._code_executor import (
    CodeBlock as CodeBlock,
    CodeExecutor as CodeExecutor,
    CodeResult as CodeResult,
)

__all__ = ["CodeBlock", "CodeExecutor", "CodeResult"]

claim_names(__name__, globals())
