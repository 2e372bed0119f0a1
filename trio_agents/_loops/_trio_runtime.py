"""The runtime on trio: the core with trio's loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .._core._runtime import Runtime
from ._trio import TrioLoop, let_interrupts_wait

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from .._sansio._intervention import InterventionHandler
    from .._sansio._options import Overflow

__all__ = ["SingleThreadedAgentRuntime", "open_runtime"]


class SingleThreadedAgentRuntime(Runtime):
    __doc__ = Runtime.__doc__

    _loop = TrioLoop()


@asynccontextmanager
async def open_runtime(
    *,
    intervention_handlers: Sequence[InterventionHandler] | None = None,
    tracer_provider: TracerProvider | None = None,
    ignore_unhandled_exceptions: bool = True,
    max_pending: int | None = None,
    overflow: Overflow = "wait",
    strict: bool = False,
) -> AsyncGenerator[SingleThreadedAgentRuntime, None]:
    """Open a runtime that is started; on a normal exit, finish all work and close it.

    The short form of entering the block of a `SingleThreadedAgentRuntime`, which takes the same
    arguments, and calling `start()` first and `stop_when_idle()` last. Left by an exception it
    cancels what runs. What was stopped inside the block stays stopped.

    Raises:
        BaseExceptionGroup: failures of publications, see *ignore_unhandled_exceptions*.
    """
    async with SingleThreadedAgentRuntime(
        intervention_handlers=intervention_handlers,
        tracer_provider=tracer_provider,
        ignore_unhandled_exceptions=ignore_unhandled_exceptions,
        max_pending=max_pending,
        overflow=overflow,
        strict=strict,
    ) as runtime:
        runtime.start()
        yield runtime
        if runtime.is_started():
            await runtime.stop_when_idle()


let_interrupts_wait()
