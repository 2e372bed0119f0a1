# The floor: what trio itself takes for messages of this shape, with no runtime around it.
#
# An agent is a memory channel and a task that waits at its end. A request puts the message and a
# reply (an event and a place for the value) into the channel and waits for the event. There are no
# envelopes, no contexts, no routing, no errors to carry and nothing to cancel: a runtime that
# gives all of that and stays within a small factor of this one has little left to save.
#
# It is written the way a careful trio programmer would, not tuned below that: no deques with parked
# tasks, no private functions.

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

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


class Reply:
    """The one-shot slot that a request waits on."""

    __slots__ = ("event", "value")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.value: object = None


Mailbox = trio.MemorySendChannel[tuple[Work, Reply]]
Handler = Callable[[Work], Awaitable[object]]


class Worker:
    """The agent: answers with the message it got."""

    def __init__(self) -> None:
        self.description = "answers"

    async def handle(self, message: Work) -> Work:
        return message


class Link:
    """One of a chain: asks the next one, if there is one."""

    def __init__(self, following: Mailbox | None) -> None:
        self._following = following

    async def handle(self, message: Work) -> object:
        if self._following is None:
            return message
        return await request(self._following, message)


class Deliveries:
    """Counts what the subscribers are told, and sets an event when all that is due has come."""

    def __init__(self, due: int) -> None:
        self.tally = Tally()
        self.expect(due)

    def expect(self, more: int) -> None:
        self._due = self.tally.count + more
        self.complete = trio.Event()

    def note(self) -> None:
        self.tally.count += 1
        if self.tally.count == self._due:
            self.complete.set()


