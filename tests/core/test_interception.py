"""Intervention handlers: what they see, what they may do, and whom they may hold up."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest

from trio_agents import (
    AgentId,
    CancellationToken,
    DefaultInterventionHandler,
    DropMessage,
    InterventionHandler,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from trio_agents.exceptions import DeadlockError, MessageDroppedException, UndeliverableException

from . import loop
from .doers import (
    Doer,
    check_idle,
    make_slowly,
    note,
    nothing,
    under_seeds,
    wait,
)
from .loop import SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

A = AgentId("doer", "a")
B = AgentId("doer", "b")
TO_A = TopicId("news", "a")
NOWHERE = TopicId("nowhere", "a")

Look = Callable[[Any, Any], Any]


@dataclass
class Note:
    """A message for `Listener`s, with what is to become of it on the way."""

    text: str = ""
    on_way: Look | None = field(default=None, compare=False)


class Listener(Doer):
    """Answers with the text of a note, and is told what to do by anything else."""

    heard: list[tuple[AgentId, str]]

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        if not isinstance(message, Note):
            return await super().on_message_impl(message, ctx)
        self.heard.append((self.id, message.text))
        return Note(f"re: {message.text}")


class Intervene(DefaultInterventionHandler):
    """Does with each message what the message says, and keeps a record of what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, Any, Any]] = []

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        self.seen.append(("send", message, message_context, recipient))
        return await self._do(message, message_context)

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        self.seen.append(("publish", message, message_context, None))
        return await self._do(message, message_context)

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        self.seen.append(("response", message, sender, recipient))
        return message

    async def _do(self, message: Any, ctx: MessageContext) -> Any:
        if not isinstance(message, Note) or message.on_way is None:
            return message
        result = message.on_way(message, ctx)
        return await result if isinstance(result, Awaitable) else result


class Replies(DefaultInterventionHandler):
    """Does with each reply what it is told."""

    def __init__(self, do: Callable[[Any], Any]) -> None:
        self._do = do

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        return self._do(message)


async def open_listeners(
    runtime: SingleThreadedAgentRuntime, type: str = "doer", **options: Any
) -> list[tuple[AgentId, str]]:
    heard: list[tuple[AgentId, str]] = []

    def make() -> Listener:
        listener = Listener()
        listener.heard = heard
        return listener

    await Listener.register(runtime, type, make, **options)
    await runtime.add_subscription(TypeSubscription("news", type))
    return heard


def after(seconds: float, do: Callable[[], Awaitable[Any]] | None = None) -> Look:
    """Let the intervention handler wait, do something, and pass the message on."""

    async def look(message: Any, ctx: MessageContext) -> Any:
        await loop.sleep(seconds)
        if do is not None:
            await do()
        return message

    return look


def give(result: Any) -> Look:
    return lambda message, ctx: result


def fail(message: Any, ctx: MessageContext) -> Any:
    raise ZeroDivisionError("vetoed")


@contextmanager
def idles_within(seconds: float) -> Iterator[None]:
    with loop.fail_after(seconds):
        yield


# --- what is seen


# IV-01, IV-03, IV-09
def test_the_default_handler_is_an_intervention_handler() -> None:
    assert isinstance(DefaultInterventionHandler(), InterventionHandler)


# IV-01
@pytest.mark.parametrize("handler", [object(), DropMessage, lambda message: message])
def test_what_is_no_intervention_handler_is_refused(handler: Any) -> None:
    with pytest.raises(TypeError, match="on_send, on_publish and on_response"):
        SingleThreadedAgentRuntime(intervention_handlers=[handler])


# IV-09
async def test_the_default_handler_changes_nothing(autojump_clock: object) -> None:
    async with open_runtime(intervention_handlers=[DefaultInterventionHandler()]) as runtime:
        heard = await open_listeners(runtime)
        assert await runtime.send_message(Note("x"), A) == Note("re: x")
        await runtime.publish_message(Note("y"), TO_A)
        await runtime.stop_when_idle()
        assert heard == [(A, "x"), (A, "y")]


