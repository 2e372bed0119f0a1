"""The rules of the runtime, as a plain program: what becomes of a message.

It was written from the documentation, by somebody who had not read the runtime. `_model_steps` says
how time passes in it, `_model_parts` what there is, `_model_books` what holds at a moment,
`_model_waits` what a message waits for, and `_model` has the calls of the application. Left out is
what no application can see: workers, channels, cancel scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from .._sansio._identifiers import AgentId, TopicId
from ._acts import (
    CANCELLED,
    Ask,
    Fail,
    Message,
    Seen,
    Sleep,
    Tell,
    Wait,
    Way,
    part_of_a_second,
)
from ._model_parts import Agent, Envelope, Scope, Visit, Wish
from ._model_steps import Program, Step, Thread, shows
from ._model_waits import Waits

__all__ = ["UNDELIVERABLE", "Messages"]

UNDELIVERABLE: Final = "raised UndeliverableException"


class Messages(Waits):
    """What becomes of messages. `Model` adds the calls that an application makes."""

    def take_silent_steps(self) -> bool:
        """What becomes true by itself."""
        return self._send_away() | self._let_in() | self._end_stop()

    # --- submitting

    # [submit]
    def submit(
        self,
        message: Message,
        to: AgentId | TopicId,
        scope: Scope,
        *,
        sender: AgentId | None = None,
        token: str | None = None,
    ) -> Envelope:
        """Submit a request to an agent, or a publication to a topic."""
        is_request = isinstance(to, AgentId)
        envelope = Envelope(
            message,
            scope,
            is_request,
            to=to if isinstance(to, AgentId) else None,
            topic=to if isinstance(to, TopicId) else None,
            sender=sender,
            token=token,
        )
        is_refused = self._is_refused(envelope)
        if not is_refused and self._meets_full_mailbox(envelope):
            envelope.submitted = envelope.result = "raised Overloaded"
        # What handlers submit comes in at once: their own messages hold a place already.
        elif scope.inside is None and self._is_full() and not is_refused:
            if self.rules.overflow == "raise":
                envelope.submitted = envelope.result = "raised Overloaded"
            else:
                self._link(envelope)
                self.door.append(envelope)
        else:
            self._take_in(envelope)
            if envelope.result == CANCELLED:  # whoever has waited at the door is not told
                envelope.submitted = CANCELLED
        return envelope

    def _is_refused(self, envelope: Envelope) -> bool:
        is_unknown = envelope.to is not None and not self.is_known(envelope.to)
        is_late = envelope.is_request and self._refuses_requests()
        return is_unknown or is_late or envelope.token in self.tokens

    def _take_in(self, envelope: Envelope) -> None:
        envelope.submitted = "-> None"
        self._link(envelope)
        self.counts["accepted"] += 1
        self.envelopes.append(envelope)
        if envelope.to is not None and not self.is_known(envelope.to):
            self._settle(envelope, "undeliverable", "raised UnknownAgentType")
        elif envelope.token in self.tokens:
            self._settle(envelope, "cancelled", CANCELLED)
        elif envelope.is_request and self._refuses_requests():
            self._settle(envelope, "undeliverable", UNDELIVERABLE)
        else:
            self.queue.append(envelope)
            if envelope.to is not None:
                self.agent(envelope.to).mailbox.append(envelope)
            elif self._is_bounded():
                self._address(envelope)
            self.threads.append(Thread(self._carry(envelope)))

    def _refuses_requests(self) -> bool:
        has_left = self.block == "outside" and self.was_left
        return self.stopping or self.block == "leaving" or has_left

    def _is_full(self) -> bool:
        bound = self.rules.max_pending
        return bound is not None and (bool(self.door) or len(self.envelopes) >= bound)

    # [/submit]

    def _link(self, envelope: Envelope) -> None:
        self.links += 1
        envelope.linked = self.links

    # [door]
    def _let_in(self) -> bool:
        """Let submitters in for whom there is room now, first come, first served."""
        before = len(self.door)
        bound = self.rules.max_pending
        while self.door and bound is not None and len(self.envelopes) < bound:
            envelope = self.door.popleft()
            if not self._is_refused(envelope) and self._meets_full_mailbox(envelope):
                envelope.submitted = envelope.result = "raised Overloaded"
            else:
                self._take_in(envelope)
        return len(self.door) < before

    def _send_away(self) -> bool:
        """Forget submitters that have given up. They have submitted nothing."""
        before = len(self.door)
        for envelope in list(self.door):
            if self.is_off(envelope.scope):
                self.door.remove(envelope)
                envelope.submitted = envelope.result = CANCELLED
        return len(self.door) < before

    def cancel_token(self, token: str) -> None:
        """Cancel a token."""
        self.tokens.add(token)
        # One after the other, as they were linked: who is at the door may get in meanwhile.
        linked = [e for e in (*self.envelopes, *self.door) if e.token == token]
        self.untold = sorted(linked, key=lambda envelope: envelope.linked)
        while self.untold:
            envelope = self.untold.pop(0)
            if envelope in self.door:
                self.door.remove(envelope)
                envelope.submitted = envelope.result = CANCELLED
            else:
                self._take_back(envelope)
        self.settle_down()

    def _take_back(self, envelope: Envelope) -> None:
        """Cancel a message that waits for its turn, or the request that its handler waits for."""
        while envelope.at_work and envelope.asks is not None:
            envelope = envelope.asks
        if envelope.result is None and not envelope.at_work:
            self._settle(envelope, "cancelled", CANCELLED)

    # [/door]

    # [room]
    def find_room(
        self,
        publication: Envelope,
        scope: Scope,
        show: Callable[[str], Seen | None] = lambda _: None,
    ) -> Generator[Step, str, str]:
        """Wait until a publication has a place with everybody who hears it."""
        publisher = scope.inside
        # Those who stop messages, or hold them up, wait for handlers. So these do not wait then.
        may_wait = publisher is None or self._is_flowing()
        if not may_wait or not any(map(self._is_outside, publication.deliveries)):
            return (yield Step(lambda: "-> None", show))
        self.outside.append(publication)
        if publisher is not None:
            publisher.tells = publication
            self._refuse_if_stuck(publication)
        # On trio nobody begins to wait who is cancelled already: the turn does not come first.
        gives_up = self.rules.loop == "trio" and self.is_off(scope)
        if gives_up and publication in self.queue and not publication.refused:
            self._settle(publication, "cancelled", CANCELLED)

        def when() -> str | None:
            if publication in self.outside:
                if self.is_off(scope):
                    return self.how_off(scope)
                is_stuck = publication.rivals and publication in self._stuck()
                return "raised DeadlockError" if is_stuck else None
            # On asyncio a publisher that was cancelled has given up, even if there is room.
            if self.rules.loop == "asyncio" and not publication.refused and self.is_off(scope):
                return self.how_off(scope)
            return "raised DeadlockError" if publication.refused else "-> None"

        outcome = yield Step(when, show)
        if publisher is not None:
            publisher.tells = None
        if publication in self.outside:
            self.outside.remove(publication)
        if outcome != "-> None" and publication in self.queue:
            self._settle(publication, "cancelled", CANCELLED)
        return outcome

    def _let_inside(self) -> None:
        """Let publishers go on whose publications have a place with everybody."""
        for publication in list(self.outside):
            is_outside = any(map(self._is_outside, publication.deliveries))
            if not is_outside and not self.is_off(publication.scope):
                self.outside.remove(publication)

    def _refuse_if_stuck(self, publication: Envelope) -> None:
        stuck = self._stuck()
        if publication not in stuck:
            return
        # A race: a request may have come to its agent before, or come now and close the circle.
        publication.rivals = [
            one
            for one in stuck
            if one.is_request
            and not one.begun
            and one.held_since == self.rests
            and publication not in self._stuck(without=one)
        ]
        if not publication.rivals:
            publication.refused = True
            self.outside.remove(publication)

    def refuse_publishers(self, agent: Agent) -> None:
        """Refuse handlers that wait for room with an agent, if they would for ever."""
        for publication in list(self.outside):
            waits = any(one in agent.mailbox for one in publication.deliveries)
            if waits and publication.scope.inside is not None:
                self._refuse_if_stuck(publication)

    # [/room]

    # --- the way of a message

    def _carry(self, envelope: Envelope) -> Program:
        """Carry a message from the queue to its outcome."""
        outcome = yield Step(self._unless_over(envelope, lambda: self._turn_has_come(envelope)))
        if outcome != "turn":
            return self._give_up(envelope, outcome)
        self.queue.remove(envelope)
        self.turn = envelope.stream = [envelope]
        envelope.at_work = True
        if not self.started and not self.is_held():
            self.taken_up += 1
        if envelope.topic is not None:
            return (yield from self._fan_out(envelope))
        assert envelope.to is not None
        self.agent(envelope.to).line.append(envelope)
        if (yield from self._look(envelope, envelope.message.body.on_way, "?")):
            yield from self._deliver(envelope)
        return ""

    def _unless_over(
        self, envelope: Envelope, when: Callable[[], str | None]
    ) -> Callable[[], str | None]:
        """What may keep a message from being handled, wherever it waits."""

        def look() -> str | None:
            if envelope.result is not None:
                return "over"
            return CANCELLED if self._called_off(envelope) else when()

        return look

    def _give_up(self, envelope: Envelope, outcome: str) -> str:
        if outcome == CANCELLED:
            self._settle(envelope, "cancelled", CANCELLED)
        return ""

    # [fan-out]
    def _fan_out(self, publication: Envelope) -> Program:
        deliveries = self._stand_in_line(publication)
        goes_on = yield from self._look(publication, publication.message.body.on_way, "?")
        if all(delivery.lost for delivery in deliveries):  # perhaps somebody came meanwhile
            deliveries = self._stand_in_line(publication)
        if goes_on and not deliveries:
            self._settle(publication, "undeliverable", "")
        if not goes_on or not deliveries:
            for delivery in deliveries:
                self._leave(delivery)
            return ""
        # From here on there are these instead of it.
        self.envelopes.remove(publication)
        self.counts["accepted"] -= 1
        publication.result = ""
        if not publication.held:
            self.turn = deliveries
        for delivery in deliveries:
            delivery.message = publication.message
            delivery.stream = deliveries
            delivery.outlives = publication.outlives
            self._link(delivery)
            self.counts["accepted"] += 1
            self.envelopes.append(delivery)
            self.threads.append(Thread(self._deliver(delivery)))
        return ""

    def _stand_in_line(self, publication: Envelope) -> list[Envelope]:
        """Have its deliveries keep their places while the publication is looked at."""
        deliveries = self._address(publication)
        for delivery in deliveries:
            delivery.at_work = True
            if not delivery.lost and delivery not in self.agent(delivery.to).line:
                self.agent(delivery.to).line.append(delivery)
        return deliveries

    def _address(self, publication: Envelope) -> list[Envelope]:
        """Make an envelope for each agent that hears a publication, if there is none yet."""
        known = {delivery.to: delivery for delivery in publication.deliveries}
        deliveries: list[Envelope] = []
        for to in self.recipients(publication):
            delivery = known.pop(to, None)
            if delivery is None:
                delivery = Envelope(
                    publication.message,
                    Scope(),
                    False,
                    to,
                    publication.topic,
                    publication.sender,
                    publication.token,
                )
                delivery.lost = not self.is_known(to)
                if not delivery.lost:
                    self.agent(to).mailbox.append(delivery)
            deliveries.append(delivery)
        publication.deliveries = [delivery for delivery in deliveries if not delivery.lost]
        for delivery in known.values():  # these do not hear it any more
            self._leave(delivery)
        return deliveries

    # [/fan-out]

    # [look]
    def _look(
        self, envelope: Envelope, ways: tuple[Way, ...], mark: str
    ) -> Generator[Step, str, bool]:
        """Show a message, or a reply, to the intervention handlers. Gives whether it goes on."""
        for number in range(self.rules.interventions):
            name = f"{envelope.message.name}{mark}{number}"
            way = ways[number] if number < len(ways) else "pass"
            yield shows(Seen("looks", name))
            if way in ("wait", "wait and drop"):
                envelope.held = True
                outcome = yield self._waits_at(name, envelope, Seen("looked", name))
                if outcome == CANCELLED:
                    self._settle(envelope, "cancelled", CANCELLED)
                    return False
            if way in ("drop", "wait and drop"):
                self._settle(envelope, "dropped", "raised MessageDroppedException")
                return False
            if way == "fail":
                self._settle(envelope, "failed", f"raised Oops {name}")
                return False
            if way == "change":
                envelope.message = Message(f"{envelope.message.name}'", envelope.message.body)
        return True

    # [/look]

    def _waits_at(self, gate: str, envelope: Envelope, seen: Seen, shield: bool = False) -> Step:
        """Wait at a gate, or until the message must end."""

        def when() -> str | None:
            if self._must_end(envelope) and not shield:
                return CANCELLED
            return "opened" if gate in self.opened else None

        return Step(when, lambda outcome: seen._replace(outcome=outcome), gate)

    def _deliver(self, envelope: Envelope) -> Program:
        """Bring a message to its agent, which is made if need be, and have it handled."""
        if envelope.lost:
            yield Step(lambda: "" if self._goes(envelope) else None)
            self._settle(envelope, "undeliverable", "")
            return ""
        agent = self.agent(envelope.to)
        while True:
            outcome = yield Step(
                self._unless_over(envelope, lambda: self._next_move(envelope, agent)),
                lambda outcome: self._show_move(outcome, envelope, agent),
            )
            if outcome == "waits":
                envelope.held, envelope.at_work = True, False
                envelope.held_since = self.rests
                if envelope.is_request and envelope in self._stuck():
                    self._settle(envelope, "failed", "raised DeadlockError")
            elif outcome == "makes":
                yield from self.make(envelope, agent)
            elif outcome == "begins":
                yield from self._handle(envelope, agent)
                return ""
            else:
                return self._give_up(envelope, outcome)

    def _show_move(self, outcome: str, envelope: Envelope, agent: Agent) -> Seen | None:
        if outcome == "begins":
            return Seen("begins", str(envelope))
        return Seen("makes", f"{agent.id}#{agent.tries + 1}") if outcome == "makes" else None

    # [make]
    def make(self, maker: Envelope | Visit, agent: Agent) -> Generator[Step, str, bool]:
        """Call the factory of an agent. Gives whether there is one now."""
        agent.tries += 1
        agent.maker = maker
        name = f"{agent.id}#{agent.tries}"
        fails = agent.kind.fails == "always" or (agent.kind.fails == "first" and agent.tries == 1)
        made = f"raised Oops {name}" if fails else "-> made"
        is_slow = agent.kind.slow
        is_visit = isinstance(maker, Visit)
        if isinstance(maker, Envelope):
            maker.at_work = True
            maker.held = maker.held or is_slow

        def when() -> str | None:
            if is_slow and self._is_cancelled(maker):
                return CANCELLED
            return made if not is_slow or name in self.opened else None

        gate = name if is_slow else None
        outcome = yield Step(when, lambda outcome: Seen("made", name, outcome), gate)
        agent.maker = None
        if outcome == CANCELLED:
            if isinstance(maker, Envelope):
                self._settle(maker, "cancelled", CANCELLED)
            return False
        if fails:
            # All messages that wait for it fail with it. The next one will try again.
            for one in list(agent.line):
                if isinstance(one, Envelope) and (one is maker or not one.at_work):
                    self._settle(one, "failed", outcome)
            if isinstance(maker, Visit):
                maker.result = outcome
            return False
        agent.alive = agent.used = True
        agent.quiet_since = agent.free_since = self.now
        agent.notes = []
        if agent.id in self.kept and not (isinstance(maker, Visit) and maker.is_loaded):
            yield shows(Seen("loads", str(agent.id), maker.scope.name if is_visit else ""))
            agent.notes = self.kept.pop(agent.id)
        self.threads.append(Thread(self._watch(agent, agent.tries)))
        return True

    # [/make]

    def _is_cancelled(self, maker: Envelope | Visit) -> bool:
        return self.is_off(maker.scope) if isinstance(maker, Visit) else self._must_end(maker)

    def _handle(self, envelope: Envelope, agent: Agent) -> Generator[Step, str, None]:
        """Run the handler of a message."""
        envelope.begun = envelope.at_work = agent.used = True
        agent.running.append(envelope)
        self._leave(envelope)
        agent.notes.append(envelope.message.name)
        result = yield from self._act(envelope)
        yield shows(Seen("ends", str(envelope), result))
        if result == CANCELLED:
            self._settle(envelope, "cancelled", CANCELLED)
        elif result.startswith("raised"):
            self._settle(envelope, "failed", result)
        elif not envelope.is_request:
            self._settle(envelope, "handled", result)
        elif (yield from self._look(envelope, envelope.message.body.on_reply, "$")):
            self._settle(envelope, "handled", f"-> {envelope.message.name}")
        # It keeps its place until it has its outcome, while its reply is looked at too.
        agent.running.remove(envelope)
        agent.quiet_since = self.now
        self.grant(agent)

    # [act]
    def _act(self, envelope: Envelope) -> Generator[Step, str, str]:
        """What a handler does, one thing after the other. Gives what it returns or raises."""
        body = envelope.message.body
        for number, act in enumerate(body.acts):
            name = f"{envelope}.{number}"
            if isinstance(act, Fail):
                return f"raised {act.what} {name}"
            outcome = yield from self._do(envelope, act, name)
            if isinstance(act, Ask) or outcome == CANCELLED:
                envelope.told = self._level(envelope)
            if outcome == CANCELLED:
                return (yield from self._unwind(envelope))
            if outcome.startswith("raised") and not body.careful:
                return outcome
        return f"-> {envelope.message.name}"

    def _do(
        self, envelope: Envelope, act: Wait | Sleep | Ask | Tell, name: str
    ) -> Generator[Step, str, str]:
        """Do one of these things, which can be seen when it is done."""
        scope = Scope(inside=envelope, told=envelope.told)
        done = Seen("did", name)

        def show(outcome: str) -> Seen:
            return done._replace(outcome=outcome)

        match act:
            case Wait():
                return (yield self._waits_at(name, envelope, done))
            case Sleep(seconds):
                scope.deadline = self.now + (seconds + part_of_a_second(name))
                return (yield Step(self.unless_off(scope, lambda: None), show))
            case Ask(body, to, patience):
                if patience is not None:
                    scope.deadline = self.now + (patience + part_of_a_second(name))
                request = self.submit(Message(name, body), to, scope, sender=envelope.to)
                envelope.asks = request
                outcome = yield Step(lambda: self._reply_or_circle(request, scope), show)
                envelope.asks = None
                if request.result is None and outcome == "raised DeadlockError":
                    self._settle(request, "failed", outcome)
                return outcome
            case Tell(body, topic):
                publication = self.submit(Message(name, body), topic, scope, sender=envelope.to)
                if publication.submitted != "-> None":
                    return (yield Step(lambda: publication.submitted, show))
                return (yield from self.find_room(publication, scope, show))

    def _unwind(self, envelope: Envelope) -> Generator[Step, str, str]:
        """What a handler does that was cancelled."""
        match envelope.message.body.unwinding:
            case "answers":
                return f"-> {envelope.message.name}"
            case "fails":
                return f"raised Oops {envelope}~"
            case "slowly":
                # On asyncio there are no shields: who cancels once more interrupts the cleanup.
                shield = self.rules.loop == "trio"
                seen = Seen("unwound", str(envelope))
                yield self._waits_at(f"{envelope}~", envelope, seen, shield)
            case "at once":
                pass
        return CANCELLED

    # [/act]

    # [settle]
    def _settle(self, envelope: Envelope, outcome: str, result: str) -> None:
        """Give a message its outcome, once."""
        assert envelope.result is None
        envelope.result = result
        self.envelopes.remove(envelope)
        self.counts[outcome] += 1
        if envelope in self.queue:
            self.queue.remove(envelope)
        for one in (envelope, *envelope.deliveries):
            self._leave(one)
        if outcome == "undeliverable":
            where = (str(envelope.to), str(envelope.topic), str(envelope.sender))
            self.dead.append((envelope.message.name, *where))
        if outcome == "failed" and not envelope.is_request:
            # Nobody waits for a publication. Its failures are ignored, or kept for the next stop.
            failure = result.removeprefix("raised ")
            if not self.rules.ignore or failure.startswith("Bang"):
                self.failures.append(failure)
        self._let_in()

    # [/settle]

    # --- agents

    def _leave(self, envelope: Envelope) -> None:
        """Let a message leave its mailbox: it has begun, or never will."""
        agent = None if envelope.to is None else self.agents.get(envelope.to)
        if agent is not None and envelope in agent.mailbox:
            agent.mailbox.remove(envelope)
            agent.free_since = self.now
            self._let_inside()
            if envelope in agent.line:
                agent.line.remove(envelope)
                self.grant(agent)

    def grant(self, agent: Agent) -> None:
        """Give a wish that has come first in line its turn, when there is a place."""
        if agent.line and isinstance(agent.line[0], Wish):
            limit = agent.kind.max_concurrency
            if limit is None or len(agent.running) < limit:
                agent.line[0].granted = True

    # [quiet]
    def _watch(self, agent: Agent, number: int) -> Program:
        """Let go of an agent that has been quiet for long enough, and keep its state."""
        seconds = agent.kind.idle_timeout
        if seconds is None:
            return ""
        # It may take as long again after a start, after a state was saved, and after a message that
        # did not get through.
        outcome = yield Step(
            lambda: self._is_quiet(agent, number, seconds),
            lambda outcome: Seen("saves", str(agent.id)) if outcome == "quiet" else None,
            must=lambda: seconds + max(self.started_at, self.cut_at, agent.free_since) <= self.now,
        )
        if outcome == "quiet":
            agent.closing = True
            if agent.used:  # it may have been closed already
                yield shows(Seen("closes", str(agent.id)))
            self.kept[agent.id] = agent.notes
            agent.closing = agent.alive = False
        return ""

    def _is_quiet(self, agent: Agent, number: int, seconds: float) -> str | None:
        if not agent.alive or agent.tries != number:
            return "gone"
        if agent.line or agent.running or agent.closing or self.is_held():
            return None
        if not self.started or self.block == "leaving":
            return None
        return "quiet" if agent.quiet_since + seconds <= self.now else None

    # [/quiet]

    # --- what a stop decides

    def is_anybody_at_work(self) -> bool:
        """Whether a stop has somebody to wait for."""
        return any(envelope.at_work or envelope.outlives for envelope in self.envelopes)

    def _end_stop(self) -> bool:
        if not self.stopping or self.is_anybody_at_work():
            return False
        self.stopping = False
        return True
