"""The models that the Anthropic client knows by name."""

from __future__ import annotations

import re
from typing import Final

from ...models._model_info import ModelFamily as F
from ._known_models import ModelTable, row

__all__ = ["MODELS"]

# Abilities: v vision, f functions, j JSON (we ask for it in words), s structured output. All system
# messages become one.
_ROWS: Final = {
    "claude-opus-4-5": row("vfjs", F.CLAUDE_4_OPUS, 200_000),
    "claude-sonnet-4-5": row("vfjs", F.CLAUDE_4_SONNET, 200_000),
    "claude-haiku-4-5": row("vfjs", "claude-4-haiku", 200_000),
    "claude-opus-4-1": row("vfjs", F.CLAUDE_4_OPUS, 200_000),
    "claude-opus-4": row("vfj", F.CLAUDE_4_OPUS, 200_000),
    "claude-opus-4-0": row("vfj", F.CLAUDE_4_OPUS, 200_000),
    "claude-sonnet-4": row("vfj", F.CLAUDE_4_SONNET, 200_000),
    "claude-sonnet-4-0": row("vfj", F.CLAUDE_4_SONNET, 200_000),
    "claude-3-7-sonnet": row("vfj", F.CLAUDE_3_7_SONNET, 200_000),
    "claude-3-5-sonnet": row("vfj", F.CLAUDE_3_5_SONNET, 200_000),
    "claude-3-5-haiku": row("vfj", F.CLAUDE_3_5_HAIKU, 200_000),
    "claude-3-opus": row("vfj", F.CLAUDE_3_OPUS, 200_000),
    "claude-3-sonnet": row("vfj", F.CLAUDE_3_SONNET, 200_000),
    "claude-3-haiku": row("vfj", F.CLAUDE_3_HAIKU, 200_000),
    "claude-2.1": row("j", F.UNKNOWN, 200_000),
    "claude-2.0": row("j", F.UNKNOWN, 100_000),
    "claude-instant-1.2": row("j", F.UNKNOWN, 100_000),
}

_LINES: Final = {
    re.compile(r"claude-(opus|sonnet|fable|mythos)-([5-9](-\d{1,2})?|4-[5-9])"): row(
        "vfjs", F.CLAUDE_4_OPUS, None
    ),
    re.compile(r"claude-haiku-([5-9](-\d{1,2})?|4-[5-9])"): row("vfjs", "claude-4-haiku", None),
}
MODELS: Final = ModelTable(_ROWS, _LINES)
