"""Stops at awkward moments, callbacks that do wrong, timeouts that meet, generators left open."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import anyio
import anyio.lowlevel

from ..._sansio._cancellation import CancellationToken
from ..._sansio._identifiers import AgentId
from .._scripted import (
    ScriptedAgent,
    ScriptedFactory,
    calls,
    hangs,
    returns,
    sleeps,
)
from .._simulation import Simulation
from ._scripted_trial import (
    Sent,
    all_wait,
    ask,
    captured_log,
    expect,
    named,
    open_tasks,
    parts,
    register,
)

__all__ = ["CALLBACKS", "GARBAGE", "STOPS", "TIMEOUTS"]

# --- stops


async def _is_usable(runtime: Any, agent: AgentId) -> None:
    """Start the runtime again: its agents are there."""
    if not runtime.is_started():
        runtime.start()
    expect(await runtime.send_message(returns(7), agent) == 7, "the agent is gone")
    statistics = runtime.statistics()
    expect(statistics.pending == 0, "something is left:", statistics)


def _a_stop(sim: Simulation, runtime: Any) -> Callable[[], Awaitable[None]]:
    """Give one of the ways to stop, by lot."""
    return sim.random.choice(
        (
            runtime.stop,
            partial(runtime.stop, deadline=sim.current_time() + sim.random.randrange(3)),
            runtime.stop_when_idle,
            partial(runtime.stop_when, lambda: True),
            runtime.close,
        )
    )


async def stop_while_empty(sim: Simulation) -> None:
    """Nothing is under way."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")
        await _a_stop(sim, runtime)()
        expect(not runtime.is_started(), "it was not stopped")
        expect(runtime.statistics().pending == 0, runtime.statistics())
        await _is_usable(runtime, agent)


async def stop_while_full(sim: Simulation) -> None:
    """Some handlers run, more messages wait: each sender is told, by an answer or an error."""
    async with sim.open_runtime(max_pending=sim.random.choice((None, 4))) as runtime:
        (agent,) = await register(runtime, "agent", max_concurrency=sim.random.choice((None, 1)))
        async with open_tasks() as tasks:
            sent = [
                ask(sim, tasks, partial(runtime.send_message, sleeps(1).then(returns(n)), agent))
                for n in range(8)
            ]
            for _ in range(sim.random.randrange(20)):
                await anyio.lowlevel.checkpoint()
            await _a_stop(sim, runtime)()
            running = runtime.statistics().running
            expect(running == 0, f"{running} handlers run after the stop")
            waiting = sum(not one.is_over for one in sent)
            if waiting:  # those that were submitted after it, or had not come in before
                runtime.start()
        known = {"", "UndeliverableException", "MessageCancelled"}
        expect({one.error_name for one in sent} <= known, [one.error_name for one in sent])
        expect(
            all(one.error_name or one.answer == n for n, one in enumerate(sent)), "wrong answers"
        )
        await _is_usable(runtime, agent)


async def stop_while_starting(sim: Simulation) -> None:
    """An agent is being made."""
    factory = ScriptedFactory(sleeps(2))
    async with sim.open_runtime() as runtime:
        await ScriptedAgent.register(runtime, "agent", factory)
        agent = AgentId("agent", "default")
        async with open_tasks() as tasks:
            sent = [
                ask(sim, tasks, partial(runtime.send_message, returns(n), agent)) for n in range(3)
            ]
            await all_wait(sim)
            began = sim.current_time()
            await runtime.stop(deadline=began + sim.random.choice((0, 1, 5)))
            expect(sim.current_time() <= began + 2, "it took", sim.current_time() - began)
        expect(all(one.is_over for one in sent), "somebody waits")
        await _is_usable(runtime, agent)
        expect(factory.calls <= 2, f"the factory was called {factory.calls} times")


async def stop_while_stopping(sim: Simulation) -> None:
    """A second stop is refused, and disturbs the first one no more than a start does."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")
        async with open_tasks() as tasks:
            sent = ask(sim, tasks, partial(runtime.send_message, sleeps(2).then(returns(1)), agent))
            await all_wait(sim)
            first = ask(sim, tasks, runtime.stop)
            await all_wait(sim)
            for again in (runtime.stop, runtime.stop_when_idle):
                second = Sent(sim)
                await second.wait(again)
                expect(second.error_name == "RuntimeError", "a second stop:", second.error_name)
            try:
                runtime.start()
            except RuntimeError:
                pass
            else:
                expect(False, "it could be started while it was being stopped")
            refused = Sent(sim)
            await refused.wait(partial(runtime.send_message, returns(1), agent))
            expect(refused.error_name == "UndeliverableException", refused.error_name)
        expect(sent.answer == 1 and first.error is None, sent.error_name, first.error_name)
        await _is_usable(runtime, agent)


async def stop_inside_a_handler(sim: Simulation) -> None:
    """It would wait for itself, and says so."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")
        stop = _a_stop(sim, runtime)
        sent = Sent(sim)
        act = calls(lambda message, ctx: stop())
        await sent.wait(partial(runtime.send_message, act, agent))
        expect(sent.error_name == "RuntimeError", sent.error_name)
        expect(runtime.is_started(), "it was stopped all the same")
        await _is_usable(runtime, agent)


