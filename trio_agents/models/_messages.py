"""What is said to a model, and what it answers.

They are pydantic models, because they go into files, messages and other models. Each names its own
type in a field, so that one of a union is read back as what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, Field

from .._components._image import Image
from .._sansio._function_call import FunctionCall

__all__ = [
    "AssistantMessage",
    "ChatCompletionTokenLogprob",
    "CreateResult",
    "FinishReasons",
    "FunctionExecutionResult",
    "FunctionExecutionResultMessage",
    "LLMMessage",
    "RequestUsage",
    "SystemMessage",
    "TopLogprob",
    "UserMessage",
    "check_message",
]


class SystemMessage(BaseModel):
    """What the developer tells the model to do; it comes before everything else.

    Attributes:
        content: The instructions.
    """

    content: str
    type: Literal["SystemMessage"] = "SystemMessage"


class UserMessage(BaseModel):
    """What a person, or another agent, says.

    Attributes:
        content: Text, or parts of which each is text or a picture.
        source: The name of whoever says it.
    """

    content: str | list[str | Image]
    source: str
    type: Literal["UserMessage"] = "UserMessage"


class AssistantMessage(BaseModel):
    """What the model has said.

    Attributes:
        content: Text, or the functions that it wants to be called.
        thought: What it has thought before, where it says so.
        source: The name of the agent that asked it.
    """

    content: str | list[FunctionCall]
    thought: str | None = None
    source: str
    type: Literal["AssistantMessage"] = "AssistantMessage"


class FunctionExecutionResult(BaseModel):
    """What came of one function call.

    Attributes:
        content: The result as text, or what went wrong.
        name: The function's name.
        call_id: The `FunctionCall.id` that this answers.
        is_error: Whether the call failed; None if that is not known.
    """

    content: str
    name: str
    call_id: str
    is_error: bool | None = None


class FunctionExecutionResultMessage(BaseModel):
    """What came of the function calls of the `AssistantMessage` before it.

    Attributes:
        content: One result for each call.
    """

    content: list[FunctionExecutionResult]
    type: Literal["FunctionExecutionResultMessage"] = "FunctionExecutionResultMessage"


#: A message of a conversation with a model, told apart by its ``type``.
LLMMessage: TypeAlias = Annotated[
    SystemMessage | UserMessage | AssistantMessage | FunctionExecutionResultMessage,
    Field(discriminator="type"),
]


_KINDS: Final = (SystemMessage, UserMessage, AssistantMessage, FunctionExecutionResultMessage)


def check_message(message: object) -> None:
    """Refuse what is no message of ours: text, a dictionary, the same class of another library.

    Raises:
        TypeError: it is none of the four kinds.
    """
    if not isinstance(message, _KINDS):
        kinds, stranger = ", ".join(kind.__name__ for kind in _KINDS), type(message)
        raise TypeError(
            f"a message must be one of {kinds} of trio_agents.models, not "
            f"{stranger.__module__}.{stranger.__qualname__}"
        )


@dataclass
class RequestUsage:
    """What requests have cost.

    Attributes:
        prompt_tokens: The tokens that were sent.
        completion_tokens: The tokens that were answered.
    """

    prompt_tokens: int
    completion_tokens: int


#: Why a model stopped: done, at its limit, to have functions called, filtered; or not said.
FinishReasons: TypeAlias = Literal["stop", "length", "function_calls", "content_filter", "unknown"]


@dataclass
class TopLogprob:
    """How likely a token was.

    Attributes:
        logprob: The logarithm of its probability.
        bytes: The token's UTF-8 bytes, where it is text.
    """

    logprob: float
    bytes: list[int] | None = None


class ChatCompletionTokenLogprob(BaseModel):
    """How likely a token of an answer was.

    Attributes:
        token: The token.
        logprob: The logarithm of its probability.
        top_logprobs: The likeliest tokens at its place.
        bytes: The token's UTF-8 bytes, where it is text.
    """

    token: str
    logprob: float
    top_logprobs: list[TopLogprob] | None = None
    bytes: list[int] | None = None


class CreateResult(BaseModel):
    """A model's answer.

    Attributes:
        finish_reason: Why the model stopped.
        content: Text, or the functions that it wants to be called.
        usage: What the request has cost.
        cached: Whether it came from a cache, and cost nothing.
        logprobs: How likely its tokens were, if that was asked for.
        thought: What the model has thought before it answered, where it says so.
    """

    finish_reason: FinishReasons
    content: str | list[FunctionCall]
    usage: RequestUsage
    cached: bool
    logprobs: list[ChatCompletionTokenLogprob] | None = None
    thought: str | None = None
