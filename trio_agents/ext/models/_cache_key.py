"""What makes two requests the same one: everything that an answer depends on.

That is all arguments of the call, the client with its configuration, so that clients may share a
store, and the server that it asks, which an environment variable may name. Secrets in the
configuration are left out: with another API key the answer is the same, and what is kept for years
should not be made of them.

What is in doubt is not the same. A request with an argument that has no faithful text has no key,
and a client that cannot describe itself shares its answers with no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import uuid4

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from ..._components._check_tool import check_tool
from ..._components._tool import Tool
from ..._components._tool_schema import ToolSchema
from ..._sansio._errors import ComponentError
from ...models._client import ChatCompletionClient, ToolChoice
from ...models._messages import LLMMessage
from ...models._requests import tool_schemas
from ._base import SdkClient

__all__ = ["identity_of", "key_of"]


def identity_of(client: ChatCompletionClient) -> str:
    """Return a text that is the same for clients that give the same answers, in any process."""
    try:
        described = client.dump_component()
        server = client.server if isinstance(client, SdkClient) else None
        parts = [described.provider, described.component_version, described.config, server]
        return _text(parts)
    except (NotImplementedError, ComponentError, TypeError, ValueError):
        return str(uuid4())  # no description, or one that is no JSON


def key_of(
    identity: str,
    messages: Sequence[LLMMessage],
    *,
    tools: Sequence[Tool | ToolSchema],
    tool_choice: ToolChoice,
    json_output: bool | type[BaseModel] | None,
    extra_create_args: Mapping[str, Any],
) -> str | None:
    """Return the key of a request to the client that *identity* is of; None if it has none.

    Raises:
        ValueError: two tools have one name.
        TypeError: *tool_choice* is no tool, or one of *tools* is neither a tool nor a schema.
    """
    schemas = tool_schemas(tools)
    if not isinstance(tool_choice, str):
        check_tool(tool_choice, "tool_choice")
    choice = tool_choice if isinstance(tool_choice, str) else {"tool": tool_choice.name}
    try:
        request = _text([messages, schemas, choice, json_output, extra_create_args])
    except (TypeError, ValueError, PydanticUserError):
        return None
    return hashlib.sha256(f"{identity}\n{request}".encode()).hexdigest()


def _text(value: object) -> str:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: object) -> object:
    """Return *value* as JSON has it, with its schema in place of a class, and without secrets.

    Raises:
        ValueError: JSON has nothing like it.
        PydanticUserError: it is a class without a schema.
    """
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        return {
            str(key): _plain(item)
            for key, item in entries.items()
            if not isinstance(item, SecretStr | SecretBytes)
        }
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("Sequence[object]", value)]
    if isinstance(value, BaseModel):
        return [_name(type(value)), to_jsonable_python(value)]
    if isinstance(value, type) and issubclass(value, BaseModel):
        return [_name(value), value.model_json_schema()]
    return to_jsonable_python(value)


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
