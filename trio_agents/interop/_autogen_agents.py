"""AutoGen's agents, subscriptions and intervention handlers, as our core wants to see them.

Each is held by an adapter, which translates what goes in and what comes out. An adapter's class
bears the name of the class it stands for, since spans, warnings and errors name classes.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import anyio
import autogen_core as autogen

from .._sansio._contexts import MessageContext
from .._sansio._identifiers import AgentId, AgentMetadata, TopicId
from .._sansio._intervention import DropMessage
from ._autogen_values import (
    MIXED,
    Identities,
    LinkedToken,
    autogens_topic,
    class_name,
)

__all__ = [
    "AgentAdapter",
    "Translator",
    "adapt_agent",
    "adapt_handlers",
    "adapt_subscription",
    "is_ours",
]

AdapterT = TypeVar("AdapterT")


class Translator:
    """What adapters need of their runtime."""

    def __init__(self, runtime: autogen.AgentRuntime) -> None:
        self.runtime = runtime
        self.identities = Identities()

    def context(self, context: MessageContext) -> autogen.MessageContext:
        """Give AutoGen's context of a message.

        Its token is the sender's own. If the sender gave none it is one of the message's own, which
        is cancelled when the handling is.
        """
        linked = context.cancellation_token
        if isinstance(linked, LinkedToken):
            token = linked.original
        else:
            token = autogen.CancellationToken()
            linked.add_callback(token.cancel)
        sender, topic = context.sender, context.topic_id
        return autogen.MessageContext(
            sender=None if sender is None else self.identities.autogens(sender),
            topic_id=None if topic is None else autogens_topic(topic),
            is_rpc=context.is_rpc,
            cancellation_token=token,
            message_id=context.message_id,
        )


class AgentAdapter:
    """An agent of AutoGen's in our core."""

    def __init__(self, agent: autogen.Agent, id: autogen.AgentId, translator: Translator) -> None:
        self.agent = agent
        self._id = id
        self._translator = translator

    @property
    def id(self) -> AgentId:
        """The agent's address."""
        return self._translator.identities.ours(self._id, "id")

    @property
    def metadata(self) -> AgentMetadata:
        """The agent's type, key and description, in its own words."""
        metadata = self.agent.metadata
        return AgentMetadata(
            type=metadata["type"], key=metadata["key"], description=metadata["description"]
        )

    async def bind_id_and_runtime(self, id: AgentId, runtime: object) -> None:
        """Tell an agent that was made outside a factory where it is."""
        await self.agent.bind_id_and_runtime(id=self._id, runtime=self._translator.runtime)

    async def on_message(self, message: Any, ctx: MessageContext) -> Any:
        """Have the agent handle a message."""
        context = self._translator.context(ctx)
        with autogen.MessageHandlerContext.populate_context(self._id):
            return await self.agent.on_message(message, ctx=context)

    async def save_state(self) -> Mapping[str, Any]:
        """Give the agent's state."""
        return await self.agent.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the agent's state."""
        await self.agent.load_state(state)

    async def close(self) -> None:
        """Close the agent."""
        await self.agent.close()


class StatelessAdapter(AgentAdapter):
    """For an agent that keeps no state: AutoGen's `BaseAgent` warns when it is asked for it."""

    async def save_state(self) -> Mapping[str, Any]:
        """Give what AutoGen gives, with its warning."""
        return await self.agent.save_state()

    # The core lets go of quiet agents without asking those for a state.
    save_state.__dict__["keeps_no_state"] = True


class SequentialAdapter(AgentAdapter):
    """For AgentChat's agents that handle some messages one at a time.

    They have a lock of their own for that, which stays locked for ever once a handler was cancelled
    in its line: AutoGen's runtime cancels no handlers. So they stand in line here instead, where
    that is possible, and find the inner lock free.
    """

    def __init__(self, agent: autogen.Agent, id: autogen.AgentId, translator: Translator) -> None:
        super().__init__(agent, id, translator)
        self._types = _sequential_types(agent) or ()
        self._lock = anyio.Lock(fast_acquire=True)

    async def on_message(self, message: Any, ctx: MessageContext) -> Any:
        """Have the agent handle a message, when its turn has come."""
        if not isinstance(message, self._types):
            return await super().on_message(message, ctx)
        async with self._lock:
            return await super().on_message(message, ctx)


class StatelessSequentialAdapter(StatelessAdapter, SequentialAdapter):
    """For one that is both."""


def _sequential_types(agent: object) -> tuple[type[Any], ...] | None:
    # A private name of AgentChat's `SequentialRoutedAgent`. Without it nothing is in line here
    # (test_a_team_can_be_reset_after_a_cancellation_in_line).
    types = getattr(agent, "_sequential_message_types", None)
    return None if types is None else tuple(types)


def adapt_agent(agent: Any, id: autogen.AgentId, translator: Translator) -> AgentAdapter:
    """Give the adapter of one agent.

    Raises:
        TypeError: it is no agent of AutoGen's.
    """
    cls: type[Any] = agent.__class__
    adapter = _agent_adapters.get(cls)
    if adapter is None:
        _check(agent, AGENT, "an agent in an AutoGenRuntime must be an autogen_core.Agent")
        is_stateless = getattr(cls, "save_state", None) is autogen.BaseAgent.save_state
        is_sequential = _sequential_types(agent) is not None
        base: type[AgentAdapter] = AgentAdapter
        if is_stateless and is_sequential:
            base = StatelessSequentialAdapter
        elif is_stateless:
            base = StatelessAdapter
        elif is_sequential:
            base = SequentialAdapter
        adapter = _agent_adapters[cls] = _named(base, cls)
    return adapter(agent, id, translator)


