"""Promise 4: what begins when. And what overlaps."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio

from trio_agents import (
    AgentId,
    DefaultInterventionHandler,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from trio_agents.exceptions import UndeliverableException

from . import loop
from .doers import (
    Act,
    Doer,
    check_idle,
    make_slowly,
    note,
    nothing,
    scheduling,
    under_seeds,
    wait,
    wait_a_little,
    wait_for,
)
from .loop import Sequencer, SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

A = AgentId("doer", "a")
B = AgentId("doer", "b")
TO_A = TopicId("news", "a")

Factory = Callable[[], Doer | Awaitable[Doer]]


async def open_doers(
    runtime: SingleThreadedAgentRuntime, factory: Factory = Doer, **options: Any
) -> None:
    await Doer.register(runtime, "doer", factory, **options)
    await runtime.add_subscription(TypeSubscription("news", "doer"))


def both_kinds(factory: str) -> Factory:
    return {"sync": Doer, "async": make_slowly}[factory]


# CONF-18
@pytest.mark.only_on("trio", "asyncio's order of tasks is always the same")
def test_the_seeds_of_these_tests_do_change_the_order_of_tasks() -> None:
    orders = set()
    for seed in range(5):
        log: list[int] = []

        async def main(log: list[int] = log) -> None:
            async def append(number: int) -> None:
                log.append(number)

            async with loop.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(append, number)

        with scheduling(seed):
            loop.run(main)
        orders.add(tuple(log))
    assert len(orders) == 5


# ST-02, CONF-18, RT-11
@pytest.mark.parametrize("kind", ["publish", "send", "mixed"])
def test_handlers_begin_in_the_order_of_submission(kind: str) -> None:
    async def main() -> None:
        log: list[int] = []
        random = Random(0)
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime)

            async def submit(number: int) -> None:
                message = note(log, number, wait(random.choice([0, 0, 1])))
                if kind == "publish" or (kind == "mixed" and number % 2):
                    await runtime.publish_message(message, TO_A)
                else:
                    submitted.set()
                    await runtime.send_message(message, A)
                submitted.set()

            for number in range(300):
                submitted = loop.Event()
                nursery.start_soon(submit, number)
                await submitted.wait()
        assert log == list(range(300))

    under_seeds(main, seeds=5)


# ST-02, RT-11
def test_handlers_begin_in_the_order_of_submission_by_several_submitters() -> None:
    async def main() -> None:
        submitted: list[tuple[int, int]] = []
        log: list[tuple[int, int]] = []
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime)

            async def submit(submitter: int) -> None:
                random = Random(submitter)
                for number in range(30):
                    # Nothing comes between these two: a message is queued before its submitter
                    # first suspends.
                    submitted.append((submitter, number))
                    message = note(log, (submitter, number), random.choice([nothing, wait(1)]))
                    if random.random() < 0.5:
                        await runtime.send_message(message, A)
                    else:
                        await runtime.publish_message(message, TO_A)
                    await wait_a_little(random.randrange(3))

            for submitter in range(10):
                nursery.start_soon(submit, submitter)
        assert log == submitted

    under_seeds(main)


# RT-09, RT-18
def test_what_was_submitted_before_the_start_begins_first_and_in_order() -> None:
    async def main() -> None:
        log: list[int] = []
        async with SingleThreadedAgentRuntime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime)
            for number in range(0, 20, 2):
                await runtime.publish_message(note(log, number), TO_A)
                nursery.start_soon(runtime.send_message, note(log, number + 1), A)
                await wait_all_tasks_blocked()
            assert log == []
            runtime.start()
            for number in range(20, 40):
                await runtime.publish_message(note(log, number), TO_A)
            await runtime.stop_when_idle()
        assert log == list(range(40))

    under_seeds(main)


# RT-09, ST-02
def test_what_was_submitted_after_a_stop_begins_in_order_after_the_next_start() -> None:
    async def main() -> None:
        log: list[int] = []
        async with SingleThreadedAgentRuntime() as runtime:
            await open_doers(runtime)
            runtime.start()
            await runtime.publish_message(note(log, -1), TO_A)
            await runtime.stop_when_idle()
            for number in range(10):
                await runtime.publish_message(note(log, number, wait(1)), TO_A)
            runtime.start()
            for number in range(10, 20):
                await runtime.publish_message(note(log, number), TO_A)
            await runtime.stop_when_idle()
        assert log == list(range(-1, 20))

    under_seeds(main)


# RT-36, ST-24
@pytest.mark.parametrize("factory", ["sync", "async"])
@pytest.mark.parametrize("then", [nothing, wait(1)])
def test_recipients_begin_in_the_order_of_their_subscriptions(factory: str, then: Act) -> None:
    async def main() -> None:
        log: list[int] = []
        order = list(range(50))
        Random(1).shuffle(order)
        async with open_runtime() as runtime:
            for number in range(50):
                await Doer.register(runtime, f"doer-{number}", Doer)
            for number in order:
                await runtime.add_subscription(TypeSubscription("news", f"doer-{number}"))
            for round in range(2):  # agents that must first be made, and agents that are there
                await runtime.publish_message(
                    lambda agent, ctx: note(log, int(agent.type[5:]), then)(agent, ctx), TO_A
                )
                await runtime.publish_message(nothing, TO_A)
                await loop.sleep(5)
                assert log == order * (round + 1)

    under_seeds(main, seeds=10)


# RT-36
def test_recipients_that_are_all_made_slowly_begin_in_the_order_of_their_subscriptions() -> None:
    async def main() -> None:
        made: list[int] = []

        def factory_of(number: int) -> Callable[[], Awaitable[Doer]]:
            async def make() -> Doer:
                made.append(number)
                return await make_slowly()

            return make

        async with open_runtime() as runtime:
            for number in range(20):
                await Doer.register(runtime, f"doer-{number}", factory_of(number))
                await runtime.add_subscription(TypeSubscription("news", f"doer-{number}"))
            await runtime.publish_message(nothing, TO_A)
        assert made == list(range(20))

    under_seeds(main)


# SUB-22, RT-33
async def test_a_subscription_that_is_added_again_goes_to_the_end(autojump_clock: object) -> None:
    log: list[str] = []
    async with open_runtime() as runtime:
        for name in ("x", "y"):
            await Doer.register(runtime, name, Doer)
            await runtime.add_subscription(TypeSubscription("news", name, id=name))
        await runtime.remove_subscription("x")
        await runtime.add_subscription(TypeSubscription("news", "x", id="x"))
        await runtime.publish_message(lambda agent, ctx: log.append(agent.type), TO_A)
    assert log == ["y", "x"]


# RT-10
@pytest.mark.parametrize("factory", ["sync", "async"])
def test_handlers_of_an_agent_that_must_first_be_made_begin_in_order(factory: str) -> None:
    async def main() -> None:
        log: list[int] = []
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, both_kinds(factory))
            for number in range(0, 40, 2):
                await runtime.publish_message(note(log, number, wait(1)), TO_A)
                nursery.start_soon(runtime.send_message, note(log, number + 1, wait(1)), A)
                await wait_a_little(2)
                if number == 20:
                    await loop.sleep(3)
        assert log == list(range(40))

    under_seeds(main)


# RT-10, RT-36
@pytest.mark.parametrize("turns", range(5))
def test_what_waited_for_an_agent_begins_before_what_is_just_being_delivered(turns: int) -> None:
    async def main() -> None:
        log: list[int] = []

        async def make() -> Doer:
            await loop.sleep(1)
            await wait_a_little(turns)
            return Doer()

        def message(number: int) -> Act:
            async def act(agent: Doer, ctx: MessageContext) -> None:
                if agent.type == "slow":
                    log.append(number)
                else:
                    await loop.sleep(1)

            return act

        async with open_runtime() as runtime:
            await Doer.register(runtime, "slow", make)
            await runtime.add_subscription(TypeSubscription("news", "slow"))
            for number in range(3):
                await Doer.register(runtime, f"quick-{number}", Doer)
                await runtime.add_subscription(TypeSubscription("all", f"quick-{number}"))
            await runtime.add_subscription(TypeSubscription("all", "slow"))
            for number in range(3):
                await runtime.publish_message(message(number), TO_A)
            await loop.sleep(1)  # the agent is ready in a moment
            for number in range(3, 6):
                await runtime.publish_message(message(number), TopicId("all", "a"))
        assert log == list(range(6))

    under_seeds(main)


# RT-10
def test_the_order_survives_a_cancelled_first_message_of_an_agent_that_is_being_made() -> None:
    async def main() -> None:
        log: list[int] = []
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, make_slowly)
            first = loop.CancelScope()

            async def send_first() -> None:
                with first:
                    await runtime.send_message(note(log, -1), A)

            nursery.start_soon(send_first)
            await wait_all_tasks_blocked()
            for number in range(10):
                await runtime.publish_message(note(log, number), TO_A)
            await loop.sleep(0.5)
            first.cancel()
            await runtime.publish_message(note(log, 10), TO_A)
        assert log == list(range(11))

    under_seeds(main)


class Ponder(DefaultInterventionHandler):
    """Waits as long as the message says."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        await loop.sleep(message.delay)
        return message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        await loop.sleep(message.delay)
        return message


