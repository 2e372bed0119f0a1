"""Checks of what every runtime does with messages: requests, publications, subscriptions."""

from __future__ import annotations

from typing import Final

import anyio

from .._sansio._abc import AgentRuntime
from .._sansio._contexts import MessageContext
from .._sansio._errors import UndeliverableException
from .._sansio._identifiers import AgentId, TopicId
from .._sansio._subscriptions import TypePrefixSubscription, TypeSubscription
from ._conformance_check import (
    A,
    B,
    Calling,
    Capability,
    Check,
    Note,
    OpenRuntime,
    check,
    note_texts,
    require,
    requires_error,
    settle_in,
)
from ._probes import Probe
from ._scripted import raises, returns, sends, waits_for
from ._waiting import Gate

__all__ = ["MESSAGE_CHECKS"]

NEWS: Final = TopicId("news", "a")


# --- requests


@check()
async def a_reply_reaches_its_sender(open_runtime: OpenRuntime) -> None:
    """send_message returns what the handler returned."""
    async with open_runtime() as runtime:
        await settle_in(runtime, returns(Note("one")), returns(None))
        reply = await runtime.send_message(Note("?"), A)
        require(reply == Note("one"), f"the reply was {reply!r}, not what the handler returned")
        reply = await runtime.send_message(Note("?"), A)
        require(reply is None, f"the reply was {reply!r}, and the handler returned None")


@check(Capability.BY_REFERENCE)
async def messages_and_replies_are_handed_over_as_they_are(open_runtime: OpenRuntime) -> None:
    """A handler gets the very object that was sent, and its sender the very reply."""
    async with open_runtime() as runtime:
        probe = await Probe.register(runtime, "probe")
        message, reply = object(), object()
        probe.answer_with(returns(reply))
        given = await runtime.send_message(message, probe.id)
        require(probe.received[0].message is message, "the handler got a copy of the message")
        require(given is reply, "the sender got a copy of the reply")


@check()
async def a_request_has_its_context(open_runtime: OpenRuntime) -> None:
    """A handler learns sender and id of a request, and that somebody waits for the reply."""
    async with open_runtime() as runtime:
        probe = await Probe.register(runtime, "probe")
        await runtime.send_message(Note("x"), probe.id, sender=B, message_id="one")
        await probe.expect(Note)
        ctx = probe.last.ctx
        require(ctx.sender == B, f"the sender was {B}, the context says {ctx.sender}")
        require(ctx.message_id == "one", f"the id was 'one', the context says {ctx.message_id!r}")
        require(ctx.is_rpc, "a request whose context says that it is none")
        require(ctx.topic_id is None, f"a request with the topic {ctx.topic_id}")
        await runtime.send_message(Note("x"), probe.id)
        await probe.expect(Note)
        sender = probe.last.ctx.sender
        require(sender is None, f"nobody said who sends, the context says {sender}")


@check()
async def an_error_reaches_its_sender(open_runtime: OpenRuntime) -> None:
    """What a handler raises, send_message raises."""
    async with open_runtime() as runtime:
        await settle_in(runtime, raises(KeyError("of the handler")))
        with requires_error(KeyError, by="the sender of a message that failed") as caught:
            await runtime.send_message(Note("x"), A)
        require("of the handler" in str(caught.error), f"the words were lost: {caught.error!r}")


@check(Capability.BY_REFERENCE)
async def an_error_is_the_very_object(open_runtime: OpenRuntime) -> None:
    """send_message raises the very object that the handler raised."""
    async with open_runtime() as runtime:
        error = KeyError("of the handler")
        await settle_in(runtime, raises(error))
        with requires_error(KeyError, by="the sender of a message that failed") as caught:
            await runtime.send_message(Note("x"), A)
        require(caught.error is error, f"another error came: {caught.error!r}")


@check()
async def an_agent_that_failed_goes_on(open_runtime: OpenRuntime) -> None:
    """A handler that raises ends its message, and neither its agent nor the runtime."""
    async with open_runtime() as runtime:
        await settle_in(runtime, KeyError, returns(Note("next")))
        with requires_error(KeyError, by="the sender of a message that failed"):
            await runtime.send_message(Note("x"), A)
        reply = await runtime.send_message(Note("x"), A)
        require(reply == Note("next"), f"the next reply was {reply!r}")


@check()
async def an_unknown_type_is_an_error(open_runtime: OpenRuntime) -> None:
    """A request to an agent type that nobody registered raises a LookupError."""
    async with open_runtime() as runtime:
        with requires_error(
            UndeliverableException, LookupError, by="a request to an unknown agent type"
        ):
            await runtime.send_message(Note("x"), AgentId("nobody", "x"))


