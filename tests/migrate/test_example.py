"""A real program for AutoGen Core, migrated: the same text but for imports, the same output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trio_agents._migrate._files import decode
from trio_agents._migrate._rewrite import Fragment, rewrite
from trio_agents._migrate._target import InstalledTarget

FOLDER = Path(__file__).parents[2] / "examples" / "migrate"
BEFORE = FOLDER / "before.py"
AFTER = FOLDER / "after.py"


def output_of(program: Path, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_the_one_becomes_the_other_exactly() -> None:
    text = decode(BEFORE.read_bytes())
    result = rewrite([Fragment(text.text)], InstalledTarget())
    assert result.findings == ()
    assert text.encode(result.texts[0]) == AFTER.read_bytes()


def test_nothing_of_autogen_is_left() -> None:
    text = AFTER.read_text(encoding="utf-8")
    assert rewrite([Fragment(text)], InstalledTarget()).texts == (text,)
    assert "autogen_core" not in text


def test_both_print_the_same(tmp_path: Path) -> None:
    pytest.importorskip("autogen_core", reason="the program before runs on autogen-core")
    printed = output_of(BEFORE, tmp_path)
    assert len(printed.splitlines()) > 10
    assert output_of(AFTER, tmp_path) == printed


#: A program with what is not below trio_agents.asyncio: a tool agent, a context, a client.
WITH_TOOLS = '''\
import asyncio
import logging
from dataclasses import dataclass

from autogen_core import (
    AgentId,
    CancellationToken,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    message_handler,
)
from autogen_core import models
from autogen_core.model_context import UnboundedChatCompletionContext
from autogen_core.models import CreateResult, RequestUsage, UserMessage
from autogen_core.tool_agent import ToolAgent, tool_agent_caller_loop
from autogen_core.tools import FunctionTool
from autogen_ext.models.replay import ReplayChatCompletionClient


@dataclass
class Question:
    text: str


@dataclass
class Answer:
    text: str


async def price(item: str) -> str:
    """The price of an item."""
    return f"{item}: 7"


class Desk(RoutedAgent):
    def __init__(self, client, tools) -> None:
        super().__init__("answers")
        self.client, self.tools = client, tools

    @message_handler
    async def ask(self, message: Question, ctx: MessageContext) -> Answer:
        context = UnboundedChatCompletionContext()
        await context.add_message(UserMessage(content=message.text, source="user"))
        said = await tool_agent_caller_loop(
            self,
            tool_agent_id=AgentId("tools", self.id.key),
            model_client=self.client,
            input_messages=await context.get_messages(),
            tool_schema=self.tools,
            cancellation_token=ctx.cancellation_token,
        )
        for each in said:
            print(type(each).__name__, isinstance(each, models.AssistantMessage))
        return Answer(said[-1].content)


def result(content, reason) -> CreateResult:
    usage = RequestUsage(prompt_tokens=1, completion_tokens=1)
    return CreateResult(finish_reason=reason, content=content, usage=usage, cached=False)


async def main() -> None:
    logging.disable()  # AutoGen's client complains about messages with calls
    tools = [FunctionTool(price, description="The price of an item.")]
    call = FunctionCall(id="1", name="price", arguments='{"item": "tea"}')
    client = ReplayChatCompletionClient(
        [result([call], "function_calls"), result("tea costs 7", "stop")],
        model_info={
            "vision": False,
            "function_calling": True,
            "json_output": False,
            "family": "unknown",
            "structured_output": False,
        },
    )
    runtime = SingleThreadedAgentRuntime()
    await ToolAgent.register(runtime, "tools", lambda: ToolAgent("has tools", tools))
    await Desk.register(runtime, "desk", lambda: Desk(client, tools))
    runtime.start()
    answer = await runtime.send_message(
        Question("What is tea?"), AgentId("desk", "a"), cancellation_token=CancellationToken()
    )
    print(answer)
    await runtime.stop_when_idle()


asyncio.run(main())
'''


def test_a_program_with_tools_and_a_client_becomes_ours(tmp_path: Path) -> None:
    pytest.importorskip("autogen_core", reason="the program before runs on autogen-core")
    pytest.importorskip("autogen_ext", reason="and its client is from autogen-ext")
    result = rewrite([Fragment(WITH_TOOLS)], InstalledTarget())
    assert result.findings == ()
    (after,) = result.texts
    assert "autogen" not in after
    printed: list[str] = []
    for name, text in (("before.py", WITH_TOOLS), ("after.py", after)):
        (tmp_path / name).write_text(text)
        printed.append(output_of(tmp_path / name, tmp_path))
    assert printed[0] == printed[1]
    assert printed[0].endswith("Answer(text='tea costs 7')\n")