def pondered(act: Act, delay: float) -> Act:
    def message(agent: Doer, ctx: MessageContext) -> Any:
        return act(agent, ctx)

    message.delay = delay  # type: ignore[attr-defined]
    return message


# ST-02, IV-02
@pytest.mark.parametrize("max_concurrency", [None, 1, 3])
def test_handlers_of_one_agent_begin_in_order_while_interceptions_wait(
    max_concurrency: int | None,
) -> None:
    async def main() -> None:
        logs: dict[AgentId, list[int]] = {A: [], B: []}
        random = Random(2)
        async with (
            open_runtime(intervention_handlers=[Ponder()]) as runtime,
            loop.open_nursery() as nursery,
        ):
            await open_doers(runtime, make_slowly, max_concurrency=max_concurrency)
            await runtime.add_subscription(TypeSubscription("both", "doer"))
            for number in range(60):
                agent = random.choice([A, B])
                act = note(logs[agent], number, random.choice([nothing, wait(1)]))
                message = pondered(act, random.choice([0, 1, 5]))
                if random.random() < 0.5:
                    await runtime.publish_message(message, TopicId("news", agent.key))
                else:
                    nursery.start_soon(runtime.send_message, message, agent)
                    await wait_all_tasks_blocked()
                if random.random() < 0.3:
                    await loop.sleep(1)
        assert [logs[A], logs[B]] == [sorted(logs[A]), sorted(logs[B])]
        assert len(logs[A]) + len(logs[B]) == 60

    under_seeds(main, seeds=10)


