"""States that show which one they are, and whether they are whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["NotOurs", "number_of", "state_of"]


class NotOurs(Exception):
    """A state was loaded that nobody has saved."""


def state_of(number: int, size: int, *, writer: str = "a") -> dict[str, Any]:
    """Make a state. *size* is about how many bytes it is long, besides what it needs."""
    filler = (f"{number} " * (size // len(f"{number} ") + 1))[:size]
    return {
        "saver/first": {"number": number, "size": size, "writer": writer},
        "saver/middle": {"filler": filler},
        "saver/last": {"number": number},
    }


def number_of(state: Mapping[str, Any]) -> tuple[int, str]:
    """Give the number and the writer of a state that `state_of` made.

    Raises:
        NotOurs: it is not exactly such a state.
    """
    match state.get("saver/first"):
        case {"number": int(number), "size": int(size), "writer": str(writer)}:
            if state == state_of(number, size, writer=writer):
                return number, writer
        case _:
            pass
    raise NotOurs(f"the loaded state is none that was saved: {str(state)[:200]}")