# IV-04, IV-05, IV-06, IV-02
async def test_each_message_and_reply_is_seen_once_with_its_context(
    autojump_clock: object,
) -> None:
    intervene = Intervene()
    async with open_runtime(intervention_handlers=[intervene]) as runtime:
        await open_listeners(runtime)
        await open_listeners(runtime, "other")
        token = CancellationToken()
        sent, published = Note("sent"), Note("published")
        reply = await runtime.send_message(
            sent, A, sender=B, message_id="1", cancellation_token=token
        )
        await runtime.publish_message(
            published, TO_A, sender=B, message_id="2", cancellation_token=token
        )
        await runtime.stop_when_idle()
    (kind1, message1, context1, recipient1), response, *rest = intervene.seen
    assert (kind1, message1, recipient1) == ("send", sent, A)
    assert message1 is sent
    assert (context1.sender, context1.topic_id, context1.is_rpc) == (B, None, True)
    assert (context1.message_id, context1.cancellation_token) == ("1", token)
    assert response == ("response", reply, A, B)
    assert response[1] is reply
    # Two recipients, but one publication; and no replies to it.
    ((kind2, message2, context2, _),) = rest
    assert kind2 == "publish"
    assert message2 is published
    assert (context2.sender, context2.topic_id, context2.is_rpc) == (B, TO_A, False)
    assert (context2.message_id, context2.cancellation_token) == ("2", token)


# IV-06
async def test_the_recipient_of_a_reply_is_none_outside_of_agents(autojump_clock: object) -> None:
    intervene = Intervene()

    async def ask_b(agent: Doer, ctx: MessageContext) -> Any:
        return await agent.send_message(Note("inner"), B)

    async with open_runtime(intervention_handlers=[intervene]) as runtime:
        await open_listeners(runtime)
        await runtime.send_message(ask_b, A)
    replies = [(sender, to) for kind, _, sender, to in intervene.seen if kind == "response"]
    assert replies == [(B, A), (A, None)]


# IV-02
async def test_a_publication_is_seen_even_if_nobody_subscribes(autojump_clock: object) -> None:
    intervene = Intervene()
    async with open_runtime(intervention_handlers=[intervene]) as runtime:
        await runtime.publish_message(Note(), NOWHERE)
        await runtime.stop_when_idle()
        assert [kind for kind, *_ in intervene.seen] == ["publish"]
        assert runtime.statistics().undeliverable == 1


# IV-02
async def test_a_publication_is_seen_even_if_only_its_publisher_subscribes(
    autojump_clock: object,
) -> None:
    intervene = Intervene()
    async with open_runtime(intervention_handlers=[intervene]) as runtime:
        heard = await open_listeners(runtime)
        await runtime.publish_message(Note(), TO_A, sender=A)
        await runtime.stop_when_idle()
        assert [kind for kind, *_ in intervene.seen] == ["publish"]
    assert heard == []


# IV-06
@pytest.mark.parametrize("how", ["raise", "cancel"])
async def test_only_successful_replies_are_seen(autojump_clock: object, how: str) -> None:
    intervene = Intervene()

    async def act(agent: Doer, ctx: MessageContext) -> None:
        if how == "raise":
            raise ZeroDivisionError
        await loop.sleep_forever()

    async with open_runtime(intervention_handlers=[intervene]) as runtime:
        await open_listeners(runtime)
        with loop.move_on_after(1):
            with pytest.raises(ZeroDivisionError):
                await runtime.send_message(act, A)
        check_idle(runtime)
    assert [kind for kind, *_ in intervene.seen] == ["send"]


# IV-02
async def test_a_message_is_seen_when_its_turn_comes_and_not_before(
    autojump_clock: object,
) -> None:
    intervene = Intervene()
    async with SingleThreadedAgentRuntime(intervention_handlers=[intervene]) as runtime:
        await open_listeners(runtime)
        await runtime.publish_message(Note("early"), TO_A)
        assert intervene.seen == []
        runtime.start()
        await runtime.stop_when_idle()
        assert len(intervene.seen) == 1


# IV-02
async def test_a_message_that_is_cancelled_before_its_turn_is_never_seen(
    autojump_clock: object,
) -> None:
    intervene = Intervene()
    token = CancellationToken()
    async with SingleThreadedAgentRuntime(intervention_handlers=[intervene]) as runtime:
        await open_listeners(runtime)
        await runtime.publish_message(Note(), TO_A, cancellation_token=token)
        token.cancel()
        runtime.start()
        await runtime.stop_when_idle()
        assert runtime.statistics().cancelled == 1
        check_idle(runtime)
    assert intervene.seen == []


# --- what may become of it


