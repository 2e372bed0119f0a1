"""Credentials, each with an extra of its name."""

from __future__ import annotations

__all__: list[str] = []
