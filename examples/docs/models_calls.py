# docs/guides/models.md: a model asks for functions, and gets their results.

import trio
from pydantic import BaseModel

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
    "parameters": {
        "type": "object",
        "properties": {"day": {"type": "string"}},
        "required": ["day"],
    },
}


class TidesArgs(BaseModel):
    day: str


def run(call: FunctionCall) -> FunctionExecutionResult:
    try:
        if call.name != "tides":
            raise ValueError(f"There is no function {call.name}.")
        args = TidesArgs.model_validate_json(call.arguments)
        content, is_error = f"on {args.day} at 6", False
    except ValueError as error:  # the model reads it, and may do better
        content, is_error = str(error), True
    return FunctionExecutionResult(
        content=content, name=call.name, call_id=call.id, is_error=is_error
    )


async def ask(client: ChatCompletionClient, text: str) -> str:
    messages: list[LLMMessage] = [UserMessage(content=text, source="user")]
    result = await client.create(messages, tools=[TIDES])
    while not isinstance(result.content, str):
        messages.append(AssistantMessage(content=result.content, source="guide"))
        messages.append(
            FunctionExecutionResultMessage(content=[run(call) for call in result.content])
        )
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
