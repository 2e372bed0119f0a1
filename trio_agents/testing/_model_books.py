"""The rules of the runtime, as a plain program: what there is at a moment, and what holds of it.

`_model_waits` has what a message waits for, `_model_messages` what becomes of it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, Literal

from .._sansio._identifiers import AgentId
from ._acts import CANCELLED, Kind, Rules
from ._model_parts import Agent, Envelope, Scope, Visit
from ._model_steps import Steps

__all__ = ["Books"]

OUTCOMES: Final = ("handled", "failed", "dropped", "cancelled", "undeliverable")


class Books(Steps):
    """All that there is. `Messages` adds what happens with it.

    Args:
        rules: What the runtime is told when it is made.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules
        self.now = 0.0
        self.calls: dict[str, Scope] = {}
        self.tokens: set[str] = set()  # that were cancelled
        self.untold: list[Envelope] = []  # to which that comes after it has come to others
        # What is registered, and who is there.
        self.kinds: dict[str, Kind] = {}
        self.subscriptions: dict[str, tuple[str, str, str]] = {}  # id: how, pattern, agent type
        self.agents: dict[AgentId, Agent] = {}
        self.kept: dict[AgentId, list[str]] = {}  # states of agents that were let go of
        # A message stands at the door, then in the queue, until its turn comes.
        self.door: deque[Envelope] = deque()
        self.queue: deque[Envelope] = deque()
        self.outside: list[Envelope] = []  # publications whose publishers wait for room
        self.turn: list[Envelope] = []  # those whose turn it is
        self.envelopes: list[Envelope] = []  # accepted, and without an outcome
        self.links = 0
        # What messages do not decide.
        self.block: Literal["outside", "inside", "leaving"] = "outside"
        self.was_left = False
        self.started = False
        self.started_at = 0.0
        self.stopping = False
        self.by_hand = 0  # calls of process_next that wait for a message
        self.taken_up: int = 0  # messages that were taken up for them, and they have not returned
        self.cuts: list[object] = []  # states that are being saved or loaded
        self.closings: list[object] = []  # calls of close that wait for what runs
        self.cut_at = 0.0
        # The books.
        self.counts: Counter[str] = Counter()
        self.dead: list[tuple[str, str, str, str]] = []
        self.failures: list[str] = []

    # --- who is there

    def is_known(self, id: AgentId) -> bool:
        """Whether there is a factory for it."""
        return id.type in self.kinds

    def agent(self, id: AgentId | None) -> Agent:
        """Give what there is of an agent."""
        assert id is not None
        if id not in self.agents:
            self.agents[id] = Agent(id, self.kinds[id.type])
        return self.agents[id]

    # [recipients]
    def recipients(self, publication: Envelope) -> list[AgentId]:
        """Give those that hear a publication, in order of subscriptions."""
        topic = publication.topic
        assert topic is not None
        found: dict[AgentId, None] = {}  # each is in it once
        for how, pattern, agent_type in self.subscriptions.values():
            if topic.type == pattern or (how == "prefix" and topic.type.startswith(pattern)):
                found[AgentId(agent_type, topic.source)] = None
        if publication.sender is not None:
            found.pop(publication.sender, None)
        return list(found)

    # [/recipients]

    def has_home(self) -> bool:
        """Whether there is somebody to own tasks. On asyncio that takes no block."""
        return self.block == "inside" or (self.rules.loop == "asyncio" and self.block == "outside")

    # --- cancelling

    # [cancel]
    def is_off(self, scope: Scope) -> bool:
        """Whether a wait in this scope is to end."""
        return (
            scope.cancelled
            or scope.deadline <= self.now
            or (scope.inside is not None and self._is_off_around(scope, scope.inside))
        )

    def how_off(self, scope: Scope) -> str:
        """What is seen of that, where the wait was."""
        inside = scope.inside
        is_around = inside is not None and self._is_off_around(scope, inside)
        return CANCELLED if scope.cancelled or is_around else "timeout"

    def unless_off(self, scope: Scope, when: Callable[[], str | None]) -> Callable[[], str | None]:
        """Wait for something in a scope."""
        return lambda: self.how_off(scope) if self.is_off(scope) else when()

    def _is_off_around(self, scope: Scope, envelope: Envelope) -> bool:
        if self.rules.loop == "trio":
            return self._called_off(envelope)
        return self._level(envelope) > scope.told

    def _called_off(self, envelope: Envelope) -> bool:
        """Whether somebody wants this message to end: its sender, its token, or a stop."""
        return (
            envelope.pressed
            or envelope.ended
            or (envelope.token in self.tokens and envelope not in self.untold)
            or (envelope.is_request and self.is_off(envelope.scope))
        )

    def _must_end(self, envelope: Envelope) -> bool:
        """Whether the code that has a message is to be cancelled now.

        On trio it is again and again, until it has ended. On asyncio it is once, and once more by a
        stop whose deadline has passed.
        """
        if self.rules.loop == "trio":
            return self._called_off(envelope)
        return self._level(envelope) > envelope.told

    def _level(self, envelope: Envelope) -> int:
        return 2 if envelope.pressed else int(self._called_off(envelope))

    # [/cancel]

    # [reply]
    def reply(self, request: Envelope, scope: Scope) -> str | None:
        """Give what the sender of a request gets, when it gets it."""
        result = request.result
        if result is None:
            return None
        if not self.is_off(scope):
            return "raised MessageCancelled" if result == CANCELLED else result
        # On asyncio a sender that was cancelled has given up, even if there is an answer.
        if result == CANCELLED or (self.rules.loop == "asyncio" and result.startswith("->")):
            return self.how_off(scope)
        return result

    # [/reply]

    # --- what is told of it

    def statistics(self) -> dict[str, Any]:
        """Give what the runtime's statistics say, and what else it says of itself."""
        mailboxes = {
            str(agent.id): len(agent.mailbox) + isinstance(agent.maker, Visit)
            for agent in self.agents.values()
        }
        return {
            "accepted": self.counts["accepted"],
            **{outcome: self.counts[outcome] for outcome in OUTCOMES},
            "pending": len(self.envelopes),
            "running": sum(envelope.at_work for envelope in self.envelopes),
            "waiting": len(self.door),
            "agents": sum(agent.alive for agent in self.agents.values()),
            "mailboxes": {id: count for id, count in mailboxes.items() if count},
            "dead letters": sorted(self.dead),
            "unprocessed": sum(not envelope.at_work for envelope in self.envelopes),
            "started": self.started,
        }
