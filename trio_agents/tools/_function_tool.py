"""`FunctionTool`: a Python function as a tool."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Self, cast

import anyio.to_thread
from pydantic import BaseModel

from .._components._component import Component
from .._loops._token_scope import token_scope
from .._sansio._cancellation import CancellationToken
from ..code_executor._functions import Import
from ._base_tool import BaseTool
from ._function_source import FunctionToolConfig, function_from_source, source_for_config
from ._signature import FunctionSignature, innermost

__all__ = ["FunctionTool"]

_PROVIDER: Final = "trio_agents.tools.FunctionTool"


class FunctionTool(BaseTool[BaseModel, Any], Component[FunctionToolConfig]):
    """A Python function as a tool: its signature is the schema.

    ::

        async def get_price(ticker: str, date: Annotated[str, "as YYYY/MM/DD"]) -> float: ...


        tool = FunctionTool(get_price, description="Get the price of a stock.")

    The function may be async, or an ordinary one, which is called in a worker thread with the
    context variables of whoever runs the tool. A thread cannot be cancelled: when the run is, the
    function goes on alone and its result is thrown away. A function with a parameter
    ``cancellation_token`` gets the token of the run, and can ask it.

    Methods, partials, wrapped functions and objects that can be called are fine too. Parameters may
    have any type that pydantic has a schema for, and be attrs classes.

    A tool is dumped as the text of its function, which is run where it is loaded. That has to be
    allowed, with ``ComponentPolicy(code=True)``.
    """

    component_config_schema = FunctionToolConfig
    component_provider_override: ClassVar[str | None] = _PROVIDER
    component_description: ClassVar[str | None] = "A Python function as a tool."

    def __init__(
        self,
        func: Callable[..., Any],
        description: str,
        name: str | None = None,
        global_imports: Sequence[Import] = (),
        strict: bool = False,
    ) -> None:
        """Make a tool of *func*.

        Args:
            func: the function.
            description: what it is for, and when to use it.
            name: what models call it; None for the function's name.
            global_imports: what its text needs to have imported, for `dump_component`.
            strict: whether models are bound to the schema, which then must not leave anything
                optional.

        Raises:
            TypeError: it is no function, or has a parameter of which pydantic makes nothing.
        """
        if not callable(func) or isinstance(func, type):
            raise TypeError(f"expected a function, not {func!r}")
        inner = innermost(func)
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            raise TypeError(
                f"{inner.__qualname__} is a generator: derive a class from BaseStreamTool for "
                f"a tool that gives its results one by one"
            )
        called = name or _name_of(func)
        self._func = func
        self._is_async = inspect.iscoroutinefunction(inner)
        self._global_imports = tuple(global_imports)
        self._source_code: str | None = None  # where the function came out of a text
        self._signature = FunctionSignature(func, called)
        super().__init__(
            self._signature.model, self._signature.return_type, called, description, strict
        )

    async def run(self, args: BaseModel, cancellation_token: CancellationToken) -> Any:
        """Call the function.

        Raises:
            MessageCancelled: the token was cancelled.
            Exception: what the function has raised.
        """
        bound = self._signature.bind(args, cancellation_token)
        with token_scope(cancellation_token, f"the tool {self._name}"):
            if self._is_async:
                return await self._func(*bound.args, **bound.kwargs)
            # In a list, because trio refuses a coroutine out of a thread, and a decorator may have
            # made an ordinary function of an async one.
            [value] = await anyio.to_thread.run_sync(
                lambda: [self._func(*bound.args, **bound.kwargs)], abandon_on_cancel=True
            )
            return await value if inspect.isawaitable(value) else value

    def _to_config(self) -> FunctionToolConfig:
        source = self._source_code or source_for_config(self._func, self._global_imports)
        return FunctionToolConfig(
            source_code=source,
            name=self._name,
            description=self._description,
            global_imports=self._global_imports,
            has_cancellation_support=self._signature.takes_token,
            strict=self._strict,
        )

    @classmethod
    def _from_config(cls, config: FunctionToolConfig) -> Self:
        tool = cls(
            function_from_source(_PROVIDER, config),
            config.description,
            config.name,
            config.global_imports,
            config.strict,
        )
        tool._source_code = config.source_code
        return tool


def _name_of(func: Callable[..., Any]) -> str:
    while isinstance(func, partial):
        func = func.func
    return cast(str, getattr(func, "__name__", type(func).__name__))
