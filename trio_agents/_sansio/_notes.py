"""Notes on exceptions, which not every exception takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import cast

__all__ = ["add_note", "leaves_of"]


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Give what is in a group, however deep; anything else itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves_of(each)
    else:
        yield error


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception of the application's, whatever it makes of that.

    A frozen dataclass lets nobody set its attributes, so `BaseException.add_note` fails there.
    """
    try:
        error.add_note(note)
    except Exception:  # it may be any: the class may have an `add_note` of its own
        # Past the class, then. What is still refused is only a note: the error itself goes on.
        with suppress(Exception):
            BaseException.__setattr__(error, "__notes__", [note])
