"""Checks of what every runtime does with agents: factories, ids, instances, closing."""

from __future__ import annotations

from typing import Final

import anyio

from .._sansio._abc import AgentRuntime
from .._sansio._identifiers import AgentId, AgentType
from .._sansio._serializers import try_get_known_serializers_for_type
from ._conformance_check import (
    A,
    B,
    Calling,
    Capability,
    Check,
    Note,
    OpenRuntime,
    Player,
    check,
    let_others_go_on,
    require,
    requires_error,
    settle_in,
)
from ._scripted import ScriptedFactory, calls, echoes, returns, waits_for
from ._waiting import Gate

__all__ = ["AGENT_CHECKS"]


@check()
async def it_is_an_agent_runtime(open_runtime: OpenRuntime) -> None:
    """It has every method of the protocol."""
    async with open_runtime() as runtime:
        names = [name for name in dir(AgentRuntime) if not name.startswith("_")]
        missing = [name for name in names if not callable(getattr(runtime, name, None))]
        require(not missing, f"it has no {', '.join(missing)}")


@check()
async def an_agent_is_made_once(open_runtime: OpenRuntime) -> None:
    """A factory is called once for an id, however many messages arrive meanwhile."""
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        began, gate = Gate(), Gate()
        slow = calls(lambda message, ctx: began.open()).then(waits_for(gate))
        factory = ScriptedFactory(slow, make=lambda: Player(echoes()))
        await Player.register(runtime, A.type, factory)
        sending = [Calling(tasks, lambda: runtime.send_message(Note("x"), A)) for _ in range(5)]
        await began.wait()
        await let_others_go_on(runtime)
        gate.open()
        for one in sending:
            require(await one.result() == Note("x"), "a message was lost while the agent was made")
        require(factory.calls == 1, f"the factory was called {factory.calls} times for one id")


@check()
async def each_key_has_an_agent_of_its_own(open_runtime: OpenRuntime) -> None:
    """A factory is called for each key, and the agent knows its id and its runtime."""
    async with open_runtime() as runtime:
        factory = ScriptedFactory(make=lambda: Player(echoes()))
        await Player.register(runtime, A.type, factory)
        require(factory.calls == 0, "a factory was called before its agent was needed")
        for id in (A, B, A):
            await runtime.send_message(Note("x"), id)
        ids = [agent.id for agent in factory.made]
        require(ids == [A, B], f"agents a, b and a again were sent to, and these made: {ids}")
        require(factory.made[0].runtime is not None, "an agent that has no runtime")


@check()
async def a_factory_that_failed_is_tried_again(open_runtime: OpenRuntime) -> None:
    """What a factory raises reaches the sender, and the next message has it called once more."""
    async with open_runtime() as runtime:
        factory = ScriptedFactory(OSError("of the factory"), None, make=lambda: Player(echoes()))
        await Player.register(runtime, A.type, factory)
        with requires_error(OSError, by="a message whose agent could not be made"):
            await runtime.send_message(Note("x"), A)
        reply = await runtime.send_message(Note("x"), A)
        require(reply == Note("x"), f"the reply was {reply!r}")


@check()
async def an_agent_is_of_the_class_that_was_registered(open_runtime: OpenRuntime) -> None:
    """A factory that gives no instance of *expected_class* fails its messages."""

    class Other(Player):
        pass

    async with open_runtime() as runtime:
        await runtime.register_factory(
            A.type, lambda: Player(returns(Note("handled"))), expected_class=Other
        )
        with requires_error(Exception, by="a message whose agent is of another class"):
            await runtime.send_message(Note("x"), A)


@check()
async def a_type_is_registered_once(open_runtime: OpenRuntime) -> None:
    """register_factory gives the type, and refuses one that is there by ValueError."""
    async with open_runtime() as runtime:
        registered = await runtime.register_factory(A.type, Player)
        require(registered == AgentType(A.type), f"registering {A.type} has given {registered!r}")
        with requires_error(ValueError, by="registering a type once more"):
            await runtime.register_factory(AgentType(A.type), Player)


