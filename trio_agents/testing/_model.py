"""The rules of the runtime, as a plain program: the calls that an application makes.

`_model_messages` has what becomes of messages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeAlias

from .._sansio._identifiers import AgentId, TopicId
from ._acts import CANCELLED, Kind, Message, Seen, text_of
from ._model_messages import UNDELIVERABLE, Messages
from ._model_parts import Agent, Envelope, Scope, Visit, Wish
from ._model_steps import Disagreement, Late, Program, Step, Thread, shows

__all__ = ["Calling", "Disagreement", "Model"]

P = ParamSpec("P")

Calling: TypeAlias = Callable[[Scope], Program]  # a call, to be made in a scope


def a_call(
    method: Callable[Concatenate[Model, Scope, P], Program],
) -> Callable[Concatenate[Model, P], Calling]:
    """Make a method a call that takes time."""

    @wraps(method)
    def prepare(self: Model, /, *args: P.args, **kwargs: P.kwargs) -> Calling:
        return lambda scope: method(self, scope, *args, **kwargs)

    return prepare


def at_once(
    method: Callable[Concatenate[Model, P], str],
) -> Callable[Concatenate[Model, P], Calling]:
    """Make a method a call that takes no time."""

    @wraps(method)
    def prepare(self: Model, /, *args: P.args, **kwargs: P.kwargs) -> Calling:
        def calling(_: Scope) -> Program:
            yield from ()
            return method(self, *args, **kwargs)

        return calling

    return prepare


class Model(Messages):
    """A runtime, as an application sees it."""

    leaving: Literal["normally", "error"] | None = None  # how the body of the block has ended

    # --- what comes from outside

    def call(self, name: str, calling: Calling, patience: float = math.inf) -> None:
        """Have a task of the application make a call, no longer than it has the patience to."""
        scope = Scope(name, deadline=self.now + patience)

        def run() -> Program:
            result = yield from calling(scope)
            late = result if isinstance(result, Late) else Late(lambda: result, lambda _: None)
            outcome = yield Step(late.when, lambda outcome: Seen("returns", name, outcome))
            late.then(outcome)
            del self.calls[name]
            return outcome

        self.calls[name] = scope
        self.threads.append(Thread(run()))
        self.settle_down()

    def cancel(self, name: str) -> None:
        """Cancel a call."""
        self.calls[name].cancelled = True
        self.settle_down()

    def open(self, gate: str) -> None:
        """Open a gate."""
        self.opened.add(gate)
        self.settle_down()

    def advance(self, now: float) -> None:
        """Let it be later."""
        self.now = now
        self.settle_down()

    def leave(self, how: Literal["normally", "error"]) -> None:
        """Let the body of the block end."""
        self.leaving = how
        self.settle_down()

    # --- messages

    @a_call
    def send(
        self,
        scope: Scope,
        message: Message,
        to: AgentId,
        *,
        sender: AgentId | None = None,
        token: str | None = None,
    ) -> Program:
        """`send_message`, from outside of agents."""
        request = self.submit(message, to, scope, sender=sender, token=token)
        return (yield Step(lambda: self.reply(request, scope)))

    @a_call
    def publish(
        self,
        scope: Scope,
        message: Message,
        topic: TopicId,
        *,
        sender: AgentId | None = None,
        token: str | None = None,
    ) -> Program:
        """`publish_message`, from outside of agents. It waits for room, and for nothing else."""
        publication = self.submit(message, topic, scope, sender=sender, token=token)
        outcome = yield Step(lambda: publication.submitted)
        if outcome == CANCELLED:
            return self.how_off(scope) if self.is_off(scope) else "raised MessageCancelled"
        return outcome if outcome != "-> None" else (yield from self.find_room(publication, scope))

    @a_call
    def process_next(self, scope: Scope) -> Program:
        """`process_next`."""
        if not self.has_home() or self.started or self.stopping:
            return "raised RuntimeError"
        self.was_left = False
        if self.failures:
            return self._failures()
        self.by_hand += 1
        self._open_agents()
        home = self.block

        def when() -> str | None:
            if self.taken_up:
                return self._kept_failures()
            too_late = self.block != home or self.started or self.stopping
            return "raised RuntimeError" if too_late else None

        def then(outcome: str) -> None:
            self.by_hand -= 1
            if self.taken_up:
                self.taken_up -= 1
                self.failures.clear()

        yield from ()
        return Late(self.unless_off(scope, when), then)

    # --- what is registered

    @at_once
    def register(self, type: str, kind: Kind) -> str:
        """`BaseAgent.register`: a factory, and a subscription for the type's direct topics."""
        if type in self.kinds:
            return "raised ValueError"
        self.kinds[type] = kind
        self.subscriptions[f"{type}:"] = ("prefix", f"{type}:", type)
        return "-> None"

    @at_once
    def subscribe(self, id: str, how: str, pattern: str, type: str) -> str:
        """`add_subscription`."""
        rule = (how, pattern, type)
        if id in self.subscriptions or rule in self.subscriptions.values():
            return "raised ValueError"
        self.subscriptions[id] = rule
        return "-> None"

    @at_once
    def unsubscribe(self, id: str) -> str:
        """`remove_subscription`."""
        return "-> None" if self.subscriptions.pop(id, None) else "raised LookupError"

    # --- agents

    @a_call
    def get(self, scope: Scope, id: AgentId) -> Program:
        """`get(..., lazy=False)`."""
        return (yield from self._visit(id, scope)) or f"-> {id}"

    @a_call
    def agent_save_state(self, scope: Scope, id: AgentId) -> Program:
        """`agent_save_state`."""
        trouble = yield from self._visit(id, scope)
        if trouble:
            return trouble
        yield shows(Seen("saves", str(id), scope.name))
        return f"-> {text_of({str(id): self.agent(id).notes})}"

    @a_call
    def agent_load_state(self, scope: Scope, id: AgentId, notes: tuple[str, ...]) -> Program:
        """`agent_load_state`."""
        trouble = yield from self._visit(id, scope)
        if trouble:
            return trouble
        yield shows(Seen("loads", str(id), scope.name))
        self.agent(id).notes = list(notes)
        return "-> None"

    # [visit]
    def _visit(
        self, id: AgentId, scope: Scope, *, is_loaded: bool = False
    ) -> Generator[Step, str, str]:
        """Have an agent made if it is not there. Gives what went wrong."""
        if not self.is_known(id):
            return "raised UnknownAgentType"
        agent = self.agent(id)
        visit = Visit(scope, is_loaded)
        agent.visits.append(visit)

        def when() -> str | None:
            if visit.result is not None:
                return visit.result
            first = agent.line[0] if agent.line else None
            is_leaving = agent.closing or (isinstance(first, Wish) and first.granted)
            if agent.alive and not is_leaving:
                return "there"
            if self.is_off(scope):
                return self.how_off(scope)
            # A message that waits for the agent goes first.
            waits = isinstance(first, Envelope) and not first.at_work
            return None if agent.maker is not None or is_leaving or waits else "makes"

        def show(outcome: str) -> Seen | None:
            name = f"{id}#{agent.tries + 1}"
            return Seen("makes", name, scope.name) if outcome == "makes" else None

        while True:
            outcome = yield Step(when, show)
            if outcome != "makes":
                agent.visits.remove(visit)
                return "" if outcome == "there" else outcome
            yield from self.make(visit, agent)

    # [/visit]

    # [deactivate]
    @a_call
    def deactivate(self, scope: Scope, id: AgentId) -> Program:
        """`deactivate`: close an agent when what was submitted to it before has been handled."""
        # No agent is let go of while states are saved.
        outcome = yield Step(self.unless_off(scope, lambda: None if self.is_held() else "now"))
        if outcome != "now":
            return outcome
        agent = self.agents.get(id)
        if agent is None or not (agent.alive or agent.maker or agent.line):
            self.kept.pop(id, None)
            return "-> None"
        wish = Wish()
        # One that finds nobody in line has its turn at once. It still waits for what runs.
        wish.granted = agent.maker is None and not agent.line
        agent.line.append(wish)
        self.refuse_publishers(agent)

        def when() -> str | None:
            if wish.refused:
                return "refused"
            is_busy = bool(agent.running or agent.maker or agent.closing or self.cuts)
            if not wish.granted or is_busy:
                return None
            return "closes" if agent.alive and agent.used else "gone"

        outcome = yield Step(
            self.unless_off(scope, when),
            lambda outcome: Seen("closes", str(id)) if outcome == "closes" else None,
        )
        agent.line.remove(wish)
        self.grant(agent)
        if outcome == "refused":
            return UNDELIVERABLE
        if outcome not in ("closes", "gone"):
            return outcome
        agent.alive = agent.used = False
        self.kept.pop(id, None)
        return "-> None"

    # [/deactivate]

    # --- states

    # [save]
    @a_call
    def save_state(self, scope: Scope) -> Program:
        """`save_state`: a cut at a moment at which nothing is handled."""
        return (yield from self._cut(scope, self._save_all))

    @a_call
    def load_state(self, scope: Scope, states: dict[str, tuple[str, ...]]) -> Program:
        """`load_state`."""
        ids = {AgentId.from_str(name): notes for name, notes in states.items()}
        if not all(map(self.is_known, ids)):
            return "raised StateError"
        return (yield from self._cut(scope, lambda scope: self._load_all(ids, scope)))

    def _cut(self, scope: Scope, inside: Calling) -> Program:
        ticket = object()
        self.cuts.append(ticket)
        # Messages are held up. Those that had begun are finished, with all that they wait for.
        outcome = yield Step(
            self.unless_off(
                scope,
                lambda: "now" if self.cuts[0] is ticket and not self.has_anything_begun() else None,
            )
        )
        result = (yield from inside(scope)) if outcome == "now" else outcome
        self.cuts.remove(ticket)
        self.cut_at = self.now
        return result

    def has_anything_begun(self) -> bool:
        """Whether a cut has to wait for somebody."""
        return self._is_busy() or any(
            agent.maker is not None or bool(agent.visits) for agent in self.agents.values()
        )

    def _is_busy(self) -> bool:
        """Whether a message has left the queue, and is not through."""
        return any(envelope not in self.queue for envelope in self.envelopes)

    def _save_all(self, scope: Scope) -> Program:
        alive = [agent for agent in self.agents.values() if agent.alive]
        yield from self._each(alive, lambda agent: self._save(agent, scope.name))
        states = {str(id): notes for id, notes in self.kept.items()}
        states.update({str(agent.id): agent.notes for agent in alive})
        return f"-> {text_of(states)}"

    def _save(self, agent: Agent, name: str) -> Program:
        yield shows(Seen("saves", str(agent.id), name))
        return ""

    def _load_all(self, states: dict[AgentId, tuple[str, ...]], scope: Scope) -> Program:
        for id, notes in states.items():
            trouble = yield from self._visit(id, scope, is_loaded=True)
            if trouble:
                return trouble
            yield shows(Seen("loads", str(id), scope.name))
            self.agent(id).notes = list(notes)
            self.kept.pop(id, None)
        return "-> None"

    # [/save]

    # --- lifetime

    @at_once
    def start(self) -> str:
        """`start`."""
        if not self.has_home() or self.started or self.stopping:
            return "raised RuntimeError"
        self.started, self.started_at = True, self.now
        self.was_left = False
        self._open_agents()
        return "-> None"

    # [stop]
    @a_call
    def stop(self, scope: Scope, patience: float = math.inf) -> Program:
        """`stop`, with a deadline after so many seconds."""
        if not self.started:
            return "raised RuntimeError"
        return (yield from self._stop_and_wait(scope, self.now + patience))

    @a_call
    def stop_when_idle(self, scope: Scope) -> Program:
        """`stop_when_idle`."""
        if not self.started:
            return "raised RuntimeError"
        outcome = yield Step(self.unless_off(scope, lambda: None if self.envelopes else "idle"))
        return (yield from self._stop_and_wait(scope, math.inf)) if outcome == "idle" else outcome

    def _stop_and_wait(self, scope: Scope, deadline: float) -> Program:
        stops_it = self.started
        if stops_it:
            self._stop()

        def when() -> str | None:
            if not self.stopping:
                return "stopped"
            return "deadline" if deadline <= self.now else None

        outcome = yield Step(self.unless_off(scope, when))
        if outcome == "deadline":
            self._press()
            outcome = yield Step(
                self.unless_off(scope, lambda: None if self.stopping else "stopped")
            )
        if outcome == "stopped":
            return self._failures()
        if stops_it and self.block != "leaving":
            self.stopping = False  # it is stopped all the same, and its handlers go on
        return outcome

    def _stop(self) -> None:
        """Take up no more. What is queued fails, with what comes in from the door meanwhile."""
        self.started = False
        self.stopping = True
        self._refuse_wishes()
        for envelope in list(self.envelopes):
            if envelope.at_work:
                envelope.outlives = True
            else:
                self._settle(envelope, "undeliverable", UNDELIVERABLE)
        self._fail_queue()

    def _refuse_wishes(self) -> None:
        for wish in self._wishes():
            wish.refused = not wish.granted

    def has_wishes(self) -> bool:
        """Whether somebody waits for an agent to be let go of."""
        return bool(self._wishes())

    def _wishes(self) -> list[Wish]:
        agents = self.agents.values()
        return [one for agent in agents for one in agent.line if isinstance(one, Wish)]

    def _fail_queue(self) -> None:
        self._let_in()
        while self.queue:
            self._settle(self.queue[0], "undeliverable", UNDELIVERABLE)

    def _press(self) -> None:
        """Cancel what still runs, and what would."""
        for envelope in self.envelopes:
            envelope.pressed = envelope.pressed or envelope.at_work or envelope.outlives

    def _failures(self) -> Late:
        """Raise what publications have failed with. Whoever comes first gets all."""
        return Late(self._kept_failures, lambda _: self.failures.clear())

    def _kept_failures(self) -> str:
        return f"raised {', '.join(self.failures)}" if self.failures else "-> None"

    # [/stop]

    # [close]
    @a_call
    def close_runtime(self, scope: Scope) -> Program:
        """`close`: stop if started, then close every agent that was used since the last time."""
        if self.started:
            outcome = yield from self._stop_and_wait(scope, math.inf)
            if not isinstance(outcome, Late):
                return outcome
        # Some handlers outlive a stop, or were begun by hand. Nothing else begins meanwhile.
        ticket = object()
        self.closings.append(ticket)
        outcome = yield Step(self.unless_off(scope, lambda: None if self._is_busy() else "rests"))
        if outcome == "rests":
            yield from self._close_agents()
        self.closings.remove(ticket)
        self.cut_at = self.now
        return self._failures() if outcome == "rests" else outcome

    # [/close]

    # [block]
    @a_call
    def run_block(self, _: Scope) -> Program:
        """`async with runtime`, until the model is told to `leave`."""
        is_busy = self.started or self.by_hand or self._is_busy() or self.has_wishes()
        if self.block != "outside" or is_busy:
            return "raised RuntimeError"
        self.block = "inside"
        how = yield Step(lambda: self.leaving)
        self.leaving = None
        self.block = "leaving"
        was_started = self.started
        self._stop()
        if how == "error":
            for envelope in self.envelopes:  # what runs is cancelled, and what would
                envelope.ended = True
            self.started = was_started  # it was not stopped, it is given up
            for wish in self._wishes():  # all agents are closed below
                wish.refused = True
        yield Step(lambda: None if self.stopping else "stopped")
        self._fail_queue()
        yield from self._close_agents()
        self.started = False
        self.block = "outside"
        self.was_left = True
        return "raised Oops block" if how == "error" else self._failures()

    # [/block]

    def _open_agents(self) -> None:
        """Have all agents closed again at the next end, those too that are not used until then."""
        for agent in self.agents.values():
            agent.used = agent.alive

    def _close_agents(self) -> Generator[Step, str, None]:
        used = [agent for agent in self.agents.values() if agent.alive and agent.used]
        yield from self._each(used, self._close)

    def _close(self, agent: Agent) -> Program:
        yield Step(
            lambda: "closes" if agent.used else "was closed",
            lambda outcome: Seen("closes", str(agent.id)) if outcome == "closes" else None,
        )
        agent.used = False
        return ""

    def _each(
        self, agents: list[Agent], program: Callable[[Agent], Program]
    ) -> Generator[Step, str, None]:
        """Do something with each of them, in whatever order."""
        threads = [Thread(program(agent)) for agent in agents]
        self.threads += threads
        yield Step(lambda: None if any(thread.step for thread in threads) else "done")
