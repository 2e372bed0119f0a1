"""Class decorators that say what agents of a class subscribe to.

They only take note. The subscriptions are made when the class is registered, once for each agent
type it is registered under, because only then is that type known. They hold for the decorated class
alone: a subclass begins without any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

from .._sansio._abc import UnboundSubscription
from .._sansio._identifiers import TopicId
from .._sansio._subscriptions import DefaultSubscription
from ._base_agent import BaseAgent

__all__ = ["default_subscription", "subscription_factory", "type_subscription"]

BaseAgentT = TypeVar("BaseAgentT", bound=BaseAgent)


def subscription_factory(
    subscription: UnboundSubscription,
) -> Callable[[type[BaseAgentT]], type[BaseAgentT]]:
    """Have the class subscribed to whatever *subscription* gives when the class is registered.

    Args:
        subscription: Called without arguments for each registration; returns a list of
            subscriptions, or an awaitable of one. `SubscriptionInstantiationContext` tells it the
            agent type.

    Raises:
        TypeError: *subscription* cannot be called, or what is decorated is no class of agents.
    """
    if not callable(subscription):
        raise TypeError(
            "subscription_factory() takes a function that gives a list of subscriptions, "
            f"not {type(subscription).__name__}"
        )

    def decorate(cls: type[BaseAgentT]) -> type[BaseAgentT]:
        _check_agent_class(cls)
        cls.internal_unbound_subscriptions_list.append(subscription)
        return cls

    return decorate


def _check_agent_class(decorated: object) -> None:
    if not (isinstance(decorated, type) and issubclass(decorated, BaseAgent)):
        raise TypeError(
            f"subscriptions are declared on classes derived from BaseAgent, not on {decorated!r}"
        )


@overload
def default_subscription(cls: type[BaseAgentT]) -> type[BaseAgentT]: ...


@overload
def default_subscription(
    cls: None = None,
) -> Callable[[type[BaseAgentT]], type[BaseAgentT]]: ...


def default_subscription(
    cls: type[BaseAgentT] | None = None,
) -> type[BaseAgentT] | Callable[[type[BaseAgentT]], type[BaseAgentT]]:
    """Have the class subscribed to the topic type ``"default"``. With or without parentheses.

    Raises:
        TypeError: what is decorated is no class of agents.
    """
    decorate = subscription_factory(lambda: [DefaultSubscription()])
    return decorate if cls is None else decorate(cls)


def type_subscription(topic_type: str) -> Callable[[type[BaseAgentT]], type[BaseAgentT]]:
    """Have the class subscribed to topics of type *topic_type*.

    Raises:
        InvalidIdentifier: *topic_type* cannot be a topic type. It is a `ValueError`.
        TypeError: what is decorated is no class of agents.
    """
    TopicId(topic_type, "default")  # now, where the mistake is, and not at some registration
    return subscription_factory(lambda: [DefaultSubscription(topic_type)])