@check()
async def an_agent_sends_under_its_own_name(open_runtime: OpenRuntime) -> None:
    """What a handler sends goes out with its agent as the sender, and the reply comes back."""
    async with open_runtime() as runtime:
        probe = await Probe.register(runtime, "probe")
        probe.answer_with(returns(Note("reply")))
        await settle_in(runtime, sends(Note("question"), probe.id))
        reply = await runtime.send_message(Note("x"), A)
        require(reply == Note("reply"), f"the reply was {reply!r}")
        sender = (await probe.expect(Note), probe.last.ctx.sender)[1]
        require(sender == A, f"agent {A} has sent, the context says {sender}")


@check()
async def an_agent_may_send_to_itself(open_runtime: OpenRuntime) -> None:
    """A handler that sends to its own agent gets a reply: a send is a call."""
    async with open_runtime() as runtime:
        await settle_in(runtime, sends(Note("myself")), returns(Note("reply")))
        reply = await runtime.send_message(Note("x"), A)
        require(reply == Note("reply"), f"the reply was {reply!r}")


@check()
async def handlers_of_several_agents_run_at_the_same_time(open_runtime: OpenRuntime) -> None:
    """A handler that waits keeps no other agent from handling."""
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        gate = Gate()
        probe = await Probe.register(runtime, "probe")
        probe.answer_with(waits_for(gate).then(returns(Note("late"))))
        await settle_in(runtime, returns(Note("now")))
        waiting = Calling(tasks, lambda: runtime.send_message(Note("x"), probe.id))
        await probe.expect(Note)
        reply = await runtime.send_message(Note("x"), A)
        require(reply == Note("now"), f"the reply was {reply!r}")
        gate.open()
        require(await waiting.result() == Note("late"), "the first reply was another")


# --- publications


@check()
async def every_subscriber_hears_a_publication(open_runtime: OpenRuntime) -> None:
    """publish_message reaches each agent type with a subscription that matches, and no other."""
    async with open_runtime() as runtime:
        subscribers = [await _subscriber(runtime, name, "news") for name in ("one", "two")]
        prefix = await Probe.register(
            runtime, "prefix", subscriptions=lambda: [TypePrefixSubscription("ne", "prefix")]
        )
        deaf = await _subscriber(runtime, "deaf", "sport")
        await runtime.publish_message(Note("x"), NEWS)
        for probe in (*subscribers, prefix):
            heard = await probe.expect(Note)
            require(heard == Note("x"), f"{probe.id.type} heard {heard!r}")
        await runtime.publish_message(Note("fence"), TopicId("sport", "a"))
        heard = await deaf.expect(Note)
        require(heard == Note("fence"), f"who subscribes to another topic heard {heard!r}")


@check()
async def an_agent_hears_a_publication_once(open_runtime: OpenRuntime) -> None:
    """Two subscriptions that lead to one agent deliver once."""
    async with open_runtime() as runtime:
        probe = await Probe.register(
            runtime,
            "probe",
            subscriptions=lambda: [
                TypeSubscription("news", "probe"),
                TypePrefixSubscription("ne", "probe"),
            ],
        )
        await runtime.publish_message(Note("x"), NEWS)
        await runtime.publish_message(Note("fence"), NEWS)
        heard = [await probe.expect(Note), await probe.expect(Note)]
        require(heard == [Note("x"), Note("fence")], f"it heard {heard!r}")


@check()
async def each_source_has_an_agent_of_its_own(open_runtime: OpenRuntime) -> None:
    """A publication goes to the agent whose key is the topic's source."""
    async with open_runtime() as runtime:
        probe = await _subscriber(runtime, "probe", "news")
        for source in ("a", "b"):
            await runtime.publish_message(Note(source), TopicId("news", source))
            await probe.expect(Note)
            recipient = probe.last.recipient
            require(recipient.key == source, f"source {source} went to agent {recipient}")


@check()
async def a_publisher_does_not_hear_itself(open_runtime: OpenRuntime) -> None:
    """A publication goes to every subscriber but its sender."""
    async with open_runtime() as runtime:
        probe = await _subscriber(runtime, "probe", "news")
        other = await _subscriber(runtime, "other", "news")
        await runtime.publish_message(Note("mine"), NEWS, sender=AgentId("probe", "a"))
        await runtime.publish_message(Note("fence"), NEWS)
        heard = await probe.expect(Note)
        require(heard == Note("fence"), "the publisher has heard itself")
        heard = await other.expect(Note)
        require(heard == Note("mine"), f"another subscriber heard {heard!r} first")


@check()
async def a_publication_without_subscribers_is_no_error(open_runtime: OpenRuntime) -> None:
    """publish_message to a topic that nobody subscribes to does nothing."""
    async with open_runtime() as runtime:
        await runtime.publish_message(Note("x"), TopicId("nobody", "x"))


