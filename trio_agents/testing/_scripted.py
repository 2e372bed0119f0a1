"""Agents, factories and intervention handlers that do what a script says, well or badly.

A script is made of acts: return this, raise that, hang, ignore a cancellation, block the thread. An
act is a value that a test can print. The same acts serve handlers, factories, intervention handlers
and the answers of a `Probe`, so there is one way to say that something goes wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast, final

import anyio
import attrs
import sniffio

from .._agents._base_agent import BaseAgent
from .._sansio._abc import Agent, AgentRuntime
from .._sansio._contexts import AgentInstantiationContext, MessageContext
from .._sansio._identifiers import AgentId, TopicId
from .._sansio._intervention import DefaultInterventionHandler
from ._misuse import check_number

if TYPE_CHECKING:
    from ._waiting import Gate

__all__ = [
    "Act",
    "Call",
    "Script",
    "ScriptedAgent",
    "ScriptedFactory",
    "ScriptedInterventionHandler",
    "as_act",
    "blocks",
    "by_type",
    "calls",
    "echoes",
    "hangs",
    "ignores_cancellation",
    "publishes",
    "raises",
    "returns",
    "sends",
    "sleeps",
    "swallows_cancellation",
    "waits_for",
]


@final
@attrs.frozen(eq=False)
class Call:
    """What an act is done for: one message, or one call of a factory or an intervention handler.

    Attributes:
        message: The message; the state, where an agent is to load it; None for a factory.
        ctx: Its context; None where there is none.
        runtime: Where `sends` and `publishes` go to; None in an intervention handler.
        id: The agent that acts, or that is being made; None in an intervention handler.
    """

    message: Any
    ctx: MessageContext | None
    runtime: AgentRuntime | None
    id: AgentId | None


@final
@attrs.frozen(eq=False, repr=False)
class Act:
    """Something that is done for a message, and prints as it was written.

    Made by `returns`, `raises`, `sleeps` and the other functions here. Acts keep no count of what
    they did, so one may serve many agents.

    Attributes:
        name: How it prints.
    """

    name: str
    _do: Callable[[Call], Any]

    def __repr__(self) -> str:
        return self.name

    async def do(self, call: Call) -> Any:
        """Do it for one call. What it returns is the reply, what it raises is the failure."""
        result = self._do(call)
        return await result if inspect.iscoroutine(result) else result

    def then(self, answer: object) -> Act:
        """Do this and then *answer*, whose result counts.

        ``sleeps(60).then(raises(TimeoutError))`` is a service that takes its time to fail.
        """
        after = as_act(answer)

        async def do(call: Call) -> Any:
            await self.do(call)
            return await after.do(call)

        return Act(f"{self.name}.then({after.name})", do)


def as_act(answer: object) -> Act:
    """Read *answer* as an act.

    An `Act` is one. An exception, or a class of exceptions, is raised. A function is called with
    the message and its context, see `calls`. Everything else is returned. Where that would be
    wrong, an exception to be returned say, write `returns`.
    """
    if isinstance(answer, Act):
        return answer
    if isinstance(answer, BaseException) or _is_error_class(answer):
        return raises(cast("BaseException", answer))
    if callable(answer) and not isinstance(answer, type):
        return calls(cast("Callable[[Any, Any], Any]", answer))
    return returns(answer)


def returns(value: object) -> Act:
    """Return *value*, at once."""
    return Act(f"returns({value!r})", lambda call: value)


def echoes() -> Act:
    """Return the message. As an intervention handler: pass it on as it is."""
    return Act("echoes()", lambda call: call.message)


def raises(error: BaseException | type[BaseException]) -> Act:
    """Raise *error*: an object as it is, each time the same; a class without arguments.

    Raises:
        TypeError: *error* is neither an exception nor a class of exceptions.
    """
    given: object = error
    if not isinstance(given, BaseException) and not _is_error_class(given):
        raise TypeError(
            f"raises() takes an exception or a class of exceptions, not {given!r}: write "
            f"raises(RuntimeError({given!r})), say"
        )

    def do(call: Call) -> Any:
        raise error

    name = error.__name__ if isinstance(error, type) else _safe_repr(error)
    return Act(f"raises({name})", do)


def hangs() -> Act:
    """Wait until cancelled."""

    async def do(call: Call) -> Any:
        await anyio.sleep_forever()

    return Act("hangs()", do)


def sleeps(seconds: float) -> Act:
    """Wait, by the clock of the event loop. A clock that jumps makes it quick.

    Raises:
        ValueError: *seconds* is less than 0.
        TypeError: it is no number.
    """
    check_number(seconds, "seconds", 0, "how long it sleeps")

    async def do(call: Call) -> Any:
        await anyio.sleep(seconds)

    return Act(f"sleeps({seconds!r})", do)


def waits_for(gate: Gate) -> Act:
    """Wait until the test opens *gate*."""

    async def do(call: Call) -> Any:
        await gate.wait()

    return Act("waits_for(gate)", do)


def blocks(seconds: float) -> Act:
    """Keep the thread busy for so many real seconds: no task of this event loop goes on.

    Raises:
        ValueError: *seconds* is less than 0.
        TypeError: it is no number.
    """
    check_number(seconds, "seconds", 0, "how long it blocks")
    return Act(f"blocks({seconds!r})", lambda call: time.sleep(seconds))


def ignores_cancellation(answer: object) -> Act:
    """Do *answer* to its end, however often it is cancelled meanwhile, and give its result.

    On trio it is shielded. On asyncio, where no shield keeps a ``task.cancel()`` away, it is done
    in a task of its own, and each cancellation that comes is swallowed.
    """
    act = as_act(answer)

    async def do(call: Call) -> Any:
        if sniffio.current_async_library() == "trio":
            with anyio.CancelScope(shield=True):
                return await act.do(call)
        task = asyncio.ensure_future(act.do(call))
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):  # that is the fault
                await asyncio.wait([task])
        return task.result()

    return Act(f"ignores_cancellation({act.name})", do)


def swallows_cancellation(answer: object, *, times: float = 1) -> Act:
    """Do *answer*; when it is cancelled do it once more, so many *times*. Then be cancelled.

    This is the handler with an ``except BaseException`` too many. On trio a cancelled task is
    cancelled again at each wait, so the repetitions take no time; with `math.inf` it never ends.
    """
    act = as_act(answer)

    async def do(call: Call) -> Any:
        left = times
        while True:
            try:
                return await act.do(call)
            except anyio.get_cancelled_exc_class():  # noqa: ASYNC103  # that is the fault
                if left < 1:
                    raise
                left -= 1

    shown = "" if times == 1 else f", times={times!r}"
    return Act(f"swallows_cancellation({act.name}{shown})", do)


def sends(message: object, recipient: AgentId | None = None) -> Act:
    """Send *message* as the agent that acts, and return the reply.

    Args:
        message: What is sent. An `Act` that a `ScriptedAgent` gets is done by it.
        recipient: Who gets it; None for the agent itself. In a factory that is the agent which is
            being made.

    Raises:
        TypeError: *recipient* is no `AgentId`.
    """
    _check_type(recipient, AgentId | None, "sends", "an AgentId")

    async def do(call: Call) -> Any:
        runtime, id = _place(call, "sends")
        return await runtime.send_message(message, recipient or id, sender=id)

    to = "" if recipient is None else f", {recipient!r}"
    return Act(f"sends({message!r}{to})", do)


def publishes(message: object, topic_id: TopicId) -> Act:
    """Publish *message* as the agent that acts.

    Raises:
        TypeError: *topic_id* is no `TopicId`.
    """
    _check_type(topic_id, TopicId, "publishes", "a TopicId")

    async def do(call: Call) -> Any:
        runtime, id = _place(call, "publishes")
        await runtime.publish_message(message, topic_id, sender=id)

    return Act(f"publishes({message!r}, {topic_id!r})", do)


def calls(function: Callable[[Any, Any], Any]) -> Act:
    """Return what *function*, async or not, returns for the message and its context.

    It is called as ``function(message, ctx)``; *ctx* is None where there is none, see `Call`.

    Raises:
        TypeError: *function* is none.
    """
    _check_type(function, Callable, "calls", "a function of message and context")

    async def do(call: Call) -> Any:
        result = function(call.message, call.ctx)
        return await result if inspect.isawaitable(result) else result

    return Act(f"calls({getattr(function, '__qualname__', function)})", do)


def by_type(answers: Mapping[type[Any], object]) -> Act:
    """Do what *answers* says for the message's type, the first that fits.

    For a message of another type it does nothing and gives None. To have it fail instead, let the
    last one be ``object: TypeError``.

    Raises:
        TypeError: *answers* is no mapping, or one of its keys no class.
    """
    _check_type(answers, Mapping, "by_type", "a mapping from classes to answers")
    for cls in answers:
        _check_type(cls, type, "by_type", "a mapping whose keys are classes")
    acts = {cls: as_act(answer) for cls, answer in answers.items()}

    async def do(call: Call) -> Any:
        for cls, act in acts.items():
            if isinstance(call.message, cls):
                return await act.do(call)
        return None

    shown = ", ".join(f"{cls.__name__}: {act.name}" for cls, act in acts.items())
    return Act(f"by_type({{{shown}}})", do)


def _check_type(value: object, cls: Any, act: str, what: str) -> None:
    if not isinstance(value, cls):
        raise TypeError(f"{act}() takes {what}, not {value!r}")


@final
class Script:
    """Answers in order: each serves once, the last one for all that follow.

    Args:
        answers: Acts, or what `as_act` reads as one. None at all is ``returns(None)``.
    """

    def __init__(self, *answers: object) -> None:
        self._acts = [as_act(answer) for answer in answers] or [returns(None)]
        self._next = 0

    def __repr__(self) -> str:
        return f"Script({', '.join(act.name for act in self._acts)})"

    def next(self) -> Act:
        """Give the act whose turn it is."""
        act = self._acts[self._next]
        if self._next < len(self._acts) - 1:
            self._next += 1
        return act


class ScriptedAgent(BaseAgent):
    """An agent that does what its script says, message after message.

    ::

        flaky = lambda: ScriptedAgent(raises(ConnectionError), returns("at last"))
        await ScriptedAgent.register(runtime, "model", flaky)

    A message that is an `Act` itself is done, and leaves the script where it is. So a test can say
    in one place what is sent and what its handler does.

    Args:
        script: Answers, as for `Script`.
        on_close: What is done when the agent is closed.
        on_save: Whose result is the agent's state. Left out, that is `state`.
        on_load: What is done with a state that is to be loaded. Left out, it becomes `state`.

    Attributes:
        state: What is saved, as JSON can express it.
        closed: How often the agent was closed.
    """

    def __init__(
        self,
        *script: object,
        on_close: object = None,
        on_save: object = None,
        on_load: object = None,
    ) -> None:
        super().__init__("does what its script says")
        self.state: Mapping[str, Any] = {}
        self.closed = 0
        self._script = Script(*script)
        self._on_close = as_act(on_close)
        self._on_save = self._give_state if on_save is None else as_act(on_save).do
        self._on_load = self._take_state if on_load is None else as_act(on_load).do

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Do what the script, or the message, says."""
        act = message if isinstance(message, Act) else self._script.next()
        return await act.do(Call(message, ctx, self.runtime, self.id))

    async def save_state(self) -> Mapping[str, Any]:
        """Give `state`, or do what *on_save* says."""
        state: Mapping[str, Any] = await self._on_save(self._call(None))
        return state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take *state*, or do what *on_load* says."""
        await self._on_load(self._call(state))

    async def close(self) -> None:
        """Do what *on_close* says."""
        self.closed += 1
        await self._on_close.do(self._call(None))

    def _call(self, message: object) -> Call:
        return Call(message, None, self.runtime, self.id)

    async def _give_state(self, call: Call) -> Mapping[str, Any]:
        return self.state

    async def _take_state(self, call: Call) -> None:
        self.state = call.message


@final
class ScriptedFactory:
    """A factory that does what its script says, call after call.

    ::

        slow = ScriptedFactory(raises(OSError), sleeps(5), returns("no agent at all"))
        await ScriptedAgent.register(runtime, "worker", slow)

    Where an act gives None the factory goes on and makes an agent; everything else that an act
    returns is what the factory gives. ``sends("x")`` re-enters: it sends to the agent that is being
    made.

    Args:
        script: Answers, as for `Script`.
        make: Makes the agents; may be async.

    Attributes:
        calls: How often the factory was called.
        made: What it gave, in this order.
    """

    def __init__(
        self, *script: object, make: Callable[[], Agent | Awaitable[Agent]] = ScriptedAgent
    ) -> None:
        self.calls = 0
        self.made: list[Any] = []
        self._script = Script(*script)
        self._make = make

    def __repr__(self) -> str:
        return f"<ScriptedFactory called {self.calls} times: {self._script!r}>"

    async def __call__(self) -> Any:
        """Do what is next in the script, and give an agent."""
        self.calls += 1
        call = Call(
            None,
            None,
            AgentInstantiationContext.current_runtime(),
            AgentInstantiationContext.current_agent_id(),
        )
        given = await self._script.next().do(call)
        if given is None:
            made = self._make()
            given = await made if inspect.isawaitable(made) else made
        self.made.append(given)
        return given


@final
class ScriptedInterventionHandler(DefaultInterventionHandler):
    """An intervention handler that does what its scripts say.

    ``echoes()`` passes a message on, ``returns(DropMessage)`` drops it. None is what the library
    warns of, so after a wait say how it goes on: ``sleeps(1).then(echoes())``.

    Args:
        on_send: What is done with direct messages: one answer, or a `Script` of several.
        on_publish: What is done with publications.
        on_response: What is done with replies.
    """

    def __init__(
        self,
        *,
        on_send: object = None,
        on_publish: object = None,
        on_response: object = None,
    ) -> None:
        self._on_send = _script(on_send)
        self._on_publish = _script(on_publish)
        self._on_response = _script(on_response)

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        """Do what is next for direct messages."""
        return await self._on_send.next().do(Call(message, message_context, None, None))

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        """Do what is next for publications."""
        return await self._on_publish.next().do(Call(message, message_context, None, None))

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        """Do what is next for replies."""
        return await self._on_response.next().do(Call(message, None, None, None))


def _script(answer: object) -> Script:
    if isinstance(answer, Script):
        return answer
    return Script(echoes() if answer is None else answer)


def _place(call: Call, act: str) -> tuple[AgentRuntime, AgentId]:
    if call.runtime is None or call.id is None:
        raise RuntimeError(
            f"{act}() is done as an agent, and an intervention handler is none: "
            "use calls(function) with a function that knows the runtime"
        )
    return call.runtime, call.id


def _is_error_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _safe_repr(error: BaseException) -> str:
    # An exception whose repr raises is one of the faults that people write scripts for.
    try:
        return repr(error)
    except Exception as exc:
        return f"<{type(error).__qualname__} whose repr raises {type(exc).__qualname__}>"