async def test_a_handler_need_not_be_async(autojump_clock: object) -> None:
    class Shout:
        def on_send(self, message: Any, **_: Any) -> Any:
            return Note(message.text.upper())

        def on_publish(self, message: Any, **_: Any) -> Any:
            return Note(message.text.upper())

        def on_response(self, message: Any, **_: Any) -> Any:
            return Note(message.text + "!")

    handler: Any = Shout()
    async with open_runtime(intervention_handlers=[handler]) as runtime:
        heard = await open_listeners(runtime)
        assert await runtime.send_message(Note("hello"), A) == Note("re: HELLO!")
        await runtime.publish_message(Note("news"), TO_A)
    assert heard == [(A, "HELLO"), (A, "NEWS")]


async def test_a_handler_may_give_a_class_as_the_message(autojump_clock: object) -> None:
    class Made:
        def __init__(self, agent: Doer, ctx: MessageContext) -> None: ...

    class Replace(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            return Made

    async with open_runtime(intervention_handlers=[Replace()]) as runtime:
        await Doer.register(runtime, "doer", Doer)
        assert isinstance(await runtime.send_message(nothing, A), Made)


# IV-04, IV-05, IV-06, IV-10
async def test_each_handler_sees_what_the_one_before_returned(autojump_clock: object) -> None:
    class Add(DefaultInterventionHandler):
        def __init__(self, letter: str) -> None:
            self._letter = letter

        async def on_send(self, message: Any, **_: Any) -> Any:
            return Note(message.text + self._letter)

        async def on_publish(self, message: Any, **_: Any) -> Any:
            return Note(message.text + self._letter.upper())

        async def on_response(self, message: Any, **_: Any) -> Any:
            return Note(message.text + self._letter)

    handlers = [Add("1"), Add("2"), Add("x")]
    async with open_runtime(intervention_handlers=handlers) as runtime:
        heard = await open_listeners(runtime)
        reply = await runtime.send_message(Note("s"), A)
        await runtime.publish_message(Note("p"), TO_A)
        await runtime.stop_when_idle()
    assert heard == [(A, "s12x"), (A, "p12X")]
    assert reply == Note("re: s12x12x")


# IV-11
async def test_a_handler_may_change_a_message_in_place(autojump_clock: object) -> None:
    def shout(message: Any, ctx: MessageContext) -> Any:
        message.text = message.text.upper()
        return message

    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime)
        message = Note("hello", shout)
        await runtime.send_message(message, A)
        assert message.text == "HELLO"
    assert heard == [(A, "HELLO")]


# IV-07
@pytest.mark.parametrize("how", ["send", "publish", "response"])
async def test_none_is_a_warning_and_no_change(autojump_clock: object, how: str) -> None:
    handlers: list[InterventionHandler] = [Intervene(), Intervene()]
    on_way: Look | None = give(None)
    if how == "response":
        handlers, on_way = [Replies(lambda reply: None)], None
    async with open_runtime(intervention_handlers=handlers) as runtime:
        heard = await open_listeners(runtime)
        with pytest.warns(RuntimeWarning, match=r"(Intervene|Replies) returned None"):  # noqa: PT031
            if how == "publish":
                await runtime.publish_message(Note("x", on_way), TO_A)
                await runtime.stop_when_idle()
            else:
                assert await runtime.send_message(Note("x", on_way), A) == Note("re: x")
        check_idle(runtime)
    assert heard == [(A, "x")]


# IV-07
async def test_no_warning_for_a_handler_that_replies_none(autojump_clock: object) -> None:
    async with open_runtime(intervention_handlers=[DefaultInterventionHandler()]) as runtime:
        await open_listeners(runtime)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert await runtime.send_message(nothing, A) is None


# IV-08, GAP-12
@pytest.mark.parametrize("marker", [DropMessage, DropMessage()])
@pytest.mark.parametrize("max_concurrency", [None, 1])
async def test_a_dropped_request_raises_at_its_sender(
    autojump_clock: object, marker: Any, max_concurrency: int | None
) -> None:
    second = Intervene()
    handlers = [Intervene(), second]
    async with open_runtime(intervention_handlers=handlers) as runtime:
        heard = await open_listeners(runtime, max_concurrency=max_concurrency)
        with pytest.raises(MessageDroppedException, match="Note to doer/a"):
            await runtime.send_message(Note("x", give(marker)), A)
        assert second.seen == []
        with idles_within(1):
            await runtime.stop_when_idle()  # AutoGen hangs here
        assert runtime.statistics().dropped == 1
        check_idle(runtime)
    assert heard == []


