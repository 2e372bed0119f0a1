"""Places where code runs, and what comes of that."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._result import CommandLineCodeResult as CommandLineCodeResult

__all__ = ["CommandLineCodeResult"]

claim_names(__name__, globals())
