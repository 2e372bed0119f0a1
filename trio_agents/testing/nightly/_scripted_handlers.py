"""Handlers that raise, hang, ignore a cancellation, block the thread, or leave things behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import sys
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import anyio
import anyio.lowlevel

from ..._sansio._cancellation import CancellationToken
from ..._sansio._events import EventLoopBlockedEvent
from ..._sansio._identifiers import TopicId
from ..._sansio._subscriptions import TypeSubscription
from .._scripted import (
    ScriptedInterventionHandler,
    blocks,
    calls,
    hangs,
    ignores_cancellation,
    raises,
    returns,
    sends,
    sleeps,
    swallows_cancellation,
)
from .._simulation import Simulation
from ._scripted_trial import (
    Case,
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

__all__ = ["BLOCKING", "CANARIES", "CANARY_MESSAGES", "HANGING", "IGNORING", "KINDS", "RAISING"]

# --- a handler raises


class Unprintable(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("this exception has no text")

    __repr__ = __str__


class NotAnException(BaseException):
    """What is neither an exception of a program nor meant for it."""


# What a handler may raise, each with a number that tells it from the others.
KINDS: Final[dict[str, Callable[[int], BaseException]]] = {
    "Exception": ValueError,
    "group": lambda number: ExceptionGroup(f"{number}", [ValueError(number), KeyError(number)]),
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "SystemExit": SystemExit,
    "GeneratorExit": GeneratorExit,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "CancelledError": asyncio.CancelledError,
    "BaseException": NotAnException,
    "unprintable": Unprintable,
}
ENDS_THE_BLOCK: Final = ("SystemExit",)
EXCEPTIONS: Final = tuple(kind for kind, make in KINDS.items() if isinstance(make(0), Exception))


def is_raised(found: BaseException | None, raised: BaseException) -> bool:
    """Whether *found* is what was raised; a coroutine makes something else of `StopIteration`."""
    if not isinstance(raised, StopIteration):
        return found is raised
    # On asyncio a stop puts the group of all failures between the first one and its cause.
    causes = () if found is None else (found.__cause__, getattr(found.__cause__, "__cause__", None))
    return isinstance(found, RuntimeError) and raised in causes


def endless(depth: int = 0) -> int:
    """Use up the stack."""
    return endless(depth + 1)


async def _send(kind: str, sim: Simulation) -> None:
    """The sender gets the very object, through agents in between, and nobody else does."""
    raised = [KINDS[kind](number) for number in range(4)]
    async with sim.open_runtime() as runtime:
        failing, between, healthy = await register(runtime, "failing", "between", "healthy")
        async with open_tasks() as tasks:
            direct = [
                ask(sim, tasks, partial(runtime.send_message, raises(error), failing))
                for error in raised[:2]
            ]
            through = [
                ask(
                    sim,
                    tasks,
                    partial(runtime.send_message, sends(raises(error), failing), between),
                )
                for error in raised[2:]
            ]
            well = ask(sim, tasks, partial(runtime.send_message, returns(7), healthy))
        for sent, error in zip([*direct, *through], raised, strict=True):
            expect(is_raised(sent.error, error), f"{kind}: the sender got {sent.error_name}")
        expect(well.answer == 7, "another agent's answer was", well.answer, well.error_name)
        expect(await runtime.send_message(returns(8), failing) == 8, "the agent is gone")
        statistics = runtime.statistics()
    expect(statistics.failed == 6, "six messages were to fail:", statistics)


async def _reply(kind: str, sim: Simulation) -> None:
    """What an intervention handler raises at the reply is the sender's."""
    raised = KINDS[kind](1)
    handler = ScriptedInterventionHandler(on_response=raises(raised))
    async with sim.open_runtime(intervention_handlers=[handler]) as runtime:
        (failing,) = await register(runtime, "failing")
        async with open_tasks() as tasks:
            sent = ask(sim, tasks, partial(runtime.send_message, returns(7), failing))
        expect(is_raised(sent.error, raised), f"{kind}: the sender got {sent.error_name}")
        statistics = runtime.statistics()
    expect(statistics.failed == 1, "one message was to fail:", statistics)


