# docs/guides/models.md: a model asks for functions, and gets their results.

import json

import trio

from trio_agents import FunctionCall
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    UserMessage,
)
from trio_agents.tools import ToolSchema

# [calls]
TIDES: ToolSchema = {
    "name": "tides",
    "description": "When the tide is high",
    "parameters": {"type": "object", "properties": {"day": {"type": "string"}}},
}


async def ask(client: ChatCompletionClient, text: str) -> str:
    messages: list[LLMMessage] = [UserMessage(content=text, source="user")]
    result = await client.create(messages, tools=[TIDES])
    while not isinstance(result.content, str):
        messages.append(AssistantMessage(content=result.content, source="guide"))
        results = [
            FunctionExecutionResult(
                content=f"on {json.loads(call.arguments)['day']} at 6",
                name=call.name,
                call_id=call.id,
                is_error=False,
            )
            for call in result.content
        ]
        messages.append(FunctionExecutionResultMessage(content=results))
        result = await client.create(messages, tools=[TIDES])
    return result.content


# [/calls]
# [replay]
ASKS_FOR_IT = CreateResult(
    finish_reason="function_calls",
    content=[FunctionCall(id="1", name="tides", arguments='{"day": "Sunday"}')],
    usage=RequestUsage(prompt_tokens=40, completion_tokens=12),
    cached=False,
)


async def main() -> None:
    client = ReplayChatCompletionClient([ASKS_FOR_IT, "Come at six."])
    print(await ask(client, "When can I swim on Sunday?"))
    print([message.type for message in client.create_calls[1]["messages"]])


trio.run(main)
# [/replay]

# Prints:
# Come at six.
# ['UserMessage', 'AssistantMessage', 'FunctionExecutionResultMessage']