# ST-26, IV-02
async def test_what_an_agent_sends_itself_keeps_its_order_while_interceptions_wait(
    autojump_clock: object,
) -> None:
    log: list[Any] = []

    async def send_three(agent: Doer, ctx: MessageContext) -> None:
        async with loop.open_nursery() as nursery:
            for number, delay in enumerate([3, 1, 2]):
                nursery.start_soon(agent.send_message, pondered(note(log, number), delay), A)
                await wait_all_tasks_blocked()

    async with open_runtime(intervention_handlers=[Ponder()]) as runtime:
        await open_doers(runtime)
        async with loop.open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, pondered(send_three, 0), A)
            await wait_all_tasks_blocked()
            await runtime.publish_message(pondered(note(log, "later"), 0), TO_A)
        check_idle(runtime)
    assert log == [0, 1, 2, "later"]


# ST-02
@pytest.mark.parametrize("max_concurrency", [1, 2, 5])
def test_handlers_begin_in_order_under_a_limit(max_concurrency: int) -> None:
    async def main() -> None:
        log: list[int] = []
        random = Random(3)
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=max_concurrency)
            for number in range(60):
                message = note(log, number, random.choice([nothing, wait(1), wait(3)]))
                if random.random() < 0.5:
                    await runtime.publish_message(message, TO_A)
                else:
                    nursery.start_soon(runtime.send_message, message, A)
                    await wait_all_tasks_blocked()
                if random.random() < 0.3:
                    await loop.sleep(1)
        assert log == list(range(60))

    under_seeds(main, seeds=10)


# ST-02
def test_messages_that_are_cancelled_in_line_do_not_change_the_order_of_the_others() -> None:
    async def main() -> None:
        log: list[int] = []
        random = Random(4)
        async with open_runtime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime, max_concurrency=1)
            scopes = [loop.CancelScope() for _ in range(40)]
            cancelled = set()

            async def send(number: int) -> None:
                with scopes[number]:
                    await runtime.send_message(note(log, number, wait(1)), A)

            for number in range(40):
                nursery.start_soon(send, number)
                await wait_all_tasks_blocked()
            for _ in range(25):
                number = random.randrange(40)
                cancelled.add(number)
                scopes[number].cancel()
                await loop.sleep(random.choice([0, 0.5, 1]))
            await runtime.stop_when_idle()
            check_idle(runtime)
        assert log == sorted(log)
        assert {*range(40)} - {*log} <= cancelled

    under_seeds(main, seeds=10)


