"""Optional dependencies: imported when they are used, and an error that says how to get them.

Importing an SDK takes a second or two. A program that only names a class, in an annotation or a
table of components, must not pay for it; so no module of ours imports one.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["import_extra"]


def import_extra(module: str, extra: str, *, purpose: str) -> Any:
    """Import *module*, which comes with the extra *extra*.

    Args:
        module: what to import.
        extra: the extra that depends on it.
        purpose: what needs it: the name of a class, or "images".

    Raises:
        ImportError: it is not installed; the text says what to do.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and lacks something itself
        raise ImportError(
            f"{module.partition('.')[0]}, for {purpose}, is not installed: "
            f"pip install 'trio-agents[{extra}]'",
            name=error.name,
        ) from error
