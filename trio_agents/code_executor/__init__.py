"""The interface of places where code runs, and functions that can go there. For both event loops.

The executors themselves are in `trio_agents.ext.code_executors`.
"""

from __future__ import annotations

from .._sansio._facade import claim_names
from ._code_executor import (
    CodeBlock as CodeBlock,
    CodeExecutor as CodeExecutor,
    CodeResult as CodeResult,
)
from ._functions import (
    Alias as Alias,
    FunctionWithRequirements as FunctionWithRequirements,
    FunctionWithRequirementsStr as FunctionWithRequirementsStr,
    Import as Import,
    ImportFromModule as ImportFromModule,
    with_requirements as with_requirements,
)

__all__ = [
    "Alias",
    "CodeBlock",
    "CodeExecutor",
    "CodeResult",
    "FunctionWithRequirements",
    "FunctionWithRequirementsStr",
    "Import",
    "ImportFromModule",
    "with_requirements",
]

claim_names(__name__, globals())
