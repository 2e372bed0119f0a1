"""Compares with AutoGen Core, and knows what is different on purpose: one function for each thing.

A function is asked about a call whose answers differ, and says whether it is the reason. Users find
the list in `docs/autogen.md`, under the same names.
"""

from __future__ import annotations

import gc
import importlib
import re
from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs

from ._autogen_programs import SequentialCall, SequentialProgram
from ._autogen_run import HANGS, Answer, SequentialRun, silence

__all__ = ["DIFFERENCES", "Case", "Comparison", "compare"]


@attrs.frozen
class Case:
    """A call whose answers differ.

    Attributes:
        program: The call is of this program,
        index: and has this place in it.
        theirs: AutoGen's answer, with our name for the exception of an unknown agent type.
        ours: And ours.
        before: What has happened so far, in the answers' words.
    """

    program: SequentialProgram
    index: int
    theirs: Answer
    ours: Answer
    before: frozenset[str] = frozenset()

    @property
    def call(self) -> SequentialCall:
        """The call."""
        return self.program.calls[self.index]

    @property
    def calls_before(self) -> tuple[SequentialCall, ...]:
        """The calls before it."""
        return self.program.calls[: self.index]

    def happened(self, event: str) -> bool:
        """Whether that has happened by now."""
        return event in self.before | self.ours.events | self.theirs.events

    def a_factory_fails(self) -> bool:
        """Whether a factory was called in vain."""
        seen = (*self.theirs.seen, *self.ours.seen)
        return any(line.startswith("the factory of") for line in seen)

    def they_missed(self) -> bool:
        """Whether they have seen a part of what we have, and not all."""
        theirs, ours = (
            Counter(line.replace("'", "") for line in answer.seen)
            for answer in (self.theirs, self.ours)
        )
        return theirs < ours or set(theirs) < set(ours)

    def a_type_was_missing(self) -> bool:
        """Whether there was a subscription for an unknown agent type while anything was done.

        It may have been registered since: their runtime has ended by then.
        """
        known: set[str] = set()
        subscribed: set[str] = set()
        for call in (*self.calls_before, self.call):
            match call.name:
                case "register":
                    known.add(call.args[0])
                case "subscribe":
                    subscribed.add(call.args[3])
                case _ if not subscribed <= known:
                    return True
                case _:
                    pass
        return False


Difference = Callable[[Case], bool]


def an_unknown_agent_type_has_an_exception_of_its_own(case: Case) -> bool:
    """There it is an `Exception` for a send, and a `LookupError` elsewhere."""
    return is_same(case.theirs, case.ours)  # our name for it is all that was different


def a_named_sender_is_not_made(case: Case) -> bool:
    """There naming a sender makes that agent, and the message fails if that fails."""
    senders = {str(call.sender) for call in case.calls_before}
    if case.call.name == "save":
        theirs, ours = _states(case.theirs), _states(case.ours)
        return ours < theirs and all(state.rstrip(": ") in senders for state in theirs - ours)
    if case.call.name == "close":
        more = set(case.theirs.seen) - set(case.ours.seen)
        return bool(more) and more <= {f"closes {sender}" for sender in senders}
    if case.call.sender is None and case.call.name not in ("start", "process_next"):
        return False
    if case.theirs.outcome == "raised LookupError":
        return True
    is_any = case.call.sender is not None or senders != {"None"}
    return is_any and (case.a_factory_fails() or case.they_missed())


def _states(answer: Answer) -> set[str]:
    return set(answer.outcome.removeprefix("-> ").split("; ")) - {""}


def a_message_that_was_cancelled_before_is_not_handled(case: Case) -> bool:
    """There it is handled, a publisher is not told, and what it fails with ends the runtime."""
    if case.call.is_cancelled:
        return case.ours.outcome == "cancelled" and not case.ours.seen
    has_ended = case.theirs.outcome in (HANGS, "raised InvalidStateError") or not case.theirs.seen
    return has_ended and any(call.is_cancelled for call in case.calls_before)


def a_subscription_id_is_taken_once(case: Case) -> bool:
    """There a subscription of another kind may have the same id."""
    taken = {call.args[0] for call in case.calls_before if call.name == "subscribe"}
    return (
        case.call.name == "subscribe"
        and case.call.args[0] in taken
        and (case.theirs.outcome, case.ours.outcome) == ("-> None", "raised ValueError")
    )


def a_state_of_an_unknown_type_is_an_error(case: Case) -> bool:
    """There it is passed over."""
    return case.call.name == "load" and case.ours.outcome == "raised StateError"


def subscriptions_that_overlap_give_one_delivery(case: Case) -> bool:
    """There an agent handles a publication once for each that matches."""
    begun = [(agent, name) for agent, names in beginnings(case.theirs).items() for name in names]
    return len(set(begun)) < len(begun)


def one_recipient_that_cannot_be_made_is_no_matter_to_others(case: Case) -> bool:
    """There nobody gets a publication if one of its recipients cannot be made."""
    if case.call.name.startswith("stop") and case.theirs.outcome == "raised LookupError":
        return not case.program.ignore  # and it is said so
    return (case.a_factory_fails() or case.a_type_was_missing()) and case.they_missed()


def an_intervention_handler_sees_what_the_one_before_made(case: Case) -> bool:
    """There each is given the original, and what the last one returns counts."""
    changed = case.happened("an intervention handler: change")
    theirs, ours = (
        sorted(line.replace("'", "") for line in (answer.outcome, *answer.seen))
        for answer in (case.theirs, case.ours)
    )
    return case.program.interventions > 1 and changed and theirs == ours


def what_an_intervention_handler_ends_is_finished(case: Case) -> bool:
    """There what one drops, or fails on, keeps the runtime from ever being idle."""
    ended = case.happened("an intervention handler: drop")
    ended = ended or case.happened("an intervention handler: fail")
    return ended and case.call.name == "stop_when_idle" and case.theirs.outcome == HANGS


