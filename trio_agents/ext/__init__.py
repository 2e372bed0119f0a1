"""Extensions: each module needs one optional dependency, imported when it is used."""

from __future__ import annotations

__all__: list[str] = []
