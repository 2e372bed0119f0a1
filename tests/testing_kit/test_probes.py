from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from trio_agents import (
    AgentId,
    CancellationToken,
    DefaultSubscription,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    message_handler,
)
from trio_agents.testing._probes import Probe, ProbeFailed
from trio_agents.testing._scripted import sleeps
from trio_agents.testing._waiting import wait_all_tasks_blocked

from .harness import MessageCancelled, open_runtime

MODEL = AgentId("model", "default")
ASSISTANT = AgentId("assistant", "x")


@dataclass(frozen=True)
class Ask:
    question: str


@dataclass(frozen=True)
class Answer:
    text: str


class Assistant(RoutedAgent):
    """Asks the model, and tells the sender, or the topic."""

    def __init__(self) -> None:
        super().__init__("answers")

    @message_handler
    async def ask(self, message: Ask, ctx: MessageContext) -> Answer:
        return Answer(await self.send_message(message.question, MODEL))

    @event
    async def on_text(self, message: str, ctx: MessageContext) -> None:
        await self.publish_message(Answer(message), DefaultTopicId())

    @message_handler
    async def on_number(self, message: int, ctx: MessageContext) -> None:
        assert ctx.sender is not None
        for number in range(message):
            await self.send_message(number, ctx.sender)


async def expect_failure(awaitable: Any) -> str:
    with pytest.raises(ProbeFailed) as info:
        await awaitable
    return str(info.value)


async def test_a_probe_is_given_what_its_agent_gets() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        await Assistant.register(runtime, "assistant", Assistant)
        await runtime.send_message(Ask("why?"), ASSISTANT)
        assert await model.expect(str) == "why?"
        assert model.last.ctx.sender == ASSISTANT
        assert model.last.recipient == MODEL
        assert [one.message for one in model.received] == ["why?"]


async def test_a_message_that_comes_later_is_waited_for() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        model = await Probe.register(runtime, "model")

        async def send_later() -> None:
            await anyio.sleep(4)
            await runtime.send_message("late", MODEL)

        tasks.start_soon(send_later)
        assert await model.expect(str) == "late"


async def test_each_message_is_given_once_and_in_order() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        for number in range(3):
            await runtime.send_message(number, MODEL)
        assert [await model.expect(int) for _ in range(3)] == [0, 1, 2]
        await model.expect_none()


async def test_agents_of_all_keys_are_the_probe() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model", key="a")
        await runtime.send_message("one", AgentId("model", "a"))
        await runtime.send_message("two", AgentId("model", "b"))
        await model.expect()
        await model.expect()
        assert [one.recipient.key for one in model.received] == ["a", "b"]


async def test_another_message_than_the_expected_fails_at_once() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        await runtime.send_message(1, MODEL, sender=ASSISTANT)
        text = await expect_failure(model.expect(str))
        assert text == ("model expected a message of type str, and got 1 from assistant/x directly")
        assert await model.expect(int) == 1  # it is still there


async def test_a_message_of_the_right_class_may_be_the_wrong_one() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        await runtime.send_message(1, MODEL)

        def is_even(number: int) -> bool:
            return number % 2 == 0

        text = await expect_failure(model.expect(int, where=is_even))
        assert "of which is_even is true, and got 1" in text


async def test_others_can_be_skipped() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        for message in (1, 2, "three"):
            await runtime.send_message(message, MODEL)
        assert await model.expect(str, skip_others=True) == "three"
        text = await expect_failure(model.expect(str, skip_others=True))
        assert "none came within 5 s" in text


async def test_only_skipped_messages_are_counted() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        await runtime.send_message(1, MODEL)
        text = await expect_failure(model.expect(str, skip_others=True))
        assert "only 1 others" in text


async def test_nothing_in_time_fails_by_the_clock_of_the_loop() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        began = anyio.current_time()
        text = await expect_failure(model.expect(str, within=3600))
        assert anyio.current_time() - began == pytest.approx(3600)
        assert "within 3600 s" in text


