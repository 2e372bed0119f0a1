"""A model client that asks another one, and keeps what it has answered.

An answer is kept as plain JSON data, so any store can hold it, without pickle. Of one shape: what
a store gives back is checked before it is believed, and what does not fit was never there.

What to do when the same is asked while it is being asked? The second call waits for the first and
takes its answer: otherwise ten agents with one question pay ten times, or once, by chance. If the
first fails or is cancelled, the next one asks itself; nobody waits on a task that is gone. Streams
do not wait for each other: the first would be held up by whoever reads it.

A store that fails, fails the request. To go on without it would cost money, and nobody would know
why. An application that prefers that can say so in a store of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias
from weakref import WeakValueDictionary

import anyio
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from ..._components._cache_store import CacheStore, InMemoryStore
from ..._components._component import Component
from ..._components._component_model import ComponentModel
from ..._components._config_data import ComponentConfig
from ..._components._tool import Tool
from ..._components._tool_schema import ToolSchema
from ..._loops._token_scope import token_scope
from ..._sansio._cancellation import CancellationToken
from ...models._client import ChatCompletionClient, ToolChoice
from ...models._messages import CreateResult, LLMMessage, RequestUsage
from ...models._model_info import ModelCapabilities, ModelInfo
from ...models._requests import under_token
from ._cache_key import identity_of, key_of

__all__ = ["CHAT_CACHE_VALUE_TYPE", "ChatCompletionCache"]

#: What a cache puts into its store: plain JSON data.
CHAT_CACHE_VALUE_TYPE: TypeAlias = dict[str, Any]


class _Entry(BaseModel):
    """What is kept of an answer: the whole, and the pieces if it was streamed."""

    version: Literal[1] = 1
    result: CreateResult
    pieces: list[str] | None = None


class ChatCompletionCacheConfig(ComponentConfig):
    """The configuration of a `ChatCompletionCache`."""

    client: ComponentModel
    store: ComponentModel | None = None


class ChatCompletionCache(ChatCompletionClient, Component[ChatCompletionCacheConfig]):
    """A client that asks *client*, once for each request, and answers from *store* after that.

    What is answered from the store has ``cached=True`` and counts in no usage. A request is the
    same if the client, its configuration and all arguments are: messages with their pictures,
    tools, tool choice, JSON output and extra arguments. Whether it is streamed makes no difference.
    Identical calls of `create` at the same time make one request. Failures are not kept, and no
    answers with the finish reason ``unknown``: a server may have ended them early.

    Requests with an extra argument that cannot be told from another one, such as a function, are
    never answered from the store. A *client* that cannot be dumped shares its answers with no
    other, and so not with itself in the next process.

    ::

        client = ChatCompletionCache(OpenAIChatCompletionClient(model="gpt-4o"))

    Args:
        client: the client that is asked.
        store: where answers are kept; None for a dictionary of its own. A failure of it fails the
            request; a value that is damaged is asked for again, and replaced.
    """

    component_type = "chat_completion_cache"  # AutoGen's, so that its dumps load
    component_config_schema = ChatCompletionCacheConfig
    component_provider_override = "trio_agents.ext.models.cache.ChatCompletionCache"

    def __init__(
        self,
        client: ChatCompletionClient,
        store: CacheStore[CHAT_CACHE_VALUE_TYPE] | None = None,
    ) -> None:
        self.client = client
        self.store: CacheStore[CHAT_CACHE_VALUE_TYPE] = InMemoryStore() if store is None else store
        self._identity = identity_of(client)
        # Held by the calls of `create` with that key, so a lock goes with the last of them.
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

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
        """Return the answer that is kept, or ask for one and keep it.

        Waits while the same is being asked. Cancelled, it leaves the others to ask themselves.

        Raises:
            MessageCancelled: the token was cancelled.
        """

        async def ask() -> CreateResult:
            return await self.client.create(
                messages,
                tools=tools,
                tool_choice=tool_choice,
                json_output=json_output,
                extra_create_args=extra_create_args,
                cancellation_token=cancellation_token,
            )

        key = key_of(
            self._identity,
            messages,
            tools=tools,
            tool_choice=tool_choice,
            json_output=json_output,
            extra_create_args=extra_create_args,
        )
        if key is None:
            return await ask()
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = anyio.Lock()
        with token_scope(cancellation_token, "waiting for the same request"):
            await lock.acquire()
        try:
            if (entry := self._kept(key)) is not None:
                return entry.result
            result = await ask()
            self._keep(key, _Entry(result=result))
            return result
        finally:
            lock.release()

    async def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: ToolChoice = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] = {},
        cancellation_token: CancellationToken | None = None,
    ) -> AsyncGenerator[str | CreateResult, None]:
        """Give the answer that is kept, in the pieces in which it came, or ask for one and keep it.

        One that came whole is one piece. A stream that is left before its end keeps nothing, and
        neither does one that the server has ended before its end.

        Raises:
            MessageCancelled: the token was cancelled.
        """
        key = key_of(
            self._identity,
            messages,
            tools=tools,
            tool_choice=tool_choice,
            json_output=json_output,
            extra_create_args=extra_create_args,
        )
        entry = None if key is None else self._kept(key)
        if entry is not None:
            stream = under_token(_replayed(entry), cancellation_token, "the kept answer")
        else:
            stream = self.client.create_stream(
                messages,
                tools=tools,
                tool_choice=tool_choice,
                json_output=json_output,
                extra_create_args=extra_create_args,
                cancellation_token=cancellation_token,
            )
        pieces: list[str] = []
        try:
            async for piece in stream:
                if isinstance(piece, str):
                    pieces.append(piece)
                elif key is not None and entry is None:
                    # Before it is given: many read no further than to the result.
                    self._keep(key, _Entry(result=piece, pieces=pieces))
                yield piece
        finally:
            await stream.aclose()

    def _kept(self, key: str) -> _Entry | None:
        try:
            value: object = self.store.get(key)
            if value is None:
                return None
            if isinstance(value, str | bytes):  # a store that gives JSON as it is
                entry = _Entry.model_validate_json(value)
            else:
                entry = _Entry.model_validate(value)
        except ValueError:  # pydantic's, or that of a store that could not decode it
            return None
        entry.result.cached = True
        return entry

    def _keep(self, key: str, entry: _Entry) -> None:
        if entry.result.finish_reason != "unknown":
            self.store.set(key, entry.model_dump(mode="json"))

    async def close(self) -> None:
        """Close the client. The store stays open: it belongs to whoever has made it."""
        await self.client.close()

    def actual_usage(self) -> RequestUsage:
        """Return what the client's requests have cost. Answers out of the store cost nothing."""
        return self.client.actual_usage()

    def total_usage(self) -> RequestUsage:
        """Return what the client's requests have cost. Answers out of the store cost nothing."""
        return self.client.total_usage()

    def count_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return how many tokens this conversation takes, as the client says."""
        return self.client.count_tokens(messages, tools=tools)

    def remaining_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return how many tokens the model has room for after this, as the client says."""
        return self.client.remaining_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> ModelCapabilities:
        """What the model can do; older programs ask for this, `model_info` says more."""
        return self.client.capabilities

    @property
    def model_info(self) -> ModelInfo:
        """What the model can do."""
        return self.client.model_info

    def _to_config(self) -> ChatCompletionCacheConfig:
        store = self.store
        return ChatCompletionCacheConfig(
            client=self.client.dump_component(),
            # One dictionary is as good as another, and AutoGen would not know ours.
            store=None if type(store) is InMemoryStore else store.dump_component(),
        )

    @classmethod
    def _from_config(cls, config: ChatCompletionCacheConfig) -> Self:
        store = config.store
        return cls(
            ChatCompletionClient.load_component(config.client),
            None if store is None else CacheStore[CHAT_CACHE_VALUE_TYPE].load_component(store),
        )


async def _replayed(entry: _Entry) -> AsyncGenerator[str | CreateResult, None]:
    content = entry.result.content
    pieces = entry.pieces
    if pieces is None:
        pieces = [content] if content and isinstance(content, str) else []
    for piece in pieces:
        await checkpoint()
        yield piece
    await checkpoint()
    yield entry.result
