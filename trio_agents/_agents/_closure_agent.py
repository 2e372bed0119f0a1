"""`ClosureAgent`: an agent made of one async function, to take values out of a runtime.

The type of the function's second parameter says which messages it is for; how the parameters are
called does not matter, nor does the return annotation.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import FunctionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    Protocol,
    TypeVar,
    Unpack,
    cast,
    get_args,
    runtime_checkable,
)

from .._sansio._dispatch import MessageType, Scopes, annotations_of, types_in
from .._sansio._errors import CantHandleException
from .._sansio._identifiers import AgentType
from .._sansio._options import AgentOptions
from .._sansio._subscriptions import TypePrefixSubscription
from ._base_agent import BaseAgent, handled_types, make_subscriptions, register_type

if TYPE_CHECKING:
    from .._sansio._abc import AgentRuntime, Subscription
    from .._sansio._cancellation import CancellationToken
    from .._sansio._contexts import MessageContext
    from .._sansio._identifiers import AgentId, TopicId

__all__ = ["ClosureAgent", "ClosureContext"]

T = TypeVar("T")

UnknownTypePolicy = Literal["error", "warn", "ignore"]

_EXPECTED: Final = (
    "write it as `async def name(agent: ClosureContext, message: SomeType, ctx: MessageContext)`"
)


@runtime_checkable
class ClosureContext(Protocol):
    """What a closure may use of its agent."""

    @property
    def id(self) -> AgentId:
        """The agent's address."""
        ...

    def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Send *message* to one agent; await the reply. As `BaseAgent.send_message`."""
        ...

    def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Publish *message*. To be awaited. As `BaseAgent.publish_message`."""
        ...


Closure = Callable[[ClosureContext, T, "MessageContext"], Awaitable[Any]]


