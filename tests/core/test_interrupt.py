"""Ctrl-C, wherever it hits: one bare `KeyboardInterrupt` leaves the run, and nothing is left over.

trio raises it in the application's code, where that runs, and else in the main task when that waits
next. `restrict_keyboard_interrupt_to_checkpoints` stays False: the harder of the two.
"""

from __future__ import annotations

import gc
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio._core._run as scheduler
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_agents import (
    AgentId,
    AgentRuntime,
    BaseAgent,
    CancellationToken,
    DefaultInterventionHandler,
    MessageContext,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    open_runtime,
)
from trio_agents.testing.nightly._interrupts import LineTracer

pytestmark = pytest.mark.only_on(
    "trio", "trio raises KeyboardInterrupt wherever the program is; asyncio cancels the main task"
)

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

A = AgentId("actor", "a")
B = AgentId("actor", "b")
NEWS = TopicId("news", "a")


class Actor(BaseAgent):
    """Does what the message says: messages are functions."""

    def __init__(self) -> None:
        super().__init__("an actor")

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)


async def answer(agent: Actor, ctx: MessageContext) -> str:
    return "answer"


@pytest.fixture(autouse=True)
def _the_same_schedule_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)


class Counting(Actor):
    """Waits in all that it is asked for, and has that counted."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.scenario = scenario
        self.closed = 0

    async def bind_id_and_runtime(self, id: AgentId, runtime: AgentRuntime) -> None:
        await super().bind_id_and_runtime(id, runtime)
        self.scenario.agents.append(self)

    async def save_state(self) -> Mapping[str, Any]:
        with self.scenario.counted():
            await trio.sleep(0.1)
            return {"saved": True}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        with self.scenario.counted():
            await trio.sleep(0.1)

    async def close(self) -> None:
        self.closed += 1
        with self.scenario.counted():
            await trio.sleep(0.1)


class Scenario:
    """A bit of everything, and a count of what began and ended."""

    def __init__(self, *, intervene: bool, limited: bool) -> None:
        self.began = 0
        self.ended = 0
        self.agents: list[Counting] = []
        self.intervene = intervene
        self.limited = limited
        self.runtime: SingleThreadedAgentRuntime | None = None

    async def main(self) -> None:
        handlers = [Waits(self)] if self.intervene else []
        limits: dict[str, Any] = {"max_concurrency": 1, "mailbox_size": 2} if self.limited else {}
        self.runtime = runtime = SingleThreadedAgentRuntime(
            intervention_handlers=handlers, max_pending=4 if self.limited else None
        )

        async def factory() -> Actor:
            with self.counted():
                await trio.sleep(1)
                return Counting(self)

        async with runtime:
            await runtime.register_factory("actor", factory, **limits)
            await runtime.register_factory("other", lambda: Counting(self), **limits)
            await runtime.add_subscription(TypeSubscription("news", "actor"))
            await runtime.add_subscription(TypeSubscription("news", "other"))
            await runtime.publish_message(self.sleep, NEWS)
            runtime.start()
            assert await runtime.send_message(self.ask, A) == "answer"
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(
                        runtime.send_message, self.ask, AgentId("other", f"{number}")
                    )
                nursery.start_soon(runtime.publish_message, self.sleep, NEWS)
                with trio.move_on_after(0.5):
                    await runtime.send_message(
                        self.sleep, B, cancellation_token=CancellationToken()
                    )
            await runtime.stop_when_idle()
            runtime.start()
            await runtime.publish_message(self.sleep, NEWS)
            await runtime.stop(deadline=trio.current_time() + 0.5)
            await runtime.deactivate(A)
            await runtime.publish_message(self.sleep, NEWS)
            runtime.start()
            await runtime.load_state(await runtime.save_state())

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.began += 1
        try:
            yield
        finally:
            self.ended += 1

    async def sleep(self, agent: Actor, ctx: MessageContext) -> str:
        with self.counted():
            await trio.sleep(1)
            return "slept"

    async def answer(self, agent: Actor, ctx: MessageContext) -> str:
        with self.counted():
            return "answer"

    async def ask(self, agent: Actor, ctx: MessageContext) -> str:
        with self.counted():
            await agent.publish_message(self.sleep, NEWS)
            result = await agent.send_message(self.answer, B)
            assert isinstance(result, str)
            return result

    def check(self, blocks: int = 1) -> None:
        """Nothing is left, however it ended; each block has closed the agents that are there."""
        runtime = self.runtime
        if runtime is not None:
            counts = runtime.statistics()
            outcomes = counts.handled + counts.failed + counts.dropped + counts.cancelled
            assert counts.accepted == outcomes + counts.undeliverable
            assert (counts.pending, counts.running, counts.waiting) == (0, 0, 0)
            assert counts.mailboxes == {}
            assert not runtime.is_started()
        assert self.began == self.ended
        # One it may have hit on the way into its `close`, which is the application's code already.
        closed = Counter(agent.closed for agent in self.agents)
        assert set(closed) <= {blocks, blocks - 1}
        assert closed[blocks - 1] <= 1


class Waits(DefaultInterventionHandler):
    """Looks at every message for a while."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        with self.scenario.counted():
            await trio.sleep(0.1)
            return message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        with self.scenario.counted():
            await trio.sleep(0.1)
            return message

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        with self.scenario.counted():
            await trio.lowlevel.checkpoint()
            return message


