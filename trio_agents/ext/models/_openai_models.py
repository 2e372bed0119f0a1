"""The models that the OpenAI clients know by name, and the hosts that they live at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ...models._model_info import ModelFamily as F
from ._known_models import ModelTable, row

__all__ = ["HOMES", "MODELS", "Home", "home_of"]

# Abilities: v vision, f functions, j JSON, s structured output, m multiple system messages.
_ROWS: Final = {
    "gpt-5": row("vfjsm", F.GPT_5, 400_000),
    "gpt-5-mini": row("vfjsm", F.GPT_5, 400_000),
    "gpt-5-nano": row("vfjsm", F.GPT_5, 400_000),
    "gpt-5.1": row("vfjsm", F.GPT_5, 400_000),
    "gpt-5.2": row("vfjsm", F.GPT_5, 400_000),
    "o4-mini": row("vfjsm", F.O4, 200_000),
    "o3": row("vfjsm", F.O3, 200_000),
    "o3-mini": row("fjsm", F.O3, 200_000),
    "o1": row("fsm", F.O1, 200_000),
    "o1-preview": row("fsm", F.O1, 128_000),
    "o1-mini": row("m", F.O1, 128_000),
    "gpt-4.1": row("vfjsm", F.GPT_41, 1_047_576),
    "gpt-4.1-mini": row("vfjsm", F.GPT_41, 1_047_576),
    "gpt-4.1-nano": row("vfjsm", F.GPT_41, 1_047_576),
    "gpt-4.5": row("vfjsm", F.GPT_45, 128_000),
    "gpt-4o": row("vfjsm", F.GPT_4O, 128_000),
    "gpt-4o-2024-05-13": row("vfjm", F.GPT_4O, 128_000),  # older than structured output
    "gpt-4o-mini": row("vfjsm", F.GPT_4O, 128_000),
    "gpt-4o-search": row("fjsm", F.GPT_4O, 128_000),
    "gpt-4o-mini-search": row("fjsm", F.GPT_4O, 128_000),
    "gpt-4-turbo": row("vfjm", F.GPT_4, 128_000),
    "gpt-4-turbo-preview": row("fjm", F.GPT_4, 128_000),
    "gpt-4-0125-preview": row("fjm", F.GPT_4, 128_000),
    "gpt-4-1106-preview": row("fjm", F.GPT_4, 128_000),
    "gpt-4-1106-vision-preview": row("vm", F.GPT_4, 128_000),
    "gpt-4": row("fjm", F.GPT_4, 8_192),
    "gpt-4-32k": row("fjm", F.GPT_4, 32_768),
    "gpt-3.5-turbo": row("fjm", F.GPT_35, 16_385),
    "gpt-3.5-turbo-0613": row("fjm", F.GPT_35, 4_096),
    "gpt-3.5-turbo-16k": row("fjm", F.GPT_35, 16_385),
    "gpt-3.5-turbo-instruct": row("fjm", F.GPT_35, 4_096),
    "gemini-1.5-flash": row("vfjs", F.GEMINI_1_5_FLASH, 1_048_576),
    "gemini-1.5-flash-8b": row("vfjs", F.GEMINI_1_5_FLASH, 1_048_576),
    "gemini-1.5-pro": row("vfjs", F.GEMINI_1_5_PRO, 2_097_152),
    "gemini-2.0-flash": row("vfjs", F.GEMINI_2_0_FLASH, 1_048_576),
    "gemini-2.0-flash-lite": row("vfjs", F.GEMINI_2_0_FLASH, 1_048_576),
    "gemini-2.5-flash": row("vfjs", F.GEMINI_2_5_FLASH, 1_048_576),
    "gemini-2.5-flash-lite": row("vfjs", F.GEMINI_2_5_FLASH, 1_048_576),
    "gemini-2.5-pro": row("vfjs", F.GEMINI_2_5_PRO, 1_048_576),
    "claude-3-haiku": row("vfm", F.CLAUDE_3_HAIKU, 200_000),
    "claude-3-sonnet": row("vfm", F.CLAUDE_3_SONNET, 200_000),
    "claude-3-opus": row("vfm", F.CLAUDE_3_OPUS, 200_000),
    "claude-3-5-haiku": row("vfm", F.CLAUDE_3_5_HAIKU, 200_000),
    "claude-3-5-sonnet": row("vfm", F.CLAUDE_3_5_SONNET, 200_000),
    "claude-3-7-sonnet": row("vfm", F.CLAUDE_3_7_SONNET, 200_000),
    "claude-sonnet-4": row("vfm", F.CLAUDE_4_SONNET, 200_000),
    "claude-opus-4": row("vfm", F.CLAUDE_4_OPUS, 200_000),
    "claude-opus-4-1": row("vfm", F.CLAUDE_4_OPUS, 200_000),
    "claude-sonnet-4-5": row("vfm", F.CLAUDE_4_SONNET, 200_000),
    "Llama-3.3-8B-Instruct": row("fjm", F.LLAMA_3_3_8B, 128_000),
    "Llama-3.3-70B-Instruct": row("fjm", F.LLAMA_3_3_70B, 128_000),
    "Llama-4-Scout-17B-16E-Instruct-FP8": row("vfjsm", F.LLAMA_4_SCOUT, 128_000),
    "Llama-4-Maverick-17B-128E-Instruct-FP8": row("vfjsm", F.LLAMA_4_MAVERICK, 128_000),
}

_LINES: Final = {
    re.compile(r"gpt-[5-9](\.\d+)?(-(mini|nano|pro|sol|terra|luna|astra))?"): row(
        "vfjsm", F.GPT_5, None
    ),
}
MODELS: Final = ModelTable(_ROWS, _LINES)


@dataclass(frozen=True, slots=True)
class Home:
    """Where the models of another company are reached through OpenAI's API.

    Attributes:
        prefix: How their names begin.
        base_url: The address, if none is given.
        key_variable: The environment variable with the key, if none is given.
    """

    prefix: str
    base_url: str
    key_variable: str


HOMES: Final = (
    Home("gemini-", "https://generativelanguage.googleapis.com/v1beta/openai/", "GEMINI_API_KEY"),
    Home("claude-", "https://api.anthropic.com/v1/", "ANTHROPIC_API_KEY"),
    Home("Llama-", "https://api.llama.com/compat/v1/", "LLAMA_API_KEY"),
)


def home_of(model: str) -> Home | None:
    """Return where *model* lives; None for OpenAI itself, and for whatever is not known."""
    return next((home for home in HOMES if model.startswith(home.prefix)), None)