# An agent's class is looked at once. (A million agents may be of one class.)
_agent_adapters: weakref.WeakKeyDictionary[type[Any], type[AgentAdapter]] = (
    weakref.WeakKeyDictionary()
)


class SubscriptionAdapter:
    """A subscription of AutoGen's in our core."""

    def __init__(self, subscription: autogen.Subscription, translator: Translator) -> None:
        self._subscription = subscription
        self._translator = translator

    @property
    def id(self) -> str:
        """The subscription's id."""
        return self._subscription.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SubscriptionAdapter) and self._subscription == other._subscription

    __hash__ = None  # type: ignore[assignment]  # equal is what AutoGen's class says is equal

    def __repr__(self) -> str:
        return repr(self._subscription)

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether the subscription is about *topic_id*."""
        return self._subscription.is_match(autogens_topic(topic_id))

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        """Give the agent that hears *topic_id*."""
        subscription = self._subscription
        id = subscription.map_to_agent(autogens_topic(topic_id))
        what = f"what {class_name(type(subscription))}.map_to_agent returns"
        return self._translator.identities.ours(id, what)


class InterventionAdapter:
    """An intervention handler of AutoGen's in our core."""

    def __init__(self, handler: autogen.InterventionHandler, translator: Translator) -> None:
        self._handler = handler
        self._translator = translator

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        """Show a message to the handler."""
        return self._judged(
            await self._handler.on_send(
                message,
                message_context=self._translator.context(message_context),
                recipient=self._translator.identities.autogens(recipient),
            )
        )

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        """Show a publication to the handler."""
        context = self._translator.context(message_context)
        return self._judged(await self._handler.on_publish(message, message_context=context))

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        """Show a reply to the handler."""
        autogens = self._translator.identities.autogens
        return self._judged(
            await self._handler.on_response(
                message,
                sender=autogens(sender),
                recipient=None if recipient is None else autogens(recipient),
            )
        )

    def _judged(self, answer: Any) -> Any:
        if answer is autogen.DropMessage or isinstance(answer, autogen.DropMessage):
            return DropMessage
        if answer is DropMessage or isinstance(answer, DropMessage):
            raise TypeError(
                f"{class_name(type(self._handler))} returned {class_name(DropMessage)}, "
                f"not autogen_core.DropMessage: {MIXED}"
            )
        return answer


def adapt_handlers(
    handlers: Sequence[autogen.InterventionHandler], translator: Translator
) -> list[InterventionAdapter]:
    """Give the adapters of intervention handlers.

    Raises:
        TypeError: one of them is none of AutoGen's.
    """
    what = "an intervention handler must be an autogen_core.InterventionHandler"
    adapters: list[InterventionAdapter] = []
    for handler in handlers:
        _check(handler, INTERVENTION_HANDLER, what)
        adapters.append(_named(InterventionAdapter, type(handler))(handler, translator))
    return adapters


def adapt_subscription(subscription: Any, translator: Translator) -> SubscriptionAdapter:
    """Give the adapter of a subscription.

    Raises:
        TypeError: it is none of AutoGen's.
    """
    _check(subscription, SUBSCRIPTION, "a subscription must be an autogen_core.Subscription")
    return SubscriptionAdapter(subscription, translator)


# AutoGen's protocols are checked by name, and on the class: `isinstance` reads properties, and
# those of an agent that has no id yet raise.
AGENT: Final = (
    "id",
    "metadata",
    "bind_id_and_runtime",
    "on_message",
    "save_state",
    "load_state",
    "close",
)
INTERVENTION_HANDLER: Final = ("on_send", "on_publish", "on_response")
SUBSCRIPTION: Final = ("id", "is_match", "map_to_agent")


def _check(value: object, members: Sequence[str], must: str) -> None:
    """Refuse what is not of a protocol of AutoGen's, and what is of a class of ours.

    Raises:
        TypeError: it says what it is, and what to do.
    """
    ours = is_ours(value)
    missing = [name for name in members if not (hasattr(type(value), name) or hasattr(value, name))]
    if not (isinstance(value, type) or ours or missing):
        return
    if isinstance(value, type):
        raise TypeError(f"{must}, not the class {class_name(value)}: give an instance")
    text = f"{must}, not {class_name(type(value))}"
    raise TypeError(f"{text}: {MIXED}" if ours else f"{text}, which lacks {', '.join(missing)}")


def is_ours(value: object) -> bool:
    """Whether *value* is of a class of ours, or of one that derives from one."""
    cls = value if isinstance(value, type) else type(value)
    return any(base.__module__.partition(".")[0] == "trio_agents" for base in cls.__mro__)


def _named(base: type[AdapterT], cls: type[Any]) -> type[AdapterT]:
    """Make an adapter class that derives from *base* and is called as *cls* is."""
    namespace = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return cast("type[AdapterT]", type(cls.__name__, (base,), namespace))
