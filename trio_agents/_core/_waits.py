"""Refusing deadlocks: requests that would wait for each other for ever.

A request waits at an agent for one of the handlers that hold its places (``max_concurrency``), for
the factory that makes it, or for an intervention handler that looks at an earlier message to it:
all three are *obstacles*. An obstacle waits itself for the requests that it, or what it called, has
sent. A request is stuck if some group of its obstacles is, all of it, and an obstacle is stuck if
*any* request it waits for is. The last step that closes such a circle is always a request that
begins to wait, so that is when we look. Only those pay who do not get through at once, and only if
a handler waits for them.

Each envelope knows the requests below it that wait so (`Envelope.blocked`): the search walks over
those alone.
"""

from __future__ import annotations

from .._sansio._errors import DeadlockError
from ._activation import Activation
from ._envelope import (
    RUNNING,
    Envelope,
)

__all__ = ["begin_waiting", "end_waiting"]

# For each request: for each group of its obstacles: for each of the group: what that waits for.
Waits = dict[Envelope, list[list[list[Envelope]]]]


def begin_waiting(envelope: Envelope, activation: Activation) -> DeadlockError | None:
    """Note that *envelope* waits at *activation*; give an error if it would for ever."""
    callers = tuple(envelope.ancestors())
    if not callers:
        return None  # no handler waits for it, so it closes no circle
    if activation.starter in callers:
        return DeadlockError(
            f"the factory of {activation.id} needs {activation.id} itself: "
            "an agent cannot answer, or be had, before it is made"
        )
    if activation.closing in callers:
        return DeadlockError(
            f"the closing of {activation.id} needs {activation.id} itself: "
            "an agent that is being closed takes no more messages"
        )
    for caller in callers:
        if caller.blocked is None:
            caller.blocked = set()
        caller.blocked.add(envelope)
    envelope.noted_by = callers
    circle = _find_circle(envelope)
    if not circle:
        return None
    end_waiting(envelope)
    return DeadlockError(
        "these agents would wait for each other for ever: "
        + " -> ".join(str(waiting.activation.id) for waiting in circle if waiting.activation)
        + ". Raise max_concurrency, send in one direction only, or publish instead"
    )


def end_waiting(envelope: Envelope) -> None:
    """Note that *envelope* does not wait any more."""
    for caller in envelope.noted_by:
        if caller.blocked is not None:
            caller.blocked.discard(envelope)
    envelope.noted_by = ()


def _find_circle(envelope: Envelope) -> list[Envelope]:
    # Suspect all that it waits for, however indirectly. Then clear one after the other of those
    # that wait for no suspect. Who is left waits for others who are left, for ever.
    suspects: Waits = {}
    found = [envelope]
    while found:
        waiting = found.pop()
        if waiting not in suspects:
            suspects[waiting] = groups = _waits_of(waiting)
            found += [further for group in groups for requests in group for further in requests]
    cleared = True
    while cleared:
        cleared = False
        for waiting in reversed(tuple(suspects)):  # the last found first: mostly that is all
            if _next_stuck(waiting, suspects) is None:
                del suspects[waiting]
                cleared = True
    circle: list[Envelope] = []
    further = envelope if envelope in suspects else None
    while further is not None and further not in circle:
        circle.append(further)
        further = _next_stuck(further, suspects)
    return [*circle, further] if further is not None else circle


def _waits_of(waiting: Envelope) -> list[list[list[Envelope]]]:
    activation = waiting.activation
    assert activation is not None
    groups = [
        [
            # What was let in meanwhile, or given up by a handler in between, is not waited for.
            [
                request
                for request in obstacle.blocked or ()
                if request.stage < RUNNING and obstacle in request.ancestors()
            ]
            for obstacle in group
        ]
        for group in activation.obstacles(waiting)
    ]
    return [group for group in groups if all(group)]  # one that waits for nothing will end


def _next_stuck(waiting: Envelope, suspects: Waits) -> Envelope | None:
    # A request that *waiting* waits for and that is a suspect; None if it may come through.
    for group in suspects[waiting]:
        stuck = [next((r for r in requests if r in suspects), None) for requests in group]
        if None not in stuck:
            return stuck[0]
    return None
