"""The rules of the runtime, as a plain program: what a message waits for.

Nothing is changed here. `_model_messages` has what becomes of messages.
"""

from __future__ import annotations

from collections.abc import Iterator

from ._model_books import Books
from ._model_parts import Agent, Envelope, Scope, Wish

__all__ = ["Waits"]


class Waits(Books):
    """Who may go on, and who waits for whom. `Messages` adds what happens then."""

    # --- waiting for its turn

    # [turn]
    def _turn_has_come(self, envelope: Envelope) -> str | None:
        if not all(map(self._is_past, self.turn)) or any(map(self._may_go_on, self.envelopes)):
            return None
        first = next(filter(self._takes_up, self.queue), None)
        return "turn" if first is envelope else None

    def _may_go_on(self, envelope: Envelope) -> bool:
        """Whether it had to wait for its agent, and need not any more: it goes before the queue."""
        waits = envelope.held and not envelope.at_work and envelope.result is None
        return waits and self._has_place(envelope, self.agent(envelope.to))

    def _is_past(self, envelope: Envelope) -> bool:
        """Whether those behind may come: it has begun, or has to wait, or never will begin."""
        return envelope.begun or envelope.held or envelope.result is not None

    def _takes_up(self, envelope: Envelope) -> bool:
        if self.stopping or not self.has_home():
            return False
        if self.is_held():  # what has begun goes on, with all that it waits for
            return envelope.is_request and envelope.scope.inside is not None
        return self.started or self.by_hand > self.taken_up

    def is_held(self) -> bool:
        """Whether messages are held up: a state is saved or loaded, or agents are closed."""
        return bool(self.cuts or self.closings)

    # [/turn]

    # --- waiting for its agent

    # [begin]
    def _next_move(self, envelope: Envelope, agent: Agent) -> str | None:
        """What a message can do that has got as far as its agent."""
        if not self._goes(envelope):
            return None
        if self._has_place(envelope, agent):
            return "begins" if agent.alive else "makes"
        return "waits" if envelope.at_work else None

    def _goes(self, envelope: Envelope) -> bool:
        """Whether all that were to come before it, in the same turn, have had theirs."""
        stream = envelope.stream
        return all(map(self._is_past, stream[: stream.index(envelope)]))

    def _has_place(self, envelope: Envelope, agent: Agent) -> bool:
        if agent.maker is not None or agent.closing:
            return False
        if agent.line[0] is not envelope and not self._comes_back(envelope, agent):
            return False
        limit = agent.kind.max_concurrency
        return limit is None or len(agent.running) < limit or self._is_inside(envelope, agent)

    def _is_inside(self, envelope: Envelope, agent: Agent) -> bool:
        """Whether a handler of this agent waits for it. It runs in that one's place."""
        return any(asker in agent.running for asker in self.askers(envelope))

    def _comes_back(self, envelope: Envelope, agent: Agent) -> bool:
        """Whether somebody in this agent, or in line for it, waits for this very message."""
        askers = self.askers(envelope)
        return any(asker in agent.running or asker in agent.line for asker in askers)

    def askers(self, envelope: Envelope) -> Iterator[Envelope]:
        """Give those that wait for a message: the one whose handler asked, and so on."""
        while envelope.is_request and envelope.scope.inside is not None:
            envelope = envelope.scope.inside
            yield envelope

    # [/begin]

    # --- waiting for room in mailboxes

    # [room]
    def _is_bounded(self) -> bool:
        return any(kind.mailbox_size is not None for kind in self.kinds.values())

    def _is_flowing(self) -> bool:
        return self.started and self.block != "leaving" and not self.is_held()

    def _meets_full_mailbox(self, envelope: Envelope) -> bool:
        """Whether a message is for a full mailbox whose policy is to refuse it."""
        ids = [envelope.to] if envelope.to is not None else self.recipients(envelope)
        agents = [self.agents[id] for id in ids if id in self.agents]
        return any(
            agent.kind.overflow == "raise"
            and self._is_full_mailbox(agent)
            and not self._comes_back(envelope, agent)
            for agent in agents
        )

    def _is_full_mailbox(self, agent: Agent) -> bool:
        size = agent.kind.mailbox_size
        return size is not None and len(agent.mailbox) >= size

    def _is_outside(self, delivery: Envelope) -> bool:
        """Whether it has no place in the mailbox: the first ones have."""
        agent = self.agent(delivery.to)
        size = agent.kind.mailbox_size
        return size is not None and delivery in agent.mailbox[size:]

    # [/room]

    # --- waiting for each other

    # [circle]
    def _stuck(self, without: Envelope | None = None) -> set[Envelope]:
        """Give the messages that can only go on if another one of them does."""
        # A publication stands for its publisher's wait for room here, its deliveries for their own.
        waits = (*self.envelopes, *self.outside)
        stuck = {envelope for envelope in waits if not self._called_off(envelope)} - {without}
        while True:
            free = {envelope for envelope in stuck if not self._is_held_up(envelope, stuck)}
            if not free:
                return stuck
            stuck -= free

    def _is_held_up(self, envelope: Envelope, stuck: set[Envelope]) -> bool:
        if envelope.begun:
            return envelope.asks in stuck or envelope.tells in stuck
        if envelope in self.outside:
            return any(self._finds_no_room(delivery, stuck) for delivery in envelope.deliveries)
        agent = None if envelope.to is None else self.agents.get(envelope.to)
        if agent is None or envelope not in agent.line or envelope.at_work:
            return False
        return self._waits_behind(envelope, agent, stuck)

    def _finds_no_room(self, delivery: Envelope, stuck: set[Envelope]) -> bool:
        """Whether as many of those before it are held up as there are places."""
        if not self._is_outside(delivery):
            return False
        agent = self.agent(delivery.to)
        before = agent.mailbox[: agent.mailbox.index(delivery)]
        held_up = sum(self._waits_behind(one, agent, stuck) for one in before)
        return agent.kind.mailbox_size is not None and held_up >= agent.kind.mailbox_size

    def _waits_behind(self, envelope: Envelope, agent: Agent, stuck: set[Envelope]) -> bool:
        """Whether a message that has come, or is to come, to its agent is held up there."""
        if agent.maker is envelope:
            return False
        is_there = envelope in agent.line
        ahead = agent.line[: agent.line.index(envelope)] if is_there else agent.line
        if not self._comes_back(envelope, agent) and any(
            # Whoever wants the agent closed waits for all that run in it.
            one in stuck or (isinstance(one, Wish) and not stuck.isdisjoint(agent.running))
            for one in ahead
        ):
            return True
        limit = agent.kind.max_concurrency
        is_full = limit is not None and len(stuck & set(agent.running)) >= limit
        return is_full and not self._is_inside(envelope, agent)

    def _reply_or_circle(self, request: Envelope, scope: Scope) -> str | None:
        is_rival = any(
            request in publication.rivals and publication in self._stuck()
            for publication in self.outside
        )
        if is_rival and request.result is None:
            return "raised DeadlockError"
        return self.reply(request, scope)

    # [/circle]
