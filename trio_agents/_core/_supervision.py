"""What happens when a handler raises and no sender waits: nothing is lost.

A request's failure goes to its sender and never comes here. A publication's failure has nobody
waiting, so the application's policy decides:

- ``ignore_unhandled_exceptions=True``: it is logged, with its traceback, and that is all.
- ``ignore_unhandled_exceptions=False``: it is kept, and the next `stop`, `stop_when_idle`,
  `stop_when`, `process_next`, `close` or the end of the runtime's block raises all that were kept
  as one exception group.
- A `KeyboardInterrupt` or `SystemExit`, or a group with a `KeyboardInterrupt` in it, means the
  program, not the message: it ends the runtime's block at once. Other exceptions that are no
  `Exception` are always kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, cast

from .._sansio._events import AgentConstructionExceptionEvent
from .._sansio._log_names import EVENT_LOGGER_NAME, ROOT_LOGGER_NAME
from .._sansio._notes import add_note
from ._envelope import Envelope, Publication
from ._stacks import stack_of_work

if TYPE_CHECKING:
    from .._sansio._identifiers import AgentId
    from ._loop import EventLoop
    from ._workers import Worker

__all__ = ["Supervisor", "means_program"]

logger = logging.getLogger(ROOT_LOGGER_NAME)
events = logging.getLogger(EVENT_LOGGER_NAME)

# Who is told of a failure that is logged and no more, and where it happened: the last of them.
# `no_leaks` counts it as an error that nobody got, whatever is done with the log.
only_logged: Final[list[Callable[[BaseException, str], None]]] = []


def means_program(error: BaseException) -> bool:
    """Whether an exception is to end the program: an exit, or Ctrl-C, which may be in a group.

    It is the same for the event loops: an exit in a group ends no program.
    """
    if not isinstance(error, BaseExceptionGroup):
        return isinstance(error, (KeyboardInterrupt, SystemExit))
    group = cast("BaseExceptionGroup[BaseException]", error)
    return group.subgroup(KeyboardInterrupt) is not None


class Supervisor:
    """Judges failures that no sender waits for."""

    def __init__(self, loop: EventLoop, *, ignore: bool) -> None:
        self._loop = loop
        self._ignore = ignore
        self._kept: list[BaseException] = []
        self.end_block: Callable[[BaseException], None] | None = None

    def report(self, error: BaseException, envelope: Envelope) -> None:
        """Judge the failure of *envelope*, a publication or one of its deliveries."""
        if isinstance(envelope, Publication) or envelope.recipient is None:
            where = f"publication to topic {envelope.topic}"
        else:
            where = f"agent {envelope.recipient} on topic {envelope.topic}"
        # The id may be anybody's text: in quotes, so that it cannot pass for a line of the log.
        self._judge(error, f"{where}, message {envelope.message_id!r}")

    def report_aside(self, error: BaseException, what: str) -> None:
        """Judge a failure beside any message: of a token's callback, of closing a quiet agent."""
        self._judge(error, what)

    def note_construction(self, error: BaseException, id: AgentId) -> None:
        """Log that an agent could not be made. Whoever needed it gets the exception."""
        if events.isEnabledFor(logging.INFO):
            events.info(AgentConstructionExceptionEvent(agent_id=id, exception=error))

    def _judge(self, error: BaseException, what: str) -> None:
        add_note(error, f"raised in trio_agents by {what}")
        if means_program(error) and self.end_block is not None:
            self.end_block(error)
            return
        self.log(error, what)
        if not self._ignore or not isinstance(error, self._loop.Ignorable):
            self._kept.append(error)
        elif only_logged:
            only_logged[-1](error, what)

    def name_stubborn(self, workers: Iterable[Worker], seconds: float) -> None:
        """Log which handlers a stop still waits for, though it has cancelled them, and where."""
        for worker in workers:
            envelope = worker.envelope
            if envelope is None:
                continue
            # A publication without a recipient yet is with the intervention handlers.
            named = f"topic {envelope.topic}" if envelope.recipient is None else None
            logger.warning(
                "stop() waits for %s: its handler of a %s was cancelled %g seconds ago, and goes "
                "on at %s",
                named or f"agent {envelope.recipient}",
                type(envelope.message).__name__,
                seconds,
                " > ".join(stack_of_work(worker.work)),
            )

    def log(self, error: BaseException, what: str) -> None:
        """Log a failure, with its traceback."""
        logger.error("Unhandled exception: %s", what, exc_info=error)

    def take(self) -> BaseException | None:
        """Give all failures kept so far as one exception, once."""
        if not self._kept:
            return None
        kept, self._kept = self._kept, []
        return self._loop.join_failures(kept)

    def raise_kept(self) -> None:
        """Raise what `take` gives.

        Raises:
            BaseException: all failures kept so far, as the event loop joins them.
        """
        error = self.take()
        if error is not None:
            raise error