class Subscriber:
    """Counts what it is told."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    async def handle(self, message: Work) -> Work:
        self._deliveries.note()
        return message


async def serve(inbox: trio.MemoryReceiveChannel[tuple[Work, Reply]], handler: Handler) -> None:
    async for message, reply in inbox:
        reply.value = await handler(message)
        reply.event.set()


async def listen(inbox: trio.MemoryReceiveChannel[Work], handler: Handler) -> None:
    async for message in inbox:
        await handler(message)


def open_agent(nursery: trio.Nursery, handler: Handler) -> Mailbox:
    mailbox, inbox = trio.open_memory_channel[tuple[Work, Reply]](math.inf)
    nursery.start_soon(serve, inbox, handler)
    return mailbox


async def request(mailbox: Mailbox, message: Work) -> object:
    reply = Reply()
    mailbox.send_nowait((message, reply))
    await reply.event.wait()
    return reply.value


Ask = Callable[[Mailbox], Awaitable[object]]


async def ask(mailbox: Mailbox) -> object:
    return await request(mailbox, WORK)


async def ask_in_a_scope(mailbox: Mailbox) -> object:
    with trio.CancelScope():
        reply = await request(mailbox, WORK)
    return reply


async def one_by_one(handler: Handler, asking: Ask, count: int) -> Sample:
    async with trio.open_nursery() as nursery:
        mailbox = open_agent(nursery, handler)
        for _ in range(WARM_UP):
            await asking(mailbox)
        with stopwatch() as watch:
            replies: list[object] = [await asking(mailbox) for _ in range(count)]
        check_replies(replies, count)
        nursery.cancel_scope.cancel()
    return Sample(watch.seconds, count)


def sequential(count: int) -> Sample:
    return trio.run(one_by_one, Worker().handle, ask, count)


def token(count: int) -> Sample:
    return trio.run(one_by_one, Worker().handle, ask_in_a_scope, count)


def intervention(count: int) -> Sample:
    async def on_message(message: object) -> object:
        return message

    async def ask_with_interception(mailbox: Mailbox) -> object:
        message = await on_message(WORK)
        assert isinstance(message, Work)
        return await on_message(await request(mailbox, message))

    return trio.run(one_by_one, Worker().handle, ask_with_interception, count)


def tracing(count: int) -> Sample:
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("floor")
    worker = Worker()

    async def ask_in_a_span(mailbox: Mailbox) -> object:
        with tracer.start_as_current_span("create"):
            return await request(mailbox, WORK)

    async def handle_in_a_span(message: Work) -> object:
        with tracer.start_as_current_span("process"):
            return await worker.handle(message)

    return trio.run(one_by_one, handle_in_a_span, ask_in_a_span, count)


async def _in_flight(count: int) -> Sample:
    async with trio.open_nursery() as nursery:
        mailbox = open_agent(nursery, Worker().handle)
        for _ in range(WARM_UP):
            await ask(mailbox)
        replies: list[object] = []

        async def caller() -> None:
            replies.append(await request(mailbox, WORK))

        with stopwatch() as watch:
            async with trio.open_nursery() as callers:
                for _ in range(count):
                    callers.start_soon(caller)
        check_replies(replies, count)
        nursery.cancel_scope.cancel()
    return Sample(watch.seconds, count)


async def _chain(count: int) -> Sample:
    async with trio.open_nursery() as nursery:
        first: Mailbox | None = None
        for _ in range(CHAIN):
            first = open_agent(nursery, Link(first).handle)
        assert first is not None
        for _ in range(WARM_UP // CHAIN):
            await ask(first)
        with stopwatch() as watch:
            replies: list[object] = [await request(first, WORK) for _ in range(count // CHAIN)]
        check_replies(replies, count // CHAIN)
        nursery.cancel_scope.cancel()
    return Sample(watch.seconds, count)


async def _new_key(count: int) -> Sample:
    async with trio.open_nursery() as nursery:
        mailboxes: dict[str, Mailbox] = {}

        async def ask_key(key: str) -> object:
            mailbox = mailboxes.get(key)
            if mailbox is None:
                mailbox = mailboxes[key] = open_agent(nursery, Worker().handle)
            return await request(mailbox, WORK)

        for number in range(WARM_UP):
            await ask_key(f"warm{number}")
        keys = [f"key{number}" for number in range(count)]
        with stopwatch() as watch:
            replies: list[object] = [await ask_key(key) for key in keys]
        check_replies(replies, count)
        nursery.cancel_scope.cancel()
    return Sample(watch.seconds, count)


async def _publish(count: int) -> Sample:
    async with trio.open_nursery() as nursery:
        deliveries = Deliveries(SUBSCRIBERS)
        mailboxes: list[trio.MemorySendChannel[Work]] = []
        for _ in range(SUBSCRIBERS):
            mailbox, inbox = trio.open_memory_channel[Work](math.inf)
            nursery.start_soon(listen, inbox, Subscriber(deliveries).handle)
            mailboxes.append(mailbox)

        def publish(message: Work) -> None:
            for mailbox in mailboxes:
                mailbox.send_nowait(message)

        publish(WORK)
        await deliveries.complete.wait()
        deliveries.expect(count)
        with stopwatch() as watch:
            for _ in range(count // SUBSCRIBERS):
                publish(WORK)
            await deliveries.complete.wait()
        deliveries.tally.check(SUBSCRIBERS + count)
        nursery.cancel_scope.cancel()
    return Sample(watch.seconds, count)


async def _memory(count: int) -> Sample:
    async with trio.open_nursery() as nursery:
        agents: dict[str, tuple[Worker, Mailbox]] = {}

        async def activate(key: str) -> object:
            worker = Worker()
            mailbox = open_agent(nursery, worker.handle)
            agents[key] = worker, mailbox
            return await request(mailbox, WORK)

        for number in range(WARM_UP):
            await activate(f"warm{number}")
        before = resident_bytes()
        for number in range(count):
            await activate(f"key{number}")
        live = resident_bytes()
        alone = [Worker() for _ in range(count)]
        after = resident_bytes()
        assert len(alone) == count
        nursery.cancel_scope.cancel()
    return Sample((live - before) - (after - live), count)


def _on_trio(scenario: Callable[[int], Awaitable[Sample]]) -> Callable[[int], Sample]:
    def run(count: int) -> Sample:
        return trio.run(scenario, count)

    return run


SCENARIOS: Final[Mapping[str, Callable[[int], Sample]]] = {
    "sequential": sequential,
    "in_flight": _on_trio(_in_flight),
    "chain": _on_trio(_chain),
    "new_key": _on_trio(_new_key),
    "publish": _on_trio(_publish),
    "token": token,
    "intervention": intervention,
    "tracing": tracing,
    "memory": _on_trio(_memory),
}
