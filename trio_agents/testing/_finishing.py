"""The end of a test's runtime: what it has accepted is finished in time, or is named.

A handler that waits for ever would keep the runtime's block open, and so the test would hang and
nobody would know for what. The time is real: the clock of a test may stand still, or jump.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from .._core._runtime import Runtime
from .._sansio._cancellation import _call, current_home
from ._leak import Leak
from ._leaks import LeakError

__all__ = ["PATIENCE", "finish"]

PATIENCE: Final = 5.0  # seconds


async def finish(runtime: Runtime, patience: float) -> None:
    """Have a runtime finish what it has accepted, and stop, inside of its block.

    Args:
        runtime: It may have been stopped. Then only what runs all the same is waited for.
        patience: Seconds of real time that this may take.

    Raises:
        LeakError: it has taken longer, and by which messages. It is for leaving the block, which
            cancels them.
        BaseExceptionGroup: failures of publications.
    """
    gate = runtime._gate
    if gate.is_idle() and gate.nothing_runs():
        return  # the block does the rest, and no thread is needed
    with _real_time_limit(patience) as scope:
        if runtime.is_started():
            await runtime.stop_when_idle()
        await runtime._ledger.wait_until(gate.nothing_runs)
    if scope.cancelled_caught:
        raise LeakError(tuple(_unfinished(runtime, patience)))


@contextmanager
def _real_time_limit(seconds: float) -> Generator[anyio.CancelScope, None, None]:
    """Cancel the block after so many seconds, whatever the clock of the event loop says."""
    with anyio.CancelScope() as scope:
        timer = threading.Timer(
            min(seconds, threading.TIMEOUT_MAX), _call, (scope.cancel, current_home())
        )
        timer.daemon = True
        timer.start()
        try:
            yield scope
        finally:
            timer.cancel()
            timer.join()  # it must not call into a loop that has ended


def _unfinished(runtime: Runtime, patience: float) -> Iterator[Leak]:
    late = (
        f"not finished {patience:g} seconds after the test: have the test end it, or the fixture "
        "runtime_patience give more seconds"
    )
    carried = runtime._workers.carried()
    for envelope in carried:
        yield Leak("message", f"{envelope!r} was {late}")
    for id, number in runtime.statistics().mailboxes.items():
        yield Leak("message", f"{number} queued for {id}")
    if not carried:
        yield Leak("message", f"{runtime!r} was {late}")
