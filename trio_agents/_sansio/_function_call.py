"""`FunctionCall`: what a model asks for, and what a tool agent is sent."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FunctionCall"]


@dataclass
class FunctionCall:
    """A call of a function that a model asks for. It is pure data, usable as a message.

    Attributes:
        id: The model's name for this call; the result refers to it.
        arguments: The arguments as JSON text, exactly as the model wrote them.
        name: The function's name.
    """

    id: str
    arguments: str
    name: str
