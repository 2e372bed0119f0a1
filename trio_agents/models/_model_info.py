"""What models can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Required, TypeAlias

from typing_extensions import TypedDict

__all__ = ["ModelCapabilities", "ModelFamily", "ModelInfo", "validate_model_info"]


class ModelFamily:
    """Names of model families, as far as behaviour depends on them. Any other string is one too."""

    GPT_5 = "gpt-5"
    GPT_41 = "gpt-41"
    GPT_45 = "gpt-45"
    GPT_4O = "gpt-4o"
    O1 = "o1"
    O3 = "o3"
    O4 = "o4"
    GPT_4 = "gpt-4"
    GPT_35 = "gpt-35"
    R1 = "r1"
    GEMINI_1_5_FLASH = "gemini-1.5-flash"
    GEMINI_1_5_PRO = "gemini-1.5-pro"
    GEMINI_2_0_FLASH = "gemini-2.0-flash"
    GEMINI_2_5_PRO = "gemini-2.5-pro"
    GEMINI_2_5_FLASH = "gemini-2.5-flash"
    CLAUDE_3_HAIKU = "claude-3-haiku"
    CLAUDE_3_SONNET = "claude-3-sonnet"
    CLAUDE_3_OPUS = "claude-3-opus"
    CLAUDE_3_5_HAIKU = "claude-3-5-haiku"
    CLAUDE_3_5_SONNET = "claude-3-5-sonnet"
    CLAUDE_3_7_SONNET = "claude-3-7-sonnet"
    CLAUDE_4_OPUS = "claude-4-opus"
    CLAUDE_4_SONNET = "claude-4-sonnet"
    LLAMA_3_3_8B = "llama-3.3-8b"
    LLAMA_3_3_70B = "llama-3.3-70b"
    LLAMA_4_SCOUT = "llama-4-scout"
    LLAMA_4_MAVERICK = "llama-4-maverick"
    CODESRAL = "codestral"
    OPEN_CODESRAL_MAMBA = "open-codestral-mamba"
    MISTRAL = "mistral"
    MINISTRAL = "ministral"
    PIXTRAL = "pixtral"
    UNKNOWN = "unknown"

    ANY: TypeAlias = str

    @staticmethod
    def is_claude(family: str) -> bool:
        """Whether *family* is one of Anthropic's."""
        return family.startswith("claude-")

    @staticmethod
    def is_gemini(family: str) -> bool:
        """Whether *family* is one of Google's."""
        return family.startswith("gemini-")

    @staticmethod
    def is_openai(family: str) -> bool:
        """Whether *family* is one of OpenAI's."""
        return family.startswith("gpt-") or family in ("o1", "o3", "o4")

    @staticmethod
    def is_llama(family: str) -> bool:
        """Whether *family* is one of Meta's."""
        return family.startswith("llama-")

    @staticmethod
    def is_mistral(family: str) -> bool:
        """Whether *family* is one of Mistral's."""
        return family.startswith(("codestral", "open-codestral", "mistral", "ministral", "pixtral"))


class ModelCapabilities(TypedDict, total=False):
    """What a model can do, as older programs say it; see `ModelInfo`."""

    vision: Required[bool]
    function_calling: Required[bool]
    json_output: Required[bool]


class ModelInfo(TypedDict, total=False):
    """What a model can do. It changes nothing in the model, only what its client lets through.

    Attributes:
        vision: It takes pictures.
        function_calling: It takes tools.
        json_output: It can be told to answer in JSON.
        family: Its family, one of `ModelFamily` or another.
        structured_output: It can be told to answer by a schema.
        multiple_system_messages: It takes system messages that do not stand together.
    """

    vision: Required[bool]
    function_calling: Required[bool]
    json_output: Required[bool]
    family: Required[str]
    structured_output: Required[bool]
    multiple_system_messages: bool | None


_REQUIRED: Final = ("vision", "function_calling", "json_output", "family")


def validate_model_info(model_info: Mapping[str, Any]) -> None:
    """Check that *model_info* says all that a client has to know.

    ``structured_output`` may be missing in descriptions that are older than it.

    Raises:
        ValueError: a field is missing, or of another type than it has to be.
    """
    missing = [name for name in _REQUIRED if name not in model_info]
    if missing:
        raise ValueError(
            f"model_info lacks {', '.join(missing)}: it needs {', '.join(_REQUIRED)} and should "
            f"have structured_output"
        )
    for name, value in model_info.items():
        if name not in ModelInfo.__annotations__:
            continue  # a description that is newer than this
        kind = str if name == "family" else bool
        if not (isinstance(value, kind) or (name == "multiple_system_messages" and value is None)):
            raise ValueError(
                f"model_info[{name!r}] must be a {kind.__name__}, not {type(value).__name__}"
            )
