"""What an SDK's methods take, and the words on what they raise."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Final

__all__ = ["accepted_arguments", "check_arguments", "no_answer", "no_stream", "noted"]

_QUOTED: Final = 500


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


def no_answer(said: object) -> RuntimeError:
    """Return the error for what a server *said* with status 200 that is no answer of a model.

    That is an error in a body, or a page that a proxy or a portal has put in its place. It is cut.
    """
    text = repr(said)
    if len(text) > _QUOTED:
        text = f"{text[:_QUOTED]}..."
    return RuntimeError(f"the server answered without an answer of a model; it said: {text}")


def no_stream(kind: str | None) -> RuntimeError:
    """Return the error for a stream that has ended with nothing of a model's in it.

    Args:
        kind: the content type of the answer, which tells whether it was a stream at all.
    """
    return RuntimeError(
        f"the server answered without an answer of a model: what it sent, of the content type "
        f"{kind!r}, ended before a model began"
    )


@contextmanager
def noted(note: str) -> Generator[None]:
    """Add *note* to the exceptions that leave the block; they stay what the SDK made them."""
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise
