# The programs that run on asyncio, as AutoGen Core's own documentation writes them: routed agents,
# dataclass messages, one runtime per round.
#
# `programs` makes them of a package's names, because that is the claim: the same text runs on
# AutoGen Core and, with its imports replaced, on trio_agents.asyncio. Read next to _ours.py, which
# is this with a block around the runtime and trio's way to start ten thousand callers.
#
# No `from __future__ import annotations` here: handlers are found by their annotations, and these
# name what is local to `programs`.

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import Any

from ._sample import (
    CHAIN,
    SUBSCRIBERS,
    WARM_UP,
    WORK,
    Sample,
    Tally,
    Work,
    check_replies,
    resident_bytes,
    stopwatch,
)


def programs(
    core: ModuleType, new_runtime: Callable[..., Any]
) -> Mapping[str, Callable[[int], Sample]]:
    """Give the scenarios, with the names of *core* and the runtimes of *new_runtime*."""
    worker = core.AgentId("worker", "default")

    class Worker(core.RoutedAgent):
        """Answers with the message it got."""

        def __init__(self) -> None:
            super().__init__("answers")

        @core.message_handler
        async def handle(self, message: Work, ctx: core.MessageContext) -> Work:
            return message

    class Link(core.RoutedAgent):
        """One of a chain: asks the next one, if there is one."""

        def __init__(self) -> None:
            super().__init__("asks the next")
            number = int(self.id.key) + 1
            self._following = core.AgentId("link", str(number)) if number < CHAIN else None

        @core.message_handler
        async def handle(self, message: Work, ctx: core.MessageContext) -> Work:
            if self._following is None:
                return message
            reply = await self.send_message(message, self._following)
            assert isinstance(reply, Work)
            return reply

    class Subscriber(core.RoutedAgent):
        """Counts what it is told."""

        def __init__(self, tally: Tally) -> None:
            super().__init__("counts")
            self._tally = tally

        @core.message_handler
        async def handle(self, message: Work, ctx: core.MessageContext) -> Work:
            self._tally.count += 1
            return message

    class PassOn(core.DefaultInterventionHandler):
        """Sees every message and changes none."""

        async def on_send(self, message: Any, *, message_context: Any, recipient: Any) -> Any:
            return message

        async def on_response(self, message: Any, *, sender: Any, recipient: Any) -> Any:
            return message

    @asynccontextmanager
    async def running(make: Callable[[], Any] = new_runtime) -> AsyncIterator[Any]:
        runtime = make()
        await Worker.register(runtime, "worker", Worker)
        await Link.register(runtime, "link", Link)
        runtime.start()
        yield runtime
        await runtime.stop_when_idle()

    async def ask(runtime: Any) -> object:
        return await runtime.send_message(WORK, worker)

    async def ask_with_token(runtime: Any) -> object:
        token = core.CancellationToken()
        return await runtime.send_message(WORK, worker, cancellation_token=token)

    async def one_by_one(
        make: Callable[[], Any], asking: Callable[[Any], Awaitable[object]], count: int
    ) -> Sample:
        async with running(make) as runtime:
            for _ in range(WARM_UP):
                await asking(runtime)
            with stopwatch() as watch:
                replies: list[object] = [await asking(runtime) for _ in range(count)]
            check_replies(replies, count)
        return Sample(watch.seconds, count)

    async def sequential(count: int) -> Sample:
        return await one_by_one(new_runtime, ask, count)

    async def token(count: int) -> Sample:
        return await one_by_one(new_runtime, ask_with_token, count)

    async def intervention(count: int) -> Sample:
        make = partial(new_runtime, intervention_handlers=[PassOn()])
        return await one_by_one(make, ask, count)

    async def tracing(count: int) -> Sample:
        from opentelemetry.sdk.trace import TracerProvider

        provider = TracerProvider(shutdown_on_exit=False)
        return await one_by_one(partial(new_runtime, tracer_provider=provider), ask, count)

    async def in_flight(count: int) -> Sample:
        async with running() as runtime:
            for _ in range(WARM_UP):
                await ask(runtime)
            with stopwatch() as watch:
                replies: list[object] = await asyncio.gather(
                    *(runtime.send_message(WORK, worker) for _ in range(count))
                )
            check_replies(replies, count)
        return Sample(watch.seconds, count)

    async def chain(count: int) -> Sample:
        first = core.AgentId("link", "0")
        async with running() as runtime:
            for _ in range(WARM_UP // CHAIN):
                await runtime.send_message(WORK, first)
            with stopwatch() as watch:
                replies: list[object] = [
                    await runtime.send_message(WORK, first) for _ in range(count // CHAIN)
                ]
            check_replies(replies, count // CHAIN)
        return Sample(watch.seconds, count)

    async def new_key(count: int) -> Sample:
        async with running() as runtime:
            for number in range(WARM_UP):
                await runtime.send_message(WORK, core.AgentId("worker", f"warm{number}"))
            ids = [core.AgentId("worker", f"key{number}") for number in range(count)]
            with stopwatch() as watch:
                replies: list[object] = [
                    await runtime.send_message(WORK, agent_id) for agent_id in ids
                ]
            check_replies(replies, count)
        return Sample(watch.seconds, count)

    async def publish(count: int) -> Sample:
        tally = Tally()
        topic = core.TopicId("news", "default")
        runtime = new_runtime()
        for number in range(SUBSCRIBERS):
            type = f"subscriber{number}"
            await Subscriber.register(runtime, type, lambda: Subscriber(tally))
            await runtime.add_subscription(core.TypeSubscription("news", type))
        runtime.start()
        await runtime.publish_message(WORK, topic)
        while tally.count < SUBSCRIBERS:
            await asyncio.sleep(0)  # outside the clock: the agents set no event
        with stopwatch() as watch:
            for _ in range(count // SUBSCRIBERS):
                await runtime.publish_message(WORK, topic)
            await runtime.stop_when_idle()
        tally.check(SUBSCRIBERS + count)
        return Sample(watch.seconds, count)

    async def memory(count: int) -> Sample:
        async with running() as runtime:
            for number in range(WARM_UP):
                await runtime.send_message(WORK, core.AgentId("worker", f"warm{number}"))
            before = resident_bytes()
            for number in range(count):
                await runtime.send_message(WORK, core.AgentId("worker", f"key{number}"))
            live = resident_bytes()
            alone = [Worker() for _ in range(count)]
            after = resident_bytes()
            assert len(alone) == count
        return Sample((live - before) - (after - live), count)

    scenarios = (
        sequential,
        in_flight,
        chain,
        new_key,
        publish,
        token,
        intervention,
        tracing,
        memory,
    )
    return {scenario.__name__: run_on_asyncio(scenario) for scenario in scenarios}


def run_on_asyncio(
    scenario: Callable[[int], Coroutine[Any, Any, Sample]],
) -> Callable[[int], Sample]:
    def run(count: int) -> Sample:
        return asyncio.run(scenario(count))

    return run
