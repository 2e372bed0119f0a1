"""From the answers of Anthropic's API to a `CreateResult`: whole ones, and those in pieces.

An answer is a list of blocks, of which a stream tells piece by piece. Put together it is the same
list, and the same function reads it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from ..._sansio._function_call import FunctionCall
from ...models._messages import CreateResult, FinishReasons, RequestUsage
from ._beside_calls import Answer
from ._calls import function_call
from ._sdk import no_answer, no_stream
from ._thinking import ThoughtMarks, beside_calls

if TYPE_CHECKING:
    from anthropic.types import Message, RawMessageStreamEvent, Usage

__all__ = ["Assembly", "Block", "from_message"]

_REASONS: Final[dict[str | None, FinishReasons]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "function_calls",
    "refusal": "content_filter",
}
_THOUGHTS: Final = ("thinking", "redacted_thinking")

Block = dict[str, Any]


def from_message(message: Message, offered: Collection[str] = ()) -> Answer[list[Block]]:
    """Return a whole answer.

    Args:
        message: the answer of the API.
        offered: the names of the tools that the model could call.

    Raises:
        RuntimeError: the server has answered, but not with an answer of a model.
    """
    # The SDK makes a message of any JSON, and hands on what is none.
    if not isinstance(getattr(message, "content", None), list):
        raise no_answer(getattr(message, "model_extra", None) or message)
    blocks = [block.model_dump(exclude_none=True) for block in message.content]
    told = cast("Usage | None", message.usage)
    usage = told.model_dump() if told is not None else {}
    return _to_answer(message.stop_reason, blocks, usage, offered)


def _to_answer(
    reason: str | None,
    blocks: Sequence[Block],
    usage: Mapping[str, Any],
    offered: Collection[str],
) -> Answer[list[Block]]:
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    thought = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    calls = [
        function_call(block["id"], block["name"], _arguments(block["input"]), offered)
        for block in blocks
        if block["type"] == "tool_use"
    ]
    content: str | list[FunctionCall] = text
    if calls:
        content, thought = calls, beside_calls(text, thought)
    result = CreateResult(
        finish_reason=_REASONS.get(reason, "unknown"),
        content=content,
        usage=_usage(usage),
        cached=False,
        thought=thought or None,
    )
    if not any(block["type"] in _THOUGHTS for block in blocks):
        return Answer(result)
    # With thoughts goes all that stands around them, but for blank texts: the API writes these, and
    # refuses them. Calls are only marked: they go back as they stand in the conversation.
    return Answer(
        result,
        [
            {"type": "tool_use", "id": block["id"]} if block["type"] == "tool_use" else block
            for block in blocks
            if block.get("text", "-").strip()
        ],
    )


def _arguments(written: object) -> str:
    return (written or "{}") if isinstance(written, str) else json.dumps(written)


def _usage(usage: Mapping[str, Any]) -> RequestUsage:
    # What is read from the provider's cache, or written to it, was sent as well.
    sent = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return RequestUsage(
        prompt_tokens=sum(usage.get(name) or 0 for name in sent),
        completion_tokens=usage.get("output_tokens") or 0,
    )


@dataclass
class Assembly:
    """Puts an answer together that comes in pieces; see that of OpenAI.

    Attributes:
        offered: The names of the tools that the model can call.
        kind: The content type of what the server sends.
    """

    offered: Collection[str] = ()
    kind: str | None = None
    _blocks: list[Block] = field(default_factory=list[Block])
    _usage: dict[str, Any] = field(default_factory=dict[str, Any])
    _reason: str | None = None
    _began: bool = False
    _marks: ThoughtMarks = field(default_factory=ThoughtMarks)

    def add(self, event: RawMessageStreamEvent) -> Iterator[str]:
        """Take an event, and give the texts that a reader sees of it."""
        if event.type == "message_start":
            self._began = True
            self._count(event.message.usage.model_dump())
        elif event.type == "content_block_start":
            self._blocks.append(event.content_block.model_dump(exclude_none=True))
            yield from self._show(self._blocks[-1])
        elif event.type == "content_block_delta":
            yield from self._extend(event.index, event.delta.model_dump())
        elif event.type == "message_delta":
            yield from self._marks.end()
            self._reason = event.delta.stop_reason
            self._count(event.usage.model_dump())

    def _count(self, usage: Mapping[str, Any]) -> None:
        # Later counts include the earlier ones; not all are said each time.
        self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _extend(self, index: int, delta: Block) -> Iterator[str]:
        block = self._blocks[index]
        if delta["type"] == "text_delta":
            block["text"] += delta["text"]
            yield from self._show({"type": "text", "text": delta["text"]})
        elif delta["type"] == "thinking_delta":
            block["thinking"] += delta["thinking"]
            yield from self._show({"type": "thinking", "thinking": delta["thinking"]})
        elif delta["type"] == "signature_delta":
            block["signature"] = delta["signature"]
        elif delta["type"] == "input_json_delta":
            # Kept as text: it is cut off where the answer is.
            written = block["input"] if isinstance(block["input"], str) else ""
            block["input"] = written + delta["partial_json"]

    def _show(self, block: Block) -> Iterator[str]:
        if block["type"] == "thinking" and block["thinking"]:
            yield from self._marks.thought(block["thinking"])
        elif block["type"] == "text" and block["text"]:
            yield from self._marks.text(block["text"])
        elif block["type"] not in (*_THOUGHTS, "text"):
            yield from self._marks.end()

    def answer(self) -> Answer[list[Block]]:
        """Return the whole answer. Cut off, its finish reason is that nobody has said one.

        Raises:
            RuntimeError: the server has sent nothing of a model's.
        """
        if not self._began:
            raise no_stream(self.kind)
        return _to_answer(self._reason, self._blocks, self._usage, self.offered)
