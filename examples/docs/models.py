# docs/guides/models.md: an agent that asks a model, and a test of it.

# [agent]
from dataclasses import dataclass

import trio

from trio_agents import AgentId, MessageContext, RoutedAgent, open_runtime, rpc
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.models import ChatCompletionClient, SystemMessage, UserMessage


@dataclass(frozen=True)
class Question:
    text: str


class Guide(RoutedAgent):
    def __init__(self, model_client: ChatCompletionClient) -> None:
        super().__init__("answers questions about a town")
        self._model_client = model_client
        self._system_messages = [SystemMessage(content="You know this town. Be brief.")]

    @rpc
    async def answer(self, question: Question, ctx: MessageContext) -> str:
        asked = UserMessage(content=question.text, source="user")
        result = await self._model_client.create(
            [*self._system_messages, asked], cancellation_token=ctx.cancellation_token
        )
        assert isinstance(result.content, str)
        return result.content


# [/agent]
# [run]
async def main() -> None:
    model_client = ReplayChatCompletionClient(["Climb the lighthouse."])
    async with open_runtime() as runtime:
        await Guide.register(runtime, "guide", lambda: Guide(model_client))
        question = Question("What should I do on a Sunday?")
        print(await runtime.send_message(question, AgentId("guide", "default")))
    await model_client.close()
    print(model_client.total_usage())
    print(model_client.create_calls[0]["messages"][-1].content)


trio.run(main)
# [/run]

# Prints:
# Climb the lighthouse.
# RequestUsage(prompt_tokens=13, completion_tokens=3)
# What should I do on a Sunday?
