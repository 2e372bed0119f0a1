"""A state machine does whatever an application can to a runtime, and compares it with its model."""

import logging

# [test]
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import rule

from trio_agents.asyncio import AgentId, SingleThreadedAgentRuntime
from trio_agents.testing.stateful import RuntimeMachine


class CountingRuntime(SingleThreadedAgentRuntime):
    """Counts publications."""

    publications = 0

    async def publish_message(self, *args: Any, **options: Any) -> None:
        self.publications += 1
        await super().publish_message(*args, **options)


class CountingMachine(RuntimeMachine):
    loop = "asyncio"

    @classmethod
    def make_runtime(cls, **options: Any) -> CountingRuntime:
        return CountingRuntime(**options)

    @rule(id=st.sampled_from([AgentId("a", "x"), AgentId("b", "y")]))
    def make_anew(self, id: AgentId) -> None:
        self.deactivate(id)
        self.get(id, patience=1.0)
        self.do("start")  # of a runtime that is started: an error, and the model says so too


CountingMachine.TestCase.settings = settings(
    CountingMachine.TestCase.settings, max_examples=20, stateful_step_count=30
)
TestCounting = CountingMachine.TestCase  # pytest and unittest find it by this name
# [/test]

if __name__ == "__main__":
    import unittest

    logging.disable()  # of the failures that it means to have
    unittest.main()
