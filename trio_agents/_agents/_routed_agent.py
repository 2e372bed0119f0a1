"""`RoutedAgent`: each message goes to the decorated method that is for its type.

The decision is `DispatchTable`'s, made once for each class of agents and remembered for each class
of messages. What is left for each message is a look into a dict, and the handler's own coroutine is
what the runtime awaits; for a request there is one around it, which looks at the reply.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Final

from .._sansio._dispatch import DispatchTable
from .._sansio._errors import CantHandleException
from .._sansio._log_names import ROOT_LOGGER_NAME
from ._base_agent import BaseAgent, HandledType, handled_types

if TYPE_CHECKING:
    from .._sansio._contexts import MessageContext

__all__ = ["RoutedAgent"]

logger: Final = logging.getLogger(ROOT_LOGGER_NAME)


class RoutedAgent(BaseAgent):
    """An agent whose methods handle messages by type: the usual place to start.

    ::

        class Greeter(RoutedAgent):
            def __init__(self) -> None:
                super().__init__("greets people")

            @message_handler
            async def greet(self, message: Person, ctx: MessageContext) -> Greeting:
                return Greeting(f"Hello, {message.name}!")

    The decorators are `message_handler`, `event` for publications and `rpc` for direct messages.
    Handlers for the message's own class come first, then those for its base classes. A message that
    no handler fits goes to `on_unhandled_message`.

    Args:
        description: What the agent is for, in words for people and models.

    Raises:
        TypeError: a handler's hint names something that does not exist.
    """

    __table: ClassVar[DispatchTable] = DispatchTable(BaseAgent)  # without any handlers

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__table = DispatchTable(cls)
        cls.__table.try_resolve()

    def __init__(self, description: str) -> None:
        self.__table.resolve()
        super().__init__(description)

    def on_message_impl(self, message: Any, ctx: MessageContext) -> Coroutine[Any, Any, Any]:
        """Give *message* to the handler it is for. Await what it returns.

        It is not meant to be replaced. A subclass that has to do something around every message
        (take a lock, say) may override it with an ``async def`` that awaits ``super()``'s.

        Raises:
            ValueError: the reply is not what the handler's annotation promises, and the handler is
                strict.
            Exception: what the handler raised, or a ``match`` function (then at the call).
        """
        handle = self.__table.choose(message, ctx)
        if handle is None:
            return self.on_unhandled_message(message, ctx)
        return handle(self, message, ctx)

    async def on_unhandled_message(self, message: Any, ctx: MessageContext) -> None:
        """Called with each message that no handler fits. By default: a line in the log, at info.

        The sender of a direct message then gets None.

        Raises:
            CantHandleException: for a direct message, if the runtime was made with ``strict=True``.
        """
        logger.info(
            "Unhandled message: agent %s has no handler for a %s of type %s",
            self._id,
            "direct message" if ctx.is_rpc else "publication",
            type(message).__qualname__,
        )
        # Not part of the AgentRuntime protocol: a runtime that knows no strictness is not strict.
        if ctx.is_rpc and getattr(self._runtime, "strict", False):
            raise CantHandleException(
                f"agent {self._id} ({type(self).__qualname__}) has no handler for a direct message "
                f"of type {type(message).__qualname__}"
            )

    @classmethod
    def _handles_types(cls) -> list[HandledType]:
        return [*super()._handles_types(), *handled_types(cls.__table.receives)]
