"""Places where code runs."""

from __future__ import annotations

__all__: list[str] = []
