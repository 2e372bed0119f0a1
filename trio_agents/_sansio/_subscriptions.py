"""Subscriptions: rules that turn a topic into the agent that hears it.

Both kinds here look at the topic's type only and take the key from its source, so each source has
its own agent: that is how one session, tenant or document is kept apart from the next.
"""

from __future__ import annotations

import uuid

from ._contexts import SubscriptionInstantiationContext, current_handler_id
from ._errors import CantHandleException
from ._identifiers import AGENT_TYPE, TOPIC_TYPE, AgentId, AgentType, TopicId, _check_type

__all__ = [
    "DefaultSubscription",
    "DefaultTopicId",
    "TypePrefixSubscription",
    "TypeSubscription",
]


class _ByType:
    """What both kinds share: an id, an agent type, and equality by what the rule says."""

    def __init__(self, pattern: str, agent_type: str | AgentType, id: str | None) -> None:
        self._pattern = _check_type(pattern, TOPIC_TYPE, "topic type")
        if isinstance(agent_type, AgentType):
            agent_type = agent_type.type
        self._agent_type = _check_type(agent_type, AGENT_TYPE, "agent type")
        self._id = str(uuid.uuid4()) if id is None else id

    @property
    def id(self) -> str:
        """The subscription's unique id."""
        return self._id

    @property
    def agent_type(self) -> str:
        """The type of the agents that hear the topic."""
        return self._agent_type

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether this subscription is about *topic_id*."""
        raise NotImplementedError  # each kind has its own answer

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        """Give the agent of the subscription's type whose key is the topic's source.

        Raises:
            CantHandleException: the topic does not match.
        """
        if not self.is_match(topic_id):
            raise CantHandleException(f"{self!r} is not about topic {topic_id}")
        return AgentId(self._agent_type, topic_id.source)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ByType):
            return NotImplemented
        return self._kind is other._kind and (
            self._id == other._id
            or (self._pattern == other._pattern and self._agent_type == other._agent_type)
        )

    def __hash__(self) -> int:
        # Equal by id or by content: only the kind is the same in both cases. (A routing table
        # refuses one id for two kinds by itself.)
        return hash(self._kind)

    @property
    def _kind(self) -> type[_ByType]:
        return _ByType


class TypeSubscription(_ByType):
    """Publications to topics of type *topic_type* go to agents of type *agent_type*.

    The agent's key is the topic's source: each source has an agent of its own, made on demand.

    Args:
        topic_type: The topic type, compared for equality.
        agent_type: The type of the agents that hear it.
        id: A unique id, for removal; a UUID is made if None.
    """

    def __init__(self, topic_type: str, agent_type: str | AgentType, id: str | None = None) -> None:
        super().__init__(topic_type, agent_type, id)

    @property
    def topic_type(self) -> str:
        """The topic type that matches."""
        return self._pattern

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether the topic's type is this subscription's."""
        return topic_id.type == self._pattern

    @property
    def _kind(self) -> type[_ByType]:
        return TypeSubscription

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(topic_type={self._pattern!r}, agent_type={self._agent_type!r})"
        )


class TypePrefixSubscription(_ByType):
    """Publications to topics whose type starts with *topic_type_prefix* go to *agent_type*.

    Args:
        topic_type_prefix: What the topic type starts with; the whole type counts too.
        agent_type: The type of the agents that hear it, with the topic's source as key.
        id: A unique id, for removal; a UUID is made if None.
    """

    def __init__(
        self, topic_type_prefix: str, agent_type: str | AgentType, id: str | None = None
    ) -> None:
        super().__init__(topic_type_prefix, agent_type, id)

    @property
    def topic_type_prefix(self) -> str:
        """What a matching topic type starts with."""
        return self._pattern

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether the topic's type starts with the prefix."""
        return topic_id.type.startswith(self._pattern)

    @property
    def _kind(self) -> type[_ByType]:
        return TypePrefixSubscription

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(topic_type_prefix={self._pattern!r}, "
            f"agent_type={self._agent_type!r})"
        )


class DefaultSubscription(TypeSubscription):
    """A subscription to the topic type that applications with a single scope use.

    Args:
        topic_type: The topic type, ``"default"`` unless given.
        agent_type: The agents that hear it; left out, the agent type being registered.

    Raises:
        CantHandleException: no agent type is given and none is being registered here.
    """

    def __init__(
        self, topic_type: str = "default", agent_type: str | AgentType | None = None
    ) -> None:
        if agent_type is None:
            try:
                agent_type = SubscriptionInstantiationContext.agent_type()
            except RuntimeError:
                raise CantHandleException(
                    "DefaultSubscription() takes its agent type from the registration it is made "
                    "in, and there is none here: give agent_type="
                ) from None
        super().__init__(topic_type, agent_type)


class DefaultTopicId(TopicId):
    """The topic of an application with a single scope, or of the session that a handler serves.

    Args:
        type: The topic type, ``"default"`` unless given.
        source: The source; left out, the key of the agent whose handler makes the topic, so that a
            session's messages stay in the session, or ``"default"`` outside of handlers.
    """

    __slots__ = ()

    def __init__(self, type: str = "default", source: str | None = None) -> None:
        if source is None:
            handler = current_handler_id()
            source = "default" if handler is None else handler.key
        super().__init__(type, source)
