"""Factories and intervention handlers that do wrong, and agents that ask each other in circles."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Final

import anyio
import anyio.lowlevel

from ..._sansio._cancellation import CancellationToken
from ..._sansio._contexts import MessageContext
from ..._sansio._identifiers import AgentId, TopicId
from ..._sansio._intervention import DefaultInterventionHandler, DropMessage
from ..._sansio._subscriptions import TypeSubscription
from .._scripted import (
    Act,
    ScriptedAgent,
    ScriptedFactory,
    ScriptedInterventionHandler,
    calls,
    echoes,
    hangs,
    ignores_cancellation,
    raises,
    returns,
    sends,
    sleeps,
)
from .._simulation import Simulation
from ._scripted_trial import all_wait, ask, captured_log, expect, named, open_tasks, register

__all__ = ["CIRCLES", "DEEP", "FACTORIES", "INTERVENTIONS"]

# --- factories


class FactoryFailed(Exception):
    """What a factory raises."""


async def _fails_for_all(sim: Simulation, first: object, error: str) -> None:
    """The first call of the factory fails: all that wait get that, and the next send works."""
    factory = ScriptedFactory(first, returns(None))
    many = sim.random.randrange(1, 6)
    async with sim.open_runtime() as runtime:
        await ScriptedAgent.register(runtime, "agent", factory)
        agent = AgentId("agent", "default")
        async with open_tasks() as tasks:
            sent = [
                ask(sim, tasks, partial(runtime.send_message, returns(n), agent))
                for n in range(many)
            ]
        failed = [one for one in sent if one.error is not None]
        expect(failed, "nobody was told")
        expect({one.error_name for one in failed} == {error}, [one.error_name for one in sent])
        if isinstance(first, Act) and first.name.startswith("sleeps"):
            expect(len(failed) == many, f"{len(failed)} of {many} were told, of those who waited")
            expect(len({id(one.error) for one in failed}) == 1, "they were told different things")
        expect(await runtime.send_message(returns(7), agent) == 7, "the next send did not work")
        expect(factory.calls == 2, f"the factory was called {factory.calls} times")
        expect(runtime.statistics().agents == 1, runtime.statistics())


async def factory_raises(sim: Simulation) -> None:
    """At once."""
    await _fails_for_all(sim, raises(FactoryFailed()), "FactoryFailed")


async def factory_raises_later(sim: Simulation) -> None:
    """After a wait."""
    await _fails_for_all(sim, sleeps(1).then(raises(FactoryFailed())), "FactoryFailed")


async def factory_gives_no_agent(sim: Simulation) -> None:
    """It returns something else."""
    await _fails_for_all(sim, sleeps(1).then(returns(object())), "TypeError")


async def factory_sends_to_its_own_agent(sim: Simulation) -> None:
    """It needs the agent that it makes."""
    await _fails_for_all(sim, sleeps(1).then(sends(returns(1))), "DeadlockError")


async def factory_is_slow(sim: Simulation) -> None:
    """It is called once for an id, however many messages wait."""
    factory = ScriptedFactory(sleeps(1))
    async with sim.open_runtime() as runtime:
        await ScriptedAgent.register(runtime, "agent", factory)
        ids = [AgentId("agent", key) for key in "ab"]
        async with open_tasks() as tasks:
            sent = [
                ask(sim, tasks, partial(runtime.send_message, returns(n), ids[n % 2]))
                for n in range(8)
            ]
        expect([one.answer for one in sent] == list(range(8)), [one.error_name for one in sent])
        expect(factory.calls == 2, f"the factory was called {factory.calls} times for two ids")


async def factory_is_cancelled(sim: Simulation) -> None:
    """Half-way: whoever caused it is told, and the next in line has it called again."""
    factory = ScriptedFactory(hangs(), returns(None))
    many = sim.random.randrange(0, 4)
    async with sim.open_runtime() as runtime:
        await ScriptedAgent.register(runtime, "agent", factory)
        agent = AgentId("agent", "default")
        async with open_tasks() as tasks:
            token = CancellationToken()
            first = ask(
                sim,
                tasks,
                partial(runtime.send_message, returns(1), agent, cancellation_token=token),
            )
            await all_wait(sim)
            others = [
                ask(sim, tasks, partial(runtime.send_message, returns(n), agent))
                for n in range(many)
            ]
            await all_wait(sim)
            expect(not first.is_over and not any(one.is_over for one in others), "over too early")
            token.cancel()
        expect(first.error_name == "MessageCancelled", first.error_name)
        expect([one.answer for one in others] == list(range(many)), "those behind were not served")
        expect(await runtime.send_message(returns(7), agent) == 7, "the next send did not work")
        expect(factory.calls == 2, f"the factory was called {factory.calls} times")


async def factory_keeps_its_cancellation(sim: Simulation) -> None:
    """It ignores that it was cancelled: the agent is there, and its starter is told."""
    factory = ScriptedFactory(ignores_cancellation(sleeps(2)), returns(None))
    async with sim.open_runtime() as runtime:
        await ScriptedAgent.register(runtime, "agent", factory)
        agent = AgentId("agent", "default")
        async with open_tasks() as tasks:
            token = CancellationToken()
            first = ask(
                sim,
                tasks,
                partial(runtime.send_message, returns(1), agent, cancellation_token=token),
            )
            await anyio.sleep(1)
            token.cancel()
        expect(first.is_over, "its starter waits")
        expect(await runtime.send_message(returns(7), agent) == 7, "the next send did not work")
        expect(runtime.statistics().agents == 1, runtime.statistics())


FACTORIES: Final = named(
    factory_raises,
    factory_raises_later,
    factory_gives_no_agent,
    factory_sends_to_its_own_agent,
    factory_is_slow,
    factory_is_cancelled,
    factory_keeps_its_cancellation,
)

# --- circles


async def asks_itself(sim: Simulation) -> None:
    """At a limit of one."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent", max_concurrency=1)
        depth = sim.random.randrange(1, 20)
        act = returns(7)
        for _ in range(depth):
            act = sends(act)
        expect(await runtime.send_message(act, agent) == 7, "it was not answered")


