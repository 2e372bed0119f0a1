"""The runtime that speaks AutoGen's types: a translation at the edges of our runtime on asyncio."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import update_wrapper
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload

import autogen_core as autogen

from .._core._calls import call_user
from .._loops._asyncio_runtime import SingleThreadedAgentRuntime
from .._sansio._contexts import AgentInstantiationContext
from .._sansio._options import AgentOptions, Overflow
from ._autogen_agents import (
    AgentAdapter,
    Translator,
    adapt_agent,
    adapt_handlers,
    adapt_subscription,
    is_ours,
)
from ._autogen_errors import OURS, raise_in_autogens_terms
from ._autogen_values import MIXED, Topic, class_name, decode, encode, expect, token_of

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from .._core._ledger import RuntimeStatistics

__all__ = ["AutoGenRuntime"]

AgentT = TypeVar("AgentT", bound=autogen.Agent)
SelfT = TypeVar("SelfT", bound="AutoGenRuntime")


class AutoGenRuntime(autogen.AgentRuntime):
    """Runs AutoGen's own agents on the caller's asyncio event loop, and AgentChat's teams.

    It takes and gives the types of ``autogen_core``: ids, topics, tokens, contexts, agents,
    subscriptions, intervention handlers and exceptions. Behind them is the runtime of
    `trio_agents.asyncio`, with its promises: a send is a call, no failure is lost, idle is idle.

    Example:
        A team of AgentChat takes it as it is::

            async with AutoGenRuntime() as runtime:
                runtime.start()
                team = RoundRobinGroupChat([writer, critic], max_turns=4, runtime=runtime)
                result = await team.run(task="A haiku about autumn")
                await runtime.stop_when_idle()

    The block is optional, as with AutoGen's runtime: `start` needs none. Left by an exception,
    a cancellation included, the block cancels whatever runs and waits for its cleanup.

    What differs for AutoGen's programs:

    - Cancelling a token cancels the handlers of all messages that were sent or published with it,
      each by one ``task.cancel()``. The sender gets `asyncio.CancelledError` when they have
      unwound. So it is when the sending task itself is cancelled.
    - `stop` waits for the handlers that run. What is still queued fails with an exception that is
      ``autogen_core.exceptions.UndeliverableException``; so does what nobody is registered for.
    - Each recipient of a publication hears it once. Naming a sender makes no agent.
    - Events are of the classes of `trio_agents.logging`. The loggers have the names that AutoGen's
      have, and message bodies are only shown at level DEBUG.

    Args:
        intervention_handlers: See every message and reply on its way, in this order.
        tracer_provider: Where spans go; None for the global provider, if the application has set
            one when the runtime starts.
        ignore_unhandled_exceptions: What happens to the failures of publications' handlers. True:
            they are logged. False: also, the next `stop`, `stop_when_idle`, `stop_when`,
            `process_next` or `close` raises the first of them, whose cause is the group of all.
        max_pending: How many messages may be accepted and unfinished; None for no bound. It binds
            submitters outside of handlers.
        overflow: What a submitter meets at a bound: ``"wait"`` for room, or ``"raise"``.
        blocked_after: Report what has not given the event loop's thread back for so many seconds,
            as an `EventLoopBlockedEvent`; None: nobody watches.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
    """

    def __init__(
        self,
        *,
        intervention_handlers: Sequence[autogen.InterventionHandler] | None = None,
        tracer_provider: TracerProvider | None = None,
        ignore_unhandled_exceptions: bool = True,
        max_pending: int | None = None,
        overflow: Overflow = "wait",
        blocked_after: float | None = None,
    ) -> None:
        self._translator = Translator(self)
        self._ids = self._translator.identities
        self._runtime = SingleThreadedAgentRuntime(
            intervention_handlers=adapt_handlers(intervention_handlers or (), self._translator),
            tracer_provider=tracer_provider,
            ignore_unhandled_exceptions=ignore_unhandled_exceptions,
            max_pending=max_pending,
            overflow=overflow,
            blocked_after=blocked_after,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._runtime!r}>"

    # --- the block, start and stop

    async def __aenter__(self: SelfT) -> SelfT:
        await self._runtime.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        # The core shields what it waits for here.
        return await self._runtime.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102

    def is_started(self) -> bool:
        """Whether messages are handled as they come: after `start`, before any stop."""
        return self._runtime.is_started()

    def start(self) -> None:
        """Begin to handle messages. Returns at once; what was submitted before goes first.

        Handlers see the context variables that are in force here.

        Raises:
            RuntimeError: no event loop is running, or the runtime is started already.
        """
        self._runtime.start()

    async def stop(self, *, deadline: float = math.inf) -> None:
        """Take no more messages, fail those that are queued, and let running handlers finish.

        What running handlers publish meanwhile waits for the next `start`, like everything that is
        submitted later. Agents, subscriptions and registrations stay.

        Args:
            deadline: A time on the event loop's clock (``loop.time() + 5``) at which handlers that
                still run are cancelled.

        Raises:
            RuntimeError: not started, or called by a handler, which it would wait for.
            BaseException: the first failure of a publication, see *ignore_unhandled_exceptions*.
        """
        await self._runtime.stop(deadline=deadline)

    async def stop_when_idle(self) -> None:
        """Wait until nothing that was accepted is unfinished, then stop.

        Raises:
            RuntimeError: not started, or called by a handler, which it would wait for.
            BaseException: the first failure of a publication, see *ignore_unhandled_exceptions*.
        """
        await self._runtime.stop_when_idle()

    async def stop_when(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* is true, then `stop`.

        It is looked at whenever a message has been settled, and once a second beside that.

        Raises:
            RuntimeError: not started, or called by a handler, which it would wait for.
            BaseException: what *condition* raised, and then the runtime goes on; or the first
                failure of a publication, see *ignore_unhandled_exceptions*.
        """
        await self._runtime.stop_when(condition)

    async def close(self) -> None:
        """Stop if started, then close every agent that was made, whatever one of them raises.

        It may be repeated, and the runtime may be started again with the same agents.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            BaseExceptionGroup: what agents raised.
            BaseException: the first failure of a publication, see *ignore_unhandled_exceptions*.
        """
        await self._runtime.close()

    async def process_next(self) -> None:
        """Take up the next message by hand, instead of `start`.

        Waits while there is none. Returns when the handler has run to where it first waits. A reply
        goes to its sender by itself.

        Raises:
            RuntimeError: no event loop is running, or the runtime is started.
            BaseException: the first failure of a publication, see *ignore_unhandled_exceptions*.
        """
        await self._runtime.process_next()

    @property
    def unprocessed_messages_count(self) -> int:
        """How many messages wait to be taken up. Those whose handlers run are not among them."""
        return self._runtime.unprocessed_messages_count

    def statistics(self) -> RuntimeStatistics:
        """Count what has become of all messages, at this moment.

        The ids in it are those of `trio_agents`. They read as AutoGen's do, except that keys and
        sources are percent-encoded if they hold other characters than those from space to ``~``, or
        a percent sign.
        """
        return self._runtime.statistics()

    # --- messages

    async def send_message(
        self,
        message: Any,
        recipient: autogen.AgentId,
        *,
        sender: autogen.AgentId | None = None,
        cancellation_token: autogen.CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Any:
        """Deliver *message* to one agent and return what its handler returns.

        A send is a call. When the sending task or the token is cancelled, so is the handler, by one
        ``task.cancel()``, and the sender resumes when it has unwound. The sender of a message that
        is still queued resumes at once; nothing was delivered.

        Args:
            message: Any object; it is handed over as it is, by reference.
            recipient: The agent, made on demand by its type's factory.
            sender: The sending agent; None outside of agents.
            cancellation_token: Cancels the message wherever it is on its way. The handler finds
                this very token in its context.
            message_id: A unique id for logs and traces; made up if None.

        Raises:
            UndeliverableException: AutoGen's. The runtime stopped before the message was handled;
                the agent type is unknown (then it is also a `LookupError`); or a bound was reached.
            MessageDroppedException: AutoGen's. An intervention handler dropped the message or the
                reply.
            CancelledError: asyncio's. The token was cancelled, or `stop` reached its deadline.
            DeadlockError: this request and others would have waited for each other for ever.
            TypeError: an argument is of another library's type.
            BaseException: whatever the handler raised, the very object.
        """
        ours = self._ids.ours
        try:
            return await self._runtime.send_message(
                message,
                ours(recipient, "recipient"),
                sender=None if sender is None else ours(sender, "sender"),
                cancellation_token=(
                    None if cancellation_token is None else token_of(cancellation_token)
                ),
                message_id=message_id,
            )
        except OURS as exc:
            raise_in_autogens_terms(exc)

    async def publish_message(
        self,
        message: Any,
        topic_id: autogen.TopicId,
        *,
        sender: autogen.AgentId | None = None,
        cancellation_token: autogen.CancellationToken | None = None,
        message_id: str | None = None,
    ) -> None:
        """Hand *message* to every agent whose subscriptions match *topic_id*, except *sender*.

        Returns when the message is queued, before any handler begins. Each recipient handles it
        once, and they begin in the order of their subscriptions. There is no reply, and no error if
        nobody subscribes.

        Args:
            message: Any object; it is handed over as it is, by reference.
            topic_id: Where to publish. Handlers find this very object in their context.
            sender: The publishing agent, which does not hear itself; None outside of agents.
            cancellation_token: Cancels the message, and every handler of it.
            message_id: A unique id for logs and traces; made up if None.

        Raises:
            UndeliverableException: AutoGen's. A bound was reached, and its policy is to refuse.
            CancelledError: asyncio's. The token was cancelled before.
            DeadlockError: the publisher would have waited for room for ever.
            TypeError: an argument is of another library's type.
        """
        expect(topic_id, autogen.TopicId, "topic_id")
        try:
            await self._runtime.publish_message(
                message,
                Topic(topic_id),
                sender=None if sender is None else self._ids.ours(sender, "sender"),
                cancellation_token=(
                    None if cancellation_token is None else token_of(cancellation_token)
                ),
                message_id=message_id,
            )
        except OURS as exc:
            raise_in_autogens_terms(exc)

    # --- registration

    async def register_factory(
        self,
        type: str | autogen.AgentType,
        agent_factory: Callable[[], AgentT | Awaitable[AgentT]],
        *,
        expected_class: type[AgentT] | None = None,
        **options: Unpack[AgentOptions],
    ) -> autogen.AgentType:
        """Say how agents of *type* are made. Adds no subscriptions: prefer the class's `register`.

        Args:
            type: A name that has not been registered yet.
            agent_factory: Called without arguments, once for each key that is used; may be async.
                Inside it and in the constructors that it calls,
                ``autogen_core.AgentInstantiationContext`` gives this runtime and the agent's id.
            expected_class: What the factory's agents must be instances of; None for anything. One
                of another class is a `ValueError` of the message that needed it.
            options: The limits that these agents live under (`AgentOptions`). AutoGen's `register`
                does not hand any on: call this, and add the subscriptions, where you want them.

        Raises:
            TypeError: the factory takes arguments, or something is of another library's type.
            ValueError: the type is registered already, or a limit is out of range.
        """
        if isinstance(type, str):
            type = autogen.AgentType(type)
        expect(type, autogen.AgentType, "agent type")
        if expected_class is not None and is_ours(expected_class):
            raise TypeError(
                f"expected_class must be a class of AutoGen's agents, not "
                f"{class_name(expected_class)}: {MIXED}"
            )

        async def make() -> AgentAdapter:
            id = self._ids.autogens(AgentInstantiationContext.current_agent_id())
            with autogen.AgentInstantiationContext.populate_context((self, id)):
                agent = await call_user(agent_factory)
            adapter = adapt_agent(agent, id, self._translator)
            if expected_class is not None and not isinstance(agent, expected_class):
                raise ValueError(
                    f"the factory of agent type {id.type!r} was to make "
                    f"{class_name(expected_class)} and made {class_name(agent.__class__)}"
                )
            return adapter

        # The core looks at the factory's signature, through the wrapper.
        update_wrapper(make, agent_factory, assigned=(), updated=())
        await self._runtime.register_factory(type.type, make, **options)
        return type

    async def register_agent_instance(
        self, agent_instance: autogen.Agent, agent_id: autogen.AgentId
    ) -> autogen.AgentId:
        """Put a ready agent at *agent_id*. Adds no subscriptions: prefer `register_instance`.

        Raises:
            TypeError: it is no agent, or something is of another library's type.
            ValueError: the id is taken, the type has a factory, or the type's other instances are
                of another class.
            RuntimeError: the agent belongs to another id or runtime.
        """
        id = self._ids.ours(agent_id, "agent_id")
        adapter = adapt_agent(agent_instance, agent_id, self._translator)
        await self._runtime.register_agent_instance(adapter, id)
        return agent_id

    async def add_subscription(self, subscription: autogen.Subscription) -> None:
        """Obey *subscription* from now on, for publications whose turn is still to come.

        Raises:
            TypeError: it is not a subscription of AutoGen's.
            ValueError: there is one like it, or of the same id, already.
        """
        await self._runtime.add_subscription(adapt_subscription(subscription, self._translator))

    async def remove_subscription(self, id: str) -> None:
        """Forget the subscription of this id.

        Raises:
            LookupError: there is none. It is a `ValueError` too, which AutoGen raises.
        """
        await self._runtime.remove_subscription(id)

    def add_message_serializer(
        self,
        serializer: autogen.MessageSerializer[Any] | Sequence[autogen.MessageSerializer[Any]],
    ) -> None:
        """Know one or several more serializers, with which event logs show messages.

        Raises:
            TypeError: one of them is not a serializer; none was added.
        """
        self._runtime.add_message_serializer(serializer)

    # --- agents

    @overload
    async def get(self, id: autogen.AgentId, /, *, lazy: bool = ...) -> autogen.AgentId: ...

    @overload
    async def get(
        self, type: autogen.AgentType | str, /, key: str = ..., *, lazy: bool = ...
    ) -> autogen.AgentId: ...

    async def get(
        self,
        id_or_type: autogen.AgentId | autogen.AgentType | str,
        /,
        key: str = "default",
        *,
        lazy: bool = True,
    ) -> autogen.AgentId:
        """Give an agent's id; with ``lazy=False`` also make the agent now.

        Raises:
            LookupError: not lazy, and the agent type is unknown.
        """
        if isinstance(id_or_type, (str, autogen.AgentType)):
            id_or_type = autogen.AgentId(id_or_type, key)
        ours = self._ids.ours(id_or_type, "id")
        if not lazy:
            await self._runtime.get(ours, lazy=False)
        return id_or_type

    async def try_get_underlying_agent_instance(
        self,
        id: autogen.AgentId,
        type: type[AgentT] = autogen.Agent,  # type: ignore[assignment]
    ) -> AgentT:
        """Give the agent itself, made if need be. For debugging: agents are reached by messages.

        Raises:
            LookupError: the agent type is unknown.
            TypeError: the agent is not of the class *type*.
        """
        adapter = await self._adapter(id)
        agent = adapter.agent
        if not isinstance(agent, type):
            raise TypeError(
                f"agent {id} is a {class_name(agent.__class__)}, not a {class_name(type)}"
            )
        return agent

    async def agent_metadata(self, agent: autogen.AgentId) -> autogen.AgentMetadata:
        """Give one agent's type, key and description. The agent is made if need be.

        Raises:
            LookupError: the agent type is unknown.
        """
        return (await self._adapter(agent)).agent.metadata

    async def agent_save_state(self, agent: autogen.AgentId) -> Mapping[str, Any]:
        """Give one agent's state, also while it handles messages. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: the state is not what JSON can express; the error names the path.
        """
        return await self._runtime.agent_save_state(self._ids.ours(agent, "agent"))

    async def agent_load_state(self, agent: autogen.AgentId, state: Mapping[str, Any]) -> None:
        """Restore one agent's state, also while it handles messages. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: *state* is not a mapping.
        """
        await self._runtime.agent_load_state(self._ids.ours(agent, "agent"), state)

    async def deactivate(self, agent_id: autogen.AgentId) -> None:
        """Close one agent and let go of it, when what was submitted to it before has been handled.

        Its state is not saved. Messages that come meanwhile wait, and the first of them has a new
        agent made. An agent that does not exist is no error. An instance that was registered is
        registered no more.

        Raises:
            RuntimeError: called in a call chain of the agent's own handlers, which it would wait
                for.
            UndeliverableException: AutoGen's. The runtime was stopped before; the agent stays.
            Exception: what the agent's `close` raised; it is let go of all the same.
        """
        try:
            await self._runtime.deactivate(self._ids.ours(agent_id, "agent_id"))
        except OURS as exc:
            raise_in_autogens_terms(exc)

    async def _adapter(self, id: autogen.AgentId) -> AgentAdapter:
        ours = self._ids.ours(id, "id")
        return cast("AgentAdapter", await self._runtime.try_get_underlying_agent_instance(ours))

    # --- state

    async def save_state(self) -> Mapping[str, Any]:
        """Give the states of all agents that were made, as ``{"type/key": state}``.

        It is one consistent cut: messages are held up, those that have begun are finished, with all
        they wait for, and then every agent is asked while nothing is handled.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            StateError: a state is not what JSON can express; the error names agent and path.
        """
        state = await self._runtime.save_state()
        return {_with_key(id, decode): saved for id, saved in state.items()}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` gave, ours or that of AutoGen's runtime.

        Every agent it names is made and restored; nothing is handled meanwhile. Agents that *state*
        does not name are left as they are.

        Raises:
            RuntimeError: called by a handler, which it would wait for.
            StateError: *state* is not one of a runtime, or names agent types that are not
                registered; nothing was loaded. It is a `ValueError`.
            BaseException: what a factory or an agent's `load_state` raised.
        """
        if isinstance(state, Mapping) and all(isinstance(id, str) for id in state):
            state = {_with_key(id, encode): saved for id, saved in state.items()}
        await self._runtime.load_state(state)


def _with_key(id: str, change: Callable[[str], str]) -> str:
    type, slash, key = id.partition("/")
    return f"{type}{slash}{change(key)}"
