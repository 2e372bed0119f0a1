# docs/guides/mcp.md: an agent that has a model use the tools of a workbench. WB-08

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from pydantic import TypeAdapter

from trio_agents import (
    AgentId,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    message_handler,
    open_runtime,
)
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.ext.tools.mcp import McpWorkbench, StdioServerParams
from trio_agents.model_context import BufferedChatCompletionContext, ChatCompletionContext
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from trio_agents.tools import Workbench

# [agent]
ARGUMENTS = TypeAdapter(dict[str, Any])


@dataclass(frozen=True)
class Message:
    content: str


class WorkbenchAgent(RoutedAgent):
    def __init__(
        self, client: ChatCompletionClient, context: ChatCompletionContext, workbench: Workbench
    ) -> None:
        super().__init__("answers with the help of tools")
        self._system: list[LLMMessage] = [SystemMessage(content="Use the tools.")]
        self._client = client
        self._context = context
        self._workbench = workbench

    @message_handler
    async def answer(self, message: Message, ctx: MessageContext) -> Message:
        await self._context.add_message(UserMessage(content=message.content, source="user"))
        while True:
            result = await self._client.create(
                [*self._system, *await self._context.get_messages()],
                tools=await self._workbench.list_tools(),
                cancellation_token=ctx.cancellation_token,
            )
            await self._context.add_message(
                AssistantMessage(content=result.content, source=self.id.type)
            )
            if isinstance(result.content, str):
                return Message(result.content)
            done = [await self._run(call, ctx) for call in result.content]
            await self._context.add_message(FunctionExecutionResultMessage(content=done))

    async def _run(self, call: FunctionCall, ctx: MessageContext) -> FunctionExecutionResult:
        try:  # some models write nothing where there are no arguments
            arguments = ARGUMENTS.validate_json(call.arguments or "{}")
        except ValueError as error:  # the model reads it, and may do better
            return FunctionExecutionResult(
                content=str(error), name=call.name, call_id=call.id, is_error=True
            )
        result = await self._workbench.call_tool(
            call.name, arguments, ctx.cancellation_token, call.id
        )
        print(f"{call.name}: {result.to_text()[:60]}")
        return FunctionExecutionResult(
            content=result.to_text(replace_image="[a picture]"),
            name=result.name,
            call_id=call.id,
            is_error=result.is_error,
        )


# [/agent]


def calls(name: str, **arguments: object) -> CreateResult:
    """What a model answers that wants a tool to be called."""
    return CreateResult(
        finish_reason="function_calls",
        content=[FunctionCall(id=name, name=name, arguments=json.dumps(arguments))],
        usage=RequestUsage(prompt_tokens=0, completion_tokens=0),
        cached=False,
    )


SERVER = Path(__file__).with_name("mcp_server.py")
PARAMS = StdioServerParams(command=sys.executable, args=[str(SERVER)], read_timeout_seconds=60)


# [main]
async def main() -> None:
    client = ReplayChatCompletionClient([calls("tides", day="Sunday"), "Come at six."])
    async with McpWorkbench(PARAMS) as workbench, open_runtime() as runtime:
        await WorkbenchAgent.register(
            runtime,
            "guide",
            lambda: WorkbenchAgent(client, BufferedChatCompletionContext(10), workbench),
        )
        question = Message("When can I swim on Sunday?")
        answer = await runtime.send_message(question, AgentId("guide", "default"))
        print(answer.content)


if __name__ == "__main__":
    trio.run(main)
# [/main]

# Prints:
# tides: high at 6:00
# Come at six.
