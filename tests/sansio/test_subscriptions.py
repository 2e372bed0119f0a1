from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_agents._sansio._abc import Subscription
from trio_agents._sansio._contexts import SubscriptionInstantiationContext
from trio_agents._sansio._errors import CantHandleException, InvalidIdentifier
from trio_agents._sansio._identifiers import AgentId, AgentType, TopicId
from trio_agents._sansio._subscriptions import (
    DefaultSubscription,
    TypePrefixSubscription,
    TypeSubscription,
)

names = st.text("abc:", min_size=1, max_size=4)
agent_names = st.text("ab", min_size=1, max_size=2)
subscriptions = st.one_of(
    st.builds(TypeSubscription, names, agent_names, st.none() | st.sampled_from(["1", "2"])),
    st.builds(TypePrefixSubscription, names, agent_names, st.none() | st.sampled_from(["1", "2"])),
    st.builds(DefaultSubscription, names, agent_names),
)


# SUB-01, SUB-02, SUB-03, SUB-04, SUB-05, SUB-06, SUB-07
def test_a_type_subscription_maps_each_source_to_its_own_agent() -> None:
    subscription = TypeSubscription("news", "editor")
    assert isinstance(subscription, Subscription)
    assert (subscription.topic_type, subscription.agent_type) == ("news", "editor")
    assert subscription.is_match(TopicId("news", "eu"))
    assert subscription.map_to_agent(TopicId("news", "eu")) == AgentId("editor", "eu")
    assert subscription.map_to_agent(TopicId("news", "us/ny")) == AgentId("editor", "us/ny")
    for type in ("new", "newsroom", "News", "n"):
        assert not subscription.is_match(TopicId(type, "eu"))


# SUB-08
def test_a_prefix_subscription_matches_the_beginning_and_the_whole() -> None:
    subscription = TypePrefixSubscription("news:", "editor")
    assert (subscription.topic_type_prefix, subscription.agent_type) == ("news:", "editor")
    assert subscription.is_match(TopicId("news:", "eu"))
    assert subscription.is_match(TopicId("news:sport", "eu"))
    assert not subscription.is_match(TopicId("news", "eu"))
    assert not subscription.is_match(TopicId("the-news:", "eu"))
    assert subscription.map_to_agent(TopicId("news:sport", "eu")) == AgentId("editor", "eu")


# SUB-03, SUB-04
@given(subscriptions, st.builds(TopicId, names, st.text("xy/", max_size=3)))
def test_a_subscription_maps_what_it_matches_and_refuses_the_rest(
    subscription: TypeSubscription | TypePrefixSubscription, topic: TopicId
) -> None:
    if subscription.is_match(topic):
        expected = AgentId(subscription.agent_type, topic.source)
        assert subscription.map_to_agent(topic) == expected
    else:
        with pytest.raises(CantHandleException, match="is not about topic"):
            subscription.map_to_agent(topic)


# SUB-02
def test_ids_are_unique_unless_given() -> None:
    assert TypeSubscription("a", "b").id != TypeSubscription("a", "b").id
    assert TypeSubscription("a", "b", "mine").id == "mine"
    assert TypePrefixSubscription("a", "b", id="mine").id == "mine"


# SUB-05
def test_subscriptions_are_equal_by_id_or_by_what_they_say_within_their_kind() -> None:
    assert TypeSubscription("a", "b") == TypeSubscription("a", "b")
    assert TypeSubscription("a", "b") == TypeSubscription("a", AgentType("b"))
    assert TypeSubscription("a", "b", "1") == TypeSubscription("c", "d", "1")
    assert TypeSubscription("a", "b") == DefaultSubscription("a", "b")
    assert TypeSubscription("a", "b") != TypeSubscription("a", "c")
    assert TypeSubscription("a", "b") != TypeSubscription("c", "b")
    assert TypeSubscription("a", "b") != TypePrefixSubscription("a", "b")
    assert TypeSubscription("a", "b", "1") != TypePrefixSubscription("a", "b", "1")
    assert TypeSubscription("a", "b") != "a subscription"


@given(subscriptions, subscriptions)
def test_equal_subscriptions_have_equal_hashes(one: object, other: object) -> None:
    assert one == one
    assert (one == other) == (other == one)
    if one == other:
        assert hash(one) == hash(other)


# SUB-09, CX-05
def test_a_default_subscription_takes_the_type_that_is_being_registered() -> None:
    with SubscriptionInstantiationContext.populate_context(AgentType("worker")):
        subscription = DefaultSubscription()
        assert subscription == TypeSubscription("default", "worker")
        assert DefaultSubscription("other").topic_type == "other"
        assert DefaultSubscription(agent_type="given").agent_type == "given"
    assert isinstance(subscription, TypeSubscription)


# SUB-10, GAP-02
def test_outside_a_registration_a_default_subscription_needs_an_agent_type() -> None:
    assert DefaultSubscription(agent_type="t") == TypeSubscription("default", "t")
    with pytest.raises(CantHandleException, match="give agent_type="):
        DefaultSubscription()


@pytest.mark.parametrize("kind", [TypeSubscription, TypePrefixSubscription, DefaultSubscription])
@pytest.mark.parametrize("wrong", ["", "not valid!", "a\n", 3, b"a", ["a"], AgentId("a", "b")])
def test_what_cannot_be_a_type_is_refused_at_once(kind: Any, wrong: Any) -> None:
    with pytest.raises(InvalidIdentifier, match="topic type"):
        kind(wrong, "a")
    with pytest.raises(InvalidIdentifier, match="agent type"):
        kind("a", wrong)


def test_none_is_not_an_agent_type() -> None:
    with pytest.raises(InvalidIdentifier, match="agent type must be a str, not NoneType"):
        TypeSubscription("a", None)  # type: ignore[arg-type]


def test_a_subscription_shows_what_it_says() -> None:
    assert repr(TypeSubscription("a", "b")) == "TypeSubscription(topic_type='a', agent_type='b')"
    assert repr(TypePrefixSubscription("a", "b")) == (
        "TypePrefixSubscription(topic_type_prefix='a', agent_type='b')"
    )
    assert repr(DefaultSubscription("a", "b")).startswith("DefaultSubscription(")
