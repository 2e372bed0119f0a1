"""The disk: what becomes of state files under crashes, kills, failing calls, damage and rivals.

The first three rows run in memory, so they can be exhaustive. The others have real processes and
real disks.
"""

from __future__ import annotations

from typing import Final

from . import _disk_crashes, _disk_damage, _disk_errors
from ._disk_processes import PROCESS_ROWS
from ._row import Row

__all__ = ["ROWS"]

ROWS: Final[tuple[Row, ...]] = (
    _disk_crashes.ROW,
    _disk_errors.ROW,
    _disk_damage.ROW,
    *PROCESS_ROWS,
)