# IV-08
@pytest.mark.parametrize("marker", [DropMessage, DropMessage()])
async def test_a_dropped_publication_reaches_nobody(autojump_clock: object, marker: Any) -> None:
    async with open_runtime(
        intervention_handlers=[Intervene()], ignore_unhandled_exceptions=False
    ) as runtime:
        heard = await open_listeners(runtime)
        await open_listeners(runtime, "other")
        await runtime.publish_message(Note("x", give(marker)), TO_A)
        with idles_within(1):
            await runtime.stop_when_idle()
        assert runtime.statistics().dropped == 1
        check_idle(runtime)
    assert heard == []


# IV-08, IV-06
@pytest.mark.parametrize("marker", [DropMessage, DropMessage()])
async def test_a_dropped_reply_raises_at_the_sender_after_the_handler_has_run(
    autojump_clock: object, marker: Any
) -> None:
    async with open_runtime(intervention_handlers=[Replies(lambda reply: marker)]) as runtime:
        heard = await open_listeners(runtime)
        with pytest.raises(MessageDroppedException, match="dropped the reply of doer/a"):
            await runtime.send_message(Note("x"), A)
        await runtime.publish_message(Note("y"), TO_A)
        with idles_within(1):
            await runtime.stop_when_idle()
        statistics = runtime.statistics()
        assert (statistics.dropped, statistics.handled) == (1, 1)
        check_idle(runtime)
    assert heard == [(A, "x"), (A, "y")]


# IV-12
@pytest.mark.parametrize("max_concurrency", [None, 1])
async def test_a_handler_that_raises_fails_the_request_at_its_sender(
    autojump_clock: object, max_concurrency: int | None
) -> None:
    second = Intervene()
    async with open_runtime(
        intervention_handlers=[Intervene(), second], ignore_unhandled_exceptions=False
    ) as runtime:
        heard = await open_listeners(runtime, max_concurrency=max_concurrency)
        with pytest.raises(ZeroDivisionError, match="vetoed"):
            await runtime.send_message(Note("x", fail), A)
        assert second.seen == []
        await runtime.send_message(Note("y"), A)
        await runtime.stop_when_idle()
        check_idle(runtime)
    assert heard == [(A, "y")]


# IV-12, RT-13, CONF-16
async def test_a_handler_that_raises_fails_a_publication_by_the_policy(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = SingleThreadedAgentRuntime(
        intervention_handlers=[Intervene()], ignore_unhandled_exceptions=False
    )
    async with runtime:
        heard = await open_listeners(runtime)
        await open_listeners(runtime, "other")
        runtime.start()
        await runtime.publish_message(Note("x", fail), TO_A)  # the publisher never hears of it
        await runtime.publish_message(Note("y"), TO_A)
        with loop.raises_failures() as failures:
            await runtime.stop_when_idle()
        (failure,) = failures.value.exceptions
        assert isinstance(failure, ZeroDivisionError)
        assert "publication to topic news/a" in failure.__notes__[0]
        check_idle(runtime)
    assert heard == [(A, "y")]


# IV-12, IV-06
async def test_a_handler_that_raises_at_a_reply_fails_the_request(autojump_clock: object) -> None:
    def veto(reply: Any) -> Any:
        raise ZeroDivisionError

    async with open_runtime(intervention_handlers=[Replies(veto)]) as runtime:
        heard = await open_listeners(runtime)
        with pytest.raises(ZeroDivisionError):
            await runtime.send_message(Note("x"), A)
        check_idle(runtime)
        assert runtime.statistics().failed == 1
    assert heard == [(A, "x")]


# --- waiting


# IV-02
@pytest.mark.parametrize("kind", ["send", "publish"])
def test_a_handler_that_waits_holds_up_only_what_must_stay_behind(kind: str) -> None:
    async def main() -> None:
        async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
            heard = await open_listeners(runtime)
            async with loop.open_nursery() as nursery:
                slow = Note("slow", after(10))
                if kind == "send":
                    nursery.start_soon(runtime.send_message, slow, A)
                else:
                    nursery.start_soon(runtime.publish_message, slow, TO_A)
                await wait_all_tasks_blocked()
                nursery.start_soon(runtime.send_message, Note("behind"), A)
                await runtime.publish_message(Note("behind"), TO_A)
                await runtime.send_message(Note("other"), B)
                await runtime.publish_message(Note("other"), TopicId("news", "b"))
                await loop.sleep(5)
                assert heard == [(B, "other"), (B, "other")]
                await loop.sleep(6)
                assert heard[2:] == [(A, "slow"), (A, "behind"), (A, "behind")]
            await runtime.stop_when_idle()
            check_idle(runtime)

    under_seeds(main)


# IV-02
async def test_interceptions_of_messages_to_one_agent_go_on_side_by_side(
    autojump_clock: object,
) -> None:
    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime)
        for number in range(10):
            await runtime.publish_message(Note(str(number), after(10 - number)), TO_A)
        await runtime.stop_when_idle()
        assert loop.current_time() == 10
    assert heard == [(A, str(number)) for number in range(10)]


