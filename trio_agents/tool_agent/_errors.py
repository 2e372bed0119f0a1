"""What a `ToolAgent` raises. AutoGen's names, but ordinary exceptions, and their text says why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "InvalidToolArgumentsException",
    "ToolException",
    "ToolExecutionException",
    "ToolNotFoundException",
]


# eq=False: exceptions are compared and hashed by identity, wherever groups of them are handled.
@dataclass(eq=False)
class ToolException(Exception):
    """A call of a tool had no result. Intervention handlers raise it to refuse a call.

    Attributes:
        call_id: The `FunctionCall.id` of the call.
        content: What the model is told.
        name: The tool's name.
    """

    call_id: str
    content: str
    name: str

    def __post_init__(self) -> None:
        super().__init__(self.call_id, self.content, self.name)

    def __str__(self) -> str:
        return self.content


@dataclass(eq=False)
class ToolNotFoundException(ToolException):
    """The agent has no tool of that name."""


@dataclass(eq=False)
class InvalidToolArgumentsException(ToolException):
    """The arguments are no JSON object, or not what the tool takes. The tool was not run."""


@dataclass(eq=False)
class ToolExecutionException(ToolException):
    """The tool has raised; ``__cause__`` is what."""
