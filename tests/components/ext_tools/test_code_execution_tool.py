from __future__ import annotations

import subprocess
import sys
from typing import Any, Self

import anyio
import pytest
from pydantic import BaseModel

from trio_agents import CancellationToken, Component, ComponentPolicy
from trio_agents.code_executor import CodeBlock, CodeExecutor, CodeResult
from trio_agents.ext.tools.code_execution import CodeExecutionResult, PythonCodeExecutionTool
from trio_agents.tools import BaseTool

TOKEN = CancellationToken()


class Nothing(BaseModel): ...


class Subprocess(CodeExecutor, Component[Nothing]):
    """Runs Python in a process."""

    component_config_schema = Nothing

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CodeResult:
        [block] = code_blocks
        assert block.language == "python"
        done = await anyio.run_process(
            [sys.executable, "-c", block.code], check=False, stderr=subprocess.STDOUT
        )
        return CodeResult(exit_code=done.returncode, output=done.stdout.decode())

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def restart(self) -> None: ...

    def _to_config(self) -> Nothing:
        return Nothing()

    @classmethod
    def _from_config(cls, config: Nothing) -> Self:
        return cls()


# TL-25
async def test_code_is_run_and_its_output_is_the_result() -> None:
    tool = PythonCodeExecutionTool(Subprocess())
    result = await tool.run_json({"code": "print('Hello, world!')"}, TOKEN)
    assert result == CodeExecutionResult(success=True, output="Hello, world!\n")
    assert tool.return_value_as_string(result) == "Hello, world!\n"


# TL-25
async def test_code_that_fails_is_a_result_that_says_why() -> None:
    tool = PythonCodeExecutionTool(Subprocess())
    result = await tool.run_json({"code": "1/0"}, TOKEN)
    assert not result.success
    assert "ZeroDivisionError" in tool.return_value_as_string(result)


# TL-25
def test_the_schema_is_autogens() -> None:
    assert PythonCodeExecutionTool(Subprocess()).schema == {
        "name": "CodeExecutor",
        "description": "Execute Python code blocks.",
        "parameters": {
            "type": "object",
            "properties": {
                "code": {
                    "description": "The contents of the Python code block that should be executed",
                    "title": "Code",
                    "type": "string",
                }
            },
            "required": ["code"],
            "additionalProperties": False,
        },
        "strict": False,
    }


async def test_it_is_dumped_and_loaded_with_its_executor() -> None:
    model = PythonCodeExecutionTool(Subprocess(), "Run it.").dump_component()
    assert model.provider == "trio_agents.ext.tools.code_execution.PythonCodeExecutionTool"
    assert model.config.keys() == {"executor", "description"}
    policy = ComponentPolicy(classes=[Subprocess])
    for provider in (model.provider, model.provider.replace("trio_agents", "autogen_ext", 1)):
        provider = provider.replace("autogen_ext.ext", "autogen_ext")
        described = model.model_copy(update={"provider": provider})
        loaded: BaseTool[Any, Any] = BaseTool.load_component(described, policy=policy)
        assert loaded.description == "Run it."
        assert (await loaded.run_json({"code": "print(1)"}, TOKEN)).output == "1\n"


async def test_a_cancelled_token_ends_the_run(MessageCancelled: type[BaseException]) -> None:
    token = CancellationToken()

    class Forever(Subprocess):
        async def execute_code_blocks(
            self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
        ) -> CodeResult:
            assert cancellation_token is token
            token.cancel()
            await anyio.sleep_forever()
            raise AssertionError

    with pytest.raises(MessageCancelled):
        await PythonCodeExecutionTool(Forever()).run_json({"code": ""}, token)
