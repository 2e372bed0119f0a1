"""A probe whose agents live in a trio thread, while the test runs on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from trio_agents import AgentId
from trio_agents.portal import AwaitableRuntime, open_portal
from trio_agents.testing._probes import Probe, ProbeFailed

MODEL = AgentId("model", "default")


def run(main: Callable[[AwaitableRuntime], Awaitable[None]]) -> None:
    async def call() -> None:
        async with asyncio.timeout(20), open_portal() as runtime:
            await main(runtime)

    asyncio.run(call())


def test_messages_come_across() -> None:
    async def main(runtime: AwaitableRuntime) -> None:
        model = await Probe.register(runtime, "model")
        for _ in range(20):
            sending = asyncio.create_task(runtime.send_message("why?", MODEL))
            assert await model.expect(str) == "why?"
            await sending
        await model.expect_none(within=0.01)

    run(main)


def test_a_reply_goes_back() -> None:
    async def main(runtime: AwaitableRuntime) -> None:
        model = await Probe.register(runtime, "model")
        model.hold()
        sending = asyncio.create_task(runtime.send_message("why?", MODEL))
        await model.expect(str)
        model.reply("because")
        assert await sending == "because"
        await model.last.wait_ended()

    run(main)


def test_nothing_in_time_is_a_failure_there_too() -> None:
    async def main(runtime: AwaitableRuntime) -> None:
        model = await Probe.register(runtime, "model")
        with pytest.raises(ProbeFailed):
            await model.expect(str, within=0.01)
        await runtime.send_message("unexpected", MODEL)
        with pytest.raises(ProbeFailed):
            await model.expect_none(within=10)

    run(main)
