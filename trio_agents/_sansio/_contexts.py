"""What surrounds a message or the making of an agent: contexts, some of them ambient.

`MessageContext` is handed to a handler beside the message. The other three are read from where the
code happens to run, through context variables: which agent is being made, which agent type is being
registered, which agent's handler this is. They follow the task, so handlers that run at the same
time do not see each other's.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

from ._cancellation import CancellationToken

if TYPE_CHECKING:
    from ._abc import AgentRuntime
    from ._identifiers import AgentId, AgentType, TopicId

__all__ = [
    "AgentInstantiationContext",
    "MessageContext",
    "MessageHandlerContext",
    "SubscriptionInstantiationContext",
]


@final
@dataclass(init=False, eq=False, repr=False)
class MessageContext:
    """What a handler may know of the message it handles, apart from the message itself.

    Attributes:
        sender: The agent that sent or published the message; None if no agent did.
        topic_id: Where the message was published; None for a direct message.
        is_rpc: True for a direct message, whose sender waits for a reply.
        cancellation_token: The sender's token; if it gave none, one of the message's own, which is
            cancelled when the handling of this message is. Pass it on to what takes a token.
        message_id: As given by the sender, else a random UUID, made when it is first read.
    """

    __slots__ = ("_message_id", "_token", "is_rpc", "origin", "sender", "topic_id")

    sender: AgentId | None
    topic_id: TopicId | None
    is_rpc: bool
    # Properties, so that neither is made for a handler that never looks.
    cancellation_token: CancellationToken
    message_id: str

    def __init__(
        self,
        sender: AgentId | None,
        topic_id: TopicId | None,
        is_rpc: bool,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        *,
        origin: Origin | None = None,
    ) -> None:
        self.sender = sender
        self.topic_id = topic_id
        self.is_rpc = is_rpc
        self._token = cancellation_token
        self._message_id = message_id
        # The runtime's envelope, where this context comes from one: all recipients of one
        # publication see the same message id.
        self.origin = origin

    def __repr__(self) -> str:
        kind = "rpc" if self.is_rpc else f"topic_id={self.topic_id}"
        return f"<MessageContext {kind} sender={self.sender}>"


def _get_token(self: MessageContext) -> CancellationToken:
    """The sender's token; if it gave none, one of the message's own."""
    if self._token is None:
        self._token = CancellationToken()
    return self._token


def _get_message_id(self: MessageContext) -> str:
    """The message's id, as given by the sender, else a random UUID."""
    if self._message_id is None:
        origin = self.origin
        self._message_id = str(uuid.uuid4()) if origin is None else origin.message_id
    return self._message_id


if not TYPE_CHECKING:  # a dataclass field and a property of one name cannot share a class body
    MessageContext.cancellation_token = property(_get_token)
    MessageContext.message_id = property(_get_message_id)


class Frame(Protocol):
    """What runs here: `handler_id` names the agent whose handler it is, if it is one."""

    @property
    def handler_id(self) -> AgentId | None: ...


class Origin(Frame, Protocol):
    """Where a message context comes from: it makes up a message id when that is read."""

    @property
    def message_id(self) -> str: ...


class _NamedFrame:
    __slots__ = ("handler_id",)

    def __init__(self, handler_id: AgentId | None) -> None:
        self.handler_id = handler_id


NO_FRAME: Frame = _NamedFrame(None)

# The core puts the envelope itself here while its handler runs: a send made inside finds its
# caller.
current_frame: ContextVar[Frame] = ContextVar("trio_agents.current_frame", default=NO_FRAME)


def current_handler_id() -> AgentId | None:
    """The agent whose handler is running here, or None outside any handler."""
    return current_frame.get().handler_id


class MessageHandlerContext:
    """The agent whose message handler is running here."""

    def __init__(self) -> None:
        raise TypeError("MessageHandlerContext is a namespace: call its class methods")

    @classmethod
    def agent_id(cls) -> AgentId:
        """Give the id of the agent whose handler calls this, directly or in a task it started.

        Raises:
            RuntimeError: no handler is running here.
        """
        agent_id = current_frame.get().handler_id
        if agent_id is None:
            raise RuntimeError(
                "MessageHandlerContext.agent_id() can only be called while a message handler runs"
            )
        return agent_id

    @classmethod
    @contextmanager
    def populate_context(cls, ctx: AgentId) -> Generator[None, Any, None]:
        """Act as a handler of agent *ctx* inside the block: for runtimes and for tests."""
        token = current_frame.set(_NamedFrame(ctx))
        try:
            yield
        finally:
            current_frame.reset(token)


AGENT_INSTANTIATION_CONTEXT_VAR: ContextVar[tuple[AgentRuntime, AgentId]] = ContextVar(
    "trio_agents.agent_instantiation"
)


class AgentInstantiationContext:
    """The runtime and the id of the agent that is being made here, in a factory or constructor."""

    def __init__(self) -> None:
        raise TypeError("AgentInstantiationContext is a namespace: call its class methods")

    @classmethod
    def current_runtime(cls) -> AgentRuntime:
        """Give the runtime that is making an agent.

        Raises:
            RuntimeError: no runtime is making an agent here.
        """
        return cls._current("current_runtime")[0]

    @classmethod
    def current_agent_id(cls) -> AgentId:
        """Give the id of the agent that is being made.

        Raises:
            RuntimeError: no runtime is making an agent here.
        """
        return cls._current("current_agent_id")[1]

    @classmethod
    def is_in_factory_call(cls) -> bool:
        """Whether a runtime is making an agent here."""
        return AGENT_INSTANTIATION_CONTEXT_VAR.get(None) is not None

    @classmethod
    @contextmanager
    def populate_context(cls, ctx: tuple[AgentRuntime, AgentId]) -> Generator[None, Any, None]:
        """Make the agent with this runtime and id inside the block: for runtimes and for tests."""
        token = AGENT_INSTANTIATION_CONTEXT_VAR.set(ctx)
        try:
            yield
        finally:
            AGENT_INSTANTIATION_CONTEXT_VAR.reset(token)

    @classmethod
    def _current(cls, name: str) -> tuple[AgentRuntime, AgentId]:
        try:
            return AGENT_INSTANTIATION_CONTEXT_VAR.get()
        except LookupError:
            raise RuntimeError(
                f"AgentInstantiationContext.{name}() can only be called while a runtime makes an "
                "agent: in its factory, or in a constructor that the factory calls"
            ) from None


SUBSCRIPTION_CONTEXT_VAR: ContextVar[AgentType] = ContextVar("trio_agents.subscription")


class SubscriptionInstantiationContext:
    """The agent type whose subscriptions are being made here, during its registration."""

    def __init__(self) -> None:
        raise TypeError("SubscriptionInstantiationContext is a namespace: call its class methods")

    @classmethod
    def agent_type(cls) -> AgentType:
        """Give the agent type that is being registered.

        Raises:
            RuntimeError: no agent type is being registered here.
        """
        try:
            return SUBSCRIPTION_CONTEXT_VAR.get()
        except LookupError:
            raise RuntimeError(
                "SubscriptionInstantiationContext.agent_type() can only be called while an agent "
                "type is registered with its subscriptions"
            ) from None

    @classmethod
    @contextmanager
    def populate_context(cls, ctx: AgentType) -> Generator[None, Any, None]:
        """Register agent type *ctx* inside the block: for registration and for tests."""
        token = SUBSCRIPTION_CONTEXT_VAR.set(ctx)
        try:
            yield
        finally:
            SUBSCRIPTION_CONTEXT_VAR.reset(token)
