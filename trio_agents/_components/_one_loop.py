"""`OneLoop`: a check for what has connections or tasks, and so belongs to one event loop."""

from __future__ import annotations

import asyncio

import sniffio
import trio

__all__ = ["OneLoop"]


class OneLoop:
    """Remembers the event loop of the first use, and refuses others."""

    def __init__(self) -> None:
        self._loop: object = None

    def check(self, what: str) -> None:
        """Refuse a use on another loop than the first one.

        Args:
            what: what is used, for the error.

        Raises:
            RuntimeError: this is another loop, or another run of one.
        """
        if sniffio.current_async_library() == "trio":
            here: object = trio.lowlevel.current_trio_token()
        else:
            here = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = here
        elif self._loop is not here:
            raise RuntimeError(
                f"{what} was used on another event loop, and its connections belong to that one: "
                "make one for each loop, inside of what runs on it"
            )