# IV-06
async def test_a_reply_that_is_held_up_holds_up_nobody_else(autojump_clock: object) -> None:
    class Slow(DefaultInterventionHandler):
        async def on_response(self, message: Any, **_: Any) -> Any:
            if message == Note("re: slow"):
                await loop.sleep(10)
            return message

    async with open_runtime(intervention_handlers=[Slow()]) as runtime:
        await open_listeners(runtime)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, Note("slow"), A)
            await wait_all_tasks_blocked()
            await runtime.send_message(Note("quick"), A)
            assert loop.current_time() == 0


# IV-02
def test_an_unrelated_handler_that_ends_lets_no_message_past_its_interception() -> None:
    async def main() -> None:
        intervene = Intervene()
        slow = Note("inner", after(5))

        async def ask_myself(agent: Doer, ctx: MessageContext) -> None:
            await agent.send_message(slow, A)

        async with open_runtime(intervention_handlers=[intervene]) as runtime:
            heard = await open_listeners(runtime)
            async with loop.open_nursery() as nursery:
                nursery.start_soon(runtime.send_message, ask_myself, A)
                nursery.start_soon(runtime.send_message, wait(1), A)
            check_idle(runtime)
        assert heard == [(A, "inner")]
        assert [message for _, message, *_ in intervene.seen].count(slow) == 1

    under_seeds(main)


# IV-02
async def test_a_stop_leaves_messages_with_the_intervention_handlers_in_their_order(
    autojump_clock: object,
) -> None:
    async def ask_myself(agent: Doer, ctx: MessageContext) -> None:
        await loop.sleep(1)
        await agent.send_message(Note("its own", after(8)), A)

    async with loop.open_nursery() as nursery:
        async with SingleThreadedAgentRuntime(intervention_handlers=[Intervene()]) as runtime:
            heard = await open_listeners(runtime)
            runtime.start()
            nursery.start_soon(runtime.send_message, ask_myself, A)
            await wait_all_tasks_blocked()
            await runtime.publish_message(Note("from outside", after(5)), TO_A)
            await loop.sleep(2)
            nursery.start_soon(runtime.stop)
            await loop.sleep(4)
            assert heard == [(A, "from outside")]
            await runtime.close()
    assert heard == [(A, "from outside"), (A, "its own")]


# --- sending


# IV-02
@pytest.mark.parametrize("kind", ["send", "publish"])
@pytest.mark.parametrize("recipient", [A, B])
@pytest.mark.parametrize("max_concurrency", [None, 1])
@pytest.mark.parametrize("factory", ["quick", "slow"])
def test_a_handler_may_send_also_to_the_recipient(
    kind: str, recipient: AgentId, max_concurrency: int | None, factory: str
) -> None:
    async def main() -> None:
        answers: list[Any] = []

        async def ask(message: Any) -> Any:
            if message is nothing:  # or there would be no end of it
                answers.append(await runtime.send_message(lambda a, c: "fine", recipient))
            return message

        class Ask(DefaultInterventionHandler):
            async def on_send(self, message: Any, **_: Any) -> Any:
                return await ask(message)

            async def on_publish(self, message: Any, **_: Any) -> Any:
                return await ask(message)

        async with open_runtime(intervention_handlers=[Ask()]) as runtime:
            await Doer.register(
                runtime,
                "doer",
                Doer if factory == "quick" else make_slowly,
                max_concurrency=max_concurrency,
            )
            await runtime.add_subscription(TypeSubscription("news", "doer"))
            if kind == "send":
                await runtime.send_message(nothing, A)
            else:
                await runtime.publish_message(nothing, TO_A)
            await runtime.stop_when_idle()
            check_idle(runtime)
        assert answers == ["fine"]

    under_seeds(main, seeds=5)


# IV-02, IV-06
async def test_a_handler_may_ask_the_asker_before_it_gets_its_reply(
    autojump_clock: object,
) -> None:
    class AskBack(DefaultInterventionHandler):
        async def on_response(self, message: Any, *, sender: AgentId, recipient: Any) -> Any:
            if message == "reply":
                return await runtime.send_message(lambda a, c: f"by {a.id.key}", recipient)
            return message

    async def ask_b(agent: Doer, ctx: MessageContext) -> Any:
        return await agent.send_message(lambda a, c: "reply", B)

    async with open_runtime(intervention_handlers=[AskBack()]) as runtime:
        await open_listeners(runtime, max_concurrency=1)
        assert await runtime.send_message(ask_b, A) == "by a"


