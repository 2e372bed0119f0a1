"""Publications: who hears them, and how the runtime keeps its subscriptions."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from trio_agents import (
    AgentId,
    CancellationToken,
    DefaultSubscription,
    DefaultTopicId,
    MessageContext,
    Subscription,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    default_subscription,
    type_subscription,
)
from trio_agents.exceptions import UnknownAgentType

from . import loop
from .doers import Act, Doer, check_idle, check_ledger, note, nothing, under_seeds
from .loop import SingleThreadedAgentRuntime, open_runtime

A = AgentId("doer", "a")
B = AgentId("doer", "b")
TO_A = TopicId("news", "a")


class Heard:
    """A message that notes who gets it."""

    def __init__(self) -> None:
        self.by: list[AgentId] = []

    def __call__(self, agent: Doer, ctx: MessageContext) -> None:
        self.by.append(agent.id)


class Rule:
    """A subscription of the application's own."""

    def __init__(
        self, id: str, match: Callable[[TopicId], bool], map: Callable[[TopicId], AgentId]
    ) -> None:
        self.id = id
        self._match = match
        self._map = map

    def is_match(self, topic_id: TopicId) -> bool:
        return self._match(topic_id)

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        return self._map(topic_id)


async def heard_by(
    runtime: SingleThreadedAgentRuntime, topic: TopicId, **options: Any
) -> list[str]:
    """Publish, and say who heard it."""
    heard = Heard()
    began = runtime.is_started()
    if not began:
        runtime.start()
    await runtime.publish_message(heard, topic, **options)
    await runtime.stop_when_idle()
    if began:
        runtime.start()
    check_idle(runtime)
    return [str(id) for id in heard.by]


# --- who hears


