"""`Output`: the beginning and the end of what a process prints, however much that is.

A program that prints without end must neither fill the memory nor wait at a full pipe until its
timeout. So everything is read, and what lies in the middle is forgotten: the beginning says what
the program was doing, the end why it stopped.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_MAX_OUTPUT", "Output"]

DEFAULT_MAX_OUTPUT: Final = 1_000_000  # bytes, a few hundred pages


class Output:
    """Bytes, of which the first and the last are kept, *limit* (2 or more) in all."""

    def __init__(self, limit: int) -> None:
        self._room = limit - limit // 2  # for the beginning; the end has the other half
        self._end_room = limit // 2
        self._beginning = bytearray()
        self._end = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take *data* in."""
        self._size += len(data)
        missing = self._room - len(self._beginning)
        self._beginning += data[:missing]
        self._end += data[missing:]
        # Cut in large pieces: cutting at each call would copy the end each time.
        if len(self._end) > 2 * self._end_room + 65536:
            del self._end[: -self._end_room]

    def text(self) -> str:
        """Return what was kept, as text. Bytes that are no UTF-8 become U+FFFD.

        If something was left out, a line between beginning and end says how much.
        """
        end = self._end[-self._end_room :]
        left_out = self._size - len(self._beginning) - len(end)
        if not left_out:
            return _text(self._beginning + end)
        return (
            f"{_text(self._beginning)}\n[... {left_out} bytes of output left out ...]\n{_text(end)}"
        )


def _text(data: bytearray) -> str:
    return data.decode("utf-8", errors="replace")
