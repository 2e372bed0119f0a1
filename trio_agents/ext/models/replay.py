"""A model client that gives prepared answers. Needs no extra."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._replay import ReplayChatCompletionClient as ReplayChatCompletionClient

__all__ = ["ReplayChatCompletionClient"]

claim_names(__name__, globals())
