# docs/guides/testing.md: tests of one's own agents, with pytest and pytest-trio.

# [head]
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from trio_agents import (
    AgentId,
    ClosureAgent,
    ClosureContext,
    DefaultSubscription,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    default_subscription,
    event,
    open_runtime,
    rpc,
)

# [/head]


# [agents]
@dataclass(frozen=True)
class Ask:
    question: str


@dataclass(frozen=True)
class Answer:
    text: str


@default_subscription
class Assistant(RoutedAgent):
    """Asks a model, gives up after a minute, and tells everybody."""

    def __init__(self) -> None:
        super().__init__("answers")

    @rpc
    async def ask(self, message: Ask, ctx: MessageContext) -> Answer:
        with trio.move_on_after(60):
            return Answer(await self.send_message(message.question, AgentId("model", "default")))
        return Answer("no answer in time")

    @event
    async def on_ask(self, message: Ask, ctx: MessageContext) -> None:
        await self.publish_message(await self.ask(message, ctx), DefaultTopicId())


# [/agents]
# [direct]
async def test_a_handler_is_a_method() -> None:
    class Parrot(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("says the same")

        @rpc
        async def say(self, message: Ask, ctx: MessageContext) -> Answer:
            return Answer(message.question)

    ctx = MessageContext(sender=None, topic_id=None, is_rpc=True)
    assert await Parrot().say(Ask("hello"), ctx) == Answer("hello")


# [/direct]
# [fixture]
@pytest.fixture
async def runtime() -> AsyncGenerator[SingleThreadedAgentRuntime, None]:
    async with open_runtime(ignore_unhandled_exceptions=False, strict=True) as runtime:
        await Assistant.register(runtime, "assistant", Assistant)
        yield runtime


# [/fixture]
# [fake]
class FakeModel(RoutedAgent):
    """Answers at once, or never."""

    def __init__(self) -> None:
        super().__init__("stands in for the model")

    @rpc
    async def complete(self, prompt: str, ctx: MessageContext) -> str:
        if prompt == "slow":
            await trio.sleep_forever()
        return prompt.upper()


async def test_the_assistant_answers(runtime: SingleThreadedAgentRuntime) -> None:
    await FakeModel.register(runtime, "model", FakeModel)
    answer = await runtime.send_message(Ask("why?"), AgentId("assistant", "x"))
    assert answer == Answer("WHY?")


# [/fake]
# [clock]
async def test_it_gives_up_after_a_minute(
    runtime: SingleThreadedAgentRuntime, autojump_clock: MockClock
) -> None:
    await FakeModel.register(runtime, "model", FakeModel)
    began = trio.current_time()
    answer = await runtime.send_message(Ask("slow"), AgentId("assistant", "x"))
    assert answer == Answer("no answer in time")
    assert trio.current_time() - began == pytest.approx(60)


# [/clock]
# [collect]
async def test_it_tells_everybody(
    runtime: SingleThreadedAgentRuntime, autojump_clock: MockClock
) -> None:
    heard: list[Answer] = []

    async def collect(agent: ClosureContext, message: Answer, ctx: MessageContext) -> None:
        heard.append(message)

    await FakeModel.register(runtime, "model", FakeModel)
    await ClosureAgent.register_closure(
        runtime,
        "collector",
        collect,
        unknown_type_policy="ignore",
        subscriptions=lambda: [DefaultSubscription()],
    )
    await runtime.publish_message(Ask("why?"), DefaultTopicId())
    await trio.testing.wait_all_tasks_blocked()
    assert heard == [Answer("WHY?")]


# [/collect]
# [cancel]
async def test_nobody_works_on_when_the_caller_gives_up(
    runtime: SingleThreadedAgentRuntime, autojump_clock: MockClock
) -> None:
    await FakeModel.register(runtime, "model", FakeModel)
    with trio.move_on_after(1):
        await runtime.send_message(Ask("slow"), AgentId("assistant", "x"))
    counts = runtime.statistics()
    assert (counts.cancelled, counts.pending) == (2, 0)


# [/cancel]
if __name__ == "__main__":
    options = ["-q", "-p", "no:cacheprovider", "-o", "trio_mode=true"]
    raise SystemExit(pytest.main([*options, __file__]))