@check()
async def a_publication_has_its_context(open_runtime: OpenRuntime) -> None:
    """A handler learns topic, sender and id of a publication, and that nobody waits for a reply."""
    async with open_runtime() as runtime:
        probe = await _subscriber(runtime, "probe", "news")
        await runtime.publish_message(Note("x"), NEWS, sender=B, message_id="one")
        await probe.expect(Note)
        ctx = probe.last.ctx
        require(ctx.topic_id == NEWS, f"the topic was {NEWS}, the context says {ctx.topic_id}")
        require(ctx.sender == B, f"the sender was {B}, the context says {ctx.sender}")
        require(ctx.message_id == "one", f"the id was 'one', the context says {ctx.message_id!r}")
        require(not ctx.is_rpc, "a publication whose context says that it is a request")


@check()
async def publishing_does_not_wait_for_handlers(open_runtime: OpenRuntime) -> None:
    """publish_message returns while the handlers of the message still run."""
    async with open_runtime() as runtime:
        gate = Gate()
        probe = await _subscriber(runtime, "probe", "news")
        probe.answer_with(waits_for(gate))
        try:
            with anyio.move_on_after(5) as scope:
                await runtime.publish_message(Note("x"), NEWS)
            require(not scope.cancelled_caught, "publish_message waits for its handlers")
            await probe.expect(Note)
            require(not probe.last.has_ended(), "the handler did not wait for what it waits for")
        finally:
            gate.open()


@check()
async def publications_begin_in_order(open_runtime: OpenRuntime) -> None:
    """What one publisher publishes, each subscriber begins to handle in that order."""
    async with open_runtime() as runtime:
        log: list[str] = []
        done = Gate()

        def note(message: Note, ctx: MessageContext) -> None:
            log.append(message.text)
            if len(log) == 20:
                done.open()

        await settle_in(runtime, note)
        await runtime.add_subscription(TypeSubscription("news", A.type))
        for number in range(20):
            await runtime.publish_message(Note(str(number)), NEWS)
        await done.wait()
        require(log == [str(number) for number in range(20)], f"they began in this order: {log}")


@check()
async def a_failing_subscriber_keeps_nobody_from_hearing(open_runtime: OpenRuntime) -> None:
    """A handler of a publication that raises, or a factory, fails for its own agent only."""
    async with open_runtime() as runtime:
        before = await _subscriber(runtime, "before", "news")
        await settle_in(runtime, raises(KeyError("of one subscriber")))
        await runtime.add_subscription(TypeSubscription("news", A.type))
        after = await _subscriber(runtime, "after", "news")
        await runtime.publish_message(Note("x"), NEWS)
        for probe in (before, after):
            heard = await probe.expect(Note)
            require(heard == Note("x"), f"{probe.id.type} heard {heard!r}")


# --- subscriptions


@check()
async def a_subscription_counts_while_it_is_there(open_runtime: OpenRuntime) -> None:
    """add_subscription counts for what is published later, remove_subscription ends that."""
    async with open_runtime() as runtime:
        log: list[str] = []
        await settle_in(runtime, note_texts(log))
        subscription = TypeSubscription("news", A.type)
        await runtime.publish_message(Note("before"), NEWS)
        await runtime.send_message(Note("fence"), A)  # the publication has had its turn
        await runtime.add_subscription(subscription)
        await runtime.publish_message(Note("meanwhile"), NEWS)
        await runtime.send_message(Note("fence"), A)
        await runtime.remove_subscription(subscription.id)
        await runtime.publish_message(Note("after"), NEWS)
        await runtime.send_message(Note("fence"), A)
        expected = ["fence", "meanwhile", "fence", "fence"]
        require(log == expected, f"expected {expected}, the agent has got {log}")


@check()
async def a_subscription_is_there_once(open_runtime: OpenRuntime) -> None:
    """add_subscription refuses one that says the same, or has the same id, by ValueError."""
    async with open_runtime() as runtime:
        await settle_in(runtime)
        await runtime.add_subscription(TypeSubscription("news", A.type, id="one"))
        with requires_error(ValueError, by="a subscription that says the same"):
            await runtime.add_subscription(TypeSubscription("news", A.type, id="two"))
        with requires_error(ValueError, by="a subscription of the same id"):
            await runtime.add_subscription(TypePrefixSubscription("sport", A.type, id="one"))


@check()
async def an_unknown_subscription_cannot_be_removed(open_runtime: OpenRuntime) -> None:
    """remove_subscription raises a LookupError for an id that is not there."""
    async with open_runtime() as runtime:
        with requires_error(LookupError, by="removing a subscription that is not there"):
            await runtime.remove_subscription("nothing")


async def _subscriber(runtime: AgentRuntime, name: str, topic_type: str) -> Probe:
    return await Probe.register(
        runtime, name, subscriptions=lambda: [TypeSubscription(topic_type, name)]
    )


MESSAGE_CHECKS: Final[tuple[Check, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Check)
)
