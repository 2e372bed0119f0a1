"""Thoughts of models: in a stream between two marks, in a result a field of their own.

Most servers tell thoughts in a field. DeepSeek's r1, where nothing takes it apart, writes them into
its text between the same marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ...models._model_info import ModelFamily

__all__ = ["Pieces", "ThoughtMarks", "beside_calls", "without_thought"]

_BEGIN: Final = "<think>"
_END: Final = "</think>"
_WRITTEN: Final = re.compile(rf"\s*{_BEGIN}(?P<thought>.*?){_END}\s*(?P<rest>.*)", re.DOTALL)


class Pieces:
    """A text that comes in pieces.

    Servers written in JavaScript cut between any two of its characters, which are UTF-16: an emoji
    may come as two halves, and neither of them can be printed or sent.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._half = ""

    def add(self, piece: str) -> str:
        """Take a piece, and give what can be shown: a half waits for its other one."""
        piece, self._half = self._half + piece, ""
        if "\ud800" <= piece[-1:] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        piece = _mended(piece)
        self._texts.append(piece)
        return piece

    def whole(self) -> str:
        """Return the text. A half without another one is a question mark in a diamond."""
        return "".join(self._texts) + _mended(self._half)


def _mended(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class ThoughtMarks:
    """Puts marks around the thoughts of a stream."""

    def __init__(self) -> None:
        self._inside = False

    def thought(self, piece: str) -> Iterator[str]:
        """Give a piece of a thought."""
        yield piece if self._inside else _BEGIN + piece
        self._inside = True

    def text(self, piece: str) -> Iterator[str]:
        """Give a piece of the answer."""
        yield from self.end()
        yield piece

    def end(self) -> Iterator[str]:
        """Give the second mark, if the first was given."""
        if self._inside:
            self._inside = False
            yield _END


def without_thought(family: str, text: str) -> tuple[str, str]:
    """Return the thought that stands in *text*, if there is one, and the rest of it."""
    found = _WRITTEN.fullmatch(text) if family == ModelFamily.R1 else None
    return (found["thought"].strip(), found["rest"]) if found else ("", text)


def beside_calls(text: str, thought: str) -> str:
    """Return the thought of an answer with calls: what was said beside them, if that is anything.

    Models that think often put an empty line before their calls.
    """
    return text if text.strip() else thought
