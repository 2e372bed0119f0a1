"""Errors that Python, asyncio and runtimes print, as nobody is there to raise them to."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from .._core._supervision import only_logged
from ._leak import Leak

__all__ = ["LostErrors"]


class LostErrors:
    """Catches them between `catch` and `release`. Only a runtime still logs them then."""

    def __init__(self) -> None:
        self._lost: list[Leak] = []
        self._records = _Records(self._note_record)

    def catch(self) -> None:
        """Put the hooks in."""
        self._unraisablehook, sys.unraisablehook = sys.unraisablehook, self._note_unraisable
        self._excepthook, threading.excepthook = threading.excepthook, self._note_thread
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        self._showwarning, warnings.showwarning = warnings.showwarning, self._note_warning
        # Whatever is done with other warnings, these are to be seen, and each time.
        warnings.filterwarnings("always", "coroutine .* was never awaited", RuntimeWarning)
        warnings.simplefilter("always", ResourceWarning)
        only_logged.append(self._note_failure)
        # A loop that has no handler of its own logs.
        self._logger = logging.getLogger("asyncio")
        self._propagated, self._logger.propagate = self._logger.propagate, False
        self._logger.addHandler(self._records)
        self._loop = asyncio._get_running_loop()
        if self._loop is not None:
            self._handler = self._loop.get_exception_handler()
            self._loop.set_exception_handler(self._note_context)

    def release(self) -> list[Leak]:
        """Put back what was there before, and say what was caught."""
        if self._loop is not None:
            self._loop.set_exception_handler(self._handler)
        self._logger.removeHandler(self._records)
        only_logged.remove(self._note_failure)
        self._logger.propagate = self._propagated
        self._warnings.__exit__(None, None, None)
        threading.excepthook = self._excepthook
        sys.unraisablehook = self._unraisablehook
        return self._lost

    def _note_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        # As text: to keep the object would bring it back to life.
        what = unraisable.err_msg or "Exception ignored in"
        error = unraisable.exc_value or unraisable.exc_type()
        self._note(f"{what}: {unraisable.object!r:.200}", error)

    def _note_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            self._note(f"in {args.thread!r}", args.exc_value)

    def _note_failure(self, error: BaseException, where: str) -> None:
        self._lost.append(Leak("failure", f"only logged: {where}\n{shown(error)}"))

    def _note(self, where: str, error: BaseException) -> None:
        self._lost.append(Leak("exception", f"{where}\n{shown(error)}"))

    def _note_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        text = str(message)
        if category is RuntimeWarning and text.endswith("was never awaited"):
            self._lost.append(Leak("coroutine", text))
        elif issubclass(category, ResourceWarning):
            self._lost.append(Leak("resource", text))
        else:
            self._showwarning(message, category, filename, lineno, file, line)

    def _note_context(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        about = [context.get("message"), context.get("task"), context.get("future")]
        text = ": ".join(str(part) for part in about if part is not None)
        error = context.get("exception")
        if isinstance(error, BaseException):
            self._note(text, error)
        else:
            self._lost.append(Leak("exception", text))

    def _note_record(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self._note(record.getMessage(), error)
        else:
            self._lost.append(Leak("exception", record.getMessage()))


def shown(error: BaseException) -> str:
    """Give an error with its traceback, as it would be printed."""
    return "".join(traceback.format_exception(error)).rstrip()


class _Records(logging.Handler):
    def __init__(self, note: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.ERROR)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(record)
