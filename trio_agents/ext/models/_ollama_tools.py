"""Tools for Ollama's SDK, with the whole of their schemas.

The API takes any schema, and hands it to the model's template. But the SDK has a class for it,
which knows the types and descriptions of properties and no more: references, nested objects,
defaults and limits are lost in it. So the schema is put into the SDK's tool as it is, past the
validation. The SDK writes it out whole, and pydantic warns that it is not of that class.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Coroutine, Generator, Mapping, Sequence
from typing import Any, TypeVar, cast

from ..._components._extras import import_extra

__all__ = ["quietly", "whole_tools"]

T = TypeVar("T")


def whole_tools(tools: Sequence[object]) -> list[object]:
    """Return *tools* for the SDK; plain dictionaries as tools that it writes out whole."""
    return [_whole(tool) for tool in tools]


def _whole(tool: object) -> object:
    function = cast("Mapping[str, object]", tool).get("function") if _is_plain(tool) else None
    if not _is_plain(function):
        return tool  # the caller's own, and for the SDK to judge
    sdk = import_extra("ollama", "ollama", purpose="its client")
    entries = {
        **cast("Mapping[str, Any]", tool),
        "function": sdk.Tool.Function.model_construct(**cast("Mapping[str, Any]", function)),
    }
    return cast(object, sdk.Tool.model_construct(**entries))


def _is_plain(value: object) -> bool:
    return isinstance(value, Mapping)


@types.coroutine
def quietly(request: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await *request* of the SDK, without that warning.

    The SDK writes out the request before it waits for anything, and filters of warnings belong to
    the whole process: so the warning is only ignored up to there, while nothing else can run.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
            waits_for = request.send(None)
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                request.close()
                raise
            except BaseException as error:  # noqa: ASYNC103  # it is thrown on
                waits_for = request.throw(error)
            else:
                waits_for = request.send(sent)
    except StopIteration as end:
        return cast(T, end.value)
