"""`ListMemory`: a memory that is a list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Self

from pydantic import Field

from .._components._component import Component
from .._components._config_data import ComponentConfig
from .._components._image import Image
from .._loops._token_scope import token_scope
from .._sansio._cancellation import CancellationToken
from ..model_context._context import ChatCompletionContext
from ..models._messages import SystemMessage
from ._memory import (
    Memory,
    MemoryContent,
    MemoryMimeType,
    MemoryQueryResult,
    UpdateContextResult,
)

__all__ = ["ListMemory"]


class ListMemoryConfig(ComponentConfig):
    """The configuration of a `ListMemory`."""

    name: str | None = None
    memory_contents: list[MemoryContent] = Field(default_factory=list[MemoryContent])


class ListMemory(Memory, Component[ListMemoryConfig]):
    """Remembers everything in the order in which it was added, and tells the model all of it.

    Its configuration holds what it remembers: a dump is its state. None of its methods waits.

    Left out: looking for what fits a query. Every query finds everything.

    ::

        memory = ListMemory()
        await memory.add(MemoryContent(content="drinks tea", mime_type=MemoryMimeType.TEXT))

    Args:
        name: what to call it.
        memory_contents: what it remembers from the beginning.

    Raises:
        TypeError: something in it is no `MemoryContent`.
    """

    component_config_schema = ListMemoryConfig
    component_provider_override = "trio_agents.memory.ListMemory"

    def __init__(
        self, name: str | None = None, memory_contents: Sequence[MemoryContent] | None = None
    ) -> None:
        self._name = name or "default_list_memory"
        self._contents = _checked(memory_contents or ())

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def content(self) -> list[MemoryContent]:
        """What it remembers; a list put here takes its place."""
        return self._contents

    @content.setter
    def content(self, value: list[MemoryContent]) -> None:
        _checked(value)
        self._contents = value

    async def update_context(self, model_context: ChatCompletionContext) -> UpdateContextResult:
        """Add a system message with all it remembers, numbered, oldest first.

        Nothing is added where there is nothing to remember, or where the model sees the very same
        message already. Pictures and bytes are named and not shown: see `query` for them.
        """
        found = UpdateContextResult(memories=MemoryQueryResult(results=list(self._contents)))
        if self._contents:
            message = SystemMessage(content=_listing(self._contents))
            if message not in await model_context.get_messages():
                await model_context.add_message(message)
        return found

    async def query(
        self,
        query: str | MemoryContent = "",
        cancellation_token: CancellationToken | None = None,
        **kwargs: Any,
    ) -> MemoryQueryResult:
        """Return everything, whatever *query* is.

        Raises:
            MessageCancelled: the token was cancelled.
        """
        with token_scope(cancellation_token, "the query of the memory"):
            return MemoryQueryResult(results=list(self._contents))

    async def add(
        self, content: MemoryContent, cancellation_token: CancellationToken | None = None
    ) -> None:
        """Keep *content* as the last piece.

        Raises:
            TypeError: it is no `MemoryContent`; nothing was added.
            MessageCancelled: the token was cancelled; nothing was added.
        """
        _checked([content])
        with token_scope(cancellation_token, "the addition to the memory"):
            self._contents.append(content)

    async def clear(self) -> None:
        """Forget everything."""
        self._contents = []

    async def close(self) -> None:
        """Do nothing: a list is not kept anywhere."""

    def _to_config(self) -> ListMemoryConfig:
        return ListMemoryConfig(name=self._name, memory_contents=self._contents)

    @classmethod
    def _from_config(cls, config: ListMemoryConfig) -> Self:
        return cls(config.name, config.memory_contents)


def _checked(contents: Iterable[object]) -> list[MemoryContent]:
    pieces: list[MemoryContent] = []
    for piece in contents:
        if not isinstance(piece, MemoryContent):
            raise TypeError(
                f"expected a MemoryContent of trio_agents.memory, not "
                f"{type(piece).__module__}.{type(piece).__qualname__}: "
                f"MemoryContent(content=..., mime_type=MemoryMimeType.TEXT)"
            )
        pieces.append(piece)
    return pieces


def _listing(contents: list[MemoryContent]) -> str:
    lines = "\n".join(f"{number}. {_text(piece)}" for number, piece in enumerate(contents, start=1))
    # AutoGen's words for the same case: agents and their tests may look for them.
    return f"\nRelevant memory content (in chronological order):\n{lines}\n"


def _text(piece: MemoryContent) -> str:
    content = piece.content
    if isinstance(content, str):
        return content
    if isinstance(content, Image):
        return repr(content)
    if isinstance(content, bytes):
        kind = piece.mime_type
        name = kind.value if isinstance(kind, MemoryMimeType) else kind
        return f"<{len(content)} bytes of {name}>"
    return json.dumps(content, ensure_ascii=False, default=str)