class ClosureAgent(BaseAgent, ClosureContext):
    """An agent whose messages are handled by one async function.

    ::

        async def collect(agent: ClosureContext, message: Result, ctx: MessageContext) -> None:
            results.append(message)


        await ClosureAgent.register_closure(
            runtime, "collector", collect, subscriptions=lambda: [DefaultSubscription()]
        )

    Args:
        description: What the agent is for, in words for people and models.
        closure: Called with the agent, the message and its context. It is for messages of the type
            its second parameter is annotated with, subclasses and unions included; ``Any`` and
            ``object`` are all of them.
        unknown_type_policy: What becomes of other messages. ``"warn"`` warns and ``"ignore"`` does
            not; the sender of a direct message gets None. ``"error"`` is `CantHandleException`.

    Raises:
        TypeError: *closure* is no async function of three parameters, or its second parameter is
            not annotated with a type that can be read.
        ValueError: *unknown_type_policy* is none of the three.
    """

    def __init__(
        self,
        description: str,
        closure: Closure[T],
        *,
        unknown_type_policy: UnknownTypePolicy = "warn",
    ) -> None:
        policies: tuple[str, ...] = get_args(UnknownTypePolicy)
        if unknown_type_policy not in policies:
            raise ValueError(
                f"unknown_type_policy must be one of {', '.join(policies)}, "
                f"not {unknown_type_policy!r}"
            )
        given: object = closure
        read = given if isinstance(given, _ReadClosure) else _ReadClosure(given)
        self._accepts = tuple(cls for _, cls in read.receives)
        self._closure = read.closure
        self._unknown_type_policy = unknown_type_policy
        super().__init__(description)

    def on_message_impl(self, message: Any, ctx: MessageContext) -> Coroutine[Any, Any, Any]:
        """Give *message* to the closure, if it is for such messages. Await what it returns.

        Raises:
            CantHandleException: it is not, and the policy is ``"error"``.
            Exception: what the closure raised.
        """
        if isinstance(message, self._accepts):
            return cast("Coroutine[Any, Any, Any]", self._closure(self, message, ctx))
        return self._refuse(message)

    async def _refuse(self, message: object) -> None:
        if self._unknown_type_policy == "ignore":
            return
        expected = " or ".join(cls.__qualname__ for cls in self._accepts)
        refusal = (
            f"closure agent {self._id} is for messages of type {expected}, "
            f"not {type(message).__qualname__}"
        )
        if self._unknown_type_policy == "error":
            raise CantHandleException(refusal)
        warnings.warn(refusal, stacklevel=2)

    async def save_state(self) -> Mapping[str, Any]:
        """Give an empty mapping: a closure agent has no state of its own."""
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Ignore *state*."""

    @classmethod
    async def register_closure(
        cls,
        runtime: AgentRuntime,
        type: str,
        closure: Closure[T],
        *,
        unknown_type_policy: UnknownTypePolicy = "warn",
        skip_direct_message_subscription: bool = False,
        description: str = "",
        subscriptions: Callable[[], list[Subscription] | Awaitable[list[Subscription]]]
        | None = None,
        **options: Unpack[AgentOptions],
    ) -> AgentType:
        """Have *runtime* make agents of *closure*, under the name *type*, when they are needed.

        What is checked beforehand and what a failure leaves behind is as in `BaseAgent.register`.

        Args:
            runtime: Where the agents will live. It may be running.
            type: The agent type; in one runtime it can be registered once.
            closure: As for the class.
            unknown_type_policy: As for the class.
            skip_direct_message_subscription: Leave out the topic types that start with ``<type>:``.
            description: As for the class.
            subscriptions: Called once, now; returns a list of subscriptions, or an awaitable of
                one. A `DefaultSubscription` made in it is for *type*.
            options: The limits that these agents live under, see `AgentOptions`.

        Raises:
            ValueError: *type* is not valid or is registered already, or a subscription exists.
            TypeError: as for the class.
        """
        agent_type = AgentType(type)
        # Read here, where the closure was written, and not in the factory: a hint given as text may
        # name a local class of the function that calls us.
        read = _ReadClosure(closure)

        def make() -> ClosureAgent:
            return cls(description, cast("Any", read), unknown_type_policy=unknown_type_policy)

        makers = list(cls.internal_unbound_subscriptions_list)
        if subscriptions is not None:
            makers.append(subscriptions)
        made = await make_subscriptions(makers, agent_type)
        if not skip_direct_message_subscription:
            made.append(TypePrefixSubscription(f"{type}:", type))
        return await register_type(
            runtime,
            agent_type,
            make,
            expected_class=cls,
            subscriptions=made,
            handled=[*cls._handles_types(), *handled_types(read.receives)],
            options=options,
        )


class _ReadClosure:
    """A closure that has been looked at, with the types of messages it is for."""

    closure: Callable[[Any, Any, MessageContext], Awaitable[Any]]
    receives: tuple[MessageType, ...]

    def __init__(self, closure: Any) -> None:
        function = _function_in(closure)
        if function is None or not (
            inspect.iscoroutinefunction(closure) or inspect.iscoroutinefunction(function)
        ):
            raise TypeError(f"closure {closure!r} is not a coroutine function: {_EXPECTED}")
        name = function.__qualname__.replace(".<locals>", "")
        signature = _signature(closure)
        try:
            signature.bind(None, None, None)
        except TypeError:
            raise TypeError(
                f"closure {name} must take three parameters, the agent, the message and its "
                f"context: {_EXPECTED}"
            ) from None
        parameter = list(signature.parameters)[1]
        annotations = annotations_of(function)
        if parameter not in annotations:
            raise TypeError(
                f"closure {name} does not say which messages it is for: annotate its parameter "
                f"{parameter!r} with a class, a union of classes or Any"
            )
        what = f"the hint of parameter {parameter!r} of closure {name}"
        hint = Scopes(function).evaluate(annotations[parameter], what, {})
        self.closure = closure
        self.receives = types_in(hint, what)


def _function_in(closure: Any) -> FunctionType | None:
    """Find what carries the annotations: inside a partial, a method, a wrapper or an object."""
    while not isinstance(closure, FunctionType):
        if isinstance(closure, functools.partial):
            closure = closure.func
        elif inspect.ismethod(closure):
            closure = closure.__func__
        elif isinstance(closure, type) or not callable(closure):
            return None
        else:
            closure = inspect.getattr_static(type(closure), "__call__")
    function = inspect.unwrap(closure)
    return function if isinstance(function, FunctionType) else None


def _signature(closure: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(closure, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(closure)
