"""From a conversation to the values that Ollama's API takes, and from its answers back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..._components._image import Image
from ..._components._tool_schema import ToolSchema
from ..._sansio._function_call import FunctionCall
from ...models._messages import (
    AssistantMessage,
    ChatCompletionTokenLogprob,
    CreateResult,
    FinishReasons,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    TopLogprob,
    UserMessage,
)
from ._beside_calls import Answer, Beside, Remembered
from ._calls import arguments_of, function_call, stopped_for_calls
from ._sdk import no_answer
from ._thinking import ThoughtMarks, beside_calls, without_thought

if TYPE_CHECKING:
    from ollama import ChatResponse

__all__ = ["Assembly", "to_messages", "to_tools"]

_REASONS: Final[dict[str | None, FinishReasons]] = {"stop": "stop", "length": "length"}


def to_messages(
    messages: Sequence[LLMMessage], remembered: Remembered = lambda _: None
) -> list[dict[str, Any]]:
    """Return *messages* as the API takes them.

    Args:
        messages: the conversation.
        remembered: gives what stood beside calls.
    """
    return [entry for message in messages for entry in _entries(message, remembered)]


def _entries(message: LLMMessage, remembered: Remembered) -> list[dict[str, Any]]:
    match message:
        case SystemMessage():
            return [{"role": "system", "content": message.content}]
        case UserMessage(content=str(text)):
            return [{"role": "user", "content": text}]
        case UserMessage():
            parts = message.content
            entry: dict[str, Any] = {
                "role": "user",
                "content": "\n".join(part for part in parts if isinstance(part, str)),
            }
            pictures = [part.to_base64() for part in parts if isinstance(part, Image)]
            return [{**entry, "images": pictures} if pictures else entry]
        case AssistantMessage():
            return _assistant(message, remembered)
        case FunctionExecutionResultMessage():
            return [
                {"role": "tool", "tool_name": result.name, "content": result.content}
                for result in message.content
            ]


def _assistant(message: AssistantMessage, remembered: Remembered) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [{"role": "assistant", "content": message.content}]
    if not message.content:  # no calls at all
        return [{"role": "assistant", "content": message.thought}] if message.thought else []
    calls = [
        {"function": {"name": call.name, "arguments": arguments_of(call)}}
        for call in message.content
    ]
    beside = remembered(message.content)
    text, thinking = beside.taken_apart(message.thought) if beside else (message.thought, "")
    said = {"role": "assistant", "content": text or "", "tool_calls": calls}
    return [{**said, "thinking": thinking} if thinking else said]


def to_tools(tools: Sequence[ToolSchema]) -> list[dict[str, Any]]:
    """Return *tools* as the API takes them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": tool.get("description", ""),
                "parameters": tool.get("parameters", {"type": "object", "properties": {}}),
            },
        }
        for tool in tools
    ]


@dataclass
class Assembly:
    """Puts an answer together. A whole one is one that came in one piece.

    Attributes:
        family: The model's family.
        offered: The names of the tools that the model can call.
    """

    family: str
    offered: Collection[str] = ()
    _text: list[str] = field(default_factory=list[str])
    _thought: list[str] = field(default_factory=list[str])
    _calls: list[FunctionCall] = field(default_factory=list[FunctionCall])
    _logprobs: list[ChatCompletionTokenLogprob] = field(
        default_factory=list[ChatCompletionTokenLogprob]
    )
    _usage: RequestUsage = field(default_factory=lambda: RequestUsage(0, 0))
    _reason: str | None = None
    _marks: ThoughtMarks = field(default_factory=ThoughtMarks)
    _began: bool = False

    def add(self, piece: ChatResponse) -> Iterator[str]:
        """Take a piece, and give the texts that a reader sees of it."""
        self._began = True
        message = piece.message
        if message.thinking:
            self._thought.append(message.thinking)
            yield from self._marks.thought(message.thinking)
        if message.content:
            self._text.append(message.content)
            yield from self._marks.text(message.content)
        for call in message.tool_calls or ():
            arguments = json.dumps(dict(call.function.arguments))
            self._calls.append(function_call(None, call.function.name, arguments, self.offered))
        self._logprobs.extend(_logprobs(piece))
        if piece.done:
            self._reason = piece.done_reason
            self._usage = RequestUsage(piece.prompt_eval_count or 0, piece.eval_count or 0)
            yield from self._marks.end()

    def answer(self) -> Answer[Beside]:
        """Return the whole answer. Cut off, its finish reason is that nobody has said one.

        Raises:
            RuntimeError: the server has sent nothing of a model's.
        """
        if not self._began:
            raise no_answer("")
        thought, text = without_thought(self.family, "".join(self._text))
        thinking = "".join(self._thought)
        thought = thinking or thought
        content: str | list[FunctionCall] = text
        finish = _REASONS.get(self._reason, "unknown")
        if self._calls:
            content, thought = self._calls, beside_calls(text, thought)
            finish = stopped_for_calls(finish)
        result = CreateResult(
            finish_reason=finish,
            content=content,
            usage=self._usage,
            cached=False,
            logprobs=self._logprobs or None,
            thought=thought or None,
        )
        return Answer(result, Beside(result.thought, text, thinking) if thinking else None)


def _logprobs(piece: ChatResponse) -> Iterator[ChatCompletionTokenLogprob]:
    for item in piece.logprobs or ():
        top = [TopLogprob(logprob=other.logprob) for other in item.top_logprobs or ()]
        yield ChatCompletionTokenLogprob(
            token=item.token, logprob=item.logprob, top_logprobs=top or None
        )