async def stop_twice(sim: Simulation) -> None:
    """The second says that it was stopped already."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")
        await runtime.stop()
        second = Sent(sim)
        await second.wait(runtime.stop)
        expect(second.error_name == "RuntimeError", second.error_name)
        await runtime.close()
        await runtime.close()
        await _is_usable(runtime, agent)


async def stop_while_saving(sim: Simulation) -> None:
    """A state is being saved, and messages are held up: both end."""
    slow = partial(ScriptedAgent, on_save=sleeps(2).then(returns({})))
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent", make=slow)
        await runtime.send_message(returns(1), agent)
        async with open_tasks() as tasks:
            saved = ask(sim, tasks, runtime.save_state)
            await all_wait(sim)
            sent = [
                ask(sim, tasks, partial(runtime.send_message, returns(n), agent)) for n in range(3)
            ]
            await all_wait(sim)
            await runtime.stop(deadline=sim.current_time() + sim.random.choice((0, 1, 5)))
        expect(saved.answer == {"agent/default": {}}, saved.error_name)
        expect(all(one.error_name == "UndeliverableException" for one in sent), "who waits?")
        await _is_usable(runtime, agent)


async def left_by_an_exception(sim: Simulation) -> None:
    """The block: what runs is cancelled, what waits fails, and no sender waits for ever."""

    class Left(Exception):
        pass

    sent: list[Sent] = []
    async with open_tasks() as tasks:
        try:
            async with sim.open_runtime() as runtime:
                (agent,) = await register(
                    runtime, "agent", max_concurrency=sim.random.choice((None, 1))
                )
                sent = [
                    ask(sim, tasks, partial(runtime.send_message, hangs(), agent)) for _ in range(4)
                ]
                for _ in range(sim.random.randrange(12)):
                    await anyio.lowlevel.checkpoint()
                raise Left
        except Left:
            pass
    names = {one.error_name for one in sent}
    expect(names <= {"MessageCancelled", "UndeliverableException"}, names)


STOPS: Final = named(
    stop_while_empty,
    stop_while_full,
    stop_while_starting,
    stop_while_stopping,
    stop_inside_a_handler,
    stop_twice,
    stop_while_saving,
    left_by_an_exception,
)

# --- callbacks of tokens


class CallbackFailed(Exception):
    """What a callback raises."""


async def callbacks_that_do_wrong(sim: Simulation) -> None:
    """They use their token again, and raise: all are called, and the messages are cancelled."""
    token = CancellationToken()
    called: list[str] = []
    failing = sim.random.randrange(4)

    def uses_it_again() -> None:
        called.append("again")
        token.cancel()
        expect(token.is_cancelled(), "a callback sees a token that is not cancelled")
        token.add_callback(lambda: called.append("late"))

    def fails() -> None:
        called.append("fails")
        raise CallbackFailed

    callbacks: list[Callable[[], None]] = [uses_it_again, *[fails] * failing]
    sim.random.shuffle(callbacks)
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")
        async with open_tasks() as tasks:

            def send() -> Sent:
                return ask(
                    sim,
                    tasks,
                    partial(runtime.send_message, hangs(), agent, cancellation_token=token),
                )

            sent = [send()]
            await all_wait(sim)
            for callback in callbacks:
                token.add_callback(callback)
            sent.append(send())
            await all_wait(sim)
            failures: Sequence[BaseException] = ()
            try:
                token.cancel()
            except BaseException as exc:  # looked at below
                failures = parts(exc)
        expect([type(one) for one in failures] == [CallbackFailed] * failing, failures)
        expect(called.count("fails") == failing, called)
        expect(called.count("again") == called.count("late") == 1, called)
        expect(all(one.error_name == "MessageCancelled" for one in sent), "a message goes on")
        expect(not token._links, f"the token keeps {len(token._links or ())} callbacks")


async def callback_of_a_message_fails(sim: Simulation) -> None:
    """A message's own token is cancelled with it; what its callbacks raise goes to the policy."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")

        async def handle(message: Any, ctx: Any) -> None:
            def fails() -> None:
                raise CallbackFailed

            ctx.cancellation_token.add_callback(fails)
            await anyio.sleep_forever()

        with captured_log() as log:
            async with open_tasks() as tasks:
                sent = Sent(sim)
                with anyio.CancelScope() as scope:

                    async def cancel() -> None:
                        await all_wait(sim)
                        scope.cancel()

                    tasks.start_soon(cancel)
                    await sent.wait(partial(runtime.send_message, calls(handle), agent))
        expect(sent.is_over and sent.error is not None, "it was answered")
        expect([type(one) for one in log.errors] == [CallbackFailed], log.errors)
        await _is_usable(runtime, agent)


