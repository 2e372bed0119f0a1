# docs/guides/model-clients.md: asking models. The model here is a server on this machine.

import json
from collections.abc import Sequence
from contextlib import aclosing

import openai
import trio
from local_model import local_model
from pydantic import BaseModel

from trio_agents import CancellationToken, FunctionCall
from trio_agents.exceptions import MessageCancelled
from trio_agents.ext.models.openai import OpenAIChatCompletionClient
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    ModelInfo,
    SystemMessage,
    UserMessage,
)
from trio_agents.tools import ToolSchema


# [local]
def client_for(base_url: str) -> OpenAIChatCompletionClient:
    return OpenAIChatCompletionClient(
        model="my-model",
        base_url=base_url,
        api_key="not needed",  # the SDK wants one, the server does not look at it
        model_info=ModelInfo(
            vision=False,
            function_calling=True,
            json_output=True,
            structured_output=True,
            family="unknown",
        ),
    )


# [/local]
# [ask]
async def ask(client: ChatCompletionClient) -> None:
    result = await client.create(
        [
            SystemMessage(content="Answer in one sentence."),
            UserMessage(content="What does a nursery do?", source="user"),
        ]
    )
    print(result.content)
    print(result.usage)


# [/ask]
# [stream]
async def stream(client: ChatCompletionClient) -> None:
    question = UserMessage(content="What does a nursery do?", source="user")
    async with aclosing(client.create_stream([question])) as pieces:
        async for piece in pieces:
            if isinstance(piece, CreateResult):
                print(f" ({piece.finish_reason})")
            else:
                print(piece, end="")


# [/stream]
# [tools]
WEATHER = ToolSchema(
    name="weather",
    description="The weather in a city.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)


def weather(city: str) -> str:
    return "sunny" if city == "Lisbon" else "unknown"


def run(call: FunctionCall) -> FunctionExecutionResult:
    try:  # models invent functions, and arguments
        if call.name != "weather":
            raise ValueError(f"There is no function {call.name}.")
        content, is_error = weather(**json.loads(call.arguments or "{}")), False
    except (TypeError, ValueError) as error:  # the model reads it, and may do better
        content, is_error = str(error), True
    return FunctionExecutionResult(
        content=content, name=call.name, call_id=call.id, is_error=is_error
    )


async def with_tools(client: ChatCompletionClient) -> None:
    messages: list[LLMMessage] = [
        UserMessage(content="How is the weather in Lisbon?", source="user")
    ]
    while True:
        result = await client.create(messages, tools=[WEATHER])
        if isinstance(result.content, str):
            print(result.content)
            return
        messages.append(
            AssistantMessage(content=result.content, thought=result.thought, source="agent")
        )
        messages.append(
            FunctionExecutionResultMessage(content=[run(call) for call in result.content])
        )


# [/tools]
# [structured]
class Trip(BaseModel):
    city: str
    days: int


async def structured(client: ChatCompletionClient) -> None:
    question = UserMessage(content="Where shall we go?", source="user")
    result = await client.create([question], json_output=Trip)
    assert isinstance(result.content, str)
    print(Trip.model_validate_json(result.content))


# [/structured]
# [cancel]
async def cancelled(client: ChatCompletionClient) -> None:
    question = UserMessage(content="Think slowly.", source="user")
    with trio.move_on_after(0.1) as scope:
        await client.create([question])
    print(f"given up by its scope: {scope.cancelled_caught}")

    token = CancellationToken()

    async def press() -> None:
        await trio.sleep(0.1)
        token.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(press)
        try:
            await client.create([question], cancellation_token=token)
        except MessageCancelled as exc:
            print(exc)


# [/cancel]
# [errors]
async def errors() -> None:
    client = OpenAIChatCompletionClient(
        model="gpt-4o",
        base_url="http://127.0.0.1:9/v1",  # nobody is there
        api_key="k",
        timeout=5,
        max_retries=0,
    )
    try:
        await client.create([UserMessage(content="Hello?", source="user")])
    except openai.APIConnectionError as exc:
        print(f"{exc} ({exc.__notes__[0]})")
    finally:
        await client.close()


# [/errors]
# [tokens]
def words(messages: Sequence[LLMMessage], tools: Sequence[ToolSchema]) -> int:
    return sum(len(str(message.content).split()) for message in messages)


def counted() -> None:
    question = UserMessage(content="What does a nursery do?", source="user")
    client = OpenAIChatCompletionClient(model="gpt-4o", api_key="k", token_counter=words)
    print(client.count_tokens([question]), client.remaining_tokens([question]))


# [/tokens]
async def main() -> None:
    with local_model() as base_url:
        client = client_for(base_url)
        await ask(client)
        await stream(client)
        await with_tools(client)
        await structured(client)
        await cancelled(client)
        await client.close()
    await errors()
    counted()


trio.run(main)

# Prints:
# A nursery waits for its tasks.
# RequestUsage(prompt_tokens=9, completion_tokens=7)
# A nursery waits for its tasks. (stop)
# In Lisbon it is sunny.
# city='Lisbon' days=3
# given up by its scope: True
# a request of OpenAIChatCompletionClient to my-model was cancelled by its token
# Connection error. (in a request of OpenAIChatCompletionClient to gpt-4o)
# 5 127995
