"""What an application may say of the agents of one type when it registers them."""

from __future__ import annotations

from typing import Literal, TypedDict

__all__ = ["AgentOptions", "Overflow"]

Overflow = Literal["wait", "raise"]


class AgentOptions(TypedDict, total=False):
    """The limits that the agents of one type live under. All are optional; None means no limit.

    They are keyword arguments of every way to register a type with a factory: `BaseAgent.register`,
    `ClosureAgent.register_closure` and the runtime's `register_factory`. AutoGen Core has none
    of them; a runtime that does not know them is only given those that are used.

    Attributes:
        max_concurrency: How many handlers of one agent may run at a time. More messages wait, in
            order; but one from the call chain that a handler waits for never waits for that
            handler.
        mailbox_size: How many messages may wait for one agent.
        overflow: What publishers meet at a full mailbox: ``"wait"`` for room, or ``"raise"``
            `Overloaded`, which the senders of requests then meet too (they wait for their reply
            anyway). Left out, it is the runtime's.
        idle_timeout: After how many seconds without anything to do an agent is closed. Its state is
            saved and given to the next agent of the same id.
    """

    max_concurrency: int | None
    mailbox_size: int | None
    overflow: Overflow
    idle_timeout: float | None