async def asks_back(sim: Simulation) -> None:
    """A asks B, which asks A."""
    async with sim.open_runtime() as runtime:
        a, b = await register(runtime, "a", "b", max_concurrency=1)
        async with open_tasks() as tasks:
            sent = [
                ask(sim, tasks, partial(runtime.send_message, sends(sends(returns(n), a), b), a))
                for n in range(sim.random.randrange(1, 4))
            ]
        expect([one.answer for one in sent] == list(range(len(sent))), sent[0].error_name)


async def ask_each_other(sim: Simulation) -> None:
    """Two chains that each hold what the other wants: one is told at once, the other is served."""
    async with sim.open_runtime() as runtime:
        a, b = await register(runtime, "a", "b", max_concurrency=1)
        began = sim.current_time()
        async with open_tasks() as tasks:
            sent = [
                ask(
                    sim,
                    tasks,
                    partial(runtime.send_message, sleeps(1).then(sends(returns(1), other)), id),
                )
                for id, other in ((a, b), (b, a))
            ]
        names = sorted(one.error_name for one in sent)
        expect(names == ["", "DeadlockError"], "two that wait for each other got", names)
        expect(sim.current_time() == began + 1, "it took time to find out")


async def _ring(sim: Simulation, size: int) -> None:
    async with sim.open_runtime() as runtime:
        await register(runtime, "ring", max_concurrency=1)
        ids = [AgentId("ring", f"{number}") for number in range(size)]
        # One chain goes round, and comes back to where it began.
        act = returns(7)
        for id in reversed([*ids[1:], ids[0]]):
            act = sends(act, id)
        expect(await runtime.send_message(act, ids[0]) == 7, "the ring was not answered")
        # All of them hold their own place, and ask the next.
        began = sim.current_time()
        async with open_tasks() as tasks:
            sent = [
                ask(
                    sim,
                    tasks,
                    partial(
                        runtime.send_message,
                        sleeps(1).then(sends(returns(1), ids[(number + 1) % size])),
                        id,
                    ),
                )
                for number, id in enumerate(ids)
            ]
        refused = [one for one in sent if one.error_name == "DeadlockError"]
        expect(len(refused) == 1, f"{len(refused)} of {size} in a ring were refused")
        expect(sum(one.answer == 1 for one in sent) == size - 1, "the others were not served")
        expect(sim.current_time() == began + 1, "it took time to find out")


async def a_ring(sim: Simulation) -> None:
    """Of a few agents."""
    await _ring(sim, sim.random.randrange(2, 12))


async def a_ring_of_a_thousand(sim: Simulation) -> None:
    """Of a thousand agents."""
    await _ring(sim, 1000)


CIRCLES: Final = named(asks_itself, asks_back, ask_each_other, a_ring)