async def test_the_error_says_what_came_and_what_reached_nobody() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        await runtime.send_message(1, MODEL)
        await model.expect(int)
        await runtime.publish_message("lost", TopicId("nobody", "x"))
        text = await expect_failure(model.expect(str))
        assert "so far it got 1, lastly int" in text
        assert "undeliverable: str for nobody/x" in text


async def test_a_message_in_the_last_moment_counts() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        model = await Probe.register(runtime, "model")

        async def send_at_five() -> None:
            await anyio.sleep(5)
            await runtime.send_message("now", MODEL)

        tasks.start_soon(send_at_five)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(4)
            assert await model.expect(str, within=1.001) == "now"


async def test_an_infinite_wait_ends_with_the_message() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        model = await Probe.register(runtime, "model")

        async def send_later() -> None:
            await anyio.sleep(80_000)
            await runtime.send_message("at last", MODEL)

        tasks.start_soon(send_later)
        assert await model.expect(str, within=math.inf) == "at last"


async def test_a_cancelled_expectation_has_taken_nothing() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        with anyio.move_on_after(1):
            await model.expect(str, within=math.inf)
        await runtime.send_message("later", MODEL)
        assert await model.expect(str) == "later"


async def test_nothing_is_nothing_until_all_tasks_wait() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(
            runtime, "model", subscriptions=lambda: [DefaultSubscription()]
        )
        await model.expect_none()
        await runtime.publish_message("news", DefaultTopicId())
        text = await expect_failure(model.expect_none())
        assert "expected no message of type object, and got" in text
        assert "'news' on topic default/default" in text


async def test_only_messages_of_the_class_are_unexpected() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        await runtime.send_message(1, MODEL)
        await model.expect_none(str)
        await expect_failure(model.expect_none(int))


async def test_nothing_within_some_time_takes_that_time() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        model = await Probe.register(runtime, "model")
        began = anyio.current_time()
        await model.expect_none(within=10)
        assert anyio.current_time() - began == pytest.approx(10)

        async def send_later() -> None:
            await anyio.sleep(9)
            await runtime.send_message("later", MODEL)

        tasks.start_soon(send_later)
        await expect_failure(model.expect_none(within=10))
        assert anyio.current_time() - began == pytest.approx(19)


async def test_many_unexpected_messages_are_not_all_shown() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        for number in range(8):
            await runtime.send_message(number, MODEL)
        text = await expect_failure(model.expect_none())
        assert text.endswith("4 directly\n  and 3 more")


async def test_a_probe_answers_none_until_it_is_told_what() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        assert await runtime.send_message("?", MODEL) is None
        model.answer_with("first", "then")
        answers = [await runtime.send_message("?", MODEL) for _ in range(3)]
        assert answers == ["first", "then", "then"]


async def test_a_probe_raises_calls_and_acts() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")

        async def shout(message: Any, ctx: MessageContext) -> str:
            return f"{message}!".upper()

        error = ValueError("an object")
        model.answer_with(KeyError, error, shout, sleeps(60).then("slow"))
        with pytest.raises(KeyError):
            await runtime.send_message("a", MODEL)
        with pytest.raises(ValueError, match="an object") as info:
            await runtime.send_message("b", MODEL)
        assert info.value is error
        assert await runtime.send_message("c", MODEL) == "C!"
        began = anyio.current_time()
        assert await runtime.send_message("d", MODEL) == "slow"
        assert anyio.current_time() - began == pytest.approx(60)


async def test_a_held_message_waits_for_its_reply() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        model = await Probe.register(runtime, "model")
        await Assistant.register(runtime, "assistant", Assistant)
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await runtime.send_message(Ask("why?"), ASSISTANT))

        model.hold()
        tasks.start_soon(ask)
        await model.expect(str)
        await wait_all_tasks_blocked()
        assert (answers, model.last.has_ended()) == ([], False)
        model.reply("because")
        await wait_all_tasks_blocked()
        assert (answers, model.last.has_ended()) == ([Answer("because")], True)


