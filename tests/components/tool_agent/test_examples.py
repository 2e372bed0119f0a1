"""The agents that the guides show get from a model what models do send, and go on."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from trio_agents import AgentId, CancellationToken, DefaultTopicId, FunctionCall, open_runtime
from trio_agents.code_executor import CodeBlock, CodeExecutor, CodeResult
from trio_agents.model_context import UnboundedChatCompletionContext
from trio_agents.models import FunctionExecutionResult, FunctionExecutionResultMessage
from trio_agents.tools import FunctionTool, StaticWorkbench

from .scripted_client import ScriptedClient

EXAMPLES: Final = Path(__file__).parents[3] / "examples" / "docs"
AGENT: Final = AgentId("agent", "default")


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def tides(day: str = "today") -> str:
    return f"{day} at 6"


async def ask_tools_agent(client: ScriptedClient) -> str:
    names = example_of["tools_agent"]
    return await ask_agent(
        names, lambda: names["ToolUseAgent"](client, [FunctionTool(tides, "When the tide is high")])
    )


async def ask_mcp_agent(client: ScriptedClient) -> str:
    names = example_of["mcp_agent"]
    workbench = StaticWorkbench([FunctionTool(tides, "When the tide is high")])
    context = UnboundedChatCompletionContext()
    return await ask_agent(names, lambda: names["WorkbenchAgent"](client, context, workbench))


async def ask_agent(names: dict[str, Any], factory: Callable[[], Any]) -> str:
    async with open_runtime() as runtime:
        await runtime.register_factory("agent", factory)
        answer: str = (await runtime.send_message(names["Message"]("When?"), AGENT)).content
    return answer


async def ask_function(client: ScriptedClient) -> str:
    answer: str = await example_of["models_calls"]["ask"](client, "When?")
    return answer


ASKS: Final = [ask_tools_agent, ask_mcp_agent, ask_function]
example_of: Final = {
    name: example(name)
    for name in ("tools_agent", "mcp_agent", "models_calls", "code_executors_agents")
}


def call(arguments: str, name: str = "tides") -> FunctionCall:
    return FunctionCall(id="1", name=name, arguments=arguments)


def told(client: ScriptedClient) -> FunctionExecutionResult:
    """What the model was told last of its one call."""
    message = client.asked[-1][-1]
    assert isinstance(message, FunctionExecutionResultMessage)
    [result] = message.content
    return result


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("arguments", ["{", "[1]", '"Sunday"', '{"dy": "Sunday"}'])
def test_arguments_that_do_not_fit_are_told_to_the_model(
    ask: Callable[[ScriptedClient], Any], arguments: str
) -> None:
    client = ScriptedClient([call(arguments)], "At six.")
    assert trio.run(ask, client) == "At six."
    assert told(client).is_error
    assert told(client).content


@pytest.mark.parametrize("ask", [ask_tools_agent, ask_mcp_agent])
def test_a_call_may_have_no_arguments_at_all(ask: Callable[[ScriptedClient], Any]) -> None:
    client = ScriptedClient([call("")], "At six.")
    assert trio.run(ask, client) == "At six."
    assert told(client).content == "today at 6"


def test_arguments_that_are_missing_altogether_are_told_to_the_model() -> None:
    client = ScriptedClient([call("")], "At six.")
    assert trio.run(ask_function, client) == "At six."
    assert told(client).is_error


@pytest.mark.parametrize("ask", ASKS)
def test_that_a_tool_was_invented_is_told_to_the_model(
    ask: Callable[[ScriptedClient], Any],
) -> None:
    client = ScriptedClient([call("{}", name="moon")], "At six.")
    assert trio.run(ask, client) == "At six."
    assert told(client).is_error


@pytest.mark.parametrize("ask", ASKS)
def test_a_model_may_call_twice(ask: Callable[[ScriptedClient], Any]) -> None:
    client = ScriptedClient(
        [call('{"day": "Saturday"}')], [call('{"day": "Sunday"}')], "Both at six."
    )
    assert trio.run(ask, client) == "Both at six."
    assert "Sunday at 6" in told(client).content


def test_a_model_that_never_stops_calling_does_not_run_for_ever() -> None:
    client = ScriptedClient(*[[call("{}")]] * 100)
    assert "still" in trio.run(ask_tools_agent, client)


class Silent(CodeExecutor):
    """Runs code that prints nothing."""

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CodeResult:
        return CodeResult(exit_code=0, output="")

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def restart(self) -> None: ...


def test_code_that_prints_nothing_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    names = example_of["code_executors_agents"]

    async def main() -> None:
        async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
            await names["Executor"].register(
                runtime, "executor", lambda: names["Executor"](Silent())
            )
            message = names["Message"]("```python\nx = 1\n```")
            await runtime.publish_message(message, DefaultTopicId())
            await runtime.stop_when_idle()

    trio.run(main)
    assert capsys.readouterr().out.startswith("executor: ")
