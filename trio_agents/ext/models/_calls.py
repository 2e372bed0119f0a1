"""Function calls as clients hand them on, whatever the server made of them."""

from __future__ import annotations

import re
import uuid
from typing import Final

from ..._sansio._function_call import FunctionCall

__all__ = ["function_call"]

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


def function_call(id: str | None, name: str, arguments: str) -> FunctionCall:
    """Make a call that can be answered, and sent back to the API as part of the conversation.

    Some local servers give no ids, and results refer to them: then one is made up. Models now and
    then invent names that the APIs refuse: these are mended, and no tool will have them.
    """
    return FunctionCall(
        id=id or f"call_{uuid.uuid4().hex}",
        name=_NOT_IN_NAMES.sub("_", name)[:64],
        arguments=arguments,
    )
