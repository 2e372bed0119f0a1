"""Function calls as clients hand them on, whatever the server made of them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection
from typing import Any, Final, cast

from ..._sansio._function_call import FunctionCall
from ...models._messages import FinishReasons

__all__ = ["arguments_of", "as_name", "called", "function_call", "stopped_for_calls", "written"]

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


def function_call(
    id: str | None, name: str | None, arguments: object, offered: Collection[str] = ()
) -> FunctionCall:
    """Make a call that can be answered, and sent back to the API as part of the conversation.

    Some local servers give no ids, and results refer to them: then one is made up. Models now and
    then invent names that the APIs refuse: these are mended, and no tool will have them. Names of
    the tools that were *offered* are left alone: what is a name depends on the API.
    """
    return FunctionCall(
        id=id or f"call_{uuid.uuid4().hex}",
        name=name if name and name in offered else as_name(name or "_"),
        arguments=written(arguments),
    )


def as_name(text: str) -> str:
    """Return *text*, or what is most like it, as a name that all APIs take."""
    return _NOT_IN_NAMES.sub("_", text)[:64]


def called(call: FunctionCall, names: re.Pattern[str]) -> str:
    """Return the name in *call* for an API that refuses others than those of the pattern *names*.

    The conversation may be one that was had with a client that takes more.
    """
    return call.name if names.fullmatch(call.name) else as_name(call.name)


def written(arguments: object) -> str:
    """Return *arguments* as text: some servers send the object, or nothing, in its place."""
    if isinstance(arguments, str):
        return arguments
    return "{}" if arguments is None else json.dumps(arguments)


def arguments_of(call: FunctionCall) -> dict[str, Any]:
    """Return the arguments of *call* for an API that takes an object.

    What a model has written is not always one. It stays in the conversation all the same, beside
    the result that says so, and the model can do better.
    """
    try:
        arguments: object = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        return cast("dict[str, Any]", arguments)
    return {"arguments": call.arguments}


def stopped_for_calls(reason: FinishReasons) -> FinishReasons:
    """Return the finish reason of an answer with calls, of which a server has said *reason*.

    Not every server says that it stopped for them. But any other reason than ``stop``, and none at
    all, is kept: the answer may have been cut off inside of a call.
    """
    return "function_calls" if reason == "stop" else reason
