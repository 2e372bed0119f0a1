"""Optional dependencies: imported when they are used, and an error that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["import_extra"]


def import_extra(module: str, extra: str, *, purpose: str) -> Any:
    """Import *module*, which comes with the extra *extra*.

    Args:
        module: what to import.
        extra: the extra that depends on it.
        purpose: who needs it, at the beginning of a sentence: "images".

    Raises:
        ImportError: it is not installed; the text says what to do.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and lacks something itself
        raise ImportError(
            f"{purpose} need {module.partition('.')[0]}: pip install 'trio-agents[{extra}]'",
            name=error.name,
        ) from error
