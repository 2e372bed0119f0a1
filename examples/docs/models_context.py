# docs/guides/models.md: an agent that remembers the conversation, and what a context shows.

# [imports]
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from trio_agents import AgentId, MessageContext, RoutedAgent, open_runtime, rpc
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.model_context import (
    BufferedChatCompletionContext,
    ChatCompletionContext,
    UnboundedChatCompletionContext,
)
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    LLMMessage,
    SystemMessage,
    UserMessage,
)

# [/imports]


@dataclass(frozen=True)
class Question:
    text: str


# [agent]
class Guide(RoutedAgent):
    def __init__(self, model_client: ChatCompletionClient, context: ChatCompletionContext) -> None:
        super().__init__("answers questions about a town")
        self._model_client = model_client
        self._context = context
        self._system_messages = [SystemMessage(content="You know this town. Be brief.")]

    @rpc
    async def answer(self, question: Question, ctx: MessageContext) -> str:
        await self._context.add_message(UserMessage(content=question.text, source="user"))
        result = await self._model_client.create(
            [*self._system_messages, *await self._context.get_messages()],
            cancellation_token=ctx.cancellation_token,
        )
        assert isinstance(result.content, str)
        await self._context.add_message(
            AssistantMessage(content=result.content, source=self.metadata["type"])
        )
        return result.content

    async def save_state(self) -> Mapping[str, Any]:
        return await self._context.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        await self._context.load_state(state)


# [/agent]
# [own]
class WithoutThoughts(UnboundedChatCompletionContext):
    """Some models are confused by what they have thought before."""

    async def get_messages(self) -> list[LLMMessage]:
        return [
            message.model_copy(update={"thought": None})
            if isinstance(message, AssistantMessage)
            else message
            for message in await super().get_messages()
        ]


# [/own]
async def main() -> None:
    client = ReplayChatCompletionClient(["Climb the lighthouse.", "The lighthouse."])
    async with open_runtime() as runtime:
        await Guide.register(
            runtime, "guide", lambda: Guide(client, BufferedChatCompletionContext(buffer_size=5))
        )
        guide = AgentId("guide", "default")
        print(await runtime.send_message(Question("What should I do on a Sunday?"), guide))
        print(await runtime.send_message(Question("What did you say first?"), guide))
        state = await runtime.agent_save_state(guide)
    print(len(client.create_calls[1]["messages"]), len(state["messages"]))

    context = WithoutThoughts()
    await context.add_message(AssistantMessage(content="4", thought="2 and 2...", source="guide"))
    print([message.model_dump(exclude_none=True) for message in await context.get_messages()])


trio.run(main)

# Prints:
# Climb the lighthouse.
# The lighthouse.
# 4 4
# [{'content': '4', 'source': 'guide', 'type': 'AssistantMessage'}]
