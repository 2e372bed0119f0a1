"""The values of a cache as JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from ..._sansio._json import dump_json, is_a, parse_json

__all__ = ["read_text", "write_text"]

T = TypeVar("T")


def write_text(value: object) -> str:
    """Return *value* as JSON.

    Raises:
        ValueError: it is not JSON, nor made of JSON and pydantic models.
    """
    try:
        plain = _plain(value)
    except RecursionError:
        raise ValueError("the value for a cache is nested too deep, or contains itself") from None
    return dump_json(plain, what="the value for a cache", error=ValueError).decode()


def _plain(value: Any) -> Any:
    """Replace the models in *value*. What is neither one nor JSON is the writer's to refuse."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", round_trip=True)
    if is_a(value, list):
        return [_plain(item) for item in value]
    if is_a(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def read_text(text: object, default: T | None) -> T | None:
    """Return the value in *text*, or *default* if this is nothing that `write_text` has written."""
    if isinstance(text, str):
        text = text.encode(errors="surrogatepass")
    if not isinstance(text, bytes):
        return default
    try:
        return cast("T", parse_json(text, what="an entry", error=ValueError))
    except ValueError:
        return default
