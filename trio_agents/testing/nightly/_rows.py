"""All rows of the long run, in the order of its report."""

from __future__ import annotations

from typing import Final

from . import _conformance, _disk, _schedules
from ._row import Row

__all__ = ["ROWS"]

ROWS: Final[tuple[Row, ...]] = (*_schedules.ROWS, *_conformance.ROWS, *_disk.ROWS)