def a_failure_of_a_publication_loses_nothing_else(case: Case) -> bool:
    """There, unless such failures are ignored, it ends the handling of all other messages."""
    return not case.program.ignore and (
        case.happened("a publication failed")
        or case.happened("a factory failed")
        or case.a_type_was_missing()
    )


def process_next_takes_a_whole_request(case: Case) -> bool:
    """There its reply takes another call, and a runtime that is started can be asked too."""
    calls = [call.name for call in (*case.calls_before, case.call)]
    starts = [name for name in calls if name in ("start", "stop", "stop_when_idle", "close")]
    is_started = bool(starts) and starts[-1] == "start"
    if is_started:
        return case.call.name == "process_next" and case.ours.outcome == "raised RuntimeError"
    return case.call.name == "process_next" and case.they_missed()


def an_agent_is_closed_once(case: Case) -> bool:
    """There each `close` closes all agents again."""
    return case.call.name == "close" and set(case.ours.seen) < set(case.theirs.seen)


# In this order: the first that explains a case is its reason.
DIFFERENCES: Final[dict[str, Difference]] = {
    difference.__name__.replace("_", " "): difference
    for difference in (
        an_unknown_agent_type_has_an_exception_of_its_own,
        a_message_that_was_cancelled_before_is_not_handled,
        a_subscription_id_is_taken_once,
        a_state_of_an_unknown_type_is_an_error,
        a_named_sender_is_not_made,
        an_agent_is_closed_once,
        subscriptions_that_overlap_give_one_delivery,
        an_intervention_handler_sees_what_the_one_before_made,
        what_an_intervention_handler_ends_is_finished,
        process_next_takes_a_whole_request,
        a_failure_of_a_publication_loses_nothing_else,
        one_recipient_that_cannot_be_made_is_no_matter_to_others,
    )
}


# After one of these AutoGen may have forgotten coroutines.
FORGETFUL: Final = {
    "a failure of a publication loses nothing else",
    "one recipient that cannot be made is no matter to others",
}


@attrs.define
class Comparison:
    """What a comparison has found.

    Attributes:
        calls: How many calls were compared.
        is_whole: Whether those were all. After most differences the two are in different states.
        differences: The names of the intended ones that were met, once for each time.
        unexplained: The call whose answers differ for no reason on the list, if there is one.
    """

    calls: int = 0
    is_whole: bool = False
    differences: list[str] = attrs.Factory(list[str])
    unexplained: str | None = None


def compare(program: SequentialProgram) -> Comparison:
    """Run a program on both libraries, until something on the list sends them different ways.

    From there on it is not run any further: an AutoGen runtime whose queue was shut down may never
    give its thread back.
    """
    with silence():
        found = _run_on_both(program)
        if not FORGETFUL.isdisjoint(found.differences):
            gc.collect()  # Python warns of each when it finds it: not later on
    return found


def _run_on_both(program: SequentialProgram) -> Comparison:
    theirs = SequentialRun(program, importlib.import_module("autogen_core"))
    ours = SequentialRun(program, importlib.import_module("trio_agents.asyncio"))
    try:
        return _compare(program, theirs, ours)
    finally:
        theirs.close()
        ours.close()


def _compare(program: SequentialProgram, theirs: SequentialRun, ours: SequentialRun) -> Comparison:
    found = Comparison()
    before: frozenset[str] = frozenset()
    for index, call in enumerate(program.calls):
        found.calls += 1
        their, our = theirs.answer(call), ours.answer(call)
        if not is_same(their, our):
            case = Case(program, index, _renamed(their, our), our, before)
            name = next((name for name, explains in DIFFERENCES.items() if explains(case)), None)
            if name is None:
                found.unexplained = f"{call}: AutoGen {their}, here {our}"
                return found
            found.differences.append(name)
            if not _leaves_no_trace(name, call):
                return found
        elif our.outcome == HANGS:
            return found
        before |= their.events | our.events
    found.is_whole = True
    return found


def _leaves_no_trace(name: str, call: SequentialCall) -> bool:
    if name == "a named sender is not made":
        return call.name in ("save", "close")
    return name == "an unknown agent type has an exception of its own"


def _renamed(theirs: Answer, ours: Answer) -> Answer:
    """Say UnknownAgentType where they do not."""
    ours_says = "raised UnknownAgentType"
    seen = tuple(re.sub(r"raised Exception$", ours_says, line) for line in theirs.seen)
    outcome = theirs.outcome
    if outcome in ("raised Exception", "raised LookupError") and ours.outcome == ours_says:
        outcome = ours_says
    return attrs.evolve(theirs, outcome=outcome, seen=seen)


def is_same(theirs: Answer, ours: Answer) -> bool:
    """Whether two answers say the same.

    Among handlers that run at the same time neither library promises an order. But messages that
    were submitted one after the other begin in this order, at each agent.
    """
    return (
        theirs.outcome == ours.outcome
        and Counter(theirs.seen) == Counter(ours.seen)
        and _in_order(theirs) == _in_order(ours)
    )


def _in_order(answer: Answer) -> dict[str, list[str]]:
    """Give what each agent has begun of what was submitted from outside of agents."""
    begun = beginnings(answer).items()
    return {agent: [name for name in names if "@" not in name] for agent, names in begun}


def beginnings(answer: Answer) -> dict[str, list[str]]:
    """Give the names of the messages that each agent has begun, in order."""
    begun: dict[str, list[str]] = {}
    for line in answer.seen:
        if match := re.fullmatch(r"(m\S*)@(\w+/\w+)", line):
            begun.setdefault(match[2], []).append(match[1])
    return begun
