"""From the answers of OpenAI's API to a `CreateResult`: whole ones, and those that come in pieces.

Both end in one function. A server that speaks the API is not always OpenAI: ids may be missing,
reasons for stopping wrong, thoughts in fields of other names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from ..._sansio._function_call import FunctionCall
from ...models._messages import (
    ChatCompletionTokenLogprob,
    CreateResult,
    FinishReasons,
    RequestUsage,
    TopLogprob,
)
from ._beside_calls import Answer, Beside
from ._calls import function_call, stopped_for_calls, written
from ._sdk import no_answer, no_stream
from ._thinking import Pieces, ThoughtMarks, beside_calls, without_thought

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import (
        ChatCompletion,
        ChatCompletionChunk,
        ChatCompletionMessage,
        ChatCompletionTokenLogprob as TheirLogprob,
    )
    from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall

__all__ = ["Assembly", "from_completion"]

_REASONS: Final[dict[str | None, FinishReasons]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "function_calls",
    "function_call": "function_calls",
    "content_filter": "content_filter",
}
# Where thoughts have this name, they are taken back, and by DeepSeek wanted back.
_TAKEN_BACK: Final = "reasoning_content"


def from_completion(completion: ChatCompletion, family: str) -> Answer[Beside]:
    """Return a whole answer.

    Raises:
        RuntimeError: the server has answered, but not with an answer of a model.
    """
    # Servers that only look like OpenAI's put their errors here, with status 200.
    # And others a page, which the SDK hands on as it is.
    if not getattr(completion, "choices", None):
        raise no_answer(getattr(completion, "model_extra", completion))
    choice = completion.choices[0]
    message = cast("ChatCompletionMessage | None", choice.message)
    if message is None:
        raise no_answer(completion.to_dict())
    return _to_result(
        family,
        reason=choice.finish_reason,
        text=message.content or "",
        refusal=message.refusal or "",
        reasoning=_reasoning(message.model_extra),
        is_wanted=_TAKEN_BACK in (message.model_extra or {}),
        calls=[
            (
                function_call(call.id, call.function.name, call.function.arguments),
                _extra(call.model_extra),
            )
            for call in message.tool_calls or ()
            if call.type == "function"
        ],
        usage=_usage(completion.usage),
        logprobs=_logprobs((choice.logprobs and choice.logprobs.content) or ()),
    )


def _to_result(
    family: str,
    *,
    reason: str | None,
    text: str,
    refusal: str,
    reasoning: str,
    is_wanted: bool,
    calls: Sequence[tuple[FunctionCall, object]],
    usage: RequestUsage,
    logprobs: list[ChatCompletionTokenLogprob],
) -> Answer[Beside]:
    written, text = without_thought(family, text)
    thought = reasoning or written
    content: str | list[FunctionCall]
    finish = _REASONS.get(reason, "unknown")
    if calls:
        # Text beside calls goes back to the API beside them, see `to_messages`.
        content = [call for call, _ in calls]
        thought, finish = beside_calls(text, thought), stopped_for_calls(finish)
    elif refusal:
        # Nobody should take it for an answer, and CreateResult has no other word for it.
        content, finish = refusal, "content_filter"
    else:
        content = text
    result = CreateResult(
        finish_reason=finish,
        content=content,
        usage=usage,
        cached=False,
        logprobs=logprobs or None,
        thought=thought or None,
    )
    reasoning = reasoning if is_wanted else ""
    extras = {call.id: extra for call, extra in calls if extra is not None}
    if not (reasoning or extras):
        return Answer(result)
    return Answer(result, Beside(result.thought, text, reasoning, extras))


def _reasoning(extra: dict[str, Any] | None) -> str:
    """Find a thought: DeepSeek has one name for it, OpenRouter and Ollama another."""
    extra = extra or {}
    found = extra.get(_TAKEN_BACK) or extra.get("reasoning")
    return found if isinstance(found, str) else ""


def _extra(extra: dict[str, Any] | None) -> object:
    return (extra or {}).get("extra_content")


def _usage(usage: CompletionUsage | None) -> RequestUsage:
    # Servers leave out what they do not count.
    return RequestUsage(
        prompt_tokens=(usage and usage.prompt_tokens) or 0,
        completion_tokens=(usage and usage.completion_tokens) or 0,
    )


def _logprobs(found: Iterable[TheirLogprob]) -> list[ChatCompletionTokenLogprob]:
    return [
        ChatCompletionTokenLogprob(
            token=item.token,
            logprob=item.logprob,
            bytes=item.bytes,
            top_logprobs=[
                TopLogprob(logprob=top.logprob, bytes=top.bytes) for top in item.top_logprobs or ()
            ],
        )
        for item in found
    ]


@dataclass
class _Call:
    id: str = ""
    name: str = ""
    arguments: Pieces = field(default_factory=Pieces)
    extra: object = None

    def is_gone_on_with_by(self, delta: ChoiceDeltaToolCall) -> bool:
        """Tell whether *delta*, which has this call's index, is a piece of it.

        Some servers send each call whole, and all of them with index 0 or none at all; and some of
        these without ids.
        """
        if delta.id:
            return not self.id or delta.id == self.id
        named = delta.function is not None and delta.function.name
        return not (named and self.name and self.is_whole())

    def is_whole(self) -> bool:
        """Tell whether the arguments can be all that there are."""
        try:
            json.loads(self.arguments.whole())
        except ValueError:
            return False
        return True


@dataclass
class Assembly:
    """Puts an answer together that comes in pieces.

    ::

        for chunk in chunks:
            for text in assembly.add(chunk):
                show(text)
        result = assembly.answer().result

    Attributes:
        family: The model's family.
        model: The model that answers, once it has said so.
        kind: The content type of what the server sends.
    """

    family: str
    model: str = ""
    kind: str | None = None
    _text: Pieces = field(default_factory=Pieces)
    _refusal: Pieces = field(default_factory=Pieces)
    _reasoning: Pieces = field(default_factory=Pieces)
    _is_wanted: bool = False
    _calls: list[_Call] = field(default_factory=list[_Call])
    # The call that a piece with this index goes on with.
    _open: dict[int, _Call] = field(default_factory=dict[int, _Call])
    _logprobs: list[ChatCompletionTokenLogprob] = field(
        default_factory=list[ChatCompletionTokenLogprob]
    )
    _usage: CompletionUsage | None = None
    _reason: str | None = None
    _marks: ThoughtMarks = field(default_factory=ThoughtMarks)
    _began: bool = False

    def add(self, chunk: ChatCompletionChunk) -> Iterator[str]:
        """Take a piece, and give the texts that a reader sees of it."""
        self.model = self.model or chunk.model
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices or ():
            self._began = True
            self._reason = choice.finish_reason or self._reason
            delta = cast("ChoiceDelta | None", choice.delta)
            if delta is None:  # what Azure's filter finds while the model goes on
                continue
            if choice.logprobs and choice.logprobs.content:
                self._logprobs.extend(_logprobs(choice.logprobs.content))
            reasoning = _reasoning(delta.model_extra)
            self._is_wanted |= _TAKEN_BACK in (delta.model_extra or {})
            if reasoning and (shown := self._reasoning.add(reasoning)):
                yield from self._marks.thought(shown)
            for piece, pieces in ((delta.content, self._text), (delta.refusal, self._refusal)):
                if piece and (shown := pieces.add(piece)):
                    yield from self._marks.text(shown)
            self._add_calls(delta.tool_calls or ())
            if self._reason is not None:
                yield from self._marks.end()

    def _add_calls(self, deltas: Iterable[ChoiceDeltaToolCall]) -> None:
        for delta in deltas:
            call = self._open.get(delta.index)
            if call is None or not call.is_gone_on_with_by(delta):
                call = self._open[delta.index] = _Call()
                self._calls.append(call)
            call.id = call.id or delta.id or ""
            call.extra = call.extra or _extra(delta.model_extra)
            if delta.function is not None:
                call.name += delta.function.name or ""
                call.arguments.add(written(delta.function.arguments or ""))

    def answer(self) -> Answer[Beside]:
        """Return the whole answer. Cut off, its finish reason is that nobody has said one.

        Then its last call may not be whole either.

        Raises:
            RuntimeError: the server has sent nothing of a model's.
        """
        if not self._began:
            raise no_stream(self.kind)
        return _to_result(
            self.family,
            reason=self._reason,
            text=self._text.whole(),
            refusal=self._refusal.whole(),
            reasoning=self._reasoning.whole(),
            is_wanted=self._is_wanted,
            calls=[
                (function_call(call.id, call.name, call.arguments.whole()), call.extra)
                for call in self._calls
            ],
            usage=_usage(self._usage),
            logprobs=self._logprobs,
        )