CALLBACKS: Final = named(callbacks_that_do_wrong, callback_of_a_message_fails)

# --- timeouts


async def timeouts_in_any_order(sim: Simulation) -> None:
    """Nobody is cancelled early, and nobody late, also where two are due at the same time."""
    cases = [
        (sim.random.randrange(-1, 4), sim.random.randrange(4)) for _ in range(10)
    ]  # what the sender waits, what the handler needs
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")
        began = sim.current_time()
        sent = [Sent(sim) for _ in cases]
        async with open_tasks() as tasks:

            async def send(one: Sent, waits: int, needs: int) -> None:
                with anyio.CancelScope(deadline=began + waits):
                    await one.wait(
                        partial(runtime.send_message, sleeps(needs).then(returns(needs)), agent)
                    )

            for one, (waits, needs) in zip(sent, cases, strict=True):
                tasks.start_soon(send, one, waits, needs)
        for one, (waits, needs) in zip(sent, cases, strict=True):
            what = f"a sender waited {waits} s for {needs} s"
            expect(one.time == began + max(0, min(waits, needs)), what, "until", one.time)
            if needs < waits:
                expect(one.answer == needs, what, one.error_name)
            elif waits < needs:
                expect(one.error is not None, what, "and was answered")


async def deadline_in_the_past(sim: Simulation) -> None:
    """`stop` cancels at once what runs, and does not wait for it."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")
        await anyio.sleep(10)
        async with open_tasks() as tasks:
            sent = ask(sim, tasks, partial(runtime.send_message, hangs(), agent))
            await all_wait(sim)
            await runtime.stop(deadline=sim.current_time() - sim.random.choice((0, 1, 100)))
            expect(sim.current_time() == 10, "it took time")
        expect(sent.error_name == "MessageCancelled", sent.error_name)


async def quiet_agent_and_message_at_once(sim: Simulation) -> None:
    """A message comes when its agent is let go of: one agent has it, and its state."""
    made: list[ScriptedAgent] = []

    def make() -> ScriptedAgent:
        made.append(ScriptedAgent(on_save=returns({"kept": 1})))
        return made[-1]

    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent", make=make, idle_timeout=1.0)
        for number in range(5):
            expect(await runtime.send_message(returns(number), agent) == number, "not answered")
            await anyio.sleep(sim.random.choice((0.5, 1.0, 1.0, 1.5, 2.0)))
        await anyio.sleep(5)
        expect(runtime.statistics().agents == 0, "a quiet agent is alive")
        expect([one.closed for one in made] == [1] * len(made), "an agent was not closed once")
        expect(
            [one.state for one in made[1:]] == [{"kept": 1}] * (len(made) - 1), "a state is lost"
        )


TIMEOUTS: Final = named(
    timeouts_in_any_order, deadline_in_the_past, quiet_agent_and_message_at_once
)

# --- garbage


async def _numbers() -> AsyncGenerator[int, None]:
    for number in range(3):
        await anyio.lowlevel.checkpoint()
        yield number


async def generators_left_open(sim: Simulation) -> None:
    """Handlers leave generators to the garbage collector, which closes them: nothing else is said.

    trio itself warns of each one that a program forgets.
    """
    random = sim.random
    warnings.filterwarnings("ignore", "Async generator .* was garbage collected", ResourceWarning)

    async def handle(message: Any, ctx: Any) -> int:
        numbers = _numbers()
        async for number in numbers:
            if number == message % 4:
                break
        if message % 3 == 0:
            gc.collect()
        cycle: list[Any] = [numbers]
        cycle.append(cycle)
        if message % 5 == 0:
            await anyio.sleep_forever()
        return 7

    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent", max_concurrency=random.choice((None, 2)))
        async with open_tasks() as tasks:
            tokens = [CancellationToken() for _ in range(12)]
            sent: list[Sent] = []
            for number, token in enumerate(tokens):
                act = calls(partial(_with_number, handle, number))
                send = partial(runtime.send_message, act, agent, cancellation_token=token)
                sent.append(ask(sim, tasks, send))
            for _ in range(random.randrange(30)):
                await anyio.lowlevel.checkpoint()
            await all_wait(sim)
            for token in tokens:
                token.cancel()
            gc.collect()
        for number, one in enumerate(sent):
            expected = "MessageCancelled" if number % 5 == 0 else ""
            expect(one.error_name in (expected, "MessageCancelled"), number, one.error_name)


async def _with_number(handle: Callable[[Any, Any], Awaitable[int]], number: int, *of: Any) -> int:
    return await handle(number, of[1])


GARBAGE: Final = named(generators_left_open)
