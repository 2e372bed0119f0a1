"""What the command leaves to its user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Finding", "shortened"]

WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that was left as it is: its *line*, in a *cell* if the file is a notebook."""

    line: int
    code: str
    advice: str
    cell: int | None = None

    def place(self, path: str) -> str:
        """Say where it is, in the form that editors and terminals make a link of."""
        cell = "" if self.cell is None else f"cell {self.cell}:"
        return f"{path}:{cell}{self.line}"


def shortened(code: str) -> str:
    """Give *code* as one line that is not too long."""
    line = re.sub(r"\s+", " ", code).strip()
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ..."
