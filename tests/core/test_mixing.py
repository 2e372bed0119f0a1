"""AutoGen's own types do not pass for ours: they are refused, and the error names the door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import autogen_core
import pytest

from trio_agents import (
    AgentId,
    DefaultInterventionHandler,
)

from .doers import Doer, nothing
from .loop import SingleThreadedAgentRuntime, open_runtime

A = AgentId("doer", "a")
DOOR = r"trio_agents\.interop\.autogen\.AutoGenRuntime"


class Theirs(autogen_core.RoutedAgent):
    def __init__(self) -> None:
        super().__init__("AutoGen's")


def their_id() -> Any:
    return autogen_core.AgentId("doer", "a")


CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "recipient": lambda runtime: runtime.send_message(nothing, their_id()),
    "sender": lambda runtime: runtime.send_message(nothing, A, sender=their_id()),
    "token": lambda runtime: runtime.send_message(
        nothing, A, cancellation_token=autogen_core.CancellationToken()
    ),
    "topic": lambda runtime: runtime.publish_message(nothing, autogen_core.TopicId("news", "a")),
    "type": lambda runtime: runtime.register_factory(autogen_core.AgentType("other"), Doer),
    "get": lambda runtime: runtime.get(their_id()),
    "subscription": lambda runtime: runtime.add_subscription(
        autogen_core.TypeSubscription("news", "doer")
    ),
    "instance": lambda runtime: runtime.register_agent_instance(Theirs(), AgentId("theirs", "a")),
}


@pytest.mark.parametrize("call", CALLS)
async def test_autogen_s_types_are_refused_where_they_are_given(call: str) -> None:
    async with open_runtime() as runtime:
        await Doer.register(runtime, "doer", Doer)
        with pytest.raises((TypeError, ValueError), match=DOOR):
            await CALLS[call](runtime)
        assert runtime.statistics().accepted == 0
        await runtime.send_message(nothing, A)


async def test_autogen_s_agents_are_refused_when_a_factory_makes_one() -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("theirs", Theirs)
        with pytest.raises(TypeError, match=DOOR):
            await runtime.send_message(nothing, AgentId("theirs", "a"))


def test_autogen_s_intervention_handlers_are_refused() -> None:
    with pytest.raises(TypeError, match=DOOR):
        SingleThreadedAgentRuntime(
            intervention_handlers=[autogen_core.DefaultInterventionHandler()]
        )


async def test_autogen_s_drop_message_does_not_become_the_message() -> None:
    class Drop(DefaultInterventionHandler):
        async def on_send(self, message: Any, **_: Any) -> Any:
            return autogen_core.DropMessage

    async with open_runtime(intervention_handlers=[Drop()]) as runtime:
        await Doer.register(runtime, "doer", Doer)
        with pytest.raises(TypeError, match="gave DropMessage is autogen_core's"):
            await runtime.send_message(nothing, A)
