"""What an SDK's methods take, and the words on what they raise."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager

__all__ = ["accepted_arguments", "check_arguments", "noted"]


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
