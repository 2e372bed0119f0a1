"""`AgentProxy`: an id that can be talked to. `AgentChildren`: an agent that has others under it."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .._sansio._abc import AgentRuntime
    from .._sansio._cancellation import CancellationToken
    from .._sansio._identifiers import AgentId, AgentMetadata

__all__ = ["AgentChildren", "AgentProxy"]


@runtime_checkable
class AgentChildren(Protocol):
    """An agent that has others under it."""

    @property
    def children(self) -> Sequence[AgentId]:
        """The ids of the agents under this one."""
        ...


class AgentProxy:
    """Stands in for an agent where only its id is at hand: all of it goes through the runtime.

    Args:
        agent: The id of the agent meant. Nothing is made until something is asked of it.
        runtime: Where it lives.
    """

    def __init__(self, agent: AgentId, runtime: AgentRuntime) -> None:
        self._agent = agent
        self._runtime = runtime

    def __repr__(self) -> str:
        return f"AgentProxy({self._agent})"

    @property
    def id(self) -> AgentId:
        """The id of the agent meant."""
        return self._agent

    @property
    def metadata(self) -> Awaitable[AgentMetadata]:
        """The agent's type, key and description. To be awaited: the runtime has to be asked."""
        return self._runtime.agent_metadata(self._agent)

    def send_message(
        self,
        message: Any,
        *,
        sender: AgentId,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Send *message* to the agent, in the name of *sender*; await the reply.

        It is `AgentRuntime.send_message`, with its waiting, its cancellation and its errors.
        """
        return self._runtime.send_message(
            message,
            self._agent,
            sender=sender,
            cancellation_token=cancellation_token,
            message_id=message_id,
        )

    def save_state(self) -> Coroutine[Any, Any, Mapping[str, Any]]:
        """Have the agent give its state, as JSON can express it. To be awaited."""
        return self._runtime.agent_save_state(self._agent)

    def load_state(self, state: Mapping[str, Any]) -> Coroutine[Any, Any, None]:
        """Have the agent take over what `save_state` gave. To be awaited."""
        return self._runtime.agent_load_state(self._agent, state)
