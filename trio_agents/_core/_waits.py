"""Refusing deadlocks: requests that would wait for each other for ever.

A request waits at an agent for one of the handlers that hold its places (``max_concurrency``), for
the factory that makes it, or for an intervention handler that looks at an earlier message to it:
all three are *obstacles*. An obstacle waits itself for the requests that it, or what it called, has
sent. A request is stuck if too many of some group of its obstacles are, and an obstacle is stuck if
*any* request it waits for is. The last step that closes such a circle is a request that begins to
wait, so that is when we look. Only those pay who do not get through at once, and only if a handler
waits for them.

Publishers wait for room in a mailbox. Their obstacles are the messages that came before, as many as
fit into it: room is made by whichever can be handled. One more step may close a circle then, when
the turn of such a message comes and it is held up by something new. So we look then, too.

Each envelope knows the requests below it that wait so (`Envelope.blocked`): the search walks over
those alone.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .._sansio._errors import DeadlockError
from ._activation import Activation
from ._envelope import RUNNING, Delivery, Envelope, Publication

__all__ = [
    "begin_waiting",
    "begin_waiting_for_room",
    "end_waiting",
    "end_waiting_for_room",
    "refuse_publishers",
]


class Turn(NamedTuple):
    """The wait of a message to be handled, whoever has sent it and whether that one waits."""

    envelope: Envelope


# What may be stuck: a request, a publisher's wait for room, for which a delivery stands, or a turn.
Wait: TypeAlias = Envelope | Turn
# A group of obstacles: what each of them waits for, and how many of them are too many.
Group: TypeAlias = tuple[list[list[Wait]], int]


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
            caller.blocked = {}
        caller.blocked[envelope] = None
    envelope.noted_by = callers
    if not any(_holds_up(caller) for caller in callers):
        return None  # a chain that grows at this end is not walked along each time
    error = _find_deadlock(envelope)
    if error is not None:
        end_waiting(envelope)
    return error


def _find_deadlock(envelope: Envelope) -> DeadlockError | None:
    """Give an error if *envelope*, which waits at its agent, would for ever."""
    circle = _find_circle(envelope)
    if not circle:
        return None
    return DeadlockError(
        "these agents would wait for each other for ever: "
        + " -> ".join(
            str(waiting.activation.id)
            for waiting in circle
            if isinstance(waiting, Envelope) and waiting.activation
        )
        + ". "
        + _advice(circle)
    )


def _advice(circle: list[Wait]) -> str:
    if any(isinstance(waiting, Delivery) for waiting in circle):
        return (
            "A publisher waits for room there: raise mailbox_size or max_concurrency, or publish "
            "in one direction only"
        )
    return "Raise max_concurrency, send in one direction only, or publish instead"


def end_waiting(envelope: Envelope) -> None:
    """Note that *envelope* does not wait any more."""
    for caller in envelope.noted_by:
        if caller.blocked is not None:
            caller.blocked.pop(envelope, None)
    envelope.noted_by = ()


def begin_waiting_for_room(publication: Publication) -> None:
    """Note that a publisher waits for room for each delivery that has none, unless that is noted.

    It is refused if it would wait for ever.
    """
    for delivery in publication.deliveries or ():
        if delivery.has_no_room and delivery not in publication.waits:
            assert delivery.activation is not None
            publication.waits[delivery] = None
            error = begin_waiting(delivery, delivery.activation)
            if error is not None:
                _refuse(publication, error)
                return


def end_waiting_for_room(publication: Publication) -> None:
    """Note that its publisher does not wait any more."""
    for delivery in publication.waits:
        end_waiting(delivery)
    publication.waits.clear()


def refuse_publishers(activation: Activation) -> None:
    """Refuse those who wait for room, if they would for ever: an obstacle has come to be."""
    if not activation.is_held_up():
        return
    for delivery in activation.line():
        # A publisher that has given up, or waits outside of handlers, is not held up by us.
        if isinstance(delivery, Delivery) and delivery.noted_by:
            error = _find_deadlock(delivery)
            if error is not None:
                _refuse(delivery.publication, error)


def _refuse(publication: Publication, error: DeadlockError) -> None:
    assert publication.reply is not None
    publication.error = error
    publication.reply.set()
    end_waiting_for_room(publication)  # others may get through now


def _holds_up(caller: Envelope) -> bool:
    """Whether anything could wait for *caller*, which would close the circle."""
    activation = caller.activation
    return caller.stage is not RUNNING or activation is None or activation.is_awaited


def _find_circle(envelope: Envelope) -> list[Wait]:
    # Suspect all that it waits for, however indirectly. Then clear one after the other of those
    # that wait for no suspect. Who is left waits for others who are left, for ever.
    suspects: dict[Wait, list[Group]] = {}
    found: list[Wait] = [envelope]
    while found:
        waiting = found.pop()
        if waiting not in suspects:
            suspects[waiting] = groups = _waits_of(waiting)
            found += [further for group, _ in groups for waits in group for further in waits]
    cleared = True
    while cleared:
        cleared = False
        for waiting in reversed(tuple(suspects)):  # the last found first: mostly that is all
            if _next_stuck(waiting, suspects) is None:
                del suspects[waiting]
                cleared = True
    circle: list[Wait] = []
    further: Wait | None = envelope if envelope in suspects else None
    while further is not None and further not in circle:
        circle.append(further)
        further = _next_stuck(further, suspects)
    return [*circle, further] if further is not None else circle


def _waits_of(waiting: Wait) -> list[Group]:
    envelope = waiting.envelope if isinstance(waiting, Turn) else waiting
    activation = envelope.activation
    assert activation is not None
    if envelope is waiting and isinstance(envelope, Delivery):
        before, too_many = activation.before(envelope)
        return [([[Turn(other)] for other in before], too_many)]
    groups: list[Group] = []
    for obstacles, too_many in activation.obstacles(envelope):
        # What was let in meanwhile, or given up by a handler in between, is not waited for.
        group: list[list[Wait]] = [
            [
                request
                for request in obstacle.blocked
                if request.stage < RUNNING and obstacle in request.ancestors()
            ]
            for obstacle in obstacles
            if obstacle.blocked
        ]
        if len(group) >= too_many:
            groups.append((group, too_many))
    return groups


def _next_stuck(waiting: Wait, suspects: dict[Wait, list[Group]]) -> Wait | None:
    # A request that *waiting* waits for and that is a suspect; None if it may come through.
    for group, too_many in suspects[waiting]:
        stuck: list[Wait] = []
        for waits in group:
            stuck += [request for request in waits if request in suspects][:1]
        if len(stuck) >= too_many:
            return stuck[0]
    return None
