# docs/guides/tools.md: an agent that asks a model, runs the tools it wants, and asks again.

import json
from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    CancellationToken,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    message_handler,
    open_runtime,
)
from trio_agents.ext.models.replay import ReplayChatCompletionClient
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
from trio_agents.tools import FunctionTool, Tool


@dataclass
class Message:
    content: str


# [agent]
ROUNDS = 8


class ToolUseAgent(RoutedAgent):
    def __init__(self, model_client: ChatCompletionClient, tools: list[Tool]) -> None:
        super().__init__("An agent with tools")
        self._model_client = model_client
        self._tools = {tool.name: tool for tool in tools}

    @message_handler
    async def handle_user_message(self, message: Message, ctx: MessageContext) -> Message:
        token = ctx.cancellation_token
        session: list[LLMMessage] = [
            SystemMessage(content="You are a helpful assistant."),
            UserMessage(content=message.content, source="user"),
        ]
        for _ in range(ROUNDS):
            answer = await self._model_client.create(
                session, tools=list(self._tools.values()), cancellation_token=token
            )
            if isinstance(answer.content, str):
                return Message(answer.content)
            calls = answer.content
            session.append(AssistantMessage(content=calls, source="assistant"))
            results: dict[str, FunctionExecutionResult] = {}
            async with trio.open_nursery() as nursery:
                for call in calls:
                    nursery.start_soon(self._run, call, token, results)
            session.append(
                FunctionExecutionResultMessage(content=[results[call.id] for call in calls])
            )
        return Message(f"After {ROUNDS} answers I still want tools.")

    async def _run(
        self,
        call: FunctionCall,
        token: CancellationToken,
        results: dict[str, FunctionExecutionResult],
    ) -> None:
        try:
            tool = self._tools.get(call.name)
            if tool is None:  # models invent some
                raise LookupError(f"There is no tool {call.name}.")
            arguments = json.loads(call.arguments or "{}")  # some write nothing for none
            value = await tool.run_json(arguments, token, call.id)
            content, is_error = tool.return_value_as_string(value), False
        except Exception as error:  # the model may read it, and do better
            content, is_error = str(error), True
        results[call.id] = FunctionExecutionResult(
            content=content, name=call.name, call_id=call.id, is_error=is_error
        )


# [/agent]


def look_up(city: str) -> dict[str, int]:
    temperatures = {"Oslo": -3, "Rome": 14}
    if city not in temperatures:
        raise LookupError(f"no station in {city}")
    return {"celsius": temperatures[city]}


def prepared() -> ReplayChatCompletionClient:
    """Stand for a model: it asks for three cities, then answers."""
    calls = [
        FunctionCall(id=city, name="look_up", arguments=json.dumps({"city": city}))
        for city in ("Oslo", "Rome", "Atlantis")
    ]
    asks = CreateResult(
        finish_reason="function_calls",
        content=calls,
        usage=RequestUsage(prompt_tokens=0, completion_tokens=0),
        cached=False,
    )
    return ReplayChatCompletionClient([asks, "It is colder in Oslo. Of Atlantis nothing is known."])


async def main() -> None:
    client = prepared()
    tools: list[Tool] = [FunctionTool(look_up, "Get the temperature in a city.")]
    async with open_runtime() as runtime:
        await ToolUseAgent.register(runtime, "assistant", lambda: ToolUseAgent(client, tools))
        reply = await runtime.send_message(
            Message("Where is it colder: Oslo, Rome or Atlantis?"), AgentId("assistant", "default")
        )
    told = client.create_calls[-1]["messages"][-1]
    for result in told.content:
        print(f"{result.call_id}: {result.content}")
    print(reply.content)


if __name__ == "__main__":
    trio.run(main)

# Prints:
# Oslo: {"celsius": -3}
# Rome: {"celsius": 14}
# Atlantis: no station in Atlantis
# It is colder in Oslo. Of Atlantis nothing is known.
