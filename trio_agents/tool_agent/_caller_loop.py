"""`tool_agent_caller_loop`: a model asks, a `ToolAgent` answers, until the model has its answer.

A call that was refused or has failed is an answer too: the model reads why, and may do better.
Anything else that goes wrong between the agents is a failure of the program, and goes to the caller
as itself, when the other calls of that round have been cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import anyio

from .._agents._base_agent import BaseAgent
from .._components._tool import Tool
from .._components._tool_schema import ToolSchema
from .._loops import _asyncio
from .._sansio._abc import AgentRuntime
from .._sansio._cancellation import CancellationToken
from .._sansio._errors import MessageDroppedException
from .._sansio._function_call import FunctionCall
from .._sansio._identifiers import AgentId
from ..models._client import ChatCompletionClient
from ..models._messages import (
    AssistantMessage,
    FinishReasons,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
)
from ._errors import ToolException

__all__ = ["TooManyToolCalls", "tool_agent_caller_loop"]

# On asyncio it is a CancelledError, which is no Exception, and a task group would take it for its
# own cancellation.
_FAILURES: Final = (Exception, _asyncio.MessageCancelled)

# The finish reasons of answers that end before their end, perhaps inside of a call. Not "unknown":
# there are clients that say no more of any answer.
_CUT_OFF: Final[Mapping[FinishReasons, str]] = {
    "length": "it was too long",
    "content_filter": "a filter stopped it",
}


class TooManyToolCalls(RuntimeError):
    """The model still wants tools after ``max_iterations`` answers.

    Attributes:
        messages: What the model has said and was told so far.
    """

    def __init__(self, text: str, messages: list[LLMMessage]) -> None:
        super().__init__(text)
        self.messages = messages


async def tool_agent_caller_loop(
    caller: BaseAgent | AgentRuntime,
    tool_agent_id: AgentId,
    model_client: ChatCompletionClient,
    input_messages: Sequence[LLMMessage],
    tool_schema: Sequence[ToolSchema] | Sequence[Tool],
    cancellation_token: CancellationToken | None = None,
    caller_source: str = "assistant",
    *,
    max_iterations: int | None = None,
) -> list[LLMMessage]:
    """Ask a model, have a `ToolAgent` run the tools that it wants, and ask again, until it answers.

    The calls of one answer run at the same time; their results are given in the order of the
    calls. A `ToolException`, and a call that an intervention handler drops, is a result with
    ``is_error`` for the model. So is each call of an answer that was cut off, by its finish reason
    ``length`` or ``content_filter``: the call may not be whole, and no tool is run. Cancelled, by a
    scope or the token, the calls have unwound.

    Args:
        caller: the agent that asks (``self``), or a runtime.
        tool_agent_id: the tool agent. An agent shares its key, as in
            ``AgentId("tools", self.id.key)``.
        model_client: the model.
        input_messages: the conversation so far; it is not changed.
        tool_schema: the tools of the tool agent.
        cancellation_token: cancels the model's requests and the calls, as
            ``ctx.cancellation_token`` does with the message that is being handled.
        caller_source: the source of the model's messages.
        max_iterations: how often the model may be asked; None for as often as it takes.

    Returns:
        What was said after *input_messages*. The last message is the model's text.

    Raises:
        TooManyToolCalls: the model still wants tools after *max_iterations* answers.
        MessageCancelled: the token was cancelled.
        UnknownAgentType: there is no such tool agent.
        Exception: what the model's client has raised, or else went wrong on the way to the tools.
    """
    if max_iterations is not None and max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, or None, not {max_iterations}")
    said: list[LLMMessage] = []
    rounds = 0
    while True:
        answer = await model_client.create(
            [*input_messages, *said], tools=tool_schema, cancellation_token=cancellation_token
        )
        rounds += 1
        said.append(
            AssistantMessage(content=answer.content, thought=answer.thought, source=caller_source)
        )
        if isinstance(answer.content, str):
            return said
        if rounds == max_iterations:
            raise TooManyToolCalls(
                f"the model still wants tools after {rounds} answers: "
                f"{', '.join(call.name for call in answer.content)}",
                said,
            )
        results = _not_made(answer.content, answer.finish_reason) or await _call_all(
            caller, tool_agent_id, answer.content, cancellation_token
        )
        said.append(FunctionExecutionResultMessage(content=results))


def _not_made(
    calls: Sequence[FunctionCall], reason: FinishReasons
) -> list[FunctionExecutionResult]:
    """Return what the model is told of the calls of an answer that was cut off."""
    if reason not in _CUT_OFF:
        return []
    return [
        FunctionExecutionResult(
            content=f"The call of {call.name} was not made: the answer was cut off, as "
            f"{_CUT_OFF[reason]}.",
            name=call.name,
            call_id=call.id,
            is_error=True,
        )
        for call in calls
    ]


async def _call_all(
    caller: BaseAgent | AgentRuntime,
    tool_agent_id: AgentId,
    calls: Sequence[FunctionCall],
    token: CancellationToken | None,
) -> list[FunctionExecutionResult]:
    results: dict[int, FunctionExecutionResult] = {}
    failures: list[BaseException] = []

    async def call_one(index: int, call: FunctionCall) -> None:
        try:
            results[index] = await _call(caller, tool_agent_id, call, token)
        except _FAILURES as error:
            failures.append(error)  # raised below, without the group that a task group makes
            group.cancel_scope.cancel("a call of a tool has failed")

    async with anyio.create_task_group() as group:
        for index, call in enumerate(calls):
            group.start_soon(call_one, index, call)
    if len(failures) == 1 or (token is not None and token.is_cancelled() and failures):
        raise failures[0]
    if failures:
        raise BaseExceptionGroup("calls of tools have failed", failures)
    return [results[index] for index in range(len(calls))]


async def _call(
    caller: BaseAgent | AgentRuntime,
    tool_agent_id: AgentId,
    call: FunctionCall,
    token: CancellationToken | None,
) -> FunctionExecutionResult:
    try:
        result = await caller.send_message(call, tool_agent_id, cancellation_token=token)
    except ToolException as error:
        return FunctionExecutionResult(
            content=error.content, name=call.name, call_id=call.id, is_error=True
        )
    except MessageDroppedException:
        return FunctionExecutionResult(
            content=f"The call of {call.name} was not allowed.",
            name=call.name,
            call_id=call.id,
            is_error=True,
        )
    if not isinstance(result, FunctionExecutionResult):
        raise TypeError(
            f"{tool_agent_id} has answered a FunctionCall with {type(result).__name__}, and not a "
            f"FunctionExecutionResult: it is no tool agent"
        )
    return result