async def _publish(kind: str, sim: Simulation) -> None:
    """The policy's place gets it: the log, the next stop, or the block that ends."""
    ignores = sim.random.random() < 0.5
    raised = [KINDS[kind](number) for number in range(3)]
    found: list[BaseException] = []
    handled: list[int] = []
    books: list[Any] = []
    with captured_log() as log:
        try:
            async with sim.open_runtime(ignore_unhandled_exceptions=ignores) as runtime:
                books.append(runtime.statistics)
                await register(runtime, "failing", "healthy")
                await runtime.add_subscription(TypeSubscription("news", "failing"))
                await runtime.add_subscription(TypeSubscription("other", "healthy"))
                for error in raised:
                    await runtime.publish_message(raises(error), TopicId("news", "default"))
                note = calls(lambda message, ctx: handled.append(1))
                await runtime.publish_message(note, TopicId("other", "default"))
                await runtime.stop_when_idle()
        except BaseException as exc:  # looked at below
            found = _unfolded(exc)
            if sim.error is not None:
                raise
    if kind in ENDS_THE_BLOCK:
        # One of them leaves the block, the others may have been cancelled before they began.
        expect(found and any(found[0] is error for error in raised), "the block raised", found)
        return
    statistics = books[0]()
    kept = not ignores or (kind not in EXCEPTIONS and (kind, sim.loop) != KEPT_BY_TRIO_ONLY)
    expect(handled == [1], "another agent's message was not handled")
    expect(statistics.failed == 3, "three messages were to fail:", statistics)
    for error in raised:
        # The leaves of a group that was raised are its own.
        expect(
            not kept or any(is_raised(one, error) for one in found),
            f"{kind} was to be raised by the stop, which raised {[type(one) for one in found]}",
        )
        expect(any(is_raised(one, error) for one in log.errors), f"{kind} was not logged")
    expect(kept or not found, f"{kind} was to be ignored, and the stop raised {len(found)}")


# A program on asyncio may cancel what it likes; on trio that is a stranger's exception.
KEPT_BY_TRIO_ONLY: Final = ("CancelledError", "asyncio")


def _unfolded(error: BaseException) -> list[BaseException]:
    """Give what a stop or a block has raised; on asyncio all failures are in the first's cause."""
    for group in (error.__cause__, error):
        if group is not None and "message handlers" in getattr(group, "message", ""):
            return list(parts(group))
    return [error]


async def _real_recursion(sim: Simulation) -> None:
    """A handler that recurses without end fails alone.

    The garbage collector rests meanwhile: what it finalizes there would have no stack either.
    """

    def recurse(message: Any, ctx: Any) -> int:
        gc.disable()
        try:
            return endless()
        finally:
            gc.enable()

    async with sim.open_runtime() as runtime:
        (failing,) = await register(runtime, "failing")
        async with open_tasks() as tasks:
            sent = ask(sim, tasks, partial(runtime.send_message, calls(recurse), failing))
        expect(isinstance(sent.error, RecursionError), "the sender got", sent.error_name)
        expect(await runtime.send_message(returns(8), failing) == 8, "the agent is gone")


RAISING: Final[dict[str, Case]] = {
    **{
        f"{kind}-{name}": partial(case, kind)
        for kind in KINDS
        for name, case in (("send", _send), ("publish", _publish), ("reply", _reply))
    },
    "endless-recursion": _real_recursion,
}

# --- a handler hangs


async def _hangs(sim: Simulation, how: str) -> None:
    """Whoever has had enough of it is free at that moment, and the agent is there for others."""
    token = CancellationToken()
    limit = sim.random.choice((None, 1))
    many = sim.random.randrange(1, 5)
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent", max_concurrency=limit)
        began = sim.current_time()
        async with open_tasks() as tasks:

            async def send(sent: Sent, scope: anyio.CancelScope) -> None:
                with scope:
                    await sent.wait(
                        partial(runtime.send_message, hangs(), agent, cancellation_token=token)
                    )

            deadline = began + 5 if how == "deadline" else math.inf
            scopes = [anyio.CancelScope(deadline=deadline) for _ in range(many)]
            sent = [Sent(sim) for _ in range(many)]
            for one, scope in zip(sent, scopes, strict=True):
                tasks.start_soon(send, one, scope)
            if how == "deadline":
                continue_at = 5.0
            else:
                continue_at = float(sim.random.randrange(4))
                await anyio.sleep(continue_at)
                expect(not any(one.is_over for one in sent), "a message that hangs was answered")
                if how == "token":
                    token.cancel()
                else:
                    for scope in scopes:
                        scope.cancel()
        expect(sim.current_time() == began + continue_at, "free at", sim.current_time() - began)
        expect(all(one.error is not None for one in sent), "it was answered")
        expect(await runtime.send_message(returns(7), agent) == 7, "the agent is gone")
        statistics = runtime.statistics()
    expect(statistics.cancelled == many, f"{many} were to be cancelled:", statistics)