# ST-02
async def test_messages_around_a_deactivation_begin_in_order(autojump_clock: object) -> None:
    log: list[tuple[int, Doer]] = []
    async with open_runtime() as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime, make_slowly)
        for number in range(6):
            await runtime.publish_message(
                lambda agent, ctx, number=number: log.append((number, agent)), TO_A
            )
            if number == 2:
                await wait_a_little(2)  # the agent is being made
                nursery.start_soon(runtime.deactivate, A)
                await wait_a_little(2)
    assert [number for number, _ in log] == list(range(6))
    assert len({agent for _, agent in log}) == 2


# RT-11, RT-18
async def test_a_message_is_queued_before_its_submitter_first_suspends(
    autojump_clock: object,
) -> None:
    async with SingleThreadedAgentRuntime() as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime)
        runtime.start()
        nursery.start_soon(runtime.stop_when_idle)
        # Did the request come later than the wait for idleness begins, it would come too late.
        assert await runtime.send_message(lambda agent, ctx: 42, A) == 42


# RT-11
async def test_publishing_returns_before_any_handler_begins(autojump_clock: object) -> None:
    log: list[str] = []
    async with open_runtime() as runtime:
        await open_doers(runtime)
        await runtime.send_message(nothing, A)
        await runtime.publish_message(note(log, "handler"), TO_A)
        log.append("published")
    assert log == ["published", "handler"]


# ST-25
async def test_a_quick_message_overtakes_a_slow_one_that_has_begun(autojump_clock: object) -> None:
    done: list[str] = []

    def job(name: str, seconds: float) -> Act:
        async def act(agent: Doer, ctx: MessageContext) -> None:
            await loop.sleep(seconds)
            done.append(name)

        return act

    async with open_runtime() as runtime:
        await open_doers(runtime)
        await runtime.publish_message(job("slow", 3), TO_A)
        await runtime.publish_message(job("quick", 1), TO_A)
    assert done == ["quick", "slow"]


# ST-24
async def test_all_recipients_have_begun_before_any_has_ended(autojump_clock: object) -> None:
    log: list[tuple[str, str]] = []

    async def act(agent: Doer, ctx: MessageContext) -> None:
        log.append(("starting", agent.type))
        await loop.sleep(1)
        log.append(("finished", agent.type))

    async with open_runtime() as runtime:
        for name in ("x", "y"):
            await Doer.register(runtime, name, Doer)
            await runtime.add_subscription(TypeSubscription("news", name))
        await runtime.publish_message(act, TO_A)
    assert [event for event, _ in log] == ["starting", "starting", "finished", "finished"]


# ST-26, RT-35
async def test_an_agent_may_wait_for_an_answer_from_itself(autojump_clock: object) -> None:
    def countdown(agent: Doer, ctx: MessageContext, left: int = 20) -> Any:
        if not left:
            return 0

        async def ask_myself() -> int:
            answer = await agent.send_message(lambda a, c: countdown(a, c, left - 1), agent.id)
            return int(answer) + 1

        return ask_myself()

    async with open_runtime() as runtime:
        await open_doers(runtime)
        assert await runtime.send_message(countdown, A) == 20


# ST-26
async def test_an_agent_gets_other_messages_while_its_handler_waits(
    autojump_clock: object,
) -> None:
    seq = Sequencer()

    async def first(agent: Doer, ctx: MessageContext) -> None:
        async with seq(0):
            pass
        async with seq(2):
            pass

    async def second(agent: Doer, ctx: MessageContext) -> None:
        async with seq(1):
            pass

    async with open_runtime() as runtime:
        await open_doers(runtime)
        await runtime.publish_message(first, TO_A)
        await runtime.publish_message(second, TO_A)


# ST-27
async def test_a_handler_combines_parallel_answers_in_its_own_order(
    autojump_clock: object,
) -> None:
    async def ask_all(agent: Doer, ctx: MessageContext) -> list[str]:
        answers = [""] * 10

        async def ask(number: int) -> None:
            async def answer(worker: Doer, ctx: MessageContext) -> str:
                await loop.sleep(10 - number)
                return worker.id.key

            answers[number] = await agent.send_message(answer, AgentId("doer", str(number)))

        async with loop.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, number)
        return answers

    async with open_runtime() as runtime:
        await open_doers(runtime)
        began = loop.current_time()
        assert await runtime.send_message(ask_all, A) == [str(n) for n in range(10)]
        assert loop.current_time() - began == 10  # as long as the slowest, not as all together


