"""What a model has thought before it asked for tools, for the request with their results.

Anthropic's API wants its thoughts back then, signed and to the letter, and may refuse the request
without. A conversation of ours has no place for signatures. So the client remembers them by the id
of the first call, for as many answers as are likely to be open at a time. What it has forgotten, or
another client was told, is sent without; the API then goes on without thoughts, or refuses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from ..._sansio._function_call import FunctionCall

__all__ = ["Thoughts"]

_KEPT: Final = 1000


class Thoughts:
    """Blocks by the call that they stood before."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._blocks: OrderedDict[str, Sequence[dict[str, Any]]] = OrderedDict()

    def remember(self, call: FunctionCall, blocks: Sequence[dict[str, Any]]) -> None:
        """Keep *blocks* for the next requests; the oldest go, if there are too many."""
        self._blocks[call.id] = blocks
        while len(self._blocks) > self._kept:
            self._blocks.popitem(last=False)

    def before(self, call: FunctionCall) -> Sequence[dict[str, Any]]:
        """Return the blocks that stood before *call*; none if they are not known."""
        return self._blocks.get(call.id, ())