# IV-02
async def test_a_handler_may_publish_also_to_the_recipient(autojump_clock: object) -> None:
    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime, max_concurrency=1)
        follow_up = after(1, lambda: runtime.publish_message(Note("audit"), TO_A))
        await runtime.send_message(Note("x", follow_up), A)
        await runtime.publish_message(Note("y", follow_up), TO_A)
        await runtime.stop_when_idle()
        check_idle(runtime)
    # What an intervention handler publishes is no call: it stays behind.
    assert heard == [(A, "x"), (A, "audit"), (A, "y"), (A, "audit")]


# IV-02
async def test_what_a_handler_sends_to_the_recipient_respects_its_limit(
    autojump_clock: object,
) -> None:
    running = 0
    most = 0

    async def act(agent: Doer, ctx: MessageContext) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await loop.sleep(5)
        running -= 1

    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime, max_concurrency=1)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, act, A)
            await wait_all_tasks_blocked()
            ask_too = after(1, lambda: runtime.send_message(act, A))
            nursery.start_soon(runtime.send_message, Note("x", ask_too), A)
            await wait_all_tasks_blocked()
            nursery.start_soon(runtime.send_message, Note("behind"), A)
        check_idle(runtime)
    assert most == 1
    assert heard == [(A, "x"), (A, "behind")]


# IV-02
def test_interceptions_that_would_wait_for_each_other_are_refused() -> None:
    async def main() -> None:
        errors: list[str] = []
        async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
            heard = await open_listeners(runtime)

            async def send(to: AgentId, other: AgentId) -> None:
                ask_other = after(1, lambda: runtime.send_message(Note("inner"), other))
                try:
                    await runtime.send_message(Note("outer", ask_other), to)
                except DeadlockError as exc:
                    errors.append(str(exc))

            async with loop.open_nursery() as nursery:
                nursery.start_soon(send, A, B)
                nursery.start_soon(send, B, A)
            check_idle(runtime)
        (error,) = errors
        assert "doer/a -> doer/b -> doer/a" in error or "doer/b -> doer/a -> doer/b" in error
        assert sorted(text for _, text in heard) == ["inner", "outer"]

    under_seeds(main)


# IV-02
async def test_a_handler_that_waits_for_room_behind_its_own_message_is_refused(
    autojump_clock: object,
) -> None:
    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime, mailbox_size=1)
        too_much = after(0, lambda: runtime.publish_message(Note("y"), TO_A))
        with pytest.raises(DeadlockError, match="doer/a"):
            await runtime.send_message(Note("x", too_much), A)
        await runtime.send_message(Note("z"), A)
        check_idle(runtime)
    assert heard == [(A, "z")]


# --- cancelling and stopping


@pytest.mark.parametrize("how", ["scope", "token"])
@pytest.mark.parametrize("max_concurrency", [None, 1])
def test_a_message_may_be_cancelled_while_it_is_intercepted(
    how: str, max_concurrency: int | None
) -> None:
    async def main() -> None:
        cleaned: list[float] = []

        async def look(message: Any, ctx: MessageContext) -> Any:
            try:
                await loop.sleep(100)
            finally:
                with loop.CancelScope(shield=True):
                    await loop.sleep(1)
                cleaned.append(loop.current_time())

        async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
            heard = await open_listeners(runtime, max_concurrency=max_concurrency)
            scope, token = loop.CancelScope(), CancellationToken()
            ended: list[float] = []

            async def send() -> None:
                with scope:
                    try:
                        await runtime.send_message(Note("x", look), A, cancellation_token=token)
                    except loop.MessageCancelled:
                        assert how == "token"
                assert scope.cancelled_caught == (how == "scope")
                ended.append(loop.current_time())

            async with loop.open_nursery() as nursery:
                nursery.start_soon(send)
                await wait_all_tasks_blocked()
                nursery.start_soon(runtime.send_message, Note("behind"), A)
                await loop.sleep(5)
                (scope if how == "scope" else token).cancel()
            check_idle(runtime)
        assert cleaned == ended == [6]  # promise 1
        assert heard == [(A, "behind")]

    under_seeds(main, seeds=10)


