"""What is known of a model by its name.

Providers publish snapshots of a model under its name and a date, and they can do what it can. So a
table has rows for the models, and a name that is not in it is looked up again without its date, and
then without the word that says it is a preview. A snapshot that differs has a row of its own.

New models come faster than releases of a library. Of some lines every model since a certain one can
do all there is, so a table has patterns for these as well; what such a model has room for is not
known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ...models._model_info import ModelCapabilities, ModelFamily, ModelInfo, validate_model_info

__all__ = ["KnownModel", "ModelTable", "is_same_model", "row"]

_DATE: Final = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{2}-\d{2}|\d{8}|\d{4}|\d{3}|latest)$")
_PREVIEW: Final = re.compile(r"-(preview|exp)$")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A row of a table.

    Attributes:
        info: What the model can do.
        token_limit: How many tokens it has room for; None if that is not known.
    """

    info: ModelInfo
    token_limit: int | None


def row(abilities: str, family: str, token_limit: int | None) -> KnownModel:
    """Make a row.

    Args:
        abilities: a letter for each: vision, function calling, JSON output, structured output,
            multiple system messages.
        family: the family of the model.
        token_limit: how many tokens it has room for.
    """
    return KnownModel(
        ModelInfo(
            vision="v" in abilities,
            function_calling="f" in abilities,
            json_output="j" in abilities,
            structured_output="s" in abilities,
            multiple_system_messages="m" in abilities,
            family=family,
        ),
        token_limit,
    )


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The models of a provider.

    Attributes:
        rows: Models by name.
        lines: For names that match the pattern.
    """

    rows: Mapping[str, KnownModel]
    lines: Mapping[re.Pattern[str], KnownModel] = field(
        default_factory=dict[re.Pattern[str], KnownModel]
    )

    def find(self, model: str) -> KnownModel | None:
        """Look *model* up; None if it is not known."""
        for name in _names(model):
            if name in self.rows:
                return self.rows[name]
            for pattern, known in self.lines.items():
                if pattern.fullmatch(name):
                    return known
        return None

    def info(
        self,
        model: str,
        model_info: Mapping[str, Any] | None = None,
        model_capabilities: ModelCapabilities | None = None,
    ) -> ModelInfo:
        """Return what *model* can do: as it was said, or as it is known.

        Raises:
            ValueError: the model is not known and nothing was said, or not all that is needed.
        """
        if model_info is not None:
            validate_model_info(model_info)
            return cast(ModelInfo, dict(model_info))
        if model_capabilities is not None:
            info = {**model_capabilities, "family": ModelFamily.UNKNOWN}
            validate_model_info(info)
            return cast(ModelInfo, info)
        known = self.find(model)
        if known is None:
            raise ValueError(
                f"{model!r} is not among the models that are known by name: say what it can do, "
                f'as in model_info={{"vision": False, "function_calling": True, '
                f'"json_output": True, "structured_output": False, "family": "unknown"}}'
            )
        return cast(ModelInfo, {**known.info})  # a copy: the table is for all clients

    def token_limit(self, model: str) -> int | None:
        """Return how many tokens *model* has room for; None if that is not known."""
        known = self.find(model)
        return None if known is None else known.token_limit


def _names(model: str) -> Iterator[str]:
    yield model
    undated = _DATE.sub("", model)
    yield undated
    yield _PREVIEW.sub("", undated)


def is_same_model(asked: str, answered: str) -> bool:
    """Tell whether a server that was asked for one model may call it by that other name.

    It may if that is a snapshot of it: the same name and a date.
    """
    return asked in (answered, _DATE.sub("", answered))
