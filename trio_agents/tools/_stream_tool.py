"""`BaseStreamTool`: a tool that tells of its progress.

Scopes and current spans must not stand around the ``yield`` of an async generator: they would be
those of whoever reads it. So both stand around each step of the tool instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from .._components._tool import StreamTool
from .._loops._token_scope import token_scope
from .._sansio._cancellation import CancellationToken
from .._sansio._genai_spans import ToolStreamSpan
from ._base_tool import ArgsT, BaseTool, ReturnT

__all__ = ["BaseStreamTool"]

StreamT = TypeVar("StreamT", covariant=True)


class BaseStreamTool(BaseTool[ArgsT, ReturnT], StreamTool, ABC, Generic[ArgsT, StreamT, ReturnT]):
    """A tool that gives what it has to tell while it runs, and last its result."""

    component_type = "tool"

    @abstractmethod
    def run_stream(
        self, args: ArgsT, cancellation_token: CancellationToken
    ) -> AsyncGenerator[StreamT | ReturnT, None]:
        """Do what the tool is for, as an async generator whose last item is the result."""

    async def run_json_stream(
        self,
        args: Mapping[str, Any],
        cancellation_token: CancellationToken,
        call_id: str | None = None,
    ) -> AsyncGenerator[StreamT | ReturnT, None]:
        """Check the arguments, run the tool, give what it has to tell, and last its result.

        Leaving the loop early leaves the tool to the garbage collector;
        ``async with aclosing(tool.run_json_stream(...)) as stream`` ends it at once. Otherwise as
        `run_json`.

        Raises:
            ValidationError: pydantic's. An argument is missing, unknown or of another type.
            MessageCancelled: the token was cancelled.
            RuntimeError: the tool has ended without a result.
            Exception: what the tool has raised.
        """
        span = ToolStreamSpan(self._name, tool_description=self._description, tool_call_id=call_id)
        failure: BaseException | None = None
        last: list[StreamT | ReturnT] = []
        what = f"the tool {self._name}"
        try:
            checked = self._args_type.model_validate(args)
            async with aclosing(self.run_stream(checked, cancellation_token)) as stream:
                while True:
                    scope = token_scope(cancellation_token, what, has_begun=bool(last))
                    with span.running(), scope:
                        try:
                            last = [await anext(stream)]
                        except StopAsyncIteration:
                            break
                    yield last[0]  # noqa: ASYNC119  # closed early, this closes the tool's
            if not last:
                raise RuntimeError(f"the tool {self._name} has ended without a result")
        except GeneratorExit:  # nobody wants the rest: no failure
            raise
        except BaseException as error:
            failure = error
            raise
        finally:
            span.end(failure)
        self._log_call(args, last[0])
