"""`BaseAgent`: what every agent has, whatever it does with its messages.

An agent has an address and a runtime, both taken from the factory call it is made in or bound
later; it sends and publishes under its own name; and its class can register it. How messages are
handled is left to `on_message_impl`.

Sending is a plain function that hands back the runtime's coroutine, and so is `on_message`: every
coroutine between a message and its handler is paid for at each step of the handler.
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, Unpack, final

from .._sansio._abc import Agent, AgentRuntime, Subscription, UnboundSubscription
from .._sansio._contexts import (
    AgentInstantiationContext,
    MessageHandlerContext,
    SubscriptionInstantiationContext,
    current_frame,
)
from .._sansio._dispatch import MessageType
from .._sansio._errors import InvalidIdentifier
from .._sansio._identifiers import AgentId, AgentMetadata, AgentType, TopicId
from .._sansio._options import AgentOptions
from .._sansio._serializers import MessageSerializer, try_get_known_serializers_for_type
from .._sansio._subscriptions import TypePrefixSubscription, TypeSubscription

if TYPE_CHECKING:
    from .._sansio._cancellation import CancellationToken
    from .._sansio._contexts import MessageContext

__all__ = ["BaseAgent"]

FuncT = TypeVar("FuncT", bound=Callable[..., Any])

# A class with what writes its messages. (`type` means something else inside an agent's class.)
HandledType = tuple[type[Any], list[MessageSerializer[Any]]]


def _keeps_no_state(func: FuncT) -> FuncT:
    """Mark a default, so that a runtime can tell that calling it gives nothing but a warning."""
    func.__dict__["keeps_no_state"] = True
    return func


class BaseAgent(ABC, Agent):
    """An agent with an address, a runtime and a description; how it handles messages is open.

    `RoutedAgent`, which finds a handler by the type of the message, is where most agents start.
    Derive from this class to look at every message yourself, in `on_message_impl`.

    Made by a runtime, in a factory, an agent knows its `id` and its `runtime` from this constructor
    on. Made by the application it learns them in `register_instance`.

    Args:
        description: What the agent is for, in words for people and models.
    """

    internal_extra_handles_types: ClassVar[list[HandledType]] = []
    """Message types beyond those that handlers name, each with its serializers."""

    # For classes whose own __init__ does not call this one: they learn both when they are bound.
    _description: str = ""
    _id: AgentId | None = None
    _runtime: AgentRuntime | None = None

    internal_unbound_subscriptions_list: ClassVar[list[UnboundSubscription]] = []
    """What makes the subscriptions of this class, at registration. Subclasses begin without."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.on_message is not BaseAgent.on_message:
            raise TypeError(
                f"{cls.__qualname__} overrides on_message, which belongs to the runtime: "
                "implement on_message_impl(self, message, ctx) instead"
            )
        # Each class has its own: what a base class subscribes to, a subclass need not.
        if "internal_extra_handles_types" not in vars(cls):
            cls.internal_extra_handles_types = []
        if "internal_unbound_subscriptions_list" not in vars(cls):
            cls.internal_unbound_subscriptions_list = []

    def __init__(self, description: str) -> None:
        self._description = description
        self._id: AgentId | None = None
        self._runtime: AgentRuntime | None = None
        if AgentInstantiationContext.is_in_factory_call():
            self._id = AgentInstantiationContext.current_agent_id()
            self._runtime = AgentInstantiationContext.current_runtime()

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {'without an id' if self._id is None else self._id}>"

    @property
    def metadata(self) -> AgentMetadata:
        """The agent's type, key and description.

        Raises:
            RuntimeError: the agent has no id yet.
        """
        id = self.id
        return AgentMetadata(type=id.type, key=id.key, description=self._description)

    @property
    def type(self) -> str:
        """The agent's type: the name it is registered under.

        Raises:
            RuntimeError: the agent has no id yet.
        """
        return self.id.type

    @property
    def id(self) -> AgentId:
        """The agent's address.

        Raises:
            RuntimeError: the agent has none yet.
        """
        if self._id is None:
            raise self._unbound("id")
        return self._id

    @property
    def runtime(self) -> AgentRuntime:
        """The runtime that drives the agent.

        Raises:
            RuntimeError: the agent has none yet.
        """
        if self._runtime is None:
            raise self._unbound("runtime")
        return self._runtime

    def _unbound(self, what: str) -> RuntimeError:
        name = type(self).__qualname__
        return _Unbound(
            f"this {name} has no {what} yet: let a runtime make it ({name}.register with a "
            "factory), or give it to one (register_instance, bind_id_and_runtime)"
        )

    async def bind_id_and_runtime(self, id: AgentId, runtime: AgentRuntime) -> None:
        """Take *id* and *runtime* as the agent's own. The same ones again change nothing.

        Raises:
            RuntimeError: the agent has another id or another runtime already; nothing has changed.
        """
        if self._id is not None and self._id != id:
            raise RuntimeError(
                f"the agent is {self._id} already, it cannot become {id}: each id needs an agent "
                "of its own, and a factory makes a new one on each call"
            )
        if self._runtime is not None and self._runtime is not runtime:
            raise RuntimeError(f"agent {self._id} belongs to another runtime already")
        self._id = id
        self._runtime = runtime

    @final
    def on_message(self, message: Any, ctx: MessageContext) -> Coroutine[Any, Any, Any]:
        """Handle one message, by way of `on_message_impl`. Not to be overridden.

        Await what it returns. The runtime calls it where the context of a handler holds already;
        called from elsewhere, in a test say, it establishes that context around the handler.

        Raises:
            CantHandleException: the agent cannot handle this message.
        """
        frame = current_frame.get()
        if frame is ctx.origin:  # a runtime has called, and has seen to the context
            return self.on_message_impl(message, ctx)
        id = self._id
        if id is None or frame.handler_id == id:
            return self.on_message_impl(message, ctx)
        return self.__on_message_in_context(message, ctx, id)

    async def __on_message_in_context(self, message: Any, ctx: MessageContext, id: AgentId) -> Any:
        with MessageHandlerContext.populate_context(id):
            return await self.on_message_impl(message, ctx)

    @abstractmethod
    def on_message_impl(self, message: Any, ctx: MessageContext) -> Coroutine[Any, Any, Any]:
        """Handle one message. A direct subclass has to supply this one method: ``async def``.

        Returns:
            The reply to a direct message. What it returns for a publication is thrown away.

        Raises:
            CantHandleException: the agent cannot handle this message.
        """
        ...

    def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Send *message* to one agent, with this one as the sender; await the reply.

        It is `AgentRuntime.send_message`, with its waiting, its cancellation and its errors. No
        token is passed on from the message that is being handled: give ``ctx.cancellation_token``
        for that.

        Raises:
            RuntimeError: the agent has no runtime yet.
        """
        runtime = self._runtime
        if runtime is None:
            raise self._unbound("runtime")
        return runtime.send_message(
            message,
            recipient,
            sender=self._id,
            cancellation_token=cancellation_token,
            message_id=message_id,
        )

    def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Publish *message* to the subscribers of *topic_id*, this agent excepted. To be awaited.

        It is `AgentRuntime.publish_message`, with its waiting, its cancellation and its errors.

        Raises:
            RuntimeError: the agent has no runtime yet.
        """
        runtime = self._runtime
        if runtime is None:
            raise self._unbound("runtime")
        return runtime.publish_message(
            message,
            topic_id,
            sender=self._id,
            cancellation_token=cancellation_token,
            message_id=message_id,
        )

    @_keeps_no_state
    async def save_state(self) -> Mapping[str, Any]:
        """Give the agent's state, as JSON can express it. By default: a warning, and nothing."""
        warnings.warn(
            f"{type(self).__qualname__} does not implement save_state: nothing of it is saved",
            stacklevel=2,
        )
        return {}

    @_keeps_no_state
    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` gave. By default: a warning, and *state* is ignored."""
        warnings.warn(
            f"{type(self).__qualname__} does not implement load_state: its state is ignored",
            stacklevel=2,
        )

    async def close(self) -> None:
        """Release what the agent holds. By default that is nothing."""

    @classmethod
    def _handles_types(cls) -> list[HandledType]:
        """Give the message types to be made known at registration, with their serializers."""
        return list(cls.internal_extra_handles_types)

    @classmethod
    async def register(
        cls,
        runtime: AgentRuntime,
        type: str,
        factory: Callable[[], Self | Awaitable[Self]],
        *,
        skip_class_subscriptions: bool = False,
        skip_direct_message_subscription: bool = False,
        **options: Unpack[AgentOptions],
    ) -> AgentType:
        """Have *runtime* make agents of this class, under the name *type*, when they are needed.

        ::

            await Worker.register(runtime, "worker", lambda: Worker("resizes images"))

        Beside the factory it registers the subscriptions declared on the class, a subscription to
        the topic types that start with ``<type>:``, and serializers for the message types that
        the handlers name, as far as there are any. A class may be registered under several names.

        Everything that can be found wrong beforehand is: *type*, the handlers' hints and the
        subscriptions. When *type* is taken, nothing has changed. When a subscription turns out to
        exist already, those added before it are removed again; the factory stays, because the
        `AgentRuntime` protocol has no way to take it back.

        Args:
            runtime: Where the agents will live.
            type: The agent type; in one runtime it can be registered once.
            factory: Called without arguments for each new key; the class itself will do, or an
                async function.
            skip_class_subscriptions: Leave out what the class decorators declare.
            skip_direct_message_subscription: Leave out the topic types that start with ``<type>:``.
            options: The limits that these agents live under, see `AgentOptions`.

        Raises:
            ValueError: *type* is not valid or is registered already, or a subscription exists.
            TypeError: a handler's hint cannot be read.
        """
        agent_type = AgentType(type)
        handled = cls._handles_types()
        made: list[Subscription] = []
        if not skip_class_subscriptions:
            made += await make_subscriptions(cls.internal_unbound_subscriptions_list, agent_type)
        if not skip_direct_message_subscription:
            made.append(_prefix_subscription(type))
        return await register_type(
            runtime,
            agent_type,
            factory,
            expected_class=cls,
            subscriptions=made,
            handled=handled,
            options=options,
        )

    async def register_instance(
        self,
        runtime: AgentRuntime,
        agent_id: AgentId,
        *,
        skip_class_subscriptions: bool = True,
        skip_direct_message_subscription: bool = False,
    ) -> AgentId:
        """Put this agent, which the application has made, into *runtime* at *agent_id*.

        Beside the agent it registers a subscription of its type to the topic type that is named
        like its key (unless no topic type can have that name), and, unless they are skipped, what
        the class declares and the topic types that start with ``<type>:``. Subscriptions go from
        topics to agent types, so instances of one type share them: one that exists is left alone.

        Args:
            runtime: Where the agent will live.
            agent_id: Its address.
            skip_class_subscriptions: Leave out what the class decorators declare.
            skip_direct_message_subscription: Leave out the topic types that start with ``<type>:``.

        Raises:
            ValueError: the id is taken, its type has a factory, or the type's other instances are
                of another class.
            RuntimeError: the agent has another id or another runtime already.
            TypeError: a handler's hint cannot be read.
        """
        handled = self._handles_types()
        made: list[Subscription] = []
        with suppress(InvalidIdentifier):  # nobody can publish to a topic type that cannot be
            made.append(TypeSubscription(topic_type=agent_id.key, agent_type=agent_id.type))
        if not skip_class_subscriptions:
            made += await make_subscriptions(
                self.internal_unbound_subscriptions_list, AgentType(agent_id.type)
            )
        if not skip_direct_message_subscription:
            made.append(_prefix_subscription(agent_id.type))
        agent_id = await runtime.register_agent_instance(self, agent_id)
        _add_serializers(runtime, handled)
        for subscription in made:
            with suppress(ValueError):  # it exists
                await runtime.add_subscription(subscription)
        return agent_id


# An AttributeError too, so that `hasattr` says no instead of raising: that is how Python 3.11 finds
# out whether something is an `Agent`.
class _Unbound(RuntimeError, AttributeError):
    pass


async def make_subscriptions(
    makers: Sequence[UnboundSubscription], agent_type: AgentType
) -> list[Subscription]:
    """Make the subscriptions of *agent_type*; one that is named twice is made once."""
    made: list[Subscription] = []
    with SubscriptionInstantiationContext.populate_context(agent_type):
        for make in makers:
            subscriptions = make()
            if inspect.isawaitable(subscriptions):
                subscriptions = await subscriptions
            for subscription in subscriptions:
                if subscription not in made:
                    made.append(subscription)
    return made


def _prefix_subscription(type: str) -> Subscription:
    return TypePrefixSubscription(f"{type}:", type)


async def register_type(
    runtime: AgentRuntime,
    agent_type: AgentType,
    factory: Callable[[], Any],
    *,
    expected_class: type[Any],
    subscriptions: Sequence[Subscription],
    handled: Sequence[HandledType],
    options: AgentOptions,
) -> AgentType:
    """Register a factory, then its serializers, then its subscriptions: all of these or none.

    The factory comes first, so that nobody is sent what nobody can handle yet.
    """
    registered = await runtime.register_factory(
        agent_type.type, factory, expected_class=expected_class, **options
    )
    _add_serializers(runtime, handled)
    added: list[Subscription] = []
    try:
        for subscription in subscriptions:
            await runtime.add_subscription(subscription)
            added.append(subscription)
    except BaseException:
        for subscription in added:
            # None of our runtimes waits here. One that does may leave some behind when cancelled.
            await runtime.remove_subscription(subscription.id)  # noqa: ASYNC102
        raise
    return registered


def handled_types(receives: Sequence[MessageType]) -> list[HandledType]:
    """Pair message types with their serializers; a type that nothing can write has none."""
    return [
        (cls, list(try_get_known_serializers_for_type(hint)))
        for hint, cls in receives
        if cls is not object
    ]


def _add_serializers(runtime: AgentRuntime, handled: Sequence[HandledType]) -> None:
    for _, serializers in handled:
        if serializers:
            runtime.add_message_serializer(serializers)
