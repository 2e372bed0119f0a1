"""A workbench agent: the tools are those of an MCP server, which is a process of its own.

What the server offers is asked before each question to the model, since it may change. A tool that
takes long tells of its progress meanwhile, and one that fails has a result that the model can read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _model import Model, run
from _server import Call, Reply
from pydantic import TypeAdapter

from trio_agents import (
    AgentId,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    message_handler,
    open_runtime,
)
from trio_agents.ext.tools.mcp import McpProgress, McpWorkbench, StdioServerParams
from trio_agents.model_context import ChatCompletionContext, UnboundedChatCompletionContext
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    SystemMessage,
    UserMessage,
)

SERVER = Path(__file__).parents[1] / "docs" / "mcp_server.py"
ROUNDS = 8


@dataclass
class Message:
    content: str


# [agent]
ARGUMENTS = TypeAdapter(dict[str, Any])


class HarbourMaster(RoutedAgent):
    """Answers with the tools of a workbench."""

    def __init__(
        self, client: ChatCompletionClient, context: ChatCompletionContext, workbench: McpWorkbench
    ) -> None:
        super().__init__("knows the harbour")
        self._client = client
        self._context = context
        self._workbench = workbench

    @message_handler
    async def answer(self, message: Message, ctx: MessageContext) -> Message:
        await self._context.add_message(UserMessage(content=message.content, source="user"))
        system = SystemMessage(content="You run a harbour. Use the tools; never guess.")
        for _ in range(ROUNDS):
            result = await self._client.create(
                [system, *await self._context.get_messages()],
                tools=await self._workbench.list_tools(),
                cancellation_token=ctx.cancellation_token,
            )
            await self._context.add_message(
                AssistantMessage(
                    content=result.content, thought=result.thought, source=self.id.type
                )
            )
            if isinstance(result.content, str):
                return Message(result.content)
            done = [await self._call(call, ctx) for call in result.content]
            await self._context.add_message(FunctionExecutionResultMessage(content=done))
        return Message(f"I have looked {ROUNDS} times and still do not know.")

    async def _call(self, call: FunctionCall, ctx: MessageContext) -> FunctionExecutionResult:
        print(f"  {call.name}({call.arguments})")
        try:  # some models write nothing where there are no arguments
            arguments = ARGUMENTS.validate_json(call.arguments or "{}")
        except ValueError as error:  # the model reads it, and may do better
            return FunctionExecutionResult(
                content=str(error), name=call.name, call_id=call.id, is_error=True
            )
        result = await self._workbench.call_tool(
            call.name,
            arguments,
            ctx.cancellation_token,
            call.id,
            progress=self._show,
        )
        text = result.to_text()
        print(f"    {'failed: ' if result.is_error else ''}{text}")
        return FunctionExecutionResult(
            content=text, name=call.name, call_id=call.id, is_error=result.is_error
        )

    async def _show(self, progress: McpProgress) -> None:
        print(f"    {progress.message} of {progress.total:g} m")


# [/agent]
QUESTION = "My boat has a draught of 3 metres. Can it leave on Monday, or else on Sunday?"
REPLIES = [
    Reply("My boat has", (Call("tides", {"day": "Monday"}),)),
    Reply("nobody has asked the moon", (Call("tides", {"day": "Sunday"}),)),
    Reply("high at 6:00", (Call("dredge", {"metres": 3}),)),
    Reply("deep enough", "Leave on Sunday at six, when the tide is high. The harbour is dredged."),
]


# [main]
async def main(model: Model) -> None:
    print(f"model: {model.name}")
    server = StdioServerParams(command=sys.executable, args=[str(SERVER)])
    async with (
        model.client() as client,
        McpWorkbench(server) as workbench,
        open_runtime() as runtime,
    ):
        tools = await workbench.list_tools()
        print(f"tools: {', '.join(tool['name'] for tool in tools)}, from {SERVER.name}")
        print(f"user: {QUESTION}")
        await HarbourMaster.register(
            runtime,
            "harbour_master",
            lambda: HarbourMaster(client, UnboundedChatCompletionContext(), workbench),
        )
        answer = await runtime.send_message(Message(QUESTION), AgentId("harbour_master", "default"))
        print(f"harbour master: {answer.content}")


if __name__ == "__main__":
    run(main, REPLIES)
# [/main]