async def test_a_publication_may_be_cancelled_while_it_is_intercepted(
    autojump_clock: object,
) -> None:
    token = CancellationToken()
    async with open_runtime(
        intervention_handlers=[Intervene()], ignore_unhandled_exceptions=False
    ) as runtime:
        heard = await open_listeners(runtime)
        await open_listeners(runtime, "other")
        await runtime.publish_message(Note("x", after(100)), TO_A, cancellation_token=token)
        await runtime.publish_message(Note("behind"), TO_A)
        await loop.sleep(1)
        token.cancel()
        await runtime.stop_when_idle()
        assert loop.current_time() == 1
        assert runtime.statistics().cancelled == 1
        check_idle(runtime)
    assert heard == [(A, "behind")]


# Cancelled just then, and the intervention handler ended without noticing.
@pytest.mark.parametrize("how", ["scope", "token"])
async def test_a_message_that_was_cancelled_during_its_interception_is_not_handled(
    autojump_clock: object, how: str
) -> None:
    scope, token = loop.CancelScope(), CancellationToken()

    def cancel(message: Any, ctx: MessageContext) -> Any:
        (scope if how == "scope" else token).cancel()
        return message

    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime)
        with scope:
            try:
                await runtime.send_message(Note("x", cancel), A, cancellation_token=token)
            except loop.MessageCancelled:
                assert how == "token"
        assert runtime.statistics().cancelled == 1
        check_idle(runtime)
    assert heard == []


async def test_a_token_cancelled_by_the_handler_of_its_publication_spares_nobody(
    autojump_clock: object,
) -> None:
    token = CancellationToken()

    def cancel(message: Any, ctx: MessageContext) -> Any:
        ctx.cancellation_token.cancel()
        return message

    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime)
        await runtime.publish_message(Note("x", cancel), TO_A, cancellation_token=token)
        await runtime.stop_when_idle()
        check_idle(runtime)
    assert heard == []


def test_a_stop_lets_an_interception_and_its_message_end() -> None:
    async def main() -> None:
        async with SingleThreadedAgentRuntime(intervention_handlers=[Intervene()]) as runtime:
            heard = await open_listeners(runtime)
            runtime.start()
            undeliverable: list[Any] = []

            async def send_behind() -> None:
                try:
                    await runtime.send_message(Note("behind"), A)
                except UndeliverableException as exc:
                    undeliverable.append(exc)

            async def ask_myself(agent: Doer, ctx: MessageContext) -> Any:
                return await agent.send_message(Note("inner", after(5)), A)

            async with loop.open_nursery() as nursery:
                nursery.start_soon(runtime.send_message, Note("x", after(5)), B)
                nursery.start_soon(runtime.send_message, ask_myself, A)
                await wait_all_tasks_blocked()
                nursery.start_soon(send_behind)
                await wait_all_tasks_blocked()
                await runtime.stop()
                check_idle(runtime)
            assert sorted(text for _, text in heard) == ["inner", "x"]
            assert len(undeliverable) == 1
            runtime.start()
            await runtime.send_message(Note("again"), A)

    under_seeds(main)


async def test_a_stop_with_a_deadline_cancels_interceptions(autojump_clock: object) -> None:
    async with SingleThreadedAgentRuntime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime)
        runtime.start()
        async with loop.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(loop.MessageCancelled, match="deadline"):
                    await runtime.send_message(Note("x", after(100)), A)

            nursery.start_soon(send)
            await runtime.publish_message(Note("y", after(100)), TO_A)
            await wait_all_tasks_blocked()
            await runtime.stop(deadline=loop.current_time() + 5)
        assert loop.current_time() == 5
        assert runtime.statistics().cancelled == 2
        check_idle(runtime)
    assert heard == []


# An interception that ends together with what it had to wait for, in any order.
def test_interceptions_and_cancellations_may_come_in_any_order() -> None:
    async def main() -> None:
        async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
            heard = await open_listeners(runtime, max_concurrency=1)
            scopes = [loop.CancelScope() for _ in range(12)]

            async def send(number: int) -> None:
                with scopes[number]:
                    await runtime.send_message(Note(str(number), after(number % 3)), A)

            async with loop.open_nursery() as nursery:
                for number in range(12):
                    nursery.start_soon(send, number)
                    await wait_all_tasks_blocked()
                await loop.sleep(1)
                for number in (0, 1, 2, 5, 11):
                    scopes[number].cancel()
                    await loop.checkpoint()
            check_idle(runtime)
            numbers = [int(text) for _, text in heard]
            assert numbers == sorted(numbers)
            assert {3, 4, 6, 7, 8, 9, 10} <= {*numbers}

    under_seeds(main, seeds=30)


