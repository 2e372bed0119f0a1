"""Functions with all kinds of signatures, as users write them, for tests of `FunctionTool`."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, ParamSpec, TypeVar, Union
from uuid import UUID

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

P = ParamSpec("P")
T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Inner(BaseModel):
    """Something inside."""

    x: int
    y: str = "a"


class Outer(BaseModel):
    inner: Inner
    items: list[Inner] = []


@dataclass
class Point:
    x: int
    y: int = 0


class Place(TypedDict):
    name: str


def simple(a: int, b: Annotated[str, "the text"], c: float = 1.5) -> str:
    return f"{a} {b} {c}"


def optional(a: Optional[int] = None, b: str | None = None, c: bool = True) -> None: ...  # noqa: UP045
def literals(a: Literal["x", "y"], b: Literal[1, 2] = 1) -> None: ...
def lists(a: list[str], b: Sequence[int], c: dict[str, int], d: tuple[int, str]) -> None: ...
def unions(a: int | str, b: Union[int, list[int]]) -> None: ...  # noqa: UP007
def enums(a: Color, b: Level) -> None: ...
def models(a: Outer, b: list[Inner]) -> None: ...
def dataclasses_(a: Point, b: list[Point]) -> None: ...
def dictionaries(a: Place) -> None: ...
def dates(a: date, b: datetime, c: Decimal, d: UUID) -> None: ...
def anything(a: Any) -> None: ...
def nothing() -> str: ...  # type: ignore[empty-body]
def positional(a: int, /, b: int) -> None: ...
def keyword(a: int, *, b: Annotated[int, "only by name"], c: int = 3) -> None: ...
def two_texts(a: Annotated[int, "one", "two"]) -> None: ...
def optional_text(a: Annotated[str | None, "a text"] = None) -> None: ...
def quoted(a: int, b: Annotated[str, "in quotes"]) -> str: ...  # type: ignore[empty-body]
def names(user_name: str, HTTPCode: int, a1: int, _x: int = 1) -> None: ...
def shadows(json: str, schema: int, copy: int, model_name: str) -> None: ...
def needs_a_token(a: int, cancellation_token: Any) -> None: ...
async def waiting(a: Annotated[list[Annotated[int, "a number"]], "numbers"]) -> None: ...
def inside(a: list[Annotated[int, Field(ge=1)]]) -> None: ...


def decorated(function: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return wrapper


@decorated
def wrapped(a: Annotated[Inner | None, "inner"], b: int = 1) -> str: ...  # type: ignore[empty-body]


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, number: Annotated[int, "how many"]) -> int:
        self.count += number
        return self.count

    @classmethod
    def of_class(cls, number: int) -> int:
        return number

    @staticmethod
    def static(number: int) -> int:
        return number

    def __call__(self, number: int) -> int:
        return self.add(number)


#: Those that AutoGen takes as well.
COMMON: list[Callable[..., Any]] = [
    simple,
    optional,
    literals,
    lists,
    unions,
    enums,
    models,
    dataclasses_,
    dictionaries,
    dates,
    anything,
    nothing,
    positional,
    keyword,
    two_texts,
    optional_text,
    quoted,
    needs_a_token,
    waiting,
    inside,
    wrapped,
    Counter().add,
    Counter.of_class,
    Counter.static,
]
