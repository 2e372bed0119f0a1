"""The runtime on trio: the core with trio's loop."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Unpack

from .._core._runtime import Runtime, RuntimeOptions, running
from .._sansio._facade import claim_names
from ._trio import TrioLoop, let_interrupts_wait

__all__ = ["SingleThreadedAgentRuntime", "open_runtime"]


class SingleThreadedAgentRuntime(Runtime):
    __doc__ = Runtime.__doc__

    _loop = TrioLoop()


def open_runtime(
    **options: Unpack[RuntimeOptions],
) -> AbstractAsyncContextManager[SingleThreadedAgentRuntime]:
    """Open a runtime that is started; on a normal exit, finish all work and close it.

    The short form of entering the block of a `SingleThreadedAgentRuntime`, which takes the same
    arguments, and calling `start()` first and `stop_when_idle()` last. Left by an exception it
    cancels what runs. What was stopped inside the block stays stopped.

    Raises:
        BaseExceptionGroup: failures of publications, see *ignore_unhandled_exceptions*.
    """
    return running(SingleThreadedAgentRuntime(**options))


let_interrupts_wait()


claim_names("trio_agents", globals())
