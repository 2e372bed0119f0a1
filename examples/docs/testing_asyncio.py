# docs/guides/testing.md: a test on asyncio, by anyio's pytest plugin.

# [test]
import asyncio
from dataclasses import dataclass

import pytest

from trio_agents.asyncio import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    rpc,
)
from trio_agents.testing import Probe

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Both:
    first: str
    second: str


class Forker(RoutedAgent):
    """Asks two models at once."""

    def __init__(self) -> None:
        super().__init__("asks two")

    @rpc
    async def ask(self, message: Both, ctx: MessageContext) -> list[str]:
        questions = (message.first, message.second)
        models = (AgentId("model", "a"), AgentId("model", "b"))
        answers: list[str] = await asyncio.gather(*map(self.send_message, questions, models))
        return answers


async def test_both_are_asked(runtime: SingleThreadedAgentRuntime) -> None:
    await Forker.register(runtime, "forker", Forker)
    model = await Probe.register(runtime, "model")
    model.answer_with("one", "two")
    answers = await runtime.send_message(Both("why?", "how?"), AgentId("forker", "x"))
    assert answers == ["one", "two"]
    assert [received.recipient.key for received in model.received] == ["a", "b"]


# [/test]
if __name__ == "__main__":
    import subprocess
    import sys

    # An installed trio_agents brings its plugin with it, a checkout does not.
    plugin = ["-p", "no:trio_agents", "-p", "trio_agents.testing.pytest_plugin"]
    options = ["-q", "-p", "no:cacheprovider", "-o", "trio_mode=false"]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *plugin, *options, __file__]))
