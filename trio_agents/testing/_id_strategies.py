"""Strategies for ids, topics and subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from .._sansio._identifiers import MAX_KEY_LENGTH, MAX_TYPE_LENGTH, AgentId, TopicId
from .._sansio._subscriptions import TypePrefixSubscription, TypeSubscription

if TYPE_CHECKING:
    from .._sansio._abc import Subscription

__all__ = [
    "PRINTABLE",
    "agent_ids",
    "agent_keys",
    "agent_types",
    "repeated",
    "subscriptions",
    "topic_ids",
    "topic_types",
    "topics_and_subscriptions",
]

PRINTABLE: Final = st.characters(min_codepoint=32, max_codepoint=126)
_LONG: Final = 40  # characters; longer names are generated too, but rarely


def repeated(text: str, size: int) -> str:
    """Make a text of *size* characters out of a shorter one."""
    return (text * (size // len(text) + 1))[:size]


def _names(alphabet: st.SearchStrategy[str], longest: int) -> st.SearchStrategy[str]:
    """Give texts of one character or more; nearly all are short."""
    return st.one_of(
        st.text(alphabet, min_size=1, max_size=_LONG),
        st.builds(
            repeated,
            st.text(alphabet, min_size=1, max_size=_LONG),
            st.sampled_from([longest, longest - 1, longest // 2]),
        ),
    )


def agent_types() -> st.SearchStrategy[str]:
    """Names that an agent type may have: 1 to 256 word characters, ``-`` and ``.``.

    Word characters are those of all scripts. Never a name that `AgentType` refuses.
    """
    return _names(st.characters(categories=["L", "Nd"], include_characters="_-."), MAX_TYPE_LENGTH)


def agent_keys() -> st.SearchStrategy[str]:
    """Keys that an agent may have: up to 4096 characters from space to ``~``, slashes included.

    The empty key is one. Never a key that `AgentId` refuses.
    """
    return st.one_of(st.just(""), _names(PRINTABLE, MAX_KEY_LENGTH))


def agent_ids(
    types: st.SearchStrategy[str] | None = None, keys: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[AgentId]:
    """Agent ids.

    Args:
        types: Where their types come from; `agent_types` if None.
        keys: Where their keys come from; `agent_keys` if None.
    """
    return st.builds(
        AgentId,
        agent_types() if types is None else types,
        agent_keys() if keys is None else keys,
    )


def topic_types() -> st.SearchStrategy[str]:
    """Names that a topic type may have: as agent types, and ``:`` and ``=``."""
    return _names(
        st.characters(categories=["L", "Nd"], include_characters="_-.:="), MAX_TYPE_LENGTH
    )


def topic_ids(
    types: st.SearchStrategy[str] | None = None, sources: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[TopicId]:
    """Topics. Never a `DefaultTopicId`, which depends on where it is made.

    Args:
        types: Where their types come from; `topic_types` if None.
        sources: Where their sources come from; `agent_keys` if None, for a source becomes a key.
    """
    return st.builds(
        TopicId,
        topic_types() if types is None else types,
        agent_keys() if sources is None else sources,
    )


def subscriptions(
    topics: st.SearchStrategy[str] | None = None, agents: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[Subscription]:
    """Subscriptions of both kinds, to a topic type and to a prefix of topic types.

    Two of them may say the same, which one runtime refuses; see `topics_and_subscriptions`.

    Args:
        topics: Where topic types and prefixes come from; `topic_types` if None.
        agents: Where agent types come from; `agent_types` if None.
    """
    topics = topic_types() if topics is None else topics
    agents = agent_types() if agents is None else agents
    return st.one_of(
        st.builds(TypeSubscription, topics, agents),
        st.builds(TypePrefixSubscription, topics, agents),
    )


def topics_and_subscriptions(
    agents: st.SearchStrategy[str] | None = None,
) -> st.SearchStrategy[tuple[list[TopicId], list[Subscription]]]:
    """Some topics, and subscriptions of which at least one matches a topic.

    One runtime takes all of the subscriptions: no two say the same. Some match several topics, some
    none, and an agent type may have several of them.

    Args:
        agents: Where agent types come from; `agent_types` if None.
    """
    return _topics_and_subscriptions(agent_types() if agents is None else agents)


@st.composite
def _topics_and_subscriptions(
    draw: st.DrawFn, agents: st.SearchStrategy[str]
) -> tuple[list[TopicId], list[Subscription]]:
    topics = draw(st.lists(topic_ids(), min_size=1, max_size=5, unique=True))
    known = [topic.type for topic in topics]
    first = TypeSubscription(draw(st.sampled_from(known)), draw(agents))
    pattern = draw(st.sampled_from(known))
    prefix = pattern[: draw(st.integers(1, len(pattern)))]
    patterns = st.one_of(st.sampled_from([*known, prefix]), topic_types())
    found: list[Subscription] = [first]
    for other in draw(st.lists(subscriptions(patterns, agents), max_size=6)):
        if other not in found:
            found.append(other)
    return topics, draw(st.permutations(found))