async def hangs_until_its_token(sim: Simulation) -> None:
    """By the token."""
    await _hangs(sim, "token")


async def hangs_until_its_scope(sim: Simulation) -> None:
    """By the sender's cancel scope."""
    await _hangs(sim, "scope")


async def hangs_until_a_deadline(sim: Simulation) -> None:
    """By the sender's deadline."""
    await _hangs(sim, "deadline")


async def hangs_until_a_stop(sim: Simulation) -> None:
    """`stop` ends at its deadline, and the sender is told."""
    grace = float(sim.random.choice((0, 1, 10)))
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent", max_concurrency=sim.random.choice((None, 1)))
        async with open_tasks() as tasks:
            sent = [
                ask(sim, tasks, partial(runtime.send_message, hangs(), agent)) for _ in range(3)
            ]
            await all_wait(sim)
            began = sim.current_time()
            await runtime.stop(deadline=began + grace)
            expect(sim.current_time() == began + grace, "stopped at", sim.current_time() - began)
        names = {one.error_name for one in sent}
        expect("MessageCancelled" in names, "no handler was cancelled:", names)
        expect(names <= {"MessageCancelled", "UndeliverableException"}, names)
        runtime.start()
        expect(await runtime.send_message(returns(7), agent) == 7, "the agent is gone")


HANGING: Final = named(
    hangs_until_its_token, hangs_until_its_scope, hangs_until_a_deadline, hangs_until_a_stop
)

# --- a handler ignores its cancellation


async def ignores_a_cancelled_sender(sim: Simulation) -> None:
    """Its sender waits for it, as a call does; the others do not."""
    async with sim.open_runtime() as runtime:
        agent, other = await register(runtime, "agent", "other")
        began = sim.current_time()
        async with open_tasks() as tasks:
            act = ignores_cancellation(sleeps(3))
            token = CancellationToken()
            sent = ask(
                sim, tasks, partial(runtime.send_message, act, agent, cancellation_token=token)
            )
            await anyio.sleep(1)
            token.cancel()
            for number in range(5):
                expect(await runtime.send_message(returns(number), other) == number, "not served")
                expect(await runtime.send_message(returns(number), agent) == number, "not served")
            expect(sim.current_time() == began + 1, "others waited for it")
            await all_wait(sim)
            expect(not sent.is_over, "its sender did not wait for it")
        expect(sent.time == began + 3, "its sender was free at", sent.time)


async def ignores_a_stop(sim: Simulation) -> None:
    """`stop` waits for it, and names it: no handler outlives its runtime."""
    act = sim.random.choice(
        (ignores_cancellation(sleeps(3)), ignores_cancellation(sleeps(3).then(raises(OSError()))))
    )
    with captured_log() as log:
        async with sim.open_runtime() as runtime:
            agent, other = await register(runtime, "agent", "other")
            began = sim.current_time()
            async with open_tasks() as tasks:
                sent = ask(sim, tasks, partial(runtime.send_message, act, agent))
                hanging = ask(sim, tasks, partial(runtime.send_message, hangs(), other))
                await all_wait(sim)
                await runtime.stop(deadline=began + 1)
                expect(sim.current_time() == began + 3, "stopped at", sim.current_time() - began)
                expect(hanging.time == began + 1, "another handler was told at", hanging.time)
            expect(sent.is_over, "its sender waits")
    named_in = [record.getMessage() for record in log.warnings]
    expect(len(named_in) == 1 and str(agent) in named_in[0], "the log names", named_in)
    expect(" in ignores_cancellation." in named_in[0], "the log does not say where", named_in)


async def swallows_it_once(sim: Simulation) -> None:
    """A handler that goes on after its first cancellation is let be, and answers."""
    async with sim.open_runtime() as runtime:
        (agent,) = await register(runtime, "agent")
        async with open_tasks() as tasks:
            token = CancellationToken()
            act = swallows_cancellation(sleeps(2), times=3)
            sent = ask(
                sim, tasks, partial(runtime.send_message, act, agent, cancellation_token=token)
            )
            await anyio.sleep(1)
            token.cancel()
        expect(sent.is_over, "its sender waits")
        expect(await runtime.send_message(returns(7), agent) == 7, "the agent is gone")


