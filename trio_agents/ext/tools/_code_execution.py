"""`PythonCodeExecutionTool`: code that a model has written, run by an executor."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, Field

from ..._components._component import Component
from ..._components._component_model import ComponentModel
from ..._components._config_data import ComponentConfig
from ..._sansio._cancellation import CancellationToken
from ...code_executor._code_executor import CodeBlock, CodeExecutor
from ...tools._base_tool import BaseTool

__all__ = [
    "CodeExecutionInput",
    "CodeExecutionResult",
    "PythonCodeExecutionTool",
    "PythonCodeExecutionToolConfig",
]

_DESCRIPTION: Final = "Execute Python code blocks."


class CodeExecutionInput(BaseModel):
    """The arguments of a `PythonCodeExecutionTool`.

    Attributes:
        code: The code.
    """

    code: str = Field(description="The contents of the Python code block that should be executed")


class CodeExecutionResult(BaseModel):
    """The result of a `PythonCodeExecutionTool`. As text it is the output.

    Attributes:
        success: Whether the code has ended well.
        output: What it has printed, errors included.
    """

    success: bool
    output: str

    def __str__(self) -> str:
        return self.output


class PythonCodeExecutionToolConfig(ComponentConfig):
    """The configuration of a `PythonCodeExecutionTool`.

    Attributes:
        executor: The place where the code runs.
        description: What models are told of the tool.
    """

    executor: ComponentModel
    description: str = _DESCRIPTION


class PythonCodeExecutionTool(
    BaseTool[CodeExecutionInput, CodeExecutionResult], Component[PythonCodeExecutionToolConfig]
):
    """Runs Python code that a model has written.

    ::

        async with DockerCommandLineCodeExecutor() as executor:
            tool = PythonCodeExecutionTool(executor)

    The executor belongs to the application, which starts and stops it. Code that fails is a result
    like any other: its output says why.
    """

    component_config_schema = PythonCodeExecutionToolConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.tools.code_execution.PythonCodeExecutionTool"
    )
    component_description: ClassVar[str | None] = "A tool that runs Python code in an executor."

    def __init__(self, executor: CodeExecutor, description: str = _DESCRIPTION) -> None:
        """Make a tool of *executor*.

        Args:
            executor: where the code runs; started by the application.
            description: what models are told of the tool.
        """
        super().__init__(CodeExecutionInput, CodeExecutionResult, "CodeExecutor", description)
        self._executor = executor

    async def run(
        self, args: CodeExecutionInput, cancellation_token: CancellationToken
    ) -> CodeExecutionResult:
        """Run the code. Cancelled, it is killed, and the executor can be used on.

        Raises:
            MessageCancelled: the token was cancelled.
        """
        result = await self._executor.execute_code_blocks(
            [CodeBlock(code=args.code, language="python")], cancellation_token
        )
        return CodeExecutionResult(success=result.exit_code == 0, output=result.output)

    def return_value_as_string(self, value: Any) -> str:
        """Return the output of the code."""
        return str(value)

    def _to_config(self) -> PythonCodeExecutionToolConfig:
        return PythonCodeExecutionToolConfig(
            executor=self._executor.dump_component(), description=self._description
        )

    @classmethod
    def _from_config(cls, config: PythonCodeExecutionToolConfig) -> Self:
        executor: CodeExecutor = CodeExecutor.load_component(config.executor)
        return cls(executor, config.description)
