"""A stand-in for a runtime: it records, and delivers at once, in the caller's task.

The tests here are about agents alone. What the real runtimes do with them is tested with those.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from trio_agents._sansio._abc import Agent, Subscription
from trio_agents._sansio._cancellation import CancellationToken
from trio_agents._sansio._contexts import AgentInstantiationContext, MessageContext
from trio_agents._sansio._errors import UnknownAgentType
from trio_agents._sansio._identifiers import AgentId, AgentMetadata, AgentType, TopicId
from trio_agents._sansio._routing import RoutingTable


@dataclass
class RecordingRuntime:
    """Keeps the `AgentRuntime` protocol, as far as agents use it."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    factories: dict[str, Callable[[], Any]] = field(default_factory=dict)
    agents: dict[AgentId, Agent] = field(default_factory=dict)
    serializers: list[Any] = field(default_factory=list)
    table: RoutingTable = field(default_factory=RoutingTable)

    @property
    def subscriptions(self) -> list[Subscription]:
        return list(self.table)

    async def register_factory(
        self,
        type: str | AgentType,
        agent_factory: Callable[[], Any],
        *,
        expected_class: type[Any] | None = None,
        **options: Any,
    ) -> AgentType:
        type = str(type)
        if type in self.factories:
            raise ValueError(f"{type} is registered already")
        self.calls.append(("register_factory", {"expected_class": expected_class, **options}))
        self.factories[type] = agent_factory
        return AgentType(type)

    async def register_agent_instance(self, agent_instance: Agent, agent_id: AgentId) -> AgentId:
        if agent_id in self.agents:
            raise ValueError(f"{agent_id} is taken")
        await agent_instance.bind_id_and_runtime(agent_id, self)
        self.agents[agent_id] = agent_instance
        return agent_id

    async def agent(self, id: AgentId) -> Any:
        if id not in self.agents:
            if id.type not in self.factories:
                raise UnknownAgentType(str(id))
            with AgentInstantiationContext.populate_context((self, id)):
                made = self.factories[id.type]()
                if inspect.isawaitable(made):
                    made = await made
            self.agents[id] = made
        return self.agents[id]

    async def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Any:
        self.calls.append(("send_message", {
            "message": message, "recipient": recipient, "sender": sender,
            "cancellation_token": cancellation_token, "message_id": message_id,
        }))  # fmt: skip
        agent = await self.agent(recipient)
        ctx = MessageContext(sender, None, True, cancellation_token, message_id)
        return await agent.on_message(message, ctx)

    async def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> None:
        self.calls.append(("publish_message", {
            "message": message, "topic_id": topic_id, "sender": sender,
            "cancellation_token": cancellation_token, "message_id": message_id,
        }))  # fmt: skip
        for recipient in self.table.recipients(topic_id):
            if recipient != sender:
                agent = await self.agent(recipient)
                ctx = MessageContext(sender, topic_id, False, cancellation_token, message_id)
                await agent.on_message(message, ctx)

    async def add_subscription(self, subscription: Subscription) -> None:
        self.table.add(subscription)

    async def remove_subscription(self, id: str) -> None:
        self.table.remove(id)

    def add_message_serializer(self, serializer: Any | Sequence[Any]) -> None:
        self.serializers += serializer if isinstance(serializer, Sequence) else [serializer]

    async def try_get_underlying_agent_instance(self, id: AgentId, type: type[Any] = object) -> Any:
        return await self.agent(id)

    async def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        raise NotImplementedError  # no agent asks for it

    async def save_state(self) -> Mapping[str, Any]:
        raise NotImplementedError  # nor for the state of the others

    async def load_state(self, state: Mapping[str, Any]) -> None:
        raise NotImplementedError

    async def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        return (await self.agent(agent)).metadata

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        return await (await self.agent(agent)).save_state()

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        await (await self.agent(agent)).load_state(state)


@pytest.fixture
def runtime() -> RecordingRuntime:
    return RecordingRuntime()
