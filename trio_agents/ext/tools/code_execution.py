"""A tool that runs Python code, in whatever place an executor offers. For both event loops."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._code_execution import (
    CodeExecutionInput as CodeExecutionInput,
    CodeExecutionResult as CodeExecutionResult,
    PythonCodeExecutionTool as PythonCodeExecutionTool,
    PythonCodeExecutionToolConfig as PythonCodeExecutionToolConfig,
)

__all__ = [
    "CodeExecutionInput",
    "CodeExecutionResult",
    "PythonCodeExecutionTool",
    "PythonCodeExecutionToolConfig",
]

claim_names(__name__, globals())
