"""Asking the intervention handlers what is to become of a message, or of a reply.

When a message waits for them, and what waits behind it, is decided in `_pipeline`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from .._sansio._foreign import check_not_autogens
from .._sansio._intervention import DropMessage, InterventionHandler
from ._calls import close_unawaited, is_awaitable

if TYPE_CHECKING:
    from ._envelope import Envelope

__all__ = ["Interceptors", "check_intervention_handlers"]


# How an intervention handler is asked about an envelope's message, or about its reply.
Ask = Callable[[InterventionHandler, Any, "Envelope"], Any]


def on_send(handler: InterventionHandler, message: Any, request: Envelope) -> Any:
    assert request.context is not None
    assert request.recipient is not None
    return handler.on_send(message, message_context=request.context, recipient=request.recipient)


def on_publish(handler: InterventionHandler, message: Any, publication: Envelope) -> Any:
    assert publication.context is not None
    return handler.on_publish(message, message_context=publication.context)


def on_response(handler: InterventionHandler, reply: Any, request: Envelope) -> Any:
    assert request.recipient is not None
    return handler.on_response(reply, sender=request.recipient, recipient=request.sender)


def check_intervention_handlers(handlers: object) -> None:
    """Refuse what are no intervention handlers.

    Raises:
        TypeError: they are none; it says what one is.
    """
    if handlers is None:
        return
    if not isinstance(handlers, Iterable):
        raise TypeError(
            f"intervention_handlers must be a list of handlers, not {type(handlers).__name__}: "
            "write [handler] for one"
        )
    for handler in cast("Iterable[object]", handlers):
        check_not_autogens(handler, "intervention handler")
        if not isinstance(handler, InterventionHandler):
            raise TypeError(
                "an intervention handler has on_send, on_publish and on_response (derive from "
                f"DefaultInterventionHandler); {type(handler).__name__} has not"
            )
        if isinstance(handler, type):  # which has them, too
            raise TypeError(
                f"an intervention handler is an object, not the class {handler.__qualname__}: "
                f"write {handler.__name__}()"
            )


class Interceptors:
    """The intervention handlers of one runtime, in their order."""

    def __init__(self, handlers: Sequence[InterventionHandler]) -> None:
        self._handlers = tuple(handlers)

    def ask_about_message(self, envelope: Envelope) -> Coroutine[Any, Any, Any]:
        """Give what they make of a message: `DropMessage` if they drop it."""
        envelope.context = envelope.new_context()
        ask = on_publish if envelope.recipient is None else on_send
        return self._ask_each(ask, envelope.message, envelope)

    def ask_about_reply(self, request: Envelope, reply: Any) -> Coroutine[Any, Any, Any]:
        """Give what they make of the reply to *request*: `DropMessage` if they drop it."""
        return self._ask_each(on_response, reply, request)

    async def _ask_each(self, ask: Ask, message: Any, envelope: Envelope) -> Any:
        for handler in self._handlers:
            asked: Any = None
            answer: Any = None
            try:
                asked = ask(handler, message, envelope)
                answer = asked
                if is_awaitable(asked):
                    if envelope.observation is not None:
                        answer = envelope.observation.intercept(handler, asked)
                    answer = await answer
            except BaseException:
                close_unawaited(answer)
                close_unawaited(asked)
                raise
            if answer is None:
                if message is None:
                    continue  # the reply of a handler that returns nothing
                warnings.warn(
                    f"intervention handler {type(handler).__name__} returned None: the message "
                    "goes on unchanged; return the message, or DropMessage to drop it",
                    RuntimeWarning,
                    stacklevel=2,
                )
            elif answer is DropMessage or isinstance(answer, DropMessage):
                return DropMessage
            elif isinstance(answer, type):
                check_not_autogens(answer, f"intervention handler {type(handler).__name__} gave")
                message = answer
            else:
                message = answer
        return message
