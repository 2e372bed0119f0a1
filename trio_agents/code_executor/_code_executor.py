"""`CodeExecutor`: what an agent knows of the place where code runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pydantic import BaseModel

from .._components._component import ComponentBase
from .._sansio._cancellation import CancellationToken

__all__ = ["CodeBlock", "CodeExecutor", "CodeResult"]


@dataclass
class CodeBlock:
    """A piece of code.

    Attributes:
        code: Its text.
        language: What it is written in, as in Markdown: ``python``, ``bash`` and others.
    """

    code: str
    language: str


@dataclass
class CodeResult:
    """What came of running code.

    Attributes:
        exit_code: 0 if it went well.
        output: What it has printed, errors included.
    """

    exit_code: int
    output: str


class CodeExecutor(ABC, ComponentBase[BaseModel]):
    """Runs code.

    ::

        async with LocalCommandLineCodeExecutor(work_dir="work") as executor:
            result = await executor.execute_code_blocks([CodeBlock("print(1)", "python")], token)
    """

    component_type = "code_executor"

    @abstractmethod
    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CodeResult:
        """Run the blocks one after the other, and stop at the first that fails.

        That code fails, or takes too long, is a result. Cancelled, what runs is killed first.

        Raises:
            ValueError: a block is in a language that the executor does not run; none was run.
            MessageCancelled: the token was cancelled.
        """

    @abstractmethod
    async def start(self) -> None:
        """Make the place ready. ``async with`` does it too."""

    @abstractmethod
    async def stop(self) -> None:
        """Give the place up. ``async with`` does it too; a second call is fine."""

    @abstractmethod
    async def restart(self) -> None:
        """Begin anew, with nothing of what code has left behind in a process."""

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Stop it."""
        await self.stop()  # noqa: ASYNC102  # it shields what it must not leave half done
