"""A model client that says what it was told to say, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import anyio
from pydantic import BaseModel

from trio_agents import CancellationToken, FunctionCall
from trio_agents.models import (
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    ModelCapabilities,
    ModelInfo,
    RequestUsage,
    ToolChoice,
)
from trio_agents.tools import Tool, ToolSchema

USAGE = RequestUsage(prompt_tokens=0, completion_tokens=0)


class ScriptedClient(ChatCompletionClient):
    def __init__(self, *answers: str | list[FunctionCall] | CreateResult) -> None:
        self._answers = list(answers)
        self.asked: list[list[LLMMessage]] = []
        self.tools: list[Sequence[Tool | ToolSchema]] = []
        self.tokens: list[CancellationToken | None] = []

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: ToolChoice = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] = {},
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        await anyio.lowlevel.checkpoint()
        self.asked.append(list(messages))
        self.tools.append(tools)
        self.tokens.append(cancellation_token)
        answer = self._answers.pop(0)
        if isinstance(answer, CreateResult):
            return answer
        return CreateResult(
            finish_reason="stop" if isinstance(answer, str) else "function_calls",
            content=answer,
            usage=USAGE,
            cached=False,
            thought=None if isinstance(answer, str) else "I need a tool.",
        )

    def create_stream(
        self, messages: Sequence[LLMMessage], **kwargs: Any
    ) -> AsyncGenerator[str | CreateResult, None]:
        raise NotImplementedError

    async def close(self) -> None: ...

    def actual_usage(self) -> RequestUsage:
        return USAGE

    def total_usage(self) -> RequestUsage:
        return USAGE

    def count_tokens(self, messages: Sequence[LLMMessage], **kwargs: Any) -> int:
        return 0

    def remaining_tokens(self, messages: Sequence[LLMMessage], **kwargs: Any) -> int:
        return 0

    @property
    def capabilities(self) -> ModelCapabilities:
        return {"vision": False, "function_calling": True, "json_output": False}

    @property
    def model_info(self) -> ModelInfo:
        return {
            "vision": False,
            "function_calling": True,
            "json_output": False,
            "family": "unknown",
            "structured_output": False,
        }
