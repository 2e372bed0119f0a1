# docs/guides/testing.md: what every runtime promises, tried on one that adds something to ours.

# [test]
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import trio_agents
from trio_agents import AgentId, SingleThreadedAgentRuntime
from trio_agents.testing import RUNTIME_CHECKS, Capability, Check, check_runtime


class CountingRuntime(SingleThreadedAgentRuntime):
    """Counts requests."""

    requests = 0

    async def send_message(self, message: Any, recipient: AgentId, **options: Any) -> Any:
        self.requests += 1
        return await super().send_message(message, recipient, **options)


@asynccontextmanager
async def open_counting_runtime(**options: Any) -> AsyncGenerator[CountingRuntime, None]:
    async with CountingRuntime(**options) as runtime:
        runtime.start()
        yield runtime
        if runtime.is_started():
            await runtime.stop_when_idle()


def test_it_does_what_every_runtime_does() -> None:
    report = check_runtime(open_counting_runtime)
    report.raise_for_failures()
    assert len(report.passed) == len(RUNTIME_CHECKS)


def test_what_it_does_not_offer_is_listed() -> None:
    report = check_runtime(
        trio_agents.open_runtime, offers=set(Capability) - {Capability.INTERVENTION}
    )
    report.raise_for_failures()
    assert {result.reason for result in report.not_applicable} == {"INTERVENTION not offered"}


# [/test]
# [each]
@pytest.mark.parametrize("check", RUNTIME_CHECKS, ids=lambda check: check.name)
async def test_it_keeps_the_promise(check: Check) -> None:
    await check(open_counting_runtime)


# [/each]
if __name__ == "__main__":
    import subprocess
    import sys

    # An installed trio_agents brings its plugin with it, a checkout does not.
    plugin = ["-p", "no:trio_agents", "-p", "trio_agents.testing.pytest_plugin"]
    options = ["-q", "-p", "no:cacheprovider", "-o", "trio_mode=true"]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *plugin, *options, __file__]))
