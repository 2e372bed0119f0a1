"""All rows of the long run, in the order of its report."""

from __future__ import annotations

from typing import Final

from . import (
    _autogen,
    _bytes,
    _conformance,
    _disk,
    _interrupts,
    _load,
    _model,
    _schedules,
    _scripted,
)
from ._row import Row

__all__ = ["ROWS"]

ROWS: Final[tuple[Row, ...]] = (
    *_schedules.ROWS,
    *_interrupts.ROWS,
    *_scripted.ROWS,
    *_conformance.ROWS,
    *_model.ROWS,
    *_autogen.ROWS,
    *_disk.ROWS,
    *_bytes.ROWS,
    *_load.ROWS,
)
