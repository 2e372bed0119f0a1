"""The runtime behind a portal, for synchronous code."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, overload

from .._sansio._abc import Agent, AgentRuntime, Subscription
from .._sansio._identifiers import AgentId, AgentMetadata, AgentType, TopicId
from .._sansio._options import AgentOptions
from .._sansio._serializers import MessageSerializer
from ._asking import check_seconds, count_unprocessed, do, do_async, stop

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from .._core._ledger import RuntimeStatistics
    from .._sansio._cancellation import CancellationToken
    from ._thread import TrioThread

__all__ = ["BlockingRuntime"]

AgentT = TypeVar("AgentT", bound=Agent)
P = ParamSpec("P")
RuntimeT = TypeVar("RuntimeT", bound=AgentRuntime)
T = TypeVar("T")


class BlockingRuntime(Generic[RuntimeT]):
    """A runtime in a trio thread, seen from synchronous code: every call blocks until it is done.

    What ``with open_portal() as runtime`` gives. Any number of threads may call at the same time;
    calls begin in the order in which they were made. An exception that a call raises is the very
    object that was raised in the trio thread.

    Ctrl-C during a call, in the main thread, cancels it as a cancel scope would: the handler is
    cancelled, it unwinds, and then the `KeyboardInterrupt` is raised here. A second one does not
    wait for that.

    A thread that runs an event loop may call, in a notebook say, and blocks that loop meanwhile.

    Every call raises:

    * `PortalClosedError`: the portal's block has been left, or is left before the call has ended.
    * `RuntimeError`: it was made in the trio thread itself, which would wait for itself.
    """

    def __init__(self, thread: TrioThread) -> None:
        self._thread = thread
        self._runtime: Any = thread.runtime

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._runtime!r}>"

    @property
    def portal(self) -> BlockingPortal:
        """The portal of anyio's to the trio thread, for what is not about the runtime.

        ``runtime.portal.wrap_async_context_manager(...)`` opens there what agents need, such as a
        client with connections. Tasks that are left in it are cancelled with the end of the block.
        """
        assert self._thread.portal is not None
        return self._thread.portal

    # --- anything

    def run(
        self,
        async_fn: Callable[Concatenate[RuntimeT, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call an async function with the runtime itself and *args* in the trio thread.

        That is how agents are registered, and everything else that awaits a runtime::

            runtime.run(Worker.register, "worker", Worker)

        The function sees the context variables of this thread.

        Raises:
            TypeError: *async_fn* is not async.
            BaseException: what it raised.
        """
        result: T = self._thread.call_blocking(
            do_async, (async_fn, self._runtime, *args), kwargs, apart=True
        )
        return result

    def run_sync(
        self, fn: Callable[Concatenate[RuntimeT, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a synchronous function with the runtime itself and *args* in the trio thread.

        Nothing else happens there meanwhile, so it must not wait. It sees the context variables of
        this thread.

        Raises:
            TypeError: *fn* is async.
            BaseException: what it raised.
        """
        result: T = self._thread.call_blocking(do, (fn, self._runtime, *args), kwargs, apart=True)
        return result

    # --- messages

    def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Any:
        """Deliver *message* to one agent and return what its handler returns.

        As `SingleThreadedAgentRuntime.send_message`. The message is handed over by reference: this
        thread and the handler should not both change it.

        Raises:
            MessageCancelled: the token was cancelled, from any thread, or the portal's block was
                left by an exception while the message was handled.
            UndeliverableException: the message was not handled before the runtime stopped.
            BaseException: whatever the handler raised, the very object.
        """
        return self._thread.call_blocking(
            self._runtime.send_message,
            (message, recipient),
            {
                "sender": sender,
                "cancellation_token": cancellation_token,
                "message_id": message_id,
            },
        )

    def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> None:
        """Hand *message* to every agent whose subscriptions match *topic_id*, except *sender*.

        Returns when it is queued. As `SingleThreadedAgentRuntime.publish_message`.
        """
        self._thread.call_blocking(
            self._runtime.publish_message,
            (message, topic_id),
            {
                "sender": sender,
                "cancellation_token": cancellation_token,
                "message_id": message_id,
            },
        )

    # --- start and stop

    def start(self) -> None:
        """Begin to handle messages, after a stop. The portal has started the runtime at first.

        Raises:
            RuntimeError: it is started already.
        """
        self._thread.call_blocking(do, (self._runtime.start,))

    def is_started(self) -> bool:
        """Whether messages are handled as they come."""
        return bool(self._thread.call_blocking(do, (self._runtime.is_started,)))

    def stop(self, *, cancel_after: float = math.inf) -> None:
        """Take no more messages, fail those that are queued, and let running handlers finish.

        As `SingleThreadedAgentRuntime.stop`, with a time span instead of a time.

        Args:
            cancel_after: After so many seconds handlers that still run are cancelled.

        Raises:
            RuntimeError: not started.
            ValueError: *cancel_after* is negative.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        check_seconds(cancel_after)
        self._thread.call_blocking(stop, (self._runtime.stop, cancel_after))

    def stop_when_idle(self) -> None:
        """Wait until nothing that was accepted is unfinished, then stop.

        Raises:
            RuntimeError: not started.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        self._thread.call_blocking(self._runtime.stop_when_idle)

    def stop_when(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* is true, then stop. It is called in the trio thread.

        Raises:
            RuntimeError: not started.
            BaseException: what *condition* raised; the runtime goes on.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        self._thread.call_blocking(self._runtime.stop_when, (condition,))

    def process_next(self) -> None:
        """Take up the next message by hand, while the runtime is stopped; wait for one.

        Raises:
            RuntimeError: started.
        """
        self._thread.call_blocking(self._runtime.process_next)

    def close(self) -> None:
        """Stop the runtime if started, then close every agent. The portal stays open.

        Raises:
            BaseExceptionGroup: what agents raised, and failures of publications.
        """
        self._thread.call_blocking(self._runtime.close)

    def statistics(self) -> RuntimeStatistics:
        """Count what has become of all messages, at this moment."""
        counts: RuntimeStatistics = self._thread.call_blocking(do, (self._runtime.statistics,))
        return counts

    @property
    def unprocessed_messages_count(self) -> int:
        """How many messages have been accepted whose handling has not begun."""
        count: int = self._thread.call_blocking(do, (count_unprocessed, self._runtime))
        return count

    # --- registration

    def register_factory(
        self,
        type: str | AgentType,
        agent_factory: Callable[[], Agent | Awaitable[Agent]],
        *,
        expected_class: type[Any] | None = None,
        **options: Unpack[AgentOptions],
    ) -> AgentType:
        """Say how agents of *type* are made: in the trio thread, by *agent_factory*.

        Adds no subscriptions: prefer ``run(Worker.register, ...)``.

        Raises:
            TypeError: the factory takes arguments, or something is of the wrong type.
            ValueError: the type is registered already, or a limit is out of range.
        """
        registered: AgentType = self._thread.call_blocking(
            self._runtime.register_factory,
            (type, agent_factory),
            {"expected_class": expected_class, **options},
        )
        return registered

    def register_agent_instance(self, agent_instance: Agent, agent_id: AgentId) -> AgentId:
        """Put a ready agent at *agent_id*. From then on it belongs to the trio thread.

        Adds no subscriptions: prefer ``run(agent.register_instance, agent_id)``.

        Raises:
            ValueError: the id is taken, the type has a factory, or the type's other instances are
                of another class.
            RuntimeError: the agent belongs to another id or runtime.
        """
        registered: AgentId = self._thread.call_blocking(
            self._runtime.register_agent_instance, (agent_instance, agent_id)
        )
        return registered

    def add_subscription(self, subscription: Subscription) -> None:
        """Obey *subscription* from now on.

        Raises:
            ValueError: there is one like it, or of the same id, already.
        """
        self._thread.call_blocking(self._runtime.add_subscription, (subscription,))

    def remove_subscription(self, id: str) -> None:
        """Forget the subscription of this id.

        Raises:
            LookupError: there is none.
        """
        self._thread.call_blocking(self._runtime.remove_subscription, (id,))

    def add_message_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        """Know one or several more serializers; the last one for a type and content type counts.

        Raises:
            TypeError: one of them is not a serializer; none was added.
        """
        self._thread.call_blocking(do, (self._runtime.add_message_serializer, serializer))

    # --- agents

    @overload
    def get(self, id: AgentId, /, *, lazy: bool = ...) -> AgentId: ...

    @overload
    def get(self, type: AgentType | str, /, key: str = ..., *, lazy: bool = ...) -> AgentId: ...

    def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        """Give an agent's id; with ``lazy=False`` also make the agent now.

        Raises:
            LookupError: not lazy, and the agent type is unknown.
        """
        id: AgentId = self._thread.call_blocking(
            self._runtime.get, (id_or_type, key), {"lazy": lazy}
        )
        return id

    @overload
    def try_get_underlying_agent_instance(self, id: AgentId) -> Agent: ...

    @overload
    def try_get_underlying_agent_instance(self, id: AgentId, type: type[AgentT]) -> AgentT: ...

    def try_get_underlying_agent_instance(self, id: AgentId, type: type[Any] = Agent) -> Any:
        """Give the agent itself, for debugging: it belongs to the trio thread, and changes there.

        Raises:
            LookupError: the agent type is unknown.
            TypeError: the agent is not of the class *type*.
        """
        return self._thread.call_blocking(
            self._runtime.try_get_underlying_agent_instance, (id, type)
        )

    def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        """Give one agent's type, key and description. The agent is made if need be.

        Raises:
            LookupError: the agent type is unknown.
        """
        metadata: AgentMetadata = self._thread.call_blocking(self._runtime.agent_metadata, (agent,))
        return metadata

    def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        """Give one agent's state. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: the state is not what JSON can express.
        """
        state: Mapping[str, Any] = self._thread.call_blocking(
            self._runtime.agent_save_state, (agent,)
        )
        return state

    def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        """Restore one agent's state. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: *state* is not a mapping.
        """
        self._thread.call_blocking(self._runtime.agent_load_state, (agent, state))

    def deactivate(self, agent_id: AgentId) -> None:
        """Close one agent and let go of it, when what was submitted to it before has been handled.

        Raises:
            UndeliverableException: the runtime was stopped before; the agent stays.
            Exception: what the agent's `close` raised; it is let go of all the same.
        """
        self._thread.call_blocking(self._runtime.deactivate, (agent_id,))

    # --- state

    def save_state(self) -> Mapping[str, Any]:
        """Give the states of all agents that were made, one consistent cut.

        As `SingleThreadedAgentRuntime.save_state`.

        Raises:
            StateError: a state is not what JSON can express.
        """
        state: Mapping[str, Any] = self._thread.call_blocking(self._runtime.save_state)
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` gave.

        As `SingleThreadedAgentRuntime.load_state`.

        Raises:
            StateError: *state* is not one of ours, or names agent types that are not registered.
        """
        self._thread.call_blocking(self._runtime.load_state, (state,))