async def test_what_a_handler_does_to_context_variables_stays_its_own(
    autojump_clock: object,
) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="untouched")
    seen: list[str] = []

    def touch(message: Any, ctx: MessageContext) -> Any:
        seen.append(variable.get())
        variable.set("touched")
        return message

    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        await open_listeners(runtime)
        for _ in range(3):
            await runtime.send_message(Note("x", touch), A)
            look = note(seen, "handler", lambda a, c: seen.append(variable.get()))
            await runtime.send_message(look, A)
    assert set(seen) == {"untouched", "handler"}


async def test_a_changed_context_variable_does_not_cost_a_message_its_turn(
    autojump_clock: object,
) -> None:
    def touch(message: Any, ctx: MessageContext) -> Any:
        variable.set(message.text)
        return message

    variable: ContextVar[str] = ContextVar("variable")
    async with SingleThreadedAgentRuntime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime)
        for text in ("first", "second", "third"):
            await runtime.publish_message(Note(text, touch), TO_A)
        runtime.start()
        await runtime.stop_when_idle()
    assert [text for _, text in heard] == ["first", "second", "third"]


async def test_a_bounded_mailbox_gets_the_message_as_it_was_changed(
    autojump_clock: object,
) -> None:
    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime, mailbox_size=1)
        await runtime.publish_message(Note("before", give(Note("after"))), TO_A)
        await runtime.stop_when_idle()
    assert heard == [(A, "after")]


@pytest.mark.parametrize("waits", [False, True])
async def test_a_subscription_that_raises_fails_an_intercepted_publication_once(
    autojump_clock: object, waits: bool
) -> None:
    class Broken(TypeSubscription):
        def is_match(self, topic_id: TopicId) -> bool:
            raise ZeroDivisionError

    runtime = SingleThreadedAgentRuntime(
        intervention_handlers=[Intervene()], ignore_unhandled_exceptions=False
    )
    async with runtime:
        await open_listeners(runtime)
        await runtime.add_subscription(Broken("olds", "doer"))
        runtime.start()
        seen: list[str] = []
        await runtime.publish_message(
            Note("x", after(1, lambda: seen_by(seen)) if waits else None), TO_A
        )
        with loop.raises_failures() as caught:
            await runtime.stop_when_idle()
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        assert runtime.statistics().failed == 1
        assert seen == ["looked"] * waits
        check_idle(runtime)


async def seen_by(seen: list[str]) -> None:
    seen.append("looked")


@pytest.mark.parametrize("to", [A, TO_A])
async def test_a_token_that_an_intervention_handler_cancels_stops_the_message(
    autojump_clock: object, to: AgentId | TopicId
) -> None:
    token = CancellationToken()

    def cancel(message: Any, ctx: MessageContext) -> Any:
        ctx.cancellation_token.cancel()
        return message

    async with open_runtime(intervention_handlers=[Intervene()]) as runtime:
        heard = await open_listeners(runtime)
        if isinstance(to, TopicId):
            await runtime.publish_message(Note("x", cancel), to, cancellation_token=token)
            await runtime.stop_when_idle()
        else:
            with pytest.raises(loop.MessageCancelled):
                await runtime.send_message(Note("x", cancel), to, cancellation_token=token)
        assert runtime.statistics().cancelled == 1
        check_idle(runtime)
    assert heard == []


async def test_intercepted_messages_are_not_kept(autojump_clock: object) -> None:
    async with open_runtime(intervention_handlers=[DefaultInterventionHandler()]) as runtime:
        await open_listeners(runtime)
        for number in range(100):
            await runtime.send_message(Note(f"kept {number}"), A)
            await runtime.publish_message(Note(f"kept {number}"), TO_A)
        await runtime.stop_when_idle()
        gc.collect()
        kept = [x for x in gc.get_objects() if isinstance(x, Note) and x.text.startswith("kept")]
        assert len(kept) <= 10


async def test_messages_that_are_dropped_leave_no_trace_of_an_agent_that_was_never_made() -> None:
    class Drop(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            return DropMessage

    async def send() -> None:
        with pytest.raises(MessageDroppedException):
            await runtime.send_message("dropped", AgentId("doer", "x"))

    # The second one waits for room, and is dropped in the step in which it comes in.
    async with open_runtime(intervention_handlers=[Drop()], max_pending=1) as runtime:
        await Doer.register(runtime, "doer", Doer)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(send)
        assert not runtime._activations
