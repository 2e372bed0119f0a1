"""What a model gets to read of a result, and of an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any, cast

import attrs
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from .._sansio._events import describe_exception

__all__ = ["text_of_error", "text_of_value"]


def text_of_value(value: Any) -> str:
    """Return *value* as text: what has a structure as JSON, anything else as `str` has it."""
    if _has_structure(value):
        with suppress(ValueError):  # bytes that are no text, something that contains itself
            # Not in ASCII: a model reads other letters, and their escapes cost it more tokens.
            return json.dumps(to_jsonable_python(value, fallback=_to_json), ensure_ascii=False)
    return str(value)


def _has_structure(value: object) -> bool:
    return isinstance(value, BaseModel | dict | list | tuple) or _has_fields(value)


def _has_fields(value: object) -> bool:
    return not isinstance(value, type) and (is_dataclass(value) or attrs.has(type(value)))


def _to_json(value: Any) -> Any:
    return attrs.asdict(value, recurse=False) if _has_fields(value) else str(value)


def text_of_error(error: BaseException, titles: Mapping[str, str] = {}) -> str:
    """Return what went wrong in one line, as far as it depends on us.

    Of a `ValidationError` the fields and what is wrong with them, without the values, which the
    model has written itself. Of a group the text of each error.

    Args:
        error: what was raised.
        titles: what to call a model that was to be validated, by its title, if not that.
    """
    if isinstance(error, ValidationError):
        reasons = error.errors(include_url=False, include_context=False, include_input=False)
        return f"{titles.get(error.title, error.title)}: " + "; ".join(
            ": ".join(filter(None, [".".join(map(str, reason["loc"])), reason["msg"]]))
            for reason in reasons
        )
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return "; ".join(text_of_error(each, titles) for each in group.exceptions)
    return describe_exception(error)
