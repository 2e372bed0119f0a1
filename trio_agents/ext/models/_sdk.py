"""Loading a provider's SDK when a client is made, and the words on what it raises.

Importing an SDK takes a second or two. A program that only names a client, in an annotation or a
table of components, must not pay for it; so no module of ours imports one.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["accepted_arguments", "check_arguments", "import_sdk", "noted"]


def import_sdk(name: str, extra: str) -> Any:
    """Import the package *name*.

    Raises:
        ImportError: it is not installed; the error names the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this needs the package {name}: pip install 'trio-agents[{extra}]'", name=name
        ) from error


def accepted_arguments(method: Callable[..., object], ours: Iterable[str]) -> frozenset[str]:
    """Return the arguments of an SDK's *method* that a caller may pass, without those of *ours*.

    They are asked from the SDK that is installed, so a newer one brings its newer arguments.
    """
    return frozenset(inspect.signature(method).parameters) - frozenset(ours) - {"self"}


def check_arguments(arguments: Mapping[str, object], accepted: frozenset[str], hint: str) -> None:
    """Check the names of *arguments*.

    Raises:
        ValueError: one is not in *accepted*.
    """
    strangers = sorted(arguments.keys() - accepted)
    if strangers:
        raise ValueError(
            f"the API has no argument {', '.join(map(repr, strangers))} that may be given: it "
            f"takes {', '.join(sorted(accepted))}; {hint}"
        )


@contextmanager
def noted(note: str) -> Generator[None]:
    """Add *note* to the exceptions that leave the block; they stay what the SDK made them."""
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise
