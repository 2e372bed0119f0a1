from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trio_agents._agents._agent_proxy import AgentChildren, AgentProxy
from trio_agents._agents._base_agent import BaseAgent
from trio_agents._sansio._cancellation import CancellationToken
from trio_agents._sansio._contexts import MessageContext
from trio_agents._sansio._identifiers import AgentId

if TYPE_CHECKING:
    from .conftest import RecordingRuntime

ECHO = AgentId("echo", "x")
BOSS = AgentId("boss", "b")


class Echo(BaseAgent):
    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.state: Mapping[str, Any] = {"a": 1}

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return message

    async def save_state(self) -> Mapping[str, Any]:
        return self.state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.state = state


# AP-01, AP-02
def test_a_proxy_asks_nothing_until_it_is_asked(runtime: RecordingRuntime) -> None:
    proxy = AgentProxy(AgentId("unknown", "x"), runtime)
    assert proxy.id == AgentId("unknown", "x")
    assert repr(proxy) == "AgentProxy(unknown/x)"


# AP-03, AP-04, AP-05
async def test_a_proxy_stands_in_for_its_agent(runtime: RecordingRuntime) -> None:
    await Echo.register(runtime, "echo", lambda: Echo("says it again"))
    proxy = AgentProxy(ECHO, runtime)
    assert await proxy.metadata == {"type": "echo", "key": "x", "description": "says it again"}
    token = CancellationToken()
    reply = await proxy.send_message("hello", sender=BOSS, cancellation_token=token, message_id="1")
    assert reply == "hello"
    assert runtime.calls[-1] == (
        "send_message",
        {
            "message": "hello",
            "recipient": ECHO,
            "sender": BOSS,
            "cancellation_token": token,
            "message_id": "1",
        },
    )
    assert await proxy.save_state() == {"a": 1}
    await proxy.load_state({"b": 2})
    assert await proxy.save_state() == {"b": 2}


# AG-23
def test_an_agent_with_others_under_it_has_children() -> None:
    class Team:
        @property
        def children(self) -> Sequence[AgentId]:
            return [ECHO]

    assert isinstance(Team(), AgentChildren)
    assert not isinstance(Echo("x"), AgentChildren)
