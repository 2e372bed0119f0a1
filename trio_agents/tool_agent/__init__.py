"""An agent that runs tools, so that each call of one is a message. For both event loops.

What is a message can be seen, held up and refused by intervention handlers, is traced, and can go
to another process.
"""

from __future__ import annotations

from .._sansio._facade import claim_names
from ._caller_loop import (
    TooManyToolCalls as TooManyToolCalls,
    tool_agent_caller_loop as tool_agent_caller_loop,
)
from ._errors import (
    InvalidToolArgumentsException as InvalidToolArgumentsException,
    ToolException as ToolException,
    ToolExecutionException as ToolExecutionException,
    ToolNotFoundException as ToolNotFoundException,
)
from ._tool_agent import ToolAgent as ToolAgent

__all__ = [
    "InvalidToolArgumentsException",
    "TooManyToolCalls",
    "ToolAgent",
    "ToolException",
    "ToolExecutionException",
    "ToolNotFoundException",
    "tool_agent_caller_loop",
]

claim_names(__name__, globals())