class TaskCounter(trio.abc.Instrument):
    def __init__(self) -> None:
        self.spawned = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.spawned += 1


# ST-02
@pytest.mark.only_on("trio", "it counts tasks with trio's instruments")
@pytest.mark.parametrize("kind", ["publish", "fan out"])
async def test_a_burst_of_quick_messages_starts_few_tasks(
    autojump_clock: object, kind: str
) -> None:
    handled = 0

    def count(agent: Doer, ctx: MessageContext) -> None:
        nonlocal handled
        handled += 1

    async with open_runtime() as runtime:
        if kind == "publish":
            await open_doers(runtime)
        else:
            for number in range(1000):
                await Doer.register(runtime, f"doer-{number}", Doer)
                await runtime.add_subscription(TypeSubscription("news", f"doer-{number}"))
        counter = TaskCounter()
        trio.lowlevel.add_instrument(counter)
        for _ in range(10_000 if kind == "publish" else 10):
            await runtime.publish_message(count, TO_A)
        await runtime.stop_when_idle()
        trio.lowlevel.remove_instrument(counter)
    assert handled == 10_000
    assert counter.spawned <= 3


# ST-02, ST-25
async def test_every_handler_that_waits_makes_room_for_the_next(autojump_clock: object) -> None:
    go = loop.Event()
    log: list[int] = []
    async with open_runtime() as runtime:
        await open_doers(runtime)
        tasks = loop.count_tasks()
        for number in range(1000):
            await runtime.publish_message(note(log, number, wait_for(go)), TO_A)
        await wait_all_tasks_blocked()
        assert log == list(range(1000))
        go.set()
        await wait_all_tasks_blocked()
        # Few of them stay for what may come.
        assert loop.count_tasks() - tasks <= 130


async def count_turns(runtime: SingleThreadedAgentRuntime) -> int:
    """Count the turns of the loop until all that was submitted has begun."""
    turns = 0
    while runtime.unprocessed_messages_count:
        turns += 1
        await loop.checkpoint()
    return turns


# ST-02
async def test_a_burst_of_handlers_that_wait_begins_in_a_few_turns_in_order() -> None:
    go = loop.Event()
    log: list[int] = []
    async with open_runtime() as runtime:
        await open_doers(runtime)
        for number in range(1000):
            await runtime.publish_message(note(log, number, wait_for(go)), TO_A)
        assert await count_turns(runtime) < 50
        assert log == list(range(1000))
        go.set()


# ST-02
@pytest.mark.only_on("trio", "asyncio's order of tasks is always the same")
def test_a_burst_of_handlers_that_wait_begins_in_order_whatever_the_scheduler_does() -> None:
    async def main() -> None:
        log: list[int] = []
        async with open_runtime() as runtime:
            await open_doers(runtime)
            for number in range(200):
                then = wait(1) if number % 7 else nothing
                await runtime.publish_message(note(log, number, then), TO_A)
        assert log == list(range(200))

    under_seeds(main)


# ST-02
@pytest.mark.only_on("trio", "it counts tasks with trio's instruments")
@pytest.mark.parametrize("burst", ["waiting first", "waiting last", "now and then"])
async def test_few_tasks_are_started_for_handlers_that_do_not_wait(
    autojump_clock: object, burst: str
) -> None:
    go = loop.Event()
    waiting, quick = [wait_for(go)] * 100, [nothing] * 2000
    acts = {
        "waiting first": waiting + quick,
        "waiting last": quick + waiting,
        "now and then": [act for one in waiting for act in (*quick[:20], one)],
    }
    async with open_runtime() as runtime:
        await open_doers(runtime)
        counter = TaskCounter()
        trio.lowlevel.add_instrument(counter)
        for act in acts[burst]:
            await runtime.publish_message(act, TO_A)
        await count_turns(runtime)
        trio.lowlevel.remove_instrument(counter)
        assert runtime.statistics().running == 100
        go.set()
    assert counter.spawned <= 100 + 64  # at most as many scouts too many as are sent at a time