class InterruptsAt(trio.abc.Instrument):
    """Presses Ctrl-C before or after one step of a task."""

    def __init__(self, step: int | None) -> None:
        self.step = step
        self.steps = 0
        self.pressed = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.steps == self.step:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)
        self.steps += 1

    after_task_step = before_task_step


def run(scenario: Scenario, *instruments: trio.abc.Instrument) -> None:
    scheduler._r.seed(0)
    trio.run(scenario.main, clock=MockClock(autojump_threshold=0), instruments=instruments)


SCENARIOS = pytest.mark.parametrize(
    ("intervene", "limited"),
    [(False, False), (True, False), (False, True), (True, True)],
    ids=["plain", "interception", "limits", "both"],
)


# I16
@SCENARIOS
def test_one_bare_interrupt_leaves_the_run_at_whatever_step_it_comes(
    intervene: bool, limited: bool
) -> None:
    count = InterruptsAt(None)
    scenario = Scenario(intervene=intervene, limited=limited)
    run(scenario, count)
    scenario.check()
    assert scenario.began > 10
    for step in range(count.steps):  # the last ones are trio's own, after the main task has ended
        scenario = Scenario(intervene=intervene, limited=limited)
        instrument = InterruptsAt(step)
        try:
            run(scenario, instrument)
        except KeyboardInterrupt:
            assert instrument.pressed
        else:
            assert not instrument.pressed, f"step {step}"
        scenario.check()
    gc.collect()  # what was never awaited would warn now


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


# I16
@pytest.mark.parametrize("everything", [False, True])
def test_an_interrupt_at_any_line_of_the_core_loses_nothing(everything: bool) -> None:
    """Where our own books are kept it waits for the end of that: no message is half accepted."""
    count = LineTracer()
    scenario = Scenario(intervene=everything, limited=everything)
    with count.tracing():
        run(scenario)
    scenario.check()
    assert len(count.hits) > 300
    pressed = 0
    for number, (line, hits) in enumerate(count.hits.items()):
        scenario = Scenario(intervene=everything, limited=everything)
        tracer = LineTracer(line, 1 + number * 7 % hits, press_ctrl_c)
        try:
            with tracer.tracing():
                run(scenario)
        except KeyboardInterrupt:
            assert tracer.acted
        else:
            assert not tracer.acted, tracer
        try:
            scenario.check()
        except AssertionError as exc:
            exc.add_note(str(tracer))
            raise
        pressed += tracer.acted
    assert pressed > 0.9 * len(count.hits)  # some lines depend on the order in a set
    gc.collect()


