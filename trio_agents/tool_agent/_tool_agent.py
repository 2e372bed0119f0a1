"""`ToolAgent`: runs the tools that it is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, cast

from pydantic import ValidationError

from .._agents._routed_agent import RoutedAgent
from .._components._check_tool import check_tool
from .._components._tool import Tool
from .._loops import _asyncio
from .._sansio._contexts import MessageContext
from .._sansio._dispatch import message_handler
from .._sansio._errors import MessageCancelled
from .._sansio._function_call import FunctionCall
from ..models._messages import FunctionExecutionResult
from ..tools._text import text_of_error
from ._errors import (
    InvalidToolArgumentsException,
    ToolExecutionException,
    ToolNotFoundException,
)

__all__ = ["ToolAgent"]

_CANCELLED: Final = (MessageCancelled, _asyncio.MessageCancelled)


class ToolAgent(RoutedAgent):
    """An agent that is sent a `FunctionCall` and answers with a `FunctionExecutionResult`.

    ::

        await ToolAgent.register(runtime, "tools", lambda: ToolAgent("Runs tools.", [tool]))

    Calls run side by side, as messages to one agent do. See `tool_agent_caller_loop` for the side
    of whoever asks.
    """

    def __init__(self, description: str, tools: Sequence[Tool]) -> None:
        """Make an agent that runs *tools*.

        Args:
            description: what the agent is for.
            tools: the tools.

        Raises:
            ValueError: two of them have the same name.
            TypeError: one of them is no tool but a function or a schema, say.
        """
        super().__init__(description)
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            check_tool(tool, "tools")
            if self._tools.setdefault(tool.name, tool) is not tool:
                raise ValueError(f"two tools are called {tool.name!r}")

    @property
    def tools(self) -> list[Tool]:
        """Its tools."""
        return list(self._tools.values())

    @message_handler
    async def handle_function_call(
        self, message: FunctionCall, ctx: MessageContext
    ) -> FunctionExecutionResult:
        """Run a tool, cancelled with the message, by its sender or its token.

        Raises:
            ToolNotFoundException: there is no such tool.
            InvalidToolArgumentsException: the arguments are no JSON object, or do not fit.
            ToolExecutionException: the tool has raised.
            MessageCancelled: the token was cancelled.
        """
        tool = self._tools.get(message.name)
        if tool is None:
            names = ", ".join(self._tools) or "none"
            raise ToolNotFoundException(
                message.id,
                f"There is no tool {message.name!r}. The tools are: {names}.",
                message.name,
            )
        arguments = _arguments(message)
        try:
            value = await tool.run_json(arguments, ctx.cancellation_token, message.id)
            content = tool.return_value_as_string(value)
        except (Exception, _asyncio.MessageCancelled) as error:
            if isinstance(error, _CANCELLED) and ctx.cancellation_token.is_cancelled():
                raise
            kind = (
                InvalidToolArgumentsException
                if isinstance(error, ValidationError) and error.title == _title(tool)
                else ToolExecutionException
            )
            raise kind(message.id, text_of_error(error), message.name) from error
        return FunctionExecutionResult(
            content=content, name=message.name, call_id=message.id, is_error=False
        )


def _arguments(call: FunctionCall) -> dict[str, Any]:
    # Some models write nothing at all where there is nothing to say.
    text = call.arguments if call.arguments.strip() else "{}"
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidToolArgumentsException(
            call.id, f"The arguments of {call.name} are no JSON: {text_of_error(error)}.", call.name
        ) from error
    if not isinstance(arguments, dict):
        raise InvalidToolArgumentsException(
            call.id,
            f"The arguments of {call.name} must be a JSON object, not {type(arguments).__name__}.",
            call.name,
        )
    return cast(dict[str, Any], arguments)


def _title(tool: Tool) -> str:
    """Return the title that the errors of a tool's arguments have. It may validate more."""
    model = tool.args_type()
    return model.model_config.get("title") or model.__name__
