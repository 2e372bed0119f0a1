"""What stood beside the calls of an answer, for the request with their results.

Some APIs want more back then than a conversation of ours has a place for, to the letter, and may
refuse the request without: Anthropic's its signed thoughts, Gemini's the signatures of its calls,
DeepSeek's and Ollama's their thoughts apart from the text. So the client remembers them by the
first call, for as many answers as are likely to be open at a time. What it has forgotten, or
another client was told, is sent without; the API then goes on without thoughts, or refuses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

from ..._sansio._function_call import FunctionCall
from ...models._messages import CreateResult

__all__ = ["Answer", "Beside", "BesideCalls", "Remembered"]

_KEPT: Final = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """An answer.

    Attributes:
        result: What a caller gets.
        beside: What the API wants back beside the calls in it, if there is anything.
    """

    result: CreateResult
    beside: T | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """What a server wants back that has one text for what was said, and one for what was thought.

    Attributes:
        thought: The thought of the result, by which its message is known again.
        text: What was said beside the calls.
        reasoning: What was thought, if that is wanted.
        extras: What belongs to a call, by its id. Gemini's are signed.
    """

    thought: str | None
    text: str
    reasoning: str
    extras: Mapping[str, object] = field(default_factory=dict[str, object])

    def taken_apart(self, thought: str | None) -> tuple[str | None, str]:
        """Return what was said and what was thought, for a message with this *thought*.

        Whoever has left it out does not want the text either. Another one is somebody's own.
        """
        if thought is None:
            return None, self.reasoning
        if thought != self.thought or not self.reasoning:
            return thought, ""
        return self.text or None, self.reasoning


Remembered: TypeAlias = Callable[[Sequence[FunctionCall]], Beside | None]


class BesideCalls(Generic[T]):
    """What answers have had beside their calls.

    Args:
        key: Tells calls apart. The ids of some servers do not: they begin anew in each answer.
        kept: Of how many answers it is remembered; the oldest go.
    """

    def __init__(self, key: Callable[[FunctionCall], Hashable], kept: int = _KEPT) -> None:
        self._key = key
        self._kept = kept
        self._beside: OrderedDict[Hashable, T] = OrderedDict()

    def keep(self, answer: Answer[T]) -> CreateResult:
        """Remember what is wanted back of an answer, and return what a caller gets."""
        calls = answer.result.content
        if calls and not isinstance(calls, str):
            key = self._key(calls[0])
            self._beside.pop(key, None)  # it is of an older answer
            if answer.beside is not None:
                self._beside[key] = answer.beside
                if len(self._beside) > self._kept:
                    self._beside.popitem(last=False)
        return answer.result

    def of(self, calls: Sequence[FunctionCall]) -> T | None:
        """Return what stood beside *calls*; None if it is not known, or there was nothing."""
        return self._beside.get(self._key(calls[0])) if calls else None
