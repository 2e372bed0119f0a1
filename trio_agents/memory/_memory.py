"""`Memory`: what an agent knows besides the conversation, and how it gets into that.

A piece of memory goes through JSON and comes back as what it was, whatever its kind: pydantic would
read bytes as text, and a picture as a dictionary. So bytes are written as ``{"base64": ...}``, and
a dictionary of just that shape *is* bytes, from the beginning; a picture is read as one where the
MIME type says so.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Any, Final, Self, cast

from pydantic import (
    BaseModel,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_validator,
)

from .._components._component import ComponentBase
from .._components._image import Image
from .._sansio._cancellation import CancellationToken
from ..model_context._context import ChatCompletionContext

__all__ = [
    "Memory",
    "MemoryContent",
    "MemoryMimeType",
    "MemoryQueryResult",
    "UpdateContextResult",
]


class MemoryMimeType(StrEnum):
    """The kinds of content that have a name here; any other MIME type is a string.

    Each is equal to its text: that is what JSON has of it.
    """

    TEXT = "text/plain"
    JSON = "application/json"
    MARKDOWN = "text/markdown"
    IMAGE = "image/*"
    BINARY = "application/octet-stream"


_NAMED: Final = frozenset(kind.value for kind in MemoryMimeType)


class MemoryContent(BaseModel):
    """A piece of memory.

    Attributes:
        content: Text, bytes, a dictionary or a picture.
        mime_type: Of what kind the content is.
        metadata: What else is known of it: where it comes from, how well it fits a query.
    """

    content: str | bytes | dict[str, Any] | Image
    mime_type: MemoryMimeType | str
    metadata: dict[str, Any] | None = None

    @field_validator("content", mode="wrap")
    @classmethod
    def _keep_dictionaries(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """Leave dictionaries to `_restore`: pydantic would see a picture in some of them."""
        if isinstance(value, dict) and all(isinstance(key, str) for key in cast("Any", value)):
            return cast("dict[str, Any]", value)
        return handler(value)

    @model_validator(mode="after")
    def _restore(self) -> Self:
        """Make names, bytes and pictures of what JSON has of them."""
        if self.mime_type in _NAMED:
            self.mime_type = MemoryMimeType(self.mime_type)
        if isinstance(self.content, Image) and not self.mime_type.startswith("image/"):
            raise ValueError(
                f"a picture has a MIME type that begins with image/, and not {self.mime_type}: "
                "MemoryMimeType.IMAGE fits any"
            )
        if isinstance(self.content, dict):
            self.content = _restored(self.content, self.mime_type)
        return self

    @field_serializer("content")
    def _write_content(self, content: str | bytes | dict[str, Any] | Image) -> Any:
        if isinstance(content, bytes):
            return {"base64": base64.b64encode(content).decode("ascii")}
        return {"data": content.to_base64()} if isinstance(content, Image) else content

    @field_serializer("mime_type")
    def _write_mime_type(self, mime_type: MemoryMimeType | str) -> str:
        return mime_type.value if isinstance(mime_type, MemoryMimeType) else mime_type


def _restored(content: dict[str, Any], mime_type: str) -> bytes | dict[str, Any] | Image:
    if content.keys() == {"base64"} and isinstance(content["base64"], str):
        try:
            return base64.b64decode(content["base64"], validate=True)
        except ValueError as error:
            raise ValueError(f"content is no base64: {error}") from None
    if content.keys() == {"data"} and mime_type.startswith("image/"):
        data = content["data"]
        if not isinstance(data, str):
            raise ValueError(f"a picture's data is base64 in a str, not {type(data).__name__}")
        return Image.from_base64(data)
    return content


class MemoryQueryResult(BaseModel):
    """What a memory has found.

    Attributes:
        results: The pieces.
    """

    results: list[MemoryContent]


class UpdateContextResult(BaseModel):
    """What a memory has added to a conversation.

    Attributes:
        memories: The pieces.
    """

    memories: MemoryQueryResult


class Memory(ComponentBase[BaseModel], ABC):
    """Keeps pieces of knowledge, finds those that matter, and tells a model of them.

    An agent calls `update_context` before it asks its model.
    """

    component_type = "memory"

    @abstractmethod
    async def update_context(self, model_context: ChatCompletionContext) -> UpdateContextResult:
        """Add to *model_context* what the model should know, and return what that is."""

    @abstractmethod
    async def query(
        self,
        query: str | MemoryContent,
        cancellation_token: CancellationToken | None = None,
        **kwargs: Any,
    ) -> MemoryQueryResult:
        """Return what is known about *query*.

        Args:
            query: what is asked for.
            cancellation_token: cancels the search.
            kwargs: more arguments of this kind of memory.

        Raises:
            MessageCancelled: the token was cancelled.
        """

    @abstractmethod
    async def add(
        self, content: MemoryContent, cancellation_token: CancellationToken | None = None
    ) -> None:
        """Keep *content*.

        Raises:
            MessageCancelled: the token was cancelled; nothing was added.
        """

    @abstractmethod
    async def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    async def close(self) -> None:
        """Release what the memory is kept in. It cannot be used afterwards."""