async def five_thousand_deep(sim: Simulation) -> None:
    """Sends inside of each other, five thousand of them."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent", max_concurrency=sim.random.choice((None, 1)))

        async def go_down(message: Any, ctx: Any) -> int:
            left.append(None)
            if len(left) >= 5000:
                return 0
            answer: int = await runtime.send_message(calls(go_down), agent)
            return answer + 1

        left: list[None] = []
        expect(await runtime.send_message(calls(go_down), agent) == 4999, "not all the way")


DEEP: Final = named(five_thousand_deep, a_ring_of_a_thousand)

# --- intervention handlers


class InterventionFailed(Exception):
    """What an intervention handler raises."""


class Echo(ScriptedAgent):
    """Answers with the message."""

    def __init__(self) -> None:
        super().__init__(echoes())


class Noting(DefaultInterventionHandler):
    """Notes what it sees, and changes nothing."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        """Note it."""
        self.seen.append(("send", message))
        return message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        """Note it."""
        self.seen.append(("publish", message))
        return message

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        """Note it."""
        self.seen.append(("response", message))
        return message


async def _intervened(
    sim: Simulation,
    act: Act,
    *,
    answer: object = None,
    error: str = "",
    warned: int = 0,
    cancelled: bool = False,
) -> None:
    """Have the second of three intervention handlers do something to a message of each kind.

    Args:
        sim: The run.
        act: What it does.
        answer: What goes on in place of the message ``"text"``.
        error: The error that the sender gets, if nothing goes on.
        warned: How often a warning is given for each.
        cancelled: Whether the messages are cancelled, once all wait.
    """
    on = sim.random.choice(("send", "publish", "response"))
    before, after = Noting(), Noting()
    ours = ScriptedInterventionHandler(**{f"on_{on}": act})
    handled: list[Any] = []
    token = CancellationToken()

    def note(message: Any, ctx: Any) -> Any:
        handled.append(message)
        return message

    with captured_log(), warnings.catch_warnings(record=True) as warnings_given:
        warnings.simplefilter("always")
        async with sim.open_runtime(intervention_handlers=[before, ours, after]) as runtime:
            make = partial(ScriptedAgent, calls(note))
            (agent,) = await register(runtime, "agent", make=make)
            await runtime.add_subscription(TypeSubscription("news", "agent"))
            async with open_tasks() as tasks:
                if on == "publish":
                    send = partial(runtime.publish_message, "text", TopicId("news", agent.key))
                else:
                    send = partial(runtime.send_message, "text", agent)
                sent = ask(sim, tasks, partial(send, cancellation_token=token))
                if cancelled:
                    await all_wait(sim)
                    token.cancel()
            await runtime.stop_when_idle()
            statistics = runtime.statistics()
    expect(len(warnings_given) == warned, f"{len(warnings_given)} warnings were given")
    outcome = {"": "handled", "MessageDroppedException": "dropped", "MessageCancelled": "cancelled"}
    expect(
        getattr(statistics, outcome.get(error, "failed")) == statistics.accepted == 1,
        f"{act} at {on}: {statistics}",
    )
    expect(before.seen[0] == ("send" if on == "response" else on, "text"), before.seen)
    expect([entry for entry in after.seen if entry[0] == on] == ([] if error else [(on, answer)]))
    if on == "publish":
        expect(sent.error is None, "the publisher was told", sent.error_name)
    else:
        given = (None, error) if error else (answer, "")
        expect((sent.answer, sent.error_name) == given, f"{act} at {on} gave", sent.answer)
    if on == "response":
        expect(handled == ["text"], handled)
    else:
        expect(handled == ([] if error else [answer]), handled)


async def intervention_changes_nothing(sim: Simulation) -> None:
    """It passes the message on, at once or after a wait."""
    await _intervened(sim, sim.random.choice((echoes(), sleeps(1).then(echoes()))), answer="text")


async def intervention_drops(sim: Simulation) -> None:
    """It drops the message."""
    act = sim.random.choice((returns(DropMessage), sleeps(1).then(returns(DropMessage))))
    await _intervened(sim, act, error="MessageDroppedException")


async def intervention_raises(sim: Simulation) -> None:
    """It raises."""
    error = InterventionFailed()
    act = sim.random.choice((raises(error), sleeps(1).then(raises(error))))
    await _intervened(sim, act, error="InterventionFailed")


async def intervention_changes_the_type(sim: Simulation) -> None:
    """Something of another type goes on."""
    act = sim.random.choice((returns(7), sleeps(1).then(returns(7))))
    await _intervened(sim, act, answer=7)


async def intervention_returns_none(sim: Simulation) -> None:
    """That is warned of, and the message goes on."""
    act = sim.random.choice((returns(None), sleeps(1).then(returns(None))))
    await _intervened(sim, act, answer="text", warned=1)


async def intervention_hangs(sim: Simulation) -> None:
    """A token frees the sender."""
    await _intervened(sim, hangs(), error="MessageCancelled", cancelled=True)


async def intervention_keeps_order(sim: Simulation) -> None:
    """Each sees what the one before made; messages to one agent begin in their order."""
    handled: list[int] = []
    waits = calls(lambda message, ctx: wait_and_add(message))

    async def wait_and_add(message: int) -> int:
        await anyio.sleep(sim.random.choice((0, 0, 1, 2)))
        return message + 1

    handlers = [ScriptedInterventionHandler(on_send=waits) for _ in range(3)]
    async with sim.open_runtime(intervention_handlers=handlers) as runtime:
        note = calls(lambda message, ctx: handled.append(message))
        (agent,) = await register(runtime, "agent", make=partial(ScriptedAgent, note))
        async with open_tasks() as tasks:
            for number in range(5):
                ask(sim, tasks, partial(runtime.send_message, 10 * number, agent))
                await anyio.lowlevel.checkpoint()
                await all_wait(sim)
    expect(handled == [3, 13, 23, 33, 43], handled)


INTERVENTIONS: Final = named(
    intervention_changes_nothing,
    intervention_drops,
    intervention_raises,
    intervention_changes_the_type,
    intervention_returns_none,
    intervention_hangs,
    intervention_keeps_order,
)