@check()
async def an_agent_tells_its_metadata(open_runtime: OpenRuntime) -> None:
    """agent_metadata gives type, key and description; an unknown type is a LookupError."""
    async with open_runtime() as runtime:
        await settle_in(runtime)
        metadata = await runtime.agent_metadata(A)
        named = (metadata["type"], metadata["key"])
        require(named == (A.type, A.key), f"the metadata of {A} name {named}")
        require(metadata["description"], "the metadata have no description")
        with requires_error(LookupError, by="the metadata of an unknown type"):
            await runtime.agent_metadata(AgentId("nobody", "x"))


@check()
async def get_gives_ids_and_makes_agents(open_runtime: OpenRuntime) -> None:
    """An agent can be named in each way that get knows, and is made now if it is not lazy."""
    async with open_runtime() as runtime:
        factory = ScriptedFactory(make=Player)
        await Player.register(runtime, A.type, factory)
        named = [
            await runtime.get(A),
            await runtime.get(A.type, "a"),
            await runtime.get(AgentType(A.type), "a"),
        ]
        require(named == [A, A, A], f"agent {A} was asked for, and these given: {named}")
        default = await runtime.get(A.type)
        require(default == AgentId(A.type, "default"), f"the default key gave {default}")
        require(factory.calls == 0, "a lazy get has made an agent")
        await runtime.get(A, lazy=False)
        require(factory.calls == 1, f"a get that is not lazy made {factory.calls} agents")
        with requires_error(LookupError, by="an agent of an unknown type"):
            await runtime.get("nobody", lazy=False)


@check(Capability.ACCESS)
async def the_agent_itself_can_be_had(open_runtime: OpenRuntime) -> None:
    """try_get_underlying_agent_instance gives the object, if it is of the right class."""

    class Other(Player):
        pass

    async with open_runtime() as runtime:
        factory = ScriptedFactory(make=Player)
        await Player.register(runtime, A.type, factory)
        agent = await runtime.try_get_underlying_agent_instance(A, type=Player)
        require(agent is factory.made[0], f"the factory has made another one than {agent!r}")
        with requires_error(TypeError, by="an agent of another class"):
            await runtime.try_get_underlying_agent_instance(A, type=Other)
        with requires_error(LookupError, by="an agent of an unknown type"):
            await runtime.try_get_underlying_agent_instance(AgentId("nobody", "x"))


@check(Capability.INSTANCES)
async def a_ready_agent_can_be_registered(open_runtime: OpenRuntime) -> None:
    """register_agent_instance puts an agent at an id, which no other can have."""
    async with open_runtime() as runtime:
        agent = Player(returns(Note("ready")))
        registered = await runtime.register_agent_instance(agent, A)
        require(registered == A, f"registering at {A} has given {registered!r}")
        require(agent.id == A, f"the agent at {A} thinks that it is {agent.id}")
        reply = await runtime.send_message(Note("x"), A)
        require(reply == Note("ready"), f"the reply was {reply!r}")
        with requires_error(ValueError, by="a second agent at one id"):
            await runtime.register_agent_instance(Player(), A)


@check()
async def agents_are_closed_with_their_runtime(open_runtime: OpenRuntime) -> None:
    """When a runtime is closed it calls `close` of every agent, once."""
    factory = ScriptedFactory(make=Player)
    async with open_runtime() as runtime:
        await Player.register(runtime, A.type, factory)
        for id in (A, B):
            await runtime.send_message(Note("x"), id)
    closed = [agent.closed for agent in factory.made]
    require(closed == [1, 1], f"of two agents that were made {closed} times each was closed")


@check()
async def serializers_can_be_added(open_runtime: OpenRuntime) -> None:
    """add_message_serializer takes one serializer or several, and the same once more."""
    async with open_runtime() as runtime:
        serializers = try_get_known_serializers_for_type(Note)
        runtime.add_message_serializer(serializers)
        runtime.add_message_serializer(serializers[0])


AGENT_CHECKS: Final[tuple[Check, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Check)
)
