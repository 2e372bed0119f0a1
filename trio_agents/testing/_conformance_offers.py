"""Checks of what a runtime may offer: cancellation, state, intervention, stopping, limits."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any, Final

import anyio
import anyio.lowlevel

from .._sansio._abc import AgentRuntime
from .._sansio._cancellation import CancellationToken
from .._sansio._contexts import MessageContext
from .._sansio._errors import MessageDroppedException
from .._sansio._identifiers import AgentId, TopicId
from .._sansio._intervention import DropMessage
from .._sansio._subscriptions import TypeSubscription
from ._conformance_check import (
    MESSAGE_CANCELLED,
    A,
    B,
    Calling,
    Capability,
    Check,
    CheckFailed,
    Note,
    OpenRuntime,
    Player,
    check,
    let_others_go_on,
    note_texts,
    require,
    requires_error,
    settle_in,
)
from ._probes import Probe
from ._scripted import (
    Act,
    ScriptedInterventionHandler,
    by_type,
    calls,
    echoes,
    publishes,
    returns,
    sends,
    waits_for,
)
from ._waiting import Gate

__all__ = ["OFFER_CHECKS"]

NEWS: Final = TopicId("news", "a")


# --- cancellation


class Unwinding:
    """A handler that waits until it is cancelled, and then notes that it has unwound."""

    def __init__(self) -> None:
        self.unwound = False

    async def __call__(self, message: Note, ctx: MessageContext) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(10):  # time for a sender that does not wait for this
                    await anyio.lowlevel.checkpoint()
            self.unwound = True


@check(Capability.CANCELLATION)
async def a_token_cancels_the_handler_and_then_its_sender(open_runtime: OpenRuntime) -> None:
    """A cancelled token cancels the handler; its sender gets MessageCancelled when that is over."""
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        probe = await Probe.register(runtime, "probe")
        handler, token = Unwinding(), CancellationToken()
        probe.answer_with(calls(handler))
        sending = Calling(
            tasks,
            lambda: runtime.send_message(Note("x"), probe.id, cancellation_token=token),
        )
        await probe.expect(Note)
        token.cancel()
        await sending.ended.wait()
        require(
            isinstance(sending.error, MESSAGE_CANCELLED),
            f"the sender was to get MessageCancelled, and got {sending.error!r}",
        )
        require(handler.unwound, "the sender went on before the handler had unwound")


@check(Capability.CANCELLATION)
async def a_token_that_is_cancelled_lets_nothing_begin(open_runtime: OpenRuntime) -> None:
    """A message with a token that is cancelled already is not handled."""
    async with open_runtime() as runtime:
        log: list[str] = []
        await settle_in(runtime, note_texts(log))
        token = CancellationToken()
        token.cancel()
        error: BaseException | None = None
        try:
            await runtime.send_message(Note("cancelled"), A, cancellation_token=token)
        except MESSAGE_CANCELLED as exc:
            error = exc
        require(error is not None, "a request with a cancelled token raises nothing")
        await runtime.send_message(Note("fence"), A)
        require(log == ["fence"], f"a message with a cancelled token was handled: {log}")


@check(Capability.CANCELLATION)
async def a_cancelled_sender_cancels_the_handler(open_runtime: OpenRuntime) -> None:
    """A task that is cancelled in send_message cancels the handler, and goes on when it is over."""
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        probe = await Probe.register(runtime, "probe")
        handler = Unwinding()
        probe.answer_with(calls(handler))
        sending = Calling(tasks, lambda: runtime.send_message(Note("x"), probe.id))
        await probe.expect(Note)
        sending.scope.cancel()
        await sending.ended.wait()
        require(sending.scope.cancelled_caught, "the sender was cancelled and went on")
        require(handler.unwound, "the sender went on before the handler had unwound")


@check(Capability.CANCELLATION)
async def a_token_cancels_the_handlers_of_a_publication(open_runtime: OpenRuntime) -> None:
    """A cancelled token cancels what handles the publication it was published with."""
    async with open_runtime() as runtime:
        probe = await _subscriber(runtime)
        token = CancellationToken()
        probe.hold()
        await runtime.publish_message(Note("x"), NEWS, cancellation_token=token)
        await probe.expect(Note)
        token.cancel()
        with anyio.move_on_after(5):
            await probe.last.wait_ended()
        if not probe.last.has_ended():
            probe.reply()
            raise CheckFailed("the token was cancelled, and the handler not")
        require(probe.last.was_cancelled, "the handler ended by itself")


@check(Capability.CANCELLATION)
async def a_handler_sees_its_token(open_runtime: OpenRuntime) -> None:
    """The context's token is cancelled with the sender's, so a handler can pass it on."""
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        token = CancellationToken()
        probe = await Probe.register(runtime, "probe")
        probe.hold()
        sending = Calling(
            tasks,
            lambda: runtime.send_message(Note("x"), probe.id, cancellation_token=token),
        )
        await probe.expect(Note)
        seen = probe.last.ctx.cancellation_token
        require(not seen.is_cancelled(), "the context's token was cancelled before the sender's")
        token.cancel()
        await sending.ended.wait()
        require(seen.is_cancelled(), "the sender's token was cancelled, the context's not")


# --- state


class Rememberer(Player):
    """Keeps the last text as its state."""

    def __init__(self) -> None:
        super().__init__(self._keep)
        self.state = {"text": ""}

    def _keep(self, message: Note, ctx: MessageContext) -> Note:
        before = Note(self.state["text"])
        self.state = {"text": message.text}
        return before


@check(Capability.STATE)
async def the_state_of_an_agent_survives(open_runtime: OpenRuntime) -> None:
    """agent_load_state gives an agent what agent_save_state had got from another."""
    async with open_runtime() as runtime:
        await Rememberer.register(runtime, A.type, Rememberer)
        await runtime.send_message(Note("remember me"), A)
        state = dict(await runtime.agent_save_state(A))
        require(state == {"text": "remember me"}, f"the state of the agent is {state}")
        await runtime.agent_load_state(B, state)
        reply = await runtime.send_message(Note("x"), B)
        require(reply == Note("remember me"), f"the agent remembers {reply!r}")


@check(Capability.STATE)
async def the_state_of_a_runtime_survives(open_runtime: OpenRuntime) -> None:
    """load_state makes the agents that save_state had seen, as they were. JSON can express it."""
    async with open_runtime() as runtime:
        await Rememberer.register(runtime, A.type, Rememberer)
        for id in (A, B):
            await runtime.send_message(Note(id.key), id)
        saved: Mapping[str, Any] = await runtime.save_state()
    try:
        text = json.dumps(saved, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise CheckFailed(f"JSON cannot express the state: {exc}") from exc
    async with open_runtime() as runtime:
        await Rememberer.register(runtime, A.type, Rememberer)
        await runtime.load_state(json.loads(text))
        for id in (A, B):
            reply = await runtime.send_message(Note("x"), id)
            require(reply == Note(id.key), f"agent {id} remembers {reply!r}, not {id.key!r}")


# --- intervention


@check(Capability.INTERVENTION)
async def interventions_change_messages_and_replies(open_runtime: OpenRuntime) -> None:
    """What an intervention handler returns goes on in place of the message, or of the reply."""
    handler = ScriptedInterventionHandler(
        on_send=_append("sent"), on_publish=_append("published"), on_response=_append("answered")
    )
    async with open_runtime(intervention_handlers=[handler]) as runtime:
        probe = await _subscriber(runtime)
        probe.answer_with(echoes())
        reply = await runtime.send_message(Note("x"), probe.id)
        require(reply == Note("x sent answered"), f"the reply was {reply!r}")
        await runtime.publish_message(Note("x"), NEWS)
        await probe.expect(Note)
        heard = await probe.expect(Note)
        require(heard == Note("x published"), f"the subscriber heard {heard!r}")


@check(Capability.INTERVENTION)
async def interventions_work_in_order(open_runtime: OpenRuntime) -> None:
    """Each intervention handler gets what the one before it returned."""
    handlers = [ScriptedInterventionHandler(on_send=_append(name)) for name in ("one", "two")]
    async with open_runtime(intervention_handlers=handlers) as runtime:
        await settle_in(runtime, echoes())
        reply = await runtime.send_message(Note("x"), A)
        require(reply == Note("x one two"), f"the reply was {reply!r}")


@check(Capability.INTERVENTION)
async def interventions_drop_messages(open_runtime: OpenRuntime) -> None:
    """The sender of a dropped message gets an error, a dropped publication reaches nobody."""
    drop_x = calls(lambda message, ctx: DropMessage if message == Note("x") else message)
    handler = ScriptedInterventionHandler(on_send=drop_x, on_publish=drop_x, on_response=drop_x)
    async with open_runtime(intervention_handlers=[handler]) as runtime:
        probe = await _subscriber(runtime)
        with requires_error(MessageDroppedException, by="the sender of a dropped message"):
            await runtime.send_message(Note("x"), probe.id)
        await runtime.publish_message(Note("x"), NEWS)
        await runtime.publish_message(Note("fence"), NEWS)
        heard = await probe.expect(Note)
        require(heard == Note("fence"), "a dropped message has reached an agent")
        probe.answer_with(returns(Note("x")))
        with requires_error(MessageDroppedException, by="the sender whose reply was dropped"):
            await runtime.send_message(Note("y"), probe.id)


@check(Capability.INTERVENTION)
async def the_error_of_an_intervention_reaches_the_sender(open_runtime: OpenRuntime) -> None:
    """A request fails with what an intervention handler raises."""
    handler = ScriptedInterventionHandler(on_send=KeyError)
    async with open_runtime(intervention_handlers=[handler]) as runtime:
        await settle_in(runtime)
        with requires_error(KeyError, by="the sender of a message that was not let through"):
            await runtime.send_message(Note("x"), A)


def _append(word: str) -> Act:
    def append(message: Note, ctx: MessageContext | None) -> Note:
        return Note(f"{message.text} {word}")

    return by_type({Note: append, object: echoes()})


# --- stopping


@check(Capability.STOP)
async def stop_when_idle_waits_for_all_work(open_runtime: OpenRuntime) -> None:
    """All that was accepted has been finished when stop_when_idle returns."""
    await _check_stop(open_runtime, "stop_when_idle")


@check(Capability.STOP)
async def stop_when_idle_waits_for_what_work_brings(open_runtime: OpenRuntime) -> None:
    """What is queued has been finished when stop_when_idle returns, and what handlers submit."""
    queued = [str(number) for number in range(20)]
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        gate, log = Gate(), list[str]()
        other = AgentId("other", "a")
        await settle_in(runtime, note_texts(log), type=other.type)
        await runtime.add_subscription(TypeSubscription("sport", other.type))
        sport = TopicId("sport", other.key)
        probe = await _subscriber(runtime)
        submits = sends(Note("sent"), other).then(publishes(Note("published"), sport))
        probe.answer_with(waits_for(gate).then(submits))
        await runtime.publish_message(Note("x"), NEWS)
        await probe.expect(Note)
        for text in queued:
            await runtime.publish_message(Note(text), sport)

        async def stop() -> None:
            await _method(runtime, "stop_when_idle")()
            log.append("stopped")

        stopping = Calling(tasks, stop)
        await let_others_go_on(runtime)  # a stop that does not wait shows it
        gate.open()
        await stopping.result()
        expected = [*queued, "sent", "published", "stopped"]
        require(log == expected, f"this was the order: {log}")


@check(Capability.STOP)
async def stop_lets_running_handlers_finish(open_runtime: OpenRuntime) -> None:
    """Running handlers have ended when stop returns."""
    await _check_stop(open_runtime, "stop")


async def _check_stop(open_runtime: OpenRuntime, name: str) -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        gate, log = Gate(), list[str]()
        probe = await _subscriber(runtime)
        handled = calls(lambda message, ctx: log.append("handled"))
        probe.answer_with(waits_for(gate).then(handled))
        await runtime.publish_message(Note("x"), NEWS)
        await probe.expect(Note)

        async def stop() -> None:
            await _method(runtime, name)()
            log.append("stopped")

        stopping = Calling(tasks, stop)
        await let_others_go_on(runtime)  # a stop that does not wait shows it
        gate.open()
        await stopping.result()
        require(log == ["handled", "stopped"], f"this was the order: {log}")


@check(Capability.STOP)
async def a_runtime_that_was_stopped_can_be_started(open_runtime: OpenRuntime) -> None:
    """After stop and start messages are handled as before, by the same agents."""
    async with open_runtime() as runtime:
        await settle_in(runtime, returns(Note("one")), returns(Note("two")))
        await runtime.send_message(Note("x"), A)
        await _method(runtime, "stop")()
        started = _method(runtime, "start")()
        if inspect.isawaitable(started):
            await started
        reply = await runtime.send_message(Note("x"), A)
        require(reply == Note("two"), f"the reply was {reply!r}")


def _method(runtime: AgentRuntime, name: str) -> Any:
    method = getattr(runtime, name, None)
    if method is None:
        raise CheckFailed(f"it offers Capability.STOP and has no {name}()")
    return method


# --- limits


@check(Capability.LIMITS)
async def an_agent_handles_no_more_than_it_may(open_runtime: OpenRuntime) -> None:
    """With max_concurrency=1 the second message begins when the first one has ended."""
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        probe = await Probe.register(runtime, "probe", max_concurrency=1)
        probe.hold()
        first = Calling(tasks, lambda: runtime.send_message(Note("one"), probe.id))
        await probe.expect(Note)
        second = Calling(tasks, lambda: runtime.send_message(Note("two"), probe.id))
        await let_others_go_on(runtime)  # a limit that is none shows it
        begun = len(probe.received)
        probe.reply()
        await first.result()
        if begun == 1:
            await probe.expect(Note)
            probe.reply()
            await second.result()
        else:
            probe.received[1].reply()
        require(begun == 1, "the second message began while the first one was handled")


async def _subscriber(runtime: AgentRuntime) -> Probe:
    return await Probe.register(
        runtime, "probe", key="a", subscriptions=lambda: [TypeSubscription("news", "probe")]
    )


OFFER_CHECKS: Final[tuple[Check, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Check)
)
