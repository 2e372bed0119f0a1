"""What an SDK's methods take, and what they raise."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Final

__all__ = [
    "accepted_arguments",
    "check_arguments",
    "in_terms_of",
    "json_only",
    "no_answer",
    "no_stream",
    "noted",
]

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
def json_only() -> Generator[None]:
    """Make what is no JSON, and was to be, an error that quotes it."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise no_answer(error.doc) from None


@contextmanager
def in_terms_of(sdk: str) -> Generator[None]:
    """Raise errors of the connection as the SDK calls them whose module is *sdk*.

    OpenAI's and Anthropic's raise those of their HTTP library as they are, once a stream has begun.
    """
    import httpx2

    module: Any = importlib.import_module(sdk)
    with json_only():
        try:
            yield
        except httpx2.TimeoutException as error:
            raise module.APITimeoutError(request=error.request) from error
        except httpx2.TransportError as error:
            raise module.APIConnectionError(message=str(error), request=error.request) from error


@contextmanager
def noted(note: str) -> Generator[None]:
    """Add *note* to the exceptions that leave the block; they stay what the SDK made them."""
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise
