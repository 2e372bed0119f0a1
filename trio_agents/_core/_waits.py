"""Refusing deadlocks: requests that would wait for each other for ever.

Only agents with a ``max_concurrency`` can hold a request up for ever. A request waits at such an
agent for one of the handlers that hold its places (*runners*); a handler waits for the requests that
it, or what it called, has sent. A request is stuck if *every* runner of its agent is stuck, and a
runner is stuck if *any* request it waits for is. The last step that closes such a circle is always a
request that begins to wait, so that is when we look, and only those pay who wait at a full agent.

Each handler knows the requests below it that wait at a full agent (`Envelope.blocked`), so the
search walks over those alone.
"""

from __future__ import annotations

from .._sansio._errors import DeadlockError
from ._activation import Activation
from ._envelope import Envelope, Stage

__all__ = ["begin_waiting", "end_waiting"]


def begin_waiting(envelope: Envelope, activation: Activation) -> DeadlockError | None:
    """Note that *envelope* waits at *activation*; give an error if it would for ever."""
    if activation.starter is not None and any(
        caller is activation.starter for caller in envelope.ancestors()
    ):
        return DeadlockError(
            f"the factory of {activation.id} waits for a message to {activation.id} itself: "
            "an agent cannot answer before it is made"
        )
    for caller in envelope.ancestors():
        if caller.blocked is None:
            caller.blocked = set()
        caller.blocked.add(envelope)
    path = _stuck(envelope, activation, {})
    if path is None:
        return None
    end_waiting(envelope)
    return DeadlockError(
        "these agents would wait for each other for ever: "
        + " -> ".join(str(id) for id in path)
        + ". Raise max_concurrency, send in one direction only, or publish instead"
    )


def end_waiting(envelope: Envelope) -> None:
    """Note that *envelope* does not wait any more."""
    for caller in envelope.ancestors():
        if caller.blocked is not None:
            caller.blocked.discard(envelope)


def _stuck(
    envelope: Envelope, activation: Activation, seen: dict[Envelope, bool]
) -> list[object] | None:
    # Assume that a request we come back to is stuck: a circle of assumptions is a circle of waits.
    path: list[object] = [activation.id]
    if seen.get(envelope):
        return path
    runners = activation.runners
    if not runners:
        return None
    seen[envelope] = True
    for runner in runners:
        for waiting in runner.blocked or ():
            if waiting.stage is Stage.SETTLED or waiting.activation is None:
                continue
            further = _stuck(waiting, waiting.activation, seen)
            if further is not None:
                path.extend(further)
                break
        else:
            seen[envelope] = False
            return None
    return path
