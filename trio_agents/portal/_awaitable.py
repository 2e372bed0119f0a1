"""The runtime behind a portal, for code on asyncio."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, overload

from .._sansio._abc import Agent, AgentRuntime, Subscription
from .._sansio._identifiers import AgentId, AgentMetadata, AgentType, TopicId
from .._sansio._options import AgentOptions
from .._sansio._serializers import MessageSerializer
from ._asking import check_seconds, do, do_async, stop
from ._blocking import BlockingRuntime

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from .._core._ledger import RuntimeStatistics
    from .._sansio._cancellation import CancellationToken
    from ._thread import TrioThread

__all__ = ["AwaitableRuntime"]

AgentT = TypeVar("AgentT", bound=Agent)
P = ParamSpec("P")
RuntimeT = TypeVar("RuntimeT", bound=AgentRuntime)
T = TypeVar("T")


class AwaitableRuntime(AgentRuntime, Generic[RuntimeT]):
    """A runtime in a trio thread, seen from code on asyncio: every call is awaited.

    What ``async with open_portal() as runtime`` gives. It is an `AgentRuntime`: what takes one,
    such as ``Worker.register(runtime, ...)``, takes this. Calls begin in the order in which they
    were made; ten thousand in flight cross the border in few batches. Any task of any event loop
    may call. An exception that a call raises is the very object that was raised in the trio thread.

    A send is a call here too. A task that is cancelled during one, by ``task.cancel()`` or
    `asyncio.timeout` say, has the handler cancelled, and resumes with `asyncio.CancelledError` when
    the handler has unwound, however often it is cancelled meanwhile. If the handler raised
    something else then, the task gets that. An answer that came all the same is lost.

    Every call raises:

    * `PortalClosedError`: the portal's block has been left, or is left before the call has ended.
    * `RuntimeError`: it was not made on asyncio. The trio thread itself, and other trio programs,
      use a runtime without a portal.
    """

    def __init__(self, thread: TrioThread) -> None:
        self._thread = thread
        self._runtime: Any = thread.runtime

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._runtime!r}>"

    @property
    def blocking(self) -> BlockingRuntime[RuntimeT]:
        """The same runtime for other threads of this program, whose calls block."""
        return BlockingRuntime(self._thread)

    @property
    def portal(self) -> BlockingPortal:
        """The portal of anyio's to the trio thread, for what is not about the runtime.

        Tasks that are left in it are cancelled with the end of the block.
        """
        assert self._thread.portal is not None
        return self._thread.portal

    def _call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        apart: bool = False,
    ) -> Coroutine[Any, Any, Any]:
        # No coroutine function: the call is in the inbox before its caller first suspends, and
        # there is one frame less to resume.
        postbox = self._thread.postbox()
        return self._thread.call_awaited(
            function, args, kwargs, postbox=postbox, apart=apart
        ).wait()

    # --- anything

    async def run(
        self,
        async_fn: Callable[Concatenate[RuntimeT, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call an async function with the runtime itself and *args* in the trio thread.

        The function sees the context variables of this task.

        Raises:
            TypeError: *async_fn* is not async.
            BaseException: what it raised.
        """
        result: T = await self._call(do_async, (async_fn, self._runtime, *args), kwargs, apart=True)
        return result

    async def run_sync(
        self, fn: Callable[Concatenate[RuntimeT, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a synchronous function with the runtime itself and *args* in the trio thread.

        Nothing else happens there meanwhile, so it must not wait. It sees the context variables of
        this task.

        Raises:
            TypeError: *fn* is async.
            BaseException: what it raised.
        """
        result: T = await self._call(do, (fn, self._runtime, *args), kwargs, apart=True)
        return result

    # --- messages

    async def send_message(
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
        task and the handler should not both change it.

        Raises:
            MessageCancelled: the token was cancelled, from any thread, or the portal's block was
                left by an exception while the message was handled.
            UndeliverableException: the message was not handled before the runtime stopped.
            BaseException: whatever the handler raised, the very object.
        """
        return await self._call(
            self._runtime.send_message,
            (message, recipient),
            {
                "sender": sender,
                "cancellation_token": cancellation_token,
                "message_id": message_id,
            },
        )

    async def publish_message(
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
        await self._call(
            self._runtime.publish_message,
            (message, topic_id),
            {
                "sender": sender,
                "cancellation_token": cancellation_token,
                "message_id": message_id,
            },
        )

    # --- start and stop

    async def start(self) -> None:
        """Begin to handle messages, after a stop. The portal has started the runtime at first.

        Raises:
            RuntimeError: it is started already.
        """
        await self._call(do, (self._runtime.start,))

    async def is_started(self) -> bool:
        """Whether messages are handled as they come."""
        return bool(await self._call(do, (self._runtime.is_started,)))

    async def stop(self, *, cancel_after: float = math.inf) -> None:
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
        await self._call(stop, (self._runtime.stop, cancel_after))

    async def stop_when_idle(self) -> None:
        """Wait until nothing that was accepted is unfinished, then stop.

        Raises:
            RuntimeError: not started.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        await self._call(self._runtime.stop_when_idle)

    async def stop_when(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* is true, then stop. It is called in the trio thread.

        Raises:
            RuntimeError: not started.
            BaseException: what *condition* raised; the runtime goes on.
            BaseExceptionGroup: failures of publications, see `ignore_unhandled_exceptions`.
        """
        await self._call(self._runtime.stop_when, (condition,))

    async def process_next(self) -> None:
        """Take up the next message by hand, while the runtime is stopped; wait for one.

        Raises:
            RuntimeError: started.
        """
        await self._call(self._runtime.process_next)

    async def close(self) -> None:
        """Stop the runtime if started, then close every agent. The portal stays open.

        Raises:
            BaseExceptionGroup: what agents raised, and failures of publications.
        """
        await self._call(self._runtime.close)

    async def statistics(self) -> RuntimeStatistics:
        """Count what has become of all messages, at this moment."""
        counts: RuntimeStatistics = await self._call(do, (self._runtime.statistics,))
        return counts

    @property
    def unprocessed_messages_count(self) -> int:
        """How many messages have been accepted whose handling has not begun.

        A property cannot be awaited, so it blocks this thread until the trio thread has counted.
        """
        return self.blocking.unprocessed_messages_count

    # --- registration

    async def register_factory(
        self,
        type: str | AgentType,
        agent_factory: Callable[[], Agent | Awaitable[Agent]],
        *,
        expected_class: type[Any] | None = None,
        **options: Unpack[AgentOptions],
    ) -> AgentType:
        """Say how agents of *type* are made: in the trio thread, by *agent_factory*.

        Adds no subscriptions: prefer ``Worker.register(runtime, ...)``.

        Raises:
            TypeError: the factory takes arguments, or something is of the wrong type.
            ValueError: the type is registered already, or a limit is out of range.
        """
        registered: AgentType = await self._call(
            self._runtime.register_factory,
            (type, agent_factory),
            {"expected_class": expected_class, **options},
        )
        return registered

    async def register_agent_instance(self, agent_instance: Agent, agent_id: AgentId) -> AgentId:
        """Put a ready agent at *agent_id*. From then on it belongs to the trio thread.

        Adds no subscriptions: prefer ``agent.register_instance(runtime, agent_id)``.

        Raises:
            ValueError: the id is taken, the type has a factory, or the type's other instances are
                of another class.
            RuntimeError: the agent belongs to another id or runtime.
        """
        registered: AgentId = await self._call(
            self._runtime.register_agent_instance, (agent_instance, agent_id)
        )
        return registered

    async def add_subscription(self, subscription: Subscription) -> None:
        """Obey *subscription* from now on.

        Raises:
            ValueError: there is one like it, or of the same id, already.
        """
        await self._call(self._runtime.add_subscription, (subscription,))

    async def remove_subscription(self, id: str) -> None:
        """Forget the subscription of this id.

        Raises:
            LookupError: there is none.
        """
        await self._call(self._runtime.remove_subscription, (id,))

    def add_message_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        """Know one or several more serializers; the last one for a type and content type counts.

        The protocol has it synchronous, so it blocks this thread until the trio thread has done it.

        Raises:
            TypeError: one of them is not a serializer; none was added.
        """
        self.blocking.add_message_serializer(serializer)

    # --- agents

    @overload
    async def get(self, id: AgentId, /, *, lazy: bool = ...) -> AgentId: ...

    @overload
    async def get(
        self, type: AgentType | str, /, key: str = ..., *, lazy: bool = ...
    ) -> AgentId: ...

    async def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        """Give an agent's id; with ``lazy=False`` also make the agent now.

        Raises:
            LookupError: not lazy, and the agent type is unknown.
        """
        id: AgentId = await self._call(self._runtime.get, (id_or_type, key), {"lazy": lazy})
        return id

    @overload
    async def try_get_underlying_agent_instance(self, id: AgentId) -> Agent: ...

    @overload
    async def try_get_underlying_agent_instance(
        self, id: AgentId, type: type[AgentT]
    ) -> AgentT: ...

    async def try_get_underlying_agent_instance(self, id: AgentId, type: type[Any] = Agent) -> Any:
        """Give the agent itself, for debugging: it belongs to the trio thread, and changes there.

        Raises:
            LookupError: the agent type is unknown.
            TypeError: the agent is not of the class *type*.
        """
        return await self._call(self._runtime.try_get_underlying_agent_instance, (id, type))

    async def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        """Give one agent's type, key and description. The agent is made if need be.

        Raises:
            LookupError: the agent type is unknown.
        """
        metadata: AgentMetadata = await self._call(self._runtime.agent_metadata, (agent,))
        return metadata

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        """Give one agent's state. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: the state is not what JSON can express.
        """
        state: Mapping[str, Any] = await self._call(self._runtime.agent_save_state, (agent,))
        return state

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        """Restore one agent's state. It is made if need be.

        Raises:
            LookupError: the agent type is unknown.
            StateError: *state* is not a mapping.
        """
        await self._call(self._runtime.agent_load_state, (agent, state))

    async def deactivate(self, agent_id: AgentId) -> None:
        """Close one agent and let go of it, when what was submitted to it before has been handled.

        Raises:
            UndeliverableException: the runtime was stopped before; the agent stays.
            Exception: what the agent's `close` raised; it is let go of all the same.
        """
        await self._call(self._runtime.deactivate, (agent_id,))

    # --- state

    async def save_state(self) -> Mapping[str, Any]:
        """Give the states of all agents that were made, one consistent cut.

        As `SingleThreadedAgentRuntime.save_state`.

        Raises:
            StateError: a state is not what JSON can express.
        """
        state: Mapping[str, Any] = await self._call(self._runtime.save_state)
        return state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` gave.

        As `SingleThreadedAgentRuntime.load_state`.

        Raises:
            StateError: *state* is not one of ours, or names agent types that are not registered.
        """
        await self._call(self._runtime.load_state, (state,))
