"""Arguments that cannot be right are refused by the call that has them."""

from __future__ import annotations

from typing import Any

import pytest

from trio_agents import AgentId, BaseAgent, DefaultInterventionHandler, MessageContext, TopicId
from trio_agents.exceptions import DeadlockError

from . import loop
from .loop import SingleThreadedAgentRuntime, open_runtime


class Guard(DefaultInterventionHandler): ...


class Echo(BaseAgent):
    def __init__(self) -> None:
        super().__init__("answers with the message")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return message


class Forgetful(BaseAgent):
    """Its constructor does not call that of its base."""

    def __init__(self) -> None:
        pass

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return self.id


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"intervention_handlers": [Guard]}, r"not the class Guard: write Guard\(\)"),
        ({"intervention_handlers": Guard()}, r"a list of handlers, not Guard: write \[handler\]"),
        ({"blocked_after": "1"}, "blocked_after must be a number of seconds or None, not str"),
        ({"blocked_after": True}, "blocked_after must be a number of seconds or None, not bool"),
    ],
)
def test_an_option_of_a_runtime_that_is_none_is_refused(options: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        SingleThreadedAgentRuntime(**options)


async def test_an_idle_timeout_that_is_no_number_is_refused() -> None:
    async with open_runtime() as runtime:
        with pytest.raises(TypeError, match="idle_timeout must be a number of seconds or None"):
            await Echo.register(runtime, "echo", Echo, idle_timeout="60")  # type: ignore[arg-type]
        await Echo.register(runtime, "echo", Echo)  # the type is free


@pytest.mark.parametrize("id", ["echo/x", 3, None])
async def test_what_is_no_agent_id_cannot_be_deactivated(id: Any) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(TypeError, match="agent_id must be an AgentId, not "):
            await runtime.deactivate(id)


async def is_done() -> bool:
    return False


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (is_done, r"must not be async, .* have a task wait for that and call stop\(\)"),
        (True, "must be a function that says whether to stop, not bool"),
    ],
)
async def test_a_condition_that_cannot_be_asked_is_refused(condition: Any, said: str) -> None:
    async with open_runtime() as runtime:
        await Echo.register(runtime, "echo", Echo)
        with pytest.raises(TypeError, match=said):
            await runtime.stop_when(condition)
        assert await runtime.send_message("it goes on", AgentId("echo", "x")) == "it goes on"


async def test_an_agent_whose_constructor_forgets_its_base_has_an_id_all_the_same() -> None:
    async with open_runtime() as runtime:
        await Forgetful.register(runtime, "forgetful", Forgetful)
        id = AgentId("forgetful", "x")
        assert await runtime.send_message("who?", id) == id


async def test_the_error_of_a_publisher_in_its_own_way_names_the_mailbox() -> None:
    class Loud(Echo):
        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            if message == "begin":
                for number in range(2):
                    await self.runtime.publish_message(number, TopicId("loud:", "x"))

    async with open_runtime() as runtime:
        await Loud.register(runtime, "loud", Loud, max_concurrency=1, mailbox_size=1)
        with loop.fail_after(5), pytest.raises(DeadlockError, match=r"raise mailbox_size or max"):
            await runtime.send_message("begin", AgentId("loud", "x"))
