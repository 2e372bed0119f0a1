# docs/guides/testing.md: tests of one's own agents, with pytest and pytest-trio.

# [head]
import threading
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from trio_agents import (
    AgentId,
    DefaultTopicId,
    MessageContext,
    MessageHandlerContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    default_subscription,
    event,
    rpc,
)
from trio_agents.testing import (
    Probe,
    ScriptedAgent,
    hangs,
    no_leaks,
    raises,
    returns,
    sleeps,
    wait_all_tasks_blocked,
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


ASSISTANT = AgentId("assistant", "x")


# [/agents]
# [first]
async def test_the_assistant_asks_a_model(runtime: SingleThreadedAgentRuntime) -> None:
    await Assistant.register(runtime, "assistant", Assistant)
    model = await Probe.register(runtime, "model")
    model.answer_with("because")
    answer = await runtime.send_message(Ask("why?"), ASSISTANT)
    assert answer == Answer("because")
    assert await model.expect(str) == "why?"


# [/first]
# [fixtures]
@pytest.fixture
async def model(runtime: SingleThreadedAgentRuntime) -> Probe:
    await Assistant.register(runtime, "assistant", Assistant)
    return await Probe.register(runtime, "model")


# [/fixtures]
# [published]
async def test_it_tells_everybody(
    runtime: SingleThreadedAgentRuntime, model: Probe, probe: Probe
) -> None:
    model.answer_with("because")
    await runtime.publish_message(Ask("why?"), DefaultTopicId())
    assert await probe.expect(Ask) == Ask("why?")
    assert await probe.expect(Answer) == Answer("because")
    assert probe.last.ctx.sender == AgentId("assistant", "default")
    await probe.expect_none()


# [/published]
# [hold]
async def test_it_tells_nobody_before_it_knows(
    runtime: SingleThreadedAgentRuntime, model: Probe, probe: Probe
) -> None:
    model.hold()
    await runtime.publish_message(Ask("why?"), DefaultTopicId())
    await model.expect(str)
    await probe.expect(Ask)
    await probe.expect_none(Answer)
    model.reply("because")
    assert await probe.expect(Answer) == Answer("because")


# [/hold]
# [cancel]
async def test_nobody_works_on_when_the_caller_gives_up(
    runtime: SingleThreadedAgentRuntime, model: Probe
) -> None:
    model.hold()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.send_message, Ask("why?"), ASSISTANT)
        await model.expect(str)
        nursery.cancel_scope.cancel()
    assert model.last.was_cancelled
    counts = runtime.statistics()
    assert (counts.cancelled, counts.pending) == (2, 0)


# [/cancel]
# [clock]
async def test_it_gives_up_after_a_minute(
    runtime: SingleThreadedAgentRuntime, model: Probe, autojump_clock: MockClock
) -> None:
    model.answer_with(sleeps(3600))
    answer = await runtime.send_message(Ask("why?"), ASSISTANT)
    assert answer == Answer("no answer in time")
    assert trio.current_time() == pytest.approx(60)


# [/clock]
# [scripted]
async def test_an_error_of_the_model_reaches_the_caller(
    runtime: SingleThreadedAgentRuntime,
) -> None:
    def unreliable() -> ScriptedAgent:
        return ScriptedAgent(raises(ConnectionError), returns("because"), hangs())

    await Assistant.register(runtime, "assistant", Assistant)
    await ScriptedAgent.register(runtime, "model", unreliable)
    with pytest.raises(ConnectionError):
        await runtime.send_message(Ask("why?"), ASSISTANT)
    assert await runtime.send_message(Ask("why?"), ASSISTANT) == Answer("because")


# [/scripted]
# [blocked]
async def test_two_questions_are_asked_at_the_same_time(
    runtime: SingleThreadedAgentRuntime, model: Probe
) -> None:
    model.hold()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.send_message, Ask("why?"), ASSISTANT)
        nursery.start_soon(runtime.send_message, Ask("how?"), ASSISTANT)
        await wait_all_tasks_blocked()
        assert sorted(received.message for received in model.received) == ["how?", "why?"]
        nursery.cancel_scope.cancel()


# [/blocked]
# [leaks]
async def test_it_leaves_nothing_behind() -> None:
    async with no_leaks():
        async with SingleThreadedAgentRuntime() as runtime:
            runtime.start()
            await Assistant.register(runtime, "assistant", Assistant)
            await Probe.register(runtime, "model")
            await runtime.send_message(Ask("why?"), ASSISTANT)
            await runtime.stop_when_idle()


def test_a_thread_that_was_left_is_found() -> None:
    event = threading.Event()
    with pytest.raises(AssertionError, match=r"1 leak:\n- thread: <Thread\(forgotten"):
        with no_leaks(patience=0):
            threading.Thread(target=event.wait, name="forgotten").start()
    event.set()


# [/leaks]
# [direct]
async def test_a_handler_is_a_method() -> None:
    class Parrot(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("says the same")

        @rpc
        async def say(self, message: Ask, ctx: MessageContext) -> Answer:
            return Answer(f"{MessageHandlerContext.agent_id()}: {message.question}")

    ctx = MessageContext(sender=None, topic_id=None, is_rpc=True)
    with MessageHandlerContext.populate_context(AgentId("parrot", "x")):
        assert await Parrot().say(Ask("hello"), ctx) == Answer("parrot/x: hello")


# [/direct]
if __name__ == "__main__":
    import subprocess
    import sys

    # An installed trio_agents brings its plugin with it, a checkout does not.
    plugin = ["-p", "no:trio_agents", "-p", "trio_agents.testing.pytest_plugin"]
    options = ["-q", "-p", "no:cacheprovider", "-o", "trio_mode=true"]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *plugin, *options, __file__]))
