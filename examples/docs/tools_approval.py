# docs/guides/tools.md: each call of a tool is a message, and somebody has to agree to it.

import json
from dataclasses import dataclass
from typing import Any

import trio

from trio_agents import (
    AgentId,
    DefaultInterventionHandler,
    DropMessage,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    message_handler,
    open_runtime,
)
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.models import ChatCompletionClient, CreateResult, RequestUsage, UserMessage
from trio_agents.tool_agent import ToolAgent, ToolException, tool_agent_caller_loop
from trio_agents.tools import FunctionTool, ToolSchema


@dataclass
class Message:
    content: str


# [agent]
class ToolUseAgent(RoutedAgent):
    """Has its tools run by another agent, which shares its key."""

    def __init__(self, model_client: ChatCompletionClient, tool_schema: list[ToolSchema]) -> None:
        super().__init__("Uses tools")
        self._model_client = model_client
        self._tool_schema = tool_schema
        self._tool_agent_id = AgentId("tool_executor", self.id.key)

    @message_handler
    async def handle_user_message(self, message: Message, ctx: MessageContext) -> Message:
        said = await tool_agent_caller_loop(
            self,
            tool_agent_id=self._tool_agent_id,
            model_client=self._model_client,
            input_messages=[UserMessage(content=message.content, source="user")],
            tool_schema=self._tool_schema,
            cancellation_token=ctx.cancellation_token,
            max_iterations=10,
        )
        answer = said[-1].content
        assert isinstance(answer, str)
        return Message(answer)


# [/agent]


# [approval]
class AskSomebody(DefaultInterventionHandler):
    """Holds up each call of a tool until a person has agreed."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any | type[DropMessage]:
        if not isinstance(message, FunctionCall):
            return message
        if await self._agrees(f"{message.name}({message.arguments})?"):
            return message
        raise ToolException(
            content="The user does not allow it.", call_id=message.id, name=message.name
        )

    # [/approval]

    async def _agrees(self, question: str) -> bool:
        await trio.sleep(0.01)  # a person takes time
        agrees = "/tmp" in question
        print(question, "y" if agrees else "n")
        return agrees


def delete(path: str) -> str:
    return f"{path} is gone"


def prepared() -> ReplayChatCompletionClient:
    """Stand for a model: it wants too much, and then makes do with less."""

    def asks(call_id: str, path: str) -> CreateResult:
        arguments = json.dumps({"path": path})
        return CreateResult(
            finish_reason="function_calls",
            content=[FunctionCall(id=call_id, name="delete", arguments=arguments)],
            usage=RequestUsage(prompt_tokens=0, completion_tokens=0),
            cached=False,
        )

    return ReplayChatCompletionClient(
        [asks("1", "/"), asks("2", "/tmp/x"), "I could only delete /tmp/x."]
    )


async def main() -> None:
    client = prepared()
    tool = FunctionTool(delete, "Delete a file.")
    # [main]
    async with open_runtime(intervention_handlers=[AskSomebody()]) as runtime:
        await ToolAgent.register(runtime, "tool_executor", lambda: ToolAgent("Runs tools", [tool]))
        await ToolUseAgent.register(
            runtime, "assistant", lambda: ToolUseAgent(client, [tool.schema])
        )
        reply = await runtime.send_message(
            Message("Make some room."), AgentId("assistant", "default")
        )
        print(reply.content)
    # [/main]
    refused = client.create_calls[1]["messages"][-1].content[0]
    print(f"The model was told: {refused.content}")


if __name__ == "__main__":
    trio.run(main)

# Prints:
# delete({"path": "/"})? n
# delete({"path": "/tmp/x"})? y
# I could only delete /tmp/x.
# The model was told: The user does not allow it.
