"""The interfaces: what a runtime promises to agents, and what it asks of them.

They are protocols: an agent or a runtime need not derive from anything of ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack, overload, runtime_checkable

if TYPE_CHECKING:
    from ._cancellation import CancellationToken
    from ._contexts import MessageContext
    from ._identifiers import AgentId, AgentMetadata, AgentType, TopicId
    from ._options import AgentOptions
    from ._serializers import MessageSerializer

__all__ = ["Agent", "AgentRuntime", "Subscription"]

AgentT = TypeVar("AgentT", bound="Agent")


@runtime_checkable
class Agent(Protocol):
    """What a runtime asks of an agent. `BaseAgent` supplies all of it but the message handling."""

    @property
    def metadata(self) -> AgentMetadata:
        """The agent's type, key and description."""
        ...

    @property
    def id(self) -> AgentId:
        """The agent's address."""
        ...

    async def bind_id_and_runtime(self, id: AgentId, runtime: AgentRuntime) -> None:
        """Give an agent that was built outside a factory its address and its runtime.

        Raises:
            RuntimeError: it already has others.
        """
        ...

    def on_message(self, message: Any, ctx: MessageContext) -> Coroutine[Any, Any, Any]:
        """Handle one message: an ``async def``, or something else that gives a coroutine.

        Called by the runtime only.

        Returns:
            The reply, for a direct message. What it returns for a publication is thrown away.

        Raises:
            CantHandleException: the agent cannot handle this message.
        """
        ...

    async def save_state(self) -> Mapping[str, Any]:
        """Give the agent's state, as JSON can express it."""
        ...

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` gave."""
        ...

    async def close(self) -> None:
        """Release what the agent holds. Called when its runtime is closed or lets go of it."""
        ...


@runtime_checkable
class Subscription(Protocol):
    """A rule from topics to agents. It must be a pure function: its answers are remembered."""

    @property
    def id(self) -> str:
        """A name for this subscription that no other has, usually a UUID."""
        ...

    def __eq__(self, other: object, /) -> bool: ...

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether this subscription is about *topic_id*."""
        ...

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        """Give the agent that hears publications to *topic_id*.

        Raises:
            CantHandleException: `is_match` is not true for this topic.
        """
        ...


@runtime_checkable
class AgentRuntime(Protocol):
    """What every runtime offers to the application and to its agents."""

    async def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Any:
        """Deliver *message* to one agent and return what its handler returns.

        A send is a call: cancelled while it waits, it cancels the handler and resumes only when
        that has unwound.

        Args:
            message: Any object; it is handed over as it is.
            recipient: The agent, made on demand by its type's factory.
            sender: The sending agent; None outside of agents.
            cancellation_token: Cancels the message wherever it is on its way.
            message_id: A unique id for logs and traces; made up when needed if None.

        Raises:
            UndeliverableException: the agent type is unknown (then it is also a `LookupError`), or
                the runtime stopped before the message was handled.
            CantHandleException: the agent cannot handle the message.
            MessageDroppedException: an intervention handler dropped the message or the reply.
            MessageCancelled: *cancellation_token* was cancelled.
            BaseException: whatever the handler raised, the very object.
        """
        ...

    async def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> None:
        """Hand *message* to every agent whose subscriptions match *topic_id*, except *sender*.

        Returns when the message is queued, before any handler begins. There is no reply, and no
        error if nobody subscribes.

        Raises:
            UndeliverableException: the runtime cannot take the message.
        """
        ...

    async def register_factory(
        self,
        type: str | AgentType,
        agent_factory: Callable[[], Any],
        *,
        expected_class: type[Any] | None = None,
        **options: Unpack[AgentOptions],
    ) -> AgentType:
        """Say how agents of *type* are made. Adds no subscriptions: prefer the class's `register`.

        Args:
            type: A name that has not been registered yet.
            agent_factory: Called without arguments for each new key; may be async.
            expected_class: What the factory's agents must be instances of; None for anything.
            options: The limits that these agents live under. A runtime need not know any.

        Raises:
            ValueError: the type is registered already.
        """
        ...

    async def register_agent_instance(self, agent_instance: Agent, agent_id: AgentId) -> AgentId:
        """Put a ready agent at *agent_id*. Adds no subscriptions: prefer `register_instance`.

        Raises:
            ValueError: the id is taken, the type has a factory, or the type's other instances are
                of another class.
        """
        ...

    @overload
    async def try_get_underlying_agent_instance(self, id: AgentId) -> Agent: ...

    @overload
    async def try_get_underlying_agent_instance(
        self, id: AgentId, type: type[AgentT]
    ) -> AgentT: ...

    async def try_get_underlying_agent_instance(self, id: AgentId, type: type[Any] = ...) -> Any:
        """Give the agent itself, for debugging: it is meant to be reached by messages only.

        Raises:
            LookupError: the agent type is unknown.
            NotAccessibleError: the agent lives elsewhere.
            TypeError: the agent is not of the class *type*.
        """
        ...

    @overload
    async def get(self, id: AgentId, /, *, lazy: bool = ...) -> AgentId: ...

    @overload
    async def get(
        self, type: AgentType | str, /, key: str = ..., *, lazy: bool = ...
    ) -> AgentId: ...

    async def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        """Give an agent's id; with ``lazy=False`` also make the agent now.

        Raises:
            LookupError: not lazy, and the agent type is unknown.
        """
        ...

    async def save_state(self) -> Mapping[str, Any]:
        """Give the state of the runtime and its agents, as JSON can express it."""
        ...

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` gave."""
        ...

    async def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        """Give one agent's type, key and description."""
        ...

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        """Give one agent's state."""
        ...

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        """Restore one agent's state."""
        ...

    async def add_subscription(self, subscription: Subscription) -> None:
        """Obey *subscription* from now on.

        Raises:
            ValueError: there is one like it, or of the same id, already.
        """
        ...

    async def remove_subscription(self, id: str) -> None:
        """Forget the subscription of this id.

        Raises:
            LookupError: there is none.
        """
        ...

    def add_message_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        """Know one or several more serializers; the last one for a type and content type counts."""
        ...


# How classes and closures supply subscriptions at registration.
UnboundSubscription = Callable[[], "list[Subscription] | Awaitable[list[Subscription]]"]