async def test_a_held_message_can_fail() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        model = await Probe.register(runtime, "model")
        model.hold()

        async def reply() -> None:
            await model.expect(str)
            model.reply(ZeroDivisionError)

        tasks.start_soon(reply)
        with pytest.raises(ZeroDivisionError):
            await runtime.send_message("?", MODEL)


async def test_a_message_is_answered_once() -> None:
    async with open_runtime() as runtime:
        model = await Probe.register(runtime, "model")
        with pytest.raises(LookupError, match="has expected nothing yet"):
            model.reply("too early")
        await runtime.send_message("?", MODEL)
        await model.expect()
        with pytest.raises(RuntimeError, match=r"'\?' directly has been answered already"):
            model.reply("again")


async def test_a_probe_sees_its_sender_give_up() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        model = await Probe.register(runtime, "model")
        await Assistant.register(runtime, "assistant", Assistant)
        token = CancellationToken()

        async def ask() -> None:
            with pytest.raises(MessageCancelled):
                await runtime.send_message(Ask("why?"), ASSISTANT, cancellation_token=token)

        model.hold()
        tasks.start_soon(ask)
        await model.expect(str)
        token.cancel()
        await model.last.wait_ended()
        assert model.last.was_cancelled
        with pytest.raises(RuntimeError, match="was cancelled"):
            model.reply("too late")


async def test_an_agent_answers_the_probe_that_asked() -> None:
    async with open_runtime() as runtime:
        me = await Probe.register(runtime, "me", key="tester")
        await Assistant.register(runtime, "assistant", Assistant)
        await me.send_message(2, ASSISTANT)
        assert [await me.expect(int), await me.expect(int)] == [0, 1]
        assert me.last.recipient == me.id == AgentId("me", "tester")


async def test_a_probe_does_not_hear_itself_and_hears_the_answer() -> None:
    async with open_runtime() as runtime:
        me = await Probe.register(runtime, "me", subscriptions=lambda: [DefaultSubscription()])
        await Assistant.register(runtime, "assistant", Assistant)
        await runtime.add_subscription(TypeSubscription("default", "assistant"))
        await me.publish_message("hello", DefaultTopicId())
        assert await me.expect(Answer) == Answer("hello")
        assert me.last.ctx.topic_id == TopicId("default", "default")
        await me.expect_none()


async def test_two_probes_cannot_be_one_type() -> None:
    async with open_runtime() as runtime:
        await Probe.register(runtime, "model")
        with pytest.raises(ValueError, match="model"):
            await Probe.register(runtime, "model")


async def test_a_probe_lives_under_limits() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        model = await Probe.register(runtime, "model", max_concurrency=1)
        model.hold()
        tasks.start_soon(runtime.send_message, 1, MODEL)
        tasks.start_soon(runtime.send_message, 2, MODEL)
        await wait_all_tasks_blocked()
        assert len(model.received) == 1
        for _ in range(2):
            await model.expect()
            model.reply()


async def test_a_probe_is_part_of_a_saved_state() -> None:
    async with open_runtime() as runtime:
        await Probe.register(runtime, "model")
        await runtime.send_message(1, MODEL)
        state = await runtime.save_state()
        await runtime.load_state(state)
        assert state == {"model/default": {}}


@pytest.mark.parametrize("expected", [Ask("why?"), "hello"])
async def test_a_message_in_place_of_its_class_is_refused_at_once(expected: Any) -> None:
    async with open_runtime() as runtime:
        probe = await Probe.register(runtime, "model")
        with pytest.raises(TypeError, match="a probe expects a class of messages, not "):
            await probe.expect(expected)
        with pytest.raises(TypeError, match="a probe expects a class of messages, not "):
            await probe.expect_none(expected)
