# AutoGen Core, as its own documentation uses it: routed agents, dataclass messages, one
# SingleThreadedAgentRuntime per round.
#
# Nobody listens to its logs and, but for the tracing scenario, nobody collects its spans: this is a
# default installation. Read next to _ours.py, which is this file with another import and trio's way
# to start ten thousand callers.

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from autogen_core import (
    AgentId,
    CancellationToken,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)

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

WORKER: Final = AgentId("worker", "default")


class Worker(RoutedAgent):
    """Answers with the message it got."""

    def __init__(self) -> None:
        super().__init__("answers")

    @message_handler
    async def handle(self, message: Work, ctx: MessageContext) -> Work:
        return message


class Link(RoutedAgent):
    """One of a chain: asks the next one, if there is one."""

    def __init__(self) -> None:
        super().__init__("asks the next")
        number = int(self.id.key) + 1
        self._following = AgentId("link", str(number)) if number < CHAIN else None

    @message_handler
    async def handle(self, message: Work, ctx: MessageContext) -> Work:
        if self._following is None:
            return message
        reply = await self.send_message(message, self._following)
        assert isinstance(reply, Work)
        return reply


class Subscriber(RoutedAgent):
    """Counts what it is told."""

    def __init__(self, tally: Tally) -> None:
        super().__init__("counts")
        self._tally = tally

    @message_handler
    async def handle(self, message: Work, ctx: MessageContext) -> Work:
        self._tally.count += 1
        return message


class PassOn(DefaultInterventionHandler):
    """Sees every message and changes none."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any | type[DropMessage]:
        return message

    async def on_response(
        self, message: Any, *, sender: AgentId, recipient: AgentId | None
    ) -> Any | type[DropMessage]:
        return message


NewRuntime = Callable[[], SingleThreadedAgentRuntime]
Ask = Callable[[SingleThreadedAgentRuntime], Awaitable[object]]


@asynccontextmanager
async def running(
    new_runtime: NewRuntime = SingleThreadedAgentRuntime,
) -> AsyncIterator[SingleThreadedAgentRuntime]:
    runtime = new_runtime()
    await Worker.register(runtime, "worker", Worker)
    await Link.register(runtime, "link", Link)
    runtime.start()
    yield runtime
    await runtime.stop_when_idle()


async def ask(runtime: SingleThreadedAgentRuntime) -> object:
    return await runtime.send_message(WORK, WORKER)


async def ask_with_token(runtime: SingleThreadedAgentRuntime) -> object:
    return await runtime.send_message(WORK, WORKER, cancellation_token=CancellationToken())


async def one_by_one(new_runtime: NewRuntime, asking: Ask, count: int) -> Sample:
    async with running(new_runtime) as runtime:
        for _ in range(WARM_UP):
            await asking(runtime)
        with stopwatch() as watch:
            replies: list[object] = [await asking(runtime) for _ in range(count)]
        check_replies(replies, count)
    return Sample(watch.seconds, count)


def sequential(count: int) -> Sample:
    return asyncio.run(one_by_one(SingleThreadedAgentRuntime, ask, count))


def token(count: int) -> Sample:
    return asyncio.run(one_by_one(SingleThreadedAgentRuntime, ask_with_token, count))


def intervention(count: int) -> Sample:
    def new_runtime() -> SingleThreadedAgentRuntime:
        return SingleThreadedAgentRuntime(intervention_handlers=[PassOn()])

    return asyncio.run(one_by_one(new_runtime, ask, count))


def tracing(count: int) -> Sample:
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(shutdown_on_exit=False)
    new_runtime = partial(SingleThreadedAgentRuntime, tracer_provider=provider)
    return asyncio.run(one_by_one(new_runtime, ask, count))


async def _in_flight(count: int) -> Sample:
    async with running() as runtime:
        for _ in range(WARM_UP):
            await ask(runtime)
        with stopwatch() as watch:
            replies: list[object] = await asyncio.gather(
                *(runtime.send_message(WORK, WORKER) for _ in range(count))
            )
        check_replies(replies, count)
    return Sample(watch.seconds, count)


async def _chain(count: int) -> Sample:
    first = AgentId("link", "0")
    async with running() as runtime:
        for _ in range(WARM_UP // CHAIN):
            await runtime.send_message(WORK, first)
        with stopwatch() as watch:
            replies: list[object] = [
                await runtime.send_message(WORK, first) for _ in range(count // CHAIN)
            ]
        check_replies(replies, count // CHAIN)
    return Sample(watch.seconds, count)


async def _new_key(count: int) -> Sample:
    async with running() as runtime:
        for number in range(WARM_UP):
            await runtime.send_message(WORK, AgentId("worker", f"warm{number}"))
        ids = [AgentId("worker", f"key{number}") for number in range(count)]
        with stopwatch() as watch:
            replies: list[object] = [await runtime.send_message(WORK, agent_id) for agent_id in ids]
        check_replies(replies, count)
    return Sample(watch.seconds, count)


async def _publish(count: int) -> Sample:
    tally = Tally()
    topic = TopicId("news", "default")
    runtime = SingleThreadedAgentRuntime()
    for number in range(SUBSCRIBERS):
        await Subscriber.register(runtime, f"subscriber{number}", lambda: Subscriber(tally))
        await runtime.add_subscription(TypeSubscription("news", f"subscriber{number}"))
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


async def _memory(count: int) -> Sample:
    async with running() as runtime:
        for number in range(WARM_UP):
            await runtime.send_message(WORK, AgentId("worker", f"warm{number}"))
        before = resident_bytes()
        for number in range(count):
            await runtime.send_message(WORK, AgentId("worker", f"key{number}"))
        live = resident_bytes()
        alone = [Worker() for _ in range(count)]
        after = resident_bytes()
        assert len(alone) == count
    return Sample((live - before) - (after - live), count)


def _on_asyncio(scenario: Callable[[int], Coroutine[Any, Any, Sample]]) -> Callable[[int], Sample]:
    def run(count: int) -> Sample:
        return asyncio.run(scenario(count))

    return run


SCENARIOS: Final[Mapping[str, Callable[[int], Sample]]] = {
    "sequential": sequential,
    "in_flight": _on_asyncio(_in_flight),
    "chain": _on_asyncio(_chain),
    "new_key": _on_asyncio(_new_key),
    "publish": _on_asyncio(_publish),
    "token": token,
    "intervention": intervention,
    "tracing": tracing,
    "memory": _on_asyncio(_memory),
}
