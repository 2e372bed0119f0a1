"""What type checkers infer about models. Checked by mypy and pyright, never run."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import assert_type

from pydantic import BaseModel

from trio_agents import FunctionCall, InMemoryStore
from trio_agents.ext.models.cache import CHAT_CACHE_VALUE_TYPE, ChatCompletionCache
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.memory import Memory, MemoryQueryResult
from trio_agents.model_context import BufferedChatCompletionContext, ChatCompletionContext
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    SystemMessage,
    UserMessage,
)


class Chat(BaseModel):
    messages: list[LLMMessage]


async def an_answer_is_text_or_calls(client: ChatCompletionClient) -> None:
    result = await client.create([SystemMessage(content="x")])
    assert_type(result.content, str | list[FunctionCall])
    stream = client.create_stream([UserMessage(content="x", source="user")])
    assert_type(stream, AsyncGenerator[str | CreateResult, None])
    await client.create("x")  # type: ignore[arg-type]
    await client.create([], tool_choice="sometimes")  # type: ignore[arg-type]


def a_message_is_one_of_four(chat: Chat) -> str:
    match chat.messages[0]:
        case SystemMessage() | UserMessage() | AssistantMessage() as message:
            return message.type
        case FunctionExecutionResultMessage() as results:
            return results.content[0].call_id


async def a_context_gives_messages(context: ChatCompletionContext, memory: Memory) -> None:
    assert_type(await context.get_messages(), list[LLMMessage])
    assert_type(await memory.query("x"), MemoryQueryResult)
    ChatCompletionContext()  # type: ignore[abstract]


def a_component_is_loaded_as_what_was_asked_for(described: dict[str, object]) -> None:
    assert_type(ChatCompletionClient.load_component(described), ChatCompletionClient)
    context = BufferedChatCompletionContext.load_component(described)
    assert_type(context, BufferedChatCompletionContext)


def a_cache_takes_a_store_of_its_values(client: ReplayChatCompletionClient) -> None:
    ChatCompletionCache(client, InMemoryStore[CHAT_CACHE_VALUE_TYPE]())
    ChatCompletionCache(client)
    ChatCompletionCache("client")  # type: ignore[arg-type]