IGNORING: Final = named(ignores_a_cancelled_sender, ignores_a_stop, swallows_it_once)

# --- a handler blocks the thread

BLOCKED: Final = 0.5  # seconds
BLOCKED_AFTER: Final = 0.1  # seconds, when the watchdog says so
REPORTED: Final = 1.0  # seconds, within which it has


async def blocks_the_thread(sim: Simulation) -> None:
    """Nobody goes on meanwhile, which no event loop can change, but one thread says who does it.

    Afterwards everybody is served.
    """
    with captured_log() as log:
        async with sim.open_runtime(blocked_after=BLOCKED_AFTER) as runtime:
            agent, other = await register(runtime, "agent", "other")
            began = time.monotonic()
            async with open_tasks() as tasks:
                sent = [
                    ask(sim, tasks, partial(runtime.send_message, act, id))
                    for act, id in (
                        (returns(1), other),
                        (blocks(BLOCKED).then(returns(2)), agent),
                        (returns(3), other),
                        (sleeps(1).then(returns(4)), other),
                        (returns(5), agent),
                    )
                ]
    expect([one.answer for one in sent] == [1, 2, 3, 4, 5], [one.error_name for one in sent])
    expect(time.monotonic() - began >= BLOCKED, "it did not block")
    logged = [record.msg for record in log.warnings]
    reports = [event for event in logged if isinstance(event, EventLoopBlockedEvent)]
    expect([event.agent_id for event in reports] == [agent], "reported were", reports)
    expect(reports[0].seconds <= REPORTED, "reported after", reports[0].seconds)
    expect(reports[0].stack, "the report does not say where")


BLOCKING: Final = named(blocks_the_thread)

# --- what a handler leaves behind

CANARY_MESSAGES: Final = 200
canary: contextvars.ContextVar[object] = contextvars.ContextVar("canary", default=None)


class Bird:
    """Something that a handler has hold of."""


async def leaves_nothing_behind(sim: Simulation) -> None:
    """Neither context variables nor exceptions nor cancellations of one message reach the next."""
    birds: list[weakref.ref[Bird]] = []
    seen: list[str] = []
    random = sim.random

    async def handle(message: Any, ctx: Any) -> object:
        if canary.get() is not None:
            seen.append(f"the context variable of {canary.get()!r}")
        if sys.exc_info()[1] is not None:
            seen.append(f"the exception {sys.exc_info()[1]!r}")
        task = asyncio.current_task() if sim.loop == "asyncio" else None
        if task is not None and task.cancelling():
            seen.append("a cancellation that was another message's")
        bird = Bird()
        birds.append(weakref.ref(bird))
        await anyio.lowlevel.checkpoint()  # raises what is left of a cancellation
        kind = random.randrange(6)
        if kind == 0:
            canary.set(bird)
        elif kind == 1:
            raise ValueError(bird)
        elif kind == 2:
            try:
                raise KeyError(bird)
            except KeyError:
                await anyio.lowlevel.checkpoint()
        elif kind == 3:
            ctx.cancellation_token.cancel()
            await anyio.sleep_forever()
        elif kind == 4:
            with anyio.move_on_after(0):
                await anyio.sleep_forever()
        else:
            return bird  # its sender has it then, and lets it go
        return None

    with captured_log() as log:
        async with sim.open_runtime() as runtime:
            (agent,) = await register(runtime, "agent")
            await runtime.add_subscription(TypeSubscription("news", "agent"))
            left = CANARY_MESSAGES

            async def send() -> None:
                nonlocal left
                while left > 0:
                    left -= 1
                    token = CancellationToken()
                    if random.random() < 0.3:
                        await runtime.publish_message(
                            calls(handle), TopicId("news", "default"), cancellation_token=token
                        )
                        await anyio.lowlevel.checkpoint()
                        continue
                    await Sent(sim).wait(
                        partial(
                            runtime.send_message, calls(handle), agent, cancellation_token=token
                        )
                    )

            async with open_tasks() as tasks:
                for _ in range(random.randrange(1, 6)):
                    tasks.start_soon(send)
            await runtime.stop_when_idle()
            runtime.start()
            expect(await runtime.send_message(returns(7), agent) == 7, "the agent is gone")
            expect(not seen, seen[:3])
            log.errors.clear()
            gc.collect()
            alive = sum(bird() is not None for bird in birds)
            expect(alive == 0, f"{alive} of {len(birds)} birds are alive, of messages that are not")


CANARIES: Final = named(leaves_nothing_behind)
