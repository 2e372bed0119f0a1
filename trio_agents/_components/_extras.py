"""Optional dependencies: imported when they are used, and an error that says how to get them.

Importing an SDK takes a second or two. A program that only names a class, in an annotation or a
table of components, must not pay for it; so no module of ours imports one.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["from_extra", "import_extra"]


@contextmanager
def from_extra(module: str, extra: str, *, purpose: str) -> Generator[None, None, None]:
    """Import in this block what comes with the extra *extra*.

    Args:
        module: What is imported.
        extra: The extra that depends on it.
        purpose: What needs it: the name of a class or a module, or "images".

    Raises:
        ModuleNotFoundError: it is not installed; the text says what to do.
    """
    package = module.partition(".")[0]
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # it is there, and lacks something itself
        raise ModuleNotFoundError(
            f"{package}, for {purpose}, is not installed: pip install 'trio-agents[{extra}]'",
            name=error.name,
        ) from error


def import_extra(module: str, extra: str, *, purpose: str) -> Any:
    """Import *module*, which comes with the extra *extra*, see `from_extra`.

    Raises:
        ModuleNotFoundError: it is not installed; the text says what to do.
    """
    with from_extra(module, extra, purpose=purpose):
        return importlib.import_module(module)
