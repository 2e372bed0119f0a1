"""The models that the Ollama client knows by name; a tag behind a colon changes nothing here.

What a model has room for is what it was made for. What a server gives it is its ``num_ctx``.
"""

from __future__ import annotations

from typing import Final

from ...models._model_info import ModelFamily as F
from ._known_models import ModelTable, row

__all__ = ["MODELS", "untagged"]

# The server makes every model keep to a schema, so all have j and s. v vision, f functions.
_ROWS: Final = {
    "codegemma": row("js", F.UNKNOWN, 8_192),
    "codellama": row("js", F.UNKNOWN, 16_384),
    "command-r": row("fjs", F.UNKNOWN, 131_072),
    "command-r-plus": row("fjs", F.UNKNOWN, 131_072),
    "deepseek-coder": row("js", F.UNKNOWN, 16_384),
    "deepseek-coder-v2": row("js", F.UNKNOWN, 131_072),
    "deepseek-r1": row("js", F.R1, 131_072),
    "dolphin-llama3": row("js", F.UNKNOWN, 8_192),
    "dolphin-mistral": row("js", F.UNKNOWN, 32_768),
    "dolphin-mixtral": row("js", F.UNKNOWN, 32_768),
    "gemma": row("js", F.UNKNOWN, 8_192),
    "gemma2": row("js", F.UNKNOWN, 8_192),
    "gemma3": row("vjs", F.UNKNOWN, 131_072),
    "gpt-oss": row("fjs", F.UNKNOWN, 131_072),
    "llama2": row("js", F.UNKNOWN, 4_096),
    "llama2-uncensored": row("js", F.UNKNOWN, 2_048),
    "llama3": row("js", F.UNKNOWN, 8_192),
    "llama3.1": row("fjs", F.UNKNOWN, 131_072),
    "llama3.2": row("fjs", F.UNKNOWN, 131_072),
    "llama3.2-vision": row("vjs", F.UNKNOWN, 131_072),
    "llama3.3": row("fjs", F.LLAMA_3_3_70B, 131_072),
    "llama4": row("vfjs", F.LLAMA_4_SCOUT, 131_072),
    "llava": row("vjs", F.UNKNOWN, 32_768),
    "llava-llama3": row("vjs", F.UNKNOWN, 8_192),
    "mistral": row("fjs", F.MISTRAL, 32_768),
    "mistral-nemo": row("fjs", F.MISTRAL, 131_072),
    "mistral-small": row("fjs", F.MISTRAL, 32_768),
    "mixtral": row("fjs", F.MISTRAL, 32_768),
    "orca-mini": row("js", F.UNKNOWN, 2_048),
    "phi": row("js", F.UNKNOWN, 2_048),
    "phi3": row("js", F.UNKNOWN, 131_072),
    "phi3.5": row("js", F.UNKNOWN, 131_072),
    "phi4": row("js", F.UNKNOWN, 16_384),
    "phi4-mini": row("fjs", F.UNKNOWN, 131_072),
    "qwen": row("js", F.UNKNOWN, 32_768),
    "qwen2": row("fjs", F.UNKNOWN, 32_768),
    "qwen2.5": row("fjs", F.UNKNOWN, 131_072),
    "qwen2.5-coder": row("fjs", F.UNKNOWN, 131_072),
    "qwen2.5vl": row("vjs", F.UNKNOWN, 128_000),
    "qwen3": row("fjs", F.UNKNOWN, 40_960),
    "qwq": row("fjs", F.UNKNOWN, 40_960),
    "smollm2": row("fjs", F.UNKNOWN, 8_192),
    "starcoder2": row("js", F.UNKNOWN, 16_384),
    "tinyllama": row("js", F.UNKNOWN, 2_048),
    "wizardlm2": row("js", F.UNKNOWN, 32_768),
    "yi": row("js", F.UNKNOWN, 4_096),
    "zephyr": row("js", F.UNKNOWN, 32_768),
}
MODELS: Final = ModelTable(_ROWS)


def untagged(model: str) -> str:
    """Return the name of *model* without its tag."""
    return model.partition(":")[0]