# RT-11, RT-18, RT-36
async def test_a_publication_reaches_every_type_that_subscribes(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        for name in ("x", "y", "z"):
            await Doer.register(runtime, name, Doer)
        await runtime.add_subscription(TypeSubscription("news", "x"))
        await runtime.add_subscription(TypeSubscription("ads", "y"))
        await runtime.add_subscription(TypeSubscription("news", "z"))
        assert await heard_by(runtime, TO_A) == ["x/a", "z/a"]


# RT-15, CONF-19
async def test_each_recipient_hears_a_publication_once_by_overlapping_subscriptions(
    autojump_clock: object,
) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news.eu", "doer"))
        await runtime.add_subscription(TypePrefixSubscription("news", "doer"))
        await runtime.add_subscription(TypePrefixSubscription("news.", "doer"))
        await runtime.add_subscription(Rule("rule", lambda topic: True, lambda topic: A))
        assert await heard_by(runtime, TopicId("news.eu", "a")) == ["doer/a"]
        assert await heard_by(runtime, TopicId("news.eu", "b")) == ["doer/b", "doer/a"]


# RT-14
async def test_a_publisher_does_not_hear_itself_but_its_namesakes_do(
    autojump_clock: object,
) -> None:
    heard = Heard()
    everywhere = Rule("everywhere", lambda topic: True, lambda topic: B)

    async def tell(agent: Doer, ctx: MessageContext) -> None:
        await agent.publish_message(heard, TO_A)

    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        await runtime.add_subscription(everywhere)
        await runtime.send_message(tell, A)
        await runtime.send_message(tell, B)
        await runtime.send_message(tell, AgentId("doer", "c"))
        await runtime.stop_when_idle()
    assert heard.by == [B, A, A, B]


# RT-14
async def test_whoever_names_no_sender_is_heard_by_all(autojump_clock: object) -> None:
    heard = Heard()

    async def tell(agent: Doer, ctx: MessageContext) -> None:
        await agent.runtime.publish_message(heard, TO_A)

    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        await runtime.send_message(tell, A)
        await runtime.stop_when_idle()
    assert heard.by == [A]


# RT-12, RT-11
async def test_publishing_gives_none_whatever_the_handlers_return(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        result: Any = await runtime.publish_message(lambda agent, ctx: 42, TO_A)  # type: ignore[func-returns-value]
        assert result is None


# RT-36
async def test_all_recipients_see_the_same_message_and_the_same_id(autojump_clock: object) -> None:
    seen: list[tuple[Any, str, Any, Any, bool]] = []

    class Message:
        def __call__(self, agent: Doer, ctx: MessageContext) -> None:
            seen.append((self, ctx.message_id, ctx.topic_id, ctx.sender, ctx.is_rpc))

    message = Message()
    async with open_runtime() as runtime:
        for name in ("x", "y"):
            await Doer.register(runtime, name, Doer)
            await runtime.add_subscription(TypeSubscription("news", name))
        await runtime.publish_message(message, TO_A, sender=B)
        await runtime.publish_message(message, TO_A, message_id="mine")
        await runtime.stop_when_idle()
    first, second, third, fourth = seen
    assert first == second
    assert third == fourth == (message, "mine", TO_A, None, False)
    assert first[0] is message
    assert first[2:] == (TO_A, B, False)


# RT-13
async def test_a_recipient_that_fails_does_not_keep_others_from_hearing(
    autojump_clock: object,
) -> None:
    log: list[str] = []

    def act(agent: Doer, ctx: MessageContext) -> None:
        log.append(agent.type)
        if agent.type == "y":
            raise ZeroDivisionError

    async with open_runtime() as runtime:
        for name in ("x", "y", "z"):
            await Doer.register(runtime, name, Doer)
            await runtime.add_subscription(TypeSubscription("news", name))
        await runtime.publish_message(act, TO_A)
        await runtime.stop_when_idle()
        statistics = runtime.statistics()
        assert (statistics.handled, statistics.failed) == (2, 1)
    assert log == ["x", "y", "z"]


# --- nobody hears


# RT-16, RT-17, CONF-26
@pytest.mark.parametrize("mailbox_size", [None, 1])
async def test_publishing_to_nobody_is_fine_and_leaves_a_dead_letter(
    autojump_clock: object, mailbox_size: int | None
) -> None:
    async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
        await Doer.register(runtime, "doer", Doer, mailbox_size=mailbox_size)
        await runtime.publish_message(nothing, TO_A, sender=A)
        await runtime.stop_when_idle()
        statistics = runtime.statistics()
        assert (statistics.accepted, statistics.undeliverable) == (1, 1)
        (letter,) = statistics.dead_letters
        assert (letter.message, letter.recipient, letter.topic) == (nothing, None, TO_A)
        assert letter.sender == A
        assert "no subscription matches topic news/a" in letter.reason
        check_idle(runtime)


# RT-14, RT-16
async def test_a_publication_that_only_its_publisher_subscribes_to_ends_quietly(
    autojump_clock: object,
) -> None:
    async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        assert await heard_by(runtime, TO_A, sender=A) == []
        assert runtime.statistics().undeliverable == 1


# RT-16, GAP-22
@pytest.mark.parametrize("mailbox_size", [None, 1])
async def test_a_subscription_of_an_unknown_type_costs_the_others_nothing(
    autojump_clock: object, mailbox_size: int | None
) -> None:
    async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
        await Doer.register(runtime, "doer", Doer, mailbox_size=mailbox_size)
        await runtime.add_subscription(TypeSubscription("news", "unknown"))
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        await runtime.add_subscription(TypeSubscription("ads", "unknown"))
        assert await heard_by(runtime, TO_A) == ["doer/a"]
        assert await heard_by(runtime, TopicId("ads", "a")) == []
        statistics = runtime.statistics()
        assert (statistics.accepted, statistics.handled, statistics.undeliverable) == (3, 1, 2)
        for letter in statistics.dead_letters:
            assert letter.recipient == AgentId("unknown", "a")
            assert "register agent type 'unknown' first" in letter.reason


# RT-16
async def test_dead_letters_are_kept_up_to_a_thousand(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        for number in range(1500):
            await runtime.publish_message(number, TO_A)
        await runtime.stop_when_idle()
        letters = runtime.statistics().dead_letters
        assert [letter.message for letter in letters] == list(range(500, 1500))
        assert runtime.statistics().undeliverable == 1500


# --- subscriptions come and go


# RT-32
@pytest.mark.parametrize("mailbox_size", [None, 1])
def test_a_subscription_counts_for_publications_whose_turn_is_still_to_come(
    mailbox_size: int | None,
) -> None:
    async def main() -> None:
        early, late = Heard(), Heard()
        async with SingleThreadedAgentRuntime() as runtime:
            await Doer.register(runtime, "doer", Doer, mailbox_size=mailbox_size)
            await Doer.register(runtime, "other", Doer)
            await runtime.publish_message(early, TO_A)
            await runtime.add_subscription(TypeSubscription("news", "doer", id="doer"))
            runtime.start()
            await runtime.stop_when_idle()
            await runtime.publish_message(late, TO_A)
            await runtime.add_subscription(TypeSubscription("news", "other"))
            await runtime.remove_subscription("doer")
            runtime.start()
            await runtime.stop_when_idle()
            check_idle(runtime)
        assert early.by == [A]
        assert late.by == [AgentId("other", "a")]

    under_seeds(main, seeds=3)


# RT-32
async def test_subscriptions_may_change_while_the_runtime_works(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await Doer.register(runtime, "other", Doer)
        assert await heard_by(runtime, TO_A) == []
        await runtime.add_subscription(TypeSubscription("news", "doer", id="1"))
        assert await heard_by(runtime, TO_A) == ["doer/a"]
        await runtime.add_subscription(TypeSubscription("news", "other", id="2"))
        assert await heard_by(runtime, TO_A) == ["doer/a", "other/a"]
        await runtime.remove_subscription("1")
        assert await heard_by(runtime, TO_A) == ["other/a"]


# RT-32
async def test_a_handler_may_subscribe_others(autojump_clock: object) -> None:
    async def subscribe(agent: Doer, ctx: MessageContext) -> None:
        await agent.runtime.add_subscription(TypeSubscription("news", "other"))

    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await Doer.register(runtime, "other", Doer)
        await runtime.send_message(subscribe, A)
        assert await heard_by(runtime, TO_A) == ["other/a"]


# RT-33, CONF-21, SUB-02
async def test_removing_an_unknown_subscription_is_a_lookup_error(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        await runtime.add_subscription(TypeSubscription("news", "doer", id="1"))
        await runtime.remove_subscription("1")
        for id in ("1", "2", ""):
            with pytest.raises(LookupError, match=repr(id)):
                await runtime.remove_subscription(id)


# SUB-02, SUB-05
@pytest.mark.parametrize(
    "again",
    [
        TypeSubscription("news", "doer"),
        TypeSubscription("other", "doer", id="1"),
        TypePrefixSubscription("news", "doer", id="1"),
    ],
)
async def test_an_equal_subscription_or_one_of_the_same_id_is_refused(
    autojump_clock: object, again: Subscription
) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news", "doer", id="1"))
        with pytest.raises(ValueError, match="already exists"):
            await runtime.add_subscription(again)
        assert await heard_by(runtime, TO_A) == ["doer/a"]
        assert await heard_by(runtime, TopicId("other", "a")) == []


# SUB-01
@pytest.mark.parametrize("wrong", [None, "news", TypeSubscription, object()])
async def test_what_is_no_subscription_is_refused(wrong: Any) -> None:
    runtime = SingleThreadedAgentRuntime()
    with pytest.raises(TypeError, match="expected a Subscription"):
        await runtime.add_subscription(wrong)


# --- subscriptions of all kinds


# SUB-01, SUB-03, SUB-04
async def test_an_application_may_bring_its_own_subscriptions(autojump_clock: object) -> None:
    def shout(topic: TopicId) -> AgentId:
        assert topic.type.isupper()
        return AgentId("doer", topic.source.upper())

    rule = Rule("capitals", lambda topic: topic.type.isupper(), shout)
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(rule)
        assert await heard_by(runtime, TopicId("NEWS", "a")) == ["doer/A"]
        assert await heard_by(runtime, TO_A) == []
        await runtime.remove_subscription("capitals")
        assert await heard_by(runtime, TopicId("NEWS", "a")) == []


# SUB-04
@pytest.mark.parametrize("where", ["is_match", "map_to_agent"])
async def test_a_subscription_that_raises_fails_the_publication_by_the_policy(
    autojump_clock: object, where: str
) -> None:
    def broken(topic: TopicId) -> Any:
        if topic.type == "broken":
            raise ZeroDivisionError
        return False

    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        if where == "is_match":
            await runtime.add_subscription(Rule("rule", broken, lambda topic: A))
        else:
            await runtime.add_subscription(Rule("rule", lambda t: t.type == "broken", broken))
        runtime.start()
        await runtime.publish_message(nothing, TopicId("broken", "x"))
        with loop.raises_failures() as failures:
            await runtime.stop_when_idle()
        assert [type(exc) for exc in failures.value.exceptions] == [ZeroDivisionError]
        check_idle(runtime)
        assert await heard_by(runtime, TO_A) == ["doer/a"]


# SUB-04
@pytest.mark.parametrize("wrong", ["doer/a", None, TO_A])
@pytest.mark.parametrize("mailbox_size", [None, 1])
async def test_a_subscription_that_maps_to_no_agent_id_is_named(
    autojump_clock: object, wrong: Any, mailbox_size: int | None
) -> None:
    async with SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False) as runtime:
        await Doer.register(runtime, "doer", Doer, mailbox_size=mailbox_size)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        await runtime.add_subscription(
            Rule("rule", lambda topic: topic.type == "odd", lambda topic: wrong)
        )
        runtime.start()
        await runtime.publish_message(nothing, TopicId("odd", "x"))
        with loop.raises_failures() as failures:
            await runtime.stop_when_idle()
        (failure,) = failures.value.exceptions
        assert isinstance(failure, TypeError)
        assert "Rule" in str(failure)
        check_idle(runtime)
        assert await heard_by(runtime, TO_A) == ["doer/a"]


# SUB-05, SUB-06, SUB-21
async def test_each_source_has_an_agent_of_its_own(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        assert await heard_by(runtime, TopicId("news", "tenant 1")) == ["doer/tenant 1"]
        assert await heard_by(runtime, TopicId("news", "tenant 2")) == ["doer/tenant 2"]
        assert runtime.statistics().agents == 2


# SUB-08
async def test_a_prefix_matches_longer_and_equal_topic_types(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypePrefixSubscription("news", "doer"))
        assert await heard_by(runtime, TopicId("news", "a")) == ["doer/a"]
        assert await heard_by(runtime, TopicId("news.eu", "a")) == ["doer/a"]
        assert await heard_by(runtime, TopicId("old.news", "a")) == []


# SUB-07, SUB-15, SUB-16, SUB-14
async def test_types_may_share_a_topic_and_have_one_of_their_own(autojump_clock: object) -> None:
    async with open_runtime() as runtime:
        for name in ("x", "y"):
            await Doer.register(runtime, name, Doer)
            await runtime.add_subscription(TypeSubscription("shared", name))
            await runtime.add_subscription(TypeSubscription(f"only-{name}", name))
        assert await heard_by(runtime, TopicId("shared", "a")) == ["x/a", "y/a"]
        assert await heard_by(runtime, TopicId("only-y", "a")) == ["y/a"]


# SUB-09, SUB-10, SUB-11, SUB-13, SUB-19
async def test_the_default_topic_reaches_all_default_subscribers(autojump_clock: object) -> None:
    @default_subscription
    class Broadcast(Doer):
        pass

    async with open_runtime() as runtime:
        await Broadcast.register(runtime, "x", Broadcast)
        await Broadcast.register(runtime, "y", Broadcast)
        await Broadcast.register(runtime, "silent", Broadcast, skip_class_subscriptions=True)
        await Doer.register(runtime, "z", Doer)
        await runtime.add_subscription(DefaultSubscription(agent_type="z"))
        assert await heard_by(runtime, DefaultTopicId()) == ["x/default", "y/default", "z/default"]


# SUB-12, SUB-20
async def test_topic_types_keep_groups_apart(autojump_clock: object) -> None:
    @type_subscription("red")
    class Red(Doer):
        pass

    @type_subscription("blue")
    class Blue(Doer):
        pass

    async with open_runtime() as runtime:
        await Red.register(runtime, "r", Red)
        await Blue.register(runtime, "b", Blue)
        assert await heard_by(runtime, TopicId("red", "default")) == ["r/default"]
        assert await heard_by(runtime, TopicId("blue", "default")) == ["b/default"]


# SUB-17, RT-35, GAP-20
async def test_a_registered_type_can_be_reached_by_its_direct_topic(
    autojump_clock: object,
) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await Doer.register(runtime, "deaf", Doer, skip_direct_message_subscription=True)
        assert await heard_by(runtime, TopicId("doer:", "a")) == ["doer/a"]
        assert await heard_by(runtime, TopicId("doer:reply", "a")) == ["doer/a"]
        assert await heard_by(runtime, TopicId("deaf:", "a")) == []


# --- many


# SUB-22
async def test_thousands_of_topics_are_not_kept(autojump_clock: object) -> None:
    heard = 0

    def count(agent: Doer, ctx: MessageContext) -> None:
        nonlocal heard
        heard += 1

    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(
            Rule("one", lambda topic: topic.type.startswith("many"), lambda topic: A)
        )
        for number in range(5000):
            await runtime.publish_message(count, TopicId(f"many-{number}", "x"))
        await runtime.stop_when_idle()
        assert heard == 5000
        gc.collect()
        kept = sum(isinstance(x, TopicId) and x.type[:4] == "many" for x in gc.get_objects())
        assert kept <= 4200
        assert runtime.statistics().agents == 1


# RT-15
async def test_a_thousand_overlapping_subscriptions_reach_an_agent_once(
    autojump_clock: object,
) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        for number in range(1000):
            await runtime.add_subscription(Rule(str(number), lambda topic: True, lambda topic: A))
        assert await heard_by(runtime, TO_A) == ["doer/a"]


# --- bad input


# RT-11
@pytest.mark.parametrize("topic", ["news/a", None, A, ("news", "a")])
async def test_a_topic_that_is_none_is_refused_at_the_call(
    autojump_clock: object, topic: Any
) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(TypeError, match="topic_id must be a TopicId"):
            await runtime.publish_message(nothing, topic)
        assert runtime.statistics().accepted == 0


# RT-11
@pytest.mark.parametrize("option", ["sender", "cancellation_token", "message_id"])
async def test_a_bad_option_is_refused_at_the_call(autojump_clock: object, option: str) -> None:
    options: Any = {option: 42}
    async with open_runtime() as runtime:
        with pytest.raises(TypeError, match=option):
            await runtime.publish_message(nothing, TO_A, **options)
        check_idle(runtime)


# RT-11
async def test_a_token_that_is_cancelled_already_is_refused_at_the_call(
    autojump_clock: object,
) -> None:
    token = CancellationToken()
    token.cancel()
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        log: list[int] = []
        with pytest.raises(loop.MessageCancelled):
            await runtime.publish_message(note(log, 1), TO_A, cancellation_token=token)
        await runtime.stop_when_idle()
        check_idle(runtime)
    assert log == []


# RT-11
def test_a_token_cancels_what_is_queued_and_what_runs() -> None:
    async def main() -> None:
        began: list[str] = []
        ended: list[str] = []
        token = CancellationToken()

        async def act(agent: Doer, ctx: MessageContext) -> None:
            began.append(agent.type)
            try:
                await loop.sleep(100)
            finally:
                ended.append(agent.type)

        async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
            for name in ("x", "y"):
                await Doer.register(runtime, name, Doer, max_concurrency=1)
                await runtime.add_subscription(TypeSubscription("news", name))
            for _ in range(3):
                await runtime.publish_message(act, TO_A, cancellation_token=token)
            await loop.sleep(1)
            token.cancel()
            await runtime.stop_when_idle()
            assert loop.current_time() == 1
            assert runtime.statistics().cancelled == 6
            check_idle(runtime)
        assert began == ["x", "y"]
        assert sorted(ended) == ["x", "y"]

    under_seeds(main, seeds=5)


# GAP-22
async def test_sending_to_an_unknown_type_is_refused_at_the_call(autojump_clock: object) -> None:
    async with SingleThreadedAgentRuntime() as runtime:  # not even started
        with pytest.raises(UnknownAgentType, match="no factory for doer/a"):
            await runtime.send_message(nothing, A)
        check_ledger(runtime)
        assert runtime.statistics().undeliverable == 1


async def test_a_chain_of_publications_does_not_pile_up(autojump_clock: object) -> None:
    def again(left: int) -> Act:
        async def act(agent: Doer, ctx: MessageContext) -> None:
            if left:
                await agent.runtime.publish_message(again(left - 1), TO_A)

        return act

    async with open_runtime(max_pending=1) as runtime:
        await Doer.register(runtime, "doer", Doer, max_concurrency=1)
        await runtime.add_subscription(TypeSubscription("news", "doer"))
        await runtime.publish_message(again(2000), TO_A)
        await runtime.stop_when_idle()
        assert runtime.statistics().handled == 2001
        check_idle(runtime)
