from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_agents._sansio import _routing
from trio_agents._sansio._identifiers import AgentId, TopicId
from trio_agents._sansio._routing import RoutingTable
from trio_agents._sansio._subscriptions import TypePrefixSubscription, TypeSubscription

NEWS = TopicId("news", "eu")


class Counting(TypeSubscription):
    """Counts how often it is asked."""

    asked = 0

    def is_match(self, topic_id: TopicId) -> bool:
        self.asked += 1
        return super().is_match(topic_id)


# SUB-06, SUB-15, SUB-16, SUB-21
def test_each_source_reaches_its_own_agents_in_the_order_of_the_subscriptions() -> None:
    table = RoutingTable()
    for agent_type in ("b", "a", "c"):
        table.add(TypeSubscription("news", agent_type))
    table.add(TypeSubscription("ads", "a"))
    assert table.recipients(NEWS) == (AgentId("b", "eu"), AgentId("a", "eu"), AgentId("c", "eu"))
    assert table.recipients(TopicId("news", "us"))[0] == AgentId("b", "us")
    assert table.recipients(TopicId("ads", "eu")) == (AgentId("a", "eu"),)
    assert table.recipients(TopicId("none", "eu")) == ()


# SUB-08, SUB-22
def test_overlapping_subscriptions_reach_an_agent_once() -> None:
    table = RoutingTable()
    table.add(TypePrefixSubscription("ne", "editor"))
    table.add(TypeSubscription("news", "reader"))
    table.add(TypeSubscription("news", "editor"))
    assert table.recipients(NEWS) == (AgentId("editor", "eu"), AgentId("reader", "eu"))


# SUB-22
def test_answers_are_remembered_until_a_subscription_comes_or_goes() -> None:
    table = RoutingTable()
    counting = Counting("news", "editor")
    table.add(counting)
    assert table.recipients(NEWS) == (AgentId("editor", "eu"),)
    asked = counting.asked
    for _ in range(3):
        assert table.recipients(NEWS) == (AgentId("editor", "eu"),)
    assert counting.asked == asked
    other = TypeSubscription("news", "reader")
    table.add(other)
    assert table.recipients(NEWS) == (AgentId("editor", "eu"), AgentId("reader", "eu"))
    table.remove(other.id)
    assert table.recipients(NEWS) == (AgentId("editor", "eu"),)
    table.remove(counting.id)
    assert table.recipients(NEWS) == ()


def test_topics_without_end_are_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_routing, "MAX_REMEMBERED", 3)
    table = RoutingTable()
    table.add(TypeSubscription("news", "editor"))
    for number in range(10):
        topic = TopicId("news", str(number))
        assert table.recipients(topic) == (AgentId("editor", str(number)),)
        assert len(table._remembered) <= 3


def test_a_subscription_that_exists_is_refused() -> None:
    table = RoutingTable()
    table.add(TypeSubscription("news", "editor", "1"))
    for again in (
        TypeSubscription("news", "editor"),
        TypeSubscription("ads", "reader", "1"),
        TypePrefixSubscription("ads", "reader", "1"),
    ):
        with pytest.raises(ValueError, match="Subscription already exists"):
            table.add(again)
    table.add(TypePrefixSubscription("news", "editor"))
    assert len(table) == 2


@pytest.mark.parametrize("wrong", [None, "news", TypeSubscription, lambda topic: True])
def test_what_is_no_subscription_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected a Subscription"):
        RoutingTable().add(wrong)


# AutoGen raises ValueError and documents LookupError.
@pytest.mark.parametrize("kind", [LookupError, ValueError])
def test_removing_an_unknown_subscription_is_an_error(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="no subscription with the id 'x'"):
        RoutingTable().remove("x")


# SUB-01: any object with the three members will do.
def test_a_subscription_of_one_s_own() -> None:
    class Everything:
        id = "everything"

        def is_match(self, topic_id: TopicId) -> bool:
            return True

        def map_to_agent(self, topic_id: TopicId) -> AgentId:
            return AgentId("logger", "only")

    table = RoutingTable()
    table.add(Everything())
    assert table.recipients(NEWS) == (AgentId("logger", "only"),)
    assert [one.id for one in table] == ["everything"]


def test_a_table_may_change_while_it_is_looked_through() -> None:
    table = RoutingTable()
    for number in range(3):
        table.add(TypeSubscription("news", f"a{number}"))
    for subscription in table:
        table.remove(subscription.id)
    assert len(table) == 0


topic_types = st.sampled_from(["a", "aa", "ab", "b"])
changes = st.lists(
    st.tuples(st.booleans(), st.booleans(), topic_types, st.sampled_from(["x", "y"])), max_size=20
)


@given(changes, topic_types)
def test_the_table_says_what_its_subscriptions_say(
    changes: list[tuple[bool, bool, str, str]], topic_type: str
) -> None:
    table = RoutingTable()
    topic = TopicId(topic_type, "s")
    model: list[TypeSubscription | TypePrefixSubscription] = []
    for add, prefix, pattern, agent_type in changes:
        kind = TypePrefixSubscription if prefix else TypeSubscription
        subscription = kind(pattern, agent_type)
        if add and subscription not in model:
            model.append(subscription)
            table.add(subscription)
        elif not add and subscription in model:
            gone = model.pop(model.index(subscription))
            table.remove(gone.id)
        expected = [one.map_to_agent(topic) for one in model if one.is_match(topic)]
        assert table.recipients(topic) == tuple(dict.fromkeys(expected))
