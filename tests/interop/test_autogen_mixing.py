"""AutoGen's types and ours in one runtime: refused, with both named and a way out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from autogen_core import AgentId, DefaultInterventionHandler, MessageContext, TopicId

import trio_agents.asyncio as ours
from trio_agents.interop.autogen import AutoGenRuntime

from .doers import A, Actor, B, on_asyncio, started

NEWS = TopicId("news", "a")


class OurAgent(ours.RoutedAgent):
    def __init__(self) -> None:
        super().__init__("an agent of trio_agents")


async def act(agent: Actor, ctx: MessageContext) -> None:
    pass


async def use_our_agent(runtime: AutoGenRuntime) -> None:
    await runtime.register_factory("ours", lambda: OurAgent())  # type: ignore[type-var]
    await runtime.send_message(act, AgentId("ours", "a"))


OUR_ID: Any = ours.AgentId("actor", "a")
OUR_TOPIC: Any = ours.TopicId("news", "a")
OUR_TOKEN: Any = ours.CancellationToken()
OUR_TYPE: Any = ours.AgentType("x")
OUR_SUBSCRIPTION: Any = ours.TypeSubscription("news", "actor")
OUR_AGENT: Any = OurAgent()


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (
            lambda runtime: runtime.send_message(act, OUR_ID),
            "recipient must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.send_message(act, A, sender=OUR_ID),
            "sender must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.send_message(act, A, cancellation_token=OUR_TOKEN),
            "cancellation_token must be an autogen_core.CancellationToken, "
            "not trio_agents.CancellationToken",
        ),
        (
            lambda runtime: runtime.publish_message(act, OUR_TOPIC),
            "topic_id must be an autogen_core.TopicId, not trio_agents.TopicId",
        ),
        (
            lambda runtime: runtime.publish_message(act, NEWS, sender=OUR_ID),
            "sender must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.publish_message(act, NEWS, cancellation_token=OUR_TOKEN),
            "cancellation_token must be an autogen_core.CancellationToken, "
            "not trio_agents.CancellationToken",
        ),
        (
            lambda runtime: runtime.register_factory(OUR_TYPE, Actor),
            "agent type must be an autogen_core.AgentType, not trio_agents.AgentType",
        ),
        (
            lambda runtime: OurAgent.register(runtime, "ours", OurAgent),
            "expected_class must be a class of AutoGen's agents, not .*OurAgent",
        ),
        (
            use_our_agent,
            "an agent in an AutoGenRuntime must be an autogen_core.Agent, not .*OurAgent",
        ),
        (
            lambda runtime: runtime.register_agent_instance(OUR_AGENT, AgentId("ours", "a")),
            "an agent in an AutoGenRuntime must be an autogen_core.Agent, not .*OurAgent",
        ),
        (
            lambda runtime: runtime.register_agent_instance(Actor(), OUR_ID),
            "agent_id must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.add_subscription(OUR_SUBSCRIPTION),
            "a subscription must be an autogen_core.Subscription, not trio_agents.TypeSubscription",
        ),
        (
            lambda runtime: runtime.get(OUR_ID),
            "id must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.try_get_underlying_agent_instance(OUR_ID),
            "id must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.agent_metadata(OUR_ID),
            "id must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.agent_save_state(OUR_ID),
            "agent must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.agent_load_state(OUR_ID, {}),
            "agent must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
        (
            lambda runtime: runtime.deactivate(OUR_ID),
            "agent_id must be an autogen_core.AgentId, not trio_agents.AgentId",
        ),
    ],
)
@on_asyncio
async def test_what_is_ours_is_refused(
    use: Callable[[AutoGenRuntime], Awaitable[Any]], text: str
) -> None:
    runtime = await started()
    with pytest.raises(TypeError, match=text) as caught:
        await use(runtime)
    assert "import it from autogen_core" in str(caught.value)
    assert runtime.statistics().pending == 0
    await runtime.stop()


def test_our_intervention_handler_is_refused() -> None:
    handler: Any = ours.DefaultInterventionHandler()
    with pytest.raises(
        TypeError, match=r"not trio_agents\.DefaultInterventionHandler: .*import it"
    ):
        AutoGenRuntime(intervention_handlers=[handler])


@on_asyncio
async def test_our_drop_message_is_refused() -> None:
    class Confused(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            return ours.DropMessage

    runtime = await started(intervention_handlers=[Confused()])
    text = r"Confused returned trio_agents\.DropMessage, not autogen_core\.DropMessage: .*import it"
    with pytest.raises(TypeError, match=text):
        await runtime.send_message(act, A)
    await runtime.stop()


class MapsToOurs:
    id = "maps to ours"

    def is_match(self, topic_id: TopicId) -> bool:
        return True

    def map_to_agent(self, topic_id: TopicId) -> Any:
        return OUR_ID


@on_asyncio
async def test_a_subscription_that_maps_to_our_id_fails_the_publication() -> None:
    runtime = await started(ignore_unhandled_exceptions=False)
    await runtime.add_subscription(MapsToOurs())
    await runtime.publish_message(act, NEWS)
    text = "what .*MapsToOurs.map_to_agent returns must be an autogen_core.AgentId"
    with pytest.raises(TypeError, match=text):
        await runtime.stop_when_idle()


# --- what is of neither library


NOTHING: Any = object()


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (
            lambda runtime: runtime.send_message(act, "actor/a"),
            r"recipient must be an autogen_core\.AgentId, not builtins\.str$",
        ),
        (
            lambda runtime: runtime.send_message(act, []),
            r"recipient must be an autogen_core\.AgentId, not builtins\.list$",
        ),
        (
            lambda runtime: runtime.publish_message(act, "news/a"),
            r"topic_id must be an autogen_core\.TopicId, not builtins\.str$",
        ),
        (
            lambda runtime: runtime.register_agent_instance(NOTHING, B),
            r"must be an autogen_core\.Agent, not builtins\.object, which lacks id, metadata",
        ),
        (
            lambda runtime: runtime.register_agent_instance(Actor, B),
            r"must be an autogen_core\.Agent, not the class .*Actor: give an instance$",
        ),
        (
            lambda runtime: runtime.add_subscription(NOTHING),
            r"autogen_core\.Subscription, not builtins\.object, which lacks id, is_match, map_to_",
        ),
    ],
)
@on_asyncio
async def test_what_is_of_neither_library_is_refused(
    use: Callable[[Any], Awaitable[Any]], text: str
) -> None:
    runtime = await started()
    with pytest.raises(TypeError, match=text):
        await use(runtime)
    await runtime.stop()