# I16
@pytest.mark.parametrize("place", ["block", "close"])
def test_an_interrupt_while_an_error_ends_the_block_goes_before_it(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def press() -> None:
        press_ctrl_c()

    async def have_it_pressed() -> None:
        # Nothing of the application's runs then: it comes to the main task, which leaves the block.
        trio.lowlevel.spawn_system_task(press)
        await wait_all_tasks_blocked()

    class Closing(Actor):
        async def close(self) -> None:
            if place == "close":
                await have_it_pressed()

    async def clean_up(actor: Actor, ctx: MessageContext) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                if place == "block":
                    await have_it_pressed()

    async def main() -> None:
        async with SingleThreadedAgentRuntime() as runtime:
            await runtime.register_factory("actor", Closing)
            await runtime.add_subscription(TypeSubscription("news", "actor"))
            runtime.start()
            await runtime.publish_message(clean_up, NEWS)
            await wait_all_tasks_blocked()
            raise ValueError("this ends the block")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert "this ends the block" in caplog.text


# I16
def test_a_runtime_that_was_interrupted_can_be_used_again() -> None:
    scenario = Scenario(intervene=False, limited=False)
    with pytest.raises(KeyboardInterrupt):
        run(scenario, InterruptsAt(60))
    runtime = scenario.runtime
    assert runtime is not None

    async def again() -> Any:
        async with runtime:
            runtime.start()
            result = await runtime.send_message(answer, AgentId("other", "a"))
            await runtime.stop_when_idle()
            return result

    assert trio.run(again) == "answer"
    scenario.check(blocks=2)


# --- inside the application's code


async def interrupt(agent: Actor, ctx: MessageContext) -> None:
    signal.raise_signal(signal.SIGINT)
    await trio.lowlevel.checkpoint()  # where it arrives at the latest
    raise AssertionError("interrupted before")


# I16, EX-07
def test_interrupted_in_a_request_s_handler_it_goes_to_the_sender() -> None:
    runtime = SingleThreadedAgentRuntime()

    async def main() -> None:
        async with runtime:
            await runtime.register_factory("actor", Actor)
            runtime.start()
            await runtime.send_message(interrupt, A)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert runtime.statistics().failed == 1
    assert runtime.statistics().pending == 0


# I16
def test_interrupted_in_a_publication_s_handler_it_ends_the_block() -> None:
    runtime = SingleThreadedAgentRuntime()

    async def main() -> None:
        async with runtime:
            await runtime.register_factory("actor", Actor)
            await runtime.add_subscription(TypeSubscription("news", "actor"))
            runtime.start()
            await runtime.publish_message(interrupt, NEWS)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert runtime.statistics().failed == 1
    assert runtime.statistics().pending == 0


# I16
@pytest.mark.parametrize("place", ["factory", "interception", "close", "condition"])
def test_whatever_of_the_application_runs_may_be_interrupted(place: str) -> None:
    def press(here: str) -> None:
        if here == place:
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000):
                pass  # a loop that nobody could interrupt would go on
            raise AssertionError("interrupted before")

    class Closing(Actor):
        async def close(self) -> None:
            press("close")

    def factory() -> Actor:
        press("factory")
        return Closing()

    class Intervener(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            press("interception")
            return message

    def condition() -> bool:
        press("condition")
        return True

    runtime = SingleThreadedAgentRuntime(intervention_handlers=[Intervener()])

    async def main() -> None:
        async with runtime:
            await runtime.register_factory("actor", factory)
            runtime.start()
            await runtime.send_message(answer, A)
            await runtime.stop_when(condition)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert runtime.statistics().pending == 0


# I16
def test_a_nursery_of_the_application_s_does_not_wrap_it() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await runtime.register_factory("actor", Actor)
            async with trio.open_nursery() as outer:
                outer.start_soon(trio.sleep_forever)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    nursery.start_soon(runtime.send_message, interrupt, A)

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main)
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)


# I16
def test_an_interrupt_while_the_main_task_waits_for_a_reply_lets_the_handler_clean_up() -> None:
    cleaned: list[float] = []

    async def act(agent: Actor, ctx: MessageContext) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            cleaned.append(trio.current_time())

    async def press() -> None:
        await wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        async with open_runtime() as runtime:
            await runtime.register_factory("actor", Actor)
            trio.lowlevel.spawn_system_task(press)
            try:
                await runtime.send_message(act, A)
            finally:
                assert cleaned == [5.0]
                assert runtime.statistics().cancelled == 1

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
