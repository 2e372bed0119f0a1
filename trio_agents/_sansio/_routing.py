"""`RoutingTable`: which agents a topic reaches, as a plain function of the subscriptions.

Answers are remembered for each topic until a subscription comes or goes. The memory is bounded: a
topic source is often a session or a document, and there is no end of those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ._abc import Subscription
from ._foreign import type_name
from ._identifiers import AgentId, TopicId

__all__ = ["RoutingTable"]

MAX_REMEMBERED: Final = 4096


class RoutingTable:
    """The subscriptions in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        # Invariant: what `recipients` would work out anew for each key; at most MAX_REMEMBERED.
        self._remembered: dict[TopicId, tuple[AgentId, ...]] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._subscriptions.values()))

    def __len__(self) -> int:
        return len(self._subscriptions)

    def add(self, subscription: Subscription) -> None:
        """Obey one more subscription.

        Raises:
            TypeError: it is not a subscription.
            ValueError: there is an equal one, or one of this id.
        """
        _check_subscription(subscription)
        id = subscription.id
        if id in self._subscriptions or any(
            other == subscription for other in self._subscriptions.values()
        ):
            raise ValueError(f"Subscription already exists: {subscription!r}")
        self._subscriptions[id] = subscription
        self._remembered.clear()

    def remove(self, id: str) -> None:
        """Forget the subscription of this id.

        Raises:
            LookupError: there is none.
        """
        if id not in self._subscriptions:
            raise _UnknownSubscription(f"there is no subscription with the id {id!r}")
        del self._subscriptions[id]
        self._remembered.clear()

    def recipients(self, topic_id: TopicId) -> tuple[AgentId, ...]:
        """Give the agents that hear *topic_id*, each once, in the order of their subscriptions.

        Raises:
            TypeError: a subscription maps it to something that is no `AgentId`.
            BaseException: what a subscription raised.
        """
        known = self._remembered.get(topic_id)
        if known is None:
            known = tuple(
                dict.fromkeys(
                    _map(subscription, topic_id)
                    for subscription in self._subscriptions.values()
                    if subscription.is_match(topic_id)
                )
            )
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[topic_id] = known
        return known


def _map(subscription: Subscription, topic_id: TopicId) -> AgentId:
    id = subscription.map_to_agent(topic_id)
    if not isinstance(id, AgentId):
        raise TypeError(
            f"{type(subscription).__name__}.map_to_agent must return an AgentId for {topic_id}, "
            f"not {type_name(id)}"
        )
    return id


def _check_subscription(given: object) -> None:
    # A class has the three members too.
    if isinstance(given, type) or not isinstance(given, Subscription):
        raise TypeError(
            "expected a Subscription (with id, is_match and map_to_agent), "
            f"not {given if isinstance(given, type) else type(given).__name__}"
        )


# AutoGen raises ValueError here and documents LookupError. Both kinds of programs are served.
class _UnknownSubscription(LookupError, ValueError):
    pass