# ST-02
async def test_a_turn_is_not_made_long_by_many_scouts() -> None:
    """After handlers that waited, those that do not wait share a turn among all scouts."""
    go = loop.Event()
    handled = 0

    def count(agent: Doer, ctx: MessageContext) -> None:
        nonlocal handled
        handled += 1

    async with open_runtime() as runtime:
        await open_doers(runtime)
        for number in range(6000):
            await runtime.publish_message(wait_for(go) if number < 500 else count, TO_A)
        most = before = 0
        while runtime.unprocessed_messages_count:
            await loop.checkpoint()
            most = max(most, handled - before)
            before = handled
        assert 0 < most <= 2 * 64 + 64
        go.set()


async def test_handlers_that_never_wait_do_not_starve_other_tasks(autojump_clock: object) -> None:
    handled = 0
    seen: list[int] = []

    def count(agent: Doer, ctx: MessageContext) -> None:
        nonlocal handled
        handled += 1

    async def look() -> None:
        while handled < 10_000:
            seen.append(handled)
            await loop.checkpoint()

    async with open_runtime() as runtime, loop.open_nursery() as nursery:
        await open_doers(runtime)
        for _ in range(10_000):
            await runtime.publish_message(count, TO_A)
        nursery.start_soon(look)
    gaps = [later - earlier for earlier, later in pairwise(seen)]
    assert max(gaps) <= 200


async def test_handlers_that_publish_without_end_do_not_starve_other_tasks(
    autojump_clock: object,
) -> None:
    async def again(agent: Doer, ctx: MessageContext) -> None:
        await agent.runtime.publish_message(again, TO_A)

    async with SingleThreadedAgentRuntime() as runtime:
        await open_doers(runtime)
        runtime.start()
        await runtime.publish_message(again, TO_A)
        await wait_a_little(10)
        await runtime.stop()
        assert runtime.statistics().handled > 0


# ST-02
def test_what_is_queued_when_the_block_is_left_by_an_error_does_not_begin() -> None:
    async def main() -> None:
        log: list[int] = []
        runtime = SingleThreadedAgentRuntime()
        with pytest.raises(ZeroDivisionError):
            async with runtime:
                await open_doers(runtime)
                runtime.start()
                await runtime.send_message(nothing, A)
                for number in range(1000):
                    await runtime.publish_message(note(log, number), TO_A)
                raise ZeroDivisionError
        assert log == []
        assert runtime.statistics().undeliverable == 1000
        check_idle(runtime)

    under_seeds(main, seeds=5)


# ST-02
def test_what_is_queued_when_a_scope_around_the_block_is_cancelled_hardly_begins() -> None:
    async def main() -> None:
        log: list[int] = []
        runtime = SingleThreadedAgentRuntime()
        with loop.CancelScope() as scope:
            async with runtime:
                await open_doers(runtime)
                runtime.start()
                await runtime.send_message(nothing, A)
                for number in range(1000):
                    await runtime.publish_message(note(log, number), TO_A)
                scope.cancel()
                await loop.sleep_forever()
        # Workers learn of it when they next let others run.
        assert log == list(range(len(log)))
        assert len(log) <= 200
        check_idle(runtime)

    under_seeds(main, seeds=5)


# GAP-13, CONF-17
def test_stop_fails_a_suffix_of_the_queue() -> None:
    async def main() -> None:
        log: list[int] = []
        undeliverable: list[int] = []
        async with SingleThreadedAgentRuntime() as runtime, loop.open_nursery() as nursery:
            await open_doers(runtime)
            runtime.start()
            await runtime.send_message(nothing, A)

            async def send(number: int) -> None:
                try:
                    await runtime.send_message(note(log, number, wait(1)), A)
                except UndeliverableException:
                    undeliverable.append(number)

            async with loop.open_nursery() as senders:
                for number in range(20):
                    senders.start_soon(send, number)
                await loop.checkpoint()
                nursery.start_soon(runtime.stop)
            assert len(log) + len(undeliverable) == 20

    under_seeds(main)


# ST-02
async def test_a_settled_chain_of_events_keeps_nothing_alive(autojump_clock: object) -> None:
    class Payload:
        def __init__(self, left: int) -> None:
            self.left = left

        async def __call__(self, agent: Doer, ctx: MessageContext) -> None:
            if self.left:
                await runtime.publish_message(Payload(self.left - 1), TO_A)

    async with open_runtime() as runtime:
        await open_doers(runtime)
        await runtime.publish_message(Payload(500), TO_A)
        await runtime.stop_when_idle()
        gc.collect()
        assert sum(isinstance(thing, Payload) for thing in gc.get_objects()) <= 10
