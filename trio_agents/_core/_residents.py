"""The agents that live in a runtime, looked at from outside: had, closed, saved and restored.

Messages are not the only ones who want something of agents. What is done here is done between their
messages, or in their place among them, and never makes an agent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._sansio._contexts import current_frame
from .._sansio._errors import StateError
from .._sansio._foreign import type_name
from .._sansio._identifiers import AgentId
from .._sansio._notes import add_note
from ._calls import call_user
from ._envelope import SETTLED, Envelope, Errand, Farewell, Loading, Look
from ._reaper import Reaper
from ._state import check_agent_state, parse_state
from ._waits import begin_waiting, end_waiting

if TYPE_CHECKING:
    from .._sansio._abc import Agent
    from ._activation import Activation
    from ._gate import Gate
    from ._loop import EventLoop
    from ._pipeline import Pipeline

__all__ = ["Residents"]


class Residents:
    """The agents of one runtime."""

    def __init__(self, loop: EventLoop, pipeline: Pipeline, gate: Gate) -> None:
        self.reaper = Reaper(loop, self._let_go)
        self._loop = loop
        self._new_reply = loop.Reply
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._workers = pipeline.workers
        self._gate = gate
        pipeline.on_idle = self._note_idle

    def reopen(self) -> None:
        """Agents may be used again from now on, and are to be closed again then."""
        self._pipeline.closed.clear()

    async def ensure(self, id: AgentId) -> Agent:
        """Give an agent, made now if need be; after that, if states are being looked at.

        Raises:
            UnknownAgentType: nothing is registered that could make it.
            DeadlockError: it is being made by the caller.
        """
        if not isinstance(id, AgentId):
            raise TypeError(f"expected an AgentId, not {type_name(id)}")
        parent = _caller()
        while True:
            activation = self._pipeline.activation(id)
            if not (activation.agent is not None or self._gate.may_make(parent)):
                try:
                    await self._ledger.wait_until(lambda: self._gate.may_make(parent))
                finally:
                    self._pipeline.forget_if_unused(activation)
                continue
            errand = Errand(parent, activation)
            # For a handler of its own it is there until that has ended.
            stays = activation.closing is None or activation.is_inside(errand)
            if activation.agent is not None and stays:
                return activation.agent
            if activation.starter is None and activation.closing is None:
                activation.queued += 1
                self._gate.errands[errand] = None
                try:
                    await self._pipeline.make_agent(activation, errand)
                finally:
                    activation.queued -= 1
                    del self._gate.errands[errand]
                    errand.stage = SETTLED
                    self._pipeline.forget_if_unused(activation)
                    if activation.registration.idle_timeout is not None:
                        self._note_idle(activation)
                    self._ledger.look()
                continue
            await self._wait_until_settled(errand, activation)

    async def _wait_until_settled(self, envelope: Envelope, activation: Activation) -> None:
        """Wait while somebody else makes the agent, or closes it.

        Raises:
            DeadlockError: it would not end.
        """
        error = begin_waiting(envelope, activation)
        if error is not None:
            raise error
        try:
            await self._ledger.wait_until(activation.is_settled)
        finally:
            end_waiting(envelope)

    async def close_all(self) -> list[BaseException]:
        """Close every agent that has not been closed since it was used; give what they raised."""
        failures: list[BaseException] = []
        for activation in tuple(self._pipeline.activations.values()):
            agent = activation.agent
            if agent is None or not self._pipeline.is_to_close(activation.id, agent):
                continue
            farewell = Farewell(activation)
            frame = current_frame.set(farewell)
            try:
                await call_user(agent.close)
            except BaseException as exc:  # not even Ctrl-C may spare the rest; raised by the caller
                if not isinstance(exc, self._loop.Cancelled):
                    add_note(exc, f"raised by close() of agent {activation.id}")
                failures.append(exc)
            finally:
                farewell.stage = SETTLED
                current_frame.reset(frame)
        return failures

    def _note_idle(self, activation: Activation) -> None:
        self.reaper.note_idle(activation)

    def _let_go(self, activation: Activation) -> bool:
        if not self._gate.flowing:
            return False
        self._workers.submit(Farewell(activation, keep_state=True))
        return True

    async def deactivate(self, agent_id: AgentId) -> None:
        """Close one agent in its place among its messages, see the runtime."""
        parent = _caller()
        # What runs inside is waited for by those who look at the states.
        if parent is None or not any(map(self._gate.is_ours, (parent, *parent.ancestors()))):
            await self._ledger.wait_until(lambda: not self._gate.is_held)
        while True:
            activation = self._pipeline.activations.get(agent_id)
            if activation is None:
                self._pipeline.dormant.pop(agent_id, None)
                return
            if parent is not None and (
                parent.is_for(activation) or activation.is_reentrant(parent)
            ):
                raise RuntimeError(
                    f"deactivate({agent_id}) waits for the handlers of {agent_id} and was called "
                    "by one: call it from outside, or register the type with an idle_timeout"
                )
            reply = self._new_reply()
            farewell = Farewell(activation, parent=parent, reply=reply)
            if self._workers.are_open:
                break
            if activation.is_settled():
                activation.close_at_once(farewell)
                await self._pipeline.close_agent(farewell, activation)
                if farewell.error is not None:
                    raise farewell.error
                return
            await self._wait_until_settled(farewell, activation)
        self._workers.submit(farewell)

        def give_up() -> bool:
            given_up = farewell.give_up()
            self._ledger.look()  # somebody may wait for the agent
            return given_up

        error = begin_waiting(farewell, activation)
        if error is not None:
            give_up()
            raise error
        try:
            await reply.wait(give_up)
            if reply.interrupted:
                await reply.outlast()
        finally:
            end_waiting(farewell)
        if farewell.error is not None:
            raise farewell.error
        reply.raise_if_cancelled()

    async def save_state(self) -> dict[str, Any]:
        """Ask every agent for its state, in one consistent cut."""
        self._gate.check_outside_handlers("save_state")
        state: dict[str, Any] = {}
        async with self._gate.held():
            for id, dormant in self._pipeline.dormant.items():
                state[str(id)] = check_agent_state(id, dormant)
            for activation in tuple(self._pipeline.activations.values()):
                agent = activation.agent
                if agent is not None:
                    saved = await self._look_at(activation, agent.save_state)
                    state[str(activation.id)] = check_agent_state(activation.id, saved)
        return state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore every agent that *state* names."""
        self._gate.check_outside_handlers("load_state")
        states = parse_state(state)
        registry = self._pipeline.registry
        unknown = {id.type for id in states if id.type not in registry}
        # Of a type with instances only those are known that were registered.
        unknown |= {str(id) for id in states if id.type in registry and not registry.knows(id)}
        if unknown:
            raise StateError(
                f"the state names agent types that are not registered: {', '.join(sorted(unknown))}"
            )
        async with self._gate.held():
            for id, saved in states.items():
                loading = Loading(_caller(), self._pipeline.activation(id))
                dormant = self._pipeline.dormant.pop(id, None)
                frame = current_frame.set(loading)
                try:
                    agent = await self.ensure(id)
                except BaseException:  # undone, and raised again
                    if dormant is not None:
                        self._pipeline.dormant[id] = dormant
                    raise
                finally:
                    loading.stage = SETTLED
                    current_frame.reset(frame)
                await self._look_at(self._pipeline.activations[id], agent.load_state, saved)

    async def _look_at(
        self, activation: Activation, function: Callable[..., Any], *args: Any
    ) -> Any:
        # With a frame of its own: what it sends is refused, for it would wait for ever.
        look = Look(_caller(), activation)
        frame = current_frame.set(look)
        try:
            return await call_user(function, *args)
        finally:
            look.stage = SETTLED
            current_frame.reset(frame)


def _caller() -> Envelope | None:
    """Give what a handler, or another part of the application, is at work on that calls us."""
    frame = current_frame.get()
    return frame if isinstance(frame, Envelope) and frame.stage is not SETTLED else None
