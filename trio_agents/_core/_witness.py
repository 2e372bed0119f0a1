"""Somebody who is told what happens to messages and agents: the test kit's monitor, say.

As with logs and traces, whether anybody is there is asked when a message is submitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .._sansio._abc import Agent
    from .._sansio._identifiers import AgentId
    from ._envelope import Delivery, Envelope, Outcome, Publication

__all__ = ["Witness"]


class Witness(Protocol):
    """Is told, in the step of the event loop in which it happens. It must not raise, nor wait."""

    def submitted(self, envelope: Envelope) -> None:
        """A message was submitted. It may still have to wait for room, or be refused."""
        ...

    def entered(self, envelope: Envelope) -> None:
        """It has come in, after it had or could have had to wait for that."""
        ...

    def refused(self, envelope: Envelope) -> None:
        """It was not taken in, or its publisher has not waited for room until the end."""
        ...

    def routed(self, publication: Publication, deliveries: Sequence[Delivery]) -> None:
        """A publication was replaced by its deliveries."""
        ...

    def begun(self, envelope: Envelope) -> None:
        """A handler is about to be called."""
        ...

    def settled(self, envelope: Envelope, outcome: Outcome) -> None:
        """A message has its outcome."""
        ...

    def idle(self) -> None:
        """Somebody who has waited until nothing is unfinished goes on."""
        ...

    def made(self, id: AgentId, agent: Agent) -> None:
        """A factory has made an agent."""
        ...

    def closed(self, id: AgentId) -> None:
        """An agent was let go of."""
        ...
